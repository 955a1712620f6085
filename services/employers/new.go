package employers

import (
	"context"
	"log/slog"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/outbox"
	"masar.local/pkg/runtime"
)

// Name is the service's name, in addresses and in the topics' producers.
const Name = "employers"

// New builds the service on a platform: store, service, endpoints, transports.
// Authorisation, tracing and metrics of a request are the router's; the scope of
// the principal is checked in the service.
func New(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
	s, err := NewService(ctx, p.Store, p.Log, p.Now)
	if err != nil {
		return nil, err
	}
	endpoints := NewEndpoints(s)

	router := p.Router()
	routes(router, endpoints)

	return &runtime.Service{
		Name:   Name,
		Router: router,
		Topics: []bus.Topic{
			{Name: event.TopicEmployers},
			{Name: event.TopicMatching},
			{Name: event.InOffers},
			{Name: event.Answers},
		},
		Relay: outbox.NewRelay(outbox.Config{
			Engine: p.Store, Collections: []string{employerCollection, offerCollection}, Journal: "journal",
			Publisher: p.Bus, Holder: p.Holder, Log: p.Log, Meter: p.Meter, Now: p.Now,
		}),
		Actors: []runtime.Actor{
			consumer(p, "records from integrators", bus.Consumer{
				Group: inboundGroup, Topics: []string{event.InOffers}, Handle: inbound(endpoints.Receive, p.Bus),
			}),
			consumer(p, "decisions of matching", bus.Consumer{
				Group: decisionGroup, Topics: []string{event.TopicMatching}, Handle: decisions(endpoints.Hired, endpoints.Released),
			}),
			{Name: "expiry of offers", Run: expiry(s, p.Store, p.Holder, expireEvery, func(err error) {
				p.Log.Error("closing expired offers failed; tried again in a minute", slog.Any("error", err))
			})},
		},
	}, nil
}

func consumer(p runtime.Platform, name string, c bus.Consumer) runtime.Actor {
	return runtime.Actor{Name: name, Run: func(ctx context.Context) error { return p.Bus.Consume(ctx, c) }}
}
