package allocation

import "fmt"

// VerifyStable checks a matching by itself: it shares nothing with Stable. It
// gives nil when candidates are matched only in pairs that list each other, no
// offer takes more than its posts, and no pair blocks: no candidate and offer
// that list each other, where the candidate has nothing or something that it
// likes less, and the offer has a post free or a candidate that it likes less.
// Time and memory are linear in the entries of the lists. An offer of -1 is none.
// The error names the first pair found.
func VerifyStable(p *Preferences, offer []int32) error {
	if len(offer) != len(p.Candidates) || len(p.Posts) != len(p.Offers) {
		return fmt.Errorf("allocation: %d candidates and %d in the matching, %d offers and %d numbers of posts: they must agree",
			len(p.Candidates), len(offer), len(p.Offers), len(p.Posts))
	}
	// envied: for each offer, who would rather have it than what they got.
	envied := make([][]int32, len(p.Offers))
	for c, list := range p.Candidates {
		got := offer[c] < 0
		for _, o := range list {
			if o < 0 || int(o) >= len(p.Offers) {
				return fmt.Errorf("allocation: candidate %d lists offer %d, which does not exist", c, o)
			}
			if o == offer[c] {
				got = true
				break
			}
			envied[o] = append(envied[o], int32(c))
		}
		if !got {
			return fmt.Errorf("allocation: candidate %d is given offer %d, which it does not list", c, offer[c])
		}
	}
	given := make([]int32, len(p.Offers)) // how many candidates say that they are there
	for _, o := range offer {
		if o >= 0 {
			given[o]++
		}
	}
	wishes := make([]int32, len(p.Candidates)) // the last offer, plus 1, that a candidate envies
	met := make([]bool, len(p.Candidates))     // in the list of the offer that it is given
	for o, list := range p.Offers {
		if given[o] > p.Posts[o] {
			return fmt.Errorf("allocation: offer %d has %d posts and is given to %d candidates", o, p.Posts[o], given[o])
		}
		for _, c := range envied[o] {
			wishes[c] = int32(o) + 1
		}
		left := given[o] // those that come further down in the list
		for _, c := range list {
			if c < 0 || int(c) >= len(p.Candidates) {
				return fmt.Errorf("allocation: offer %d lists candidate %d, who does not exist", o, c)
			}
			if offer[c] == int32(o) && !met[c] {
				met[c] = true
				left--
			} else if wishes[c] == int32(o)+1 && (given[o] < p.Posts[o] || left > 0) {
				return fmt.Errorf("allocation: candidate %d and offer %d would both rather have each other: the pair blocks", c, o)
			}
		}
		if left > 0 {
			return fmt.Errorf("allocation: offer %d is given to %d candidates that it does not list", o, left)
		}
	}
	return nil
}
