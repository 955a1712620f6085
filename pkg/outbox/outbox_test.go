package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/docstore/storetest"
	"masar.local/pkg/embedded"
	"masar.local/pkg/telemetry"
)

type counter struct {
	N int `bson:"n"`
}

var counters = docstore.Schema{Collection: "counters"}

const topic = "test.counters.v1"

func open(t testing.TB, uri string) docstore.Engine {
	t.Helper()
	e, err := docstore.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Ensure(t.Context(), counters); err != nil {
		t.Fatal(err)
	}
	return e
}

func kafka(t testing.TB) *bus.Client {
	t.Helper()
	b, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	c, err := bus.New(bus.Config{Brokers: []string{b.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.EnsureTopics(t.Context(), bus.Topic{Name: topic, Partitions: 3, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	return c
}

// seen is what a consumer of the topic saw: sequence numbers by key, as they came.
type seen struct {
	mu   sync.Mutex
	seqs map[string][]int64
}

func follow(t *testing.T, c *bus.Client) *seen {
	s := &seen{seqs: map[string][]int64{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- c.Consume(ctx, bus.Consumer{Group: "follow", Topics: []string{topic}, Handle: func(_ context.Context, m bus.Message) error {
			v, ok := m.Header(sequence)
			n, err := strconv.ParseInt(string(v), 10, 64)
			if !ok || err != nil {
				return fmt.Errorf("no %s header: %v", sequence, err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seqs[string(m.Key)] = append(s.seqs[string(m.Key)], n)
			return nil
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("consumer: %v", err)
		}
	})
	return s
}

// check says what is wrong with what was seen: for each key 1, 2 ... want, each
// for the first time after the one before it.
func (s *seen) check(want map[string]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range want {
		var last int64
		for _, seq := range s.seqs[key] {
			if seq > last+1 {
				return fmt.Errorf("%s: %d came after %d: %v", key, seq, last, s.seqs[key])
			}
			last = max(last, seq)
		}
		if last != n {
			return fmt.Errorf("%s: %d of %d events came", key, last, n)
		}
	}
	return nil
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func emit(d *docstore.Doc[counter]) {
	d.Emit(docstore.Event{
		ID: ulid.Make().String(), Topic: topic, Key: d.ID,
		Headers: []docstore.Header{{Key: "ce_id", Value: "x"}}, Value: []byte(`{"n":1}`), RecordedAt: time.Now(),
	})
}

// bump changes random documents from several goroutines, with 1 to 3 events each
// time, and gives how many events each document has emitted.
func bump(t *testing.T, e docstore.Engine, writers, writes, docs int) map[string]int64 {
	t.Helper()
	c := docstore.NewCollection[counter](e, counters)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		want = map[string]int64{}
	)
	for range writers {
		wg.Go(func() {
			for range writes {
				id := fmt.Sprintf("c%d", rand.IntN(docs))
				d, err := c.Upsert(t.Context(), id, func(d *docstore.Doc[counter]) error {
					d.Body.N++
					for range 1 + rand.IntN(3) {
						emit(d)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				want[id] = max(want[id], d.Seq)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return want
}

// checkJournal says whether the journal has every event once, in order.
func checkJournal(t *testing.T, e docstore.Engine, want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	ids := map[string]bool{}
	for ev, err := range Journal(e).All(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if ids[ev.ID] {
			t.Fatalf("%s is twice in the journal", ev.ID)
		}
		ids[ev.ID] = true
		if ev.Seq != got[ev.Key]+1 {
			t.Fatalf("journal of %s: %d after %d", ev.Key, ev.Seq, got[ev.Key])
		}
		if ev.Topic != topic || string(ev.Value) != `{"n":1}` || len(ev.Headers) != 1 || ev.RecordedAt.IsZero() {
			t.Fatalf("journal changed the event: %+v", ev)
		}
		got[ev.Key] = ev.Seq
	}
	for key, n := range want {
		if got[key] != n {
			t.Fatalf("journal of %s: %d of %d events", key, got[key], n)
		}
	}
}

// start runs a relay until the returned function is called.
func start(t *testing.T, r *Relay) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func relay(e docstore.Engine, p Publisher, holder string) *Relay {
	r := NewRelay(Config{Engine: e, Collections: []string{"counters"}, Publisher: p, Holder: holder})
	r.maxPause = minPause
	return r
}

func TestEventsArriveInOrderUnderConcurrentWriters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e, k := open(t, uri), kafka(t)
		s := follow(t, k)
		stop := start(t, relay(e, k, "one"))
		want := bump(t, e, 8, 50, 20)
		eventually(t, func() error { return s.check(want) })
		stop()
		checkJournal(t, e, want)
		s.mu.Lock()
		defer s.mu.Unlock()
		for key, seqs := range s.seqs {
			if int64(len(seqs)) != want[key] {
				t.Errorf("%s: repeats without a failure: %v", key, seqs)
			}
		}
	})
}

// failing lets some calls through in part, or wholly and then says they failed.
type failing struct {
	to    Publisher
	mu    sync.Mutex
	fails int
}

var errCut = errors.New("the connection was cut")

func (f *failing) Publish(ctx context.Context, msgs ...bus.Message) error {
	f.mu.Lock()
	kind := 3
	if f.fails > 0 {
		kind = rand.IntN(4)
	}
	if kind < 3 {
		f.fails--
	}
	f.mu.Unlock()
	switch kind {
	case 0: // nothing arrived
		return errCut
	case 1: // some arrived, in whatever order
		rand.Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
		return errors.Join(errCut, f.to.Publish(ctx, msgs[:rand.IntN(len(msgs))]...))
	case 2: // all arrived, and we do not know
		return errors.Join(errCut, f.to.Publish(ctx, msgs...))
	}
	return f.to.Publish(ctx, msgs...)
}

func TestFailuresRepeatButNeverLoseNorReorder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e, k := open(t, uri), kafka(t)
		s := follow(t, k)
		r := relay(e, &failing{to: k, fails: 8}, "one")
		start(t, r)
		want := bump(t, e, 4, 30, 5)
		eventually(t, func() error { return s.check(want) })
		eventually(t, func() error {
			if p := r.Progress(); p.Pending != 0 || p.LastError != "" {
				return fmt.Errorf("progress: %+v", p)
			}
			return nil
		})
		checkJournal(t, e, want)
	})
}

// crashing is an engine on which filing or settling fails now and then, as when
// the process dies between publishing and settling.
type crashing struct {
	docstore.Engine
	mu    sync.Mutex
	fails int
}

var errCrash = errors.New("crashed")

func (c *crashing) crash() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fails > 0 && rand.IntN(2) == 0 {
		c.fails--
		return true
	}
	return false
}

func (c *crashing) File(ctx context.Context, collection string, rs []docstore.Record) error {
	if c.crash() {
		return errCrash
	}
	return c.Engine.File(ctx, collection, rs)
}

func (c *crashing) Settle(ctx context.Context, collection string, done []docstore.Pending) error {
	if c.crash() {
		return errCrash
	}
	return c.Engine.Settle(ctx, collection, done)
}

func TestCrashBetweenPublishAndSettleRepeats(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e, k := open(t, uri), kafka(t)
		s := follow(t, k)
		start(t, relay(&crashing{Engine: e, fails: 8}, k, "one"))
		want := bump(t, e, 4, 30, 5)
		eventually(t, func() error { return s.check(want) })
		eventually(t, func() error { return settled(t.Context(), e) })
		checkJournal(t, e, want)
	})
}

func settled(ctx context.Context, e docstore.Engine) error {
	b, err := e.Backlog(ctx, "counters")
	if err == nil && b.Documents > 0 {
		err = fmt.Errorf("%d documents wait", b.Documents)
	}
	return err
}

func TestTwoRelaysTakeTurns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		k := kafka(t)
		s := follow(t, k)
		one, two := open(t, uri), open(t, uri)
		stopOne := start(t, relay(one, k, "one"))
		start(t, relay(two, k, "two"))
		want := bump(t, one, 4, 20, 5)
		eventually(t, func() error { return s.check(want) })
		stopOne()
		for key, n := range bump(t, two, 4, 20, 5) {
			want[key] = max(want[key], n)
		}
		eventually(t, func() error { return s.check(want) })
		eventually(t, func() error { return settled(t.Context(), one) })
		checkJournal(t, one, want)
	})
}

// Without any lease two relays repeat each other, and still lose and reorder
// nothing: a lease can be lost without its holder noticing.
func TestTwoRelaysAtOnceOnlyRepeat(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		k := kafka(t)
		s := follow(t, k)
		e := open(t, uri)
		start(t, relay(unleased{e}, k, "one"))
		start(t, relay(unleased{e}, k, "two"))
		want := bump(t, e, 4, 40, 5)
		eventually(t, func() error { return s.check(want) })
		eventually(t, func() error { return settled(t.Context(), e) })
		checkJournal(t, e, want)
	})
}

type unleased struct{ docstore.Engine }

func (u unleased) Hold(ctx context.Context, _, _ string, _ time.Duration, run func(context.Context) error) error {
	return run(ctx)
}

func TestDrainEmptiesTheOutbox(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e, k := open(t, uri), kafka(t)
		s := follow(t, k)
		want := bump(t, e, 2, 20, 5)
		if err := relay(e, k, "one").Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := settled(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return s.check(want) })

		emitOne(t, e)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := relay(e, broken{}, "one").Drain(ctx); !errors.Is(err, errCut) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a drain that cannot publish: %v", err)
		}
		if err := settled(t.Context(), e); err == nil {
			t.Fatal("an event that was not published is gone from the outbox")
		}
	})
}

func emitOne(t *testing.T, e docstore.Engine) {
	t.Helper()
	_, err := docstore.NewCollection[counter](e, counters).Upsert(t.Context(), "one", func(d *docstore.Doc[counter]) error {
		emit(d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProgressShowsWhatWaitsAndWhy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e := open(t, uri)
		r := relay(e, broken{}, "one")
		start(t, r)
		emitOne(t, e)
		eventually(t, func() error {
			p := r.Progress()
			if p.Pending != 1 || p.OldestAge <= 0 || p.OldestAge > time.Minute || p.LastError == "" {
				return fmt.Errorf("%+v", p)
			}
			return nil
		})
	})
}

type broken struct{}

func (broken) Publish(context.Context, ...bus.Message) error { return errCut }

func TestRepublishRefillsTheTopic(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e, k := open(t, uri), kafka(t)
		want := bump(t, e, 4, 30, 5)
		if err := relay(e, k, "one").Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := kafka(t) // the broker was lost
		s := follow(t, fresh)
		n, last, err := Journal(e).Republish(t.Context(), topic, "", fresh)
		if err != nil {
			t.Fatal(err)
		}
		var all int64
		for _, n := range want {
			all += n
		}
		if n != all {
			t.Errorf("republished %d of %d", n, all)
		}
		eventually(t, func() error { return s.check(want) })
		if n, _, err := Journal(e).Republish(t.Context(), topic, last, fresh); n != 0 || err != nil {
			t.Errorf("after the last: %d, %v", n, err)
		}
		if n, _, err := Journal(e).Republish(t.Context(), "other", "", fresh); n != 0 || err != nil {
			t.Errorf("of another topic: %d, %v", n, err)
		}
		if _, _, err := Journal(e).Republish(t.Context(), topic, "unknown", fresh); !errors.Is(err, docstore.ErrNotFound) {
			t.Errorf("after an unknown event: %v", err)
		}
	})
}

func TestJournalPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e := open(t, uri)
		want := bump(t, e, 4, 80, 20)
		if err := relay(e, kafka(t), "one").Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkJournal(t, e, want)
		var all []string
		for ev, err := range Journal(e).All(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, ev.ID)
		}
		for _, at := range []int{0, 1, len(all) / 2, len(all) - 1} {
			n := at
			for ev, err := range Journal(e).All(t.Context(), all[at]) {
				if n++; err != nil || ev.ID != all[n] {
					t.Fatalf("after %d: %v %v", at, ev.ID, err)
				}
			}
			if n != len(all)-1 {
				t.Fatalf("after %d: ended at %d of %d", at, n, len(all))
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	e := open(t, storetest.SQLite(t))
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
	k := kafka(t)
	gate := &gated{to: k}
	r := NewRelay(Config{Engine: e, Collections: []string{"counters"}, Publisher: gate, Holder: "one", Meter: meter})
	r.maxPause = minPause
	start(t, r)
	emitOne(t, e)

	read := func() map[string]float64 {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch d := m.Data.(type) {
				case metricdata.Gauge[int64]:
					got[m.Name] = float64(d.DataPoints[0].Value)
				case metricdata.Gauge[float64]:
					got[m.Name] = d.DataPoints[0].Value
				case metricdata.Sum[int64]:
					got[m.Name] = float64(d.DataPoints[0].Value)
				}
			}
		}
		return got
	}
	eventually(t, func() error {
		if got := read(); got[telemetry.OutboxPending] != 1 || got[telemetry.OutboxAge] <= 0 || got[telemetry.OutboxPublished] != 0 {
			return fmt.Errorf("while nothing gets out: %v", got)
		}
		return nil
	})
	gate.open.Store(true)
	eventually(t, func() error {
		if got := read(); got[telemetry.OutboxPending] != 0 || got[telemetry.OutboxAge] != 0 || got[telemetry.OutboxPublished] != 1 {
			return fmt.Errorf("after that: %v", got)
		}
		return nil
	})
}

// gated fails until it is open.
type gated struct {
	to   Publisher
	open atomic.Bool
}

func (g *gated) Publish(ctx context.Context, msgs ...bus.Message) error {
	if !g.open.Load() {
		return errCut
	}
	return g.to.Publish(ctx, msgs...)
}
