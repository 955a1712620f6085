package tests

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/tests/harness"
)

// TestRestoreDrill backs up a platform while people are entered, loses the whole
// machine, restores elsewhere, and measures what was lost and how long it took: all
// that was acknowledged before the backup began is there, and the figures agree with
// the events.
func TestRestoreDrill(t *testing.T) {
	dir := t.TempDir()
	data, backups := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	masar := func(args ...string) string {
		t.Helper()
		out, code := harness.Masar(t, args...)
		if code != 0 {
			t.Fatalf("masar %v: exit %d\n%s", args, code, out)
		}
		return out
	}
	p := harness.Up(t, data)
	masar("demo", "--people", "100", "--data", data)

	token := p.Token(t, "admin")
	var (
		mu    sync.Mutex
		acked []time.Time        // when each was acknowledged
		ids   = map[int]string{} // person and pathway
	)
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for writer := range 4 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("drill-%d-%d", writer, n)
				person := map[string]any{
					"ref": key, "family_name": "Essai", "given_name": "Reprise", "sex": "F", "birth_date": "1990-01-01",
					"governorate": "TN-11", "language": "fr", "occupations": []map[string]any{{"rome": "A1401"}}, "consents": []string{"matching"},
				}
				var candidate, pathway string
				if !accepted(token, p.URL+"/api/candidates/candidates", person, "person-"+key, &candidate) {
					continue
				}
				open := map[string]any{"candidate_id": candidate, "scheme": "agri", "occurred_at": time.Now().UTC().AddDate(0, 0, -1)}
				if !accepted(token, p.URL+"/api/candidates/pathways", open, "open-"+key, &pathway) {
					continue
				}
				mu.Lock()
				ids[len(acked)] = pathway
				acked = append(acked, time.Now())
				mu.Unlock()
			}
		})
	}
	entered := func(n int) func() error {
		return func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acked) < n {
				return fmt.Errorf("%d people are entered, want %d", len(acked), n)
			}
			return nil
		}
	}
	harness.Eventually(t, "people before the backup", entered(50))
	began := time.Now()
	said := masar("backup", "--data", data, "--to", backups, "--keep", "2")
	ended := time.Now()
	mu.Lock()
	after := len(acked) + 50
	mu.Unlock()
	harness.Eventually(t, "people after the backup", entered(after))
	p.Kill()
	close(stop)
	writers.Wait()
	lost := time.Now()
	t.Logf("%s(beside commands) in %v", said, ended.Sub(began).Round(time.Millisecond))
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}

	if out := masar("restore", "--check", backups); !strings.Contains(out, "whole") {
		t.Errorf("the check says %q", out)
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	t.Log(masar("restore", "--data", elsewhere, backups))
	restored := harness.Up(t, elsewhere)
	token = restored.Token(t, "admin")
	running := time.Now()
	masar("republish", "--data", elsewhere)
	t.Log(masar("verify", "--data", elsewhere))
	back := time.Now()

	kept, gone := 0, 0
	for i, at := range acked {
		status, _, err := harness.TryCall(token, http.MethodGet, restored.URL+"/api/candidates/pathways/"+ids[i], nil)
		switch {
		case err != nil:
			t.Fatal(err)
		case status == http.StatusOK:
			kept++
		case at.Before(began):
			t.Errorf("a pathway acknowledged %v before the backup began is not there", began.Sub(at))
		case at.After(ended):
			gone++
		}
	}
	if gone < 50 {
		t.Errorf("%d pathways from after the backup are gone; the test should lose 50", gone)
	}
	t.Logf("recovery point: %v before the loss, %d of %d pathways acknowledged meanwhile are gone, %d from before are all there; recovery time: %v until it ran, %v until verified",
		lost.Sub(began).Round(time.Millisecond), gone, len(acked), kept, running.Sub(lost).Round(time.Millisecond), back.Sub(lost).Round(time.Millisecond))

	// Work goes on: new events follow the old ones in the figures.
	var candidate, pathway string
	person := map[string]any{
		"ref": "after", "family_name": "Essai", "given_name": "Suite", "sex": "F", "birth_date": "1990-01-01",
		"governorate": "TN-11", "language": "fr", "occupations": []map[string]any{{"rome": "A1401"}}, "consents": []string{"matching"},
	}
	open := func() map[string]any {
		return map[string]any{"candidate_id": candidate, "scheme": "agri", "occurred_at": time.Now().UTC().AddDate(0, 0, -1)}
	}
	if !accepted(token, restored.URL+"/api/candidates/candidates", person, "person-after", &candidate) ||
		!accepted(token, restored.URL+"/api/candidates/pathways", open(), "open-after", &pathway) {
		t.Fatal("the restored platform takes no command")
	}
	t.Log(masar("verify", "--data", elsewhere))

	// It goes nowhere where something is.
	if out, code := harness.Masar(t, "restore", "--data", elsewhere, backups); code == 0 || !strings.Contains(out, "not empty") {
		t.Errorf("restored over a running platform: exit %d, %s", code, out)
	}
	// Nor half, when the file was not copied whole.
	file := strings.SplitN(said, ": ", 2)[0]
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the backup: %v", info.Mode())
	}
	if err := os.Truncate(file, info.Size()*9/10); err != nil {
		t.Fatal(err)
	}
	third := filepath.Join(dir, "third")
	if out, code := harness.Masar(t, "restore", "--data", third, file); code == 0 || !strings.Contains(out, "ends too early") {
		t.Errorf("restored from a part of the file: exit %d, %s", code, out)
	}
	if _, err := os.Stat(third); err == nil {
		t.Error("a part was restored")
	}
}
