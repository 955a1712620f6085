package allocation_test

import (
	"context"
	"testing"

	"masar.local/services/matching/allocation"
	"masar.local/services/matching/allocation/synthetic"
)

// sizes of campaigns measured; see tests/bench for the same beside LEMON.
var campaigns = map[string]synthetic.Shape{
	"small":        {Candidates: 10_000, Offers: 500, Posts: 2_000, Occupations: 40, Sees: 12, Seed: 1},
	"campaign":     {Candidates: 100_000, Offers: 5_000, Posts: 20_000, Occupations: 40, Sees: 20, Seed: 1},
	"scarcePeople": {Candidates: 100_000, Offers: 5_000, Posts: 95_000, Occupations: 40, Sees: 20, Seed: 1},
	"one":          {Candidates: 100_000, Offers: 5_000, Posts: 20_000, Occupations: 40, Sees: 20, Across: 2, Seed: 1},
	"one95":        {Candidates: 100_000, Offers: 5_000, Posts: 95_000, Occupations: 40, Sees: 20, Across: 2, Seed: 1},
}

func BenchmarkSolve(b *testing.B) {
	for _, name := range []string{"small", "campaign", "scarcePeople", "one", "one95"} {
		b.Run(name, func(b *testing.B) {
			n := synthetic.Campaign(campaigns[name])
			b.ReportAllocs()
			var plan *allocation.Plan
			for b.Loop() {
				var err error
				if plan, err = allocation.Solve(context.Background(), n, allocation.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			if err := allocation.Verify(n, plan); err != nil {
				b.Fatal(err)
			}
			b.Log(n.TotalCost(plan))
		})
	}
}
