package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// board is what the rules below look at; what else a board says is Grafana's.
type board struct {
	UID, Title, Description string
	Tags                    []string
	Editable                *bool
	Timezone                string
	Templating              struct {
		List []struct {
			Name, Type, Label, Definition, Description, Regex string
			Query                                             json.RawMessage // a text in variables of data sources
			Datasource                                        *source
		}
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *source
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct {
		RefID, Expr, LegendFormat, Format string
		Exemplar                          bool
		Datasource                        *source
	}
	FieldConfig struct {
		Defaults struct {
			Unit, NoValue string
			Links         []struct{ Title, URL string }
		}
	}
	Transformations []struct {
		Options struct{ RenameByName map[string]string }
	}
}

type source struct{ Type, UID string }

func boards(t *testing.T) map[string]board {
	t.Helper()
	names, err := fs.Glob(Boards, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no boards: %v", err)
	}
	all := map[string]board{}
	for _, name := range names {
		data, err := Boards.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(data, &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = b
	}
	return all
}

// compact is JSON on one line.
func compact(data json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return err.Error()
	}
	return b.String()
}

// inRange are Grafana's own variables, with a value that the parser takes.
var inRange = strings.NewReplacer("$__range", "1d", "$__rate_interval", "5m", "$__interval", "1m")

// extrapolates are the functions that must not be used on figures: they extrapolate,
// and take a correction for a reset of a counter (DESIGN 4.9).
var extrapolates = regexp.MustCompile(`\b(rate|irate|increase|delta|idelta|deriv)\s*\(`)

// TestBoards: every rule that a board must keep so that its reader understands it
// and no other installation has to change it.
func TestBoards(t *testing.T) {
	uids := map[string]string{}
	parse := parser.NewParser(parser.Options{})
	for name, b := range boards(t) {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf(name+": "+format, args...)
		}
		if want := "masar-" + strings.TrimSuffix(name, ".json"); b.UID != want {
			fail("the uid is %q, want %q", b.UID, want)
		}
		if other, taken := uids[b.UID]; taken {
			fail("the uid is that of %s too", other)
		}
		uids[b.UID] = name
		if !slices.Contains(order, b.UID) {
			fail("it has no place in the order of page.go")
		}
		if b.Editable == nil || *b.Editable {
			fail("it can be edited in Grafana")
		}
		if b.Title == "" || b.Description == "" || b.Timezone == "" || !slices.Contains(b.Tags, "masar") {
			fail("no title, description, time zone or the tag masar")
		}
		sources := map[string]bool{}
		for _, v := range b.Templating.List {
			if v.Label == "" {
				fail("the variable %s has no label", v.Name)
			}
			if v.Type == "datasource" {
				sources["${"+v.Name+"}"] = true
			}
			if v.Type != "query" {
				continue
			}
			if v.Datasource == nil || !sources[v.Datasource.UID] {
				fail("the variable %s asks no data source of a variable before it", v.Name)
			}
			// People choose names; queries get codes. 3 is what Grafana calls a query's result.
			want := "query_result(masar_code_" + v.Name + ")"
			if asks := fmt.Sprintf(`{"qryType":3,"query":%q,"refId":"v"}`, want); compact(v.Query) != asks || v.Definition != want {
				fail("the variable %s asks %s, want %s", v.Name, compact(v.Query), asks)
			}
			if want := `/[{,]` + v.Name + `="(?<value>[^"]+)|[{,]fr="(?<text>[^"]+)/g`; v.Regex != want {
				fail("the variable %s takes %s, want %s", v.Name, v.Regex, want)
			}
		}
		ids := map[int]bool{}
		for i, p := range b.Panels {
			at := fmt.Sprintf("panel %d %q", p.ID, p.Title)
			if p.ID == 0 || ids[p.ID] {
				fail("%s: no id of its own", at)
			}
			ids[p.ID] = true
			if p.Title == "" {
				fail("%s: no title", at)
			}
			if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				fail("%s is outside the grid", at)
			}
			for _, o := range b.Panels[:i] {
				if a, c := p.GridPos, o.GridPos; a.X < c.X+c.W && c.X < a.X+a.W && a.Y < c.Y+c.H && c.Y < a.Y+a.H {
					fail("%s covers panel %d", at, o.ID)
				}
			}
			if p.Type == "row" || p.Type == "text" {
				continue
			}
			if len(p.Description) < 20 {
				fail("%s: no description", at)
			}
			if p.FieldConfig.Defaults.Unit == "" {
				fail("%s: no unit", at)
			}
			if len(p.Targets) == 0 {
				fail("%s asks nothing", at)
			}
			for _, q := range p.Targets {
				if q.Datasource == nil || !sources[q.Datasource.UID] {
					fail("%s %s: its data source is not a variable", at, q.RefID)
				}
				if strings.Contains(q.Expr, "_bucket") && !q.Exemplar {
					fail("%s %s: no exemplars of a latency: %s", at, q.RefID, q.Expr)
				}
				if strings.Contains(q.Expr, `job="`) || strings.Contains(q.Expr, `instance="`) {
					fail("%s %s: names a job or an instance: %s", at, q.RefID, q.Expr)
				}
				if strings.Contains(q.Expr, "masar_kpi_") && extrapolates.MatchString(q.Expr) {
					fail("%s %s: extrapolates figures: %s", at, q.RefID, q.Expr)
				}
				if _, err := parse.ParseExpr(inRange.Replace(q.Expr)); err != nil {
					fail("%s %s: %v: %s", at, q.RefID, err, q.Expr)
				}
			}
		}
	}
}

// TestArabic: whatever a board says in French, the page can say in Arabic, and
// nothing is kept that no board says.
func TestArabic(t *testing.T) {
	data, err := pageFiles.ReadFile("page/ar.json")
	if err != nil {
		t.Fatal(err)
	}
	var arabic map[string]string
	if err := json.Unmarshal(data, &arabic); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for name, b := range boards(t) {
		texts := []string{b.Title, b.Description}
		for _, v := range b.Templating.List {
			if v.Type != "datasource" {
				texts = append(texts, v.Label, v.Description)
			}
		}
		for _, p := range b.Panels {
			texts = append(texts, p.Title, p.Description, p.FieldConfig.Defaults.NoValue)
			for _, q := range p.Targets {
				if l := q.LegendFormat; l != "__auto" && (!strings.HasPrefix(l, "{{") || !strings.HasSuffix(l, "}}")) {
					texts = append(texts, l)
				}
			}
			for _, tr := range p.Transformations {
				for _, column := range tr.Options.RenameByName {
					texts = append(texts, column)
				}
			}
		}
		for _, text := range texts {
			if said[text] = true; text != "" && arabic[text] == "" {
				t.Errorf("%s: no Arabic for %q in page/ar.json", name, text)
			}
		}
	}
	for text := range arabic {
		if !said[text] {
			t.Errorf("page/ar.json: no board says %q", text)
		}
	}
}
