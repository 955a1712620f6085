package matching

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/docstore"
	"masar.local/pkg/docstore/storetest"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

var admin = access.Principal{Subject: "a1", Role: access.Admin}

// given is an answer as somebody got it.
type given struct {
	who  access.Principal
	path string
	id   string
	body []byte
}

// ask asks for a shortlist that must be given.
func (r *rig) ask(p access.Principal, path string) given {
	r.t.Helper()
	status, _, body := r.send(r.replica, p, http.MethodGet, path, "", "")
	var basis AnswerBasis
	if err := json.Unmarshal(body, &basis); err != nil || status != http.StatusOK || basis.ShortlistID == "" {
		r.t.Fatalf("GET %s as %s: %d %s", path, p.Role, status, body)
	}
	return given{p, path, basis.ShortlistID, body}
}

// replay has a shortlist made again.
func (r *rig) replay(on *replica, p access.Principal, id string) (int, ReplayAnswer, []byte) {
	r.t.Helper()
	status, _, body := r.send(on, p, http.MethodGet, "/api/matching/shortlists/"+id+"/replay", "", "")
	var answer ReplayAnswer
	if status == http.StatusOK {
		if err := json.Unmarshal(body, &answer); err != nil {
			r.t.Fatalf("replay of %s: %v in %s", id, err, body)
		}
	}
	return status, answer, body
}

// repeated checks that a shortlist is made again as it was given.
func (r *rig) repeated(on *replica, p access.Principal, g given) {
	r.t.Helper()
	status, answer, body := r.replay(on, p, g.id)
	if status != http.StatusOK || !answer.Same || answer.Sum != sumOf(g.body) {
		r.t.Errorf("%s as %s: %d, same %v; %s\nwas %s", g.path, g.who.Role, status, answer.Same, body, g.body)
	} else if made := append(bytes.Clone(answer.Answer), '\n'); !bytes.Equal(made, g.body) {
		r.t.Errorf("%s as %s: made again\n%s\nwas\n%s", g.path, g.who.Role, made, g.body)
	}
}

// Whatever changes afterwards, a shortlist is made again byte by byte: by another
// replica, after a restart, and for whoever may see it.
func TestShortlistsAreMadeAgain(t *testing.T) {
	r := newRig(t)
	offer, other := r.offer(100, id(500), 2), r.offer(101, id(501), 3)
	r.tell(id(500), &employersv1.EmployerRegistered{Status: "active"})
	var people []string
	for n := range 12 {
		people = append(people, r.person(n, []string{"TN-71", "TN-11", ""}[n%3], bothConsents...))
	}
	r.person(30, "TN-71") // without consents
	waiter := profileOf("TN-71", bothConsents...)
	waiter.Occupations = []*candidatesv1.Occupation{{Rome: "J1501"}} // never looked at, and counted all the same
	r.tell(id(31), &candidatesv1.CandidateRegistered{Profile: waiter})
	r.decide(counsellor, offer, people[0], Shortlisted, Interview, Offered)
	r.decide(counsellor, offer, people[1], Refused)
	r.decide(counsellor, other, people[2], Shortlisted)

	byOffer, byPerson := "/api/matching/offers/"+offer+"/candidates", "/api/matching/candidates/"+people[0]+"/offers"
	own := get[CandidatesAnswer](r, employerA, byOffer).Candidates[0].CandidateID
	answers := []given{
		r.ask(counsellor, byOffer), r.ask(counsellor, byOffer+"?k=3&seed=x"), r.ask(gafsa, byOffer), r.ask(employerA, byOffer),
		r.ask(counsellor, byPerson), r.ask(gafsa, byPerson+"?k=1"), r.ask(employerA, "/api/matching/candidates/"+own+"/offers"),
		r.ask(counsellor, "/api/matching/candidates/"+id(31)+"/offers"),
	}
	ids := map[string]bool{}
	for _, g := range answers {
		ids[g.id] = true
		if again := r.ask(g.who, g.path); again.id != g.id || !bytes.Equal(again.body, g.body) {
			t.Errorf("%s as %s, asked again, is another answer", g.path, g.who.Role)
		}
		r.repeated(r.replica, g.who, g)
	}
	if len(ids) != len(answers) {
		t.Errorf("%d answers have %d ids", len(answers), len(ids))
	}
	if n, err := r.store.Count(t.Context(), shortlistsSchema.Collection); err != nil || n != int64(len(answers)) {
		t.Errorf("%d records, %v; want %d: asking again writes nothing", n, err, len(answers))
	}

	// Everything changes.
	r.decide(counsellor, offer, people[0], Accepted, Hired)
	for n, who := range people {
		p := profileOf("TN-81", bothConsents...)
		p.Languages[0].Cefr = "C2"
		r.tell(who, &candidatesv1.CandidateUpdated{Profile: p})
		r.tell(id(900+n), &candidatesv1.StageEntered{CandidateId: who, Scheme: "agri", SchemeVersion: "1", From: "P02", To: "P04"})
	}
	r.person(40, "TN-71", bothConsents...)
	terms := termsOf(id(500), 7)
	terms.Licences = nil
	r.tell(offer, &employersv1.OfferUpdated{Terms: terms})
	r.tell(offer, &employersv1.PostFilled{Terms: terms, DecisionId: "D"})
	r.tell(other, &employersv1.OfferClosed{Terms: termsOf(id(501), 3), Reason: "withdrawn"})
	r.tell(id(500), &employersv1.EmployerUpdated{Status: "suspended"})
	changed := r.ask(counsellor, byOffer)
	if changed.id == answers[0].id {
		t.Error("another answer has the same id")
	}
	answers = append(answers, changed)

	second := r.start("two")
	r.eventually("the second replica is loaded", func() bool { return second.service.ready() == nil })
	for _, g := range answers {
		r.repeated(r.replica, g.who, g)
		r.repeated(second, admin, g)
	}
	second.stop()
	r.stop()
	r.replica = r.start("three")
	r.eventually("the replica is loaded", func() bool { return r.service.ready() == nil })
	for _, g := range answers {
		r.repeated(r.replica, g.who, g)
	}
}

// An employer sees what it was given itself, and of people only those who still
// consent; a counsellor what was made for a scope inside their own.
func TestWhoMaySeeAShortlistAgain(t *testing.T) {
	r := newRig(t)
	offer, who := r.offer(100, id(500), 2), r.person(1, "TN-71", bothConsents...)
	path := "/api/matching/offers/" + offer + "/candidates"
	all, some, employers := r.ask(counsellor, path), r.ask(gafsa, path), r.ask(employerA, path)
	tunis := access.Principal{Subject: "c9", Role: access.Counsellor, Governorates: []string{"TN-11"}}
	for _, tt := range []struct {
		who  access.Principal
		id   string
		want int
	}{
		{counsellor, all.id, 200},
		{gafsa, all.id, 404},
		{careOnly, all.id, 404},
		{employerA, all.id, 404},
		{counsellor, some.id, 200},
		{gafsa, some.id, 200},
		{tunis, some.id, 404},
		{employerA, employers.id, 200},
		{employerB, employers.id, 404},
		{counsellor, employers.id, 200},
		{gafsa, employers.id, 404},
		{counsellor, id(7), 404},
		{access.Principal{Subject: "d1", Role: access.Statistician}, all.id, 403},
		{access.Principal{}, all.id, 401},
	} {
		status, _, body := r.send(r.replica, tt.who, http.MethodGet, "/api/matching/shortlists/"+tt.id, "", "")
		again, _, _ := r.replay(r.replica, tt.who, tt.id)
		if status != tt.want || again != tt.want {
			t.Errorf("%s %s sees %s: %d, %d, want %d: %s", tt.who.Role, tt.who.Subject, tt.id, status, again, tt.want, body)
		}
		if tt.who.Role == access.Employer && bytes.Contains(body, []byte(who)) {
			t.Errorf("an employer is shown a real id: %s", body)
		}
	}
	v := get[ShortlistView](r, counsellor, "/api/matching/shortlists/"+all.id)
	if v.OfferID != offer || v.Looked != 1 || v.Considered != 1 || v.OfferSeq != 1 || *v.PostsLeft != 2 || v.Sum != sumOf(all.body) ||
		v.Weights != PresentWeights().Version || v.AsOf != "2026-03-01" {
		t.Errorf("the record says %+v", v)
	}
	// Withdrawn since: the employer is not shown the person again.
	r.tell(who, &candidatesv1.CandidateUpdated{Profile: profileOf("TN-71", ConsentMatching)})
	if status, _, body := r.replay(r.replica, employerA, employers.id); status != http.StatusForbidden || !bytes.Contains(body, []byte("no longer consents")) {
		t.Errorf("an employer is shown who withdrew consent: %d %s", status, body)
	}
	r.repeated(r.replica, counsellor, employers)
}

// A shortlist whose inputs are not there says which.
func TestAShortlistWithoutItsInputsSaysSo(t *testing.T) {
	r := newRig(t)
	offer, who := r.offer(100, id(500), 2), r.person(1, "TN-71", bothConsents...)
	path := "/api/matching/offers/" + offer + "/candidates"
	records := r.service.shortlistRecords
	spoil := func(what, want string, change func(*ShortlistRecord)) {
		t.Helper()
		g := r.ask(counsellor, path+"?seed="+what)
		_, err := records.Update(t.Context(), g.id, func(d *docstore.Doc[ShortlistRecord]) error { change(&d.Body); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if status, _, body := r.replay(r.replica, counsellor, g.id); status != http.StatusConflict || !strings.Contains(problemOf(t, body).Detail, want) {
			t.Errorf("%s: %d %s, want %q", what, status, body, want)
		}
	}
	spoil("weights", `weights of version "1999-1" are not part of this program, which has 2026-1`, func(r *ShortlistRecord) { r.Weights = "1999-1" })
	spoil("reference", `no occupations of version "999"`, func(r *ShortlistRecord) { r.Reference = "999" })
	spoil("offer", "at seq 9: this state is not in the log", func(r *ShortlistRecord) { r.OfferSeq = 9 })
	spoil("employer", "the employer "+id(500)+" at seq 3", func(r *ShortlistRecord) { r.EmployerSeq = 3 })
	spoil("roster", "read roster-00 of the rosters", func(r *ShortlistRecord) { r.People = "roster-00" })
	var parsed ulid.ULID
	parsed, _ = ulid.ParseStrict(who)
	name, err := r.service.rosters.store(t.Context(), []Seen{{ID: parsed, Stamp: 12}})
	if err != nil {
		t.Fatal(err)
	}
	spoil("state", "at stamp 000000000000000c: this state is not in the log", func(r *ShortlistRecord) { r.People = name })

	// What was given by another program may differ, and then that is said.
	g := r.ask(counsellor, path)
	if _, err := records.Update(t.Context(), g.id, func(d *docstore.Doc[ShortlistRecord]) error {
		d.Body.Sum, d.Body.Program = strings.Repeat("0", 64), "v0.0.1"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if status, answer, body := r.replay(r.replica, counsellor, g.id); status != http.StatusOK || answer.Same || answer.Program != "v0.0.1" || answer.Now == "v0.0.1" {
		t.Errorf("another digest: %d %s", status, body)
	}
}

// Reference data and weights change: what was made with the old is made again
// with the old, as long as they are kept.
func TestPastVersionsOfRulesMakeShortlistsAgain(t *testing.T) {
	e, dir := openEngine(t, storetest.SQLite(t)), t.TempDir()
	save := func(version string, mobility ...string) *reference.Occupations {
		list := &reference.Occupations{Version: version, Jobs: map[string]reference.Job{
			"A1401": {Code: "A1401", Parent: "A1401"}, "A1210": {Code: "A1210", Parent: "A1210", Mobility: mobility},
		}}
		if err := list.Save(dir); err != nil {
			t.Fatal(err)
		}
		return list
	}
	on := func(weights string, list *reference.Occupations) *service {
		w, err := WeightsVersion(weights)
		if err != nil {
			t.Fatal(err)
		}
		s := learner(t, e)
		s.rules = NewRules(w, reference.Schemes(), list)
		s.index, s.past = NewIndex(s.rules), &pastRules{dataDir: dir, present: s.rules}
		if err := (&refresher{store: s.store, index: s.index}).load(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := on("2026-1", save("one", "A1401"))
	h := history{}
	h.add(id(100), &employersv1.OfferOpened{Terms: termsOf(id(500), 2)})
	mover := profileOf("TN-71", bothConsents...)
	mover.Occupations = []*candidatesv1.Occupation{{Rome: "A1210", ExperienceMonths: 5}}
	for n, p := range []*candidatesv1.Profile{profileOf("TN-71", bothConsents...), mover} {
		h.add(id(n), &candidatesv1.CandidateRegistered{Profile: p})
		h.add(id(900+n), &candidatesv1.PathwayOpened{CandidateId: id(n), Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	}
	for _, k := range slices.Sorted(maps.Keys(h)) {
		if _, err := first.Learn(t.Context(), h[k][0]); err != nil {
			t.Fatal(err)
		}
	}
	ctx := access.With(t.Context(), counsellor)
	old, err := first.Candidates(ctx, CandidatesRequest{OfferID: id(100), K: 10})
	if err != nil || old.Eligible != 2 {
		t.Fatalf("%+v, %v", old, err)
	}
	was, err := answerBytes(old)
	if err != nil {
		t.Fatal(err)
	}

	second := on(presentWeights, save("two"))
	now, err := second.Candidates(ctx, CandidatesRequest{OfferID: id(100), K: 10})
	if err != nil || now.Eligible != 1 || now.ShortlistID == old.ShortlistID || now.Weights == old.Weights || now.Reference == old.Reference {
		t.Fatalf("with new versions: %+v, %v", now, err)
	}
	for _, s := range []*service{first, second} {
		for range 2 { // the second time from memory
			again, err := s.Replay(ctx, ShortlistRequest{old.ShortlistID})
			if err != nil || !again.Same || !bytes.Equal(append(again.Answer, '\n'), was) {
				t.Errorf("%+v, %v", again, err)
			}
		}
	}
	if err := os.Remove(filepath.Join(dir, "reference", "rome-one.json.gz")); err != nil {
		t.Fatal(err)
	}
	third := on(presentWeights, save("two"))
	if _, err := third.Replay(ctx, ShortlistRequest{old.ShortlistID}); err == nil || !strings.Contains(err.Error(), `no occupations of version "one"`) || !strings.Contains(err.Error(), "two") {
		t.Errorf("without the old list: %v", err)
	}
}

// Any answer, to anybody, at any moment of any history that comes in any order,
// is made again when the history is over.
func TestAnyShortlistIsMadeAgain(t *testing.T) {
	e := openEngine(t, storetest.SQLite(t))
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		w, err := WeightsVersion(rapid.SampledFrom(WeightsVersions()).Draw(rt, "weights"))
		if err != nil {
			rt.Fatal(err)
		}
		prefix := prefixed{e, fmt.Sprintf("s%d_", round), nil}
		round++
		s := learner(t, prefix)
		present := s.rules
		s.rules = NewRules(w, reference.Schemes(), jobs)
		s.index = NewIndex(s.rules)
		s.past = &pastRules{present: s.rules}
		type made struct {
			who  access.Principal
			id   string
			body []byte
		}
		var answers []made
		callers := []access.Principal{counsellor, gafsa, careOnly, employerA, employerB, admin}
		note := func(who access.Principal, basis AnswerBasis, answer any, err error) {
			if err != nil {
				return // there is nothing for them
			}
			body, err := answerBytes(answer)
			if err != nil {
				rt.Fatal(err)
			}
			answers = append(answers, made{who, basis.ShortlistID, body})
		}
		for _, ev := range deliver(rt, genHistory(rt)) {
			if _, err := s.Learn(t.Context(), ev); err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 2).Draw(rt, "asks") > 0 {
				continue
			}
			who := rapid.SampledFrom(callers).Draw(rt, "who")
			ctx := access.With(t.Context(), who)
			k, seed := rapid.IntRange(1, 5).Draw(rt, "k"), rapid.SampledFrom([]string{"", "x"}).Draw(rt, "seed")
			offer, candidate := id(100+rapid.IntRange(0, 1).Draw(rt, "offer")), id(rapid.IntRange(0, 4).Draw(rt, "candidate"))
			if rapid.IntRange(0, 3).Draw(rt, "decides") == 0 {
				_, _ = s.Decide(access.With(t.Context(), counsellor), DecideRequest{
					OfferID: offer, CandidateID: candidate, Kind: rapid.SampledFrom(Kinds).Draw(rt, "kind"), OccurredAt: at("2026-03-01"),
				})
			}
			a, err := s.Candidates(ctx, CandidatesRequest{OfferID: offer, K: k, Seed: seed})
			note(who, a.AnswerBasis, a, err)
			if who.Role == access.Employer {
				candidate = s.names.mask(who.Employer, candidate)
			}
			b, err := s.Offers(ctx, OffersRequest{CandidateID: candidate, K: k, Seed: seed})
			note(who, b.AnswerBasis, b, err)
		}
		// By a process that has nothing in memory, and the present weights.
		later := learner(t, prefix)
		later.past = &pastRules{present: present, known: map[[2]string]*Rules{{w.Version, jobs.Version}: s.rules}}
		for _, a := range answers {
			again, err := later.Replay(access.With(t.Context(), admin), ShortlistRequest{a.id})
			if err != nil || !again.Same || !bytes.Equal(append(again.Answer, '\n'), a.body) {
				rt.Fatalf("%v\n%s\nwas\n%s", err, again.Answer, a.body)
			}
		}
	})
}

// The id digests every field of the record but what is not an input.
func TestEveryInputIsInTheId(t *testing.T) {
	base := ShortlistRecord{}
	want, err := base.id()
	if err != nil {
		t.Fatal(err)
	}
	body, err := bson.Marshal(ShortlistRecord{
		Asked: Asked{"a", "b", []string{"c"}, []string{"d"}, "e", 1, "f", "g"},
		Basis: Basis{"h", "i", "j", 2, 3, "k", 4, 5, "l", 6, 7, []CaseState{{"m", "n"}}},
		Sum:   "o", CreatedAt: at("2026-01-01"),
	})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := bson.Raw(body).Elements()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		one, err := bson.Marshal(bson.D{{Key: f.Key(), Value: f.Value()}})
		if err != nil {
			t.Fatal(err)
		}
		var r ShortlistRecord
		if err := bson.Unmarshal(one, &r); err != nil {
			t.Fatal(err)
		}
		got, err := r.id()
		if input := f.Key() != "sum" && f.Key() != "created_at"; err != nil || (got != want) != input {
			t.Errorf("%s changes the id: %v, %v", f.Key(), got != want, err)
		}
	}
}

// BenchmarkShortlistRecord is what it costs to keep a shortlist of an occupation
// that 25,000 people share: asked of the index alone, asked as before, and asked
// after somebody changed.
func BenchmarkShortlistRecord(b *testing.B) {
	s := learner(b, openEngine(b, storetest.SQLite(b)))
	if _, err := s.Learn(b.Context(), eventOf(id(100), 1, &employersv1.OfferOpened{Terms: termsOf(id(500), 2)})); err != nil {
		b.Fatal(err)
	}
	const people = 25_000
	body := aSeeker()
	put := func(n, version int) {
		d := *body
		d.Seq = int64(version)
		s.index.PutSeeker(id(n), int64(version), &d)
	}
	for n := range people {
		put(n, 1)
	}
	ctx := access.With(b.Context(), counsellor)
	request := CandidatesRequest{OfferID: id(100), K: 50}
	ask := func(b *testing.B) {
		if a, err := s.Candidates(ctx, request); err != nil || a.Eligible != people {
			b.Fatalf("%d eligible, %v", a.Eligible, err)
		}
	}
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			s.index.Candidates(id(100), Ask{K: 50, Today: today, Seed: "s", Left: -1})
		}
	})
	b.Run("witness", func(b *testing.B) {
		for b.Loop() {
			s.index.Candidates(id(100), Ask{K: 50, Today: today, Seed: "s", Left: -1, Witness: true})
		}
	})
	b.Run("same", func(b *testing.B) {
		for b.Loop() {
			ask(b)
		}
	})
	version := 1
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			version++
			put(version*7919%people, version)
			ask(b)
		}
	})
}
