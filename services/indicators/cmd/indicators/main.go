// Command indicators runs the indicators service alone, by the MASAR_* variables
// of its environment (README.md lists them).
package main

import (
	"masar.local/pkg/runtime"
	"masar.local/services/indicators"
)

func main() { runtime.Main("indicators", indicators.New) }
