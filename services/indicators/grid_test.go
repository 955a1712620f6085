package indicators

import (
	"slices"
	"testing"
)

// TestTooManyCellsForArrays: over sixty years of days there are more cells than
// arrays have room for; the figures are those of a shorter time.
func TestTooManyCellsForArrays(t *testing.T) {
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	columns := NewColumns(Dimensions(), defs)
	tenMillion(8000, func(f Fact) { columns.Add(f) })
	v := columns.View()
	for _, c := range []struct {
		code string
		by   []string
	}{
		{"stage_days", []string{"stage", "governorate"}},
		{"stage_entries", []string{"stage", "governorate"}},
		{"people_by_stage", []string{"stage", "governorate"}},
		{"posts_open", []string{"region", "rome"}},
		{"posts_offered", []string{"region", "rome"}},
		{"employers_hiring", []string{"region", "rome"}},
	} {
		d, ok := defs.Get(c.code)
		if !ok {
			t.Fatalf("no %s", c.code)
		}
		const from, to = "2024-01-01", "2027-06-30"
		narrow, err := v.Cells(d, Query{Grain: Day, By: c.by, From: from, To: to, Today: to})
		if err != nil {
			t.Fatalf("%s: %v", c.code, err)
		}
		wide, err := v.Cells(d, Query{Grain: Day, By: c.by, From: "1970-02-01", To: to, Today: to})
		if err != nil {
			t.Fatalf("%s: %v", c.code, err)
		}
		plan, err := v.plan(d.Parts()[0], Query{By: c.by}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if days := 57 * 365; days*plan.cellsOf() <= mostDense {
			t.Errorf("%s by %v: %d cells a day are not too many", c.code, c.by, plan.cellsOf())
		}
		if len(narrow) == 0 || !slices.EqualFunc(narrow, wide, func(a, b Cell) bool {
			same := compareCells(a, b) == 0
			a.Codes, b.Codes, a.Period, b.Period = nil, nil, "", ""
			return same && a.Value == b.Value && a.P90 == b.P90 && a.N == b.N && a.People == b.People
		}) {
			t.Errorf("%s by %v: %d cells, and %d over sixty years", c.code, c.by, len(narrow), len(wide))
		}
	}
}
