package indicators

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime"
	"masar.local/pkg/runtime/runtimetest"
	"masar.local/pkg/telemetry"
)

// rig is the service as it really runs: SQLite, the embedded broker, HTTP with
// tokens, metrics to scrape.
type rig struct {
	t       testing.TB
	dir     string
	bus     *bus.Client
	issuer  *access.Issuer
	store   docstore.Engine
	getenv  map[string]string
	now     func() time.Time
	base    string
	stop    func()
	service *service
}

// newRig starts the broker and the service; the clock stands at the end of the
// story of golden_test.go.
func newRig(t testing.TB, getenv map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), getenv: getenv, now: func() time.Time { return at(t, "2026-04-15 12:00").UTC() }}
	r.bus = runtimetest.Broker(t, filepath.Join(r.dir, "broker"))
	var err error
	if r.issuer, err = access.OpenIssuer(r.dir, "http://masar.test", time.Now); err != nil {
		t.Fatal(err)
	}
	if r.store, err = docstore.Open(t.Context(), "sqlite:"+filepath.Join(r.dir, "indicators.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	r.start()
	return r
}

// start runs the service until stop is called, or the test ends.
func (r *rig) start() {
	r.t.Helper()
	tel, err := telemetry.Start(r.t.Context(), telemetry.Config{Service: "masar-indicators", LogTo: io.Discard})
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := runtime.Build(r.t.Context(), runtime.Platform{
		Name: "indicators", Log: slog.New(slog.DiscardHandler), Store: r.store, Bus: r.bus,
		Meter: tel.MeterFor("indicators"), Tracer: tel.TracerFor("indicators"), Now: r.now,
		Getenv: func(name string) string { return r.getenv[name] }, Holder: "test",
	}, func(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
		built, inner, err := build(ctx, p)
		r.service = inner
		return built, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	base, stop := runtimetest.Serve(r.t, s, runtime.Options{Verifier: r.issuer.Verifier(), Metrics: tel.MetricsHandler()})
	r.base = base
	r.stop = sync.OnceFunc(func() {
		stop()
		_ = tel.Shutdown(context.Background())
	})
	r.t.Cleanup(r.stop)
}

// topicOf is where an event of a story belongs.
func topicOf(e event.Event) string {
	name := strings.Split(e.Type, ".")[1]
	return "masar." + name + ".v1"
}

func (r *rig) publish(events ...event.Event) {
	r.t.Helper()
	var messages []bus.Message
	for _, e := range events {
		messages = append(messages, runtimetest.Message(r.t.Context(), topicOf(e), e))
	}
	if err := r.bus.Publish(r.t.Context(), messages...); err != nil {
		r.t.Fatal(err)
	}
}

// folded waits until there are so many facts.
func (r *rig) folded(n int) {
	r.t.Helper()
	runtimetest.Eventually(r.t, fmt.Sprintf("%d facts are folded", n), func() bool { return r.service.columns.Len() >= n })
}

// get asks as the principal and gives the status and the body.
func (r *rig) get(p access.Principal, path string) (int, http.Header, string) {
	r.t.Helper()
	return r.getWith(p, path, "", "")
}

// getWith is get with a header.
func (r *rig) getWith(p access.Principal, path, header, value string) (int, http.Header, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.base+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if header != "" {
		req.Header.Set(header, value)
	}
	if p.Role != "" {
		token, err := r.issuer.Token(p, time.Minute)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

// ask is get for an answer in JSON that must succeed.
func ask[T any](r *rig, p access.Principal, path string) (out T) {
	r.t.Helper()
	status, _, body := r.get(p, path)
	if status != http.StatusOK {
		r.t.Fatalf("GET %s as %s: %d %s", path, p.Role, status, body)
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return out
}

// as is a principal of a role.
func as(role access.Role) access.Principal {
	p := access.Principal{Subject: "test", Role: role}
	if role == access.Employer {
		p.Employer = "01"
	}
	return p
}

// text writes rows as lines, "-" for what is suppressed.
func text(s []Row) (out []string) {
	for _, r := range s {
		line := r.Period
		names := make([]string, 0, len(r.Dimensions))
		for name := range r.Dimensions {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			line += " " + r.Dimensions[name]
		}
		if r.Value == nil {
			line += " -"
		} else {
			line += fmt.Sprintf(" %v", *r.Value)
		}
		out = append(out, line)
	}
	return out
}
