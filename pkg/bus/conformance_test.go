package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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

// publishAll publishes "key/i" for i = from, from+1 ... to-1 and every key.
func publishAll(t *testing.T, c *bus.Client, topic string, keys, from, to int) {
	t.Helper()
	var msgs []bus.Message
	for i := from; i < to; i++ {
		for k := range keys {
			msgs = append(msgs, bus.Message{Topic: topic, Key: fmt.Appendf(nil, "key%d", k), Value: fmt.Appendf(nil, "%d/%d", k, i)})
		}
	}
	if err := c.Publish(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

func TestResumeAfterRestart(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 4), unique("g")
		var s seen
		k := bus.Consumer{Group: group, Topics: []string{topic}, Handle: s.handle}
		for round := range 3 {
			publishAll(t, c, topic, 10, 20*round, 20*(round+1))
			run := consume(t, c, k)
			eventually(t, "the messages of the round", func() bool { return s.count() >= 200*(round+1) })
			run.stop()
			if n := s.count(); n != 200*(round+1) {
				t.Fatalf("round %d: %d messages were handled, %d published: a clean stop repeats nothing", round, n, 200*(round+1))
			}
		}
		checkOrder(t, s.all(), 10, 60)
		lag, err := c.Lag(t.Context(), group, topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lag {
			if l.Lag != 0 || l.Committed != l.End || l.Time != 0 {
				t.Errorf("after all: %+v", l)
			}
		}
	})
}

func TestStopInTheMiddleNeitherLosesNorRepeats(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 4), unique("g")
		const keys, each = 8, 100
		publishAll(t, c, topic, keys, 0, each)
		var s seen
		for s.count() < keys*each {
			before := s.count()
			enough := make(chan struct{})
			var once sync.Once
			run := consume(t, c, bus.Consumer{Group: group, Topics: []string{topic}, Handle: func(ctx context.Context, m bus.Message) error {
				_ = s.handle(ctx, m)
				if s.count() >= min(before+150, keys*each) {
					once.Do(func() { close(enough) })
				}
				return nil
			}})
			select {
			case <-enough:
			case <-time.After(time.Minute):
				t.Fatal("timed out")
			}
			run.stop() // while messages are in flight
		}
		if s.count() != keys*each {
			t.Errorf("%d deliveries of %d messages", s.count(), keys*each)
		}
		checkOrder(t, s.all(), keys, each)
	})
}

func TestRebalance(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 6), unique("g")
		const keys = 24
		var (
			s    seen
			a, b atomic.Int64 // deliveries to each member
		)
		member := func(n *atomic.Int64) bus.Consumer {
			return bus.Consumer{Group: group, Topics: []string{topic}, Handle: func(ctx context.Context, m bus.Message) error {
				n.Add(1)
				return s.handle(ctx, m)
			}}
		}
		// Traffic goes on during everything that follows.
		var published atomic.Int64
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				publishAll(t, c, topic, keys, i, i+1)
				published.Store(int64(i + 1))
			}
		}()
		first := consume(t, c, member(&a))
		eventually(t, "the first member to work", func() bool { return a.Load() > 100 })
		other := newClient(t, cl)
		second := consume(t, other, member(&b))
		eventually(t, "the second member to work", func() bool { return b.Load() > 100 })
		first.stop()
		more := b.Load()
		eventually(t, "the second member to go on alone", func() bool { return b.Load() > more+200 })
		third := consume(t, c, member(&a))
		more = a.Load()
		eventually(t, "a new member to work", func() bool { return a.Load() > more+100 })
		second.stop()
		close(stop)
		<-done
		each := int(published.Load())
		eventually(t, "everything to be handled", func() bool { return s.distinct() == keys*each })
		third.stop()
		checkOrder(t, s.all(), keys, each)
		t.Logf("%d messages, %d deliveries", keys*each, s.count())
		if n := s.count(); n > keys*each*11/10 {
			t.Errorf("%d deliveries of %d messages: a clean handover repeats little", n, keys*each)
		}
	})
}

func TestPoisonMessage(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 1), unique("g")
		poison := bus.Message{Topic: topic, Key: []byte("key0"), Value: []byte("\x00poison\xff"), Headers: []bus.Header{{"h", []byte("v")}, {"dlq_reason", []byte("of an earlier death")}}, Time: time.UnixMilli(1_600_000_000_000)}
		publishAll(t, c, topic, 4, 0, 10)
		if err := c.Publish(t.Context(), poison); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(t.Context(), bus.Message{Topic: topic, Key: []byte("key1"), Value: []byte("panic")}); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(t.Context(), bus.Message{Topic: topic, Key: []byte("key2"), Value: []byte("permanent")}); err != nil {
			t.Fatal(err)
		}
		publishAll(t, c, topic, 4, 10, 20)

		var s seen
		var tries, panics, permanents atomic.Int64
		k := bus.Consumer{Group: group, Topics: []string{topic}, Attempts: 3, MinBackoff: time.Millisecond, Handle: func(ctx context.Context, m bus.Message) error {
			n, of := bus.Attempt(ctx)
			switch string(m.Value) {
			case string(poison.Value):
				if int64(n) != tries.Add(1) || of != 3 {
					t.Errorf("Attempt = %d of %d at try %d", n, of, tries.Load())
				}
				return fmt.Errorf("cannot read it (try %d)", n)
			case "panic":
				panics.Add(1)
				panic("a bug")
			case "permanent":
				permanents.Add(1)
				return fmt.Errorf("wrapped: %w", bus.Permanent(errors.New("no such thing")))
			}
			return s.handle(ctx, m)
		}}
		run := consume(t, c, k)
		eventually(t, "the good messages", func() bool { return s.count() == 80 })
		var dead seen
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{group + ".dlq"}, Handle: dead.handle})
		eventually(t, "the dead letters", func() bool { return dead.count() == 3 })
		run.stop()
		checkOrder(t, s.all(), 4, 20)
		if tries.Load() != 3 || panics.Load() != 3 || permanents.Load() != 1 {
			t.Errorf("tries: failing %d, panicking %d, want 3; permanent %d, want 1", tries.Load(), panics.Load(), permanents.Load())
		}
		for _, m := range dead.all() {
			get := func(key string) string { v, _ := m.Header(key); return string(v) }
			if get(bus.HeaderTopic) != topic || get(bus.HeaderPartition) != "0" || get(bus.HeaderGroup) != group || get(bus.HeaderAt) == "" {
				t.Errorf("headers of a dead letter: %v", m.Headers)
			}
			switch string(m.Value) {
			case string(poison.Value):
				if string(m.Key) != "key0" || get("h") != "v" || get(bus.HeaderReason) != "cannot read it (try 3)" || get(bus.HeaderAttempts) != "3" || get(bus.HeaderOffset) != "40" || !m.Time.Equal(poison.Time) {
					t.Errorf("dead letter: %+v", m)
				}
			case "panic":
				if !strings.Contains(get(bus.HeaderReason), "a bug") {
					t.Errorf("reason of a panic: %q", get(bus.HeaderReason))
				}
			case "permanent":
				if get(bus.HeaderAttempts) != "1" || get(bus.HeaderReason) != "wrapped: no such thing" {
					t.Errorf("permanent: %v", m.Headers)
				}
			default:
				t.Errorf("unexpected dead letter %q", m.Value)
			}
		}
		// Started again, nothing comes back.
		before := s.count()
		consume(t, c, k)
		publishAll(t, c, topic, 4, 20, 21)
		eventually(t, "new messages", func() bool { return s.count() == before+4 })
		if tries.Load() != 3 {
			t.Error("the poison message came back")
		}
	})
}

func TestFailingMessageHoldsUpItsKeyOnly(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic := newTopic(t, c, 1)
		publishAll(t, c, topic, 3, 0, 5)
		var s seen
		down := make(chan struct{})
		var tries atomic.Int64
		consume(t, c, bus.Consumer{
			Group: unique("g"), Topics: []string{topic}, Workers: 1, Attempts: 2, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
			Handle: func(ctx context.Context, m bus.Message) error {
				if string(m.Key) == "key1" {
					select {
					case <-down:
					default:
						tries.Add(1)
						return bus.Blocked(errors.New("the store is down"))
					}
				}
				return s.handle(ctx, m)
			},
		})
		// One worker, one partition, and more tries than there are attempts.
		eventually(t, "the other keys", func() bool { return s.count() == 10 && tries.Load() > 10 })
		p := progressOf(t, c)
		if p.Blocked != 1 || p.InFlight != 5 || !strings.Contains(p.LastError, "store is down") {
			t.Errorf("progress while blocked: %+v", p)
		}
		close(down)
		eventually(t, "the blocked key", func() bool { return s.count() == 15 })
		checkOrder(t, s.all(), 3, 5)
		eventually(t, "progress to be clean", func() bool {
			p := progressOf(t, c)
			return p.Blocked == 0 && p.InFlight == 0 && p.Oldest == 0
		})
	})
}

func progressOf(t *testing.T, c *bus.Client) bus.ConsumerProgress {
	t.Helper()
	ps := c.Progress()
	if len(ps) != 1 {
		t.Fatalf("%d consumers run, want 1: %+v", len(ps), ps)
	}
	return ps[0]
}

func TestBrokerRestartInMidStream(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		if cl.restart == nil {
			t.Skip("this cluster cannot be restarted from here")
		}
		c := newClient(t, cl)
		topic := newTopic(t, c, 4)
		const keys = 8
		var s seen
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Handle: s.handle})
		var acked atomic.Int64
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				var msgs []bus.Message
				for k := range keys {
					msgs = append(msgs, bus.Message{Topic: topic, Key: fmt.Appendf(nil, "key%d", k), Value: fmt.Appendf(nil, "%d/%d", k, i)})
				}
				if err := c.Publish(t.Context(), msgs...); err != nil {
					t.Logf("publish, to be repeated: %v", err)
					continue
				}
				i++
				acked.Store(int64(i))
			}
		}()
		for range 3 {
			from := acked.Load()
			eventually(t, "traffic", func() bool { return acked.Load() > from+20 && s.count() > int(from)*keys })
			cl.restart(t)
		}
		from := acked.Load()
		eventually(t, "traffic after the restarts", func() bool { return acked.Load() > from+20 })
		close(stop)
		<-done
		each := int(acked.Load())
		eventually(t, "everything acknowledged to be handled", func() bool { return s.distinct() >= keys*each })
		checkOrder(t, s.all(), keys, each)
		t.Logf("%d messages acknowledged, %d deliveries", keys*each, s.count())
	})
}

func TestConcurrentStops(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 4), unique("g")
		publishAll(t, c, topic, 4, 0, 50)
		var s seen
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := c.Consume(ctx, bus.Consumer{Group: group, Topics: []string{topic}, Handle: s.handle}); err != nil {
					t.Error(err)
				}
			})
		}
		eventually(t, "a few messages", func() bool { return s.count() > 20 })
		cancel()
		wg.Wait()
		for range 4 {
			wg.Go(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := c.Publish(t.Context(), bus.Message{Topic: topic, Value: []byte("late")}); err == nil {
			t.Error("Publish after Close returned no error")
		}
	})
}

func TestNewGroupAtTheEnd(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 2), unique("g")
		publishAll(t, c, topic, 4, 0, 5)
		var s seen
		k := bus.Consumer{Group: group, Topics: []string{topic}, Handle: s.handle, StartAtEnd: true}
		run := consume(t, c, k)
		eventually(t, "the position to be committed", func() bool {
			lags, err := c.Lag(t.Context(), group, topic)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range lags {
				if l.Committed != l.End {
					return false
				}
			}
			return true
		})
		run.stop()
		publishAll(t, c, topic, 4, 5, 10) // while nobody listens
		consume(t, c, k)
		eventually(t, "what came after the first start", func() bool { return s.count() >= 20 })
		if n := s.count(); n != 20 {
			t.Errorf("%d messages, want the 20 after the end", n)
		}
	})
}

func TestMessagesWithoutAKeyKeepThePartitionsOrder(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic := newTopic(t, c, 1)
		const n = 200
		for i := range n {
			if err := c.Publish(t.Context(), bus.Message{Topic: topic, Value: fmt.Appendf(nil, "0/%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		var s seen
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Handle: s.handle})
		eventually(t, "all messages", func() bool { return s.count() == n })
		checkOrder(t, s.all(), 1, n)
	})
}

func TestLargeMessages(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic, group := newTopic(t, c, 1), unique("g")
		large := bus.Message{Topic: topic, Key: []byte("k"), Value: []byte(strings.Repeat("x", 990_000))}
		if err := c.Publish(t.Context(), large, bus.Message{Topic: topic, Key: []byte("k"), Value: []byte("small")}); err != nil {
			t.Fatal(err)
		}
		too := large
		too.Value = append(too.Value, make([]byte, 100_000)...)
		if err := c.Publish(t.Context(), too); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("1.1 MB: %v, want ErrTooLarge", err)
		}
		// As a dead letter it has headers besides.
		var s, dead seen
		consume(t, c, bus.Consumer{Group: group, Topics: []string{topic}, Handle: func(ctx context.Context, m bus.Message) error {
			_ = s.handle(ctx, m)
			return bus.Permanent(errors.New(strings.Repeat("é", 5000)))
		}})
		consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{group + ".dlq"}, Handle: dead.handle})
		eventually(t, "two dead letters", func() bool { return dead.count() == 2 })
		if got := dead.all()[0]; len(got.Value) != len(large.Value) {
			t.Errorf("dead letter of %d bytes, want %d", len(got.Value), len(large.Value))
		}
	})
}
