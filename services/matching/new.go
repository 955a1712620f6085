package matching

import (
	"context"
	"errors"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/outbox"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime"
)

// New builds the service; it is a runtime.Builder.
func New(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
	s, _, err := build(ctx, p)
	return s, err
}

// build puts the service together: documents, the index of them, the use cases,
// what serves them (HTTP) and what feeds them (the topics). Roles are checked by
// the router, scopes by the use cases; spans and metrics of requests come from
// the router, those of messages from the bus.
func build(ctx context.Context, p runtime.Platform) (*runtime.Service, *service, error) {
	jobs, err := reference.Load(p.DataDir)
	if err != nil {
		return nil, nil, err
	}
	rules := NewRules(PresentWeights(), reference.Schemes(), jobs)
	documents, err := openStore(ctx, p.Store)
	if err != nil {
		return nil, nil, err
	}
	names, err := openPseudonyms(ctx, p.Store, p.Now().UTC())
	if err != nil {
		return nil, nil, err
	}
	index := NewIndex(rules)
	refresh := &refresher{store: documents, index: index, log: p.Log, now: p.Now}
	service := &service{
		store: documents, index: index, names: names, rules: rules, ready: refresh.ready, now: p.Now,
		past: &pastRules{dataDir: p.DataDir, present: rules}, program: programVersion(),
	}
	campaigns, err := openCampaigns(ctx, service, p.Store, p.Log, p.Holder)
	if err != nil {
		return nil, nil, err
	}
	service.campaigns = campaigns
	stands, ratios := newGauges(campaigns), newFairnessGauges(campaigns)
	if err := errors.Join(stands.publish(p.Meter), ratios.publish(p.Meter)); err != nil {
		return nil, nil, err
	}
	endpoints := NewEndpoints(service)
	router := p.Router()
	mount(router, endpoints)
	mountCampaigns(router, campaigns.endpoints())
	mountFairness(router, campaigns)
	return &runtime.Service{
		Name:   p.Name,
		Router: router,
		Topics: []bus.Topic{{Name: event.TopicCandidates}, {Name: event.TopicEmployers}, {Name: event.TopicMatching}},
		Relay: outbox.NewRelay(outbox.Config{
			Engine: p.Store, Collections: []string{casesSchema.Collection, campaignsSchema.Collection}, Journal: "journal",
			Publisher: p.Bus, Holder: p.Holder, Log: p.Log, Meter: p.Meter, Now: p.Now,
		}),
		Actors: []runtime.Actor{
			{Name: "index", Run: refresh.run},
			{Name: "campaigns", Run: campaigns.run},
			{Name: "gauges", Run: stands.run},
			{Name: "ratios", Run: ratios.run},
			{Name: "consumer", Run: func(ctx context.Context) error { return p.Bus.Consume(ctx, consumer(endpoints)) }},
		},
		Ready: refresh.fresh,
	}, service, nil
}
