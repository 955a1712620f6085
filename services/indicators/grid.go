package indicators

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Bounds of what is counted in arrays; what has more cells, most of them empty, is
// counted in a map.
const mostDense = 1 << 21

// grid is the figures of one count by period and cell.
type grid struct {
	plan    *counting
	places  map[uint64]int32 // where a cell is, when they are too many for arrays
	keys    []uint64         // the other way round
	tally   []tally
	sum     []int64          // of a measure that has one
	firmsAt map[uint32]int64 // how many different ones: countFirms
	firms   []uint64         // cell << 32 | employer, with repetitions
	// Of a median, the values: how many each bucket of each cell has, and in which
	// bucket which is.
	*bucketing
	buckets []int32
	values  []*values
	wide    []wideValue // those that are not small
	middle  [][2]float64
	batch
}

// tally is what there is in a cell. There are fewer rows than an int32 can count.
type tally struct {
	n, people int32
	stamp     uint32 // the last person that was counted, + 1
}

type (
	value  struct{ bucket, seconds uint32 }
	values struct {
		n    int
		list [1 << 13]value
	}
	wideValue struct {
		cell  uint32
		value int64
	}
)

func newGrid(pl *counting, b *bucketing) *grid {
	g := &grid{plan: pl, bucketing: b}
	size := pl.places()
	if size > mostDense {
		g.places = map[uint64]int32{}
		return g
	}
	g.tally = make([]tally, size)
	if pl.sums() {
		g.sum = make([]int64, size)
	}
	if pl.part.Measure == MedianDays {
		g.buckets = make([]int32, size*g.each)
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

// places of all cells.
func (pl *counting) places() int { return pl.width() * pl.cellsOf() }

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
		g.tally = append(g.tally, tally{})
		if g.plan.sums() {
			g.sum = append(g.sum, 0)
		}
		if g.plan.part.Measure == MedianDays {
			g.buckets = append(g.buckets, 0)
		}
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
		return newGrid(pl, newBucketing(pl, nil)), nil
	}
	picks, ofSegment := make([]*picked, len(v.segments)), map[*segment]*picked{}
	for i, s := range v.segments {
		picks[i] = v.pick(s, pl)
		ofSegment[s] = picks[i]
	}
	grids, buckets := make([]*grid, len(v.shares)), newBucketing(pl, picks)
	v.walk(func(w int, parts []part) {
		grids[w] = newGrid(pl, buckets)
		var of *picked
		row, stay := 0, 0 // how far it was read
		for i, p := range parts {
			if i == 0 || p.segment != parts[i-1].segment {
				of, row, stay = ofSegment[p.segment], 0, 0
			}
			var begin int
			begin, row = within(of.rows, row, p, rowAt)
			grids[w].flow(v, p, of, begin, row)
			begin, stay = within(of.sojourns, stay, p, sojourn.at)
			grids[w].stock(v, p, of.sojourns[begin:stay])
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
		for i, t := range more.tally {
			g.tally[i].add(t)
		}
		for i, n := range more.sum {
			g.sum[i] += n
		}
		g.firms = append(g.firms, more.firms...)
		return
	}
	for i, key := range more.keys {
		at := g.place(key)
		g.tally[at].add(more.tally[i])
		if g.sum != nil {
			g.sum[at] += more.sum[i]
		}
	}
	for _, f := range more.firms {
		g.firms = append(g.firms, uint64(g.place(more.keys[f>>32]))<<32|f&math.MaxUint32)
	}
	for _, chunk := range more.values {
		for i := range chunk.list[:chunk.n] {
			x := &chunk.list[i]
			x.bucket = g.place(more.keys[x.bucket]) // there is one of each cell
		}
	}
	for i := range more.wide {
		more.wide[i].cell = g.place(more.keys[more.wide[i].cell])
	}
}

func (t *tally) add(more tally) {
	t.n += more.n
	t.people += more.people
}

// batchRows are counted at a time: what is done to each of them is done in short
// loops, one after the other.
const batchRows = 1024

type batch struct {
	facts      [batchRows]brief
	at, amount [batchRows]uint32 // of those that count: where, and their number
}

// flow counts what happened in each period: of what was picked, from a place to
// another.
func (g *grid) flow(v *view, p part, of *picked, from, to int) {
	pl := g.plan
	otherCell, ownCell, ownCells, perPeriod := pl.otherCell, pl.ownCell, int64(len(pl.ownTexts)), int64(pl.cellsOf())
	everything, gone := pl.moment.everything(p.segment), uint32(0)
	if everything {
		gone = superseded
	}
	for ; from < to; from += batchRows {
		end, n := min(from+batchRows, to), 0
		var facts []brief
		if everything && of.facts != nil {
			facts = of.facts[from:end]
		} else {
			for _, row := range of.rows[from:end] {
				if everything || pl.moment.knows(p.segment, int(row)) {
					g.facts[n] = p.brief(row)
					n++
				}
			}
			facts, n = g.facts[:n], 0
		}
		for i := range facts {
			f := &facts[i]
			cell, mine, day := int64(otherCell[f.other&codesOf]), int64(ownCell[f.own]), int64(f.day)
			if cell|mine|(day-pl.first)|(pl.last-day)|int64(int32(f.other&gone)) < 0 { // one of them is
				continue
			}
			here := g.place(uint64(int64(pl.periodOf[day])*perPeriod + cell*ownCells + mine))
			g.at[n], g.amount[n] = here, f.amount
			n++
			// The rows of a person lie together.
			t, who := &g.tally[here], f.group+1
			other := t.stamp ^ who
			t.n++
			t.people += int32((other | -other) >> 31 &^ (f.other >> 30)) // aboutNobody is the bit
			t.stamp = who
		}
		g.measure(v, g.at[:n], g.amount[:n])
	}
}

// measure adds up what facts have beside being facts about people; at is where.
func (g *grid) measure(v *view, at, amounts []uint32) {
	switch of := g.plan.part.Of; g.plan.part.Measure {
	case Sum:
		for i, amount := range amounts {
			n, _ := v.number(of, amount)
			g.sum[at[i]] += n
		}
	case MedianDays:
		if last := len(g.values) - 1; last < 0 || g.values[last].n+len(at) > len(g.values[last].list) {
			chunk := spareValues.Get().(*values)
			chunk.n = 0
			g.values = append(g.values, chunk)
		}
		chunk := g.values[len(g.values)-1]
		list, n, each := chunk.list[chunk.n:chunk.n+len(at)], 0, uint32(g.each)
		for i, amount := range amounts {
			if of != StaySeconds || amount >= amountPlace {
				x, _ := v.number(of, amount)
				if x < 0 || x > math.MaxUint32 {
					g.wide = append(g.wide, wideValue{at[i], x})
					continue
				}
				amount = uint32(x)
			}
			bucket := at[i]*each + g.bucket(amount)
			list[n] = value{bucket, amount}
			n++
			g.buckets[bucket]++
		}
		chunk.n += n
	case DistinctEmployers:
		for i, amount := range amounts {
			if e := v.employer(amount); e != 0 {
				g.firms = append(g.firms, uint64(at[i])<<32|uint64(e))
			}
		}
	}
}

// spareValues are those of earlier questions: there are as many as facts.
var spareValues = sync.Pool{New: func() any { return &values{} }}

// ranked is one rank of a cell: its value, or where it is to be looked for.
type ranked struct {
	value          float64
	from, to, rank int32 // among the values that are kept; from == to: the value is known
}

// medians finds the median and the 90th percentile of the values of each cell. It
// counts the values by buckets and keeps only those of the buckets that have one
// of these ranks.
func (g *grid) medians(grids []*grid) {
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
	for _, lists := range []map[uint32][]int64{below, above} {
		for _, list := range lists {
			slices.Sort(list)
		}
	}
	each := g.each
	// By share of the facts and bucket: how many values there are; then the place of
	// the next of them among those that are kept.
	places, wanted := make([][]int32, len(grids)), make([]uint8, len(g.tally)*each)
	for w, from := range grids {
		if g.places != nil { // they are where they are in g
			from.buckets = make([]int32, len(g.tally))
			for _, chunk := range from.values {
				for _, x := range chunk.list[:chunk.n] {
					from.buckets[x.bucket]++
				}
			}
		}
		places[w] = from.buckets
	}
	picks, kept := make([][3]ranked, len(g.tally)), int32(0)
	for cell := range picks {
		n := 0
		for _, place := range places {
			for _, here := range place[cell*each : (cell+1)*each] {
				n += int(here)
			}
		}
		low, high := below[uint32(cell)], above[uint32(cell)]
		total := len(low) + n + len(high)
		if total == 0 {
			continue
		}
		var ranks [3]int // among the values of places
		for i, r := range [3]int{(total - 1) / 2, total / 2, (9*total+9)/10 - 1} {
			ranks[i] = r - len(low)
			if r < len(low) {
				picks[cell][i].value = float64(low[r])
			} else if ranks[i] >= n {
				picks[cell][i].value = float64(high[ranks[i]-n])
			}
		}
		before := 0
		for at := cell * each; at < (cell+1)*each; at++ {
			here := 0
			for _, place := range places {
				here += int(place[at])
			}
			keep := false
			for i, r := range ranks {
				if r >= before && r < before+here {
					picks[cell][i], keep = ranked{from: kept, to: kept + int32(here), rank: int32(r - before)}, true
				}
			}
			if before += here; !keep {
				continue
			}
			wanted[at] = 1
			for _, place := range places {
				place[at], kept = kept, kept+place[at]
			}
		}
	}
	seconds := make([]uint32, kept)
	allAtOnce(len(grids), func(w int) {
		for _, chunk := range grids[w].values {
			n := 0
			for _, x := range chunk.list[:chunk.n] {
				chunk.list[n] = x
				n += int(wanted[x.bucket])
			}
			for _, x := range chunk.list[:n] {
				seconds[places[w][x.bucket]] = x.seconds
				places[w][x.bucket]++
			}
			spareValues.Put(chunk)
		}
		grids[w].values = nil
	})
	g.middle = make([][2]float64, len(g.tally))
	inParallel(len(g.tally), func(from, to int) {
		for cell := from; cell < to; cell++ {
			var at [3]float64
			for i, p := range picks[cell] {
				if at[i] = p.value; p.from < p.to {
					at[i] = float64(nth(seconds[p.from:p.to], int(p.rank)))
				}
			}
			g.middle[cell] = [2]float64{days((at[0] + at[1]) / 2), days(at[2])}
		}
	})
}

// allAtOnce calls do for each of 0..n, beside each other, and waits for all.
func allAtOnce(n int, do func(i int)) {
	var working sync.WaitGroup
	for i := range n {
		working.Go(func() { do(i) })
	}
	working.Wait()
}

// spread says how many values there are in each class: those that begin with the same
// bits, as floats, which are the exponent and a part of the mantissa.
type spread [1 << 13]uint32

// class of a value; greater values have no lower one.
func class(n uint32) uint32 {
	const mantissa = 7 // bits of it
	return (math.Float32bits(float32(uint64(n)+1))>>(23-mantissa) - 127<<mantissa) % (1 << 13)
}

func (s *spread) add(more *spread) *spread {
	if s == nil {
		return more
	}
	for i, n := range more {
		s[i] += n
	}
	return s
}

// bucketing shares the values of each cell out into buckets: in which bucket the
// values of each class are.
type bucketing struct {
	each int // buckets of a cell
	of   [1 << 13]uint16
}

// newBucketing gives each cell of a median as many buckets as there can be counters
// in a processor's cache, and about as many of all values to each bucket; cells that
// are too many for arrays have one.
func newBucketing(pl *counting, picks []*picked) *bucketing {
	if pl.part.Measure != MedianDays {
		return nil
	}
	b, all, values := &bucketing{each: 1}, spread{}, 0
	if pl.places() > mostDense {
		return b
	}
	for _, p := range picks {
		if p.spread != nil {
			all.add(p.spread)
			values += len(p.rows)
		}
	}
	most, before := max(1, min(values, 1<<17)/max(pl.places(), 1)), 0
	for i, n := range all {
		if n > 0 {
			b.of[i] = uint16(min(before*most/values, b.each))
			b.each = int(b.of[i]) + 1
			before += int(n)
		}
	}
	return b
}

func (b *bucketing) bucket(n uint32) uint32 { return uint32(b.of[class(n)]) }

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

// stock counts what is there at the end of each period, by noting where it changes:
// see accumulate.
func (g *grid) stock(v *view, p part, sojourns []sojourn) {
	pl, sums, width := g.plan, g.plan.sums(), uint64(g.plan.width())
	ends := func(cell, from, to int32) (begin, end uint32) {
		at := uint64(cell) * width
		return g.place(at + uint64(from)), g.place(at + uint64(to))
	}
	// Whoever is in a cell twice is one person: the sojourns of one who has several
	// subjects, by cell and beginning.
	const bits = 17 // of a period
	var order []uint64
	person := uint32(0)
	settle := func() {
		slices.Sort(order)
		for i := 0; i < len(order); {
			cell, from, to := order[i]>>(2*bits), int32(order[i]>>bits&(1<<bits-1)), int32(0)
			for ; i < len(order) && order[i]>>bits <= cell<<bits|uint64(max(from, to)); i++ {
				to = max(to, int32(order[i]&(1<<bits-1)))
			}
			begin, end := ends(int32(cell), from, to)
			g.tally[begin].people++
			g.tally[end].people--
		}
		order = order[:0]
	}
	for _, s := range sojourns {
		from, to := pl.periodOf[s.from], pl.periodOf[s.to]
		if from == to {
			continue
		}
		row := s.at()
		o := p.other[row]
		cell := pl.cell(o, p.own[row])
		if cell < 0 {
			continue
		}
		begin, end := ends(cell, from, to)
		g.tally[begin].n++
		g.tally[end].n--
		if sums {
			if n, ok := v.number(pl.part.Of, p.amount[row]); ok {
				g.sum[begin] += n
				g.sum[end] -= n
			}
		}
		if s.row&several == 0 {
			one := int32(1 &^ (o >> 30)) // aboutNobody is the bit
			g.tally[begin].people += one
			g.tally[end].people -= one
			continue
		}
		if who := p.group[row]; who != person {
			settle()
			person = who
		}
		order = append(order, uint64(cell)<<(2*bits)|uint64(from)<<bits|uint64(to))
	}
	settle()
}

// accumulate makes the figures at the end of each period from where they change.
func (g *grid) accumulate() {
	width := g.plan.width()
	if g.places == nil {
		for cell := range g.plan.cellsOf() {
			for i := cell*width + 1; i < (cell+1)*width; i++ {
				g.tally[i].add(g.tally[i-1])
				if g.sum != nil {
					g.sum[i] += g.sum[i-1]
				}
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
		var now tally
		var sum int64
		for at := changed[i]; at < (cell+1)*uint64(width); at++ {
			if i < len(changed) && changed[i] == at {
				from := g.places[at]
				now.add(g.tally[from])
				if g.sum != nil {
					sum += g.sum[from]
				}
				i++
			}
			if now.n != 0 {
				to := fuller.place(at)
				if fuller.tally[to] = now; g.sum != nil {
					fuller.sum[to] = sum
				}
			}
		}
	}
	*g = *fuller
}

// entry is a figure of a grid: where it is in the arrays.
type entry struct {
	period, cell int32
	at           uint32
}

// entries lists the figures that there are, by period or by cell, the cells by
// their codes; whole: of a total, which has every period.
func (g *grid) entries(byCell, whole bool) (list []entry, codes [][]string) {
	pl := g.plan
	per, width, stock := pl.cellsOf(), pl.width(), pl.part.Measure == Stock
	codes = make([][]string, per)
	var cells []int32 // that there are
	there := func(cell int32) {
		if codes[cell] == nil {
			codes[cell], cells = pl.codes(int(cell)), append(cells, cell)
		}
	}
	add := func(period, cell int32, at uint32) {
		if int(period) < len(pl.spans) && (whole || g.tally[at].n != 0) {
			list = append(list, entry{period, cell, at})
		}
	}
	if g.places != nil {
		for at, key := range g.keys {
			period, cell := int32(key/uint64(per)), int32(key%uint64(per))
			if stock {
				period, cell = int32(key%uint64(width)), int32(key/uint64(width))
			}
			there(cell)
			add(period, cell, uint32(at))
		}
	} else {
		for cell := range int32(per) {
			there(cell)
		}
	}
	slices.SortFunc(cells, func(a, b int32) int { return slices.Compare(codes[a], codes[b]) })
	if g.places != nil {
		place := make([]int32, per)
		for i, cell := range cells {
			place[cell] = int32(i)
		}
		slices.SortFunc(list, func(a, b entry) int {
			first, second := cmp.Compare(a.period, b.period), cmp.Compare(place[a.cell], place[b.cell])
			if byCell {
				first, second = second, first
			}
			return cmp.Or(first, second)
		})
		return list, codes
	}
	one := func(period int, cell int32) {
		at := period*per + int(cell)
		if stock {
			at = int(cell)*width + period
		}
		add(int32(period), cell, uint32(at))
	}
	if byCell {
		for _, cell := range cells {
			for period := range pl.spans {
				one(period, cell)
			}
		}
		return list, codes
	}
	for period := range pl.spans {
		for _, cell := range cells {
			one(period, cell)
		}
	}
	return list, codes
}

// cells lists the cells of a grid by period, then by codes; whole: a total, which
// has every period.
func (g *grid) cells(whole bool) []Cell {
	pl := g.plan
	if whole && pl.cellsOf() == 0 {
		return g.empty()
	}
	list, codes := g.entries(false, whole && pl.part.Measure != MedianDays)
	g.countFirms()
	cells := make([]Cell, len(list))
	for i, e := range list {
		t := g.tally[e.at]
		cells[i] = Cell{Period: pl.spans[e.period].label, Codes: codes[e.cell], Value: g.value(e.at), N: int(t.n), People: int(t.people)}
		if pl.part.Measure == MedianDays {
			cells[i].P90 = g.middle[e.at][1]
		}
	}
	return cells
}

// countFirms counts the different employers of each cell.
func (g *grid) countFirms() {
	g.firmsAt = map[uint32]int64{}
	slices.Sort(g.firms)
	for _, f := range slices.Compact(g.firms) {
		g.firmsAt[uint32(f>>32)]++
	}
}

// value is the figure at a place.
func (g *grid) value(at uint32) float64 {
	switch p := g.plan.part; {
	case p.Measure == DistinctEmployers:
		return float64(g.firmsAt[at])
	case p.Measure == MedianDays:
		return g.middle[at][0]
	case g.plan.sums():
		return float64(g.sum[at])
	case p.Measure == DistinctPeople || p.Measure == Stock && p.Of == OfPeople:
		return float64(g.tally[at].people)
	}
	return float64(g.tally[at].n)
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
