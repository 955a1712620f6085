package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-kit/kit/endpoint"

	"masar.local/pkg/bus"
)

// box is a MessagePublisher that keeps what it gets.
type box struct {
	msgs []bus.Message
	err  error
}

func (b *box) Publish(_ context.Context, msgs ...bus.Message) error {
	if b.err != nil {
		return b.err
	}
	b.msgs = append(b.msgs, msgs...)
	return nil
}

func decodeText(_ context.Context, m bus.Message) (string, error) {
	if len(m.Value) == 0 {
		return "", errors.New("empty")
	}
	return string(m.Value), nil
}

type fromKey struct{}

type failing struct{ err error }

func (f failing) Failed() error { return f.err }

func TestSubscriber(t *testing.T) {
	errRule := errors.New("against a rule")
	e := func(ctx context.Context, s string) (any, error) {
		switch s {
		case "refused":
			return nil, errRule
		case "failer":
			return failing{errRule}, nil
		case "down":
			return nil, bus.Blocked(errors.New("down"))
		}
		return strings.ToUpper(s) + ctx.Value(fromKey{}).(string), nil
	}
	var after []string
	h := bus.NewSubscriber(e, decodeText,
		bus.SubscriberBefore(func(ctx context.Context, m bus.Message) context.Context {
			return context.WithValue(ctx, fromKey{}, "@"+m.Topic)
		}),
		bus.SubscriberErrors(func(err error) error {
			if errors.Is(err, errRule) {
				return bus.Permanent(err)
			}
			return err
		}),
		bus.SubscriberAfter(func(_ context.Context, m bus.Message, response any, err error) {
			after = append(after, fmt.Sprint(string(m.Value), " ", response, " ", err))
		}),
	)
	for _, tc := range []struct {
		value              string
		permanent, blocked bool
		text               string
	}{
		{value: "ok"},
		{value: "refused", permanent: true, text: "against a rule"},
		{value: "failer", permanent: true, text: "against a rule"},
		{value: "down", blocked: true, text: "down"},
		{value: "", permanent: true, text: "decode: empty"},
	} {
		err := h(t.Context(), bus.Message{Topic: "t", Value: []byte(tc.value)})
		if bus.IsPermanent(err) != tc.permanent || bus.IsBlocked(err) != tc.blocked || (err == nil) != (tc.text == "") || (err != nil && err.Error() != tc.text) {
			t.Errorf("%q: %v (permanent %v, blocked %v)", tc.value, err, bus.IsPermanent(err), bus.IsBlocked(err))
		}
	}
	if len(after) != 5 || after[0] != "ok OK@t <nil>" {
		t.Errorf("after: %q", after)
	}
}

func TestSubscriberTakesGoKitEndpoints(t *testing.T) {
	var got any
	var e endpoint.Endpoint = func(_ context.Context, request any) (any, error) {
		got = request
		return nil, nil
	}
	h := bus.NewSubscriber(e, func(_ context.Context, m bus.Message) (any, error) { return string(m.Value), nil })
	if err := h(t.Context(), bus.Message{Value: []byte("v")}); err != nil || got != "v" {
		t.Errorf("endpoint got %v, %v", got, err)
	}
}

func TestAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, answers, group := newTopic(t, c, 1), newTopic(t, c, 1), unique("g")
		e := func(_ context.Context, s string) (map[string]string, error) {
			switch s {
			case "wrong":
				return nil, bus.Permanent(errors.New("birth_date: not a date"))
			case "broken":
				return nil, errors.New("a bug of ours")
			}
			return map[string]string{"id": "42"}, nil
		}
		h := bus.NewSubscriber(e, decodeText, bus.SubscriberAnswers(c, answers, func(err error) any {
			return map[string]any{"title": err.Error()}
		}))
		for _, v := range []string{"right", "wrong", "broken", ""} {
			if err := c.Publish(t.Context(), bus.Message{Topic: topic, Key: []byte("key-" + v), Value: []byte(v)}); err != nil {
				t.Fatal(err)
			}
		}
		consume(t, c, bus.Consumer{Group: group, Topics: []string{topic}, Handle: h, Attempts: 2, MinBackoff: 1})
		var got, dead seen
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{answers}, Handle: got.handle})
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{group + ".dlq"}, Handle: dead.handle})
		eventually(t, "four answers and three dead letters", func() bool { return got.count() == 4 && dead.count() == 3 })
		want := map[string]string{
			"key-right":  `{"topic":"` + topic + `","partition":0,"offset":0,"key":"key-right","outcome":"accepted","result":{"id":"42"}}`,
			"key-wrong":  `{"topic":"` + topic + `","partition":0,"offset":1,"key":"key-wrong","outcome":"refused","error":{"title":"birth_date: not a date"}}`,
			"key-broken": `{"topic":"` + topic + `","partition":0,"offset":2,"key":"key-broken","outcome":"failed","error":{"title":"a bug of ours"}}`,
			"key-":       `{"topic":"` + topic + `","partition":0,"offset":3,"key":"key-","outcome":"refused","error":{"title":"decode: empty"}}`,
		}
		for _, m := range got.all() {
			if string(m.Value) != want[string(m.Key)] {
				t.Errorf("answer to %s:\n got %s\nwant %s", m.Key, m.Value, want[string(m.Key)])
			}
			var a bus.Answer
			if err := json.Unmarshal(m.Value, &a); err != nil {
				t.Error(err)
			}
			if v, _ := m.Header("answer_outcome"); string(v) != a.Outcome {
				t.Errorf("header answer_outcome %q, body %q", v, a.Outcome)
			}
		}
	})
}

func TestAnswerThatCannotBePublished(t *testing.T) {
	b := &box{err: errors.New("no broker")}
	e := func(context.Context, string) (string, error) { return "fine", nil }
	h := bus.NewSubscriber(e, decodeText, bus.SubscriberAnswers(b, "answers", nil))
	if err := h(t.Context(), bus.Message{Value: []byte("v")}); !bus.IsBlocked(err) {
		t.Errorf("%v, want a blocked error: the record must be handled again", err)
	}
	b.err = nil
	if err := h(t.Context(), bus.Message{Value: []byte("v")}); err != nil || len(b.msgs) != 1 {
		t.Errorf("%v, %d answers", err, len(b.msgs))
	}
}

func TestPublisherEndpoint(t *testing.T) {
	var b box
	e := bus.NewPublisher(&b, "t", func(_ context.Context, s string) (bus.Message, error) {
		if s == "" {
			return bus.Message{}, errors.New("empty")
		}
		return bus.Message{Value: []byte(s)}, nil
	}, bus.PublisherBefore(func(ctx context.Context, m *bus.Message) context.Context {
		m.Key = []byte("k")
		return ctx
	}))
	if _, err := e(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := e(t.Context(), ""); err == nil || len(b.msgs) != 1 {
		t.Errorf("a request that does not encode: %v, %d messages", err, len(b.msgs))
	}
	if m := b.msgs[0]; m.Topic != "t" || string(m.Key) != "k" || string(m.Value) != "v" {
		t.Errorf("published %+v", m)
	}
}
