package matching

import (
	"context"
	"errors"

	"masar.local/pkg/docstore"
)

// Names of indexes.
const (
	byUpdated   = "updated"
	byOffer     = "offer"
	byCandidate = "candidate"
	byEmployer  = "employer"
	byState     = "state"
	byCreated   = "created"
	bySeat      = "seat"
	byHiredIn   = "hired_in"
	byHolds     = "holds"
	byKey       = "key"
)

var (
	updated = docstore.Index{Name: byUpdated, Fields: []docstore.Field{{Path: "updated_at", Kind: docstore.Time}}}

	seekersSchema   = docstore.Schema{Collection: "seekers", Indexes: []docstore.Index{updated}}
	offersSchema    = docstore.Schema{Collection: "offers", Indexes: []docstore.Index{updated}}
	employersSchema = docstore.Schema{Collection: "employers", Indexes: []docstore.Index{updated}}
	casesSchema     = docstore.Schema{Collection: "cases", Indexes: []docstore.Index{
		list(byOffer, "offer_id"),
		list(byCandidate, "candidate_id"),
		list(byEmployer, "employer_id"),
		list(byState, "state"),
		{Name: byCreated, Fields: []docstore.Field{{Path: "created_at", Kind: docstore.Time}}},
		// The guards of a hire: see Case.
		{Name: bySeat, Fields: []docstore.Field{{Path: "seat", Kind: docstore.String}}, Unique: true},
		{Name: byHiredIn, Fields: []docstore.Field{{Path: "hired_in", Kind: docstore.String}}, Unique: true},
		{Name: byHolds, Fields: []docstore.Field{{Path: "holds", Kind: docstore.String}}, Unique: true},
		{Name: byKey, Fields: []docstore.Field{{Path: "keys", Kind: docstore.String}}, Unique: true},
	}}
	secretsSchema = docstore.Schema{Collection: "secrets"}
)

func list(name, path string) docstore.Index {
	return docstore.Index{Name: name, Fields: []docstore.Field{
		{Path: path, Kind: docstore.String}, {Path: "created_at", Kind: docstore.Time},
	}}
}

// store is the service's documents.
type store struct {
	seekers   *docstore.Collection[Seeker]
	offers    *docstore.Collection[Offer]
	employers *docstore.Collection[Employer]
	cases     *docstore.Collection[Case]
	learned   learnedLog
	rosters   rosters
	// The records of shortlists, to be read and to be kept.
	shortlistRecords *docstore.Collection[ShortlistRecord]
	shortlists       *keeper
	// What nothing that selects may know: see fairness_reach_test.go.
	fairness *groupBook
}

func openStore(ctx context.Context, e docstore.Engine) (*store, error) {
	if err := e.Ensure(ctx, seekersSchema, offersSchema, employersSchema, casesSchema, secretsSchema, learnedSchema, rostersSchema, shortlistsSchema, groupsSchema); err != nil {
		return nil, err
	}
	return &store{
		seekers:   docstore.NewCollection[Seeker](e, seekersSchema),
		offers:    docstore.NewCollection[Offer](e, offersSchema),
		employers: docstore.NewCollection[Employer](e, employersSchema),
		cases:     docstore.NewCollection[Case](e, casesSchema),
		learned:   learnedLog{e},
		rosters:   newRosters(e),

		shortlistRecords: docstore.NewCollection[ShortlistRecord](e, shortlistsSchema),
		shortlists:       newKeeper(e, shortlistsSchema),
		fairness:         newGroups(e),
	}, nil
}

// suspended says whether an employer is; one not heard of yet is not.
func (s *store) suspended(ctx context.Context, id string) (bool, error) {
	d, err := s.employers.Get(ctx, id)
	if errors.Is(err, docstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return d.Body.Suspended, nil
}

// seats counts the seats of an offer that are held, and gives the lowest number
// that is not: seats are given back, so there may be gaps.
func (s *store) seats(ctx context.Context, offer string) (held, free int, err error) {
	var numbers []int
	find := docstore.Query{Index: bySeat, Prefix: offer + "/", Limit: 500}
	for {
		cases, next, err := s.cases.Find(ctx, find)
		if err != nil {
			return 0, 0, err
		}
		for _, c := range cases { // in the order of their numbers
			n, err := seatNumber(c.Body.Seat)
			if err != nil {
				return 0, 0, err
			}
			numbers = append(numbers, n)
		}
		if find.After = next; next == "" {
			return len(numbers), lowestFree(numbers), nil
		}
	}
}

// heldElsewhere says whether another case holds the person. A hold that is over
// is taken away: nothing else looks at it, and it would be in the way.
func (s *store) heldElsewhere(ctx context.Context, b DecisionBasis) (bool, error) {
	for _, name := range holds(b.Seeker) {
		for _, index := range []string{byHiredIn, byHolds} {
			found, _, err := s.cases.Find(ctx, docstore.Query{Index: index, Eq: []any{name}, Limit: 1})
			if err != nil {
				return false, err
			}
			if len(found) == 0 || found[0].ID == b.CaseID {
				continue
			}
			if !found[0].Body.over(b.Seeker) {
				return true, nil
			}
			if _, err := s.cases.Update(ctx, found[0].ID, func(d *docstore.Doc[Case]) error {
				if len(d.Body.Holds) == 0 || !d.Body.over(b.Seeker) {
					return docstore.Unchanged
				}
				d.Body.Holds = nil
				return nil
			}); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// freed is the stage that a pathway is on its way to because an offer gave it
// back, "" when none did: see Case.freed.
func (s *store) freed(ctx context.Context, candidate string, p *Pathway) (string, error) {
	for after := ""; ; {
		cases, next, err := s.cases.Find(ctx, docstore.Query{Index: byCandidate, Eq: []any{candidate}, After: after, Limit: 100})
		if err != nil {
			return "", err
		}
		for _, c := range cases {
			if stage := c.Body.freed(p); stage != "" {
				return stage, nil
			}
		}
		if after = next; next == "" {
			return "", nil
		}
	}
}

// byKey finds the case that a command with this key changed; nil when none.
func (s *store) byKey(ctx context.Context, key string) (*docstore.Doc[Case], error) {
	if key == "" {
		return nil, nil
	}
	found, _, err := s.cases.Find(ctx, docstore.Query{Index: byKey, Eq: []any{key}, Limit: 1})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// states gives the state of every case that an index has under a value, by what
// of names.
func (s *store) states(ctx context.Context, index, value string, of func(*Case) string) (map[string]string, error) {
	out := map[string]string{}
	for after := ""; ; {
		cases, next, err := s.cases.Find(ctx, docstore.Query{Index: index, Eq: []any{value}, After: after, Limit: 500})
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			out[of(&c.Body)] = c.Body.State
		}
		if next == "" {
			return out, nil
		}
		after = next
	}
}
