package access

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTokenFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	source := File(path)
	if _, err := source.Token(t.Context()); err == nil {
		t.Error("no file, but a token")
	}
	write := func(text string, modified time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n", noon)
	if got, err := source.Token(t.Context()); err != nil || got != "first" {
		t.Errorf("got %q, %v", got, err)
	}
	write("again\n", noon.Add(time.Second))
	if got, err := source.Token(t.Context()); err != nil || got != "again" {
		t.Errorf("after a change: %q, %v", got, err)
	}
	write(" \n", noon.Add(2*time.Second))
	if _, err := source.Token(t.Context()); err == nil {
		t.Error("an empty file, but a token")
	}
}

func TestTheLocalIssuersSourceRenewsInTime(t *testing.T) {
	var clock atomic.Int64
	now := func() time.Time { return noon.Add(time.Duration(clock.Load())) }
	i := openIssuer(t, t.TempDir(), "http://x", now)
	source := i.Source(Principal{Subject: "matching", Role: Service}, 10*time.Minute)
	first, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clock.Store(int64(7 * time.Minute))
	if same, err := source.Token(t.Context()); err != nil || same != first {
		t.Errorf("renewed too early: %v", err)
	}
	clock.Store(int64(8 * time.Minute))
	next, err := source.Token(t.Context())
	if err != nil || next == first {
		t.Errorf("not renewed: %v", err)
	}
	clock.Store(int64(17 * time.Minute))
	if _, err := i.Verifier().Verify(t.Context(), next); err != nil {
		t.Errorf("the renewed token must hold: %v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		id, secret, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if id != "masar-notifications" || secret != "s3cret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("audience") != Audience {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "secret was " + secret})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "tok", "token_type": "Bearer", "expires_in": 3600})
	}))
	defer server.Close()
	source := ClientCredentials(server.URL, "masar-notifications", "s3cret", nil)
	for range 3 {
		if got, err := source.Token(t.Context()); err != nil || got != "tok" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("a valid token is kept; asked %d times", asked.Load())
	}
	_, err := ClientCredentials(server.URL, "masar-notifications", "wr0ng", nil).Token(t.Context())
	if err == nil || strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("refused credentials: %v", err)
	}
}
