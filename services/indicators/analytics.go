package indicators

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/reference"
)

// What happens to pathways: the funnel, how long each stage takes, where time is
// lost, whether the scheme was followed, and whether delays stay within their
// budgets. All of it is computed from the same thing: each pathway's own history
// (Journeys), cut short at the instant that is asked about.

// PathwayQuery says which pathways, and how they are put together.
//
// A filter selects among the groups of a cut, it never merges them: to ask for
// sex=F is to cut by sex and to show F only. So what is hidden in a table stays
// hidden when its parts are asked for one by one.
type PathwayQuery struct {
	// Cohort groups pathways by the period in which they opened; "all": together.
	Cohort Grain `query:"cohort" default:"all"`
	// By are further dimensions to cut by, of pathwayCuts; the scheme always is one,
	// for each has its own stages.
	By            []string `query:"by"`
	Scheme        []string `query:"scheme"`
	SchemeVersion []string `query:"scheme_version"`
	Sector        []string `query:"sector"`
	Governorate   []string `query:"governorate"`
	Sex           []string `query:"sex"`
	Age           []string `query:"age"`
	// From and To choose the cohorts: those whose period has a day between them. A
	// cohort is always whole; they need a Cohort.
	From api.Date `query:"from"`
	To   api.Date `query:"to"`
	// AsOf is the instant (RFC 3339), or the local day of which the end is meant, as
	// which everything is told: what had happened by then, as far as it was known
	// then. "": now.
	AsOf string `query:"as_of"`
}

// cohortGrains are the lengths of a cohort.
var cohortGrains = []Grain{Month, Quarter, HalfYear, Year, Season, All}

// pathwayCuts are the dimensions of a pathway's opening that it can be cut by.
var pathwayCuts = []string{"scheme", "scheme_version", "sector", "governorate", "sex", "age"}

// filters are the codes that are asked for, by dimension.
func (q *PathwayQuery) filters() map[string][]string {
	all := map[string][]string{
		"scheme": q.Scheme, "scheme_version": q.SchemeVersion, "sector": q.Sector,
		"governorate": q.Governorate, "sex": q.Sex, "age": q.Age,
	}
	maps.DeleteFunc(all, func(_ string, codes []string) bool { return len(codes) == 0 })
	return all
}

// cuts are the dimensions of the table, in the order of pathwayCuts.
func (q *PathwayQuery) cuts() (by []string) {
	filters := q.filters()
	for _, name := range pathwayCuts {
		if _, filtered := filters[name]; filtered || name == "scheme" || slices.Contains(q.By, name) {
			by = append(by, name)
		}
	}
	return by
}

// checkPathways says what is wrong with the query, and completes it.
func (s *service) checkPathways(q *PathwayQuery) error {
	var faults []api.Field
	fault := func(path, code, format string, args ...any) {
		faults = append(faults, api.Field{Path: "query." + path, Code: code, Reason: fmt.Sprintf(format, args...)})
	}
	if q.Cohort == "" {
		q.Cohort = All
	}
	if !slices.Contains(cohortGrains, q.Cohort) {
		fault("cohort", "unknown", "there is no cohort %q; there are %s", clip(string(q.Cohort)), list(cohortGrains))
	}
	for i, name := range q.By {
		switch {
		case !slices.Contains(pathwayCuts, name):
			fault("by", "unknown", "pathways cannot be cut by %q, but by %s", clip(name), list(pathwayCuts))
		case slices.Index(q.By, name) != i:
			fault("by", "duplicate", "%q is named twice", name)
		}
	}
	set := newDimensionSet(s.dims)
	for _, name := range pathwayCuts {
		for _, code := range q.filters()[name] {
			if d, ok := set[name]; ok && d.Codes != nil && !slices.Contains(d.Codes, code) && code != Unknown && code != Other {
				fault(name, "unknown", "there is no %s %q; there are %s", name, clip(code), list(d.Codes))
			}
		}
	}
	for path, day := range map[string]api.Date{"from": q.From, "to": q.To} {
		if day.IsZero() {
			continue
		}
		if day.Year() < firstYear || day.Year() >= lastYear {
			fault(path, "range", "a day from %d to %d expected", firstYear, lastYear-1)
		}
		if q.Cohort == All {
			fault(path, "range", "from and to choose cohorts: name the cohort's length too, such as cohort=month")
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From.Time) {
		fault("to", "range", "a day not before from expected")
	}
	if _, err := readAsOf(q.AsOf); err != nil {
		var wrong api.Field
		errors.As(err, &wrong)
		faults = append(faults, wrong)
	}
	slices.SortFunc(faults, func(a, b api.Field) int { return strings.Compare(a.Path, b.Path) })
	if len(faults) > 0 {
		return api.Invalid(faults...)
	}
	return nil
}

// Told is a remark for the reader of an answer.
type Told struct {
	FR string `json:"fr"`
	AR string `json:"ar"`
}

// PathwaysAbout says what an answer about pathways is made of.
type PathwaysAbout struct {
	AsOf     time.Time           `json:"as_of"`             // as which instant everything is told
	KnownTo  time.Time           `json:"known_to,omitzero"` // when we learned of the last fact of pathways
	TimeZone string              `json:"time_zone"`         // of days and periods
	Cohort   Grain               `json:"cohort"`
	By       []string            `json:"by"`
	Scope    map[string][]string `json:"scope,omitempty"` // what the reader is limited to
	// SmallCell is the number of people below which a figure is hidden here; 0 when
	// nothing is.
	SmallCell int `json:"small_cell,omitempty"`
	// WithoutOpening are the pathways of which no opening is known: they belong to no
	// cohort, and are in no figure but those of conformance. Absent when hidden.
	WithoutOpening *int   `json:"without_opening,omitempty"`
	Notes          []Told `json:"notes"`
}

// PathwayGroup is what an answer tells figures of: pathways of one scheme that opened in
// the same period and are alike in what the table is cut by.
type PathwayGroup struct {
	Cohort     string            `json:"cohort"` // "2026-03", "2026-Q1" ... or "all"
	Dimensions map[string]string `json:"dimensions"`
	SchemeFR   string            `json:"scheme_label_fr,omitempty"`
	SchemeAR   string            `json:"scheme_label_ar,omitempty"`
	// People of the group; null when there are too few to be told of.
	People     *int `json:"people"`
	Pathways   *int `json:"pathways"`
	Suppressed bool `json:"suppressed,omitempty"`
}

// StageLabel names a stage.
type StageLabel struct {
	Stage    string `json:"stage"`
	LabelFR  string `json:"label_fr"`
	LabelAR  string `json:"label_ar"`
	Optional bool   `json:"optional"`
	// Unknown says that the scheme has no such stage.
	Unknown bool `json:"unknown,omitempty"`
}

// Kinds of moves.
const (
	moveOpened uint8 = iota
	moveEntered
	moveExited
	moveCompleted
)

// move is one step of a pathway, in 8 bytes: ten million of them are held.
type move struct {
	at    uint32 // Unix seconds, to the year 2106
	stage uint8  // in tracks.stages; of an exit or a completion, where it happened
	from  uint8  // the stage that the event says was left; 0: not said
	exit  uint8  // in tracks.exits; 0: none
	kind  uint8
}

// enters says whether the move brings the pathway to a stage.
func (m move) enters() bool { return m.kind <= moveEntered }

// track is one pathway.
type track struct {
	pathway string
	person  uint32
	first   uint32 // its moves are moves[first:end], in the pathway's own order
	end     uint32
	opened  uint32 // Unix seconds; 0: no opening is known
	version uint16 // in tracks.versions
	codes   [pathwayCodes]uint16
}

// The codes of the opening that are kept, as places in track.codes.
const (
	codeSector = iota
	codeGovernorate
	codeSex
	codeAge
	pathwayCodes
)

var codePlaces = map[string]int{"sector": codeSector, "governorate": codeGovernorate, "sex": codeSex, "age": codeAge}

// tracks are all pathways as of one instant, laid out for questions: by person, so
// that different people are counted by looking at the one before.
type tracks struct {
	at       time.Time // the instant; whoever had not left by then waits
	seconds  uint32    // the same
	list     []track
	moves    []move
	stages   []string // by number; 0 is none
	exits    []string // by number; 0 is none
	versions []version
	codes    [pathwayCodes][]string
	plans    map[string]*plan // by scheme
	next     time.Time        // the earliest step that had not happened by then; zero: none
	known    time.Time        // when we learned of the last fact
	season   string           // the day on which one begins, as MM-DD
}

// version is one version of a scheme, as facts name it.
type version struct {
	scheme, version string
	rules           *reference.Scheme // nil: this program does not know it
}

// plan is the order in which a scheme's stages are shown: that of its version in
// force, then what only other versions have, then what none has.
type plan struct {
	scheme string
	shown  *reference.Scheme // whose labels are used; nil: the scheme is not known
	stages []StageLabel
	known  int        // how many of stages are of a version that is known
	place  [256]uint8 // of a stage's number; noPlace: not of the scheme
}

const noPlace = 255

// numbered gives texts numbers of one byte. The last one is Other, for what would
// not fit: no programme has so many stages, but events may say anything.
type numbered struct {
	of    map[string]uint8
	texts []string
}

func newNumbered() *numbered { return &numbered{of: map[string]uint8{"": 0}, texts: []string{""}} }

func (n *numbered) number(text string) uint8 {
	if i, ok := n.of[text]; ok {
		return i
	}
	if len(n.texts) >= noPlace-1 {
		text = Other
		if i, ok := n.of[text]; ok {
			return i
		}
	}
	i := uint8(len(n.texts))
	n.of[text], n.texts = i, append(n.texts, text)
	return i
}

// journeyCodes are the codes that the facts of pathways are read by.
var journeyCodes = []string{"scheme", "scheme_version", "sector", "governorate", "sex", "age", "stage", "from_stage", "exit"}

// moveKinds are the facts that are moves.
var moveKinds = map[Kind]uint8{PathwayOpened: moveOpened, StageEntered: moveEntered, PathwayExited: moveExited, PathwayCompleted: moveCompleted}

// newTracks lays out the pathways of a view as of an instant: what had happened by
// then, as far as it was known then (asOf; zero: as far as it is known).
func newTracks(v *view, schemes reference.SchemeSet, at, asOf time.Time) *tracks {
	t := &tracks{at: at, seconds: unixSeconds(at), plans: map[string]*plan{}, season: v.season}
	// The codes by the numbers that the view gives them.
	stages, exits := newNumbered(), newNumbered()
	numbers := func(name string, by *numbered) []uint8 {
		list := make([]uint8, len(v.dicts[name]))
		for i, text := range v.dicts[name] {
			if text != Unknown {
				list[i] = by.number(text)
			}
		}
		return list
	}
	stageOf, fromOf, exitOf := numbers("stage", stages), numbers("from_stage", stages), numbers("exit", exits)
	stage, from, exit := v.coder("stage"), v.coder("from_stage"), v.coder("exit")
	scheme, versionOf := v.coder("scheme"), v.coder("scheme_version")
	var kind [256]uint8
	for k, m := range moveKinds {
		kind[kindNumber[k]] = m
	}
	var codes [pathwayCodes]coder
	for name, place := range codePlaces {
		codes[place], t.codes[place] = v.coder(name), v.dicts[name]
	}
	versions := map[[2]uint32]uint16{}
	var seen []*[256]bool // by version: the stages that its pathways were at

	v.eachMoves(t, at, moment{Query{AsOf: asOf}.asOf()}, func(p part, own []int) {
		opening := slices.IndexFunc(own, func(row int) bool { return kind[v.kindOf(p.other[row]&codesOf)] == moveOpened })
		head := own[max(opening, 0)]
		key := [2]uint32{scheme.code(p, head), versionOf.code(p, head)}
		n, ok := versions[key]
		if !ok {
			n = uint16(min(len(t.versions), math.MaxUint16))
			ver := version{scheme: v.dicts["scheme"][key[0]], version: v.dicts["scheme_version"][key[1]]}
			ver.rules, _ = schemes.Get(ver.scheme, ver.version)
			versions[key], t.versions, seen = n, append(t.versions, ver), append(seen, new([256]bool))
		}
		tr := track{pathway: v.subjects.text(p.subject[head]), person: p.group[head], version: n, first: uint32(len(t.moves))}
		if opening >= 0 {
			tr.opened = uint32(p.occurred(head) / 1000)
		}
		for place := range codes {
			tr.codes[place] = uint16(codes[place].code(p, head))
		}
		was := seen[n]
		for _, row := range own {
			m := move{
				at: uint32(p.occurred(row) / 1000), kind: kind[v.kindOf(p.other[row]&codesOf)],
				stage: stageOf[stage.code(p, row)], from: fromOf[from.code(p, row)], exit: exitOf[exit.code(p, row)],
			}
			was[m.stage] = true
			t.moves = append(t.moves, m)
		}
		tr.end = uint32(len(t.moves))
		t.list = append(t.list, tr)
	})
	t.stages, t.exits = stages.texts, exits.texts
	was := map[string]*[256]bool{}
	for n, ver := range t.versions {
		if was[ver.scheme] == nil {
			was[ver.scheme] = new([256]bool)
		}
		for i, yes := range seen[n] {
			was[ver.scheme][i] = was[ver.scheme][i] || yes
		}
	}
	for scheme, was := range was {
		t.plans[scheme] = newPlan(scheme, schemes, t.stages, was, at)
	}
	t.byPerson()
	return t
}

// eachMoves calls each with the rows of every pathway that are moves and count, in
// the pathway's own order.
func (v *view) eachMoves(t *tracks, at time.Time, m moment, each func(p part, own []int)) {
	var isMove [256]bool
	for k := range moveKinds {
		isMove[kindNumber[k]] = true
	}
	until, known, next := at.UnixMilli(), int64(math.MinInt64), int64(math.MaxInt64)
	var own []int
	for _, p := range v.parts {
		for i := p.from; i < p.to; i++ {
			if !isMove[v.kindOf(p.other[i]&codesOf)] || !m.knows(p.segment, i) {
				continue
			}
			known = max(known, p.recorded[i])
			if occurred := p.occurred(i); occurred > until {
				next = min(next, occurred)
				continue
			}
			if len(own) > 0 && (p.subject[own[0]] != p.subject[i] || p.group[own[0]] != p.group[i]) {
				each(p, own)
				own = own[:0]
			}
			own = append(own, i)
		}
		if len(own) > 0 {
			each(p, own)
			own = own[:0]
		}
	}
	if known > math.MinInt64 {
		t.known = time.UnixMilli(known).UTC()
	}
	if next < math.MaxInt64 {
		t.next = time.UnixMilli(next)
	}
}

func unixSeconds(at time.Time) uint32 { return uint32(min(max(at.Unix(), 0), math.MaxUint32)) }

// byPerson sorts the pathways by person, those of one person by id.
func (t *tracks) byPerson() {
	people := 0
	for _, tr := range t.list {
		people = max(people, int(tr.person)+1)
	}
	start := make([]uint32, people+1)
	for _, tr := range t.list {
		start[tr.person+1]++
	}
	for i := 1; i < len(start); i++ {
		start[i] += start[i-1]
	}
	next := slices.Clone(start)
	sorted := make([]track, len(t.list))
	for _, tr := range t.list {
		sorted[next[tr.person]] = tr
		next[tr.person]++
	}
	for p := range people {
		if own := sorted[start[p]:start[p+1]]; len(own) > 1 {
			slices.SortFunc(own, func(a, b track) int { return strings.Compare(a.pathway, b.pathway) })
		}
	}
	t.list = sorted
}

// newPlan puts the stages of a scheme in order.
func newPlan(scheme string, schemes reference.SchemeSet, stages []string, was *[256]bool, at time.Time) *plan {
	p := &plan{scheme: scheme}
	p.shown, _ = schemes.Current(scheme, at)
	var all []*reference.Scheme
	for _, s := range schemes.All() {
		if s.Code == scheme && s != p.shown {
			all = append(all, s)
		}
	}
	// Of what is not in force the latest comes first.
	slices.SortFunc(all, func(a, b *reference.Scheme) int {
		return cmp.Or(strings.Compare(b.ValidFrom, a.ValidFrom), strings.Compare(b.Version, a.Version))
	})
	if p.shown == nil && len(all) > 0 {
		p.shown = all[0]
	} else if p.shown != nil {
		all = append([]*reference.Scheme{p.shown}, all...)
	}
	add := func(l StageLabel) {
		if len(p.stages) < noPlace && !slices.ContainsFunc(p.stages, func(o StageLabel) bool { return o.Stage == l.Stage }) {
			p.stages = append(p.stages, l)
		}
	}
	for _, s := range all {
		for _, st := range s.Stages {
			add(StageLabel{Stage: st.Code, LabelFR: st.LabelFR, LabelAR: st.LabelAR, Optional: st.Optional})
		}
	}
	p.known = len(p.stages)
	var others []string
	for i, yes := range was {
		if yes && i < len(stages) && stages[i] != "" {
			others = append(others, stages[i])
		}
	}
	slices.Sort(others)
	for _, code := range others {
		label := StageLabel{Stage: code, LabelFR: code, LabelAR: code, Unknown: true}
		if code == Other {
			label.LabelFR, label.LabelAR = "Étape inconnue", "مرحلة غير معروفة"
		}
		add(label)
	}
	for i := range p.place {
		p.place[i] = noPlace
	}
	for i, code := range stages {
		if at := slices.IndexFunc(p.stages, func(l StageLabel) bool { return l.Stage == code }); at >= 0 {
			p.place[i] = uint8(at)
		}
	}
	return p
}

// labels are the scheme's names.
func (p *plan) labels() (fr, ar string) {
	if p.shown == nil {
		return p.scheme, p.scheme
	}
	return p.shown.LabelFR, p.shown.LabelAR
}

// target is the longest wished stay at a stage in days, nil when none is set.
func (p *plan) target(stage string) *int {
	if p.shown == nil {
		return nil
	}
	st, ok := p.shown.Stage(stage)
	if !ok {
		return nil
	}
	return st.TargetDays
}

// exitLabels are the names of an exit.
func (p *plan) exitLabels(code string) (fr, ar string) {
	if p.shown != nil {
		if e, ok := p.shown.Exit(code); ok {
			return e.LabelFR, e.LabelAR
		}
	}
	return code, code
}

// of are the moves of a pathway.
func (t *tracks) of(tr *track) []move { return t.moves[tr.first:tr.end] }

// code is one of the codes of a pathway's opening.
func (t *tracks) code(tr *track, name string) string {
	switch name {
	case "scheme":
		return t.versions[tr.version].scheme
	case "scheme_version":
		return t.versions[tr.version].version
	}
	place := codePlaces[name]
	return t.codes[place][tr.codes[place]]
}

// cell is one group of the table before anything is hidden.
type cell struct {
	cohort string
	codes  []string // one for each cut
	plan   *plan
	people tallied
	tracks int
	// wanted says that the query asks to see it; the others are there to find out
	// what must be hidden.
	wanted bool
}

// tallied counts different people, when those of one come one after the other.
type tallied struct{ n, last uint32 }

func (c *tallied) add(person uint32) {
	if c.last != person+1 {
		c.last = person + 1
		c.n++
	}
}

func (c tallied) count() int { return int(c.n) }

// table is the cells of a query, and in which of them each pathway is.
type table struct {
	*tracks
	by    []string
	cells []*cell
	of    []int32   // by pathway; noRow: in none
	lines [][]int32 // of each cell, see numberLines; nil: not numbered yet
}

// cohorts are the periods around the first and the last opening, and which of them
// are wanted. They begin and end a year outside, so that no cohort is cut.
func (t *tracks) cohorts(q PathwayQuery) (spans []period, wanted []bool, err error) {
	first, last := uint32(math.MaxUint32), uint32(0)
	for i := range t.list {
		if o := t.list[i].opened; o > 0 {
			first, last = min(first, o), max(last, o)
		}
	}
	if last == 0 {
		return nil, nil, nil
	}
	year := func(seconds uint32) int { return time.Unix(int64(seconds), 0).In(tunis).Year() }
	spans, err = periods(q.Cohort, fmt.Sprintf("%04d-01-01", year(first)-1), fmt.Sprintf("%04d-12-31", year(last)+1), t.season)
	if err != nil {
		return nil, nil, err
	}
	wanted = make([]bool, len(spans))
	for i, span := range spans {
		wanted[i] = (q.To.IsZero() || localDay(span.start) <= q.To.String()) && (q.From.IsZero() || localDay(span.end-1) >= q.From.String())
	}
	return spans, wanted, nil
}

// table sorts the pathways of the reader's scope into groups.
func (t *tracks) table(q PathwayQuery, by []string, scope map[string][]string) (*table, error) {
	out := &table{tracks: t, by: by, of: make([]int32, len(t.list))}
	spans, wantedSpan, err := t.cohorts(q)
	if err != nil {
		return nil, err
	}
	inScope := t.keeper(scope)
	filters := q.filters()
	places := map[string]int32{}
	type key struct {
		span    int32
		version uint16
		codes   [pathwayCodes]uint16
	}
	var cutPlaces []int
	for _, name := range out.by {
		if p, ok := codePlaces[name]; ok {
			cutPlaces = append(cutPlaces, p)
		}
	}
	numbers := map[key]int32{}
	for i := range t.list {
		tr := &t.list[i]
		out.of[i] = noRow
		if tr.opened == 0 || !inScope(tr) {
			continue
		}
		at := int64(tr.opened) * 1000
		n, _ := slices.BinarySearchFunc(spans, at, func(p period, at int64) int {
			switch {
			case p.end <= at:
				return -1
			case p.start > at:
				return 1
			}
			return 0
		})
		k := key{span: int32(n), version: tr.version}
		for _, p := range cutPlaces {
			k.codes[p] = tr.codes[p]
		}
		c, ok := numbers[k]
		if !ok {
			// Two keys may be one cell: versions of one scheme.
			codes := make([]string, len(out.by))
			wanted := wantedSpan[n]
			for d, name := range out.by {
				codes[d] = t.code(tr, name)
				if only, filtered := filters[name]; filtered && !slices.Contains(only, codes[d]) {
					wanted = false
				}
			}
			label := spans[n].label + "\x00" + strings.Join(codes, "\x00")
			c, ok = places[label]
			if !ok {
				c = int32(len(out.cells))
				places[label] = c
				out.cells = append(out.cells, &cell{cohort: spans[n].label, codes: codes, plan: t.plans[t.code(tr, "scheme")], wanted: wanted})
			}
			numbers[k] = c
		}
		out.cells[c].people.add(tr.person)
		out.cells[c].tracks++
		out.of[i] = c
	}
	if len(out.cells) > mostGroups {
		return nil, tooMuch("%d groups of pathways", len(out.cells))
	}
	out.sort()
	return out, nil
}

// mostGroups bounds one table.
const mostGroups = 20_000

// keeper tells whether a pathway has one of the codes in each dimension.
func (t *tracks) keeper(only map[string][]string) func(*track) bool {
	if len(only) == 0 {
		return func(*track) bool { return true }
	}
	return func(tr *track) bool {
		for name, codes := range only {
			if !slices.Contains(codes, t.code(tr, name)) {
				return false
			}
		}
		return true
	}
}

// sort puts the cells in the order in which they are shown, by cohort, then by
// codes, whatever came first: the same table must always hide the same.
func (t *table) sort() {
	order := make([]int, len(t.cells))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(t.cells[a].cohort, t.cells[b].cohort), slices.Compare(t.cells[a].codes, t.cells[b].codes))
	})
	cells, place := make([]*cell, len(order)), make([]int32, len(order))
	for i, was := range order {
		cells[i], place[was] = t.cells[was], int32(i)
	}
	t.cells = cells
	for i, was := range t.of {
		if was != noRow {
			t.of[i] = place[was]
		}
	}
}

// order lists the cells that are shown.
func (t *table) order() []int {
	shown := []int{}
	for i, c := range t.cells {
		if c.wanted {
			shown = append(shown, i)
		}
	}
	return shown
}

// group is what is told of a cell.
func (t *table) group(i int, hidden bool) PathwayGroup {
	c := t.cells[i]
	g := PathwayGroup{Cohort: c.cohort, Dimensions: map[string]string{}, Suppressed: hidden}
	for d, name := range t.by {
		if name == "scheme" {
			g.SchemeFR, g.SchemeAR = c.plan.labels()
		}
		g.Dimensions[name] = c.codes[d]
	}
	if !hidden {
		g.People, g.Pathways = new(c.people.count()), new(c.tracks)
	}
	return g
}

// pathwayScope is what the principal's figures of pathways are restricted to.
func pathwayScope(p access.Principal) map[string][]string {
	only := map[string][]string{}
	for name, codes := range map[string][]string{"governorate": p.Governorates, "scheme": p.Schemes} {
		if len(codes) > 0 {
			only[name] = codes
		}
	}
	return only
}
