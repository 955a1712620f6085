package dashboards

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

func alertRules(t *testing.T) []rule {
	t.Helper()
	all, err := readRules()
	if err != nil || len(all) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	return all
}

// Every rule's expression parses, and the runbook has exactly one section an alert.
func TestAlertsParseAndHaveARunbook(t *testing.T) {
	var alerts, sections []string
	for _, r := range alertRules(t) {
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr); err != nil {
			t.Errorf("%s%s: %v", r.Alert, r.Record, err)
		}
		if r.Alert == "" {
			continue
		}
		alerts = append(alerts, r.Alert)
		if want := "docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
	}
	book, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(book), -1) {
		sections = append(sections, m[1])
	}
	slices.Sort(alerts)
	slices.Sort(sections)
	if len(alerts) == 0 || !slices.Equal(alerts, sections) {
		t.Errorf("alerts %v\nsections of docs/runbook.md %v", alerts, sections)
	}
}

// The conditions of the alerts hold on series that should alert, and not on others.
func TestAlertConditions(t *testing.T) {
	exprs := map[string]string{}
	for _, r := range alertRules(t) {
		exprs[r.Alert+r.Record] = r.Expr
	}
	const ratios = "\n  masar:slo_error_budget 0.005x40\n  service:masar_errors:ratio_rate"
	const again = "\n  service:masar_errors:ratio_rate"
	cases := []struct {
		alert, series string
		want          int
	}{
		{"ErreursServeurRapides", ratios + `5m{job="masar"} 0.1x40` + again + `1h{job="masar"} 0.1x40`, 1},
		{"ErreursServeurRapides", ratios + `5m{job="masar"} 0.1x40` + again + `1h{job="masar"} 0.01x40`, 0},
		{"ErreursServeurLentes", ratios + `30m{job="masar"} 0.04x40` + again + `6h{job="masar"} 0.04x40`, 1},
		{"ErreursServeurLentes", ratios + `30m{job="masar"} 0.02x40` + again + `6h{job="masar"} 0.04x40`, 0},
		{"ConsommateurArrete", "\n  masar_consumer_lag{g=\"a\"} 5x40\n  masar_consumer_committed{g=\"a\"} 7x40", 1},
		{"ConsommateurArrete", "\n  masar_consumer_lag{g=\"a\"} 5x40\n  masar_consumer_committed{g=\"a\"} 7+1x40", 0},
		{"ConsommateurArrete", "\n  masar_consumer_lag{g=\"a\"} 0x40\n  masar_consumer_committed{g=\"a\"} 7x40", 0},
		// Five services share one job in one process: their errors are not mixed.
		{"service:masar_errors:ratio_rate5m", "\n  http_server_request_duration_seconds_count{http_response_status_code=\"500\",otel_scope_name=\"candidates\"} 0+1x40\n  http_server_request_duration_seconds_count{http_response_status_code=\"502\",otel_scope_name=\"matching\"} 0+1x40", 2},
		{"LettresMortes", "\n  masar_consumer_dead_letters_total 0+1x40", 1},
		{"LettresMortes", "\n  masar_consumer_dead_letters_total 3x40", 0},
		{"BoiteEnvoiAgee", "\n  masar_outbox_age_seconds 90x40", 1},
		{"BoiteEnvoiAgee", "\n  masar_outbox_age_seconds 2x40", 0},
		{"ChiffresEnRetard", "\n  masar_figures_behind_seconds 90x40", 1},
		{"EvenementsManquants", "\n  masar_figures_missing 1x40", 1},
		{"ChiffresFaux", "\n  masar_figures_wrong 1x40", 1},
		{"ChiffresFaux", "\n  masar_figures_wrong 0x40", 0},
		{"RecomptageArrete", "\n  masar_figures_verified_seconds 180000x40", 1},
		{"RecomptageArrete", "\n  masar_figures_verified_seconds{instance=\"a\"} 180000x40\n  masar_figures_verified_seconds{instance=\"b\"} 60x40", 0}, // one of the replicas recounts
		{"DelaiConsommeTropVite", "\n  masar_kpi_delay_budget_burn_rate{budget=\"visa\",window=\"30d\"} 2x40\n  masar_kpi_delay_budget_burn_rate{budget=\"visa\",window=\"90d\"} 1.5x40", 1},
		{"DelaiConsommeTropVite", "\n  masar_kpi_delay_budget_burn_rate{budget=\"visa\",window=\"30d\"} 2x40\n  masar_kpi_delay_budget_burn_rate{budget=\"visa\",window=\"90d\"} 0.5x40", 0},
		{"DelaiEpuise", "\n  masar_kpi_delay_budget_remaining{budget=\"visa\"} -0.1x40", 1},
		{"DelaiEpuise", "\n  masar_kpi_delay_budget_remaining{budget=\"visa\"} 0.1x40", 0},
		{"JalonManque", "\n  masar_kpi_behind_milestone{indicator=\"people_followed\"} 12x40", 1},
		{"JalonManque", "\n  masar_kpi_behind_milestone{indicator=\"people_followed\"} 0x40", 0},
		{"ServicePasPret", "\n  masar_ready{job=\"masar\",masar_check=\"store\"} 1x40\n  masar_ready{job=\"masar\",masar_check=\"broker\"} 0x40", 1},
		{"ServicePasPret", "\n  masar_ready{job=\"masar\",masar_check=\"store\"} 1x40", 0},
		{"ServiceInjoignable", "\n  up{job=\"masar\"} 0x40", 1},
		{"ServiceInjoignable", "\n  up{job=\"masar\"} 1x40", 0},
	}
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	for _, c := range cases {
		storage := promqltest.LoadedStorage(t, "load 30s"+c.series+"\n")
		q, err := engine.NewInstantQuery(t.Context(), storage, nil, exprs[c.alert], time.Unix(0, 0).Add(18*time.Minute))
		if err != nil {
			t.Fatalf("%s: %v", c.alert, err)
		}
		v, err := q.Exec(t.Context()).Vector()
		if err != nil || len(v) != c.want {
			t.Errorf("%s on %s: %v %v, want %d", c.alert, c.series, v, err, c.want)
		}
	}
}
