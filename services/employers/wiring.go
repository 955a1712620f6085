package employers

import (
	"context"
	"log/slog"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/outbox"
	"masar.local/pkg/runtime"
)

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

	consume := func(group, topic string, handle bus.Handler) runtime.Actor {
		return runtime.Actor{Name: group, Run: func(ctx context.Context) error {
			return p.Bus.Consume(ctx, bus.Consumer{Group: group, Topics: []string{topic}, Handle: handle})
		}}
	}
	return &runtime.Service{
		Name:   "employers",
		Router: router,
		Topics: []bus.Topic{
			{Name: event.TopicEmployers},
			{Name: event.TopicMatching},
			{Name: event.InOffers},
			{Name: event.Answers},
		},
		Relay: outbox.NewRelay(outbox.Config{
			Engine: p.Store, Collections: []string{employerCollection, offerCollection},
			Publisher: p.Bus, Holder: p.Holder, Log: p.Log, Meter: p.Meter, Now: p.Now,
		}),
		Actors: []runtime.Actor{
			consume(groupOffers, event.InOffers, inbound(endpoints.Receive, p.Bus)),
			consume(groupDecisions, event.TopicMatching, decisions(endpoints.Hired)),
			{Name: "employers.expiry", Run: expiry(s, p.Store, p.Holder, expireEvery, func(err error) {
				p.Log.Error("closing expired offers failed; tried again in a minute", slog.Any("error", err))
			})},
		},
	}, nil
}
