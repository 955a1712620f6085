package notifications

import (
	"context"
	"errors"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
)

// NewConsumer reads the news of pathways from the candidates topic.
func NewConsumer(e Endpoints) bus.Consumer {
	return bus.Consumer{
		Group:  "masar.notifications",
		Topics: []string{event.TopicCandidates},
		Handle: bus.NewSubscriber(e.Learn, decodeEvent, bus.SubscriberErrors(mark)),
	}
}

func decodeEvent(_ context.Context, m bus.Message) (event.Event, error) { return event.Decode(m) }

// mark says what an error means for the message: news of a scheme that is not
// known here goes to the dead letters, to be replayed after an upgrade; while
// the store is down everything waits.
func mark(err error) error {
	switch {
	case errors.Is(err, ErrUnknownNews):
		return bus.Permanent(err)
	case errors.Is(err, docstore.ErrUnavailable):
		return bus.Blocked(err)
	default:
		return err
	}
}
