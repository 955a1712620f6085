package matching

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// ConditionScarcity is what would come of it if people had the one thing that
// they lack.
type ConditionScarcity struct {
	Condition   string `json:"condition"`             // CondLanguage, CondLicence, CondDates or CondScheme
	Code        string `json:"code,omitempty"`        // the language, the licence, the scheme
	CEFR        string `json:"cefr,omitempty"`        // level of a language
	Governorate string `json:"governorate,omitempty"` // of the people; absent: of all
	People      int    `json:"people"`                // who lack that and nothing else, for an offer at least
	// OneMore is how many more are placed when the right one of them gets it.
	OneMore int64 `json:"one_more"`
	// Placements is how many more are placed when all of them get it.
	Placements int64 `json:"placements"`
}

// conditions works out what each condition costs in placements: of all people,
// and then by governorate; those without effect are left out. Everything else of
// the plan may be arranged anew, and quotas hold.
func (s *solution) conditions(ctx context.Context, tell func(done, total int64)) ([]ConditionScarcity, error) {
	out := []ConditionScarcity{}
	if s.placed == sum(s.net.posts) {
		return out, nil // every post is filled: nobody would be placed for more
	}
	gaps, err := s.net.gaps(ctx)
	if err != nil || len(gaps) == 0 {
		return out, err
	}
	c := s.condense(gaps)

	// Of all people first: what helps none of them helps nobody of a governorate.
	var groups []trainees
	for l := range c.lacks {
		groups = append(groups, trainees{lack: l, governorate: everywhere})
	}
	all, err := c.ask(ctx, groups, func(done int64) { tell(done, int64(len(groups)*(1+len(c.governorates)))) })
	if err != nil {
		return nil, err
	}
	var local []trainees
	for i, found := range all {
		if found.Placements > 0 {
			for g := range c.governorates {
				local = append(local, trainees{groups[i].lack, g})
			}
		}
	}
	total := int64(len(groups) + len(local))
	parts, err := c.ask(ctx, local, func(done int64) { tell(int64(len(groups))+done, total) })
	if err != nil {
		return nil, err
	}
	for _, found := range append(all, parts...) {
		if found.Placements > 0 {
			out = append(out, found)
		}
	}
	slices.SortFunc(out, func(a, b ConditionScarcity) int {
		return cmp.Or(whole(a)-whole(b), cmp.Compare(b.Placements, a.Placements), cmp.Compare(a.Condition, b.Condition),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.CEFR, b.CEFR), cmp.Compare(a.Governorate, b.Governorate))
	})
	return out, nil
}

// whole puts what is about all people before what is about a governorate.
func whole(c ConditionScarcity) int {
	if c.Governorate == "" {
		return 0
	}
	return 1
}

// condensed is a solved campaign with those taken together who can stand for each
// other: people under the same quota who suit the same offers, and who lack the
// same thing for the same others. As long as only placements count, and not their
// scores, it does not matter which of a kind is placed where.
type condensed struct {
	kinds        []kind
	lacks        []lack
	covers       [][]bool // covers[l][m]: who gets lack l has lack m no more
	governorates []string

	// The residual network of the plan: a step from a node to another, how many it
	// can still take, and the step back. Those of node v are first[v] to first[v+1].
	first    []int32
	to, back []int32
	room     []room
	offer0   int32  // node of the first offer
	fromAll  []bool // what people without a place can reach
	toPost   []bool // what can reach an empty post
}

// room is how many a step can still take, and how many the step back, which lies
// elsewhere and is asked as often.
type room struct{ there, back int32 }

// kind is people who can stand for each other.
type kind struct {
	people int32
	living []int32 // how many, of each governorate
	gaps   []kindGap
}

type kindGap struct {
	offer int32
	lack  uint16
}

// Nodes of the condensed network: where people come from, where filled posts go,
// the kinds of people, the offers, the quotas.
const (
	people0 = 0
	posts0  = 1
	kind0   = 2
)

// everywhere is the number of no governorate: people of all of them.
const everywhere = -1

// condense takes people together, with the plan that the solution is.
func (s *solution) condense(gaps []gap) *condensed {
	n := s.net
	c := &condensed{lacks: n.lacks}
	for _, have := range c.lacks {
		covers := make([]bool, len(c.lacks))
		for m, other := range c.lacks {
			covers[m] = have.meets(other) // a language at a level: all levels below, too
		}
		c.covers = append(c.covers, covers)
	}

	// A person's kind is a digest of what they suit and lack, offer by offer.
	type digest [2]uint64
	digests := make([]digest, len(n.people))
	add := func(p int32, what uint64) {
		d := &digests[p]
		d[0] = (d[0] ^ what) * 0x9e3779b97f4a7c15
		d[0] ^= d[0] >> 29
		d[1] = (d[1]^what)*0xff51afd7ed558ccd + d[0]
		d[1] ^= d[1] >> 32
	}
	for o := range n.offers {
		for _, pair := range n.pairs[n.first[o]:n.first[o+1]] {
			add(pair.person, uint64(o)<<17|1)
		}
	}
	for _, g := range gaps {
		add(g.person, uint64(g.offer)<<17|uint64(g.lack)<<1|1<<63)
	}
	into, outOf := map[string]int32{}, map[string]int32{}
	for i, q := range n.quotas {
		if q.By == QuotaGovernorate {
			into[q.Code] = int32(i)
		} else {
			outOf[q.Code] = int32(i)
		}
	}
	type key struct {
		digest digest
		quota  int32 // -1: none
	}
	place := map[key]int32{}
	towns := map[string]int{}
	of := make([]int32, len(n.people)) // the kind of each person; -1: nobody to count on
	var first []int32                  // of each kind
	var quota []int32
	for p := range n.people {
		of[p] = -1
		if digests[p] == (digest{}) {
			continue
		}
		governorate := n.people[p].person.Governorate
		k := key{digests[p], -1}
		if q, bound := into[governorate]; bound {
			k.quota = q
		}
		at, known := place[k]
		if !known {
			at = int32(len(c.kinds))
			place[k] = at
			c.kinds = append(c.kinds, kind{})
			first, quota = append(first, int32(p)), append(quota, k.quota)
		}
		of[p] = at
		x := &c.kinds[at]
		x.people++
		if governorate == "" {
			continue
		}
		town, known := towns[governorate]
		if !known {
			town = len(c.governorates)
			towns[governorate] = town
			c.governorates = append(c.governorates, governorate)
		}
		for len(x.living) <= town {
			x.living = append(x.living, 0)
		}
		x.living[town]++
	}
	for _, g := range gaps {
		if k := of[g.person]; first[k] == g.person {
			c.kinds[k].gaps = append(c.kinds[k].gaps, kindGap{g.offer, g.lack})
		}
	}

	// The steps, each with its flow in the plan.
	c.offer0 = int32(kind0 + len(c.kinds))
	quota0 := c.offer0 + int32(len(n.offers))
	var arcs []arc
	placed := make([]int64, len(c.kinds))
	at := make([]int64, len(c.kinds)) // of the offer
	for o := range n.offers {
		start := len(arcs)
		for _, pair := range n.pairs[n.first[o]:n.first[o+1]] {
			k := of[pair.person]
			if s.offer[pair.person] == int32(o) {
				at[k]++
				placed[k]++
			}
			if first[k] == pair.person {
				arcs = append(arcs, arc{from: kind0 + k, to: c.offer0 + int32(o), upper: int64(c.kinds[k].people)})
			}
		}
		for i := range arcs[start:] {
			a := &arcs[start+i]
			a.flow, at[a.from-kind0] = at[a.from-kind0], 0
		}
		to := int32(posts0)
		if q, bound := outOf[n.offers[o].demand.Scheme]; bound {
			to = quota0 + q
		}
		arcs = append(arcs, arc{from: c.offer0 + int32(o), to: to, upper: n.posts[o], flow: s.filled[o]})
	}
	for k := range c.kinds {
		from := int32(people0)
		if quota[k] >= 0 {
			from = quota0 + quota[k]
		}
		arcs = append(arcs, arc{from: from, to: kind0 + int32(k), upper: int64(c.kinds[k].people), flow: placed[k]})
	}
	for i, q := range n.quotas {
		a := arc{from: people0, to: quota0 + int32(i), lower: q.Min, upper: math.MaxInt32, flow: s.within(q)}
		if q.By == QuotaScheme {
			a.from, a.to = a.to, posts0
		}
		if q.Max != nil {
			a.upper = *q.Max
		}
		arcs = append(arcs, a)
	}
	c.link(int(quota0)+len(n.quotas), arcs)
	c.fromAll, c.toPost = c.reach(people0, false), c.reach(posts0, true)
	return c
}

// arc is a step of the network with what the plan sends over it.
type arc struct {
	from, to           int32
	lower, upper, flow int64
}

// link makes the residual network.
func (c *condensed) link(nodes int, arcs []arc) {
	c.first = make([]int32, nodes+1)
	for _, a := range arcs {
		c.first[a.from]++
		c.first[a.to]++
	}
	for v, below := 0, int32(0); v <= nodes; v++ {
		c.first[v], below = below, below+c.first[v]
	}
	next := slices.Clone(c.first)
	c.to, c.back, c.room = make([]int32, 2*len(arcs)), make([]int32, 2*len(arcs)), make([]room, 2*len(arcs))
	bounded := func(n int64) int32 { return int32(max(0, min(n, math.MaxInt32))) }
	for _, a := range arcs {
		there, back := next[a.from], next[a.to]
		next[a.from]++
		next[a.to]++
		more, less := bounded(a.upper-a.flow), bounded(a.flow-a.lower)
		c.to[there], c.back[there], c.room[there] = a.to, back, room{more, less}
		c.to[back], c.back[back], c.room[back] = a.from, there, room{less, more}
	}
}

// reach marks the nodes that can be reached from one; or, backwards, those that
// can reach it.
func (c *condensed) reach(from int32, backwards bool) []bool {
	seen := make([]bool, len(c.first)-1)
	seen[from] = true
	queue := []int32{from}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for a := c.first[v]; a < c.first[v+1]; a++ {
			room := c.room[a].there
			if backwards {
				room = c.room[a].back
			}
			if u := c.to[a]; room > 0 && !seen[u] {
				seen[u] = true
				queue = append(queue, u)
			}
		}
	}
	return seen
}

// trainees are the people of a governorate, or of all, who are given what they lack.
type trainees struct {
	lack        int
	governorate int
}

// ask answers for each group of trainees, several at a time.
func (c *condensed) ask(ctx context.Context, groups []trainees, tell func(done int64)) ([]ConditionScarcity, error) {
	out := make([]ConditionScarcity, len(groups))
	var wait sync.WaitGroup
	var turn, done atomic.Int64
	var telling sync.Mutex
	for range min(runtime.GOMAXPROCS(0), len(groups)) {
		wait.Go(func() {
			f := newFlow(c)
			for ctx.Err() == nil {
				i := int(turn.Add(1) - 1)
				if i >= len(groups) {
					return
				}
				out[i] = f.given(groups[i])
				telling.Lock()
				tell(done.Add(1))
				telling.Unlock()
			}
		})
	}
	wait.Wait()
	return out, context.Cause(ctx)
}

// flow finds how many more can be placed when trainees are given what it lacks: the
// most flow that can be added to the plan, by Dinic's method (1970).
type flow struct {
	*condensed
	room []room // as in condensed, as far as this question has come
	undo []change

	// The steps that the trainees' new pairs are, from a kind over a node that bounds
	// it to those who live there, to the offers: after those of condensed, as a
	// list for each node.
	extraTo, extraRoom, extraNext []int32 // the step back of 2i is 2i+1
	extra                         []int32 // of each node, its first; -1: none
	touched                       []int32

	level []int32 // steps to the posts; -1: unknown
	next  []int32 // the step of a node that is tried next; extra ones as ^number
	seen  []int32
}

type change struct{ at, by int32 }

func newFlow(c *condensed) *flow {
	nodes := len(c.first) - 1 + len(c.kinds)
	f := &flow{
		condensed: c, room: slices.Clone(c.room),
		extra: slices.Repeat([]int32{-1}, nodes), level: slices.Repeat([]int32{-1}, nodes), next: make([]int32, nodes),
	}
	return f
}

// given answers for a group of trainees. The plan is left as it was.
func (f *flow) given(g trainees) ConditionScarcity {
	l := f.lacks[g.lack]
	out := ConditionScarcity{Condition: l.condition, Code: l.code}
	if l.condition == CondLanguage {
		out.CEFR = cefr(l.rank)
	}
	if g.governorate != everywhere {
		out.Governorate = f.governorates[g.governorate]
	}
	useful := false
	for k := range f.kinds {
		x := &f.kinds[k]
		people := x.people
		if g.governorate != everywhere {
			if people = 0; g.governorate < len(x.living) {
				people = x.living[g.governorate]
			}
		}
		if people == 0 {
			continue
		}
		bound := int32(len(f.first) - 1 + k)
		some := false
		for _, gap := range x.gaps {
			if !f.covers[g.lack][gap.lack] {
				continue
			}
			some = true
			offer := f.offer0 + gap.offer
			f.step(bound, offer, people)
			if f.toPost[offer] {
				useful = true
				if f.fromAll[kind0+k] {
					out.OneMore = 1
				}
			}
		}
		if some {
			out.People += int(people)
			f.step(int32(kind0+k), bound, people)
		}
	}
	if useful { // the last new pair of a way must lead to an empty post
		out.Placements = f.most()
	}
	for _, v := range f.touched {
		f.extra[v] = -1
	}
	f.touched, f.extraTo, f.extraRoom, f.extraNext = f.touched[:0], f.extraTo[:0], f.extraRoom[:0], f.extraNext[:0]
	for _, u := range f.undo {
		f.send(u.at, -u.by)
	}
	f.undo = f.undo[:0]
	return out
}

// step opens a way between two nodes.
func (f *flow) step(from, to, room int32) {
	for _, half := range [2]struct{ at, to, room int32 }{{from, to, room}, {to, from, 0}} {
		if f.extra[half.at] < 0 {
			f.touched = append(f.touched, half.at)
		}
		f.extraTo, f.extraRoom = append(f.extraTo, half.to), append(f.extraRoom, half.room)
		f.extraNext = append(f.extraNext, f.extra[half.at])
		f.extra[half.at] = int32(len(f.extraTo) - 1)
	}
}

// send takes so many over a step of the plan's own network.
func (f *flow) send(a, n int32) {
	f.room[a].there -= n
	f.room[a].back += n
	f.room[f.back[a]].there += n
	f.room[f.back[a]].back -= n
}

// own are the steps of a node in the plan's own network: from, included, to the
// other, excluded. The nodes that bound a kind have none.
func (f *flow) own(v int32) (from, to int32) {
	if int(v) >= len(f.first)-1 {
		return 0, 0
	}
	return f.first[v], f.first[v+1]
}

// most adds as much flow as there can be.
func (f *flow) most() (placed int64) {
	for f.levels() {
		for {
			n := f.push(people0, math.MaxInt32)
			if n == 0 {
				break
			}
			placed += int64(n)
		}
	}
	for _, v := range f.seen {
		f.level[v] = -1
	}
	f.seen = f.seen[:0]
	return placed
}

// levels counts the steps of each node to the posts, as far as where people come
// from; false when the posts cannot be reached from there.
func (f *flow) levels() bool {
	for _, v := range f.seen {
		f.level[v] = -1
	}
	f.seen = append(f.seen[:0], posts0)
	f.level[posts0] = 0
	for i := 0; i < len(f.seen); i++ {
		v := f.seen[i]
		l := f.level[v] + 1
		if source := f.level[people0]; source >= 0 && l >= source {
			break // no shortest way goes over what comes now
		}
		visit := func(u int32) {
			if f.level[u] < 0 {
				f.level[u] = l
				f.next[u], _ = f.own(u)
				f.seen = append(f.seen, u)
			}
		}
		from, to := f.own(v)
		for a := from; a < to; a++ {
			if f.room[a].back > 0 {
				visit(f.to[a])
			}
		}
		for e := f.extra[v]; e >= 0; e = f.extraNext[e] {
			if f.extraRoom[e^1] > 0 {
				visit(f.extraTo[e])
			}
		}
	}
	return f.level[people0] >= 0
}

// push sends up to so many from a node to the posts, down the levels, and says how
// many. The recursion is as deep as the shortest way is long.
func (f *flow) push(v, most int32) int32 {
	if v == posts0 {
		return most
	}
	_, end := f.own(v)
	for a := f.next[v]; a >= 0; a = f.next[v] {
		if a >= end {
			break
		}
		if u := f.to[a]; f.room[a].there > 0 && f.level[u] == f.level[v]-1 {
			if n := f.push(u, min(most, f.room[a].there)); n > 0 {
				f.send(a, n)
				f.undo = append(f.undo, change{a, n})
				return n
			}
		}
		f.next[v]++
	}
	if f.next[v] >= 0 {
		f.next[v] = ^(f.extra[v] + 1) // from here on the trainees' own, ^0: none
	}
	for f.next[v] != ^int32(0) {
		e := ^f.next[v] - 1
		if u := f.extraTo[e]; f.extraRoom[e] > 0 && f.level[u] == f.level[v]-1 {
			if n := f.push(u, min(most, f.extraRoom[e])); n > 0 {
				f.extraRoom[e] -= n
				f.extraRoom[e^1] += n
				return n
			}
		}
		f.next[v] = ^(f.extraNext[e] + 1)
	}
	return 0
}
