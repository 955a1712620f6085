package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceparent   = "traceparent"    // W3C Trace Context
	ceTraceparent = "ce_traceparent" // the same in a CloudEvents extension
	tracestate    = "tracestate"

	// findTopic is how long Publish waits for a topic, or for a broker, to show
	// up in the metadata. Nothing is written meanwhile.
	findTopic = 10 * time.Second
	// Links of one span; more say nothing to a reader and cost memory.
	maxLinks = 32
)

// ErrTooLarge means that a message of the call is larger than the cluster
// accepts. Repeating the call will not help.
var ErrTooLarge = errors.New("message too large")

// newWriter makes the safe producer: acknowledged by all in-sync replicas, the
// same partition for the same key as the Java client chooses (so that order per
// key holds between our producers and others'), one request in flight per
// partition (so that a repetition never overtakes).
func (c *Client) newWriter(batchBytes int64) *kafka.Writer {
	return &kafka.Writer{
		Addr:            c.addr,
		Transport:       c.transport,
		Balancer:        kafka.Murmur2Balancer{},
		RequiredAcks:    kafka.RequireAll,
		BatchTimeout:    c.cfg.BatchTimeout,
		BatchSize:       2000,
		BatchBytes:      batchBytes,
		MaxAttempts:     8,
		WriteBackoffMin: 50 * time.Millisecond,
		WriteBackoffMax: time.Second,
		ReadTimeout:     callTimeout,
		WriteTimeout:    callTimeout,
		ErrorLogger:     c.kafkaLog("producer"),
	}
}

// Publish writes the messages and returns nil when all of them are acknowledged
// by all in-sync replicas. After an error some of them may have been written:
// repeat the call, consumers ignore what they know. Messages of one key keep the
// order of the slice, and the order of the calls when one call follows the
// other. Calls that run at the same time share their requests.
func (c *Client) Publish(ctx context.Context, msgs ...Message) error {
	return c.publish(ctx, c.writer, msgs)
}

func (c *Client) publish(ctx context.Context, w *kafka.Writer, msgs []Message) error {
	if len(msgs) == 0 {
		return nil
	}
	for i := range msgs {
		if msgs[i].Topic == "" {
			return fmt.Errorf("bus: publish: message %d of %d names no topic", i+1, len(msgs))
		}
	}
	ctx, span := c.startSend(ctx, msgs)
	defer span.End()

	out := make([]kafka.Message, len(msgs))
	now := c.cfg.Now()
	for i, m := range msgs {
		out[i] = kafka.Message{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: sendHeaders(ctx, m), Time: m.Time}
		if m.Time.IsZero() {
			out[i].Time = now
		}
	}
	err := c.write(ctx, w, out)
	c.meters.published(ctx, msgs, c.cfg.Now().Sub(now), err)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return fmt.Errorf("bus: publish to %s: %w", topicsOf(msgs), err)
	}
	return nil
}

func (c *Client) write(ctx context.Context, w *kafka.Writer, out []kafka.Message) error {
	giveUp := time.Now().Add(findTopic)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := w.WriteMessages(ctx, out...)
		var (
			partial kafka.WriteErrors
			large   kafka.MessageTooLargeError
		)
		switch {
		case err == nil:
			return nil
		case errors.As(err, &large) || errors.Is(err, kafka.MessageSizeTooLarge):
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, largest(out))
		case errors.As(err, &partial):
			return firstOf(partial)
		case !findable(err) || time.Now().Add(pause).After(giveUp):
			return err
		}
		// The partition was not found: nothing was written.
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// findable reports whether the error says that a topic or a broker is not known
// yet, which the next metadata may change.
func findable(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) ||
		errors.Is(err, kafka.LeaderNotAvailable) ||
		errors.Is(err, kafka.BrokerNotAvailable)
}

// firstOf returns the first error of a write that failed in part.
func firstOf(errs kafka.WriteErrors) error {
	failed := 0
	var first error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if failed++; first == nil {
			first = err
		}
	}
	if errors.Is(first, kafka.MessageSizeTooLarge) {
		first = fmt.Errorf("%w: %w", ErrTooLarge, first)
	}
	return fmt.Errorf("%d of %d messages not acknowledged: %w", failed, len(errs), first)
}

func largest(msgs []kafka.Message) (n int) {
	for _, m := range msgs {
		n = max(n, len(m.Key)+len(m.Value))
	}
	return n
}

func topicsOf(msgs []Message) string {
	for _, m := range msgs[1:] {
		if m.Topic != msgs[0].Topic {
			return msgs[0].Topic + " and others"
		}
	}
	return msgs[0].Topic
}

// startSend opens the span of a Publish call. Messages that carry a trace
// already (events that waited in an outbox) are linked, not adopted: they come
// from many requests.
func (c *Client) startSend(ctx context.Context, msgs []Message) (context.Context, trace.Span) {
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	for _, m := range msgs[:min(len(msgs), maxLinks)] {
		if sc := remoteSpan(m); sc.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: sc}))
		}
	}
	ctx, span := c.cfg.Tracer.Start(ctx, "send "+msgs[0].Topic, opts...)
	if span.IsRecording() {
		span.SetAttributes(attrSystem, attrDestination.String(msgs[0].Topic), attrOperation.String("send"), attrOperationType.String("send"), attrBatch.Int(len(msgs)))
	}
	return ctx, span
}

// sendHeaders returns the headers to write: those of the message, and the trace
// context when there is none yet.
func sendHeaders(ctx context.Context, m Message) []kafka.Header {
	out := make([]kafka.Header, 0, len(m.Headers)+2)
	for _, h := range m.Headers {
		out = append(out, kafka.Header{Key: h.Key, Value: h.Value})
	}
	if _, ok := m.Header(traceparent); ok {
		return out
	}
	if v, ok := m.Header(ceTraceparent); ok {
		return append(out, kafka.Header{Key: traceparent, Value: v})
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return out
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for _, k := range []string{traceparent, tracestate} {
		if v := carrier.Get(k); v != "" {
			out = append(out, kafka.Header{Key: k, Value: []byte(v)})
		}
	}
	return out
}

// remoteSpan reads the trace context that a message carries.
func remoteSpan(m Message) trace.SpanContext {
	carrier := propagation.MapCarrier{}
	if v, ok := m.Header(traceparent); ok {
		carrier[traceparent] = string(v)
	} else if v, ok := m.Header(ceTraceparent); ok {
		carrier[traceparent] = string(v)
	} else {
		return trace.SpanContext{}
	}
	if v, ok := m.Header(tracestate); ok {
		carrier[tracestate] = string(v)
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), carrier)
	return trace.SpanContextFromContext(ctx)
}

// sleep waits and reports whether the context is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
