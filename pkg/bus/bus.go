// Package bus carries messages over Kafka.
//
// Its contract: Publish returns nil only when every message is acknowledged by
// all in-sync replicas; messages of one key keep their order; a consumer sees
// every message at least once, in the order of its key, and commits an offset
// only when everything before it in the partition is handled or stored as a
// dead letter. Repeats happen (a broker or a process may die between the effect
// and the commit), so a Handler must be idempotent.
package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

const (
	dialTimeout = 5 * time.Second
	callTimeout = 10 * time.Second // one administrative request, answer included

	// Kafka accepts record batches of 1,048,588 bytes by default.
	maxBatchBytes = 1_000_000
	// A dead letter is its original and a few headers, so its topic takes more.
	maxDeadBytes = 2 * maxBatchBytes
)

// Header is one Kafka record header. Keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// Message is one Kafka record. Partition, Offset and Time are set on messages
// that were consumed; Publish ignores Partition and Offset, and stamps Time when
// it is zero.
type Message struct {
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Time      time.Time
}

// Header returns the value of the last header with this key, and whether there
// is one.
func (m Message) Header(key string) ([]byte, bool) {
	for i := len(m.Headers) - 1; i >= 0; i-- {
		if m.Headers[i].Key == key {
			return m.Headers[i].Value, true
		}
	}
	return nil, false
}

// Config says how to reach the cluster and where to report. Only Brokers is
// required; every other field has a working zero value.
type Config struct {
	Brokers  []string         // host:port of one or more brokers
	TLS      *tls.Config      // nil: plain TCP
	SASL     sasl.Mechanism   // nil: no authentication
	ClientID string           // default "masar"
	Log      *slog.Logger     // default: discards
	Meter    metric.Meter     // default: no metrics
	Tracer   trace.Tracer     // default: no spans
	Now      func() time.Time // default time.Now

	// Classify sees every error of a handler before the consumer decides what
	// happens next, and returns it as it is or marked by Permanent or Blocked.
	// It is the one place to say, for all consumers, which errors mean that a
	// dependency is down.
	Classify func(error) error

	// BatchTimeout is how long a message waits for others to share its request:
	// the price of one Publish call and the gain of many at once. 1 to 10 ms,
	// default 2 ms.
	BatchTimeout time.Duration
}

// Client is a producer and a maker of consumers on one cluster. It is safe for
// concurrent use. Close it after every Consume has returned.
type Client struct {
	cfg       Config
	log       *slog.Logger
	addr      net.Addr
	transport *kafka.Transport
	writer    *kafka.Writer
	dead      *kafka.Writer
	meters    *meters
	close     func() error

	mu   sync.Mutex
	runs map[*run]struct{}
}

// New checks the configuration and returns a client. It does not connect.
func New(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("bus: no broker address given: set Config.Brokers")
	}
	for _, b := range cfg.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("bus: broker address %q: %w (write host:port)", b, err)
		}
	}
	if cfg.BatchTimeout == 0 {
		cfg.BatchTimeout = 2 * time.Millisecond
	}
	if cfg.BatchTimeout < time.Millisecond || cfg.BatchTimeout > 10*time.Millisecond {
		return nil, fmt.Errorf("bus: BatchTimeout is %s, it must lie between 1 and 10 ms", cfg.BatchTimeout)
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "masar"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Meter == nil {
		cfg.Meter = metricnoop.NewMeterProvider().Meter("masar/bus")
	}
	if cfg.Tracer == nil {
		cfg.Tracer = tracenoop.NewTracerProvider().Tracer("masar/bus")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Classify == nil {
		cfg.Classify = func(err error) error { return err }
	}
	c := &Client{
		cfg:  cfg,
		log:  cfg.Log,
		addr: kafka.TCP(cfg.Brokers...),
		transport: &kafka.Transport{
			ClientID:    cfg.ClientID,
			TLS:         cfg.TLS,
			SASL:        cfg.SASL,
			DialTimeout: dialTimeout,
			// A topic created by another process is unknown to us for this long.
			MetadataTTL: 2 * time.Second,
		},
		runs: make(map[*run]struct{}),
	}
	var err error
	if c.meters, err = newMeters(c); err != nil {
		return nil, fmt.Errorf("bus: create metrics: %w", err)
	}
	c.writer = c.newWriter(maxBatchBytes)
	c.dead = c.newWriter(maxDeadBytes)
	c.close = sync.OnceValue(func() error {
		err := errors.Join(c.writer.Close(), c.dead.Close(), c.meters.close())
		c.transport.CloseIdleConnections()
		return err
	})
	return c, nil
}

// Close flushes what is being published and closes the connections. Repeated
// calls return the result of the first.
func (c *Client) Close() error { return c.close() }

// dialer opens the connections that are not pooled by the transport.
func (c *Client) dialer() *kafka.Dialer {
	return &kafka.Dialer{
		ClientID:      c.cfg.ClientID,
		TLS:           c.cfg.TLS,
		SASLMechanism: c.cfg.SASL,
		Timeout:       dialTimeout,
		KeepAlive:     30 * time.Second,
	}
}

// Handler takes one message. It must be idempotent. Its error says what happens
// next: nil, the message is done; Permanent, it goes to the dead letters at
// once; Blocked, it is tried again for ever; any other, it is tried again up to
// Consumer.Attempts times and then goes to the dead letters.
type Handler func(ctx context.Context, m Message) error

// Permanent marks an error that no repetition will cure: the message goes to the
// dead letters at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &marked{err: err, permanent: true}
}

// Blocked marks an error whose cause is outside the message (a dependency is
// down): the message is tried again for ever, with a growing and capped pause,
// and never goes to the dead letters. Blocked(nil) is nil.
func Blocked(err error) error {
	if err == nil {
		return nil
	}
	return &marked{err: err}
}

type marked struct {
	err       error
	permanent bool
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// IsPermanent reports whether err, or an error that it wraps, is Permanent.
func IsPermanent(err error) bool {
	var m *marked
	return errors.As(err, &m) && m.permanent
}

// IsBlocked reports whether err, or an error that it wraps, is Blocked.
func IsBlocked(err error) bool {
	var m *marked
	return errors.As(err, &m) && !m.permanent
}
