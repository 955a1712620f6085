package indicators

import (
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"pgregory.net/rapid"
)

// world is a few facts about people, and every table that can be asked of them.
type world struct {
	d     *Definition
	facts []worldFact
	first string
	today string
}

type worldFact struct {
	day   string
	codes map[string]string
}

func (w *world) spans(g Grain) ([]period, error) { return periods(g, w.first, w.today, "") }

func (w *world) cells(g Grain, by []string) ([]Cell, error) {
	spans, err := w.spans(g)
	if err != nil {
		return nil, err
	}
	found := map[string]*Cell{}
	for _, p := range spans {
		for _, f := range w.facts {
			at, err := dayStart(f.day, 0)
			if err != nil {
				return nil, err
			}
			if at.UnixMilli() < p.start || at.UnixMilli() >= p.end {
				continue
			}
			codes := []string{}
			for _, name := range by {
				codes = append(codes, f.codes[name])
			}
			key := p.label + "\x00" + strings.Join(codes, "\x00")
			if found[key] == nil {
				found[key] = &Cell{Period: p.label, Codes: codes}
			}
			found[key].People++
			found[key].Value++
		}
	}
	var out []Cell
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out = append(out, *found[key])
	}
	return out, nil
}

// total says whether a cell is all that there is.
func (w *world) total(cut, codes []string) bool {
	return !slices.ContainsFunc(w.facts, func(f worldFact) bool {
		for i, name := range cut {
			if f.codes[name] != codes[i] {
				return true
			}
		}
		return false
	})
}

func drawWorld(t *rapid.T) *world {
	w := &world{
		d:     &Definition{Code: "x", About: AboutPeople, Measure: Count, Dimensions: []string{"sex", "scheme", "governorate"}, Cuts: [][]string{{"sex", "scheme"}}},
		first: rapid.SampledFrom([]string{"2025-07-10", "2025-11-03", "2026-01-20"}).Draw(t, "first"),
	}
	if rapid.Bool().Draw(t, "more") {
		w.d.Cuts = append(w.d.Cuts, []string{"scheme", "governorate"})
	}
	if rapid.Bool().Draw(t, "three") {
		w.d.Cuts = append(w.d.Cuts, []string{"sex", "governorate", "scheme"})
	}
	first, _ := time.Parse(time.DateOnly, w.first)
	days := rapid.IntRange(0, 240).Draw(t, "days")
	w.today = first.AddDate(0, 0, days).Format(time.DateOnly)
	for range rapid.IntRange(1, 6).Draw(t, "groups") {
		codes := map[string]string{}
		codes["sex"] = rapid.SampledFrom([]string{"F", "M"}).Draw(t, "sex")
		codes["scheme"] = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "scheme")
		codes["governorate"] = rapid.SampledFrom([]string{"11", "12", "13"}).Draw(t, "governorate")
		for range rapid.IntRange(1, 14).Draw(t, "people") {
			w.facts = append(w.facts, worldFact{first.AddDate(0, 0, rapid.IntRange(0, days).Draw(t, "day")).Format(time.DateOnly), codes})
		}
	}
	return w
}

// attack takes everything that a reader may ask of a world, each table of each
// grain, writes down the sums between all cells of all tables (along each
// dimension of each cut, and of the shortest periods in each longer one), and
// solves them with rational numbers. It gives the hidden cells that have one value
// only.
func attack(t *rapid.T, w *world, hide func(by []string, g Grain, spans []period, cells []Cell) ([]Cell, []bool)) (solved []string, hiddenCells int) {
	grains := []Grain{Month, Quarter, HalfYear, Year, Season, All}
	columns := map[string]int{}
	shown := map[string]bool{} // cells that are shown, or absent
	var names []string
	small := map[string]int{}
	spans := map[Grain][]period{}
	cuts := closedCuts(w.d)
	universe := map[string]map[string][]string{}
	for _, cut := range cuts {
		universe[strings.Join(cut, ",")] = map[string][]string{}
	}
	name := func(g Grain, p period, cut, codes []string) string {
		return fmt.Sprint(g, " ", p.label, " ", cut, " ", codes)
	}
	for _, g := range grains {
		var err error
		if spans[g], err = w.spans(g); err != nil {
			t.Fatal(err)
		}
		for _, cut := range cuts {
			cells, err := w.cells(g, cut)
			if err != nil {
				t.Fatal(err)
			}
			hidden := make([]bool, len(cells))
			if len(cut) > 0 {
				cells, hidden = hide(cut, g, spans[g], cells)
			}
			for i, c := range cells {
				universe[strings.Join(cut, ",")][strings.Join(c.Codes, "\x00")] = c.Codes
				n := name(g, period{label: c.Period}, cut, c.Codes)
				if c.People > 0 && c.People < DefaultSmallCell && !hidden[i] && !w.total(cut, c.Codes) {
					t.Fatalf("%s is shown: %d", n, c.People)
				}
				if hidden[i] {
					columns[n] = len(names)
					names, small[n] = append(names, n), c.People
				} else {
					shown[n] = true
				}
			}
		}
	}
	var rows []map[int]*big.Rat
	add := func(whole string, parts []string) {
		row := map[int]*big.Rat{}
		if i, ok := columns[whole]; ok {
			row[i] = big.NewRat(-1, 1)
		}
		for _, p := range parts {
			if i, ok := columns[p]; ok {
				row[i] = big.NewRat(1, 1)
			}
		}
		if len(row) > 0 {
			rows = append(rows, row)
		}
	}
	for _, cut := range cuts {
		for _, g := range grains {
			for _, p := range spans[g] {
				for d := range cut { // along each dimension
					lines := map[string][]string{}
					wholes := map[string]string{}
					for _, codes := range universe[strings.Join(cut, ",")] {
						rest := slices.Delete(slices.Clone(codes), d, d+1)
						key := strings.Join(rest, "\x00")
						lines[key] = append(lines[key], name(g, p, cut, codes))
						wholes[key] = name(g, p, slices.Delete(slices.Clone(cut), d, d+1), rest)
					}
					for key, parts := range lines {
						add(wholes[key], parts)
					}
				}
				if g == Month {
					continue
				}
				for _, codes := range universe[strings.Join(cut, ",")] { // the months in it
					var parts []string
					for _, m := range spans[Month] {
						if m.start >= p.start && m.end <= p.end {
							parts = append(parts, name(Month, m, cut, codes))
						}
					}
					add(name(g, p, cut, codes), parts)
				}
			}
		}
	}
	pivots := map[int]map[int]*big.Rat{}
	reduce := func(row, by map[int]*big.Rat, times *big.Rat) {
		times = new(big.Rat).Set(times)
		for i, v := range by {
			n := new(big.Rat).Mul(v, times)
			n.Neg(n)
			if old := row[i]; old != nil {
				n.Add(n, old)
			}
			if n.Sign() == 0 {
				delete(row, i)
			} else {
				row[i] = n
			}
		}
	}
	for _, row := range rows {
		for _, i := range slices.Collect(maps.Keys(row)) {
			if v := row[i]; v != nil && pivots[i] != nil {
				reduce(row, pivots[i], v)
			}
		}
		if len(row) == 0 {
			continue
		}
		pivot := slices.Min(slices.Collect(maps.Keys(row)))
		inverse := new(big.Rat).Inv(row[pivot])
		for i := range row {
			row[i] = new(big.Rat).Mul(row[i], inverse)
		}
		for _, other := range pivots {
			if v := other[pivot]; v != nil {
				reduce(other, row, v)
			}
		}
		pivots[pivot] = row
	}
	for i, n := range names {
		if strings.HasPrefix(n, string(Season)) && small[n] >= DefaultSmallCell {
			continue // hidden as its months are, though it may be a sum of shown quarters
		}
		if p := pivots[i]; len(p) == 1 && small[n] > 0 {
			solved = append(solved, n)
		}
	}
	slices.Sort(solved)
	return solved, len(names)
}

// TestHiddenCellsAreNotSolved attacks small worlds by differencing all tables that
// a reader may ask.
func TestHiddenCellsAreNotSolved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		x := newDisclosure(w.d, DefaultSmallCell, false, w.cells, w.spans)
		solved, _ := attack(t, w, func(by []string, g Grain, spans []period, cells []Cell) ([]Cell, []bool) {
			cells, hidden, err := x.cover(by, g, "", spans, cells)
			if err != nil {
				t.Fatal(err)
			}
			return cells, hidden
		})
		if len(solved) > 0 {
			t.Fatalf("from %s to %s: can be worked out: %q", w.first, w.today, solved)
		}
	})
}

// TestTheAttackFindsWhatIsBadlyHidden: hiding small cells only, or protecting each
// table for itself, does not stand.
func TestTheAttackFindsWhatIsBadlyHidden(t *testing.T) {
	for name, hide := range map[string]func(cells []Cell) []bool{
		"small cells only": func(cells []Cell) (hidden []bool) {
			for _, c := range cells {
				hidden = append(hidden, c.People < DefaultSmallCell)
			}
			return hidden
		},
		"each table for itself": func(cells []Cell) []bool { return Suppress(cells, DefaultSmallCell) },
	} {
		found := false
		for seed := range 60 {
			w := rapid.Custom(drawWorld).Example(seed)
			probe := func(t *rapid.T) {
				solved, _ := attack(t, w, func(_ []string, _ Grain, _ []period, cells []Cell) ([]Cell, []bool) { return cells, hide(cells) })
				found = found || len(solved) > 0
			}
			probe(nil)
			if found {
				break
			}
		}
		if !found {
			t.Errorf("%s: nothing is worked out", name)
		}
	}
}

// TestWhatCannotBeAsked: ranges whose figures could be subtracted from each other
// are refused to readers of protected figures, and nobody else.
func TestWhatCannotBeAsked(t *testing.T) {
	r := newRig(t, nil)
	part := as(access.Manager)
	part.Governorates = []string{"TN-71"}
	for _, c := range []struct {
		who   access.Principal
		query string
		want  int
	}{
		{as(access.Manager), "values?code=people_followed&by=sex", 200},
		{as(access.Manager), "values?code=people_followed&by=sex&grain=day", 422},
		{as(access.Manager), "values?code=people_followed&grain=day", 200},
		{as(access.Manager), "values?code=people_followed&by=sector,age", 422}, // not declared
		{as(access.Manager), "values?code=people_followed&by=age,sex", 200},    // declared as sex, age
		{as(access.Manager), "values?code=people_followed&by=sex&as_of=2026-02-01", 422},
		{as(access.Manager), "values?code=people_followed&by=sex&from=2026-01-01&to=2026-01-31", 200},
		{as(access.Manager), "values?code=people_followed&by=sex&from=2026-01-02&to=2026-01-31", 422},
		{as(access.Manager), "values?code=people_followed&by=sex&from=2026-01-01&to=2026-02-28", 422}, // two months
		{as(access.Manager), "values?code=people_followed&by=sex&to=2026-02-28", 200},
		{as(access.Manager), "values?code=people_followed&by=sex&to=2026-02-27", 422},
		{as(access.Manager), "values?code=people_followed&by=sex&grain=month&from=2026-01-01&to=2026-02-28", 200},
		{as(access.Manager), "values?code=people_followed&by=sex&grain=quarter&from=2026-01-01&to=2026-02-28", 422},
		{as(access.Statistician), "values?code=people_followed&by=sector,age&from=2026-01-02&grain=day", 200},
		{part, "values?code=people_followed&from=2026-01-02", 422}, // its total is a cell
		{part, "workbook?period=2026-Q1", 200},
	} {
		if status, _, body := r.get(c.who, "/api/indicators/"+c.query); status != c.want {
			t.Errorf("%s as %s: %d, want %d: %.300s", c.query, c.who.Role, status, c.want, body)
		}
	}
}

// BenchmarkDisclosure: the first question after a fact has come, for an indicator
// with the cuts of people_followed, two years of months and everything asked.
func BenchmarkDisclosure(b *testing.B) {
	for _, people := range []int{500, 2500, 10000} {
		b.Run(fmt.Sprint(people, " people"), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			w := &world{
				d: &Definition{
					Code: "x", About: AboutPeople, Measure: Count, Dimensions: []string{"scheme", "sector", "governorate", "sex", "age"},
					Cuts: [][]string{{"scheme", "sex"}, {"scheme", "governorate"}, {"governorate", "sex"}, {"sex", "age"}},
				},
				first: "2025-01-02", today: "2026-11-23",
			}
			first, _ := time.Parse(time.DateOnly, w.first)
			for range people {
				w.facts = append(w.facts, worldFact{first.AddDate(0, 0, r.IntN(680)).Format(time.DateOnly), map[string]string{
					"scheme": []string{"agri", "soin"}[r.IntN(2)], "sector": []string{"agriculture", "soin"}[r.IntN(2)], "sex": []string{"F", "M"}[r.IntN(2)],
					"age": fmt.Sprint(r.IntN(7)), "governorate": fmt.Sprintf("TN-%d", 11+min(r.IntN(24), r.IntN(24))),
				}})
			}
			tables := map[string][]Cell{}
			ask := func(g Grain, by []string) ([]Cell, error) {
				key := fmt.Sprint(g, by)
				if tables[key] == nil {
					cells, err := w.cells(g, by)
					if err != nil {
						return nil, err
					}
					tables[key] = cells
				}
				return tables[key], nil
			}
			spans, _ := w.spans(Month)
			cells, _ := ask(Month, []string{"governorate"})
			hide := func() (int, int) {
				x := newDisclosure(w.d, DefaultSmallCell, false, ask, w.spans)
				if _, _, err := x.cover([]string{"governorate"}, Month, "", spans, cells); err != nil {
					b.Fatal(err)
				}
				return len(x.levels[0]), len(x.levels[4])
			}
			hide()
			for b.Loop() {
				all, month := hide()
				b.ReportMetric(float64(all), "hidden-all")
				b.ReportMetric(float64(month), "hidden-month")
			}
		})
	}
}
