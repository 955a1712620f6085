package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-kit/kit/endpoint"
)

// This file is go-kit's transport for Kafka, in the manner of its amqp and nats
// ones: a Subscriber serves an endpoint from a topic, a Publisher is an endpoint
// that writes to one. Typed endpoints and go-kit's own endpoint.Endpoint
// (Req and Res are any) both fit.

// SubscriberOption changes a Subscriber.
type SubscriberOption func(*subscriber)

type subscriber struct {
	before  []func(context.Context, Message) context.Context
	after   []func(ctx context.Context, m Message, response any, err error)
	mark    func(error) error
	answers *answers
}

type answers struct {
	to      MessagePublisher
	topic   string
	problem func(error) any
}

// MessagePublisher is what publishes messages: a Client.
type MessagePublisher interface {
	Publish(ctx context.Context, msgs ...Message) error
}

// SubscriberBefore adds functions that run before the message is decoded, to put
// what they take from it into the context.
func SubscriberBefore(f ...func(ctx context.Context, m Message) context.Context) SubscriberOption {
	return func(s *subscriber) { s.before = append(s.before, f...) }
}

// SubscriberAfter adds functions that run after the endpoint, before an answer
// is published. response is nil when there is none.
func SubscriberAfter(f ...func(ctx context.Context, m Message, response any, err error)) SubscriberOption {
	return func(s *subscriber) { s.after = append(s.after, f...) }
}

// SubscriberErrors gives the function that says which errors of the endpoint are
// Permanent or Blocked. Without it, they are taken as they come. An error of
// decoding is always Permanent.
func SubscriberErrors(mark func(error) error) SubscriberOption {
	return func(s *subscriber) { s.mark = mark }
}

// SubscriberAnswers publishes an Answer to topic for every record, once its
// outcome is settled. problem turns an error into what the sender may read of
// it, as a JSON value; nil gives its text. A record whose answer cannot be
// published is handled again.
func SubscriberAnswers(to MessagePublisher, topic string, problem func(error) any) SubscriberOption {
	return func(s *subscriber) { s.answers = &answers{to, topic, problem} }
}

// Outcomes of a record, in an Answer.
const (
	OutcomeAccepted = "accepted" // the effect is stored
	OutcomeRefused  = "refused"  // the record itself is wrong: correct it and send it again
	OutcomeFailed   = "failed"   // we could not process it; it is in the dead letters
)

// Answer tells the sender of a record what became of it. It is published as
// JSON with the key of the record; the headers answer_topic, answer_partition,
// answer_offset and answer_outcome repeat its first fields, so that a reader can
// pick its own without parsing. A record may be answered twice, with the same
// content.
type Answer struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	Outcome   string `json:"outcome"`
	Error     any    `json:"error,omitempty"`
	Result    any    `json:"result,omitempty"` // what the endpoint returned
}

// NewSubscriber makes a Handler that decodes a message and calls the endpoint
// with it. A response that is an endpoint.Failer with an error counts as that
// error.
func NewSubscriber[Req, Res any](e func(context.Context, Req) (Res, error), decode func(context.Context, Message) (Req, error), opts ...SubscriberOption) Handler {
	s := &subscriber{mark: func(err error) error { return err }}
	for _, o := range opts {
		o(s)
	}
	return func(ctx context.Context, m Message) error {
		for _, f := range s.before {
			ctx = f(ctx, m)
		}
		var res any
		req, err := decode(ctx, m)
		if err != nil {
			if !IsBlocked(err) {
				err = Permanent(fmt.Errorf("decode: %w", err))
			}
		} else {
			res, err = call(ctx, e, req)
			if err != nil {
				res, err = nil, s.mark(err)
			}
		}
		for _, f := range s.after {
			f(ctx, m, res, err)
		}
		return s.answer(ctx, m, res, err)
	}
}

func call[Req, Res any](ctx context.Context, e func(context.Context, Req) (Res, error), req Req) (any, error) {
	res, err := e(ctx, req)
	if err != nil {
		return nil, err
	}
	if f, ok := any(res).(endpoint.Failer); ok && f.Failed() != nil {
		return nil, f.Failed()
	}
	return res, nil
}

// answer publishes the answer when the outcome is settled, and returns what the
// consumer loop is to be told.
func (s *subscriber) answer(ctx context.Context, m Message, res any, err error) error {
	if s.answers == nil {
		return err
	}
	a := Answer{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: string(m.Key), Outcome: OutcomeAccepted, Result: res}
	switch n, of := Attempt(ctx); {
	case err == nil:
	case IsBlocked(err):
		return err
	case IsPermanent(err):
		a.Outcome = OutcomeRefused
	case n < of:
		return err // will be tried again
	default:
		a.Outcome = OutcomeFailed
	}
	if err != nil {
		a.Error = map[string]string{"detail": err.Error()}
		if s.answers.problem != nil {
			a.Error = s.answers.problem(err)
		}
	}
	perr := s.answers.publish(ctx, m, a)
	if errors.Is(perr, ErrTooLarge) { // the outcome matters more than its details
		a.Result, a.Error = nil, map[string]string{"detail": "the details are too large for an answer"}
		perr = s.answers.publish(ctx, m, a)
	}
	if perr != nil {
		return Blocked(fmt.Errorf("publish the answer: %w", perr))
	}
	return err
}

func (t *answers) publish(ctx context.Context, m Message, a Answer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return t.to.Publish(ctx, Message{
		Topic: t.topic, Key: m.Key, Value: body,
		Headers: []Header{
			{"content-type", []byte("application/json")},
			{"answer_topic", []byte(m.Topic)},
			{"answer_partition", []byte(strconv.Itoa(m.Partition))},
			{"answer_offset", []byte(strconv.FormatInt(m.Offset, 10))},
			{"answer_outcome", []byte(a.Outcome)},
		},
	})
}

// PublisherOption changes a Publisher.
type PublisherOption func(*publisher)

type publisher struct {
	before []func(ctx context.Context, m *Message) context.Context
}

// PublisherBefore adds functions that run on the encoded message before it is
// published.
func PublisherBefore(f ...func(ctx context.Context, m *Message) context.Context) PublisherOption {
	return func(p *publisher) { p.before = append(p.before, f...) }
}

// NewPublisher makes an endpoint that encodes its request and publishes it to
// topic (or to the topic that encode sets). It returns when the cluster has
// acknowledged it.
func NewPublisher[Req any](to MessagePublisher, topic string, encode func(context.Context, Req) (Message, error), opts ...PublisherOption) func(context.Context, Req) (struct{}, error) {
	var p publisher
	for _, o := range opts {
		o(&p)
	}
	return func(ctx context.Context, req Req) (struct{}, error) {
		m, err := encode(ctx, req)
		if err != nil {
			return struct{}{}, fmt.Errorf("encode: %w", err)
		}
		if m.Topic == "" {
			m.Topic = topic
		}
		for _, f := range p.before {
			ctx = f(ctx, &m)
		}
		return struct{}{}, to.Publish(ctx, m)
	}
}
