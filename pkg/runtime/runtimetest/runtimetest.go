// Package runtimetest runs a service in a test as it really runs: the embedded
// broker, HTTP with tokens, its relay and actors, and a clean stop.
package runtimetest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/bus"
	"masar.local/pkg/embedded"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime"
)

// Broker starts an embedded broker on dir, and a client of it, until the test
// ends.
func Broker(t testing.TB, dir string) *bus.Client {
	t.Helper()
	broker, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	client, err := bus.New(bus.Config{Brokers: []string{broker.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Serve runs a service on a free port until stop is called or the test ends; it
// returns when the service is ready. A stop that is not clean fails the test.
func Serve(t testing.TB, s *runtime.Service, o runtime.Options) (base string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Listener, o.StopTimeout = listener, 20*time.Second
	base = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- runtime.Run(ctx, []*runtime.Service{s}, o) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the service did not stop cleanly: %v", err)
		}
	})
	t.Cleanup(stop)
	Eventually(t, "the service is ready", func() bool {
		res, err := http.Get(base + "/healthz/ready")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return base, stop
}

// Eventually waits until the condition holds, at most a minute.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited a minute in vain: %s", what)
		case <-tick.C:
		}
	}
}

// Message is an event as a relay publishes it on a topic.
func Message(ctx context.Context, topic string, e event.Event) bus.Message {
	out := e.Outgoing(ctx, topic)
	m := bus.Message{Topic: out.Topic, Key: []byte(out.Key), Value: out.Value}
	for _, h := range out.Headers {
		m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: []byte(h.Value)})
	}
	if e.Seq > 0 {
		m.Headers = append(m.Headers, bus.Header{Key: "ce_sequence", Value: fmt.Append(nil, e.Seq)})
	}
	return m
}

// Clock is a clock that tests turn. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that stands at a time.
func NewClock(at time.Time) *Clock { return &Clock{now: at} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance turns the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Log is what a logger wrote, for tests that look for what must not be in it. It
// is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
