package matching

import (
	"context"
	"errors"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
)

// group is the consumer group: replicas share the partitions.
const group = "masar.matching"

// consumer reads the topics that matching learns from.
func consumer(e Endpoints) bus.Consumer {
	return bus.Consumer{
		Group:  group,
		Topics: []string{event.TopicCandidates, event.TopicEmployers},
		Handle: bus.NewSubscriber(e.Learn, decode, bus.SubscriberErrors(verdict)),
	}
}

func decode(_ context.Context, m bus.Message) (event.Event, error) { return event.Decode(m) }

// verdict says what the consumer loop is to do with a message that could not be
// learned: dead letters for what can never be, patience while the store is away.
func verdict(err error) error {
	switch {
	case errors.Is(err, ErrUnusable):
		return bus.Permanent(err)
	case errors.Is(err, docstore.ErrUnavailable):
		return bus.Blocked(err)
	}
	return err
}
