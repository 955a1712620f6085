package tests

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"masar.local/tests/harness"
)

// otlp is a collector: it keeps the spans, and everything as it came.
type otlp struct {
	mu    sync.Mutex
	raw   map[string][]byte // by path
	spans []*tracev1.Span
}

func (c *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw[r.URL.Path] = append(c.raw[r.URL.Path], body...)
	if r.URL.Path == "/v1/traces" {
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// TestOneTraceAndNothingPersonal follows a command from HTTP to the message by the
// spans that a collector gets, and looks for the people of a workbook in everything
// that the platform tells about itself.
func TestOneTraceAndNothingPersonal(t *testing.T) {
	c := &otlp{raw: map[string][]byte{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Setenv("MASAR_OTLP_ENDPOINT", server.URL)
	t.Setenv("MASAR_LOG_LEVEL", "debug")
	p := harness.Up(t, t.TempDir())
	w := upWorld(t, p)
	if out, code := w.masar(t, "import", "candidates", candidates(t)); code != 1 || !strings.Contains(out, "créées : 3") {
		t.Fatalf("import: %d %s", code, out)
	}
	// What is refused, not found or looked for by name is told about too.
	w.call(t, "counsellor", "POST", "/api/candidates/candidates", map[string]any{"family_name": "Ben Saïd", "email": "nadege@example.tn", "birth_date": "hier"}, nil)
	w.call(t, "counsellor", "GET", "/api/candidates/candidates/nadege@example.tn", nil, nil)
	var found page[candidate]
	w.call(t, "counsellor", "GET", "/api/candidates/candidates?name=ben+said", nil, &found)
	if len(found.Items) != 1 {
		t.Fatalf("search: %+v", found)
	}

	const trace = "0af7651916cd43dd8448eb211c80319c"
	// The events of a person and of their pathway have no order between them: matching
	// must know the person, for the pathway to find them there.
	harness.Eventually(t, "matching knows the person", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !slices.ContainsFunc(c.spans, func(s *tracev1.Span) bool { return s.Name == "insert seekers" }) {
			return fmt.Errorf("no such span among %d", len(c.spans))
		}
		return nil
	})
	status := harness.Call(t, w.token("counsellor"), "POST", w.url+"/api/candidates/pathways",
		map[string]any{"candidate_id": found.Items[0].ID, "scheme": "agri", "occurred_at": time.Now().UTC()}, nil,
		"Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	if status != http.StatusCreated {
		t.Fatalf("opening a pathway: %d", status)
	}
	// The request and its document; what matching, indicators and notifications do
	// with the event; the message. The relay sends events of many commands at once, so
	// that its span is linked with the trace.
	wanted := []string{
		"POST /api/candidates/pathways", "insert pathways", "process masar.candidates.v1",
		"replace seekers", "insert facts", "insert messages", "send mailbox", "process masar.notifications.v1",
	}
	harness.Eventually(t, "one trace goes from the request to the message", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		var names []string
		byID, sent := map[string]*tracev1.Span{}, false
		for _, s := range c.spans {
			for _, l := range s.Links {
				sent = sent || s.Name == "send masar.candidates.v1" && hex.EncodeToString(l.TraceId) == trace
			}
			if hex.EncodeToString(s.TraceId) == trace {
				names, byID[string(s.SpanId)] = append(names, s.Name), s
			}
		}
		for _, name := range wanted {
			if !slices.Contains(names, name) {
				return fmt.Errorf("no span %q among %q", name, names)
			}
		}
		if !sent {
			return errors.New("no span of the relay is linked with it")
		}
		// Whatever it is, it began with the request.
		for _, s := range byID {
			for s.Name != wanted[0] {
				parent := byID[string(s.ParentSpanId)]
				if parent == nil {
					return fmt.Errorf("the parent of span %q is not there", s.Name)
				}
				s = parent
			}
		}
		return nil
	})
	// A latency of the metrics leads to a trace.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(metrics, []byte(`# {span_id="`)) && !bytes.Contains(metrics, []byte(`# {trace_id="`)) {
		t.Error("no exemplar on any histogram")
	}

	if err := p.Stop(t); err != nil {
		t.Fatal(err)
	}
	told := map[string][]byte{"/metrics": metrics, "the log": []byte(p.Output())}
	for path, raw := range c.raw {
		told[path] = raw
	}
	for _, path := range []string{"/v1/traces", "/v1/metrics", "/v1/logs", "/metrics", "the log"} {
		if len(told[path]) < 1000 {
			t.Errorf("%s: only %d bytes", path, len(told[path]))
		}
	}
	for what, raw := range told {
		low := bytes.ToLower(raw)
		for _, personal := range []string{
			"saïd", "sa%c3%afd", "ben+said", "ben said", "nadège", "nadege", "بن سعيد", "نادية", "01234567", "20123456", "20 123 456",
			"trabelsi", "الطرابلسي", "mohamed", "98765432", "mansouri", "المنصوري", "leila", "leïla", "1995-04-12", "élouafi", "gharbi",
		} {
			if i := bytes.Index(low, []byte(personal)); i >= 0 {
				t.Errorf("%s has %q: ...%q...", what, personal, low[max(0, i-80):min(len(low), i+80)])
			}
		}
	}
}
