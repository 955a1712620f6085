package indicators

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestDailyIsEachDay: the series of a cut, laid out day by day again, are the
// recounted figures of the days.
func TestDailyIsEachDay(t *testing.T) {
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	dims := Dimensions()
	rapid.Check(t, func(t *rapid.T) {
		facts := history(t)
		columns := NewColumns(dims, defs)
		for _, f := range facts {
			columns.Add(f)
		}
		d := rapid.SampledFrom(defs).Filter(func(d *Definition) bool { return d.Measure != Ratio }).Draw(t, "indicator")
		q := Query{Grain: Day, From: "2025-12-20", To: "2026-03-20", Today: "2026-04-20"}
		if rapid.Bool().Draw(t, "cut") {
			q.By = d.Dimensions[:min(1, len(d.Dimensions))]
		}
		want := map[string]float64{}
		for _, c := range Recount(d, dims, slices.Values(facts), q) {
			if c.Value != 0 || c.N != 0 && d.Measure != Stock {
				want[cellKey(c.Period, c.Codes)] = c.Value
			}
		}
		series, err := columns.View().Daily(d, q)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for s := range series {
			for i, number := range s.Days {
				day := dayText(number)
				days := []string{day}
				if d.Measure == Stock { // as it stays until the next one
					end := "2026-03-20"
					if i+1 < len(s.Days) {
						end = dayText(s.Days[i+1])
					}
					days = lastDays(Day, day, end, "")
					if i+1 < len(s.Days) {
						days = days[:len(days)-1]
					}
				}
				for _, day := range days {
					if _, twice := got[cellKey(day, s.Codes)]; twice {
						t.Fatalf("%s: %s %v is there twice", d.Code, day, s.Codes)
					}
					if s.Values[i] != 0 || d.Measure != Stock {
						got[cellKey(day, s.Codes)] = s.Values[i]
					}
				}
			}
		}
		for _, keys := range []map[string]float64{want, got} {
			for key := range keys {
				if want[key] != got[key] {
					t.Fatalf("%s %v %s: %v, want %v", d.Code, q.By, strings.ReplaceAll(key, "\x00", " "), got[key], want[key])
				}
			}
		}
	})
}
