package indicators

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Recount computes an indicator from a stream of facts a second time, in the
// most plain way there is: lists, maps and sorting, day by day as text. It shares
// nothing with the engine (columns.go, engine.go) but the definitions, so that a
// mistake in one of the two shows as a difference. It is slow, and means to stay
// simple. A fact that comes twice counts once.
func Recount(d *Definition, dims []Dimension, facts iter.Seq[Fact], q Query) []Cell {
	l := newLedger()
	for f := range facts {
		l.add(f)
	}
	return l.evidence(d, dims).recount(q)
}

// ledger is all facts, for any number of definitions. What many facts share, such
// as a day, a person and a combination of codes, is kept once.
type ledger struct {
	entries    []entered
	seen       map[string]bool
	superseded map[string][]int // by id: the places of what supersedes it
	texts      map[string]string
	codes      map[coding]*coding
}

// entered is a fact in the ledger.
type entered struct {
	id, subject, person, employer string
	day                           string // local, on which it happened
	*coding
	seq                int64
	occurred, recorded int64 // Unix milliseconds
	stay               *int64
	terms              *Terms
}

// coding is the kind and the codes of facts.
type coding struct {
	kind  Kind
	codes Codes
}

func newLedger() *ledger {
	return &ledger{seen: map[string]bool{}, superseded: map[string][]int{}, texts: map[string]string{}, codes: map[coding]*coding{}}
}

// add enters a fact, unless it is there already.
func (l *ledger) add(f Fact) {
	if l.seen[f.ID] {
		return
	}
	l.seen[f.ID] = true
	if f.Supersedes != "" {
		l.superseded[f.Supersedes] = append(l.superseded[f.Supersedes], len(l.entries))
	}
	key := coding{f.Kind, f.Codes}
	if l.codes[key] == nil {
		l.codes[key] = &key
	}
	l.entries = append(l.entries, entered{
		id: f.ID, subject: l.once(f.Subject), person: l.once(f.Person), employer: l.once(f.Employer),
		day: l.once(f.OccurredAt.In(tunis).Format("2006-01-02")), coding: l.codes[key], seq: f.Seq,
		occurred: f.OccurredAt.UnixMilli(), recorded: f.RecordedAt.UnixMilli(), stay: f.Stay, terms: f.Terms,
	})
}

func (l *ledger) once(text string) string {
	if _, ok := l.texts[text]; !ok {
		l.texts[text] = text
	}
	return l.texts[text]
}

// number is one of the fact's numbers.
func (e *entered) number(name string) (n int64, ok bool) {
	return (&Fact{Stay: e.stay, Terms: e.terms}).Number(name)
}

// evidence is what a definition looks at, prepared for any number of recounts.
type evidence struct {
	definition *Definition
	names      []string // the dimensions that it may be asked for
	facts      []witness
	history    map[belonging][]*witness // of a stock: in the subject's own order
	parts      []evidence               // of a ratio: of its numerator and of its denominator
}

// belonging is to whom what is there belongs: to one person, or to nobody.
type belonging struct{ subject, person string }

// witness is a fact that the definition looks at.
type witness struct {
	*entered
	*judged
	until int64 // when it was superseded; 0: never
}

// judged is what a definition says of facts of one kind and codes.
type judged struct {
	looks          bool
	enters, leaves bool // of a stock
	// codes are those under which they count, one for each name of the evidence.
	codes []string
}

// evidence takes the facts that the definition looks at.
func (l *ledger) evidence(d *Definition, dims []Dimension) evidence {
	e := evidence{definition: d, names: slices.Clone(d.Dimensions)}
	if d.Measure == Ratio {
		for _, p := range d.Parts() {
			part := &Definition{Measure: p.Measure, Of: p.Of, Select: p.Select, From: p.From, Dimensions: d.Dimensions}
			e.parts = append(e.parts, l.evidence(part, dims))
		}
		return e
	}
	judgements := map[*coding]*judged{}
	for _, c := range l.codes {
		f := Fact{Kind: c.kind, Codes: c.codes}
		v := &judged{enters: matches(dims, &f, d.Enters), leaves: matches(dims, &f, d.Leaves)}
		v.looks = v.enters || v.leaves || matches(dims, &f, d.Facts) || matches(dims, &f, d.Changes)
		for _, name := range e.names {
			v.codes = append(v.codes, codeOf(d, dims, &f, name))
		}
		judgements[c] = v
	}
	for i := range l.entries {
		f := &l.entries[i]
		v := judgements[f.coding]
		if f.kind == Retracted || !v.looks {
			continue
		}
		w := witness{entered: f, judged: v}
		for _, place := range l.superseded[f.id] {
			by := &l.entries[place]
			if by.subject == f.subject && by.id != f.id && (w.until == 0 || by.recorded < w.until) {
				w.until = by.recorded
			}
		}
		e.facts = append(e.facts, w)
	}
	if d.Measure == Stock {
		e.history = map[belonging][]*witness{}
		for i := range e.facts {
			w := &e.facts[i]
			whose := belonging{w.subject, w.person}
			e.history[whose] = append(e.history[whose], w)
		}
		for _, h := range e.history {
			slices.SortFunc(h, func(a, b *witness) int {
				return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.occurred, b.occurred), strings.Compare(a.id, b.id))
			})
		}
	}
	return e
}

// matches says whether the selector is true of the fact; none is true of nothing.
func matches(dims []Dimension, f *Fact, s *Selector) bool {
	return s != nil && s.Match(func(name string) string {
		if name == KindName {
			return string(f.Kind)
		}
		return clean(dims, f, name)
	})
}

// codeOf is the code under which a fact counts in a dimension of the definition.
func codeOf(d *Definition, dims []Dimension, f *Fact, name string) string {
	if other, ok := d.From[name]; ok {
		name = other
	}
	return clean(dims, f, name)
}

// clean is one of the fact's own codes as it is counted.
func clean(dims []Dimension, f *Fact, name string) string {
	raw := f.Code(name)
	if raw == "" {
		return Unknown
	}
	for _, dim := range dims {
		if dim.Code == name && dim.Codes != nil && !slices.Contains(dim.Codes, raw) {
			return Other
		}
	}
	return raw
}

// recount answers one query.
func (e evidence) recount(q Query) []Cell {
	if len(e.parts) > 0 {
		return divide(e.parts[0].recount(q), e.parts[1].recount(q))
	}
	e = e.knownAt(q.AsOf)
	from, to := q.From, q.To
	if from == "" {
		from = q.Today
		for _, w := range e.facts {
			from = min(from, w.day)
		}
	}
	if to == "" {
		to = q.Today
		for _, w := range e.facts {
			to = max(to, w.day)
		}
	}
	var cells []Cell
	if e.definition.Measure == Stock {
		for _, end := range lastDays(q.Grain, from, to, q.Season) {
			cells = append(cells, e.figures(q, labelOf(end, q.Grain, q.Season), e.presentAt(end))...)
		}
	} else {
		periods := map[string][]*witness{}
		for i := range e.facts {
			w := &e.facts[i]
			if _, has := w.number(e.definition.Of); e.definition.Of != "" && !has {
				continue
			}
			if w.day >= from && w.day <= to {
				label := labelOf(w.day, q.Grain, q.Season)
				periods[label] = append(periods[label], w)
			}
		}
		for label, list := range periods {
			cells = append(cells, e.figures(q, label, list)...)
		}
	}
	return inOrder(cells)
}

// divide makes the cells of a ratio: none where there is nothing to divide by.
func divide(above, below []Cell) (cells []Cell) {
	numerators := make(map[string]float64, len(above))
	for _, c := range above {
		numerators[cellKey(c.Period, c.Codes)] = c.Value
	}
	for _, c := range below {
		if c.Denominator = c.Value; c.Denominator == 0 {
			continue
		}
		c.Numerator = numerators[cellKey(c.Period, c.Codes)]
		c.Value = c.Numerator / c.Denominator
		cells = append(cells, c)
	}
	return cells
}

// knownAt leaves out what was not known yet at a moment, and what was superseded
// by then; a zero moment is now.
func (e evidence) knownAt(asOf time.Time) evidence {
	if len(e.parts) > 0 {
		e.parts = []evidence{e.parts[0].knownAt(asOf), e.parts[1].knownAt(asOf)}
		return e
	}
	at := Query{AsOf: asOf}.asOf()
	unknown := func(w *witness) bool { return w.recorded > at || w.until != 0 && w.until <= at }
	facts := make([]witness, 0, len(e.facts))
	for i := range e.facts {
		if !unknown(&e.facts[i]) {
			facts = append(facts, e.facts[i])
		}
	}
	if len(facts) == len(e.facts) {
		return e
	}
	e.facts = facts
	history := map[belonging][]*witness{}
	for whose, h := range e.history {
		history[whose] = slices.DeleteFunc(slices.Clone(h), unknown)
	}
	e.history = history
	return e
}

// presentAt is what is there at the end of a day: for each subject the fact that
// describes it then.
func (e evidence) presentAt(end string) (list []*witness) {
	for _, h := range e.history {
		present, gone := -1, false
		for i, w := range h {
			switch {
			case w.day > end: // not yet
			case w.leaves:
				present, gone = -1, true
			case w.enters:
				present, gone = i, false
			case !gone:
				present = i
			}
		}
		if present >= 0 {
			list = append(list, h[present])
		}
	}
	return list
}

// figures makes the cells of one period.
func (e evidence) figures(q Query, label string, list []*witness) (cells []Cell) {
	var place []int // of the dimensions of By
	for _, name := range q.By {
		place = append(place, slices.Index(e.names, name))
	}
	keys := map[*judged]string{} // they are few, and many facts have each; "": not wanted
	groups := map[string][]*witness{}
	for _, w := range list {
		key, ok := keys[w.judged]
		if !ok {
			if e.wanted(w, q.Only) {
				key = label
				for _, i := range place {
					key += "\x00" + w.judged.codes[i]
				}
			}
			keys[w.judged] = key
		}
		if key != "" {
			groups[key] = append(groups[key], w)
		}
	}
	for key, group := range groups {
		cells = append(cells, figure(e.definition, key, group))
	}
	return cells
}

func (e evidence) wanted(w *witness, only map[string][]string) bool {
	for name, codes := range only {
		if !slices.Contains(codes, w.judged.codes[slices.Index(e.names, name)]) {
			return false
		}
	}
	return true
}

// figure is the cell of a group of facts.
func figure(d *Definition, key string, group []*witness) Cell {
	people, firms := map[string]bool{}, map[string]bool{}
	var total int64
	var values []float64
	for _, f := range group {
		if f.person != "" {
			people[f.person] = true
		}
		if f.employer != "" {
			firms[f.employer] = true
		}
		if n, ok := f.number(d.Of); ok {
			total += n
			values = append(values, float64(n))
		}
	}
	parts := strings.Split(key, "\x00")
	c := Cell{Period: parts[0], Codes: parts[1:], N: len(group), People: len(people)}
	switch {
	case d.Measure == DistinctPeople || d.Of == OfPeople:
		c.Value = float64(len(people))
	case d.Measure == DistinctEmployers:
		c.Value = float64(len(firms))
	case d.Measure == Count || d.Of == OfSubjects:
		c.Value = float64(len(group))
	case d.Measure == MedianDays:
		slices.Sort(values)
		low, high := values[(len(values)-1)/2], values[len(values)/2]
		c.Value = twoDecimals((low + high) / 2 / 86400)
		c.P90 = twoDecimals(values[int(math.Ceil(0.9*float64(len(values))-1e-9))-1] / 86400)
	default:
		c.Value = float64(total)
	}
	return c
}

func twoDecimals(x float64) float64 { return math.Round(x*100) / 100 }

// labelOf is the period that a day belongs to.
func labelOf(day string, g Grain, season string) string {
	year, month := day[:4], day[5:7]
	switch g {
	case Day:
		return day
	case Month:
		return day[:7]
	case Quarter:
		return year + map[string]string{
			"01": "-Q1", "02": "-Q1", "03": "-Q1", "04": "-Q2", "05": "-Q2", "06": "-Q2",
			"07": "-Q3", "08": "-Q3", "09": "-Q3", "10": "-Q4", "11": "-Q4", "12": "-Q4",
		}[month]
	case HalfYear:
		if month <= "06" {
			return year + "-S1"
		}
		return year + "-S2"
	case Year:
		return year
	case Season:
		if season == "" {
			season = DefaultSeason
		}
		n, err := strconv.Atoi(year)
		if err != nil {
			return day
		}
		if day[5:] < season {
			n--
		}
		if season == "01-01" {
			return fmt.Sprintf("%04d", n)
		}
		return fmt.Sprintf("%04d/%04d", n, n+1)
	}
	return "all"
}

// lastDays is the last day of each period between two days.
func lastDays(g Grain, from, to, season string) (last []string) {
	at, err := time.Parse("2006-01-02", from)
	if err != nil {
		return nil
	}
	for day := from; day <= to; day = at.Format("2006-01-02") {
		if len(last) > 0 && labelOf(last[len(last)-1], g, season) == labelOf(day, g, season) {
			last[len(last)-1] = day
		} else {
			last = append(last, day)
		}
		at = at.AddDate(0, 0, 1)
	}
	return last
}

func cellKey(period string, codes []string) string {
	return strings.Join(append([]string{period}, codes...), "\x00")
}

func inOrder(cells []Cell) []Cell {
	slices.SortFunc(cells, func(a, b Cell) int {
		return strings.Compare(cellKey(a.Period, a.Codes), cellKey(b.Period, b.Codes))
	})
	return cells
}

// Difference is one cell on which two counts do not agree.
type Difference struct {
	Indicator string   `json:"indicator"`
	Grain     Grain    `json:"grain"`
	By        []string `json:"by"`
	Period    string   `json:"period"`
	Codes     []string `json:"codes"`
	Served    float64  `json:"served"`    // what the service answers
	Recounted float64  `json:"recounted"` // what the facts say
	What      string   `json:"what"`      // "value", "p90", "facts" or "people"
}

func (d Difference) String() string {
	return fmt.Sprintf("%s grain=%s period=%s by=%s codes=%s %s: served %v, recounted %v",
		d.Indicator, d.Grain, d.Period, strings.Join(d.By, ","), strings.Join(d.Codes, ","), d.What, d.Served, d.Recounted)
}

// Compare lists the cells on which the served and the recounted figures of one
// query differ. A cell that is missing is one of 0.
func Compare(d *Definition, q Query, served, recounted []Cell) []Difference {
	both := map[string][2]Cell{}
	for side, cells := range [2][]Cell{served, recounted} {
		for _, c := range cells {
			pair := both[cellKey(c.Period, c.Codes)]
			pair[side] = c
			both[cellKey(c.Period, c.Codes)] = pair
		}
	}
	var out []Difference
	for key, pair := range both {
		parts := strings.Split(key, "\x00")
		for _, f := range []struct {
			what string
			a, b float64
		}{
			{"value", pair[0].Value, pair[1].Value},
			{"p90", pair[0].P90, pair[1].P90},
			{"facts", float64(pair[0].N), float64(pair[1].N)},
			{"people", float64(pair[0].People), float64(pair[1].People)},
		} {
			if f.a != f.b {
				out = append(out, Difference{d.Code, q.Grain, q.By, parts[0], parts[1:], f.a, f.b, f.what})
			}
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(strings.Compare(cellKey(a.Period, a.Codes), cellKey(b.Period, b.Codes)), strings.Compare(a.What, b.What))
	})
	return out
}

// Checks lists the queries by which a definition is verified: the total, each
// single cut and all dimensions at once, by month and since the start, and the
// total by the longer periods.
func Checks(d *Definition, today, season string) (checks []Query) {
	cuts := [][]string{nil}
	for _, name := range d.Dimensions {
		cuts = append(cuts, []string{name})
	}
	if len(d.Dimensions) > 1 {
		cuts = append(cuts, d.Dimensions)
	}
	for _, g := range []Grain{Month, All} {
		if !slices.Contains(d.Grains, g) {
			continue
		}
		for _, by := range cuts {
			checks = append(checks, Query{Grain: g, By: by, Today: today})
		}
	}
	for _, g := range []Grain{Quarter, HalfYear, Year, Season} {
		if slices.Contains(d.Grains, g) {
			checks = append(checks, Query{Grain: g, Today: today, Season: season})
		}
	}
	return checks
}
