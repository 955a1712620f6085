package employers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
)

// Service is what can be asked of employers. Who asks is the principal of the
// context: what lies outside its scope does not exist for it. An employer's own
// principal sees and changes its own employer and offers only.
type Service interface {
	// Register makes a new employer known. One SIRET is one employer.
	Register(ctx context.Context, req RegisterRequest) (Registered, error)
	// Employer reads one employer.
	Employer(ctx context.Context, req IDRequest) (EmployerView, error)
	// Employers lists employers, by the beginning of their name or by SIRET.
	Employers(ctx context.Context, req EmployersRequest) (api.Page[EmployerView], error)
	// UpdateEmployer replaces an employer's record, on the version that was
	// read; its status suspends and reinstates.
	UpdateEmployer(ctx context.Context, req UpdateEmployerRequest) (EmployerView, error)

	// Post opens an offer.
	Post(ctx context.Context, req PostRequest) (Posted, error)
	// Offer reads one offer.
	Offer(ctx context.Context, req IDRequest) (OfferView, error)
	// Offers lists offers, the newest first, without their long texts.
	Offers(ctx context.Context, req OffersRequest) (api.Page[OfferView], error)
	// UpdateOffer replaces an open offer's record, on the version that was read.
	UpdateOffer(ctx context.Context, req UpdateOfferRequest) (OfferView, error)
	// Close ends an offer that was withdrawn or has expired.
	Close(ctx context.Context, req CloseRequest) (OfferView, error)
	// Fill fills one post of an offer; the last one closes it.
	Fill(ctx context.Context, req FillRequest) (OfferView, error)

	// Import takes in offers of France Travail; the same rows again change nothing.
	Import(ctx context.Context, req ImportRequest) (ImportResult, error)
	// Receive takes in one record of the inbound topic, of France Travail or of
	// our own form.
	Receive(ctx context.Context, in Inbound) (RowResult, error)
	// Hired fills the post that a decision of matching is about, once.
	Hired(ctx context.Context, d Decision) error
	// Released gives back the post that an earlier decision filled, once.
	Released(ctx context.Context, d Decision) error
	// Expire closes the offers whose last day is over, and says how many.
	Expire(ctx context.Context) (closed int, err error)
}

// service is the Service on documents.
type service struct {
	collections
	log *slog.Logger
	now func() time.Time
}

var _ Service = (*service)(nil)

// NewService opens the collections.
func NewService(ctx context.Context, e docstore.Engine, log *slog.Logger, now func() time.Time) (Service, error) {
	c, err := openCollections(ctx, e)
	if err != nil {
		return nil, err
	}
	return &service{collections: c, log: log, now: now}, nil
}

// clock is now, to the millisecond that stores keep.
func (s *service) clock() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// emitter makes events with the trace of ctx.
func (s *service) emitter(ctx context.Context) emitter {
	return func(subject string, occurredAt, recordedAt time.Time, data eventData) docstore.Event {
		return event.New(source, subject, occurredAt, recordedAt, data).Outgoing(ctx, event.TopicEmployers)
	}
}

// Register implements Service.
func (s *service) Register(ctx context.Context, req RegisterRequest) (Registered, error) {
	if wrong := req.clean(); len(wrong) > 0 {
		return Registered{}, api.Invalid(wrong...)
	}
	print := fingerprint(ctx)
	d := &docstore.Doc[Employer]{ID: api.NewID(ctx)}
	registerEmployer(s.emitter(ctx), d, &req.EmployerRecord, print, s.clock())
	err := s.employers.Insert(ctx, d)
	if errors.Is(err, docstore.ErrExists) {
		// The same command before, or another employer with this SIRET.
		first, err := s.employers.Get(ctx, d.ID)
		switch {
		case err == nil && first.Body.Fingerprint == print:
			return Registered{s.viewEmployer(ctx, first)}, nil
		case err == nil:
			return Registered{}, api.KeyReused()
		case !errors.Is(err, docstore.ErrNotFound):
			return Registered{}, err
		}
		return Registered{}, s.sameSIRET(ctx, req.SIRET)
	}
	if err != nil {
		return Registered{}, err
	}
	return Registered{s.viewEmployer(ctx, d)}, nil
}

func (s *service) sameSIRET(ctx context.Context, siret string) error {
	same, _, err := s.employers.Find(ctx, docstore.Query{Index: bySIRET, Eq: []any{siret}, Limit: 1})
	if err != nil {
		return err
	}
	if len(same) == 0 {
		return api.Conflict("There is an employer with this SIRET already.")
	}
	return api.Conflict("The employer %s has this SIRET already.", same[0].ID)
}

// fingerprint is of the request's body, when the request is to be repeatable.
func fingerprint(ctx context.Context) string {
	if api.Key(ctx) == "" {
		return ""
	}
	return api.Fingerprint(api.Body(ctx))
}

// ownEmployer reports whether the principal may see an employer.
func ownEmployer(ctx context.Context, id string) bool {
	who := access.From(ctx)
	return who.Role != access.Employer || who.Employer == id
}

// Employer implements Service.
func (s *service) Employer(ctx context.Context, req IDRequest) (EmployerView, error) {
	if !ownEmployer(ctx, req.ID) {
		return EmployerView{}, docstore.ErrNotFound
	}
	d, err := s.employers.Get(ctx, req.ID)
	if err != nil {
		return EmployerView{}, err
	}
	return s.viewEmployer(ctx, d), nil
}

// Employers implements Service.
func (s *service) Employers(ctx context.Context, req EmployersRequest) (api.Page[EmployerView], error) {
	if who := access.From(ctx); who.Role == access.Employer {
		own, err := s.employers.Get(ctx, who.Employer)
		if err != nil && !errors.Is(err, docstore.ErrNotFound) {
			return api.Page[EmployerView]{}, err
		}
		if err != nil || !strings.HasPrefix(own.Body.NameKey, reference.Fold(req.Name)) || req.SIRET != "" && digits(req.SIRET) != own.Body.SIRET {
			return api.NewPage[EmployerView](nil, ""), nil
		}
		return api.NewPage([]EmployerView{s.viewEmployer(ctx, own)}, ""), nil
	}
	q := docstore.Query{Index: byName, Prefix: reference.Fold(req.Name), After: req.Cursor, Limit: req.Limit}
	if req.SIRET != "" {
		q = docstore.Query{Index: bySIRET, Eq: []any{digits(req.SIRET)}, After: req.Cursor, Limit: req.Limit}
	}
	docs, next, err := s.employers.Find(ctx, q)
	if err != nil {
		return api.Page[EmployerView]{}, err
	}
	var items []EmployerView
	for _, d := range docs {
		items = append(items, s.viewEmployer(ctx, d))
	}
	return api.NewPage(items, next), nil
}

// UpdateEmployer implements Service.
func (s *service) UpdateEmployer(ctx context.Context, req UpdateEmployerRequest) (EmployerView, error) {
	version, err := api.IfMatch(req.IfMatch)
	if err != nil {
		return EmployerView{}, err
	}
	if wrong := req.clean(); len(wrong) > 0 {
		return EmployerView{}, api.Invalid(wrong...)
	}
	d, err := s.employers.Update(ctx, req.ID, func(d *docstore.Doc[Employer]) error {
		if d.Version != version {
			return docstore.ErrStale
		}
		return updateEmployer(s.emitter(ctx), d, &req.EmployerRecord, s.clock())
	})
	if errors.Is(err, docstore.ErrExists) {
		return EmployerView{}, s.sameSIRET(ctx, req.SIRET)
	}
	if err != nil {
		return EmployerView{}, err
	}
	return s.viewEmployer(ctx, d), nil
}

// Post implements Service.
func (s *service) Post(ctx context.Context, req PostRequest) (Posted, error) {
	now := s.clock()
	c, err := s.admit(ctx, &req.OfferRecord, now)
	if err != nil {
		return Posted{}, err
	}
	d := &docstore.Doc[Offer]{ID: api.NewID(ctx)}
	openOffer(s.emitter(ctx), d, OriginAPI, identity(OriginAPI, c.EmployerID, c.SourceID), c, now)
	d.Body.Fingerprint = fingerprint(ctx)
	switch err = s.offers.Insert(ctx, d); {
	case err == nil:
		return Posted{viewOffer(d)}, nil
	case !errors.Is(err, docstore.ErrExists):
		return Posted{}, err
	}
	// The same command before, or another offer of this name.
	first, err := s.offers.Get(ctx, d.ID)
	switch {
	case err == nil && first.Body.Fingerprint == d.Body.Fingerprint:
		return Posted{viewOffer(first)}, nil
	case err == nil:
		return Posted{}, api.KeyReused()
	case !errors.Is(err, docstore.ErrNotFound):
		return Posted{}, err
	}
	return Posted{}, api.Conflict("There is an offer with this ref already: update it instead.")
}

// identity names an offer by its source's own name for it; for our own forms a
// name is unique for its employer.
func identity(origin, employer, id string) string {
	switch {
	case id == "":
		return ""
	case origin == OriginFranceTravail:
		return origin + ":" + id
	}
	return origin + ":" + employer + ":" + id
}

// admit checks a record: what it says, and that the principal may say it.
func (s *service) admit(ctx context.Context, r *OfferRecord, now time.Time) (Content, error) {
	who := access.From(ctx)
	if who.Role == access.Employer {
		if r.EmployerID == "" {
			r.EmployerID = who.Employer
		}
		if r.EmployerID != who.Employer {
			return Content{}, api.Forbidden("An employer posts its own offers only: leave employer_id out.")
		}
	}
	c, wrong := r.content(now)
	if len(wrong) > 0 {
		return Content{}, api.Invalid(wrong...)
	}
	if !who.Covers("", c.Scheme) {
		return Content{}, api.Forbidden("The scheme %s is outside your scope.", c.Scheme)
	}
	if c.EmployerID == "" {
		return c, nil
	}
	e, err := s.employers.Get(ctx, c.EmployerID)
	switch {
	case errors.Is(err, docstore.ErrNotFound):
		return Content{}, api.Invalid(api.Field{Path: "employer_id", Code: "unknown", Reason: "there is no such employer: register it first"})
	case err != nil:
		return Content{}, err
	case e.Body.Status != StatusActive:
		return Content{}, api.Conflict("The employer is suspended: it posts no offers.")
	}
	if c.EmployerName == "" {
		c.EmployerName = e.Body.LegalName
	}
	return c, nil
}

// sees reports whether the principal may see an offer, and so change it where
// its role allows changes.
func sees(who access.Principal, o *Offer) bool {
	if who.Role == access.Employer && (who.Employer == "" || o.Content.EmployerID != who.Employer) {
		return false
	}
	return who.Covers("", o.Content.Scheme)
}

// Offer implements Service.
func (s *service) Offer(ctx context.Context, req IDRequest) (OfferView, error) {
	d, err := s.offers.Get(ctx, req.ID)
	if err != nil {
		return OfferView{}, err
	}
	if !sees(access.From(ctx), &d.Body) {
		return OfferView{}, docstore.ErrNotFound
	}
	return s.viewOne(ctx, d)
}

// Offers implements Service.
func (s *service) Offers(ctx context.Context, req OffersRequest) (api.Page[OfferView], error) {
	who := access.From(ctx)
	if who.Role == access.Employer {
		if req.Employer != "" && req.Employer != who.Employer {
			return api.NewPage[OfferView](nil, ""), nil
		}
		req.Employer = who.Employer
	}
	docs, next, err := s.find(ctx, req.query(), func(o *Offer) bool { return sees(who, o) && req.matches(o) })
	if err != nil {
		return api.Page[OfferView]{}, err
	}
	items, err := s.view(ctx, docs...)
	if err != nil {
		return api.Page[OfferView]{}, err
	}
	for i := range items {
		items[i] = items[i].brief()
	}
	return api.NewPage(items, next), nil
}

// UpdateOffer implements Service.
func (s *service) UpdateOffer(ctx context.Context, req UpdateOfferRequest) (OfferView, error) {
	version, err := api.IfMatch(req.IfMatch)
	if err != nil {
		return OfferView{}, err
	}
	now, who := s.clock(), access.From(ctx)
	c, err := s.admit(ctx, &req.OfferRecord, now)
	if err != nil {
		return OfferView{}, err
	}
	d, err := s.offers.Update(ctx, req.ID, func(d *docstore.Doc[Offer]) error {
		switch o := &d.Body; {
		case !sees(who, o):
			return docstore.ErrNotFound
		case d.Version != version:
			return docstore.ErrStale
		case o.Status != OfferOpen:
			return api.Conflict("The offer is closed (%s).", o.CloseReason)
		case c.SourceID != "" && c.SourceID != o.Content.SourceID:
			return api.Invalid(api.Field{Path: "ref", Code: "fixed", Reason: "the name of an offer at its source does not change"})
		default:
			o.revise(s.emitter(ctx), d, o.Content.editedTo(c, req.PublishedOn.IsZero()), now, now)
			return nil
		}
	})
	if err != nil {
		return OfferView{}, err
	}
	return s.viewOne(ctx, d)
}

// Close implements Service.
func (s *service) Close(ctx context.Context, req CloseRequest) (OfferView, error) {
	now, who := s.clock(), access.From(ctx)
	if req.Reason != ReasonWithdrawn && req.Reason != ReasonExpired {
		return OfferView{}, api.Invalid(api.Field{Path: "reason", Code: "unknown", Reason: "withdrawn or expired expected; an offer is filled post by post"})
	}
	at, err := moment("occurred_at", req.OccurredAt, now)
	if err != nil {
		return OfferView{}, err
	}
	d, err := s.offers.Update(ctx, req.ID, func(d *docstore.Doc[Offer]) error {
		if !sees(who, &d.Body) {
			return docstore.ErrNotFound
		}
		return d.Body.closeBy(s.emitter(ctx), d, req.Reason, at, now)
	})
	if err != nil {
		return OfferView{}, err
	}
	return s.viewOne(ctx, d)
}

// Fill implements Service.
func (s *service) Fill(ctx context.Context, req FillRequest) (OfferView, error) {
	now, who := s.clock(), access.From(ctx)
	at, err := moment("occurred_at", req.OccurredAt, now)
	if err != nil {
		return OfferView{}, err
	}
	if len(req.CandidateID) > maxCode*2 {
		return OfferView{}, api.Invalid(api.Field{Path: "candidate_id", Code: "length", Reason: "not the id of a candidate"})
	}
	f := Fill{CandidateID: req.CandidateID, At: at}
	if key := api.Key(ctx); key != "" {
		f.Key, f.Fingerprint = api.IDFromKey(who.Subject, key), fingerprint(ctx)
	}
	d, err := s.offers.Update(ctx, req.ID, func(d *docstore.Doc[Offer]) error {
		if !sees(who, &d.Body) {
			return docstore.ErrNotFound
		}
		return d.Body.fill(s.emitter(ctx), d, f, now)
	})
	if errors.Is(err, errNoPost) {
		return OfferView{}, api.Conflict("There is %s.", err)
	}
	if err != nil {
		return OfferView{}, err
	}
	return s.viewOne(ctx, d)
}

// Decision is a decision of matching that takes a post of an offer for a person,
// or gives one back.
type Decision struct {
	ID          string // of the decision that takes the post
	OfferID     string
	CandidateID string
	At          time.Time // when it was taken
}

// ErrUnknownOffer says that a decision is about an offer that is not here.
var ErrUnknownOffer = errors.New("unknown offer")

// Hired implements Service. A decision that comes when no post is left waits for
// one, and is logged: a human sees it on the offer. One that comes after the offer
// was withdrawn or has expired is logged and left: matching keeps it.
func (s *service) Hired(ctx context.Context, h Decision) error {
	now := s.clock()
	f := Fill{DecisionID: h.ID, CandidateID: h.CandidateID, At: h.At.UTC().Truncate(time.Millisecond)}
	d, err := s.offers.Update(ctx, h.OfferID, func(d *docstore.Doc[Offer]) error {
		return d.Body.fill(s.emitter(ctx), d, f, now)
	})
	if errors.Is(err, errNoPost) {
		s.log.WarnContext(ctx, "a hired decision fills no post", "offer", h.OfferID, "decision", h.ID, "reason", err.Error())
		return nil
	}
	if err == nil && slices.ContainsFunc(d.Body.Fills, func(f Fill) bool { return f.Waiting && f.DecisionID == h.ID }) {
		s.log.WarnContext(ctx, "a hired decision waits: no post is left", "offer", h.OfferID, "decision", h.ID)
	}
	return s.about(h, err)
}

// Released implements Service.
func (s *service) Released(ctx context.Context, h Decision) error {
	now := s.clock()
	_, err := s.offers.Update(ctx, h.OfferID, func(d *docstore.Doc[Offer]) error {
		return d.Body.release(s.emitter(ctx), d, h.ID, h.At.UTC().Truncate(time.Millisecond), now)
	})
	return s.about(h, err)
}

// about says of which decision and offer an error is.
func (s *service) about(h Decision, err error) error {
	if errors.Is(err, docstore.ErrNotFound) {
		return fmt.Errorf("decision %s: %w %s", h.ID, ErrUnknownOffer, h.OfferID)
	}
	return err
}

// Expire implements Service.
func (s *service) Expire(ctx context.Context) (closed int, err error) {
	now := s.clock()
	q := docstore.Query{Index: byLastDay, Eq: []any{OfferOpen}, From: "0", Below: now.Format(time.DateOnly), Limit: 200}
	for {
		page, next, err := s.offers.Find(ctx, q)
		if err != nil {
			return closed, err
		}
		for _, found := range page {
			over := false
			_, err := s.offers.Update(ctx, found.ID, func(d *docstore.Doc[Offer]) error {
				o := &d.Body
				// Its end may have moved since we looked.
				end := o.expires()
				if over = o.Status == OfferOpen && !end.IsZero() && !end.After(now); !over {
					return docstore.Unchanged
				}
				o.close(s.emitter(ctx), d, ReasonExpired, end, now)
				return nil
			})
			if err != nil {
				return closed, err
			}
			if over {
				closed++
			}
		}
		if q.After = next; next == "" {
			return closed, nil
		}
	}
}

// moment is when a command says it happened; now when it does not say.
func moment(path string, at *time.Time, now time.Time) (time.Time, error) {
	if at == nil {
		return now, nil
	}
	t := at.UTC().Truncate(time.Millisecond)
	switch {
	case t.After(now.Add(time.Minute)): // clocks differ a little
		return t, api.Invalid(api.Field{Path: path, Code: "future", Reason: "not yet come"})
	case t.Year() < 2000:
		return t, api.Invalid(api.Field{Path: path, Code: "range", Reason: "before this programme"})
	}
	return t, nil
}
