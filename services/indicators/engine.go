package indicators

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
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
	declared             map[string]bool // the keys of the parts of the definitions
	bySource             []SourceCount

	// extents, by the moment of which they are: those of now, and the last one that
	// was asked for.
	mu           sync.Mutex
	now, another *extent
}

// extent is the first and the last day of each kind, as day numbers; -1: none.
type extent struct {
	asOf             int64
	earliest, latest []int
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

// extent is that of what counts at the moment.
func (v *view) extent(m moment) *extent {
	v.mu.Lock()
	defer v.mu.Unlock()
	kept := &v.now
	if m.asOf != math.MaxInt64 {
		kept = &v.another
	}
	if *kept == nil || (*kept).asOf != m.asOf {
		earliest, latest := v.findExtent(m)
		*kept = &extent{m.asOf, earliest, latest}
	}
	return *kept
}

func (v *view) findExtent(m moment) (earliest, latest []int) {
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
	allAtOnce(len(v.shares), func(w int) { do(w, v.shares[w]) })
}

// periods are those that the query covers.
func (v *view) periods(d *Definition, q Query) ([]period, error) {
	first, last := q.From, q.To
	if first == "" || last == "" {
		extent := v.extent(moment{q.asOf()})
		from, to := q.Today, q.Today
		for _, k := range d.Kinds() {
			if n := kindNumber[k]; extent.latest[n] >= 0 {
				from = min(from, dayText(uint16(extent.earliest[n])))
				to = max(to, dayText(uint16(extent.latest[n])))
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
	// What the selectors say is roles[place of the combination of others + class of
	// the combination of own codes].
	roles        []uint8
	place, class []int32
	// The cell of a row is otherCell * ownCells + ownCell, by its combinations; -1:
	// none, because it is filtered away.
	otherCell, ownCell   []int32
	otherTexts, ownTexts [][]string // the codes of each, in the order of By
	otherBy, ownBy       []int      // places in By
	periodOf             []int32    // by day: the first period that does not end before it; len(spans): none
	first, last          int64      // day of the periods
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
	pl.class, classTexts = v.project(v.own, v.ownCodes, readOwn, all)
	pl.place, groupTexts = v.project(v.other, v.otherCodes, readOther, looked)
	classes := max(len(classTexts), 1)
	pl.roles = make([]uint8, (len(groupTexts)+1)*classes) // the first are of those that are not looked at
	for c := range pl.place {
		pl.place[c] = (pl.place[c] + 1) * int32(classes)
	}
	for g, texts := range groupTexts {
		for c, own := range classTexts {
			code := func(name string) string {
				if i := slices.Index(readOther, name); i >= 0 {
					return texts[i]
				}
				return own[slices.Index(readOwn, name)]
			}
			answer := &pl.roles[(g+1)*classes+c]
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
	relevant := func(c int) bool {
		at := int(pl.place[c])
		return slices.ContainsFunc(pl.roles[at:at+classes], func(role uint8) bool { return role != 0 })
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
	pl.otherCell, pl.otherTexts = v.project(v.other, v.otherCodes, cutOther, func(c int) bool { return relevant(c) && keepsOther(c) })
	// The periods.
	pl.periodOf, pl.first, pl.last = make([]int32, 1<<16), math.MaxInt64, -1
	day := 0
	for n, span := range spans {
		first, _ := dayNumber(span.start)
		last, _ := dayNumber(span.end - 1)
		pl.first, pl.last = min(pl.first, int64(first)), int64(last)
		for ; day <= int(last); day++ {
			pl.periodOf[day] = int32(n)
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

// role is what the selectors say of a row.
func (pl *counting) role(other uint32, own uint16) uint8 {
	return pl.roles[pl.place[other&codesOf]+pl.class[own]]
}

// cell of a row; -1: none.
func (pl *counting) cell(other uint32, own uint16) int32 {
	a, b := pl.otherCell[other&codesOf], pl.ownCell[own]
	if a|b < 0 {
		return -1
	}
	return a*int32(len(pl.ownTexts)) + b
}

// sums says whether numbers are added up.
func (pl *counting) sums() bool {
	return pl.part.Measure == Sum || pl.part.Measure == Stock && pl.part.Of != OfPeople && pl.part.Of != OfSubjects
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

// DailySeries is one cell of a cut, day by day.
type DailySeries struct {
	Codes []string // one for each dimension of By
	// Days are those that have a figure, in order, as days since 1970-01-01, and
	// Values their figures: of a flow what happened on the day, of a stock what is
	// there at its end. A day on which a stock stays as it was has none.
	Days   []uint16
	Values []float64
}

// Daily yields every series of a cut, by codes. The query's grain is not looked at.
func (v *view) Daily(d *Definition, q Query) (iter.Seq[DailySeries], error) {
	q.Grain = Day
	spans, err := v.periods(d, q)
	if err != nil {
		return nil, err
	}
	if d.Measure == Ratio {
		return nil, fmt.Errorf("%s: a ratio has no days that add up", d.Code)
	}
	g, err := v.grid(d.Parts()[0], q, spans)
	if err != nil || len(spans) == 0 || g.plan.cellsOf() == 0 {
		return func(func(DailySeries) bool) {}, err
	}
	g.countFirms()
	list, codes := g.entries(true, false)
	first, _ := dayNumber(spans[0].start)
	stock := d.Measure == Stock
	return func(yield func(DailySeries) bool) {
		for i := 0; i < len(list); {
			s, cell, last := DailySeries{Codes: codes[list[i].cell]}, list[i].cell, int32(0)
			add := func(period int32, value float64) {
				s.Days, s.Values = append(s.Days, first+uint16(period)), append(s.Values, value)
			}
			left := func(by int32) { // a stock was there until the last figure
				if n := len(s.Values); stock && n > 0 && last < by && s.Values[n-1] != 0 {
					add(last, 0)
				}
			}
			for ; i < len(list) && list[i].cell == cell; i++ {
				e, value := list[i], g.value(list[i].at)
				left(e.period)
				if n := len(s.Values); !stock || n == 0 && value != 0 || n > 0 && s.Values[n-1] != value {
					add(e.period, value)
				}
				last = e.period + 1
			}
			left(int32(len(spans)))
			if len(s.Days) > 0 && !yield(s) {
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
		for _, from := range v.parts {
			take := func(row uint32) {
				if cell := pl.cell(from.other[row], from.own[row]); cell >= 0 && wanted[cell] {
					ids = append(ids, v.ids.text(from.arrival[row]))
				}
			}
			pick := v.pick(from.segment, pl)
			begin, end := within(pick.sojourns, 0, from, sojourn.at)
			for _, s := range pick.sojourns[begin:end] {
				if pl.periodOf[s.from] < pl.periodOf[s.to] {
					take(uint32(s.at()))
				}
			}
			begin, end = within(pick.rows, 0, from, rowAt)
			for _, row := range pick.rows[begin:end] {
				if day := int64(from.day[row]); day >= pl.first && day <= pl.last && pl.moment.knows(from.segment, int(row)) {
					take(row)
				}
			}
		}
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
