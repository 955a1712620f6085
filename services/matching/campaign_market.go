package matching

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
)

// market is all that a campaign is worked out from: its offers and people as they
// were at one moment, and the pairs of them that meet every condition. It is
// made from recorded inputs alone, so that the same inputs are the same market.
type market struct {
	rules *Rules
	today Day
	seed  string
	// offers are in the order of their ids. people are in the order of the lots
	// that they draw under the seed: a person's number is their place in the one
	// lottery that decides between equals.
	offers []marketOffer
	people []marketPerson
	// pairs are those of offer 0 by person, then those of offer 1 ...: offer o has
	// pairs[first[o]:first[o+1]].
	first []int
	pairs []marketPair
	// classes are people who stand for all who are the same to the conditions.
	classes []Person
	lacks   []lack // of the gaps, once they were looked for
}

type marketOffer struct {
	id     string
	demand Demand            // Left: posts that the campaign may fill
	states map[string]string // of the offer's cases, by candidate
}

type marketPerson struct {
	id     string
	person Person
	fit    bool // consents, and is free
	class  int32
}

// marketPair is a person for an offer, with the score in thousandths.
type marketPair struct{ person, score int32 }

// newMarket puts offers and people in order and finds the pairs. It ends early
// with the context's error.
func newMarket(ctx context.Context, rules *Rules, today Day, seed string, offers []marketOffer, people []marketPerson) (*market, error) {
	w := &market{rules: rules, today: today, seed: seed, offers: offers, people: people}
	slices.SortFunc(w.offers, func(a, b marketOffer) int { return cmp.Compare(a.id, b.id) })
	lots := make(map[string]uint64, len(people))
	lot := newTop(0, seed).seed
	for i := range people {
		lots[people[i].id] = draw(lot, people[i].id)
	}
	slices.SortFunc(w.people, func(a, b marketPerson) int {
		return cmp.Or(cmp.Compare(lots[a.id], lots[b.id]), cmp.Compare(a.id, b.id))
	})
	for i := range w.people {
		p := &w.people[i].person
		w.people[i].fit = p.Matching && !slices.ContainsFunc(p.Tracks, func(t Track) bool { return t.Engaged })
	}
	w.classify()
	found := make([][]marketPair, len(w.offers))
	w.each(ctx, func(o int, person int32, v judgement) {
		if v.fits {
			parts := Score(rules.Weights, &w.offers[o].demand, &w.people[person].person.Profile, today)
			found[o] = append(found[o], marketPair{person, parts.Total()})
		}
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w.first = make([]int, 1, len(w.offers)+1)
	for _, list := range found {
		slices.SortFunc(list, func(a, b marketPair) int { return cmp.Compare(a.person, b.person) })
		w.pairs = append(w.pairs, list...)
		w.first = append(w.first, len(w.pairs))
	}
	return w, nil
}

// classify finds people who are the same to every condition, but for their
// occupations, the days on which they are available and their cases: each
// condition is asked once for a class.
func (w *market) classify() {
	classes := map[string]int32{}
	var key []byte
	text := func(s string) { key = append(append(key, s...), 0) }
	for i := range w.people {
		p := &w.people[i].person
		if !w.people[i].fit {
			continue
		}
		key = key[:0]
		for _, l := range p.Languages {
			text(l.Code)
			key = append(key, byte(l.Rank))
		}
		key = append(key, 1)
		for _, l := range p.Licences {
			text(l)
		}
		key = append(key, 1)
		for _, s := range p.Schemes {
			text(s)
		}
		key = append(key, 1)
		for _, t := range p.Tracks { // none is engaged
			text(t.Scheme)
			key = append(key, byte(t.Takes), map[bool]byte{true: 1}[t.Known])
		}
		class, known := classes[string(key)]
		if !known {
			class = int32(len(w.classes))
			classes[string(key)] = class
			w.classes = append(w.classes, Person{
				Profile:  Profile{Languages: p.Languages, Licences: p.Licences, Schemes: p.Schemes},
				Matching: true, Tracks: p.Tracks,
			})
		}
		w.people[i].class = class
	}
}

// judgement is what the conditions say of a pair: that it fits, or that it lacks
// one thing only, or neither.
type judgement struct {
	fits bool
	gap  bool
	lack lack
}

// judge asks every condition but the occupation and the dates.
func (w *market) judge(d *Demand, class int32) judgement {
	who := w.classes[class]
	who.Occupations = []Experience{{Rome: d.Rome}}
	pair := Pair{Offer: d, Person: &who, Today: w.today, Kind: Shortlisted}
	at := failed(&pair, 0)
	if at == len(Conditions) {
		return judgement{fits: true}
	}
	l, ok := lacking(Conditions[at].Name, &pair)
	return judgement{gap: ok && failed(&pair, at+1) == len(Conditions), lack: l}
}

// each visits, for every offer with a post left, the people whose occupation fits
// and who are not out for a reason of their own, with what the conditions say;
// several offers at a time, one offer from one goroutine.
func (w *market) each(ctx context.Context, visit func(offer int, person int32, v judgement)) {
	byRome := map[string][]int32{}
	for i := range w.people {
		if w.people[i].fit {
			for _, have := range w.people[i].person.Occupations {
				byRome[have.Rome] = append(byRome[have.Rome], int32(i))
			}
		}
	}
	var wait sync.WaitGroup
	var turn atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			known := make([]*judgement, len(w.classes))
			var asked []int32
			for ctx.Err() == nil {
				o := int(turn.Add(1) - 1)
				if o >= len(w.offers) {
					return
				}
				d := &w.offers[o].demand
				if d.Left <= 0 || !d.Open || d.Suspended {
					continue
				}
				for _, class := range asked {
					known[class] = nil
				}
				asked = asked[:0]
				pair := Pair{Offer: d, Today: w.today, Kind: Shortlisted}
				for at, near := range d.Accepts {
					for _, i := range byRome[near.Rome] {
						who := &w.people[i]
						if at > 0 && hasOne(&who.person, d.Accepts[:at]) {
							continue // met already, under a nearer occupation
						}
						v := known[who.class]
						if v == nil {
							made := w.judge(d, who.class)
							v = &made
							known[who.class], asked = v, append(asked, who.class)
						}
						if !v.fits && !v.gap {
							continue
						}
						pair.Person = &who.person
						if states := w.offers[o].states; len(states) > 0 {
							if pair.State = states[who.id]; pair.State != "" && (!personFree(&pair).OK || !notRefused(&pair).OK) {
								continue
							}
						}
						if availableAtStart(&pair).OK {
							visit(o, i, *v)
						} else if v.fits {
							visit(o, i, judgement{gap: true, lack: lack{condition: CondDates}})
						}
					}
				}
			}
		})
	}
	wait.Wait()
}

func hasOne(p *Person, occupations []Near) bool {
	return slices.ContainsFunc(p.Occupations, func(have Experience) bool {
		return slices.ContainsFunc(occupations, func(n Near) bool { return n.Rome == have.Rome })
	})
}

// gap is what one person lacks for one offer, where it is the only thing.
type gap struct {
	offer, person int32
	score         int32  // that the pair would have; 0 until somebody asks
	lack          uint16 // its number in market.lacks
	owned         bool   // has been given already: see task.extra
}

// lack is what somebody lacks: a language at a level, a licence, or to be
// available on the day, or the wish for the scheme.
type lack struct {
	condition string // CondLanguage, CondLicence, CondDates or CondScheme
	code      string // the language, the licence, the scheme
	rank      int8   // of the language, 0: any level
}

// worth scores a gap as if the person had what l gives.
func (w *market) worth(g gap, l lack) int32 {
	with := l.give(&w.people[g.person].person.Profile)
	parts := Score(w.rules.Weights, &w.offers[g.offer].demand, &with, w.today)
	return parts.Total()
}

// gaps finds all pairs that fail one condition only, of those that somebody could
// do something about, and there lack one thing only. Consent is not among them:
// who does not consent is not looked at.
func (w *market) gaps(ctx context.Context) ([]gap, error) {
	found := make([][]gap, len(w.offers))
	var mu sync.Mutex
	number := map[lack]uint16{}
	w.lacks = nil
	w.each(ctx, func(o int, person int32, v judgement) {
		if !v.gap {
			return
		}
		mu.Lock()
		n, known := number[v.lack]
		if !known {
			n = uint16(len(w.lacks))
			number[v.lack] = n
			w.lacks = append(w.lacks, v.lack)
		}
		mu.Unlock()
		found[o] = append(found[o], gap{offer: int32(o), person: person, lack: n})
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all []gap
	for _, list := range found {
		slices.SortFunc(list, func(a, b gap) int { return cmp.Compare(a.person, b.person) })
		all = append(all, list...)
	}
	return all, nil
}

// lacking says what is lacking for a condition that fails; false when it is more
// than one thing, or nothing that could be given.
func lacking(condition string, pair *Pair) (out lack, ok bool) {
	n := 0
	switch condition {
	case CondLanguage:
		for _, need := range pair.Offer.Languages {
			if have, knows := level(&pair.Person.Profile, need.Code); need.Required && (!knows || have < need.Rank) {
				// Of one language that is named twice, the higher level.
				if n == 0 || out.code != need.Code {
					n++
				}
				out = lack{CondLanguage, need.Code, max(out.rank, need.Rank)}
			}
		}
	case CondLicence:
		for _, category := range pair.Offer.Licences {
			one := Pair{Offer: &Demand{Licences: []string{category}}, Person: pair.Person}
			if !licencesHeld(&one).OK {
				n++
				out = lack{CondLicence, category, 0}
			}
		}
	case CondDates:
		n, out = 1, lack{condition: CondDates}
	case CondScheme:
		if pair.Offer.Scheme != "" {
			n, out = 1, lack{condition: CondScheme, code: pair.Offer.Scheme}
		}
	}
	return out, n == 1
}

// meets says whether whoever is given this would then have what the other lacks.
func (l lack) meets(other lack) bool {
	return l.condition == other.condition && l.code == other.code && l.rank >= other.rank
}

// give is the profile of somebody who got what they lacked. Dates and wishes are
// left as they are: they are the person's own, and a score is made with them.
func (l lack) give(p *Profile) Profile {
	with := *p
	switch l.condition {
	case CondLanguage:
		with.Languages = slices.Clone(p.Languages)
		if i := slices.IndexFunc(with.Languages, func(h Level) bool { return h.Code == l.code }); i >= 0 {
			with.Languages[i].Rank = max(with.Languages[i].Rank, l.rank)
		} else {
			with.Languages = append(with.Languages, Level{l.code, l.rank})
		}
	case CondLicence:
		with.Licences = append(slices.Clone(p.Licences), l.code)
	}
	return with
}

// ulidOf reads an id that was stored: it is a ULID, see person.
func ulidOf(id string) ulid.ULID {
	parsed, _ := ulid.ParseStrict(id)
	return parsed
}
