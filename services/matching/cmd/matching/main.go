// Command matching runs the matching service alone.
package main

import (
	"masar.local/pkg/runtime"
	"masar.local/services/matching"
)

func main() { runtime.Main("matching", matching.New) }
