package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/telemetry"
)

func start(t testing.TB, c telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	if c.Service == "" {
		c.Service = "masar-test"
	}
	if c.LogTo == nil {
		c.LogTo = io.Discard
	}
	tel, err := telemetry.Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = tel.Shutdown(ctx) // a collector of the test may be gone
	})
	return tel
}

func scrape(t testing.TB, tel *telemetry.Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMoreSeriesThanTheSDKsDefaultComeOut(t *testing.T) {
	tel := start(t, telemetry.Config{})
	gauge, err := tel.Meter.Int64Gauge(telemetry.KPIPrefix + "followed")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2500 {
		gauge.Record(t.Context(), int64(i), metric.WithAttributes(attribute.Int("cell", i)))
	}
	text := scrape(t, tel)
	if n := strings.Count(text, "\nmasar_kpi_followed{"); n != 2500 {
		t.Errorf("%d series came out of 2500", n)
	}
	if strings.Contains(text, "otel_metric_overflow") {
		t.Error("series were added up in one")
	}
}

func TestDurationsHaveBoundariesInSeconds(t *testing.T) {
	tel := start(t, telemetry.Config{})
	for _, name := range []string{telemetry.HTTPServerDuration, telemetry.DBDuration, telemetry.MessagingProcessDuration} {
		h, err := tel.Meter.Float64Histogram(name, metric.WithUnit("s"))
		if err != nil {
			t.Fatal(err)
		}
		h.Record(t.Context(), 0.0007)
	}
	sizes, err := tel.Meter.Int64Histogram("masar.test.size", metric.WithUnit("By"))
	if err != nil {
		t.Fatal(err)
	}
	sizes.Record(t.Context(), 700)
	text := scrape(t, tel)
	for _, name := range []string{"http_server_request_duration_seconds", "db_client_operation_duration_seconds", "messaging_process_duration_seconds"} {
		for _, b := range telemetry.Boundaries {
			want := 1
			if b < 0.0007 {
				want = 0
			}
			if line := fmt.Sprintf(`le="%v"} %d`, b, want); !regexp.MustCompile(name + `_bucket\{[^}]*` + regexp.QuoteMeta(line)).MatchString(text) {
				t.Errorf("%s: no bucket %s", name, line)
			}
		}
	}
	if !regexp.MustCompile(`masar_test_size_bytes_bucket\{[^}]*le="750"\} 1`).MatchString(text) {
		t.Error("what is no duration keeps the SDK's boundaries")
	}
}

func TestPrometheusNames(t *testing.T) {
	tel := start(t, telemetry.Config{Service: "masar-indicators", Version: "1.2.3", Instance: "pod-1"})
	ctx := t.Context()
	for code, unit := range map[string]string{"followed": "{person}", "median_days": "d", "share_placed": "1", "wait": "s", "posts": ""} {
		gauge, err := tel.MeterFor("indicators").Float64Gauge(telemetry.KPIPrefix+code, metric.WithUnit(unit), metric.WithDescription("d"))
		if err != nil {
			t.Fatal(err)
		}
		gauge.Record(ctx, 1)
	}
	counter, err := tel.Meter.Int64Counter(telemetry.DeadLetters)
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	age, err := tel.Meter.Float64Gauge(telemetry.OutboxAge, metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	age.Record(ctx, 2)
	text := scrape(t, tel)
	for _, name := range []string{
		"masar_kpi_followed", "masar_kpi_median_days", "masar_kpi_share_placed", "masar_kpi_wait", "masar_kpi_posts",
		"masar_consumer_dead_letters_total", "masar_outbox_age_seconds", "go_goroutines", "process_open_fds",
	} {
		if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(text) {
			t.Errorf("no metric %s", name)
		}
	}
	info := regexp.MustCompile(`(?m)^target_info\{.*`).FindString(text)
	for _, want := range []string{`service_name="masar-indicators"`, `service_version="1.2.3"`, `service_instance_id="pod-1"`, `service_namespace="masar"`} {
		if !strings.Contains(info, want) {
			t.Errorf("target_info has no %s: %s", want, info)
		}
	}
	if !regexp.MustCompile(`masar_kpi_followed\{[^}]*otel_scope_name="indicators"`).MatchString(text) {
		t.Error("the service must be in the scope's name")
	}
}

// A name that is written out elsewhere would not be found when the conventions change.
func TestNamesAreWrittenOutHereOnly(t *testing.T) {
	written := regexp.MustCompile(`(?:attribute\.\w+|(?:Int64|Float64)(?:Observable)?(?:Counter|UpDownCounter|Gauge|Histogram))\(\s*"[^"]*"`)
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || path == "pkg/telemetry"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		for _, found := range written.FindAllString(string(source), -1) {
			t.Errorf("%s: %s): the name belongs in pkg/telemetry/registry.yaml", path, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// person is what must never be logged whole.
type person struct{ Family, Email string }

type lazy struct{ email string }

func (l lazy) LogValue() slog.Value {
	return slog.GroupValue(slog.String("email", l.email), slog.Int("n", 1))
}

const canary = "salah.canary@example.tn"

func TestPersonalDataIsMaskedInEveryShape(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log := start(t, telemetry.Config{LogTo: &out, LogFormat: format, LogLevel: slog.LevelDebug}).Log
		keys := []string{
			"name", "Name", "family_name", "givenName", "candidate.family_name", "email", "contact_email", "E-Mail", "phone", "telephone",
			"national_id", "passport", "passport_number", "token", "access_token", "Authorization", "http.request.header.authorization",
			"body", "http.request.body", "password", "smtp_password", "secret", "birth_date", "note", "address", "cin", "url.query", "candidate_id",
		}
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			for _, k := range keys {
				log.Log(t.Context(), level, "m", k, canary)
				log.Log(t.Context(), level, "m", slog.Group("g", k, canary))
				log.Log(t.Context(), level, "m", slog.Group("a", slog.Group("b", k, canary)))
				log.With(k, canary).Log(t.Context(), level, "m")
				log.WithGroup("g").With(k, canary).Log(t.Context(), level, "m")
			}
		}
		log.Info("m", "row", person{"Canary", canary}, "rows", []person{{"Canary", canary}}, "pointer", &person{"Canary", canary},
			"map", map[string]string{"x": canary}, "anything", []any{canary}, "bytes", []byte(canary), "lazy", lazy{canary})
		if strings.Contains(out.String(), "anary") || strings.Contains(out.String(), "c2FsYWg") {
			i := strings.Index(out.String(), "anary")
			t.Errorf("%s: the log has the canary: ...%s", format, out.String()[max(0, i-200):i+20])
		}
		if n := strings.Count(out.String(), "[masked"); n < 5*4*len(keys) {
			t.Errorf("%s: only %d masks", format, n)
		}
		out.Reset()
		log.Info("kept", "route", "/api/x/{id}", "group", "indicators", "token_file", "/run/token", "took", time.Second,
			"at", time.Unix(0, 0).UTC(), "cause", errors.New("boom"), "codes", []string{"TN-71"}, "n", 3)
		for _, want := range []string{"kept", "/api/x/{id}", "indicators", "/run/token", "1970-01-01", "boom", "TN-71"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %s is not in %s", format, want, &out)
			}
		}
	}
}

func TestTheLogHasTheTrace(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, telemetry.Config{LogTo: &out})
	ctx, span := tel.Tracer.Start(t.Context(), "work")
	tel.Log.With("a", 1).InfoContext(ctx, "in a span")
	tel.Log.Debug("below the level")
	if id := trace.SpanContextFromContext(ctx).TraceID().String(); !strings.Contains(out.String(), "trace_id="+id) || strings.Contains(out.String(), "below") {
		t.Errorf("got %s", &out)
	}
	span.End()
}

// collector takes OTLP over HTTP and keeps what came, by path.
type collector struct {
	mu   sync.Mutex
	came map[string][]byte
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came[r.URL.Path] = append(c.came[r.URL.Path], body...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func TestEverythingGoesToTheCollectorAtTheStop(t *testing.T) {
	c := &collector{came: map[string][]byte{}}
	server := httptest.NewServer(c)
	defer server.Close()
	tel := start(t, telemetry.Config{Service: "masar-otlp", OTLPEndpoint: server.URL + "/", TraceRatio: 1})
	ctx, span := tel.Tracer.Start(t.Context(), "a-span")
	tel.Log.InfoContext(ctx, "a-record", "email", canary, "route", "/api/x")
	tel.Log.DebugContext(ctx, "a-debug-record")
	span.End()
	counter, err := tel.Meter.Int64Counter(telemetry.OutboxPublished)
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 3)
	stop, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := tel.Shutdown(stop); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, want := range map[string]string{"/v1/traces": "a-span", "/v1/metrics": telemetry.OutboxPublished, "/v1/logs": "a-record"} {
		if got := c.came[path]; !bytes.Contains(got, []byte(want)) || !bytes.Contains(got, []byte("masar-otlp")) {
			t.Errorf("%s: %d bytes without %q", path, len(got), want)
		}
	}
	if bytes.Contains(c.came["/v1/logs"], []byte("canary")) || bytes.Contains(c.came["/v1/logs"], []byte("a-debug-record")) {
		t.Error("the collector got personal data, or what is below the level")
	}
	id := trace.SpanContextFromContext(ctx).TraceID()
	if !bytes.Contains(c.came["/v1/logs"], id[:]) {
		t.Error("the record has no trace")
	}
}

func TestACollectorThatIsDownIsNoReasonNotToStart(t *testing.T) {
	tel := start(t, telemetry.Config{OTLPEndpoint: "http://127.0.0.1:1", TraceRatio: 1})
	tel.Log.Info("still here")
	if !strings.Contains(scrape(t, tel), "go_goroutines") {
		t.Error("no metrics")
	}
}

func TestWrongSettingsShowAtStart(t *testing.T) {
	for what, c := range map[string]telemetry.Config{
		"no service": {}, "endpoint without scheme": {Service: "x", OTLPEndpoint: "collector:4318"},
		"endpoint of another sort": {Service: "x", OTLPEndpoint: "grpc://collector:4317"}, "format": {Service: "x", LogFormat: "xml"},
	} {
		if _, err := telemetry.Start(t.Context(), c); err == nil {
			t.Errorf("%s: started", what)
		}
	}
}
