package indicators

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/access"
	"pgregory.net/rapid"
)

// TestReviewsTellNoMoreThanLiveFigures draws programmes and freezes their months and
// their quarter: whoever may not read facts, of the whole or of a part, finds no
// figure in a review that the live tables do not show as well. So nobody who puts
// reviews, their differences and live figures together has more equations than
// TestHiddenCellsAreNotSolved attacks.
func TestReviewsTellNoMoreThanLiveFigures(t *testing.T) {
	e, round := openStore(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		s := few(reviewer(t, e, inApril(t)))
		story, n := newStory(t), 0
		for _, month := range []string{"01", "02", "03"} {
			for _, g := range []string{"TN-11", "TN-12", "TN-71"} {
				for _, sex := range []string{"F", "M"} {
					for range rapid.SampledFrom([]int{0, 1, 2, 5, 6, 9}).Draw(rt, month+g+sex) {
						n++
						story.opened("2026-"+month+"-10 10:00", fmt.Sprint(round, "-w", n), "agri", person{fmt.Sprint(round, "-p", n), sex, g})
					}
				}
			}
		}
		for i := range story.events {
			story.events[i].ID = fmt.Sprint(round, "-") + story.events[i].ID
		}
		fold(t, s, story.events...)
		d, _ := s.defs.Get("people_followed")
		part := as(access.Manager)
		part.Governorates = []string{"TN-71"}
		for _, name := range []string{"2026-01", "2026-02", "2026-03", "2026-Q1"} {
			frozen, err := s.Freeze(bg(t, as(access.Manager)), FreezeRequest{Period: name})
			if err != nil {
				rt.Fatal(err)
			}
			beyond := func(who, reader access.Principal) (out []string) { // what who finds in the review, and reader not in the live tables
				review, err := s.Review(bg(t, who), ReviewQuery{ID: frozen.ID, Code: []string{d.Code}})
				if err != nil {
					rt.Fatal(err)
				}
				for _, by := range reviewCuts(d) {
					if len(by) == 0 {
						continue
					}
					period := frozen.period()
					live, err := s.Values(bg(t, reader), ValuesQuery{Code: d.Code, Grain: All, By: by, From: period.First, To: period.Last})
					if err != nil {
						rt.Fatal(err)
					}
					for _, c := range review.Figures[0].Cells {
						if !slices.Equal(c.By, by) || c.Value == nil {
							continue
						}
						if !slices.ContainsFunc(live.Rows, func(r Row) bool {
							for i, name := range by {
								if r.Dimensions[name] != c.Codes[i] {
									return false
								}
							}
							return !r.Suppressed && *r.Value == *c.Value
						}) {
							out = append(out, name+" "+strings.Join(append(by, c.Codes...), " "))
						}
					}
				}
				return out
			}
			for _, reader := range []access.Principal{as(access.Manager), part} {
				if found := beyond(reader, reader); len(found) > 0 {
					rt.Fatalf("only the review shows %q", found)
				}
			}
			// It would be found: what is hidden, shown.
			for _, i := range frozen.Indicators {
				if i.Code == d.Code && i.Hidden > 0 && len(beyond(as(access.Statistician), as(access.Manager))) == 0 {
					rt.Fatalf("%s hides %d cells, and who reads facts finds none of them", name, i.Hidden)
				}
			}
		}
	})
}
