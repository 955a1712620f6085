package matching

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/services/matching/allocation"
)

// base is a solved campaign in memory, to ask questions of.
type base struct {
	*task
	solution *solution
	once     sync.Once
	gaps     []gap
	gapsErr  error
}

// allGaps gives the gaps of the campaign, found once.
func (b *base) allGaps(ctx context.Context) ([]gap, error) {
	b.once.Do(func() { b.gaps, b.gapsErr = b.market.gaps(context.WithoutCancel(ctx)) })
	return b.gaps, b.gapsErr
}

// baseCache keeps the campaign that was asked of last; to make it takes a while,
// and one question at a time is enough for a machine.
type baseCache struct {
	turn chan struct{} // holds one element while somebody asks
	id   string
	base *base
}

// lock waits for the turn.
func (c *baseCache) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, api.Unavailable("Other questions about campaigns are being answered.").Because(context.Cause(ctx))
	}
}

// baseOf makes a campaign from its recorded inputs, and solves it, unless that
// was done last. The turn is the caller's.
func (c *campaigns) baseOf(ctx context.Context, d *docstore.Doc[Campaign]) (*base, error) {
	if c.bases.id == d.ID {
		return c.bases.base, nil
	}
	m, err := c.marketOf(ctx, d)
	if err != nil {
		return nil, err
	}
	kept, err := c.keptOf(ctx, d.Body.Previous, m)
	if err != nil {
		return nil, err
	}
	t := newTask(m, d.Body.Quotas, kept)
	s, _, err := t.solve(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	if s.placed != d.Body.Summary.Filled || s.total != d.Body.Summary.Score || s.kept != d.Body.Summary.Kept {
		return nil, fmt.Errorf("matching: campaign %s comes to %d placements now, and came to %d: its inputs have changed", d.ID, s.placed, d.Body.Summary.Filled)
	}
	b := &base{task: t, solution: s}
	c.bases.id, c.bases.base = d.ID, b
	return b, nil
}

// marketOf makes the market of a campaign from its recorded inputs.
func (c *campaigns) marketOf(ctx context.Context, d *docstore.Doc[Campaign]) (*market, error) {
	var in campaignInputs
	if err := c.blobs.readJSON(ctx, d.Body.Inputs, &in); err != nil {
		return nil, err
	}
	offers, people, err := c.recall(ctx, &in)
	if err != nil {
		return nil, err
	}
	rules, err := c.past.of(in.Weights, in.Reference)
	if err != nil {
		return nil, err
	}
	return newMarket(ctx, rules, ParseDay(in.AsOf), in.Seed, offers, people)
}

// training is what an added certificate or licence is to the people.
func (x *WhatIfChange) training() (l lack, governorate string, count int64, ok bool) {
	switch {
	case x.AddLanguage != nil:
		rank := int8(slices.Index(cefrNames, x.AddLanguage.CEFR))
		return lack{CondLanguage, x.AddLanguage.Code, rank}, x.AddLanguage.Governorate, x.AddLanguage.Count, true
	case x.AddLicence != nil:
		return lack{CondLicence, x.AddLicence.Category, 0}, x.AddLicence.Governorate, x.AddLicence.Count, true
	}
	return lack{}, "", 0, false
}

// hypothesis is a campaign in a changed world.
type hypothesis struct {
	task     *task
	before   *solution // of the campaign
	after    *solution
	effects  []effect // of each change that trains people
	conflict *Conflict
}

// effect is what one change came to.
type effect struct {
	used       int64 // of what was added
	placements int64 // more than without it
	trained    []trained
}

// trained is somebody who gets what was added, and the offer that it opens.
type trained struct{ person, offer int32 }

// whatIf solves a campaign in a changed world.
//
// Offers and posts change first. Then each certificate or licence is handed out
// in the order of the changes: to people of the governorate who lack that and
// nothing else for an offer, at most as many as are added. The best use is exact:
// as many placements as possible, and of all ways to reach them, the one that
// hands out the fewest; and of those, the best total score. Everybody else may be
// placed anew, but stays where nothing is gained by moving.
//
// Why a bound on placements finds the best use of a bound on certificates: the
// fewest certificates with which k people can be placed grow with k, and are the
// cost of a flow of k units. So the most people that can be placed with what was
// added is found by trying values of k.
func (b *base) whatIf(ctx context.Context, changes []WhatIfChange) (*hypothesis, error) {
	t := *b.task
	t.posts = slices.Clone(t.posts)
	out := &hypothesis{before: b.solution}
	warm := b.solution.plan
	where := map[string]int{}
	for o := range t.offers {
		where[t.offers[o].id] = o
	}
	find := func(i int, field, id string) (int, error) {
		o, ok := where[id]
		if !ok {
			return 0, api.Invalid(api.Field{Path: fmt.Sprintf("changes[%d].%s", i, field), Code: "unknown", Reason: "the id of an offer of the campaign expected"})
		}
		return o, nil
	}
	again := false // offers that had no posts left get some: their pairs are not known
	for i, x := range changes {
		switch {
		case x.WithdrawOffer != "":
			o, err := find(i, "withdraw_offer", x.WithdrawOffer)
			if err != nil {
				return nil, err
			}
			t.posts[o] = 0
		case x.AddPosts != nil:
			o, err := find(i, "add_posts.offer", x.AddPosts.Offer)
			if err != nil {
				return nil, err
			}
			again = again || t.offers[o].demand.Left <= 0
			t.posts[o] += x.AddPosts.Count
		}
	}
	gaps := b.allGaps
	if again {
		offers := slices.Clone(t.offers)
		for o := range offers {
			if t.posts[o] > 0 {
				offers[o].demand.Left = int(t.posts[o])
			}
		}
		m, err := newMarket(ctx, t.rules, t.today, t.seed, offers, slices.Clone(t.people))
		if err != nil {
			return nil, err
		}
		t.market, warm, gaps = m, nil, m.gaps
	}
	// Who has a place in the campaign keeps it where nothing speaks against it.
	t.kept = slices.Clone(b.solution.offer)
	out.task = &t

	now, n, err := t.resolve(ctx, warm)
	var impossible *allocation.Infeasible
	if errors.As(err, &impossible) {
		conflict := n.conflict(impossible)
		out.conflict = &conflict
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	var owned []gap
	for _, x := range changes {
		l, governorate, count, ok := x.training()
		if !ok {
			continue
		}
		if now.placed == sum(t.posts) { // no post is empty: nothing that anybody learns fills one
			out.effects = append(out.effects, effect{})
			continue
		}
		all, err := gaps(ctx)
		if err != nil {
			return nil, err
		}
		t.extra = slices.Clone(owned)
		for _, g := range all {
			if l.meets(t.lacks[g.lack]) && (governorate == "" || t.people[g.person].person.Governorate == governorate) {
				g.score = t.worth(g, l)
				t.extra = append(t.extra, g)
			}
		}
		next, err := t.handOut(ctx, now, count, warm)
		if err != nil {
			return nil, err
		}
		e := effect{used: next.used, placements: next.placed - now.placed}
		got := map[int32]bool{}
		for p, k := range next.given {
			if k >= 0 && !t.extra[k].owned {
				got[int32(p)] = true
				e.trained = append(e.trained, trained{int32(p), next.offer[p]})
			}
		}
		for _, g := range t.extra {
			if g.owned || got[g.person] {
				g.owned = true
				owned = append(owned, g)
			}
		}
		owned = distinct(owned)
		out.effects = append(out.effects, e)
		now = next
	}
	out.after = now
	return out, nil
}

// distinct leaves out pairs that are there twice.
func distinct(gaps []gap) []gap {
	slices.SortFunc(gaps, func(a, b gap) int {
		return cmp.Or(cmp.Compare(a.offer, b.offer), cmp.Compare(a.person, b.person), cmp.Compare(b.score, a.score))
	})
	return slices.CompactFunc(gaps, func(a, b gap) bool { return a.offer == b.offer && a.person == b.person })
}

// handOut uses at most count of the extra pairs that are not owned.
func (t *task) handOut(ctx context.Context, now *solution, count int64, warm *allocation.Plan) (*solution, error) {
	low := now.placed // needs none of them
	try := func(most int64) (*solution, error) {
		at := *t
		at.most = most
		s, _, err := at.resolve(ctx, warm)
		return s, err
	}
	best, err := try(low + count)
	if err != nil || best.used <= count {
		return best, err
	}
	high := best.placed // too many
	if best, err = try(low); err != nil {
		return nil, err
	}
	for low+1 < high {
		middle := (low + high) / 2
		s, err := try(middle)
		if err != nil {
			return nil, err
		}
		if s.used <= count {
			low, best = middle, s
		} else {
			high = middle
		}
	}
	return best, nil
}

// resolve solves, and does without what was kept where the numbers would become
// too large for it.
func (t *task) resolve(ctx context.Context, warm *allocation.Plan) (*solution, *network, error) {
	s, n, err := t.solve(ctx, warm, nil)
	if errors.Is(err, allocation.ErrRange) && t.kept != nil {
		at := *t
		at.kept = nil
		return at.solve(ctx, warm, nil)
	}
	return s, n, err
}

// WhatIf says how a campaign would end in a changed world. Nothing is kept of it.
func (c *campaigns) WhatIf(ctx context.Context, req WhatIfRequest) (WhatIfAnswer, error) {
	none, who := WhatIfAnswer{}, access.From(ctx)
	d, err := c.get(ctx, req.ID)
	if err != nil {
		return none, err
	}
	switch {
	case d.Body.Status != CampaignDone:
		return none, api.Conflict("The campaign has no result to start from: it is %s.", d.Body.Status)
	case d.Body.Objective != ObjectivePlacements:
		return none, api.Conflict("Only a campaign with the objective %q has an optimum to start from.", ObjectivePlacements)
	}
	unlock, err := c.bases.lock(ctx)
	if err != nil {
		return none, err
	}
	defer unlock()
	b, err := c.baseOf(ctx, d)
	if err != nil {
		return none, missing(err)
	}
	found, err := b.whatIf(ctx, req.Changes)
	if err != nil {
		return none, err
	}
	return found.view(d.ID, req.Changes, who, c.namer(who)), nil
}
