package indicators

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// TestDifferencesOfAFrozenQuarter: facts that come later show, with their cause,
// and hidden cells do not, whichever side hides them.
func TestDifferencesOfAFrozenQuarter(t *testing.T) {
	now := at(t, "2026-04-15 12:00").UTC()
	s := reviewer(t, openStore(t), func() time.Time { return now })
	fold(t, s, crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {12, 12}, "TN-71": {2, 2}}).events...)
	manager, statistician := as(access.Manager), as(access.Statistician)
	first, err := s.Freeze(bg(t, manager), FreezeRequest{Period: "2026-Q1"})
	if err != nil {
		t.Fatal(err)
	}
	if d := compare(t, s, manager, DifferencesQuery{ID: first.ID}); d.Different != 0 || len(d.Indicators) != 0 || d.Compared == 0 || d.Hidden == 0 {
		t.Errorf("nothing happened: %+v", d)
	}

	// Three more women of Gafsa and one of Tunis, of whom we learn late.
	more := newStory(t)
	for _, p := range []person{{"n1", "F", "TN-71"}, {"n2", "F", "TN-71"}, {"n3", "F", "TN-71"}, {"n4", "F", "TN-11"}} {
		more.opened("2026-03-31 23:00", "p-"+p.id, "agri", p)
	}
	now = now.Add(24 * time.Hour)
	fold(t, s, later(more.events)...)
	byPlace := func(d ReviewDifferences) (out []string) {
		for _, line := range told(d, "people_followed") {
			if second := strings.Fields(line)[1]; second != "F" && second != "M" && (strings.HasPrefix(line, "total") || strings.HasPrefix(line, "TN-")) {
				out = append(out, line)
			}
		}
		return out
	}
	q := DifferencesQuery{ID: first.ID, Code: []string{"people_followed"}}
	// TN-71 was hidden with 4 people, and TN-12 and TN-11 so that it could not be worked
	// out, from other cuts and months either; the live figures hide the same.
	wantLines(t, "to a manager", byPlace(compare(t, s, manager, q)), "total 57 > 61 (facts)")
	wantLines(t, "to a statistician", byPlace(compare(t, s, statistician, q)), "total 57 > 61 (facts)", "TN-11 29 > 30 (facts)", "TN-71 4 > 7 (facts)")
	q.All = true
	wantLines(t, "everything to a manager", byPlace(compare(t, s, manager, q)), "total 57 > 61 (facts)", "TN-11 hidden", "TN-12 hidden", "TN-71 hidden")
	q.All = false

	// One of the first quarter had been recorded before the freeze, and arrives now.
	slow := newStory(t)
	slow.opened("2026-02-02 10:00", "p-slow", "agri", person{"slow", "M", "TN-11"})
	fold(t, s, slow.events...)
	wantLines(t, "with one that was slow", byPlace(compare(t, s, manager, q)), "total 57 > 62 (facts, late_arrival)")

	// Another review of the same quarter, and what lies between the two.
	second, err := s.Freeze(bg(t, manager), FreezeRequest{Period: "2026-Q1"})
	if err != nil {
		t.Fatal(err)
	}
	q.Against = second.Name
	d := compare(t, s, manager, q)
	if d.Against == nil || d.Against.Hash != second.Hash {
		t.Errorf("against %+v", d.Against)
	}
	wantLines(t, "two reviews", byPlace(d), "total 57 > 62 (facts, late_arrival)")
	if d := compare(t, s, manager, DifferencesQuery{ID: second.ID}); d.Different != 0 {
		t.Errorf("the second review against now: %+v", d)
	}
	month, err := s.Freeze(bg(t, manager), FreezeRequest{Period: "2026-03"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Differences(bg(t, manager), DifferencesQuery{ID: first.ID, Against: month.ID}); !errors.Is(err, &api.Error{Kind: api.KindInvalid}) {
		t.Errorf("a quarter against a month: %v", err)
	}
}

// TestCorrectionsShowAsDifferences: a person whose opening was dated wrongly, and
// one who was entered twice, are corrected after the freeze: the frozen figure
// stays, the differences say what became of it, and the frozen figure's facts are
// still found.
func TestCorrectionsShowAsDifferences(t *testing.T) {
	now := at(t, "2026-04-15 12:00").UTC()
	s := reviewer(t, openStore(t), func() time.Time { return now })
	put := func(f Fact) {
		t.Helper()
		if err := s.facts.put(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	var facts []Fact
	for _, e := range crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {12, 12}}).events {
		f, err := NewFact(e, s.schemes)
		if err != nil {
			t.Fatal(err)
		}
		facts = append(facts, f)
		put(f)
	}
	manager, statistician := as(access.Manager), as(access.Statistician)
	r, err := s.Freeze(bg(t, manager), FreezeRequest{Period: "2026-Q1"})
	if err != nil {
		t.Fatal(err)
	}
	q := LineageQuery{Code: "people_followed", Review: r.Name, Limit: 1000}
	before, err := s.Lineage(bg(t, statistician), q)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(24 * time.Hour)
	moved, gone := facts[0], facts[40]
	moved.ID, moved.Supersedes, moved.RecordedAt = "correction", facts[0].ID, now
	moved.OccurredAt = at(t, "2026-04-02 10:00").UTC()
	put(moved)
	put(Fact{ID: "retraction", Kind: Retracted, Subject: gone.Subject, Supersedes: gone.ID, OccurredAt: gone.OccurredAt, RecordedAt: now})
	got := told(compare(t, s, manager, DifferencesQuery{ID: r.ID, Code: []string{"people_followed"}}), "people_followed")
	if !slices.Contains(got, "total 53 > 51 (facts)") || slices.ContainsFunc(got, func(l string) bool { return !strings.HasSuffix(l, "(facts)") }) {
		t.Errorf("%s", strings.Join(got, "; "))
	}
	after, err := s.Lineage(bg(t, statistician), q)
	if err != nil {
		t.Fatal(err)
	}
	if after.Facts != 53 || *after.Frozen.Value != 53 || !same(after.Figure, *after.Frozen) || !same(after.Figure, *after.Recomputed) || len(after.Items) != len(before.Items) {
		t.Errorf("the frozen figure's facts: %d, figure %s, recomputed %s, frozen %s", after.Facts, show(after.Figure), show(*after.Recomputed), show(*after.Frozen))
	}
	for i := range after.Items {
		if after.Items[i].ID != before.Items[i].ID {
			t.Fatalf("another fact: %s, was %s", after.Items[i].ID, before.Items[i].ID)
		}
	}
	present, err := s.Lineage(bg(t, statistician), LineageQuery{Code: "people_followed", Grain: Quarter, Period: "2026-Q1", Limit: 1000})
	if err != nil || present.Facts != 51 || !same(present.Figure, *present.Recomputed) {
		t.Errorf("now: %d facts, %s, %v", present.Facts, show(present.Figure), err)
	}
	if again, err := s.Review(bg(t, manager), ReviewQuery{ID: r.ID, Code: []string{"people_followed"}}); err != nil || *again.Figures[0].Cells[0].Value != 53 || again.Hash != r.Hash {
		t.Errorf("the review: %+v, %v", again, err)
	}
}
