package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/bus"
	"masar.local/pkg/embedded"
)

// cluster is what the conformance suite runs on.
type cluster struct {
	addr    string
	restart func(t *testing.T) // nil: not possible here
}

// onEach runs a test on the embedded broker and, when MASAR_TEST_KAFKA is set,
// on that cluster too.
func onEach(t *testing.T, f func(t *testing.T, cl *cluster)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		f(t, startEmbedded(t))
	})
	if addr := os.Getenv("MASAR_TEST_KAFKA"); addr != "" {
		t.Run("kafka", func(t *testing.T) {
			t.Parallel()
			f(t, &cluster{addr: addr})
		})
	}
}

func startEmbedded(t testing.TB) *cluster {
	t.Helper()
	cfg := embedded.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", Log: testLog(t)}
	b, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg.Addr = b.Addr()
	return &cluster{addr: b.Addr(), restart: func(t *testing.T) {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err = embedded.Start(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}}
}

func testLog(t testing.TB) *slog.Logger {
	// What belongs to a *testing.F may not be called while its target runs.
	if _, fuzzing := t.(*testing.F); fuzzing || !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(&logWriter{t: t}, &slog.HandlerOptions{Level: logLevel()}))
}

func logLevel() slog.Level {
	var l slog.Level
	if s := os.Getenv("MASAR_TEST_LOG"); s != "" {
		_ = l.UnmarshalText([]byte(s))
	}
	return l
}

// logWriter writes to the test's log until the test is over.
type logWriter struct {
	t    testing.TB
	mu   sync.Mutex
	init bool
	done bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.init {
		w.init = true
		w.t.Cleanup(func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.done = true
		})
	}
	if !w.done {
		w.t.Log(strings.TrimRight(string(p), "\n"))
	}
	return len(p), nil
}

func newClient(t testing.TB, cl *cluster, change ...func(*bus.Config)) *bus.Client {
	t.Helper()
	cfg := bus.Config{Brokers: []string{cl.addr}, Log: testLog(t)}
	for _, f := range change {
		f(&cfg)
	}
	c, err := bus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

var (
	runID = fmt.Sprintf("%x", time.Now().UnixNano())
	names struct {
		sync.Mutex
		n int
	}
)

// unique returns a name that no other test, and no earlier run, uses.
func unique(prefix string) string {
	names.Lock()
	defer names.Unlock()
	names.n++
	return fmt.Sprintf("%s.%s.%d", prefix, runID, names.n)
}

// newTopic creates a topic for one test.
func newTopic(t testing.TB, c *bus.Client, partitions int) string {
	t.Helper()
	name := unique("test")
	if err := c.EnsureTopics(t.Context(), bus.Topic{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return name
}

// consuming is a Consume that runs beside the test.
type consuming struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
}

// consume starts k and stops it at the end of the test at the latest.
func consume(t testing.TB, c *bus.Client, k bus.Consumer) *consuming {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &consuming{t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := c.Consume(ctx, k); err != nil {
			t.Errorf("Consume: %v", err)
		}
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends the Consume and waits until it has returned.
func (r *consuming) stop() {
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(time.Minute):
		r.t.Error("Consume did not return within a minute after its context ended")
	}
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("timed out waiting: %s", what)
		case <-tick.C:
		}
	}
}

// seen collects what a handler got.
type seen struct {
	mu   sync.Mutex
	msgs []bus.Message
}

func (s *seen) handle(_ context.Context, m bus.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.msgs = append(s.msgs, m)
	return nil
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.msgs)
}

func (s *seen) all() []bus.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bus.Message(nil), s.msgs...)
}

// distinct counts different values.
func (s *seen) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	vals := make(map[string]bool)
	for _, m := range s.msgs {
		vals[string(m.Value)] = true
	}
	return len(vals)
}
