package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// flaky answers 503 so many times before it lets requests through.
type flaky struct {
	http.Handler
	failures atomic.Int64
	calls    atomic.Int64
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls.Add(1)
	if f.failures.Add(-1) >= 0 {
		http.Error(w, "no upstream", http.StatusServiceUnavailable) // as a balancer does; without Retry-After
		return
	}
	f.Handler.ServeHTTP(w, r)
}

func startToy(t *testing.T) (*flaky, string) {
	f := &flaky{Handler: toy(t, nil).Handler(words{})}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func TestClientRoundTrip(t *testing.T) {
	_, url := startToy(t)
	c := api.NewClient(url+"/", access.Static("officer"))
	var made person
	var header http.Header
	if err := c.Post(t.Context(), "/api/toy/people", map[string]string{"family_name": "Trabelsi"}, &made, api.WithKey("k1"), api.AnswerHeader(&header)); err != nil {
		t.Fatal(err)
	}
	if made.Got.Family != "Trabelsi" || header.Get("Location") != "/api/toy/people/"+made.ID {
		t.Errorf("got %+v, %v", made, header)
	}
	if err := c.Put(t.Context(), "/api/toy/people/p1", []byte(`{"family_name":"Ayari"}`), &made, api.WithVersion(3)); err != nil || made.ID != "p1/Ayari" {
		t.Errorf("got %+v, %v", made, err)
	}
	if err := c.Post(t.Context(), "/api/toy/people/p1/leave", nil, &made); err != nil {
		t.Errorf("no content: %v", err)
	}
	var text bytes.Buffer
	if err := c.Get(t.Context(), "/api/toy/people/p1", &text); err != nil || text.String() != `{"id":"p1"}`+"\n" {
		t.Errorf("got %s, %v", &text, err)
	}
	stat := api.NewClient(url, access.Static("statistician"))
	body, err := stat.Stream(t.Context(), "GET", "/api/toy/lines?n=3", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if lines, err := io.ReadAll(body); err != nil || strings.Count(string(lines), "\n") != 3 {
		t.Errorf("got %s, %v", lines, err)
	}
	if err := stat.Get(t.Context(), "/api/toy/lines?n=100000&fail=99000", io.Discard, api.WithAccept("*/*")); err == nil {
		t.Error("half a stream looked like a whole one")
	}
}

func TestClientGivesProblemsBack(t *testing.T) {
	_, url := startToy(t)
	err := api.NewClient(url, access.Static("officer")).Post(t.Context(), "/api/toy/people", map[string]any{"family_name": 7}, nil)
	var e *api.Error
	if !errors.As(err, &e) || !errors.Is(err, &api.Error{Kind: api.KindInvalid}) || e.Code() != 422 ||
		len(e.Fields) != 1 || e.Fields[0].Path != "family_name" || !strings.HasPrefix(e.Instance, "urn:masar:request:") {
		t.Errorf("got %#v", err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<html>blocked</html>")
	}))
	defer proxy.Close()
	err = api.NewClient(proxy.URL, access.Static("officer")).Get(t.Context(), "/x", nil)
	if !errors.As(err, &e) || e.Kind != api.KindForbidden || !strings.Contains(e.Detail, "Not an answer of Masar") {
		t.Errorf("a proxy's answer: %v", err)
	}
	if err := api.NewClient(url, access.Static("")).Get(t.Context(), "/x", nil); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("without a token: %v", err)
	}
}

func TestClientRepeatsWhatMayBeRepeated(t *testing.T) {
	f, url := startToy(t)
	c := api.NewClient(url, access.Static("officer"), api.WithPause(time.Millisecond), api.WithAttempts(4))
	ctx := t.Context()
	body := map[string]string{"family_name": "Trabelsi"}
	for what, one := range map[string]struct {
		do     func() error
		repeat bool
	}{
		"GET":                  {func() error { return c.Get(ctx, "/api/toy/people/p1", nil) }, true},
		"POST with a key":      {func() error { return c.Post(ctx, "/api/toy/people", body, nil, api.WithKey("k")) }, true},
		"POST without a key":   {func() error { return c.Post(ctx, "/api/toy/people", body, nil) }, false},
		"PUT with a version":   {func() error { return c.Put(ctx, "/api/toy/people/p1", body, nil, api.WithVersion(3)) }, false},
		"GET for long enough":  {func() error { f.failures.Add(10); return c.Get(ctx, "/api/toy/people/p1", nil) }, false},
		"POST over and again ": {func() error { f.failures.Add(1); return c.Post(ctx, "/api/toy/people", body, nil, api.WithKey("k2")) }, true},
	} {
		f.failures.Store(2)
		f.calls.Store(0)
		err := one.do()
		if one.repeat && err != nil || !one.repeat && !errors.Is(err, &api.Error{Kind: api.KindUnavailable}) {
			t.Errorf("%s: %v after %d calls", what, err, f.calls.Load())
		}
	}
}

func TestClientWaitsAsLongAsItIsAsked(t *testing.T) {
	var calls atomic.Int64
	var last time.Time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			last = time.Now()
			api.WriteProblem(r.Context(), w, api.TooMany(time.Second))
		}
	}))
	defer server.Close()
	c := api.NewClient(server.URL, access.Static("officer"), api.WithPause(time.Millisecond))
	if err := c.Get(t.Context(), "/x", nil); err != nil || time.Since(last) < 400*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(last))
	}
}

func TestClientWaitsForAServerThatStarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // refused from here on
	dials := make(chan struct{}, 100)
	c := api.NewClient("http://"+address, access.Static("officer"), api.WithPause(10*time.Millisecond), api.WithAttempts(50),
		api.WithHTTP(&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials <- struct{}{}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}}}))
	done := make(chan error)
	go func() { // never sent, so that it may be repeated without a key
		done <- c.Post(t.Context(), "/api/toy/people", map[string]string{"family_name": "A"}, nil)
	}()
	<-dials
	<-dials
	if l, err = net.Listen("tcp", address); err != nil {
		t.Skipf("the port was taken in the meantime: %v", err)
	}
	server := &http.Server{Handler: toy(t, nil).Handler(words{}), ReadHeaderTimeout: time.Second}
	go server.Serve(l)
	defer server.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Get(ctx, "/api/toy/people?cursor=Trabelsi", nil); err == nil || strings.Contains(err.Error(), "Trabelsi") {
		t.Errorf("an error must not have the query: %v", err)
	}
}

func TestClientTakesNoTokenElsewhere(t *testing.T) {
	var stolen atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen.Store(r.Header.Get("Authorization") != "") }))
	defer thief.Close()
	server := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	if err := api.NewClient(server.URL, access.Static("officer")).Get(t.Context(), "/x", nil); err == nil || stolen.Load() {
		t.Errorf("followed a redirect: %v", err)
	}
}

func TestClientCarriesTheTrace(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Traceparent") }))
	defer server.Close()
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	if err := api.NewClient(server.URL, access.Static("officer")).Get(ctx, "/x", nil); err != nil || got != "00-01000000000000000000000000000000-0200000000000000-01" {
		t.Errorf("traceparent %q, %v", got, err)
	}
}
