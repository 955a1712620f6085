package matching

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"
)

// Index holds every person and offer in memory, as the conditions and the score
// see them, and answers shortlists. It is a cache of the documents and nothing
// else: Put takes a document's version and ignores what is not newer, so that
// documents may be put again and in any order. It is safe for concurrent use.
type Index struct {
	rules *Rules

	mu        sync.RWMutex
	people    map[string]*personEntry
	byRome    map[string][]*personEntry // who exercises an occupation
	visible   map[string]int            // people by governorate
	offers    map[string]*offerEntry
	employers map[string]employerEntry
}

// personEntry is one person. It is never changed but for its places in the
// lists, under the lock.
type personEntry struct {
	id      string
	version int64
	seq     int64 // of the candidate
	stamp   uint64
	person  Person
	at      []int32 // place in byRome, for each of the person's occupations
}

type offerEntry struct {
	id       string
	version  int64
	seq      int64 // of the offer
	employer string
	seats    int    // as Offer.seats
	demand   Demand // Suspended is filled in when asked
}

type employerEntry struct {
	version   int64
	seq       int64
	suspended bool
}

// NewIndex makes an empty index.
func NewIndex(r *Rules) *Index {
	return &Index{
		rules: r, people: map[string]*personEntry{}, byRome: map[string][]*personEntry{},
		visible: map[string]int{}, offers: map[string]*offerEntry{}, employers: map[string]employerEntry{},
	}
}

// PutSeeker takes a person's document.
func (x *Index) PutSeeker(id string, version int64, s *Seeker) {
	if s.Seq == 0 { // only pathways are known yet: there is nobody to propose
		return
	}
	if x.hasPerson(id, version) {
		return
	}
	e := &personEntry{id: id, version: version, seq: s.Seq, stamp: s.Stamp(), person: x.rules.Person(s)}
	e.at = make([]int32, len(e.person.Occupations))
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.people[id]; old != nil {
		if old.version >= version {
			return
		}
		x.drop(old)
	}
	x.people[id] = e
	x.visible[e.person.Governorate]++
	for i, o := range e.person.Occupations {
		e.at[i] = int32(len(x.byRome[o.Rome]))
		x.byRome[o.Rome] = append(x.byRome[o.Rome], e)
	}
}

func (x *Index) hasPerson(id string, version int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	old := x.people[id]
	return old != nil && old.version >= version
}

// drop takes an entry out of the lists: the last of a list takes its place.
func (x *Index) drop(e *personEntry) {
	x.visible[e.person.Governorate]--
	for i, o := range e.person.Occupations {
		list := x.byRome[o.Rome]
		last := list[len(list)-1]
		list[e.at[i]] = last
		j := slices.IndexFunc(last.person.Occupations, func(l Experience) bool { return l.Rome == o.Rome })
		last.at[j] = e.at[i]
		list[len(list)-1] = nil
		x.byRome[o.Rome] = list[:len(list)-1]
	}
}

// PutOffer takes an offer's document.
func (x *Index) PutOffer(id string, version int64, o *Offer) {
	e := &offerEntry{id: id, version: version, seq: o.Seq, employer: o.EmployerID, seats: o.seats(), demand: x.rules.Demand(o, false)}
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.offers[id]; old == nil || old.version < version {
		x.offers[id] = e
	}
}

// PutEmployer takes an employer's document.
func (x *Index) PutEmployer(id string, version int64, m *Employer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old, ok := x.employers[id]; !ok || old.version < version {
		x.employers[id] = employerEntry{version, m.Seq, m.Suspended}
	}
}

// Size says how many people and offers the index holds.
func (x *Index) Size() (people, offers int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.people), len(x.offers)
}

// Person gives a person, as the index has them.
func (x *Index) Person(id string) (Person, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.people[id]
	if !ok {
		return Person{}, false
	}
	return e.person, true
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
	return Posted{e.employer, e.demand.Scheme, e.seats}, true
}

// demand is an offer's demand with what is known of its employer now.
func (x *Index) demand(e *offerEntry) Demand {
	d := e.demand
	d.Suspended = x.employers[e.employer].suspended
	return d
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
	ID     string // of the candidate (Candidates) or the offer (Offers)
	Seq    int64  // last event of it that was seen
	Score  int32
	Parts  Parts
	State  string    // of the pair's case, "" when nothing was decided yet
	Failed []Failure // conditions that do not hold; only in near misses
}

// Shortlist answers a question.
type Shortlist struct {
	Seq        int64          // last event of whom or what was asked about
	Considered int            // all in the scope
	Eligible   int            // of them, those that meet every condition
	Out        map[string]int // of them, those that do not, by the first condition that fails
	Matches    []Match        // the best of the eligible, best first
	Near       []Match        // Offers only: the nearest of those that fail
	// Seen are, when a witness is asked for, the people who were looked at: those
	// in the scope with a fitting occupation, by id (Candidates), or the one who
	// was asked about (Offers). The others count by their number only: Considered.
	Seen []Seen
	// SeenOffers are, when a witness is asked for, the offers that were looked at:
	// the one that was asked about (Candidates), or every open one in the scope, by
	// id (Offers).
	SeenOffers []SeenOffer
}

// Candidates answers the best candidates of an offer; false when the index does
// not have the offer. Only those with a fitting occupation are looked at one by
// one.
func (x *Index) Candidates(offer string, ask Ask) (*Shortlist, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.offers[offer]
	if !ok {
		return nil, false
	}
	d := x.demand(e)
	if ask.Left >= 0 {
		d.Left = min(d.Left, ask.Left)
	}
	out := &Shortlist{Seq: e.seq, Out: map[string]int{}}
	out.Considered = x.considered(ask.Scope)
	if ask.Witness {
		out.SeenOffers = []SeenOffer{x.seenOffer(e)}
		defer func() { slices.SortFunc(out.Seen, bySeen) }()
	}
	pair := Pair{Offer: &d, Person: &Person{}, Today: ask.Today, Kind: Shortlisted, Disclose: ask.Scope.Employer != ""}
	whole := 0 // conditions that are the same for everybody come first
	for ; Conditions[whole].Whole; whole++ {
		if !Conditions[whole].Check(&pair).OK {
			if out.Considered > 0 {
				out.Out[Conditions[whole].Name] = out.Considered
			}
			return out, true
		}
	}
	// From here on the counts are by place: a map in the loop would cost more
	// than the conditions.
	counts := make([]int, len(Conditions)+1)
	best := newTop(ask.K, ask.Seed)
	seen := 0
	for i, near := range d.Accepts {
		for _, who := range x.byRome[near.Rome] {
			if !within(ask.Scope.Governorates, who.person.Governorate) || elsewhere(&who.person, d.Accepts[:i]) {
				continue
			}
			seen++
			if ask.Witness {
				out.Seen = append(out.Seen, who.seen())
			}
			pair.Person = &who.person
			pair.State = ask.States[who.id]
			at := failed(&pair, whole+1)
			counts[at]++
			if at == len(Conditions) {
				parts := Score(x.rules.Weights, &d, &who.person.Profile, ask.Today)
				best.offer(who.id, parts.Total())
			}
		}
	}
	counts[whole] = out.Considered - seen // the occupation
	out.tally(counts)
	for _, c := range best.sorted() {
		who := x.people[c.id]
		out.Matches = append(out.Matches, Match{
			ID: c.id, Seq: who.seq, Score: c.score, State: ask.States[c.id],
			Parts: Score(x.rules.Weights, &d, &who.person.Profile, ask.Today),
		})
	}
	return out, true
}

// elsewhere says whether a person was met already under a nearer occupation.
func elsewhere(p *Person, before []Near) bool {
	for _, near := range before {
		for i := range p.Occupations {
			if p.Occupations[i].Rome == near.Rome {
				return true
			}
		}
	}
	return false
}

func (x *Index) considered(s Scope) int {
	if len(s.Governorates) == 0 {
		return len(x.people)
	}
	n := x.visible[""]
	for i, g := range s.Governorates {
		if g != "" && slices.Index(s.Governorates, g) == i {
			n += x.visible[g]
		}
	}
	return n
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
	x.mu.RLock()
	defer x.mu.RUnlock()
	who, ok := x.people[candidate]
	if !ok {
		return nil, false
	}
	out := &Shortlist{Seq: who.seq, Out: map[string]int{}}
	if ask.Witness {
		out.Seen = []Seen{who.seen()}
		defer func() {
			slices.SortFunc(out.SeenOffers, func(a, b SeenOffer) int { return cmp.Compare(a.ID, b.ID) })
		}()
	}
	counts := make([]int, len(Conditions)+1)
	best, near := newTop(ask.K, ask.Seed), newTop(ask.K, ask.Seed)
	for id, e := range x.offers {
		if !e.demand.Open || !within(ask.Scope.Schemes, e.demand.Scheme) ||
			ask.Scope.Employer != "" && e.employer != ask.Scope.Employer {
			continue
		}
		out.Considered++
		if ask.Witness {
			out.SeenOffers = append(out.SeenOffers, x.seenOffer(e))
		}
		pair := x.pair(e, who, ask)
		at := failed(&pair, 0)
		counts[at]++
		if at == len(Conditions) {
			parts := Score(x.rules.Weights, pair.Offer, &who.person.Profile, ask.Today)
			best.offer(id, parts.Total())
		} else if occupationFits(&pair).OK {
			parts := Score(x.rules.Weights, pair.Offer, &who.person.Profile, ask.Today)
			near.offer(id, parts.Total()-1001*int32(len(Failures(&pair)))) // failures weigh more than any score
		}
	}
	out.tally(counts)
	match := func(id string) Match {
		e := x.offers[id]
		pair := x.pair(e, who, ask)
		m := Match{ID: id, Seq: e.seq, State: pair.State, Parts: Score(x.rules.Weights, pair.Offer, &who.person.Profile, ask.Today)}
		m.Score, m.Failed = m.Parts.Total(), Failures(&pair)
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

func (x *Index) pair(e *offerEntry, who *personEntry, ask Ask) Pair {
	d := x.demand(e)
	return Pair{
		Offer: &d, Person: &who.person, Today: ask.Today, Kind: Shortlisted,
		Disclose: ask.Scope.Employer != "", State: ask.States[e.id],
	}
}

func (x *Index) seenOffer(e *offerEntry) SeenOffer {
	return SeenOffer{ID: e.id, Seq: e.seq, EmployerSeq: x.employers[e.employer].seq}
}

func (e *personEntry) seen() Seen {
	parsed, _ := ulid.ParseStrict(e.id) // no other id is ever stored: see person
	return Seen{parsed, e.stamp}
}

func bySeen(a, b Seen) int { return a.ID.Compare(b.ID) }

// Pairs visits every pair of these offers and a candidate in the scope that
// meets every condition, with its score: offers in the order given, an offer
// that the index does not have left out; candidates of an offer by id. It ends
// when visit says false. ask.Of tells of the cases of each offer. All is seen at
// one moment. With ask.Witness it returns what it was made from: the offers in
// the order given, and the people with an occupation that fits one of them, by
// id.
func (x *Index) Pairs(offers []string, ask Ask, visit func(offer, candidate string, score int32) bool) (people []Seen, posted []SeenOffer) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	met := map[string]bool{}
	going := true
	for _, offer := range offers {
		e, ok := x.offers[offer]
		if !ok {
			continue
		}
		if ask.Witness {
			posted = append(posted, x.seenOffer(e))
		}
		d := x.demand(e)
		var states map[string]string
		if ask.Of != nil {
			var left int
			if states, left = ask.Of(offer); left >= 0 {
				d.Left = min(d.Left, left)
			}
		}
		var fit []rank
		for i, near := range d.Accepts {
			for _, who := range x.byRome[near.Rome] {
				if !within(ask.Scope.Governorates, who.person.Governorate) || elsewhere(&who.person, d.Accepts[:i]) {
					continue
				}
				if ask.Witness && !met[who.id] {
					met[who.id] = true
					people = append(people, who.seen())
				}
				pair := Pair{
					Offer: &d, Person: &who.person, Today: ask.Today, Kind: Shortlisted,
					Disclose: ask.Scope.Employer != "", State: states[who.id],
				}
				if failed(&pair, 0) == len(Conditions) {
					parts := Score(x.rules.Weights, &d, &who.person.Profile, ask.Today)
					fit = append(fit, rank{id: who.id, score: parts.Total()})
				}
			}
		}
		slices.SortFunc(fit, func(a, b rank) int { return cmp.Compare(a.id, b.id) })
		for _, f := range fit {
			if going = going && visit(offer, f.id, f.score); !going {
				break
			}
		}
	}
	slices.SortFunc(people, bySeen)
	return people, posted
}

// top keeps the k best. Equal scores are ordered by a hash of seed and id: by
// another seed in another order, so that nobody is always the last of their
// equals, and by the same seed in the same.
type top struct {
	k    int
	seed uint64
	heap ranked
}

type rank struct {
	id    string
	score int32
	draw  uint64
}

func newTop(k int, seed string) *top { return &top{k: k, seed: fnv(14695981039346656037, seed)} }

// better says whether a comes before b.
func better(a, b rank) int {
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.draw, b.draw), cmp.Compare(a.id, b.id))
}

func (t *top) offer(id string, score int32) {
	if t.k <= 0 || len(t.heap) == t.k && score < t.heap[0].score {
		return
	}
	r := rank{id, score, draw(t.seed, id)}
	if len(t.heap) < t.k {
		heap.Push(&t.heap, r)
	} else if better(r, t.heap[0]) < 0 {
		t.heap[0] = r
		heap.Fix(&t.heap, 0)
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

// draw is the lot that an id draws under a seed: FNV-1a, then the finalizer of
// SplitMix64, because the last bytes of FNV are mixed too little to be fair.
func draw(seed uint64, id string) uint64 {
	z := fnv(seed, id)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
