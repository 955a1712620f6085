package matching

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime"
	"masar.local/pkg/runtime/runtimetest"
	"masar.local/pkg/telemetry"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// Callers of the tests.
var (
	counsellor = access.Principal{Subject: "c1", Role: access.Counsellor}
	gafsa      = access.Principal{Subject: "c2", Role: access.Counsellor, Governorates: []string{"TN-71"}}
	careOnly   = access.Principal{Subject: "c3", Role: access.Counsellor, Schemes: []string{"soin"}}
	employerA  = access.Principal{Subject: "e1", Role: access.Employer, Employer: id(500)}
	employerB  = access.Principal{Subject: "e2", Role: access.Employer, Employer: id(501)}
)

// rig is the service as it really runs: SQLite, the embedded broker, HTTP with
// tokens. Its clock stands at noon of 2026-03-01.
type rig struct {
	t      testing.TB
	dir    string
	bus    *bus.Client
	issuer *access.Issuer
	store  docstore.Engine
	seqs   map[string]int64
	*replica
}

// replica is one running process of the service, so to say.
type replica struct {
	base    string
	service *service
	stop    func()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), seqs: map[string]int64{}}
	r.bus = runtimetest.Broker(t, filepath.Join(r.dir, "broker"))
	var err error
	if r.issuer, err = access.OpenIssuer(r.dir, "http://masar.test", time.Now); err != nil {
		t.Fatal(err)
	}
	if r.store, err = docstore.Open(t.Context(), "sqlite:"+filepath.Join(r.dir, "matching.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	r.replica = r.start("one")
	return r
}

// start runs one replica until it is stopped, or the test ends.
func (r *rig) start(holder string) *replica {
	r.t.Helper()
	out := &replica{}
	tel, err := telemetry.Start(r.t.Context(), telemetry.Config{Service: "masar-matching", LogTo: io.Discard})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = tel.Shutdown(context.WithoutCancel(r.t.Context())) })
	s, err := runtime.Build(r.t.Context(), runtime.Platform{
		Name: "matching", Log: slog.New(slog.DiscardHandler), Store: r.store, Bus: r.bus, DataDir: r.dir, Meter: tel.MeterFor("matching"),
		Now: func() time.Time { return at("2026-03-01") }, Getenv: func(string) string { return "" }, Holder: holder,
	}, func(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
		built, inner, err := build(ctx, p)
		out.service = inner
		return built, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	out.base, out.stop = runtimetest.Serve(r.t, s, runtime.Options{Verifier: r.issuer.Verifier(), Metrics: tel.MetricsHandler()})
	return out
}

// eventually waits until the condition holds.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	runtimetest.Eventually(r.t, what, ok)
}

// event makes the next event of an aggregate.
func (r *rig) event(subject string, data proto.Message) event.Event {
	e := event.New("/test", subject, at("2026-02-01"), at("2026-02-01"), data)
	r.seqs[subject]++
	e.Seq = r.seqs[subject]
	return e
}

// tell lets the service learn of something, without the broker.
func (r *rig) tell(subject string, data proto.Message) {
	r.t.Helper()
	if _, err := r.service.Learn(r.t.Context(), r.event(subject, data)); err != nil {
		r.t.Fatal(err)
	}
}

func profileOf(governorate string, consents ...string) *candidatesv1.Profile {
	return &candidatesv1.Profile{
		Sex: "F", BirthYear: 1995, Governorate: governorate,
		Occupations: []*candidatesv1.Occupation{{Rome: "A1401", ExperienceMonths: 12}},
		Languages:   []*candidatesv1.Language{{Code: "fr", Cefr: "A2"}},
		Licences:    []string{"B"}, Schemes: []string{"agri"}, Regions: []string{"84"}, Consents: consents,
	}
}

// person tells of a person with an open pathway, and gives their id.
func (r *rig) person(n int, governorate string, consents ...string) string {
	r.t.Helper()
	r.tell(id(n), &candidatesv1.CandidateRegistered{Profile: profileOf(governorate, consents...)})
	r.tell(id(900+n), &candidatesv1.PathwayOpened{CandidateId: id(n), Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	return id(n)
}

func termsOf(employer string, posts int32) *employersv1.Terms {
	return &employersv1.Terms{
		EmployerId: employer, Rome: "A1401", Sector: "agriculture", Scheme: "agri", Region: "84", Posts: posts,
		ContractMonths: 4, StartsOn: "2026-05-01",
		Languages: []*employersv1.LanguageNeed{{Code: "fr", Cefr: "A1", Required: true}},
		Licences:  []*employersv1.LicenceNeed{{Category: "B", Required: true}},
	}
}

// offer tells of an open offer, and gives its id.
func (r *rig) offer(n int, employer string, posts int32) string {
	r.t.Helper()
	r.tell(id(n), &employersv1.OfferOpened{Terms: termsOf(employer, posts)})
	return id(n)
}

// send sends a request to a replica and gives the status, headers and body.
func (r *rig) send(to *replica, p access.Principal, method, path, body, key string) (int, http.Header, []byte) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, to.base+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if p.Role != "" {
		token, err := r.issuer.Token(p, time.Minute)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, res.Header, answer
}

// get asks for an answer that must succeed.
func get[T any](r *rig, p access.Principal, path string) (out T) {
	r.t.Helper()
	status, _, body := r.send(r.replica, p, http.MethodGet, path, "", "")
	if status != http.StatusOK {
		r.t.Fatalf("GET %s as %s: %d %s", path, p.Role, status, body)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&out); err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return out
}

// shortlist asks for the candidates of an offer.
func (r *rig) shortlist(p access.Principal, offer string) CandidatesAnswer {
	r.t.Helper()
	return get[CandidatesAnswer](r, p, "/api/matching/offers/"+offer+"/candidates?k=200")
}

func (r *rig) cases(p access.Principal, query string) api.Page[CaseView] {
	r.t.Helper()
	return get[api.Page[CaseView]](r, p, "/api/matching/decisions?"+query)
}

// post posts a decision.
func (r *rig) post(to *replica, p access.Principal, offer, candidate, kind, key string) (int, []byte) {
	r.t.Helper()
	body := fmt.Sprintf(`{"offer_id":%q,"candidate_id":%q,"kind":%q}`, offer, candidate, kind)
	status, _, answer := r.send(to, p, http.MethodPost, "/api/matching/decisions", body, key)
	return status, answer
}

// decide posts decisions that must succeed.
func (r *rig) decide(p access.Principal, offer, candidate string, kinds ...string) {
	r.t.Helper()
	for _, kind := range kinds {
		if status, body := r.post(r.replica, p, offer, candidate, kind, ""); status != http.StatusCreated {
			r.t.Fatalf("%s as %s: %d %s", kind, p.Role, status, body)
		}
	}
}

// problem is the part of a problem that tests look at.
type problem struct {
	Type   string      `json:"type"`
	Status int         `json:"status"`
	Detail string      `json:"detail"`
	Errors []api.Field `json:"errors"`
}

func problemOf(t testing.TB, body []byte) (p problem) {
	t.Helper()
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("not a problem: %s", body)
	}
	return p
}

func count(a CandidatesAnswer, condition string) int {
	for _, o := range a.Out {
		if o.Condition == condition {
			return o.Count
		}
	}
	return 0
}
