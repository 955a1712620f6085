package indicators

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestHiddenCellsOfSeveralTables attacks a review, which shows the total, cuts and
// cuts of cuts side by side: no cell of fewer than five people is shown, none is
// the sum of shown cells of a finer cut, and none is what shown cells of a finer
// cut leave of a shown one.
func TestHiddenCellsOfSeveralTables(t *testing.T) {
	cuts := [][]string{{}, {"governorate"}, {"age"}, {"sex"}, {"governorate", "age"}, {"governorate", "age", "sex"}}
	whole := cuts[len(cuts)-1]
	belongs := func(part []string, fine []string, of Cell, coarse []string) bool {
		for i, at := range within(coarse, fine) {
			if part[at] != of.Codes[i] {
				return false
			}
		}
		return true
	}
	rapid.Check(t, func(t *rapid.T) {
		tables := make([][]Cell, len(cuts))
		sums := make([]map[string]int, len(cuts))
		for i := range sums {
			sums[i] = map[string]int{}
		}
		for _, g := range []string{"a", "b", "c", "d"} {
			for _, a := range []string{"x", "y", "z"} {
				for _, s := range []string{"F", "M"} {
					n := rapid.SampledFrom([]int{0, 0, 1, 2, 4, 5, 7, 12, 30}).Draw(t, g+a+s)
					if n == 0 {
						continue
					}
					for i, cut := range cuts {
						var codes []string
						for _, at := range within(cut, whole) {
							codes = append(codes, []string{g, a, s}[at])
						}
						sums[i][strings.Join(codes, " ")] += n
					}
				}
			}
		}
		for i := range cuts {
			for codes, n := range sums[i] {
				tables[i] = append(tables[i], Cell{Codes: strings.Fields(codes), People: n})
			}
			sortCells(tables[i])
		}
		hidden := suppressTogether(cuts, tables, 5)
		for a, coarse := range cuts {
			for n, c := range tables[a] {
				if len(coarse) > 0 && c.People < 5 && !hidden[a][n] {
					t.Fatalf("%v %v is shown with %d people", coarse, c.Codes, c.People)
				}
				for b, fine := range cuts {
					if len(coarse) == 0 || len(coarse) >= len(fine) || within(coarse, fine) == nil {
						continue
					}
					unseen := 0
					for m, part := range tables[b] {
						if belongs(part.Codes, fine, c, coarse) && hidden[b][m] {
							unseen++
						}
					}
					if hidden[a][n] && unseen == 0 {
						t.Fatalf("%v %v is the sum of what %v shows", coarse, c.Codes, fine)
					}
					if !hidden[a][n] && unseen == 1 {
						t.Fatalf("%v %v is shown, and one part of it in %v is not", coarse, c.Codes, fine)
					}
				}
			}
		}
		if again := suppressTogether(cuts, tables, 5); !slices.EqualFunc(again, hidden, slices.Equal[[]bool]) {
			t.Fatal("twice the same tables, two answers")
		}
	})
}
