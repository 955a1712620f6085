package dashboards

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	prometheus "github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

// ruleTests is a file of promtool's unit tests, as far as ours go.
type ruleTests struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []ruleTest
}

type ruleTest struct {
	Name        string
	Interval    model.Duration
	InputSeries []struct{ Series, Values string } `yaml:"input_series"`
	Alerts      []struct {
		EvalTime  model.Duration `yaml:"eval_time"`
		Alertname string
		ExpAlerts []struct {
			Labels      map[string]string `yaml:"exp_labels"`
			Annotations map[string]string `yaml:"exp_annotations"`
		} `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
	Exprs []struct {
		Expr       string
		EvalTime   model.Duration `yaml:"eval_time"`
		ExpSamples []struct {
			Labels string
			Value  float64
		} `yaml:"exp_samples"`
	} `yaml:"promql_expr_test"`
}

func ruleTestFiles(t *testing.T) map[string]ruleTests {
	t.Helper()
	paths, err := filepath.Glob("alerts/tests/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no tests of rules: %v", err)
	}
	all := map[string]ruleTests{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file ruleTests
		d := yaml.NewDecoder(bytes.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[path] = file
	}
	return all
}

// Every alert has a case in which it fires and one in which it is quiet, and what
// has a duration one in which it is pending.
func TestEveryAlertIsTestedOverTime(t *testing.T) {
	fires, quiet, pending := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, file := range ruleTestFiles(t) {
		for _, test := range file.Tests {
			for _, a := range test.Alerts {
				fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
				quiet[a.Alertname] = quiet[a.Alertname] || len(a.ExpAlerts) == 0
			}
			for _, e := range test.Exprs {
				for _, s := range e.ExpSamples {
					l, err := parser.NewParser(parser.Options{}).ParseMetric(s.Labels)
					if err != nil {
						t.Fatalf("%s: %v", s.Labels, err)
					}
					if l.Get("alertstate") == "pending" {
						pending[l.Get("alertname")] = true
					}
				}
			}
		}
	}
	for _, r := range alertRules(t) {
		if r.Alert == "" {
			continue
		}
		if !fires[r.Alert] || !quiet[r.Alert] || pending[r.Alert] != (r.For != "0m") {
			t.Errorf("%s in alerts/tests: fires %v, quiet %v, pending %v (for: %s)", r.Alert, fires[r.Alert], quiet[r.Alert], pending[r.Alert], r.For)
		}
		delete(fires, r.Alert)
	}
	for name := range fires {
		t.Errorf("alerts/tests: there is no alert %s", name)
	}
}

// The tests of rules pass with the engine that we have as a library.
func TestRulesOverTime(t *testing.T) {
	for path, file := range ruleTestFiles(t) {
		for _, test := range file.Tests {
			t.Run(filepath.Base(path)+"/"+test.Name, func(t *testing.T) {
				t.Parallel()
				var rules []string
				for _, name := range file.RuleFiles {
					rules = append(rules, filepath.Join(filepath.Dir(path), name))
				}
				test.run(t, rules, time.Duration(file.EvaluationInterval))
			})
		}
	}
}

// run evaluates the rules at every step, and compares the alerts and series with
// those expected, as promtool does.
func (test ruleTest) run(t *testing.T, files []string, step time.Duration) {
	parse := parser.NewParser(parser.Options{})
	series := "load " + test.Interval.String() + "\n"
	for _, s := range test.InputSeries {
		series += "  " + s.Series + " " + s.Values + "\n"
	}
	loader, err := promqltest.NewLazyLoader(series, promqltest.LazyLoaderOpts{Parser: parse})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = loader.Close() }() // it is in a directory of its own
	manager := prometheus.NewManager(&prometheus.ManagerOptions{
		QueryFunc:    prometheus.EngineQueryFunc(loader.QueryEngine(), loader.Storage()),
		AppendableV2: loader.Storage(),
		Context:      t.Context(),
		NotifyFunc:   func(context.Context, string, ...*prometheus.Alert) {},
		Logger:       promslog.NewNopLogger(),
		Parser:       parse,
	})
	groups, errs := manager.LoadGroups(step, labels.EmptyLabels(), "", nil, false, files...)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	alerts := map[string]*prometheus.AlertingRule{}
	for _, g := range groups {
		for _, r := range g.Rules() {
			if a, ok := r.(*prometheus.AlertingRule); ok {
				a.SetRestored(true) // else there is no series ALERTS
				alerts[a.Name()] = a
			}
		}
	}
	var last model.Duration
	for _, a := range test.Alerts {
		last = max(last, a.EvalTime)
	}
	for _, e := range test.Exprs {
		last = max(last, e.EvalTime)
	}
	for after := time.Duration(0); after <= time.Duration(last); after += step {
		now := time.Unix(0, 0).UTC().Add(after)
		loader.WithSamplesTill(now, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				g.Eval(loader.Context(), now)
				for _, r := range g.Rules() {
					if r.LastError() != nil {
						t.Fatalf("%s after %s: %v", r.Name(), after, r.LastError())
					}
				}
			}
		})
		for _, a := range test.Alerts {
			if time.Duration(a.EvalTime) != after {
				continue
			}
			var want, got []string
			for _, e := range a.ExpAlerts {
				l := maps.Clone(e.Labels)
				l[model.AlertNameLabel] = a.Alertname
				want = append(want, fmt.Sprintln(labels.FromMap(l), labels.FromMap(e.Annotations)))
			}
			rule := alerts[a.Alertname]
			if rule == nil {
				t.Fatalf("there is no alert %s", a.Alertname)
			}
			for _, active := range rule.ActiveAlerts() {
				if active.State == prometheus.StateFiring {
					got = append(got, fmt.Sprintln(active.Labels, active.Annotations))
				}
			}
			same(t, a.Alertname, a.EvalTime, got, want)
		}
	}
	for _, e := range test.Exprs {
		q, err := loader.QueryEngine().NewInstantQuery(t.Context(), loader.Queryable(), nil, e.Expr, time.Unix(0, 0).Add(time.Duration(e.EvalTime)))
		if err != nil {
			t.Fatalf("%s: %v", e.Expr, err)
		}
		vector, err := q.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatalf("%s: %v", e.Expr, err)
		}
		var want, got []string
		for _, s := range e.ExpSamples {
			l, err := parse.ParseMetric(s.Labels)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintln(l, s.Value))
		}
		for _, s := range vector {
			got = append(got, fmt.Sprintln(s.Metric, s.F))
		}
		same(t, e.Expr, e.EvalTime, got, want)
	}
}

func same(t *testing.T, what string, after model.Duration, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s after %s:\n got %v\nwant %v", what, after, got, want)
	}
}

// The same files pass with a promtool that is installed, which is of another version
// than our library.
func TestRulesOverTimeWithPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here (Debian's package prometheus): only our own engine has run alerts/tests")
	}
	out, err := exec.CommandContext(t.Context(), tool, append([]string{"test", "rules"}, slices.Sorted(maps.Keys(ruleTestFiles(t)))...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
