package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/telemetry"
)

func TestRequestsAreMeasuredByRouteAndNeverByPerson(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	spans := tracetest.NewSpanRecorder()
	r := api.NewRouter(api.Config{
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("t"),
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("t"),
	})
	var inside trace.SpanContext
	api.Handle(r, "GET /api/toy/people/{id}", access.CandidatesRead, func(ctx context.Context, req struct {
		ID string `path:"id"`
	},
	) (api.Empty, error) {
		inside = trace.SpanContextFromContext(ctx)
		if req.ID == "broken" {
			return api.Empty{}, fmt.Errorf("no disk")
		}
		return api.Empty{}, nil
	})
	h := r.Handler(words{})
	for i := range 20 {
		serve(t, h, "GET", fmt.Sprintf("/api/toy/people/P%d", i), "counsellor", "")
		serve(t, h, "GET", fmt.Sprintf("/api/toy/nothing/%d", i), "counsellor", "")
		serve(t, h, fmt.Sprintf("METHOD%d", i), "/api/toy/people/x", "counsellor", "")
	}
	serve(t, h, "GET", "/api/toy/people/P1", "", "")
	serve(t, h, "GET", "/api/toy/people/broken", "counsellor", "", "Traceparent", "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	if inside.TraceID().String() != "0102030405060708090a0b0c0d0e0f10" {
		t.Errorf("the caller's trace is not continued: %s", inside.TraceID())
	}

	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	series := map[string]uint64{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		if m.Name != telemetry.HTTPServerDuration || m.Unit != "s" {
			t.Fatalf("metric %s in %s", m.Name, m.Unit)
		}
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			value := func(key string) string {
				v, ok := p.Attributes.Value(attribute.Key(key))
				if !ok {
					return "-"
				}
				return v.String()
			}
			series[strings.Join([]string{value(telemetry.HTTPMethod), value(telemetry.HTTPRoute), value(telemetry.HTTPStatus), value(telemetry.ErrorType), value(telemetry.URLScheme)}, " ")] = p.Count
		}
	}
	want := map[string]uint64{
		"GET /api/toy/people/{id} 204 - http":   20,
		"GET /api/toy/people/{id} 401 - http":   1,
		"GET /api/toy/people/{id} 500 500 http": 1,
		"GET - 404 - http":                      20,
		"_OTHER - 405 - http":                   20,
	}
	if fmt.Sprint(series) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", series, want)
	}

	names := map[string]int{}
	for _, s := range spans.Ended() {
		names[s.Name()]++
		for _, a := range s.Attributes() {
			if strings.Contains(a.Value.String(), "P1") {
				t.Errorf("span attribute %s has an id: %s", a.Key, a.Value.String())
			}
		}
		if s.SpanKind() != trace.SpanKindServer {
			t.Errorf("span kind %s", s.SpanKind())
		}
	}
	var all []string
	for n := range names {
		all = append(all, n)
	}
	slices.Sort(all)
	if want := []string{"GET", "GET /api/toy/people/{id}", "_OTHER"}; !slices.Equal(all, want) {
		t.Errorf("span names %v, want %v", all, want)
	}
}

func BenchmarkRoute(b *testing.B) {
	h := toy(b, nil).Handler(words{})
	for b.Loop() {
		if w := serve(b, h, "GET", "/api/toy/people/p1", "counsellor", ""); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
