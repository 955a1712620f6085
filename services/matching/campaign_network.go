package matching

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"masar.local/services/matching/allocation"
)

// Quota bounds how many are placed: of the people of a governorate, or with the
// offers of a scheme.
type Quota struct {
	By   string `json:"by" bson:"by"`     // QuotaGovernorate or QuotaScheme
	Code string `json:"code" bson:"code"` // of the governorate or the scheme
	Min  int64  `json:"min" bson:"min"`
	// Max is the most, at least Min. Default: as many as there are.
	Max *int64 `json:"max,omitempty" bson:"max,omitempty"`
}

// What a quota may be by.
const (
	QuotaGovernorate = "governorate"
	QuotaScheme      = "scheme"
)

// task is one optimisation over a market.
type task struct {
	*market
	posts  []int64 // of each offer
	quotas []Quota
	// kept is the offer that each person had before, -1 for none; nil: nothing is
	// to be kept.
	kept []int32
	// extra are pairs that a change opens by giving a person what they lack. The
	// fewer of them are used the better, where as many are placed.
	extra []gap
	// most bounds all placements together when it is 0 or more.
	most int64
	// floor asks that some people be placed; nil: none. Not together with quotas
	// by governorate: a person would be counted by two nodes.
	floor *floor
}

// floor asks that at least so many of the people marked are placed.
type floor struct {
	member []bool // of each person
	least  int64
}

// newTask is the optimisation that a campaign asks for.
func newTask(w *market, quotas []Quota, kept []int32) *task {
	t := &task{market: w, quotas: quotas, kept: kept, most: -1, posts: make([]int64, len(w.offers))}
	for o := range w.offers {
		t.posts[o] = int64(max(0, w.offers[o].demand.Left))
	}
	return t
}

// scales are what one unit of each aim weighs, so that one number orders plans
// first by placements, then by the extra pairs used, then by total score, then by
// what is kept.
//
// They are small, and yet exact. Two plans of one network differ by cycles, each
// of which can be followed alone and passes each node at most once (every flow
// decomposes so). So a cycle touches an offer at most once, takes at most one pair
// from it and gives at most one to it: with n offers, or people if they are
// fewer, it changes the total score by at most 1000n, and what is kept or used by
// at most n. A unit of an aim must outweigh what one cycle can change in all aims
// below it, not what the whole plan can. It weighs twice that, so that the worth
// of a cycle can also be taken apart again: see placements.
type scales struct{ placement, extra, score, kept int64 }

func (t *task) scales() (s scales, err error) {
	n, twice := int64(min(len(t.offers), len(t.people))+1), int64(2)
	if len(t.extra) > 0 {
		twice = 1 // nothing is taken apart then, and there is one aim more
	}
	below := int64(0) // by which one cycle can change the aims so far
	weigh := func(most int64) (unit int64) {
		if unit = twice*below + 1; unit > (1<<60)/(most*n) {
			err = fmt.Errorf("matching: a campaign of %d offers and %d people: %w", len(t.offers), len(t.people), allocation.ErrRange)
			return 1
		}
		below += unit * most * n
		return unit
	}
	if t.kept != nil {
		s.kept = weigh(1)
	}
	s.score = weigh(1000)
	if len(t.extra) > 0 {
		s.extra = weigh(1)
	}
	s.placement = weigh(1)
	return s, err
}

// placements is how many placements a change is worth that is one cycle: the
// nearest number of them, since all else together weighs less than half of one.
func (s scales) placements(worth int64) int64 {
	if worth < 0 {
		return -s.placements(-worth)
	}
	return (worth + s.placement/2) / s.placement
}

// network is a task as a circulation, in which every unit of flow is one
// placement:
//
//	ground -> [governorate] -> person -> offer -> [scheme] -> [all] -> ground
//
// Governorates and schemes are there when they have a quota, "all" when
// placements are bounded. Nodes are the ground, the people, the offers, and then
// those. Arcs are one to each person, the pairs, one from each offer, those of
// the quotas, and the extra pairs last.
type network struct {
	*task
	allocation.Network
	weigh     scales
	quotaNode []int32
	all       int32 // the node, 0 when there is none
	quotaArc  []int32
	extraArc  int // number of the first
}

const ground = 0

func (t *task) personNode(p int32) int32 { return 1 + p }
func (t *task) offerNode(o int) int32    { return int32(1 + len(t.people) + o) }
func (t *task) pairArc(k int) int        { return len(t.people) + k }
func (t *task) offerArc(o int) int       { return len(t.people) + len(t.pairs) + o }

func (t *task) network() (*network, error) {
	weigh, err := t.scales()
	if err != nil {
		return nil, err
	}
	n := &network{task: t, weigh: weigh}
	nodes := 1 + len(t.people) + len(t.offers)
	arcs := len(t.people) + len(t.pairs) + len(t.offers) + len(t.quotas) + 1 + len(t.extra)
	n.From, n.To = make([]int32, 0, arcs), make([]int32, 0, arcs)
	n.Lower, n.Upper, n.Cost = make([]int64, 0, arcs), make([]int64, 0, arcs), make([]int64, 0, arcs)
	into, outOf := map[string]int32{}, map[string]int32{}
	for _, q := range t.quotas {
		n.quotaNode = append(n.quotaNode, int32(nodes))
		if q.By == QuotaGovernorate {
			into[q.Code] = int32(nodes)
		} else {
			outOf[q.Code] = int32(nodes)
		}
		nodes++
	}
	if t.most >= 0 {
		n.all = int32(nodes)
		nodes++
	}
	marked := int32(nodes) // the node of the floor
	if t.floor != nil {
		nodes++
	}
	n.Supply = make([]int64, nodes)
	for p := range t.people {
		from := into[t.people[p].person.Governorate] // the ground where there is no quota
		if t.floor != nil && t.floor.member[p] {
			from = marked
		}
		n.AddArc(from, t.personNode(int32(p)), 0, 1, 0)
	}
	for o := range t.offers {
		for _, pair := range t.pairs[t.first[o]:t.first[o+1]] {
			cost := -weigh.score * int64(pair.score)
			if t.kept != nil && t.kept[pair.person] == int32(o) {
				cost -= weigh.kept
			}
			n.AddArc(t.personNode(pair.person), t.offerNode(o), 0, 1, cost)
		}
	}
	total := int64(0)
	for o := range t.offers {
		to, quota := outOf[t.offers[o].demand.Scheme]
		if !quota {
			to = n.all
		}
		n.AddArc(t.offerNode(o), to, 0, t.posts[o], -weigh.placement)
		total += t.posts[o]
	}
	for i, q := range t.quotas {
		from, to := int32(ground), n.quotaNode[i]
		if q.By == QuotaScheme {
			from, to = n.quotaNode[i], n.all
		}
		// No maximum is more than there could ever be, also with one more post or
		// candidate: see margins.
		upper := max(total+int64(len(t.people))+1, q.Min)
		if q.Max != nil {
			upper = *q.Max
		}
		n.quotaArc = append(n.quotaArc, int32(n.AddArc(from, to, q.Min, upper, 0)))
	}
	if n.all != ground {
		n.AddArc(n.all, ground, 0, t.most, 0)
	}
	if t.floor != nil {
		n.AddArc(ground, marked, t.floor.least, max(t.floor.least, int64(len(t.people))), 0)
	}
	n.extraArc = len(n.From)
	for _, g := range t.extra {
		cost := -weigh.score * int64(g.score)
		if !g.owned {
			cost += weigh.extra
		}
		if t.kept != nil && t.kept[g.person] == g.offer {
			cost -= weigh.kept
		}
		n.AddArc(t.personNode(g.person), t.offerNode(int(g.offer)), 0, 1, cost)
	}
	return n, nil
}

// solution is an optimal plan of a task, verified.
type solution struct {
	net  *network
	plan *allocation.Plan
	// offer and score are those of each person: offer -1 when there is none.
	offer []int32
	score []int32
	// given is, for each person placed by an extra pair, its number; else -1.
	given  []int32
	filled []int64 // of each offer
	placed int64
	total  int64 // of the scores
	kept   int64
	used   int64 // extra pairs
}

// solve finds the optimal plan, has it verified, and counts it up again. The
// error of what is not possible is an *allocation.Infeasible, its proof checked
// too.
func (t *task) solve(ctx context.Context, warm *allocation.Plan, progress func(done, total int64)) (*solution, *network, error) {
	n, err := t.network()
	if err != nil {
		return nil, nil, err
	}
	plan, err := allocation.Solve(ctx, &n.Network, allocation.Options{Warm: warm, Progress: progress})
	var impossible *allocation.Infeasible
	if errors.As(err, &impossible) {
		if wrong := allocation.CheckInfeasible(&n.Network, impossible); wrong != nil {
			return nil, n, fmt.Errorf("matching: the proof that the quotas cannot hold is wrong: %w", wrong)
		}
		return nil, n, err
	}
	if err != nil {
		return nil, n, fmt.Errorf("matching: solve: %w", err)
	}
	if err := allocation.Verify(&n.Network, plan); err != nil {
		return nil, n, fmt.Errorf("matching: the verifier refuses the plan: %w", err)
	}
	s, err := n.read(plan)
	return s, n, err
}

// read takes a plan as placements, and checks it in the terms of the campaign:
// a pair at most for a person, posts, quotas.
func (n *network) read(plan *allocation.Plan) (*solution, error) {
	s := &solution{
		net: n, plan: plan, offer: make([]int32, len(n.people)), score: make([]int32, len(n.people)),
		given: make([]int32, len(n.people)), filled: make([]int64, len(n.offers)),
	}
	for p := range s.offer {
		s.offer[p], s.given[p] = -1, -1
	}
	place := func(p, o, score int32) error {
		if s.offer[p] >= 0 {
			return fmt.Errorf("matching: candidate %s is placed twice", n.people[p].id)
		}
		s.offer[p], s.score[p] = o, score
		s.placed, s.total, s.filled[o] = s.placed+1, s.total+int64(score), s.filled[o]+1
		if n.kept != nil && n.kept[p] == o {
			s.kept++
		}
		return nil
	}
	for o := range n.offers {
		for k := n.first[o]; k < n.first[o+1]; k++ {
			if plan.Flow[n.pairArc(k)] == 1 {
				if err := place(n.pairs[k].person, int32(o), n.pairs[k].score); err != nil {
					return nil, err
				}
			}
		}
	}
	for k, g := range n.extra {
		if plan.Flow[n.extraArc+k] == 1 {
			if err := place(g.person, g.offer, g.score); err != nil {
				return nil, err
			}
			if s.given[g.person] = int32(k); !g.owned {
				s.used++
			}
		}
	}
	for o, filled := range s.filled {
		if filled > n.posts[o] {
			return nil, fmt.Errorf("matching: offer %s has %d posts and is given %d people", n.offers[o].id, n.posts[o], filled)
		}
	}
	for _, q := range n.quotas {
		if placed := s.within(q); placed < q.Min || q.Max != nil && placed > *q.Max {
			return nil, fmt.Errorf("matching: the quota of %s %s does not hold: %d are placed", q.By, q.Code, placed)
		}
	}
	return s, nil
}

// within counts the placements that a quota is about.
func (s *solution) within(q Quota) (placed int64) {
	for p, o := range s.offer {
		if o < 0 {
			continue
		}
		if q.By == QuotaGovernorate && s.net.people[p].person.Governorate == q.Code ||
			q.By == QuotaScheme && s.net.offers[o].demand.Scheme == q.Code {
			placed++
		}
	}
	return placed
}

// Conflict says why quotas cannot hold: what they ask for together, and what
// there is. It is read off the solver's proof.
type Conflict struct {
	// Quotas are those that exclude each other, with the side that does: each has
	// Min or Max, not both.
	Quotas  []Quota `json:"quotas" bson:"quotas"`
	People  int64   `json:"people" bson:"people"` // who could be placed for it; -1: people are not what is short
	Posts   int64   `json:"posts" bson:"posts"`   // that could be filled for it; -1: posts are not what is short
	Missing int64   `json:"missing" bson:"missing"`
}

// conflict reads a proof: a set of nodes into which more must flow, by the lower
// bounds of quotas, than can flow out.
func (n *network) conflict(e *allocation.Infeasible) Conflict {
	in := func(v int32) bool { _, found := slices.BinarySearch(e.Nodes, v); return found }
	c := Conflict{Missing: e.Missing, People: -1, Posts: -1}
	for i, q := range n.quotas {
		a := n.quotaArc[i]
		switch from, to := in(n.From[a]), in(n.To[a]); {
		case to && !from && q.Min > 0:
			c.Quotas = append(c.Quotas, Quota{By: q.By, Code: q.Code, Min: q.Min})
		case from && !to && q.Max != nil:
			c.Quotas = append(c.Quotas, Quota{By: q.By, Code: q.Code, Max: q.Max})
		}
	}
	for a := range n.From {
		if !in(n.From[a]) || in(n.To[a]) {
			continue
		}
		switch {
		case a < n.pairArc(0):
			c.People = max(c.People, 0) + 1
		case a >= n.offerArc(0) && a < n.offerArc(len(n.offers)):
			c.Posts = max(c.Posts, 0) + n.Upper[a]
		case a < n.offerArc(0): // a pair: one person for one post
			c.People = max(c.People, 0) + 1
		}
	}
	if c.People < 0 && c.Posts < 0 && len(c.Quotas) == 1 {
		c.People = 0 // nobody at all
	}
	return c
}
