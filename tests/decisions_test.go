package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"masar.local/tests/harness"
)

// TestOffersThatFallThrough follows decisions through every service on `masar
// up`: what an offer takes, what it gives back, who gets it then, and that every
// figure is exact at the end.
func TestOffersThatFallThrough(t *testing.T) {
	w := upWorld(t, harness.Up(t, filepath.Join(t.TempDir(), "data")))
	var employer struct {
		ID string `json:"id"`
	}
	w.must(t, "officer", "POST", "/api/employers/employers", map[string]any{"legal_name": "Vergers du Rhône", "siret": "73282932000074"}, &employer, 201)
	offer := func(title string) string {
		var o struct {
			ID string `json:"id"`
		}
		w.must(t, "officer", "POST", "/api/employers/offers", map[string]any{
			"employer_id": employer.ID, "title": title, "rome": "A1401", "scheme": "agri", "contract": "SAI", "contract_months": 5, "posts": 1,
		}, &o, 201)
		return o.ID
	}
	person := func(name, cin string) (who, way string) {
		var c, p struct {
			ID string `json:"id"`
		}
		w.must(t, "counsellor", "POST", "/api/candidates/candidates", map[string]any{
			"family_name": name, "given_name": "Amel", "sex": "F", "birth_date": "1995-04-12", "governorate": "TN-71", "national_id": cin,
			"occupations": []map[string]any{{"rome": "A1401", "experience_months": 24}}, "consents": []string{"matching", "employer_disclosure"},
		}, &c, 201)
		w.must(t, "counsellor", "POST", "/api/candidates/pathways", map[string]any{"candidate_id": c.ID, "scheme": "agri"}, &p, 201)
		return c.ID, p.ID
	}
	apples, pears := offer("Pommes"), offer("Poires")
	nadia, nadias := person("Ben Saïd", "01234567")
	salma, salmas := person("Trabelsi", "07654321")

	try := func(offer, who, kind string, more ...string) (int, json.RawMessage) {
		said := map[string]any{"offer_id": offer, "candidate_id": who, "kind": kind}
		for i := 0; i+1 < len(more); i += 2 {
			said[more[i]] = more[i+1]
		}
		var answer json.RawMessage
		return w.call(t, "counsellor", "POST", "/api/matching/decisions", said, &answer), answer
	}
	// decide tries until what is decided on is known, as a person would.
	decide := func(offer, who, kind string, more ...string) {
		t.Helper()
		harness.Eventually(t, kind, func() error {
			if status, answer := try(offer, who, kind, more...); status != http.StatusCreated {
				return fmt.Errorf("%d %s", status, answer)
			}
			return nil
		})
	}
	at := func(pathway, want string) {
		t.Helper()
		harness.Eventually(t, "the pathway is at "+want, func() error {
			var p struct {
				Stage string `json:"stage"`
			}
			if w.call(t, "counsellor", "GET", "/api/candidates/pathways/"+pathway, nil, &p); p.Stage != want {
				return fmt.Errorf("it is at %s", p.Stage)
			}
			return nil
		})
	}
	posts := func(offer, status string, filled int) {
		t.Helper()
		harness.Eventually(t, fmt.Sprintf("the offer is %s with %d filled", status, filled), func() error {
			var o struct {
				Status string `json:"status"`
				Filled int    `json:"posts_filled"`
			}
			if w.call(t, "officer", "GET", "/api/employers/offers/"+offer, nil, &o); o.Status != status || o.Filled != filled {
				return fmt.Errorf("it is %s with %d filled", o.Status, o.Filled)
			}
			return nil
		})
	}

	// Both are met by the one employer, Nadia by the other too.
	for _, who := range []string{nadia, salma} {
		decide(apples, who, "shortlisted")
		decide(apples, who, "disclosed")
		decide(apples, who, "interview")
	}
	decide(pears, nadia, "shortlisted")
	decide(pears, nadia, "interview")
	at(nadias, "P07")
	at(salmas, "P07")

	// Two offers would take Nadia at once: one does, the other is told why not.
	taken, other := "", ""
	harness.Eventually(t, "an offer takes Nadia", func() error {
		var all sync.WaitGroup
		var mu sync.Mutex
		taken, other = "", ""
		for _, o := range []string{apples, pears} {
			all.Go(func() {
				status, answer := try(o, nadia, "accepted")
				mu.Lock()
				defer mu.Unlock()
				switch status {
				case http.StatusCreated:
					taken += o
				case http.StatusConflict:
					other += o
				default:
					t.Errorf("%d %s", status, answer)
				}
			})
		}
		all.Wait()
		if taken == "" {
			return fmt.Errorf("matching has not heard of the interviews yet: %s", other)
		}
		return nil
	})
	if len(taken) != len(apples) || len(other) != len(apples) {
		t.Fatalf("taken by %q, refused to %q", taken, other)
	}
	at(nadias, "P08")
	posts(taken, "closed", 1)
	posts(other, "open", 0)
	if status, answer := try(other, nadia, "hired"); status != http.StatusConflict {
		t.Errorf("the other hires her too: %d %s", status, answer)
	}

	// She thinks again: the post is open, the other offer takes her in the same
	// breath, and signs.
	decide(taken, nadia, "refused", "by", "candidate", "reason", "LOGEMENT")
	decide(other, nadia, "accepted")
	posts(taken, "open", 0)
	at(nadias, "P08")
	posts(other, "closed", 1)
	decide(other, nadia, "hired")
	if taken == apples {
		decide(apples, salma, "accepted")
	} else {
		// Her pathway does not wait: the pears' employer has not met Salma.
		decide(pears, salma, "shortlisted")
		decide(pears, salma, "interview")
		decide(pears, salma, "accepted")
	}
	at(salmas, "P08")
	posts(taken, "closed", 1)

	// Salma does not come; the post is open again, and so is her pathway.
	decide(taken, salma, "hired")
	decide(taken, salma, "no_show")
	posts(taken, "open", 0)
	at(salmas, "P07")

	figures := map[string]float64{
		"masar_kpi_posts_open": 1, "masar_kpi_offers_open": 1, "masar_kpi_posts_filled": 3, "masar_kpi_posts_released": 2,
		`masar_kpi_refusals`: 1, "masar_kpi_offers_received": 2,
	}
	harness.Eventually(t, "figures on the metrics page", func() error {
		m := harness.Metrics(t, w.metrics)
		for series, want := range figures {
			if got, ok := sum(m, series); !ok || got != want {
				return fmt.Errorf("%s is %v, want %v", series, got, want)
			}
		}
		return nil
	})
	if out, code := w.masar(t, "verify"); code != 0 {
		t.Errorf("verify: %s", out)
	}
}
