// Command instance writes a synthetic campaign as a DIMACS .min file to stdout.
package main

import (
	"flag"
	"fmt"
	"os"

	"masar.local/services/matching/allocation/synthetic"
)

func main() {
	s := synthetic.Shape{}
	flag.IntVar(&s.Candidates, "candidates", 100_000, "people")
	flag.IntVar(&s.Offers, "offers", 5_000, "offers")
	flag.IntVar(&s.Posts, "posts", 20_000, "posts of all offers")
	flag.IntVar(&s.Occupations, "occupations", 40, "occupations")
	flag.IntVar(&s.Sees, "sees", 20, "offers seen by each candidate")
	flag.IntVar(&s.Across, "across", 0, "how many of them of any occupation")
	flag.Uint64Var(&s.Seed, "seed", 1, "the same seed gives the same file")
	flag.Parse()
	if err := synthetic.WriteDIMACS(os.Stdout, synthetic.Campaign(s)); err != nil {
		fmt.Fprintln(os.Stderr, "instance:", err)
		os.Exit(1)
	}
}
