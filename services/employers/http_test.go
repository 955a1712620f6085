package employers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/runtime"
)

// house is the service as it runs: sqlite, HTTP, tokens of the local issuer.
type house struct {
	t       testing.TB
	store   docstore.Engine
	service *runtime.Service
	url     string
	issuer  *access.Issuer
}

func newHouse(t testing.TB, client *bus.Client) *house {
	t.Helper()
	h := &house{t: t, store: openStore(t)}
	var err error
	// Tokens live by the wall clock, whatever the service's clock says.
	if h.issuer, err = access.OpenIssuer(t.TempDir(), "http://issuer.test", time.Now); err != nil {
		t.Fatal(err)
	}
	h.service, err = runtime.Build(t.Context(), runtime.Platform{
		Name: Name, Log: slog.New(slog.DiscardHandler), Store: h.store, Bus: client, Now: clock, DataDir: t.TempDir(), Holder: "test",
		Getenv: func(string) string { return "" },
	}, New)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h.service.Router.Handler(h.issuer.Verifier()))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a answer) id() string { id, _ := a.body["id"].(string); return id }

// call sends a request as a principal; headers are "Name: value".
func (h *house) call(who access.Principal, method, path, body string, headers ...string) answer {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if who.Role != "" {
		if who.Subject == "" {
			who.Subject = "test-" + string(who.Role) + who.Employer
		}
		token, err := h.issuer.Token(who, time.Hour)
		if err != nil {
			h.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	if bytes.HasPrefix(text, []byte("{")) {
		if err := json.Unmarshal(text, &a.body); err != nil {
			h.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return a
}

var admin = access.Principal{Role: access.Admin}

const offerBody = `{"title":"Cueillette de pommes","rome":"A1401","contract":"SAI","posts":2}`

func (h *house) employer(siret string) string {
	h.t.Helper()
	a := h.call(admin, "POST", "/api/employers/employers", `{"legal_name":"Vergers `+siret+`","siret":"`+siret+`","contact":{"name":"Anne Martin"}}`)
	if a.status != http.StatusCreated {
		h.t.Fatalf("register: %d %s", a.status, a.text)
	}
	return a.id()
}

func (h *house) offer(employer string) answer {
	h.t.Helper()
	a := h.call(admin, "POST", "/api/employers/offers", strings.TrimSuffix(offerBody, "}")+`,"employer_id":"`+employer+`"}`)
	if a.status != http.StatusCreated {
		h.t.Fatalf("post: %d %s", a.status, a.text)
	}
	return a
}

// Who may do what, route by route; every role that is not named is refused.
func TestRolesOverHTTP(t *testing.T) {
	h := newHouse(t, nil)
	employer := h.employer(siretA)
	h.employer(siretB)
	own := func() string { return h.offer(employer).id() }
	imports := `{"rows":[` + string(minimal(t, nil)) + `]}`
	all := access.Roles()
	for _, c := range []struct {
		method, path string // {employer} and {offer} are filled in
		body         string
		want         map[access.Role]int
	}{
		{"POST", "/api/employers/employers", `{"legal_name":"X","siret":"1"}`, map[access.Role]int{access.Officer: 422, access.Integrator: 422, access.Admin: 422}},
		{"GET", "/api/employers/employers", "", map[access.Role]int{access.Counsellor: 200, access.Officer: 200, access.Employer: 200, access.Manager: 200, access.Integrator: 200, access.Admin: 200}},
		{"GET", "/api/employers/employers/{employer}", "", map[access.Role]int{access.Counsellor: 200, access.Officer: 200, access.Employer: 200, access.Manager: 200, access.Integrator: 200, access.Admin: 200}},
		{"PUT", "/api/employers/employers/{employer}", `{"legal_name":"X","siret":"` + siretA + `"}`, map[access.Role]int{access.Officer: 428, access.Integrator: 428, access.Admin: 428}},
		{"POST", "/api/employers/offers", offerBody, map[access.Role]int{access.Officer: 201, access.Employer: 201, access.Integrator: 201, access.Admin: 201}},
		{"GET", "/api/employers/offers", "", map[access.Role]int{access.Counsellor: 200, access.Officer: 200, access.Employer: 200, access.Manager: 200, access.Statistician: 200, access.Integrator: 200, access.Service: 200, access.Admin: 200}},
		{"GET", "/api/employers/offers/{offer}", "", map[access.Role]int{access.Counsellor: 200, access.Officer: 200, access.Employer: 200, access.Manager: 200, access.Statistician: 200, access.Integrator: 200, access.Service: 200, access.Admin: 200}},
		{"PUT", "/api/employers/offers/{offer}", offerBody, map[access.Role]int{access.Officer: 428, access.Employer: 428, access.Integrator: 428, access.Admin: 428}},
		{"POST", "/api/employers/offers/{offer}/fill", "", map[access.Role]int{access.Officer: 200, access.Employer: 200, access.Integrator: 200, access.Admin: 200}},
		{"POST", "/api/employers/offers/{offer}/close", `{"reason":"withdrawn"}`, map[access.Role]int{access.Officer: 200, access.Employer: 200, access.Integrator: 200, access.Admin: 200}},
		// Files are taken in by officers and integrators, not by one employer.
		{"POST", "/api/employers/imports?dry_run=true", imports, map[access.Role]int{access.Officer: 200, access.Integrator: 200, access.Admin: 200}},
		{"GET", "/api/employers/journal", "", map[access.Role]int{access.Operator: 200, access.Service: 200, access.Admin: 200}},
	} {
		path := func() string {
			return strings.NewReplacer("{employer}", employer, "{offer}", own()).Replace(c.path)
		}
		for _, role := range all {
			want, ok := c.want[role]
			if !ok {
				want = http.StatusForbidden
			}
			who := access.Principal{Role: role}
			if role == access.Employer {
				who.Employer = employer
			}
			if got := h.call(who, c.method, path(), c.body); got.status != want {
				t.Errorf("%s %s as %s: %d, want %d: %s", c.method, c.path, role, got.status, want, got.text)
			}
		}
		if got := h.call(access.Principal{}, c.method, path(), c.body); got.status != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d", c.method, c.path, got.status)
		}
	}
}

func TestScopeOverHTTP(t *testing.T) {
	h := newHouse(t, nil)
	mine, theirs := h.employer(siretA), h.employer(siretB)
	me := access.Principal{Role: access.Employer, Employer: mine}
	ours, others, nobodys := h.offer(mine).id(), h.offer(theirs).id(), h.call(admin, "POST", "/api/employers/offers", offerBody).id()

	for _, id := range []string{others, nobodys} {
		for _, c := range []struct{ method, path, body string }{
			{"GET", "", ""},
			{"PUT", "", offerBody},
			{"POST", "/close", `{"reason":"withdrawn"}`},
			{"POST", "/fill", ""},
		} {
			if a := h.call(me, c.method, "/api/employers/offers/"+id+c.path, c.body, `If-Match: "1"`); a.status != http.StatusNotFound {
				t.Errorf("another's offer: %s %s gives %d %s", c.method, c.path, a.status, a.text)
			}
		}
	}
	if a := h.call(me, "GET", "/api/employers/employers/"+theirs, ""); a.status != http.StatusNotFound {
		t.Errorf("another employer: %d", a.status)
	}
	for path, want := range map[string]int{
		"/api/employers/offers": 1, "/api/employers/offers?employer=" + theirs: 0, "/api/employers/offers?sector=agriculture": 1,
		"/api/employers/employers": 1, "/api/employers/employers?name=vergers": 1, "/api/employers/employers?siret=" + siretB: 0,
	} {
		a := h.call(me, "GET", path, "")
		if items, _ := a.body["items"].([]any); a.status != 200 || len(items) != want {
			t.Errorf("%s: %d, %d items, want %d", path, a.status, len(items), want)
		}
	}
	// Posted without saying for whom, it is the poster's own; for another it is refused.
	if a := h.call(me, "POST", "/api/employers/offers", offerBody); a.status != 201 || a.body["employer_id"] != mine {
		t.Errorf("own offer: %d %s", a.status, a.text)
	}
	if a := h.call(me, "POST", "/api/employers/offers", strings.TrimSuffix(offerBody, "}")+`,"employer_id":"`+theirs+`"}`); a.status != http.StatusForbidden {
		t.Errorf("an offer for another: %d", a.status)
	}
	if a := h.call(me, "PUT", "/api/employers/offers/"+ours, strings.TrimSuffix(offerBody, "}")+`,"employer_id":"`+theirs+`"}`, `If-Match: "1"`); a.status != http.StatusForbidden {
		t.Errorf("an offer given to another: %d", a.status)
	}

	// The contact of an employer is for who keeps the register, and for itself.
	for _, c := range []struct {
		who  access.Principal
		sees bool
	}{
		{access.Principal{Role: access.Officer}, true},
		{me, true},
		{access.Principal{Role: access.Counsellor}, false},
		{access.Principal{Role: access.Manager}, false},
	} {
		if a := h.call(c.who, "GET", "/api/employers/employers/"+mine, ""); strings.Contains(a.text, "Anne") != c.sees {
			t.Errorf("contact as %s: %s", c.who.Role, a.text)
		}
	}

	// An officer of one scheme neither sees nor touches offers of another.
	soin := access.Principal{Role: access.Officer, Schemes: []string{"soin"}}
	if a := h.call(soin, "GET", "/api/employers/offers/"+ours, ""); a.status != http.StatusNotFound {
		t.Errorf("an offer of another scheme: %d", a.status)
	}
	if a := h.call(soin, "POST", "/api/employers/offers/"+ours+"/fill", ""); a.status != http.StatusNotFound {
		t.Errorf("filled in another scheme: %d", a.status)
	}
	if a := h.call(soin, "POST", "/api/employers/offers", offerBody); a.status != http.StatusForbidden {
		t.Errorf("posted in another scheme: %d", a.status)
	}
	if a := h.call(soin, "GET", "/api/employers/offers", ""); a.status != 200 || a.text != "{\"items\":[]}\n" {
		t.Errorf("list of another scheme: %s", a.text)
	}
}

func TestCommandsCanBeRepeated(t *testing.T) {
	h := newHouse(t, nil)
	officer := access.Principal{Role: access.Officer}
	key := "Idempotency-Key: 01J0000000000000000000000"
	first := h.call(officer, "POST", "/api/employers/offers", offerBody, key)
	again := h.call(officer, "POST", "/api/employers/offers", offerBody, key)
	if first.status != 201 || again.status != 201 || again.id() != first.id() || first.header.Get("Location") != "/api/employers/offers/"+first.id() {
		t.Errorf("posted twice: %d %s, %d %s", first.status, first.id(), again.status, again.id())
	}
	if a := h.call(officer, "POST", "/api/employers/offers", strings.Replace(offerBody, `"posts":2`, `"posts":3`, 1), key); a.status != 422 || a.body["type"] != "urn:masar:problem:idempotency-key-reused" {
		t.Errorf("another body under the key: %d %s", a.status, a.text)
	}
	if a := h.call(admin, "POST", "/api/employers/offers", offerBody, key); a.id() == first.id() {
		t.Error("another principal's key is the same key")
	}

	body := `{"legal_name":"Vergers","siret":"` + siretA + `"}`
	e, e2 := h.call(officer, "POST", "/api/employers/employers", body, key), h.call(officer, "POST", "/api/employers/employers", body, key)
	if e.status != 201 || e2.status != 201 || e.id() != e2.id() {
		t.Errorf("registered twice: %d %s, %d %s", e.status, e.text, e2.status, e2.text)
	}

	fill := "/api/employers/offers/" + first.id() + "/fill"
	for range 2 {
		if a := h.call(officer, "POST", fill, `{}`, "Idempotency-Key: fill-1"); a.status != 200 || a.body["posts_filled"] != 1.0 || a.body["status"] != OfferOpen {
			t.Errorf("fill: %d %s", a.status, a.text)
		}
	}
	if a := h.call(officer, "POST", fill, `{"candidate_id":"c9"}`, "Idempotency-Key: fill-1"); a.status != 422 {
		t.Errorf("another fill under the key: %d", a.status)
	}
	if a := h.call(officer, "POST", fill, ""); a.status != 200 || a.body["close_reason"] != ReasonFilled {
		t.Errorf("the last post: %d %s", a.status, a.text)
	}
	if a := h.call(officer, "POST", fill, ""); a.status != 409 {
		t.Errorf("one post too many: %d", a.status)
	}
	// The command that filled a post is still answered as it was.
	if a := h.call(officer, "POST", fill, `{}`, "Idempotency-Key: fill-1"); a.status != 200 {
		t.Errorf("repeated after the end: %d %s", a.status, a.text)
	}
}

func TestVersionsOverHTTP(t *testing.T) {
	h := newHouse(t, nil)
	o := h.offer(h.employer(siretA))
	path := "/api/employers/offers/" + o.id()
	if o.header.Get("ETag") != `"1"` {
		t.Errorf("ETag %q", o.header.Get("ETag"))
	}
	body := strings.Replace(offerBody, `"posts":2`, `"posts":5`, 1)
	for _, c := range []struct {
		match string
		want  int
	}{{"", 428}, {`"9"`, 412}, {"1", 400}, {`"1"`, 200}, {`"1"`, 412}, {`"2"`, 200}} {
		var headers []string
		if c.match != "" {
			headers = append(headers, "If-Match: "+c.match)
		}
		if a := h.call(admin, "PUT", path, body, headers...); a.status != c.want {
			t.Errorf("If-Match %s: %d, want %d: %s", c.match, a.status, c.want, a.text)
		}
	}
}

func TestBadRequests(t *testing.T) {
	h := newHouse(t, nil)
	o := h.offer(h.employer(siretA)).id()
	for _, c := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"POST", "/api/employers/offers", `{"title":`, 400, "malformed"},
		{"POST", "/api/employers/offers", ``, 400, "malformed"},
		{"POST", "/api/employers/offers", `{"title":"x","rome":"A1401","colour":"red"}`, 422, "invalid"},
		{"POST", "/api/employers/offers", `{"title":7,"rome":"A1401"}`, 422, "invalid"},
		{"POST", "/api/employers/offers", `{"title":"x","rome":"A1401","starts_on":"2026-02-30"}`, 422, "invalid"},
		{"POST", "/api/employers/offers", `{"title":"x","rome":"A1401","employer_id":"nobody"}`, 422, "invalid"},
		{"POST", "/api/employers/offers", `{"title":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too-large"},
		{"POST", "/api/employers/imports", `{"rows":[]}`, 422, "invalid"},
		{"POST", "/api/employers/imports", `{"rows":{}}`, 422, "invalid"},
		{"POST", "/api/employers/imports", `{"rows":[` + strings.Repeat("{},", 500) + `{}]}`, 422, "invalid"},
		{"POST", "/api/employers/imports", `{"rows":["` + strings.Repeat("x", 17<<20) + `"]}`, 413, "too-large"},
		{"GET", "/api/employers/offers?status=dead", "", 422, "invalid"},
		{"GET", "/api/employers/offers?cursor=nonsense", "", 422, "invalid"},
		{"GET", "/api/employers/offers?limit=0", "", 422, "invalid"},
		{"GET", "/api/employers/offers?colour=red", "", 422, "invalid"},
		{"GET", "/api/employers/offers/nowhere", "", 404, "not-found"},
		{"DELETE", "/api/employers/offers/" + o, "", 405, "method-not-allowed"},
		{"POST", "/api/employers/offers/" + o + "/close", `{"reason":"bored"}`, 422, "invalid"},
		{"POST", "/api/employers/offers/" + o + "/close", `{"reason":"withdrawn","occurred_at":"2031-01-01T00:00:00Z"}`, 422, "invalid"},
		{"POST", "/api/employers/employers", `{"legal_name":"","siret":""}`, 422, "invalid"},
	} {
		a := h.call(admin, c.method, c.path, c.body)
		if a.status != c.status || a.body["type"] != "urn:masar:problem:"+c.kind {
			t.Errorf("%s %s %.60s: %d %.300s, want %d %s", c.method, c.path, c.body, a.status, a.text, c.status, c.kind)
		}
	}
	if a := h.call(admin, "GET", "/api/employers/offers/"+o, ""); a.body["version"] != 1.0 {
		t.Errorf("something was written: %s", a.text)
	}
}

func TestRealFilesOverHTTP(t *testing.T) {
	rows := realOffers(t)
	h := newHouse(t, nil)
	send := func() map[string]int {
		count := map[string]int{}
		for at := 0; at < len(rows); at += maxRows {
			body, err := json.Marshal(map[string]any{"rows": rows[at:min(at+maxRows, len(rows))]})
			if err != nil {
				t.Fatal(err)
			}
			a := h.call(access.Principal{Role: access.Integrator}, "POST", "/api/employers/imports", string(body))
			if a.status != 200 {
				t.Fatalf("%d %.300s", a.status, a.text)
			}
			for _, r := range a.body["rows"].([]any) {
				count[r.(map[string]any)["outcome"].(string)]++
			}
		}
		return count
	}
	if got := fmt.Sprint(send()); got != "map[created:605]" {
		t.Errorf("first: %s", got)
	}
	if got := fmt.Sprint(send()); got != "map[unchanged:605]" {
		t.Errorf("again: %s", got)
	}
	// The pages of a list have every offer once, linked one to the next.
	seen, path := map[string]bool{}, "/api/employers/offers?departement=01&limit=100"
	for path != "" {
		a := h.call(admin, "GET", path, "")
		for _, item := range a.body["items"].([]any) {
			id := item.(map[string]any)["id"].(string)
			if seen[id] {
				t.Fatalf("%s comes twice", id)
			}
			seen[id] = true
		}
		path = ""
		if link := a.header.Get("Link"); link != "" {
			path = strings.TrimPrefix(strings.Split(link, ">")[0], "<")
		}
	}
	if len(seen) != 455 {
		t.Errorf("%d offers in department 01, want 455", len(seen))
	}
	for id := range seen { // one of them, as it is shown
		a := h.call(admin, "GET", "/api/employers/offers/"+id, "")
		if a.status != 200 || a.body["origin"] != OriginFranceTravail || a.body["as_published"] == nil || a.header.Get("ETag") == "" {
			t.Errorf("shown as %s", a.text)
		}
		break
	}
}
