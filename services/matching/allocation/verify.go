package allocation

import (
	"fmt"
	"math/bits"
)

// Verify checks that the plan is feasible and that no plan costs less. It trusts
// nothing of the solver: it reads the network, the flow and the prices once and
// computes with 128 bits, so nothing can overflow.
//
// Why this proves the optimum. Call cost + price(from) - price(to) the reduced
// cost of an arc. For any flow that respects the supplies, the sum of flow times
// reduced cost differs from the flow's true cost by a constant, since each node's
// price is multiplied by the node's supply, whatever the flow. A flow that is as
// low as allowed where the reduced cost is positive, and as high as allowed where
// it is negative, makes each term of that sum as small as it can be. So no other
// flow has a smaller sum, and none costs less.
func Verify(n *Network, p *Plan) error {
	if err := n.check(); err != nil { // arcs between nodes that exist, supplies that add up to 0
		return fmt.Errorf("network: %w", err)
	}
	if len(p.Flow) != len(n.From) || len(p.Price) != len(n.Supply) {
		return fmt.Errorf("plan has %d flows and %d prices for %d arcs and %d nodes", len(p.Flow), len(p.Price), len(n.From), len(n.Supply))
	}
	left := make([]wide, len(n.Supply)) // what each node still has to send
	for v, s := range n.Supply {
		left[v] = wide{}.add(s)
	}
	for a, f := range p.Flow {
		u, v := n.From[a], n.To[a]
		if f < n.Lower[a] || n.Upper[a] != Unlimited && f > n.Upper[a] {
			return fmt.Errorf("arc %d from node %d to node %d: flow %d is not within %d and %d", a, u, v, f, n.Lower[a], n.Upper[a])
		}
		left[u] = left[u].sub(f)
		left[v] = left[v].add(f) // not in one statement: u may be v
		switch sign := (wide{}).add(n.Cost[a]).add(p.Price[u]).sub(p.Price[v]).sign(); {
		case sign > 0 && f != n.Lower[a]:
			return fmt.Errorf("arc %d from node %d to node %d: positive reduced cost, and flow %d above the lower bound %d", a, u, v, f, n.Lower[a])
		case sign < 0 && (f != n.Upper[a] || n.Upper[a] == Unlimited):
			return fmt.Errorf("arc %d from node %d to node %d: negative reduced cost, and flow %d below the upper bound %d", a, u, v, f, n.Upper[a])
		}
	}
	for v := range left {
		if left[v].sign() != 0 {
			return fmt.Errorf("node %d: what enters and what leaves does not differ by its supply %d", v, n.Supply[v])
		}
	}
	return nil
}

// CheckInfeasible checks the proof that no flow satisfies the network: what the
// set's nodes supply and what arcs must bring in exceeds what arcs can take out,
// by Missing.
func CheckInfeasible(n *Network, e *Infeasible) error {
	if err := n.check(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	inside := make([]bool, len(n.Supply))
	var stuck wide
	for _, v := range e.Nodes {
		if v < 0 || int(v) >= len(inside) || inside[v] {
			return fmt.Errorf("node %d is not a node of the network, or is named twice", v)
		}
		inside[v] = true
		stuck = stuck.add(n.Supply[v])
	}
	for a := range n.From {
		switch from, to := inside[n.From[a]], inside[n.To[a]]; {
		case from && !to && n.Upper[a] == Unlimited:
			return fmt.Errorf("arc %d leads out of the set without a limit", a)
		case from && !to:
			stuck = stuck.sub(n.Upper[a])
		case to && !from:
			stuck = stuck.add(n.Lower[a])
		}
	}
	if e.Missing <= 0 || stuck.sub(e.Missing).sign() != 0 {
		return fmt.Errorf("the set does not have %d units too many", e.Missing)
	}
	return nil
}

// wide is a signed sum of int64 values in 128 bits, two's complement.
type wide struct{ hi, lo uint64 }

func (w wide) add(x int64) wide {
	lo, carry := bits.Add64(w.lo, uint64(x), 0)
	hi, _ := bits.Add64(w.hi, uint64(x>>63), carry) // x>>63: all ones when x is negative
	return wide{hi, lo}
}

func (w wide) sub(x int64) wide {
	lo, borrow := bits.Sub64(w.lo, uint64(x), 0)
	hi, _ := bits.Sub64(w.hi, uint64(x>>63), borrow)
	return wide{hi, lo}
}

func (w wide) sign() int {
	switch {
	case int64(w.hi) < 0:
		return -1
	case w.hi == 0 && w.lo == 0:
		return 0
	}
	return 1
}
