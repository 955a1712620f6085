package notifications

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"masar.local/pkg/telemetry"
)

// Measure is told how each message ended.
type Measure func(ctx context.Context, m Message)

// NewMeasure counts messages by how they ended. No label names or numbers a
// person.
func NewMeasure(meter metric.Meter) (Measure, error) {
	settled, err := meter.Int64Counter(telemetry.Messages, metric.WithUnit("{message}"),
		metric.WithDescription("Messages to people, by how they ended"))
	if err != nil {
		return nil, err
	}
	wait, err := meter.Float64Histogram(telemetry.MessageWait, metric.WithUnit("s"),
		metric.WithDescription("Time from planning a message to its acceptance by the carrier"))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, m Message) {
		settled.Add(ctx, 1, metric.WithAttributes(
			attribute.String(telemetry.MessageStatus, string(m.Status)),
			attribute.String(telemetry.Reason, string(m.Reason)),
			attribute.String(telemetry.MessageTemplate, string(m.Template)),
			attribute.String(telemetry.MessageLanguage, m.Language),
			attribute.String(telemetry.MessageChannel, m.Channel),
		))
		if m.Status == Sent {
			wait.Record(ctx, m.SettledAt.Sub(m.PlannedAt).Seconds(), metric.WithAttributes(
				attribute.String(telemetry.MessageChannel, m.Channel),
			))
		}
	}, nil
}
