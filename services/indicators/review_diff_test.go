package indicators

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/event"
)

// later gives events that are like these, but that we learn of after April 15th.
func later(events []event.Event) []event.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].RecordedAt = time.Date(2026, 4, 16, 8, 0, 0, 0, time.UTC)
	}
	return out
}

// told writes the differences of one indicator as lines.
func told(d ReviewDifferences, code string) (out []string) {
	for _, i := range d.Indicators {
		if i.Code != code {
			continue
		}
		for _, c := range i.Cells {
			line := strings.Join(append([]string{"total"}, c.Codes...), " ")
			if len(c.Codes) > 0 {
				line = strings.Join(c.Codes, " ")
			}
			if c.Hidden {
				out = append(out, line+" hidden")
				continue
			}
			out = append(out, fmt.Sprintf("%s %s > %s (%s)", line, number(c.Frozen.Value), number(c.Against.Value), list(c.Because)))
		}
	}
	return out
}

// compare asks for differences that must be given.
func compare(t testing.TB, s *service, p access.Principal, q DifferencesQuery) ReviewDifferences {
	t.Helper()
	d, err := s.Differences(bg(t, p), q)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestChangedDefinitionIsACause: the same facts, counted by another definition.
func TestChangedDefinitionIsACause(t *testing.T) {
	s := reviewer(t, openStore(t), inApril(t))
	fold(t, s, crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {12, 12}}).events...)
	manager := as(access.Manager)
	if _, err := s.Freeze(bg(t, manager), FreezeRequest{Period: "2026-Q1"}); err != nil {
		t.Fatal(err)
	}
	// From now on only women are followed, and nobody is registered.
	changed := Definitions{}
	for _, d := range s.defs {
		switch d.Code {
		case "people_registered":
			continue
		case "people_followed":
			other := *d
			selector, err := NewSelector(`kind == "pathway_opened" && sex == "F"`, s.dims)
			if err != nil {
				t.Fatal(err)
			}
			other.Version, other.Facts = d.Version+1, selector
			d = &other
		}
		changed = append(changed, d)
	}
	s.defs = changed
	d := compare(t, s, manager, DifferencesQuery{ID: "2026-Q1"})
	if len(d.Indicators) != 2 {
		t.Fatalf("%+v", d.Indicators)
	}
	for _, i := range d.Indicators {
		if !i.DefinitionChanged || i.Code == "people_followed" && i.AgainstVersion != i.Version+1 || i.Code == "people_registered" && i.AgainstVersion != 0 {
			t.Errorf("%+v", i)
		}
	}
	got := told(d, "people_followed")
	if !slices.Contains(got, "total 53 > 21 (definition)") || !slices.Contains(got, "M 32 > 0 (definition)") || slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "F ") && !strings.Contains(l, "definition") }) {
		t.Errorf("%s", strings.Join(got, "; "))
	}
}

// TestDifferencesShowNoHiddenCell draws two states of a programme: of a cell that
// is hidden in one of them, a manager is told nothing, whether it differs or not.
func TestDifferencesShowNoHiddenCell(t *testing.T) {
	e := openStore(t)
	rapid.Check(t, func(rt *rapid.T) {
		round := fmt.Sprint(rapid.Uint64().Draw(rt, "round"))
		s := few(reviewer(t, e, inApril(t)))
		draw := func(name, prefix string) []event.Event {
			counts := map[string][2]int{}
			for _, g := range []string{"TN-11", "TN-12", "TN-71"} {
				counts[g] = [2]int{rapid.IntRange(0, 8).Draw(rt, name), rapid.IntRange(0, 8).Draw(rt, name)}
			}
			events := crowd(t, counts).events
			for i := range events {
				events[i].ID = round + prefix + events[i].ID
				events[i].Subject = prefix + events[i].Subject
			}
			return events
		}
		fold(t, s, draw("first", "a")...)
		r, err := s.Freeze(bg(t, as(access.Manager)), FreezeRequest{Period: "2026-Q1"})
		if err != nil {
			rt.Fatal(err)
		}
		fold(t, s, later(draw("later", "b"))...)
		q := DifferencesQuery{ID: r.ID, Code: []string{"people_followed"}, All: true}
		full := compare(t, s, as(access.Statistician), q)
		seen := compare(t, s, as(access.Manager), q)
		hidden := map[string]bool{}
		frozen, err := s.Review(bg(t, as(access.Statistician)), ReviewQuery{ID: r.ID, Code: q.Code})
		if err != nil {
			rt.Fatal(err)
		}
		d, _ := s.defs.Get("people_followed")
		present, err := s.reviewCells(t.Context(), s.columns.View(), d, r.period(), time.Time{})
		if err != nil {
			rt.Fatal(err)
		}
		for _, c := range append(frozen.Figures[0].Cells, present...) {
			if c.Hidden {
				hidden[c.place()] = true
			}
		}
		for i, c := range seen.Indicators[0].Cells {
			place := FrozenCell{By: c.By, Codes: c.Codes}.place()
			text, err := json.Marshal(c)
			if err != nil {
				rt.Fatal(err)
			}
			if c.Hidden != hidden[place] || c.Hidden && (c.Difference != nil || c.Because != nil || c.Frozen != FrozenFigure{} || c.Against != FrozenFigure{}) {
				rt.Fatalf("hidden %v: %s", hidden[place], text)
			}
			if !slices.Equal(c.Codes, full.Indicators[0].Cells[i].Codes) {
				rt.Fatal("who sees everything is given other cells")
			}
		}
		if seen.Hidden != len(hidden) || seen.Compared+seen.Hidden != full.Compared {
			rt.Fatalf("%d hidden, want %d", seen.Hidden, len(hidden))
		}
		q.All = false
		for _, i := range compare(t, s, as(access.Manager), q).Indicators {
			for _, c := range i.Cells {
				if hidden[FrozenCell{By: c.By, Codes: c.Codes}.place()] {
					rt.Fatalf("%v is among the differences", c.Codes)
				}
			}
		}
	})
}

// TestReviewWithinAScope: who is limited to a governorate reads its cells, and of
// what has no governorate all.
func TestReviewWithinAScope(t *testing.T) {
	r := newRig(t, nil)
	s := crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {12, 12}, "TN-71": {7, 8}})
	s.events = append(s.events, year(t).events...)
	r.publish(s.events...)
	r.folded(len(s.events))
	made := r.freeze(FreezeRequest{Period: "2026-Q1"}, "")
	path := "/api/indicators/reviews/" + made.ID
	tunis := access.Principal{Subject: "test", Role: access.Counsellor, Governorates: []string{"TN-11"}}
	got := ask[FrozenReview](r, tunis, path)
	if got.Nonce != "" || !slices.Equal(got.Scope["governorate"], []string{"TN-11"}) {
		t.Errorf("nonce %q, scope %v", got.Nonce, got.Scope)
	}
	for _, f := range got.Figures {
		d, _ := r.service.defs.Get(f.Code)
		whole := ask[FrozenReview](r, as(access.Manager), path+"?code="+f.Code).Figures[0]
		if !slices.Contains(d.Dimensions, "governorate") {
			if len(f.Cells) != len(whole.Cells) {
				t.Errorf("%s: %d of %d cells", f.Code, len(f.Cells), len(whole.Cells))
			}
			continue
		}
		want := 0
		for _, c := range whole.Cells {
			if i := slices.Index(c.By, "governorate"); i >= 0 && c.Codes[i] == "TN-11" {
				want++
			}
		}
		if len(f.Cells) != want {
			t.Errorf("%s: %d cells of TN-11, want %d", f.Code, len(f.Cells), want)
		}
		for _, c := range f.Cells {
			if i := slices.Index(c.By, "governorate"); i < 0 || c.Codes[i] != "TN-11" {
				t.Errorf("%s: %v %v is shown", f.Code, c.By, c.Codes)
			}
		}
	}
	d := ask[ReviewDifferences](r, tunis, path+"/differences?all=true&code=people_followed")
	for _, c := range d.Indicators[0].Cells {
		if i := slices.Index(c.By, "governorate"); i < 0 || c.Codes[i] != "TN-11" {
			t.Errorf("differences show %v %v", c.By, c.Codes)
		}
	}
	for _, role := range append(access.Roles(), "") {
		p := as(role)
		for _, test := range []struct {
			method, path string
			permission   access.Permission
		}{
			{"GET", "/api/indicators/reviews", access.IndicatorsRead},
			{"GET", path, access.IndicatorsRead},
			{"GET", path + "/differences", access.IndicatorsRead},
			{"POST", "/api/indicators/reviews", access.IndicatorsFreeze},
		} {
			want := http.StatusForbidden
			switch {
			case role == "":
				want = http.StatusUnauthorized
			case p.Can(test.permission) && test.method == "POST":
				want = http.StatusCreated
			case p.Can(test.permission):
				want = http.StatusOK
			}
			status := 0
			switch {
			case test.method == "GET":
				status, _, _ = r.get(p, test.path)
			case role != "":
				status, _, _ = r.post(p, test.path, "", FreezeRequest{Period: "2026-Q1"})
			default:
				continue
			}
			if status != want {
				t.Errorf("%s %s as %q: %d, want %d", test.method, test.path, role, status, want)
			}
		}
	}
}
