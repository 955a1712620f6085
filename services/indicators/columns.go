package indicators

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Columns are all facts in memory: one slice for each attribute, codes as small
// numbers into a dictionary. Rows are only ever appended, so that a view taken
// at any moment stays as it was while facts keep coming.
type Columns struct {
	dims  dimensionSet
	names []string // the dimensions that are kept, in the order of codes

	mu       sync.Mutex
	known    map[string]int // the row of each fact that is here; noRow of one that is not counted
	subjects dictionary
	people   dictionary
	firms    dictionary         // employers
	dicts    []dictionary       // one for each of names
	facts    view               // the rows; its order may be behind
	last     *view              // the last view that was taken
	claims   map[string][]claim // by the id of the fact that is superseded
	until    map[uint32]int64   // of superseded rows, when
	bySource []SourceCount
}

// claim is a fact that supersedes another one of the same subject.
type claim struct {
	subject  uint32
	recorded int64
}

// SourceCount says what came from one topic.
type SourceCount struct {
	Topic        string
	Facts        int64
	LastRecorded time.Time // the latest recorded_at; zero: no fact yet
	LastOccurred time.Time // the latest occurred_at
}

// absent is the number of a fact that has none.
const absent = math.MinInt64

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

// view is the facts as they stood at one moment. Nobody writes to it.
type view struct {
	id       []string
	kind     []uint8
	subject  []uint32
	person   []uint32 // 0: nobody
	employer []uint32 // 0: none
	seq      []int64
	occurred []int64 // Unix milliseconds
	recorded []int64 // Unix milliseconds
	// until says of rows that were superseded when that was recorded, in Unix
	// milliseconds.
	until      map[uint32]int64
	codes      map[string][]uint32
	numbers    map[string][]int64
	texts      map[string][]string // the dictionaries of codes
	subjects   int                 // how many there are
	subjectIDs []string            // by number
	season     string              // the day on which one begins, as MM-DD
	order      []uint32            // rows by occurred, then by row
}

// kindNumber gives each kind its place in kinds().
var kindNumber = func() map[Kind]uint8 {
	m := map[Kind]uint8{}
	for i, k := range kinds() {
		m[k] = uint8(i)
	}
	return m
}()

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
func (c *Columns) SeasonStarts(day string) { c.facts.season = day }

// NewColumns makes room for facts, with the codes that the definitions use.
func NewColumns(dims []Dimension, defs Definitions) *Columns {
	c := &Columns{dims: newDimensionSet(dims), known: map[string]int{}}
	used := map[string]bool{}
	for _, d := range defs {
		for _, name := range d.Columns() {
			used[name] = true
		}
	}
	for _, d := range dims {
		if used[d.Code] && !slices.Contains(journeyCodes, d.Code) {
			c.names = append(c.names, d.Code)
		}
	}
	c.names = append(c.names, journeyCodes...)
	c.dicts = make([]dictionary, len(c.names))
	c.facts.codes, c.facts.numbers = map[string][]uint32{}, map[string][]int64{}
	c.people.number("") // 0 is nobody
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
	if _, here := c.known[f.ID]; here {
		return false
	}
	id := strings.Clone(f.ID)
	kind, ok := kindNumber[f.Kind]
	if !ok {
		c.known[id] = int(noRow)
		return true // written by a newer program; this one has no figure for it
	}
	c.known[id] = len(c.facts.id)
	v := &c.facts
	v.id = append(v.id, id)
	v.kind = append(v.kind, kind)
	v.subject = append(v.subject, c.subjects.number(f.Subject))
	v.person = append(v.person, c.people.number(f.Person))
	v.employer = append(v.employer, c.firms.number(f.Employer))
	v.seq = append(v.seq, f.Seq)
	v.occurred = append(v.occurred, f.OccurredAt.UnixMilli())
	v.recorded = append(v.recorded, f.RecordedAt.UnixMilli())
	row := uint32(len(v.id) - 1)
	for _, by := range c.claims[id] {
		c.supersede(row, by)
	}
	if f.Supersedes != "" {
		by := claim{v.subject[row], f.RecordedAt.UnixMilli()}
		if c.claims == nil {
			c.claims = map[string][]claim{}
		}
		c.claims[strings.Clone(f.Supersedes)] = append(c.claims[f.Supersedes], by)
		if at, here := c.known[f.Supersedes]; here && at != int(noRow) && f.Supersedes != f.ID {
			c.supersede(uint32(at), by)
		}
	}
	for i, name := range c.names {
		v.codes[name] = append(v.codes[name], c.dicts[i].number(c.dims[name].Clean(f.Code(name))))
	}
	for _, name := range numbers {
		n, ok := f.Number(name)
		if !ok {
			n = absent
		}
		v.numbers[name] = append(v.numbers[name], n)
	}
	s := &c.bySource[sourceOf[f.Kind]]
	s.Facts++
	if f.RecordedAt.After(s.LastRecorded) {
		s.LastRecorded = f.RecordedAt
	}
	if f.OccurredAt.After(s.LastOccurred) {
		s.LastOccurred = f.OccurredAt
	}
	return true
}

// supersede notes that a row counts no more from a moment on; the first such
// moment counts.
func (c *Columns) supersede(row uint32, by claim) {
	if c.facts.subject[row] != by.subject {
		return
	}
	if until, already := c.until[row]; already && until <= by.recorded {
		return
	}
	if c.until == nil {
		c.until = map[uint32]int64{}
	}
	c.until[row] = by.recorded
}

// Has says whether the fact with this id is here.
func (c *Columns) Has(id string) bool {
	_, here := c.rowOf(id)
	return here
}

func (c *Columns) rowOf(id string) (row int, here bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row, here = c.known[id]
	return row, here
}

// Len says how many facts there are.
func (c *Columns) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
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
	if c.last != nil && len(c.last.id) == len(c.facts.id) {
		return c.last
	}
	c.sortRows()
	v := c.facts // the slices' present lengths; later appends are beyond them
	v.codes, v.numbers, v.texts = map[string][]uint32{}, map[string][]int64{}, map[string][]string{}
	for i, name := range c.names {
		v.codes[name], v.texts[name] = c.facts.codes[name], c.dicts[i].texts
	}
	for _, name := range numbers {
		v.numbers[name] = c.facts.numbers[name]
	}
	v.subjects, v.subjectIDs = len(c.subjects.texts), c.subjects.texts
	v.until = maps.Clone(c.until)
	c.last = &v
	return &v
}

// sortRows brings the order up to date: the new rows are sorted and merged into a
// new slice, so that older views keep theirs.
func (c *Columns) sortRows() {
	v := &c.facts
	tail := make([]uint32, 0, len(v.id)-len(v.order))
	for r := len(v.order); r < len(v.id); r++ {
		tail = append(tail, uint32(r))
	}
	before := func(a, b uint32) int {
		return cmp.Or(cmp.Compare(v.occurred[a], v.occurred[b]), cmp.Compare(a, b))
	}
	slices.SortFunc(tail, before)
	merged := make([]uint32, 0, len(v.id))
	head := v.order
	for len(head) > 0 && len(tail) > 0 {
		if before(head[0], tail[0]) <= 0 {
			merged, head = append(merged, head[0]), head[1:]
		} else {
			merged, tail = append(merged, tail[0]), tail[1:]
		}
	}
	v.order = append(append(merged, head...), tail...)
}

// since is the place in order of the first row that occurred at ms or later.
func (v *view) since(ms int64) int {
	return sort.Search(len(v.order), func(i int) bool { return v.occurred[v.order[i]] >= ms })
}

// later says whether row a of a subject comes after row b in the subject's own
// history: by sequence, whatever the dates say, for the aggregate decided in
// that order; dates and ids settle what the sequence leaves open.
func (v *view) later(a, b int32) bool {
	return cmp.Or(
		cmp.Compare(v.seq[a], v.seq[b]),
		cmp.Compare(v.occurred[a], v.occurred[b]),
		strings.Compare(v.id[a], v.id[b]),
	) > 0
}
