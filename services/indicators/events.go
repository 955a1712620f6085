package indicators

import (
	"context"
	"errors"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
)

// Group is the consumer group: replicas share the partitions.
const Group = "masar.indicators"

// workers is how many events are folded at the same time, and inFlight how many
// are held. The store commits in groups: the more events wait for it together, the
// more it writes at once. Neighbours on a topic often have the same key, and those
// wait for each other, so many more are held than are folded.
const (
	workers  = 512
	inFlight = 1024
)

// topics are those that are folded.
func topics() (names []string) {
	for _, s := range sources {
		names = append(names, s.Topic)
	}
	return names
}

// consumer folds every topic.
func consumer(e Endpoints) bus.Consumer {
	return bus.Consumer{
		Group:   Group,
		Topics:  topics(),
		Handle:  bus.NewSubscriber(e.Fold, decode, bus.SubscriberErrors(verdict)),
		Workers: workers, InFlight: inFlight,
	}
}

func decode(_ context.Context, m bus.Message) (event.Event, error) { return event.Decode(m) }

// verdict says what the consumer is to do with an event that could not be folded:
// dead letters for what can never be counted, patience while the store is away.
func verdict(err error) error {
	switch {
	case errors.Is(err, ErrNotAFact):
		return bus.Permanent(err)
	case errors.Is(err, docstore.ErrUnavailable):
		return bus.Blocked(err)
	}
	return err
}
