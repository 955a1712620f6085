package bus_test

import (
	"fmt"
	"testing"
	"time"

	"masar.local/pkg/bus"
)

func TestPublishedMessageArrivesWhole(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic := newTopic(t, c, 3)
		at := time.UnixMilli(1_700_000_000_123).UTC()
		sent := bus.Message{
			Topic: topic, Key: []byte("k"), Value: []byte("value \x00 é"), Time: at,
			Headers: []bus.Header{{"a", []byte("1")}, {"a", []byte("2")}, {"empty", nil}},
		}
		if err := c.Publish(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
		var s seen
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Handle: s.handle})
		eventually(t, "the message", func() bool { return s.count() == 1 })
		m := s.all()[0]
		if string(m.Key) != "k" || string(m.Value) != string(sent.Value) || !m.Time.Equal(at) || m.Topic != topic || m.Offset != 0 {
			t.Errorf("got %+v", m)
		}
		if len(m.Headers) != 3 || string(m.Headers[0].Value) != "1" || string(m.Headers[1].Value) != "2" {
			t.Errorf("headers: %v", m.Headers)
		}
		if v, ok := m.Header("a"); !ok || string(v) != "2" {
			t.Errorf("Header(a) = %q, %v, want the last one", v, ok)
		}
	})
}

func TestOrderPerKey(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic := newTopic(t, c, 5)
		const keys, each = 20, 50
		done := make(chan error, keys)
		for k := range keys {
			go func() {
				for i := range each { // one call after the other, beside the other keys
					if err := c.Publish(t.Context(), bus.Message{Topic: topic, Key: fmt.Appendf(nil, "key%d", k), Value: fmt.Appendf(nil, "%d/%d", k, i)}); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range keys {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		var s seen
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Handle: s.handle})
		eventually(t, "all messages", func() bool { return s.count() == keys*each })
		checkOrder(t, s.all(), keys, each)
	})
}

// checkOrder checks that the first deliveries of "key/i" come as i = 0, 1, 2 ...
func checkOrder(t *testing.T, msgs []bus.Message, keys, each int) {
	t.Helper()
	next := make([]int, keys)
	for _, m := range msgs {
		var k, i int
		if _, err := fmt.Sscanf(string(m.Value), "%d/%d", &k, &i); err != nil {
			t.Fatal(err)
		}
		switch {
		case i == next[k]:
			next[k]++
		case i > next[k]:
			t.Fatalf("key %d: message %d came before %d", k, i, next[k])
		}
	}
	for k, n := range next {
		if n != each {
			t.Errorf("key %d: %d of %d messages came", k, n, each)
		}
	}
}
