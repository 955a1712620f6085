package matching

import (
	"context"
	"errors"
	"slices"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// source is the ce_source of our events.
const source = "/matching"

// Service is what can be asked of matching. Who asks is the principal of the
// context: whatever lies outside its scope does not exist for it. An employer
// sees its own offers, and of the people only those who consent to it, under
// ids that only it knows.
type Service interface {
	// Candidates proposes candidates for an offer, and counts those who are not
	// proposed by what they lack.
	Candidates(ctx context.Context, req CandidatesRequest) (CandidatesAnswer, error)
	// Offers proposes offers for a candidate, and shows what is missing for
	// those that nearly fit.
	Offers(ctx context.Context, req OffersRequest) (OffersAnswer, error)
	// Pair says whether one candidate fits one offer, and what would change that.
	Pair(ctx context.Context, req PairRequest) (PairAnswer, error)
	// Decide records what people decided about a candidate for an offer. The
	// same decision again is answered as the first time.
	Decide(ctx context.Context, req DecideRequest) (Decision, error)
	// Decisions lists cases, newest first.
	Decisions(ctx context.Context, req DecisionsRequest) (api.Page[CaseView], error)
	// Shortlist shows what an answer of Candidates or Offers was made from.
	Shortlist(ctx context.Context, req ShortlistRequest) (ShortlistView, error)
	// Replay makes such an answer again and says whether it is the same.
	Replay(ctx context.Context, req ShortlistRequest) (ReplayAnswer, error)
	// Learn applies an event of another service, once.
	Learn(ctx context.Context, e event.Event) (struct{}, error)
}

// service is the Service on documents and an index of them.
type service struct {
	*store
	index *Index
	names pseudonyms
	rules *Rules
	ready func() error // nil: the index holds every document
	now   func() time.Time

	looked    keptRosters
	past      *pastRules
	program   string // version
	campaigns *campaigns
}

var _ Service = (*service)(nil)

// clock is now, to the millisecond that stores keep.
func (s *service) clock() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// Learn implements Service.
func (s *service) Learn(ctx context.Context, e event.Event) (struct{}, error) {
	var err error
	about := kindOf(e)
	if about != aboutNothing && e.Seq < 1 {
		return struct{}{}, unusable("it has no sequence")
	}
	switch about {
	case aboutPerson:
		var id string
		if id, err = person(e); err != nil {
			return struct{}{}, err
		}
		if err = s.fairness.learn(ctx, e); err != nil {
			return struct{}{}, err
		}
		var d *docstore.Doc[Seeker]
		if d, err = learn(ctx, s.seekers, s.learned, id, e, s.clock()); err == nil {
			s.index.PutSeeker(d.ID, d.Version, &d.Body)
		}
	case aboutOffer:
		var d *docstore.Doc[Offer]
		if d, err = learn(ctx, s.offers, s.learned, e.Subject, e, s.clock()); err == nil {
			s.index.PutOffer(d.ID, d.Version, &d.Body)
		}
	case aboutEmployer:
		var d *docstore.Doc[Employer]
		if d, err = learn(ctx, s.employers, s.learned, e.Subject, e, s.clock()); err == nil {
			s.index.PutEmployer(d.ID, d.Version, &d.Body)
		}
	}
	return struct{}{}, err
}

// scope is what a principal may ask about.
func scope(who access.Principal) Scope {
	out := Scope{Governorates: who.Governorates, Schemes: who.Schemes}
	if who.Role == access.Employer {
		out.Employer = who.Employer
	}
	return out
}

// candidate reads an id as the principal knows it.
func (s *service) candidate(who access.Principal, id string) (string, error) {
	if who.Role != access.Employer {
		return id, nil
	}
	if real, ok := s.names.unmask(who.Employer, id); ok {
		return real, nil
	}
	return "", noCandidate()
}

// look is how a principal sees what is shown to it.
func (s *service) look(who access.Principal) look {
	if who.Role != access.Employer {
		return look{}
	}
	return s.lookOf(who.Employer)
}

func noOffer() error { return api.NotFound("There is no such offer, or not for you.") }

func noCandidate() error { return api.NotFound("There is no such candidate, or not for you.") }

// sees says whether the principal may know of an offer.
func sees(who access.Principal, employer, scheme string) bool {
	return who.Covers("", scheme) && who.ActsFor(employer)
}

// shownOffer gives an offer that the principal may know of.
func (s *service) shownOffer(ctx context.Context, who access.Principal, id string) (Posted, error) {
	posted, ok := s.index.Offer(id)
	if !ok {
		// Another replica may have learned of it a moment ago.
		d, err := s.offers.Get(ctx, id)
		if errors.Is(err, docstore.ErrNotFound) {
			return Posted{}, noOffer()
		}
		if err != nil {
			return Posted{}, err
		}
		s.index.PutOffer(d.ID, d.Version, &d.Body)
		posted, _ = s.index.Offer(id)
	}
	if !sees(who, posted.Employer, posted.Scheme) {
		return Posted{}, noOffer()
	}
	return posted, nil
}

// shownCandidate gives the id of a candidate whom the principal may know of, from
// the id that it knows.
func (s *service) shownCandidate(ctx context.Context, who access.Principal, id string) (string, error) {
	id, err := s.candidate(who, id)
	if err != nil {
		return "", err
	}
	p, ok := s.index.Person(id)
	if !ok {
		d, err := s.seekers.Get(ctx, id)
		if errors.Is(err, docstore.ErrNotFound) || err == nil && d.Body.Seq == 0 {
			return "", noCandidate()
		}
		if err != nil {
			return "", err
		}
		s.index.PutSeeker(d.ID, d.Version, &d.Body)
		p, _ = s.index.Person(id)
	}
	if !who.Covers(p.Governorate, "") || who.Role == access.Employer && !(p.Matching && p.Disclosure) {
		return "", noCandidate()
	}
	return id, nil
}

// Candidates implements Service.
func (s *service) Candidates(ctx context.Context, req CandidatesRequest) (CandidatesAnswer, error) {
	none, who := CandidatesAnswer{}, access.From(ctx)
	if err := s.ready(); err != nil {
		return none, err
	}
	posted, err := s.shownOffer(ctx, who, req.OfferID)
	if err != nil {
		return none, err
	}
	states, err := s.states(ctx, byOffer, req.OfferID, func(c *Case) string { return c.CandidateID })
	if err != nil {
		return none, err
	}
	taken, _, err := s.seats(ctx, req.OfferID)
	if err != nil {
		return none, err
	}
	r := &ShortlistRecord{Asked: s.asked(who, req.OfferID, req.Seed, req.K), Basis: s.basis(states)}
	r.OfferID, r.Left = req.OfferID, max(0, posted.Seats-taken)
	ask := r.ask(&r.Basis)
	ask.Witness, ask.Known = true, func(among string) bool {
		kept, known := s.looked.get(among)
		r.People, r.Looked = kept.name, kept.people
		return known
	}
	list, _ := s.index.Candidates(req.OfferID, ask)
	if list.Among == "" && r.People != "" { // somebody changed meanwhile
		ask.Known, r.People, r.Looked = nil, "", 0
		list, _ = s.index.Candidates(req.OfferID, ask)
	}
	return keep(ctx, s, r, list, candidatesAnswer(s.look(who)))
}

// candidatesAnswer is the answer to what a record asks, from what the index says;
// now, or when it is made again.
func candidatesAnswer(look look) func(r *ShortlistRecord, id string, list *Shortlist) CandidatesAnswer {
	return func(r *ShortlistRecord, id string, list *Shortlist) CandidatesAnswer {
		answer := CandidatesAnswer{
			OfferID: r.OfferID, AnswerBasis: r.view(id, list.Seq), Considered: list.Considered, Eligible: list.Eligible,
			Out: outViews(list.Out, list.Details), Candidates: []MatchedOne{},
		}
		for i := range list.Matches {
			m := &list.Matches[i]
			answer.Candidates = append(answer.Candidates, MatchedOne{
				Rank: i + 1, CandidateID: look.candidate(m.ID), Seq: m.Seq, Scored: scored(m), Decision: m.State,
			})
		}
		return answer
	}
}

// Offers implements Service.
func (s *service) Offers(ctx context.Context, req OffersRequest) (OffersAnswer, error) {
	none, who := OffersAnswer{}, access.From(ctx)
	if err := s.ready(); err != nil {
		return none, err
	}
	id, err := s.shownCandidate(ctx, who, req.CandidateID)
	if err != nil {
		return none, err
	}
	states, err := s.states(ctx, byCandidate, id, func(c *Case) string { return c.OfferID })
	if err != nil {
		return none, err
	}
	r := &ShortlistRecord{Asked: s.asked(who, req.CandidateID, req.Seed, req.K), Basis: s.basis(states)}
	r.CandidateID = id
	ask := r.ask(&r.Basis)
	ask.Witness = true
	list, ok := s.index.Offers(id, ask)
	if !ok {
		return none, noCandidate()
	}
	return keep(ctx, s, r, list, offersAnswer(s.look(who)))
}

// offersAnswer is to Offers what candidatesAnswer is to Candidates.
func offersAnswer(look look) func(r *ShortlistRecord, id string, list *Shortlist) OffersAnswer {
	return func(r *ShortlistRecord, id string, list *Shortlist) OffersAnswer {
		return OffersAnswer{
			CandidateID: look.candidate(r.CandidateID), AnswerBasis: r.view(id, list.Seq),
			Considered: list.Considered, Eligible: list.Eligible,
			Out: outViews(list.Out, nil), Offers: offerViews(list.Matches), NearMisses: offerViews(list.Near),
		}
	}
}

func offerViews(matches []Match) []MatchedOffer {
	out := []MatchedOffer{}
	for i := range matches {
		m := &matches[i]
		out = append(out, MatchedOffer{
			Rank: i + 1, OfferID: m.ID, Seq: m.Seq, Scored: scored(m), Decision: m.State, Failed: failedViews(m.Failed), Changes: changeViews(m.Changes),
		})
	}
	return out
}

// Pair implements Service.
func (s *service) Pair(ctx context.Context, req PairRequest) (PairAnswer, error) {
	none, who := PairAnswer{}, access.From(ctx)
	if err := s.ready(); err != nil {
		return none, err
	}
	posted, err := s.shownOffer(ctx, who, req.OfferID)
	if err != nil {
		return none, err
	}
	id, err := s.shownCandidate(ctx, who, req.CandidateID)
	if err != nil {
		return none, err
	}
	ask := Ask{Scope: scope(who), Today: DayOf(s.now()), States: map[string]string{}}
	switch c, err := s.cases.Get(ctx, CaseID(req.OfferID, id)); {
	case err == nil:
		ask.States[id] = c.Body.State
	case !errors.Is(err, docstore.ErrNotFound):
		return none, err
	}
	taken, _, err := s.seats(ctx, req.OfferID)
	if err != nil {
		return none, err
	}
	ask.Left = max(0, posted.Seats-taken)
	m, ok := s.index.Pair(req.OfferID, id, ask)
	if !ok {
		return none, noCandidate()
	}
	return PairAnswer{
		OfferID: req.OfferID, CandidateID: req.CandidateID, Seq: m.Seq, OfferSeq: m.OfferSeq,
		AsOf: ask.Today.String(), Weights: s.rules.Weights.Version, Reference: s.rules.Reference,
		Eligible: len(m.Failed) == 0, Scored: scored(&m), Decision: m.State,
		Failed: failedViews(m.Failed), Changes: changeViews(m.Changes), Possible: possible(m.Changes),
	}, nil
}

// attempts bounds how often a decision is tried when others decide on the same
// offer or person at the same moment.
const attempts = 20

// Decide implements Service.
func (s *service) Decide(ctx context.Context, req DecideRequest) (Decision, error) {
	who := access.From(ctx)
	candidate, err := s.candidate(who, req.CandidateID)
	if err != nil {
		return Decision{}, err
	}
	cmd := Command{Kind: req.Kind, OccurredAt: req.OccurredAt, Actor: who.Role, By: who.Subject}
	if req.Kind == Refused {
		if cmd.RefusedBy, cmd.Reason, err = req.refusal(who.Role); err != nil {
			return Decision{}, err
		}
	}
	if key := api.Key(ctx); key != "" {
		cmd.Key, cmd.Fingerprint = api.IDFromKey(who.Subject, key), api.Fingerprint(api.Body(ctx))
	}
	for range attempts {
		d, err := s.decide(ctx, who, cmd, req.OfferID, candidate)
		if err == nil {
			d.status = 201
			return d, nil
		}
		// A unique index says that somebody was faster: to the seat, the
		// pathway or the key. Look again: there may be another seat, or now
		// there is a reason to refuse.
		if !errors.Is(err, docstore.ErrExists) {
			return Decision{}, err
		}
	}
	return Decision{}, api.Unavailable("Too many decisions about the same offer or person at once.")
}

func (s *service) decide(ctx context.Context, who access.Principal, cmd Command, offerID, candidateID string) (Decision, error) {
	cmd.Now = s.clock()
	b := DecisionBasis{CaseID: CaseID(offerID, candidateID), OfferID: offerID, CandidateID: candidateID}
	// The key may have been used for another case.
	if c, err := s.byKey(ctx, cmd.Key); err != nil {
		return Decision{}, err
	} else if c != nil && c.ID != b.CaseID {
		return Decision{}, api.KeyReused()
	}
	offer, err := s.offers.Get(ctx, offerID)
	if errors.Is(err, docstore.ErrNotFound) || err == nil && !sees(who, offer.Body.EmployerID, offer.Body.Scheme) {
		return Decision{}, noOffer()
	}
	if err != nil {
		return Decision{}, err
	}
	seeker, err := s.seekers.Get(ctx, candidateID)
	if errors.Is(err, docstore.ErrNotFound) || err == nil && (seeker.Body.Seq == 0 || !who.Covers(seeker.Body.Governorate, "")) {
		return Decision{}, noCandidate()
	}
	if err != nil {
		return Decision{}, err
	}
	b.Offer, b.Seeker = &offer.Body, &seeker.Body
	if b.Suspended, err = s.suspended(ctx, offer.Body.EmployerID); err != nil {
		return Decision{}, err
	}
	p := s.rules.Person(b.Seeker)
	if t := trackIn(&p, b.Offer.Scheme); t != nil && t.Engaged {
		i := slices.IndexFunc(b.Seeker.Pathways, func(w Pathway) bool { return w.ID == t.Pathway })
		if b.Freed, err = s.freed(ctx, candidateID, &b.Seeker.Pathways[i]); err != nil {
			return Decision{}, err
		}
	}
	if cmd.Kind == Accepted || cmd.Kind == Hired {
		if b.Holders, b.Seat, err = s.seats(ctx, offerID); err != nil {
			return Decision{}, err
		}
		if b.Taken, err = s.heldElsewhere(ctx, b); err != nil {
			return Decision{}, err
		}
	}

	var step Step
	_, err = s.cases.Upsert(ctx, b.CaseID, func(d *docstore.Doc[Case]) error {
		made, fresh, err := d.Body.decide(s.rules, b, cmd)
		if err != nil {
			return err
		}
		step = *made
		if !fresh {
			return docstore.Unchanged
		}
		d.Emit(recorded(b, &step).Outgoing(ctx, event.TopicMatching))
		return nil
	})
	if err != nil {
		return Decision{}, err
	}
	return s.look(who).decision(b.CaseID, offerID, candidateID, &step), nil
}

// recorded is the event that tells of a decision.
func recorded(b DecisionBasis, step *Step) event.Event {
	data := &matchingv1.DecisionRecorded{
		DecisionId: step.ID, OfferId: b.OfferID, CandidateId: b.CandidateID, PathwayId: step.PathwayID,
		Kind: step.Kind, Actor: step.Actor, Score: step.Score, WeightsVersion: step.Weights,
		RefusedBy: step.RefusedBy, Reason: step.Reason, HeldBy: step.HeldBy, Consent: step.Consent,
	}
	for _, p := range step.Parts {
		data.Parts = append(data.Parts, &matchingv1.ScorePart{Name: p.Name, Value: p.Value, Weight: p.Weight})
	}
	return event.New(source, b.CaseID, step.OccurredAt, step.RecordedAt, data)
}

// scanned bounds how many pages of cases one answer looks through for a
// principal whose scope leaves most of them out.
const scanned = 10

// Decisions implements Service.
func (s *service) Decisions(ctx context.Context, req DecisionsRequest) (api.Page[CaseView], error) {
	who, page := access.From(ctx), api.Page[CaseView]{Items: []CaseView{}}
	candidate := ""
	if req.Candidate != "" {
		var err error
		if candidate, err = s.candidate(who, req.Candidate); err != nil {
			return page, nil // an id of nobody has no cases
		}
	}
	find := docstore.Query{Index: byCreated, Desc: true, After: req.Cursor}
	switch {
	case req.Offer != "" && candidate != "":
		d, err := s.cases.Get(ctx, CaseID(req.Offer, candidate))
		if errors.Is(err, docstore.ErrNotFound) {
			return page, nil
		}
		if err == nil && s.covers(who, &d.Body) {
			page.Items = append(page.Items, s.look(who).view(d.ID, &d.Body))
		}
		return page, err
	case req.Offer != "":
		find.Index, find.Eq = byOffer, []any{req.Offer}
	case candidate != "":
		find.Index, find.Eq = byCandidate, []any{candidate}
	case who.Role == access.Employer:
		find.Index, find.Eq = byEmployer, []any{who.Employer}
	}
	for range scanned {
		// Ask for what is still missing, so that the cursor is where the page ends.
		find.Limit = req.Limit - len(page.Items)
		cases, next, err := s.cases.Find(ctx, find)
		if err != nil {
			return api.Page[CaseView]{}, err
		}
		for _, d := range cases {
			if s.covers(who, &d.Body) {
				page.Items = append(page.Items, s.look(who).view(d.ID, &d.Body))
			}
		}
		page.Next, find.After = next, next
		if next == "" || len(page.Items) >= req.Limit {
			break
		}
	}
	return page, nil
}

// covers says whether a principal may see a case. An employer sees those of its
// offers, of people who consent to it now.
func (s *service) covers(who access.Principal, c *Case) bool {
	if !who.Covers(c.Governorate, c.Scheme) {
		return false
	}
	if who.Role != access.Employer {
		return true
	}
	p, ok := s.index.Person(c.CandidateID)
	return c.EmployerID == who.Employer && ok && p.Disclosure
}
