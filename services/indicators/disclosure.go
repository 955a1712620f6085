package indicators

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"masar.local/pkg/api"
)

// Disclosure control of figures about people, for whoever may not read facts.
//
// A cell that stands for 1 to 4 people is hidden (Suppress says where the number
// is from). A hidden cell must not be worked out from what is shown: not within a
// table, not from another cut, not from longer periods or other ranges of days. So
// what may be asked is a closed family of tables (askable), and what is hidden is
// decided for the whole family at once:
//
//   - The cuts are the declared ones and every part of them. In one period they are
//     tied by sums: the cells of scheme by sex add up to those of scheme. Hidden
//     cells are unknowns, sums are equations; a cell that the equations determine
//     gets company: the smallest shown cell of one of its sums is hidden too, until
//     no cell is determined (the audit of secondary suppression; L. Willenborg and
//     T. de Waal, Elements of Statistical Disclosure Control, 2001, ch. 5-6;
//     A. Hundepool et al., Statistical Disclosure Control, 2012, ch. 4).
//   - The hidden cells of one sum stand for no fewer people together than one cell
//     must, or everything of the sum is hidden: what is left of a total is a figure
//     of a group as well.
//   - Of what happened in a period, the months add up to the quarters, and so on. A
//     cell that is small in one month is hidden in every month, one that is small
//     in one year in every year and in all that is shorter. So months can only be
//     subtracted from a quarter that are all hidden: what is added to one month and
//     taken from another fits all that is shown. Where a longer period has only one
//     shorter one so far, both hide the same, and so does one beside it. Seasons,
//     which cross years, hide what months hide.
//   - A stock has no such sums: each date is a family of its own.
//   - Where a cell is hidden it is so in each of those periods, also where nobody is
//     in it: who is hidden and who is not there cannot be told apart. Shown zeros
//     are no secret. What is all there is of the total (the only scheme) is shown as
//     the total is.
//   - A ratio is small when its numerator, its denominator, or the difference of
//     the two is.
//
// What remains possible: to keep an answer and to subtract it from a later one,
// when a few people were added meanwhile (a review, frozen on a date, does not give
// the figures of any other); to reason from what is no sum, as that different
// people are no more than events; to compare indicators that count nearly the same
// people and hide different partners; for readers of different scopes to put
// their answers together; and bounds: that a hidden cell is no more than what is
// left of its total. Whole figures (no cut) are shown, however small. The metrics of
// cuts by the programme are whole, and are for operators.
type disclosure struct {
	least int
	cuts  [][]string // each sorted, the family closed under parts; the first is the total
	total bool       // whether the total is a cell as well: it is that of a scope
	cells func(Grain, []string) ([]Cell, error)
	spans func(Grain) ([]period, error)
	flow  bool
	ratio bool

	mu     sync.Mutex         // of what is found out when it is asked for
	levels []cellSet          // by place in nested, as far as they are known
	ends   map[string]cellSet // of a stock, by grain and period
	tree   map[string]int     // by name of a period: the level that it hides
}

// nested are the grains whose periods lie in those of the one before.
var nested = []Grain{All, Year, HalfYear, Quarter, Month}

// cellName names a cell of any cut: its dimensions and codes in order.
type cellName string

type cellSet map[cellName]bool

func keyOf(cut, codes []string) cellName {
	return cellName(strings.Join(cut, ",") + "\x00" + strings.Join(codes, "\x00"))
}

// family are the people of each cell in each period.
type family struct {
	periods int
	people  map[cellName][]int
	codes   map[cellName][]string
	cut     map[cellName]int
	small   map[cellName]bool
}

// closedCuts are the declared cuts and all their parts, sorted, the total first.
func closedCuts(d *Definition) (cuts [][]string) {
	seen := map[string]bool{}
	var add func(cut []string)
	add = func(cut []string) {
		name := strings.Join(cut, ",")
		if seen[name] {
			return
		}
		seen[name] = true
		cuts = append(cuts, cut)
		for i := range cut {
			add(slices.Delete(slices.Clone(cut), i, i+1))
		}
	}
	add([]string{})
	for _, name := range d.Dimensions {
		add([]string{name})
	}
	for _, cut := range d.Cuts {
		add(slices.Sorted(slices.Values(cut)))
	}
	slices.SortStableFunc(cuts, func(a, b []string) int { return cmp.Or(len(a)-len(b), slices.Compare(a, b)) })
	return cuts
}

// isSmall says whether a cell stands for some people, and too few to be shown.
func isSmall(c Cell, ratio bool, least int) bool {
	few := func(n float64) bool { return n > 0 && n < float64(least) }
	if ratio && (few(c.Numerator) || few(c.Denominator) || few(c.Denominator-c.Numerator)) {
		return true
	}
	return few(float64(c.People))
}

// newDisclosure decides for one definition, in the scope of the queries that cells
// and spans ask: cells gives a table of the whole history, spans its periods.
func newDisclosure(d *Definition, least int, scoped bool, cells func(Grain, []string) ([]Cell, error), spans func(Grain) ([]period, error)) *disclosure {
	return &disclosure{
		least: least, cuts: closedCuts(d), total: scoped, flow: d.Flow(), ratio: d.Measure == Ratio, spans: spans,
		cells: cells, ends: map[string]cellSet{},
	}
}

// read reads every table of a grain; only one period, unless its name is "".
func (x *disclosure) read(g Grain, label string) (*family, error) {
	f := &family{people: map[cellName][]int{}, codes: map[cellName][]string{}, cut: map[cellName]int{}, small: map[cellName]bool{}}
	at := map[string]int{}
	spans, err := x.spans(g)
	if err != nil {
		return nil, err
	}
	for _, p := range spans {
		if label == "" || p.label == label {
			at[p.label] = len(at)
		}
	}
	f.periods = len(at)
	for n, cut := range x.cuts {
		cells, err := x.cells(g, cut)
		if err != nil {
			return nil, err
		}
		for _, c := range cells {
			i, ok := at[c.Period]
			if !ok {
				continue
			}
			k := keyOf(cut, c.Codes)
			f.enter(k, n, c.Codes)
			f.people[k][i] = c.People
			if isSmall(c, x.ratio, x.least) {
				f.small[k] = true
			}
		}
	}
	return f, nil
}

func (f *family) enter(k cellName, cut int, codes []string) {
	if f.people[k] == nil {
		f.people[k], f.codes[k], f.cut[k] = make([]int, max(1, f.periods)), codes, cut
	}
}

// equation says that the whole is what the parts add up to.
type equation struct {
	whole cellName
	parts []cellName
}

// sums lists the equations between the cells.
func (x *disclosure) sums(f *family) []equation {
	place := map[string]int{}
	var all []equation
	for _, k := range slices.Sorted(maps.Keys(f.people)) {
		cut := x.cuts[f.cut[k]]
		for d := range cut {
			whole := keyOf(slices.Delete(slices.Clone(cut), d, d+1), slices.Delete(slices.Clone(f.codes[k]), d, d+1))
			name := string(whole) + "\x01" + cut[d]
			i, ok := place[name]
			if !ok {
				i = len(all)
				place[name], all = i, append(all, equation{whole: whole})
			}
			all[i].parts = append(all[i].parts, k)
		}
	}
	return all
}

// protect hides the small cells, what is hidden already, and what gives them away.
func (x *disclosure) protect(f *family, hidden cellSet) cellSet {
	hidden = maps.Clone(hidden)
	if hidden == nil {
		hidden = cellSet{}
	}
	pinned := x.pinned(f)
	for k := range f.small {
		if !pinned[k] {
			hidden[k] = true
		}
	}
	for k := range hidden { // hidden in longer periods: nobody may be left of them in these
		if f.people[k] == nil {
			cut, codes, _ := strings.Cut(string(k), "\x00")
			n := slices.IndexFunc(x.cuts, func(c []string) bool { return strings.Join(c, ",") == cut })
			list := []string{}
			if cut != "" {
				list = strings.Split(codes, "\x00")
			}
			f.enter(k, n, list)
		}
	}
	total := func(k cellName) (n int) {
		for _, p := range f.people[k] {
			n += p
		}
		return n
	}
	// company hides one more cell of a sum: the smallest part that is shown, or the
	// whole.
	company := func(s equation) bool {
		var best cellName
		for _, k := range s.parts {
			if !hidden[k] && !pinned[k] && (best == "" || total(k) < total(best)) {
				best = k
			}
		}
		if best == "" && !pinned[s.whole] && !hidden[s.whole] {
			best = s.whole
		}
		if best == "" {
			return false
		}
		hidden[best] = true
		return true
	}
	for {
		sums, changed := x.sums(f), false
		for _, s := range sums {
			if hidden[s.whole] {
				continue
			}
			for i := range max(1, f.periods) {
				left, shown := 0, false
				for _, k := range s.parts {
					if hidden[k] {
						left += f.people[k][i]
					} else {
						shown = shown || f.people[k][i] > 0
					}
				}
				if left > 0 && left < x.least && shown {
					changed = company(s) || changed
					break
				}
			}
		}
		if changed {
			continue
		}
		count := func(s equation) (n int) { // hidden cells of it
			for _, k := range s.parts {
				if hidden[k] {
					n++
				}
			}
			if hidden[s.whole] {
				n++
			}
			return n
		}
		known := determined(sums, hidden)
		for _, k := range known {
			var of []equation
			for _, s := range sums {
				if s.whole == k || slices.Contains(s.parts, k) {
					of = append(of, s)
				}
			}
			// What gives it away first: that which hides least beside it.
			slices.SortStableFunc(of, func(a, b equation) int { return count(a) - count(b) })
			if slices.ContainsFunc(of, company) {
				changed = true
				break
			}
		}
		if !changed {
			if len(known) > 0 { // nothing else helps
				for k := range f.people {
					if !pinned[k] {
						hidden[k] = true
					}
				}
			}
			return hidden
		}
	}
}

// pinned are the cells that cannot be hidden: the total, and what is all there is of
// it, as the only scheme. They say no more than the total does. In a scope there are
// none.
func (x *disclosure) pinned(f *family) cellSet {
	if x.total {
		return nil
	}
	out := cellSet{keyOf(nil, nil): true}
	sums := x.sums(f)
	for changed := true; changed; {
		changed = false
		for _, s := range sums {
			if len(s.parts) == 1 && out[s.whole] && !out[s.parts[0]] {
				out[s.parts[0]], changed = true, true
			}
		}
	}
	return out
}

// determined lists the hidden cells that the sums determine, in order: the
// unknowns that have a value of their own once the equations are solved, modulo a
// prime (the coefficients are 1 and -1; the right sides do not matter).
func determined(sums []equation, hidden cellSet) []cellName {
	names := slices.Sorted(maps.Keys(hidden))
	column := make(map[cellName]int, len(names))
	for i, k := range names {
		column[k] = i
	}
	const prime = 1<<61 - 1
	mul := func(a, b uint64) uint64 {
		hi, lo := bits.Mul64(a, b)
		_, rest := bits.Div64(hi, lo, prime)
		return rest
	}
	inverse := func(a uint64) uint64 {
		out := uint64(1)
		for e := uint64(prime - 2); e > 0; e >>= 1 {
			if e&1 == 1 {
				out = mul(out, a)
			}
			a = mul(a, a)
		}
		return out
	}
	var rows []map[int]uint64
	for _, s := range sums {
		row := map[int]uint64{}
		if i, ok := column[s.whole]; ok {
			row[i] = prime - 1
		}
		for _, k := range s.parts {
			if i, ok := column[k]; ok {
				row[i] = 1
			}
		}
		if len(row) > 0 {
			rows = append(rows, row)
		}
	}
	// Gauss and Jordan: every pivot is in its own row only.
	pivots := map[int]map[int]uint64{}
	for _, row := range rows {
		for i := range maps.Clone(row) {
			if p := pivots[i]; p != nil && row[i] != 0 {
				take(row, p, row[i], mul)
			}
		}
		pivot := -1
		for i := range row {
			if pivot < 0 || i < pivot {
				pivot = i
			}
		}
		if pivot < 0 {
			continue
		}
		inv := inverse(row[pivot])
		for i := range row {
			row[i] = mul(row[i], inv)
		}
		for _, p := range pivots {
			if p[pivot] != 0 {
				take(p, row, p[pivot], mul)
			}
		}
		pivots[pivot] = row
	}
	var out []cellName
	for i, k := range names {
		if p := pivots[i]; len(p) == 1 {
			out = append(out, k)
		}
	}
	return out
}

// take takes so many times a row from another.
func take(row, other map[int]uint64, times uint64, mul func(a, b uint64) uint64) {
	const prime = 1<<61 - 1
	for i, v := range other {
		n := row[i] + prime - mul(v, times)
		if n >= prime {
			n -= prime
		}
		if n == 0 {
			delete(row, i)
		} else {
			row[i] = n
		}
	}
}

// level gives what is hidden in every period of a nested grain.
func (x *disclosure) level(n int) (cellSet, error) {
	for len(x.levels) <= n {
		f, err := x.read(nested[len(x.levels)], "")
		if err != nil {
			return nil, err
		}
		before := cellSet{}
		if len(x.levels) > 0 {
			before = x.levels[len(x.levels)-1]
		}
		x.levels = append(x.levels, x.protect(f, before))
	}
	return x.levels[n], nil
}

// plant says for each period of the nested grains which level it hides.
func (x *disclosure) plant() error {
	if x.tree != nil {
		return nil
	}
	spans := make([][]period, len(nested))
	for n, g := range nested {
		var err error
		if spans[n], err = x.spans(g); err != nil {
			return err
		}
	}
	type node struct {
		n, level int
		span     period
		children []*node
	}
	var all []*node
	var grow func(n int, p period) *node
	grow = func(n int, p period) *node {
		at := &node{n: n, level: n, span: p}
		all = append(all, at)
		if n+1 < len(nested) {
			for _, c := range spans[n+1] {
				if c.start >= p.start && c.end <= p.end {
					at.children = append(at.children, grow(n+1, c))
				}
			}
		}
		return at
	}
	var promote func(at *node, level int)
	promote = func(at *node, level int) {
		if at.level >= level {
			return
		}
		at.level = level
		if len(at.children) > 0 {
			promote(at.children[len(at.children)-1], level)
		}
	}
	var even func(at *node)
	even = func(at *node) {
		for _, c := range at.children {
			even(c)
		}
		if len(at.children) == 1 {
			at.level = max(at.level, at.children[0].level)
			return
		}
		finest, count := 0, 0
		for _, c := range at.children {
			if c.level > finest {
				finest, count = c.level, 0
			}
			if c.level == finest {
				count++
			}
		}
		if count == 1 && finest > at.level { // the one beside it
			i := slices.IndexFunc(at.children, func(c *node) bool { return c.level == finest })
			if i > 0 {
				i--
			} else {
				i++
			}
			promote(at.children[i], finest)
		}
	}
	for _, p := range spans[0] {
		even(grow(0, p))
	}
	x.tree = map[string]int{}
	for _, at := range all {
		x.tree[at.span.label] = at.level
	}
	return nil
}

// hides gives what is hidden in a period of a grain.
func (x *disclosure) hides(g Grain, p period) (cellSet, error) {
	if x.least <= 1 {
		return nil, nil
	}
	if !x.flow {
		spans, err := x.spans(g)
		if err != nil || len(spans) == 0 {
			return nil, err
		}
		label := p.label
		if !slices.ContainsFunc(spans, func(s period) bool { return s.label == label }) {
			label = spans[len(spans)-1].label // what is there now is there later
		}
		name := string(g) + " " + label
		if _, ok := x.ends[name]; !ok {
			f, err := x.read(g, label)
			if err != nil {
				return nil, err
			}
			x.ends[name] = x.protect(f, nil)
		}
		return x.ends[name], nil
	}
	n := slices.Index(nested, g)
	if n < 0 {
		return x.level(len(nested) - 1)
	}
	if err := x.plant(); err != nil {
		return nil, err
	}
	if level, ok := x.tree[p.label]; ok {
		n = level
	}
	return x.level(n)
}

// hiddenIn gives what is hidden in the period of a review.
func (x *disclosure) hiddenIn(p ReviewPeriod) (cellSet, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hides(p.Grain, period{label: p.Label})
}

// disclosures keeps what was decided as long as the facts, the day and the
// definitions are the same.
type disclosures struct {
	mu    sync.Mutex
	facts int
	day   string
	known map[string]*disclosure
}

// disclose gives the decision about one definition in one scope: on a view of all
// facts that are known.
func (s *service) disclose(v *view, d *Definition, only map[string][]string) *disclosure {
	x, day := &s.hiding, s.today()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.known == nil || x.facts != v.facts || x.day != day || len(x.known) > 1000 {
		x.facts, x.day, x.known = v.facts, day, map[string]*disclosure{}
	}
	name := fmt.Sprint(d.Code, d.Version, only) // maps are printed in order
	if x.known[name] == nil {
		ask := func(g Grain, by []string) Query {
			return Query{Grain: g, By: by, Today: day, Only: only, Season: v.season}
		}
		x.known[name] = newDisclosure(d, s.smallCell, len(only) > 0,
			func(g Grain, by []string) ([]Cell, error) { return v.Cells(d, ask(g, by)) },
			func(g Grain) ([]period, error) { return v.periods(d, ask(g, nil)) })
	}
	return x.known[name]
}

// cover adds to the cells of a table, in the periods given, those that are hidden
// and that nobody is in, and says which are hidden: g and label are those of
// rangeOf.
func (x *disclosure) cover(by []string, g Grain, label string, spans []period, cells []Cell) ([]Cell, []bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	cut := slices.Sorted(slices.Values(by))
	place := make([]int, len(by)) // of the i-th of by in cut
	for i, name := range by {
		place[i] = slices.Index(cut, name)
	}
	there := map[string]map[cellName]int{}
	for i, c := range cells {
		codes := make([]string, len(by))
		for n, code := range c.Codes {
			codes[place[n]] = code
		}
		if there[c.Period] == nil {
			there[c.Period] = map[cellName]int{}
		}
		there[c.Period][keyOf(cut, codes)] = i
	}
	type covered struct {
		Cell
		hidden bool
	}
	var out []covered
	prefix := string(keyOf(cut, []string{}))
	for _, p := range spans {
		asked := p
		if label != "" { // the one period of grain all is this one
			asked.label = label
		}
		set, err := x.hides(g, asked)
		if err != nil {
			return nil, nil, err
		}
		first := len(out)
		for k, i := range there[p.label] {
			out = append(out, covered{cells[i], set[k]})
		}
		for k := range set {
			if _, ok := there[p.label][k]; ok || !strings.HasPrefix(string(k), prefix) {
				continue
			}
			var codes []string
			if len(by) > 0 {
				sorted := strings.Split(strings.TrimPrefix(string(k), prefix), "\x00")
				for i := range by {
					codes = append(codes, sorted[place[i]])
				}
			}
			out = append(out, covered{Cell{Period: p.label, Codes: codes}, true})
		}
		slices.SortFunc(out[first:], func(a, b covered) int { return slices.Compare(a.Codes, b.Codes) })
	}
	list, hidden := make([]Cell, len(out)), make([]bool, len(out))
	for i, c := range out {
		list[i], hidden[i] = c.Cell, c.hidden
	}
	return list, hidden, nil
}

// rangeOf says whether from and to are where periods of the grain begin and end. Of
// grain all they must be the first and the last day of one period of another grain,
// which it gives with its name; or, from the start on, the last day of a month, whose
// name it gives: two such figures differ by months, so they hide what months hide.
func rangeOf(q ValuesQuery, begins string) (g Grain, label string, ok bool) {
	if q.From.IsZero() && q.To.IsZero() {
		return q.Grain, "", true
	}
	season, err := seasonStart(begins)
	if err != nil {
		return q.Grain, "", false
	}
	for _, g = range []Grain{Month, Quarter, HalfYear, Year, Season} {
		if q.Grain != All && g != q.Grain {
			continue
		}
		whole := func(day api.Date, later int) bool { // whether a period begins so many days later
			at, err := dayStart(day.String(), later)
			if err != nil {
				return false
			}
			_, next := around(g, at.AddDate(0, 0, -1), season)
			return next.Equal(at)
		}
		if q.Grain != All {
			return g, "", (q.From.IsZero() || whole(q.From, 0)) && (q.To.IsZero() || whole(q.To, 1))
		}
		if q.From.IsZero() && whole(q.To, 1) { // from the start to the end of a month
			return Month, q.To.Format("2006-01"), true
		}
		if q.From.IsZero() || q.To.IsZero() || !whole(q.From, 0) {
			continue
		}
		from, err := dayStart(q.From.String(), 0)
		if err != nil {
			continue
		}
		to, err := dayStart(q.To.String(), 1)
		if label, next := around(g, from, season); err == nil && next.Equal(to) {
			return g, label, true
		}
	}
	return q.Grain, "", false
}

// askable refuses what a reader who may not see small cells cannot ask, because
// tables of it could be subtracted from others: cuts that are not declared, days,
// ranges that are not whole periods, and figures as they were known on a date.
func askable(d *Definition, q ValuesQuery, begins string) error {
	var faults []api.Field
	fault := func(path, reason string) {
		faults = append(faults, api.Field{Path: path, Code: "protected", Reason: reason})
	}
	cut := slices.Sorted(slices.Values(q.By))
	if !slices.ContainsFunc(closedCuts(d), func(c []string) bool { return slices.Equal(c, cut) }) {
		fault("query.by", "figures about people have the declared cuts only: each dimension alone, and those listed under cuts of the indicator")
	}
	if q.Grain == Day {
		fault("query.grain", "cuts of people are by month or longer")
	}
	if q.AsOf != "" {
		fault("query.as_of", "cuts of people are as they are known now; the reviews have those of their dates")
	}
	if _, _, ok := rangeOf(q, begins); !ok && q.Grain != Day {
		fault("query.from", "cuts of people are of whole periods: from their first day to their last; of grain all, of one month, quarter, half-year, year or season, or from the start to the end of a month")
	}
	if len(faults) == 0 {
		return nil
	}
	slices.SortFunc(faults, func(a, b api.Field) int { return strings.Compare(a.Path, b.Path) })
	return api.Invalid(faults...)
}
