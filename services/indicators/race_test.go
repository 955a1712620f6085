//go:build race

package indicators

import "flag"

// racing says that the race detector is on. It slows everything down ten times:
// fewer worlds are drawn with it, and what is only large is left to `go test`
// without it. -rapid.checks says otherwise.
const racing = true

func init() {
	if err := flag.Set("rapid.checks", "10"); err != nil {
		panic(err)
	}
}
