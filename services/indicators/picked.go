package indicators

import (
	"math"
	"runtime"
	"slices"
	"strings"
)

// picked is what the selectors of a count take from a segment, whatever the cut,
// the periods and the filter then are. So it is found once for a segment, which
// never changes.
type picked struct {
	// rows that count, those that are superseded too, in the segment's order; of a
	// measure of numbers those that have the number.
	rows []uint32
	// Of a median also what is counted of each row, as it reads more of them than any
	// other measure, and how the numbers are spread.
	facts  []brief
	spread *spread
	// Of a stock instead of rows, in the order of their rows.
	sojourns []sojourn
}

// brief is what is counted of a row.
type brief struct {
	other, amount, group uint32
	own, day             uint16
}

func (s *segment) brief(row uint32) brief {
	return brief{s.other[row], s.amount[row], s.group[row], s.own[row], s.day[row]}
}

// sojourn is a time in which a subject is in a stock, as one row describes it: from the
// end of a day until before the end of another.
type sojourn struct {
	row      uint32 // of which the highest bit is several
	from, to uint16
}

const (
	several = 1 << 31        // the person of the sojourn has sojourns of other subjects too
	noEnd   = math.MaxUint16 // the day on which a sojourn ends that has no end yet
)

func rowAt(row uint32) int { return int(row) }

func (s sojourn) at() int { return int(s.row &^ several) }

// pickedAt is what was picked as of a moment in the past.
type pickedAt struct {
	asOf int64
	*picked
}

// key names what a part picks: parts that select alike pick alike.
func (p Part) key() string {
	of := p.Of
	if p.Measure == Stock {
		of = string(Stock)
	}
	return strings.Join([]string{of, p.Facts.String(), p.Enters.String(), p.Changes.String(), p.Leaves.String()}, "\x00")
}

// pick gives what the plan's part takes from the segment. It is kept for the parts
// of the definitions; of a stock, what was so at a moment in the past until another
// moment is asked for.
func (v *view) pick(s *segment, pl *counting) *picked {
	key := pl.part.key()
	past := pl.part.Measure == Stock && !pl.moment.everything(s)
	s.mu.Lock()
	found := s.picked[key]
	if past {
		found = nil
		if at := s.past[key]; at.asOf == pl.moment.asOf {
			found = at.picked
		}
	}
	s.mu.Unlock()
	if found != nil {
		return found
	}
	pieces := s.pieces()
	found = &picked{}
	of := make([]picked, len(pieces))
	allAtOnce(len(pieces), func(i int) {
		if pl.part.Measure == Stock {
			of[i].sojourns = pl.sojourns(pieces[i])
		} else {
			of[i] = v.rows(pl, pieces[i])
		}
	})
	var rows [][]uint32
	var facts [][]brief
	var sojourns [][]sojourn
	for _, o := range of {
		rows, facts, sojourns = append(rows, o.rows), append(facts, o.facts), append(sojourns, o.sojourns)
		if o.spread != nil {
			found.spread = found.spread.add(o.spread)
		}
	}
	found.rows, found.facts, found.sojourns = slices.Concat(rows...), slices.Concat(facts...), slices.Concat(sojourns...)
	if !v.declared[key] {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.picked == nil {
		s.picked, s.past = map[string]*picked{}, map[string]pickedAt{}
	}
	if past {
		s.past[key] = pickedAt{pl.moment.asOf, found}
	} else {
		s.picked[key] = found
	}
	return found
}

// prepare picks for every declared part, so that no reader waits for it. Of a small
// segment it is not worth it.
func (v *view) prepare(s *segment, parts []Part) {
	if s.rows() < 1<<16 {
		return
	}
	next := make(chan Part, len(parts))
	for _, p := range parts {
		next <- p
	}
	close(next)
	allAtOnce(runtime.GOMAXPROCS(0), func(int) {
		for p := range next {
			if pl, err := v.plan(p, Query{}, nil); err == nil {
				v.pick(s, pl)
			}
		}
	})
}

// pieces are the rows of the segment, shared out for the processors; each group is
// in one of them.
func (s *segment) pieces() (list []part) {
	workers, from := min(runtime.GOMAXPROCS(0), s.rows()>>14+1), 0
	for w := range workers {
		to := max(from, s.rows()*(w+1)/workers)
		for to > 0 && to < s.rows() && s.group[to] == s.group[to-1] {
			to++
		}
		list = append(list, part{s, from, to})
		from = to
	}
	return list
}

// rows of a part that have a role, and the number that is asked for.
func (v *view) rows(pl *counting, p part) (out picked) {
	of := pl.part.Of
	if pl.part.Measure == MedianDays {
		out.spread = &spread{}
	}
	for i := p.from; i < p.to; i++ {
		if pl.role(p.other[i], p.own[i]) == 0 {
			continue
		}
		if of != "" {
			n, ok := v.number(of, p.amount[i])
			if !ok {
				continue
			}
			if out.spread != nil && n >= 0 && n <= math.MaxUint32 {
				out.spread[class(uint32(n))]++
			}
		}
		out.rows = append(out.rows, uint32(i))
		if out.spread != nil {
			out.facts = append(out.facts, p.brief(uint32(i)))
		}
	}
	return out
}

// sojourns of all subjects of a part, which has every row of its groups.
func (pl *counting) sojourns(p part) (list []sojourn) {
	list = make([]sojourn, 0, p.to-p.from)
	group, subjects := 0, 0 // of the group: where its sojourns begin, and who has sojourns
	for i := p.from; i < p.to; {
		before, end := len(list), p.endOfSubject(i)
		if list = pl.sojournsOf(list, p, i, end); len(list) > before {
			subjects++
		}
		if end == p.to || p.group[end] != p.group[i] || (p.other[end]^p.other[i])&aboutNobody != 0 {
			if subjects > 1 && p.other[i]&aboutNobody == 0 {
				for n := range list[group:] {
					list[group+n].row |= several
				}
			}
			group, subjects = len(list), 0
		}
		i = end
	}
	return list
}

// sojournsOf appends the sojourns of one subject. It is there as the latest fact in its
// own order says that had happened by then; so a fact that came late, or was
// corrected to another date, takes its place in the history.
func (pl *counting) sojournsOf(list []sojourn, p part, from, end int) []sojourn {
	before := len(list)
	now, there, gone, last := sojourn{}, false, false, uint16(0)
	for i := from; i < end; i++ {
		role := pl.role(p.other[i], p.own[i])
		if role == 0 || !pl.moment.knows(p.segment, i) {
			continue
		}
		day := p.day[i]
		if day < last { // it did not occur in its order
			return pl.retold(list[:before], p, from, end)
		}
		if gone && role == changes {
			continue
		}
		if there && now.from < day {
			now.to = day
			list = append(list, now)
		}
		last, gone = day, role == leaves
		now, there = sojourn{row: uint32(i), from: day}, !gone
	}
	if there {
		now.to = noEnd
		list = append(list, now)
	}
	return list
}

// happening is a row of a subject's history.
type happening struct {
	row  uint32
	day  uint16
	role uint8
}

// retold is sojournsOf for events in any order of days.
func (pl *counting) retold(list []sojourn, p part, from, end int) []sojourn {
	var events []happening
	for i := from; i < end; i++ {
		if role := pl.role(p.other[i], p.own[i]); role != 0 && pl.moment.knows(p.segment, i) {
			events = append(events, happening{uint32(i), p.day[i], role})
		}
	}
	byDay := make([]int, len(events))
	for i := range byDay {
		byDay[i] = i
	}
	slices.SortStableFunc(byDay, func(a, b int) int { return int(events[a].day) - int(events[b].day) })
	now := -1                          // the event as which it is there
	state, entered, left := -1, -1, -1 // the latest of each, of what had happened by then
	since := uint16(0)
	become := func(event int, day uint16) {
		if now >= 0 && since < day {
			list = append(list, sojourn{events[now].row, since, day})
		}
		now, since = event, day
	}
	for n, i := range byDay {
		switch events[i].role {
		case leaves:
			left = max(left, i)
		case enters:
			entered, state = max(entered, i), max(state, i)
		default:
			state = max(state, i)
		}
		day := events[i].day
		if n+1 < len(byDay) && events[byDay[n+1]].day == day {
			continue
		}
		there := state
		if left >= 0 && left > entered {
			there = -1 // it left, and has not come back
		}
		if there != now {
			become(there, day)
		}
	}
	become(-1, noEnd)
	return list
}

// within says where in a list those are that are of the rows of a part, beginning to
// look at a place: row says of which row each is.
func within[T any](list []T, from int, p part, row func(T) int) (begin, end int) {
	begin = from + firstFrom(list[from:], p.from, row)
	return begin, begin + firstFrom(list[begin:], p.to, row)
}

// firstFrom is the place of the first that is of the row or of one after it: near
// the beginning, if the row is near (Bentley and Yao's unbounded search,
// https://doi.org/10.1016/0020-0190(76)90071-5).
func firstFrom[T any](list []T, from int, row func(T) int) int {
	step := 1
	for step < len(list) && row(list[step-1]) < from {
		step *= 2
	}
	low, high := step/2, min(step, len(list))
	for low < high {
		if middle := (low + high) / 2; row(list[middle]) < from {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}
