// Command notifications runs the notifications service alone, by the MASAR_*
// variables of its environment (README.md lists them).
package main

import (
	"masar.local/pkg/runtime"
	"masar.local/services/notifications"
)

func main() { runtime.Main("notifications", notifications.New) }
