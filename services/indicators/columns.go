package indicators

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Columns are all facts in memory. They are kept as columns of small numbers, and
// in them the facts of one person lie together, those of one subject in the
// subject's own order (segment.go). So whoever counts different people, or what is
// there at a date, walks through memory once, and needs to remember nothing but
// the person before.
//
// Facts that come in are pending until somebody asks, or they are many. Then all
// facts of those whom they are about are laid out anew, in an overlay in which
// these people have their facts instead of in the base. Once the overlay is large,
// it is merged into the base, beside the questions. Segments never change, so that
// a view taken at any moment stays as it was while facts keep coming.
type Columns struct {
	dims     dimensionSet
	fields   []string        // the dimensions that are kept
	season   string          // the day on which one begins, as MM-DD
	parts    []Part          // of the definitions, those that pick alike once
	declared map[string]bool // their keys
	// mergeAt is the number of rows from which the overlay is merged into the base.
	mergeAt int

	mu       sync.Mutex
	facts    idSet      // every fact that is here, in the order of arrival
	subjects idSet      // aggregates
	groups   idSet      // people, and the subjects that are about nobody
	firms    dictionary // employers; 0 is none
	dicts    map[string]*dictionary
	own      combinations      // of the person's codes
	other    combinations      // of the other codes and of the kind
	amounts  []amount          // that do not fit into a row
	amountOf map[amount]uint32 // their places
	groupOf  [][]uint32        // of each fact, its group, in chunks; ungrouped: it has no row

	pending [][]row // rows that are in no segment yet
	waiting int     // how many
	touched map[uint32]bool
	claims  map[string][]claim // by the id of the fact that is superseded
	fresh   map[uint32][]claim // by arrival: claims that are in no segment yet
	until   map[uint32]int64   // by arrival: when a row was superseded

	base, merging, overlay *segment
	last                   *view // the last view that was taken
	bySource               []SourceCount
}

// ungrouped is the group of a fact that is not counted: it takes away another, or
// was written by a newer program.
const ungrouped = math.MaxUint32

// claim is a fact that supersedes another one of the same subject.
type claim struct {
	by       uint32 // its arrival
	subject  uint32
	recorded int64
}

// amount is what a fact has of numbers, and its employer.
type amount struct {
	hasTerms, hasStay bool
	terms             Terms
	stay              int64
	employer          uint32
}

// SourceCount says what came from one topic.
type SourceCount struct {
	Topic        string
	Facts        int64
	LastRecorded time.Time // the latest recorded_at; zero: no fact yet
	LastOccurred time.Time // the latest occurred_at
}

// dictionary numbers texts in the order in which they come, from 0.
type dictionary struct {
	codes map[string]uint32
	texts []string
}

func (d *dictionary) number(text string) uint32 {
	n, ok := d.codes[text]
	if !ok {
		if d.codes == nil {
			d.codes = map[string]uint32{}
		}
		n = uint32(len(d.texts))
		text = strings.Clone(text)
		d.codes[text] = n
		d.texts = append(d.texts, text)
	}
	return n
}

// combinations numbers the combinations of codes that there are. They are few,
// however many facts have them, so that a question is put to each of them once.
type combinations struct {
	fields []string // of each, in this order
	of     map[string]uint32
	codes  []uint32 // len(fields) for each combination
	key    []byte
}

func (c *combinations) number(codes []uint32) uint32 {
	c.key = c.key[:0]
	for _, code := range codes {
		c.key = binary.LittleEndian.AppendUint32(c.key, code)
	}
	n, ok := c.of[string(c.key)]
	if !ok {
		n = uint32(len(c.of))
		c.of[string(c.key)] = n
		c.codes = append(c.codes, codes...)
	}
	return n
}

// kindNumber gives each kind its place in kinds().
var kindNumber = func() map[Kind]uint8 {
	m := map[Kind]uint8{}
	for i, k := range kinds() {
		m[k] = uint8(i)
	}
	return m
}()

// allKinds are kinds().
var allKinds = kinds()

// sourceOf gives each kind the place of its topic in sources.
var sourceOf = func() map[Kind]int {
	m := map[Kind]int{}
	for i, s := range sources {
		for _, k := range s.Kinds {
			m[k] = i
		}
	}
	return m
}()

// SeasonStarts says on which day a season begins, as MM-DD. It is set before
// there are facts.
func (c *Columns) SeasonStarts(day string) { c.season = day }

// ownFields are the codes that describe a person, each of a closed list: their
// combinations are far less than a row's 16 bits can number.
var ownFields = []string{"governorate", "sex", "age"}

const (
	mostOwn     = 1 << 16
	leastMerge  = 4096    // rows of an overlay
	baseShare   = 64      // an overlay of this share of the base is merged into it
	mostPending = 4096    // facts, while views are taken
	rowChunk    = 1 << 14 // rows of pending
)

// NewColumns makes room for facts, with the codes that the definitions and the
// journeys use.
func NewColumns(dims []Dimension, defs Definitions) *Columns {
	c := &Columns{
		dims: newDimensionSet(dims), mergeAt: leastMerge, dicts: map[string]*dictionary{}, amountOf: map[amount]uint32{},
		own: combinations{of: map[string]uint32{}}, other: combinations{of: map[string]uint32{}, fields: []string{KindName}},
		touched: map[uint32]bool{}, claims: map[string][]claim{}, fresh: map[uint32][]claim{}, until: map[uint32]int64{},
		base: &segment{}, overlay: &segment{}, declared: map[string]bool{},
	}
	used := map[string]bool{}
	for _, d := range defs {
		for _, name := range d.Columns() {
			used[name] = true
		}
		for _, p := range d.Parts() {
			if key := p.key(); !c.declared[key] {
				c.declared[key], c.parts = true, append(c.parts, p)
			}
		}
	}
	for _, name := range journeyCodes {
		used[name] = true
	}
	combos := 1
	for name := range used {
		c.fields = append(c.fields, name)
	}
	slices.Sort(c.fields)
	for _, name := range c.fields {
		c.dicts[name] = &dictionary{}
		size := len(c.dims[name].Codes) + 2
		if slices.Contains(ownFields, name) && c.dims[name].Codes != nil && combos*size < mostOwn {
			combos *= size
			c.own.fields = append(c.own.fields, name)
		} else {
			c.other.fields = append(c.other.fields, name)
		}
	}
	c.firms.number("")
	for _, s := range sources {
		c.bySource = append(c.bySource, SourceCount{Topic: s.Topic})
	}
	return c
}

// Add appends the fact, unless it is here already: it says whether it was new.
func (c *Columns) Add(f Fact) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	arrival, fresh := c.facts.number(f.ID)
	if !fresh {
		return false
	}
	subject, _ := c.subjects.number(f.Subject)
	if f.Supersedes != "" && f.Supersedes != f.ID {
		by := claim{arrival, subject, f.RecordedAt.UnixMilli()}
		id := strings.Clone(f.Supersedes)
		c.claims[id] = append(c.claims[id], by)
		if n, here := c.facts.find(id); here && c.group(n) != ungrouped {
			c.fresh[n] = append(c.fresh[n], by)
			c.touched[c.group(n)] = true
		}
	}
	kind, known := kindNumber[f.Kind]
	group := uint32(ungrouped)
	if known && f.Kind != Retracted {
		r := c.row(&f, kind, subject, arrival)
		group = r.group
		c.touched[group] = true
		if len(c.pending) == 0 || len(c.pending[len(c.pending)-1]) == rowChunk {
			c.pending = append(c.pending, make([]row, 0, rowChunk))
		}
		last := &c.pending[len(c.pending)-1]
		*last = append(*last, r)
		c.waiting++
		if claims := c.claims[f.ID]; len(claims) > 0 {
			c.fresh[arrival] = slices.Clone(claims)
		}
	}
	if arrival%idChunk == 0 {
		c.groupOf = append(c.groupOf, make([]uint32, 0, idChunk))
	}
	chunk := &c.groupOf[len(c.groupOf)-1]
	*chunk = append(*chunk, group)
	if !known {
		return true // written by a newer program; this one has no figure for it
	}
	s := &c.bySource[sourceOf[f.Kind]]
	s.Facts++
	if f.RecordedAt.After(s.LastRecorded) {
		s.LastRecorded = f.RecordedAt
	}
	if f.OccurredAt.After(s.LastOccurred) {
		s.LastOccurred = f.OccurredAt
	}
	if c.last != nil && c.waiting >= mostPending {
		c.lay()
	}
	return true
}

func (c *Columns) group(arrival uint32) uint32 { return c.groupOf[arrival/idChunk][arrival%idChunk] }

// row is the fact in numbers.
func (c *Columns) row(f *Fact, kind uint8, subject, arrival uint32) row {
	r := row{subject: subject, arrival: arrival, recorded: f.RecordedAt.UnixMilli(), seq: uint32(min(max(f.Seq, 0), math.MaxUint32))}
	r.day, r.instant = dayNumber(f.OccurredAt.UnixMilli())
	var codes [32]uint32
	list := codes[:0]
	for _, name := range c.own.fields {
		list = append(list, c.dicts[name].number(c.dims[name].Clean(f.Code(name))))
	}
	r.own = uint16(c.own.number(list))
	list = append(codes[:0], uint32(kind))
	for _, name := range c.other.fields[1:] {
		list = append(list, c.dicts[name].number(c.dims[name].Clean(f.Code(name))))
	}
	r.other = c.other.number(list)
	if f.Person == "" {
		r.group, _ = c.groups.number(f.Subject)
		r.other |= aboutNobody
	} else {
		r.group, _ = c.groups.number(f.Person)
	}
	r.amount = noAmount
	if f.Stay != nil && *f.Stay >= 0 && *f.Stay < amountPlace && f.Terms == nil && f.Employer == "" {
		r.amount = uint32(*f.Stay)
	} else if f.Stay != nil || f.Terms != nil || f.Employer != "" {
		a := amount{employer: c.firms.number(f.Employer)}
		if f.Stay != nil {
			a.hasStay, a.stay = true, *f.Stay
		}
		if f.Terms != nil {
			a.hasTerms, a.terms = true, *f.Terms
		}
		place, ok := c.amountOf[a]
		if !ok {
			place = uint32(len(c.amounts))
			c.amounts = append(c.amounts, a)
			c.amountOf[a] = place
		}
		r.amount = amountPlace | place
	}
	return r
}

// Has says whether the fact with this id is here.
func (c *Columns) Has(id string) bool {
	_, here := c.arrival(id)
	return here
}

// arrival is the place of a fact in the order in which they came.
func (c *Columns) arrival(id string) (n int, here bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, here := c.facts.find(id)
	return int(found), here
}

// Len says how many facts there are.
func (c *Columns) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.facts.n)
}

// Sources says what came from each topic.
func (c *Columns) Sources() []SourceCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.bySource)
}

// View is the facts of this moment, ready to be asked.
func (c *Columns) View() *view {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view()
}

func (c *Columns) view() *view {
	if c.last != nil && c.last.facts == int(c.facts.n) {
		return c.last
	}
	c.lay()
	c.last = c.viewOf(c.base, c.merging, c.overlay)
	return c.last
}

// viewOf is a view of some segments.
func (c *Columns) viewOf(segments ...*segment) *view {
	v := &view{
		facts: int(c.facts.n), season: c.season, amounts: c.amounts, dicts: map[string][]string{}, declared: c.declared,
		own: c.own.fields, ownCodes: c.own.codes, other: c.other.fields, otherCodes: c.other.codes,
		ids: c.facts.names(), subjects: c.subjects.names(), bySource: slices.Clone(c.bySource),
	}
	for name, d := range c.dicts {
		v.dicts[name] = d.texts
	}
	for _, s := range segments {
		if s != nil && s.rows() > 0 {
			v.segments = append(v.segments, s)
		}
	}
	v.shareOut()
	return v
}

// lay brings the pending facts into the overlay, or the first ones into the base.
func (c *Columns) lay() {
	if c.waiting == 0 && len(c.touched) == 0 {
		return
	}
	rows := c.pending
	if c.base.rows() > 0 {
		var before []row
		for g := range c.touched {
			for _, s := range []*segment{c.overlay, c.merging, c.base} {
				if s == nil {
					continue
				}
				if from, to := s.find(g); from < to {
					before = s.appendRows(before, from, to)
					break
				}
			}
		}
		rows = append(rows, before)
	}
	s := layOut(rows, int(c.groups.n), c.facts.names(), c.fresh, c.until)
	c.pending, c.waiting = nil, 0
	clear(c.touched)
	clear(c.fresh)
	if c.base.rows() == 0 {
		c.base = s
		c.viewOf(s).prepare(s, c.parts)
		return
	}
	c.overlay = merge(c.overlay, s)
	if c.overlay.rows() < max(c.mergeAt, c.base.rows()/baseShare) || c.merging != nil {
		return
	}
	base, over := c.base, c.overlay
	c.merging, c.overlay = over, &segment{}
	go func() {
		both := merge(base, over)
		c.mu.Lock()
		v := c.viewOf(both)
		c.mu.Unlock()
		v.prepare(both, c.parts)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.base, c.merging = both, nil
	}()
}
