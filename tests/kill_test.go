package tests

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"masar.local/tests/harness"
)

// TestKill kills the platform with SIGKILL while commands stream in, again and
// again, and then looks for every acknowledged command and for double effects.
func TestKill(t *testing.T) {
	const rounds, writers = 4, 6
	data := filepath.Join(t.TempDir(), "data")

	// acknowledged are the pathways that the platform said it opened, by the key
	// of the command, and how many moves it acknowledged for each.
	type ack struct {
		candidate, pathway string
		moved              bool
	}
	var mu sync.Mutex
	acknowledged := map[string]*ack{}

	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for round := range rounds {
		p := harness.Up(t, data)
		token := p.Token(t, "admin")
		var wg sync.WaitGroup
		for writer := range writers {
			wg.Go(func() {
				for n := 0; !p.Exited(); n++ {
					key := fmt.Sprintf("%d-%d-%d", round, writer, n)
					a := &ack{}
					person := map[string]any{
						"ref": key, "family_name": "Essai", "given_name": "Résistance", "sex": "F", "birth_date": "1990-01-01",
						"governorate": "TN-11", "language": "fr", "occupations": []map[string]any{{"rome": "A1401"}}, "consents": []string{"matching"},
					}
					if !accepted(token, p.URL+"/api/candidates/candidates", person, "person-"+key, &a.candidate) {
						continue
					}
					mu.Lock()
					acknowledged[key] = a
					mu.Unlock()
					opened := time.Now().UTC().AddDate(0, 0, -20)
					open := map[string]any{"candidate_id": a.candidate, "scheme": "agri", "occurred_at": opened}
					if !accepted(token, p.URL+"/api/candidates/pathways", open, "open-"+key, &a.pathway) {
						continue
					}
					move := map[string]any{"to": "P04", "occurred_at": opened.AddDate(0, 0, 1)}
					a.moved = accepted(token, p.URL+"/api/candidates/pathways/"+a.pathway+"/moves", move, "move-"+key, nil)
				}
			})
		}
		// A moment of its own choosing, once commands are flowing.
		enough := 20*(round+1) + random.IntN(60)
		harness.Eventually(t, "commands are acknowledged", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acknowledged) < enough {
				return fmt.Errorf("%d", len(acknowledged))
			}
			return nil
		})
		p.Kill()
		wg.Wait()
	}

	p := harness.Up(t, data)
	token := p.Token(t, "admin")
	opened, moved := 0, 0
	for key, a := range acknowledged {
		if status := harness.Call(t, token, "GET", p.URL+"/api/candidates/candidates/"+a.candidate, nil, nil); status != http.StatusOK {
			t.Errorf("person of command %s was acknowledged and is gone: %d", key, status)
		}
		if a.pathway == "" {
			continue
		}
		opened++
		var w struct {
			Stage   string            `json:"stage"`
			History []json.RawMessage `json:"history"`
		}
		if status := harness.Call(t, token, "GET", p.URL+"/api/candidates/pathways/"+a.pathway, nil, &w); status != http.StatusOK {
			t.Errorf("pathway of command %s was acknowledged and is gone: %d", key, status)
		}
		if a.moved {
			moved++
			if w.Stage != "P04" {
				t.Errorf("move of command %s was acknowledged, the pathway is at %s", key, w.Stage)
			}
		}
		if len(w.History) > 2 {
			t.Errorf("pathway of command %s moved twice: %d entries", key, len(w.History))
		}
	}
	t.Logf("%d kills: %d people, %d pathways and %d moves were acknowledged", rounds, len(acknowledged), opened, moved)
	if opened == 0 || moved == 0 {
		t.Fatal("nothing was under way when the platform was killed")
	}
	if out, code := harness.Masar(t, "verify", "--data", data); code != 0 {
		t.Fatalf("verify after the kills: %s", out)
	}
}

// accepted sends one command and tells whether it was acknowledged.
func accepted(token, url string, body any, key string, id *string) bool {
	status, raw, err := harness.TryCall(token, "POST", url, body, "Idempotency-Key", key)
	if err != nil || status >= 300 {
		return false
	}
	var made struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &made) != nil || made.ID == "" {
		return false
	}
	if id != nil {
		*id = made.ID
	}
	return true
}
