//go:build race

package matching

import "flag"

// The race detector slows the embedded store down ten times: fewer worlds are
// drawn with it. Properties are for `go test` without it; -rapid.checks says
// otherwise.
func init() {
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
}
