package matching

import (
	"context"
	"errors"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/services/matching/allocation"
)

// fairnessReports answers how fair a campaign is, once it has a result. It asks a
// campaign for ids and hands ids back; what people have in common stays here.
type fairnessReports struct {
	campaigns *campaigns
	groups    *groupBook
}

// mountFairness adds the routes of the report.
func mountFairness(r *api.Router, c *campaigns) {
	reports := fairnessReports{c, c.fairness}
	api.Handle(r, "GET /api/matching/campaigns/{id}/fairness", access.FairnessRead, reports.Report)
	api.Handle(r, "GET /api/matching/campaigns/{id}/fairness/price", access.FairnessRead, reports.Price, api.Timeout(solveTimeout))
}

// ParityRequest asks for the price of parity for one group.
type ParityRequest struct {
	ID        string `path:"id"`
	Attribute string `query:"attribute"` // BySex, ByGovernorate or ByDiploma
	Code      string `query:"code"`      // of the group
	Points    int    `query:"points" default:"5" min:"1" max:"20"`
}

// Validate implements api.Validator.
func (r *ParityRequest) Validate() error {
	for _, a := range fairnessAttributes() {
		if a.name == r.Attribute {
			return nil
		}
	}
	return api.Invalid(api.Field{Path: "query.attribute", Code: "unknown", Reason: "one of " + BySex + ", " + ByGovernorate + ", " + ByDiploma})
}

// Report compares the groups of those who could be placed by a campaign.
func (f fairnessReports) Report(ctx context.Context, req CampaignID) (FairnessReport, error) {
	if err := f.whole(ctx); err != nil {
		return FairnessReport{}, err
	}
	return f.of(ctx, req.ID)
}

// of makes the report of a campaign.
func (f fairnessReports) of(ctx context.Context, id string) (FairnessReport, error) {
	d, out, err := f.campaigns.outcome(ctx, id)
	if err != nil {
		return FairnessReport{}, err
	}
	eligible, err := f.eligible(ctx, d, out)
	if err != nil {
		return FairnessReport{}, err
	}
	return f.groups.report(ctx, f.selected(out), eligible)
}

// Price says what it would cost to place more people of one group.
func (f fairnessReports) Price(ctx context.Context, req ParityRequest) (ParityPrice, error) {
	if err := f.whole(ctx); err != nil {
		return ParityPrice{}, err
	}
	d, out, err := f.campaigns.outcome(ctx, req.ID)
	if err != nil {
		return ParityPrice{}, err
	}
	if d.Body.Objective != ObjectivePlacements {
		return ParityPrice{}, api.Conflict("Only a campaign with the objective %q has an optimum to compare with.", ObjectivePlacements)
	}
	for _, q := range d.Body.Quotas {
		// A person would then be counted by two floors at once, which is no
		// network any more.
		if q.By == QuotaGovernorate {
			return ParityPrice{}, api.Conflict("The campaign has quotas by governorate: the price of a second floor beside them is not worked out.")
		}
	}
	c := f.campaigns
	unlock, err := c.bases.lock(ctx)
	if err != nil {
		return ParityPrice{}, err
	}
	defer unlock()
	b, err := c.baseOf(ctx, d)
	if err != nil {
		return ParityPrice{}, missing(err)
	}
	p, err := f.groups.parity(ctx, req.Attribute, req.Code, f.selected(out), b.ids(b.eligible()), req.Points, b.atLeast)
	if errors.Is(err, errHiddenGroup) {
		return p, api.Conflict("The numbers of this group are hidden, or there is no such group: there is no price of parity for it.")
	}
	return p, err
}

// whole refuses the report to whoever sees a part of a campaign only.
func (fairnessReports) whole(ctx context.Context) error {
	if p := access.From(ctx); len(p.Governorates)+len(p.Schemes) > 0 {
		return api.Forbidden("The report is of a whole campaign, and your scope is a part of it.")
	}
	return nil
}

// selected lists whom a campaign places.
func (fairnessReports) selected(out *Outcome) (ids []string) {
	for _, a := range out.Assignments {
		ids = append(ids, a.CandidateID)
	}
	return ids
}

// eligible lists who could be placed by a campaign: those who have a price in its
// proof, or, where there is no proof, from its recorded inputs.
func (f fairnessReports) eligible(ctx context.Context, d *docstore.Doc[Campaign], out *Outcome) (ids []string, err error) {
	if len(out.Prices) == out.Summary.Candidates {
		for _, p := range out.Prices {
			ids = append(ids, p.ID)
		}
		return ids, nil
	}
	m, err := f.campaigns.marketOf(ctx, d)
	if err != nil {
		return nil, missing(err)
	}
	return m.ids(m.eligible()), nil
}

// ids names people by their ids.
func (m *market) ids(people []int32) []string {
	out := make([]string, len(people))
	for i, p := range people {
		out[i] = m.people[p].id
	}
	return out
}

// atLeast solves the campaign again with at least so many of the members placed;
// it is a ParityVariant.
func (b *base) atLeast(ctx context.Context, members []string, least int) (ParityOutcome, error) {
	among := make(map[string]bool, len(members))
	for _, id := range members {
		among[id] = true
	}
	s := b.solution
	if least > 0 {
		t := *b.task
		t.floor = &floor{member: make([]bool, len(t.people)), least: int64(least)}
		for p := range t.people {
			t.floor.member[p] = among[t.people[p].id]
		}
		var err error
		var impossible *allocation.Infeasible
		if s, _, err = t.solve(ctx, nil, nil); errors.As(err, &impossible) {
			return ParityOutcome{}, ErrParityUnattainable
		} else if err != nil {
			return ParityOutcome{}, err
		}
	}
	out := ParityOutcome{Placed: int(s.placed), Score: s.total}
	for p, o := range s.offer {
		if o >= 0 && among[b.people[p].id] {
			out.Members++
		}
	}
	return out, nil
}
