// Package synthetic makes networks of the shape of a campaign, the same for the
// same seed, for tests and measurements.
package synthetic

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"

	"masar.local/services/matching/allocation"
)

// Shape is the size of a campaign. Candidates and offers are spread evenly over
// the occupations, posts evenly over the offers.
type Shape struct {
	Candidates, Offers, Posts, Occupations int
	// Sees is how many offers, drawn without order, each candidate may be sent to.
	Sees int
	// Across is how many of them may be of any occupation: with 1 or more,
	// nothing falls apart.
	Across int
	Seed   uint64
}

// Campaign is the campaign as a circulation: node 0 is the ground, then the
// candidates, then the offers. Ground to candidate, at most 1; candidate to offer,
// at minus a score of 0 to 1000; offer to ground, at most its posts, at minus more
// than all scores together.
func Campaign(s Shape) *allocation.Network {
	random := rand.New(rand.NewPCG(s.Seed, uint64(s.Candidates)))
	n := &allocation.Network{Supply: make([]int64, 1+s.Candidates+s.Offers)}
	offer := func(o int) int32 { return int32(1 + s.Candidates + o) }
	for c := range s.Candidates {
		n.AddArc(0, int32(1+c), 0, 1, 0)
	}
	seen := make([]int, s.Offers) // by which candidate last
	for c := range s.Candidates {
		occupation := c % s.Occupations
		own := (s.Offers - occupation + s.Occupations - 1) / s.Occupations // offers occupation, +Occupations, ..
		for k := range min(s.Sees, own) {
			o := occupation + s.Occupations*random.IntN(own)
			for k < s.Across || seen[o] == c+1 {
				if k < s.Across {
					o = random.IntN(s.Offers)
				} else {
					o = occupation + s.Occupations*random.IntN(own)
				}
				if seen[o] != c+1 {
					break
				}
			}
			seen[o] = c + 1
			n.AddArc(int32(1+c), offer(o), 0, 1, -int64(random.IntN(1001)))
		}
	}
	reward := int64(1000*min(s.Candidates, s.Posts) + 1)
	for o := range s.Offers {
		posts := s.Posts / s.Offers
		if o < s.Posts%s.Offers {
			posts++
		}
		n.AddArc(offer(o), 0, 0, int64(posts), -reward)
	}
	return n
}

// WriteDIMACS writes a network in DIMACS' .min format.
func WriteDIMACS(w io.Writer, n *allocation.Network) error {
	out := bufio.NewWriterSize(w, 1<<20)
	fmt.Fprintf(out, "p min %d %d\n", len(n.Supply), len(n.From))
	for v, s := range n.Supply {
		if s != 0 {
			fmt.Fprintf(out, "n %d %d\n", v+1, s)
		}
	}
	for a := range n.From {
		fmt.Fprintf(out, "a %d %d %d %d %d\n", n.From[a]+1, n.To[a]+1, n.Lower[a], n.Upper[a], n.Cost[a])
	}
	return out.Flush()
}
