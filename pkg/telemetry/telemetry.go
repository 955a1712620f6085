// Package telemetry sets up OpenTelemetry for one process: metrics (to scrape in
// the Prometheus format, and pushed over OTLP when an endpoint is set), traces
// (OTLP) and logs (standard error, and OTLP).
//
// Its contract: the names are those of registry.yaml and no others; durations are in
// seconds with boundaries made for them; up to CardinalityLimit series of one
// instrument come out, and not the SDK's 2,000; whatever an attribute's key says
// to be personal or secret never leaves the process in a log. Nothing is global
// except the SDK's own error handler, which there is one of.
package telemetry

//go:generate go run ./internal/generate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// CardinalityLimit is the number of series that one instrument may have before
// further ones are added up in one. The SDK's default, 2,000, would drop cells of
// the indicators: 24 governorates x 10 sectors x 2 sexes x 16 stages are 7,680.
const CardinalityLimit = 20_000

// Boundaries are the histogram boundaries of every duration, in seconds: from half
// a millisecond (a document read) to a minute (the longest answer). The SDK's
// defaults are meant for milliseconds.
var Boundaries = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// Config says who we are and where telemetry goes.
type Config struct {
	Service      string     // service.name, e.g. "masar-candidates"
	Version      string     // service.version; default "dev"
	Instance     string     // service.instance.id; default host name and process id
	OTLPEndpoint string     // base URL of an OTLP/HTTP collector, e.g. http://collector:4318; "" = none
	TraceRatio   float64    // share of the traces that begin here and are kept, 0..1; only with an endpoint
	LogLevel     slog.Level // from which level on to log
	LogFormat    string     // "json" or "text" (default)
	LogTo        io.Writer  // default standard error
}

// Telemetry is what one process measures and tells with. Meter, Tracer and Log are
// the process's own; a service of several in one process takes MeterFor and
// TracerFor.
type Telemetry struct {
	Meter  metric.Meter
	Tracer trace.Tracer
	Log    *slog.Logger

	version  string
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	tracers  *sdktrace.TracerProvider
	loggers  *sdklog.LoggerProvider
}

// Start sets everything up. Nothing is sent or served before something is
// measured; a collector that cannot be reached is reported in the log and is no
// reason not to start. Call Shutdown to send what is left.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	if c.Service == "" {
		return nil, errors.New("telemetry: a service name is needed")
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		c.Instance = host + "-" + strconv.Itoa(os.Getpid())
	}
	if c.LogTo == nil {
		c.LogTo = os.Stderr
	}
	base := strings.TrimSuffix(c.OTLPEndpoint, "/")
	if base != "" {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("telemetry: OTLP endpoint %q: a URL expected, such as http://collector:4318", c.OTLPEndpoint)
		}
	}
	// OTEL_RESOURCE_ATTRIBUTES may add (a cluster's names), never replace.
	res, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.namespace", "masar"),
		attribute.String("service.name", c.Service),
		attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", c.Instance),
	))
	if err != nil {
		return nil, fmt.Errorf("telemetry: resource: %w", err)
	}
	t := &Telemetry{version: c.Version, registry: prometheus.NewRegistry()}
	if err := t.startMetrics(ctx, base, res); err != nil {
		return nil, err
	}
	if err := t.startTraces(ctx, base, res, c.TraceRatio); err != nil {
		return nil, err
	}
	if err := t.startLogs(ctx, base, res, c); err != nil {
		return nil, err
	}
	t.Meter, t.Tracer = t.MeterFor(c.Service), t.TracerFor(c.Service)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		t.Log.Warn("telemetry could not be exported or recorded", "cause", err.Error())
	}))
	return t, nil
}

func (t *Telemetry) startMetrics(ctx context.Context, base string, res *resource.Resource) error {
	if err := errors.Join(
		t.registry.Register(collectors.NewGoCollector()),
		t.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	); err != nil {
		return fmt.Errorf("telemetry: process metrics: %w", err)
	}
	scraped, err := otelprom.New(otelprom.WithRegisterer(t.registry))
	if err != nil {
		return fmt.Errorf("telemetry: Prometheus exporter: %w", err)
	}
	options := []sdkmetric.Option{
		sdkmetric.WithReader(scraped),
		sdkmetric.WithResource(res),
		sdkmetric.WithCardinalityLimit(CardinalityLimit),
		sdkmetric.WithView(durations, kpis),
	}
	if base != "" {
		pushed, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(base+"/v1/metrics"))
		if err != nil {
			return fmt.Errorf("telemetry: OTLP metrics: %w", err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(pushed)))
	}
	t.meters = sdkmetric.NewMeterProvider(options...)
	return nil
}

// durations gives every histogram in seconds our boundaries.
func durations(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if i.Kind != sdkmetric.InstrumentKindHistogram || i.Unit != "s" && !strings.HasSuffix(i.Name, ".duration") {
		return sdkmetric.Stream{}, false
	}
	return sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: Boundaries},
	}, true
}

// kpis turns the unit of an indicator into an annotation ("d" becomes "{d}"), so
// that its Prometheus name is masar_kpi_<code> whatever its unit, and boards need
// not know which suffix a unit would add.
func kpis(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if !strings.HasPrefix(i.Name, KPIPrefix) {
		return sdkmetric.Stream{}, false
	}
	unit := i.Unit
	if unit != "" && !strings.HasPrefix(unit, "{") {
		unit = "{" + unit + "}"
	}
	return sdkmetric.Stream{Name: i.Name, Description: i.Description, Unit: unit}, true
}

func (t *Telemetry) startTraces(ctx context.Context, base string, res *resource.Resource, ratio float64) error {
	if base == "" {
		// Nobody reads them: only the ids remain, for the log.
		t.tracers = sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSampler(sdktrace.NeverSample()))
		return nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(base+"/v1/traces"))
	if err != nil {
		return fmt.Errorf("telemetry: OTLP traces: %w", err)
	}
	t.tracers = sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))))
	return nil
}

func (t *Telemetry) startLogs(ctx context.Context, base string, res *resource.Resource, c Config) error {
	var local slog.Handler
	switch opts := (&slog.HandlerOptions{Level: c.LogLevel}); c.LogFormat {
	case "json":
		local = slog.NewJSONHandler(c.LogTo, opts)
	case "", "text":
		local = slog.NewTextHandler(c.LogTo, opts)
	default:
		return fmt.Errorf("telemetry: log format %q: json or text expected", c.LogFormat)
	}
	handler := slog.Handler(traced{local})
	if base != "" {
		exporter, err := otlploghttp.New(ctx, otlploghttp.WithEndpointURL(base+"/v1/logs"))
		if err != nil {
			return fmt.Errorf("telemetry: OTLP logs: %w", err)
		}
		t.loggers = sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
		handler = slog.NewMultiHandler(handler, otelslog.NewHandler(c.Service,
			otelslog.WithLoggerProvider(t.loggers), otelslog.WithVersion(c.Version)))
	}
	t.Log = slog.New(Redact(from(c.LogLevel, handler)))
	return nil
}

// MeterFor is the meter of one service among several in this process; its name
// becomes the label otel_scope_name, which keeps their gauges apart.
func (t *Telemetry) MeterFor(service string) metric.Meter {
	return t.meters.Meter(service, metric.WithInstrumentationVersion(t.version))
}

// TracerFor is the tracer of one service among several in this process.
func (t *Telemetry) TracerFor(service string) trace.Tracer {
	return t.tracers.Tracer(service, trace.WithInstrumentationVersion(t.version))
}

// MetricsHandler serves the metrics in the Prometheus text format, or in
// OpenMetrics to whoever asks for it.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		ErrorHandling:     promhttp.HTTPErrorOnError,
		ErrorLog:          promLog{t.Log},
	})
}

type promLog struct{ log *slog.Logger }

func (p promLog) Println(v ...any) {
	p.log.Error("metrics cannot be collected", "cause", fmt.Sprint(v...))
}

// Shutdown sends what is left and stops the exporters, within ctx.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	err := errors.Join(t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx))
	if t.loggers != nil { // last: the others may still have something to say
		err = errors.Join(err, t.loggers.Shutdown(ctx))
	}
	if err != nil {
		return fmt.Errorf("telemetry: sending what is left: %w", err)
	}
	return nil
}
