package indicators

import (
	"slices"
	"strings"
)

// DefaultSmallCell is the number of people below which a cell of a cut is
// hidden. Source: DOMAIN §2, "suppress cells <5" (our own reading, to be
// confirmed with the data protection authority); MASAR_SMALL_CELL changes it,
// and 0 or 1 hides nothing.
const DefaultSmallCell = 5

// Suppress says which cells of a cut must not be shown, so that nobody is singled
// out: those that stand for fewer than least people, and, so that they cannot be
// worked out from a total, more of the smallest along every line of the table
// that has a hidden cell, until a line hides at least two cells that stand for
// at least so many people together. A line is what is added up to a total: the
// cells of one period that differ in one dimension only.
//
// It protects one table, as those of previews. Figures that can be
// asked for in many cuts and periods are decided together: see disclosure.go.
func Suppress(cells []Cell, least int) []bool {
	hidden := make([]bool, len(cells))
	if least <= 1 {
		return hidden
	}
	// The lines in the order of the cells: the same table must always hide the same,
	// or what one answer hides another would show.
	place := map[string]int{}
	var lines [][]int
	for i, c := range cells {
		hidden[i] = c.People < least
		for d := range c.Codes {
			line := append([]string{c.Period, strings.Repeat("|", d)}, slices.Delete(slices.Clone(c.Codes), d, d+1)...)
			key := strings.Join(line, "\x00")
			n, ok := place[key]
			if !ok {
				n = len(lines)
				place[key], lines = n, append(lines, nil)
			}
			lines[n] = append(lines[n], i)
		}
	}
	// Hiding a cell for one line may open a question in another: again until
	// nothing is added. It ends, for cells are only ever hidden.
	for changed := true; changed; {
		changed = false
		for _, line := range lines {
			count, people := 0, 0
			for _, i := range line {
				if hidden[i] {
					count, people = count+1, people+cells[i].People
				}
			}
			if count == 0 || count > 1 && people >= least {
				continue
			}
			if next := smallest(cells, hidden, line); next >= 0 {
				hidden[next], changed = true, true
			}
		}
	}
	return hidden
}

// smallest is the shown cell of a line that stands for the fewest people, the
// first of several; -1 when none is shown.
func smallest(cells []Cell, hidden []bool, line []int) int {
	best := -1
	for _, i := range line {
		if !hidden[i] && (best < 0 || cells[i].People < cells[best].People) {
			best = i
		}
	}
	return best
}
