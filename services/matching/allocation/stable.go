package allocation

import (
	"fmt"
	"math"
)

// Preferences are what candidates and offers say of each other, by number from
// 0: strict lists, best first, which need not be complete. A pair that only one
// of the two lists is refused by the other: it is never matched and never blocks
// a matching, and no error. Empty lists and offers without posts are no errors
// either. A number that is repeated in a list or that does not exist is one.
//
// Ties are to be broken before, by a draw that can be repeated (a hash of a
// recorded seed and the id). Draw once for a whole campaign, not once per offer:
// one lottery leaves candidates better off (Abdulkadiroğlu, Pathak and Roth,
// "Strategy-proofness versus efficiency in matching with indifferences",
// American Economic Review 99, 2009).
type Preferences struct {
	Candidates [][]int32 // of each candidate, the offers that it accepts
	Offers     [][]int32 // of each offer, the candidates that it accepts
	Posts      []int32   // of each offer, how many it takes, 0 or more
}

// Matching is who goes where.
type Matching struct {
	Offer    []int32 // of each candidate; -1: none
	OneSided int     // entries of either side that the other side does not return
}

// Stable gives the candidate-optimal stable matching of hospitals and residents
// (Gale and Shapley, "College admissions and the stability of marriage", American
// Mathematical Monthly 69, 1962): no candidate and offer that list each other
// would both rather have each other than what they got, and every candidate gets
// the best offer that it gets in any such matching. Candidates propose in the
// order of their lists; an offer keeps the best so far. The result does not
// depend on the order in which candidates are taken, nor does who is matched at
// all depend on the choice among stable matchings (the rural hospitals theorem:
// Roth, "On the allocation of residents to rural hospitals", Econometrica 54,
// 1986).
//
// Time and memory are linear in the entries of the lists. An error says which
// list breaks the contract of Preferences.
func Stable(p *Preferences) (*Matching, error) {
	s, err := newStable(p)
	if err != nil {
		return nil, err
	}
	for c := range p.Candidates {
		// Whoever c puts out goes on in its place, until somebody puts out nobody.
		for who := int32(c); who >= 0; {
			who = s.propose(who)
		}
	}
	return &s.matching, nil
}

// stable is the state of deferred acceptance. A slot is a place in the list of an
// offer; slots are numbered through, offer by offer, so that within an offer the
// lower slot is the better candidate.
type stable struct {
	*Preferences
	entry    []int32 // of each candidate, the number of its first entry
	first    []int32 // of each offer, the number of its first slot
	slot     []int32 // of each entry, the slot of the same pair; -1: the offer does not list the candidate
	next     []int32 // of each candidate, the place of its next proposal
	taken    []int32 // of each offer, how many it holds
	held     []bool  // of each slot
	worst    []int32 // of each full offer, the last slot that is held
	matching Matching
}

// newStable checks the lists and finds the slot of every entry.
func newStable(p *Preferences) (*stable, error) {
	if len(p.Posts) != len(p.Offers) {
		return nil, fmt.Errorf("allocation: posts are given for %d offers, lists for %d: give both for each", len(p.Posts), len(p.Offers))
	}
	s := &stable{Preferences: p}
	var err error
	if s.entry, err = starts("candidates", p.Candidates); err != nil {
		return nil, err
	}
	if s.first, err = starts("offers", p.Offers); err != nil {
		return nil, err
	}
	candidates, offers := len(p.Candidates), len(p.Offers)

	// The offers' lists turned round: by candidate, who lists it and where.
	type place struct{ offer, slot int32 }
	end := make([]int32, candidates+1)
	for o, list := range p.Offers {
		if p.Posts[o] < 0 {
			return nil, fmt.Errorf("allocation: offer %d has %d posts: a number of posts is 0 or more", o, p.Posts[o])
		}
		for _, c := range list {
			if c < 0 || int(c) >= candidates {
				return nil, fmt.Errorf("allocation: offer %d lists candidate %d: candidates are 0 to %d", o, c, candidates-1)
			}
			end[c+1]++
		}
	}
	for c := range candidates {
		end[c+1] += end[c]
	}
	places := make([]place, end[candidates])
	for o, list := range p.Offers {
		for i, c := range list {
			places[end[c]] = place{int32(o), s.first[o] + int32(i)}
			end[c]++ // the start of c becomes its end, which is the start of c+1
		}
	}

	s.slot = make([]int32, s.entry[candidates])
	slots := make([]int32, offers) // of the candidate at hand, by offer; -1: none
	seen := make([]int32, offers)  // the last candidate that lists the offer, plus 1
	for o := range slots {
		slots[o] = -1
	}
	mutual, from := 0, int32(0)
	for c, list := range p.Candidates {
		row := places[from:end[c]]
		from = end[c]
		for _, at := range row {
			if slots[at.offer] >= 0 {
				return nil, fmt.Errorf("allocation: offer %d lists candidate %d twice: list each once", at.offer, c)
			}
			slots[at.offer] = at.slot
		}
		for i, o := range list {
			if o < 0 || int(o) >= offers {
				return nil, fmt.Errorf("allocation: candidate %d lists offer %d: offers are 0 to %d", c, o, offers-1)
			}
			if seen[o] == int32(c)+1 {
				return nil, fmt.Errorf("allocation: candidate %d lists offer %d twice: list each once", c, o)
			}
			seen[o] = int32(c) + 1
			s.slot[s.entry[c]+int32(i)] = slots[o]
			if slots[o] >= 0 {
				mutual++
			}
		}
		for _, at := range row {
			slots[at.offer] = -1
		}
	}

	s.next = make([]int32, candidates)
	s.taken = make([]int32, offers)
	s.held = make([]bool, len(places))
	s.worst = make([]int32, offers)
	s.matching.Offer = make([]int32, candidates)
	for c := range s.matching.Offer {
		s.matching.Offer[c] = -1
	}
	s.matching.OneSided = len(s.slot) + len(places) - 2*mutual
	return s, nil
}

// starts gives the number of the first entry of each list, and of one more.
func starts(what string, lists [][]int32) ([]int32, error) {
	out, n := make([]int32, len(lists)+1), 0
	for i, list := range lists {
		if n += len(list); n > math.MaxInt32 {
			return nil, fmt.Errorf("allocation: the lists of %s have more than %d entries: divide the campaign", what, math.MaxInt32)
		}
		out[i+1] = int32(n)
	}
	return out, nil
}

// propose lets a candidate without offer go down its list until one holds it. It
// gives the candidate who had to leave for it, -1 when nobody had to, or when the
// list is at its end.
func (s *stable) propose(c int32) int32 {
	list := s.Candidates[c]
	slots := s.slot[s.entry[c]:s.entry[c+1]]
	for int(s.next[c]) < len(list) {
		o, slot := list[s.next[c]], slots[s.next[c]]
		s.next[c]++
		switch {
		case slot < 0 || s.Posts[o] == 0:
		case s.taken[o] < s.Posts[o]:
			s.held[slot], s.matching.Offer[c] = true, o
			if s.taken[o]++; s.taken[o] == s.Posts[o] {
				s.lower(o, s.first[o+1])
			}
			return -1
		case slot < s.worst[o]:
			last := s.worst[o]
			out := s.Offers[o][last-s.first[o]]
			s.held[slot], s.matching.Offer[c] = true, o
			s.held[last], s.matching.Offer[out] = false, -1
			s.lower(o, last)
			return out
		}
	}
	return -1
}

// lower finds the worst candidate that a full offer holds, below a slot. It only
// ever goes towards the better ones: over a whole run it looks at every slot once.
func (s *stable) lower(o, below int32) {
	for below--; !s.held[below]; below-- {
	}
	s.worst[o] = below
}
