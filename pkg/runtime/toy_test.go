package runtime

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/embedded"
	"masar.local/pkg/outbox"
)

// The toy is a service of the smallest sort that has everything: a command that
// writes a document with an event, a relay, and a consumer that counts the event
// in a document of its own.

const toyTopic = "masar.toy.v1"

// slowBegun is what the toy logs when a slow request is under way.
const slowBegun = "the slow request is under way"

type thing struct {
	Word string `bson:"word"`
}

type seen struct {
	Times int64 `bson:"times"`
}

type thingAnswer struct {
	ID   string `json:"id"`
	Word string `json:"word"`
	Seen int64  `json:"seen"`
}

func buildToy(ctx context.Context, p Platform) (*Service, error) {
	things := docstore.NewCollection[thing](p.Store, docstore.Schema{Collection: "things"})
	seens := docstore.NewCollection[seen](p.Store, docstore.Schema{Collection: "seen"})
	if err := things.Ensure(ctx); err != nil {
		return nil, err
	}
	if err := seens.Ensure(ctx); err != nil {
		return nil, err
	}
	r := p.Router()
	api.Handle(r, "POST /api/toy/things", access.CandidatesWrite, func(ctx context.Context, req struct {
		Word string `json:"word"`
	},
	) (thingAnswer, error) {
		if req.Word == "slow" { // a request that is under way when the stop comes
			p.Log.Info(slowBegun)
			select {
			case <-time.After(700 * time.Millisecond):
			case <-ctx.Done():
				return thingAnswer{}, ctx.Err()
			}
		}
		d := &docstore.Doc[thing]{ID: api.NewID(ctx), Body: thing{Word: req.Word}}
		d.Emit(docstore.Event{
			ID: ulid.Make().String(), Topic: toyTopic, Key: d.ID, RecordedAt: p.Now(),
			Headers: []docstore.Header{{Key: "content-type", Value: "application/json"}},
			Value:   []byte(`{"id":"` + d.ID + `"}`),
		})
		if err := things.Insert(ctx, d); err != nil {
			return thingAnswer{}, err
		}
		return thingAnswer{ID: d.ID, Word: req.Word}, nil
	})
	api.Handle(r, "GET /api/toy/things/{id}", access.CandidatesRead, func(ctx context.Context, req struct {
		ID string `path:"id"`
	},
	) (thingAnswer, error) {
		d, err := things.Get(ctx, req.ID)
		if err != nil {
			return thingAnswer{}, err
		}
		answer := thingAnswer{ID: d.ID, Word: d.Body.Word}
		if s, err := seens.Get(ctx, req.ID); err == nil {
			answer.Seen = s.Body.Times
		}
		return answer, nil
	})
	relay := outbox.NewRelay(outbox.Config{
		Engine: p.Store, Collections: []string{"things"}, Publisher: p.Bus, Holder: p.Holder, Log: p.Log, Meter: p.Meter, Now: p.Now,
	})
	count := func(ctx context.Context, m bus.Message) error {
		if p.Getenv("TOY_BLOCK") != "" {
			return bus.Blocked(fmt.Errorf("what it needs is down"))
		}
		_, err := seens.Upsert(ctx, string(m.Key), func(d *docstore.Doc[seen]) error {
			d.Body.Times++
			return nil
		})
		return err
	}
	return &Service{
		Name: "toy", Router: r, Relay: relay,
		Topics: []bus.Topic{{Name: toyTopic, Partitions: 4}, {Name: "toy.dlq", Partitions: 1}},
		Actors: []Actor{{Name: "count", Run: func(ctx context.Context) error {
			return p.Bus.Consume(ctx, bus.Consumer{Group: "toy", Topics: []string{toyTopic}, Handle: count})
		}}},
	}, nil
}

func startBroker(t *testing.T) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// words is a verifier of tokens that are role names.
type words struct{}

func (words) Verify(_ context.Context, token string) (access.Principal, error) {
	if r := access.Role(token); r.Known() {
		return access.Principal{Subject: "sub-" + token, Role: r}, nil
	}
	return access.Principal{}, access.ErrRefused
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// platform opens a store in dir and a client of the broker.
func platform(t *testing.T, dir, broker string, settings map[string]string) Platform {
	t.Helper()
	store, err := docstore.Open(t.Context(), "sqlite:"+filepath.Join(dir, "toy.db"))
	if err != nil {
		t.Fatal(err)
	}
	kafka, err := bus.New(bus.Config{Brokers: []string{broker}, Classify: Classify})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = kafka.Close()
		_ = store.Close()
	})
	return Platform{
		Name: "toy", Log: slog.New(slog.DiscardHandler), Store: store, Bus: kafka, Now: now, DataDir: dir, Holder: Holder(),
		Getenv: func(name string) string { return settings[name] }, PeerURL: func(string) string { return "" },
	}
}

// running is a Run in the background.
type running struct {
	url  string
	stop func() error // asks for the stop and waits for it
	done chan error
}

func start(t *testing.T, o Options, services ...*Service) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o.Listener = listen(t)
	if o.Verifier == nil {
		o.Verifier = words{}
	}
	r := &running{url: "http://" + o.Listener.Addr().String(), done: make(chan error, 1)}
	go func() {
		r.done <- Run(ctx, services, o)
		close(r.done) // whoever asks again gets nil
	}()
	r.stop = func() error {
		cancel()
		select {
		case err := <-r.done:
			return err
		case <-time.After(30 * time.Second):
			return fmt.Errorf("no end in 30 s")
		}
	}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func (r *running) client(role access.Role) *api.Client {
	return api.NewClient(r.url, access.Static(string(role)), api.WithAttempts(1))
}

// get reads an address without a token.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// until waits for a condition, which says what it still lacks.
func until(t *testing.T, what string, condition func() (bool, string)) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		var ok bool
		if ok, last = condition(); ok {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not in 30 s; last: %s", what, last)
		case <-tick.C:
		}
	}
}

func (r *running) untilReady(t *testing.T) {
	t.Helper()
	until(t, "ready", func() (bool, string) {
		status, body := get(t, r.url+"/healthz/ready")
		return status == http.StatusOK, body
	})
}
