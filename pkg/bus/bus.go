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
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
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
	Brokers  []string
	TLS      *tls.Config      // nil: plain TCP
	ClientID string           // default "masar"
	Log      *slog.Logger     // default: discards
	Meter    metric.Meter     // default: no metrics
	Tracer   trace.Tracer     // default: no spans
	Now      func() time.Time // default time.Now
}

// Client is a producer and a maker of consumers on one cluster. It is safe for
// concurrent use. Close it after every Consume has returned.
type Client struct {
	cfg Config
}

// New checks the configuration and returns a client. It does not connect.
func New(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("bus: no broker address given: set Config.Brokers")
	}
	return &Client{cfg: cfg}, nil
}

// Close flushes what is being published and closes the connections.
func (c *Client) Close() error { return errTodo }

// Topic is a topic that must exist. Partitions 0 means 8, Replication 0 means
// the cluster's default.
type Topic struct {
	Name        string
	Partitions  int
	Replication int
}

var errTodo = errors.New("bus: not built yet")

// EnsureTopics creates the topics that do not exist yet and waits until they can
// be written. A topic that exists is left as it is.
func (c *Client) EnsureTopics(ctx context.Context, topics ...Topic) error { return errTodo }

// Publish writes the messages and returns nil when all of them are acknowledged
// by all in-sync replicas. After an error some of them may have been written.
func (c *Client) Publish(ctx context.Context, msgs ...Message) error { return errTodo }

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

// Consumer says what to read and how.
type Consumer struct {
	Group       string
	Topics      []string
	Handle      Handler
	DeadLetters string // topic of the dead letters; default Group + ".dlq"
	Attempts    int    // tries of one message before it becomes a dead letter; default 5
	Workers     int    // messages handled at the same time; those of one key never are; default 8
	StartAtEnd  bool   // a new group starts at the end instead of at the first message
}

// Consume reads until ctx ends, then stops fetching, finishes what is in flight,
// commits, leaves the group and returns nil. Any other return is an error that
// Consume could not get over by itself.
func (c *Client) Consume(ctx context.Context, k Consumer) error { return errTodo }

// PartitionLag is how far a group is behind in one partition.
type PartitionLag struct {
	Topic     string
	Partition int
	Committed int64         // next offset to be read by the group; -1: nothing committed yet
	End       int64         // offset after the last message
	Lag       int64         // messages not yet committed
	Time      time.Duration // age of the oldest message not yet committed; 0 when Lag is 0
}

// Lag asks the cluster how far the group is behind in the topics.
func (c *Client) Lag(ctx context.Context, group string, topics ...string) ([]PartitionLag, error) {
	return nil, errTodo
}

// ConsumerProgress is the state of one running Consume.
type ConsumerProgress struct {
	Group     string
	Topics    []string
	Handled   int64         // messages handled or stored as dead letters since the start
	InFlight  int           // messages fetched and not yet handled
	Blocked   int           // messages waiting in a retry because of a Blocked error
	LastMove  time.Time     // last time that a committed offset moved forward, or that there was nothing to do
	Oldest    time.Duration // age of the oldest message that is fetched and not handled; 0: none
	LastError string        // text of the last error of the loop, "" after it is overcome
}

// Progress returns the state of every running Consume of this client.
func (c *Client) Progress() []ConsumerProgress { return nil }
