// Package outbox publishes the events that wait in the outboxes of documents,
// and remembers them.
//
// Its contract: every event that a committed write emitted is published at least
// once and filed in the journal exactly once; the events of one document are
// published for the first time in the order of their sequence numbers, and
// repeats never jump over one that was not published yet. One relay works at a
// time on one store, however many replicas there are. What cannot be published
// waits, for ever if need be, and shows in Progress and in the metrics.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/telemetry"
)

const (
	lease       = "outbox"
	leaseTTL    = 10 * time.Second
	batch       = 500                    // events read at once
	poll        = 200 * time.Millisecond // how long another replica's event waits at most to be seen
	gather      = 10 * time.Millisecond  // after a wake: under load events then share a batch, and its syncs of the disk
	measure     = time.Second            // how often the backlog is measured
	finish      = 5 * time.Second        // to file what is published when the relay is told to stop
	minPause    = 50 * time.Millisecond  // after a failure
	maxPause    = 5 * time.Second
	drainLookup = 250 * time.Millisecond
)

// Publisher sends messages and returns nil when all of them are acknowledged by
// all in-sync replicas. *bus.Client is one.
type Publisher interface {
	Publish(ctx context.Context, msgs ...bus.Message) error
}

// Config says what a relay works on.
type Config struct {
	Engine      docstore.Engine
	Collections []string // whose documents emit; they must be ensured before Run
	Journal     string   // the collection of the journal, default "journal"
	Publisher   Publisher
	Holder      string           // who we are in the lease, unique for each process
	Log         *slog.Logger     // default: discards
	Meter       metric.Meter     // default: no metrics
	Now         func() time.Time // default time.Now
}

// Relay publishes what waits in the outboxes of one store.
type Relay struct {
	cfg       Config
	journal   *journal
	published metric.Int64Counter
	maxPause  time.Duration // between tries; shorter in tests

	mu        sync.Mutex
	backlog   map[string]docstore.Backlog // by collection, as last measured
	lastError string                      // of the last round, "" when it went well
}

// NewRelay makes a relay. It does nothing before Run.
func NewRelay(cfg Config) *Relay {
	if cfg.Journal == "" {
		cfg.Journal = DefaultJournal
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Meter == nil {
		cfg.Meter = noop.Meter{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Relay{
		cfg: cfg, journal: newJournal(cfg.Engine, cfg.Journal),
		published: noop.Int64Counter{}, maxPause: maxPause, backlog: map[string]docstore.Backlog{},
	}
}

// Progress is how far behind the outbox is.
type Progress struct {
	Pending   int64         // documents with events that wait; counting stops at some 10,000 for each collection
	OldestAge time.Duration // since the oldest of those events was written
	LastError string        // what keeps the relay from getting on, "" when nothing does
}

// Progress gives the state as it was at the last measurement, at most some
// seconds ago while Run runs.
func (r *Relay) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{LastError: r.lastError}
	for _, b := range r.backlog {
		p.Pending += b.Documents
		p.OldestAge = max(p.OldestAge, r.age(b))
	}
	return p
}

func (r *Relay) age(b docstore.Backlog) time.Duration {
	if b.Oldest.IsZero() {
		return 0
	}
	return max(0, r.cfg.Now().Sub(b.Oldest))
}

// Run publishes until ctx ends, and then returns nil. Failures are tried again
// after growing pauses. While another replica has the lease it waits.
func (r *Relay) Run(ctx context.Context) error {
	stop, err := r.observe()
	if err != nil {
		return err
	}
	defer stop()
	var measuring sync.WaitGroup
	defer measuring.Wait()
	measuring.Go(func() { r.measure(ctx) })

	for failures := 0; ctx.Err() == nil; {
		err := docstore.Hold(ctx, r.cfg.Engine, lease, r.cfg.Holder, leaseTTL, r.relay)
		if err != nil && ctx.Err() == nil {
			failures++
			r.failed(fmt.Errorf("the lease: %w", err), failures)
			r.pause(ctx, failures)
		}
	}
	return nil
}

// Drain publishes until nothing waits any more, by us or by another replica. It
// is for the stop, after Run has returned. Failures are tried again; the last one
// is in the error when ctx ends before.
func (r *Relay) Drain(ctx context.Context) error {
	var last error
	for failures := 0; ; {
		waits, err := r.waits(ctx)
		if err == nil && waits == 0 {
			return nil
		}
		if err == nil {
			err = r.drain(ctx)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("outbox: it could not be emptied in time: %w", errors.Join(context.Cause(ctx), last))
		}
		if err != nil {
			last = err
			failures++
			r.failed(err, failures)
			r.pause(ctx, failures)
		}
	}
}

// drain publishes what waits if it gets the lease soon. Otherwise another
// replica has it, and may empty the outbox.
func (r *Relay) drain(ctx context.Context) error {
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	held := false
	giveUp := time.AfterFunc(drainLookup, cancel)
	err := docstore.Hold(attempt, r.cfg.Engine, lease, r.cfg.Holder, leaseTTL, func(ctx context.Context) error {
		held = giveUp.Stop()
		if err := r.journal.open(ctx); err != nil {
			return err
		}
		return r.rounds(ctx)
	})
	if !held && attempt.Err() != nil {
		return nil
	}
	return err
}

// waits counts the documents with events that wait.
func (r *Relay) waits(ctx context.Context) (n int64, err error) {
	for _, c := range r.cfg.Collections {
		b, err := r.cfg.Engine.Backlog(ctx, c)
		if err != nil {
			return 0, err
		}
		r.mu.Lock()
		r.backlog[c] = b
		r.mu.Unlock()
		n += b.Documents
	}
	return n, nil
}

func (r *Relay) measure(ctx context.Context) {
	t := time.NewTicker(measure)
	defer t.Stop()
	for {
		if _, err := r.waits(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("the outbox cannot be measured", "cause", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// relay works while it has the lease.
func (r *Relay) relay(ctx context.Context) error {
	wake, stop := r.cfg.Engine.Watch()
	defer stop()
	opened := false
	for failures := 0; ctx.Err() == nil; {
		var err error
		if !opened {
			err = r.journal.open(ctx)
			opened = err == nil
		}
		if err == nil {
			err = r.rounds(ctx)
		}
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			failures++
			r.failed(err, failures)
			r.pause(ctx, failures)
			continue
		}
		if failures > 0 {
			r.cfg.Log.Info("the outbox gets on again", "failures", failures)
		}
		failures = 0
		r.note("")
		select {
		case <-wake:
			sleep(ctx, gather)
		case <-time.After(poll):
		case <-ctx.Done():
		}
	}
	return nil
}

// rounds publishes until nothing waits.
func (r *Relay) rounds(ctx context.Context) error {
	for more := true; more; {
		more = false
		for _, c := range r.cfg.Collections {
			n, err := r.round(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
			more = more || n > 0
		}
	}
	return nil
}

// round publishes, files and settles one batch of a collection, in this order:
// whatever breaks off in between is repeated, never lost.
func (r *Relay) round(ctx context.Context, collection string) (int, error) {
	waiting, err := r.cfg.Engine.Pending(ctx, collection, batch)
	if err != nil || len(waiting) == 0 {
		return 0, err
	}
	var events []docstore.Event
	for _, p := range waiting {
		events = append(events, p.Events...)
	}
	if err := publish(ctx, r.cfg.Publisher, events); err != nil {
		return 0, err
	}
	// It is out: file it even when we are told to stop, to spare a repeat.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	if err := r.journal.file(ctx, events, r.cfg.Now()); err != nil {
		return 0, fmt.Errorf("the journal: %w", err)
	}
	if err := r.cfg.Engine.Settle(ctx, collection, waiting); err != nil {
		return 0, err
	}
	r.published.Add(ctx, int64(len(events)), metric.WithAttributes(attribute.String(telemetry.Collection, collection)))
	return len(waiting), nil
}

// publish sends events so that an event of a key is sent only after the one
// before it is acknowledged. A call of Publish that fails may have written the
// later of two messages and not the earlier, and consumers that ignore what is
// not newer would then never see the earlier. So no call has two of one key.
func publish(ctx context.Context, to Publisher, events []docstore.Event) error {
	type key struct{ topic, key string }
	var waves [][]bus.Message
	seen := map[key]int{}
	for _, e := range events {
		k := key{e.Topic, e.Key}
		n := seen[k]
		seen[k]++
		if n == len(waves) {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], Message(e))
	}
	for _, msgs := range waves {
		if err := to.Publish(ctx, msgs...); err != nil {
			return fmt.Errorf("publishing %d events: %w", len(msgs), err)
		}
	}
	return nil
}

// sequence is the CloudEvents extension that carries an event's number.
const sequence = "ce_sequence"

// Message is an event as it is published: with its number, which journals keep beside
// the headers.
func Message(e docstore.Event) bus.Message {
	m := bus.Message{Topic: e.Topic, Key: []byte(e.Key), Value: e.Value, Headers: make([]bus.Header, 0, len(e.Headers)+1)}
	numbered := false
	for _, h := range e.Headers {
		m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: []byte(h.Value)})
		numbered = numbered || h.Key == sequence
	}
	if !numbered {
		m.Headers = append(m.Headers, bus.Header{Key: sequence, Value: strconv.AppendInt(nil, e.Seq, 10)})
	}
	return m
}

func (r *Relay) failed(err error, failures int) {
	r.note(err.Error())
	r.cfg.Log.Warn("the outbox does not get on; it is tried again", "cause", err, "failures", failures)
}

func (r *Relay) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastError = text
}

// pause waits longer after each failure, up to maxPause.
func (r *Relay) pause(ctx context.Context, failures int) {
	d := min(minPause<<min(failures, 10), r.maxPause)
	sleep(ctx, d/2+rand.N(d/2))
}

// sleep waits until the time is over or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// observe registers the metrics.
func (r *Relay) observe() (stop func(), err error) {
	m := r.cfg.Meter
	r.published, err = m.Int64Counter(telemetry.OutboxPublished, metric.WithUnit("{event}"), metric.WithDescription("Events published from the outbox."))
	if err != nil {
		return nil, err
	}
	pending, err := m.Int64ObservableGauge(telemetry.OutboxPending, metric.WithUnit("{document}"), metric.WithDescription("Documents with events that wait to be published."))
	if err != nil {
		return nil, err
	}
	age, err := m.Float64ObservableGauge(telemetry.OutboxAge, metric.WithUnit("s"), metric.WithDescription("How long the oldest event has waited to be published."))
	if err != nil {
		return nil, err
	}
	reg, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for c, b := range r.backlog {
			of := metric.WithAttributes(attribute.String(telemetry.Collection, c))
			o.ObserveInt64(pending, b.Documents, of)
			o.ObserveFloat64(age, r.age(b).Seconds(), of)
		}
		return nil
	}, pending, age)
	if err != nil {
		return nil, err
	}
	return func() { _ = reg.Unregister() }, nil
}
