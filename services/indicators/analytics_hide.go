package indicators

import (
	"fmt"
	"math"
	"strings"
	"time"
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
	secret []bool // of what is hidden: it must not be worked out
	places map[uint64]int
	lines  [][]int
}

func newGuard(least int) *guard {
	if least <= 1 {
		least = 0
	}
	return &guard{least: least, places: map[uint64]int{}}
}

// alone is the own line of a figure that has none.
const alone = math.MaxUint64

// own is the line of what a group's people are divided into.
func own(what, group int) uint64 { return uint64(what)<<32 | uint64(group) }

// Why a figure is hidden before the guard looks at it.
type why uint8

const (
	open   why = iota // it is not
	quiet             // by the rule of the chain, which is a group's own: see chain
	secret            // with a group or a figure that must not be worked out
)

// add enters a figure that stands for so many people. What it is of the group, such as
// its people at one stage, is on the lines of the group with the same of other groups;
// own is its line within the group. Nobody at all is no secret, unless it would tell of
// others.
func (g *guard) add(people int, because why, what int, lines []int32, own uint64) {
	n := len(g.people)
	if g.least > 0 && people > 0 && people < g.least {
		because = secret
	}
	if g.least == 0 {
		because = open
	}
	g.people = append(g.people, people)
	g.hidden = append(g.hidden, because != open)
	g.secret = append(g.secret, because == secret)
	if g.least == 0 {
		return
	}
	for i := range len(lines) + 1 {
		key := own
		if i < len(lines) {
			key = uint64(what)<<32 | uint64(lines[i])
		}
		if key == alone {
			continue
		}
		at, ok := g.places[key]
		if !ok {
			at = len(g.lines)
			g.places[key], g.lines = at, append(g.lines, nil)
		}
		g.lines[at] = append(g.lines[at], n)
	}
}

// solve hides what else must be, so that no secret can be worked out: figures that are
// hidden quietly become secrets first, for that costs nothing, then the smallest that
// are shown, and nobody only where there is no other. It ends, for figures only ever
// become secret.
func (g *guard) solve() *guard {
	better := func(i, than int) bool {
		if than < 0 || g.hidden[i] != g.hidden[than] {
			return than < 0 || g.hidden[i] && g.people[i] > 0
		}
		return g.people[than] == 0 || g.people[i] > 0 && g.people[i] < g.people[than]
	}
	for changed := g.least > 0; changed; {
		changed = false
		for _, line := range g.lines {
			count, people, next := 0, 0, -1
			for _, i := range line {
				switch {
				case g.secret[i]:
					count, people = count+1, people+g.people[i]
				case better(i, next):
					next = i
				}
			}
			if count > 0 && (count == 1 || people < g.least) && next >= 0 {
				g.hidden[next], g.secret[next], changed = true, true, true
			}
		}
	}
	return g
}

// because is why what belongs to a figure is hidden with it.
func (g *guard) because(n int) why {
	switch {
	case g.secret[n]:
		return secret
	case g.hidden[n]:
		return quiet
	}
	return open
}

// secretIf is secret when the condition holds.
func secretIf(hidden bool) why {
	if hidden {
		return secret
	}
	return open
}

// chain says which of the counts of a funnel are hidden: each is part of the one
// before, so the difference of two that are shown is a figure too. Shown is what
// stands for enough people and is as large as the last one shown, or enough smaller.
// It keeps the difference from being read off one funnel; whoever subtracts whole
// funnels from each other may still bound how few stopped at a stage, but not who:
// their outcomes and reasons are figures of their own.
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

// number the lines of every group within its table: for each cut the groups that
// differ in it alone, and for the cohort those of the same quarter, half-year, year
// and of all, for each of these can be asked for too.
// They are numbered after the groups' own.
func (t *table) numberLines() {
	numbers := map[string]int32{}
	t.lines = make([][]int32, len(t.cells))
	for i, c := range t.cells {
		line := func(kind, cohort string, without int) {
			name := kind + "\x00" + cohort
			for d, code := range c.codes {
				if d != without {
					name += "\x00" + code
				}
			}
			n, ok := numbers[name]
			if !ok {
				n = int32(len(numbers) + len(t.cells))
				numbers[name] = n
			}
			t.lines[i] = append(t.lines[i], n)
		}
		for d, name := range t.by {
			line(name, c.cohort, d)
		}
		for _, around := range cohortsAround(c.cohort, t.season) {
			line("cohort", around, -1)
		}
	}
}

// cohortsAround names the longer periods that are made of whole cohorts like this one.
func cohortsAround(label, season string) []string {
	if label == string(All) || len(label) < 4 {
		return nil
	}
	year, rest := label[:4], label[4:]
	longer := []string{string(All)}
	half := func(n int) { longer = append(longer, year, fmt.Sprintf("%s-S%d", year, n)) }
	// A season is made of whole months, or quarters, only if it begins with one.
	inSeason := func(month int) {
		begins, err := seasonStart(season)
		if err != nil || begins.Day() != 1 || strings.HasPrefix(rest, "-Q") && int(begins.Month())%3 != 1 {
			return
		}
		if first, err := time.ParseInLocation("2006-1", fmt.Sprintf("%s-%d", year, month), tunis); err == nil {
			name, _ := around(Season, first, begins)
			longer = append(longer, "season "+name)
		}
	}
	var n int
	switch {
	case strings.HasPrefix(rest, "-S"):
		longer = append(longer, year)
	case strings.HasPrefix(rest, "-Q"):
		if _, err := fmt.Sscanf(rest, "-Q%d", &n); err == nil {
			half((n + 1) / 2)
			inSeason(3*n - 2)
		}
	case strings.HasPrefix(rest, "-"):
		if _, err := fmt.Sscanf(rest, "-%d", &n); err == nil {
			half((n + 5) / 6)
			inSeason(n)
			longer = append(longer, fmt.Sprintf("%s-Q%d", year, (n+2)/3))
		}
	}
	return longer
}

// hide says which groups are hidden altogether.
func (t *table) hide(least int) []bool {
	if t.lines == nil {
		t.numberLines()
	}
	g := newGuard(least)
	for i, c := range t.cells {
		g.add(c.people.count(), open, 0, t.lines[i], alone)
	}
	return g.solve().hidden
}

// stageCodes gives a stage, whichever scheme's, a number.
func (t *table) stageCodes() func(cell, place int) int {
	numbers := map[string]int{}
	byPlan := map[*plan][]int{}
	for _, c := range t.cells {
		if byPlan[c.plan] != nil {
			continue
		}
		for _, st := range c.plan.stages {
			n, ok := numbers[st.Stage]
			if !ok {
				n = len(numbers)
				numbers[st.Stage] = n
			}
			byPlan[c.plan] = append(byPlan[c.plan], n)
		}
	}
	return func(cell, place int) int { return byPlan[t.cells[cell].plan][place] }
}

// shown is the figure, or nil when it is hidden.
func shown[T any](hidden bool, value T) *T {
	if hidden {
		return nil
	}
	return &value
}
