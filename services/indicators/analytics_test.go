package indicators

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"masar.local/pkg/reference"
	"pgregory.net/rapid"
)

// journey is a pathway with its steps in its own order.
type journey struct {
	Pathway, Person, Scheme, SchemeVersion string
	Codes                                  Codes // of the person
	Steps                                  []journeyStep
}

type journeyStep struct {
	Kind           Kind
	From, To, Exit string
	OccurredAt     time.Time
}

// facts are the journeys as the service gets to know of them.
func (j journey) facts() (all []Fact) {
	for i, s := range j.Steps {
		f := Fact{
			ID: fmt.Sprintf("%s-%d", j.Pathway, i), Kind: s.Kind, Subject: j.Pathway, Person: j.Person, Seq: int64(i + 1),
			OccurredAt: s.OccurredAt, RecordedAt: s.OccurredAt.Add(time.Hour), Codes: j.Codes,
		}
		f.Codes.Scheme, f.Codes.SchemeVersion, f.Codes.FromStage, f.Codes.Stage, f.Codes.Exit = j.Scheme, j.SchemeVersion, s.From, s.To, s.Exit
		all = append(all, f)
	}
	return all
}

func factsOf(journeys []journey) (all []Fact) {
	for _, j := range journeys {
		all = append(all, j.facts()...)
	}
	return all
}

// drawJourneys draws pathways that mostly follow their scheme, but also go back,
// jump, know no scheme, come to stages that do not exist, are dated backwards, go on
// after their end and have no opening.
func drawJourneys(t *rapid.T) []journey {
	start := time.Date(2025, 11, 20, 8, 0, 0, 0, time.UTC)
	schemes := reference.Schemes()
	var all []journey
	for i := range rapid.IntRange(0, 25).Draw(t, "pathways") {
		scheme := rapid.SampledFrom([]string{"agri", "agri", "soin", "other"}).Draw(t, "scheme")
		version := rapid.SampledFrom([]string{"1", "1", "2", "77"}).Draw(t, "version")
		rules, ok := schemes.Get(scheme, version)
		if !ok {
			rules, _ = schemes.Get("agri", "1")
		}
		j := journey{
			Pathway: fmt.Sprintf("p%02d", i), Person: fmt.Sprintf("c%d", rapid.IntRange(0, 15).Draw(t, "person")), Scheme: scheme, SchemeVersion: version,
			Codes: Codes{
				Sex:         rapid.SampledFrom([]string{"F", "M"}).Draw(t, "sex"),
				Governorate: rapid.SampledFrom([]string{"TN-11", "TN-71", "TN-72"}).Draw(t, "governorate"),
			},
		}
		at := start.Add(time.Duration(rapid.IntRange(0, 120*24).Draw(t, "opened")) * time.Hour)
		here := rapid.SampledFrom([]string{"P02", "P02", "P02", "P02", "P07"}).Draw(t, "first")
		if rapid.IntRange(0, 9).Draw(t, "opening") > 0 {
			j.Steps = append(j.Steps, journeyStep{Kind: PathwayOpened, To: here, OccurredAt: at})
		}
		for range rapid.IntRange(0, 9).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(-20, 500).Draw(t, "hours")) * time.Hour)
			switch rapid.IntRange(0, 11).Draw(t, "move") {
			case 0:
				j.Steps = append(j.Steps, journeyStep{Kind: PathwayExited, From: here, To: here, Exit: rapid.SampledFrom([]string{"DESISTEMENT", "REFUS_VISA", Other}).Draw(t, "exit"), OccurredAt: at})
			case 1:
				j.Steps = append(j.Steps, journeyStep{Kind: PathwayCompleted, From: here, To: here, OccurredAt: at})
			case 2:
				next := rapid.SampledFrom([]string{"P02", "P04", "P08", "P15", Other}).Draw(t, "jump")
				j.Steps, here = append(j.Steps, journeyStep{Kind: StageEntered, From: here, To: next, OccurredAt: at}), next
			default:
				following := rules.Following(here)
				if len(following) == 0 {
					continue
				}
				next := rapid.SampledFrom(following).Draw(t, "next")
				j.Steps, here = append(j.Steps, journeyStep{Kind: StageEntered, From: here, To: next, OccurredAt: at}), next
			}
		}
		all = append(all, j)
	}
	return all
}

var drawnAt = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// cutShort are the journeys with what had happened by then only.
func cutShort(journeys []journey, at time.Time) (out []journey) {
	for _, j := range journeys {
		j.Steps = slices.DeleteFunc(slices.Clone(j.Steps), func(s journeyStep) bool { return s.OccurredAt.After(at) })
		if len(j.Steps) > 0 {
			out = append(out, j)
		}
	}
	return out
}

func tableOf(t rapid.TB, facts []Fact, at, asOf time.Time, q PathwayQuery) *table {
	columns := NewColumns(Dimensions(), nil)
	for _, f := range facts {
		columns.Add(f)
	}
	table, err := newTracks(columns.View(), reference.Schemes(), at, asOf).table(q, q.cuts(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// answers is everything that is told of a table, as text.
func (t *table) answers(least int) string {
	var all []any
	flows := t.funnel()
	hidden := t.hideFunnel(flows, least)
	durations, delays := t.durations("", ""), t.durations("P02", "P08")
	conformity := t.conformance()
	lost, _ := t.bottlenecks(nil)
	days, part := 30, .9
	spent := t.spend(DelayBudget{From: "P04", To: "P08", Days: &days, Share: &part})
	for _, i := range t.order() {
		all = append(all, t.funnelGroup(i, &flows[i], &hidden))
		for _, list := range [][]held{durations[i], delays[i]} {
			for p := range list {
				var d Duration
				list[p].tell(&d, rowHidden{}, least, []int{1, 10, 50})
				all = append(all, d)
			}
		}
		for place, l := range lost[i] {
			all = append(all, []int64{int64(place), l.lost, l.lostWaiting, int64(l.late.n), int64(l.waiting.n), int64(l.oldest)})
		}
		all = append(all, conformity[i].conforming)
		for _, k := range slices.SortedFunc(maps.Keys(conformity[i].found), func(a, b foundKey) int {
			return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.stage, b.stage), cmp.Compare(a.from, b.from))
		}) {
			o := conformity[i].found[k]
			all = append(all, fmt.Sprint(k, o.people.n, o.pathways, o.times))
		}
		s := spent[i]
		all = append(all, []int{s.good, s.late, s.lateWaiting, s.pending, s.exited, int(s.people.n)}, s.decided, s.decidedLate)
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// differ shows where two texts part.
func differ(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	end := func(s string) string { return s[max(0, n-100):min(len(s), n+100)] }
	return "..." + end(a) + "\n..." + end(b)
}

// TestPathwaysOrderAndTruncation: in which order pathways come is nothing, and as of
// an instant is the same as if nothing had happened after it.
func TestPathwaysOrderAndTruncation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journeys := drawJourneys(t)
		q := PathwayQuery{
			Cohort: rapid.SampledFrom(cohortGrains).Draw(t, "cohort"),
			By:     rapid.SampledFrom([][]string{nil, {"sex"}, {"sex", "governorate"}, {"scheme_version"}}).Draw(t, "by"),
		}
		least := rapid.SampledFrom([]int{0, 3}).Draw(t, "least")
		never := time.Time{}
		facts := factsOf(journeys)
		want := tableOf(t, facts, drawnAt, never, q).answers(least)
		shuffled := rapid.Permutation(facts).Draw(t, "order")
		if got := tableOf(t, shuffled, drawnAt, never, q).answers(least); got != want {
			t.Fatalf("another order, another answer: %s", differ(got, want))
		}
		if got := tableOf(t, factsOf(cutShort(journeys, drawnAt)), drawnAt, never, q).answers(least); got != want {
			t.Fatalf("without what came later: %s", differ(got, want))
		}

		// As of a moment: as if nothing had been recorded after it.
		asOf := drawnAt.AddDate(0, 0, -rapid.IntRange(0, 60).Draw(t, "days ago"))
		knownThen := slices.DeleteFunc(slices.Clone(facts), func(f Fact) bool { return f.RecordedAt.After(asOf) })
		want = tableOf(t, knownThen, asOf, never, q).answers(least)
		if got := tableOf(t, shuffled, asOf, asOf, q).answers(least); got != want {
			t.Fatalf("as of %s: %s", asOf, differ(got, want))
		}
	})
}

// TestFunnelByBruteForce counts the funnel of drawn pathways again with sets.
func TestFunnelByBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		journeys := drawJourneys(t)
		table := tableOf(t, factsOf(journeys), drawnAt, time.Time{}, PathwayQuery{Cohort: Month})
		flows := table.funnel()
		hidden := table.hideFunnel(flows, 0)
		got := map[string]string{}
		for _, i := range table.order() {
			g := table.funnelGroup(i, &flows[i], &hidden)
			last := math.MaxInt
			for _, st := range g.Stages {
				if !st.Unknown && *st.Reached > last {
					t.Fatalf("more people reached %s than the stage before", st.Stage)
				}
				last = *st.Reached
				key := g.Cohort + " " + g.Dimensions["scheme"] + " " + st.Stage
				text := fmt.Sprint(*st.Reached, *st.Entered, *st.Again, *st.WentOn, *st.Back, *st.Waiting, *st.Completed, *st.Exited)
				for _, e := range st.Exits {
					text += fmt.Sprint(" ", e.Exit, *e.People)
				}
				if text != "0 0 0 0 0 0 0 0" {
					got[key] = text
				}
			}
			for _, l := range g.Loops {
				got[g.Cohort+" "+g.Dimensions["scheme"]+" "+l.From+">"+l.To] = fmt.Sprint(*l.People, *l.Times)
			}
		}
		want := bruteFunnel(cutShort(journeys, drawnAt), table)
		if !maps.Equal(got, want) {
			for k := range want {
				if got[k] != want[k] {
					t.Errorf("%s: got %q, want %q", k, got[k], want[k])
				}
			}
			for k := range got {
				if _, ok := want[k]; !ok {
					t.Errorf("%s: got %q, want nothing", k, got[k])
				}
			}
			t.FailNow()
		}
	})
}

func bruteFunnel(journeys []journey, table *table) map[string]string {
	type people map[string]bool
	counts := map[string]*[8]people{}
	exits := map[string]map[string]people{}
	loops, times := map[string]people{}, map[string]int{}
	for _, j := range journeys {
		opened := slices.IndexFunc(j.Steps, func(s journeyStep) bool { return s.Kind == PathwayOpened })
		if opened < 0 {
			continue
		}
		plan := table.plans[j.Scheme]
		var order []string
		for _, st := range plan.stages {
			order = append(order, st.Stage)
		}
		group := j.Steps[opened].OccurredAt.In(tunis).Format("2006-01") + " " + j.Scheme + " "
		mark := func(stage string, which int) {
			if counts[group+stage] == nil {
				counts[group+stage] = new([8]people)
			}
			if counts[group+stage][which] == nil {
				counts[group+stage][which] = people{}
			}
			counts[group+stage][which][j.Person] = true
		}
		var visited []string
		here, furthest := "", -1
		for n, s := range j.Steps {
			switch s.Kind {
			case PathwayOpened, StageEntered:
				at := slices.Index(order, s.To)
				mark(s.To, 1)
				if slices.Contains(visited, s.To) {
					mark(s.To, 2)
				}
				if at < plan.known {
					furthest = max(furthest, at)
				} else {
					mark(s.To, 0)
				}
				for _, before := range visited {
					if at < plan.known && slices.Index(order, before) < at {
						mark(before, 3)
					}
				}
				if n := len(visited); n > 0 && slices.Index(order, visited[n-1]) > at {
					from := visited[n-1]
					mark(from, 4)
					key := group + from + ">" + s.To
					if loops[key] == nil {
						loops[key] = people{}
					}
					loops[key][j.Person] = true
					times[key]++
				}
				visited, here = append(visited, s.To), s.To
			case PathwayExited, PathwayCompleted:
				where := cmp.Or(here, s.To)
				if s.Kind == PathwayCompleted {
					// Only the last completion counts, for a pathway has one end.
					if !slices.ContainsFunc(j.Steps[n+1:], func(o journeyStep) bool { return o.Kind == PathwayCompleted }) {
						mark(where, 6)
					}
				} else {
					mark(where, 7)
					key := group + where
					if exits[key] == nil {
						exits[key] = map[string]people{}
					}
					if exits[key][s.Exit] == nil {
						exits[key][s.Exit] = people{}
					}
					exits[key][s.Exit][j.Person] = true
				}
				here = ""
			}
		}
		for _, stage := range order[:furthest+1] {
			mark(stage, 0)
		}
		if here != "" {
			mark(here, 5)
		}
	}
	out := map[string]string{}
	for key, c := range counts {
		var n []any
		for _, p := range c {
			n = append(n, len(p))
		}
		out[key] = fmt.Sprint(n...)
		for _, e := range slices.Sorted(maps.Keys(exits[key])) {
			out[key] += fmt.Sprint(" ", e, len(exits[key][e]))
		}
	}
	for key, p := range loops {
		out[key] = fmt.Sprint(len(p), times[key])
	}
	return out
}
