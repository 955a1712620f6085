// Package allocation finds provably optimal allocations. It knows nothing of
// people or posts: it solves minimum-cost flow problems on sparse networks with
// whole numbers, exactly, and each answer carries a proof that [Verify] checks in
// one pass over the network.
//
// A campaign of posts is one such problem. The quickest form has a single ground
// node: ground to candidate (at most 1), candidate to offer (minus the score),
// offer to ground (at most its posts, minus a reward larger than all scores
// together, so that a filled post comes first). Flow is then conserved at every
// node, nothing is infeasible without quotas, and occupations that share nothing
// but the ground are solved apart: see components.go.
package allocation

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
)

// Unlimited is the upper bound of an arc that has none.
const Unlimited int64 = math.MaxInt64

// limit is the largest magnitude of a bound, and of all supplies together. Flows
// and their differences then stay far inside an int64.
const limit = 1 << 60

// Network is a minimum-cost flow problem with len(Supply) nodes, numbered from 0.
type Network struct {
	// Supply is what a node puts into the network (positive) or takes out of it
	// (negative), in units of flow; all together are 0.
	Supply []int64
	// From and To are the arcs' ends; the five columns of arcs have one length.
	From, To []int32
	// Lower and Upper bound an arc's flow; Upper may be [Unlimited].
	Lower, Upper []int64
	// Cost is per unit of flow and may be negative.
	Cost []int64
}

// Plan is an optimal flow and the proof that nothing costs less.
type Plan struct {
	// Flow is the units on each arc.
	Flow []int64
	// Price is a value per node, in units of cost: what one more unit of flow is
	// worth there, compared to the other nodes. An arc whose cost plus the price
	// where it starts minus the price where it ends is positive is as empty as
	// its bounds allow; one where that is negative is full.
	Price []int64
}

// AddArc appends an arc and returns its number.
func (n *Network) AddArc(from, to int32, lower, upper, cost int64) int {
	n.From, n.To = append(n.From, from), append(n.To, to)
	n.Lower, n.Upper, n.Cost = append(n.Lower, lower), append(n.Upper, upper), append(n.Cost, cost)
	return len(n.From) - 1
}

// TotalCost is what the plan's flow costs on this network, exactly. The plan must have
// one flow per arc.
func (n *Network) TotalCost(p *Plan) *big.Int {
	// 128-bit sum in two words: products of two int64 do not overflow it before
	// 2^64 of them are added at the limits that Solve enforces.
	var hi, lo uint64
	for a, f := range p.Flow {
		c := n.Cost[a]
		h, l := bits.Mul64(uint64(f), uint64(c))
		// Mul64 multiplies unsigned words: take back what the signs added.
		if f < 0 {
			h -= uint64(c)
		}
		if c < 0 {
			h -= uint64(f)
		}
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, carry)
	}
	total := new(big.Int).Lsh(big.NewInt(int64(hi)), 64)
	return total.Add(total, new(big.Int).SetUint64(lo))
}

// Infeasible says that no flow satisfies the network, and proves it: more enters
// Nodes, by supply and by the lower bounds of arcs that lead into them, than the
// upper bounds of the arcs that lead out of them let go. CheckInfeasible counts it.
type Infeasible struct {
	// Nodes is the set that cannot get rid of its supply, in increasing order.
	Nodes []int32
	// Missing is how many units have no way out.
	Missing int64
}

func (e *Infeasible) Error() string {
	return fmt.Sprintf("no feasible flow: a set of %d nodes has %d units more to send out than its outgoing arcs can take", len(e.Nodes), e.Missing)
}

// Unbounded says that the cost has no minimum: the arcs form a cycle of negative
// cost, in this order, none of which has a limit in the cycle's direction.
type Unbounded struct{ Arcs []int32 }

func (e *Unbounded) Error() string {
	return fmt.Sprintf("the cost has no minimum: %d arcs without a limit form a cycle of negative cost", len(e.Arcs))
}

// ErrRange is the error for numbers so large that the exact answer might not fit
// into 64 bits.
var ErrRange = errors.New("numbers too large for an exact answer in 64 bits")

// check refuses a malformed network before anything indexes into it, and numbers
// with which sums might overflow later.
func (n *Network) check() error {
	m := len(n.From)
	if len(n.To) != m || len(n.Lower) != m || len(n.Upper) != m || len(n.Cost) != m {
		return fmt.Errorf("the columns of arcs differ in length: From %d, To %d, Lower %d, Upper %d, Cost %d",
			m, len(n.To), len(n.Lower), len(n.Upper), len(n.Cost))
	}
	if len(n.Supply) >= math.MaxInt32 || m >= math.MaxInt32/2 {
		return fmt.Errorf("%d nodes and %d arcs: at most 2^31 nodes and 2^30 arcs", len(n.Supply), m)
	}
	var sum, moved int64 // net supply; units that supplies and lower bounds move at most
	for v, s := range n.Supply {
		if s < -limit || s > limit {
			return fmt.Errorf("node %d: supply %d: %w", v, s, ErrRange)
		}
		sum += s
		if moved += magnitude(s); moved > limit {
			return fmt.Errorf("the supplies together: %w", ErrRange)
		}
	}
	if sum != 0 {
		return fmt.Errorf("the supplies add up to %d, not to 0", sum)
	}
	var spans int64 // what all limited arcs can take; beyond the limit it is not counted
	unlimited := -1
	for a := range n.From {
		u, v, lower, upper, cost := n.From[a], n.To[a], n.Lower[a], n.Upper[a], n.Cost[a]
		switch {
		case u < 0 || v < 0 || int(u) >= len(n.Supply) || int(v) >= len(n.Supply):
			return fmt.Errorf("arc %d: from node %d to node %d: there are %d nodes", a, u, v, len(n.Supply))
		case lower < -limit || lower > limit:
			return fmt.Errorf("arc %d: lower bound %d: %w", a, lower, ErrRange)
		case upper < lower:
			return fmt.Errorf("arc %d: upper bound %d is below the lower bound %d", a, upper, lower)
		case upper > limit && upper != Unlimited:
			return fmt.Errorf("arc %d: upper bound %d: %w (Unlimited is a number of its own)", a, upper, ErrRange)
		case cost < -limit || cost > limit:
			return fmt.Errorf("arc %d: cost %d: %w", a, cost, ErrRange)
		}
		if moved += magnitude(lower); moved > limit {
			return fmt.Errorf("supplies and lower bounds together: %w", ErrRange)
		}
		if upper == Unlimited {
			unlimited = a
		} else {
			spans = min(limit+1, spans+min(limit, upper-lower))
		}
	}
	// What an unlimited arc carries is at most what the others let through.
	if unlimited >= 0 && spans+moved > limit {
		return fmt.Errorf("arc %d has no upper bound, and what the other arcs can take together: %w", unlimited, ErrRange)
	}
	return nil
}

func magnitude(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}
