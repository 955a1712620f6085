package matching

import (
	"cmp"
	"maps"
	"math"
	mathbits "math/bits"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"
)

// Detail says of some of those who are out for a condition what exactly they
// miss. The reasons are those of condition.go without what is a person's own:
// "French B1, has A2", but only "comes too late" of the dates.
type Detail struct {
	Condition string
	Why       Reason
	Count     int
}

type detailKey struct {
	at  int // place of the condition
	why Reason
}

// details puts counts in order: as the conditions come, the most first.
func details(counts map[detailKey]int) []Detail {
	var out []Detail
	for _, k := range slices.SortedFunc(maps.Keys(counts), func(a, b detailKey) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(counts[b], counts[a]), cmp.Compare(a.why.Key, b.why.Key),
			cmp.Compare(a.why.A, b.why.A), cmp.Compare(a.why.B, b.why.B), cmp.Compare(a.why.C, b.why.C))
	}) {
		out = append(out, Detail{Conditions[k.at].Name, k.why, counts[k]})
	}
	return out
}

// placeOf is the place of a condition among all.
func placeOf(name string) int {
	return slices.IndexFunc(Conditions, func(c Condition) bool { return c.Name == name })
}

var (
	atOccupation = placeOf(CondOccupation)
	atScheme     = placeOf(CondScheme)
	atPathway    = placeOf(CondPathway)
	atFree       = placeOf(CondFree)
	atConsent    = placeOf(CondConsent)
	atDisclosure = placeOf(CondDisclosure)
	atRefused    = placeOf(CondRefused)
	atLanguage   = placeOf(CondLanguage)
	atLicence    = placeOf(CondLicence)
	atDates      = placeOf(CondDates)
)

// question is what is asked about an offer, made ready to be asked of many
// people.
type question struct {
	rules *Rules
	d     *Demand
	ask   Ask
	whole int  // the condition that the offer itself fails, -1 when none
	own   bool // an employer asks: people must consent to be shown

	worth []int32 // of an occupation by the number of its code, where it fits
	past  []int32 // nearness of past work, likewise
	items itemTable
	start Day
	bare  []string // required licences that have no sets

	cases [shardCount][]caseOf
}

type caseOf struct {
	id    ulid.ULID
	state string
}

// question makes a question ready.
func (x *Index) question(d *Demand, ask Ask) *question {
	q := &question{
		rules: x.rules, d: d, ask: ask, whole: -1, own: ask.Scope.Employer != "",
		items: newItemTable(d.Wanted), start: max(d.Start, ask.Today),
	}
	pair := Pair{Offer: d, Person: &Person{}, Today: ask.Today, Kind: Shortlisted}
	for i := 0; Conditions[i].Whole; i++ { // these come first
		if !Conditions[i].Check(&pair).OK {
			q.whole = i
			return q
		}
	}
	for _, near := range d.Accepts {
		putAt(&q.worth, x.codes.of(near.Rome), x.rules.Weights.worth(near.Kind))
	}
	for rome, value := range d.Past {
		putAt(&q.past, x.codes.of(rome), value)
	}
	x.needsMu.RLock()
	for _, need := range d.Licences {
		if !slices.Contains(x.needs, need) {
			q.bare = append(q.bare, need)
		}
	}
	x.needsMu.RUnlock()
	for id, state := range ask.States {
		if parsed, err := ulid.ParseStrict(id); err == nil {
			n := hash(parsed) >> 60
			q.cases[n] = append(q.cases[n], caseOf{parsed, state})
		}
	}
	return q
}

// putAt sets a value in a list that grows as needed.
func putAt(list *[]int32, at uint32, value int32) {
	for int(at) >= len(*list) {
		*list = append(*list, 0)
	}
	(*list)[at] = value
}

func valueAt(list []int32, at uint32) int32 {
	if int(at) >= len(list) {
		return 0
	}
	return list[at]
}

// itemTable finds the weight of a competence: a hash table that is at most a
// quarter full.
type itemTable struct {
	shift uint8
	slots []Wanted // Weight 0: free
}

func newItemTable(wanted []Wanted) itemTable {
	size := uint8(mathbits.Len(uint(4 * len(wanted))))
	t := itemTable{32 - size, make([]Wanted, 1<<size)}
	for _, w := range wanted {
		i := t.at(w.Item)
		for t.slots[i].Weight != 0 {
			i = (i + 1) % uint32(len(t.slots))
		}
		t.slots[i] = w
	}
	return t
}

func (t *itemTable) at(i Item) uint32 { return uint32(uint64(uint32(i)*2654435769) >> t.shift) }

func (t *itemTable) weight(item Item) int32 {
	for i := t.at(item); t.slots[i].Weight != 0; i = (i + 1) % uint32(len(t.slots)) {
		if t.slots[i].Item == item {
			return t.slots[i].Weight
		}
	}
	return 0
}

// answer gathers what the shards answer, and has the room to work it out in. It is
// taken from answers and given back, so that a question makes next to no garbage:
// at a million people it is the collector that makes the slowest answers slow.
type answer struct {
	considered int
	counts     []int // by place of the first condition that fails; the last: eligible
	details    map[detailKey]int
	seen       []Seen
	best       *top
	memo       memo

	// Of the shard that is being asked.
	rows, other, lost rowset
	cases             []int // row of each case, -1: not of the shard
	places            [128]uint32
	copies            [128]row
}

var answers = sync.Pool{New: func() any {
	return &answer{counts: make([]int, len(Conditions)+1), details: map[detailKey]int{}, best: newTop(0, "")}
}}

// newAnswer takes an answer to use, which done gives back.
func newAnswer(ask Ask) *answer {
	a := answers.Get().(*answer)
	a.best.k, a.best.seed = ask.K, seedOf(ask.Seed)
	return a
}

// done gives the answer back: nothing of it is used any more.
func (a *answer) done() {
	a.considered, a.seen = 0, a.seen[:0]
	clear(a.counts)
	clear(a.details)
	a.best.empty()
	answers.Put(a)
}

// add takes the answer of other shards.
func (a *answer) add(b *answer) {
	a.considered += b.considered
	for i, n := range b.counts {
		a.counts[i] += n
	}
	for k, n := range b.details {
		a.details[k] += n
	}
	for _, r := range b.best.heap {
		a.best.take(r)
	}
	b.best.heap = b.best.heap[:0]
}

// count counts people out, in detail where why is given.
func (a *answer) count(at, n int, why Reason) {
	if n == 0 {
		return
	}
	a.counts[at] += n
	if why.Key != "" {
		a.details[detailKey{at, why}] += n
	}
}

// memo keeps what parts of the score are worth that many people share; -1 is not
// known yet.
type memo struct{ languages, wishes []int32 }

func (m *memo) reset(s *shard) {
	m.languages = blank(m.languages, len(s.languages.values))
	m.wishes = blank(m.wishes, len(s.wishes.values))
}

func blank(list []int32, n int) []int32 {
	list = slices.Grow(list[:0], n)[:n]
	for i := range list {
		list[i] = -1
	}
	return list
}

// living leaves of rows those of people in the scope.
func (s *shard) living(q *question, rows rowset, a *answer) {
	if len(q.ask.Scope.Governorates) == 0 {
		return
	}
	in := a.lost.sized(len(rows))
	in.add(s.in(setKey{kind: setGovernorate}), &a.other)
	for _, g := range q.ask.Scope.Governorates {
		in.add(s.in(setKey{kind: setGovernorate, a: g}), &a.other)
	}
	rows.and(in)
}

// all gives the rows of everybody in the scope: how many they are.
func (s *shard) all(q *question, a *answer) int {
	if len(q.ask.Scope.Governorates) == 0 {
		return len(s.rows)
	}
	rows := a.rows.sized(s.words())
	for i := range rows {
		rows[i] = math.MaxUint64
	}
	s.living(q, rows, a)
	return rows.count()
}

// fitting gives the rows of people in the scope whose occupation fits.
func (s *shard) fitting(q *question, a *answer) rowset {
	fit := a.rows.sized(s.words())
	for _, near := range q.d.Accepts {
		if b := s.sets[setKey{kind: setOccupation, a: near.Rome}]; b != nil {
			fit.add(b, &a.other)
		}
	}
	s.living(q, fit, a)
	return fit
}

// words is how many words a rowset of the shard has.
func (s *shard) words() int { return (len(s.rows) + 63) / 64 }

// answer answers for the people of a shard, which is the n-th. The caller holds
// the lock.
func (s *shard) answer(q *question, n int, a *answer) {
	considered := s.all(q, a)
	a.considered += considered
	if q.whole >= 0 {
		a.counts[q.whole] += considered
		return
	}
	rows := s.fitting(q, a)
	a.counts[atOccupation] += considered - rows.count()
	if q.ask.Witness {
		rows.each(func(at uint32) { a.seen = append(a.seen, s.who[at].seen()) })
	}
	a.counts[len(Conditions)] += s.narrow(q, n, rows, a, a.count)
	a.memo.reset(s)
	s.each(rows, a, func(at uint32, r *row) {
		least := a.best.least()
		if score := q.score(s, r, &a.memo, least); score >= max(0, least) {
			a.best.offer(rank{score: score, at: at, who: s.who[at].id})
		}
	})
	for i := range a.best.heap { // as long as they cannot change
		if r := &a.best.heap[i]; r.found == nil {
			r.found = a.best.room()
			r.found.seq = s.who[r.at].seq
			s.profile(r.at, &r.found.profile)
		}
	}
}

// eligible visits everybody of a shard who meets every condition, with their
// scores.
func (s *shard) eligible(q *question, n int, a *answer, visit func(at uint32, score int32)) {
	if q.whole >= 0 {
		return
	}
	rows := s.fitting(q, a)
	if s.narrow(q, n, rows, a, func(int, int, Reason) {}) == 0 {
		return
	}
	a.memo.reset(s)
	s.each(rows, a, func(at uint32, r *row) { visit(at, q.score(s, r, &a.memo, math.MinInt32)) })
}

// each visits rows. It copies some at a time first, so that the processor fetches
// them together from memory: one by one it would wait for each.
func (s *shard) each(rows rowset, a *answer, visit func(at uint32, r *row)) {
	n := 0
	flush := func() {
		for i, at := range a.places[:n] {
			a.copies[i] = s.rows[at]
		}
		for i, at := range a.places[:n] {
			visit(at, &a.copies[i])
		}
		n = 0
	}
	for i, word := range rows {
		for ; word != 0; word &= word - 1 {
			a.places[n] = uint32(i*64 + mathbits.TrailingZeros64(word))
			if n++; n == len(a.places) {
				flush()
			}
		}
	}
	flush()
}

// narrow leaves of rows, whose occupation fits, those that meet the other
// conditions, counts the rest out in the order of the conditions, and says how
// many are left. Each step says of sets what a function of condition.go says of one
// person.
func (s *shard) narrow(q *question, n int, rows rowset, a *answer, out func(at, n int, why Reason)) int {
	size := rows.count()
	// keep leaves those of a set, and counts the others.
	keep := func(at int, k setKey, why Reason) {
		if size == 0 {
			return
		}
		rows.and(s.dense(k, &a.other, len(rows)))
		left := rows.count()
		out(at, size-left, why)
		size = left
	}
	// decided leaves those without a case in one of two states.
	decided := func(at int, one, other string, why Reason) {
		lost := 0
		for i, row := range a.cases {
			if state := q.cases[n][i].state; row >= 0 && (state == one || state == other) && rows.remove(uint32(row)) {
				lost++
			}
		}
		out(at, lost, why)
		size -= lost
	}

	scheme := q.d.Scheme
	if scheme == "" {
		out(atScheme, size, Reason{})
		clear(rows)
		return 0
	}
	if size > 0 {
		wish := a.lost.sized(len(rows))
		wish.add(s.in(setKey{kind: setWish, a: scheme}), &a.other)
		wish.add(s.in(setKey{kind: setNoWish}), &a.other)
		rows.and(wish)
		left := rows.count()
		out(atScheme, size-left, Reason{})
		size = left
	}

	if size > 0 {
		takes := s.dense(setKey{kind: setTakes, a: scheme}, &a.other, len(rows))
		lost := rows.split(takes, a.lost.sized(len(rows)))
		s.stages(q, lost, a, out)
		size = rows.count()
	}

	a.cases = a.cases[:0]
	for _, c := range q.cases[n] {
		a.cases = append(a.cases, s.find(c.id))
	}
	decided(atFree, Accepted, Hired, Reason{Key: "hired_here"})
	if engaged := s.in(setKey{kind: setEngaged}); size > 0 && !engaged.IsEmpty() {
		rows.andNot(s.dense(setKey{kind: setEngaged}, &a.other, len(rows)))
		left := rows.count()
		out(atFree, size-left, Reason{Key: "hired_elsewhere"})
		size = left
	}
	keep(atConsent, setKey{kind: setMatching}, Reason{})
	if q.own {
		keep(atDisclosure, setKey{kind: setDisclosure}, Reason{})
	}
	decided(atRefused, Refused, Refused, Reason{Key: "refused_here"})
	decided(atRefused, NoShow, NoShow, Reason{Key: "no_show_here"})

	for i := range q.d.Languages {
		need := &q.d.Languages[i]
		if !need.Required || size == 0 {
			continue
		}
		reach := s.dense(setKey{kind: setLanguage, a: need.Code, rank: need.Rank}, &a.other, len(rows))
		s.levels(need, rows.split(reach, a.lost.sized(len(rows))), a, out)
		size = rows.count()
	}
	for _, need := range q.d.Licences {
		why := Reason{Key: "licence_none", A: need}
		if !slices.Contains(q.bare, need) {
			keep(atLicence, setKey{kind: setLicence, a: need}, why)
			continue
		}
		left := size
		rows.each(func(at uint32) {
			if !licenceHeld(s.licences.values[s.rows[at].licences].held, need) {
				rows.remove(at)
				left--
			}
		})
		out(atLicence, size-left, why)
		size = left
	}
	// To compare two numbers is cheaper than bitmaps of days, and few have any.
	dated := a.lost.sized(len(rows))
	dated.add(s.in(setKey{kind: setDated}), &a.other)
	dated.and(rows)
	tooLate, isOver := 0, 0
	s.each(dated, a, func(at uint32, r *row) {
		switch late, over := misses(q.d, q.start, r.from, r.to); {
		case late:
			tooLate++
		case over:
			isOver++
		default:
			return
		}
		rows.remove(at)
	})
	out(atDates, tooLate, Reason{Key: "out_dates_late", To: q.start})
	out(atDates, isOver, Reason{Key: "out_dates_over", To: q.start})
	return size - tooLate - isOver
}

// stages counts those whose pathway does not take a shortlist by where it is.
func (s *shard) stages(q *question, lost rowset, a *answer, out func(at, n int, why Reason)) {
	scheme, rest := q.d.Scheme, lost.count()
	if rest == 0 {
		return
	}
	for k := range s.sets {
		if k.kind != setAt || k.a != scheme {
			continue
		}
		at := lost.common(s.dense(k, &a.other, len(lost)))
		rest -= at
		if at == 0 {
			continue
		}
		why := Reason{Key: "pathway_unknown", A: k.b, B: k.c}
		if _, known := q.rules.stages[stageKey{scheme, k.c, k.b}]; known {
			why = Reason{Key: "pathway_stage", A: k.b, B: Shortlisted}
		}
		out(atPathway, at, why)
	}
	out(atPathway, rest, Reason{Key: "pathway_none", A: scheme})
}

// levels counts those who do not reach a level by that which they have.
func (s *shard) levels(need *Need, lost rowset, a *answer, out func(at, n int, why Reason)) {
	all := lost.count()
	if all == 0 {
		return
	}
	above := 0
	for rank := need.Rank - 1; rank >= 0; rank-- {
		// All of these have less than the need, so that what is above is counted.
		reached := lost.common(s.dense(setKey{kind: setLanguage, a: need.Code, rank: rank}, &a.other, len(lost)))
		out(atLanguage, reached-above, Reason{Key: "language_low", A: need.Code, B: cefr(need.Rank), C: cefr(rank)})
		above = reached
	}
	out(atLanguage, all-above, Reason{Key: "language_none", A: need.Code, B: cefr(need.Rank)})
}

// score is Score(...).Total() of a row; -1 when it would be less than least.
func (q *question) score(s *shard, r *row, m *memo, least int32) int32 {
	w, d := q.rules.Weights, q.d
	language := m.languages[r.languages]
	if language < 0 {
		language, _ = languagePart(w, d, &Profile{Languages: s.languages.values[r.languages]})
		m.languages[r.languages] = language
	}
	wish := m.wishes[r.wishes]
	if wish < 0 {
		shared := &s.wishes.values[r.wishes]
		wish, _ = wishesPart(w, d, &Profile{Schemes: shared.schemes, Regions: shared.regions})
		m.wishes[r.wishes] = wish
	}
	available, _, _ := availableFor(w, d, r.from, r.to, q.ask.Today)
	sum := language*w.Parts.Language + available*w.Parts.Availability + wish*w.Parts.Wishes
	// Most people need not be looked at further: whatever the rest is, others are
	// better.
	if (sum+1000*(w.Parts.Occupation+w.Parts.Past+w.Parts.Competences))/1000 < least {
		return -1
	}
	rec := record{s.packed, r.packed}
	var occupation, past int32
	for range rec.next() {
		code, months := rec.next(), int32(rec.next())
		if worth := valueAt(q.worth, code); worth > 0 {
			occupation = max(occupation, experience(w, d, worth, months))
		}
		if months > 0 {
			past = max(past, valueAt(q.past, code))
		}
	}
	sum += occupation*w.Parts.Occupation + past*w.Parts.Past
	if w.Parts.Competences == 0 {
		return sum / 1000
	}
	if (sum+1000*w.Parts.Competences)/1000 < least {
		return -1
	}
	known := w.Competences.None
	if n := rec.next(); n > 0 && len(d.Wanted) > 0 {
		weight, item := int64(0), Item(0)
		for range n {
			item += Item(rec.next())
			weight += int64(q.items.weight(item))
		}
		known = competences(w, d, weight)
	}
	return (sum + known*w.Parts.Competences) / 1000
}
