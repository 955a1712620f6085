package bus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"masar.local/pkg/bus"
)

func TestNewRefusesABadConfiguration(t *testing.T) {
	for name, cfg := range map[string]bus.Config{
		"no broker":      {},
		"no port":        {Brokers: []string{"localhost"}},
		"batch too long": {Brokers: []string{"localhost:1"}, BatchTimeout: time.Second},
	} {
		if _, err := bus.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConsumeRefusesABadConsumer(t *testing.T) {
	c, err := bus.New(bus.Config{Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	handle := func(context.Context, bus.Message) error { return nil }
	for name, k := range map[string]bus.Consumer{
		"no group":    {Topics: []string{"t"}, Handle: handle},
		"no topic":    {Group: "g", Handle: handle},
		"no handler":  {Group: "g", Topics: []string{"t"}},
		"dead letter": {Group: "g", Topics: []string{"t", "g.dlq"}, Handle: handle},
		"drain":       {Group: "g", Topics: []string{"t"}, Handle: handle, Drain: time.Minute},
		"workers":     {Group: "g", Topics: []string{"t"}, Handle: handle, Workers: -1},
	} {
		if err := c.Consume(t.Context(), k); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConsumeWaitsForAClusterThatIsNotThere(t *testing.T) {
	t.Parallel()
	c, err := bus.New(bus.Config{Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run := consume(t, c, bus.Consumer{Group: "g", Topics: []string{"t"}, Handle: func(context.Context, bus.Message) error { return nil }})
	eventually(t, "the consumer to be there", func() bool { return len(c.Progress()) == 1 })
	run.stop() // returns nil, or the test fails
	if len(c.Progress()) != 0 {
		t.Error("a consumer that ended is still listed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Publish(ctx, bus.Message{Topic: "t"}); err == nil {
		t.Error("Publish without a cluster returned no error")
	}
}

func TestClassifyDecidesForEveryHandler(t *testing.T) {
	t.Parallel()
	errStore := errors.New("store is away")
	c := newClient(t, startEmbedded(t), func(cfg *bus.Config) {
		cfg.Classify = func(err error) error {
			if errors.Is(err, errStore) {
				return bus.Blocked(err)
			}
			return err
		}
	})
	topic := newTopic(t, c, 1)
	publishAll(t, c, topic, 1, 0, 1)
	var tries atomic.Int64
	var s seen
	consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Attempts: 2, MinBackoff: 1, Handle: func(ctx context.Context, m bus.Message) error {
		if tries.Add(1) < 10 {
			return errStore
		}
		return s.handle(ctx, m)
	}})
	eventually(t, "the message, after more tries than attempts", func() bool { return s.count() == 1 })
}

// TestRecreatedTopic: the group's offset is behind the end of a log that starts
// again. Waiting for it to grow would lose everything up to there.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	cl := startEmbedded(t)
	c := newClient(t, cl)
	topic, group := newTopic(t, c, 1), unique("g")
	publishAll(t, c, topic, 1, 0, 20)
	var s seen
	k := bus.Consumer{Group: group, Topics: []string{topic}, Handle: s.handle}
	run := consume(t, c, k)
	eventually(t, "the first life", func() bool { return s.count() == 20 })
	run.stop()

	admin := &kafka.Client{Addr: kafka.TCP(cl.addr), Timeout: 10 * time.Second, Transport: &kafka.Transport{MetadataTTL: 50 * time.Millisecond}}
	if _, err := admin.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic to be made anew", func() bool {
		resp, err := admin.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}}})
		return err == nil && resp.Errors[topic] == nil
	})
	// The broker forgot the group's offset with the topic; put it back, as a
	// restored backup would have it.
	if _, err := admin.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Offset: 20}}}}); err != nil {
		t.Fatal(err)
	}
	publishAll(t, c, topic, 1, 20, 25)
	consume(t, c, k)
	eventually(t, "the second life, from its start", func() bool { return s.count() == 25 })
}

func TestDeadLetterThatCannotBeStoredKeepsTheMessage(t *testing.T) {
	t.Parallel()
	cl := startEmbedded(t)
	c := newClient(t, cl)
	topic, group := newTopic(t, c, 1), unique("g")
	// The topic for dead letters takes only tiny batches.
	admin := &kafka.Client{Addr: kafka.TCP(cl.addr), Timeout: 10 * time.Second}
	dlq := group + ".dlq"
	if _, err := admin.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: dlq, NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "10"}},
	}}}); err != nil {
		t.Fatal(err)
	}
	publishAll(t, c, topic, 2, 0, 3)
	var tries atomic.Int64
	k := bus.Consumer{Group: group, Topics: []string{topic}, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Handle: func(_ context.Context, m bus.Message) error {
		if string(m.Key) == "key0" {
			tries.Add(1)
			return bus.Permanent(errors.New("no"))
		}
		return nil
	}}
	run := consume(t, c, k)
	eventually(t, "the consumer to be stuck", func() bool {
		p := c.Progress()
		return len(p) == 1 && p[0].Blocked == 1 && p[0].InFlight == 3
	})
	if p := c.Progress()[0]; !strings.Contains(p.LastError, "dead letter") {
		t.Errorf("progress: %+v", p)
	}
	if tries.Load() != 1 {
		t.Errorf("the handler ran %d times for a message whose fate is settled", tries.Load())
	}
	run.stop()
	lag, err := c.Lag(t.Context(), group, topic)
	if err != nil {
		t.Fatal(err)
	}
	if lag[0].Lag != 6 { // its message is the first one
		t.Errorf("after the stop: %+v, want nothing committed", lag[0])
	}
	if lag[0].Time <= 0 {
		t.Errorf("time lag %s", lag[0].Time)
	}
}

func TestHandlerIsCutOffWhenTheDrainIsOver(t *testing.T) {
	t.Parallel()
	c := newClient(t, startEmbedded(t))
	topic, group := newTopic(t, c, 1), unique("g")
	publishAll(t, c, topic, 1, 0, 2)
	var begun atomic.Int64
	run := consume(t, c, bus.Consumer{Group: group, Topics: []string{topic}, Drain: 50 * time.Millisecond, Handle: func(ctx context.Context, m bus.Message) error {
		begun.Add(1)
		<-ctx.Done() // a call to something that hangs
		return ctx.Err()
	}})
	eventually(t, "the handler", func() bool { return begun.Load() == 1 })
	run.stop()
	var s seen
	consume(t, c, bus.Consumer{Group: group, Topics: []string{topic}, Handle: s.handle})
	eventually(t, "both messages to come again", func() bool { return s.count() == 2 })
}

func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	c := newClient(t, startEmbedded(t))
	topic := newTopic(t, c, 4)
	publishAll(t, c, topic, 50, 0, 20)
	hold := make(chan struct{})
	var s seen
	consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, InFlight: 30, Handle: func(ctx context.Context, m bus.Message) error {
		<-hold
		return s.handle(ctx, m)
	}})
	eventually(t, "the limit", func() bool {
		p := c.Progress()
		return len(p) == 1 && p[0].InFlight == 30
	})
	close(hold)
	highest := 0
	eventually(t, "all messages", func() bool {
		highest = max(highest, c.Progress()[0].InFlight)
		return s.count() == 1000
	})
	if highest > 30 {
		t.Errorf("%d messages in flight, 30 are allowed", highest)
	}
}

func TestEnsureTopicsLeavesWhatIsThere(t *testing.T) {
	onEach(t, func(t *testing.T, cl *cluster) {
		c := newClient(t, cl)
		topic := newTopic(t, c, 2)
		if err := c.EnsureTopics(t.Context(), bus.Topic{Name: topic, Partitions: 7}, bus.Topic{Name: unique("test")}); err != nil {
			t.Fatal(err)
		}
		lag, err := c.Lag(t.Context(), unique("g"), topic)
		if err != nil {
			t.Fatal(err)
		}
		if len(lag) != 2 || lag[0].Committed != -1 {
			t.Errorf("lag of a group that never was: %+v", lag)
		}
		if err := c.EnsureTopics(t.Context(), bus.Topic{Name: "no spaces allowed"}); err == nil || !strings.Contains(err.Error(), "no spaces") {
			t.Errorf("a name that no cluster takes: %v", err)
		}
	})
}

func FuzzDeadLetterOfAnything(f *testing.F) {
	cl := startEmbedded(f)
	c := newClient(f, cl)
	topic, group := newTopic(f, c, 1), unique("g")
	var dead seen
	consume(f, c, bus.Consumer{Group: group, Topics: []string{topic}, Handle: func(_ context.Context, m bus.Message) error {
		return bus.Permanent(errors.New(string(m.Value)))
	}})
	consume(f, c, bus.Consumer{Group: unique("g"), Topics: []string{group + ".dlq"}, Handle: dead.handle})
	f.Add([]byte("k"), []byte("v"), "h", []byte("x"))
	f.Add([]byte{}, []byte{0xff, 0xfe}, "dlq_reason", []byte(nil))
	f.Add([]byte(nil), []byte(strings.Repeat("é", 3000)), "", []byte("00-zz"))
	f.Fuzz(func(t *testing.T, key, value []byte, header string, hv []byte) {
		before := dead.count()
		m := bus.Message{Topic: topic, Key: key, Value: value, Headers: []bus.Header{{header, hv}, {"traceparent", hv}}}
		if err := c.Publish(t.Context(), m); err != nil {
			t.Skip(err) // too large
		}
		eventually(t, "the dead letter", func() bool { return dead.count() == before+1 })
		if got := dead.all()[before]; !bytes.Equal(got.Value, value) || !bytes.Equal(got.Key, key) {
			t.Errorf("key %q value %q became %q %q", key, value, got.Key, got.Value)
		}
	})
}
