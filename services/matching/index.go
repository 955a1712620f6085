package matching

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/oklog/ulid/v2"
)

// Index holds every person and offer in memory, as the conditions and the score
// see them, and answers shortlists. It is a cache of the documents and nothing
// else: Put takes a document's version and ignores what is not newer, so that
// documents may be put again and in any order. It is safe for concurrent use.
//
// The pure functions of condition.go and score.go say what is right; the index
// answers the same from bitmaps and columns, which a test checks over drawn
// worlds.
type Index struct {
	rules  *Rules
	shards [shardCount]*shard
	codes  *codes
	people atomic.Int64
	// changes counts those of the people of each occupation.
	changes changes

	mu        sync.RWMutex // of what follows
	offers    map[string]*offerEntry
	posted    []*offerEntry // the same, in no order
	accepting map[string]map[*offerEntry]struct{}
	employers map[string]*employerEntry

	needsMu sync.RWMutex
	needs   []string // licences that offers require, for which there are sets
}

// shardCount is in how many parts the people are held.
const shardCount = 16

// maxNeeds bounds for how many licences there are sets: whatever else offers may
// ask for is looked up person by person.
const maxNeeds = 64

type offerEntry struct {
	id       string
	version  int64
	seq      int64 // of the offer
	employer *employerEntry
	poster   string // id of the employer
	seats    int    // as Offer.seats
	demand   Demand // Suspended is filled in when asked
	at       int    // place in posted
}

type employerEntry struct {
	version   int64 // 0: not heard of yet
	seq       int64
	suspended bool
}

// NewIndex makes an empty index.
func NewIndex(r *Rules) *Index {
	x := &Index{
		rules: r, codes: newCodes(), offers: map[string]*offerEntry{},
		accepting: map[string]map[*offerEntry]struct{}{}, employers: map[string]*employerEntry{},
	}
	for i := range x.shards {
		x.shards[i] = &shard{codes: x.codes, changes: &x.changes}
	}
	return x
}

// shardOf gives the shard of a person.
func (x *Index) shardOf(id ulid.ULID) *shard { return x.shards[hash(id)>>60] }

// PutSeeker takes a person's document.
func (x *Index) PutSeeker(id string, version int64, s *Seeker) {
	if s.Seq == 0 { // only pathways are known yet: there is nobody to propose
		return
	}
	parsed, err := ulid.ParseStrict(id)
	if err != nil { // no such id is ever stored: see person
		return
	}
	sh := x.shardOf(parsed)
	if sh.has(parsed, version) {
		return
	}
	p := x.rules.Person(s)
	// No licence may become one that has a set while this person is entered.
	x.needsMu.RLock()
	defer x.needsMu.RUnlock()
	if sh.put(identity{parsed, version, s.Seq, s.Stamp()}, &p, x.needs) {
		x.people.Add(1)
	}
}

// require makes sets for licences that offers ask for.
func (x *Index) require(needs []string) {
	known := func() bool {
		return !slices.ContainsFunc(needs, func(n string) bool { return !slices.Contains(x.needs, n) })
	}
	x.needsMu.RLock()
	done := known()
	x.needsMu.RUnlock()
	if done {
		return
	}
	x.needsMu.Lock()
	defer x.needsMu.Unlock()
	for _, need := range needs {
		if slices.Contains(x.needs, need) || len(x.needs) == maxNeeds {
			continue
		}
		for _, s := range x.shards {
			s.require(need)
		}
		x.needs = append(x.needs, need)
	}
}

// PutOffer takes an offer's document.
func (x *Index) PutOffer(id string, version int64, o *Offer) {
	e := &offerEntry{id: id, version: version, seq: o.Seq, poster: o.EmployerID, seats: o.seats(), demand: x.rules.Demand(o, false)}
	x.require(e.demand.Licences)
	x.mu.Lock()
	defer x.mu.Unlock()
	e.employer = x.employer(o.EmployerID)
	if old := x.offers[id]; old == nil {
		e.at = len(x.posted)
		x.posted = append(x.posted, e)
	} else {
		if old.version >= version {
			return
		}
		for _, near := range old.demand.Accepts {
			delete(x.accepting[near.Rome], old)
		}
		e.at = old.at
		x.posted[e.at] = e
	}
	x.offers[id] = e
	for _, near := range e.demand.Accepts {
		if x.accepting[near.Rome] == nil {
			x.accepting[near.Rome] = map[*offerEntry]struct{}{}
		}
		x.accepting[near.Rome][e] = struct{}{}
	}
}

// employer gives what is known of an employer.
func (x *Index) employer(id string) *employerEntry {
	if x.employers[id] == nil {
		x.employers[id] = &employerEntry{}
	}
	return x.employers[id]
}

// PutEmployer takes an employer's document.
func (x *Index) PutEmployer(id string, version int64, m *Employer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.employer(id); e.version < version {
		*e = employerEntry{version, m.Seq, m.Suspended}
	}
}

// Size says how many people and offers the index holds.
func (x *Index) Size() (people, offers int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return int(x.people.Load()), len(x.offers)
}

// Person gives a person, as the index has them: its tracks have no ids.
func (x *Index) Person(id string) (p Person, ok bool) {
	_, p, ok = x.look(id)
	return p, ok
}

func (x *Index) look(id string) (who identity, p Person, ok bool) {
	parsed, err := ulid.ParseStrict(id)
	if err != nil {
		return who, p, false
	}
	s := x.shardOf(parsed)
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.find(parsed)
	if at < 0 {
		return who, p, false
	}
	s.person(uint32(at), &p)
	return s.who[at], p, true
}

// changes counts, for each occupation, how often somebody changed who exercises
// it, came to it or left it. A count grows under the lock of the shard that
// changes, so that whoever sees the same counts before and after reading has read
// what they stand for.
type changes struct{ byRome sync.Map } // string -> *atomic.Int64

func (c *changes) add(occupations []Experience) {
	for i := range occupations {
		n, ok := c.byRome.Load(occupations[i].Rome)
		if !ok {
			n, _ = c.byRome.LoadOrStore(occupations[i].Rome, new(atomic.Int64))
		}
		n.(*atomic.Int64).Add(1)
	}
}

// of is the count of all those that are near an offer. Counts only grow: two that
// are equal are so for each of them.
func (c *changes) of(accepts []Near) (sum int64) {
	for i := range accepts {
		if n, ok := c.byRome.Load(accepts[i].Rome); ok {
			sum += n.(*atomic.Int64).Load()
		}
	}
	return sum
}

// Posted is what is known of an offer besides its demand.
type Posted struct {
	Employer, Scheme string
	Seats            int // how many may be hired through decisions in all
}

// Offer gives who posted an offer and under which scheme.
func (x *Index) Offer(id string) (Posted, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.offers[id]
	if !ok {
		return Posted{}, false
	}
	return Posted{e.poster, e.demand.Scheme, e.seats}, true
}

// full is an offer's demand with what is known of its employer now.
func (e *offerEntry) full() Demand {
	d := e.demand
	d.Suspended = e.employer.suspended
	return d
}

func (e *offerEntry) seen() SeenOffer {
	return SeenOffer{ID: e.id, Seq: e.seq, EmployerSeq: e.employer.seq}
}

// demand gives an offer as it is now.
func (x *Index) demand(id string) (d Demand, seen SeenOffer, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.offers[id]
	if !ok {
		return d, seen, false
	}
	return e.full(), e.seen(), true
}

// Scope says whom or what a question is about. The zero Scope is everything.
type Scope struct {
	Governorates []string // people of these, and of none stated; empty: all
	Schemes      []string // offers of these, and of none; empty: all
	Employer     string   // offers of this employer only, people as an employer may see them
}

func within(list []string, code string) bool {
	return code == "" || len(list) == 0 || slices.Contains(list, code)
}

// Ask is a question to the index.
type Ask struct {
	Scope Scope
	K     int // how many, at most
	Today Day
	Seed  string
	// States are the states of the cases there are, by the id of the candidate
	// (Candidates) or of the offer (Offers).
	States map[string]string
	// Left says how many posts are left where more is known than the offer's
	// document says; -1: not.
	Left int
	// Of gives, for Pairs, States and Left of each offer; nil: there are no cases,
	// and nothing is known but the documents.
	Of func(offer string) (states map[string]string, left int)
	// Witness asks for everything that the answer was made from: Shortlist.Seen or
	// SeenOffers.
	Witness bool
	// Known says of a Shortlist.Among that no witness is needed, as the people are
	// known; nil: they are not. Candidates only.
	Known func(among string) bool
}

// Seen is a person whom an answer was made from, as they then were.
type Seen struct {
	ID    ulid.ULID // of the candidate
	Stamp uint64    // of the document: see Seeker.Stamp
}

// SeenOffer is an offer that an answer was made from, as it then was.
type SeenOffer struct {
	ID          string
	Seq         int64 // of the offer's last event
	EmployerSeq int64 // of its employer's last event; 0 when none is known
}

// Match is one pair of a shortlist.
type Match struct {
	ID       string // of the candidate (Candidates, Pair) or the offer (Offers)
	Seq      int64  // last event of it that was seen
	OfferSeq int64  // Pair only: of the offer
	Score    int32
	Parts    Parts
	State    string    // of the pair's case, "" when nothing was decided yet
	Failed   []Failure // conditions that do not hold; only in near misses
	// Changes are the fewest that would make every condition hold; see
	// Rules.Changes.
	Changes []Change
}

// Shortlist answers a question.
type Shortlist struct {
	Seq        int64          // last event of whom or what was asked about
	Considered int            // all in the scope
	Eligible   int            // of them, those that meet every condition
	Out        map[string]int // of them, those that do not, by the first condition that fails
	Details    []Detail       // Candidates only: of those, by what exactly is missing, where that can be told apart
	Matches    []Match        // the best of the eligible, best first
	Near       []Match        // Offers only: the nearest of those that fail
	// Seen are, when a witness is asked for, the people who were looked at: those
	// in the scope with a fitting occupation, by id (Candidates), or the one who
	// was asked about (Offers). The others count by their number only: Considered.
	Seen []Seen
	// Among names the people who were looked at and the states that they were in:
	// as long as this index lives, the same name is the same Seen. It is "" when
	// somebody changed meanwhile. Candidates only.
	Among string
	// SeenOffers are the offers that were looked at: the one that was asked about
	// (Candidates), or, when a witness is asked for, every open one in the scope,
	// by id (Offers).
	SeenOffers []SeenOffer
}

// Candidates answers the best candidates of an offer; false when the index does
// not have the offer.
func (x *Index) Candidates(offer string, ask Ask) (*Shortlist, bool) {
	d, posted, ok := x.demand(offer)
	if !ok {
		return nil, false
	}
	if ask.Left >= 0 {
		d.Left = min(d.Left, ask.Left)
	}
	before := x.changes.of(d.Accepts)
	among := fmt.Sprint(before, d.Accepts, ask.Scope, d.Open, d.Left > 0, d.Suspended)
	if ask.Known != nil && ask.Known(among) {
		ask.Witness = false
	}
	got, seen := x.everywhere(x.question(&d, ask))
	defer got.done()
	out := &Shortlist{
		Seq: posted.Seq, Considered: got.considered, Out: map[string]int{}, Details: details(got.details),
		SeenOffers: []SeenOffer{posted},
	}
	if x.changes.of(d.Accepts) == before {
		out.Among = among
	}
	out.tally(got.counts[:])
	if ask.Witness {
		out.Seen = seen
		sortSeen(out.Seen)
	}
	if n := len(got.best.heap); n > 0 {
		out.Matches = make([]Match, 0, n)
	}
	for _, c := range got.best.sorted() {
		id := c.who.String()
		out.Matches = append(out.Matches, Match{
			ID: id, Seq: c.found.seq, Score: c.score, State: ask.States[id],
			Parts: Score(x.rules.Weights, &d, &c.found.profile, ask.Today),
		})
	}
	return out, true
}

// parallel is from how many people on a question is worth more than one
// processor.
const parallel = 1 << 17

// everywhere asks every shard. The caller is done with the answer when it says so;
// the people seen, in no order, are its own.
func (x *Index) everywhere(q *question) (*answer, []Seen) {
	workers := 1
	if x.people.Load() >= parallel {
		workers = min(runtime.GOMAXPROCS(0), shardCount)
	}
	answers := make([]*answer, workers)
	var next atomic.Int32
	work := func(i int) {
		a := newAnswer(q.ask)
		answers[i] = a
		for n := int(next.Add(1)) - 1; n < shardCount; n = int(next.Add(1)) - 1 {
			s := x.shards[n]
			s.mu.RLock()
			s.answer(q, n, a)
			s.mu.RUnlock()
		}
	}
	var others sync.WaitGroup
	for i := 1; i < workers; i++ {
		others.Go(func() { work(i) })
	}
	work(0)
	others.Wait()
	size := 0
	for _, a := range answers {
		size += len(a.seen)
	}
	var seen []Seen
	if size > 0 {
		seen = make([]Seen, 0, size)
	}
	for i, a := range answers {
		seen = append(seen, a.seen...)
		if i > 0 {
			answers[0].add(a)
			a.done()
		}
	}
	return answers[0], seen
}

func (s *Shortlist) tally(counts []int) {
	for i, n := range counts[:len(Conditions)] {
		if n > 0 {
			s.Out[Conditions[i].Name] += n
		}
	}
	s.Eligible = counts[len(Conditions)]
}

// Offers answers the best offers of a candidate, and those that are nearly for
// them: with a fitting occupation, the fewest failed conditions first. Offers
// that are closed are not considered. It says false when the index does not have
// the candidate.
func (x *Index) Offers(candidate string, ask Ask) (*Shortlist, bool) {
	who, person, ok := x.look(candidate)
	if !ok {
		return nil, false
	}
	out := &Shortlist{Seq: who.seq, Out: map[string]int{}}
	if ask.Witness {
		out.Seen = []Seen{who.seen()}
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	fitting := map[*offerEntry]struct{}{}
	for _, o := range person.Occupations {
		maps.Copy(fitting, x.accepting[o.Rome])
	}
	// The state of a case has no part in conditions about the offer alone.
	counts := make([]int, len(Conditions)+1)
	for _, e := range x.posted {
		if !e.asked(ask.Scope) {
			continue
		}
		out.Considered++
		if ask.Witness {
			out.SeenOffers = append(out.SeenOffers, e.seen())
		}
		if _, fits := fitting[e]; fits {
			continue
		}
		switch {
		case e.demand.Left <= 0:
			counts[placeOf(CondPosts)]++
		case e.employer.suspended:
			counts[placeOf(CondEmployer)]++
		default:
			counts[placeOf(CondOccupation)]++
		}
	}
	slices.SortFunc(out.SeenOffers, func(a, b SeenOffer) int { return strings.Compare(a.ID, b.ID) })
	best, near := newTop(ask.K, ask.Seed), newTop(ask.K, ask.Seed)
	for e := range fitting {
		if !e.asked(ask.Scope) {
			continue
		}
		d := e.full()
		pair := pairOf(&d, &person, e.id, ask)
		at := failed(&pair, 0)
		counts[at]++
		parts := Score(x.rules.Weights, &d, &person.Profile, ask.Today)
		if at == len(Conditions) {
			best.offer(rank{id: e.id, score: parts.Total()})
		} else {
			// Failures weigh more than any score.
			near.offer(rank{id: e.id, score: parts.Total() - 1001*int32(len(Failures(&pair)))})
		}
	}
	out.tally(counts)
	match := func(id string) Match {
		e := x.offers[id]
		d := e.full()
		pair := pairOf(&d, &person, id, ask)
		m := Match{ID: id, Seq: e.seq, State: pair.State, Parts: Score(x.rules.Weights, &d, &person.Profile, ask.Today)}
		m.Score, m.Failed, m.Changes = m.Parts.Total(), Failures(&pair), x.rules.Changes(&pair)
		return m
	}
	for _, c := range best.sorted() {
		out.Matches = append(out.Matches, match(c.id))
	}
	for _, c := range near.sorted() {
		out.Near = append(out.Near, match(c.id))
	}
	return out, true
}

// asked says whether an offer is one that a question about offers is about.
func (e *offerEntry) asked(s Scope) bool {
	return e.demand.Open && within(s.Schemes, e.demand.Scheme) && (s.Employer == "" || e.poster == s.Employer)
}

func pairOf(d *Demand, p *Person, offer string, ask Ask) Pair {
	return Pair{
		Offer: d, Person: p, Today: ask.Today, Kind: Shortlisted,
		Disclose: ask.Scope.Employer != "", State: ask.States[offer],
	}
}

// Pair answers about one offer and one candidate, whether or not they fit: a
// Match with its failures and what would change them. ask.States is by
// candidate. It says false when the index does not have one of them.
func (x *Index) Pair(offer, candidate string, ask Ask) (m Match, ok bool) {
	d, posted, ok := x.demand(offer)
	if !ok {
		return m, false
	}
	if ask.Left >= 0 {
		d.Left = min(d.Left, ask.Left)
	}
	who, person, ok := x.look(candidate)
	if !ok {
		return m, false
	}
	pair := pairOf(&d, &person, candidate, ask)
	m = Match{ID: candidate, Seq: who.seq, OfferSeq: posted.Seq, State: pair.State, Parts: Score(x.rules.Weights, &d, &person.Profile, ask.Today)}
	m.Score, m.Failed, m.Changes = m.Parts.Total(), Failures(&pair), x.rules.Changes(&pair)
	return m, true
}

// Pairs visits every pair of these offers and a candidate in the scope that
// meets every condition, with its score: offers in the order given, an offer
// that the index does not have left out; candidates of an offer by id. It ends
// when visit says false. ask.Of tells of the cases of each offer. Every person
// and every offer is seen in one state throughout; what is put meanwhile is not
// held up. With ask.Witness it returns what it was made from: the offers in the
// order given, and the people with an occupation that fits one of them, by id.
func (x *Index) Pairs(offers []string, ask Ask, visit func(offer, candidate string, score int32) bool) (people []Seen, posted []SeenOffer) {
	demands := make([]Demand, 0, len(offers))
	names := make([]string, 0, len(offers))
	x.mu.RLock()
	for _, id := range offers {
		if e, ok := x.offers[id]; ok {
			demands, names = append(demands, e.full()), append(names, id)
			if ask.Witness {
				posted = append(posted, e.seen())
			}
		}
	}
	x.mu.RUnlock()
	var shards [shardCount]*shard
	var orders [shardCount][]uint32 // the place of each row by id
	var met [shardCount]*roaring.Bitmap
	for n, s := range x.shards {
		s.mu.RLock()
		shards[n] = s.clone()
		s.mu.RUnlock()
		met[n] = roaring.New()
	}
	x.order(&shards, &orders)
	var fit []pairFit
	room := newAnswer(ask)
	defer room.done()
	for i := range demands {
		d, about := &demands[i], ask
		about.States, about.Left, about.Witness = nil, -1, false
		if ask.Of != nil {
			if about.States, about.Left = ask.Of(names[i]); about.Left >= 0 {
				d.Left = min(d.Left, about.Left)
			}
		}
		q := x.question(d, about)
		fit = fit[:0]
		for n, s := range shards {
			if ask.Witness {
				s.fitting(q, room).each(met[n].Add)
			}
			s.eligible(q, n, room, func(at uint32, score int32) {
				fit = append(fit, pairFit{orders[n][at], score, n, at})
			})
		}
		slices.SortFunc(fit, func(a, b pairFit) int { return cmp.Compare(a.order, b.order) })
		for _, f := range fit {
			if !visit(names[i], shards[f.shard].who[f.at].id.String(), f.score) {
				demands = nil
				break
			}
		}
		if demands == nil {
			break
		}
	}
	for n, s := range shards {
		met[n].Iterate(func(at uint32) bool {
			people = append(people, s.who[at].seen())
			return true
		})
	}
	slices.SortFunc(people, bySeen)
	return people, posted
}

// pairFit is a person that fits an offer.
type pairFit struct {
	order uint32 // place by id among all
	score int32
	shard int
	at    uint32
}

// order gives every row its place by id.
func (x *Index) order(shards *[shardCount]*shard, orders *[shardCount][]uint32) {
	type place struct {
		id    ulid.ULID
		shard uint32
		at    uint32
	}
	var all []place
	for n, s := range shards {
		orders[n] = make([]uint32, len(s.who))
		for at := range s.who {
			all = append(all, place{s.who[at].id, uint32(n), uint32(at)})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return byID(a.id, b.id) })
	for i, p := range all {
		orders[p.shard][p.at] = uint32(i)
	}
}

func (w *identity) seen() Seen { return Seen{w.id, w.stamp} }

func bySeen(a, b Seen) int { return byID(a.ID, b.ID) }

// byID orders ids as their bytes do, two words at a time.
func byID(a, b ulid.ULID) int {
	if c := cmp.Compare(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8])); c != 0 {
		return c
	}
	return cmp.Compare(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:]))
}

// top keeps the k best. Equal scores are ordered by a hash of seed and id: by
// another seed in another order, so that nobody is always the last of their
// equals, and by the same seed in the same.
type top struct {
	k     int
	seed  uint64
	heap  ranked
	spare []*found // of those who are no longer among the best
}

// room gives a found to fill in.
func (t *top) room() *found {
	n := len(t.spare)
	if n == 0 {
		return &found{}
	}
	f := t.spare[n-1]
	t.spare = t.spare[:n-1]
	return f
}

// drop keeps what was found of somebody who is not among the best, to be used
// again.
func (t *top) drop(r rank) {
	if r.found != nil {
		t.spare = append(t.spare, r.found)
	}
}

// empty makes a new top of a used one.
func (t *top) empty() {
	for _, r := range t.heap {
		t.drop(r)
	}
	t.heap = t.heap[:0]
}

// rank is an offer (id) or a person (who) and its place among others.
type rank struct {
	score int32
	at    uint32 // row of a person, until found is there
	draw  uint64
	who   ulid.ULID
	id    string
	found *found
}

// found is what is kept of a person who is among the best so far.
type found struct {
	seq     int64
	profile Profile
}

func newTop(k int, seed string) *top { return &top{k: k, seed: seedOf(seed)} }

// better says whether a comes before b.
func better(a, b rank) int {
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.draw, b.draw), byID(a.who, b.who), strings.Compare(a.id, b.id))
}

// least is the score below which nobody comes in any more.
func (t *top) least() int32 {
	switch {
	case t.k <= 0:
		return math.MaxInt32
	case len(t.heap) < t.k:
		return math.MinInt32
	}
	return t.heap[0].score
}

// offer takes one more.
func (t *top) offer(r rank) {
	if r.score < t.least() {
		return
	}
	if r.draw = lot(t.seed, r.who); r.id != "" {
		r.draw = draw(t.seed, r.id)
	}
	t.take(r)
}

// take takes one more whose lot is drawn.
func (t *top) take(r rank) {
	switch {
	case len(t.heap) < t.k: // no heap.Push: it would put every rank on Go's heap
		t.heap = append(t.heap, r)
		heap.Fix(&t.heap, len(t.heap)-1)
	case t.k > 0 && better(r, t.heap[0]) < 0:
		t.drop(t.heap[0])
		t.heap[0] = r
		heap.Fix(&t.heap, 0)
	default:
		t.drop(r)
	}
}

func (t *top) sorted() []rank {
	slices.SortFunc(t.heap, better)
	return t.heap
}

// ranked is a heap with the worst on top.
type ranked []rank

func (r ranked) Len() int           { return len(r) }
func (r ranked) Less(i, j int) bool { return better(r[i], r[j]) > 0 }
func (r ranked) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranked) Push(x any)        { *r = append(*r, x.(rank)) }
func (r *ranked) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = (*r)[:last]
	return x
}

// seedOf is the number of a seed.
func seedOf(seed string) uint64 { return fnv(14695981039346656037, seed) }

// draw is the lot that an id draws under a seed: FNV-1a, then mixed, because the
// last bytes of FNV are mixed too little to be fair.
func draw(seed uint64, id string) uint64 { return mix(fnv(seed, id)) }

// lot is the lot that a person draws.
func lot(seed uint64, id ulid.ULID) uint64 { return mix(seed ^ hash(id)) }

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
