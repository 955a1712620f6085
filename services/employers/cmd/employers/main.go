// Command employers runs the employers service alone, configured by MASAR_*
// variables.
package main

import (
	"masar.local/pkg/runtime"
	"masar.local/services/employers"
)

func main() { runtime.Main("employers", employers.New) }
