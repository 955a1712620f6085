package indicators

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"sync"
)

// Bounds of what is counted in arrays; what has more cells, most of them empty, is
// counted in a map.
const mostDense = 1 << 21

// grid is the figures of one count by period and cell.
type grid struct {
	plan        *counting
	places      map[uint64]int32 // where a cell is, when they are too many for arrays
	keys        []uint64         // the other way round
	tally       []tally
	sum         []int64          // of a measure that has one
	firmsAt     map[uint32]int64 // how many different ones: countFirms
	firms       []uint64         // cell << 32 | employer, with repetitions
	values      []*values
	least, most uint32      // of values
	wide        []wideValue // the values that are not small
	middle      [][2]float64
}

// tally is what there is in a cell. There are fewer rows than an int32 can count.
type tally struct {
	n, people int32
	stamp     uint32 // the last person that was counted, + 1
}

type (
	value  struct{ cell, seconds uint32 }
	values struct {
		n    int
		list [1 << 13]value
	}
	wideValue struct {
		cell  uint32
		value int64
	}
)

func newGrid(pl *counting) *grid {
	g := &grid{plan: pl, least: math.MaxUint32}
	if size := pl.width() * pl.cellsOf(); size <= mostDense {
		g.tally = make([]tally, size)
		if pl.sums() {
			g.sum = make([]int64, size)
		}
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
		g.tally = append(g.tally, tally{})
		if g.plan.sums() {
			g.sum = append(g.sum, 0)
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
			x.cell = g.place(more.keys[x.cell])
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

// batch is rows of a part that do something and were known at the moment, a few at
// a time: what is done to each of them is done in short loops, one after the other,
// nearly all without a branch.
type batch struct {
	part
	plan   *counting
	n      int
	rows   [batchRows]uint32
	deeds  [batchRows]deed
	at     [batchRows]uint32 // the cells of a flow
	number [batchRows]int64  // of a measure of numbers
}

const batchRows = 1024

// next takes the next rows of the part, from its beginning on; false: there are no
// more.
func (b *batch) next() bool {
	if b.from == b.to {
		return false
	}
	pl, from := b.plan, b.from
	b.from = min(from+batchRows, b.to)
	other, own := b.other[from:b.from], b.own[from:b.from]
	if pl.classes == 1 {
		for i, o := range other {
			b.deeds[i] = pl.does[o&codesOf]
		}
	} else {
		for i, o := range other {
			b.deeds[i] = pl.does[int(o&codesOf)*pl.classes+int(pl.class[own[i]])]
		}
	}
	// What is kept is written where it was read, or before.
	n := 0
	if pl.moment.everything(b.segment) {
		for i, o := range other {
			d := b.deeds[i]
			b.rows[n], b.deeds[n] = uint32(from+i), d
			n += int((d | -d) >> 31 &^ deed(o>>31)) // superseded is the highest bit
		}
	} else {
		for i := range other {
			if b.deeds[i] != 0 && pl.moment.knows(b.segment, from+i) {
				b.rows[n], b.deeds[n] = uint32(from+i), b.deeds[i]
				n++
			}
		}
	}
	b.n = n
	return true
}

// numbers keeps the rows that have the number that is asked for.
func (b *batch) numbers(v *view, of string) {
	n := 0
	for i, row := range b.rows[:b.n] {
		number, ok := int64(b.amount[row]), true
		if of != StaySeconds || number >= amountPlace {
			number, ok = v.number(of, b.amount[row])
		}
		if ok {
			b.rows[n], b.deeds[n], b.number[n] = row, b.deeds[i], number
			n++
		}
	}
	b.n = n
}

// flow counts what happened in each period.
func (g *grid) flow(v *view, parts []part) {
	pl := g.plan
	ownCell, ownCells, perPeriod := pl.ownCell, int64(len(pl.ownTexts)), int64(pl.cellsOf())
	b := &batch{plan: pl}
	for _, b.part = range parts {
		for b.next() {
			if pl.part.Of != "" {
				b.numbers(v, pl.part.Of)
			}
			n := 0
			for i, row := range b.rows[:b.n] {
				cell, mine, day := int64(b.deeds[i].cell()), int64(ownCell[b.own[row]]), int64(b.day[row])
				if cell|mine|(day-pl.first)|(pl.last-day) < 0 { // one of them is
					continue
				}
				key := int64(pl.periodOf[day])*perPeriod + cell*ownCells + mine
				b.rows[n], b.at[n], b.number[n] = row, g.place(uint64(key)), b.number[i]
				n++
			}
			b.n = n
			for i, row := range b.rows[:n] {
				// The rows of a person lie together.
				t, who := &g.tally[b.at[i]], b.group[row]+1
				other := t.stamp ^ who
				t.n++
				t.people += int32((other | -other) >> 31 &^ (b.other[row] >> 30)) // aboutNobody is the bit
				t.stamp = who
			}
			g.measure(v, b)
		}
	}
}

// measure adds up what there is beside facts and people.
func (g *grid) measure(v *view, b *batch) {
	switch g.plan.part.Measure {
	case Sum:
		for i, at := range b.at[:b.n] {
			g.sum[at] += b.number[i]
		}
	case MedianDays:
		if last := len(g.values) - 1; last < 0 || g.values[last].n+b.n > len(g.values[last].list) {
			chunk := spareValues.Get().(*values)
			chunk.n = 0
			g.values = append(g.values, chunk)
		}
		chunk, least, most := g.values[len(g.values)-1], g.least, g.most
		for i, at := range b.at[:b.n] {
			if n := b.number[i]; n >= 0 && n <= math.MaxUint32 {
				chunk.list[chunk.n] = value{at, uint32(n)}
				chunk.n++
				least, most = min(least, uint32(n)), max(most, uint32(n))
			} else {
				g.wide = append(g.wide, wideValue{at, n})
			}
		}
		g.least, g.most = least, most
	case DistinctEmployers:
		for i, at := range b.at[:b.n] {
			if e := v.employer(b.amount[b.rows[i]]); e != 0 {
				g.firms = append(g.firms, uint64(at)<<32|uint64(e))
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
	least, most, all := uint32(math.MaxUint32), uint32(0), 0
	for _, from := range grids {
		least, most = min(least, from.least), max(most, from.most)
		for _, chunk := range from.values {
			all += chunk.n
		}
	}
	bits, first, buckets := bucketing(len(g.tally), all, least, most)
	// By share of the facts, cell and bucket: how many values there are; then the
	// place of the next of them among those that are kept.
	places := make([][]int32, len(grids))
	wanted := make([]uint8, len(g.tally)*buckets)
	allAtOnce(len(grids), func(w int) {
		place := make([]int32, len(g.tally)*buckets)
		for _, chunk := range grids[w].values {
			for _, x := range chunk.list[:chunk.n] {
				place[int(x.cell)*buckets+bits.bucket(x.seconds)-first]++
			}
		}
		places[w] = place
	})
	picks, kept := make([][3]ranked, len(g.tally)), int32(0)
	for cell := range picks {
		n := 0
		for _, place := range places {
			for _, here := range place[cell*buckets : (cell+1)*buckets] {
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
		for at := cell * buckets; at < (cell+1)*buckets; at++ {
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
				x.cell = uint32(int(x.cell)*buckets + bits.bucket(x.seconds) - first)
				chunk.list[n] = x
				n += int(wanted[x.cell])
			}
			for _, x := range chunk.list[:n] {
				seconds[places[w][x.cell]] = x.seconds
				places[w][x.cell]++
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

// leading is how many bits of a number, as a float, are left out to name its
// bucket: those that remain are its exponent and the first ones of its mantissa.
type leading int

func (l leading) bucket(n uint32) int {
	const one = 127 << 23 // the bits of 1
	return int(math.Float32bits(float32(uint64(n)+1))>>l) - one>>l
}

// bucketing gives each cell as many buckets, for the values from least to most, as
// there can be counters in a processor's cache, and not more counters than values
// unless there are more cells; first is the bucket of least.
func bucketing(cells, values int, least, most uint32) (l leading, first, buckets int) {
	counters := min(values, 1<<18)
	for l = 16; ; l++ {
		first = l.bucket(least)
		if buckets = l.bucket(most) - first + 1; l == 31 || cells*buckets <= counters {
			return l, first, max(buckets, 1)
		}
	}
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

// sojourn is a time in which a subject is in a cell at the end of each period: from,
// to excluded.
type sojourn struct {
	cell, from, to int32
	amount         uint32
}

// census is the counting of a stock: the stays of one group, and the subject of it
// that is under way.
type census struct {
	*grid
	view     *view
	sums     bool
	stays    []sojourn // of the group
	subjects int       // that have stays
	order    []uint64

	mark int     // where the stays of the subject begin
	now  sojourn // cell -1: it is not there
	last uint16  // the day of its last event
	gone bool
	told bool // all its stays are here, whatever events follow
}

// stock counts what is there at the end of each period, by noting where it
// changes: see accumulate. A subject is there as the latest fact in its own order
// says that had happened by then; so a fact that came late, or was corrected to
// another date, takes its place in the history.
func (g *grid) stock(v *view, parts []part) {
	pl, ownCells := g.plan, int32(len(g.plan.ownTexts))
	c := &census{grid: g, view: v, sums: pl.sums(), now: sojourn{cell: -1}}
	b := &batch{plan: pl}
	for _, p := range parts {
		first, end := p.from, p.from // of the subject under way
		for b.part = p; b.next(); {
			for i, row := range b.rows[:b.n] {
				at := int(row)
				if at >= end {
					c.endSubject(p, first, at)
					first, end = at, p.endOfSubject(at)
				}
				day, does := p.day[at], b.deeds[i]
				if day < c.last && !c.told { // it did not occur in its order
					c.tell(p, first, end)
				}
				if c.told || c.gone && does.role() == changes {
					continue
				}
				period := pl.periodOf[day]
				c.leave(period)
				c.last, c.gone = day, does.role() == leaves
				if a, b := does.cell(), pl.ownCell[p.own[at]]; !c.gone && a|b >= 0 {
					c.now = sojourn{cell: a*ownCells + b, from: period}
					if c.sums {
						c.now.amount = p.amount[at]
					}
				}
			}
		}
		if first < end {
			c.endSubject(p, first, p.to)
		}
	}
}

// leave ends the stay that is now.
func (c *census) leave(at int32) {
	if now := c.now; now.cell >= 0 && now.from < at {
		now.to = at
		if n := len(c.stays); n > c.mark && c.stays[n-1].to == now.from && c.stays[n-1].cell == now.cell && c.stays[n-1].amount == now.amount {
			c.stays[n-1].to = at // it stayed where it was
		} else {
			c.stays = append(c.stays, now)
		}
	}
	c.now.cell = -1
}

// tell finds the stays of a subject from all its events.
func (c *census) tell(p part, first, end int) {
	c.stays, c.now.cell, c.told = c.stays[:c.mark], -1, true
	c.plan.present(c.plan.history(nil, p, first, end), func(e happening, from, to int32) {
		if e.cell >= 0 && from < to {
			c.stays = append(c.stays, sojourn{e.cell, from, to, e.amount})
		}
	})
}

// endSubject ends the one that began with the row first, and its group if the row
// next is of another one.
func (c *census) endSubject(p part, first, next int) {
	c.leave(int32(len(c.plan.spans)))
	if len(c.stays) > c.mark {
		c.subjects++
	}
	if next == p.to || p.group[next] != p.group[first] || (p.other[next]^p.other[first])&aboutNobody != 0 {
		c.settle(p.other[first]&aboutNobody != 0)
	}
	c.mark, c.last, c.gone, c.told = len(c.stays), 0, false, false
}

// settle counts the stays of a group.
func (c *census) settle(nobody bool) {
	for _, s := range c.stays {
		begin, end := c.ends(s)
		c.tally[begin].n++
		c.tally[end].n--
		if c.sums {
			if n, ok := c.view.number(c.plan.part.Of, s.amount); ok {
				c.sum[begin] += n
				c.sum[end] -= n
			}
		}
		if c.subjects == 1 && !nobody {
			c.tally[begin].people++
			c.tally[end].people--
		}
	}
	if c.subjects > 1 && !nobody { // who is there twice is one person
		const bits = 17 // of a period
		c.order = c.order[:0]
		for _, s := range c.stays {
			c.order = append(c.order, uint64(s.cell)<<(2*bits)|uint64(s.from)<<bits|uint64(s.to))
		}
		slices.Sort(c.order)
		for i := 0; i < len(c.order); {
			s := sojourn{cell: int32(c.order[i] >> (2 * bits)), from: int32(c.order[i] >> bits & (1<<bits - 1))}
			for ; i < len(c.order) && c.order[i]>>bits <= uint64(s.cell)<<bits|uint64(max(s.from, s.to)); i++ {
				s.to = max(s.to, int32(c.order[i]&(1<<bits-1)))
			}
			begin, end := c.ends(s)
			c.tally[begin].people++
			c.tally[end].people--
		}
	}
	c.stays, c.subjects = c.stays[:0], 0
}

// ends are the places at which a stay begins and ends.
func (c *census) ends(s sojourn) (begin, end uint32) {
	at := uint64(s.cell) * uint64(c.plan.width())
	return c.place(at + uint64(s.from)), c.place(at + uint64(s.to))
}

// endOfSubject is the end of the rows of the subject that row i begins.
func (p part) endOfSubject(i int) int {
	subject, group, nobody := p.subject[i], p.group[i], p.other[i]&aboutNobody
	for i++; i < p.to && p.subject[i] == subject && p.group[i] == group && p.other[i]&aboutNobody == nobody; i++ {
	}
	return i
}

// history appends the events of a subject that have a role, in its own order.
func (pl *counting) history(to []happening, p part, from, end int) []happening {
	for i := from; i < end; i++ {
		does := pl.does[int(p.other[i]&codesOf)*pl.classes+int(pl.class[p.own[i]])]
		if does == 0 || !pl.moment.knows(p.segment, i) {
			continue
		}
		cell := int32(-1)
		if a, b := does.cell(), pl.ownCell[p.own[i]]; a|b >= 0 {
			cell = a*int32(len(pl.ownTexts)) + b
		}
		to = append(to, happening{p.day[i], does.role(), cell, p.amount[i], i})
	}
	return to
}

// present tells in which periods a subject is there at the end, and as which
// event: from, to excluded.
func (pl *counting) present(list []happening, is func(e happening, from, to int32)) {
	end := int32(len(pl.spans))
	now, since := -1, int32(0)
	become := func(i int, at int32) {
		if now >= 0 && since < at {
			is(list[now], since, at)
		}
		now, since = i, at
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
