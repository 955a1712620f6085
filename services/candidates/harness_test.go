package candidates

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
)

// house is the service as it runs: sqlite, HTTP, tokens of the local issuer.
type house struct {
	t       testing.TB
	dir     string
	store   docstore.Engine
	service *runtime.Service
	url     string
	issuer  *access.Issuer
	clock   *runtimetest.Clock
	log     *runtimetest.Log
}

func newHouse(t testing.TB) *house { return newHouseOn(t, nil) }

func newHouseOn(t testing.TB, client *bus.Client) *house { return newHouseIn(t, t.TempDir(), client) }

// newHouseIn is a house with a data directory that holds something already.
func newHouseIn(t testing.TB, dir string, client *bus.Client) *house {
	t.Helper()
	h := &house{t: t, dir: dir, clock: runtimetest.NewClock(testNow), log: &runtimetest.Log{}}
	var err error
	if h.store, err = docstore.Open(t.Context(), "sqlite:"+filepath.Join(h.dir, "candidates.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	// Tokens live by the wall clock, whatever the service's clock says.
	if h.issuer, err = access.OpenIssuer(t.TempDir(), "http://issuer.test", time.Now); err != nil {
		t.Fatal(err)
	}
	h.service, err = runtime.Build(t.Context(), runtime.Platform{
		Name: Name, Log: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Store: h.store, Bus: client, Now: h.clock.Now, DataDir: h.dir, Getenv: env(), Holder: "test",
	}, New)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h.service.Router.Handler(h.issuer.Verifier()))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// as gives the token of a role, in some governorates and schemes: "TN-71" or
// "agri".
func (h *house) as(role access.Role, scope ...string) string {
	h.t.Helper()
	p := access.Principal{Subject: string(role) + strings.Join(scope, "+"), Role: role}
	if role == access.Employer {
		p.Employer = "01EMPLOYER"
	}
	for _, s := range scope {
		if strings.HasPrefix(s, "TN-") {
			p.Governorates = append(p.Governorates, s)
		} else {
			p.Schemes = append(p.Schemes, s)
		}
	}
	token, err := h.issuer.Token(p, time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// answer is an HTTP answer, its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// into decodes the body.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("answer %d is not what was expected: %v\n%s", a.status, err, a.body)
	}
}

// text reads one member of the body.
func (a answer) text(name string) string {
	var m map[string]any
	_ = json.Unmarshal(a.body, &m)
	return fmt.Sprint(m[name])
}

// do sends a request; headers are pairs.
func (h *house) do(token, method, path string, body any, headers ...string) answer {
	h.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			h.t.Fatal(err)
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, r)
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, data}
}

// want is do with the status that must come back.
func (h *house) want(status int, token, method, path string, body any, headers ...string) answer {
	h.t.Helper()
	a := h.do(token, method, path, body, headers...)
	if a.status != status {
		h.t.Fatalf("%s %s: status %d, want %d\n%s", method, path, a.status, status, a.body)
	}
	return a
}

const (
	peoplePath = "/api/candidates/candidates"
	waysPath   = "/api/candidates/pathways"
	importPath = "/api/candidates/imports"
)

// register makes a person known and gives the id.
func (h *house) register(pairs ...string) string {
	h.t.Helper()
	return h.want(201, h.as(access.Admin), "POST", peoplePath, variant(h.t, pairs...)).text("id")
}

// openWay opens a pathway and gives its id.
func (h *house) openWay(person, scheme string) string {
	h.t.Helper()
	return h.want(201, h.as(access.Admin), "POST", waysPath, map[string]any{"candidate_id": person, "scheme": scheme, "occurred_at": day(0)}).text("id")
}

func (h *house) way(id string) Way {
	h.t.Helper()
	var w Way
	h.want(200, h.as(access.Admin), "GET", waysPath+"/"+id, nil).into(h.t, &w)
	return w
}

// pending gives every event that waits, by document, in order.
func (h *house) pending() map[string][]docstore.Event {
	h.t.Helper()
	out := map[string][]docstore.Event{}
	for _, c := range []string{candidateCollection, pathwayCollection} {
		all, err := h.store.Pending(h.t.Context(), c, 1_000_000)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, p := range all {
			out[p.ID] = append(out[p.ID], p.Events...)
		}
	}
	return out
}

// events decodes what a document has emitted so far.
func (h *house) events(id string) []event.Event {
	h.t.Helper()
	var out []event.Event
	for _, p := range h.pending()[id] {
		var headers []bus.Header
		for _, x := range p.Headers {
			headers = append(headers, bus.Header{Key: x.Key, Value: []byte(x.Value)})
		}
		e, err := event.Decode(bus.Message{Topic: p.Topic, Key: []byte(p.Key), Value: p.Value, Headers: headers})
		if err != nil {
			h.t.Fatal(err)
		}
		e.Seq = p.Seq
		out = append(out, e)
	}
	return out
}

// run runs the service's relay and actors until the test ends.
func (h *house) run() {
	h.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(h.t.Context()))
	var wg sync.WaitGroup
	start := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				h.t.Errorf("%s: %v", name, err)
			}
		})
	}
	start("relay", h.service.Relay.Run)
	for _, a := range h.service.Actors {
		start(a.Name, a.Run)
	}
	h.t.Cleanup(func() { stop(); wg.Wait() })
}
