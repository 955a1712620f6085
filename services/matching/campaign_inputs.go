package matching

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"masar.local/pkg/docstore"
)

// campaignInputs is what a campaign is worked out from, by reference: what is
// named here can be read again at any time, see learnedLog.
type campaignInputs struct {
	AsOf      string       `json:"as_of"` // the day that availability is judged on
	Seed      string       `json:"seed"`
	Weights   string       `json:"weights_version"`
	Reference string       `json:"reference_version"`
	Roster    string       `json:"roster"` // of the people, see rosters
	People    int          `json:"people"`
	Offers    []offerInput `json:"offers"` // by id
}

// offerInput is an offer as it was.
type offerInput struct {
	ID          string `json:"id"`
	Seq         int64  `json:"seq"`
	EmployerSeq int64  `json:"employer_seq"`
	Left        int    `json:"left"` // posts to fill
	// States are those of its cases that keep people from it.
	States map[string]string `json:"states,omitempty"`
}

// gather reads what a campaign is about as it is now, and says what was read.
func (c *campaigns) gather(ctx context.Context, body *Campaign) (*campaignInputs, []marketOffer, []marketPerson, error) {
	in := &campaignInputs{
		AsOf: DayOf(c.now()).String(), Seed: body.Seed, Weights: c.rules.Weights.Version, Reference: c.rules.Reference, Offers: []offerInput{},
	}
	var offers []marketOffer
	romes := map[string]bool{}
	take := func(d *docstore.Doc[Offer]) error {
		sel := &body.Select
		if !d.Body.Open || len(sel.OfferIDs) > 0 && !slices.Contains(sel.OfferIDs, d.ID) || !within(sel.OfferSchemes, d.Body.Scheme) ||
			len(sel.OfferRegions) > 0 && !slices.Contains(sel.OfferRegions, d.Body.Region) {
			return nil
		}
		input := offerInput{ID: d.ID, Seq: d.Body.Seq}
		employer, err := c.employers.Get(ctx, d.Body.EmployerID)
		switch {
		case err == nil:
			input.EmployerSeq = employer.Body.Seq
		case !errors.Is(err, docstore.ErrNotFound):
			return err
		default:
			employer = &docstore.Doc[Employer]{}
		}
		taken := 0
		if input.States, taken, err = c.casesOf(ctx, d.ID); err != nil {
			return err
		}
		demand := c.rules.Demand(&d.Body, employer.Body.Suspended)
		demand.Left = max(0, min(demand.Left, d.Body.seats()-taken))
		input.Left = demand.Left
		in.Offers = append(in.Offers, input)
		offers = append(offers, marketOffer{d.ID, demand, input.States})
		for _, near := range demand.Accepts {
			romes[near.Rome] = true
		}
		return nil
	}
	if len(body.Select.OfferIDs) > 0 {
		ids := slices.Clone(body.Select.OfferIDs)
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			d, err := c.offers.Get(ctx, id)
			if err == nil {
				err = take(d)
			}
			if err != nil {
				return nil, nil, nil, fmt.Errorf("matching: offer %s of a campaign: %w", id, err)
			}
		}
	} else {
		for d, err := range c.offers.All(ctx) { // by id
			if err == nil {
				err = take(d)
			}
			if err != nil {
				return nil, nil, nil, fmt.Errorf("matching: the offers of a campaign: %w", err)
			}
		}
	}
	var people []marketPerson
	var roster []Seen
	for d, err := range c.seekers.All(ctx) { // by id
		if err != nil {
			return nil, nil, nil, fmt.Errorf("matching: the people of a campaign: %w", err)
		}
		if d.Body.Seq == 0 || !within(body.Select.Governorates, d.Body.Governorate) ||
			!slices.ContainsFunc(d.Body.Occupations, func(o Occupation) bool { return romes[o.Rome] }) ||
			len(body.Select.CandidateSchemes) > 0 && !slices.ContainsFunc(d.Body.Pathways, func(w Pathway) bool {
				return w.Open && slices.Contains(body.Select.CandidateSchemes, w.Scheme)
			}) {
			continue
		}
		roster = append(roster, Seen{ulidOf(d.ID), d.Body.Stamp()})
		people = append(people, marketPerson{id: d.ID, person: c.rules.Person(&d.Body)})
	}
	var err error
	if in.Roster, err = c.rosters.store(ctx, roster); err != nil {
		return nil, nil, nil, err
	}
	in.People = len(people)
	return in, offers, people, nil
}

// casesOf gives the states of the cases of an offer that keep people from it, and
// how many seats are held.
func (c *campaigns) casesOf(ctx context.Context, offer string) (states map[string]string, taken int, err error) {
	find := docstore.Query{Index: byOffer, Eq: []any{offer}, Limit: 500}
	for {
		found, next, err := c.cases.Find(ctx, find)
		if err != nil {
			return nil, 0, err
		}
		for _, d := range found {
			if d.Body.Seat != "" {
				taken++
			}
			switch d.Body.State {
			case Accepted, Hired, Refused, NoShow:
				if states == nil {
					states = map[string]string{}
				}
				states[d.Body.CandidateID] = d.Body.State
			}
		}
		if find.After = next; next == "" {
			return states, taken, nil
		}
	}
}

// recall gives what gather gave, at any later time.
func (c *campaigns) recall(ctx context.Context, in *campaignInputs) ([]marketOffer, []marketPerson, error) {
	rules, err := c.past.of(in.Weights, in.Reference)
	if err != nil {
		return nil, nil, err
	}
	var offers []marketOffer
	for _, input := range in.Offers {
		o, err := c.offerAt(ctx, input.ID, input.Seq)
		if err != nil {
			return nil, nil, err
		}
		employer, err := c.employerAt(ctx, o.EmployerID, input.EmployerSeq)
		if err != nil {
			return nil, nil, err
		}
		demand := rules.Demand(o, employer.Suspended)
		demand.Left = input.Left
		offers = append(offers, marketOffer{input.ID, demand, input.States})
	}
	roster, err := c.rosters.load(ctx, in.Roster)
	if err != nil {
		return nil, nil, err
	}
	people := make([]marketPerson, 0, len(roster))
	person := func(seen Seen, s *Seeker) {
		people = append(people, marketPerson{id: seen.ID.String(), person: rules.Person(s)})
	}
	// Documents come by id, as the roster does: those that have not changed are
	// read in one go.
	next := 0
	for d, err := range c.seekers.All(ctx) {
		if err != nil {
			return nil, nil, fmt.Errorf("matching: the people of a campaign: %w", err)
		}
		for next < len(roster) && roster[next].ID.String() < d.ID { // gone: never so, but its log would tell
			if err := c.recallPerson(ctx, roster[next], person); err != nil {
				return nil, nil, err
			}
			next++
		}
		if next == len(roster) {
			break
		}
		if roster[next].ID.String() != d.ID {
			continue
		}
		if d.Body.Stamp() == roster[next].Stamp {
			person(roster[next], &d.Body)
		} else if err := c.recallPerson(ctx, roster[next], person); err != nil {
			return nil, nil, err
		}
		next++
	}
	for ; next < len(roster); next++ {
		if err := c.recallPerson(ctx, roster[next], person); err != nil {
			return nil, nil, err
		}
	}
	return offers, people, nil
}

func (c *campaigns) recallPerson(ctx context.Context, seen Seen, take func(Seen, *Seeker)) error {
	s, err := c.seekerAt(ctx, seen.ID.String(), seen.Stamp)
	if err != nil {
		return err
	}
	take(seen, s)
	return nil
}

// keptOf gives the offer of each person in the previous campaign, -1 for none;
// nil when there is none.
func (c *campaigns) keptOf(ctx context.Context, previous string, m *market) ([]int32, error) {
	if previous == "" {
		return nil, nil
	}
	_, before, err := c.outcome(ctx, previous)
	if err != nil {
		return nil, fmt.Errorf("matching: the previous campaign: %w", err)
	}
	offers := map[string]int32{}
	for o := range m.offers {
		offers[m.offers[o].id] = int32(o)
	}
	placed := map[string]int32{}
	for _, a := range before.Assignments {
		if o, ok := offers[a.OfferID]; ok {
			placed[a.CandidateID] = o
		}
	}
	kept := make([]int32, len(m.people))
	for p := range kept {
		kept[p] = -1
		if o, ok := placed[m.people[p].id]; ok {
			kept[p] = o
		}
	}
	return kept, nil
}
