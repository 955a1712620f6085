// Package telemetry sets up OpenTelemetry for one process: metrics (Prometheus
// scrape, and OTLP when an endpoint is set), traces and logs.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Config says who we are and where telemetry goes.
type Config struct {
	Service      string // service.name, e.g. "masar-candidates"
	Version      string // service.version
	Instance     string // service.instance.id; "" = host and process id
	OTLPEndpoint string // base URL of an OTLP/HTTP collector, "" = none
}

// Telemetry is what a process measures and tells with.
type Telemetry struct {
	Meter  metric.Meter
	Tracer trace.Tracer
	Log    *slog.Logger
}

// Start sets everything up. Call Shutdown to flush.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	return nil, errors.New("telemetry: not implemented")
}

// MetricsHandler serves the metrics in the Prometheus formats.
func (t *Telemetry) MetricsHandler() http.Handler { return http.NotFoundHandler() }

// Shutdown flushes and stops the exporters.
func (t *Telemetry) Shutdown(ctx context.Context) error { return nil }
