package allocation_test

import (
	"context"
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"

	"masar.local/services/matching/allocation"
	"masar.local/services/matching/allocation/synthetic"

	"pgregory.net/rapid"
)

// drawNetwork is a small network of any kind: lower bounds, negative costs,
// parallel arcs, loops, several components, sometimes no limit, sometimes no
// feasible flow.
func drawNetwork(t *rapid.T) *allocation.Network {
	nodes := rapid.IntRange(1, 9).Draw(t, "nodes")
	n := &allocation.Network{Supply: make([]int64, nodes)}
	node := rapid.Int32Range(0, int32(nodes-1))
	for range rapid.IntRange(0, 24).Draw(t, "arcs") {
		lower := rapid.SampledFrom([]int64{0, 0, 0, 0, 1, 2, -1}).Draw(t, "lower")
		upper := lower + rapid.Int64Range(0, 6).Draw(t, "span")
		if rapid.IntRange(0, 9).Draw(t, "unlimited") == 0 {
			upper = allocation.Unlimited
		}
		n.AddArc(node.Draw(t, "from"), node.Draw(t, "to"), lower, upper, rapid.Int64Range(-4, 9).Draw(t, "cost"))
	}
	if rapid.Bool().Draw(t, "satisfiable") {
		// Supplies that some flow satisfies.
		for a := range n.From {
			f := n.Lower[a] + rapid.Int64Range(0, min(6, spanOf(n, a))).Draw(t, "flow")
			n.Supply[n.From[a]] += f
			n.Supply[n.To[a]] -= f
		}
		return n
	}
	for range rapid.IntRange(0, 4).Draw(t, "supplies") {
		u, v, s := node.Draw(t, "u"), node.Draw(t, "v"), rapid.Int64Range(0, 5).Draw(t, "s")
		n.Supply[u] += s
		n.Supply[v] -= s
	}
	return n
}

func spanOf(n *allocation.Network, a int) int64 {
	if n.Upper[a] == allocation.Unlimited {
		return math.MaxInt64
	}
	return n.Upper[a] - n.Lower[a]
}

type verdict int

const (
	optimal verdict = iota
	infeasible
	unbounded
)

// naive solves a small network by the plainest exact method: make every arc of
// negative cost full, which leaves nodes with too much and with too little, then
// send one unit after the other along a cheapest path (Bellman-Ford). An arc
// without limit gets one that no sensible flow reaches.
func naive(n *allocation.Network) (verdict, int64) {
	const enough = 1000
	type residual struct {
		to   int32
		left int64
		cost int64
	}
	var (
		arcs  []residual
		at    = make([][]int, len(n.Supply))
		have  = slices.Clone(n.Supply)
		total int64
	)
	for a, from := range n.From {
		span, to := spanOf(n, a), n.To[a]
		span = min(span, enough)
		flow := int64(0)
		if n.Cost[a] < 0 {
			flow = span
		}
		total += (n.Lower[a] + flow) * n.Cost[a]
		have[from] -= n.Lower[a] + flow
		have[to] += n.Lower[a] + flow
		at[from] = append(at[from], len(arcs))
		at[to] = append(at[to], len(arcs)+1)
		arcs = append(arcs, residual{to, span - flow, n.Cost[a]}, residual{from, flow, -n.Cost[a]})
	}
	for {
		distance, via := make([]int64, len(have)), make([]int, len(have))
		for v := range have {
			distance[v], via[v] = math.MaxInt64, -1
			if have[v] > 0 {
				distance[v] = 0
			}
		}
		for changed := true; changed; {
			changed = false
			for u := range have {
				for _, r := range at[u] {
					if d := distance[u] + arcs[r].cost; distance[u] != math.MaxInt64 && arcs[r].left > 0 && d < distance[arcs[r].to] {
						distance[arcs[r].to], via[arcs[r].to], changed = d, r, true
					}
				}
			}
		}
		end := -1
		for v := range have {
			if have[v] < 0 && distance[v] != math.MaxInt64 && (end < 0 || distance[v] < distance[end]) {
				end = v
			}
		}
		if end < 0 {
			break
		}
		units, start := -have[end], int32(end)
		for via[start] >= 0 {
			units = min(units, arcs[via[start]].left)
			start = arcs[via[start]^1].to
		}
		units = min(units, have[start])
		total += units * distance[end]
		have[start] -= units
		have[end] += units
		for v := int32(end); v != start; v = arcs[via[v]^1].to {
			arcs[via[v]].left -= units
			arcs[via[v]^1].left += units
		}
	}
	if slices.ContainsFunc(have, func(h int64) bool { return h != 0 }) {
		return infeasible, 0
	}
	if bottomless(n) {
		return unbounded, 0
	}
	return optimal, total
}

// bottomless says whether arcs without a limit form a cycle of negative cost.
func bottomless(n *allocation.Network) bool {
	distance := make([]int64, len(n.Supply))
	for range len(n.Supply) + 1 {
		changed := false
		for a, u := range n.From {
			if v := n.To[a]; n.Upper[a] == allocation.Unlimited && distance[u]+n.Cost[a] < distance[v] {
				distance[v], changed = distance[u]+n.Cost[a], true
			}
		}
		if !changed {
			return false
		}
	}
	return true
}

// solve checks what every answer must satisfy, and gives the verdict and the cost.
func solve(t rapid.TB, n *allocation.Network, o allocation.Options) (verdict, *allocation.Plan) {
	t.Helper()
	plan, err := allocation.Solve(context.Background(), n, o)
	var no *allocation.Infeasible
	var without *allocation.Unbounded
	switch {
	case errors.As(err, &no):
		if err := allocation.CheckInfeasible(n, no); err != nil {
			t.Fatalf("proof of infeasibility: %v\n%+v\n%+v", err, n, no)
		}
		return infeasible, nil
	case errors.As(err, &without):
		checkUnbounded(t, n, without)
		return unbounded, nil
	case err != nil:
		t.Fatal(err)
	}
	if err := allocation.Verify(n, plan); err != nil {
		t.Fatalf("%v\n%+v\n%+v", err, n, plan)
	}
	return optimal, plan
}

// checkUnbounded walks the cycle: each arc goes on where the one before ended, in
// its direction when it has no limit.
func checkUnbounded(t rapid.TB, n *allocation.Network, e *allocation.Unbounded) {
	t.Helper()
	cost := int64(0)
	for i, a := range e.Arcs {
		next := e.Arcs[(i+1)%len(e.Arcs)]
		if n.Upper[a] != allocation.Unlimited || n.To[a] != n.From[next] {
			t.Fatalf("arcs %v are no cycle without limits in %+v", e.Arcs, n)
		}
		cost += n.Cost[a]
	}
	if cost >= 0 {
		t.Fatalf("the cycle %v costs %d in %+v", e.Arcs, cost, n)
	}
}

func TestSolveAgreesWithNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork(t)
		want, cost := naive(n)
		got, plan := solve(t, n, allocation.Options{Workers: 1})
		// A network may have no feasible flow and a bottomless cycle at once.
		if got != want && !(want == infeasible && got == unbounded) && !(want == unbounded && got == infeasible) {
			t.Fatalf("verdict %d, naive %d: %+v", got, want, n)
		}
		if got == optimal && n.TotalCost(plan).Cmp(big.NewInt(cost)) != 0 {
			t.Fatalf("cost %s, naive %d: %+v", n.TotalCost(plan), cost, n)
		}
	})
}

func TestVerifyRefusesEverySingleChangeThatMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork(t)
		verdict, plan := solve(t, n, allocation.Options{})
		if verdict != optimal {
			t.Skip("no plan")
		}
		by := rapid.SampledFrom([]int64{1, -1, 2, 1000, -1000, math.MaxInt64, math.MinInt64}).Draw(t, "by")
		for a := range plan.Flow {
			broken := &allocation.Plan{Flow: slices.Clone(plan.Flow), Price: plan.Price}
			broken.Flow[a] += by
			// A loop of no cost may carry anything; all other changes break the
			// conservation of flow, or a bound.
			harmless := n.From[a] == n.To[a] && n.Cost[a] == 0 && broken.Flow[a] >= n.Lower[a] && broken.Flow[a] <= n.Upper[a]
			if (allocation.Verify(n, broken) == nil) != harmless {
				t.Fatalf("arc %d changed by %d, harmless %v: %+v %+v", a, by, harmless, n, plan)
			}
		}
		for v := range plan.Price {
			broken := &allocation.Plan{Flow: plan.Flow, Price: slices.Clone(plan.Price)}
			broken.Price[v] += by
			if got, want := allocation.Verify(n, broken) == nil, slack(n, broken); got != want {
				t.Fatalf("price of node %d changed by %d: accepted %v, is a proof %v: %+v %+v", v, by, got, want, n, plan)
			}
		}
		for _, broken := range []*allocation.Plan{
			{Flow: append(slices.Clone(plan.Flow), 0), Price: plan.Price},
			{Flow: plan.Flow, Price: plan.Price[:len(plan.Price)-1]},
		} {
			if allocation.Verify(n, broken) == nil {
				t.Fatal("a plan of another length was accepted")
			}
		}
	})
}

// slack says, with big numbers, whether the plan's prices prove its flow.
func slack(n *allocation.Network, p *allocation.Plan) bool {
	for a, f := range p.Flow {
		reduced := big.NewInt(n.Cost[a])
		reduced.Add(reduced, big.NewInt(p.Price[n.From[a]]))
		reduced.Sub(reduced, big.NewInt(p.Price[n.To[a]]))
		if reduced.Sign() > 0 && f > n.Lower[a] || reduced.Sign() < 0 && f < n.Upper[a] {
			return false
		}
	}
	return true
}

func TestVerifyRefusesFeasibleButDearer(t *testing.T) {
	n := &allocation.Network{Supply: []int64{1, -1}}
	n.AddArc(0, 1, 0, 1, 3)
	n.AddArc(0, 1, 0, 1, 2)
	for price := int64(-5); price <= 5; price++ {
		if allocation.Verify(n, &allocation.Plan{Flow: []int64{1, 0}, Price: []int64{0, price}}) == nil {
			t.Fatalf("accepted at price %d", price)
		}
	}
}

func TestWarmStartFindsTheSameOptimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork(t)
		verdict, before := solve(t, n, allocation.Options{})
		if verdict != optimal {
			t.Skip("no plan")
		}
		// Some arcs change, new nodes and arcs come.
		if rapid.Bool().Draw(t, "grows") {
			n.Supply = append(n.Supply, 0)
		}
		node := rapid.Int32Range(0, int32(len(n.Supply)-1))
		for range rapid.IntRange(0, 3).Draw(t, "new arcs") {
			n.AddArc(node.Draw(t, "from"), node.Draw(t, "to"), 0, rapid.Int64Range(0, 5).Draw(t, "upper"), rapid.Int64Range(-9, 9).Draw(t, "cost"))
		}
		if len(n.From) > 0 {
			arc := rapid.IntRange(0, len(n.From)-1)
			for range rapid.IntRange(0, 3).Draw(t, "changed") {
				a := arc.Draw(t, "arc")
				n.Cost[a] = rapid.Int64Range(-5, 9).Draw(t, "cost")
				n.Upper[a] = n.Lower[a] + rapid.Int64Range(0, 6).Draw(t, "span")
			}
		}
		u, v, s := node.Draw(t, "u"), node.Draw(t, "v"), rapid.Int64Range(0, 2).Draw(t, "s")
		n.Supply[u] += s
		n.Supply[v] -= s

		cold, plan := solve(t, n, allocation.Options{})
		warm, again := solve(t, n, allocation.Options{Warm: before})
		if cold != warm {
			t.Fatalf("cold %d, warm %d: %+v", cold, warm, n)
		}
		if cold == optimal && n.TotalCost(plan).Cmp(n.TotalCost(again)) != 0 {
			t.Fatalf("cold %s, warm %s: %+v", n.TotalCost(plan), n.TotalCost(again), n)
		}
	})
}

func TestWarmStartFromAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork(t)
		any := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-9, 9))
		warm := &allocation.Plan{
			Flow:  rapid.SliceOfN(any, 0, len(n.From)+1).Draw(t, "flow"),
			Price: rapid.SliceOfN(any, 0, len(n.Supply)+1).Draw(t, "price"),
		}
		want, plan := solve(t, n, allocation.Options{})
		got, again := solve(t, n, allocation.Options{Warm: warm})
		if want != got || want == optimal && n.TotalCost(plan).Cmp(n.TotalCost(again)) != 0 {
			t.Fatalf("another optimum from %+v: %+v", warm, n)
		}
	})
}

func TestSamePlanWhateverTheWorkers(t *testing.T) {
	for seed := range uint64(5) {
		n := synthetic.Campaign(synthetic.Shape{Candidates: 2_000, Offers: 100, Posts: 500, Occupations: 10, Sees: 6, Across: int(seed % 2), Seed: seed})
		_, want := solve(t, n, allocation.Options{Workers: 1})
		for _, workers := range []int{2, 7, 0} {
			_, got := solve(t, n, allocation.Options{Workers: workers})
			if !slices.Equal(want.Flow, got.Flow) || !slices.Equal(want.Price, got.Price) {
				t.Fatalf("seed %d: another plan with %d workers", seed, workers)
			}
		}
	}
}

func TestLargerNetworksWithQuotas(t *testing.T) {
	// As a campaign draws it: source, governorates with quotas, candidates, offers,
	// schemes with quotas, sink.
	for seed := range uint64(3) {
		n := synthetic.Campaign(synthetic.Shape{Candidates: 1_000, Offers: 60, Posts: 300, Occupations: 6, Sees: 8, Seed: seed})
		const governorates = 24
		first := int32(len(n.Supply))
		n.Supply = append(n.Supply, make([]int64, governorates)...)
		for c := range 1_000 {
			n.From[c] = first + int32(c%governorates)
		}
		for g := range int32(governorates) {
			n.AddArc(0, first+g, int64(seed)*4, 20, 0)
		}
		verdict, plan := solve(t, n, allocation.Options{})
		if verdict != optimal {
			t.Fatalf("seed %d: verdict %d", seed, verdict)
		}
		// A quota changes: from the earlier plan to the same optimum.
		n.Upper[len(n.Upper)-1], n.Lower[len(n.Lower)-2] = 9, 18
		verdict, cold := solve(t, n, allocation.Options{})
		_, warm := solve(t, n, allocation.Options{Warm: plan})
		if verdict == optimal && n.TotalCost(cold).Cmp(n.TotalCost(warm)) != 0 {
			t.Fatalf("seed %d: cold %s, warm %s", seed, n.TotalCost(cold), n.TotalCost(warm))
		}
	}
}

func TestMinimumThatNobodyCanMeetIsProved(t *testing.T) {
	n := synthetic.Campaign(synthetic.Shape{Candidates: 300, Offers: 20, Posts: 60, Occupations: 4, Sees: 4, Seed: 1})
	last := len(n.From) - 1 // an offer to the ground
	n.Lower[last], n.Upper[last] = 290, 300
	if verdict, _ := solve(t, n, allocation.Options{}); verdict != infeasible {
		t.Fatalf("verdict %d", verdict)
	}
}

func TestExtremeNumbers(t *testing.T) {
	const huge = 1 << 60
	two := func(lower, upper, cost, supply int64) *allocation.Network {
		n := &allocation.Network{Supply: []int64{supply, -supply}}
		n.AddArc(0, 1, lower, upper, cost)
		n.AddArc(0, 1, 0, 1, 0)
		return n
	}
	t.Run("exact beyond 64 bits", func(t *testing.T) {
		n := two(0, huge, huge/2, huge/2)
		_, plan := solve(t, n, allocation.Options{})
		want := new(big.Int).Mul(big.NewInt(huge/2-1), big.NewInt(huge/2))
		if got := n.TotalCost(plan); got.Cmp(want) != 0 {
			t.Fatalf("cost %s, not %s", got, want)
		}
		n = two(-huge/2, huge, -huge/2, -huge/4)
		_, plan = solve(t, n, allocation.Options{})
		want = new(big.Int).Mul(big.NewInt(-huge/4), big.NewInt(-huge/2))
		if got := n.TotalCost(plan); got.Cmp(want) != 0 {
			t.Fatalf("cost %s, not %s", got, want)
		}
	})
	for name, n := range map[string]*allocation.Network{
		"costs":     two(0, 5, huge, 1),
		"cost":      two(0, 5, math.MinInt64, 1),
		"lower":     two(math.MinInt64, 5, 1, 1),
		"upper":     two(0, math.MaxInt64-1, 1, 1),
		"supplies":  two(0, 5, 1, huge),
		"unlimited": {Supply: []int64{0, 0}, From: []int32{0, 1}, To: []int32{1, 0}, Lower: []int64{0, 0}, Upper: []int64{huge, allocation.Unlimited}, Cost: []int64{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "unlimited" {
				n.AddArc(0, 1, 0, huge, -1)
			}
			if _, err := allocation.Solve(context.Background(), n, allocation.Options{}); !errors.Is(err, allocation.ErrRange) {
				t.Fatalf("%v", err)
			}
		})
	}
	t.Run("verifier", func(t *testing.T) {
		// Sums in 64 bits would wrap around to 0 here.
		n := &allocation.Network{Supply: []int64{0, 0}}
		n.AddArc(0, 1, 0, 5, 1)
		if allocation.Verify(n, &allocation.Plan{Flow: []int64{0, 0}[:1], Price: []int64{math.MinInt64, math.MaxInt64}}) == nil {
			t.Fatal("a negative reduced cost on an empty arc was accepted")
		}
		if err := allocation.Verify(n, &allocation.Plan{Flow: []int64{0}, Price: []int64{math.MaxInt64, math.MinInt64}}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMalformedNetworksAreRefused(t *testing.T) {
	for name, n := range map[string]*allocation.Network{
		"supplies": {Supply: []int64{1}},
		"columns":  {Supply: []int64{0}, From: []int32{0}},
		"node":     {Supply: []int64{0}, From: []int32{0}, To: []int32{1}, Lower: []int64{0}, Upper: []int64{1}, Cost: []int64{0}},
		"negative": {Supply: []int64{0}, From: []int32{-1}, To: []int32{0}, Lower: []int64{0}, Upper: []int64{1}, Cost: []int64{0}},
		"bounds":   {Supply: []int64{0}, From: []int32{0}, To: []int32{0}, Lower: []int64{2}, Upper: []int64{1}, Cost: []int64{0}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := allocation.Solve(context.Background(), n, allocation.Options{}); err == nil {
				t.Fatal("accepted")
			}
			if allocation.Verify(n, &allocation.Plan{Flow: make([]int64, len(n.From)), Price: make([]int64, len(n.Supply))}) == nil {
				t.Fatal("verified")
			}
		})
	}
	if verdict, _ := solve(t, &allocation.Network{}, allocation.Options{}); verdict != optimal {
		t.Fatal("the empty network has the empty plan")
	}
}

func TestCancelled(t *testing.T) {
	n := synthetic.Campaign(synthetic.Shape{Candidates: 5_000, Offers: 300, Posts: 4_500, Occupations: 1, Sees: 10, Seed: 1})
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	beats := 0
	_, err := allocation.Solve(ctx, n, allocation.Options{Progress: func(done, total int64) {
		if beats++; done > total || total > int64(len(n.From)) {
			t.Errorf("%d of %d", done, total)
		}
		cancel(enough)
	}})
	if !errors.Is(err, enough) || beats == 0 {
		t.Fatalf("%v after %d beats", err, beats)
	}
}

func TestProgressEndsWithAll(t *testing.T) {
	n := synthetic.Campaign(synthetic.Shape{Candidates: 500, Offers: 40, Posts: 100, Occupations: 8, Sees: 5, Seed: 1})
	last, all := int64(0), int64(-1)
	_, err := allocation.Solve(context.Background(), n, allocation.Options{Progress: func(done, total int64) {
		if done < last {
			t.Errorf("%d after %d", done, last)
		}
		last, all = done, total
	}})
	if err != nil || last != all {
		t.Fatalf("%d of %d: %v", last, all, err)
	}
}

// campaigns are the sizes measured; tests/bench has the same beside LEMON.
var campaigns = []struct {
	name  string
	shape synthetic.Shape
}{
	{"10k", synthetic.Shape{Candidates: 10_000, Offers: 500, Posts: 2_000, Occupations: 40, Sees: 12, Seed: 1}},
	{"100k", synthetic.Shape{Candidates: 100_000, Offers: 5_000, Posts: 20_000, Occupations: 40, Sees: 20, Seed: 1}},
	{"100k_95k_posts", synthetic.Shape{Candidates: 100_000, Offers: 5_000, Posts: 95_000, Occupations: 40, Sees: 20, Seed: 1}},
	{"100k_across", synthetic.Shape{Candidates: 100_000, Offers: 5_000, Posts: 20_000, Occupations: 40, Sees: 20, Across: 2, Seed: 1}},
}

func BenchmarkSolve(b *testing.B) {
	for _, c := range campaigns {
		b.Run(c.name, func(b *testing.B) {
			n := synthetic.Campaign(c.shape)
			b.ReportAllocs()
			for b.Loop() {
				solve(b, n, allocation.Options{})
			}
		})
	}
}

func BenchmarkSolveWarm(b *testing.B) {
	for _, c := range campaigns {
		b.Run(c.name, func(b *testing.B) {
			n := synthetic.Campaign(c.shape)
			_, plan := solve(b, n, allocation.Options{})
			last := len(n.Upper) - 1
			for o := range 20 { // some offers have more posts, one is withdrawn
				n.Upper[last-o] += 3
			}
			n.Upper[last-20] = 0
			b.ReportAllocs()
			for b.Loop() {
				solve(b, n, allocation.Options{Warm: plan})
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	n := synthetic.Campaign(campaigns[1].shape)
	_, plan := solve(b, n, allocation.Options{})
	for b.Loop() {
		if err := allocation.Verify(n, plan); err != nil {
			b.Fatal(err)
		}
	}
}
