package dashboards

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

func settings(g *grafanaServer) Settings {
	return Settings{
		Grafana: g.URL, Token: goodToken, Metrics: "http://prometheus:9090", Figures: "https://masar.example.org/", FiguresToken: "secret-token",
		Runbooks: "https://masar.example.org/docs/runbook.md", OperatorsMails: []string{"ops@example.org", "nuit@example.org"}, ManagersMails: []string{"pilotage@example.org"},
	}
}

func connected(t *testing.T, s Settings) *Provisioner {
	t.Helper()
	p, err := Connect(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func diff(t *testing.T, p *Provisioner) []Change {
	t.Helper()
	changes, err := p.Diff()
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func apply(t *testing.T, p *Provisioner, force bool) (done, left []Change) {
	t.Helper()
	left, err := p.Apply(force, func(c Change) { done = append(done, c) })
	if err != nil {
		t.Fatal(err)
	}
	return done, left
}

// Everything is created once, as the difference said before, and nothing is written
// the second time.
func TestApplyTwiceIsOnce(t *testing.T) {
	g := newGrafana(t)
	p := connected(t, settings(g))
	said := diff(t, p)
	if g.writes != 0 {
		t.Fatalf("looking at the difference wrote %d times", g.writes)
	}
	done, left := apply(t, p, false)
	if len(left) > 0 || len(done) != len(said) {
		t.Errorf("said %d, did %d, left %v", len(said), len(done), left)
	}
	before := g.writes
	if changes := diff(t, p); len(changes) > 0 {
		t.Errorf("after it was applied: %+v", changes)
	}
	if done, _ := apply(t, p, false); len(done) > 0 || g.writes != before {
		t.Errorf("the second time: %v, %d writes", done, g.writes-before)
	}
	if changes, err := p.Check(); err != nil || len(changes) > 0 {
		t.Errorf("check: %v %v", changes, err)
	}

	files, _ := fs.Glob(Boards, "*.json")
	if len(g.boards) != len(files) {
		t.Errorf("%d boards of %d files", len(g.boards), len(files))
	}
	alerts := 0
	for _, r := range alertRules(t) {
		if r.Alert == "" {
			continue
		}
		alerts++
		have := g.rules["masar-"+strings.ToLower(r.Alert)]
		if have == nil || have["for"] != r.For {
			t.Errorf("%s: %v", r.Alert, have)
		}
	}
	if len(g.rules) != alerts || alerts == 0 {
		t.Errorf("%d rules of %d alerts", len(g.rules), alerts)
	}
	// Managers see figures and no internals; nobody else sees either.
	teams := func(folder string) (names []string) {
		for _, i := range g.rights[folder] {
			if i["role"] != nil && i["role"] != "Admin" && i["role"] != "" {
				names = append(names, i.text("role"))
			}
			for _, t := range g.teams {
				if number(i["teamId"]) == number(t["id"]) {
					names = append(names, t.text("name"))
				}
			}
		}
		return names
	}
	if got := teams(managersFolder); !slices.Equal(got, []string{managersTeam, operatorsTeam}) {
		t.Errorf("the boards of figures are seen by %q", got)
	}
	if got := teams(operatorsFolder); !slices.Equal(got, []string{operatorsTeam}) {
		t.Errorf("the boards of the platform are seen by %q", got)
	}
	for uid, b := range g.boards {
		want := managersFolder
		if uid == "masar-plateforme" {
			want = operatorsFolder
		}
		if got := b["meta"].(object)["folderUid"]; got != want {
			t.Errorf("%s is in %v", uid, got)
		}
	}
	if data, _ := json.Marshal(g.boards); strings.Contains(string(data), "${masar}") || !strings.Contains(string(data), `"https://masar.example.org/api/indicators/geo/governorates"`) {
		t.Error("a map's shapes are at no address")
	}
	// Other people's routes are kept as they are, in their order, after ours.
	routes := g.policy["routes"].([]any)
	if len(routes) != 3 || routes[2].(map[string]any)["active_time_intervals"] == nil {
		t.Errorf("routes: %v", routes)
	}
	if g.policy["receiver"] != "grafana-default-email" {
		t.Errorf("policy: %v", g.policy)
	}
	if data, _ := json.Marshal(g.sources); strings.Contains(string(data), "secret-token") {
		t.Error("the token can be read in a data source")
	}
}

func number(v any) int {
	switch n := v.(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	return -1
}

// What people changed by hand, or had before, is left unless they say so.
func TestManualChangesStay(t *testing.T) {
	g := newGrafana(t)
	p := connected(t, settings(g))
	own := object{"title": "Mine", "uid": "masar-messages", "version": 3, "panels": []any{}}
	g.boards["masar-messages"] = object{"dashboard": own, "meta": object{"folderUid": "x"}}
	if _, left := apply(t, p, false); len(left) != 1 || left[0].UID != "masar-messages" || !strings.Contains(left[0].Manual, "not made by Masar") {
		t.Errorf("left %+v", left)
	}
	board := func(uid string) object { return g.boards[uid]["dashboard"].(object) }
	if board("masar-messages").text("title") != "Mine" {
		t.Error("somebody's board was overwritten")
	}

	board("masar-parcours")["title"] = "Parcours du lundi"
	g.rules["masar-lettresmortes"]["for"] = "3h"
	_, left := apply(t, p, false)
	var names []string
	for _, c := range left {
		names = append(names, c.UID)
	}
	if want := []string{"masar-messages", "masar-parcours", "masar-lettresmortes"}; !reflect.DeepEqual(names, want) {
		t.Errorf("left %v, want %v", names, want)
	}
	if board("masar-parcours").text("title") != "Parcours du lundi" || g.rules["masar-lettresmortes"]["for"] != "3h" {
		t.Error("a change by hand was overwritten")
	}
	if _, left := apply(t, p, true); len(left) > 0 {
		t.Errorf("by force, left %v", left)
	}
	if board("masar-parcours").text("title") == "Parcours du lundi" || board("masar-messages").text("title") == "Mine" {
		t.Error("not even by force")
	}
	if changes := diff(t, p); len(changes) > 0 {
		t.Errorf("after it: %+v", changes)
	}
}

// A new version of ours replaces the one before; what is no longer ours goes; what
// never was stays.
func TestNewVersions(t *testing.T) {
	g := newGrafana(t)
	p := connected(t, settings(g))
	apply(t, p, false)

	// As an earlier version of ours would have left it.
	uid := "masar-schemas"
	older := object{"dashboard": object{"uid": uid, "title": "Ancien", "templating": object{"list": []any{}}}, "folderUid": managersFolder}
	stamp := stamps[boardsKind]
	older = stamp.write(older, stamp.mark(older))
	g.boards[uid] = object{"dashboard": older["dashboard"], "meta": object{"folderUid": managersFolder}}
	gone := "masar-gone"
	goneBoard := object{"dashboard": object{"uid": gone, "title": "Gone", "templating": object{"list": []any{}}}, "folderUid": managersFolder}
	goneBoard = stamp.write(goneBoard, stamp.mark(goneBoard))
	g.boards[gone] = object{"dashboard": goneBoard["dashboard"], "meta": object{"folderUid": managersFolder}}
	g.boards["masar-theirs"] = object{"dashboard": object{"uid": "masar-theirs", "title": "Theirs"}, "meta": object{"folderUid": managersFolder}}
	for uid, b := range g.boards { // Grafana numbers them
		b["dashboard"].(object)["version"] = 4
		_ = uid
	}
	s := settings(g)
	s.FiguresToken = "new-token"
	done, left := apply(t, connected(t, s), false)
	var names []string
	for _, c := range done {
		names = append(names, c.Action+" "+c.UID)
	}
	if want := []string{"update masar-kpi", "update masar-schemas", "delete masar-gone"}; len(left) > 0 || !slices.Equal(names, want) {
		t.Errorf("did %v, want %v; left %v", names, want, left)
	}
	if g.boards["masar-theirs"] == nil || g.boards[gone] != nil {
		t.Error("the wrong board was removed")
	}
	// People let in by hand stay, roles do not.
	g.rights[operatorsFolder] = append(g.rights[operatorsFolder], object{"userId": 12, "permission": 1}, object{"role": "Viewer", "permission": 1})
	apply(t, connected(t, s), false)
	data, _ := json.Marshal(g.rights[operatorsFolder])
	if !strings.Contains(string(data), `"userId":12`) || strings.Contains(string(data), "Viewer") {
		t.Errorf("rights: %s", data)
	}
}

// Grafana's own file provisioning and ours make the same data sources.
func TestFileProvisioning(t *testing.T) {
	text, err := os.ReadFile("provisioning/datasources/masar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Datasources []object }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	p := &Provisioner{settings: Settings{Figures: "$MASAR_URL", Metrics: "$MASAR_PROMETHEUS_URL", FiguresToken: "$MASAR_FIGURES_TOKEN", Traces: "$MASAR_TRACES_URL"}}
	all, err := p.wanted()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if w.kind != sources {
			continue
		}
		want, _ := w.complete(nil)
		delete(want.inner("jsonData"), "masarToken")
		at := slices.IndexFunc(file.Datasources, func(o object) bool { return o["uid"] == w.uid })
		if at < 0 {
			t.Errorf("no data source %s", w.uid)
		} else if d := differences(want, file.Datasources[at]); len(d) > 0 {
			t.Errorf("%s: %v", w.uid, d)
		}
	}
}

// From the boards to the traces: points of the latencies lead to their trace and lines
// to the traces of their service, in Tempo or in Jaeger; where there are none, nothing
// leads to them, also where something did.
func TestTraces(t *testing.T) {
	g := newGrafana(t)
	s := settings(g)
	for _, c := range []struct{ setting, kind, address, asks string }{
		{"", "", "", ""},
		{"http://tempo:3200", "tempo", "http://tempo:3200", `"query":"{resource.service.name=\"masar-matching\"}","queryType":"traceql"`},
		{"jaeger+https://jaeger:16686/jaeger", "jaeger", "https://jaeger:16686/jaeger", `"queryType":"search","refId":"A","service":"masar-matching"`},
		{"", "", "", ""},
	} {
		s.Traces = c.setting
		p := connected(t, s)
		if _, left := apply(t, p, false); len(left) > 0 {
			t.Errorf("%q: left %v", c.setting, left)
		}
		if changes := diff(t, p); len(changes) > 0 {
			t.Errorf("%q, after it was applied: %+v", c.setting, changes)
		}
		var metrics struct {
			JSONData struct {
				ExemplarTraceIDDestinations []struct{ Name, DatasourceUID string }
			}
		}
		if err := g.sources[metricsSource].into(&metrics); err != nil {
			t.Fatal(err)
		}
		var links []string
		for _, panel := range g.panels(t, "masar-plateforme") {
			for _, l := range panel.FieldConfig.Defaults.Links {
				links = append(links, l.URL)
			}
		}
		to := metrics.JSONData.ExemplarTraceIDDestinations
		if c.setting == "" {
			if len(to) > 0 || len(links) > 0 {
				t.Errorf("without traces, points lead to %v and lines to %v", to, links)
			}
			continue
		}
		if have := g.sources[tracesSource]; have.text("type") != c.kind || have.text("url") != c.address {
			t.Errorf("%q: the data source is %v", c.setting, have)
		}
		if len(to) != 1 || to[0].Name != "trace_id" || to[0].DatasourceUID != tracesSource {
			t.Errorf("%q: points lead to %v", c.setting, to)
		}
		if len(links) < 4 {
			t.Errorf("%q: only %d panels have links", c.setting, len(links))
		}
		for _, l := range links {
			// As Grafana puts its variables in.
			u, err := url.Parse(strings.NewReplacer("${__field.labels.otel_scope_name}", "matching", "${__from}", "1790000000000", "${__to}", "1790003600000").Replace(l))
			if err != nil || u.Path != "/explore" || u.Query().Get("schemaVersion") != "1" {
				t.Fatalf("%q: %s: %v", c.setting, l, err)
			}
			var panes map[string]struct {
				Datasource string
				Queries    []object
				Range      struct{ From, To string }
			}
			if err := json.Unmarshal([]byte(u.Query().Get("panes")), &panes); err != nil {
				t.Fatalf("%q: %s: %v", c.setting, u.Query().Get("panes"), err)
			}
			pane := panes["a"]
			if len(pane.Queries) != 1 || pane.Datasource != tracesSource || pane.Range.From != "1790000000000" || pane.Range.To != "1790003600000" {
				t.Fatalf("%q: a link leads to %+v", c.setting, panes)
			}
			if from := pane.Queries[0].inner("datasource"); from.text("uid") != tracesSource || from.text("type") != c.kind {
				t.Errorf("%q: a link asks %v", c.setting, from)
			}
			if asks, _ := json.Marshal(pane.Queries[0]); !strings.Contains(string(asks), c.asks) {
				t.Errorf("%q: a link asks %s", c.setting, asks)
			}
		}
	}
}

// A notice for each thing that can be wrong before anything is written.
func TestConnectSaysWhatIsWrong(t *testing.T) {
	g := newGrafana(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello")) }))
	t.Cleanup(page.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, c := range []struct {
		name, address, token, release, want string
	}{
		{"no address", "grafana", goodToken, "12.0.0", "is no address"},
		{"no token", g.URL, "", "12.0.0", "service account"},
		{"wrong token", g.URL, "glsa_old", "12.0.0", "does not accept the token"},
		{"old", g.URL, goodToken, "9.5.3", "need 11 or a later one"},
		{"not Grafana", page.URL, goodToken, "12.0.0", "does not answer as Grafana does"},
		{"no path", g.URL + "/grafana", goodToken, "12.0.0", "path below which it is served"},
		{"unreachable", closed.URL, goodToken, "12.0.0", "cannot be reached"},
	} {
		g.release = c.release
		s := settings(g)
		s.Grafana, s.Token = c.address, c.token
		if _, err := Connect(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	g.release = "12.0.0"
	s := settings(g)
	s.Token = "viewer"
	if _, err := connected(t, s).Apply(false, func(Change) {}); err == nil || !strings.Contains(err.Error(), "role Admin") {
		t.Errorf("a token that may only read: %v", err)
	}
	s = settings(g)
	s.Metrics = "http://nowhere:9090"
	p := connected(t, s)
	apply(t, p, false)
	if _, err := p.Check(); err == nil || !strings.Contains(err.Error(), "data source masar-metrics") {
		t.Errorf("a source that does not answer: %v", err)
	}
}

// Grafana records nothing: its alerts ask for what recorded series stand for, and
// their conditions hold when those of Prometheus do.
func TestGrafanaRules(t *testing.T) {
	list, err := grafanaRules("")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		expr := r["data"].([]any)[0].(object)["model"].(object).text("expr")
		if strings.Contains(expr, "masar:") {
			t.Errorf("%s: asks a recorded series: %s", r.text("uid"), expr)
		}
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(expr); err != nil {
			t.Errorf("%s: %v", r.text("uid"), err)
		}
		if notes := r["annotations"].(map[string]any); notes["runbook_url"] != nil {
			t.Errorf("%s: a link to nowhere: %v", r.text("uid"), notes["runbook_url"])
		}
	}
	got, err := withoutRecords("a:b > on () group_left () (2 * c:d) and a:b", map[string]string{"a:b": "sum(x) / c:d", "c:d": "vector(1)"})
	if want := "(sum(x) / (vector(1))) > on () group_left () (2 * (vector(1))) and (sum(x) / (vector(1)))"; err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	if _, err := withoutRecords(`a:b{x="1"}`, map[string]string{"a:b": "c"}); err == nil {
		t.Error("labels of a recorded series were lost")
	}
}
