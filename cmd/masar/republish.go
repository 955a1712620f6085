package main

import (
	"context"
	"fmt"
	"net/http"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/outbox"
	"masar.local/pkg/runtime"
)

// republishCmd refills topics from the services' journals: after the loss of a
// broker, or for a consumer that has to begin before what the topic still holds.
// Consumers ignore the events that they know already.
type republishCmd struct {
	target
	Topic string `arg:"" optional:"" help:"Only events of this topic, such as masar.candidates.v1 (default: of every topic)."`
}

func (c republishCmd) Run(ctx context.Context) error {
	// A long journal takes minutes: no time limit but ours.
	client, err := c.client(access.Admin, api.WithHTTP(&http.Client{}))
	if err != nil {
		return err
	}
	kafka, err := c.bus()
	if err != nil {
		return err
	}
	defer kafka.Close()

	sent := 0
	bar := newProgress(-1, "événements")
	for _, service := range publishers() {
		var batch []bus.Message
		flush := func() error {
			if err := kafka.Publish(ctx, batch...); err != nil {
				return fmt.Errorf("journal of %s, after %d events in all: %w; run the command again, repeats are ignored", service, sent, err)
			}
			sent += len(batch)
			bar.Add(len(batch))
			batch = batch[:0]
			return nil
		}
		err := journal(ctx, client, service, "", func(line runtime.JournalLine) error {
			if c.Topic != "" && line.Topic != c.Topic {
				return nil
			}
			if batch = append(batch, message(line)); len(batch) == 500 {
				return flush()
			}
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	bar.Finish()
	fmt.Printf("%d events published again\n", sent)
	return nil
}

// message is a line of a journal as it was published.
func message(line runtime.JournalLine) bus.Message {
	e := docstore.Event{Topic: line.Topic, Key: line.Key, Value: line.Binary, Seq: line.Seq}
	if line.Value != nil {
		e.Value = line.Value
	}
	for _, h := range line.Headers {
		e.Headers = append(e.Headers, docstore.Header{Key: h.Key, Value: h.Value})
	}
	return outbox.Message(e)
}
