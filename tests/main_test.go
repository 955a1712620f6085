package tests

import (
	"os"
	"testing"

	"masar.local/tests/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
