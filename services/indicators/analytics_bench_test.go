package indicators

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"masar.local/pkg/reference"
)

// benchJourneys are n pathways of some six steps over three years, the same ones each
// time.
func benchJourneys(n int) iter.Seq[journey] {
	return func(yield func(journey) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		var governorates []string
		for _, g := range reference.Governorates() {
			governorates = append(governorates, g.Code)
		}
		start := time.Date(2023, 1, 1, 8, 0, 0, 0, time.UTC)
		schemes := reference.Schemes().All()
		following := map[string][]string{}
		steps := make([]journeyStep, 0, 32)
		for i := range n {
			s := schemes[r.IntN(len(schemes))]
			codes := Codes{Sex: []string{"F", "M"}[r.IntN(2)], Governorate: governorates[r.IntN(len(governorates))], Age: ageGroups()[r.IntN(5)], Sector: s.Sector}
			at := start.Add(time.Duration(r.IntN(3*365*24)) * time.Hour)
			here := s.First().Code
			steps = append(steps[:0], journeyStep{Kind: PathwayOpened, To: here, OccurredAt: at})
			for range r.IntN(12) {
				next, ok := following[s.Code+s.Version+here]
				if !ok {
					next = s.Following(here)
					following[s.Code+s.Version+here] = next
				}
				if len(next) == 0 {
					break
				}
				to := next[r.IntN(len(next))]
				at = at.Add(time.Duration(r.IntN(40*24*3600)) * time.Second)
				steps, here = append(steps, journeyStep{Kind: StageEntered, From: here, To: to, OccurredAt: at}), to
			}
			if r.IntN(4) == 0 {
				steps = append(steps, journeyStep{Kind: PathwayExited, From: here, To: here, Exit: "DESISTEMENT", OccurredAt: at.Add(48 * time.Hour)})
			}
			if !yield(journey{
				Pathway: fmt.Sprintf("01JP%022d", i), Person: fmt.Sprintf("01JC%022d", r.IntN(n)), Scheme: s.Code, SchemeVersion: s.Version,
				Codes: codes, Steps: steps,
			}) {
				return
			}
		}
	}
}

// BenchmarkPathways answers every question about 1,500,000 pathways of ten million
// steps, as they are laid out once for each view.
func BenchmarkPathways(b *testing.B) {
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	columns := NewColumns(Dimensions(), nil)
	for j := range benchJourneys(1_500_000) {
		for _, f := range j.facts() {
			columns.Add(f)
		}
	}
	view := columns.View()
	b.Run("layout", func(b *testing.B) {
		for b.Loop() {
			newTracks(view, reference.Schemes(), at, time.Time{})
		}
	})
	t := newTracks(view, reference.Schemes(), at, time.Time{})
	b.Logf("%d pathways, %d steps", len(t.list), len(t.moves))
	days, share := 30, .9
	for _, q := range []struct {
		name string
		PathwayQuery
	}{
		{"all", PathwayQuery{Cohort: All}},
		{"by_month_sex_governorate", PathwayQuery{Cohort: Month, By: []string{"sex", "governorate"}}},
	} {
		for _, least := range []int{0, 5} {
			for name, ask := range map[string]func(*table){
				"funnel": func(t *table) { f := t.funnel(); t.hideFunnel(f, least) },
				"durations": func(t *table) {
					all := t.durations("", "")
					h := t.hideDurations(all, least, false)
					for i := range all {
						for p := range all[i] {
							var d Duration
							all[i][p].tell(&d, h.rows[i][p], least, defaultDays)
						}
					}
				},
				"bottlenecks": func(t *table) { t.bottlenecks(nil) },
				"conformance": func(t *table) { t.conformance() },
				"budgets":     func(t *table) { t.spend(DelayBudget{From: "P11", To: "P15", Days: &days, Share: &share}) },
			} {
				b.Run(fmt.Sprintf("%s/%s/least=%d", q.name, name, least), func(b *testing.B) {
					for b.Loop() {
						table, err := t.table(q.PathwayQuery, q.cuts(), nil)
						if err != nil {
							b.Fatal(err)
						}
						ask(table)
					}
				})
			}
		}
	}
}
