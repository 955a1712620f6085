package matching

import (
	"cmp"
	"maps"
	"math"
	mathbits "math/bits"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
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

// answer gathers what the shards answer.
type answer struct {
	considered int
	counts     []int // by place of the first condition that fails; the last: eligible
	details    map[detailKey]int
	seen       []Seen
	best       *top
	memo       memo
}

func newAnswer(ask Ask) *answer {
	return &answer{counts: make([]int, len(Conditions)+1), details: map[detailKey]int{}, best: newTop(ask.K, ask.Seed)}
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
	a.seen = append(a.seen, b.seen...)
	for _, r := range b.best.heap {
		a.best.take(r)
	}
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

// living gives the rows of people in the scope; nil is all.
func (s *shard) living(q *question) *roaring.Bitmap {
	if len(q.ask.Scope.Governorates) == 0 {
		return nil
	}
	in := s.in(setKey{kind: setGovernorate}).Clone()
	for _, g := range q.ask.Scope.Governorates {
		in.Or(s.in(setKey{kind: setGovernorate, a: g}))
	}
	return in
}

// fitting gives the rows of people in the scope whose occupation fits.
func (s *shard) fitting(q *question) *roaring.Bitmap {
	fit := roaring.New()
	for _, near := range q.d.Accepts {
		if b := s.sets[setKey{kind: setOccupation, a: near.Rome}]; b != nil {
			fit.Or(b)
		}
	}
	if in := s.living(q); in != nil {
		fit.And(in)
	}
	return fit
}

// answer answers for the people of a shard, which is the n-th. The caller holds
// the lock.
func (s *shard) answer(q *question, n int, a *answer) {
	considered := len(s.rows)
	if in := s.living(q); in != nil {
		considered = int(in.GetCardinality())
	}
	a.considered += considered
	if q.whole >= 0 {
		a.counts[q.whole] += considered
		return
	}
	rows := s.fitting(q)
	a.counts[atOccupation] += considered - int(rows.GetCardinality())
	if q.ask.Witness {
		rows.Iterate(func(at uint32) bool {
			a.seen = append(a.seen, s.who[at].seen())
			return true
		})
	}
	s.narrow(q, n, rows, a.count)
	a.counts[len(Conditions)] += int(rows.GetCardinality())
	a.memo.reset(s)
	s.each(rows, func(at uint32, r *row) {
		least := a.best.least()
		if score := q.score(s, r, &a.memo, least); score >= max(0, least) {
			a.best.offer(rank{score: score, at: at, who: s.who[at].id})
		}
	})
	for i := range a.best.heap { // as long as they cannot change
		if r := &a.best.heap[i]; r.found == nil {
			r.found = &found{seq: s.who[r.at].seq}
			s.profile(r.at, &r.found.profile)
		}
	}
}

// eligible visits everybody of a shard who meets every condition, with their
// scores.
func (s *shard) eligible(q *question, n int, visit func(at uint32, score int32)) {
	if q.whole >= 0 {
		return
	}
	rows := s.fitting(q)
	s.narrow(q, n, rows, func(int, int, Reason) {})
	if rows.IsEmpty() {
		return
	}
	var m memo
	m.reset(s)
	s.each(rows, func(at uint32, r *row) { visit(at, q.score(s, r, &m, math.MinInt32)) })
}

// each visits rows. It copies some at a time first, so that the processor fetches
// them together from memory: one by one it would wait for each.
func (s *shard) each(rows *roaring.Bitmap, visit func(at uint32, r *row)) {
	var places [128]uint32
	var copies [128]row
	all := rows.ManyIterator()
	for n := all.NextMany(places[:]); n > 0; n = all.NextMany(places[:]) {
		for i, at := range places[:n] {
			copies[i] = s.rows[at]
		}
		for i, at := range places[:n] {
			visit(at, &copies[i])
		}
	}
}

// narrow leaves of rows, whose occupation fits, those that meet the other
// conditions, and counts the rest out in the order of the conditions. Each step
// says in bitmaps what a function of condition.go says of one person.
func (s *shard) narrow(q *question, n int, rows *roaring.Bitmap, out func(at, n int, why Reason)) {
	size := int(rows.GetCardinality())
	// keep leaves those of a set, and counts the others.
	keep := func(at int, set *roaring.Bitmap, why Reason) {
		if size == 0 {
			return
		}
		rows.And(set)
		left := int(rows.GetCardinality())
		out(at, size-left, why)
		size = left
	}
	// without leaves those that are not of a set.
	without := func(at int, set *roaring.Bitmap, why Reason) {
		if size == 0 || set.IsEmpty() {
			return
		}
		rows.AndNot(set)
		left := int(rows.GetCardinality())
		out(at, size-left, why)
		size = left
	}

	scheme := q.d.Scheme
	if scheme == "" {
		out(atScheme, size, Reason{})
		rows.Clear()
		return
	}
	wish := s.in(setKey{kind: setWish, a: scheme}).Clone()
	wish.Or(s.in(setKey{kind: setNoWish}))
	keep(atScheme, wish, Reason{})

	takes := s.in(setKey{kind: setTakes, a: scheme})
	if size > 0 {
		s.stages(q, roaring.AndNot(rows, takes), out)
		rows.And(takes)
		size = int(rows.GetCardinality())
	}

	held, turned, away := s.decided(q, n)
	without(atFree, held, Reason{Key: "hired_here"})
	without(atFree, s.in(setKey{kind: setEngaged}), Reason{Key: "hired_elsewhere"})
	keep(atConsent, s.in(setKey{kind: setMatching}), Reason{})
	if q.own {
		keep(atDisclosure, s.in(setKey{kind: setDisclosure}), Reason{})
	}
	without(atRefused, turned, Reason{Key: "refused_here"})
	without(atRefused, away, Reason{Key: "no_show_here"})

	for i := range q.d.Languages {
		need := &q.d.Languages[i]
		if !need.Required || size == 0 {
			continue
		}
		reach := s.in(setKey{kind: setLanguage, a: need.Code, rank: need.Rank})
		s.levels(need, roaring.AndNot(rows, reach), out)
		rows.And(reach)
		size = int(rows.GetCardinality())
	}
	for _, need := range q.d.Licences {
		why := Reason{Key: "licence_none", A: need}
		if !slices.Contains(q.bare, need) {
			keep(atLicence, s.in(setKey{kind: setLicence, a: need}), why)
			continue
		}
		lost := roaring.New()
		rows.Iterate(func(at uint32) bool {
			if !licenceHeld(s.licences.values[s.rows[at].licences].held, need) {
				lost.Add(at)
			}
			return true
		})
		without(atLicence, lost, why)
	}
	// To compare two numbers is cheaper than bitmaps of days, and few have any.
	tooLate, isOver := roaring.New(), roaring.New()
	s.each(roaring.And(rows, s.in(setKey{kind: setDated})), func(at uint32, r *row) {
		switch late, over := misses(q.d, q.start, r.from, r.to); {
		case late:
			tooLate.Add(at)
		case over:
			isOver.Add(at)
		}
	})
	without(atDates, tooLate, Reason{Key: "out_dates_late", To: q.start})
	without(atDates, isOver, Reason{Key: "out_dates_over", To: q.start})
}

// decided gives the rows of those whom the offer holds, has refused, and who
// stayed away.
func (s *shard) decided(q *question, n int) (held, refused, away *roaring.Bitmap) {
	held, refused, away = roaring.New(), roaring.New(), roaring.New()
	for _, c := range q.cases[n] {
		at := s.find(c.id)
		if at < 0 {
			continue
		}
		switch c.state {
		case Accepted, Hired:
			held.Add(uint32(at))
		case Refused:
			refused.Add(uint32(at))
		case NoShow:
			away.Add(uint32(at))
		}
	}
	return held, refused, away
}

// stages counts those whose pathway does not take a shortlist by where it is.
func (s *shard) stages(q *question, lost *roaring.Bitmap, out func(at, n int, why Reason)) {
	if lost.IsEmpty() {
		return
	}
	scheme, rest := q.d.Scheme, int(lost.GetCardinality())
	for k, set := range s.sets {
		if k.kind != setAt || k.a != scheme {
			continue
		}
		at := int(lost.AndCardinality(set))
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
func (s *shard) levels(need *Need, lost *roaring.Bitmap, out func(at, n int, why Reason)) {
	if lost.IsEmpty() {
		return
	}
	above := 0
	for rank := need.Rank - 1; rank >= 0; rank-- {
		// All of these have less than the need, so that what is above is counted.
		reached := int(lost.AndCardinality(s.in(setKey{kind: setLanguage, a: need.Code, rank: rank})))
		out(atLanguage, reached-above, Reason{Key: "language_low", A: need.Code, B: cefr(need.Rank), C: cefr(rank)})
		above = reached
	}
	out(atLanguage, int(lost.GetCardinality())-above, Reason{Key: "language_none", A: need.Code, B: cefr(need.Rank)})
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
