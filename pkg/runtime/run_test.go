package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/embedded"
	"masar.local/pkg/telemetry"
)

func built(t *testing.T, p Platform, b Builder) *Service {
	t.Helper()
	s, err := Build(t.Context(), p, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *running) untilSeen(t *testing.T, id string) thingAnswer {
	t.Helper()
	var a thingAnswer
	until(t, "the consumer has seen "+id, func() (bool, string) {
		err := r.client(access.Counsellor).Get(t.Context(), "/api/toy/things/"+id, &a)
		return err == nil && a.Seen > 0, fmt.Sprint(a, err)
	})
	return a
}

func TestFromACommandToTheConsumerAndBack(t *testing.T) {
	broker, dir := startBroker(t), t.TempDir()
	var ids []string
	for round := range 2 { // the second start finds everything again
		p := platform(t, dir, broker.Addr(), nil)
		r := start(t, Options{
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a_metric 1\n") }),
			Extra:   map[string]http.Handler{"GET /{$}": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a page") })},
		}, built(t, p, buildToy))
		r.untilReady(t)
		for _, id := range ids {
			if a := r.untilSeen(t, id); a.Word != "pomme" || a.Seen != 1 {
				t.Errorf("round %d: %+v", round, a)
			}
		}
		c := r.client(access.Counsellor)
		for range 20 {
			var made thingAnswer
			if err := c.Post(t.Context(), "/api/toy/things", map[string]string{"word": "pomme"}, &made); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, made.ID)
		}
		for _, id := range ids {
			r.untilSeen(t, id)
		}

		for path, want := range map[string]string{"/": "a page", "/metrics": "a_metric 1", "/healthz/live": `"live":true`, "/healthz/ready": `"toy/outbox","ok":true`} {
			if status, body := get(t, r.url+path); status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		for _, path := range []string{"/api/toy/things/x", "/api/toy/journal", "/api/other/x", "/api/"} {
			if status, body := get(t, r.url+path); status != 401 || !strings.Contains(body, "urn:masar:problem:unauthorized") {
				t.Errorf("%s without a token: %d %s", path, status, body)
			}
		}
		if err := c.Get(t.Context(), "/api/other/x", nil); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("no such service: %v", err)
		}
		journalOf(t, r, ids)
		if err := r.stop(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// journalOf checks that the journal has one line for each command, by pages too.
func journalOf(t *testing.T, r *running, ids []string) {
	t.Helper()
	if err := r.client(access.Counsellor).Get(t.Context(), "/api/toy/journal", nil, api.WithAccept("*/*")); !errors.Is(err, &api.Error{Kind: api.KindForbidden}) {
		t.Errorf("the journal for everybody: %v", err)
	}
	left := map[string]bool{}
	for _, id := range ids {
		left[id] = true
	}
	after := ""
	for {
		query := "?limit=7"
		if after != "" {
			query += "&after=" + after
		}
		body, err := r.client(access.Operator).Stream(t.Context(), http.MethodGet, "/api/toy/journal"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for lines := bufio.NewScanner(body); lines.Scan(); n++ {
			var line JournalLine
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			if !left[line.Key] || line.Topic != toyTopic || line.Seq != 1 || len(line.Headers) == 0 || string(line.Value) != `{"id":"`+line.Key+`"}` || line.RecordedAt.IsZero() {
				t.Errorf("line %s", lines.Text())
			}
			delete(left, line.Key)
			after = line.ID
		}
		body.Close()
		if n == 0 {
			break
		}
		if n > 7 {
			t.Errorf("%d lines, 7 asked for", n)
		}
	}
	if len(left) > 0 {
		t.Errorf("%d of %d events are not in the journal", len(left), len(ids))
	}
	if _, err := r.client(access.Operator).Stream(t.Context(), http.MethodGet, "/api/toy/journal?after=nobody", nil); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
		t.Errorf("after an event that there is not: %v", err)
	}
}

func TestAStuckConsumerIsNotReadyAndIsSaidWhy(t *testing.T) {
	broker := startBroker(t)
	var late atomic.Int64 // how far the clock of the checks is ahead
	p := platform(t, t.TempDir(), broker.Addr(), map[string]string{"TOY_BLOCK": "1"})
	r := start(t, Options{Now: func() time.Time { return time.Now().Add(time.Duration(late.Load())) }}, built(t, p, buildToy))
	r.untilReady(t)
	if err := r.client(access.Counsellor).Post(t.Context(), "/api/toy/things", map[string]string{"word": "x"}, nil); err != nil {
		t.Fatal(err)
	}
	late.Store(int64(time.Hour))
	until(t, "not ready", func() (bool, string) {
		status, body := get(t, r.url+"/healthz/ready")
		return status == 503 && strings.Contains(body, `"consumer toy","ok":false`) && strings.Contains(body, "nothing has moved") &&
			strings.Contains(body, "what it needs is down") && strings.Contains(body, `"toy/store","ok":true`), body
	})
	if status, _ := get(t, r.url+"/healthz/live"); status != 200 {
		t.Errorf("a restart would not help: %d", status)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// TestABrokerThatIsGoneIsNotReady: also where nothing waited when it went.
func TestABrokerThatIsGoneIsNotReady(t *testing.T) {
	broker, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	var late atomic.Int64 // how far the clock is ahead
	clock := func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	p := platform(t, t.TempDir(), broker.Addr(), nil)
	if p.Bus, err = bus.New(bus.Config{Brokers: []string{broker.Addr()}, Classify: Classify, Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Bus.Close() })
	r := start(t, Options{Now: clock, StopTimeout: 5 * time.Second}, built(t, p, buildToy))
	r.untilReady(t)
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	late.Store(int64(time.Hour))
	until(t, "not ready", func() (bool, string) {
		status, body := get(t, r.url+"/healthz/ready")
		return status == 503 && strings.Contains(body, "the broker has not told for 1h0m"), body
	})
}

func TestAStoreThatIsGoneIsNotReady(t *testing.T) {
	p := platform(t, t.TempDir(), startBroker(t).Addr(), nil)
	r := start(t, Options{StopTimeout: 2 * time.Second}, small(p, nil, nil))
	r.untilReady(t)
	if err := p.Store.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "not ready", func() (bool, string) {
		status, body := get(t, r.url+"/healthz/ready")
		return status == 503 && strings.Contains(body, `"toy/store","ok":false,"reason":`), body
	})
}

// TestReadinessIsAMetric: whoever reads the metrics sees it, although nobody asks
// the probe.
func TestReadinessIsAMetric(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := platform(t, t.TempDir(), startBroker(t).Addr(), nil)
	start(t, Options{StopTimeout: 2 * time.Second, Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")}, small(p, nil, nil))
	check := func(want int64) func() (bool, string) {
		return func() (bool, string) {
			var rm metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &rm); err != nil {
				return false, err.Error()
			}
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					for _, point := range m.Data.(metricdata.Gauge[int64]).DataPoints {
						if check, _ := point.Attributes.Value(telemetry.CheckName); m.Name == telemetry.Ready && check.AsString() == "toy/store" {
							return point.Value == want, fmt.Sprint(point.Value)
						}
					}
				}
			}
			return false, "no such series"
		}
	}
	until(t, "the store is ready", check(1))
	if err := p.Store.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the store is gone", check(0))
}

func TestAnOutboxThatDoesNotDrainIsNotReady(t *testing.T) {
	broker := startBroker(t)
	p := platform(t, t.TempDir(), broker.Addr(), nil)
	r := start(t, Options{OutboxMaxAge: time.Millisecond, StopTimeout: 3 * time.Second}, built(t, p, buildToy))
	r.untilReady(t)
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.client(access.Counsellor).Post(t.Context(), "/api/toy/things", map[string]string{"word": "x"}, nil); err != nil {
		t.Fatalf("commands go on without the broker: %v", err)
	}
	until(t, "not ready", func() (bool, string) {
		status, body := get(t, r.url+"/healthz/ready")
		return status == 503 && strings.Contains(body, "an event has waited for"), body
	})
	begun := time.Now()
	err := r.stop()
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("the stop took %s: %v", took, err)
	}
}

// small is a service without Kafka.
func small(p Platform, actors []Actor, ready func(context.Context) error) *Service {
	return &Service{Name: "toy", Router: p.Router(), Actors: actors, Ready: ready, platform: p}
}

func TestAFailedActorStopsTheProcess(t *testing.T) {
	for what, work := range map[string]func(context.Context) error{
		"error": func(context.Context) error { return errors.New("the index is broken") },
		"panic": func(context.Context) error { panic("the index is broken") },
	} {
		ended := make(chan struct{})
		r := start(t, Options{}, small(Platform{Name: "toy"}, []Actor{
			{Name: "indexer", Run: work},
			{Name: "other", Run: func(ctx context.Context) error { defer close(ended); <-ctx.Done(); return ctx.Err() }},
			{Name: "once", Run: func(context.Context) error { return nil }},
		}, nil))
		select {
		case err := <-r.done:
			if err == nil || !strings.Contains(err.Error(), "toy/indexer: ") || !strings.Contains(err.Error(), "the index is broken") {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the process goes on", what)
		}
		<-ended
	}
}

func TestOneThatHasDoneItsWorkStopsNothing(t *testing.T) {
	done := make(chan struct{})
	r := start(t, Options{}, small(Platform{Name: "toy"}, []Actor{{Name: "once", Run: func(context.Context) error { close(done); return nil }}}, nil))
	<-done
	r.untilReady(t)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestTheServicesOwnReadinessCounts(t *testing.T) {
	var broken atomic.Bool
	r := start(t, Options{}, small(Platform{Name: "toy"}, nil, func(ctx context.Context) error {
		if broken.Load() {
			return errors.New("the index is not filled yet")
		}
		return nil
	}))
	r.untilReady(t)
	broken.Store(true)
	until(t, "not ready", func() (bool, string) {
		status, body := get(t, r.url+"/healthz/ready")
		return status == 503 && strings.Contains(body, "the index is not filled yet"), body
	})
	broken.Store(false)
	r.untilReady(t)
}

func TestAStopIsNotReadyFirstAndFinishesWhatItTook(t *testing.T) {
	broker := startBroker(t)
	p := platform(t, t.TempDir(), broker.Addr(), nil)
	log := &output{}
	p.Log = slog.New(slog.NewTextHandler(log, nil))
	probes := listen(t)
	r := start(t, Options{Telemetry: probes, DrainDelay: 300 * time.Millisecond}, built(t, p, buildToy))
	url := "http://" + probes.Addr().String()
	until(t, "ready", func() (bool, string) {
		status, body := get(t, url+"/healthz/ready")
		return status == 200, body
	})
	if status, _ := get(t, r.url+"/healthz/ready"); status != 404 {
		t.Errorf("health is not on the public address: %d", status)
	}
	var made thingAnswer
	answered := make(chan error, 1)
	go func() {
		answered <- r.client(access.Counsellor).Post(t.Context(), "/api/toy/things", map[string]string{"word": "slow"}, &made)
	}()
	until(t, "the slow request is under way", func() (bool, string) {
		return strings.Contains(log.String(), slowBegun), ""
	})
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	until(t, "not ready while still serving", func() (bool, string) {
		status, body := get(t, url+"/healthz/ready")
		return status == 503 && strings.Contains(body, "stopping"), body
	})
	if err := <-answered; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := http.Get(r.url + "/"); err == nil {
		t.Error("still answers")
	}
	// Its event went out before the end: the outbox is empty.
	b, err := p.Store.Backlog(t.Context(), "things")
	if err != nil || b.Documents != 0 {
		t.Errorf("left in the outbox: %+v, %v", b, err)
	}
	things := docstore.NewCollection[thing](p.Store, docstore.Schema{Collection: "things"})
	if d, err := things.Get(t.Context(), made.ID); err != nil || d.Body.Word != "slow" {
		t.Errorf("what was answered is not there: %v", err)
	}
}

func TestAnActorThatDoesNotEndIsNamed(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r := start(t, Options{StopTimeout: 500 * time.Millisecond}, small(Platform{Name: "toy"}, []Actor{
		{Name: "deaf", Run: func(context.Context) error { <-release; return nil }},
	}, nil))
	r.untilReady(t)
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "toy/deaf") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutABrokerTheStartIsGivenUp(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	l.Close()
	p := platform(t, t.TempDir(), address, nil)
	probes := listen(t)
	r := start(t, Options{StartTimeout: 2 * time.Second, Telemetry: probes}, built(t, p, buildToy))
	until(t, "alive, and not ready", func() (bool, string) {
		live, _ := get(t, "http://"+probes.Addr().String()+"/healthz/live")
		ready, body := get(t, "http://"+probes.Addr().String()+"/healthz/ready")
		return live == 200 && ready == 503 && strings.Contains(body, "starting"), body
	})
	if err := r.client(access.Counsellor).Get(t.Context(), "/api/toy/things/x", nil); !errors.Is(err, &api.Error{Kind: api.KindUnavailable}) {
		t.Errorf("a request meanwhile: %v", err)
	}
	select {
	case err := <-r.done:
		if err == nil || !strings.Contains(err.Error(), "is Kafka reachable") {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting")
	}
}

func TestABrokerMayComeLater(t *testing.T) {
	address := freeAddress(t)
	p := platform(t, t.TempDir(), address, nil)
	log := &output{}
	r := start(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))}, built(t, p, buildToy))
	until(t, "it waits", func() (bool, string) {
		return strings.Contains(log.String(), "the topics cannot be created yet"), log.String()
	})
	broker, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Addr: address})
	if err != nil {
		t.Skipf("the port was taken in the meantime: %v", err)
	}
	defer broker.Close()
	r.untilReady(t)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestBuildRefusesWhatWouldNotWork(t *testing.T) {
	p := Platform{Name: "toy"}
	elsewhere := func(_ context.Context, p Platform) (*Service, error) {
		r := p.Router()
		api.Handle(r, "GET /api/other/x", access.PlatformRead, func(context.Context, struct{}) (api.Empty, error) { return api.Empty{}, nil })
		return &Service{Name: "toy", Router: r}, nil
	}
	for what, b := range map[string]Builder{
		"an error": func(context.Context, Platform) (*Service, error) { return nil, errors.New("no index") },
		"another name": func(_ context.Context, p Platform) (*Service, error) {
			return &Service{Name: "x", Router: p.Router()}, nil
		},
		"no router":   func(context.Context, Platform) (*Service, error) { return &Service{Name: "toy"}, nil },
		"other paths": elsewhere,
	} {
		if _, err := Build(t.Context(), p, b); err == nil || !strings.HasPrefix(err.Error(), "service toy: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestClassify(t *testing.T) {
	plain := errors.New("x")
	for what, c := range map[string]struct {
		err                error
		blocked, permanent bool
	}{
		"plain":            {plain, false, false},
		"store down":       {fmt.Errorf("get: %w", docstore.ErrUnavailable), true, false},
		"peer down":        {fmt.Errorf("contact: %w", api.Unavailable("x")), true, false},
		"peer says no":     {api.NotFound("x"), false, false},
		"already blocked":  {bus.Blocked(plain), true, false},
		"never to be done": {bus.Permanent(docstore.ErrUnavailable), false, true},
	} {
		got := Classify(c.err)
		if bus.IsBlocked(got) != c.blocked || bus.IsPermanent(got) != c.permanent || !errors.Is(got, c.err) && got.Error() != c.err.Error() {
			t.Errorf("%s: %v", what, got)
		}
	}
}
