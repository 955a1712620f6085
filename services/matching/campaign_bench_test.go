package matching

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"masar.local/pkg/reference"
)

// crowd makes a market of 40 occupations, each with its share of the people, the
// offers and the posts; and in each, kinds of people that each suit a part of the
// offers, so that somebody eligible suits about 20. With days, offers start and
// people become available within so many days, so that few people are alike.
func crowd(people, offers, posts, days int) (rules *Rules, seekers []*Seeker, wanted []*Offer) {
	list := &reference.Occupations{Version: "bench", Jobs: map[string]reference.Job{}}
	code := func(i int) string { return fmt.Sprintf("A%04d", 1000+i%40) }
	for i := range 40 {
		list.Jobs[code(i)] = reference.Job{Code: code(i), Parent: code(i)}
	}
	rules = NewRules(PresentWeights(), reference.Schemes(), list)
	random := rand.New(rand.NewPCG(1, 2))
	licences := []string{"B", "C", "D", "CE", "A", "BE", "DE", "C1"}
	levels := []string{"A1", "A2", "B1", "B2", "C1"}
	governorates := reference.Governorates()
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for i := range people {
		s := aSeeker()
		s.Governorate = governorates[random.IntN(24)].Code
		s.Occupations = []Occupation{{code(i), random.Int32N(120)}}
		s.Languages = []Language{{"fr", levels[random.IntN(5)]}}
		s.Licences = []string{licences[random.IntN(8)]}
		s.Pathways[0].ID = id(5_000_000 + i)
		if days > 0 {
			s.AvailableFrom = start.AddDate(0, 0, random.IntN(days)).Format(time.DateOnly)
		}
		seekers = append(seekers, s)
	}
	for i := range offers {
		o := anOffer()
		o.Rome, o.Posts = code(i), int32(posts/offers)
		o.Languages = []LanguageNeed{{"fr", levels[random.IntN(5)], true}}
		o.Licences = nil
		if days > 0 {
			o.StartsOn = start.AddDate(0, 0, random.IntN(days)).Format(time.DateOnly)
		}
		if random.IntN(100) < 90 {
			o.Licences = []LicenceNeed{{licences[random.IntN(8)], true}}
		}
		wanted = append(wanted, o)
	}
	return rules, seekers, wanted
}

// BenchmarkCampaign measures a campaign from its inputs to the verified result:
// with few posts, with nearly as many as people, so that what people lack counts,
// and then with people of whom no two are alike.
func BenchmarkCampaign(b *testing.B) {
	for _, k := range []struct{ posts, days int }{{20_000, 0}, {95_000, 0}, {95_000, 200}} {
		b.Run(fmt.Sprintf("%d_posts_%d_days", k.posts, k.days), func(b *testing.B) { benchCampaign(b, k.posts, k.days) })
	}
}

func benchCampaign(b *testing.B, posts, days int) {
	rules, seekers, wanted := crowd(100_000, 5_000, posts, days)
	fresh := func() (offers []marketOffer, people []marketPerson) {
		for i, o := range wanted {
			offers = append(offers, marketOffer{id: id(1_000_000 + i), demand: rules.Demand(o, false)})
		}
		for i, s := range seekers {
			people = append(people, marketPerson{id: id(i), person: rules.Person(s)})
		}
		return offers, people
	}
	c := &campaigns{service: &service{past: &pastRules{present: rules}}}
	in := &campaignInputs{AsOf: "2026-03-01", Seed: "s", Weights: rules.Weights.Version, Reference: "bench"}
	var out *Outcome
	for b.Loop() {
		b.StopTimer()
		offers, people := fresh()
		runtime.GC()
		b.StartTimer()
		began, at := time.Now(), map[string]time.Duration{}
		last := ""
		var err error
		if out, _, err = c.compute(context.Background(), &Campaign{Objective: ObjectivePlacements}, in, offers, people, func(phase string, done, _ int64) {
			if done == 0 {
				at[last] = time.Since(began)
				last = phase
			}
		}); err != nil {
			b.Fatal(err)
		}
		data, err := canonical(out)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(data))/1e6, "MB-result")
		b.ReportMetric(at[PhasePairs].Seconds(), "s-pairs")
		b.ReportMetric((at[PhaseSolving] - at[PhasePairs]).Seconds(), "s-solve")
		b.ReportMetric((time.Since(began) - at[PhaseSolving]).Seconds(), "s-scarcity")
	}
	b.ReportMetric(float64(out.Summary.Pairs), "pairs")
	b.ReportMetric(float64(out.Summary.Filled), "filled")
	b.ReportMetric(float64(len(out.Conditions)), "conditions")
}

// BenchmarkWhatIf measures questions to a campaign that is in memory.
func BenchmarkWhatIf(b *testing.B) {
	for _, posts := range []int{20_000, 95_000} {
		b.Run(fmt.Sprintf("%d_posts", posts), func(b *testing.B) { benchWhatIf(b, posts) })
	}
}

func benchWhatIf(b *testing.B, posts int) {
	rules, seekers, wanted := crowd(100_000, 5_000, posts, 0)
	var offers []marketOffer
	var people []marketPerson
	for i, o := range wanted {
		offers = append(offers, marketOffer{id: id(1_000_000 + i), demand: rules.Demand(o, false)})
	}
	for i, s := range seekers {
		people = append(people, marketPerson{id: id(i), person: rules.Person(s)})
	}
	m, err := newMarket(b.Context(), rules, today, "s", offers, people)
	if err != nil {
		b.Fatal(err)
	}
	t := newTask(m, nil, nil)
	s, _, err := t.solve(b.Context(), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	of := &base{task: t, solution: s}
	for name, changes := range map[string][]WhatIfChange{
		"withdraw": {{WithdrawOffer: id(1_000_000)}},
		"posts":    {{AddPosts: &AddPosts{Offer: id(1_000_001), Count: 20}}},
		"language": {{AddLanguage: &AddLanguage{Code: "fr", CEFR: "C1", Governorate: "TN-71", Count: 50}}},
		"licence":  {{AddLicence: &AddLicence{Category: "C", Count: 20}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				h, err := of.whatIf(b.Context(), changes)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(h.after.placed-h.before.placed), "more")
			}
		})
	}
}
