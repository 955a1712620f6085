package indicators

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawCrowd draws pathways, each of another person, that go straight on through the
// first stages in care and stop, exit or wait somewhere.
func drawCrowd(t *rapid.T) (all []journey) {
	stages := []string{"P02", "P04", "P05", "P06", "P07"}
	start := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	n := 0
	for _, sex := range []string{"F", "M"} {
		for _, home := range []string{"TN-11", "TN-71"} {
			for month := range rapid.IntRange(1, 3).Draw(t, "months") {
				for last := range stages {
					for end := range 2 {
						for range rapid.SampledFrom([]int{0, 0, 1, 2, 3, 6, 9}).Draw(t, "people") {
							n++
							j := journey{
								Pathway: fmt.Sprintf("p%03d", n), Person: fmt.Sprintf("c%03d", n), Scheme: "soin", SchemeVersion: "1",
								Codes: Codes{Sex: sex, Governorate: home},
							}
							at := start.AddDate(0, month, 0)
							j.Steps = append(j.Steps, journeyStep{Kind: PathwayOpened, To: stages[0], OccurredAt: at})
							for i := range last {
								at = at.AddDate(0, 0, 1)
								j.Steps = append(j.Steps, journeyStep{Kind: StageEntered, From: stages[i], To: stages[i+1], OccurredAt: at})
							}
							if end == 1 {
								j.Steps = append(j.Steps, journeyStep{Kind: PathwayExited, From: stages[last], To: stages[last], Exit: "DESISTEMENT", OccurredAt: at.AddDate(0, 0, 1)})
							}
							all = append(all, j)
						}
					}
				}
			}
		}
	}
	return all
}

// TestFunnelHidesSmallGroups attacks what a reader sees to whom groups below five are
// hidden, by subtracting: a stage from the one before, the ways on from those who
// entered, and the groups of a cut from the table without it.
func TestFunnelHidesSmallGroups(t *testing.T) {
	const least = 5
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		journeys := drawCrowd(t)
		groups := func(q PathwayQuery) map[string]FunnelGroup {
			table := tableOf(t, factsOf(journeys), at, time.Time{}, q)
			flows := table.funnel()
			hidden := table.hideFunnel(flows, least)
			out := map[string]FunnelGroup{}
			for _, i := range table.order() {
				g := table.funnelGroup(i, &flows[i], &hidden)
				out[fmt.Sprint(g.Cohort, g.Dimensions)] = g
			}
			return out
		}
		small := func(what string, n int) {
			if n > 0 && n < least {
				t.Fatalf("%s: %d people can be told", what, n)
			}
		}
		total := groups(PathwayQuery{Cohort: All})
		for _, q := range []PathwayQuery{{Cohort: All}, {Cohort: All, By: []string{"sex"}}, {Cohort: Month}, {Cohort: Month, By: []string{"sex", "governorate"}}} {
			cut := groups(q)
			for name, g := range cut {
				if g.Suppressed {
					continue
				}
				last := *g.People
				small(name, last)
				for _, st := range g.Stages {
					what := name + " " + st.Stage
					if st.Reached == nil || st.Entered == nil {
						if st.WentOn != nil && *st.WentOn > 0 || st.Waiting != nil && *st.Waiting > 0 || st.Exited != nil && *st.Exited > 0 {
							t.Fatalf("%s is hidden, but not what became of those who entered: %+v", what, st)
						}
						continue
					}
					small(what, *st.Reached)
					small(what+" since the last", last-*st.Reached)
					last = *st.Reached
					small(what, *st.Entered)
					small(what+" past it", *st.Reached-*st.Entered)
					rest := *st.Entered
					for _, way := range []*int{st.WentOn, st.Waiting, st.Exited, st.Completed} {
						if way != nil {
							small(what+" one way on", *way)
							rest -= *way
						}
					}
					small(what+" the other ways on", rest)
				}
			}
			for _, whole := range total {
				for i, st := range whole.Stages {
					if st.Entered == nil {
						continue
					}
					rest := *st.Entered
					for _, g := range cut {
						if !g.Suppressed && g.Stages[i].Entered != nil {
							rest -= *g.Stages[i].Entered
						}
					}
					small(fmt.Sprintf("%v: all %s without what is shown", q, st.Stage), rest)
				}
			}
		}
	})
}
