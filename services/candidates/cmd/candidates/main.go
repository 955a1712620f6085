// Command candidates runs the candidates service alone, configured by MASAR_*
// variables.
package main

import (
	"masar.local/pkg/runtime"
	"masar.local/services/candidates"
)

func main() { runtime.Main(candidates.Name, candidates.New) }
