package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	otel "go.opentelemetry.io/otel/metric"

	"masar.local/pkg/telemetry"
)

// place is pkg/telemetry, as the tests run here.
const place = "../.."

func load(t *testing.T) (registry, string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(place, source))
	if err != nil {
		t.Fatal(err)
	}
	r, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(data)
}

func TestGeneratedFilesAreOfThisRegistry(t *testing.T) {
	r, _ := load(t)
	files, err := generate(r)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(place, path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (go generate ./pkg/telemetry): %v", path, err)
		}
	}
}

// What breaks one rule is refused, and says which.
func TestRegistryThatBreaksARule(t *testing.T) {
	_, text := load(t)
	for _, c := range []struct{ old, new, want string }{
		{"name: masar.outbox.age", "name: masar.outbox.pending", "the name is there twice"},
		{"name: masar.outbox.pending", "name: masar.consumer_lag", "the name for Prometheus is there twice"},
		{"const: OutboxAge", "const: OutboxPending", "the constant is there twice"},
		{"const: OutboxAge", "const: outboxAge", "none that Go exports"},
		{"name: masar.outbox.age", "name: masar.outbox.Age", "by the conventions"},
		{"name: masar.outbox.age", "name: masar.outbox-age", "by the conventions"},
		{"name: masar.outbox.age", "name: outbox.age", "below masar."},
		{"name: http.server.request.duration", "name: masar.request.duration", "below masar."},
		{"name: masar.outbox.age", "name: masar.outbox.age_seconds", "no part of the name"},
		{"en: How long the oldest event has waited to be published", "", "no description"},
		{"fr: Attente du plus ancien événement à publier", "", "no description"},
		{"en: the collection whose events wait", "", "no description"},
		{"examples: [candidates/store, candidates/outbox, consumer masar.indicators]", "", "neither values nor examples"},
		{"instrument: counter", "instrument: summary", "the instrument"},
		{`unit: "{event}"`, "unit: event", "the unit"},
		{"attributes: [masar.collection]", "attributes: [masar.person]", "nowhere"},
		{"name: masar.collection", "name: masar.Collection", "by the conventions"},
		{"name: masar.collection", "name: masar.check", "the name is there twice"},
		{"        on: spans", "        on: logs", `on "logs"`},
		{"        endpoint: kpi", "        endpoint: sdmx", `the endpoint "sdmx"`},
		{"personal: never", "personal: seldom", "never personal"},
		{"        personal: never\n", "", "never personal"},
		{"origin: semconv 1.44", "origin: opencensus", "an origin"},
		{"stability: development", "", "with a stability"},
		{"unit: s", "unti: s", "unti"},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatalf("the registry has no %q", c.old)
		}
		if _, err := read([]byte(strings.Replace(text, c.old, c.new, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in place of %q: %v, want %q", c.new, c.old, err, c.want)
		}
	}
}

// The exporter makes of names and units what the registry says that it does.
func TestPrometheusNames(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), telemetry.Config{Service: "masar-test", LogTo: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := load(t)
	want := map[string]string{}
	for _, m := range r.metrics() {
		if m.Prefix() || m.Endpoint != "" {
			continue
		}
		want[m.Prometheus()] = m.Instrument
		switch m.Instrument {
		case "counter":
			i, err := tel.Meter.Int64Counter(m.Name, otel.WithUnit(m.Unit))
			if err != nil {
				t.Fatal(err)
			}
			i.Add(t.Context(), 1)
		case "gauge":
			i, err := tel.Meter.Float64Gauge(m.Name, otel.WithUnit(m.Unit))
			if err != nil {
				t.Fatal(err)
			}
			i.Record(t.Context(), 1)
		case "histogram":
			i, err := tel.Meter.Float64Histogram(m.Name, otel.WithUnit(m.Unit))
			if err != nil {
				t.Fatal(err)
			}
			i.Record(t.Context(), 1)
		}
	}
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(w.Body.String(), -1) {
		if !regexp.MustCompile(`^(go|process|target)_`).MatchString(m[1]) {
			got[m[1]] = m[2]
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the exporter's names\n%v\nthe registry's\n%v", got, want)
	}
}

// The code makes every instrument of the registry, of the kind and unit and with the
// description that are said there, and uses every constant.
func TestInstrumentsAreAsTheRegistrySays(t *testing.T) {
	r, _ := load(t)
	values, byName := map[string]string{}, map[string]metric{}
	for _, m := range r.metrics() {
		values[m.Const], byName[m.Name] = m.Name, m
	}
	for _, a := range r.attributes() {
		if a.Const != "" {
			values[a.Const] = a.Name
		}
	}
	// name is what an expression of constants and of literals comes to.
	var name func(e ast.Expr) string
	name = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.SelectorExpr:
			if pkg, ok := e.X.(*ast.Ident); ok && pkg.Name == "telemetry" {
				return values[e.Sel.Name]
			}
		case *ast.BasicLit:
			text, _ := strconv.Unquote(e.Value)
			return text
		case *ast.BinaryExpr:
			if x, y := name(e.X), name(e.Y); x != "" && y != "" {
				return x + y
			}
		}
		return ""
	}
	used := map[string]bool{}
	root := filepath.Join(place, "..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" || path == filepath.Join(root, "pkg", "telemetry")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(`"masar.local/pkg/telemetry"`)) {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch e := n.(type) {
			case *ast.SelectorExpr:
				used[name(e)] = true
			case *ast.BinaryExpr:
				used[name(e)] = true
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			m, ok := byName[name(call.Args[0])]
			if !ok || m.Prefix() || m.Endpoint != "" {
				return true
			}
			said := []string{}
			for _, arg := range call.Args[1:] {
				ast.Inspect(arg, func(n ast.Node) bool {
					if e, ok := n.(*ast.BasicLit); ok && e.Kind == token.STRING {
						said = append(said, strings.TrimSuffix(name(e), "."))
					}
					return true
				})
			}
			// The unit may be the helper's own, and the helper put it into braces.
			var kind string
			switch f := call.Fun.(type) {
			case *ast.SelectorExpr:
				kind = f.Sel.Name
			case *ast.Ident:
				kind = f.Name
			}
			kind = strings.ToLower(kind)
			for _, other := range []string{"counter", "gauge", "histogram"} {
				if strings.Contains(kind, other) && other != m.Instrument {
					t.Errorf("%s: %s is a %s in the registry", files.Position(n.Pos()), m.Name, m.Instrument)
				}
			}
			if !slices.Contains(said, m.EN) {
				t.Errorf("%s: %s is described by %q, in the registry by %q", files.Position(n.Pos()), m.Name, said, m.EN)
			}
			for _, s := range said {
				if s != m.EN && s != m.Unit && "{"+s+"}" != m.Unit {
					t.Errorf("%s: %s says %q, the registry %q in %q", files.Position(n.Pos()), m.Name, s, m.EN, m.Unit)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for constant, n := range values {
		if !used[n] {
			t.Errorf("%s (%s) is in the registry, and nothing in the code uses it", n, constant)
		}
	}
}

// A board, an alert or a test of one asks for names that are in the registry.
func TestBoardsAndAlertsAskForNamesThatThereAre(t *testing.T) {
	r, _ := load(t)
	known, begins, spaces := map[string]bool{}, []string{}, map[string]bool{}
	for _, m := range r.metrics() {
		spaces[strings.SplitN(m.Name, ".", 2)[0]] = true
		name := m.Prometheus()
		switch {
		case m.Prefix():
			begins = append(begins, name)
		case m.Instrument == "histogram":
			known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = true, true, true
		default:
			known[name] = true
		}
	}
	for _, a := range r.attributes() {
		if a.On == "" {
			known[a.Label()] = true
		}
	}
	// What follows a colon is a recorded series.
	asked := regexp.MustCompile(`(?:^|[^\w:.$-])((?:` + strings.Join(slices.Sorted(maps.Keys(spaces)), "|") + `)_[a-z0-9_]+)`)
	var files []string
	for _, pattern := range []string{"*.json", "alerts/*.yaml", "alerts/tests/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(place, "..", "..", "dashboards", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
			if name := m[1]; !known[name] && !slices.ContainsFunc(begins, func(s string) bool { return strings.HasPrefix(name, s) }) {
				t.Errorf("%s: %s is not in the registry", filepath.Base(path), name)
				known[name] = true // said once
			}
		}
	}
}
