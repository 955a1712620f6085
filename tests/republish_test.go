package tests

import (
	"os"
	"path/filepath"
	"testing"

	"masar.local/tests/harness"
)

// TestBrokerLost loses the broker with everything on it, and refills its topics
// from the journals: nobody needs to have kept the messages.
func TestBrokerLost(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	run := func(args ...string) string {
		t.Helper()
		out, code := harness.Masar(t, append(args, "--data", data)...)
		if code != 0 {
			t.Fatalf("masar %v: exit %d\n%s", args, code, out)
		}
		return out
	}
	p := harness.Up(t, data)
	run("demo", "--people", "20")
	before := run("verify")
	if err := p.Stop(t); err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(filepath.Join(data, "kafka")); err != nil {
		t.Fatal(err)
	}
	// What indicators knew is lost with it: a new statistician's consumer would
	// not find it either.
	stores, err := filepath.Glob(filepath.Join(data, "store", "indicators*"))
	if err != nil || len(stores) == 0 {
		t.Fatalf("the store of indicators: %v, %v", stores, err)
	}
	for _, file := range stores {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}

	harness.Up(t, data)
	run("republish")
	if after := run("verify"); after != before {
		t.Errorf("verify said %q before the loss, and %q after", before, after)
	}
}
