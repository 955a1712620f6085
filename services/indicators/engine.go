package indicators

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
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

// view is the facts as they stood at one moment. Nobody writes to it.
type view struct {
	facts    int // how many there are
	season   string
	segments []*segment
	parts    []part // of them, what counts: without the groups that a later one has
	shares   [][]part

	own, other           []string // the fields of combinations
	ownCodes, otherCodes []uint32 // their codes
	dicts                map[string][]string
	amounts              []amount
	ids, subjects        names
	bySource             []SourceCount

	extent   sync.Once
	earliest []int // by kind, as day numbers; -1: none
	latest   []int
}

// shareOut says which rows of the segments count, and shares them out among the
// processors, each group to one of them.
func (v *view) shareOut() {
	for i, s := range v.segments {
		v.parts = append(v.parts, s.without(v.segments[i+1:]...)...)
	}
	rows := 0
	for _, p := range v.parts {
		rows += p.to - p.from
	}
	const small = 1 << 14 // rows that are not worth a goroutine
	want := rows
	if rows > small {
		want = rows/runtime.GOMAXPROCS(0) + 1
	}
	var share []part
	has := 0
	for _, p := range v.parts {
		for has+p.to-p.from > want {
			cut := p.from + max(want-has, 0)
			for cut < p.to && cut > p.from && p.group[cut] == p.group[cut-1] {
				cut++
			}
			if cut > p.from {
				share = append(share, part{p.segment, p.from, cut})
			}
			v.shares = append(v.shares, share)
			share, has = nil, 0
			p.from = cut
		}
		if p.from < p.to {
			share, has = append(share, p), has+p.to-p.from
		}
	}
	if len(share) > 0 {
		v.shares = append(v.shares, share)
	}
}

// inParallel calls do for parts of 0..n, one for each processor.
func inParallel(n int, do func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), max(n/1024, 1))
	var working sync.WaitGroup
	for w := range workers {
		working.Go(func() { do(n*w/workers, n*(w+1)/workers) })
	}
	working.Wait()
}

// looksAt says of each kind whether the selection looks at it.
func looksAt(kinds []Kind) (at [256]bool) {
	for _, k := range kinds {
		at[kindNumber[k]] = true
	}
	return at
}

// kindOf is the kind of a combination.
func (v *view) kindOf(combination uint32) uint8 {
	return uint8(v.otherCodes[int(combination)*len(v.other)])
}

// moment is what was known at an instant.
type moment struct {
	asOf int64
}

// everything says whether at the moment all was known that the segment has, so
// that what counts is what was never superseded.
func (m moment) everything(s *segment) bool { return s.lastKnown <= m.asOf }

// knows says whether a row counts: it was recorded by then, and nothing was that
// supersedes it.
func (m moment) knows(s *segment, i int) bool {
	if s.recorded[i] > m.asOf {
		return false
	}
	return s.other[i]&superseded == 0 || m.asOf != math.MaxInt64 && s.until[s.arrival[i]] > m.asOf
}

// extents are the first and the last day of each kind, of what counts at the
// moment; -1: none.
func (v *view) extents(m moment) (earliest, latest []int) {
	if m.asOf == math.MaxInt64 {
		v.extent.Do(func() { v.earliest, v.latest = v.findExtents(m) })
		return v.earliest, v.latest
	}
	return v.findExtents(m)
}

func (v *view) findExtents(m moment) (earliest, latest []int) {
	fresh := func() []int { return slices.Repeat([]int{-1}, len(allKinds)) }
	earliest, latest = fresh(), fresh()
	kindAt := make([]uint8, len(v.otherCodes)/max(len(v.other), 1))
	for c := range kindAt {
		kindAt[c] = v.kindOf(uint32(c))
	}
	var mu sync.Mutex
	v.walk(func(_ int, parts []part) {
		var first, last [256]int32
		for i := range first {
			first[i], last[i] = math.MaxInt32, -1
		}
		for _, p := range parts {
			all := m.everything(p.segment)
			other, day := p.other[p.from:p.to], p.day[p.from:p.to]
			for i, o := range other {
				if all {
					if o&superseded != 0 {
						continue
					}
				} else if !m.knows(p.segment, p.from+i) {
					continue
				}
				k, d := kindAt[o&codesOf], int32(day[i])
				if d < first[k] {
					first[k] = d
				}
				if d > last[k] {
					last[k] = d
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for k := range earliest {
			if last[k] < 0 {
				continue
			}
			if earliest[k] < 0 || int(first[k]) < earliest[k] {
				earliest[k] = int(first[k])
			}
			latest[k] = max(latest[k], int(last[k]))
		}
	})
	return earliest, latest
}

// walk calls do with the share of each processor.
func (v *view) walk(do func(worker int, parts []part)) {
	if len(v.shares) == 1 {
		do(0, v.shares[0])
		return
	}
	var working sync.WaitGroup
	for w, share := range v.shares {
		working.Go(func() { do(w, share) })
	}
	working.Wait()
}

// periods are those that the query covers.
func (v *view) periods(d *Definition, q Query) ([]period, error) {
	first, last := q.From, q.To
	if first == "" || last == "" {
		earliest, latest := v.extents(moment{q.asOf()})
		from, to := q.Today, q.Today
		for _, k := range d.Kinds() {
			if n := kindNumber[k]; latest[n] >= 0 {
				from = min(from, dayText(uint16(earliest[n])))
				to = max(to, dayText(uint16(latest[n])))
			}
		}
		first, last = cmp.Or(first, from), cmp.Or(last, to)
	}
	return periods(q.Grain, first, last, cmp.Or(q.Season, v.season))
}

// Cells computes the indicator. A cell into which nothing falls is left out,
// except of the total, which has every period; a median over nothing has no cell
// at all. The cells come by period, then by codes.
func (v *view) Cells(d *Definition, q Query) ([]Cell, error) {
	spans, err := v.periods(d, q)
	if err != nil {
		return nil, err
	}
	var grids []*grid
	for _, p := range d.Parts() {
		g, err := v.grid(p, q, spans)
		if err != nil {
			return nil, err
		}
		grids = append(grids, g)
	}
	cells := grids[0].cells(len(q.By) == 0)
	if d.Measure == Ratio {
		cells = ratio(cells, grids[1].cells(len(q.By) == 0))
	}
	return cells, nil
}

// ratio divides one figure by another, cell by cell; both are in order.
func ratio(above, below []Cell) (out []Cell) {
	i := 0
	for _, c := range below {
		for i < len(above) && compareCells(above[i], c) < 0 {
			i++
		}
		if c.Value == 0 {
			continue
		}
		c.Numerator, c.Denominator = 0, c.Value
		if i < len(above) && compareCells(above[i], c) == 0 {
			c.Numerator = above[i].Value
		}
		c.Value = c.Numerator / c.Denominator
		out = append(out, c)
	}
	return out
}

func sortCells(cells []Cell) { slices.SortFunc(cells, compareCells) }

func compareCells(a, b Cell) int {
	return cmp.Or(cmp.Compare(a.Period, b.Period), slices.Compare(a.Codes, b.Codes))
}

// What the selectors say of a combination of codes, beside 0: nothing.
const (
	counts = iota + 1 // select is true of it
	enters
	changes
	leaves
)

// counting is one count of a definition and a query, put to every combination of codes
// before a row is looked at.
type counting struct {
	part   Part
	moment moment
	// What a row does is roles[combination of others * classes + class of own].
	roles    []uint8
	relevant []bool // whether a combination of others has a role with any class
	classes  int
	class    []int32 // by combination of own codes
	// The cell of a row is otherCell * ownCells + ownCell; -1: none, because it is
	// filtered away.
	otherCell, ownCell   []int32
	otherTexts, ownTexts [][]string // the codes of each, in the order of By
	otherBy, ownBy       []int      // places in By
	periodOf             []int32    // by day: the first period that does not end before it; len(spans): none
	inside               []bool     // by day: whether the periods have it
	spans                []period
}

// project numbers the different texts of some fields among the combinations.
func (v *view) project(fields []string, codes []uint32, names []string, take func(combination int) bool) (of []int32, texts [][]string) {
	width := max(len(fields), 1)
	of = make([]int32, len(codes)/width)
	if len(fields) == 0 {
		of = []int32{0} // of no codes there is one combination
	}
	var places []int
	for _, name := range names {
		places = append(places, slices.Index(fields, name))
	}
	seen := map[string]int32{}
	var key []byte
	for c := range of {
		of[c] = -1
		if !take(c) {
			continue
		}
		key = key[:0]
		for _, p := range places {
			code := codes[c*width+p]
			key = append(key, byte(code), byte(code>>8), byte(code>>16), byte(code>>24))
		}
		n, ok := seen[string(key)]
		if !ok {
			n = int32(len(texts))
			seen[string(key)] = n
			row := make([]string, len(places))
			for i, p := range places {
				if code := codes[c*width+p]; names[i] == KindName {
					row[i] = string(allKinds[code])
				} else {
					row[i] = v.dicts[names[i]][code]
				}
			}
			texts = append(texts, row)
		}
		of[c] = n
	}
	return of, texts
}

func (v *view) plan(p Part, q Query, spans []period) (*counting, error) {
	pl := &counting{part: p, moment: moment{q.asOf()}, spans: spans}
	isOwn := func(name string) bool { return slices.Contains(v.own, name) }
	for _, name := range append(slices.Clone(q.By), slices.Collect(keys(q.Only))...) {
		if c := p.Column(name); !slices.Contains(v.own, c) && !slices.Contains(v.other, c) {
			return nil, fmt.Errorf("dimension %s is not kept: no definition has it", name)
		}
	}
	// The selectors, once for each combination of the codes that they read.
	at := looksAt(p.Select.Kinds())
	at[kindNumber[Retracted]] = false
	var readOwn, readOther []string
	for _, name := range append(p.Select.Names(), KindName) {
		if isOwn(name) {
			readOwn = append(readOwn, name)
		} else if !slices.Contains(readOther, name) {
			readOther = append(readOther, name)
		}
	}
	all := func(int) bool { return true }
	looked := func(c int) bool { return at[v.kindOf(uint32(c))] }
	var classTexts, groupTexts [][]string
	var groupOf []int32
	pl.class, classTexts = v.project(v.own, v.ownCodes, readOwn, all)
	groupOf, groupTexts = v.project(v.other, v.otherCodes, readOther, looked)
	pl.classes = max(len(classTexts), 1)
	answers := make([]uint8, len(groupTexts)*pl.classes)
	for g, texts := range groupTexts {
		for c, own := range classTexts {
			code := func(name string) string {
				if i := slices.Index(readOther, name); i >= 0 {
					return texts[i]
				}
				return own[slices.Index(readOwn, name)]
			}
			answer := &answers[g*pl.classes+c]
			switch {
			case p.Facts != nil && p.Facts.Match(code):
				*answer = counts
			case p.Leaves != nil && p.Leaves.Match(code):
				*answer = leaves
			case p.Enters != nil && p.Enters.Match(code):
				*answer = enters
			case p.Changes != nil && p.Changes.Match(code):
				*answer = changes
			}
		}
	}
	pl.roles = make([]uint8, len(groupOf)*pl.classes)
	relevant := make([]bool, len(groupOf))
	pl.relevant = relevant
	for c, g := range groupOf {
		if g < 0 {
			continue
		}
		copy(pl.roles[c*pl.classes:(c+1)*pl.classes], answers[int(g)*pl.classes:])
		for _, r := range pl.roles[c*pl.classes : (c+1)*pl.classes] {
			relevant[c] = relevant[c] || r != 0
		}
	}
	// The cells.
	var cutOwn, cutOther, keepOwn, keepOther []string
	for i, name := range q.By {
		if c := p.Column(name); isOwn(c) {
			cutOwn, pl.ownBy = append(cutOwn, c), append(pl.ownBy, i)
		} else {
			cutOther, pl.otherBy = append(cutOther, c), append(pl.otherBy, i)
		}
	}
	only := map[string][][]string{}
	for name, codes := range q.Only {
		c := p.Column(name)
		only[c] = append(only[c], codes)
		if isOwn(c) {
			keepOwn = append(keepOwn, c)
		} else {
			keepOther = append(keepOther, c)
		}
	}
	keeps := func(fields []string, codes []uint32, names []string) func(int) bool {
		return func(c int) bool {
			for _, name := range names {
				text := v.dicts[name][codes[c*len(fields)+slices.Index(fields, name)]]
				for _, list := range only[name] {
					if !slices.Contains(list, text) {
						return false
					}
				}
			}
			return true
		}
	}
	keepsOther := keeps(v.other, v.otherCodes, keepOther)
	pl.ownCell, pl.ownTexts = v.project(v.own, v.ownCodes, cutOwn, keeps(v.own, v.ownCodes, keepOwn))
	pl.otherCell, pl.otherTexts = v.project(v.other, v.otherCodes, cutOther, func(c int) bool { return relevant[c] && keepsOther(c) })
	// The periods.
	pl.periodOf, pl.inside = make([]int32, 1<<16), make([]bool, 1<<16)
	day := 0
	for n, span := range spans {
		first, _ := dayNumber(span.start)
		last, _ := dayNumber(span.end - 1)
		for ; day <= int(last); day++ {
			pl.periodOf[day], pl.inside[day] = int32(n), day >= int(first)
		}
	}
	for ; day < len(pl.periodOf); day++ {
		pl.periodOf[day] = int32(len(spans))
	}
	return pl, nil
}

func keys(m map[string][]string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// cellsOf is how many cells there are in each period.
func (pl *counting) cellsOf() int { return len(pl.otherTexts) * len(pl.ownTexts) }

// codes of a cell, in the order of By.
func (pl *counting) codes(cell int) []string {
	codes := make([]string, len(pl.ownBy)+len(pl.otherBy))
	other, own := cell/len(pl.ownTexts), cell%len(pl.ownTexts)
	for i, at := range pl.otherBy {
		codes[at] = pl.otherTexts[other][i]
	}
	for i, at := range pl.ownBy {
		codes[at] = pl.ownTexts[own][i]
	}
	return codes
}

// number is a number of a row; ok is false where it has none.
func (v *view) number(name string, amount uint32) (n int64, ok bool) {
	if amount < amountPlace {
		return int64(amount), name == StaySeconds
	}
	if amount == noAmount {
		return 0, false
	}
	a := &v.amounts[amount&^amountPlace]
	f := Fact{}
	if a.hasStay {
		f.Stay = &a.stay
	}
	if a.hasTerms {
		f.Terms = &a.terms
	}
	return f.Number(name)
}

func (v *view) employer(amount uint32) uint32 {
	if amount < amountPlace || amount == noAmount {
		return 0
	}
	return v.amounts[amount&^amountPlace].employer
}

// Bounds of what is counted in arrays; what has more cells, most of them empty, is
// counted in a map.
const mostDense = 1 << 21

// grid is the figures of one count by period and cell.
type grid struct {
	plan   *counting
	places map[uint64]int32 // where a cell is, when they are too many for arrays
	keys   []uint64         // the other way round
	n      []int64
	sum    []int64
	people []int64
	stamp  []uint32 // the last person that was counted in a cell, + 1
	firms  []uint64 // cell << 32 | employer, with repetitions
	values []value
	wide   []wideValue // the values that are not small
	middle [][2]float64
}

type (
	value     struct{ cell, seconds uint32 }
	wideValue struct {
		cell  uint32
		value int64
	}
)

func newGrid(pl *counting) *grid {
	g := &grid{plan: pl}
	if size := pl.width() * pl.cellsOf(); size <= mostDense {
		g.n, g.sum, g.people, g.stamp = make([]int64, size), make([]int64, size), make([]int64, size), make([]uint32, size)
	} else {
		g.places = map[uint64]int32{}
	}
	return g
}

// width is the number of places of one cell: of a stock, where it changes, one
// more than there are periods.
func (pl *counting) width() int {
	if pl.part.Measure == Stock {
		return len(pl.spans) + 1
	}
	return len(pl.spans)
}

// place of a key in the arrays.
func (g *grid) place(key uint64) uint32 {
	if g.places == nil {
		return uint32(key)
	}
	return g.sparse(key)
}

func (g *grid) sparse(key uint64) uint32 {
	at, ok := g.places[key]
	if !ok {
		at = int32(len(g.keys))
		g.places[key] = at
		g.keys = append(g.keys, key)
		g.n, g.sum, g.people, g.stamp = append(g.n, 0), append(g.sum, 0), append(g.people, 0), append(g.stamp, 0)
	}
	return uint32(at)
}

// grid counts.
func (v *view) grid(p Part, q Query, spans []period) (*grid, error) {
	pl, err := v.plan(p, q, spans)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 || pl.cellsOf() == 0 || len(v.shares) == 0 {
		return newGrid(pl), nil
	}
	grids := make([]*grid, len(v.shares))
	v.walk(func(w int, parts []part) {
		grids[w] = newGrid(pl)
		if p.Measure == Stock {
			grids[w].stock(v, parts)
		} else {
			grids[w].flow(v, parts)
		}
	})
	g := grids[0]
	for _, more := range grids[1:] {
		g.add(more)
	}
	if p.Measure == Stock {
		g.accumulate()
	}
	if p.Measure == MedianDays {
		g.medians(grids)
	}
	return g, nil
}

// add puts another share's counts to these. No person is in both.
func (g *grid) add(more *grid) {
	if g.places == nil {
		for i := range g.n {
			g.n[i] += more.n[i]
			g.sum[i] += more.sum[i]
			g.people[i] += more.people[i]
		}
		g.firms = append(g.firms, more.firms...)
		return
	}
	for i, key := range more.keys {
		at := g.place(key)
		g.n[at] += more.n[i]
		g.sum[at] += more.sum[i]
		g.people[at] += more.people[i]
	}
	for _, f := range more.firms {
		g.firms = append(g.firms, uint64(g.place(more.keys[f>>32]))<<32|f&math.MaxUint32)
	}
	for i := range more.values {
		more.values[i].cell = g.place(more.keys[more.values[i].cell])
	}
	for i := range more.wide {
		more.wide[i].cell = g.place(more.keys[more.wide[i].cell])
	}
}

// flow counts what happened in each period.
func (g *grid) flow(v *view, parts []part) {
	pl := g.plan
	of, measure := pl.part.Of, pl.part.Measure
	otherCell, ownCell, roles, class, classes := pl.otherCell, pl.ownCell, pl.roles, pl.class, pl.classes
	ownCells, perPeriod, stays := len(pl.ownTexts), pl.cellsOf(), of == StaySeconds
	if measure == MedianDays {
		rows := 0
		for _, p := range parts {
			rows += p.to - p.from
		}
		g.values = make([]value, 0, rows)
	}
	for _, p := range parts {
		everything := pl.moment.everything(p.segment)
		other, own, day := p.other[p.from:p.to], p.own[p.from:p.to], p.day[p.from:p.to]
		group, amount := p.group[p.from:p.to], p.amount[p.from:p.to]
		for i, o := range other {
			c := o & codesOf
			cell := otherCell[c]
			if cell < 0 {
				continue
			}
			a := own[i]
			mine := ownCell[a]
			if mine < 0 || !pl.inside[day[i]] || roles[int(c)*classes+int(class[a])] != counts {
				continue
			}
			if everything {
				if o&superseded != 0 {
					continue
				}
			} else if !pl.moment.knows(p.segment, p.from+i) {
				continue
			}
			var n int64
			if of != "" {
				if m := amount[i]; stays && m < amountPlace {
					n = int64(m)
				} else {
					var ok bool
					if n, ok = v.number(of, m); !ok {
						continue
					}
				}
			}
			at := g.place(uint64(pl.periodOf[day[i]])*uint64(perPeriod) + uint64(cell)*uint64(ownCells) + uint64(mine))
			g.n[at]++
			if o&aboutNobody == 0 {
				if who := group[i] + 1; g.stamp[at] != who {
					g.stamp[at] = who
					g.people[at]++
				}
			}
			switch measure {
			case Sum:
				g.sum[at] += n
			case MedianDays:
				if n >= 0 && n <= math.MaxUint32 {
					g.values = append(g.values, value{at, uint32(n)})
				} else {
					g.wide = append(g.wide, wideValue{at, n})
				}
			case DistinctEmployers:
				if e := v.employer(amount[i]); e != 0 {
					g.firms = append(g.firms, uint64(at)<<32|uint64(e))
				}
			}
		}
	}
}

// medians finds the median and the 90th percentile of the values of each cell,
// without sorting them.
func (g *grid) medians(grids []*grid) {
	starts := make([]int, len(g.n)+1)
	for _, from := range grids {
		for _, x := range from.values {
			starts[x.cell+1]++
		}
	}
	for i := range g.n {
		starts[i+1] += starts[i]
	}
	seconds := make([]uint32, starts[len(g.n)])
	next := slices.Clone(starts)
	for _, from := range grids {
		for _, x := range from.values {
			seconds[next[x.cell]] = x.seconds
			next[x.cell]++
		}
	}
	below, above := map[uint32][]int64{}, map[uint32][]int64{}
	for _, from := range grids {
		for _, x := range from.wide {
			if x.value < 0 {
				below[x.cell] = append(below[x.cell], x.value)
			} else {
				above[x.cell] = append(above[x.cell], x.value)
			}
		}
	}
	for _, list := range below {
		slices.Sort(list)
	}
	for _, list := range above {
		slices.Sort(list)
	}
	g.middle = make([][2]float64, len(g.n))
	find := func(cell int) {
		low, high, list := below[uint32(cell)], above[uint32(cell)], seconds[starts[cell]:starts[cell+1]]
		total := len(low) + len(list) + len(high)
		if total == 0 {
			return
		}
		at := func(rank int) float64 {
			switch {
			case rank < len(low):
				return float64(low[rank])
			case rank < len(low)+len(list):
				return float64(nth(list, rank-len(low)))
			}
			return float64(high[rank-len(low)-len(list)])
		}
		g.middle[cell] = [2]float64{days((at((total-1)/2) + at(total/2)) / 2), days(at((9*total+9)/10 - 1))}
	}
	var turn sync.Mutex
	cell := 0
	var working sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(g.n)) {
		working.Go(func() {
			for {
				turn.Lock()
				from := cell
				to := from
				for to < len(g.n) && starts[to]-starts[from] < 1<<14 && to-from < 1<<12 {
					to++
				}
				cell = to
				turn.Unlock()
				if from == to {
					return
				}
				for c := from; c < to; c++ {
					find(c)
				}
			}
		})
	}
	working.Wait()
}

// nth is the value of a rank, from 0; the list is left in another order (Hoare's
// selection, https://doi.org/10.1145/366622.366647).
func nth(list []uint32, rank int) uint32 {
	low, high := 0, len(list)-1
	for high-low > 16 {
		a, b, c := list[low], list[low+(high-low)/2], list[high]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := low, high
		for i <= j {
			for list[i] < pivot {
				i++
			}
			for list[j] > pivot {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case rank <= j:
			high = j
		case rank >= i:
			low = i
		default:
			return list[rank]
		}
	}
	slices.Sort(list[low : high+1])
	return list[rank]
}

// happening is a row of a subject's history.
type happening struct {
	day    uint16
	role   uint8
	cell   int32 // -1: filtered away
	amount uint32
	row    int
}

// sojourn is a time in which a person is in a cell: the periods from, to excluded.
type sojourn struct {
	cell     int32
	from, to int32
}

// stock counts what is there at the end of each period, by noting where it
// changes: see accumulate. A subject is there as the latest fact in its own order
// says that had happened by then; so a fact that came late, or was corrected to
// another date, takes its place in the history.
func (g *grid) stock(v *view, parts []part) {
	pl := g.plan
	var stays []sojourn // of one group
	width := uint64(pl.width())
	settle := func() {
		if len(stays) > 1 {
			slices.SortFunc(stays, func(a, b sojourn) int { return cmp.Or(cmp.Compare(a.cell, b.cell), cmp.Compare(a.from, b.from)) })
		}
		for i := 0; i < len(stays); {
			s := stays[i]
			for i++; i < len(stays) && stays[i].cell == s.cell && stays[i].from <= s.to; i++ {
				s.to = max(s.to, stays[i].to)
			}
			begin, end := g.place(uint64(s.cell)*width+uint64(s.from)), g.place(uint64(s.cell)*width+uint64(s.to))
			g.people[begin]++
			g.people[end]--
		}
		stays = stays[:0]
	}
	ofNumber := pl.part.Of != OfPeople && pl.part.Of != OfSubjects
	group := uint32(math.MaxUint32)
	pl.histories(v, parts, func(p part, nobody bool, who uint32, list []happening) {
		if who != group {
			settle()
			group = who
		}
		pl.present(list, func(e happening, from, to int32) {
			if e.cell < 0 || from >= to {
				return
			}
			begin, end := g.place(uint64(e.cell)*width+uint64(from)), g.place(uint64(e.cell)*width+uint64(to))
			g.n[begin]++
			g.n[end]--
			if ofNumber {
				if n, ok := v.number(pl.part.Of, e.amount); ok {
					g.sum[begin] += n
					g.sum[end] -= n
				}
			}
			if !nobody {
				stays = append(stays, sojourn{e.cell, from, to})
			}
		})
	})
	settle()
}

// histories calls each with the events of every subject, in its own order.
func (pl *counting) histories(v *view, parts []part, each func(p part, nobody bool, group uint32, list []happening)) {
	var list []happening
	for _, p := range parts {
		everything := pl.moment.everything(p.segment)
		subject, group, nobody := uint32(0), uint32(0), uint32(0)
		for i := p.from; i < p.to; i++ {
			o := p.other[i]
			c := o & codesOf
			if !pl.relevant[c] {
				continue
			}
			role := pl.roles[int(c)*pl.classes+int(pl.class[p.own[i]])]
			if role == 0 {
				continue
			}
			if everything {
				if o&superseded != 0 {
					continue
				}
			} else if !pl.moment.knows(p.segment, i) {
				continue
			}
			if len(list) > 0 && (p.subject[i] != subject || p.group[i] != group || o&aboutNobody != nobody) {
				each(p, nobody != 0, group, list)
				list = list[:0]
			}
			subject, group, nobody = p.subject[i], p.group[i], o&aboutNobody
			cell := int32(-1)
			if a, b := pl.otherCell[c], pl.ownCell[p.own[i]]; a >= 0 && b >= 0 {
				cell = a*int32(len(pl.ownTexts)) + b
			}
			list = append(list, happening{p.day[i], role, cell, p.amount[i], i})
		}
		if len(list) > 0 {
			each(p, nobody != 0, group, list)
			list = list[:0]
		}
	}
}

// present tells in which periods a subject is there at the end, and as which
// event: from, to excluded.
func (pl *counting) present(list []happening, is func(e happening, from, to int32)) {
	inOrder := true
	for i := 1; i < len(list); i++ {
		inOrder = inOrder && list[i-1].day <= list[i].day
	}
	end := int32(len(pl.spans))
	now, since := -1, int32(0)
	become := func(i int, at int32) {
		if now >= 0 && since < at {
			is(list[now], since, at)
		}
		now, since = i, at
	}
	if inOrder {
		gone := false
		for i, e := range list {
			switch {
			case e.role == leaves:
				gone = true
				become(-1, pl.periodOf[e.day])
			case e.role == enters:
				gone = false
				become(i, pl.periodOf[e.day])
			case !gone:
				become(i, pl.periodOf[e.day])
			}
		}
		become(-1, end)
		return
	}
	byDay := make([]int, len(list))
	for i := range byDay {
		byDay[i] = i
	}
	sort.SliceStable(byDay, func(a, b int) bool { return list[byDay[a]].day < list[byDay[b]].day })
	state, entered, left := -1, -1, -1 // the latest of each, of what had happened by then
	for n, i := range byDay {
		switch list[i].role {
		case leaves:
			left = max(left, i)
		case enters:
			entered, state = max(entered, i), max(state, i)
		default:
			state = max(state, i)
		}
		if n+1 < len(byDay) && list[byDay[n+1]].day == list[i].day {
			continue
		}
		there := state
		if left >= 0 && left > entered {
			there = -1 // it left, and has not come back
		}
		if there != now {
			become(there, pl.periodOf[list[i].day])
		}
	}
	become(-1, end)
}

// accumulate makes the figures at the end of each period from where they change.
func (g *grid) accumulate() {
	width := g.plan.width()
	if g.places == nil {
		for cell := range g.plan.cellsOf() {
			for i := cell*width + 1; i < (cell+1)*width; i++ {
				g.n[i] += g.n[i-1]
				g.sum[i] += g.sum[i-1]
				g.people[i] += g.people[i-1]
			}
		}
		return
	}
	// Of the cells that there are, all periods.
	changed := slices.Clone(g.keys)
	slices.Sort(changed)
	fuller := &grid{plan: g.plan, places: map[uint64]int32{}}
	for i := 0; i < len(changed); {
		cell := changed[i] / uint64(width)
		var n, sum, people int64
		for at := changed[i]; at < (cell+1)*uint64(width); at++ {
			if i < len(changed) && changed[i] == at {
				from := g.places[at]
				n, sum, people = n+g.n[from], sum+g.sum[from], people+g.people[from]
				i++
			}
			if n != 0 {
				to := fuller.place(at)
				fuller.n[to], fuller.sum[to], fuller.people[to] = n, sum, people
			}
		}
	}
	*g = *fuller
}

// cells lists the cells of a grid, in order; whole: a total, which has every
// period.
func (g *grid) cells(whole bool) []Cell {
	pl := g.plan
	firms := map[uint32]int64{}
	slices.Sort(g.firms)
	for _, f := range slices.Compact(g.firms) {
		firms[uint32(f>>32)]++
	}
	names := map[int][]string{}
	codes := func(cell int) []string {
		if names[cell] == nil {
			names[cell] = pl.codes(cell)
		}
		return names[cell]
	}
	per, stock := pl.cellsOf(), pl.part.Measure == Stock
	if whole && per == 0 {
		return g.empty()
	}
	var cells []Cell
	put := func(at int, key uint64) {
		period, cell := int(key)/per, int(key)%per
		if stock {
			period, cell = int(key)%pl.width(), int(key)/pl.width()
		}
		if period >= len(pl.spans) || g.n[at] == 0 && (!whole || pl.part.Measure == MedianDays) {
			return
		}
		c := Cell{Period: pl.spans[period].label, Codes: codes(cell), N: int(g.n[at]), People: int(g.people[at])}
		switch pl.part.Measure {
		case DistinctPeople:
			c.Value = float64(c.People)
		case DistinctEmployers:
			c.Value = float64(firms[uint32(at)])
		case Count:
			c.Value = float64(c.N)
		case Sum:
			c.Value = float64(g.sum[at])
		case MedianDays:
			c.Value, c.P90 = g.middle[at][0], g.middle[at][1]
		default:
			switch pl.part.Of {
			case OfPeople:
				c.Value = float64(c.People)
			case OfSubjects:
				c.Value = float64(c.N)
			default:
				c.Value = float64(g.sum[at])
			}
		}
		cells = append(cells, c)
	}
	if g.places == nil {
		for at := range g.n {
			put(at, uint64(at))
		}
	} else {
		for at, key := range g.keys {
			put(at, key)
		}
	}
	sortCells(cells)
	return cells
}

// empty is a total of nothing.
func (g *grid) empty() (cells []Cell) {
	if g.plan.part.Measure == MedianDays {
		return nil
	}
	for _, span := range g.plan.spans {
		cells = append(cells, Cell{Period: span.label, Codes: []string{}})
	}
	return cells
}

// DailySeries is one cell of a cut, day by day.
type DailySeries struct {
	Codes []string // one for each dimension of By
	// Days are those that have a figure, in order, and Values their figures: of a
	// flow what happened on the day, of a stock what is there at its end. A day on
	// which a stock stays as it was has none.
	Days   []string
	Values []float64
}

// Daily yields every series of a cut, by codes. The query's grain is not looked at.
func (v *view) Daily(d *Definition, q Query) (iter.Seq[DailySeries], error) {
	q.Grain = Day
	cells, err := v.Cells(d, q)
	if err != nil {
		return nil, err
	}
	stock := d.Measure == Stock
	spans, err := v.periods(d, q)
	if err != nil {
		return nil, err
	}
	place := make(map[string]int, len(spans))
	for i, s := range spans {
		place[s.label] = i
	}
	series := map[string]*DailySeries{}
	last := map[string]int{} // the place of the day after the last one of a series
	for _, c := range cells {
		key := strings.Join(c.Codes, "\x00")
		s := series[key]
		if s == nil {
			s = &DailySeries{Codes: c.Codes}
			series[key] = s
		}
		at := place[c.Period]
		if stock {
			if n := len(s.Values); n > 0 && last[key] < at && s.Values[n-1] != 0 {
				s.Days, s.Values = append(s.Days, spans[last[key]].label), append(s.Values, 0)
			}
			if n := len(s.Values); n > 0 && s.Values[n-1] == c.Value || n == 0 && c.Value == 0 {
				last[key] = at + 1
				continue
			}
		} else if c.N == 0 {
			continue
		}
		s.Days, s.Values = append(s.Days, c.Period), append(s.Values, c.Value)
		last[key] = at + 1
	}
	list := make([]*DailySeries, 0, len(series))
	for key, s := range series {
		if n := len(s.Values); stock && n > 0 && last[key] < len(spans) && s.Values[n-1] != 0 {
			s.Days, s.Values = append(s.Days, spans[last[key]].label), append(s.Values, 0)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *DailySeries) int { return slices.Compare(a.Codes, b.Codes) })
	return func(yield func(DailySeries) bool) {
		for _, s := range list {
			if !yield(*s) {
				return
			}
		}
	}, nil
}

// Behind lists the ids of the facts that one cell is made of, in order, each once:
// the counted ones of a flow, those of a stock that describe who is there at the
// end, those of both parts of a ratio. The cell is named by its period and codes.
func (v *view) Behind(d *Definition, q Query, label string, codes []string) ([]string, error) {
	spans, err := v.periods(d, q)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(spans, func(s period) bool { return s.label == label })
	if at < 0 {
		return nil, nil
	}
	var ids []string
	for _, p := range d.Parts() {
		pl, err := v.plan(p, q, spans[at:at+1])
		if err != nil {
			return nil, err
		}
		wanted := make([]bool, pl.cellsOf())
		for cell := range wanted {
			wanted[cell] = slices.Equal(pl.codes(cell), codes)
		}
		pl.histories(v, v.parts, func(from part, _ bool, _ uint32, list []happening) {
			take := func(e happening) {
				if e.cell >= 0 && wanted[e.cell] {
					ids = append(ids, v.ids.text(from.arrival[e.row]))
				}
			}
			if p.Measure == Stock {
				pl.present(list, func(e happening, _, _ int32) { take(e) })
				return
			}
			for _, e := range list {
				if _, has := v.number(p.Of, e.amount); pl.inside[e.day] && (p.Of == "" || has) {
					take(e)
				}
			}
		})
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// coder reads one of the codes of rows, as its number in dicts.
type coder struct {
	codes        []uint32
	width, place int
	own          bool
}

func (v *view) coder(name string) coder {
	if i := slices.Index(v.own, name); i >= 0 {
		return coder{v.ownCodes, len(v.own), i, true}
	}
	return coder{v.otherCodes, len(v.other), slices.Index(v.other, name), false}
}

func (c coder) code(p part, row int) uint32 {
	if c.own {
		return c.codes[int(p.own[row])*c.width+c.place]
	}
	return c.codes[int(p.other[row]&codesOf)*c.width+c.place]
}

// days turns seconds into days, rounded to hundredths.
func days(seconds float64) float64 { return math.Round(seconds/86400*100) / 100 }

// noRow is the place of what has none.
const noRow = int32(-1)
