package matching

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"

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
}

type marketOffer struct {
	id     string
	demand Demand            // Left: posts that the campaign may fill
	states map[string]string // of the offer's cases, by candidate
}

type marketPerson struct {
	id     string
	person Person
	fit    bool // meets the conditions that look at nobody but the person
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
	found := make([][]marketPair, len(w.offers))
	w.each(ctx, func(o int, person int32, pair *Pair) {
		if failed(pair, 0) == len(Conditions) {
			parts := Score(rules.Weights, pair.Offer, &pair.Person.Profile, today)
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

// each visits, for every offer with a post left, the people whose occupation fits
// and who meet the conditions that look at nobody but them; several offers at a
// time, one offer from one goroutine. The pair is only good during the visit.
func (w *market) each(ctx context.Context, visit func(offer int, person int32, pair *Pair)) {
	byRome := map[string][]int32{}
	for i := range w.people {
		if w.people[i].fit {
			for _, have := range w.people[i].person.Occupations {
				byRome[have.Rome] = append(byRome[have.Rome], int32(i))
			}
		}
	}
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for k := range workers {
		wait.Go(func() {
			for o := k; o < len(w.offers) && ctx.Err() == nil; o += workers {
				d := &w.offers[o].demand
				if d.Left <= 0 || !d.Open || d.Suspended {
					continue
				}
				pair := Pair{Offer: d, Today: w.today, Kind: Shortlisted}
				for at, near := range d.Accepts {
					for _, i := range byRome[near.Rome] {
						who := &w.people[i]
						if at > 0 && hasOne(&who.person, d.Accepts[:at]) {
							continue // met already, under a nearer occupation
						}
						pair.Person, pair.State = &who.person, w.offers[o].states[who.id]
						visit(o, i, &pair)
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
	score         int32 // that the pair would have
	lack          lack
	owned         bool // has been given already: see task.extra
}

// lack is what somebody lacks: a language at a level, a licence, or to be
// available on the day, or the wish for the scheme.
type lack struct {
	condition string // CondLanguage, CondLicence, CondDates or CondScheme
	code      string // the language, the licence, the scheme
	rank      int8   // of the language, 0: any level
}

// gaps finds all pairs that fail one condition only, of those that somebody could
// do something about, and there lack one thing only. Consent is not among them:
// who does not consent is not looked at.
func (w *market) gaps(ctx context.Context) ([]gap, error) {
	found := make([][]gap, len(w.offers))
	w.each(ctx, func(o int, person int32, pair *Pair) {
		at := failed(pair, 0)
		if at == len(Conditions) {
			return
		}
		l, ok := lacking(Conditions[at].Name, pair)
		if !ok || failed(pair, at+1) != len(Conditions) {
			return
		}
		with := l.give(&pair.Person.Profile)
		parts := Score(w.rules.Weights, pair.Offer, &with, w.today)
		found[o] = append(found[o], gap{offer: int32(o), person: person, score: parts.Total(), lack: l})
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
