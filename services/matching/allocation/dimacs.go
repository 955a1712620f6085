package allocation

import "io"

// Memory is taken for what a file has, never for what its header claims.
const (
	maxNodes = 1<<31 - 2
	maxArcs  = 1<<30 - 1
	// silent is how many nodes a file may have that it does not name.
	silent = 1 << 20
)

// ReadDIMACS reads a network in the DIMACS format for minimum-cost flow (.min):
//
//	c comment
//	p min NODES ARCS
//	n NODE SUPPLY
//	a FROM TO LOWER CAPACITY COST
//
// Nodes are numbered from 1 in the file and from 0 in the network; those without
// an n line supply nothing. The capacity [Unlimited] stands for none. Errors are
// *[LineError].
func ReadDIMACS(r io.Reader) (*Network, error) {
	l, n := newLines(r), &Network{}
	// A node's line may name a node far beyond what is read so far: the lines
	// are kept, and applied when all are there.
	type line struct {
		number int
		node   int64
		supply int64
	}
	var (
		problem     bool
		nodes, arcs int64
		given       []line
		sum         int64
		two         [2]int64
		five        [5]int64
		known       = func(v int64) bool { return v >= 1 && v <= nodes }
	)
	for l.next() {
		kind := l.fields[0]
		if kind[0] == 'c' {
			continue
		}
		if len(kind) != 1 || kind[0] != 'p' && kind[0] != 'n' && kind[0] != 'a' {
			return nil, l.errorf("starts with %.40q, not with c, p, n or a", kind)
		}
		if problem == (kind[0] == 'p') {
			if problem {
				return nil, l.errorf("a second problem line")
			}
			return nil, l.errorf("%q line before the problem line (p min NODES ARCS)", kind)
		}
		switch kind[0] {
		case 'p':
			if len(l.fields) != 4 || string(l.fields[1]) != "min" {
				return nil, l.errorf("the problem line of a minimum-cost flow is: p min NODES ARCS")
			}
			if err := l.integers(2, two[:]); err != nil {
				return nil, err
			}
			problem, nodes, arcs = true, two[0], two[1]
			if nodes < 0 || nodes > maxNodes || arcs < 0 || arcs > maxArcs {
				return nil, l.errorf("%d nodes and %d arcs: from 0 to %d and %d", nodes, arcs, maxNodes, maxArcs)
			}
		case 'n':
			if err := l.integers(1, two[:]); err != nil {
				return nil, err
			}
			v, supply := two[0], two[1]
			if !known(v) {
				return nil, l.errorf("node %d of %d", v, nodes)
			}
			if supply < -limit || supply > limit {
				return nil, l.errorf("supply %d: %w", supply, ErrRange)
			}
			given = append(given, line{l.number, v, supply})
			if sum += supply; sum < -limit || sum > limit {
				return nil, l.errorf("the supplies together: %w", ErrRange)
			}
		case 'a':
			if err := l.integers(1, five[:]); err != nil {
				return nil, err
			}
			from, to, lower, upper, cost := five[0], five[1], five[2], five[3], five[4]
			switch {
			case !known(from) || !known(to):
				return nil, l.errorf("arc from node %d to node %d of %d", from, to, nodes)
			case upper < lower:
				return nil, l.errorf("capacity %d is below the lower bound %d", upper, lower)
			case lower < -limit || lower > limit || upper > limit && upper != Unlimited || cost < -limit || cost > limit:
				return nil, l.errorf("lower bound %d, capacity %d, cost %d: %w", lower, upper, cost, ErrRange)
			case int64(len(n.From)) == arcs:
				return nil, l.errorf("more arcs than the %d of the problem line", arcs)
			}
			n.AddArc(int32(from-1), int32(to-1), lower, upper, cost)
		}
	}
	switch err := l.end(); {
	case err != nil:
		return nil, err
	case !problem:
		return nil, l.errorf("the file ends without a problem line (p min NODES ARCS)")
	case int64(len(n.From)) != arcs:
		return nil, l.errorf("the file ends after %d arcs; the problem line has %d", len(n.From), arcs)
	case sum != 0:
		return nil, l.errorf("the supplies of all n lines add up to %d, not to 0", sum)
	case nodes > 4*int64(l.number)+silent:
		return nil, l.errorf("the file ends after %d lines; %d nodes are far more than it can name", l.number, nodes)
	}
	n.Supply = make([]int64, nodes)
	seen := make([]bool, nodes)
	for _, g := range given {
		if seen[g.node-1] {
			l.number = g.number
			return nil, l.errorf("node %d has a line already", g.node)
		}
		seen[g.node-1], n.Supply[g.node-1] = true, g.supply
	}
	return n, nil
}
