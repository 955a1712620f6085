package indicators

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// history draws facts of a few subjects and people: kinds in any order, dates
// that go back and forth, sequences that repeat or are missing, codes that are
// in no list, facts that supersede others, which may come before them, be others'
// or not be there at all.
func history(t *rapid.T) []Fact {
	from := time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	to := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	code := func(name string, codes ...string) string {
		return rapid.SampledFrom(append(codes, "", "nowhere")).Draw(t, name)
	}
	var facts []Fact
	for i := range rapid.IntRange(0, 60).Draw(t, "facts") {
		kind := rapid.SampledFrom(kinds()).Draw(t, "kind")
		f := Fact{
			ID:         fmt.Sprintf("%02d", i),
			Kind:       kind,
			Subject:    fmt.Sprintf("s%d", rapid.IntRange(0, 7).Draw(t, "subject")),
			Seq:        rapid.Int64Range(0, 6).Draw(t, "seq"),
			OccurredAt: time.UnixMilli(rapid.Int64Range(from, to).Draw(t, "occurred")).UTC(),
			RecordedAt: time.UnixMilli(rapid.Int64Range(from, to).Draw(t, "recorded")).UTC(),
		}
		if kind == Retracted || rapid.IntRange(0, 3).Draw(t, "correction") == 0 {
			f.Supersedes = fmt.Sprintf("%02d", rapid.IntRange(0, 60).Draw(t, "supersedes"))
		}
		if f.aboutSomebody() {
			f.Person = fmt.Sprintf("p%d", rapid.IntRange(0, 4).Draw(t, "person"))
			f.Codes.Sex = code("sex", "F", "M")
			f.Codes.Governorate = code("governorate", "TN-71", "TN-11")
			f.Codes.Age = code("age", "15-24")
			f.Codes.Stage = code("stage", "P02", "P04", "P16")
			f.Codes.FromStage = code("from", "P02", "P04", "P16")
			f.Codes.Placement = code("placement", "yes", "no")
			f.Codes.Exit = code("exit", "DESISTEMENT", "REFUS_VISA")
			f.Codes.Decision = code("decision", "hired", "refused")
			f.Codes.RefusedBy = code("refused by", "candidate", "employer")
			f.Codes.Reason = code("reason", "LIEU", "AUTRE")
			f.Codes.Language = code("language", "fr", "ar")
			if rapid.Bool().Draw(t, "stays") {
				stay := rapid.Int64Range(0, 90*86400).Draw(t, "stay")
				f.Stay = &stay
			}
		} else {
			f.Employer = rapid.SampledFrom([]string{"", "e1", "e2"}).Draw(t, "employer")
			f.Codes.Rome = code("rome", "A1401", "K1304")
			f.Terms = &Terms{Posts: rapid.Int64Range(0, 9).Draw(t, "posts"), Filled: rapid.Int64Range(0, 9).Draw(t, "filled")}
		}
		f.Codes.Scheme = code("scheme", "agri", "soin")
		f.Codes.Sector = code("sector", "agriculture", "soin")
		facts = append(facts, f)
	}
	return facts
}

// TestEngineEqualsRecount draws histories, feeds them to the engine in another
// order and with repetitions, bit by bit with questions in between, and counts
// every indicator, cut and grain again.
func TestEngineEqualsRecount(t *testing.T) {
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	dims := Dimensions()
	rapid.Check(t, func(t *rapid.T) {
		facts := history(t)
		columns := NewColumns(dims, defs)
		columns.mergeAt = rapid.IntRange(1, 40).Draw(t, "merge at")
		fed := rapid.Permutation(append(slices.Clone(facts), facts[:len(facts)/2]...)).Draw(t, "fed")
		every := rapid.IntRange(1, 30).Draw(t, "view after each")
		var early *view
		var soFar []Fact
		for i, f := range fed {
			columns.Add(f)
			if i%every == 0 {
				if v := columns.View(); early == nil || rapid.Bool().Draw(t, "keep this view") {
					early, soFar = v, slices.Clone(fed[:i+1])
				}
			}
		}
		today := rapid.SampledFrom([]string{"2025-11-20", "2026-01-15", "2026-04-20"}).Draw(t, "today")
		d := rapid.SampledFrom(defs).Draw(t, "indicator")
		checks := Checks(d, today, "")
		asOf := rapid.SampledFrom(append(facts, Fact{RecordedAt: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)})).Draw(t, "as of").RecordedAt
		by, only := d.Dimensions[:min(1, len(d.Dimensions))], map[string][]string{}
		for _, name := range by {
			only[name] = []string{"agri", "P04", "F", "TN-71", Unknown, Other}
		}
		checks = append(checks,
			Query{Grain: Day, By: by, Today: today},
			Query{Grain: Season, By: by, Today: today, Season: "01-01"},
			Query{Grain: Season, Today: today, Season: "03-01"},
			Query{Grain: Quarter, By: by, Today: today, From: "2026-01-10", To: "2026-03-15"},
			Query{Grain: All, By: by, Today: today, AsOf: asOf},
			Query{Grain: Month, Today: today, AsOf: asOf},
			Query{Grain: Day, Today: today, AsOf: asOf, From: "2026-01-20"},
			Query{Grain: Month, By: by, Today: today, From: "2026-01-10", To: "2026-03-15"},
			Query{Grain: Day, Today: today, From: "2026-02-01"},
			Query{Grain: All, Today: today, To: "2026-02-01"},
			Query{Grain: Month, Today: today, Only: only},
		)
		for _, q := range checks {
			served, err := columns.View().Cells(d, q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := Compare(d, q, served, Recount(d, dims, slices.Values(facts), q)); len(diff) > 0 {
				t.Fatalf("%s %+v: %v", d.Code, q, diff)
			}
			// A view that was taken before answers as it did then.
			if early != nil {
				then, err := early.Cells(d, q)
				if err != nil {
					t.Fatal(err)
				}
				if diff := Compare(d, q, then, Recount(d, dims, slices.Values(soFar), q)); len(diff) > 0 {
					t.Fatalf("an early view, %s %+v: %v", d.Code, q, diff)
				}
			}
			// The total of what adds up is the sum of the cells of any cut.
			if d.Additive() && len(q.By) > 0 {
				whole := q
				whole.By = nil
				total, err := columns.View().Cells(d, whole)
				if err != nil {
					t.Fatal(err)
				}
				if a, b := sum(total), sum(served); a != b {
					t.Fatalf("%s %+v: the cells add up to %v, the total is %v", d.Code, q, b, a)
				}
			}
		}
	})
}

func sum(cells []Cell) (s float64) {
	for _, c := range cells {
		s += c.Value
	}
	return s
}

// TestRecountFindsWhatIsWrong proves that the check has teeth: a fact missing,
// a fact twice, a fact in the wrong month.
func TestRecountFindsWhatIsWrong(t *testing.T) {
	s := year(t)
	columns, facts := columnsOf(t, s.events)
	defs, _ := Embedded()
	d, _ := defs.Get("people_followed")
	q := Query{Grain: Month, By: []string{"scheme"}, Today: "2026-04-15"}
	served, err := columns.View().Cells(d, q)
	if err != nil {
		t.Fatal(err)
	}
	without := slices.DeleteFunc(slices.Clone(facts), func(f Fact) bool { return f.ID == "pb1-1" })
	moved := slices.Clone(facts)
	more := append(slices.Clone(facts), Fact{ID: "x", Kind: PathwayOpened, Person: "new", OccurredAt: at(t, "2026-02-02 10:00"), Codes: Codes{Scheme: "agri"}})
	for i := range moved {
		if moved[i].ID == "pb1-1" {
			moved[i].OccurredAt = moved[i].OccurredAt.AddDate(0, 1, 0)
		}
	}
	for name, list := range map[string][]Fact{"missing": without, "moved": moved, "one more": more} {
		if diff := Compare(d, q, served, Recount(d, Dimensions(), slices.Values(list), q)); len(diff) == 0 {
			t.Errorf("a fact %s is not noticed", name)
		}
	}
}
