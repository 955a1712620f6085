package matching

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"masar.local/services/matching/allocation"
)

// genMarket draws a small market; many of its pairs are possible.
func genMarket(t *rapid.T) *market {
	rules := testRules()
	var offers []marketOffer
	var people []marketPerson
	for i := range rapid.IntRange(0, 4).Draw(t, "offers") {
		o := anOffer()
		o.Posts = rapid.Int32Range(0, 2).Draw(t, "posts")
		o.Rome = rapid.SampledFrom([]string{"A1401", "A1402"}).Draw(t, "rome")
		o.Scheme = rapid.SampledFrom([]string{"agri", "agri", "soin"}).Draw(t, "scheme")
		o.Languages = []LanguageNeed{{"fr", rapid.SampledFrom([]string{"A1", "B1"}).Draw(t, "need"), true}}
		o.Licences = some2(t, []LicenceNeed{{"B", true}, {"C", true}}, "licences")
		offers = append(offers, marketOffer{id: id(100 + i), demand: rules.Demand(o, false)})
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "people") {
		s := aSeeker()
		s.Governorate = rapid.SampledFrom([]string{"TN-11", "TN-71"}).Draw(t, "governorate")
		s.Occupations = []Occupation{{rapid.SampledFrom([]string{"A1401", "A1402", "A1444"}).Draw(t, "occupation"), rapid.Int32Range(0, 40).Draw(t, "months")}}
		s.Languages = []Language{{"fr", rapid.SampledFrom([]string{"A1", "A2", "B1"}).Draw(t, "level")}}
		s.Licences = some(t, []string{"B", "C"}, 2, "held")
		s.Schemes = nil
		s.Pathways = []Pathway{
			{ID: id(800 + i), Seq: 1, Scheme: "agri", Version: "1", Stage: "P02", Open: true},
			{ID: id(900 + i), Seq: 1, Scheme: "soin", Version: "1", Stage: "P02", Open: true},
		}
		people = append(people, marketPerson{id: id(i), person: rules.Person(s)})
	}
	m, err := newMarket(t.Context(), rules, today, "seed", offers, people)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func some2[T any](t *rapid.T, from []T, label string) (out []T) {
	for _, x := range from {
		if rapid.IntRange(0, 3).Draw(t, label) == 0 {
			out = append(out, x)
		}
	}
	return out
}

func genQuotas(t *rapid.T) (out []Quota) {
	for _, q := range []Quota{{By: QuotaGovernorate, Code: "TN-11"}, {By: QuotaGovernorate, Code: "TN-71"}, {By: QuotaScheme, Code: "agri"}, {By: QuotaScheme, Code: "soin"}} {
		if rapid.IntRange(0, 2).Draw(t, "quota") > 0 {
			continue
		}
		q.Min = rapid.Int64Range(0, 2).Draw(t, "min")
		if rapid.Bool().Draw(t, "bounded") {
			most := q.Min + rapid.Int64Range(0, 2).Draw(t, "more")
			q.Max = &most
		}
		out = append(out, q)
	}
	return out
}

// worth is what a plan is worth, the first number first.
type worth [4]int64

// best tries every plan of a task; ok is false when none meets the quotas.
func best(t *task) (most worth, ok bool) {
	type option struct {
		offer, score int32
		extra        bool
	}
	options := make([][]option, len(t.people))
	for o := range t.offers {
		for _, p := range t.pairs[t.first[o]:t.first[o+1]] {
			options[p.person] = append(options[p.person], option{int32(o), p.score, false})
		}
	}
	for _, g := range t.extra {
		options[g.person] = append(options[g.person], option{g.offer, g.score, true})
	}
	s := &solution{net: &network{task: t}, offer: make([]int32, len(t.people))}
	left := slices.Clone(t.posts)
	var now worth
	var try func(p int)
	try = func(p int) {
		if p == len(t.people) {
			if t.most >= 0 && now[0] > t.most {
				return
			}
			for _, q := range t.quotas {
				if n := s.within(q); n < q.Min || q.Max != nil && n > *q.Max {
					return
				}
			}
			if !ok || slices.Compare(now[:], most[:]) > 0 {
				most, ok = now, true
			}
			return
		}
		s.offer[p] = -1
		try(p + 1)
		for _, x := range options[p] {
			if left[x.offer] == 0 {
				continue
			}
			was := now
			left[x.offer]--
			s.offer[p] = x.offer
			now[0]++
			now[2] += int64(x.score)
			if x.extra {
				now[1]--
			}
			if t.kept != nil && t.kept[p] == x.offer {
				now[3]++
			}
			try(p + 1)
			now = was
			left[x.offer]++
		}
	}
	try(0)
	return most, ok
}

// solved compares the solver with best.
func solved(t *rapid.T, k *task) (*solution, worth) {
	want, possible := best(k)
	s, n, err := k.solve(t.Context(), nil, nil)
	var impossible *allocation.Infeasible
	if errors.As(err, &impossible) {
		if possible {
			t.Fatalf("infeasible, but %v is possible", want)
		}
		c := n.conflict(impossible)
		if len(c.Quotas) == 0 || c.Missing < 1 {
			t.Fatalf("no reason: %+v", c)
		}
		return nil, want
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := (worth{s.placed, -s.used, s.total, s.kept}); got != want || !possible {
		t.Fatalf("got %v, want %v (possible: %t)", got, want, possible)
	}
	return s, want
}

func TestAnOptimalPlanIsTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMarket(t)
		var kept []int32
		if rapid.Bool().Draw(t, "before") {
			for range m.people {
				kept = append(kept, rapid.Int32Range(-1, int32(len(m.offers))-1).Draw(t, "kept"))
			}
		}
		k := newTask(m, genQuotas(t), kept)
		if rapid.Bool().Draw(t, "gaps") {
			var err error
			if k.extra, err = m.gaps(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i, g := range k.extra {
				k.extra[i].score = m.worth(g, m.lacks[g.lack])
			}
			k.most = rapid.Int64Range(-1, 3).Draw(t, "most")
		}
		solved(t, k)
	})
}

func TestAMarketHasTheIndexPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := testRules()
		index := NewIndex(rules)
		var offers []marketOffer
		var people []marketPerson
		var ids []string
		for i := range rapid.IntRange(0, 5).Draw(t, "offers") {
			o := genOffer(t)
			index.PutOffer(id(100+i), 1, o)
			offers = append(offers, marketOffer{id: id(100 + i), demand: rules.Demand(o, false)})
			ids = append(ids, id(100+i))
		}
		for i := range rapid.IntRange(0, 8).Draw(t, "people") {
			s := genSeeker(t)
			index.PutSeeker(id(i), 1, s)
			people = append(people, marketPerson{id: id(i), person: rules.Person(s)})
		}
		m, err := newMarket(t.Context(), rules, today, "", offers, people)
		if err != nil {
			t.Fatal(err)
		}
		type row struct {
			offer, candidate string
			score            int32
		}
		want, got := map[row]bool{}, map[row]bool{}
		index.Pairs(ids, Ask{Today: today}, func(offer, candidate string, score int32) bool {
			want[row{offer, candidate, score}] = true
			return true
		})
		for o := range m.offers {
			for _, p := range m.pairs[m.first[o]:m.first[o+1]] {
				got[row{m.offers[o].id, m.people[p.person].id, p.score}] = true
			}
		}
		if len(want) != len(got) || len(got) != len(m.pairs) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for r := range want {
			if !got[r] {
				t.Fatalf("the market does not have %v", r)
			}
		}
	})
}

func TestAGapIsAllThatIsLacking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMarket(t)
		gaps, err := m.gaps(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range gaps {
			if l := m.lacks[g.lack]; l.condition != CondLanguage && l.condition != CondLicence {
				continue
			}
			pair := Pair{Offer: &m.offers[g.offer].demand, Person: &m.people[g.person].person, Today: today, Kind: Shortlisted}
			if failed := Failures(&pair); len(failed) != 1 || failed[0].Condition != m.lacks[g.lack].condition {
				t.Fatalf("%+v: fails %v", g, failed)
			}
			with := *pair.Person
			with.Profile = m.lacks[g.lack].give(&with.Profile)
			pair.Person = &with
			if failed := Failures(&pair); len(failed) != 0 {
				t.Fatalf("%+v: with what is lacking still fails %v", g, failed)
			}
		}
	})
}
