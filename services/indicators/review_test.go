package indicators

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"masar.local/pkg/access"
)

// post sends a command as the principal and gives the status and the answer.
func (r *rig) post(p access.Principal, path, key string, body any) (int, http.Header, string) {
	r.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.base+path, bytes.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	token, err := r.issuer.Token(p, time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(answer)
}

// freeze makes a review that must succeed.
func (r *rig) freeze(q FreezeRequest, key string) (out Review) {
	r.t.Helper()
	status, _, body := r.post(as(access.Manager), "/api/indicators/reviews", key, q)
	if status != http.StatusCreated && status != http.StatusOK {
		r.t.Fatalf("freeze %s: %d %s", q.Period, status, body)
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// TestFreezeOnceForOneKey: a repeated command gives the review that the first one
// made; another command of the same period makes the next number.
func TestFreezeOnceForOneKey(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	q := FreezeRequest{Period: "2026-Q1", Title: "Comité de pilotage", Note: "Chiffres provisoires.\nÀ revoir."}
	status, header, body := r.post(as(access.Manager), "/api/indicators/reviews", "k1", q)
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	first := r.freeze(q, "k1")
	if first.Name != "2026-Q1-v1" || header.Get("Location") != "/api/indicators/reviews/"+first.ID || first.Facts != len(s.events) || first.Subject != "test" || first.Role != "manager" {
		t.Errorf("%+v", first)
	}
	if status, _, body := r.post(as(access.Manager), "/api/indicators/reviews", "k1", FreezeRequest{Period: "2026-Q1"}); status != http.StatusUnprocessableEntity {
		t.Errorf("the key with another body: %d %s", status, body)
	}
	if second := r.freeze(q, "k2"); second.Name != "2026-Q1-v2" {
		t.Errorf("%+v", second)
	}
	got := ask[FrozenReview](r, as(access.Statistician), "/api/indicators/reviews/2026-Q1-v1?code=people_followed")
	if got.Hash != first.Hash || len(got.Figures) != 1 || *got.Figures[0].Cells[0].Value != 3 {
		t.Errorf("%+v", got)
	}
}
