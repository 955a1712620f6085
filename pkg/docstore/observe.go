package docstore

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/telemetry"
)

// observed times the operations of an engine. It tells the operation, the
// collection and the kind of an error, never an id or a value.
type observed struct {
	Engine
	system   string
	duration metric.Float64Histogram
	tracer   trace.Tracer
}

func observe(e Engine, system string, o settings) (Engine, error) {
	if o.meter == nil && o.tracer == nil {
		return e, nil
	}
	if o.meter == nil {
		o.meter = noop.Meter{}
	}
	duration, err := o.meter.Float64Histogram(telemetry.DBDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of operations on documents."),
		metric.WithExplicitBucketBoundaries(telemetry.Boundaries...))
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &observed{Engine: e, system: system, duration: duration, tracer: o.tracer}, nil
}

// begin starts the clock of an operation; the function it returns stops it.
func (o *observed) begin(ctx context.Context, operation, collection string) (context.Context, func(error)) {
	attrs := []attribute.KeyValue{
		attribute.String(telemetry.DBSystem, o.system),
		attribute.String(telemetry.DBOperation, operation),
		attribute.String(telemetry.DBCollection, collection),
	}
	start := time.Now()
	span := trace.Span(nil)
	// What no request asked for, such as the relay's looking, makes no trace.
	if o.tracer != nil && trace.SpanContextFromContext(ctx).IsValid() {
		ctx, span = o.tracer.Start(ctx, operation+" "+collection, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	}
	return ctx, func(err error) {
		if kind := errorKind(err); kind != "" {
			attrs = append(attrs, attribute.String(telemetry.ErrorType, kind))
			if span != nil {
				span.SetAttributes(attribute.String(telemetry.ErrorType, kind))
				if kind == "unavailable" || kind == "other" {
					span.SetStatus(codes.Error, kind)
				}
			}
		}
		o.duration.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(attrs...))
		if span != nil {
			span.End()
		}
	}
}

func errorKind(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrExists):
		return "exists"
	case errors.Is(err, ErrStale):
		return "stale"
	case errors.Is(err, ErrInvalidCursor):
		return "invalid_cursor"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	}
	return "other"
}

func (o *observed) Get(ctx context.Context, collection, id string) (r Record, err error) {
	ctx, end := o.begin(ctx, "get", collection)
	defer func() { end(err) }()
	return o.Engine.Get(ctx, collection, id)
}

func (o *observed) Insert(ctx context.Context, collection string, r Record, events []Event) (err error) {
	ctx, end := o.begin(ctx, "insert", collection)
	defer func() { end(err) }()
	return o.Engine.Insert(ctx, collection, r, events)
}

func (o *observed) Replace(ctx context.Context, collection string, r Record, events []Event) (err error) {
	ctx, end := o.begin(ctx, "replace", collection)
	defer func() { end(err) }()
	return o.Engine.Replace(ctx, collection, r, events)
}

func (o *observed) Delete(ctx context.Context, collection, id string, version int64) (err error) {
	ctx, end := o.begin(ctx, "delete", collection)
	defer func() { end(err) }()
	return o.Engine.Delete(ctx, collection, id, version)
}

func (o *observed) Find(ctx context.Context, collection string, q Query) (rs []Record, next string, err error) {
	ctx, end := o.begin(ctx, "find", collection)
	defer func() { end(err) }()
	return o.Engine.Find(ctx, collection, q)
}

func (o *observed) Scan(ctx context.Context, collection, after string, limit int) (rs []Record, err error) {
	ctx, end := o.begin(ctx, "scan", collection)
	defer func() { end(err) }()
	return o.Engine.Scan(ctx, collection, after, limit)
}

func (o *observed) Count(ctx context.Context, collection string) (n int64, err error) {
	ctx, end := o.begin(ctx, "count", collection)
	defer func() { end(err) }()
	return o.Engine.Count(ctx, collection)
}

func (o *observed) Pending(ctx context.Context, collection string, limit int) (ps []Pending, err error) {
	ctx, end := o.begin(ctx, "pending", collection)
	defer func() { end(err) }()
	return o.Engine.Pending(ctx, collection, limit)
}

func (o *observed) Settle(ctx context.Context, collection string, done []Pending) (err error) {
	ctx, end := o.begin(ctx, "settle", collection)
	defer func() { end(err) }()
	return o.Engine.Settle(ctx, collection, done)
}

func (o *observed) File(ctx context.Context, collection string, rs []Record) (err error) {
	ctx, end := o.begin(ctx, "file", collection)
	defer func() { end(err) }()
	return o.Engine.File(ctx, collection, rs)
}
