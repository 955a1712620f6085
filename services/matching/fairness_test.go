package matching

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Values from Newcombe, "Two-sided confidence intervals for the single proportion",
// Statistics in Medicine 17 (1998), table I, method 3.
func TestWilsonAsPublished(t *testing.T) {
	for _, c := range []struct {
		selected, eligible int
		low, high          float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
	} {
		low, high := wilson(c.selected, c.eligible)
		near(t, fmt.Sprint(c, " low"), low, c.low, 0.00005)
		near(t, fmt.Sprint(c, " high"), high, c.high, 0.00005)
	}
}

// Koopman's own example, and the aspirin study, where the interval of logarithms
// is 1.43 to 2.30 (Agresti, "An Introduction to Categorical Data Analysis", 2.2.3)
// and thousands of people leave methods no room to differ.
func TestKoopmanAsPublished(t *testing.T) {
	for _, c := range []struct {
		x, m, y, n int
		low, high  float64
	}{
		{36, 40, 16, 80, 2.94, 7.15},
		{189, 11034, 104, 11037, 1.43, 2.30},
	} {
		low, high := koopman(c.x, c.m, c.y, c.n)
		near(t, fmt.Sprint(c, " low"), low, c.low, 0.005)
		near(t, fmt.Sprint(c, " high"), high, c.high, 0.005)
	}
}

// The interval has the ratios that the score test does not refuse; for a ratio of
// 1 that is Pearson's chi-squared test. Swapping the groups turns the interval over.
func TestKoopmanIsTheScoreTest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, n := rapid.IntRange(1, 200).Draw(t, "m"), rapid.IntRange(1, 200).Draw(t, "n")
		x, y := rapid.IntRange(0, m).Draw(t, "x"), rapid.IntRange(0, n).Draw(t, "y")
		low, high := koopman(x, m, y, n)
		if math.IsNaN(low) || math.IsNaN(high) || low < 0 || low > high {
			t.Fatalf("%d/%d to %d/%d: %v to %v", x, m, y, n, low, high)
		}
		if (low == 0) != (x == 0) || math.IsInf(high, 1) != (y == 0) {
			t.Fatalf("%d/%d to %d/%d: %v to %v", x, m, y, n, low, high)
		}
		if y > 0 {
			if r := selectionRate(x, m) / selectionRate(y, n); r < low*(1-1e-9) || r > high*(1+1e-9) {
				t.Fatalf("%d/%d to %d/%d: %v is not in %v to %v", x, m, y, n, r, low, high)
			}
		}
		if back, forth := koopman(y, n, x, m); x > 0 && y > 0 &&
			(math.Abs(back*high-1) > 1e-6 || math.Abs(forth*low-1) > 1e-6) {
			t.Fatalf("%d/%d to %d/%d: %v to %v, the other way round %v to %v", x, m, y, n, low, high, back, forth)
		}
		p := float64(x+y) / float64(m+n)
		if p > 0 && p < 1 {
			d := selectionRate(x, m) - selectionRate(y, n)
			chi := d * d / (p * (1 - p) * (1/float64(m) + 1/float64(n)))
			if refused := low > 1 || high < 1; math.Abs(chi-normal95*normal95) > 1e-6 && refused != (chi > normal95*normal95) {
				t.Fatalf("%d/%d to %d/%d: %v to %v, chi-squared %v", x, m, y, n, low, high, chi)
			}
		}
	})
}

// pool makes people of groups, of whom some are selected.
type pool struct {
	groups             map[string]Groups
	eligible, selected []string
}

func (p *pool) add(g Groups, eligible, selected int) {
	if p.groups == nil {
		p.groups = map[string]Groups{}
	}
	for i := range eligible {
		who := id(len(p.eligible))
		p.groups[who] = g
		p.eligible = append(p.eligible, who)
		if i < selected {
			p.selected = append(p.selected, who)
		}
	}
}

func (p *pool) of(id string) Groups { return p.groups[id] }

func (p *pool) report(t testing.TB, o FairnessOptions) FairnessReport {
	t.Helper()
	r, err := Fairness(p.selected, p.eligible, p.of, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func exactly(n int) HiddenCount { return HiddenCount{n, n} }

// The example of the Uniform Guidelines' questions and answers (44 FR 11998,
// number 12): 80 applicants of one group of whom 48 are hired, 40 of another of
// whom 12 are: 60 % and 30 %, a ratio of 50 %, below four fifths.
func TestFairnessByHand(t *testing.T) {
	var p pool
	p.add(Groups{Sex: "M", Governorate: "TN-71", Diploma: "cap"}, 80, 48)
	p.add(Groups{Sex: "F", Governorate: "TN-71", Diploma: "bac"}, 40, 12)
	r := p.report(t, FairnessOptions{})
	if r.Eligible != exactly(120) || r.Selected != exactly(60) || len(r.Cuts) != 3 {
		t.Fatalf("%+v", r)
	}
	f, m := r.line(BySex, "F"), r.line(BySex, "M")
	if f.Selected != exactly(12) || f.Eligible != 40 || *f.Rate.Value != 0.3 || *m.Rate.Value != 0.6 {
		t.Errorf("%+v %+v", f, m)
	}
	if !m.Reference || m.Ratio != nil || f.Reference || *f.Ratio.Value != 0.5 || f.FourFifths != "below" || m.FourFifths != "" {
		t.Errorf("%+v %+v", f, m)
	}
	// By the formula of Katz and others the interval is exp(ln 0.5 ± 1.96 √(1/12 − 1/40 + 1/48 − 1/80)),
	// 0.30 to 0.83; the score interval lies near it.
	near(t, "low", f.Ratio.Low, 0.30, 0.04)
	near(t, "high", *f.Ratio.High, 0.83, 0.04)
	if !strings.Contains(f.ReasonFR, "à examiner") || !strings.Contains(f.ReasonFR, "12 retenus sur 40") {
		t.Error(f.ReasonFR)
	}
	// One governorate: there is nothing to compare. cap is level 3, bac 4.
	if c := r.Cuts[1]; len(c.Lines) != 1 || c.Lines[0].Ratio != nil || !strings.Contains(c.ReasonFR, "rien à comparer") {
		t.Errorf("%+v", c)
	}
	if l := r.line(ByDiploma, "3"); l == nil || !l.Reference || l.LabelFR != "CAP ou équivalent (niveau 3)" {
		t.Errorf("%+v", r.Cuts[2])
	}
	// Against a reference that was chosen, the ratio is turned over.
	r = p.report(t, FairnessOptions{Reference: map[string]string{BySex: "F"}})
	if m := r.line(BySex, "M"); !r.line(BySex, "F").Reference || *m.Ratio.Value != 2 || m.FourFifths != "met" {
		t.Errorf("%+v", m)
	}
}

// That a group is left out shows, although its number does not.
func TestThatAGroupIsLeftOutIsNotHidden(t *testing.T) {
	var p pool
	p.add(Groups{Sex: "M"}, 60, 30)
	p.add(Groups{Sex: "F"}, 40, 0)
	r := p.report(t, FairnessOptions{})
	f, m := r.line(BySex, "F"), r.line(BySex, "M")
	if f.Selected != (HiddenCount{0, 4}) || m.Selected != (HiddenCount{26, 30}) {
		t.Fatalf("%+v %+v", f.Selected, m.Selected)
	}
	if f.Rate.Value != nil || f.Ratio.Value != nil || f.FourFifths != "below" || *f.Ratio.High >= 1 {
		t.Errorf("%+v %+v", f, f.Ratio)
	}
	if !strings.Contains(f.ReasonFR, "Entre 0 et 4 retenus sur 40") || strings.Contains(f.ReasonFR, "{") {
		t.Error(f.ReasonFR)
	}
}

func TestSmallGroupsAreGathered(t *testing.T) {
	var p pool
	p.add(Groups{Governorate: "TN-11"}, 50, 20)
	p.add(Groups{Governorate: "TN-71"}, 30, 10)
	p.add(Groups{Governorate: "TN-72"}, 2, 1)
	p.add(Groups{Governorate: "TN-83"}, 40, 12)
	p.add(Groups{Governorate: "Atlantis"}, 3, 1) // not in the reference list
	r := p.report(t, FairnessOptions{})
	var got []string
	for _, l := range r.Cuts[1].Lines {
		got = append(got, fmt.Sprintf("%v %s %d", l.Codes, l.LabelFR, l.Eligible))
	}
	want := []string{
		"[TN-11] Tunis 50", "[TN-71] Gafsa 30",
		// 73 to 82 have nobody, which is not told of those in between.
		"[TN-72 TN-73 TN-81 TN-82 TN-83] Tozeur, Kébili, Gabès, Médenine, Tataouine 42",
		"[] Non renseigné, ou trop peu nombreux 3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Whose sex is not stated is compared with nobody.
	if l := r.Cuts[0].Lines; len(l) != 1 || len(l[0].Codes) != 0 || l[0].Ratio != nil {
		t.Errorf("%+v", l)
	}
	few := pool{}
	few.add(Groups{Sex: "F"}, 4, 2)
	r = few.report(t, FairnessOptions{})
	if r.Eligible != (HiddenCount{0, 4}) || r.Selected != (HiddenCount{0, 4}) || len(r.Cuts) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAPoolIsChecked(t *testing.T) {
	of := func(string) Groups { return Groups{} }
	for name, c := range map[string][2][]string{
		"eligible twice":        {{}, {id(1), id(1)}},
		"selected twice":        {{id(1), id(1)}, {id(1)}},
		"selected from outside": {{id(2)}, {id(1)}},
	} {
		if _, err := Fairness(c[0], c[1], of, FairnessOptions{}); !errors.Is(err, ErrFairnessPool) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func genPool(t *rapid.T) *pool {
	p := &pool{}
	governorates := []string{"TN-11", "TN-12", "TN-71", "TN-72", "TN-83", ""}
	for _, sex := range []string{"F", "M", ""} {
		for range rapid.IntRange(0, 5).Draw(t, "kinds") {
			g := Groups{sex, rapid.SampledFrom(governorates).Draw(t, "governorate"), rapid.SampledFrom([]string{"", "cap", "btp", "bac", "master"}).Draw(t, "diploma")}
			n := rapid.OneOf(rapid.IntRange(0, 6), rapid.IntRange(0, 60)).Draw(t, "eligible")
			p.add(g, n, rapid.IntRange(0, n).Draw(t, "selected"))
		}
	}
	return p
}

// What holds for every report: what is shown is true, adds up, is in two languages,
// fits into JSON and does not depend on the order of people.
func TestFairnessProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPool(t)
		r, err := Fairness(p.selected, p.eligible, p.of, FairnessOptions{})
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Fairness(p.selected, p.eligible, p.of, FairnessOptions{Smallest: 1})
		if err != nil {
			t.Fatal(err)
		}
		first, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(first); strings.Contains(s, "{n}") || strings.Contains(s, "{m") || strings.Contains(s, "{ra") || strings.Contains(s, "{reference}") || strings.Contains(s, `_ar":""`) || strings.Contains(s, `_fr":""`) {
			t.Fatalf("a text is missing or unfinished: %s", s)
		}
		reversed := *p
		reversed.eligible, reversed.selected = slices.Clone(p.eligible), slices.Clone(p.selected)
		slices.Reverse(reversed.eligible)
		slices.Reverse(reversed.selected)
		again, err := Fairness(reversed.selected, reversed.eligible, p.of, FairnessOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if second, _ := json.Marshal(again); string(first) != string(second) {
			t.Fatalf("%s\n%s", first, second)
		}
		for c := range r.Cuts {
			eligible, references := 0, 0
			for _, l := range r.Cuts[c].Lines {
				eligible += l.Eligible
				if l.Reference {
					references++
				}
				// The truth lies within what is shown.
				truth := 0
				for _, plain := range whole.Cuts[c].Lines {
					if !plain.Selected.exact() {
						t.Fatalf("%+v is hidden although nothing is to be", plain)
					}
					stated := len(plain.Codes) == 1 && slices.ContainsFunc(r.Cuts[c].Lines, func(l FairnessLine) bool {
						return slices.Contains(l.Codes, plain.Codes[0])
					})
					if len(l.Codes) == 0 && !stated || len(plain.Codes) == 1 && slices.Contains(l.Codes, plain.Codes[0]) {
						truth += plain.Selected.Min
					}
				}
				if truth < l.Selected.Min || truth > l.Selected.Max {
					t.Fatalf("%v: %d selected, shown as %+v", l.Codes, truth, l.Selected)
				}
				if l.Selected.exact() && (truth < DefaultSmallest || l.Eligible-truth < DefaultSmallest) {
					t.Fatalf("%v: %d of %d is shown", l.Codes, truth, l.Eligible)
				}
				if len(l.Codes) > 0 && l.Eligible < DefaultSmallest {
					t.Fatalf("%v: %d are shown alone", l.Codes, l.Eligible)
				}
			}
			if eligible != len(p.eligible) || references > 1 {
				t.Fatalf("%d of %d, %d references", eligible, len(p.eligible), references)
			}
		}
	})
}

// aMarket solves a small selection exactly: people with the posts that they may
// take, one post each. It counts as the campaign does: placements first, then score.
type aMarket struct {
	may   [][]int // of each person, posts
	score [][]int64
	posts int
}

func (m aMarket) solve(_ context.Context, members []string, least int) (ParityOutcome, error) {
	in := map[string]bool{}
	for _, who := range members {
		in[who] = true
	}
	best, found := ParityOutcome{}, false
	taken := make([]bool, m.posts)
	var try func(who, placed, of int, score int64)
	try = func(who, placed, of int, score int64) {
		if who == len(m.may) {
			if of >= least && (!found || placed > best.Placed || placed == best.Placed && score > best.Score) {
				best, found = ParityOutcome{placed, of, score}, true
			}
			return
		}
		try(who+1, placed, of, score)
		add := 0
		if in[id(who)] {
			add = 1
		}
		for i, post := range m.may[who] {
			if !taken[post] {
				taken[post] = true
				try(who+1, placed+1, of+add, score+m.score[who][i])
				taken[post] = false
			}
		}
	}
	try(0, 0, 0, 0)
	if !found {
		return best, ErrParityUnattainable
	}
	return best, nil
}

// A floor for a group never costs a placement when the posts are the only other
// limit: what Parity's comment says, against every way to fill the posts.
func TestParityCostsNoPlacementWithoutOtherQuotas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := aMarket{posts: rapid.IntRange(1, 4).Draw(t, "posts")}
		people := rapid.IntRange(1, 6).Draw(t, "people")
		var members []string
		for who := range people {
			var may []int
			var score []int64
			for post := range m.posts {
				if rapid.Bool().Draw(t, "may") {
					may, score = append(may, post), append(score, rapid.Int64Range(0, 1000).Draw(t, "score"))
				}
			}
			m.may, m.score = append(m.may, may), append(m.score, score)
			if rapid.Bool().Draw(t, "member") {
				members = append(members, id(who))
			}
		}
		price, err := Parity(t.Context(), members, people, 100, m.solve)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range price.Steps {
			if s.Attainable && s.Lost != 0 {
				t.Fatalf("%+v", s)
			}
			if !s.Attainable && i != len(price.Steps)-1 {
				t.Fatalf("a step after %+v", s)
			}
			if i > 0 && s.Attainable && s.ScoreLost < price.Steps[i-1].ScoreLost {
				t.Fatalf("a higher quota costs less: %+v", price.Steps)
			}
		}
	})
}

func TestParityByHand(t *testing.T) {
	// Two posts. Persons 0 and 1 are members and can take post 0 only; 2 is not and
	// can take both, 3 is not and can take post 1. Best: 2 in post 0 for 10 and 3 in
	// post 1 for 10. One member costs no placement but 9 of the score; two members
	// do not fit.
	m := aMarket{
		may:   [][]int{{0}, {0}, {0, 1}, {1}},
		score: [][]int64{{1}, {1}, {10, 5}, {10}},
		posts: 2,
	}
	price, err := Parity(t.Context(), []string{id(0), id(1)}, 4, 60, m.solve)
	if err != nil {
		t.Fatal(err)
	}
	if price.Placed != 2 || price.Share != 0 || price.PoolShare != 0.5 {
		t.Errorf("%+v", price)
	}
	// Parity is one of two: reached with the first point, which is a whole person.
	want := []ParityStep{{Points: 1, Least: 1, Attainable: true, Placed: 2, Lost: 0, ScoreLost: 9}}
	if !slices.Equal(price.Steps, want) {
		t.Errorf("%+v, want %+v", price.Steps, want)
	}
	if !strings.Contains(price.ReasonFR, "aucun placement") || !strings.Contains(price.ReasonAR, "لا يكلّف") {
		t.Error(price.ReasonFR, price.ReasonAR)
	}
	// A quota that is there already makes it cost: solutions as a table.
	table := func(placed, members []int) ParityVariant {
		return func(_ context.Context, _ []string, least int) (ParityOutcome, error) {
			for i := range placed {
				if members[i] >= least {
					return ParityOutcome{Placed: placed[i], Members: members[i]}, nil
				}
			}
			return ParityOutcome{}, ErrParityUnattainable
		}
	}
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = id(i)
	}
	price, err = Parity(t.Context(), ids, 100, 30, table([]int{100, 99, 97}, []int{40, 42, 44}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range price.Steps {
		got = append(got, fmt.Sprint(s.Points, s.Least, s.Attainable, s.Lost, s.PerPoint))
	}
	wants := []string{"1 41 true 1 1", "2 42 true 1 0.5", "3 43 true 3 1", "4 44 true 3 0.75", "5 45 false 0 0"}
	if !slices.Equal(got, wants) {
		t.Errorf("%q, want %q", got, wants)
	}
	if !strings.Contains(price.ReasonFR, "jusqu'à 4 pt coûte 3 placements, soit 0,75 par point") {
		t.Error(price.ReasonFR)
	}
	// At parity there is no price.
	price, err = Parity(t.Context(), ids, 100, 30, table([]int{100}, []int{50}))
	if err != nil || len(price.Steps) != 0 || !strings.Contains(price.ReasonFR, "atteinte") {
		t.Errorf("%+v, %v", price, err)
	}
	// A variant that places more than the free selection is another problem.
	if _, err = Parity(t.Context(), ids, 100, 30, func(_ context.Context, _ []string, least int) (ParityOutcome, error) {
		return ParityOutcome{Placed: 100 + least, Members: least}, nil
	}); err == nil || !strings.Contains(err.Error(), "not a variant") {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err = Parity(t.Context(), ids, 100, 30, func(context.Context, []string, int) (ParityOutcome, error) {
		return ParityOutcome{}, broken
	}); !errors.Is(err, broken) {
		t.Error(err)
	}
}
