package allocation

import (
	"context"
	"errors"
	"math"
)

// simplex is the network simplex method on one block: a spanning tree of arcs
// whose flow is free, all other arcs at one of their bounds. Node prices make the
// reduced costs of the tree's arcs 0. An arc outside of the tree that would lower
// the cost enters: it closes one cycle with the tree, as much flow as possible is
// sent around, and an arc that is full or empty then leaves. When no arc would
// lower the cost, flow and prices are optimal.
//
// All slices are reused from block to block; a pivot allocates nothing.
type simplex struct {
	// arcs are the block's arcs as they can be used now: from -> to is the
	// direction in which flow can change. An arc at its upper bound is therefore
	// stored turned round, with its cost negated, and the search for an entering
	// arc has one case only.
	arcs   []arc
	span   []int64 // upper - lower, or open when nothing limits the arc
	turned []bool  // stored against the network's direction
	id     []int32 // the arc's number in the network

	price  []int64 // by node; the last node is the root
	supply []int64 // by node, what lower bounds move already counted in
	node   []treeNode
	pred   []int32 // the tree arc to the parent, or artificial

	// The tree in preorder, as a ring: a node's subtree is node..last[node].
	thread, back, last []int32

	next  int // where the search for an entering arc goes on
	block int // how many arcs it looks at before it takes the best

	pivots int64
	idle   int // pivots in a row that moved nothing

	ints []int32 // scratch for plant
}

// arc is 16 bytes, so that four of them share a cache line in the search.
type arc struct {
	from, to int32
	cost     int64
}

// treeNode is what a pivot reads and writes on its way up.
type treeNode struct {
	parent int32
	size   int32 // of the subtree
	up     int64 // how much more can flow towards the parent
	down   int64 // how much more can flow from the parent
}

const (
	// artificial is the tree arc of a node that hangs on the root by no arc of
	// the network.
	artificial = -1
	// open is the span of an arc without a limit. Real flows stay below
	// 1<<60, so what is left of open always exceeds openAtLeast.
	open        = 1 << 62
	openAtLeast = 1 << 61
)

// reset makes room for a block.
func (s *simplex) reset(nodes, arcs int) {
	s.arcs, s.span, s.id = grow(s.arcs, arcs), grow(s.span, arcs), grow(s.id, arcs)
	n := nodes + 1
	s.price, s.supply, s.node, s.pred = grow(s.price, n), grow(s.supply, n), grow(s.node, n), grow(s.pred, n)
	s.thread, s.back, s.last = grow(s.thread, n), grow(s.back, n), grow(s.last, n)
	clear(s.supply)
	s.turned = grow(s.turned, arcs)
	clear(s.turned)
	s.next, s.pivots, s.idle = 0, 0, 0
}

func grow[T any](list []T, n int) []T {
	if cap(list) < n {
		return make([]T, n)
	}
	return list[:n]
}

// errStalled ends a run that moved nothing for so long that it may be in a circle.
var errStalled = errors.New("stalled")

// run pivots until no arc would lower the cost. It returns the arc that closes a
// cycle without limits when there is one, and -1 otherwise. With a positive
// patience it gives up after that many pivots in a row that move nothing.
func (s *simplex) run(ctx context.Context, patience int, beat func()) (int, error) {
	s.block = max(20, int(0.4*math.Sqrt(float64(len(s.arcs)))))
	for {
		in := s.entering()
		if in < 0 {
			return -1, nil
		}
		if !s.pivot(in) {
			return in, nil
		}
		if patience > 0 && s.idle > patience {
			return -1, errStalled
		}
		if s.pivots++; s.pivots%1024 == 0 {
			if ctx.Err() != nil {
				return -1, context.Cause(ctx)
			}
			beat()
		}
	}
}

// entering finds an arc with a negative reduced cost: the best of a stretch of
// arcs, stretch after stretch, round and round. It returns -1 when there is none.
func (s *simplex) entering() int {
	price := s.price
	for left := len(s.arcs); left > 0; {
		end := min(s.next+s.block, len(s.arcs))
		best, in := int64(0), -1
		for i, a := range s.arcs[s.next:end] {
			if reduced := a.cost + price[a.from] - price[a.to]; reduced < best {
				best, in = reduced, i
			}
		}
		in += s.next
		left -= end - s.next
		if s.next = end; end == len(s.arcs) {
			s.next = 0
		}
		if best < 0 {
			return in
		}
	}
	return -1
}

// pivot sends as much as possible around the cycle that arc in closes, and
// exchanges it for the arc that stops the flow. It is false when nothing does.
func (s *simplex) pivot(in int) bool {
	node := s.node
	from, to := s.arcs[in].from, s.arcs[in].to

	// Walk from both ends to where the paths meet, always from the smaller
	// subtree, and find the tightest arc. Of equally tight arcs the last one
	// in the direction of the flow, counted from the meeting point, leaves
	// (Cunningham's rule): with it no sequence of pivots that move nothing can
	// come back to where it began.
	tightFrom, tightTo := int64(math.MaxInt64), int64(math.MaxInt64)
	outFrom, outTo := int32(-1), int32(-1)
	u, v := from, to
	for u != v {
		if node[u].size < node[v].size {
			if d := node[u].down; d < tightFrom {
				tightFrom, outFrom = d, u
			}
			u = node[u].parent
		} else {
			if d := node[v].up; d <= tightTo {
				tightTo, outTo = d, v
			}
			v = node[v].parent
		}
	}
	join, fromSide := u, false
	delta, out := s.span[in], int32(-1)
	if tightFrom < delta {
		delta, out, fromSide = tightFrom, outFrom, true
	}
	if tightTo <= delta {
		delta, out, fromSide = tightTo, outTo, false
	}
	if delta >= openAtLeast {
		return false
	}
	s.idle++
	if delta > 0 {
		s.idle = 0
		for u := from; u != join; u = node[u].parent {
			node[u].down -= delta
			node[u].up += delta
		}
		for v := to; v != join; v = node[v].parent {
			node[v].up -= delta
			node[v].down += delta
		}
	}
	if out < 0 {
		// The arc itself was the tightest: it goes from one bound to the other.
		s.turn(int32(in))
		return true
	}
	s.exchange(int32(in), out, join, delta, fromSide)
	return true
}

// turn stores an arc in the other direction.
func (s *simplex) turn(i int32) {
	a := &s.arcs[i]
	a.from, a.to, a.cost = a.to, a.from, -a.cost
	s.turned[i] = !s.turned[i]
}

// exchange takes the tree arc above node out away and hangs out's subtree on arc
// in, which carries delta more than at its bound. fromSide says that the subtree
// holds the end of in where its flow starts. join is where the cycle's two paths met.
func (s *simplex) exchange(in, out, join int32, delta int64, fromSide bool) {
	node, pred, thread, back, last := s.node, s.pred, s.thread, s.back, s.last

	// The arc that leaves is stored in the direction in which it can still change:
	// away from the subtree when the flow that filled it came down.
	if leaving := pred[out]; leaving != artificial && (s.arcs[leaving].from == out) != fromSide {
		s.turn(leaving)
	}

	// top is the entering arc's end in the subtree, and will hang below under.
	a := s.arcs[in]
	top, under, up, down := a.to, a.from, delta, s.span[in]-delta
	shift := a.cost + s.price[a.from] - s.price[a.to] // makes in's reduced cost 0 when added to top's price
	if fromSide {
		top, under, up, down, shift = a.from, a.to, down, up, -shift
	}

	// Take the subtree out of the ring and out of its ancestors.
	size, before, end := node[out].size, back[out], last[out]
	after := thread[end]
	thread[before], back[after] = after, before
	for w := node[out].parent; w != join; w = node[w].parent {
		node[w].size -= size
	}
	for w := node[out].parent; w >= 0 && last[w] == end; w = node[w].parent {
		last[w] = before
	}

	// Turn the path from top to out upside down. In the new preorder all of top's
	// subtree comes first, then what top's parent has besides, and so on.
	tail := last[top]           // the new order's end so far
	follow := thread[last[top]] // what came after w's subtree in the old order
	wBack, wLast := back[top], last[top]
	parent, arcUp, laid := under, in, int32(0)
	for w := top; ; {
		old, oldArc := node[w], pred[w]
		node[w] = treeNode{parent: parent, size: size - laid, up: up, down: down}
		pred[w] = arcUp
		if w == out {
			break
		}
		p := old.parent
		pBack, pLast := back[p], last[p]
		// p's own part before w ..
		thread[tail], back[p] = p, tail
		tail = wBack
		// .. and the one behind.
		if pLast != wLast {
			thread[tail], back[follow] = follow, tail
			tail, follow = pLast, thread[pLast]
		}
		laid, parent, arcUp, up, down = old.size, w, oldArc, old.down, old.up
		w, wBack, wLast = p, pBack, pLast
	}
	for w := out; w != under; w = node[w].parent {
		last[w] = tail
	}

	// Put the subtree back in, behind the node that it now hangs from.
	after = thread[under]
	thread[under], back[top] = top, under
	thread[tail], back[after] = after, tail
	for w := under; w != join; w = node[w].parent {
		node[w].size += size
	}
	for w := under; w >= 0 && last[w] == under; w = node[w].parent {
		last[w] = tail
	}

	// Prices count only against each other: shift the smaller side of the tree.
	// (Sums may wrap around; differences stay right.)
	if int(size) <= len(node)/2 {
		for w := top; w != after; w = thread[w] {
			s.price[w] += shift
		}
	} else {
		for w := after; w != top; w = thread[w] {
			s.price[w] -= shift
		}
	}
}

// plant lays out the tree at the start: the arcs given (a forest; none of them
// turned) with the flows that the supplies and the arcs at their bounds leave to
// them. An arc whose flow would be out of bounds leaves the forest, and what it
// cannot carry goes to or comes from the root, over an artificial arc that costs
// more than any real path. Each part of the forest keeps the price that its first
// node has when nothing is missing there. With loose, nothing can be sent over
// the artificial arcs of such parts; without, what arrives can leave to the root,
// and the tree is one in which something can flow up from every node, which
// Cunningham's rule needs.
func (s *simplex) plant(forest []int32, floor, ceiling int64, loose bool) {
	n := len(s.node) - 1
	root := int32(n)
	s.ints = grow(s.ints, 4*n+2*len(forest)+4)
	head, order := s.ints[:n], s.ints[n:2*n]
	links := s.ints[4*n+4:][:2*len(forest)]
	for v := range head {
		head[v] = -1
	}
	for k, i := range forest {
		a := s.arcs[i]
		links[2*k], head[a.from] = head[a.from], int32(2*k)
		links[2*k+1], head[a.to] = head[a.to], int32(2*k+1)
	}

	// Breadth first from the first node of each part.
	for v := range n {
		s.node[v] = treeNode{parent: -1, size: 1}
	}
	s.node[root] = treeNode{parent: -1, size: 1}
	s.pred[root] = artificial
	done := 0
	for first := range int32(n) {
		if s.node[first].parent >= 0 {
			continue
		}
		s.node[first].parent, s.pred[first] = root, artificial
		order[done] = first
		for end := done + 1; done < end; done++ {
			v := order[done]
			for l := head[v]; l >= 0; l = links[l] {
				i := forest[l/2]
				w := s.arcs[i].to
				if l&1 == 1 {
					w = s.arcs[i].from
				}
				if i == s.pred[v] || s.node[w].parent >= 0 {
					continue
				}
				s.node[w].parent, s.pred[w] = v, i
				order[end] = w
				end++
			}
		}
	}

	// Send the supplies up from the leaves. s.supply becomes what is still there.
	for i, turned := range s.turned {
		if turned {
			a := s.arcs[i]
			s.supply[a.to] -= s.span[i]
			s.supply[a.from] += s.span[i]
		}
	}
	for k := n - 1; k >= 0; k-- {
		v := order[k]
		t := &s.node[v]
		if i := s.pred[v]; i != artificial {
			flow, forward := s.supply[v], s.arcs[i].from == v
			if !forward {
				flow = -flow
			}
			fits := min(max(flow, 0), s.span[i])
			t.up, t.down = s.span[i]-fits, fits
			if !forward {
				t.up, t.down = t.down, t.up
			}
			sent := fits
			if !forward {
				sent = -fits
			}
			s.supply[t.parent] += sent
			s.supply[v] -= sent
			if fits == flow {
				continue
			}
			if fits > 0 {
				s.turn(i)
			}
			t.parent, s.pred[v] = root, artificial
		}
		switch rest := s.supply[v]; {
		case rest > 0 || rest == 0 && !loose:
			t.up, t.down = open, rest
		case rest < 0:
			t.up, t.down = -rest, open
		default:
			t.up, t.down = 0, 0
		}
	}

	// Sizes from the leaves, prices and places in the preorder from the root.
	for k := n - 1; k >= 0; k-- {
		v := order[k]
		s.node[s.node[v].parent].size += s.node[v].size
	}
	s.price[root] = floor
	place, free := s.ints[2*n:3*n+1], s.ints[3*n+1:4*n+2]
	place[root], free[root] = 0, 1
	for _, v := range order {
		t := s.node[v]
		place[v] = free[t.parent]
		free[t.parent] += t.size
		free[v] = place[v] + 1
		switch i := s.pred[v]; {
		case i != artificial && s.arcs[i].from == v:
			s.price[v] = s.price[t.parent] - s.arcs[i].cost
		case i != artificial:
			s.price[v] = s.price[t.parent] + s.arcs[i].cost
		case t.up >= openAtLeast:
			s.price[v] = floor
		case t.down >= openAtLeast:
			s.price[v] = ceiling
		}
	}
	sequence := s.back // by place, until the ring is made
	for v := range n + 1 {
		sequence[place[v]] = int32(v)
	}
	for v := range n + 1 {
		k := int(place[v])
		s.thread[v] = sequence[(k+1)%(n+1)]
		s.last[v] = sequence[k+int(s.node[v].size)-1]
	}
	for v := range n + 1 {
		s.back[s.thread[v]] = int32(v)
	}
}
