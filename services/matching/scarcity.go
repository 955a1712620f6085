package matching

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"slices"
)

// Margin is what one more of something would bring to an offer, in placements of
// the whole campaign: 0 or 1, since others may move to make room.
type Margin struct {
	OneMorePost      int64 `json:"one_more_post"`
	OneMoreCandidate int64 `json:"one_more_candidate"` // who meets every condition of the offer
}

// margins are what one more would bring, of each offer; and of each quota, what
// one looser would.
type margins struct {
	offers []Margin
	quotas []int64
}

// residual is how a solved network can still change. An arc can carry more while
// it is not full, and less while it is above its lower bound; each such step has
// a length, its reduced cost, that is never negative at the optimum.
//
// The price of an arc says what a little more of it is worth, but prices need not
// be unique, and a little is not one. The shortest way around that would use one
// more unit says it exactly, and is the same whatever prices were found.
type residual struct {
	*network
	flow  []int64
	price []int64
	first []int32 // arcs at a node, whatever their direction: at[first[v]:first[v+1]]
	at    []int32
}

func newResidual(n *network, flow, price []int64) *residual {
	r := &residual{network: n, flow: flow, price: price, first: make([]int32, len(n.Supply)+2)}
	for a := range n.From {
		r.first[n.From[a]+2]++
		r.first[n.To[a]+2]++
	}
	for v := 2; v < len(r.first); v++ {
		r.first[v] += r.first[v-1]
	}
	r.at = make([]int32, 2*len(n.From))
	for a := range n.From {
		for _, v := range []int32{n.From[a], n.To[a]} {
			r.at[r.first[v+1]] = int32(a)
			r.first[v+1]++
		}
	}
	r.first = r.first[:len(n.Supply)+1]
	return r
}

const unreachable = math.MaxInt64

// costs gives what the cheapest way from a node to each other costs, or from each
// other to it.
func (r *residual) costs(from int32, back bool) []int64 {
	dist := make([]int64, len(r.Supply))
	for v := range dist {
		dist[v] = unreachable
	}
	dist[from] = 0
	open := &byDistance{{0, from}}
	for open.Len() > 0 {
		near := heap.Pop(open).(distance)
		if near.dist > dist[near.node] {
			continue
		}
		for _, a := range r.at[r.first[near.node]:r.first[near.node+1]] {
			other, length := r.To[a], r.Cost[a]+r.price[r.From[a]]-r.price[r.To[a]]
			along := r.From[a] == near.node // the arc leads away from here
			if !along {
				other = r.From[a]
			}
			if along != back { // its flow would grow
				if r.flow[a] >= r.Upper[a] {
					continue
				}
			} else {
				if r.flow[a] <= r.Lower[a] {
					continue
				}
				length = -length
			}
			if d := near.dist + length; d < dist[other] {
				dist[other] = d
				heap.Push(open, distance{d, other})
			}
		}
	}
	for v := range dist {
		switch {
		case dist[v] == unreachable:
		case back: // from lengths to costs: prices cancel along the way
			dist[v] += r.price[from] - r.price[v]
		default:
			dist[v] += r.price[v] - r.price[from]
		}
	}
	return dist
}

type distance struct {
	dist int64
	node int32
}

type byDistance []distance

func (h byDistance) Len() int           { return len(h) }
func (h byDistance) Less(i, j int) bool { return h[i].dist < h[j].dist }
func (h byDistance) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byDistance) Push(x any)        { *h = append(*h, x.(distance)) }
func (h *byDistance) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// margins works out what one more would bring.
func (s *solution) margins() *margins {
	r := newResidual(s.net, s.plan.Flow, s.plan.Price)
	worth := func(cost, back int64) int64 {
		if back == unreachable {
			return 0
		}
		return max(0, s.net.weigh.placements(-cost-back))
	}
	out := &margins{offers: make([]Margin, len(s.net.offers)), quotas: make([]int64, len(s.net.quotas))}
	ahead := r.costs(ground, true)                              // from each node to the ground
	behind := map[int32][]int64{ground: r.costs(ground, false)} // from the ground, or a scheme's node, to each
	for o := range s.net.offers {
		arc := s.net.offerArc(o)
		to := s.net.To[arc]
		if behind[to] == nil {
			behind[to] = r.costs(to, false)
		}
		node := s.net.offerNode(o)
		out.offers[o] = Margin{
			OneMorePost:      worth(s.net.Cost[arc], behind[to][node]),
			OneMoreCandidate: worth(0, ahead[node]),
		}
	}
	for i, q := range s.net.quotas {
		node := s.net.quotaNode[i]
		more, less := ahead[node], behind[ground][node]
		if q.By == QuotaScheme {
			more, less = less, more
		}
		if q.Max != nil {
			out.quotas[i] = worth(0, more)
		}
		if q.Min > 0 {
			out.quotas[i] = max(out.quotas[i], worth(0, less))
		}
	}
	return out
}

// OccupationScarcity is how an occupation fares in a campaign.
type OccupationScarcity struct {
	Rome       string `json:"rome"`
	Offers     int    `json:"offers"`
	Posts      int64  `json:"posts"`
	Filled     int64  `json:"filled"`
	Candidates int64  `json:"candidates"` // eligible for an offer of it
	Unplaced   int64  `json:"unplaced"`   // of them, not placed by the campaign
	// Margin is the greatest of its offers.
	Margin
}

func occupations(t *task, s *solution, m *margins) []OccupationScarcity {
	of := map[string]*OccupationScarcity{}
	seen := map[string]map[int32]bool{}
	for o := range t.offers {
		rome := t.offers[o].demand.Rome
		x := of[rome]
		if x == nil {
			x = &OccupationScarcity{Rome: rome}
			of[rome], seen[rome] = x, map[int32]bool{}
		}
		x.Offers, x.Posts, x.Filled = x.Offers+1, x.Posts+t.posts[o], x.Filled+s.filled[o]
		if m != nil {
			x.OneMorePost = max(x.OneMorePost, m.offers[o].OneMorePost)
			x.OneMoreCandidate = max(x.OneMoreCandidate, m.offers[o].OneMoreCandidate)
		}
		for _, pair := range t.pairs[t.first[o]:t.first[o+1]] {
			if !seen[rome][pair.person] {
				seen[rome][pair.person] = true
				x.Candidates++
				if s.offer[pair.person] < 0 {
					x.Unplaced++
				}
			}
		}
	}
	out := []OccupationScarcity{}
	for _, x := range of {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b OccupationScarcity) int { return cmp.Compare(a.Rome, b.Rome) })
	return out
}

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
	with := *s.net.task
	with.extra, with.kept = gaps, nil
	n, err := with.network()
	if err != nil {
		return nil, err
	}
	flow := slices.Clone(s.plan.Flow)
	f := newFlow(newResidual(n, append(flow, make([]int64, len(gaps))...), nil))

	// Who gets a language at a level has all levels below.
	type group struct {
		lack        lack
		governorate string
	}
	lacks := s.net.lacks
	covers := make([][]lack, len(lacks)) // for each lack, those that would do
	for i, have := range lacks {
		for _, other := range lacks {
			if other.meets(have) {
				covers[i] = append(covers[i], other)
			}
		}
	}
	members := map[group][]int32{}
	for i, g := range gaps {
		governorate := s.net.people[g.person].person.Governorate
		for _, l := range covers[g.lack] {
			members[group{l, ""}] = append(members[group{l, ""}], int32(i))
			if governorate != "" {
				members[group{l, governorate}] = append(members[group{l, governorate}], int32(i))
			}
		}
	}
	var groups []group
	for g := range members {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b group) int { // that of all people before those of governorates
		return cmp.Or(cmp.Compare(a.lack.condition, b.lack.condition), cmp.Compare(a.lack.code, b.lack.code),
			cmp.Compare(a.lack.rank, b.lack.rank), cmp.Compare(a.governorate, b.governorate))
	})
	useless := map[lack]bool{}
	for i, g := range groups {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		tell(int64(i+1), int64(len(groups)))
		if useless[g.lack] {
			continue
		}
		c := ConditionScarcity{Condition: g.lack.condition, Code: g.lack.code, Governorate: g.governorate}
		if g.lack.condition == CondLanguage {
			c.CEFR = cefr(g.lack.rank)
		}
		who := map[int32]bool{}
		for _, i := range members[g] {
			who[gaps[i].person] = true
			if f.alone(gaps[i]) {
				c.OneMore = 1
			}
		}
		c.People, c.Placements = len(who), f.more(members[g])
		if c.Placements > 0 {
			out = append(out, c)
		} else if g.governorate == "" {
			useless[g.lack] = true
		}
	}
	slices.SortStableFunc(out, func(a, b ConditionScarcity) int {
		return cmp.Or(whole(a)-whole(b), cmp.Compare(b.Placements, a.Placements))
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

// flow finds how many more can be placed when extra pairs are opened: the most
// flow that can be added from the ground, as where people come from, to the
// ground, as where filled posts go, by Dinic's method (1970). It starts from the
// plan, and only looks at what can reach a post.
type flow struct {
	*residual
	open    []int32 // of each extra pair, the last question that opened it
	asked   int32
	fromAll []bool // what people without a place can reach, no extra pair open
	toPost  []bool // what can reach an empty post, no extra pair open

	level []int32 // steps to the ground; -1: unknown
	next  []int32 // place in at
	seen  []int32 // nodes that have a level
	undo  []int32 // arcs whose flow was changed, and by how much
	by    []int64
}

func newFlow(r *residual) *flow {
	f := &flow{
		residual: r, open: make([]int32, len(r.extra)), level: make([]int32, len(r.Supply)), next: make([]int32, len(r.Supply)),
	}
	for v := range f.level {
		f.level[v] = -1
	}
	f.fromAll, f.toPost = f.reach(false), f.reach(true)
	return f
}

// step says whether one unit can go over an arc of a node, away from it or, when
// back, towards it; and where the other end is. Of the ground, only the arcs are
// taken that start there, or end there when back.
func (f *flow) step(v, a int32, back bool) (other int32, ok bool) {
	if int(a) >= f.extraArc && f.flow[a] == 0 && f.open[int(a)-f.extraArc] != f.asked {
		return 0, false
	}
	along := f.From[a] == v
	other = f.To[a]
	if !along {
		other = f.From[a]
	}
	grows := along != back
	if v == ground && !grows || other == ground && !grows {
		return 0, false
	}
	if grows {
		return other, f.flow[a] < f.Upper[a]
	}
	return other, f.flow[a] > f.Lower[a]
}

func (f *flow) reach(back bool) []bool {
	f.asked++ // nothing is open
	seen := make([]bool, len(f.Supply))
	seen[ground] = true
	queue := []int32{ground}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, a := range f.at[f.first[v]:f.first[v+1]] {
			if other, ok := f.step(v, a, back); ok && other != ground && !seen[other] {
				seen[other] = true
				queue = append(queue, other)
			}
		}
	}
	return seen
}

// alone says whether an extra pair brings a placement all by itself.
func (f *flow) alone(g gap) bool {
	return f.fromAll[f.personNode(g.person)] && f.toPost[f.offerNode(int(g.offer))]
}

// more says how many more are placed when these extra pairs are open. The plan is
// left as it was.
func (f *flow) more(extra []int32) (placed int64) {
	f.asked++
	useful := false
	for _, i := range extra {
		f.open[i] = f.asked
		useful = useful || f.toPost[f.offerNode(int(f.extra[i].offer))]
	}
	if !useful {
		return 0 // the last extra pair of a way must lead to an empty post
	}
	for f.levels() {
		for _, a := range f.at[f.first[ground]:f.first[ground+1]] {
			for {
				other, ok := f.step(ground, a, false)
				if !ok || f.level[other] != f.level[ground]-1 || !f.push(other) {
					break
				}
				f.move(a, 1)
				placed++
			}
		}
	}
	for _, v := range f.seen {
		f.level[v] = -1
	}
	f.seen = f.seen[:0]
	for i := range f.undo {
		f.flow[f.undo[i]] -= f.by[i]
	}
	f.undo, f.by = f.undo[:0], f.by[:0]
	return placed
}

// levels counts the steps of each node to the ground; false when the ground, as
// where people come from, cannot reach it.
func (f *flow) levels() bool {
	for _, v := range f.seen {
		f.level[v] = -1
	}
	f.seen = append(f.seen[:0], ground)
	f.next[ground] = f.first[ground]
	const none = math.MaxInt32
	start := int32(none)
	for i := 0; i < len(f.seen); i++ {
		v, l := f.seen[i], f.level[f.seen[i]]
		if i == 0 {
			l = 0
		}
		if l >= start {
			break
		}
		for _, a := range f.at[f.first[v]:f.first[v+1]] {
			other, ok := f.step(v, a, true)
			if !ok {
				continue
			}
			if other == ground {
				start = min(start, l+1)
			} else if f.level[other] < 0 {
				f.level[other], f.next[other] = l+1, f.first[other]
				f.seen = append(f.seen, other)
			}
		}
	}
	f.level[ground] = start
	return start != none
}

// push sends one unit from a node to the ground, down the levels. The recursion
// is as deep as the shortest way is long.
func (f *flow) push(v int32) bool {
	for ; f.next[v] < f.first[v+1]; f.next[v]++ {
		a := f.at[f.next[v]]
		other, ok := f.step(v, a, false)
		if !ok {
			continue
		}
		if other == ground && f.level[v] == 1 || other != ground && f.level[other] == f.level[v]-1 && f.push(other) {
			if f.From[a] == v {
				f.move(a, 1)
			} else {
				f.move(a, -1)
			}
			return true
		}
	}
	return false
}

func (f *flow) move(a int32, by int64) {
	f.flow[a] += by
	f.undo, f.by = append(f.undo, a), append(f.by, by)
}
