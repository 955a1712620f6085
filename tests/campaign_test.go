package tests

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"masar.local/tests/harness"
)

// TestKillInMidCampaign kills the platform with SIGKILL while campaigns are being
// worked out: each of them is worked out by the next start, once, to an optimum
// that the verifier accepts, and comes out the same when it is made again.
func TestKillInMidCampaign(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := harness.Up(t, data)
	if out, code := harness.Masar(t, "demo", "--people", "300", "--data", data); code != 0 {
		t.Fatalf("demo: %s", out)
	}
	var ids []string
	for round := range 3 {
		token := p.Token(t, "manager")
		for n := range 3 {
			var made struct {
				ID string `json:"campaign_id"`
			}
			name := fmt.Sprintf("Campagne %d-%d", round, n)
			if status := harness.Call(t, token, "POST", p.URL+"/api/matching/campaigns", map[string]any{"name": name}, &made); status != http.StatusAccepted {
				t.Fatalf("campaign: %d", status)
			}
			ids = append(ids, made.ID)
		}
		p.Kill()
		p = harness.Up(t, data)
	}
	token := p.Token(t, "manager")
	for _, id := range ids {
		var c struct {
			Status  string `json:"status"`
			Summary struct {
				Filled   int    `json:"filled"`
				Verified string `json:"verified"`
			} `json:"summary"`
		}
		harness.Eventually(t, "the campaign is done", func() error {
			harness.Call(t, token, "GET", p.URL+"/api/matching/campaigns/"+id, nil, &c)
			if c.Status != "done" {
				return fmt.Errorf("it is %s", c.Status)
			}
			return nil
		})
		if c.Summary.Filled == 0 || c.Summary.Verified != "optimal" {
			t.Errorf("campaign %s: %+v", id, c.Summary)
		}
		if out, code := harness.Masar(t, "matching", "replay", id, "--data", data); code != 0 || !strings.Contains(out, "same:") {
			t.Errorf("replay of %s: exit %d\n%s", id, code, out[max(0, len(out)-500):])
		}
	}
	if out, code := harness.Masar(t, "verify", "--data", data); code != 0 {
		t.Errorf("verify: %s", out)
	}
	if out, code := harness.Masar(t, "doctor", "--data", data); code != 0 {
		t.Errorf("doctor: %s", out)
	}
}
