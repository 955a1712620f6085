package matching

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	matchingv1 "masar.local/proto/masar/matching/v1"
	"masar.local/services/matching/allocation"
)

// Timing of the background.
const (
	campaignLease    = "matching.campaigns"
	campaignLeaseTTL = 15 * time.Second
	campaignPoll     = time.Second            // how soon work that another replica took in is seen
	campaignBeat     = 500 * time.Millisecond // how often progress is written, and a cancellation looked for
	// campaignAttempts bounds how often a campaign is begun again: one that brings
	// the process down every time must not do so for ever.
	campaignAttempts = 5
)

// errWithdrawn ends the work on a campaign that somebody cancelled, or that
// another replica has begun again.
var errWithdrawn = errors.New("matching: the campaign is no longer to be worked out here")

// run works on campaigns until ctx ends: of all replicas, the one that has the
// lease.
func (c *campaigns) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := docstore.Hold(ctx, c.engine, campaignLease, c.holder, campaignLeaseTTL, c.loop)
		if err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "matching: campaigns are interrupted; trying again", "error", err)
			c.pause(ctx)
		}
	}
	return nil
}

func (c *campaigns) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		worked, err := c.pass(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "matching: a campaign waits; trying again", "error", err)
		}
		if !worked || err != nil {
			c.pause(ctx)
		}
	}
	return ctx.Err()
}

func (c *campaigns) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-c.poke:
	case <-time.After(campaignPoll):
	}
}

// pass works out the campaign that has waited longest; those first that somebody
// began and did not end.
func (c *campaigns) pass(ctx context.Context) (worked bool, err error) {
	for _, status := range []string{CampaignRunning, CampaignQueued} {
		found, _, err := c.docs.Find(ctx, docstore.Query{Index: byStatus, Eq: []any{status}, Limit: 1})
		if err != nil {
			return false, err
		}
		if len(found) > 0 {
			return true, c.work(ctx, found[0].ID)
		}
	}
	return false, nil
}

// work works out one campaign. An error is one after which it is to be tried
// again.
func (c *campaigns) work(ctx context.Context, id string) error {
	d, err := c.docs.Update(ctx, id, func(d *docstore.Doc[Campaign]) error {
		switch b := &d.Body; {
		case b.Status != CampaignQueued && b.Status != CampaignRunning:
			return errWithdrawn
		case b.Attempt >= campaignAttempts:
			b.Status, b.FinishedAt = CampaignFailed, c.clock()
			b.Failure = fmt.Sprintf("begun %d times and never ended", b.Attempt)
			return nil
		default:
			b.Status, b.Progress = CampaignRunning, CampaignProgress{Phase: PhaseInputs}
			b.Attempt++
			if b.StartedAt.IsZero() {
				b.StartedAt = c.clock()
			}
			return nil
		}
	})
	if errors.Is(err, errWithdrawn) {
		return nil
	}
	if err != nil || d.Body.Status == CampaignFailed {
		return err
	}
	j := &job{campaigns: c, id: id, body: d.Body}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.watch(ctx, cancel)
	}()
	err = j.finish(ctx)
	cancel(nil)
	<-ended
	switch cause := context.Cause(ctx); {
	case err == nil, errors.Is(err, errWithdrawn), errors.Is(cause, errWithdrawn):
		return nil
	case errors.Is(err, docstore.ErrUnavailable) || errors.Is(err, context.Canceled):
		return j.again(err)
	}
	c.log.ErrorContext(ctx, "matching: a campaign failed", "campaign", id, "error", err)
	return j.end(context.WithoutCancel(ctx), func(b *Campaign) { b.Status, b.Failure = CampaignFailed, err.Error() }, nil)
}

// job is one attempt at a campaign.
type job struct {
	*campaigns
	id   string
	body Campaign // as it was when the attempt began
	now  atomic.Pointer[CampaignProgress]
}

// again counts an attempt that ended from outside as none.
func (j *job) again(cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := j.docs.Update(ctx, j.id, func(d *docstore.Doc[Campaign]) error {
		if !j.ours(d) {
			return docstore.Unchanged
		}
		d.Body.Attempt--
		return nil
	})
	return errors.Join(cause, err)
}

// ours says whether the campaign is still this attempt's.
func (j *job) ours(d *docstore.Doc[Campaign]) bool {
	return d.Body.Status == CampaignRunning && d.Body.Attempt == j.body.Attempt
}

// phase says what is being done.
func (j *job) phase(ctx context.Context, name string) {
	j.now.Store(&CampaignProgress{Phase: name})
	j.reached(ctx, name)
}

// watch writes the progress now and then, and ends the work when the campaign is
// cancelled.
func (j *job) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	beat := time.NewTicker(campaignBeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		_, err := j.docs.Update(ctx, j.id, func(d *docstore.Doc[Campaign]) error {
			if !j.ours(d) {
				return errWithdrawn
			}
			p := j.now.Load()
			if p == nil || *p == d.Body.Progress {
				return docstore.Unchanged
			}
			d.Body.Progress = *p
			return nil
		})
		if errors.Is(err, errWithdrawn) {
			cancel(errWithdrawn)
			return
		}
	}
}

// end writes how a campaign ended, and the event that tells of it.
func (j *job) end(ctx context.Context, change func(*Campaign), completed *matchingv1.CampaignCompleted) error {
	_, err := j.docs.Update(ctx, j.id, func(d *docstore.Doc[Campaign]) error {
		if !j.ours(d) {
			return errWithdrawn
		}
		d.Body.FinishedAt = j.clock()
		change(&d.Body)
		if completed != nil {
			d.Emit(event.New(source, j.id, d.Body.FinishedAt, d.Body.FinishedAt, completed).Outgoing(ctx, event.TopicMatching))
		}
		return nil
	})
	return err
}

// finish works the campaign out and stores what comes of it.
func (j *job) finish(ctx context.Context) error {
	j.phase(ctx, PhaseInputs)
	var in *campaignInputs
	var offers []marketOffer
	var people []marketPerson
	var err error
	if j.body.Inputs == nil {
		if in, offers, people, err = j.gather(ctx, &j.body); err != nil {
			return err
		}
		blob, err := j.blobs.writeJSON(ctx, j.id+"/inputs", in)
		if err != nil {
			return err
		}
		if _, err := j.docs.Update(ctx, j.id, func(d *docstore.Doc[Campaign]) error {
			if !j.ours(d) {
				return errWithdrawn
			}
			d.Body.Inputs = blob
			return nil
		}); err != nil {
			return err
		}
		j.body.Inputs = blob
	} else {
		in = &campaignInputs{}
		if err := j.blobs.readJSON(ctx, j.body.Inputs, in); err != nil {
			return err
		}
		if offers, people, err = j.recall(ctx, in); err != nil {
			return err
		}
	}
	out, conflict, err := j.compute(ctx, &j.body, in, offers, people, func(phase string, done, total int64) {
		if done == 0 {
			j.phase(ctx, phase)
		} else {
			j.now.Store(&CampaignProgress{phase, done, total})
		}
	})
	if err != nil {
		return err
	}
	if conflict != nil {
		return j.end(ctx, func(b *Campaign) {
			b.Status, b.Conflict, b.Summary = CampaignInfeasible, conflict, &out.Summary
		}, nil)
	}
	j.phase(ctx, PhaseStoring)
	blob, err := j.blobs.writeJSON(ctx, j.id+"/result", out)
	if err != nil {
		return err
	}
	return j.end(ctx, func(b *Campaign) {
		b.Status, b.Result, b.Summary = CampaignDone, blob, &out.Summary
		b.Progress = CampaignProgress{Phase: PhaseStoring, Done: 1, Total: 1}
	}, completed(j.id, out))
}

// completed is the event of a campaign that is done: numbers only.
func completed(id string, out *Outcome) *matchingv1.CampaignCompleted {
	e := &matchingv1.CampaignCompleted{
		CampaignId: id, Objective: out.Objective, Offers: int32(out.Summary.Offers), Candidates: int32(out.Summary.Candidates),
		Posts: int32(out.Summary.Posts), Filled: int32(out.Summary.Filled), Score: out.Summary.Score,
	}
	for _, o := range out.Occupations {
		e.Occupations = append(e.Occupations, &matchingv1.OccupationScarcity{
			Rome: o.Rome, Posts: int32(o.Posts), Filled: int32(o.Filled), Candidates: int32(o.Candidates), Unplaced: int32(o.Unplaced),
			OneMoreCandidate: int32(o.OneMoreCandidate), OneMorePost: int32(o.OneMorePost),
		})
	}
	return e
}

// Outcome is the result of a campaign. Its JSON is what is stored and what a
// replay must come to, byte by byte.
type Outcome struct {
	Objective   string               `json:"objective"`
	AsOf        string               `json:"as_of"`
	Seed        string               `json:"seed"`
	Weights     string               `json:"weights_version"`
	Reference   string               `json:"reference_version"`
	Summary     CampaignSummary      `json:"summary"`
	Offers      []OutcomeOffer       `json:"offers"` // by id
	Quotas      []OutcomeQuota       `json:"quotas"`
	Occupations []OccupationScarcity `json:"occupations"` // by code
	Conditions  []ConditionScarcity  `json:"conditions"`  // the most placements first
	Assignments []Assignment         `json:"assignments"` // by offer, the best score first
	// Prices are the certificate, with those of Offers and Quotas: of the ground,
	// and of each eligible person. None for a stable matching.
	Ground int64         `json:"ground_price"`
	Prices []PersonPrice `json:"prices"`
}

// OutcomeOffer is an offer in the result.
type OutcomeOffer struct {
	ID     string `json:"offer_id"`
	Rome   string `json:"rome"`
	Scheme string `json:"scheme"`
	Posts  int64  `json:"posts"`
	Filled int64  `json:"filled"`
	Price  int64  `json:"price"`
	Margin
}

// OutcomeQuota is a quota in the result.
type OutcomeQuota struct {
	Quota
	Placed int64 `json:"placed"`
	Price  int64 `json:"price"`
	// Looser is how many more would be placed if the maximum were one more, or the
	// minimum one less.
	Looser int64 `json:"one_looser"`
}

// Assignment is one placement that a campaign proposes.
type Assignment struct {
	OfferID     string `json:"offer_id"`
	CandidateID string `json:"candidate_id"`
	Governorate string `json:"governorate"` // the candidate's
	Scheme      string `json:"scheme"`      // the offer's
	Score       int32  `json:"score"`
	Kept        bool   `json:"kept"` // as in the previous campaign
}

// PersonPrice is what an eligible person's place is worth.
type PersonPrice struct {
	ID    string `json:"candidate_id"`
	Price int64  `json:"price"`
}

// compute works out a campaign from what it was given, and from nothing else.
// What is not possible is a conflict, no error.
func (c *campaigns) compute(ctx context.Context, body *Campaign, in *campaignInputs, offers []marketOffer, people []marketPerson,
	tell func(phase string, done, total int64),
) (*Outcome, *Conflict, error) {
	rules, err := c.past.of(in.Weights, in.Reference)
	if err != nil {
		return nil, nil, err
	}
	tell(PhasePairs, 0, 0)
	m, err := newMarket(ctx, rules, ParseDay(in.AsOf), in.Seed, offers, people)
	if err != nil {
		return nil, nil, err
	}
	kept, err := c.keptOf(ctx, body.Previous, m)
	if err != nil {
		return nil, nil, err
	}
	out := &Outcome{
		Objective: body.Objective, AsOf: in.AsOf, Seed: in.Seed, Weights: in.Weights, Reference: in.Reference,
		Offers: []OutcomeOffer{}, Quotas: []OutcomeQuota{}, Occupations: []OccupationScarcity{}, Conditions: []ConditionScarcity{},
		Assignments: []Assignment{}, Prices: []PersonPrice{},
	}
	t := newTask(m, body.Quotas, kept)
	out.Summary = CampaignSummary{Offers: len(m.offers), Pairs: len(m.pairs), Candidates: len(m.eligible())}
	for _, posts := range t.posts {
		out.Summary.Posts += posts
	}
	tell(PhaseSolving, 0, 0)
	if body.Objective == ObjectiveStable {
		var rankings []Ranking
		if body.Rankings != nil {
			if err := c.blobs.readJSON(ctx, body.Rankings, &rankings); err != nil {
				return nil, nil, err
			}
		}
		s, err := t.stable(rankings)
		if err != nil {
			return nil, nil, err
		}
		out.write(t, s, nil)
		out.Summary.Verified = verifiedStable
		return out, nil, nil
	}
	s, n, err := t.solve(ctx, nil, func(done, total int64) {
		if done > 0 {
			tell(PhaseSolving, done, total)
		}
	})
	var impossible *allocation.Infeasible
	if errors.As(err, &impossible) {
		conflict := n.conflict(impossible)
		out.Summary.Verified = verifiedCut
		return out, &conflict, nil
	}
	if err != nil {
		return nil, nil, err
	}
	tell(PhaseScarcity, 0, 0)
	margins := s.margins()
	out.write(t, s, margins)
	if out.Conditions, err = s.conditions(ctx, func(done, total int64) { tell(PhaseScarcity, done, total) }); err != nil {
		return nil, nil, err
	}
	out.Summary.Verified = verifiedFlow
	return out, nil, nil
}

// eligible lists those who may be placed at all, by number.
func (m *market) eligible() []int32 {
	seen := make([]bool, len(m.people))
	for _, pair := range m.pairs {
		seen[pair.person] = true
	}
	var out []int32
	for p, ok := range seen {
		if ok {
			out = append(out, int32(p))
		}
	}
	return out
}

// write puts a solution into the result. margins are nil for a stable matching.
func (out *Outcome) write(t *task, s *solution, margins *margins) {
	out.Summary.Filled, out.Summary.Score, out.Summary.Kept = s.placed, s.total, s.kept
	for o := range t.offers {
		offer := OutcomeOffer{ID: t.offers[o].id, Rome: t.offers[o].demand.Rome, Scheme: t.offers[o].demand.Scheme, Posts: t.posts[o], Filled: s.filled[o]}
		if margins != nil {
			offer.Margin, offer.Price = margins.offers[o], s.plan.Price[t.offerNode(o)]
		}
		out.Offers = append(out.Offers, offer)
	}
	for i, q := range t.quotas {
		out.Quotas = append(out.Quotas, OutcomeQuota{q, s.within(q), s.plan.Price[s.net.quotaNode[i]], margins.quotas[i]})
	}
	out.Occupations = occupations(t, s, margins)
	for p, o := range s.offer {
		if o >= 0 {
			out.Assignments = append(out.Assignments, Assignment{
				OfferID: t.offers[o].id, CandidateID: t.people[p].id, Governorate: t.people[p].person.Governorate,
				Scheme: t.offers[o].demand.Scheme, Score: s.score[p], Kept: t.kept != nil && t.kept[p] == o,
			})
		}
	}
	slices.SortStableFunc(out.Assignments, func(a, b Assignment) int { // equals stay in the order of their lots
		return cmp.Or(cmp.Compare(a.OfferID, b.OfferID), cmp.Compare(b.Score, a.Score))
	})
	if margins != nil {
		out.Ground = s.plan.Price[ground]
		for _, p := range t.eligible() {
			out.Prices = append(out.Prices, PersonPrice{t.people[p].id, s.plan.Price[t.personNode(p)]})
		}
	}
}

// stable finds the stable matching that is best for every candidate. Candidates
// order offers by score; an offer orders candidates by the employer's ranking,
// then by score. Equals are ordered by lots: one for each person, one for each
// offer.
func (t *task) stable(rankings []Ranking) (*solution, error) {
	p := &allocation.Preferences{Candidates: make([][]int32, len(t.people)), Offers: make([][]int32, len(t.offers)), Posts: make([]int32, len(t.offers))}
	place := map[string]map[string]int{} // of a candidate in the ranking of an offer
	for _, r := range rankings {
		place[r.Offer] = map[string]int{}
		for i, group := range r.Candidates {
			for _, id := range group {
				place[r.Offer][id] = i
			}
		}
	}
	scores := make([]map[int32]int32, len(t.people)) // by offer
	lot := newTop(0, t.seed).seed
	lots := make([]uint64, len(t.offers))
	for o := range t.offers {
		lots[o] = draw(lot, t.offers[o].id)
		p.Posts[o] = int32(t.posts[o])
		list := slices.Clone(t.pairs[t.first[o]:t.first[o+1]])
		ranked := place[t.offers[o].id]
		rank := func(person int32) int {
			if at, ok := ranked[t.people[person].id]; ok {
				return at
			}
			return len(t.people) + 1 // after all who are ranked
		}
		slices.SortStableFunc(list, func(a, b marketPair) int { // by lot already
			if c := rank(a.person) - rank(b.person); c != 0 {
				return c
			}
			if rank(a.person) <= len(t.people) {
				return 0 // equals in the employer's eyes: the score has no say
			}
			return int(b.score) - int(a.score)
		})
		for _, pair := range list {
			p.Offers[o] = append(p.Offers[o], pair.person)
			p.Candidates[pair.person] = append(p.Candidates[pair.person], int32(o))
			if scores[pair.person] == nil {
				scores[pair.person] = map[int32]int32{}
			}
			scores[pair.person][int32(o)] = pair.score
		}
	}
	for person, list := range p.Candidates {
		slices.SortFunc(list, func(a, b int32) int {
			if c := scores[person][b] - scores[person][a]; c != 0 {
				return int(c)
			}
			if lots[a] < lots[b] {
				return -1
			}
			return 1
		})
	}
	found, err := allocation.Stable(p)
	if err != nil {
		return nil, fmt.Errorf("matching: stable matching: %w", err)
	}
	if err := allocation.VerifyStable(p, found.Offer); err != nil {
		return nil, fmt.Errorf("matching: the verifier refuses the matching: %w", err)
	}
	s := &solution{net: &network{task: t}, offer: found.Offer, score: make([]int32, len(t.people)), filled: make([]int64, len(t.offers))}
	for person, o := range found.Offer {
		if o >= 0 {
			s.score[person] = scores[person][o]
			s.placed, s.total, s.filled[o] = s.placed+1, s.total+int64(scores[person][o]), s.filled[o]+1
			if t.kept != nil && t.kept[person] == o {
				s.kept++
			}
		}
	}
	return s, nil
}
