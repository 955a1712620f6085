package candidates

import (
	"context"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/outbox"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime"
)

// Name is the service's name, in addresses and in the topics' producers.
const Name = "candidates"

// New builds the service: a runtime.Builder.
func New(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
	ring, err := OpenKeyring(p.Getenv, p.DataDir)
	if err != nil {
		return nil, err
	}
	jobs, err := reference.Load(p.DataDir)
	if err != nil {
		return nil, err
	}
	// store -> service -> endpoints -> transports; the router checks the
	// permission, traces and measures each endpoint, the service the scope.
	service, err := NewService(ctx, p.Store, ring, reference.Schemes(), jobs, p.Log, p.Now)
	if err != nil {
		return nil, err
	}
	endpoints := NewEndpoints(service)
	router := p.Router()
	mount(router, endpoints)

	return &runtime.Service{
		Name:   Name,
		Router: router,
		Topics: []bus.Topic{
			{Name: event.TopicCandidates},
			{Name: event.TopicMatching},
			{Name: event.InCandidates},
			{Name: event.Answers},
		},
		Relay: outbox.NewRelay(outbox.Config{
			Engine: p.Store, Collections: []string{candidateCollection, pathwayCollection}, Journal: "journal",
			Publisher: p.Bus, Holder: p.Holder, Log: p.Log, Meter: p.Meter, Now: p.Now,
		}),
		Actors: []runtime.Actor{
			consumer(p, "records from integrators", bus.Consumer{
				Group: inboundGroup, Topics: []string{event.InCandidates}, Handle: inboundHandler(endpoints, p.Bus),
			}),
			consumer(p, "decisions of matching", bus.Consumer{
				Group: decisionGroup, Topics: []string{event.TopicMatching}, Handle: decisionHandler(service),
			}),
		},
	}, nil
}

func consumer(p runtime.Platform, name string, c bus.Consumer) runtime.Actor {
	return runtime.Actor{Name: name, Run: func(ctx context.Context) error { return p.Bus.Consume(ctx, c) }}
}
