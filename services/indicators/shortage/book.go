package shortage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"masar.local/pkg/reference"
)

// Book is everything that was imported and is in force. Fill it with Add, in the
// order of import; then it is safe for concurrent use.
type Book struct {
	groups   map[group]map[string]row
	passages []*Passage
	labels   map[Occupation]string
	added    int

	mu         sync.Mutex
	references map[referenceKey]*reference3
}

// group is a sheet of a source: the occupations of a place and a period.
type group struct {
	source       string
	zone         Zone
	nomenclature Nomenclature
	period       Period
}

// row is what one source says of one occupation.
type row struct {
	measures []measured
}

type measured struct {
	measure      Measure
	value        float64
	rows, hidden int32
	order        int32 // of its dataset among those imported
}

// NewBook makes an empty book.
func NewBook() *Book {
	return &Book{groups: map[group]map[string]row{}, labels: map[Occupation]string{}, references: map[referenceKey]*reference3{}}
}

// Add takes in a dataset; where it says the same as an earlier one of its source,
// it counts. The error says that it is no dataset that Read gave.
func (b *Book) Add(d *Dataset) error {
	b.added++
	maps.Copy(b.labels, d.Labels)
	if d.Kind == KindPassage {
		p, err := NewPassage(d.Links)
		if err != nil {
			return err
		}
		b.passages = slices.DeleteFunc(b.passages, func(old *Passage) bool { return old.From == p.From && old.To == p.To })
		b.passages = append(b.passages, p)
		return nil
	}
	for _, o := range d.Observations {
		g := group{d.Source, o.Zone, o.Occupation.Nomenclature, o.Period}
		if b.groups[g] == nil {
			b.groups[g] = map[string]row{}
		}
		r := b.groups[g][o.Occupation.Code]
		m := measured{o.Measure, o.Value.InexactFloat64(), int32(min(o.Rows, 1<<30)), int32(min(o.HiddenRows, 1<<30)), int32(b.added)}
		if i := slices.IndexFunc(r.measures, func(x measured) bool { return x.measure == o.Measure }); i >= 0 {
			r.measures[i] = m
		} else {
			r.measures = append(r.measures, m)
		}
		b.groups[g][o.Occupation.Code] = r
	}
	return nil
}

// Label is the name of an occupation in French; where only the sheets of ROME that
// it is linked with have one, two of those, the programme's first; "" when none is
// known.
func (b *Book) Label(o Occupation) string {
	if text := b.labels[o]; text != "" {
		return text
	}
	var names, others []string
	for _, r := range b.Linked(o, ROME) {
		text := b.labels[r]
		if _, ours := reference.Occupation(r.Code); ours && text != "" {
			names = append(names, text)
		} else if text != "" {
			others = append(others, text)
		}
	}
	names = append(names, others...)
	if len(names) > 2 {
		return names[0] + " ; " + names[1] + " (entre autres)"
	}
	return strings.Join(names, " ; ")
}

// Linked are the occupations of another nomenclature that o is linked with by a
// passage between the two.
func (b *Book) Linked(o Occupation, n Nomenclature) []Occupation {
	if o.Nomenclature == n {
		return []Occupation{o}
	}
	for _, p := range b.passages {
		if p.From == n && p.To == o.Nomenclature || p.To == n && p.From == o.Nomenclature {
			return p.Across(o)
		}
	}
	return nil
}

// Sheet names a table that there is.
type Sheet struct {
	Nomenclature Nomenclature `json:"nomenclature"`
	Period       Period       `json:"period"`
}

// Sheets lists the tables that there are for a zone, by nomenclature and period.
// Without sources it looks at all but SourceMasar.
func (b *Book) Sheets(zone Zone, sources []string) []Sheet {
	set := map[Sheet]bool{}
	for g := range b.groups {
		if g.zone == zone && allowed(g.source, sources) {
			set[Sheet{g.nomenclature, g.period}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b Sheet) int {
		return cmp.Or(cmp.Compare(a.Nomenclature, b.Nomenclature), cmp.Compare(a.Period, b.Period))
	})
}

func allowed(source string, sources []string) bool {
	if len(sources) == 0 {
		return source != SourceMasar
	}
	return slices.Contains(sources, source)
}

// Settings are the programme's own.
type Settings struct {
	Minimum Minimum
	// The years of the reference, both or neither. Neither: 2014 to 2018 for
	// France, as DARES does, and to be configured for other countries.
	ReferenceFrom, ReferenceTo *int
}

// Query asks for a table.
type Query struct {
	Zone         Zone
	Nomenclature Nomenclature
	Period       Period
	Sources      []string // none: all but SourceMasar
}

// Table says of each occupation of a place and a period how short it is.
type Table struct {
	Zone         Zone         `json:"zone"`
	Nomenclature Nomenclature `json:"nomenclature"`
	Period       Period       `json:"period"`
	Annual       bool         `json:"annual"` // the period is a year
	Sources      []string     `json:"sources"`
	Method       string       `json:"method"`
	// Reference is what computed rows are standardised with; absent when all rows
	// are as they were published.
	Reference *ReferenceOf `json:"reference,omitempty"`
	// Cuts between the classes, by the components that an index is made of
	// ("c1+c2+c3"), and whose they are: "dares", or "quintiles" of the reference.
	Cuts       map[string]Cuts `json:"cuts,omitempty"`
	CutsOrigin string          `json:"cuts_origin,omitempty"`
	Minimum    Minimum         `json:"minimum"`
	Flags      []Flag          `json:"flags"`
	// Lost are occupations of the original nomenclature that no passage leads from.
	Lost []Occupation `json:"lost,omitempty"`
	Rows []Row        `json:"rows"` // the shortest first
}

// ReferenceOf describes the reference period.
type ReferenceOf struct {
	Zone   Zone        `json:"zone,omitempty"`  // the country; absent when it has no data of its own
	Level  Level       `json:"level,omitempty"` // then: all zones of this level
	From   Period      `json:"from"`
	To     Period      `json:"to"`
	Points int         `json:"points"` // occupations × periods (× zones)
	Mean   [3]*float64 `json:"mean"`   // of c1, c2, c3; null when there is none
	SD     [3]*float64 `json:"sd"`
}

// Row is one occupation.
type Row struct {
	Code  string   `json:"code"`
	Label string   `json:"label,omitempty"`
	ROME  []string `json:"rome,omitempty"` // sheets that it is linked with
	// Counts are what the ratios are made of, and what is shown beside them.
	Counts map[Measure]float64 `json:"counts"`
	// Components are c1, c2, c3; null when missing. C3High is the most that c3
	// can be, when the producer hides a part of it.
	Components [3]*float64 `json:"components"`
	C3High     *float64    `json:"c3_high,omitempty"`
	Z          [3]*float64 `json:"z"`
	Weights    *[3]float64 `json:"weights,omitempty"` // those used
	T          *float64    `json:"t"`
	Class      *int        `json:"class"`
	// Published says that index and class are the producer's.
	Published bool `json:"published"`
	// Levels are the six complementary indicators from 1 to 5, in the order of
	// Complementary; Values what is computed for them.
	Levels  [6]*int     `json:"levels"`
	Values  [6]*float64 `json:"values"`
	Sources []string    `json:"sources"`
	Flags   []Flag      `json:"flags"`
	// Before is the same in the period before; absent when it is not known.
	Before *Before `json:"before,omitempty"`
}

// Before is what a row was a period earlier.
type Before struct {
	Period Period   `json:"period"`
	T      *float64 `json:"t"`
	Class  *int     `json:"class"`
}

// inputs are the measures of a zone's occupations, from all allowed sources.
func (b *Book) inputs(zone Zone, n Nomenclature, p Period, sources []string) (map[Occupation]Inputs, map[Occupation]bool) {
	out, several := map[Occupation]Inputs{}, map[Occupation]bool{}
	order := map[Occupation]map[Measure]int32{}
	take := func(of Period, only []Measure) {
		for g, rows := range b.groups {
			if g.zone != zone || g.nomenclature != n || g.period != of || !allowed(g.source, sources) {
				continue
			}
			for code, r := range rows {
				o := Occupation{n, code}
				if only != nil && out[o] == nil {
					continue // the year says more occupations than the quarter
				}
				if out[o] == nil {
					out[o], order[o] = Inputs{}, map[Measure]int32{}
				}
				for _, m := range r.measures {
					if only != nil && !slices.Contains(only, m.measure) {
						continue
					}
					if old, twice := out[o][m.measure]; twice {
						if old.Of != of && old.Of != "" || only != nil && old.Of == "" {
							continue // the quarter's own, or a later year's
						}
						several[o] = true
						if order[o][m.measure] > m.order {
							continue
						}
					}
					v := Value{Number: m.value, Rows: int(m.rows), HiddenRows: int(m.hidden), Source: g.source}
					if only != nil {
						v.Of = of
					}
					out[o][m.measure], order[o][m.measure] = v, m.order
				}
			}
		}
	}
	take(p, nil)
	if p.Quarterly() {
		year := p[:4]
		take(year, yearly)
		take(year.Previous(), yearly)
	}
	return out, several
}

// Table computes. A nomenclature that the zone has no data of is made by a passage
// from one that it has, in which case every row is flagged so. A zone or period
// without data gives a table without rows.
func (b *Book) Table(q Query, set Settings) Table {
	t := Table{
		Zone: q.Zone, Nomenclature: q.Nomenclature, Period: q.Period, Annual: !q.Period.Quarterly(),
		Method: MethodVersion, Minimum: set.Minimum, Flags: []Flag{}, Sources: []string{}, Rows: []Row{},
	}
	rows, several, from, lost := b.rowsOf(q)
	t.Lost = lost
	if len(rows) == 0 {
		return t
	}
	computed := false
	for _, in := range rows {
		if _, published := in.get(Index); !published {
			computed = true
		}
	}
	var ref *reference3
	if computed {
		ref = b.reference(q, from, set)
		t.Reference, t.CutsOrigin, t.Cuts = &ref.of, ref.origin, map[string]Cuts{}
		t.Flags = append(t.Flags, ref.flags...)
		if !set.Minimum.Configured() {
			t.Flags = append(t.Flags, NoMinimum)
		}
	} else {
		t.CutsOrigin, t.Cuts = "dares", map[string]Cuts{"index": FrenchCuts}
	}
	var geography map[Occupation]*float64
	if computed {
		geography = b.duncan(q, from)
	}
	for o, in := range rows {
		r := b.row(o, in)
		if several[o] {
			r.Flags = append(r.Flags, SeveralSources)
		}
		if from != q.Nomenclature {
			r.Flags = append(r.Flags, Spread)
		}
		if r.Published {
			r.Flags = compact(r.Flags)
			t.Rows = append(t.Rows, r)
			continue
		}
		c := NewComponents(in)
		score := ref.score(c)
		r.C3High = c.High
		for k := range components {
			if c.Have[k] {
				r.Components[k] = &c.C[k]
			}
			if score.Have[k] {
				r.Z[k] = &score.Z[k]
			}
		}
		r.Flags = append(r.Flags, score.Flags...)
		if score.OK {
			r.T, r.Weights = &score.T, &score.Weights
			cuts, tied, ok := ref.cutsOf(score.Have)
			switch {
			case !ok:
				r.Flags = append(r.Flags, NoCuts)
			case !set.Minimum.Enough(in, score.Have):
				r.Flags = append(r.Flags, TooFew)
			default:
				class := cuts.Class(score.T)
				r.Class = &class
			}
			if ok {
				t.Cuts[mask(score.Have)] = cuts
			}
			if tied {
				t.Flags = append(t.Flags, TiedCuts)
			}
		}
		r.Values = NewComplementary(in, geography[o])
		for i, v := range r.Values {
			if v != nil && ref.levels[i].ok {
				level := ref.levels[i].cuts.Class(*v)
				r.Levels[i] = &level
			}
		}
		r.Flags = compact(r.Flags)
		t.Rows = append(t.Rows, r)
	}
	for _, r := range t.Rows {
		t.Sources = append(t.Sources, r.Sources...)
		for _, f := range r.Flags {
			if f == Spread {
				t.Flags = append(t.Flags, f)
			}
		}
	}
	slices.Sort(t.Sources)
	t.Sources, t.Flags = slices.Compact(t.Sources), compact(t.Flags)
	slices.SortFunc(t.Rows, func(a, b Row) int {
		return cmp.Or(-comparePointers(a.Class, b.Class), -comparePointers(a.T, b.T), cmp.Compare(a.Code, b.Code))
	})
	return t
}

// WithBefore adds what each row was a period before.
func (b *Book) WithBefore(t *Table, q Query, set Settings) {
	q.Period = q.Period.Previous()
	old := map[string]Row{}
	for _, r := range b.Table(q, set).Rows {
		old[r.Code] = r
	}
	for i, r := range t.Rows {
		if o, ok := old[r.Code]; ok && (o.T != nil || o.Class != nil) {
			t.Rows[i].Before = &Before{q.Period, o.T, o.Class}
		}
	}
}

// comparePointers puts nil first.
func comparePointers[N cmp.Ordered](a, b *N) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(*a, *b)
}

func mask(have [components]bool) string {
	var names []string
	for k, h := range have {
		if h {
			names = append(names, "c"+string(rune('1'+k)))
		}
	}
	return strings.Join(names, "+")
}

// rowsOf are the inputs that a table is made of, and the nomenclature they come
// from when a passage spread them.
func (b *Book) rowsOf(q Query) (rows map[Occupation]Inputs, several map[Occupation]bool, from Nomenclature, lost []Occupation) {
	rows, several = b.inputs(q.Zone, q.Nomenclature, q.Period, q.Sources)
	if len(rows) > 0 {
		return rows, several, q.Nomenclature, nil
	}
	for _, p := range b.passages {
		other := p.From
		if other == q.Nomenclature {
			other = p.To
		} else if p.To != q.Nomenclature {
			continue
		}
		if own, _ := b.inputs(q.Zone, other, q.Period, q.Sources); len(own) > 0 {
			if rows, lost = p.Spread(own); len(rows) > 0 {
				return rows, nil, other, lost
			}
		}
	}
	return nil, nil, q.Nomenclature, nil
}

// row is a row with what is known without computing.
func (b *Book) row(o Occupation, in Inputs) Row {
	r := Row{Code: o.Code, Label: b.Label(o), Counts: map[Measure]float64{}, Sources: []string{}, Flags: []Flag{}}
	if o.Nomenclature != ROME {
		for _, x := range b.Linked(o, ROME) {
			r.ROME = append(r.ROME, x.Code)
		}
	}
	for m, v := range in {
		r.Sources = append(r.Sources, v.Source)
		if v.Rows > 0 && m != Index && m != Class && m != DifficultHole && m != SeasonalHole && !slices.Contains(levels[:], m) {
			r.Counts[m] = v.Number
		}
		if v.Of != "" && v.Rows > 0 && (m == Difficult || m == Projects) {
			r.Flags = append(r.Flags, Annual)
		}
	}
	slices.Sort(r.Sources)
	r.Sources = slices.Compact(r.Sources)
	if t, ok := in.get(Index); ok {
		r.Published, r.T = true, &t
		if c, ok := in.get(Class); ok {
			class := int(c)
			r.Class = &class
			if FrenchCuts.Class(t) != class {
				r.Flags = append(r.Flags, PublishedDiffers)
			}
		} else {
			r.Flags = append(r.Flags, NoClass)
		}
		for i, m := range levels {
			if v, ok := in.get(m); ok {
				level := int(v)
				r.Levels[i] = &level
			}
		}
	}
	return r
}

// reference3 is a reference with all that is cut by it.
type reference3 struct {
	*Reference
	of     ReferenceOf
	origin string
	flags  []Flag
	levels [len(Complementary)]cutting
	mu     sync.Mutex // of the cuts
}

func (r *reference3) score(c Components) Score { return r.Score(c) }

func (r *reference3) cutsOf(have [components]bool) (Cuts, bool, bool) {
	if r.origin == "dares" {
		return FrenchCuts, false, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Reference.Cuts(have)
}

type referenceKey struct {
	zone         Zone
	level        Level
	nomenclature Nomenclature
	from         Nomenclature
	quarterly    bool
	sources      string
	first, last  int
}

// The reference years of DARES, for France.
const frenchFirst, frenchLast = 2014, 2018

// reference finds what a table is standardised with: the country's own
// occupations in the reference years, or, where the country has no data of its
// own, those of all its zones of the level asked for. Without configured years, or
// when they have no data, every period that is known is the reference, and the
// table says so.
func (b *Book) reference(q Query, from Nomenclature, set Settings) *reference3 {
	first, last := 0, 0
	switch {
	case set.ReferenceFrom != nil && set.ReferenceTo != nil:
		first, last = *set.ReferenceFrom, *set.ReferenceTo
	}
	if q.Zone.Country() == "FR" {
		first, last = frenchFirst, frenchLast
	}
	k := referenceKey{q.Zone.Country(), q.Zone.Level(), q.Nomenclature, from, q.Period.Quarterly(), strings.Join(q.Sources, ","), first, last}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.references[k]; r != nil {
		return r
	}
	r := b.newReference(q, from, first, last)
	b.references[k] = r
	return r
}

func (b *Book) newReference(q Query, from Nomenclature, first, last int) *reference3 {
	country := q.Zone.Country()
	sheets := map[bool]map[Zone][]Period{true: {}, false: {}} // by whether they are of the reference years
	for g := range b.groups {
		ofLevel := g.zone == country || g.zone.Country() == country && g.zone.Level() == q.Zone.Level()
		if !ofLevel || g.nomenclature != from || g.period.Quarterly() != q.Period.Quarterly() || !allowed(g.source, q.Sources) {
			continue
		}
		within := first != 0 && first <= g.period.Year() && g.period.Year() <= last
		for _, in := range []bool{within, false} {
			if !slices.Contains(sheets[in][g.zone], g.period) {
				sheets[in][g.zone] = append(sheets[in][g.zone], g.period)
			}
		}
	}
	r := &reference3{origin: "quintiles"}
	gather := func(zones map[Zone][]Period) (points []Components, values [len(Complementary)][]float64, of ReferenceOf) {
		only := zones
		if own := zones[country]; own != nil {
			only, of.Zone = map[Zone][]Period{country: own}, country
		} else {
			of.Level = q.Zone.Level()
		}
		for _, zone := range slices.Sorted(maps.Keys(only)) {
			slices.Sort(only[zone])
			for _, p := range only[zone] {
				at := Query{Zone: zone, Nomenclature: q.Nomenclature, Period: p, Sources: q.Sources}
				geography := b.duncan(at, from)
				rows, _, _, _ := b.rowsOf(at)
				for _, o := range slices.SortedFunc(maps.Keys(rows), compareOccupations) {
					c := NewComponents(rows[o])
					for i, v := range NewComplementary(rows[o], geography[o]) {
						if v != nil {
							values[i] = append(values[i], *v)
						}
					}
					if c.Have == [components]bool{} {
						continue
					}
					points = append(points, c)
					if of.From == "" || p < of.From {
						of.From = p
					}
					of.To = max(of.To, p)
				}
			}
		}
		of.Points = len(points)
		return points, values, of
	}
	points, values, of := gather(sheets[true])
	if len(points) > 0 {
		if country == "FR" {
			r.origin = "dares"
		}
	} else {
		points, values, of = gather(sheets[false])
		r.flags = append(r.flags, ProvisionalRef)
	}
	r.Reference, r.of = NewReference(points), of
	for k := range components {
		if r.N[k] > 0 {
			r.of.Mean[k], r.of.SD[k] = &r.Mean[k], &r.SD[k]
		}
	}
	for i := range values {
		r.levels[i].cuts, r.levels[i].tied, r.levels[i].ok = Quintiles(values[i])
	}
	return r
}

// duncan is the geographical mismatch of each occupation over the places within a
// zone: régions or governorates of a country, départements of a région. The flow
// of offers is set against the inflow of seekers (our reading). Places where
// either is unknown are left out.
func (b *Book) duncan(q Query, from Nomenclature) map[Occupation]*float64 {
	if from != q.Nomenclature {
		return nil
	}
	below := map[Level]Level{Country: Region, Region: Department}[q.Zone.Level()]
	places := map[Zone]bool{}
	for g := range b.groups {
		if g.nomenclature == q.Nomenclature && g.period == q.Period && g.zone != q.Zone && g.zone.Level() == below && g.zone.Within(q.Zone) {
			places[g.zone] = true
		}
	}
	type both struct{ offers, seekers []float64 }
	of := map[Occupation]*both{}
	for zone := range places {
		rows, _ := b.inputs(zone, q.Nomenclature, q.Period, q.Sources)
		for o, in := range rows {
			offers, ok1 := in.get(Offers)
			seekers, ok2 := in.get(SeekersIn)
			if !ok1 || !ok2 {
				continue
			}
			if of[o] == nil {
				of[o] = &both{}
			}
			of[o].offers, of[o].seekers = append(of[o].offers, offers), append(of[o].seekers, seekers)
		}
	}
	out := map[Occupation]*float64{}
	for o, x := range of {
		if v, ok := Duncan(x.offers, x.seekers); ok && len(x.offers) > 1 {
			out[o] = &v
		}
	}
	return out
}

// With is the book and one dataset more; the book itself stays as it is.
func (b *Book) With(d *Dataset) (*Book, error) {
	more := NewBook()
	maps.Copy(more.labels, b.labels)
	maps.Copy(more.groups, b.groups)
	more.passages, more.added = slices.Clone(b.passages), b.added
	for _, o := range d.Observations {
		g := group{d.Source, o.Zone, o.Occupation.Nomenclature, o.Period}
		more.groups[g] = maps.Clone(more.groups[g])
	}
	return more, more.Add(d)
}

// Pick chooses the tables that answer a question. Without a period it is the
// latest of each nomenclature that the zone has data of; with a year, that year;
// with a quarter, the quarter and, of a nomenclature that has none, the latest
// year that is not after it, for annual series stay annual. With a nomenclature,
// only that; when the zone has no data of it, what a passage can make of others.
func (b *Book) Pick(zone Zone, period Period, n Nomenclature, sources []string) []Sheet {
	all := b.Sheets(zone, sources)
	if n != "" {
		own := slices.DeleteFunc(slices.Clone(all), func(s Sheet) bool { return s.Nomenclature != n })
		if len(own) == 0 {
			for _, s := range all {
				if slices.ContainsFunc(b.passages, func(p *Passage) bool {
					return p.From == n && p.To == s.Nomenclature || p.To == n && p.From == s.Nomenclature
				}) {
					own = append(own, Sheet{n, s.Period})
				}
			}
		}
		all = own
	}
	best := map[Nomenclature]Period{}
	for _, s := range all {
		old, has := best[s.Nomenclature]
		switch {
		case period == "":
			if !has || later(old, s.Period) {
				best[s.Nomenclature] = s.Period
			}
		case s.Period == period:
			best[s.Nomenclature] = s.Period
		case period.Quarterly() && !s.Period.Quarterly() && s.Period.Year() <= period.Year() && old != period:
			if !has || later(old, s.Period) {
				best[s.Nomenclature] = s.Period
			}
		}
	}
	var out []Sheet
	for _, n := range slices.Sorted(maps.Keys(best)) {
		out = append(out, Sheet{n, best[n]})
	}
	return out
}

// later says whether q is later than p: by year, and within a year a quarter is
// later than the year, for it says more.
func later(p, q Period) bool {
	return cmp.Or(cmp.Compare(p.Year(), q.Year()), cmp.Compare(len(p), len(q)), cmp.Compare(p, q)) < 0
}
