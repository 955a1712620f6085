package indicators

import (
	"fmt"
	"strings"
)

// Small figures about pathways are hidden by the rule of Suppress: what stands for
// fewer people than least, and more of the smallest along every line that is added
// up to something shown, until what is hidden there stands for at least so many
// people and is at least two figures. A funnel has lines that a table of cells has
// not (those who left a stage in one way or another add up to those who entered
// it; the months of a quarter to the quarter), so the lines are given one by one.
type guard struct {
	least  int // 0: nothing is hidden
	people []int
	hidden []bool
	places map[string]int
	lines  [][]int
}

func newGuard(least int) *guard {
	if least <= 1 {
		least = 0
	}
	return &guard{least: least, places: map[string]int{}}
}

// add enters a figure that stands for so many people, with the lines that it is on,
// and gives its number. Nobody at all is no secret. Forced says that it is hidden
// for another reason.
func (g *guard) add(people int, forced bool, lines ...string) int {
	n := len(g.people)
	g.people = append(g.people, people)
	g.hidden = append(g.hidden, g.least > 0 && (forced || people > 0 && people < g.least))
	if g.least == 0 {
		return n
	}
	for _, name := range lines {
		at, ok := g.places[name]
		if !ok {
			at = len(g.lines)
			g.places[name], g.lines = at, append(g.lines, nil)
		}
		g.lines[at] = append(g.lines[at], n)
	}
	return n
}

// solve hides what else must be. It ends, for figures are only ever hidden.
func (g *guard) solve() *guard {
	for changed := g.least > 0; changed; {
		changed = false
		for _, line := range g.lines {
			count, people, next := 0, 0, -1
			for _, i := range line {
				switch {
				case g.hidden[i]:
					count, people = count+1, people+g.people[i]
				case next < 0 || g.people[next] == 0 || g.people[i] > 0 && g.people[i] < g.people[next]:
					next = i // the smallest; nobody only where there is no other
				}
			}
			if count > 0 && (count == 1 || people < g.least) && next >= 0 {
				g.hidden[next], changed = true, true
			}
		}
	}
	return g
}

// chain says which of the counts of a funnel are hidden: each is part of the one
// before, so the difference of two that are shown is a figure too. Shown is what
// stands for enough people and is as large as the last one shown, or enough smaller.
func (g *guard) chain(counts []int) []bool {
	hidden := make([]bool, len(counts))
	last := -1
	for i, n := range counts {
		hidden[i] = g.least > 0 && n > 0 && (n < g.least || last >= 0 && last != n && last-n < g.least)
		if !hidden[i] && n > 0 {
			last = n
		}
	}
	return hidden
}

// lines are the lines of a group within its table: for each cut the groups that
// differ in it alone, and for the cohort those of the same quarter, half-year, year
// and of all, for each of these can be asked for too.
func (t *table) lines(i int, what string) (names []string) {
	c := t.cells[i]
	line := func(kind, cohort string, without int) {
		name := what + "\x00" + kind + "\x00" + cohort
		for d, code := range c.codes {
			if d != without {
				name += "\x00" + code
			}
		}
		names = append(names, name)
	}
	for d, name := range t.by {
		line(name, c.cohort, d)
	}
	for _, around := range cohortsAround(c.cohort) {
		line("cohort", around, -1)
	}
	return names
}

// cohortsAround names the longer periods that are made of whole cohorts like this one.
func cohortsAround(label string) []string {
	if label == string(All) || len(label) < 4 {
		return nil
	}
	year, rest := label[:4], label[4:]
	around := []string{string(All)}
	half := func(n int) { around = append(around, year, fmt.Sprintf("%s-S%d", year, n)) }
	var n int
	switch {
	case strings.HasPrefix(rest, "-S"):
		around = append(around, year)
	case strings.HasPrefix(rest, "-Q"):
		if _, err := fmt.Sscanf(rest, "-Q%d", &n); err == nil {
			half((n + 1) / 2)
		}
	case strings.HasPrefix(rest, "-"):
		if _, err := fmt.Sscanf(rest, "-%d", &n); err == nil {
			half((n + 5) / 6)
			around = append(around, fmt.Sprintf("%s-Q%d", year, (n+2)/3))
		}
	}
	return around
}

// hide says which groups are hidden altogether.
func (t *table) hide(least int) []bool {
	g := newGuard(least)
	for i, c := range t.cells {
		g.add(c.people.count(), false, t.lines(i, "")...)
	}
	return g.solve().hidden
}

// shown is the figure, or nil when it is hidden.
func shown[T any](hidden bool, value T) *T {
	if hidden {
		return nil
	}
	return &value
}
