package tests

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"

	"masar.local/pkg/access"
	_ "masar.local/pkg/docstore" // the driver of its SQLite files
	"masar.local/pkg/runtime"
	"masar.local/tests/harness"
)

// TestAConsumerThatStops holds the write lock of the indicators' database, as a
// shell or a backup does that is left open in a transaction. Reading goes on, so
// that the store answers, and the process lives: that figures do not follow any
// more is seen by who asks whether it gets on, and by the alert. When the lock is
// given back it goes on by itself, and nothing is lost.
func TestAConsumerThatStops(t *testing.T) {
	t.Setenv("MASAR_TEST_KAFKA", "") // a broker of its own: the figures are counted
	const stuckAfter = 15 * time.Second
	dir, kafkaAddr := t.TempDir(), broker(t)
	idp := httptest.NewUnstartedServer(nil)
	issuer, err := access.OpenIssuer(dir, "http://"+idp.Listener.Addr().String(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	idp.Config.Handler = issuer.Handler()
	idp.Start()
	t.Cleanup(idp.Close)
	token, err := issuer.Token(access.Principal{Subject: "test", Role: access.Admin}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	run := func(service string) (url, probes string) {
		listen, telemetry := freeAddr(t), freeAddr(t)
		p := harness.Start(t, service, []string{
			"MASAR_LISTEN=" + listen, "MASAR_TELEMETRY_LISTEN=" + telemetry, "MASAR_DATA_DIR=" + filepath.Join(dir, service),
			"MASAR_STORE_URI=sqlite:" + filepath.Join(dir, service+".db"), "MASAR_KAFKA_BROKERS=" + kafkaAddr,
			"MASAR_OIDC_ISSUER=" + idp.URL, "MASAR_STUCK_AFTER=" + stuckAfter.String(),
		})
		harness.Eventually(t, service+" is ready", func() error {
			if p.Exited() {
				t.Fatalf("%s ended:\n%s", service, p.Output())
			}
			return harness.Ready("http://" + telemetry)
		})
		return "http://" + listen, "http://" + telemetry
	}
	candidates, candidatesProbes := run("candidates")
	indicators, probes := run("indicators")

	people := 0
	register := func(n int) {
		t.Helper()
		for range n {
			people++
			if !accepted(token, candidates+"/api/candidates/candidates", map[string]any{
				"ref": fmt.Sprint(people), "family_name": "Essai", "given_name": "Arrêt", "sex": "F", "birth_date": "1990-01-01",
				"governorate": "TN-11", "language": "fr", "occupations": []map[string]any{{"rome": "A1401"}}, "consents": []string{"matching"},
			}, fmt.Sprint("person-", people), nil) {
				t.Fatalf("person %d was not registered", people)
			}
		}
	}
	figure := func() (n float64) {
		t.Helper()
		var series struct{ Rows []struct{ Value *float64 } }
		if status := harness.Call(t, token, "GET", indicators+"/api/indicators/values?code=people_registered", nil, &series); status != http.StatusOK {
			t.Fatalf("the figure of people: %d", status)
		}
		for _, r := range series.Rows {
			if r.Value != nil {
				n += *r.Value
			}
		}
		return n
	}
	follows := func() error {
		if n := figure(); n != float64(people) {
			return fmt.Errorf("%v people are counted of %d", n, people)
		}
		return nil
	}
	w := newWatch(t, probes+"/metrics", "ConsommateurArrete")
	// notReady gives the checks that fail, by name.
	notReady := func() map[string]string {
		t.Helper()
		status, body, err := harness.TryCall("", "GET", probes+"/healthz/ready", nil)
		var report runtime.Report
		if err != nil || json.Unmarshal(body, &report) != nil || (status == http.StatusOK) != report.Ready || !report.Ready && status != http.StatusServiceUnavailable {
			t.Fatalf("readiness: %d %s %v", status, body, err)
		}
		failed := map[string]string{}
		for _, c := range report.Checks {
			if !c.OK {
				failed[c.Name] = c.Reason
			}
		}
		return failed
	}

	register(6)
	harness.Eventually(t, "the figures follow", follows)
	if fires, err := w.fires(); len(fires) > 0 || err != nil {
		t.Fatalf("the alert before anything stopped: %v, %v", fires, err)
	}

	release := locked(t, filepath.Join(dir, "indicators.db"))
	register(12)
	const consumer = "consumer masar.indicators"
	harness.Eventually(t, "readiness names the consumer, and why", func() error {
		_, _ = w.fires() // the metrics are read all the time
		failed := notReady()
		if reason := failed[consumer]; len(failed) != 1 || !strings.Contains(reason, "messages wait and nothing has moved") || !strings.Contains(reason, "locked") {
			return fmt.Errorf("not passed: %q", failed)
		}
		return nil
	})
	t.Logf("readiness: %q", notReady())
	harness.Eventually(t, "the alert's condition holds", func() error {
		fires, err := w.fires()
		if err != nil {
			return err
		}
		if len(fires) == 0 || slices.ContainsFunc(fires, func(l labels.Labels) bool { return l.Get("messaging_consumer_group_name") != "masar.indicators" }) {
			return fmt.Errorf("it holds for %v", fires)
		}
		t.Logf("the alert: %v", fires)
		return nil
	})
	// A probe's answer and the metric are the same check; whoever registers people
	// sees nothing of it, and the figures stay as they were.
	told := false
	for series, n := range harness.Metrics(t, probes+"/metrics") {
		if strings.HasPrefix(series, "masar_ready{") && strings.Contains(series, `masar_check="`+consumer+`"`) {
			if told = true; n != 0 {
				t.Errorf("%s is %v", series, n)
			}
		}
	}
	if !told {
		t.Error("there is no masar_ready of the consumer")
	}
	if err := harness.Ready(candidatesProbes); err != nil {
		t.Errorf("candidates: %v", err)
	}
	if n := figure(); n != 6 {
		t.Errorf("%v people are counted while nothing can be written", n)
	}

	release()
	harness.Eventually(t, "the figures have followed", follows)
	harness.Eventually(t, "it is ready again and the alert is over", func() error {
		fires, err := w.fires()
		if failed := notReady(); len(failed) > 0 || len(fires) > 0 || err != nil {
			return fmt.Errorf("not passed: %q, the alert: %v, %v", failed, fires, err)
		}
		return nil
	})
	var freshness struct{ Missing int64 }
	harness.Call(t, token, "GET", indicators+"/api/indicators/freshness", nil, &freshness)
	if dead, ok := sum(harness.Metrics(t, probes+"/metrics"), "masar_consumer_dead_letters_total"); freshness.Missing != 0 || dead != 0 || !ok {
		t.Errorf("%d events are missing, %v are dead letters", freshness.Missing, dead)
	}
	if err := follows(); err != nil {
		t.Error(err)
	}
}

// locked takes the write lock of a SQLite database and keeps it until released.
func locked(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return func() {
		t.Helper()
		_, err := conn.ExecContext(t.Context(), "ROLLBACK")
		if err := errors.Join(err, conn.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// watch is a small Prometheus: it reads a page of metrics and evaluates an alert's
// condition on what it has read, by the real engine.
type watch struct {
	page, expr string
	db         *tsdb.DB
	engine     *promql.Engine

	read  time.Time
	fired []labels.Labels
}

const (
	readEvery = 500 * time.Millisecond
	// The rule's five minutes are these seconds here.
	ruleWindow, testWindow = "5m", "20s"
)

func newWatch(t *testing.T, page, alert string) *watch {
	t.Helper()
	rules, err := os.ReadFile(filepath.Join(harness.Root(t), "dashboards", "alerts", "platform.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`- alert: ` + alert + `\n(?: +#.*\n)* +expr: (.*)\n`).FindSubmatch(rules)
	if rule == nil || !strings.Contains(string(rule[1]), "["+ruleWindow+"]") {
		t.Fatalf("no rule %s over %s: %s", alert, ruleWindow, rule)
	}
	w := &watch{page: page, expr: strings.ReplaceAll(string(rule[1]), ruleWindow, testWindow)}
	if w.db, err = tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: 10 * time.Second})
	t.Cleanup(func() { _ = w.engine.Close() })
	return w
}

// fires reads the metrics, unless it just has, and gives the series for which the
// condition holds.
func (w *watch) fires() ([]labels.Labels, error) {
	now := time.Now()
	if now.Sub(w.read) < readEvery {
		return w.fired, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.scrape(ctx, now); err != nil {
		return nil, err
	}
	q, err := w.engine.NewInstantQuery(ctx, w.db, nil, w.expr, now)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	found, err := q.Exec(ctx).Vector()
	if err != nil {
		return nil, err
	}
	w.read, w.fired = now, nil
	for _, s := range found {
		w.fired = append(w.fired, s.Metric)
	}
	return w.fired, nil
}

// scrape keeps what the page says of consumers.
func (w *watch) scrape(ctx context.Context, now time.Time) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.page, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	p, err := textparse.New(body, res.Header.Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: "text/plain"})
	if err != nil {
		return err
	}
	to := w.db.Appender(ctx)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return to.Commit()
		}
		if err != nil {
			return errors.Join(err, to.Rollback())
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		_, _, value := p.Series()
		p.Labels(&series)
		if !strings.HasPrefix(series.Get(model.MetricNameLabel), "masar_consumer_") {
			continue
		}
		if _, err := to.Append(0, series, now.UnixMilli(), value); err != nil {
			return errors.Join(err, to.Rollback())
		}
	}
}
