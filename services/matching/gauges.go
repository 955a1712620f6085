package matching

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/docstore"
	"masar.local/pkg/telemetry"
)

// The gauges say how matching stands now: numbers, and nobody and no offer by name.
// They are worked out in the background, from documents by their indexes and from
// what is in memory, in a small share of the time; a scrape reads what was found
// last. Every replica does so and says the same, so that boards take the greatest.

const (
	gaugesEvery = 15 * time.Second // as often as one usually scrapes
	gaugesShare = 20               // what takes long comes less often: of the time, one part in so many
	// proposing is how many campaigns, the last that are done, have proposals.
	proposing = 20
)

// campaignStates are all that a campaign can be in.
var campaignStates = []string{CampaignQueued, CampaignRunning, CampaignDone, CampaignInfeasible, CampaignCancelled, CampaignFailed}

// stepProposed is where a pair is that a campaign proposes and nobody has decided
// about.
const stepProposed = "proposed"

// awaitingSteps are the steps after which a decision is awaited: see awaited.
var awaitingSteps = []string{stepProposed, Shortlisted, Disclosed, Interview, Offered, Accepted}

// lasting are the conditions whose failure ends the wait for a decision: the offer
// takes nobody more, or the person is not to be had. Whatever else a pair may lack
// meanwhile is for those who decide.
var lasting = []string{CondOffer, CondPosts, CondEmployer, CondFree, CondConsent}

// gauges keep what was found last.
type gauges struct {
	*campaigns
	proposals map[string]*proposals // by campaign; only look uses them

	mu   sync.Mutex
	last *overview // nil: nothing was found yet
}

// overview is what the gauges say.
type overview struct {
	campaigns map[string]int64    // by state
	awaited   map[string]awaiting // by step
}

// awaiting is how many decisions are awaited, and since when the first of them is.
type awaiting struct {
	count int64
	since time.Time
}

// proposals are whom a campaign that is done places, by offer; every offer that took
// part is there.
type proposals struct {
	since  time.Time
	placed map[string][]string
}

func newGauges(c *campaigns) *gauges {
	return &gauges{campaigns: c, proposals: map[string]*proposals{}}
}

// publish registers the metrics.
func (g *gauges) publish(meter metric.Meter) error {
	campaigns, err := meter.Int64ObservableGauge(telemetry.MatchingCampaigns,
		metric.WithDescription("Campaigns, by status"), metric.WithUnit("{campaign}"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.MatchingCampaigns, err)
	}
	count, err := meter.Int64ObservableGauge(telemetry.MatchingAwaited,
		metric.WithDescription("Decisions that people are awaited to make about a candidate for an offer, by the step that was reached"), metric.WithUnit("{decision}"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.MatchingAwaited, err)
	}
	age, err := meter.Float64ObservableGauge(telemetry.MatchingAwaitedAge,
		metric.WithDescription("How long the first of these decisions has been awaited; 0 when none is"), metric.WithUnit("s"))
	if err != nil {
		return fmt.Errorf("metric %s: %w", telemetry.MatchingAwaitedAge, err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		g.mu.Lock()
		last := g.last
		g.mu.Unlock()
		if last == nil {
			return nil
		}
		for _, state := range campaignStates {
			o.ObserveInt64(campaigns, last.campaigns[state], metric.WithAttributes(attribute.String(telemetry.CampaignStatus, state)))
		}
		for _, step := range awaitingSteps {
			a, at := last.awaited[step], metric.WithAttributes(attribute.String(telemetry.DecisionStep, step))
			o.ObserveInt64(count, a.count, at)
			waited := time.Duration(0)
			if a.count > 0 {
				waited = max(0, g.now().Sub(a.since))
			}
			o.ObserveFloat64(age, waited.Seconds(), at)
		}
		return nil
	}, campaigns, count, age)
	return err
}

// run looks again and again until ctx ends.
func (g *gauges) run(ctx context.Context) error { return g.keepLooking(ctx, "the gauges", g.look) }

// keepLooking looks again and again until ctx ends, first when the index is loaded.
func (c *campaigns) keepLooking(ctx context.Context, what string, look func(context.Context) error) error {
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		if c.ready() != nil {
			wait = refreshEvery
			continue
		}
		began := time.Now()
		if err := look(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "matching: "+what+" are not up to date; trying again", "error", err)
		}
		wait = max(gaugesEvery, gaugesShare*time.Since(began))
	}
}

// look finds out how everything stands.
func (g *gauges) look(ctx context.Context) error {
	found := &overview{campaigns: map[string]int64{}}
	for _, state := range campaignStates {
		for after := ""; ; {
			// The bodies are not read: the engine's own documents will do.
			page, next, err := g.engine.Find(ctx, campaignsSchema.Collection, docstore.Query{Index: byStatus, Eq: []any{state}, After: after, Limit: 500})
			if err != nil {
				return fmt.Errorf("matching: count the campaigns: %w", err)
			}
			found.campaigns[state] += int64(len(page))
			if after = next; next == "" {
				break
			}
		}
	}
	var err error
	if found.awaited, err = g.awaited(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = found
	return nil
}

// awaited counts the pairs of an offer and a candidate about which a decision is
// awaited, by the step that was reached:
//
//   - proposed by a campaign, with nothing decided, as long as the candidate could be
//     shortlisted. An offer's proposals are those of the last campaign that is done and
//     had it: a later one takes the place of those before it.
//   - shortlisted, disclosed, interview or offered, as long as the offer has a post left
//     and the person is free for it and consents. When the offer was filled or the
//     person was hired elsewhere nobody waits any more, though nobody records a refusal.
//   - accepted, as long as the pathway is open: the contract is awaited.
//
// Each is awaited since the last decision was made, or the campaign was done.
func (g *gauges) awaited(ctx context.Context) (map[string]awaiting, error) {
	out := map[string]awaiting{}
	add := func(step string, since time.Time) {
		a := out[step]
		if a.count++; a.count == 1 || since.Before(a.since) {
			a.since = since
		}
		out[step] = a
	}
	open := map[string]*Demand{} // offers, as they are now; nil: takes nobody
	demand := func(id string) (*Demand, error) {
		if d, known := open[id]; known {
			return d, nil
		}
		d, err := g.taking(ctx, id)
		if err == nil {
			open[id] = d
		}
		return d, err
	}
	today := DayOf(g.now())
	for _, step := range awaitingSteps[1:] {
		for after := ""; ; {
			cases, next, err := g.cases.Find(ctx, docstore.Query{Index: byState, Eq: []any{step}, After: after, Limit: 500})
			if err != nil {
				return nil, fmt.Errorf("matching: cases at %s: %w", step, err)
			}
			for _, c := range cases {
				p, ok := g.index.Person(c.Body.CandidateID)
				if !ok || trackIn(&p, c.Body.Scheme) == nil {
					continue
				}
				if step != Accepted {
					d, err := demand(c.Body.OfferID)
					if err != nil {
						return nil, err
					}
					if d == nil || !lasts(&Pair{Offer: d, Person: &p, Today: today, Kind: Shortlisted, State: step}) {
						continue
					}
				}
				add(step, c.Body.Steps[len(c.Body.Steps)-1].OccurredAt)
			}
			if after = next; next == "" {
				break
			}
		}
	}
	campaigns, err := g.proposed(ctx)
	if err != nil {
		return nil, err
	}
	later := map[string]bool{} // offers that a later campaign had
	for _, c := range campaigns {
		for offer, candidates := range c.placed {
			if later[offer] {
				continue
			}
			later[offer] = true
			d, err := demand(offer)
			if err != nil {
				return nil, err
			}
			if d == nil || len(candidates) == 0 {
				continue
			}
			decided, err := g.states(ctx, byOffer, offer, func(c *Case) string { return c.CandidateID })
			if err != nil {
				return nil, err
			}
			for _, id := range candidates {
				p, ok := g.index.Person(id)
				if !ok || decided[id] != "" {
					continue
				}
				if failed(&Pair{Offer: d, Person: &p, Today: today, Kind: Shortlisted}, 0) == len(Conditions) {
					add(stepProposed, c.since)
				}
			}
		}
	}
	return out, nil
}

// lasts says whether the wait for a decision about a pair goes on.
func lasts(p *Pair) bool {
	return !slices.ContainsFunc(Conditions, func(c Condition) bool { return slices.Contains(lasting, c.Name) && !c.Check(p).OK })
}

// taking gives an offer as it is now, with the posts that decisions have left; nil
// when it takes nobody.
func (g *gauges) taking(ctx context.Context, id string) (*Demand, error) {
	d, _, ok := g.index.demand(id)
	if !ok || !d.Open || d.Left <= 0 {
		return nil, nil
	}
	posted, _ := g.index.Offer(id)
	taken, _, err := g.seats(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("matching: the seats of an offer: %w", err)
	}
	d.Left = max(0, min(d.Left, posted.Seats-taken))
	return &d, nil
}

// proposed gives the proposals of the last campaigns that are done, the last first.
// A result never changes: each is read once.
func (g *gauges) proposed(ctx context.Context) ([]*proposals, error) {
	done, _, err := g.docs.Find(ctx, docstore.Query{Index: byStatus, Eq: []any{CampaignDone}, Desc: true, Limit: proposing})
	if err != nil {
		return nil, fmt.Errorf("matching: the last campaigns: %w", err)
	}
	var list []*proposals
	kept := map[string]*proposals{}
	for _, d := range done {
		p := g.proposals[d.ID]
		if p == nil {
			var out struct { // of an Outcome
				Offers      []OutcomeOffer `json:"offers"`
				Assignments []Assignment   `json:"assignments"`
			}
			if err := g.blobs.readJSON(ctx, d.Body.Result, &out); err != nil {
				return nil, err
			}
			p = &proposals{since: d.Body.FinishedAt, placed: make(map[string][]string, len(out.Offers))}
			for _, o := range out.Offers {
				p.placed[o.ID] = nil
			}
			for _, a := range out.Assignments {
				p.placed[a.OfferID] = append(p.placed[a.OfferID], a.CandidateID)
			}
		}
		kept[d.ID] = p
		list = append(list, p)
	}
	g.proposals = kept
	return list, nil
}
