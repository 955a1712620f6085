package matching

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An attacker who knows the published table, the totals and how the report hides
// cells, and can try every pool there is: whatever small number is hidden, at
// least one other would have given the very same report. This goes further than
// subtracting from totals, which it contains.
func TestNoHiddenCellIsDetermined(t *testing.T) {
	for _, c := range []struct{ groups, most, smallest int }{
		{2, 20, 3}, // the shape of sex
		{2, 16, 4},
		{2, 13, 5},
		{3, 11, 3}, // a longer list
		{4, 8, 3},
	} {
		t.Run(fmt.Sprintf("%d groups, up to %d people, below %d hidden", c.groups, c.most, c.smallest), func(t *testing.T) {
			attack(t, c.groups, c.most, c.smallest)
		})
	}
}

func attack(t *testing.T, groups, most, smallest int) {
	a := fairnessAttribute{name: "letters"}
	for g := range groups {
		code := string(rune('A' + g))
		a.groups = append(a.groups, labelledGroup{code, Text{code, code}})
	}
	// For each report, the values that each number can have: of each group, and of
	// those of whom it is not stated, how many are eligible, selected and not.
	type facts [][3]map[int]bool
	seen := map[string]facts{}
	counts := map[string]headcount{}
	codes := make([]string, groups+1)
	for g := range a.groups {
		codes[g] = a.groups[g].code
	}
	look := func(all headcount) {
		// The texts and rates follow from these numbers.
		lines, tallies := a.lines(counts, smallest)
		key := fmt.Sprint(lines, all.eligible, all.hide(smallest), concealSelected(tallies, all.hide(smallest), smallest))
		for _, l := range tallies {
			key += fmt.Sprint(" ", l.eligible)
		}
		f := seen[key]
		if f == nil {
			f = make(facts, groups+1)
			for g := range f {
				f[g] = [3]map[int]bool{{}, {}, {}}
			}
			seen[key] = f
		}
		for g, code := range codes {
			c := counts[code]
			for i, n := range []int{c.eligible, c.selected, c.eligible - c.selected} {
				f[g][i][n] = true
			}
		}
	}
	var each func(g int, all headcount)
	each = func(g int, all headcount) {
		if g > groups {
			if all.eligible >= smallest {
				look(all)
			}
			return
		}
		limit := most - all.eligible
		if g == groups {
			limit = min(limit, smallest) // how many are not stated is shown as it is
		}
		for e := range limit + 1 {
			for s := range e + 1 {
				counts[codes[g]] = headcount{e, s}
				each(g+1, all.plus(headcount{e, s}))
			}
		}
	}
	each(0, headcount{})
	given := 0
	for report, f := range seen {
		for g := range f {
			if f[g][0][0] && len(f[g][0]) == 1 {
				continue // nobody is in it: there is nobody to know anything of
			}
			for i, values := range f[g] {
				if len(values) > 1 || i == 0 && g == groups {
					continue
				}
				for n := range values {
					if n < smallest {
						if given++; given <= 5 {
							t.Errorf("group %q, number %d must be %d: %s", codes[g], i, n, report)
						}
					}
				}
			}
		}
	}
	if given > 0 {
		t.Errorf("%d numbers are given away in %d reports", given, len(seen))
	}
}

// What an attacker can do with a report of any size: bounds from every sum that is
// shown. They are no narrower than the bounds that are shown, and never a number.
func TestTotalsDoNotNarrowHiddenCells(t *testing.T) {
	hidden := 0
	rapid.Check(t, func(t *rapid.T) {
		p := genPool(t)
		r, err := Fairness(p.selected, p.eligible, p.of, FairnessOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Only what is published from here on.
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var public FairnessReport
		if err := json.Unmarshal(data, &public); err != nil {
			t.Fatal(err)
		}
		for _, c := range public.Cuts {
			for i, l := range c.Lines {
				if l.Selected.exact() {
					continue
				}
				hidden++
				// By the total less what the others can be, again and again until
				// nothing changes; and by the rates, which are public too.
				low, high := public.Selected.Min, public.Selected.Max
				for j, other := range c.Lines {
					if j != i {
						low, high = low-other.Selected.Max, high-other.Selected.Min
					}
				}
				low, high = max(low, l.Selected.Min), min(high, l.Selected.Max)
				if low != l.Selected.Min || high != l.Selected.Max {
					t.Fatalf("%v is shown as %+v and can only be %d to %d", l.Codes, l.Selected, low, high)
				}
				if high == low {
					t.Fatalf("%v can only be %d to %d", l.Codes, low, high)
				}
				if l.Rate.Value != nil || l.Ratio != nil && l.Ratio.Value != nil {
					t.Fatalf("%+v: a number is hidden and its rate shown", l)
				}
			}
		}
	})
	if hidden == 0 {
		t.Error("nothing was hidden in any report: the test tested nothing")
	}
}

// The same attack on the numbers selected alone, for larger lines: all that could
// have been selected of lines of given sizes.
func TestNoHiddenNumberSelectedIsDetermined(t *testing.T) {
	for _, sizes := range [][]int{
		{12, 10},
		{40, 60},
		{10, 10},
		{9, 30},
		{3, 2},
		{7, 8, 9},
		{6, 6, 6},
		{20, 17, 1},
		{5, 5, 30},
		{24, 25, 3},
		{30, 7, 6},
		{11, 10, 10},
		{9, 8, 7, 2},
		{6, 7, 8, 9},
		{12, 12, 3, 2},
		{5, 5, 5, 5},
		{3, 3, 3, 14, 6},
		{2, 1, 2, 15, 12},
	} {
		for _, smallest := range []int{3, 4, 5} {
			attackSelected(t, sizes, smallest)
		}
	}
}

func attackSelected(t *testing.T, sizes []int, smallest int) {
	lines := make([]headcount, len(sizes))
	var all headcount
	for i, e := range sizes {
		lines[i].eligible = e
		all.eligible += e
	}
	seen := map[string][]map[int]bool{} // by what is shown, the values of each line
	var each func(i int)
	each = func(i int) {
		if i < len(lines) {
			for s := range sizes[i] + 1 {
				lines[i].selected = s
				all.selected += s
				each(i + 1)
				all.selected -= s
			}
			return
		}
		total := all.hide(smallest)
		shown := concealSelected(lines, total, smallest)
		key := fmt.Sprint(total, shown)
		if seen[key] == nil {
			seen[key] = make([]map[int]bool, len(lines))
			for i := range lines {
				seen[key][i] = map[int]bool{}
			}
		}
		for i, l := range lines {
			seen[key][i][l.selected] = true
			if l.selected < shown[i].Min || l.selected > shown[i].Max {
				t.Fatalf("%v of %v is shown as %v", lines, sizes, shown)
			}
		}
	}
	each(0)
	given := 0
	for key, values := range seen {
		for i, v := range values {
			if len(v) > 1 {
				continue
			}
			for s := range v {
				if s < smallest || sizes[i]-s < smallest {
					if given++; given <= 3 {
						t.Errorf("lines of %v, below %d hidden: line %d must be %d in %s", sizes, smallest, i, s, key)
					}
				}
			}
		}
	}
	if given > 0 {
		t.Errorf("lines of %v, below %d hidden: %d numbers are given away in %d reports", sizes, smallest, given, len(seen))
	}
}

// gatherGroups keeps the order, loses nobody, and makes lines of the size asked for.
func TestGatherGroups(t *testing.T) {
	order := []string{"A", "B", "C", "D", "E", "F"}
	rapid.Check(t, func(t *rapid.T) {
		counts := map[string]headcount{}
		people := 0
		for _, code := range order {
			n := rapid.IntRange(0, 7).Draw(t, code)
			counts[code] = headcount{n, 0}
			people += n
		}
		var codes []string
		lines := gatherGroups(order, counts, 5)
		for _, line := range lines {
			sum := 0
			for _, code := range line {
				sum += counts[code].eligible
			}
			if sum < 5 && len(lines) > 1 {
				t.Fatalf("%v has %d: %v", line, sum, lines)
			}
			codes, people = append(codes, line...), people-sum
		}
		if len(lines) == 0 && people < 5 {
			return // too few for any line
		}
		if people != 0 || !slices.IsSorted(codes) {
			t.Fatalf("%v of %v: %d are lost", lines, counts, people)
		}
	})
}
