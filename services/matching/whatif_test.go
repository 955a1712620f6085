package matching

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"masar.local/services/matching/allocation"
)

// solvedBase draws a campaign that has a solution.
func solvedBase(t *rapid.T) *base {
	m := genMarket(t)
	k := newTask(m, genQuotas(t), nil)
	s, _, err := k.solve(t.Context(), nil, nil)
	if err != nil {
		k.quotas = nil
		if s, _, err = k.solve(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return &base{task: k, solution: s}
}

func TestWhatIfIsTheChangedWorldFromScratch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := solvedBase(t)
		if len(b.offers) == 0 {
			return
		}
		var changes []WhatIfChange
		offers := slices.Clone(b.offers)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			o := rapid.IntRange(0, len(offers)-1).Draw(t, "offer")
			if rapid.Bool().Draw(t, "withdraw") {
				changes = append(changes, WhatIfChange{WithdrawOffer: offers[o].id})
				offers[o].demand.Left = 0
			} else {
				n := rapid.Int64Range(1, 2).Draw(t, "more")
				changes = append(changes, WhatIfChange{AddPosts: &AddPosts{Offer: offers[o].id, Count: n}})
				offers[o].demand.Left = max(0, offers[o].demand.Left) + int(n)
			}
		}
		m, err := newMarket(t.Context(), b.rules, today, "another seed", offers, slices.Clone(b.people))
		if err != nil {
			t.Fatal(err)
		}
		want, possible := best(newTask(m, b.quotas, nil))
		got, err := b.whatIf(t.Context(), changes)
		if err != nil {
			t.Fatal(err)
		}
		if possible != (got.conflict == nil) {
			t.Fatalf("possible: %t, conflict: %v", possible, got.conflict)
		}
		if possible && (got.after.placed != want[0] || got.after.total != want[2]) {
			t.Fatalf("%d placements and score %d, want %v", got.after.placed, got.after.total, want)
		}
	})
}

func TestCertificatesAreGivenWhereTheyPlaceMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := solvedBase(t)
		count := rapid.Int64Range(1, 2).Draw(t, "count")
		governorate := rapid.SampledFrom([]string{"", "TN-71"}).Draw(t, "where")
		change := rapid.SampledFrom([]WhatIfChange{
			{AddLanguage: &AddLanguage{Code: "fr", CEFR: "B1", Governorate: governorate, Count: count}},
			{AddLicence: &AddLicence{Category: "C", Governorate: governorate, Count: count}},
		}).Draw(t, "what")
		l, _, _, _ := change.training()

		// Whoever may be given it, every choice of at most count of them.
		gaps, err := b.allGaps(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all []gap
		var who []int32
		for _, g := range gaps {
			if l.meets(b.lacks[g.lack]) && (governorate == "" || b.people[g.person].person.Governorate == governorate) {
				g.score = b.worth(g, l)
				all = append(all, g)
				if !slices.Contains(who, g.person) {
					who = append(who, g.person)
				}
			}
		}
		most := b.solution.placed
		for set := range 1 << len(who) {
			k := *b.task
			chosen := int64(0)
			for i, p := range who {
				if set>>i&1 == 1 {
					chosen++
					for _, g := range all {
						if g.person == p {
							k.extra = append(k.extra, g)
						}
					}
				}
			}
			if chosen > count {
				continue
			}
			if w, ok := best(&k); ok {
				most = max(most, w[0])
			}
		}

		got, err := b.whatIf(t.Context(), []WhatIfChange{change})
		if err != nil {
			t.Fatal(err)
		}
		e := got.effects[0]
		if got.after.placed != most || e.used > count || int64(len(e.trained)) != e.used || e.placements != most-b.solution.placed {
			t.Fatalf("%d placements with %d, want %d with %d: %+v", got.after.placed, e.used, most, count, e)
		}
	})
}

func TestMarginsAreWhatOneMoreBrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := solvedBase(t)
		m := b.solution.margins()
		for o := range b.offers {
			if b.offers[o].demand.Left == 0 {
				continue // its pairs are not part of the campaign
			}
			k := *b.task
			k.posts = slices.Clone(k.posts)
			k.posts[o]++
			if more, _ := best(&k); more[0]-b.solution.placed != m.offers[o].OneMorePost {
				t.Fatalf("one more post of %d: %d, said %d", o, more[0]-b.solution.placed, m.offers[o].OneMorePost)
			}
		}
		for i, q := range b.quotas {
			looser := int64(0)
			for _, by := range []int64{-1, 1} {
				k := *b.task
				k.quotas = slices.Clone(k.quotas)
				if by < 0 && q.Min > 0 {
					k.quotas[i].Min--
				} else if by > 0 && q.Max != nil {
					n := *q.Max + 1
					k.quotas[i].Max = &n
				}
				if more, ok := best(&k); ok {
					looser = max(looser, more[0]-b.solution.placed)
				}
			}
			if looser != m.quotas[i] {
				t.Fatalf("quota %+v looser: %d, said %d", q, looser, m.quotas[i])
			}
		}
	})
}

func TestConditionsAreWhatTheirLossBrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := solvedBase(t)
		found, err := b.solution.conditions(t.Context(), func(int64, int64) {})
		if err != nil {
			t.Fatal(err)
		}
		gaps, err := b.allGaps(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.lacks {
			for _, governorate := range []string{"", "TN-11", "TN-71"} {
				k := *b.task
				for _, g := range gaps {
					if b.lacks[i].meets(b.lacks[g.lack]) && (governorate == "" || b.people[g.person].person.Governorate == governorate) {
						k.extra = append(k.extra, g)
					}
				}
				want, _ := best(&k)
				said := int64(0)
				for _, c := range found {
					if c.Condition == b.lacks[i].condition && c.Code == b.lacks[i].code && c.CEFR == cefr(b.lacks[i].rank) && c.Governorate == governorate {
						said = c.Placements
					}
				}
				if said != want[0]-b.solution.placed {
					t.Fatalf("%+v in %q: %d more, said %d", b.lacks[i], governorate, want[0]-b.solution.placed, said)
				}
			}
		}
	})
}

func TestAQuestionThatNumbersCannotHoldIsAnError(t *testing.T) {
	k := &task{market: &market{offers: make([]marketOffer, 1<<20), people: make([]marketPerson, 1<<20)}, kept: []int32{}, extra: []gap{{}}}
	if _, err := k.scales(); !errors.Is(err, allocation.ErrRange) {
		t.Errorf("got %v", err)
	}
}
