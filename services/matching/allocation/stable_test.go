package allocation

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"masar.local/pkg/opendata"
)

// genPreferences makes a small market, with lists that the other side does not
// always return, empty lists and offers without posts. The lists come from a
// generator of random numbers with a drawn seed: what rapid draws by itself is so
// regular that hardly any market would have two stable matchings.
func genPreferences(t *rapid.T, candidates, offers int) *Preferences {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	full := rapid.Bool().Draw(t, "full lists")
	n, m := candidates, offers
	if !full {
		n, m = r.IntN(candidates+1), r.IntN(offers+1)
	}
	p := &Preferences{Candidates: make([][]int32, n), Offers: make([][]int32, m), Posts: make([]int32, m)}
	list := func(n int) (out []int32) {
		keep := n
		if !full {
			keep = r.IntN(n + 1)
		}
		for _, i := range r.Perm(n)[:keep] {
			out = append(out, int32(i))
		}
		return out
	}
	for c := range p.Candidates {
		p.Candidates[c] = list(m)
	}
	for o := range p.Offers {
		p.Offers[o] = list(n)
		p.Posts[o] = r.Int32N(3)
		if full {
			p.Posts[o] = 1 + r.Int32N(2)
		}
	}
	return p
}

// everyStable gives all stable matchings of a small market, straight from the
// definition: every way to give each candidate an offer or none.
func everyStable(p *Preferences) (all [][]int32) {
	m := make([]int32, len(p.Candidates))
	var fill func(c int)
	fill = func(c int) {
		if c == len(m) {
			if isStable(p, m) {
				all = append(all, slices.Clone(m))
			}
			return
		}
		m[c] = -1
		fill(c + 1)
		for _, o := range p.Candidates[c] {
			m[c] = o
			fill(c + 1)
		}
	}
	fill(0)
	return all
}

// isStable is the definition, word by word, with neither speed nor bounds.
func isStable(p *Preferences, m []int32) bool {
	in := make([][]int32, len(p.Offers))
	for c, o := range m {
		if o < 0 {
			continue
		}
		if !slices.Contains(p.Candidates[c], o) || !slices.Contains(p.Offers[o], int32(c)) {
			return false
		}
		in[o] = append(in[o], int32(c))
	}
	for o := range in {
		if len(in[o]) > int(p.Posts[o]) {
			return false
		}
	}
	better := func(list []int32, a, b int32) bool { return slices.Index(list, a) < slices.Index(list, b) }
	for c := range p.Candidates {
		for o := range p.Offers {
			c, o := int32(c), int32(o)
			if m[c] == o || !slices.Contains(p.Candidates[c], o) || !slices.Contains(p.Offers[o], c) {
				continue
			}
			wants := m[c] < 0 || better(p.Candidates[c], o, m[c])
			takes := len(in[o]) < int(p.Posts[o]) ||
				slices.ContainsFunc(in[o], func(other int32) bool { return better(p.Offers[o], c, other) })
			if wants && takes {
				return false
			}
		}
	}
	return true
}

// What theory says of stable matchings, against all that there are.
func TestStableAgainstEveryStableMatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPreferences(t, 6, 4)
		got, err := Stable(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyStable(p, got.Offer); err != nil {
			t.Fatal(err)
		}
		all := everyStable(p)
		if len(all) == 0 {
			t.Fatal("no stable matching: there always is one")
		}
		among := false
		for _, other := range all {
			among = among || slices.Equal(other, got.Offer)
			for c, o := range other {
				// Candidate-optimality: nobody is better off in another one.
				mine, theirs := slices.Index(p.Candidates[c], got.Offer[c]), slices.Index(p.Candidates[c], o)
				if o >= 0 && (got.Offer[c] < 0 || theirs < mine) {
					t.Fatalf("candidate %d gets %d, and %d in the stable matching %v", c, got.Offer[c], o, other)
				}
				// Rural hospitals: the same are matched in all.
				if (o < 0) != (got.Offer[c] < 0) {
					t.Fatalf("candidate %d is matched in one of %v and %v only", c, got.Offer, other)
				}
			}
			// ... and every offer takes as many in all; one that has a post free takes the same people.
			for o := range p.Offers {
				mine, theirs := takenBy(got.Offer, int32(o)), takenBy(other, int32(o))
				if len(mine) != len(theirs) || len(mine) < int(p.Posts[o]) && !slices.Equal(mine, theirs) {
					t.Fatalf("offer %d takes %v and %v", o, mine, theirs)
				}
			}
		}
		if !among {
			t.Fatalf("%v is not one of the stable matchings %v", got.Offer, all)
		}
	})
}

func takenBy(m []int32, offer int32) (in []int32) {
	for c, o := range m {
		if o == offer {
			in = append(in, int32(c))
		}
	}
	return in
}

// The verifier says yes to the stable matchings and to nothing else, whatever it
// is given.
func TestVerifyStableIsTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPreferences(t, 5, 4)
		m := make([]int32, len(p.Candidates))
		for c := range m {
			m[c] = rapid.Int32Range(-1, int32(len(p.Offers))-1).Draw(t, "given")
		}
		if err := VerifyStable(p, m); (err == nil) != isStable(p, m) {
			t.Fatalf("%v: %v", m, err)
		}
		// One change to a stable matching: hard to tell by luck.
		got, err := Stable(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(m) > 0 {
			c := rapid.IntRange(0, len(m)-1).Draw(t, "changed")
			got.Offer[c] = rapid.Int32Range(-1, int32(len(p.Offers))-1).Draw(t, "to")
			if err := VerifyStable(p, got.Offer); (err == nil) != isStable(p, got.Offer) {
				t.Fatalf("%v: %v", got.Offer, err)
			}
		}
	})
}

func TestVerifyStableSaysWhatIsWrong(t *testing.T) {
	// Gale and Shapley's second example ("College admissions", 1962), 3 by 3: of
	// its six perfect matchings three are stable.
	p := &Preferences{
		Candidates: [][]int32{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}},
		Offers:     [][]int32{{1, 2, 0}, {2, 0, 1}, {0, 1, 2}},
		Posts:      []int32{1, 1, 1},
	}
	if got, err := Stable(p); err != nil || !slices.Equal(got.Offer, []int32{0, 1, 2}) {
		t.Errorf("%v, %v; want every candidate at its first choice", got, err)
	}
	for _, stable := range [][]int32{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}} {
		if err := VerifyStable(p, stable); err != nil {
			t.Errorf("%v: %v", stable, err)
		}
	}
	for _, c := range []struct {
		m    []int32
		says string
	}{
		{[]int32{0, 2, 1}, "blocks"},
		{[]int32{0, 1, -1}, "blocks"},
		{[]int32{0, 0, 2}, "offer 0 has 1 posts and is given to 2"},
		{[]int32{0, 1}, "must agree"},
		{[]int32{0, 1, 7}, "does not list"},
	} {
		if err := VerifyStable(p, c.m); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.m, err, c.says)
		}
	}
	oneSided := &Preferences{Candidates: [][]int32{{0}}, Offers: [][]int32{{}}, Posts: []int32{1}}
	if err := VerifyStable(oneSided, []int32{0}); err == nil || !strings.Contains(err.Error(), "does not list") {
		t.Errorf("a pair that only the candidate lists: %v", err)
	}
	got, err := Stable(oneSided)
	if err != nil || got.Offer[0] != -1 || got.OneSided != 1 {
		t.Errorf("a pair that only the candidate lists: %v, %v", got, err)
	}
}

func TestListsThatBreakTheContract(t *testing.T) {
	good := func() *Preferences {
		return &Preferences{Candidates: [][]int32{{0, 1}, {1}}, Offers: [][]int32{{0}, {1, 0}}, Posts: []int32{1, 1}}
	}
	for name, c := range map[string]struct {
		spoil func(*Preferences)
		says  string
	}{
		"candidate repeats":     {func(p *Preferences) { p.Candidates[0] = []int32{1, 0, 1} }, "candidate 0 lists offer 1 twice"},
		"offer repeats":         {func(p *Preferences) { p.Offers[1] = []int32{1, 1} }, "offer 1 lists candidate 1 twice"},
		"no such offer":         {func(p *Preferences) { p.Candidates[1] = []int32{2} }, "candidate 1 lists offer 2: offers are 0 to 1"},
		"negative offer":        {func(p *Preferences) { p.Candidates[1] = []int32{-1} }, "candidate 1 lists offer -1"},
		"no such candidate":     {func(p *Preferences) { p.Offers[0] = []int32{5} }, "offer 0 lists candidate 5: candidates are 0 to 1"},
		"negative candidate":    {func(p *Preferences) { p.Offers[0] = []int32{-1} }, "offer 0 lists candidate -1"},
		"negative posts":        {func(p *Preferences) { p.Posts[1] = -1 }, "offer 1 has -1 posts"},
		"posts of an offer are": {func(p *Preferences) { p.Posts = p.Posts[:1] }, "posts are given for 1 offers"},
	} {
		p := good()
		if _, err := Stable(p); err != nil {
			t.Fatal(err)
		}
		c.spoil(p)
		if _, err := Stable(p); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// FuzzStable: whatever the lists, either an error or a matching that passes.
func FuzzStable(f *testing.F) {
	f.Add([]byte{2, 2, 1, 1, 0, 1, 9, 1, 9, 0, 9, 1, 0})
	f.Add([]byte{3, 1, 2, 0, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		n, m := int(data[0]%8), int(data[1]%8)
		data = data[2:]
		p := &Preferences{Candidates: make([][]int32, n), Offers: make([][]int32, m), Posts: make([]int32, m)}
		for o := range p.Posts {
			if len(data) > 0 {
				p.Posts[o], data = int32(int8(data[0])), data[1:]
			}
		}
		for i := range n + m {
			for len(data) > 0 {
				b := int32(int8(data[0]))
				data = data[1:]
				if b > 8 {
					break
				}
				if i < n {
					p.Candidates[i] = append(p.Candidates[i], b)
				} else {
					p.Offers[i-n] = append(p.Offers[i-n], b)
				}
			}
		}
		if got, err := Stable(p); err == nil {
			if err := VerifyStable(p, got.Offer); err != nil {
				t.Fatalf("%+v: %v: %v", p, got.Offer, err)
			}
		} else {
			// The verifier must withstand the same lists.
			_ = VerifyStable(p, make([]int32, n))
		}
	})
}

// The generated instance: 100 residents, 100 hospitals with capacities, every pair
// listed by both or by none.
func TestGeneratedInstance(t *testing.T) {
	file, err := os.Open(opendata.Path(t, "bench", "hr", "hr_sample_data.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := &Preferences{}
	lines := bufio.NewScanner(file)
	lines.Scan()
	number := func(s string) int32 {
		_, digits, _ := strings.Cut(s, "-")
		n, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		return int32(n)
	}
	for lines.Scan() {
		parts := strings.Split(lines.Text(), ":")
		var list []int32
		for _, name := range strings.Fields(parts[len(parts)-1]) {
			list = append(list, number(name))
		}
		if strings.HasPrefix(parts[0], "Resident") {
			p.Candidates = append(p.Candidates, list)
			continue
		}
		posts, err := strconv.Atoi(strings.TrimSpace(parts[1]))
		if err != nil {
			t.Fatal(err)
		}
		p.Offers, p.Posts = append(p.Offers, list), append(p.Posts, int32(posts))
	}
	if len(p.Candidates) != 100 || len(p.Offers) != 100 {
		t.Fatalf("%d residents, %d hospitals", len(p.Candidates), len(p.Offers))
	}
	got, err := Stable(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyStable(p, got.Offer); err != nil {
		t.Fatal(err)
	}
	if !isStable(p, got.Offer) {
		t.Error("not stable by the definition")
	}
	other := byOffers(p)
	if err := VerifyStable(p, other); err != nil {
		t.Fatal(err)
	}
	for c := range other {
		if (other[c] < 0) != (got.Offer[c] < 0) {
			t.Errorf("resident %d is matched in only one of the two extreme matchings", c)
		}
	}
	if got.OneSided != 0 {
		t.Errorf("%d one-sided entries, want none", got.OneSided)
	}
}

// The JSON instance was reported to a library that wants both sides to list each
// other and cleans the lists until they do: taking away hospitals without partners
// left residents with nothing on their lists, and the cleaned lists were refused
// (github.com/daffidwilde/matching, issue 159). It has 86 entries of residents and
// 127 of hospitals, of which 64 are pairs that list each other, people and
// hospitals with nothing on their list, and no capacities: one each.
//
// Here nothing is cleaned: what one side does not return counts for nothing.
func TestOneSidedListsNeedNoCleaning(t *testing.T) {
	data, err := os.ReadFile(opendata.Path(t, "bench", "hr", "hr_issue_159.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Hospitals, Residents map[int32][]int32 }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	dirty, clean := &Preferences{}, &Preferences{}
	for c := range int32(len(file.Residents)) {
		dirty.Candidates = append(dirty.Candidates, file.Residents[c])
		clean.Candidates = append(clean.Candidates, slices.DeleteFunc(slices.Clone(file.Residents[c]), func(o int32) bool {
			return !slices.Contains(file.Hospitals[o], c)
		}))
	}
	for o := range int32(len(file.Hospitals)) {
		dirty.Offers = append(dirty.Offers, file.Hospitals[o])
		dirty.Posts = append(dirty.Posts, 1)
		clean.Offers = append(clean.Offers, slices.DeleteFunc(slices.Clone(file.Hospitals[o]), func(c int32) bool {
			return !slices.Contains(file.Residents[c], o)
		}))
	}
	clean.Posts = dirty.Posts
	got, err := Stable(dirty)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Stable(clean)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Preferences{dirty, clean} {
		if err := VerifyStable(p, got.Offer); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(got.Offer, want.Offer) {
		t.Errorf("the cleaned lists give another matching: %v and %v", got.Offer, want.Offer)
	}
	if want := (86 - 64) + (127 - 64); got.OneSided != want {
		t.Errorf("%d entries that the other side does not return, want %d", got.OneSided, want)
	}
	matched := len(got.Offer) - len(takenBy(got.Offer, -1))
	if matched != 37 {
		t.Errorf("%d matched, want 37", matched)
	}
	// By hand: 3 lists nothing; 7, 37 and 75 list only hospitals that do not list
	// them; hospital 1 prefers 98, its first, to 1, who has no other; 72 gets its
	// first, 45, which leaves 11 to 11; 45 gets 25, which lists nobody else.
	for c, o := range map[int32]int32{3: -1, 7: -1, 37: -1, 75: -1, 98: 1, 1: -1, 28: 28, 0: 0, 45: 25, 72: 45, 11: 11} {
		if got.Offer[c] != o {
			t.Errorf("resident %d gets %d, want %d", c, got.Offer[c], o)
		}
	}
}

// byOffers is deferred acceptance with the offers proposing, simple and slow: the
// stable matching that is worst for candidates.
func byOffers(p *Preferences) []int32 {
	m := make([]int32, len(p.Candidates))
	for c := range m {
		m[c] = -1
	}
	next := make([]int, len(p.Offers))
	for again := true; again; {
		again = false
		for o, list := range p.Offers {
			for len(takenBy(m, int32(o))) < int(p.Posts[o]) && next[o] < len(list) {
				c := list[next[o]]
				next[o]++
				place := slices.Index(p.Candidates[c], int32(o))
				if place >= 0 && (m[c] < 0 || place < slices.Index(p.Candidates[c], m[c])) {
					m[c], again = int32(o), true
				}
			}
		}
	}
	return m
}

// hrMarket makes a campaign of the size that the bar names: 40 occupations, each
// candidate sees `seen` offers of its own; everybody ranks at random.
func hrMarket(candidates, offers, seen, posts int) *Preferences {
	const occupations = 40
	r := rand.New(rand.NewPCG(1, 2))
	p := &Preferences{
		Candidates: make([][]int32, candidates), Offers: make([][]int32, offers), Posts: make([]int32, offers),
	}
	for i := range posts {
		p.Posts[i%offers]++
	}
	per := offers / occupations
	pick := make([]int32, per)
	all := make([]int32, candidates*seen)
	for c := range p.Candidates {
		base := int32(c%occupations) * int32(per)
		for i := range pick {
			pick[i] = base + int32(i)
		}
		r.Shuffle(per, func(i, j int) { pick[i], pick[j] = pick[j], pick[i] })
		p.Candidates[c] = all[c*seen : (c+1)*seen]
		copy(p.Candidates[c], pick)
		for _, o := range p.Candidates[c] {
			p.Offers[o] = append(p.Offers[o], int32(c))
		}
	}
	for _, list := range p.Offers {
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return p
}

func BenchmarkStable(b *testing.B) {
	for _, posts := range []int{20_000, 95_000} {
		p := hrMarket(100_000, 5_000, 20, posts)
		b.Run(fmt.Sprintf("candidates=100000/offers=5000/posts=%d", posts), func(b *testing.B) {
			b.ReportAllocs()
			var got *Matching
			for b.Loop() {
				var err error
				if got, err = Stable(p); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(got.Offer)-len(takenBy(got.Offer, -1))), "matched")
		})
	}
	p := hrMarket(100_000, 5_000, 20, 20_000)
	got, err := Stable(p)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := VerifyStable(p, got.Offer); err != nil {
				b.Fatal(err)
			}
		}
	})
}
