package tests

import (
	"os"
	"testing"

	"masar.local/tests/harness"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerDir); dir != "" {
		os.Exit(runBroker(dir, os.Getenv("MASAR_TEST_BROKER_ADDR")))
	}
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
