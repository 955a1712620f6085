package dashboards

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// rule is an alert, or a recorded series, as Prometheus' rule files have them.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
	group       string
}

// readRules reads the rule files.
func readRules() (all []rule, err error) {
	files, err := fs.Glob(Alerts, "alerts/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		data, err := Alerts.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var doc struct {
			Groups []struct {
				Name  string
				Rules []rule
			}
		}
		if err := yaml.Unmarshal(data, &doc); err != nil {
			return nil, fmt.Errorf("dashboards: %s: %w", name, err)
		}
		for _, g := range doc.Groups {
			for _, r := range g.Rules {
				r.group = g.Name
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// withoutRecords writes an expression without recorded series: Grafana evaluates
// alerts, but records nothing into Prometheus.
func withoutRecords(expr string, records map[string]string) (string, error) {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return "", err
	}
	type place struct {
		from, to int
		text     string
	}
	var places []place
	var failed error
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		s, ok := node.(*parser.VectorSelector)
		if !ok || records[s.Name] == "" {
			return nil
		}
		if len(s.LabelMatchers) != 1 || s.LabelMatchers[0].Name != model.MetricNameLabel || s.OriginalOffset != 0 || s.Timestamp != nil {
			failed = fmt.Errorf("the recorded series %s has labels or an offset: what it stands for cannot be put in its place", s.Name)
			return nil
		}
		text, err := withoutRecords(records[s.Name], records)
		if err != nil {
			failed = err
			return nil
		}
		at := s.PositionRange()
		places = append(places, place{int(at.Start), int(at.End), "(" + text + ")"})
		return nil
	})
	slices.SortFunc(places, func(a, b place) int { return b.from - a.from })
	for _, p := range places {
		expr = expr[:p.from] + p.text + expr[p.to:]
	}
	return expr, failed
}

// grafanaRules are the alerts as Grafana keeps them: A asks Prometheus, and the
// condition B holds for each series that A gives, whatever its value, as an alert of
// Prometheus does.
func grafanaRules(runbooks string) (all []object, err error) {
	list, err := readRules()
	if err != nil {
		return nil, err
	}
	records := map[string]string{}
	for _, r := range list {
		if r.Record != "" {
			records[r.Record] = r.Expr
		}
	}
	for _, r := range list {
		if r.Alert == "" {
			continue
		}
		expr, err := withoutRecords(r.Expr, records)
		if err != nil {
			return nil, fmt.Errorf("dashboards: alert %s: %w", r.Alert, err)
		}
		marks := map[string]any{"managed_by": "masar"}
		for name, text := range r.Labels {
			marks[name] = valued(text)
		}
		notes := map[string]any{}
		for name, text := range r.Annotations {
			notes[name] = valued(text)
		}
		if runbooks != "" {
			notes["runbook_url"] = strings.TrimSuffix(runbooks, "#") + "#" + strings.ToLower(r.Alert)
		} else {
			delete(notes, "runbook_url") // a path is no address
		}
		query := func(ref, source string, model object) object {
			model["refId"] = ref
			return object{"refId": ref, "datasourceUid": source, "queryType": "", "relativeTimeRange": object{"from": 600, "to": 0}, "model": model}
		}
		folder := operatorsFolder
		if r.Labels["audience"] == "managers" {
			folder = managersFolder
		}
		all = append(all, object{
			"uid": "masar-" + strings.ToLower(r.Alert), "title": r.Annotations["summary"], "ruleGroup": r.group, "folderUid": folder,
			"condition": "B", "for": r.For, "noDataState": "OK", "execErrState": "Error", "isPaused": false,
			"labels": marks, "annotations": notes,
			"data": []any{
				query("A", metricsSource, object{
					"datasource": object{"type": "prometheus", "uid": metricsSource}, "editorMode": "code", "expr": expr,
					"instant": true, "range": false, "intervalMs": 15000, "maxDataPoints": 43200,
				}),
				query("B", "__expr__", object{
					"datasource": object{"type": "__expr__", "uid": "__expr__"}, "type": "math",
					"expression": "is_number($A) || is_nan($A) || is_inf($A)",
				}),
			},
		})
	}
	return all, nil
}

// valued has a template of Prometheus say the value of A where it says $value: that
// is a text about all queries in Grafana.
func valued(text string) string {
	if !strings.Contains(text, "$value") {
		return text
	}
	return "{{ $value := $values.A.Value }}" + text
}
