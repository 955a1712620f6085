package matching

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// world is a drawn set of documents and an index of them.
type world struct {
	seekers map[string]*Seeker
	offers  map[string]*Offer
	index   *Index
	rules   *Rules
	barred  map[string]bool // suspended employers
}

// genNear draws a person who mostly has what an offer of genNearOffer asks for, so
// that the last conditions are reached too.
func genNear(t *rapid.T) *Seeker {
	s, other := aSeeker(), genSeeker(t)
	for i, change := range []func(){
		func() { s.Governorate = other.Governorate },
		func() { s.Occupations = other.Occupations },
		func() { s.Occupations = append(s.Occupations, other.Occupations...) },
		func() { s.Occupations[0].Rome = rapid.SampledFrom([]string{"A1444", "A1210"}).Draw(t, "near") },
		func() { s.Languages[1].CEFR = rapid.SampledFrom(cefrs).Draw(t, "french") },
		func() { s.Languages = other.Languages },
		func() { s.Licences = other.Licences },
		func() { s.Competences = other.Competences },
		func() { s.AvailableFrom = other.AvailableFrom },
		func() { s.AvailableTo = other.AvailableTo },
		func() { s.Schemes, s.Regions = other.Schemes, other.Regions },
		func() { s.Consents = other.Consents },
		func() { s.Pathways = other.Pathways },
	} {
		if rapid.IntRange(0, 6).Draw(t, fmt.Sprint("change ", i)) == 0 && (i != 3 || len(s.Occupations) > 0) {
			change()
		}
	}
	return s
}

func genNearOffer(t *rapid.T) *Offer {
	o, other := anOffer(), genOffer(t)
	for i, change := range []func(){
		func() { o.Rome = other.Rome },
		func() { o.Languages = other.Languages },
		func() { o.Licences = other.Licences },
		func() { o.Competences = other.Competences },
		func() { o.StartsOn, o.EndsOn, o.Months = other.StartsOn, other.EndsOn, other.Months },
		func() { o.Experience, o.Region = other.Experience, other.Region },
		func() { o.Open, o.Posts, o.Filled, o.Scheme = other.Open, other.Posts, other.Filled, other.Scheme },
	} {
		if rapid.IntRange(0, 3).Draw(t, fmt.Sprint("change ", i)) == 0 {
			change()
		}
	}
	return o
}

func genWorld(t *rapid.T) *world {
	w := &world{seekers: map[string]*Seeker{}, offers: map[string]*Offer{}, barred: map[string]bool{}, rules: testRules()}
	w.index = NewIndex(w.rules)
	version := int64(0)
	// Documents are put again with changes, and old versions come late.
	putOffer := func() {
		name, o := id(100+rapid.IntRange(0, 4).Draw(t, "offer")), genNearOffer(t)
		version++
		w.index.PutOffer(name, version, o)
		w.offers[name] = o
	}
	for range rapid.IntRange(0, 60).Draw(t, "seekers") {
		if rapid.IntRange(0, 9).Draw(t, "offer between") == 0 {
			putOffer() // and with it licences that nobody has asked for before
		}
		name, s := id(rapid.IntRange(0, 15).Draw(t, "seeker")), genNear(t)
		version++
		w.index.PutSeeker(name, version, s)
		if rapid.Bool().Draw(t, "late") {
			w.index.PutSeeker(name, version-rapid.Int64Range(0, 5).Draw(t, "by"), genSeeker(t))
		}
		w.seekers[name] = s
	}
	for range rapid.IntRange(1, 6).Draw(t, "offers") {
		putOffer()
	}
	for _, e := range []string{id(500), id(501)} {
		if rapid.IntRange(0, 5).Draw(t, "suspended") == 0 {
			w.barred[e] = true
			w.index.PutEmployer(e, 1, &Employer{Seq: 1, Suspended: true})
		}
	}
	return w
}

// The index answers what asking everybody one by one answers: the same counts,
// the same people, the same order; and the counts add up to all considered.
func TestIndexAgreesWithAskingEverybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		offer := rapid.SampledFrom(slices.Sorted(maps.Keys(w.offers))).Draw(t, "of")
		ask := Ask{
			K: rapid.IntRange(1, 20).Draw(t, "k"), Today: today, Seed: rapid.String().Draw(t, "seed"), Left: -1,
			Scope:  Scope{Governorates: some(t, govs, 3, "scope")},
			States: map[string]string{},
		}
		if rapid.Bool().Draw(t, "employer asks") {
			ask.Scope.Employer = w.offers[offer].EmployerID
		}
		for name := range w.seekers {
			if rapid.IntRange(0, 4).Draw(t, "decided") == 0 {
				ask.States[name] = rapid.SampledFrom(Kinds).Draw(t, "state")
			}
		}
		got, ok := w.index.Candidates(offer, ask)
		if !ok {
			t.Fatal("the index does not have the offer")
		}

		d := w.rules.Demand(w.offers[offer], w.barred[w.offers[offer].EmployerID])
		considered, out, fit, detail := 0, map[string]int{}, []rank{}, map[Detail]int{}
		for name, s := range w.seekers {
			p := w.rules.Person(s)
			if !within(ask.Scope.Governorates, p.Governorate) {
				continue
			}
			considered++
			pair := Pair{Offer: &d, Person: &p, Today: today, Kind: Shortlisted, Disclose: ask.Scope.Employer != "", State: ask.States[name]}
			if f := Failures(&pair); len(f) > 0 {
				out[f[0].Condition]++
				if why, told := detailOf(f[0]); told {
					detail[Detail{Condition: f[0].Condition, Why: why}]++
				}
				continue
			}
			parts := Score(w.rules.Weights, &d, &p.Profile, today)
			fit = append(fit, rank{id: name, score: parts.Total(), draw: lot(seedOf(ask.Seed), ulid.MustParse(name))})
		}
		slices.SortFunc(fit, better)
		if got.Considered != considered || got.Eligible != len(fit) || !maps.Equal(got.Out, out) {
			t.Fatalf("got %d considered, %d eligible, out %v; want %d, %d, %v", got.Considered, got.Eligible, got.Out, considered, len(fit), out)
		}
		sum := got.Eligible
		for _, n := range got.Out {
			sum += n
		}
		if sum != got.Considered {
			t.Fatalf("%d counted out or eligible of %d considered", sum, got.Considered)
		}
		if !slices.IsSortedFunc(got.Details, func(a, b Detail) int { return cmp.Compare(placeOf(a.Condition), placeOf(b.Condition)) }) {
			t.Fatalf("details are not in the order of the conditions: %v", got.Details)
		}
		told := map[Detail]int{}
		for _, d := range got.Details {
			told[Detail{Condition: d.Condition, Why: d.Why}] = d.Count
		}
		if !maps.Equal(told, detail) {
			t.Fatalf("details %v, want %v", told, detail)
		}
		if want := fit[:min(len(fit), ask.K)]; !slices.EqualFunc(got.Matches, want, func(m Match, r rank) bool { return m.ID == r.id && m.Score == r.score }) {
			t.Fatalf("got %v, want %v", got.Matches, want)
		}
	})
}

// detailOf is what Shortlist.Details says of a failure; false when nothing.
func detailOf(f Failure) (why Reason, told bool) {
	switch why = f.Why; f.Condition {
	case CondDates:
		return Reason{Key: "out_" + why.Key, To: why.To}, true
	case CondFree:
		return Reason{Key: why.Key}, true
	case CondPathway:
		return why, why.A != "" // an offer without a scheme fails before
	case CondLanguage, CondLicence, CondRefused:
		return why, true
	}
	return why, false
}

// Every match has the parts, and everybody in the index is as in the documents.
func TestIndexKeepsPeopleAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		for name, s := range w.seekers {
			got, ok := w.index.Person(name)
			if !ok {
				t.Fatalf("%s is not in the index", name)
			}
			want := w.rules.Person(s)
			for i := range want.Tracks {
				want.Tracks[i].Pathway = ""
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("got  %v\nwant %v", got, want)
			}
		}
		if people, _ := w.index.Size(); people != len(w.seekers) {
			t.Fatalf("%d people, want %d", people, len(w.seekers))
		}
		for offer := range w.offers {
			list, _ := w.index.Candidates(offer, Ask{K: 50, Today: today, Left: -1, Witness: true})
			for _, m := range list.Matches {
				pair, ok := w.index.Pair(offer, m.ID, Ask{Today: today, Left: -1})
				if !ok || pair.Score != m.Score || pair.Parts != m.Parts || len(pair.Failed) > 0 || len(pair.Changes) > 0 {
					t.Fatalf("the pair of %s and %s says %+v, the shortlist %+v", offer, m.ID, pair, m)
				}
				if i, found := slices.BinarySearchFunc(list.Seen, Seen{ID: ulid.MustParse(m.ID)}, bySeen); !found || list.Seen[i].Stamp != w.seekers[m.ID].Stamp() {
					t.Fatalf("%s is not in the witness %v with its stamp", m.ID, list.Seen)
				}
			}
		}
	})
}

// The offers of a candidate agree with the candidates of each offer.
func TestOffersAgreeWithCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		for name := range w.seekers {
			got, ok := w.index.Offers(name, Ask{K: 50, Today: today, Left: -1})
			if !ok {
				t.Fatalf("the index does not have %s", name)
			}
			sum := got.Eligible
			for _, n := range got.Out {
				sum += n
			}
			if sum != got.Considered {
				t.Fatalf("%d counted out or eligible of %d considered", sum, got.Considered)
			}
			found := map[string]int32{}
			for _, m := range got.Matches {
				if len(m.Failed) > 0 {
					t.Fatalf("proposed, but fails %v", m.Failed)
				}
				found[m.ID] = m.Score
			}
			for _, m := range got.Near {
				if len(m.Failed) == 0 {
					t.Fatal("a near miss that misses nothing")
				}
			}
			if !slices.IsSortedFunc(got.Near, func(a, b Match) int {
				return cmp.Or(cmp.Compare(len(a.Failed), len(b.Failed)), cmp.Compare(b.Score, a.Score))
			}) {
				t.Fatal("near misses are not in order: fewest failures, then score")
			}
			for offer, o := range w.offers {
				list, _ := w.index.Candidates(offer, Ask{K: 50, Today: today, Left: -1})
				i := slices.IndexFunc(list.Matches, func(m Match) bool { return m.ID == name })
				score, proposed := found[offer]
				if (i >= 0) != proposed || proposed && list.Matches[i].Score != score || proposed && !o.Open {
					t.Fatalf("offer %s and candidate %s do not agree", offer, name)
				}
			}
		}
	})
}

// Pairs are the shortlists of all offers put one after the other, and a witness
// names everybody that was looked at.
func TestPairsAgreeWithCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		offers := append(slices.Sorted(maps.Keys(w.offers)), id(199)) // and one that is not there
		ask := Ask{K: 50, Today: today, Left: -1, Witness: true, Scope: Scope{Governorates: some(t, govs, 3, "scope")}}
		states := map[string]map[string]string{}
		for _, offer := range offers {
			states[offer] = map[string]string{}
			for name := range w.seekers {
				if rapid.IntRange(0, 4).Draw(t, "decided") == 0 {
					states[offer][name] = rapid.SampledFrom(Kinds).Draw(t, "state")
				}
			}
		}
		type pair struct {
			offer, candidate string
			score            int32
		}
		var want, got []pair
		var seen []Seen
		for _, offer := range offers {
			ask.States = states[offer]
			list, ok := w.index.Candidates(offer, ask)
			if !ok {
				continue
			}
			slices.SortFunc(list.Matches, func(a, b Match) int { return cmp.Compare(a.ID, b.ID) })
			for _, m := range list.Matches {
				want = append(want, pair{offer, m.ID, m.Score})
			}
			if w.barred[w.offers[offer].EmployerID] || !w.offers[offer].Open || w.offers[offer].Posts <= w.offers[offer].Filled {
				continue // nobody needs to be looked at
			}
			for _, s := range list.Seen {
				if i, found := slices.BinarySearchFunc(seen, s, bySeen); !found {
					seen = slices.Insert(seen, i, s)
				}
			}
		}
		ask.States = nil
		ask.Of = func(offer string) (map[string]string, int) { return states[offer], -1 }
		people, posted := w.index.Pairs(offers, ask, func(offer, candidate string, score int32) bool {
			got = append(got, pair{offer, candidate, score})
			return true
		})
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if len(posted) != len(w.offers) {
			t.Fatalf("witness of %d offers, want %d", len(posted), len(w.offers))
		}
		for _, s := range seen {
			if _, found := slices.BinarySearchFunc(people, s, bySeen); !found {
				t.Fatalf("%s was looked at, but the witness does not say so", s.ID)
			}
		}
	})
}

// Equals take turns: over many seeds each comes first about as often, and one
// seed always gives one order.
func TestTiesRotateFairly(t *testing.T) {
	rules := testRules()
	x := NewIndex(rules)
	const equals, seeds = 10, 5000
	for i := range equals {
		x.PutSeeker(id(i), 1, aSeeker())
	}
	x.PutOffer(id(100), 1, anOffer())
	first := map[string]int{}
	for n := range seeds {
		ask := Ask{K: 1, Today: today, Seed: fmt.Sprintf("%s/%d", id(100), n), Left: -1}
		list, _ := x.Candidates(id(100), ask)
		again, _ := x.Candidates(id(100), ask)
		if list.Matches[0].ID != again.Matches[0].ID {
			t.Fatal("the same seed gave another order")
		}
		first[list.Matches[0].ID]++
	}
	// 500 each are expected; five standard deviations are 106.
	for i := range equals {
		if n := first[id(i)]; n < seeds/equals-106 || n > seeds/equals+106 {
			t.Errorf("%s came first %d times of %d, want about %d", id(i), n, seeds, seeds/equals)
		}
	}
}

// Posts that are known to be taken, but not yet to the offer's document.
func TestLeftOverridesTheDocument(t *testing.T) {
	x := NewIndex(testRules())
	x.PutSeeker(id(1), 1, aSeeker())
	x.PutOffer(id(100), 1, anOffer())
	list, _ := x.Candidates(id(100), Ask{K: 1, Today: today, Left: 0})
	if list.Eligible != 0 || list.Out[CondPosts] != 1 {
		t.Errorf("eligible %d, out %v; want everybody out for %s", list.Eligible, list.Out, CondPosts)
	}
}

// A person of whom only pathways are known is nobody yet.
func TestPathwaysAloneAreNobody(t *testing.T) {
	x := NewIndex(testRules())
	x.PutSeeker(id(1), 1, &Seeker{Pathways: aSeeker().Pathways})
	if people, _ := x.Size(); people != 0 {
		t.Errorf("%d people, want none", people)
	}
	x.PutSeeker(id(1), 2, aSeeker())
	if people, _ := x.Size(); people != 1 {
		t.Errorf("%d people, want one", people)
	}
}

// The same name of those looked at is the same people in the same states, whoever
// changed in between, and is there when nobody changes meanwhile.
func TestAmongNamesThoseWhoWereLookedAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := NewIndex(testRules())
		versions := map[int]int64{}
		known := map[string][]Seen{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "put") {
				n := rapid.IntRange(1, 5).Draw(t, "who")
				versions[n]++
				rome := rapid.SampledFrom([]string{"A1401", "A1416", "J1501"}).Draw(t, "rome")
				x.PutSeeker(id(n), versions[n], &Seeker{Seq: versions[n], Governorate: "TN-71", Occupations: []Occupation{{Rome: rome, Months: 12}}})
				continue
			}
			o := Offer{
				Seq: 1, EmployerID: id(500), Rome: rapid.SampledFrom([]string{"A1401", "J1501"}).Draw(t, "offer"), Scheme: "agri",
				Posts: 1, Open: rapid.Bool().Draw(t, "open"),
			}
			offer := id(100 + len(o.Rome) + int(o.Rome[0]))
			versions[-1]++
			x.PutOffer(offer, versions[-1], &o)
			ask := Ask{K: 5, Today: ParseDay("2026-03-01"), Left: -1, Witness: true}
			if rapid.Bool().Draw(t, "scoped") {
				ask.Scope.Governorates = []string{"TN-11"}
			}
			list, ok := x.Candidates(offer, ask)
			if !ok || list.Among == "" {
				t.Fatalf("%v %+v", ok, list)
			}
			if before, met := known[list.Among]; met && !slices.Equal(before, list.Seen) {
				t.Fatalf("%q is %v and was %v", list.Among, list.Seen, before)
			}
			known[list.Among] = slices.Clone(list.Seen)
		}
	})
}
