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
func decodeRecord(data []byte) (*Record, []api.Field) {
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
	if fields := rec.clean(); len(fields) > 0 {
		return nil, fields
	}
	return rec, nil
}

// draft is the register as a dry run would have left it: what earlier rows of
// the same person would have written, by identity.
type draft map[string]*docstore.Doc[Candidate]

// row is one readable row of an import.
type row struct {
	index int
	rec   *Record
	ids   []string // under which the person is looked for
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
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(concurrent)
	for _, person := range byPerson(rows) {
		work.Go(func() error {
			var d draft
			if req.DryRun {
				d = draft{}
			}
			for _, r := range person {
				result, err := s.place(ctx, r, d, now)
				if err != nil {
					return err
				}
				result.Index = r.index
				res.Rows[r.index] = result
			}
			return nil
		})
	}
	// An error here is never about a row: the store is not there, say. Rows that
	// were written stay; sending all of them again is safe.
	if err := work.Wait(); err != nil {
		return ImportResult{}, err
	}
	return res, nil
}

// Place implements Service.
func (s *service) Place(ctx context.Context, record []byte) (RowResult, error) {
	now := s.clock()
	r, refused := s.read(record, now)
	if refused != nil {
		return RowResult{Outcome: Refused, Fields: refused}, nil
	}
	return s.place(ctx, r, nil, now)
}

// read decodes a row and finds out under which identities to look for the person.
func (s *service) read(raw []byte, now time.Time) (row, []api.Field) {
	rec, fields := decodeRecord(raw)
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

// byPerson groups rows that share an identity, directly or through others, each
// group in the order of the rows. Groups can be written at the same time; rows
// of one group cannot.
func byPerson(rows []row) [][]row {
	parent := make([]int, len(rows))
	var find func(int) int
	find = func(i int) int {
		if parent[i] != i {
			parent[i] = find(parent[i])
		}
		return parent[i]
	}
	first := map[string]int{} // the first row of an identity
	for i, r := range rows {
		parent[i] = i
		for _, id := range r.ids {
			if j, seen := first[id]; seen {
				a, b := find(i), find(j)
				parent[max(a, b)] = min(a, b)
			} else {
				first[id] = i
			}
		}
	}
	groups := map[int][]row{}
	for i, r := range rows {
		root := find(i)
		groups[root] = append(groups[root], r)
	}
	out := make([][]row, 0, len(groups))
	for _, root := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, groups[root])
	}
	return out
}

// place registers the person of a row, or updates them. With a draft nothing is
// written but the draft.
func (s *service) place(ctx context.Context, r row, d draft, now time.Time) (RowResult, error) {
	const tries = 3 // somebody else may register the person between look-up and write
	var err error
	for range tries {
		var found []*docstore.Doc[Candidate]
		if found, err = s.known(ctx, r.ids, d); err != nil {
			return RowResult{}, err
		}
		var result RowResult
		switch len(found) {
		case 0:
			result, err = s.placeNew(ctx, r, d, now)
		case 1:
			result, err = s.placeKnown(ctx, r, found[0], d, now)
		default:
			return refuse("", "identity_conflict", "the numbers belong to two different people who are both registered"), nil
		}
		if !errors.Is(err, docstore.ErrExists) && !errors.Is(err, docstore.ErrNotFound) {
			return result, err
		}
	}
	if errors.Is(err, docstore.ErrExists) {
		return refuse("", "identity_conflict", "another person has one of these identities"), nil
	}
	return RowResult{}, err
}

func (s *service) known(ctx context.Context, ids []string, d draft) ([]*docstore.Doc[Candidate], error) {
	found, err := s.identified(ctx, ids)
	if err != nil || d == nil {
		return found, err
	}
	// The draft knows better than the store.
	for i, doc := range found {
		for _, drafted := range d {
			if drafted.ID == doc.ID {
				found[i] = drafted
			}
		}
	}
	for _, id := range ids {
		if doc, ok := d[id]; ok && !slices.ContainsFunc(found, func(f *docstore.Doc[Candidate]) bool { return f.ID == doc.ID }) {
			found = append(found, doc)
		}
	}
	return found, nil
}

func (s *service) placeNew(ctx context.Context, r row, d draft, now time.Time) (RowResult, error) {
	who := access.From(ctx)
	c := Candidate{}.with(r.rec)
	if fields := c.check(now); len(fields) > 0 {
		return RowResult{Outcome: Refused, Fields: once(fields)}, nil
	}
	if !who.Covers(c.Governorate, "") {
		return refuse("governorate", "scope", "this governorate is outside your scope"), nil
	}
	c.Identity = r.ids
	id := newID(now)
	if d != nil {
		d.keep(&docstore.Doc[Candidate]{ID: id, Body: c})
		return RowResult{Outcome: Created}, nil
	}
	if _, err := s.insert(ctx, id, c, r.rec, now); err != nil {
		return RowResult{}, err
	}
	return RowResult{Outcome: Created, ID: id}, nil
}

func (s *service) placeKnown(ctx context.Context, r row, known *docstore.Doc[Candidate], d draft, now time.Time) (RowResult, error) {
	who := access.From(ctx)
	if !who.Covers(known.Body.Governorate, "") {
		return refuse("", "scope", "the person is registered outside your scope"), nil
	}
	var seal func(*Candidate, []string) error
	if d == nil {
		var err error
		if seal, err = s.sealer(ctx, known.ID, r.rec, now); err != nil {
			return RowResult{}, err
		}
	} else {
		seal = func(*Candidate, []string) error { return nil }
	}
	change := func(doc *docstore.Doc[Candidate]) error {
		old := doc.Body
		if kind, yes := contradicts(old.Identity, r.ids); yes {
			path := map[string]string{byNationalID: "national_id", byPassport: "passport"}[kind]
			return api.Invalid(api.Field{Path: path, Code: "identity_conflict", Reason: "the person is registered with another number; correct the record by hand"})
		}
		next := old.with(r.rec)
		if fields := next.check(now); len(fields) > 0 {
			return api.Invalid(once(fields)...)
		}
		if !who.Covers(next.Governorate, "") {
			return api.Invalid(api.Field{Path: "governorate", Code: "scope", Reason: "this governorate is outside your scope"})
		}
		next.Identity = s.vault.ring.identities(&next, old.Identity, r.rec.NationalID, r.rec.Passport)
		if err := seal(&next, old.Identity); err != nil {
			return err
		}
		return write(ctx, doc, next, now)
	}
	result := RowResult{Outcome: Unchanged, ID: known.ID}
	if d != nil {
		after := *known
		err := change(&after)
		switch {
		case err == nil:
			result.Outcome = Updated
			d.keep(&after)
		case errors.Is(err, docstore.Unchanged):
		default:
			return refusal(err)
		}
		if known.Version == 0 {
			result.ID = "" // it would have been made by an earlier row
		}
		return result, nil
	}
	// The look-up has just shown the person: where nothing would change, there
	// is nothing to write and no need to read again.
	trial := *known
	if err := change(&trial); err != nil {
		if errors.Is(err, docstore.Unchanged) {
			return result, nil
		}
		return refusal(err)
	}
	doc, err := s.candidates.Update(ctx, known.ID, func(doc *docstore.Doc[Candidate]) error {
		return change(doc)
	})
	if err != nil {
		return refusal(err)
	}
	if doc.Version != known.Version {
		result.Outcome = Updated
	}
	return result, nil
}

// keep remembers a person in the draft, under every identity.
func (d draft) keep(doc *docstore.Doc[Candidate]) {
	for _, id := range doc.Body.Identity {
		d[id] = doc
	}
}

func refuse(path, code, reason string) RowResult {
	return RowResult{Outcome: Refused, Fields: []api.Field{{Path: path, Code: code, Reason: reason}}}
}

// refusal turns an error about the row into its answer; any other stays an error.
func refusal(err error) (RowResult, error) {
	var problem *api.Error
	if errors.As(err, &problem) && problem.Kind == api.KindInvalid {
		return RowResult{Outcome: Refused, Fields: problem.Fields}, nil
	}
	return RowResult{}, err
}
