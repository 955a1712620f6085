package matching

import (
	"cmp"
	"container/heap"
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
