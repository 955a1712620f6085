package candidates

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// source is the ce_source of our events.
const source = "/candidates"

// Service is what can be asked of candidates. Who asks is the principal of the
// context: whatever lies outside its scope does not exist for it.
type Service interface {
	// Register makes a new person known. A person who is known already is a conflict.
	Register(ctx context.Context, req RegisterRequest) (Card, error)
	// Candidate reads one person.
	Candidate(ctx context.Context, req IDRequest) (Card, error)
	// Candidates lists and searches people.
	Candidates(ctx context.Context, req CandidatesRequest) (api.Page[Card], error)
	// Update replaces a person's record, on the version that was read.
	Update(ctx context.Context, req UpdateRequest) (Card, error)
	// Contact gives what is needed to write to a person.
	Contact(ctx context.Context, req IDRequest) (Contact, error)
	// Import registers or updates many people; the same rows again change nothing.
	Import(ctx context.Context, req ImportRequest) (ImportResult, error)
	// Place registers or updates one person, as one row of an import does.
	Place(ctx context.Context, record []byte) (RowResult, error)

	// OpenPathway starts a pathway under the current version of a scheme.
	OpenPathway(ctx context.Context, req OpenRequest) (Way, error)
	// Pathway reads one pathway with its history.
	Pathway(ctx context.Context, req IDRequest) (Way, error)
	// Pathways lists pathways, without their history.
	Pathways(ctx context.Context, req PathwaysRequest) (api.Page[Way], error)
	// Move takes a pathway to a stage that may follow.
	Move(ctx context.Context, req MoveRequest) (Way, error)
	// Exit ends a pathway early, with a reason.
	Exit(ctx context.Context, req ExitRequest) (Way, error)
	// Complete ends a pathway from its last stage.
	Complete(ctx context.Context, req CompleteRequest) (Way, error)
	// Correct gives an entry of a pathway's history another date.
	Correct(ctx context.Context, req CorrectRequest) (Way, error)
	// Retract takes back the last thing that happened to a pathway.
	Retract(ctx context.Context, req RetractRequest) (Way, error)
	// Decide applies a matching decision to a pathway, once.
	Decide(ctx context.Context, pathwayID string, d Decision) error

	// Schemes lists the schemes with their stages and exits.
	Schemes(ctx context.Context, req SchemesRequest) (SchemeList, error)
}

// service is the Service on documents.
type service struct {
	collections
	vault   vault
	schemes reference.SchemeSet
	jobs    *reference.Occupations
	log     *slog.Logger
	now     func() time.Time
}

var _ Service = (*service)(nil)

// NewService opens the collections and checks that the keyring is the store's.
// Where jobs know competences, people have none but these.
func NewService(ctx context.Context, e docstore.Engine, ring *Keyring, schemes reference.SchemeSet, jobs *reference.Occupations, log *slog.Logger, now func() time.Time) (Service, error) {
	c, err := openCollections(ctx, e)
	if err != nil {
		return nil, err
	}
	if err := ring.claim(ctx, c.keys, now().UTC()); err != nil {
		return nil, err
	}
	return &service{collections: c, vault: vault{ring: ring, keys: c.keys}, schemes: schemes, jobs: jobs, log: log, now: now}, nil
}

// clock is now, to the millisecond that stores keep.
func (s *service) clock() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// Register implements Service.
func (s *service) Register(ctx context.Context, req RegisterRequest) (Card, error) {
	who, now := access.From(ctx), s.clock()
	rec := &req.Record
	fields := rec.clean(s.jobs)
	c := Candidate{}.with(rec)
	if fields = append(fields, c.check(now)...); len(fields) > 0 {
		return Card{}, api.Invalid(once(fields)...)
	}
	if !who.Covers(c.Governorate, "") {
		return Card{}, outside(c.Governorate)
	}
	c.Identity = s.vault.ring.identities(&c, nil, rec.NationalID, rec.Passport)
	id := api.NewID(ctx)
	if api.Key(ctx) != "" {
		c.Fingerprint = api.Fingerprint(api.Body(ctx))
		if d, err := s.candidates.Get(ctx, id); !errors.Is(err, docstore.ErrNotFound) {
			return repeated(d, err, c.Fingerprint)
		}
	}
	if err := s.unknown(ctx, who, c.Identity); err != nil {
		return Card{}, err
	}
	d, err := s.insert(ctx, id, c, rec, now)
	if errors.Is(err, docstore.ErrExists) {
		// Somebody was faster since we looked: the same command, or another
		// registration of the same person.
		if d, err := s.candidates.Get(ctx, id); !errors.Is(err, docstore.ErrNotFound) {
			return repeated(d, err, c.Fingerprint)
		}
		if err := s.unknown(ctx, who, c.Identity); err != nil {
			return Card{}, err
		}
	}
	if err != nil {
		return Card{}, err
	}
	return card(d).created(), nil
}

// repeated answers a registration whose id exists: the same again, or a key that
// was used for something else.
func repeated(d *docstore.Doc[Candidate], err error, fingerprint string) (Card, error) {
	switch {
	case err != nil:
		return Card{}, err
	case fingerprint == "" || d.Body.Fingerprint != fingerprint:
		return Card{}, api.KeyReused()
	}
	return card(d).created(), nil
}

// unknown says whether nobody has one of the identities yet. Who it is is told
// only to those who may see the person.
func (s *service) unknown(ctx context.Context, who access.Principal, ids []string) error {
	found, err := s.identified(ctx, ids)
	if err != nil || len(found) == 0 {
		return err
	}
	for _, d := range found {
		if who.Covers(d.Body.Governorate, "") {
			e := api.Conflict("The person is already registered, as candidate %s.", d.ID)
			e.Fields = []api.Field{{Path: "id", Code: "exists", Reason: d.ID}}
			return e
		}
	}
	return api.Conflict("The person is already registered, outside your scope.")
}

// identified finds everybody who has one of the identities.
func (s *service) identified(ctx context.Context, ids []string) ([]*docstore.Doc[Candidate], error) {
	var found []*docstore.Doc[Candidate]
	for _, id := range ids {
		docs, _, err := s.candidates.Find(ctx, docstore.Query{Index: byIdentity, Eq: []any{id}, Limit: 1})
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			if !slices.ContainsFunc(found, func(f *docstore.Doc[Candidate]) bool { return f.ID == d.ID }) {
				found = append(found, d)
			}
		}
	}
	return found, nil
}

// insert writes a new person and the event of it.
func (s *service) insert(ctx context.Context, id string, c Candidate, rec *Record, now time.Time) (*docstore.Doc[Candidate], error) {
	seal, err := s.sealer(ctx, id, rec, now)
	if err != nil {
		return nil, err
	}
	if err := seal(&c, nil); err != nil {
		return nil, err
	}
	c.RegisteredAt, c.UpdatedAt = now, now
	d := &docstore.Doc[Candidate]{ID: id, Body: c}
	d.Emit(event.New(source, id, now, now, &candidatesv1.CandidateRegistered{Profile: c.profile()}).
		Outgoing(ctx, event.TopicCandidates))
	return d, s.candidates.Insert(ctx, d)
}

// sealer prepares the sealing of the numbers that a record gives. The function
// it returns puts them into a candidate whose Identity is already set; a number
// that is the same as before (by its digest in old) keeps its sealed form, so
// that nothing changes where nothing is new.
func (s *service) sealer(ctx context.Context, id string, rec *Record, now time.Time) (func(c *Candidate, old []string) error, error) {
	var key []byte
	if given(rec.NationalID) || given(rec.Passport) {
		var err error
		if key, err = s.vault.key(ctx, id, now); err != nil {
			return nil, err
		}
	}
	one := func(to *[]byte, value *string, kind string, now, old []string) error {
		switch {
		case value == nil || *value != "" && ofKind(old, kind) == ofKind(now, kind):
			return nil
		case *value == "":
			*to = nil
			return nil
		}
		sealed, err := sealField(key, id, kind, *value)
		*to = sealed
		return err
	}
	return func(c *Candidate, old []string) error {
		return errors.Join(
			one(&c.NationalID, rec.NationalID, byNationalID, c.Identity, old),
			one(&c.Passport, rec.Passport, byPassport, c.Identity, old),
		)
	}, nil
}

func given(p *string) bool { return p != nil && *p != "" }

// Candidate implements Service.
func (s *service) Candidate(ctx context.Context, req IDRequest) (Card, error) {
	d, err := s.visible(ctx, req.ID)
	if err != nil {
		return Card{}, err
	}
	return card(d), nil
}

// Contact implements Service.
func (s *service) Contact(ctx context.Context, req IDRequest) (Contact, error) {
	d, err := s.visible(ctx, req.ID)
	if err != nil {
		return Contact{}, err
	}
	return contact(d), nil
}

// visible reads a person whom the principal may see.
func (s *service) visible(ctx context.Context, id string) (*docstore.Doc[Candidate], error) {
	d, err := s.candidates.Get(ctx, id)
	switch {
	case errors.Is(err, docstore.ErrNotFound):
		return nil, noCandidate(id)
	case err != nil:
		return nil, err
	case !access.From(ctx).Covers(d.Body.Governorate, ""):
		return nil, noCandidate(id)
	}
	return d, nil
}

// Candidates implements Service.
func (s *service) Candidates(ctx context.Context, req CandidatesRequest) (api.Page[Card], error) {
	places := within(access.From(ctx).Governorates, req.Governorate)
	all, governed := docstore.Query{Index: byUpdate, Desc: true}, docstore.Query{Index: byGovernorateUpdate, Desc: true}
	switch {
	case req.Name != "":
		name := normalise(req.Name)
		all = docstore.Query{Index: byNameKey, Prefix: name}
		governed = docstore.Query{Index: byGovernorateName, Prefix: name}
	case !req.UpdatedSince.IsZero():
		all.From, all.Desc = req.UpdatedSince, false
		governed.From, governed.Desc = req.UpdatedSince, false
	}
	var ranges []docstore.Query
	for _, place := range places {
		if place == "" {
			ranges = append(ranges, all)
			continue
		}
		q := governed
		q.Eq = []any{place}
		ranges = append(ranges, q)
	}
	docs, next, err := walk(ctx, s.candidates, ranges, req.Cursor, req.Limit)
	if err != nil {
		return api.Page[Card]{}, err
	}
	cards := make([]Card, 0, len(docs))
	for _, d := range docs {
		cards = append(cards, card(d))
	}
	return api.NewPage(cards, next), nil
}

// within gives the values of a scope (empty: all) that a filter (empty: none)
// leaves. One empty value stands for "all, no need to look at each".
func within(scope []string, filter string) []string {
	switch {
	case filter == "" && len(scope) == 0:
		return []string{""}
	case filter == "":
		values := slices.Clone(scope)
		slices.Sort(values)
		return slices.Compact(values)
	case len(scope) == 0 || slices.Contains(scope, filter):
		return []string{filter}
	}
	return nil
}

// Update implements Service.
func (s *service) Update(ctx context.Context, req UpdateRequest) (Card, error) {
	version, err := api.IfMatch(req.IfMatch)
	if err != nil {
		return Card{}, err
	}
	who, now, rec := access.From(ctx), s.clock(), &req.Record
	fields := rec.clean(s.jobs)
	if _, err := s.visible(ctx, req.ID); err != nil {
		return Card{}, err
	}
	seal, err := s.sealer(ctx, req.ID, rec, now)
	if err != nil {
		return Card{}, err
	}
	var ids []string
	d, err := s.candidates.Update(ctx, req.ID, func(d *docstore.Doc[Candidate]) error {
		if !who.Covers(d.Body.Governorate, "") {
			return noCandidate(req.ID)
		}
		if d.Version != version {
			return api.Stale("The candidate is at version %d, not %d: read it again.", d.Version, version)
		}
		// A PUT replaces the record; what the record does not show stays.
		old := d.Body
		next := Candidate{
			Identity: old.Identity, NationalID: old.NationalID, Passport: old.Passport,
			RegisteredAt: old.RegisteredAt, UpdatedAt: old.UpdatedAt, Fingerprint: old.Fingerprint,
		}.with(rec)
		if f := append(slices.Clone(fields), next.check(now)...); len(f) > 0 {
			return api.Invalid(once(f)...)
		}
		if !who.Covers(next.Governorate, "") {
			return outside(next.Governorate)
		}
		next.Identity = s.vault.ring.identities(&next, old.Identity, rec.NationalID, rec.Passport)
		ids = next.Identity
		if err := seal(&next, old.Identity); err != nil {
			return err
		}
		return write(ctx, d, next, now)
	})
	if errors.Is(err, docstore.ErrExists) {
		return Card{}, s.taken(ctx, who, req.ID, ids)
	}
	if errors.Is(err, docstore.ErrNotFound) {
		return Card{}, noCandidate(req.ID)
	}
	if err != nil {
		return Card{}, err
	}
	return card(d), nil
}

// taken says who else has an identity that a person was to get.
func (s *service) taken(ctx context.Context, who access.Principal, id string, ids []string) error {
	found, err := s.identified(ctx, ids)
	if err != nil {
		return err
	}
	for _, d := range found {
		if d.ID != id && who.Covers(d.Body.Governorate, "") {
			return api.Conflict("Another person has this identity: candidate %s.", d.ID)
		}
	}
	return api.Conflict("Another person has this identity.")
}

// write puts the next state of a person into the document, with the event of it
// when others may know of the change. The same state again is no write.
func write(ctx context.Context, d *docstore.Doc[Candidate], next Candidate, now time.Time) error {
	if next.same(d.Body) {
		return docstore.Unchanged
	}
	profile := next.profile()
	told := proto.Equal(profile, d.Body.profile())
	next.UpdatedAt = now
	d.Body = next
	if !told {
		d.Emit(event.New(source, d.ID, now, now, &candidatesv1.CandidateUpdated{Profile: profile}).
			Outgoing(ctx, event.TopicCandidates))
	}
	return nil
}

// OpenPathway implements Service.
func (s *service) OpenPathway(ctx context.Context, req OpenRequest) (Way, error) {
	who := access.From(ctx)
	act := s.act(ctx, req.OccurredAt, "", req.Note, "")
	id := api.NewID(ctx)
	if act.Key != "" {
		if d, err := s.pathways.Get(ctx, id); !errors.Is(err, docstore.ErrNotFound) {
			return s.reopened(d, err, act)
		}
	}
	person, err := s.visible(ctx, req.CandidateID)
	if err != nil {
		return Way{}, err
	}
	c := person.Body
	if !who.Covers(c.Governorate, req.Scheme) {
		return Way{}, api.Forbidden("Scheme %s is outside your scope.", req.Scheme)
	}
	at := req.OccurredAt
	if at.IsZero() {
		at = act.Now
	}
	scheme, ok := s.schemes.Current(req.Scheme, at)
	if !ok {
		return Way{}, api.Invalid(api.Field{
			Path: "scheme", Code: "unknown", Reason: "no version of such a scheme is in force then; see /api/candidates/schemes",
		})
	}
	p, opened, err := openPathway(scheme, req.CandidateID, Person{Sex: c.Sex, Governorate: c.Governorate, BirthYear: c.birthYear(), Diploma: c.Diploma}, act)
	if err != nil {
		return Way{}, err
	}
	d := &docstore.Doc[Pathway]{ID: id, Body: p}
	emit(ctx, d, opened)
	err = s.pathways.Insert(ctx, d)
	if errors.Is(err, docstore.ErrExists) {
		if d, err := s.pathways.Get(ctx, id); !errors.Is(err, docstore.ErrNotFound) {
			return s.reopened(d, err, act)
		}
		other, _, err := s.pathways.Find(ctx, docstore.Query{Index: byOpenKey, Eq: []any{p.OpenKey}, Limit: 1})
		if err != nil {
			return Way{}, err
		}
		e := api.Conflict("The person already has an open pathway under this scheme.")
		if len(other) == 1 {
			e.Detail = "The person already has an open pathway under this scheme: " + other[0].ID + "."
			e.Fields = []api.Field{{Path: "id", Code: "exists", Reason: other[0].ID}}
		}
		return Way{}, e
	}
	if err != nil {
		return Way{}, err
	}
	return s.way(d).created(), nil
}

// reopened answers an opening whose id exists.
func (s *service) reopened(d *docstore.Doc[Pathway], err error, act Act) (Way, error) {
	if err != nil {
		return Way{}, err
	}
	if known, err := d.Body.repeated(act); err != nil || !known {
		return Way{}, api.KeyReused()
	}
	return s.way(d).created(), nil
}

// Pathway implements Service.
func (s *service) Pathway(ctx context.Context, req IDRequest) (Way, error) {
	d, err := s.pathways.Get(ctx, req.ID)
	switch {
	case errors.Is(err, docstore.ErrNotFound):
		return Way{}, noPathway(req.ID)
	case err != nil:
		return Way{}, err
	case !covers(access.From(ctx), &d.Body):
		return Way{}, noPathway(req.ID)
	}
	return s.way(d), nil
}

// Pathways implements Service.
func (s *service) Pathways(ctx context.Context, req PathwaysRequest) (api.Page[Way], error) {
	who := access.From(ctx)
	if req.CandidateID != "" {
		return s.pathwaysOf(ctx, who, req)
	}
	schemes := within(who.Schemes, req.Scheme)
	if len(schemes) == 1 && schemes[0] == "" {
		schemes = s.schemes.Codes()
	}
	state := req.State
	if state == "" {
		state = string(Open)
	}
	var ranges []docstore.Query
	for _, place := range within(who.Governorates, req.Governorate) {
		for _, scheme := range schemes {
			q := docstore.Query{Index: bySchemeStage, Eq: []any{scheme}}
			if place != "" {
				q = docstore.Query{Index: byGovernorateStage, Eq: []any{place, scheme}}
			}
			switch {
			case !req.UpdatedSince.IsZero() && place == "":
				q.Index, q.From = bySchemeUpdate, req.UpdatedSince
			case !req.UpdatedSince.IsZero():
				q.Index, q.From = byGovernorateSchemes, req.UpdatedSince
			default:
				q.Eq = append(q.Eq, state)
				if req.Stage != "" {
					q.Eq = append(q.Eq, req.Stage)
				}
			}
			ranges = append(ranges, q)
		}
	}
	docs, next, err := walk(ctx, s.pathways, ranges, req.Cursor, req.Limit)
	if err != nil {
		return api.Page[Way]{}, err
	}
	return s.page(docs, next), nil
}

// pathwaysOf lists one person's pathways, oldest first. A person has few: those
// outside the principal's schemes are left out of the page.
func (s *service) pathwaysOf(ctx context.Context, who access.Principal, req PathwaysRequest) (api.Page[Way], error) {
	q := docstore.Query{Index: byCandidate, Eq: []any{req.CandidateID}, After: req.Cursor, Limit: req.Limit}
	docs, next, err := s.pathways.Find(ctx, q)
	if err != nil {
		return api.Page[Way]{}, err
	}
	docs = slices.DeleteFunc(docs, func(d *docstore.Doc[Pathway]) bool {
		p := &d.Body
		return !covers(who, p) || req.Scheme != "" && p.Scheme != req.Scheme || req.Stage != "" && p.Stage != req.Stage ||
			req.State != "" && string(p.State) != req.State
	})
	return s.page(docs, next), nil
}

func (s *service) page(docs []*docstore.Doc[Pathway], next string) api.Page[Way] {
	ways := make([]Way, 0, len(docs))
	for _, d := range docs {
		w := s.way(d)
		w.History = nil
		ways = append(ways, w)
	}
	return api.NewPage(ways, next)
}

// Move implements Service.
func (s *service) Move(ctx context.Context, req MoveRequest) (Way, error) {
	act := s.act(ctx, req.OccurredAt, req.Reason, req.Note, req.OfferID)
	return s.change(ctx, req.ID, req.IfMatch, act, news(ctx, func(p *Pathway, scheme *reference.Scheme) (proto.Message, error) {
		return p.move(scheme, req.To, act)
	}))
}

// Exit implements Service.
func (s *service) Exit(ctx context.Context, req ExitRequest) (Way, error) {
	act := s.act(ctx, req.OccurredAt, "", req.Note, req.OfferID)
	return s.change(ctx, req.ID, req.IfMatch, act, news(ctx, func(p *Pathway, scheme *reference.Scheme) (proto.Message, error) {
		return p.leave(scheme, req.Exit, act)
	}))
}

// Complete implements Service.
func (s *service) Complete(ctx context.Context, req CompleteRequest) (Way, error) {
	act := s.act(ctx, req.OccurredAt, "", req.Note, "")
	return s.change(ctx, req.ID, req.IfMatch, act, news(ctx, func(p *Pathway, scheme *reference.Scheme) (proto.Message, error) {
		return p.complete(scheme, act)
	}))
}

// Correct implements Service.
func (s *service) Correct(ctx context.Context, req CorrectRequest) (Way, error) {
	act := s.act(ctx, req.OccurredAt, req.Reason, req.Note, "")
	return s.putRight(ctx, req.ID, req.IfMatch, act, func(p *Pathway, scheme *reference.Scheme) ([]told, error) {
		return p.correct(scheme, req.Entry, act)
	})
}

// Retract implements Service.
func (s *service) Retract(ctx context.Context, req RetractRequest) (Way, error) {
	act := s.act(ctx, time.Time{}, req.Reason, req.Note, "")
	return s.putRight(ctx, req.ID, req.IfMatch, act, func(p *Pathway, scheme *reference.Scheme) ([]told, error) {
		return p.retract(scheme, req.Entry, act)
	})
}

func (s *service) putRight(ctx context.Context, id, ifMatch string, act Act, command func(*Pathway, *reference.Scheme) ([]told, error)) (Way, error) {
	return s.change(ctx, id, ifMatch, act, func(d *docstore.Doc[Pathway], scheme *reference.Scheme) error {
		events, err := command(&d.Body, scheme)
		for _, t := range events {
			tell(ctx, d, t, act.Now)
		}
		return err
	})
}

// news makes a command of what happens to a pathway: a new entry and its event.
func news(ctx context.Context, happens func(*Pathway, *reference.Scheme) (proto.Message, error)) func(*docstore.Doc[Pathway], *reference.Scheme) error {
	return func(d *docstore.Doc[Pathway], scheme *reference.Scheme) error {
		happened, err := happens(&d.Body, scheme)
		if err == nil {
			emit(ctx, d, happened)
		}
		return err
	}
}

// act is what a request says about its command.
func (s *service) act(ctx context.Context, at time.Time, reason, note, offer string) Act {
	who := access.From(ctx)
	a := Act{OccurredAt: at, Now: s.clock(), Actor: who.Role, By: who.Subject, Reason: reason, Note: note, OfferID: offer, Key: api.Key(ctx)}
	if a.Key != "" {
		a.Fingerprint = api.Fingerprint(api.Body(ctx))
	}
	return a
}

// change runs a command on a pathway: in scope, once per key, on the version
// that the caller has seen if it says so.
func (s *service) change(ctx context.Context, id, ifMatch string, act Act, command func(*docstore.Doc[Pathway], *reference.Scheme) error) (Way, error) {
	who := access.From(ctx)
	var version int64
	if ifMatch != "" {
		var err error
		if version, err = api.IfMatch(ifMatch); err != nil {
			return Way{}, err
		}
	}
	d, err := s.pathways.Update(ctx, id, func(d *docstore.Doc[Pathway]) error {
		p := &d.Body
		if !covers(who, p) {
			return noPathway(id)
		}
		known, err := p.repeated(act)
		if err != nil {
			return err
		}
		if known {
			return docstore.Unchanged
		}
		if version != 0 && d.Version != version {
			return api.Stale("The pathway is at version %d, not %d: read it again.", d.Version, version)
		}
		scheme, err := s.scheme(p)
		if err != nil {
			return err
		}
		return command(d, scheme)
	})
	if errors.Is(err, docstore.ErrExists) { // an end that was taken back
		return Way{}, api.Conflict("The person has opened another pathway under this scheme since; that one must end before this one can be open again.")
	}
	if errors.Is(err, docstore.ErrNotFound) {
		return Way{}, noPathway(id)
	}
	if err != nil {
		return Way{}, err
	}
	return s.way(d), nil
}

// Decide implements Service.
func (s *service) Decide(ctx context.Context, pathwayID string, decision Decision) error {
	decision.Now = s.clock()
	_, err := s.pathways.Update(ctx, pathwayID, func(d *docstore.Doc[Pathway]) error {
		scheme, err := s.scheme(&d.Body)
		if err != nil {
			return err
		}
		happened, known := d.Body.decide(scheme, decision)
		if known {
			return docstore.Unchanged
		}
		if happened != nil {
			emit(ctx, d, happened)
		}
		if refusal := d.Body.History[len(d.Body.History)-1].Refusal; refusal != "" {
			s.log.WarnContext(ctx, "a decision was not applied", "pathway", d.ID, "decision", decision.ID, "kind", decision.Kind, "reason", refusal)
		}
		return nil
	})
	return err
}

// scheme is the version that a pathway was opened under.
func (s *service) scheme(p *Pathway) (*reference.Scheme, error) {
	scheme, ok := s.schemes.Get(p.Scheme, p.SchemeVersion)
	if !ok {
		// A release never drops a version that pathways run under.
		return nil, errors.New("candidates: scheme " + p.Scheme + " version " + p.SchemeVersion + " is not in this release")
	}
	return scheme, nil
}

// emit adds the event of the last history entry to the write.
func emit(ctx context.Context, d *docstore.Doc[Pathway], happened proto.Message) {
	last := len(d.Body.History) - 1
	tell(ctx, d, told{last, happened}, d.Body.History[last].RecordedAt)
	d.Body.History[last].EventSeq = d.Seq
}

// tell adds an event to the write, and notes with its entry that it tells it now.
func tell(ctx context.Context, d *docstore.Doc[Pathway], t told, now time.Time) {
	e := &d.Body.History[t.entry]
	news := event.New(source, d.ID, e.OccurredAt, now, t.event)
	d.Emit(news.Outgoing(ctx, event.TopicCandidates))
	e.EventID = news.ID
}

// covers says whether a pathway is in the principal's scope: by the governorate
// in which the person lived when it was opened, and by scheme.
func covers(who access.Principal, p *Pathway) bool {
	return who.Covers(p.Person.Governorate, p.Scheme)
}

// Schemes implements Service.
func (s *service) Schemes(context.Context, SchemesRequest) (SchemeList, error) {
	return schemeList(s.schemes), nil
}

func noCandidate(id string) error {
	return api.NotFound("There is no candidate %s.", clip(id, maxCode))
}

func noPathway(id string) error { return api.NotFound("There is no pathway %s.", clip(id, maxCode)) }

func outside(governorate string) error {
	return api.Forbidden("Governorate %s is outside your scope.", governorate)
}

// once keeps the first fault of each path: a value that could not be read need
// not also be called missing.
func once(fields []api.Field) []api.Field {
	seen := map[string]bool{}
	return slices.DeleteFunc(fields, func(f api.Field) bool {
		twice := seen[f.Path]
		seen[f.Path] = true
		return twice
	})
}
