package indicators

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"
)

// Query asks for the cells of one indicator.
type Query struct {
	Grain Grain
	By    []string // dimensions to cut by; none: the total
	// From and To are the first and the last local day, both included, as
	// YYYY-MM-DD. Without From it begins with the first fact; without To it ends
	// with Today, or with the last fact if that is later.
	From, To string
	Today    string
	// AsOf is what was known then: facts count that were recorded by it. Zero:
	// everything.
	AsOf time.Time
	// Season is the day on which a season begins, as MM-DD; "" is that of the view.
	Season string
	// Only keeps what has one of the codes in each of the named dimensions.
	Only map[string][]string
}

// Cell is one figure.
type Cell struct {
	Period string   // "2026-03-14", "2026-03" or "all"
	Codes  []string // one for each dimension of By
	Value  float64
	// Numerator and Denominator of a ratio, whose quotient is the value.
	Numerator, Denominator float64
	P90                    float64 // of a median: the 90th percentile
	N                      int     // facts, or subjects of a stock, that it is made of
	People                 int     // different people that it is made of
}

// asOf is the last moment of recording that counts, in Unix milliseconds.
func (q Query) asOf() int64 {
	if q.AsOf.IsZero() {
		return math.MaxInt64
	}
	return q.AsOf.UnixMilli()
}

// filter keeps rows with certain codes in one column.
type filter struct {
	column []uint32
	keep   []bool // by code
}

// cutter finds the cell of a row.
type cutter struct {
	columns [][]uint32
	texts   [][]string
	filters []filter
}

func (v *view) cutter(d *Definition, q Query) cutter {
	var c cutter
	for _, name := range q.By {
		c.columns = append(c.columns, v.codes[d.Column(name)])
		c.texts = append(c.texts, v.texts[d.Column(name)])
	}
	for name, codes := range q.Only {
		column := d.Column(name)
		f := filter{column: v.codes[column], keep: make([]bool, len(v.texts[column]))}
		for i, text := range v.texts[column] {
			f.keep[i] = slices.Contains(codes, text)
		}
		c.filters = append(c.filters, f)
	}
	return c
}

func (c cutter) keeps(row uint32) bool {
	for _, f := range c.filters {
		if !f.keep[f.column[row]] {
			return false
		}
	}
	return true
}

// key numbers the cell of a row: the codes as digits.
func (c cutter) key(row uint32) uint64 {
	var k uint64
	for i, column := range c.columns {
		k = k*uint64(len(c.texts[i])) + uint64(column[row])
	}
	return k
}

func (c cutter) codes(key uint64) []string {
	codes := make([]string, len(c.columns))
	for i := len(c.columns) - 1; i >= 0; i-- {
		base := uint64(len(c.texts[i]))
		codes[i], key = c.texts[i][key%base], key/base
	}
	return codes
}

// chooser says of a row whether the selector is true of it: the selector is asked
// once for each combination of codes.
func (v *view) chooser(s *Selector) func(row uint32) bool {
	at := looksAt(s.Kinds())
	known := map[string]bool{}
	return func(row uint32) bool {
		if !at[v.kind[row]] {
			return false
		}
		key := []byte{v.kind[row]}
		for _, name := range s.Names() {
			if name != KindName {
				key = binary.LittleEndian.AppendUint32(key, v.codes[name][row])
			}
		}
		match, ok := known[string(key)]
		if !ok {
			match = s.Match(func(name string) string {
				if name == KindName {
					return string(kinds()[v.kind[row]])
				}
				return v.texts[name][v.codes[name][row]]
			})
			known[string(key)] = match
		}
		return match
	}
}

// known says whether the fact of a row counts in what was known at a moment: it
// was recorded by then, and nothing was that supersedes it.
func (v *view) known(row uint32, asOf int64) bool {
	if v.recorded[row] > asOf || v.kind[row] == kindNumber[Retracted] {
		return false
	}
	until, superseded := v.until[row]
	return !superseded || until > asOf
}

// looksAt says of each kind whether the selection looks at it.
func looksAt(kinds []Kind) (at [256]bool) {
	for _, k := range kinds {
		at[kindNumber[k]] = true
	}
	return at
}

// periods are those that the query covers.
func (v *view) periods(d *Definition, q Query) ([]period, error) {
	first, last := q.From, q.To
	if first == "" || last == "" {
		at, asOf := looksAt(d.Kinds()), q.asOf()
		relevant := func(row uint32) bool { return at[v.kind[row]] && v.known(row, asOf) }
		if first == "" {
			first = q.Today
			if i := slices.IndexFunc(v.order, relevant); i >= 0 {
				first = min(first, localDay(v.occurred[v.order[i]]))
			}
		}
		if last == "" {
			last = q.Today
			for i := len(v.order) - 1; i >= 0; i-- {
				if relevant(v.order[i]) {
					last = max(last, localDay(v.occurred[v.order[i]]))
					break
				}
			}
		}
	}
	return periods(q.Grain, first, last, q.Season)
}

// Cells computes the indicator. A cell into which nothing falls is left out,
// except of the total, which has every period; a median over nothing has no cell
// at all. The cells come by period, then by codes.
func (v *view) Cells(d *Definition, q Query) ([]Cell, error) {
	q.Season = cmp.Or(q.Season, v.season)
	spans, err := v.periods(d, q)
	if err != nil {
		return nil, err
	}
	if d.Measure == Ratio {
		return v.ratio(d, q, spans), nil
	}
	var cells []Cell
	if d.Flow() {
		cells = v.flow(d, q, spans)
	} else {
		cells = v.stock(d, q, spans)
	}
	return cells, nil
}

// ratio divides one flow by another, cell by cell.
func (v *view) ratio(d *Definition, q Query, spans []period) (out []Cell) {
	key := func(c Cell) string { return strings.Join(append([]string{c.Period}, c.Codes...), "\x00") }
	var flows [2][]Cell
	for i, p := range d.Parts() {
		flows[i] = v.flow(&Definition{Measure: p.Measure, Of: p.Of, Select: p.Select, From: p.From}, q, spans)
	}
	above := map[string]Cell{}
	for _, c := range flows[0] {
		above[key(c)] = c
	}
	for _, c := range flows[1] {
		if c.Value == 0 {
			continue
		}
		n := above[key(c)]
		c.Numerator, c.Denominator = n.Value, c.Value
		c.Value = c.Numerator / c.Denominator
		out = append(out, c)
	}
	return out
}

// tally is what one cell of a flow is made of.
type tally struct {
	n      int
	sum    int64
	people []uint32 // with repetitions
	firms  []uint32 // employers, with repetitions
	values []int64
}

// flow counts what happened in each period.
func (v *view) flow(d *Definition, q Query, spans []period) []Cell {
	chosen, cut, asOf := v.chooser(d.Select.Facts), v.cutter(d, q), q.asOf()
	var number []int64
	if d.Of != "" {
		number = v.numbers[d.Of]
	}
	var out []Cell
	i := 0
	if len(spans) > 0 {
		i = v.since(spans[0].start)
	}
	for _, span := range spans {
		cells := map[uint64]*tally{}
		if len(q.By) == 0 {
			cells[0] = &tally{}
		}
		for ; i < len(v.order) && v.occurred[v.order[i]] < span.end; i++ {
			row := v.order[i]
			if !v.known(row, asOf) || !chosen(row) || !cut.keeps(row) || number != nil && number[row] == absent {
				continue
			}
			key := cut.key(row)
			t := cells[key]
			if t == nil {
				t = &tally{}
				cells[key] = t
			}
			t.n++
			if number != nil {
				t.sum += number[row]
			}
			if d.Measure == MedianDays {
				t.values = append(t.values, number[row])
			}
			if p := v.person[row]; p != 0 {
				t.people = append(t.people, p)
			}
			if e := v.employer[row]; e != 0 && d.Measure == DistinctEmployers {
				t.firms = append(t.firms, e)
			}
		}
		start := len(out)
		for key, t := range cells {
			c := Cell{Period: span.label, Codes: cut.codes(key), N: t.n, People: different(t.people)}
			switch d.Measure {
			case DistinctPeople:
				c.Value = float64(c.People)
			case DistinctEmployers:
				c.Value = float64(different(t.firms))
			case Count:
				c.Value = float64(t.n)
			case Sum:
				c.Value = float64(t.sum)
			case MedianDays:
				if t.n == 0 {
					continue
				}
				slices.Sort(t.values)
				c.Value, c.P90 = days(median(t.values)), days(percentile90(t.values))
			}
			out = append(out, c)
		}
		sortCells(out[start:])
	}
	return out
}

// different counts the different people; it sorts the list.
func different(people []uint32) int {
	slices.Sort(people)
	return len(slices.Compact(people))
}

// holding is what one cell of a stock is made of.
type holding struct {
	n      int
	sum    int64
	people map[uint32]int // how many subjects of each person
}

// noRow is the row of a subject that has none.
const noRow = int32(-1)

// stock tells what is there at the end of each period. It walks through time
// once. Of each subject it keeps the latest row that describes it, the latest
// that brought it in and the latest that took it out: "latest" in the subject's
// own order, so that a fact that came late, or was corrected to another date,
// takes its place in the history whenever it is met.
func (v *view) stock(d *Definition, q Query, spans []period) []Cell {
	at, cut, asOf := looksAt(d.Kinds()), v.cutter(d, q), q.asOf()
	enters, changes, leaves := v.chooser(d.Enters), v.chooser(d.Changes), v.chooser(d.Leaves)
	number := v.numbers[d.Of] // nil for people and subjects

	fresh := func() []int32 { return slices.Repeat([]int32{noRow}, v.subjects) }
	state, entered, left, counted := fresh(), fresh(), fresh(), fresh()
	cells := map[uint64]*holding{}
	count := func(row int32, by int) {
		key := cut.key(uint32(row))
		h := cells[key]
		if h == nil {
			h = &holding{people: map[uint32]int{}}
			cells[key] = h
		}
		h.n += by
		if number != nil && number[row] != absent {
			h.sum += int64(by) * number[row]
		}
		if p := v.person[row]; p != 0 {
			if h.people[p] += by; h.people[p] == 0 {
				delete(h.people, p)
			}
		}
		if h.n == 0 {
			delete(cells, key)
		}
	}

	var out []Cell
	var touched []uint32 // subjects whose history grew in the period
	i := 0
	for _, span := range spans {
		for ; i < len(v.order) && v.occurred[v.order[i]] < span.end; i++ {
			row := int32(v.order[i])
			if !at[v.kind[row]] || !v.known(uint32(row), asOf) {
				continue
			}
			s := v.subject[row]
			touched = append(touched, s)
			if leaves(uint32(row)) {
				if left[s] == noRow || v.later(row, left[s]) {
					left[s] = row
				}
				continue
			}
			comes := enters(uint32(row))
			if !comes && !changes(uint32(row)) {
				continue
			}
			if state[s] == noRow || v.later(row, state[s]) {
				state[s] = row
			}
			if comes && (entered[s] == noRow || v.later(row, entered[s])) {
				entered[s] = row
			}
		}
		for _, s := range touched {
			now := state[s]
			if left[s] != noRow && (entered[s] == noRow || v.later(left[s], entered[s])) {
				now = noRow // it left, and has not come back
			}
			if now != noRow && !cut.keeps(uint32(now)) {
				now = noRow
			}
			if now == counted[s] {
				continue // nor when it is met a second time
			}
			if counted[s] != noRow {
				count(counted[s], -1)
			}
			if now != noRow {
				count(now, 1)
			}
			counted[s] = now
		}
		touched = touched[:0]
		start := len(out)
		for key, h := range cells {
			c := Cell{Period: span.label, Codes: cut.codes(key), N: h.n, People: len(h.people)}
			switch d.Of {
			case OfPeople:
				c.Value = float64(len(h.people))
			case OfSubjects:
				c.Value = float64(h.n)
			default:
				c.Value = float64(h.sum)
			}
			out = append(out, c)
		}
		if len(q.By) == 0 && len(out) == start {
			out = append(out, Cell{Period: span.label, Codes: []string{}})
		}
		sortCells(out[start:])
	}
	return out
}

func sortCells(cells []Cell) {
	slices.SortFunc(cells, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), slices.Compare(a.Codes, b.Codes))
	})
}

// median of sorted values: the middle one, or the mean of the two in the middle.
func median(sorted []int64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return float64(sorted[n/2])
	}
	return float64(sorted[n/2-1]+sorted[n/2]) / 2
}

// percentile90 of sorted values, by the nearest rank: the smallest value that is
// not below nine tenths of all.
func percentile90(sorted []int64) float64 {
	rank := (9*len(sorted) + 9) / 10
	return float64(sorted[rank-1])
}

// days turns seconds into days, rounded to hundredths.
func days(seconds float64) float64 { return math.Round(seconds/86400*100) / 100 }
