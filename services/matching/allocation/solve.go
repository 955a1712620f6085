package allocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Options are what a caller may say about how to solve; the answer does not
// depend on Workers or Progress.
type Options struct {
	// Warm is the plan of an earlier network, to start from. Nodes and arcs are
	// matched by number: what the network has more than the plan counts as new.
	// The optimum is the same as without; among several optimal plans another
	// one may be found, near the earlier one.
	Warm *Plan
	// Workers is how many blocks are solved at a time, by default one per
	// processor.
	Workers int
	// Progress is told now and then how many arcs are settled, of how many, from
	// one goroutine at a time.
	Progress func(done, total int64)
}

// Solve finds a flow of least cost with its proof. The same network and the same
// warm plan give the same plan. It fails with *[Infeasible] where no flow fits
// the bounds, with *[Unbounded] where the cost has no minimum, with [ErrRange]
// for numbers whose sums might not fit into 64 bits, and with the context's cause.
func Solve(ctx context.Context, n *Network, o Options) (*Plan, error) {
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	b := split(n)
	for _, root := range b.roots {
		if b.carry[root] != 0 {
			return nil, n.unbalanced(root, b.carry[root])
		}
	}
	plan := &Plan{Flow: make([]int64, len(n.From)), Price: make([]int64, len(n.Supply))}
	for a := range n.From {
		if n.From[a] == n.To[a] { // a loop goes around by itself
			if plan.Flow[a] = n.Lower[a]; n.Cost[a] < 0 {
				if plan.Flow[a] = n.Upper[a]; n.Upper[a] == Unlimited {
					return nil, &Unbounded{Arcs: []int32{int32(a)}}
				}
			}
		}
	}

	// Large blocks first, so that the last one to finish is a small one.
	order := make([]int32, len(b.top))
	for i := range order {
		order[i] = int32(i)
	}
	size := func(id int32) int32 { return b.starts[id+1] - b.starts[id] }
	slices.SortStableFunc(order, func(x, y int32) int { return cmp.Compare(size(y), size(x)) })

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		turn    atomic.Int64
		wait    sync.WaitGroup
		told    sync.Mutex
		settled int64
		failed  = map[int32]error{}
	)
	tell := func(arcs int32) {
		told.Lock()
		defer told.Unlock()
		settled += int64(arcs)
		if o.Progress != nil {
			o.Progress(settled, int64(len(b.arcs)))
		}
	}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	for range min(workers, len(order)) {
		wait.Go(func() {
			w := &worker{n: n, b: b, plan: plan, warm: o.Warm, local: make([]int32, len(n.Supply)), beat: func() { tell(0) }}
			var unsaid int32
			for {
				k := turn.Add(1) - 1
				if k >= int64(len(order)) {
					break
				}
				if err := w.solve(ctx, order[k]); err != nil {
					told.Lock()
					failed[order[k]] = err
					told.Unlock()
					if ctx.Err() != nil {
						return
					}
				}
				if unsaid += size(order[k]); unsaid >= 10_000 {
					tell(unsaid)
					unsaid = 0
				}
			}
			tell(unsaid)
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// Of several failures always the same one is told.
	for id := range int32(len(b.top)) {
		if err := failed[id]; err != nil {
			return nil, err
		}
	}
	// Blocks priced their nodes against their top, which a later block prices.
	for id := len(b.top) - 1; id >= 0; id-- {
		for _, v := range b.nodes[b.nodeStarts[id]:b.nodeStarts[id+1]] {
			plan.Price[v] += plan.Price[b.top[id]]
		}
	}
	return plan, nil
}

// unbalanced is the proof for a connected component whose supplies do not add up
// to 0.
func (n *Network) unbalanced(root int32, excess int64) error {
	inside := make([]bool, len(n.Supply))
	inside[root] = true
	n.spread(inside, nil)
	// Where a component takes out too much, all others together have too much.
	e := &Infeasible{Missing: magnitude(excess)}
	for v := range inside {
		if inside[v] == (excess > 0) {
			e.Nodes = append(e.Nodes, int32(v))
		}
	}
	return e
}

// spread adds to the set everything that arcs outside of without, which are in
// increasing order, connect to it.
func (n *Network) spread(inside []bool, without []int32) {
	parts := newForest(len(n.Supply))
	for a := range n.From {
		if len(without) > 0 && without[0] == int32(a) {
			without = without[1:]
			continue
		}
		parts.join(n.From[a], n.To[a])
	}
	reached := make([]bool, len(inside))
	for v, in := range inside {
		if in {
			reached[parts.find(int32(v))] = true
		}
	}
	for v := range inside {
		inside[v] = reached[parts.find(int32(v))]
	}
}

// forest is a union of sets of nodes, by path halving.
type forest []int32

func newForest(n int) forest {
	f := make(forest, n)
	for v := range f {
		f[v] = int32(v)
	}
	return f
}

func (f forest) find(v int32) int32 {
	for f[v] != v {
		f[v] = f[f[v]]
		v = f[v]
	}
	return v
}

// join makes one set of two, and says whether they were two.
func (f forest) join(u, v int32) bool {
	u, v = f.find(u), f.find(v)
	f[max(u, v)] = min(u, v)
	return u != v
}

// worker solves blocks, one after the other, in memory of its own.
type worker struct {
	n      *Network
	b      *blocks
	plan   *Plan
	warm   *Plan
	beat   func()
	local  []int32 // a node's number in the block at hand
	global []int32 // and back
	tree   []int32 // scratch for replant
	s      simplex
	loads  []load
	groups []int32 // scratch for load
}

// load is what could enter and leave a node at most, and the dearest arc there.
type load struct{ in, out, dearest int64 }

// solve finds the flow of one block's arcs, and the price of each of its nodes
// minus that of its top.
func (w *worker) solve(ctx context.Context, id int32) error {
	b, s := w.b, &w.s
	arcs, nodes := b.arcs[b.starts[id]:b.starts[id+1]], b.nodes[b.nodeStarts[id]:b.nodeStarts[id+1]]
	top := b.top[id]
	if len(arcs) == 1 {
		return w.bridge(arcs[0], nodes[0], top)
	}

	bound, err := w.load(arcs, nodes, top)
	if err != nil {
		return err
	}
	if w.warm != nil {
		if done, err := w.again(ctx, bound, nodes, top); done || err != nil {
			return err
		}
		// Whatever the attempt has changed is put back.
		if bound, err = w.load(arcs, nodes, top); err != nil {
			return err
		}
	}
	s.plant(nil, 0, bound+1, false)
	cycle, err := s.run(ctx, 0, w.beat)
	if err != nil {
		return err
	}
	if cycle >= 0 {
		return s.unbounded(int32(cycle))
	}
	if missing := s.missing(); missing > 0 {
		return w.infeasible(id, missing)
	}
	w.store(nodes, top)
	return nil
}

// again tries from the earlier plan. It is false where only a start from nothing
// will tell: pivots that move nothing may go in a circle after such a start, and
// it cannot prove that there is no flow or no minimum.
func (w *worker) again(ctx context.Context, bound int64, nodes []int32, top int32) (bool, error) {
	if !w.replant(bound) {
		return false, nil
	}
	cycle, err := w.s.run(ctx, 2*len(w.s.arcs)+1000, w.beat)
	if errors.Is(err, errStalled) || cycle >= 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if w.s.missing() > 0 {
		return false, nil
	}
	w.store(nodes, top)
	return true, nil
}

// replant plants the tree from the earlier plan: every arc goes to the bound that
// its reduced cost at the earlier prices asks for, and the tree consists of arcs
// whose reduced cost is 0, first those whose flow was free. Where nothing has
// changed this is the earlier optimum. It is false when prices are so large that
// sums might overflow.
func (w *worker) replant(bound int64) bool {
	s, warm := &w.s, w.warm
	isNew := func(v int32) bool { return int(w.global[v]) >= len(warm.Price) }
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for v, node := range w.global {
		s.price[v] = 0
		if !isNew(int32(v)) {
			s.price[v] = warm.Price[node]
			low, high = min(low, s.price[v]), max(high, s.price[v])
		}
	}
	if bound > limit/16 || low < -limit/4 || high > limit/4 || low > high {
		return false
	}
	parts := newForest(len(w.global))
	w.tree = w.tree[:0]
	full := int64(0)
	// Arcs whose flow was free, then other arcs of reduced cost 0, then what
	// connects new nodes, whose prices follow from the tree.
	for pass := range 3 {
		for k := range s.arcs {
			a := s.arcs[k]
			if pass > 0 && s.turned[k] {
				continue
			}
			reduced := a.cost + s.price[a.from] - s.price[a.to]
			when := 3
			switch {
			case isNew(a.from) || isNew(a.to):
				when = 2
			case reduced == 0:
				when = 1
				if number := int(s.id[k]); number < len(warm.Flow) {
					if flow := warm.Flow[number] - w.n.Lower[number]; flow > 0 && (flow < s.span[k] || s.span[k] == open) {
						when = 0
					}
				}
			case reduced < 0 && s.span[k] == open:
				when = 0 // there is no bound to go to
			case reduced < 0:
				if full += s.span[k]; full > limit {
					return false
				}
				s.turn(int32(k))
			}
			if when == pass && parts.join(a.from, a.to) {
				w.tree = append(w.tree, int32(k))
			}
		}
	}
	s.plant(w.tree, low-3*bound-1, high+3*bound+1, true)
	return true
}

// bridge settles a block of one arc: all that lies behind it must go over it.
func (w *worker) bridge(a, v, top int32) error {
	n := w.n
	flow, price := w.b.carry[v], -n.Cost[a]
	if n.From[a] == top {
		flow, price = -flow, -price
	}
	if flow < n.Lower[a] || flow > n.Upper[a] {
		inside := make([]bool, len(n.Supply))
		missing := flow - n.Upper[a]
		if flow < n.Lower[a] {
			missing = n.Lower[a] - flow
			inside[n.To[a]] = true
		} else {
			inside[n.From[a]] = true
		}
		return w.proof(inside, []int32{a}, missing)
	}
	w.plan.Flow[a], w.plan.Price[v] = flow, price
	return nil
}

// load copies the block's arcs and what its nodes supply into the simplex. It
// returns what no path without a cycle exceeds in cost.
func (w *worker) load(arcs, nodes []int32, top int32) (int64, error) {
	n, b, s := w.n, w.b, &w.s
	count := len(nodes) + 1 // the top is the block's last node
	s.reset(count, len(arcs))
	w.global = append(append(w.global[:0], nodes...), top)
	w.loads = grow(w.loads, count)
	clear(w.loads)
	behind := int64(0)
	for i, v := range nodes {
		w.local[v] = int32(i)
		s.supply[i] = b.carry[v]
		behind += b.carry[v]
	}
	w.local[top] = int32(count - 1)
	s.supply[count-1] = -behind
	// Mixed, so that a stretch of arcs is a sample of the whole block; but arcs
	// that start at one node stay together, so that the search reads that
	// node's price once.
	w.groups = w.groups[:0]
	for k, a := range arcs {
		if len(w.groups) > 0 {
			if size := k - int(w.groups[len(w.groups)-1]); size < 8 || size < 64 && n.From[a] == n.From[arcs[k-1]] {
				continue
			}
		}
		w.groups = append(w.groups, int32(k))
	}
	groups := len(w.groups)
	w.groups = append(w.groups, int32(len(arcs)))
	stride, first, group, next, end := max(1, int(math.Sqrt(float64(groups)))), 0, 0, int32(0), w.groups[1]
	for k := range arcs {
		if next == end {
			if group += stride; group >= groups {
				first++
				group = first
			}
			next, end = w.groups[group], w.groups[group+1]
		}
		a := arcs[next]
		next++
		u, v := w.local[n.From[a]], w.local[n.To[a]]
		s.arcs[k] = arc{u, v, n.Cost[a]}
		s.id[k] = a
		s.supply[u] -= n.Lower[a]
		s.supply[v] += n.Lower[a]
		s.span[k] = open
		if n.Upper[a] != Unlimited {
			s.span[k] = n.Upper[a] - n.Lower[a]
		}
		c := magnitude(n.Cost[a])
		w.loads[u].dearest = max(w.loads[u].dearest, c)
		w.loads[v].dearest = max(w.loads[v].dearest, c)
		w.loads[u].out = min(open-1, w.loads[u].out+s.span[k])
		w.loads[v].in = min(open-1, w.loads[v].in+s.span[k])
	}
	// A limit that can never be reached, since no more can arrive at the arc's
	// start or leave its end, is taken away: fewer arcs then stop a pivot that
	// moves nothing. One at a time, each given those that are left.
	for k := range s.arcs {
		a := s.arcs[k]
		arrive := w.loads[a.from].in + s.supply[a.from]
		leave := w.loads[a.to].out - s.supply[a.to]
		if s.span[k] < open && (s.span[k] >= arrive || s.span[k] >= leave) {
			s.span[k] = open
			w.loads[a.from].out, w.loads[a.to].in = open-1, open-1
		}
	}
	bound := int64(0)
	for _, l := range w.loads {
		if bound += l.dearest; bound > limit {
			return 0, fmt.Errorf("costs along a path through %d nodes: %w", count, ErrRange)
		}
	}
	return bound, nil
}

// store writes the block's part of the plan.
func (w *worker) store(nodes []int32, top int32) {
	n, s, flow := w.n, &w.s, w.plan.Flow
	for k, a := range s.id {
		flow[a] = n.Lower[a]
		if s.turned[k] {
			flow[a] += s.span[k]
		}
	}
	for v := range len(nodes) + 1 {
		if k := s.pred[v]; k != artificial {
			// Turned or not, the network's own direction counts.
			moved := s.node[v].up
			if (s.arcs[k].from == int32(v)) != s.turned[k] {
				moved = s.node[v].down
			}
			flow[s.id[k]] = n.Lower[s.id[k]] + moved
		}
	}
	for i, v := range nodes {
		w.plan.Price[v] = s.price[i] - s.price[len(nodes)]
	}
}

// missing is what still flows over artificial arcs, from the root.
func (s *simplex) missing() int64 {
	units := int64(0)
	for v := range len(s.node) - 1 {
		if s.pred[v] == artificial && s.node[v].down >= openAtLeast {
			units += s.node[v].up
		}
	}
	return units
}

// infeasible makes the proof from the tree. What hangs on the root by an arc
// towards it has units that find no other way, what hangs by an arc from the root
// lacks some; and every arc from the former to the latter is full, since prices
// differ by more than any path costs.
func (w *worker) infeasible(id int32, missing int64) error {
	b, s := w.b, &w.s
	inside := make([]bool, len(w.n.Supply))
	nodes := b.nodes[b.nodeStarts[id]:b.nodeStarts[id+1]]
	root, stuck := int32(len(nodes)+1), false
	for v := s.thread[root]; v != root; v = s.thread[v] { // a part of the tree is a stretch of the ring
		if s.pred[v] == artificial {
			stuck = s.node[v].up >= openAtLeast
		}
		if int(v) == len(nodes) {
			inside[b.top[id]] = stuck
		} else {
			inside[nodes[v]] = stuck
		}
	}
	return w.proof(inside, b.arcs[b.starts[id]:b.starts[id+1]], missing)
}

// proof adds to a set of a block's nodes all that hangs on them outside of it.
func (w *worker) proof(inside []bool, block []int32, missing int64) error {
	w.n.spread(inside, block)
	e := &Infeasible{Missing: missing}
	for v, in := range inside {
		if in {
			e.Nodes = append(e.Nodes, int32(v))
		}
	}
	return e
}

// unbounded names the arcs of the cycle that arc in closes.
func (s *simplex) unbounded(in int32) error {
	var toStart []int32
	u, v := s.arcs[in].from, s.arcs[in].to
	fromTo := []int32{s.id[in]}
	for u != v {
		if s.node[u].size < s.node[v].size {
			toStart = append(toStart, s.id[s.pred[u]])
			u = s.node[u].parent
		} else {
			fromTo = append(fromTo, s.id[s.pred[v]])
			v = s.node[v].parent
		}
	}
	slices.Reverse(toStart)
	return &Unbounded{Arcs: append(fromTo, toStart...)}
}
