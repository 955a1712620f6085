package allocation

import "slices"

// blocks are the parts of a network that can be solved apart: its biconnected
// components. Two blocks share one node at most, and taking that node away would
// cut the network in two; what flows through it from one side to the other is
// therefore known before anything is solved: the supply of all that lies behind.
// Plain connected components are the case where nothing is shared. A campaign
// whose occupations meet only at the ground node falls apart into occupations.
type blocks struct {
	// arcs are sorted by block, in increasing order within each: block b has
	// arcs[starts[b]:starts[b+1]].
	arcs, starts []int32
	// top is the node of each block that the search met first. It may be in
	// other blocks as well, as their top or, in a block with a higher number, as
	// any node; all other nodes of the block are in none with a higher number.
	top []int32
	// nodes are those of each block but its top: nodes[nodeStarts[b]:nodeStarts[b+1]].
	nodes, nodeStarts []int32
	// carry is by node the supply of the node and of all blocks below it.
	carry []int64
	// roots are the nodes where the search began, one per connected component.
	roots []int32
}

// split finds the blocks with one depth-first search (Hopcroft and Tarjan), with
// its own stack, in time linear in the network's size. Arcs from a node to itself
// are in no block.
func split(n *Network) *blocks {
	nodes := len(n.Supply)

	// The neighbours of each node, whatever the arcs' direction.
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
	beside := make([]int32, at[nodes+1])
	for a, u := range n.From {
		if v := n.To[a]; u != v {
			beside[at[u+1]] = v
			at[u+1]++
			beside[at[v+1]] = u
			at[v+1]++
		}
	}

	b := &blocks{carry: slices.Clone(n.Supply), nodeStarts: []int32{0}}
	var (
		number = make([]int32, nodes) // when the search met the node, from 1
		low    = make([]int32, nodes) // the earliest node that an arc from below leads back to
		next   = make([]int32, nodes) // place in beside
		block  = make([]int32, nodes) // where the node is not the top
		path   []int32
		seen   []int32 // nodes whose block is not closed yet
		count  int32
	)
	meet := func(v int32) {
		count++
		number[v], low[v], next[v] = count, count, at[v]
		path = append(path, v)
	}
	for first := range int32(nodes) {
		if number[first] != 0 {
			continue
		}
		b.roots = append(b.roots, first)
		for meet(first); ; {
			v := path[len(path)-1]
			// Look along v's arcs until one leads to a node not met yet.
			i, end, least := next[v], at[v+1], low[v]
			met := int32(-1)
			for ; i < end; i++ {
				if w := number[beside[i]]; w == 0 {
					met = beside[i]
					i++
					break
				} else if w < least {
					least = w
				}
			}
			next[v], low[v] = i, least
			if met >= 0 {
				seen = append(seen, met)
				meet(met)
				continue
			}
			if path = path[:len(path)-1]; len(path) == 0 {
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
			for w := int32(-1); w != v; {
				w = seen[len(seen)-1]
				seen = seen[:len(seen)-1]
				b.nodes = append(b.nodes, w)
				b.carry[p] += b.carry[w]
				block[w] = id
			}
			b.nodeStarts = append(b.nodeStarts, int32(len(b.nodes)))
		}
	}

	// An arc is in the block in which its end met later is not the top. Counting
	// sorts the arcs by block and keeps their order within one.
	of := func(a int) int32 {
		u, v := n.From[a], n.To[a]
		if number[u] > number[v] {
			return block[u]
		}
		return block[v]
	}
	starts := make([]int32, len(b.top)+2)
	for a, u := range n.From {
		if u != n.To[a] {
			starts[of(a)+2]++
		}
	}
	for id := 2; id < len(starts); id++ {
		starts[id] += starts[id-1]
	}
	b.arcs = beside[:starts[len(starts)-1]]
	for a, u := range n.From {
		if u != n.To[a] {
			id := of(a)
			b.arcs[starts[id+1]] = int32(a)
			starts[id+1]++
		}
	}
	b.starts = starts[:len(b.top)+1]
	return b
}
