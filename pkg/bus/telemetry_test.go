package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/bus"
	"masar.local/pkg/telemetry"
)

// sum adds up the points of a counter or gauge that have the attribute.
func sum(t *testing.T, r sdkmetric.Reader, name string, with attribute.KeyValue) float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	var total float64
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name != name {
				continue
			}
			has := func(s attribute.Set) bool { v, ok := s.Value(with.Key); return ok && v == with.Value }
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					if has(p.Attributes) {
						total += float64(p.Value)
					}
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					if has(p.Attributes) {
						total += float64(p.Value)
					}
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					if has(p.Attributes) {
						total += p.Value
					}
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					if has(p.Attributes) {
						total += float64(p.Count)
					}
					if p.Bounds[0] > 0.01 || p.Bounds[len(p.Bounds)-1] > 60 {
						t.Errorf("%s: boundaries are not in seconds: %v", name, p.Bounds)
					}
				}
			}
		}
	}
	return total
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	cl := startEmbedded(t)
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	c := newClient(t, cl, func(cfg *bus.Config) { cfg.Meter = provider.Meter("test") })
	topic, group := newTopic(t, c, 2), unique("g")
	publishAll(t, c, topic, 2, 0, 10)
	onTopic := attribute.String(telemetry.MessagingDestination, topic)
	inGroup := attribute.String(telemetry.MessagingGroup, group)

	told := func(name string) bool { // whether the metric is there, with any value
		var rm metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &rm); err != nil {
			t.Fatal(err)
		}
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				if m.Name == name {
					return true
				}
			}
		}
		return false
	}
	quiet := newTopic(t, c, 1)
	consume(t, c, bus.Consumer{Group: unique("quiet"), Topics: []string{quiet}, Handle: func(context.Context, bus.Message) error { return nil }})
	eventually(t, "no dead letters to be told of, as none", func() bool {
		return told(telemetry.DeadLetters) && sum(t, reader, telemetry.DeadLetters, attribute.String(telemetry.MessagingDestination, quiet)) == 0
	})

	hold := make(chan struct{})
	var held atomic.Int64
	consume(t, c, bus.Consumer{Group: group, Topics: []string{topic}, Attempts: 2, MinBackoff: time.Millisecond, Handle: func(_ context.Context, m bus.Message) error {
		switch string(m.Value) {
		case "0/9":
			return errors.New("never")
		case "1/9":
			held.Add(1)
			<-hold
		}
		return nil
	}})
	eventually(t, "one message to be left", func() bool {
		return held.Load() == 1 && sum(t, reader, telemetry.DeadLetters, onTopic) == 1 && sum(t, reader, telemetry.ConsumerInFlight, inGroup) == 1
	})
	for name, want := range map[string]float64{
		telemetry.MessagingSent:            20,
		telemetry.MessagingConsumed:        20, // 18 + 2 tries
		telemetry.MessagingProcessDuration: 20,
		telemetry.ConsumerRetries:          1,
		telemetry.ConsumerLag:              1,
	} {
		if got := sum(t, reader, name, onTopic); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if got := sum(t, reader, telemetry.ConsumerTimeLag, inGroup); got <= 0 || got > 60 {
		t.Errorf("time lag %v s", got)
	}
	close(hold)
	eventually(t, "the lag to be gone and the offsets committed", func() bool {
		return sum(t, reader, telemetry.ConsumerLag, onTopic) == 0 && sum(t, reader, telemetry.ConsumerOffset, onTopic) == 20
	})
}

func TestTraceGoesThroughATopic(t *testing.T) {
	t.Parallel()
	cl := startEmbedded(t)
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	c := newClient(t, cl, func(cfg *bus.Config) { cfg.Tracer = tracer })
	topic := newTopic(t, c, 1)
	ctx, command := tracer.Start(t.Context(), "command")
	if err := c.Publish(ctx, bus.Message{Topic: topic, Key: []byte("a"), Value: []byte("plain")}); err != nil {
		t.Fatal(err)
	}
	command.End()
	// An event that waited in an outbox has its own trace.
	const old = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if err := c.Publish(t.Context(),
		bus.Message{Topic: topic, Key: []byte("a"), Value: []byte("stored"), Headers: []bus.Header{{"traceparent", []byte(old)}}},
		bus.Message{Topic: topic, Key: []byte("a"), Value: []byte("cloud event"), Headers: []bus.Header{{"ce_traceparent", []byte(old)}}},
	); err != nil {
		t.Fatal(err)
	}
	var s seen
	inside := make(map[string]trace.SpanContext)
	consume(t, c, bus.Consumer{Group: unique("g"), Topics: []string{topic}, Handle: func(ctx context.Context, m bus.Message) error {
		inside[string(m.Value)] = trace.SpanContextFromContext(ctx)
		return s.handle(ctx, m)
	}})
	eventually(t, "the messages", func() bool { return s.count() == 3 })
	if got := inside["plain"].TraceID(); got != command.SpanContext().TraceID() {
		t.Errorf("trace of the handler %s, of the command %s", got, command.SpanContext().TraceID())
	}
	for _, v := range []string{"stored", "cloud event"} {
		if got := inside[v].TraceID().String(); !strings.Contains(old, got) {
			t.Errorf("%s: trace %s, want that of the event", v, got)
		}
	}
	for _, m := range s.all() {
		if v, ok := m.Header("traceparent"); !ok || (string(m.Value) != "plain" && string(v) != old) {
			t.Errorf("%s: traceparent %q", m.Value, v)
		}
	}
	kinds := make(map[string]int)
	eventually(t, "the spans to end", func() bool { return len(spans.Ended()) == 6 })
	for _, sp := range spans.Ended() {
		kinds[sp.SpanKind().String()+" "+strings.TrimSuffix(sp.Name(), topic)]++
		if strings.HasPrefix(sp.Name(), "send") && len(sp.Links()) == 2 && sp.Links()[0].SpanContext.TraceID().String() != old[3:35] {
			t.Errorf("links of the send span: %v", sp.Links())
		}
	}
	if kinds["producer send "] != 2 || kinds["consumer process "] != 3 {
		t.Errorf("spans: %v", kinds)
	}
}
