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
		corrected, taken   bool // the move has another date; the move was taken back
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
					way := p.URL + "/api/candidates/pathways/" + a.pathway
					if a.moved = accepted(token, way+"/moves", move, "move-"+key, nil); !a.moved || n%2 == 0 {
						continue
					}
					right := map[string]any{"entry": 2, "occurred_at": opened.AddDate(0, 0, 3)}
					if a.corrected = accepted(token, way+"/corrections", right, "right-"+key, nil); a.corrected && n%4 == 1 {
						a.taken = accepted(token, way+"/retractions", map[string]any{"entry": 2}, "back-"+key, nil)
					}
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
	opened, moved, corrected := 0, 0, 0
	for key, a := range acknowledged {
		if status := harness.Call(t, token, "GET", p.URL+"/api/candidates/candidates/"+a.candidate, nil, nil); status != http.StatusOK {
			t.Errorf("person of command %s was acknowledged and is gone: %d", key, status)
		}
		if a.pathway == "" {
			continue
		}
		opened++
		var w struct {
			Stage   string `json:"stage"`
			History []struct {
				Kind string     `json:"kind"`
				Was  *time.Time `json:"was"`
			} `json:"history"`
		}
		if status := harness.Call(t, token, "GET", p.URL+"/api/candidates/pathways/"+a.pathway, nil, &w); status != http.StatusOK {
			t.Errorf("pathway of command %s was acknowledged and is gone: %d", key, status)
		}
		kinds := map[string]int{}
		for _, e := range w.History {
			kinds[e.Kind]++
		}
		if a.moved {
			moved++
			// A command that was not acknowledged may have been done all the same.
			if taken := kinds["retracted"] > 0; w.Stage != "P04" && !taken || a.taken && w.Stage != "P02" {
				t.Errorf("move of command %s was acknowledged (taken back: %v), the pathway is at %s", key, a.taken, w.Stage)
			}
		}
		if a.corrected {
			corrected++
			if kinds["corrected"] != 1 {
				t.Errorf("correction of command %s was acknowledged, and is not there", key)
			}
		}
		for kind, n := range kinds {
			if n > 1 {
				t.Errorf("pathway of command %s has %d entries %q", key, n, kind)
			}
		}
	}
	t.Logf("%d kills: %d people, %d pathways, %d moves and %d corrections were acknowledged", rounds, len(acknowledged), opened, moved, corrected)
	if opened == 0 || moved == 0 || corrected == 0 {
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
