package allocation

// blocks are the parts of a network that can be solved apart: its biconnected
// components. Two blocks share one node at most, and taking that node away would
// cut the network in two; what flows through it from one side to the other is
// therefore known before anything is solved: the supply of all that lies behind.
// Plain connected components are the case where nothing is shared. A campaign
// whose occupations meet only at the ground node falls apart into occupations.
type blocks struct {
	arcs   []int32 // the arcs by block, in increasing order within each
	starts []int32 // block b has arcs[starts[b]:starts[b+1]]
	// top is the node of each block nearest to where the search began, shared
	// with an earlier.. later numbered block or with none. Every other node of
	// a block is no block's top before it, so numbers rise towards the top.
	top []int32
	// carry is by node the supply of the node and of all blocks below it.
	carry []int64
	// order has the nodes of each block except its top, by block.
	nodes      []int32
	nodeStarts []int32
	// roots are the nodes where the search began, one per connected component.
	roots []int32
}

// split finds the blocks with one depth-first search (Hopcroft and Tarjan), with
// its own stack, in time linear in the network's size. Arcs from a node to itself
// are in no block.
func split(n *Network) *blocks {
	nodes, arcs := len(n.Supply), len(n.From)

	// The arcs at each node, whatever their direction.
	at := make([]int32, nodes+2)
	for a, u := range n.From {
		if v := n.To[a]; u != v {
			at[u+2]++
			at[v+2]++
		}
	}
	for v := 2; v < len(at); v++ {
		at[v] += at[v-1]
	}
	touching := make([]int32, at[nodes+1])
	for a, u := range n.From {
		if v := n.To[a]; u != v {
			touching[at[u+1]] = int32(a)
			at[u+1]++
			touching[at[v+1]] = int32(a)
			at[v+1]++
		}
	}

	b := &blocks{carry: append([]int64(nil), n.Supply...), starts: []int32{0}, nodeStarts: []int32{0}}
	block := make([]int32, arcs) // of each arc
	var (
		number = make([]int32, nodes) // when the search met the node, from 1
		low    = make([]int32, nodes) // the earliest node that an arc from below leads back to
		next   = make([]int32, nodes) // place in touching
		via    = make([]int32, nodes) // the arc over which the search came
		path   []int32
		open   []int32 // arcs whose block is not closed yet
		seen   []int32 // nodes whose block is not closed yet
		count  int32
	)
	for first := range int32(nodes) {
		if number[first] != 0 {
			continue
		}
		count++
		number[first], low[first], next[first], via[first] = count, count, at[first], -1
		path = append(path[:0], first)
		b.roots = append(b.roots, first)
		for len(path) > 0 {
			v := path[len(path)-1]
			if next[v] < at[v+1] {
				a := touching[next[v]]
				next[v]++
				w := n.From[a] ^ n.To[a] ^ v // the other end
				switch {
				case number[w] == 0:
					count++
					number[w], low[w], next[w], via[w] = count, count, at[w], a
					path = append(path, w)
					open = append(open, a)
					seen = append(seen, w)
				case a != via[v] && number[w] < number[v]:
					low[v] = min(low[v], number[w])
					open = append(open, a)
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) == 0 {
				break
			}
			p := path[len(path)-1]
			if low[v] < number[p] {
				low[p] = min(low[p], low[v])
				continue
			}
			// Nothing below v leads above p: a block ends here.
			id := int32(len(b.top))
			b.top = append(b.top, p)
			size := b.starts[id]
			for {
				a := open[len(open)-1]
				open = open[:len(open)-1]
				block[a] = id + 1
				size++
				if a == via[v] {
					break
				}
			}
			b.starts = append(b.starts, size)
			for {
				w := seen[len(seen)-1]
				seen = seen[:len(seen)-1]
				b.nodes = append(b.nodes, w)
				b.carry[p] += b.carry[w]
				if w == v {
					break
				}
			}
			b.nodeStarts = append(b.nodeStarts, int32(len(b.nodes)))
		}
	}

	// Sort the arcs by block; counting keeps their order within one.
	b.arcs = touching[:b.starts[len(b.top)]]
	fill := append([]int32(nil), b.starts...)
	for a, id := range block {
		if id > 0 {
			b.arcs[fill[id-1]] = int32(a)
			fill[id-1]++
		}
	}
	return b
}
