package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/services/matching"
)

func TestReplayPrintsTheBytesAndSaysHowTheyAre(t *testing.T) {
	answers := map[string]any{
		"/api/matching/shortlists/S1/replay": matching.ReplayAnswer{ID: "S1", Same: true, Sum: "ab", Answer: json.RawMessage(`{"b":1,"a":"<é>"}`)},
		"/api/matching/shortlists/S2/replay": matching.ReplayAnswer{ID: "S2", Sum: "ab", Remade: "cd", Program: "v1", Now: "v2", Answer: json.RawMessage(`{}`)},
		"/api/matching/campaigns/C1/replay":  matching.ReplayAnswer{ID: "C1", Same: true, Sum: "ef", Answer: json.RawMessage(`[]`)},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer, ok := answers[r.URL.Path]; ok {
			to := json.NewEncoder(w)
			to.SetEscapeHTML(false)
			_ = to.Encode(answer)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		if strings.Contains(r.URL.Path, "S3") {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"type":"urn:masar:problem:conflict","title":"x","status":409,"detail":"It cannot be made again: weights of version 1 are gone."}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"type":"urn:masar:problem:not-found","title":"x","status":404,"detail":"no"}`))
	}))
	defer server.Close()
	client := api.NewClient(server.URL, access.Static("t"))
	for _, tt := range []struct {
		id, out, word, err string
	}{
		{"S1", "{\"b\":1,\"a\":\"<é>\"}\n", "same: the shortlist S1", ""},
		{"S2", "{}\n", "the program was v1 and is v2", "failed"},
		{"C1", "[]\n", "same: the campaign C1", ""},
		{"S3", "", "", "weights of version 1 are gone"},
		{"X/../..", "", "", "there is no shortlist and no campaign X/../.."},
	} {
		var out, words bytes.Buffer
		err := replay(t.Context(), client, tt.id, &out, &words)
		if out.String() != tt.out || !strings.Contains(words.String(), tt.word) {
			t.Errorf("%s: printed %q and %q", tt.id, &out, &words)
		}
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: error %v, want %q", tt.id, err, tt.err)
		}
		if tt.id == "S2" && !errors.Is(err, errFailed) {
			t.Errorf("a difference is the error %v", err)
		}
	}
}
