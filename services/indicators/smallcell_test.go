package indicators

import (
	"fmt"
	"slices"
	"testing"

	"masar.local/pkg/runtime/runtimetest"
	"pgregory.net/rapid"
)

// TestSuppressLeavesNoLineOpen draws tables of two or three dimensions. No small
// cell is shown, and nothing that is hidden can be worked out along a line from
// its total: at least two cells of it are hidden, and they stand for enough
// people together, unless nothing of the line is shown.
func TestSuppressLeavesNoLineOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 6).Draw(t, "least")
		dims := rapid.IntRange(1, 3).Draw(t, "dims")
		seen := map[string]bool{}
		var cells []Cell
		for range rapid.IntRange(0, 30).Draw(t, "cells") {
			c := Cell{Period: rapid.SampledFrom([]string{"2026-01", "2026-02"}).Draw(t, "period"), People: rapid.IntRange(1, 15).Draw(t, "people")}
			for range dims {
				c.Codes = append(c.Codes, rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "code"))
			}
			if key := fmt.Sprint(c.Period, c.Codes); !seen[key] {
				seen[key] = true
				cells = append(cells, c)
			}
		}
		hidden := Suppress(cells, least)
		again := Suppress(cells, least)
		if !slices.Equal(hidden, again) {
			t.Fatal("twice the same table, two answers")
		}
		for i, c := range cells {
			if !hidden[i] && least > 1 && c.People < least {
				t.Fatalf("%+v is shown", c)
			}
			if hidden[i] && least <= 1 {
				t.Fatalf("%+v is hidden", c)
			}
			for d := range dims {
				count, people, shown := 0, 0, 0
				for j, other := range cells {
					same := other.Period == c.Period
					for k := range dims {
						same = same && (k == d || other.Codes[k] == c.Codes[k])
					}
					switch {
					case same && hidden[j]:
						count, people = count+1, people+other.People
					case same:
						shown++
					}
				}
				if hidden[i] && shown > 0 && (count < 2 || people < least) {
					t.Fatalf("%+v can be worked out: %d cells of its line are hidden, of %d people", c, count, people)
				}
			}
		}
	})
}

// TestSmallCellsInMetrics: a metric has no reader's role, so cuts by what
// describes a person leave small cells out; cuts by the programme are whole.
func TestSmallCellsInMetrics(t *testing.T) {
	r := newRig(t, nil)
	s := crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {7, 6}, "TN-72": {1, 1}})
	s.moved("2026-03-01 10:00", "p-TN-72-F-0", "agri", person{"TN-72-F-0", "F", "TN-72"}, "P02", "2026-02-01 10:00", "P04")
	r.publish(s.events...)
	r.folded(len(s.events))
	runtimetest.Eventually(t, "the scrape has come to the last fact", func() bool {
		return slices.Contains(scrape(r), `masar_kpi_people_by_stage_by_stage{stage="P04"} 1`)
	})
	lines := scrape(r)
	for line, want := range map[string]bool{
		`masar_kpi_people_followed 44`:                                     true,
		`masar_kpi_people_followed_by_governorate{governorate="TN-11"} 29`: true,
		`masar_kpi_people_followed_by_governorate{governorate="TN-12"} 13`: false, // TN-72 could be worked out from it
		`masar_kpi_people_followed_by_governorate{governorate="TN-72"} 2`:  false,
	} {
		if slices.Contains(lines, line) != want {
			t.Errorf("%s: want %v", line, want)
		}
	}
}
