package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"masar.local/tests/harness"
)

// mayBeEmpty are the panels that the demo cohort says nothing about: its offers and
// pathways come by commands, without campaigns, decisions of matching or refusals,
// and nothing fails. By month and governorate it is too small to be shown.
var mayBeEmpty = []string{
	"Appariement/Présélectionnées", "Appariement/Embauchées", "Appariement/Embauches par présélection", "Appariement/Postes couverts",
	"Appariement/Décisions, par nature", "Appariement/Refus, par qui", "Appariement/Refus, par motif", "Appariement/Décisions par mois", "Appariement/Embauches par mois",
	"Territoires/Inscriptions par mois", "Territoires/Suivies par mois",
	"Appariement/Rareté par métier", "Marché du travail/Rareté par métier",
	"Schémas/Refus d'autorisation de travail", "Schémas/Refus de visa",
}

type boardFile struct {
	UID, Title string
	Panels     []struct {
		Type, Title string
		Targets     []struct {
			Expr       string
			Instant    bool
			Datasource struct{ UID string }
		}
	}
}

// TestBoards: with the demo cohort every panel of every board has an answer, the
// figures are those of the API, and a browser draws them in both languages.
func TestBoards(t *testing.T) {
	t.Setenv("MASAR_PROGRAMME", promises(t))
	p := harness.Up(t, t.TempDir())
	w := upWorld(t, p)
	if out, code := w.masar(t, "demo", "--people", "400"); code != 0 {
		t.Fatalf("demo: %s", out)
	}
	if out, code := w.masar(t, "verify"); code != 0 {
		t.Fatalf("verify: %s", out)
	}
	if out, code := w.masar(t, "shortage", "import", market(t)); code != 0 {
		t.Fatalf("shortage: %s", out)
	}
	if out, code := w.masar(t, "review", "freeze", time.Now().AddDate(0, -1, -1).Format("2006-01")); code != 0 {
		t.Fatalf("review: %s", out)
	}
	ask := func(source, path string, form url.Values) []struct {
		Metric map[string]string
		Value  [2]any
		Values [][2]any
	} {
		t.Helper()
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
					Values [][2]any
				}
			}
		}
		status, body, err := harness.TryCall("", "GET", p.URL+"/boards/source/"+source+"/api/v1/"+path+"?"+form.Encode(), nil)
		if err != nil || status != http.StatusOK {
			t.Errorf("%s %s: %d %s %v", source, form.Get("query"), status, body, err)
			return nil
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Errorf("%s: %v", form.Get("query"), err)
		}
		return answer.Data.Result
	}
	// A rate needs two readings between which something happened.
	harness.Eventually(t, "the platform's own metrics have a past", func() error {
		w.call(t, "manager", "GET", "/api/indicators/summary", nil, nil)
		for _, query := range []string{`sum(rate(http_server_request_duration_seconds_count[5m])) > 0`, `sum(rate(db_client_operation_duration_seconds_count[5m])) > 0`, `count(masar_ready)`} {
			if len(ask("masar-metrics", "query", url.Values{"query": {query}})) == 0 {
				return fmt.Errorf("no answer yet to %s", query)
			}
		}
		return nil
	})

	var list []boardFile
	w.must(t, "manager", "GET", "/boards/files", nil, &list, 200)
	if len(list) != 8 {
		t.Errorf("%d boards", len(list))
	}
	variables := regexp.MustCompile(`\$\{?(scheme|sector|governorate|sex|stage|zone)\}?`)
	now := time.Now().Unix()
	var empty []string
	for i := range list {
		w.must(t, "manager", "GET", "/boards/files/"+list[i].UID, nil, &list[i], 200)
		for _, panel := range list[i].Panels {
			series := 0
			for _, target := range panel.Targets {
				source := map[string]string{"${kpi}": "masar-kpi", "${metrics}": "masar-metrics"}[target.Datasource.UID]
				query, path := variables.ReplaceAllString(target.Expr, ".*"), "query_range"
				form := url.Values{"query": {query}}
				if target.Instant {
					path = "query"
				} else {
					form.Set("end", fmt.Sprint(now+60)) // the last step is after the last reading
					form.Set("start", fmt.Sprint(now-3600))
					form.Set("step", "15")
					if source == "masar-kpi" {
						form.Set("start", fmt.Sprint(now-2*365*86400))
						form.Set("step", "86400")
					}
				}
				series += len(ask(source, path, form))
			}
			if name := list[i].Title + "/" + panel.Title; series == 0 && len(panel.Targets) > 0 && !slices.Contains(mayBeEmpty, name) {
				empty = append(empty, name)
			}
		}
	}
	if len(empty) > 0 {
		t.Errorf("panels without an answer: %s", strings.Join(empty, "; "))
	}

	// Messages are still being sent: until they are, the two may be asked at different moments.
	harness.Eventually(t, "figures are those of the API", func() error {
		return sameAsAPI(t, w, func(query string) map[string]float64 {
			out := map[string]float64{}
			for _, one := range ask("masar-kpi", "query", url.Values{"query": {query}}) {
				var codes []string
				for name, code := range one.Metric {
					if name != "__name__" {
						codes = append(codes, name+"="+code)
					}
				}
				slices.Sort(codes)
				out[strings.Join(codes, ",")], _ = strconv.ParseFloat(one.Value[1].(string), 64)
			}
			return out
		})
	})
	alertsHaveMetrics(t, func(name string) bool {
		return len(ask("masar-metrics", "query", url.Values{"query": {"count(" + name + ")"}})) > 0
	})
	// Who has a token asks in its own scope, also through the page.
	_, body, err := harness.TryCall(p.Token(t, "manager", "--governorate", "TN-71"), "GET",
		p.URL+"/boards/source/masar-kpi/api/v1/label/governorate/values?match[]=masar_kpi_people_registered_by_governorate_total", nil)
	if err != nil || strings.Contains(strings.ReplaceAll(string(body), "TN-71", ""), "TN-") || !strings.Contains(string(body), "success") {
		t.Errorf("a manager of one governorate is told of %s, %v", body, err)
	}
	t.Run("in Chromium", func(t *testing.T) {
		drawn(t, p.URL+"/boards?lang=ar")
		drawn(t, p.URL+"/boards/"+list[0].UID+"?lang=ar")
		for _, b := range list {
			drawn(t, p.URL+"/boards/"+b.UID)
		}
	})
}

// promises writes settings of a programme that has a delay budget and a milestone,
// both made up: the default has none, and then they have no metrics either.
func promises(t *testing.T) string {
	t.Helper()
	settings, err := os.ReadFile(filepath.Join(harness.Root(t), "services", "indicators", "programme.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(settings), "\nindicators: {}\n", `
indicators:
  people_followed:
    milestones: [{date: "2026-01-31", value: 100, source: made up for this test}]
`, 1)
	text = strings.Replace(text, "\ndelay_budgets: []\n", `
delay_budgets:
  - {code: essai, label_fr: Essai, label_ar: تجربة, label_en: Trial, scheme: "", from: P02, to: P04, days: 30, share: 0.9, source: made up for this test}
`, 1)
	path := filepath.Join(t.TempDir(), "programme.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// market writes a made-up series of an employment service: offers, seekers and exits
// of ten occupations in a governorate.
func market(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("source,country,zone,nomenclature,occupation,period,measure,value,label\n")
	for q, quarter := range []string{"2025-Q4", "2026-Q1"} {
		for i, code := range strings.Fields("A1401 A1402 A1403 A1405 A1407 G1602 G1803 H2913 J1501 N4101") {
			for measure, n := range map[string]int{"offers": 40 + 13*i%29 + q, "seekers_in": 60 + 7*i%31, "seekers_stock": 90 + 5*i, "exits": 20 + 11*i%17} {
				fmt.Fprintf(&b, "aneti,TN,TN-71,ROME,%s,%s,%s,%d,\n", code, quarter, measure, n)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "market.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// alertsHaveMetrics: every metric that an alert rule names is there on a running
// platform, so that a new name of one fails here and not in the night.
func alertsHaveMetrics(t *testing.T, there func(name string) bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(harness.Root(t), "dashboards", "alerts", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no alert rules: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^ +expr: .*$`).FindAllString(string(text), -1) {
			for _, m := range regexp.MustCompile(`(^|[^\w:])((?:masar|http|db|messaging)_\w+)(\W|$)`).FindAllStringSubmatch(line, -1) {
				if name := m[2]; !seen[name] && m[3] != "=" {
					seen[name] = true
					if !there(name) {
						t.Errorf("%s: there is no metric %s", filepath.Base(file), name)
					}
				}
			}
		}
	}
	if len(seen) < 7 {
		t.Errorf("the alerts name only %d metrics", len(seen))
	}
}

// sameAsAPI compares every indicator, as a whole and by each of its dimensions, with
// the answer of the API to the same reader.
func sameAsAPI(t *testing.T, w world, query func(string) map[string]float64) error {
	t.Helper()
	var catalogue struct {
		Indicators []struct {
			Code, Measure string
			Dimensions    []string
		}
	}
	w.must(t, "manager", "GET", "/api/indicators/indicators", nil, &catalogue, 200)
	compared := 0
	var wrong []error
	for _, d := range catalogue.Indicators {
		for _, by := range append([]string{""}, d.Dimensions...) {
			name, ask := "masar_kpi_"+d.Code, "/api/indicators/values?code="+d.Code
			if by != "" {
				name, ask = name+"_by_"+by, ask+"&by="+by
			}
			if d.Measure != "stock" {
				name += "_total"
			}
			var series struct {
				Rows []struct {
					Dimensions map[string]string
					Value      *float64
				}
			}
			w.must(t, "manager", "GET", ask, nil, &series, 200)
			got := query(name)
			for _, r := range series.Rows {
				key := ""
				if by != "" {
					key = by + "=" + r.Dimensions[by]
				}
				v, there := got[key]
				delete(got, key)
				if r.Value == nil {
					if there {
						wrong = append(wrong, fmt.Errorf("%s{%s} is %v, and hidden in the API", name, key, v))
					}
					continue
				}
				if compared++; v != *r.Value || !there && *r.Value != 0 {
					wrong = append(wrong, fmt.Errorf("%s{%s} is %v (there: %v), the API says %v", name, key, v, there, *r.Value))
				}
			}
			for key, v := range got {
				if v != 0 {
					wrong = append(wrong, fmt.Errorf("%s{%s} is %v, which the API does not say", name, key, v))
				}
			}
		}
	}
	if compared < 300 {
		wrong = append(wrong, fmt.Errorf("only %d figures were compared", compared))
	}
	return errors.Join(wrong...)
}

// drawn opens a board in Chromium.
func drawn(t *testing.T, address string) {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("no Chromium here (chromium, chromium-browser or google-chrome): the pages are not drawn")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", "--dump-dom", address).Output()
	if err != nil {
		t.Errorf("%s: %v", address, err)
		return
	}
	page := string(out)
	if !strings.Contains(page, `data-drawn="yes"`) || strings.Contains(page, "data-failed") {
		failed := regexp.MustCompile(`role="alert"[^>]*>([^<]*)`).FindAllStringSubmatch(page, 3)
		t.Errorf("%s was not drawn whole: %q", address, failed)
	}
	if strings.Contains(address, "lang=ar") && !strings.Contains(page, `dir="rtl"`) {
		t.Errorf("%s is not from right to left", address)
	}
}
