package employers

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// Limits of an import: rows of one request, and how many offers are written at
// the same time (writes at the same time share one flush to the disk).
const (
	maxRows    = 500
	concurrent = 16
)

// ImportRequest is a batch of offers in the form of France Travail.
type ImportRequest struct {
	DryRun bool `query:"dry_run"`
	Rows   Rows `json:"rows"`
}

// Validate implements api.Validator.
func (r *ImportRequest) Validate() error {
	if len(r.Rows) == 0 {
		return api.Invalid(api.Field{Path: "rows", Code: "required", Reason: "there is no row"})
	}
	return nil
}

// Rows are the rows of an import as they came. Each is read by itself, so that
// one that is damaged does not stop the others.
type Rows []json.RawMessage

// UnmarshalJSON takes an array and leaves its elements unread.
func (r *Rows) UnmarshalJSON(data []byte) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return api.Field{Code: "type", Reason: "an array of offers expected"}
	}
	if len(rows) > maxRows {
		return api.Field{Code: "too_many", Reason: "at most 500 rows in one request: send the rest in another"}
	}
	*r = rows
	return nil
}

// RowResult is the answer to one row. Fields say why it was refused; of a row
// that was taken, what of it could not be taken as it stood.
type RowResult struct {
	Index   int    `json:"index"`
	Outcome string `json:"outcome"`
	ID      string `json:"id,omitempty"`
	Fields  []Note `json:"fields,omitempty"`
}

// ImportResult is the answer to an import: one result for each row, in order.
type ImportResult struct {
	Rows   []RowResult `json:"rows"`
	DryRun bool        `json:"dry_run"`
}

func refuse(fields ...Note) RowResult { return RowResult{Outcome: OutcomeRefused, Fields: fields} }

// Import implements Service.
func (s *service) Import(ctx context.Context, req ImportRequest) (ImportResult, error) {
	if access.From(ctx).Role == access.Employer {
		return ImportResult{}, api.Forbidden("An employer posts its own offers one by one; files of France Travail are taken in by officers and integrators.")
	}
	now := s.clock()
	res := ImportResult{Rows: make([]RowResult, len(req.Rows)), DryRun: req.DryRun}
	// Rows about one offer are taken one after the other, in their order; offers
	// at the same time.
	type row struct {
		index int
		in    incoming
	}
	offers, order := map[string][]row{}, []string{}
	for i, raw := range req.Rows {
		in, refused := readRow(raw)
		if refused != nil {
			res.Rows[i] = refuse(refused...)
			res.Rows[i].Index = i
			continue
		}
		if offers[in.id] == nil {
			order = append(order, in.id)
		}
		offers[in.id] = append(offers[in.id], row{i, in})
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(concurrent)
	for _, id := range order {
		work.Go(func() error {
			var draft *docstore.Doc[Offer]
			for _, r := range offers[id] {
				result, err := s.place(ctx, r.in, req.DryRun, &draft, now)
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

// readRow reads an offer of France Travail.
func readRow(raw []byte) (in incoming, refused []Note) {
	c, refused := readFranceTravail(raw)
	if refused != nil {
		return in, refused
	}
	name := identity(OriginFranceTravail, "", c.SourceID)
	return incoming{
		id: idOf(name), origin: OriginFranceTravail, identity: name,
		content: c, digest: c.digest(), revisedIn: "dateActualisation",
	}, nil
}

// idOf is the id of the document of an identity: the same each time, so that a
// row finds its offer without a search, and two copies of a row at the same
// moment cannot make two offers.
func idOf(identity string) string { return api.IDFromKey(source, identity) }

// place takes a row into its offer. With dryRun nothing is written: draft is
// then the offer as earlier rows would have left it.
func (s *service) place(ctx context.Context, in incoming, dryRun bool, draft **docstore.Doc[Offer], now time.Time) (RowResult, error) {
	if scheme := in.content.Scheme; !access.From(ctx).Covers("", scheme) {
		return refuse(Note{Path: "scheme", Code: "scope", Reason: "outside your scope", Value: scheme}), nil
	}
	var outcome string
	var about []Note
	change := func(d *docstore.Doc[Offer]) (err error) {
		outcome, about, err = take(s.emitter(ctx), d, in, now)
		return err
	}
	if dryRun {
		if *draft == nil {
			d, err := s.offers.Get(ctx, in.id)
			if errors.Is(err, docstore.ErrNotFound) {
				d, err = &docstore.Doc[Offer]{ID: in.id}, nil
			}
			if err != nil {
				return RowResult{}, err
			}
			*draft = d
		}
		if err := change(*draft); err != nil && !errors.Is(err, docstore.Unchanged) {
			return RowResult{}, err
		}
	} else if _, err := s.offers.Upsert(ctx, in.id, change); err != nil {
		return RowResult{}, err
	}
	result := RowResult{Outcome: outcome, ID: in.id, Fields: about}
	if outcome != OutcomeUnchanged {
		result.Fields = append(result.Fields, in.content.Notes...)
	}
	return result, nil
}

// Inbound is one record of the inbound topic.
type Inbound struct {
	Record []byte
	Name   string    // of the message: topic, partition and offset
	At     time.Time // when it was sent
}

// Receive implements Service. A record of our own form is named by its ref for
// its employer, or, without one, by its message: whatever is delivered again
// changes nothing.
func (s *service) Receive(ctx context.Context, in Inbound) (RowResult, error) {
	now := s.clock()
	members, err := object(in.Record)
	if err != nil {
		return refuse(Note{Code: "json", Reason: "a JSON object expected: " + err.Error(), Value: short(string(in.Record), 80)}), nil
	}
	var row incoming
	_, own := members["title"]
	_, theirs := members["intitule"]
	switch {
	case theirs:
		var refused []Note
		if row, refused = readRow(in.Record); refused != nil {
			return refuse(refused...), nil
		}
	case own:
		var refused []Note
		if row, refused, err = s.readOwn(ctx, in, now); refused != nil || err != nil {
			return refuse(refused...), err
		}
	default:
		return refuse(Note{Code: "form", Reason: "neither an offer of France Travail (intitule) nor of our own form (title)"}), nil
	}
	return s.place(ctx, row, false, nil, now)
}

// readOwn reads a record in our own form. Its message's time orders its versions.
func (s *service) readOwn(ctx context.Context, in Inbound, now time.Time) (row incoming, refused []Note, err error) {
	at := in.At.UTC().Truncate(time.Millisecond)
	if at.IsZero() || at.After(now) {
		at = now
	}
	var r OfferRecord
	err = api.Decode(in.Record, &r)
	var c Content
	if err == nil {
		c, err = s.admit(ctx, &r, at)
	}
	var problem *api.Error
	if errors.As(err, &problem) && (problem.Kind == api.KindInvalid || problem.Kind == api.KindMalformed || problem.Kind == api.KindConflict) {
		for _, f := range problem.Fields {
			refused = append(refused, Note{Path: f.Path, Code: f.Code, Reason: f.Reason})
		}
		if len(refused) == 0 {
			refused = []Note{{Code: string(problem.Kind), Reason: problem.Detail}}
		}
		return row, refused, nil
	}
	if err != nil {
		return row, nil, err
	}
	name := identity(OriginKafka, c.EmployerID, c.SourceID)
	row = incoming{id: idOf(name), origin: OriginKafka, identity: name, content: c, digest: api.Fingerprint(in.Record), revisedIn: "timestamp"}
	if name == "" {
		row.id = idOf(OriginKafka + ":" + in.Name)
	}
	return row, nil, nil
}
