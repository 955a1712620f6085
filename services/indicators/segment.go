package indicators

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"sync"
	"time"
)

// row is a fact in numbers, before it is laid out in a segment.
type row struct {
	group    uint32 // the person, or the subject that is about nobody
	subject  uint32
	other    uint32 // combination of codes, aboutNobody, superseded
	amount   uint32 // seconds of a stay, or amountPlace and a place in amounts, or noAmount
	seq      uint32
	arrival  uint32
	instant  uint32 // milliseconds since the local day began
	own      uint16 // combination of the person's codes
	day      uint16 // local day, from 1970-01-01
	recorded int64  // Unix milliseconds
}

// What a row's other says beside the combination of codes.
const (
	aboutNobody = 1 << 30
	superseded  = 1 << 31
	codesOf     = aboutNobody - 1
)

// What a row's amount may be beside seconds.
const (
	amountPlace = 1 << 31
	noAmount    = math.MaxUint32
)

// segment is rows in columns, those of a group together, and in it those of a
// subject together, in the subject's own order. It never changes.
type segment struct {
	group, subject, other, amount []uint32
	seq, arrival, instant         []uint32
	own, day                      []uint16
	recorded                      []int64

	// Where the rows of a group are. Of a large segment starts has a place for
	// each group; of a small one list has its groups, and starts their places.
	starts []uint32
	list   []uint32

	until     map[uint32]int64 // by arrival: when a superseded row was
	lastKnown int64            // the latest recorded, or until, of all rows

	mu     sync.Mutex
	picked map[string]*picked
	past   map[string]pickedAt
}

func (s *segment) rows() int { return len(s.group) }

// find gives the rows of a group; from == to: none.
func (s *segment) find(group uint32) (from, to int) {
	i := int(group)
	if s.list != nil {
		var ok bool
		if i, ok = slices.BinarySearch(s.list, group); !ok {
			return 0, 0
		}
	}
	if i+1 >= len(s.starts) {
		return 0, 0
	}
	return int(s.starts[i]), int(s.starts[i+1])
}

func (s *segment) appendRows(to []row, from, end int) []row {
	for i := from; i < end; i++ {
		to = append(to, row{
			s.group[i], s.subject[i], s.other[i], s.amount[i], s.seq[i], s.arrival[i], s.instant[i], s.own[i], s.day[i], s.recorded[i],
		})
	}
	return to
}

func newSegment(rows int) *segment {
	u := func() []uint32 { return make([]uint32, rows) }
	return &segment{
		group: u(), subject: u(), other: u(), amount: u(), seq: u(), arrival: u(), instant: u(),
		own: make([]uint16, rows), day: make([]uint16, rows), recorded: make([]int64, rows),
		lastKnown: math.MinInt64,
	}
}

func (s *segment) put(i int, r *row) {
	s.group[i], s.subject[i], s.other[i], s.amount[i] = r.group, r.subject, r.other, r.amount
	s.seq[i], s.arrival[i], s.instant[i] = r.seq, r.arrival, r.instant
	s.own[i], s.day[i], s.recorded[i] = r.own, r.day, r.recorded
	s.lastKnown = max(s.lastKnown, r.recorded)
}

// layOut sorts rows into a segment. fresh are claims on them that were not applied
// yet, until those that were.
func layOut(chunks [][]row, groups int, ids names, fresh map[uint32][]claim, until map[uint32]int64) *segment {
	var list []*row
	for _, chunk := range chunks {
		for i := range chunk {
			list = append(list, &chunk[i])
		}
	}
	s := newSegment(len(list))
	if len(fresh) > 0 {
		for _, r := range list {
			for _, by := range fresh[r.arrival] {
				if by.subject != r.subject {
					continue
				}
				if at, already := until[r.arrival]; !already || by.recorded < at {
					until[r.arrival] = by.recorded
				}
				r.other |= superseded
			}
		}
	}
	// The rows of each group together: by counting where there are many.
	before := func(a, b *row) int {
		return cmp.Or(
			cmp.Compare(a.group, b.group), cmp.Compare(a.other&aboutNobody, b.other&aboutNobody), cmp.Compare(a.subject, b.subject),
			cmp.Compare(a.seq, b.seq), cmp.Compare(a.day, b.day), cmp.Compare(a.instant, b.instant), ids.compare(a.arrival, b.arrival),
		)
	}
	if s.dense(groups) {
		s.starts = make([]uint32, groups+1)
		for _, r := range list {
			s.starts[r.group+1]++
		}
		for g := range groups {
			s.starts[g+1] += s.starts[g]
		}
		next := slices.Clone(s.starts)
		sorted := make([]*row, len(list))
		for _, r := range list {
			sorted[next[r.group]] = r
			next[r.group]++
		}
		inParallel(groups, func(from, to int) {
			for g := from; g < to; g++ {
				slices.SortFunc(sorted[s.starts[g]:s.starts[g+1]], before)
			}
		})
		list = sorted
	} else {
		slices.SortFunc(list, before)
	}
	for i, r := range list {
		s.put(i, r)
		if r.other&superseded != 0 {
			s.supersede(r.arrival, until[r.arrival])
		}
	}
	if s.starts == nil {
		s.index()
	}
	return s
}

// dense says whether a place for each of so many groups is little beside the rows.
func (s *segment) dense(groups int) bool { return 4*s.rows() >= groups }

func (s *segment) supersede(arrival uint32, until int64) {
	if s.until == nil {
		s.until = map[uint32]int64{}
	}
	s.until[arrival] = until
	s.lastKnown = max(s.lastKnown, until)
}

// index notes where the groups are of rows that are laid out.
func (s *segment) index() {
	s.list, s.starts = []uint32{}, nil
	for i, g := range s.group {
		if i == 0 || g != s.group[i-1] {
			s.list = append(s.list, g)
			s.starts = append(s.starts, uint32(i))
		}
	}
	s.starts = append(s.starts, uint32(s.rows()))
}

// indexDense is index with a place for every group up to the last.
func (s *segment) indexDense() {
	s.list, s.starts = nil, make([]uint32, s.group[s.rows()-1]+2)
	for _, g := range s.group {
		s.starts[g+1]++
	}
	for g := range len(s.starts) - 1 {
		s.starts[g+1] += s.starts[g]
	}
}

// part is consecutive rows of a segment.
type part struct {
	*segment
	from, to int
}

// without lists the rows of s that are of none of the groups of others.
func (s *segment) without(others ...*segment) (parts []part) {
	type hole struct{ from, to int }
	var holes []hole
	for _, o := range others {
		for at := 0; at < o.rows(); {
			g := o.group[at]
			_, at = o.find(g)
			if from, to := s.find(g); from < to {
				holes = append(holes, hole{from, to})
			}
		}
	}
	slices.SortFunc(holes, func(a, b hole) int { return cmp.Compare(a.from, b.from) })
	at := 0
	for _, h := range holes {
		if at < h.from {
			parts = append(parts, part{s, at, h.from})
		}
		at = max(at, h.to)
	}
	if at < s.rows() {
		parts = append(parts, part{s, at, s.rows()})
	}
	return parts
}

// merge puts two segments into one, in which the groups of the newer one replace
// those of the older.
func merge(older, newer *segment) *segment {
	if older.rows() == 0 {
		return newer
	}
	var parts []part
	kept := older.without(newer)
	rows := newer.rows()
	for _, p := range kept {
		rows += p.to - p.from
	}
	// Both are sorted by group: take runs of the one and of the other.
	at := 0
	for _, p := range kept {
		for p.from < p.to {
			// Rows of newer before the next group of older.
			end := at + sort.Search(newer.rows()-at, func(i int) bool { return newer.group[at+i] > older.group[p.from] })
			if end > at {
				parts = append(parts, part{newer, at, end})
				at = end
			}
			stop := p.to
			if at < newer.rows() {
				stop = p.from + sort.Search(p.to-p.from, func(i int) bool { return older.group[p.from+i] > newer.group[at] })
			}
			parts = append(parts, part{older, p.from, stop})
			p.from = stop
		}
	}
	if at < newer.rows() {
		parts = append(parts, part{newer, at, newer.rows()})
	}
	s := newSegment(rows)
	to := 0
	for _, p := range parts {
		copy(s.group[to:], p.group[p.from:p.to])
		copy(s.subject[to:], p.subject[p.from:p.to])
		copy(s.other[to:], p.other[p.from:p.to])
		copy(s.amount[to:], p.amount[p.from:p.to])
		copy(s.seq[to:], p.seq[p.from:p.to])
		copy(s.arrival[to:], p.arrival[p.from:p.to])
		copy(s.instant[to:], p.instant[p.from:p.to])
		copy(s.own[to:], p.own[p.from:p.to])
		copy(s.day[to:], p.day[p.from:p.to])
		copy(s.recorded[to:], p.recorded[p.from:p.to])
		to += p.to - p.from
	}
	s.lastKnown = max(older.lastKnown, newer.lastKnown)
	for _, from := range []*segment{older, newer} {
		for arrival, until := range from.until {
			s.supersede(arrival, until) // where both have it, as the newer one does
		}
	}
	if s.dense(int(s.group[rows-1]) + 1) {
		s.indexDense()
	} else {
		s.index()
	}
	return s
}

// dayZero is the first local day that a row can have.
var dayZero = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)

// dayNumber is the local day of an instant, and the milliseconds since it began.
// Instants outside of the days that a row can have, which NewFact lets not in, are
// those of the first or the last.
func dayNumber(ms int64) (day uint16, instant uint32) {
	t := time.UnixMilli(ms).In(tunis)
	_, offset := t.Zone()
	local := ms + int64(offset)*1000
	const length = 86_400_000
	switch n := local / length; {
	case local < 0:
		return 0, 0
	case n > math.MaxUint16:
		return math.MaxUint16, 0
	default:
		return uint16(n), uint32(ms - dayStarts()[n])
	}
}

// dayText is a day as YYYY-MM-DD.
func dayText(day uint16) string { return dayZero.AddDate(0, 0, int(day)).Format(time.DateOnly) }

// occurred is when the fact of a row happened, in Unix milliseconds.
func (s *segment) occurred(i int) int64 { return dayStarts()[s.day[i]] + int64(s.instant[i]) }

// dayStarts is the first instant of every day.
var dayStarts = sync.OnceValue(func() []int64 {
	starts := make([]int64, 1<<16)
	for day := range starts {
		starts[day] = time.Date(1970, 1, 1+day, 0, 0, 0, 0, tunis).UnixMilli()
	}
	return starts
})

// endOfSubject is the end of the rows of the subject that row i begins.
func (p part) endOfSubject(i int) int {
	subject, group, nobody := p.subject[i], p.group[i], p.other[i]&aboutNobody
	for i++; i < p.to && p.subject[i] == subject && p.group[i] == group && p.other[i]&aboutNobody == nobody; i++ {
	}
	return i
}
