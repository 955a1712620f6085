package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/telemetry"
)

// Attribute keys of the metrics and spans. No message key is ever one: it may
// identify a person.
const (
	attrDestination   = attribute.Key(telemetry.MessagingDestination)
	attrPartition     = attribute.Key(telemetry.MessagingPartition)
	attrGroup         = attribute.Key(telemetry.MessagingGroup)
	attrOperation     = attribute.Key(telemetry.MessagingOperation)
	attrOperationType = attribute.Key(telemetry.MessagingOperationType)
	attrBatch         = attribute.Key(telemetry.MessagingBatchCount)
	attrOffset        = attribute.Key(telemetry.MessagingOffset)
	attrErrorType     = attribute.Key(telemetry.ErrorType)
)

var attrSystem = attribute.String(telemetry.MessagingSystem, "kafka")

// durations are the bucket boundaries in seconds; OpenTelemetry's defaults are
// made for milliseconds.
var durations = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

type meters struct {
	sent, consumed, retries, dead metric.Int64Counter
	sendTime, processTime         metric.Float64Histogram
	registration                  metric.Registration

	mu   sync.RWMutex
	sets map[setKey]metric.MeasurementOption
}

// setKey names a set of attributes. There are few: no part of it comes out of a
// message.
type setKey struct{ operation, topic, group, errorType string }

// set returns the attributes of a measurement, made once.
func (m *meters) set(k setKey) metric.MeasurementOption {
	m.mu.RLock()
	o, ok := m.sets[k]
	m.mu.RUnlock()
	if ok {
		return o
	}
	attrs := []attribute.KeyValue{attrDestination.String(k.topic)}
	for _, a := range []struct {
		key   attribute.Key
		value string
	}{{attrOperation, k.operation}, {attrGroup, k.group}, {attrErrorType, k.errorType}} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	o = metric.WithAttributeSet(attribute.NewSet(attrs...))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sets[k] = o
	return o
}

func newMeters(c *Client) (*meters, error) {
	var (
		m    = meters{sets: make(map[setKey]metric.MeasurementOption)}
		errs []error
	)
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	counter := func(name, unit, text string) metric.Int64Counter {
		i, err := c.cfg.Meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		keep(err)
		return i
	}
	histogram := func(name, text string) metric.Float64Histogram {
		i, err := c.cfg.Meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(durations...))
		keep(err)
		return i
	}
	m.sent = counter(telemetry.MessagingSent, "{message}", "Messages acknowledged by the cluster, or refused (error.type)")
	m.consumed = counter(telemetry.MessagingConsumed, "{message}", "Tries to handle a message")
	m.retries = counter(telemetry.ConsumerRetries, "{try}", "Messages put back for another try")
	m.dead = counter(telemetry.DeadLetters, "{message}", "Messages stored as dead letters")
	m.sendTime = histogram(telemetry.MessagingDuration, "Duration of one Publish call")
	m.processTime = histogram(telemetry.MessagingProcessDuration, "Duration of one try to handle a message")

	lag, err := c.cfg.Meter.Int64ObservableGauge(telemetry.ConsumerLag, metric.WithUnit("{message}"), metric.WithDescription("Messages not yet handled in a partition of this member"))
	keep(err)
	lagTime, err := c.cfg.Meter.Float64ObservableGauge(telemetry.ConsumerTimeLag, metric.WithUnit("s"), metric.WithDescription("Age of the oldest message that is fetched and not handled"))
	keep(err)
	offset, err := c.cfg.Meter.Int64ObservableGauge(telemetry.ConsumerOffset, metric.WithUnit("{message}"), metric.WithDescription("Committed offset of a partition of this member"))
	keep(err)
	inFlight, err := c.cfg.Meter.Int64ObservableGauge(telemetry.ConsumerInFlight, metric.WithUnit("{message}"), metric.WithDescription("Messages fetched and not yet handled"))
	keep(err)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	m.registration, err = c.cfg.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, r := range c.running() {
			group := attrGroup.String(r.k.Group)
			p := r.snapshot()
			o.ObserveFloat64(lagTime, p.Oldest.Seconds(), metric.WithAttributes(group))
			o.ObserveInt64(inFlight, int64(p.InFlight), metric.WithAttributes(group))
			for _, s := range r.partitions() {
				at := metric.WithAttributes(group, attrDestination.String(s.topic), attrPartition.Int(s.partition))
				o.ObserveInt64(lag, max(0, s.end-s.next), at)
				o.ObserveInt64(offset, s.committed, at)
			}
		}
		return nil
	}, lag, lagTime, offset, inFlight)
	return &m, err
}

func (m *meters) close() error {
	if m.registration == nil {
		return nil
	}
	return m.registration.Unregister()
}

func (c *Client) running() []*run {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*run, 0, len(c.runs))
	for r := range c.runs {
		out = append(out, r)
	}
	return out
}

func (r *run) partitions() []partState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flow == nil {
		return nil
	}
	return r.flow.state().parts
}

func (m *meters) published(ctx context.Context, msgs []Message, took time.Duration, err error) {
	one := func(topic string, n int) {
		set := m.set(setKey{operation: "send", topic: topic, errorType: errorType(err)})
		m.sent.Add(ctx, int64(n), set)
		m.sendTime.Record(ctx, took.Seconds(), set)
	}
	if topicsOf(msgs) == msgs[0].Topic {
		one(msgs[0].Topic, len(msgs))
		return
	}
	counts := make(map[string]int)
	for _, msg := range msgs {
		counts[msg.Topic]++
	}
	for topic, n := range counts {
		one(topic, n)
	}
}

func (m *meters) retried(ctx context.Context, msg Message, group string, err error) {
	m.retries.Add(ctx, 1, m.set(setKey{topic: msg.Topic, group: group, errorType: errorType(err)}))
}

func (m *meters) buried(ctx context.Context, msg Message, group string) {
	m.dead.Add(ctx, 1, m.set(setKey{topic: msg.Topic, group: group}))
}

// begins tells of no dead letters yet: of a counter that appears with its first
// event nobody sees that it grew.
func (m *meters) begins(ctx context.Context, k Consumer) {
	for _, topic := range k.Topics {
		m.dead.Add(ctx, 0, m.set(setKey{topic: topic, group: k.Group}))
	}
}

// startProcess opens the span of one try, as a child of the span that the
// message carries, and returns what to do when the try is over.
func (c *Client) startProcess(ctx context.Context, m Message, group string) (context.Context, func(error)) {
	start := c.cfg.Now()
	if sc := remoteSpan(m); sc.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	ctx, span := c.cfg.Tracer.Start(ctx, "process "+m.Topic, trace.WithSpanKind(trace.SpanKindConsumer))
	if span.IsRecording() {
		span.SetAttributes(
			attrSystem, attrDestination.String(m.Topic), attrPartition.Int(m.Partition), attrOffset.Int64(m.Offset),
			attrGroup.String(group), attrOperation.String("process"), attrOperationType.String("process"),
		)
	}
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		set := c.meters.set(setKey{operation: "process", topic: m.Topic, group: group, errorType: errorType(err)})
		c.meters.consumed.Add(ctx, 1, set)
		c.meters.processTime.Record(ctx, c.cfg.Now().Sub(start).Seconds(), set)
		span.End()
	}
}

// errorType is the class of an error, of which there are few; "" of none.
func errorType(err error) string {
	switch {
	case err == nil:
		return ""
	case IsPermanent(err):
		return "permanent"
	case IsBlocked(err):
		return "blocked"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "failed"
	}
}

// kafkaLog passes on what kafka-go says about errors. They are its own texts on
// connections and offsets, without any message; it repeats them at every retry,
// hence debug.
func (c *Client) kafkaLog(who string) kafka.Logger {
	return kafka.LoggerFunc(func(msg string, args ...any) {
		if c.log.Enabled(context.Background(), slog.LevelDebug) {
			c.log.Debug("bus: kafka-go", "who", who, "message", fmt.Sprintf(msg, args...))
		}
	})
}
