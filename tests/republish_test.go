package tests

import (
	"fmt"
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
	// Nothing is on its way: no event in an outbox or before a consumer, no message
	// that is planned and will be an event once it is sent.
	settled := func(p *harness.Platform) {
		t.Helper()
		w := upWorld(t, p)
		harness.Eventually(t, "everything has arrived", func() error {
			metrics := harness.Metrics(t, w.metrics)
			for _, name := range []string{"masar_outbox_pending", "masar_consumer_lag"} {
				if n, ok := sum(metrics, name); !ok || n != 0 {
					return fmt.Errorf("%s is %v (there: %v)", name, n, ok)
				}
			}
			for _, status := range []string{"planned", "sending"} {
				var waiting page[struct{}]
				if w.must(t, "operator", "GET", "/api/notifications/messages?status="+status, nil, &waiting, 200); len(waiting.Items) > 0 {
					return fmt.Errorf("messages are still %s", status)
				}
			}
			return nil
		})
	}
	p := harness.Up(t, data)
	run("demo", "--people", "20")
	settled(p)
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

	p = harness.Up(t, data)
	run("republish")
	settled(p)
	if n, _ := sum(harness.Metrics(t, p.URL+"/metrics"), "masar_consumer_dead_letters_total"); n != 0 {
		t.Errorf("%v republished events became dead letters", n)
	}
	if after := run("verify"); after != before {
		t.Errorf("verify said %q before the loss, and %q after", before, after)
	}
}
