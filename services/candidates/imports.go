package candidates

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// Limits of an import: rows of one request, and how many people are written at
// the same time (writes at the same time share one flush to the disk).
const (
	maxRows    = 500
	concurrent = 16
)

// Outcome says what became of a row.
type Outcome string

// Outcomes.
const (
	Created   Outcome = "created"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Refused   Outcome = "refused"
)

// RowResult is the answer to one row.
type RowResult struct {
	Index   int         `json:"index"`
	Outcome Outcome     `json:"outcome"`
	ID      string      `json:"id,omitempty"`
	Fields  []api.Field `json:"fields,omitempty"`
}

// ImportResult is the answer to an import: one result for each row, in order.
type ImportResult struct {
	Rows   []RowResult `json:"rows"`
	DryRun bool        `json:"dry_run"`
}

// Rows are the rows of an import as they came. Each is read by itself, so that
// one that is damaged does not stop the others.
type Rows []json.RawMessage

// UnmarshalJSON takes an array and leaves its elements unread.
func (r *Rows) UnmarshalJSON(data []byte) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return api.Field{Code: "type", Reason: "an array of candidate records expected"}
	}
	if len(rows) > maxRows {
		return api.Field{Code: "too_many", Reason: "at most 500 rows in one request: send the rest in another"}
	}
	*r = rows
	return nil
}

// decodeRecord reads one record and reports everything that is wrong with it.
// Empty texts count as not given: in a list an empty cell says nothing.
func decodeRecord(data []byte, jobs *reference.Occupations) (*Record, []api.Field) {
	rec := &Record{}
	if err := api.Decode(data, rec); err != nil {
		var problem *api.Error
		if errors.As(err, &problem) && len(problem.Fields) > 0 {
			return nil, problem.Fields
		}
		detail := "not a JSON object"
		if problem != nil {
			detail = problem.Detail
		}
		return nil, []api.Field{{Path: "", Code: "malformed", Reason: detail}}
	}
	rec.dropBlanks()
	if fields := rec.clean(jobs); len(fields) > 0 {
		return nil, fields
	}
	return rec, nil
}

// row is one readable row of an import.
type row struct {
	index int // in the request
	rec   *Record
	ids   []string                   // under which the person is looked for
	found []*docstore.Doc[Candidate] // who has one of them in the store
}

// Import implements Service.
func (s *service) Import(ctx context.Context, req ImportRequest) (ImportResult, error) {
	res := ImportResult{Rows: make([]RowResult, len(req.Rows)), DryRun: req.DryRun}
	now := s.clock()
	var rows []row
	for i, raw := range req.Rows {
		r, refused := s.read(raw, now)
		if refused != nil {
			res.Rows[i] = RowResult{Index: i, Outcome: Refused, Fields: refused}
			continue
		}
		r.index = i
		rows = append(rows, r)
	}
	// An error from here on is never about a row: the store is not there, say.
	// Rows that were written stay; sending all of them again is safe.
	if err := together(ctx, len(rows), func(ctx context.Context, i int) error { return s.look(ctx, rows[i:i+1]) }); err != nil {
		return ImportResult{}, err
	}
	groups := byPerson(rows)
	err := together(ctx, len(groups), func(ctx context.Context, i int) error {
		results, err := s.place(ctx, groups[i], req.DryRun, now)
		for _, r := range results {
			res.Rows[r.Index] = r
		}
		return err
	})
	if err != nil {
		return ImportResult{}, err
	}
	return res, nil
}

// together does n things, several at the same time, until one fails.
func together(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(concurrent)
	for i := range n {
		work.Go(func() error { return do(ctx, i) })
	}
	return work.Wait()
}

// Place implements Service.
func (s *service) Place(ctx context.Context, record []byte) (RowResult, error) {
	now := s.clock()
	r, refused := s.read(record, now)
	if refused != nil {
		return RowResult{Outcome: Refused, Fields: refused}, nil
	}
	rows := []row{r}
	if err := s.look(ctx, rows); err != nil {
		return RowResult{}, err
	}
	results, err := s.place(ctx, rows, false, now)
	if err != nil {
		return RowResult{}, err
	}
	return results[0], nil
}

// read decodes a row and finds out under which identities to look for the person.
func (s *service) read(raw []byte, now time.Time) (row, []api.Field) {
	rec, fields := decodeRecord(raw, s.jobs)
	if fields != nil {
		return row{}, fields
	}
	alone := Candidate{}.with(rec)
	if !given(rec.NationalID) && !given(rec.Passport) && !given(rec.Ref) {
		// Without any number the person is who the names, birth and governorate
		// say, so none of these may be missing.
		if fields := alone.check(now); len(fields) > 0 {
			return row{}, fields
		}
	}
	return row{rec: rec, ids: s.vault.ring.identities(&alone, nil, rec.NationalID, rec.Passport)}, nil
}

// look finds who of the store the rows may be about.
func (s *service) look(ctx context.Context, rows []row) error {
	for i := range rows {
		found, err := s.identified(ctx, rows[i].ids)
		if err != nil {
			return err
		}
		rows[i].found = found
	}
	return nil
}

// byPerson groups rows that share an identity, directly, through others or
// through people of the store; each group in the order of the rows. Groups can
// be written at the same time, rows of one group cannot.
func byPerson(rows []row) [][]row {
	parent := make([]int, len(rows))
	var root func(int) int
	root = func(i int) int {
		if parent[i] != i {
			parent[i] = root(parent[i])
		}
		return parent[i]
	}
	first := map[string]int{} // the first row of an identity
	for i, r := range rows {
		parent[i] = i
		links := slices.Clone(r.ids)
		for _, d := range r.found {
			links = append(links, d.Body.Identity...)
		}
		for _, id := range links {
			if j, seen := first[id]; seen {
				a, b := root(i), root(j)
				parent[max(a, b)] = min(a, b)
			} else {
				first[id] = i
			}
		}
	}
	groups := map[int][]row{}
	for i, r := range rows {
		groups[root(i)] = append(groups[root(i)], r)
	}
	out := make([][]row, 0, len(groups))
	for _, i := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, groups[i])
	}
	return out
}

// place plans what the rows of a group do and writes it, unless it is only to be
// tried. It begins again when somebody else wrote one of the people meanwhile.
func (s *service) place(ctx context.Context, rows []row, dry bool, now time.Time) ([]RowResult, error) {
	const tries = 5
	var err error
	for range tries {
		p := newPlan(s.vault.ring, access.From(ctx), rows, now)
		if dry {
			return p.results(), nil
		}
		if err = s.commit(ctx, p); err == nil {
			return p.results(), nil
		}
		if !errors.Is(err, errMeanwhile) {
			return nil, err
		}
		if err := s.look(ctx, rows); err != nil {
			return nil, err
		}
	}
	return nil, api.Unavailable("The same people are being written by others: send the rows again.").Because(err)
}

var errMeanwhile = errors.New("candidates: somebody else wrote the person meanwhile")

// plan is what the rows of a group will do, worked out before anything is
// written: each person is written once or, when all rows together change
// nothing, not at all. That is what makes the same rows again a no-op, even
// where they contradict each other.
type plan struct {
	ring   *Keyring
	who    access.Principal
	now    time.Time
	rows   []row
	people []*planned
	result []RowResult // one for each row
	whose  []*planned  // one for each row, nil when it is refused
}

// planned is one person of a plan.
type planned struct {
	id      string
	before  *docstore.Doc[Candidate] // nil for a new person
	after   Candidate
	numbers Record // the identity numbers that rows gave last
	written bool
}

func newPlan(ring *Keyring, who access.Principal, rows []row, now time.Time) *plan {
	p := &plan{ring: ring, who: who, now: now, rows: rows, result: make([]RowResult, len(rows)), whose: make([]*planned, len(rows))}
	// A row may be refused only because a later one makes the person known.
	// Sent again it would be accepted: so it is now, by going over the rows
	// until no other is accepted.
	refused := -1
	for range len(rows) + 1 {
		before := refused
		refused = 0
		for i := range rows {
			p.add(i)
			if p.whose[i] == nil {
				refused++
			}
		}
		if refused == 0 || refused == before {
			break
		}
	}
	return p
}

// add plans one row.
func (p *plan) add(i int) {
	r := p.rows[i]
	outcome := p.result[i].Outcome // of the pass before, if any
	person, fields := p.person(r)
	if fields == nil && person == nil {
		person, fields = p.create(r)
		outcome = Created
	} else if fields == nil {
		var changed bool
		changed, fields = p.update(person, r)
		switch {
		case outcome == Created || outcome == Updated:
		case changed:
			outcome = Updated
		default:
			outcome = Unchanged
		}
	}
	if fields != nil {
		p.whose[i], p.result[i] = nil, RowResult{Index: r.index, Outcome: Refused, Fields: fields}
		return
	}
	if given(r.rec.NationalID) {
		person.numbers.NationalID = r.rec.NationalID
	}
	if given(r.rec.Passport) {
		person.numbers.Passport = r.rec.Passport
	}
	p.whose[i], p.result[i] = person, RowResult{Index: r.index, Outcome: outcome, ID: person.id}
}

// person finds whom a row is about: nil when nobody is known under any of its
// identities.
func (p *plan) person(r row) (*planned, []api.Field) {
	var about []*planned
	meet := func(person *planned) {
		if !slices.Contains(about, person) {
			about = append(about, person)
		}
	}
	for _, person := range p.people {
		if slices.ContainsFunc(r.ids, func(id string) bool { return slices.Contains(person.after.Identity, id) }) {
			meet(person)
		}
	}
	for _, d := range r.found {
		i := slices.IndexFunc(p.people, func(person *planned) bool { return person.id == d.ID })
		if i < 0 {
			i = len(p.people)
			p.people = append(p.people, &planned{id: d.ID, before: d, after: d.Body})
		}
		meet(p.people[i])
	}
	switch len(about) {
	case 0:
		return nil, nil
	case 1:
		return about[0], nil
	}
	return nil, wrongField("", "identity_conflict", "the numbers belong to two different people who are both registered")
}

func (p *plan) create(r row) (*planned, []api.Field) {
	c := Candidate{}.with(r.rec)
	if fields := c.check(p.now); len(fields) > 0 {
		return nil, fields
	}
	if !p.who.Covers(c.Governorate, "") {
		return nil, wrongField("governorate", "scope", "this governorate is outside your scope")
	}
	c.Identity = r.ids
	person := &planned{id: newID(p.now), after: c}
	p.people = append(p.people, person)
	return person, nil
}

func (p *plan) update(person *planned, r row) (changed bool, fields []api.Field) {
	if !p.who.Covers(person.after.Governorate, "") {
		return false, wrongField("", "scope", "the person is registered outside your scope")
	}
	if kind, yes := contradicts(person.after.Identity, r.ids); yes {
		path := map[string]string{byNationalID: "national_id", byPassport: "passport"}[kind]
		return false, wrongField(path, "identity_conflict", "the person is registered with another number; correct the record by hand")
	}
	next := person.after.with(r.rec)
	if fields := next.check(p.now); len(fields) > 0 {
		return false, fields
	}
	if !p.who.Covers(next.Governorate, "") {
		return false, wrongField("governorate", "scope", "this governorate is outside your scope")
	}
	next.Identity = p.ring.identities(&next, person.after.Identity, r.rec.NationalID, r.rec.Passport)
	changed = !next.same(person.after)
	person.after = next
	return changed, nil
}

func wrongField(path, code, reason string) []api.Field {
	return []api.Field{{Path: path, Code: code, Reason: reason}}
}

// idle says that nothing of a person changes, all rows taken together.
func (p *planned) idle() bool { return p.before != nil && p.after.same(p.before.Body) }

// results are the answers to the rows.
func (p *plan) results() []RowResult {
	for i, person := range p.whose {
		switch {
		case person == nil:
		case person.idle():
			p.result[i].Outcome = Unchanged
		case person.before == nil && !person.written:
			p.result[i].ID = "" // a dry run: nobody has this id
		}
	}
	return p.result
}

// commit writes the people of a plan.
func (s *service) commit(ctx context.Context, p *plan) error {
	for _, person := range p.people {
		if person.idle() {
			continue
		}
		var err error
		if person.before == nil {
			_, err = s.insert(ctx, person.id, person.after, &person.numbers, p.now)
		} else {
			err = s.overwrite(ctx, person, p.now)
		}
		if errors.Is(err, docstore.ErrExists) || errors.Is(err, docstore.ErrNotFound) {
			return errMeanwhile
		}
		if err != nil {
			return err
		}
		person.written = true
	}
	return nil
}

func (s *service) overwrite(ctx context.Context, person *planned, now time.Time) error {
	seal, err := s.sealer(ctx, person.id, &person.numbers, now)
	if err != nil {
		return err
	}
	_, err = s.candidates.Update(ctx, person.id, func(d *docstore.Doc[Candidate]) error {
		if d.Version != person.before.Version {
			return errMeanwhile
		}
		next := person.after
		if err := seal(&next, d.Body.Identity); err != nil {
			return err
		}
		return write(ctx, d, next, now)
	})
	return err
}
