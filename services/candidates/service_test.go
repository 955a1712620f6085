package candidates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

func TestPersonFromRegistrationToUpdate(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Counsellor, "TN-71")

	created := h.want(201, me, "POST", peoplePath, goodRecord)
	id := created.text("id")
	if created.header.Get("ETag") != `"1"` || created.header.Get("Location") != peoplePath+"/"+id {
		t.Errorf("headers: %v", created.header)
	}
	read := h.want(200, me, "GET", peoplePath+"/"+id, nil)
	if !bytes.Equal(read.body, created.body) {
		t.Errorf("read\n%s\nafter\n%s", read.body, created.body)
	}
	for _, member := range []string{`"national_id":`, `"passport":`, "01234567", "identity"} {
		if bytes.Contains(read.body, []byte(member)) {
			t.Errorf("the answer shows %s: %s", member, read.body)
		}
	}
	if read.text("has_national_id") != "true" || read.text("has_passport") != "false" || read.text("governorate") != "TN-71" {
		t.Errorf("read %s", read.body)
	}

	h.want(428, me, "PUT", peoplePath+"/"+id, goodRecord)
	h.want(412, me, "PUT", peoplePath+"/"+id, goodRecord, "If-Match", `"2"`)
	h.clock.Advance(time.Hour)
	same := h.want(200, me, "PUT", peoplePath+"/"+id, goodRecord, "If-Match", `"1"`)
	if same.header.Get("ETag") != `"1"` {
		t.Errorf("the same record made version %s", same.header.Get("ETag"))
	}
	updated := h.want(200, me, "PUT", peoplePath+"/"+id, variant(t, "national_id", "", "diploma_level", `"bac"`, "licences", ""), "If-Match", `"1"`)
	if updated.header.Get("ETag") != `"2"` || updated.text("has_national_id") != "true" || updated.text("licences") != "<nil>" || updated.text("diploma_level") != "bac" {
		t.Errorf("updated to %s", updated.body)
	}
	gone := h.want(200, me, "PUT", peoplePath+"/"+id, variant(t, "national_id", `""`), "If-Match", `"2"`)
	if gone.text("has_national_id") != "false" {
		t.Errorf("the number could not be removed: %s", gone.body)
	}
	// Only the phone: nothing that others may know of.
	h.want(200, me, "PUT", peoplePath+"/"+id, variant(t, "national_id", `""`, "phone", `"98765432"`), "If-Match", `"3"`)

	contact := h.want(200, me, "GET", peoplePath+"/"+id+"/contact", nil)
	var k Contact
	contact.into(t, &k)
	want := Contact{ID: id, Name: "Hédi Ben Ali", NameAR: "الهادي بن علي", Email: "hedi@example.tn", Phone: "+21698765432", Language: "ar", Consents: []string{"matching", "notification"}}
	if fmt.Sprint(k) != fmt.Sprint(want) {
		t.Errorf("contact %+v", k)
	}

	events := h.events(id)
	if len(events) != 3 {
		t.Fatalf("%d events, want registered, updated, updated", len(events))
	}
	for i, e := range events {
		if e.Seq != int64(i+1) || e.Subject != id || e.Source != "/candidates" {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if r, ok := events[0].Data.(*candidatesv1.CandidateRegistered); !ok || r.GetProfile().GetDiplomaLevel() != "cap" || !slices.Equal(r.GetProfile().GetLicences(), []string{"B"}) {
		t.Errorf("first event %v", events[0].Data)
	}
	if u, ok := events[1].Data.(*candidatesv1.CandidateUpdated); !ok || u.GetProfile().GetDiplomaLevel() != "bac" || len(u.GetProfile().GetLicences()) != 0 || !events[1].OccurredAt.Equal(testNow.Add(time.Hour)) {
		t.Errorf("second event %v", events[1])
	}
}

// With the whole of ROME, a person has no competence that is not in it; others
// learn of the competences, and of nothing when they stay the same.
func TestCompetences(t *testing.T) {
	dir := t.TempDir()
	rome := &reference.Occupations{
		Version: "999-test", Jobs: map[string]reference.Job{"A1401": {Code: "A1401", LabelFR: "x", Parent: "A1401"}},
		Items: map[string]string{"100023": "Abattre un arbre", "125000": "Tailler"},
	}
	if err := rome.Save(dir); err != nil {
		t.Fatal(err)
	}
	h := newHouseIn(t, dir, nil)
	me := h.as(access.Admin)
	refused := h.want(422, me, "POST", peoplePath, variant(t, "competences", `["100023","100024"]`))
	if want := `{"path":"competences[1]","code":"unknown","reason":"not a competence of ROME 999-test"}`; !bytes.Contains(refused.body, []byte(want)) {
		t.Errorf("an unknown competence is answered %s", refused.body)
	}
	row := h.want(200, me, "POST", importPath, `{"rows":[`+string(variant(t, "competences", `["100024"]`))+`]}`)
	if !bytes.Contains(row.body, []byte(`"outcome":"refused"`)) || !bytes.Contains(row.body, []byte(`"path":"competences[0]"`)) {
		t.Errorf("a row with an unknown competence is answered %s", row.body)
	}

	id := h.register()
	next := variant(t, "competences", `["100023"]`)
	h.want(200, me, "PUT", peoplePath+"/"+id, next, "If-Match", `"1"`)
	h.want(200, me, "PUT", peoplePath+"/"+id, next, "If-Match", `"2"`)
	h.want(200, me, "POST", importPath, `{"rows":[`+string(variant(t, "competences", ""))+`]}`) // not given: they stay
	var told []string
	for _, e := range h.events(id) {
		told = append(told, strings.Join(e.Data.(interface{ GetProfile() *candidatesv1.Profile }).GetProfile().GetCompetences(), "+"))
	}
	if got := strings.Join(told, ", "); got != "100023+125000, 100023" {
		t.Errorf("others hear of %s", got)
	}
}

func TestDuplicatesAreOnePerson(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Counsellor)
	id := h.register()
	again := h.want(409, me, "POST", peoplePath, variant(t, "family_name", `"Autrement"`))
	if !bytes.Contains(again.body, []byte(id)) {
		t.Errorf("the conflict does not name %s: %s", id, again.body)
	}
	elsewhere := h.want(409, h.as(access.Counsellor, "TN-11"), "POST", peoplePath, variant(t, "governorate", `"TN-11"`))
	if bytes.Contains(elsewhere.body, []byte(id)) {
		t.Errorf("the conflict names a person outside the scope: %s", elsewhere.body)
	}
	// Another person who is given this one's number.
	other := h.register("national_id", `"99999999"`)
	taken := h.want(409, me, "PUT", peoplePath+"/"+other, goodRecord, "If-Match", `"1"`)
	if !bytes.Contains(taken.body, []byte(id)) {
		t.Errorf("the conflict does not name %s: %s", id, taken.body)
	}
	// The same moment.
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 8 {
		wg.Go(func() {
			a := h.do(me, "POST", peoplePath, variant(t, "national_id", `"55555555"`))
			mu.Lock()
			statuses[a.status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if statuses[201] != 1 || statuses[409] != 7 {
		t.Errorf("eight registrations of one person: %v", statuses)
	}
}

func TestCommandsCanBeRepeated(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Counsellor)
	first := h.want(201, me, "POST", peoplePath, goodRecord, "Idempotency-Key", "reg-1")
	again := h.want(201, me, "POST", peoplePath, goodRecord, "Idempotency-Key", "reg-1")
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("repeated registration: %s, then %s", first.body, again.body)
	}
	if a := h.want(422, me, "POST", peoplePath, variant(t, "sex", `"F"`), "Idempotency-Key", "reg-1"); a.text("type") != "urn:masar:problem:idempotency-key-reused" {
		t.Errorf("%s", a.body)
	}
	person := first.text("id")

	open := map[string]any{"candidate_id": person, "scheme": "agri"}
	first = h.want(201, me, "POST", waysPath, open, "Idempotency-Key", "open-1")
	again = h.want(201, me, "POST", waysPath, open, "Idempotency-Key", "open-1")
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("repeated opening: %s, then %s", first.body, again.body)
	}
	id := first.text("id")
	open["scheme"] = "soin"
	h.want(422, me, "POST", waysPath, open, "Idempotency-Key", "open-1")

	moves := waysPath + "/" + id + "/moves"
	first = h.want(200, me, "POST", moves, `{"to":"P04"}`, "Idempotency-Key", "move-1")
	h.clock.Advance(time.Hour)
	again = h.want(200, me, "POST", moves, `{"to":"P04"}`, "Idempotency-Key", "move-1")
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("repeated move: %s, then %s", first.body, again.body)
	}
	h.want(422, me, "POST", moves, `{"to":"P05"}`, "Idempotency-Key", "move-1")
	h.want(409, me, "POST", moves, `{"to":"P04"}`)
	// Repeated even after the world went on, and with a version that is old now.
	h.want(200, me, "POST", moves, `{"to":"P05"}`)
	again = h.want(200, me, "POST", moves, `{"to":"P04"}`, "Idempotency-Key", "move-1", "If-Match", `"1"`)
	if again.text("stage") != "P05" || again.text("version") != "3" {
		t.Errorf("repeated late: %s", again.body)
	}
	if n := len(h.events(id)); n != 3 {
		t.Errorf("%d events, want opened and two moves", n)
	}
	// Another principal's key is another key.
	h.want(409, h.as(access.Officer), "POST", moves, `{"to":"P02"}`, "Idempotency-Key", "move-1")
}

func TestPathwayOverHTTP(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Officer, "TN-71", "agri")
	person := h.register()
	opened := h.want(201, me, "POST", waysPath, map[string]any{"candidate_id": person, "scheme": "agri", "occurred_at": day(0), "note": "came by bus"})
	id := opened.text("id")
	if opened.header.Get("Location") != waysPath+"/"+id || opened.text("stage") != "P02" || opened.text("next") != "[P04]" {
		t.Errorf("opened: %s", opened.body)
	}
	conflict := h.want(409, me, "POST", waysPath, map[string]any{"candidate_id": person, "scheme": "agri"})
	if !bytes.Contains(conflict.body, []byte(id)) {
		t.Errorf("the conflict does not name the open pathway: %s", conflict.body)
	}
	for i, to := range toPlacement {
		h.want(200, me, "POST", waysPath+"/"+id+"/moves", map[string]any{"to": to, "occurred_at": day(i + 1), "reason": "ok", "offer_id": "O1"})
	}
	w := h.way(id)
	if w.Stage != "P16" || !w.Placed || w.Version != 13 || len(w.History) != 13 || w.History[0].Note != "came by bus" {
		t.Errorf("placed: %+v", w)
	}
	events := h.events(id)
	if len(events) != 13 {
		t.Fatalf("%d events", len(events))
	}
	for i, e := range events {
		if e.Seq != int64(i+1) || !e.OccurredAt.Equal(day(i)) || !e.RecordedAt.Equal(testNow) {
			t.Errorf("event %d: seq %d, occurred %v, recorded %v", i, e.Seq, e.OccurredAt, e.RecordedAt)
		}
	}
	last := events[12].Data.(*candidatesv1.StageEntered)
	if !last.GetPlacement() || last.GetFrom() != "P15" || last.GetPerson().GetBirthYear() != 1995 || last.GetActor() != "officer" {
		t.Errorf("last event %v", last)
	}
	if bytes.Contains(h.pending()[id][0].Value, []byte("bus")) {
		t.Error("a note is in an event")
	}

	h.want(412, me, "POST", waysPath+"/"+id+"/exit", `{"exit":"RUPTURE_CONTRAT"}`, "If-Match", `"12"`)
	exited := h.want(200, me, "POST", waysPath+"/"+id+"/exit", `{"exit":"RUPTURE_CONTRAT","note":"found another"}`, "If-Match", `"13"`)
	if exited.text("state") != "exited" || exited.text("next") != "[]" {
		t.Errorf("exited: %s", exited.body)
	}
	h.want(409, me, "POST", waysPath+"/"+id+"/moves", `{"to":"P17"}`)
	// Another may be opened now, and taken to its end.
	id = h.want(201, me, "POST", waysPath, map[string]any{"candidate_id": person, "scheme": "agri", "occurred_at": day(30)}).text("id")
	for i, to := range append(slices.Clone(toPlacement), "P17", "P18", "P19") {
		h.want(200, me, "POST", waysPath+"/"+id+"/moves", map[string]any{"to": to, "occurred_at": day(31 + i)})
	}
	h.want(200, me, "POST", waysPath+"/"+id+"/completion", nil)
	if w := h.way(id); w.State != Completed || w.EndedAt == nil {
		t.Errorf("completed: %+v", w)
	}
	all := h.events(id)
	if _, ok := all[len(all)-1].Data.(*candidatesv1.PathwayCompleted); !ok {
		t.Errorf("last event %v", all[len(all)-1])
	}
}

func TestBadRequestsChangeNothing(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Counsellor)
	person := h.register()
	id := h.openWay(person, "agri")
	before := h.snapshot()
	moves := waysPath + "/" + id + "/moves"
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		contains     string
	}{
		{"POST", peoplePath, ``, 400, "malformed"},
		{"POST", peoplePath, `{`, 400, "malformed"},
		{"POST", peoplePath, `[]`, 422, "invalid"},
		{"POST", peoplePath, `{}`, 422, "birth_date"},
		{"POST", peoplePath, variant(t, "sex", `"Q"`, "birth_date", `"1995-02-30"`), 422, "birth_date"},
		{"POST", peoplePath, variant(t, "unknown", `1`), 422, "unknown member"},
		{"POST", peoplePath, strings.Repeat("x", 2<<20), 413, "too-large"},
		{"POST", importPath, `{"rows":` + strings.Repeat(" ", maxImport) + `[]}`, 413, "too-large"},
		{"POST", importPath, `{"rows":[]}`, 422, "rows"},
		{"POST", importPath, `{"rows":{}}`, 422, "rows"},
		{"POST", importPath, `{"rows":[` + strings.Repeat("{},", maxRows) + `{}]}`, 422, "too_many"},
		{"POST", waysPath, `{}`, 422, "candidate_id"},
		{"POST", waysPath, map[string]any{"candidate_id": "nobody", "scheme": "agri"}, 404, "not-found"},
		{"POST", waysPath, map[string]any{"candidate_id": person, "scheme": "moon"}, 422, "scheme"},
		{"POST", waysPath, map[string]any{"candidate_id": person, "scheme": "soin", "occurred_at": "2020-01-01T00:00:00Z"}, 422, "scheme"},
		{"POST", waysPath, map[string]any{"candidate_id": person, "scheme": "soin", "occurred_at": "2036-01-01T00:00:00Z"}, 422, "future"},
		{"POST", waysPath, map[string]any{"candidate_id": person, "scheme": "soin", "occurred_at": "yesterday"}, 422, "instant"},
		{"POST", moves, `{}`, 422, "to"},
		{"POST", moves, `{"to":7}`, 422, "string"},
		{"POST", moves, `{"to":"P19"}`, 409, "there may follow P04"},
		{"POST", moves, `{"to":"P04","occurred_at":"2026-13-01T00:00:00Z"}`, 422, "instant"},
		{"POST", moves, `{"to":"P04","reason":"` + strings.Repeat("r", 65) + `"}`, 422, "too_long"},
		{"POST", moves, `{"to":"P04","stage":"P04"}`, 422, "unknown member"},
		{"POST", waysPath + "/" + id + "/exit", `{"exit":"BORED"}`, 422, "DESISTEMENT"},
		{"POST", waysPath + "/" + id + "/exit", `{"exit":"REFUS_VISA"}`, 409, "does not happen at stage P02"},
		{"POST", waysPath + "/" + id + "/completion", nil, 409, "P19"},
		{"POST", waysPath + "/none/moves", `{"to":"P04"}`, 404, "not-found"},
		{"GET", peoplePath + "/none", nil, 404, "not-found"},
		{"GET", peoplePath + "?limit=0", nil, 422, "limit"},
		{"GET", peoplePath + "?limit=9999", nil, 422, "limit"},
		{"GET", peoplePath + "?nom=ali", nil, 422, "unknown parameter"},
		{"GET", peoplePath + "?name=---", nil, 422, "name"},
		{"GET", peoplePath + "?governorate=Paris", nil, 422, "governorate"},
		{"GET", peoplePath + "?cursor=x", nil, 422, "cursor"},
		{"GET", waysPath + "?state=lost", nil, 422, "state"},
		{"GET", waysPath + "?updated_since=monday", nil, 422, "instant"},
		{"GET", waysPath + "?cursor=OTk6", nil, 422, "cursor"},
		{"DELETE", peoplePath, nil, 405, "method-not-allowed"},
	} {
		a := h.do(me, c.method, c.path, c.body)
		if a.status != c.status || !strings.Contains(string(a.body), c.contains) || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %.80v: %d %s; want %d and %q", c.method, c.path, c.body, a.status, a.body, c.status, c.contains)
		}
	}
	if after := h.snapshot(); after != before {
		t.Errorf("a refused request changed something:\n%s\nwas\n%s", after, before)
	}
}

// snapshot is every document with its version and body, and how many events wait.
func (h *house) snapshot() string {
	h.t.Helper()
	var b strings.Builder
	for _, c := range []string{candidateCollection, pathwayCollection} {
		docs, err := h.store.Scan(h.t.Context(), c, "", 1_000_000)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, d := range docs {
			fmt.Fprintf(&b, "%s %s v%d s%d %s\n", c, d.ID, d.Version, d.Seq, d.Body)
		}
	}
	for id, events := range h.pending() {
		if events[len(events)-1].Seq != int64(len(events)) {
			h.t.Errorf("%s: %d events wait, the last is number %d", id, len(events), events[len(events)-1].Seq)
		}
	}
	return b.String()
}

// routes of the service, each with the roles that may use it.
func TestRolesAndTokens(t *testing.T) {
	h := newHouse(t)
	person := h.register()
	way := h.openWay(person, "agri")
	write := "counsellor officer integrator admin"
	move := "counsellor officer admin"
	read := "counsellor officer integrator admin"
	routes := []struct{ method, path, body, roles string }{
		{"POST", peoplePath, `{}`, write},
		{"GET", peoplePath, "", read},
		{"GET", peoplePath + "/" + person, "", read},
		{"PUT", peoplePath + "/" + person, `{}`, write},
		{"GET", peoplePath + "/" + person + "/contact", "", "counsellor officer service admin"},
		{"POST", importPath, `{"rows":[{}]}`, write},
		{"POST", waysPath, `{}`, move},
		{"GET", waysPath, "", read},
		{"GET", waysPath + "/" + way, "", read},
		{"POST", waysPath + "/" + way + "/moves", `{}`, move},
		{"POST", waysPath + "/" + way + "/exit", `{}`, move},
		{"POST", waysPath + "/" + way + "/completion", "", move},
		{"POST", waysPath + "/" + way + "/corrections", "", move},
		{"POST", waysPath + "/" + way + "/retractions", "", move},
		{"GET", "/api/candidates/schemes", "", read},
	}
	if own := len(routes) + 1; len(h.service.Router.Routes()) > own { // + the journal
		t.Errorf("the service has %d routes, this table %d", len(h.service.Router.Routes()), own)
	}
	all := []access.Role{
		access.Counsellor, access.Officer, access.Employer, access.Manager, access.Statistician,
		access.Integrator, access.Operator, access.Service, access.Admin,
	}
	for _, r := range routes {
		h.want(401, "", r.method, r.path, r.body)
		h.want(401, "not-a-token", r.method, r.path, r.body)
		for _, role := range all {
			a := h.do(h.as(role), r.method, r.path, r.body)
			may := slices.Contains(strings.Fields(r.roles), string(role))
			if may == (a.status == http.StatusForbidden) || a.status == http.StatusUnauthorized {
				t.Errorf("%s may use %s %s: %v, answer %d", role, r.method, r.path, may, a.status)
			}
		}
	}
	expired, err := h.issuer.Token(access.Principal{Subject: "x", Role: access.Admin}, -time.Hour)
	if err == nil {
		h.want(401, expired, "GET", peoplePath, nil)
	}
}

func TestScope(t *testing.T) {
	h := newHouse(t)
	gafsa := h.as(access.Counsellor, "TN-71")
	tunis := h.as(access.Counsellor, "TN-11")
	care := h.as(access.Counsellor, "soin")
	person := h.want(201, gafsa, "POST", peoplePath, goodRecord).text("id")
	way := h.openWay(person, "agri")

	h.want(200, gafsa, "GET", peoplePath+"/"+person, nil)
	for _, path := range []string{peoplePath + "/" + person, peoplePath + "/" + person + "/contact", waysPath + "/" + way} {
		outside := h.want(404, tunis, "GET", path, nil)
		nothing := h.want(404, tunis, "GET", strings.NewReplacer(person, strings.Repeat("0", 26), way, strings.Repeat("0", 26)).Replace(path), nil)
		scrub := func(a answer) string {
			return strings.NewReplacer(person, "", way, "", strings.Repeat("0", 26), "", a.text("instance"), "").Replace(string(a.body))
		}
		if scrub(outside) != scrub(nothing) {
			t.Errorf("outside the scope is told from nothing there: %s / %s", outside.body, nothing.body)
		}
	}
	h.want(404, tunis, "PUT", peoplePath+"/"+person, goodRecord, "If-Match", `"1"`)
	h.want(404, tunis, "POST", waysPath, map[string]any{"candidate_id": person, "scheme": "agri"})
	h.want(404, tunis, "POST", waysPath+"/"+way+"/moves", `{"to":"P04"}`)
	h.want(404, tunis, "POST", waysPath+"/"+way+"/exit", `{"exit":"DESISTEMENT"}`)
	h.want(403, tunis, "POST", peoplePath, variant(t, "national_id", `"22222222"`))
	h.want(403, gafsa, "PUT", peoplePath+"/"+person, variant(t, "governorate", `"TN-11"`), "If-Match", `"1"`)

	// Scheme: the person is seen, the pathway of another scheme is not.
	h.want(200, care, "GET", peoplePath+"/"+person, nil)
	h.want(404, care, "GET", waysPath+"/"+way, nil)
	h.want(403, care, "POST", waysPath, map[string]any{"candidate_id": person, "scheme": "agri"})
	h.want(201, care, "POST", waysPath, map[string]any{"candidate_id": person, "scheme": "soin"})
	for token, want := range map[string]int{gafsa: 2, tunis: 0, care: 1} {
		for _, query := range []string{"?candidate_id=" + person, "?", "?updated_since=2020-01-01T00:00:00Z"} {
			var page struct{ Items []Way }
			h.want(200, token, "GET", waysPath+query, nil).into(t, &page)
			if len(page.Items) != want {
				t.Errorf("GET %s shows %d pathways, want %d", query, len(page.Items), want)
			}
		}
	}
	var page struct{ Items []Card }
	for _, query := range []string{"", "?name=ben", "?updated_since=2020-01-01T00:00:00Z", "?governorate=TN-71"} {
		h.want(200, tunis, "GET", peoplePath+query, nil).into(t, &page)
		if len(page.Items) != 0 {
			t.Errorf("GET %s shows %d people outside the scope", query, len(page.Items))
		}
	}
	// An import of people elsewhere.
	var res ImportResult
	h.want(200, tunis, "POST", importPath, fmt.Sprintf(`{"rows":[%s,%s]}`, goodRecord, variant(t, "national_id", `"22222222"`))).into(t, &res)
	for _, r := range res.Rows {
		if r.Outcome != Refused || r.Fields[0].Code != "scope" || r.ID != "" {
			t.Errorf("row outside the scope: %+v", r)
		}
	}
}

// TestListsAreComplete compares every list, in pages of every size, with what a
// plain filter over all documents gives.
func TestListsAreComplete(t *testing.T) {
	h := newHouse(t)
	governorates := []string{"TN-11", "TN-71", "TN-61", "TN-31"}
	names := []string{"Ben Ali", "Trabelsi", "Ben Salah", "Bouazizi", "Gharbi"}
	given := []string{"Amina", "Mohamed", "Ali", "Salah"}
	var rows []json.RawMessage
	for i := range 60 {
		rows = append(rows, variant(t, "national_id", fmt.Sprintf(`"%08d"`, i), "governorate", `"`+governorates[i%4]+`"`,
			"family_name", `"`+names[i%5]+`"`, "given_name", `"`+given[i%3]+`"`, "family_name_ar", "", "given_name_ar", ""))
	}
	admin := h.as(access.Admin)
	var res ImportResult
	h.want(200, admin, "POST", importPath, map[string]any{"rows": rows}).into(t, &res)
	for i, r := range res.Rows {
		if r.Outcome != Created {
			t.Fatalf("row %d: %+v", i, r)
		}
		h.clock.Advance(time.Second)
		way := h.openWay(r.ID, []string{"agri", "soin"}[i%2])
		if i%3 == 0 {
			h.want(200, admin, "POST", waysPath+"/"+way+"/moves", map[string]any{"to": "P04", "occurred_at": day(i % 7)})
		}
		if i%10 == 0 {
			h.want(200, admin, "POST", waysPath+"/"+way+"/exit", `{"exit":"DESISTEMENT"}`)
		}
	}
	var people []Card
	var ways []Way
	h.list(admin, peoplePath+"?limit=200", &people)
	for _, r := range res.Rows {
		var w struct{ Items []Way }
		h.want(200, admin, "GET", waysPath+"?candidate_id="+r.ID, nil).into(t, &w)
		ways = append(ways, w.Items...)
	}
	if len(people) != 60 || len(ways) != 60 {
		t.Fatalf("%d people, %d pathways", len(people), len(ways))
	}

	for _, scope := range [][]string{nil, {"TN-71"}, {"TN-61", "TN-11"}, {"TN-71", "TN-11", "TN-61", "TN-33", "agri"}, {"soin"}} {
		me := h.as(access.Counsellor, scope...)
		inScope := func(governorate, scheme string) bool {
			p := access.Principal{Subject: "x"}
			for _, s := range scope {
				if strings.HasPrefix(s, "TN") {
					p.Governorates = append(p.Governorates, s)
				} else {
					p.Schemes = append(p.Schemes, s)
				}
			}
			return p.Covers(governorate, scheme)
		}
		for query, want := range map[string]func(Card) bool{
			"":                                    func(Card) bool { return true },
			"&governorate=TN-71":                  func(c Card) bool { return *c.Governorate == "TN-71" },
			"&name=ben":                           func(c Card) bool { return strings.HasPrefix(*c.FamilyName, "Ben") },
			"&name=BEN+Ali+am":                    func(c Card) bool { return *c.FamilyName == "Ben Ali" && *c.GivenName == "Amina" },
			"&name=ali":                           func(c Card) bool { return *c.FamilyName == "Ben Ali" || *c.GivenName == "Ali" },
			"&name=zzz":                           func(Card) bool { return false },
			"&updated_since=2020-01-01T00:00:00Z": func(Card) bool { return true },
			"&updated_since=2030-01-01T00:00:00Z": func(Card) bool { return false },
			"&name=salah&governorate=tunis":       func(c Card) bool { return *c.FamilyName == "Ben Salah" && *c.Governorate == "TN-11" },
		} {
			var expected []string
			for _, c := range people {
				if inScope(*c.Governorate, "") && want(c) {
					expected = append(expected, c.ID)
				}
			}
			for _, limit := range []int{1, 7, 200} {
				var got []Card
				h.list(me, fmt.Sprintf("%s?limit=%d%s", peoplePath, limit, query), &got)
				ids := make([]string, 0, len(got))
				for _, c := range got {
					ids = append(ids, c.ID)
				}
				same(t, fmt.Sprintf("scope %v, %s, limit %d", scope, query, limit), ids, expected)
			}
		}
		for query, want := range map[string]func(Way) bool{
			"":                       func(w Way) bool { return w.State == Open },
			"&state=exited":          func(w Way) bool { return w.State == Exited },
			"&stage=P04":             func(w Way) bool { return w.State == Open && w.Stage == "P04" },
			"&scheme=agri":           func(w Way) bool { return w.State == Open && w.Scheme == "agri" },
			"&scheme=soin&stage=P02": func(w Way) bool { return w.State == Open && w.Scheme == "soin" && w.Stage == "P02" },
			"&governorate=TN-61&scheme=agri&stage=P04": func(w Way) bool {
				return w.State == Open && w.Scheme == "agri" && w.Stage == "P04" && w.Person.Governorate == "TN-61"
			},
			"&updated_since=2020-01-01T00:00:00Z":                                func(Way) bool { return true },
			"&updated_since=" + testNow.Add(30*time.Second).Format(time.RFC3339): func(w Way) bool { return !w.UpdatedAt.Before(testNow.Add(30 * time.Second)) },
		} {
			var expected []string
			for _, w := range ways {
				if inScope(w.Person.Governorate, w.Scheme) && want(w) {
					expected = append(expected, w.ID)
				}
			}
			for _, limit := range []int{2, 200} {
				var got []Way
				h.list(me, fmt.Sprintf("%s?limit=%d%s", waysPath, limit, query), &got)
				ids := make([]string, 0, len(got))
				for i, w := range got {
					ids = append(ids, w.ID)
					if w.History != nil {
						t.Error("a list shows histories")
					}
					if i > 0 && strings.Contains(query, "stage=") && got[i-1].Scheme == w.Scheme && got[i-1].Person.Governorate == w.Person.Governorate && w.EnteredAt.Before(got[i-1].EnteredAt) {
						t.Errorf("%s: not the longest first", query)
					}
				}
				same(t, fmt.Sprintf("scope %v, %s, limit %d", scope, query, limit), ids, expected)
			}
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	sort.Strings(got)
	sort.Strings(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d entries, want %d", what, len(got), len(want))
	}
}

// list follows a list to its end.
func (h *house) list(token, path string, items any) {
	h.t.Helper()
	var all []json.RawMessage
	for path != "" {
		a := h.want(200, token, "GET", path, nil)
		var page struct{ Items []json.RawMessage }
		a.into(h.t, &page)
		all = append(all, page.Items...)
		path = ""
		if link := a.header.Get("Link"); link != "" {
			path = link[1:strings.Index(link, ">")]
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := json.Unmarshal(data, items); err != nil {
		h.t.Fatal(err)
	}
}

func TestTwoMoversOfOnePathway(t *testing.T) {
	h := newHouse(t)
	me := h.as(access.Counsellor)
	for n, guarded := range []bool{false, true} {
		person := h.register("national_id", fmt.Sprintf(`"1111111%d"`, n))
		id := h.openWay(person, "agri")
		var headers []string
		if guarded {
			headers = []string{"If-Match", `"1"`}
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		statuses := map[int]int{}
		for range 6 {
			wg.Go(func() {
				a := h.do(me, "POST", waysPath+"/"+id+"/moves", `{"to":"P04"}`, headers...)
				mu.Lock()
				statuses[a.status]++
				mu.Unlock()
			})
		}
		wg.Wait()
		refused := http.StatusConflict
		if guarded {
			refused = http.StatusPreconditionFailed
		}
		if statuses[200] != 1 || statuses[refused] != 5 {
			t.Errorf("six movers, If-Match %v: %v", guarded, statuses)
		}
		if w := h.way(id); w.Version != 2 || len(w.History) != 2 || len(h.events(id)) != 2 {
			t.Errorf("after them: %+v", w)
		}
	}
}

// TestImportTwiceIsOnce applies arbitrary batches: a dry run tells what will
// happen and writes nothing, and the same batch again writes nothing.
func TestImportTwiceIsOnce(t *testing.T) {
	h := newHouse(t)
	admin := h.as(access.Admin)
	rapid.Check(t, func(rt *rapid.T) {
		// Few people, so that rows meet; each with fixed names and numbers, of
		// which a row may tell some.
		row := rapid.Custom(func(rt *rapid.T) json.RawMessage {
			who := rapid.IntRange(0, 5).Draw(rt, "who")
			m := map[string]any{"family_name": "Ben Test", "given_name": string(rune('A' + who)), "birth_date": fmt.Sprintf("199%d-01-01", who)}
			if who < 4 && rapid.Bool().Draw(rt, "cin") {
				m["national_id"] = fmt.Sprintf("7000000%d", who)
			}
			if who < 3 && rapid.Bool().Draw(rt, "passport") {
				m["passport"] = fmt.Sprintf("PASS%d", who)
			}
			if who > 3 {
				m["ref"] = fmt.Sprintf("ref-%d", who)
			}
			m["governorate"] = "TN-71"
			if m["national_id"] == nil && m["passport"] == nil && m["ref"] == nil {
				m["governorate"] = "TN-11" // known by name only: another person
			}
			if rapid.Bool().Draw(rt, "phone") {
				m["phone"] = fmt.Sprintf("2000000%d", rapid.IntRange(0, 2).Draw(rt, "which"))
			}
			switch rapid.IntRange(0, 9).Draw(rt, "fault") {
			case 0:
				m["sex"] = "?"
			case 1:
				delete(m, "birth_date")
			case 2:
				m["passport"] = fmt.Sprintf("PASS%d", rapid.IntRange(0, 5).Draw(rt, "whose"))
			}
			data, err := json.Marshal(m)
			if err != nil {
				rt.Fatal(err)
			}
			return data
		})
		rows := rapid.SliceOfN(row, 1, 12).Draw(rt, "rows")
		send := func(query string) ImportResult {
			var res ImportResult
			h.want(200, admin, "POST", importPath+query, map[string]any{"rows": rows}).into(h.t, &res)
			if len(res.Rows) != len(rows) {
				rt.Fatalf("%d answers for %d rows", len(res.Rows), len(rows))
			}
			return res
		}
		before := h.snapshot()
		predicted := send("?dry_run=true")
		if h.snapshot() != before {
			rt.Fatal("a dry run wrote something")
		}
		real := send("")
		for i, r := range real.Rows {
			p := predicted.Rows[i]
			if r.Index != i || p.Outcome != r.Outcome || len(p.Fields) != len(r.Fields) || r.Outcome != Refused && r.ID == "" {
				rt.Fatalf("row %d %s: the dry run said %+v, then %+v", i, rows[i], p, r)
			}
		}
		after := h.snapshot()
		again := send("")
		if h.snapshot() != after {
			rt.Fatal("the same rows again wrote something")
		}
		for i, r := range again.Rows {
			first := real.Rows[i]
			if first.Outcome == Refused && r.Outcome != Refused || first.Outcome != Refused && (r.Outcome != Unchanged || r.ID != first.ID) {
				rt.Fatalf("row %d %s: first %+v, again %+v", i, rows[i], first, r)
			}
		}
	})
}

func TestImportAnswersEachRow(t *testing.T) {
	h := newHouse(t)
	admin := h.as(access.Admin)
	known := h.register("national_id", `"11111111"`)
	rows := []string{
		string(variant(t, "national_id", `"22222222"`)),                          // new
		`{"national_id":"11111111","phone":"99999999"}`,                          // known, partly told
		string(variant(t, "national_id", `"11111111"`, "phone", `"99 999 999"`)), // the same person, the same now
		`{"national_id":"22222222","email":"new@example.tn"}`,                    // the first row's person
		`{"national_id":"33333333"}`,                                             // unknown and not enough
		`"x"`, `null`, `{"sex":1}`, `{"given_name":"` + "\ufffd" + `"}`,          // not records
		string(variant(t, "national_id", `"11111111"`, "passport", `"AB123456"`)),     // a number more
		string(variant(t, "national_id", `"22222222"`, "passport", `"AB123456"`)),     // whose number?
		string(variant(t, "national_id", `"44444444"`, "birth_date", `"2015-01-01"`)), // a child
	}
	var res ImportResult
	h.want(200, admin, "POST", importPath, `{"rows":[`+strings.Join(rows, ",")+`]}`).into(t, &res)
	var got []string
	for i, r := range res.Rows {
		s := string(r.Outcome)
		for _, f := range r.Fields {
			s += " " + f.Path + ":" + f.Code
		}
		got = append(got, s)
		if r.Index != i {
			t.Errorf("answer %d is of row %d", i, r.Index)
		}
	}
	want := []string{
		"created", "updated", "unchanged", "updated",
		"refused family_name:required given_name:required governorate:required birth_date:required",
		"refused :type", "refused family_name:required given_name:required governorate:required birth_date:required", "refused sex:type", "refused given_name:text",
		"updated", "refused :identity_conflict", "refused birth_date:minor",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if res.Rows[1].ID != known {
		t.Errorf("the second row is %s, want %s", res.Rows[1].ID, known)
	}
	var c Card
	h.want(200, admin, "GET", peoplePath+"/"+known, nil).into(t, &c)
	if *c.Phone != "+21620123456" || *c.Email != "hedi@example.tn" || !c.HasPassport {
		t.Errorf("after the import: %+v", c)
	}
}

// TestNumbersAreNowhere looks for identity numbers in every byte that the
// service leaves: files of the store, events, logs, answers.
func TestNumbersAreNowhere(t *testing.T) {
	h := newHouse(t)
	admin := h.as(access.Admin)
	const cin, passport = "04217733", "ZQ7733421"
	var answers bytes.Buffer
	send := func(method, path string, body any, headers ...string) answer {
		a := h.do(admin, method, path, body, headers...)
		answers.Write(a.body)
		fmt.Fprint(&answers, a.header)
		return a
	}
	person := variant(t, "national_id", `"`+cin+`"`, "passport", `"`+passport+`"`)
	id := send("POST", peoplePath, person, "Idempotency-Key", "k").text("id")
	send("POST", peoplePath, person)
	send("POST", peoplePath, variant(t, "national_id", `"`+cin+`9"`, "passport", `"`+passport+`!"`))
	send("PUT", peoplePath+"/"+id, person, "If-Match", `"1"`)
	send("POST", importPath, `{"rows":[`+string(person)+`,{"national_id":"`+cin+`","passport":"X99999"},{"national_id":`+strings.TrimLeft(cin, "0")+`}]}`)
	send("GET", peoplePath+"/"+id, nil)
	send("GET", peoplePath+"?name=ben", nil)
	h.openWay(id, "agri")

	bins := map[string][]byte{"answers": answers.Bytes(), "log": []byte(h.log.String())}
	for _, events := range h.pending() {
		for _, e := range events {
			bins["events"] = append(bins["events"], fmt.Sprint(e.Headers, string(e.Value), e.Key)...)
		}
	}
	err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			bins[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(bins) < 5 || len(bins["events"]) == 0 || len(bins["log"]) == 0 {
		t.Fatalf("not everything was looked at: %d places", len(bins))
	}
	for name, data := range bins {
		for _, number := range []string{cin, strings.TrimLeft(cin, "0"), passport} {
			if bytes.Contains(data, []byte(number)) {
				t.Errorf("%s holds %s", name, number)
			}
		}
		for _, personal := range []string{"Ben Ali", "hedi@", "20123456"} {
			if (name == "log" || name == "events") && bytes.Contains(data, []byte(personal)) {
				t.Errorf("%s holds %s", name, personal)
			}
		}
	}
	// They are not lost either: with the keys they open.
	ring, err := OpenKeyring(env(), h.dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCollections(t.Context(), h.store)
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.candidates.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	key, err := vault{ring: ring, keys: c.keys}.key(t.Context(), id, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openField(key, id, byNationalID, d.Body.NationalID); err != nil || got != cin {
		t.Errorf("the national id opens as %q, %v", got, err)
	}
	if got, err := openField(key, id, byPassport, d.Body.Passport); err != nil || got != passport {
		t.Errorf("the passport opens as %q, %v", got, err)
	}
}

func TestAnotherMasterKeyIsRefused(t *testing.T) {
	h := newHouse(t)
	ring, err := NewKeyring(bytes.Repeat([]byte{1}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCollections(t.Context(), h.store)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.claim(t.Context(), c.keys, testNow); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("error is %v", err)
	}
}

func TestSchemesAreShown(t *testing.T) {
	h := newHouse(t)
	var list SchemeList
	h.want(200, h.as(access.Counsellor), "GET", "/api/candidates/schemes", nil).into(t, &list)
	if len(list.Items) != 3 || list.Items[0].Code != "agri" || len(list.Items[0].Stages) != 16 || len(list.Items[0].Exits) == 0 || list.Items[0].Stages[0].TargetDays != nil {
		t.Errorf("schemes: %+v", list)
	}
}

// TestEventsOfAWholeLife checks that each document's events are numbered without
// a gap and name it as their subject.
func TestEventsOfAWholeLife(t *testing.T) {
	h := newHouse(t)
	id := h.openWay(h.register(), "agri")
	for subject, events := range h.pending() {
		for i, e := range events {
			if e.Seq != int64(i+1) || e.Key != subject || e.Topic != event.TopicCandidates {
				t.Errorf("%s event %d: %+v", subject, i, e)
			}
		}
	}
	var d *docstore.Doc[Pathway]
	c, err := openCollections(t.Context(), h.store)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = c.pathways.Get(t.Context(), id); err != nil || d.Seq != 1 {
		t.Errorf("document %+v, %v", d, err)
	}
}
