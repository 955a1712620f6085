package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"masar.local/tests/harness"
)

// mayBeEmpty are the panels that the demo cohort says nothing about: its offers and
// pathways come by commands, without campaigns, decisions of matching or refusals,
// and nothing fails. By month and governorate it is too small to be shown.
var mayBeEmpty = []string{
	"Appariement/Présélectionnées", "Appariement/Embauchées", "Appariement/Embauches par présélection", "Appariement/Postes couverts",
	"Appariement/Décisions, par nature", "Appariement/Refus, par qui", "Appariement/Refus, par motif", "Appariement/Décisions par mois", "Appariement/Embauches par mois",
	"Territoires/Inscriptions par gouvernorat et par mois", "Territoires/Suivies par gouvernorat et par mois",
	"Appariement/Selon le sexe", "Appariement/Selon le gouvernorat", "Appariement/Selon le diplôme",
	"Appariement/Rareté par métier", "Marché du travail/Rareté par métier",
	"Schémas/Refus d'autorisation de travail", "Schémas/Refus de visa",
}

type boardFile struct {
	UID, Title string
	Templating struct{ List []boardVariable }
	Panels     []struct {
		Type, Title string
		Targets     []struct {
			Expr       string
			Instant    bool
			Datasource struct{ UID string }
		}
	}
}

type boardVariable struct {
	Name, Type, Definition, Regex string
}

// sample is one series of an answer in Prometheus' way.
type sample struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
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
	ask := func(source, path string, form url.Values) []sample {
		t.Helper()
		var answer struct{ Data struct{ Result []sample } }
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
	names := map[string]map[string]map[string]string{} // by board, variable and code
	for _, b := range list {
		names[b.UID] = map[string]map[string]string{}
		for _, v := range b.Templating.List {
			if v.Type == "query" {
				names[b.UID][v.Name] = choices(t, v, func(query string) []sample { return ask("masar-kpi", "query", url.Values{"query": {query}}) })
			}
		}
	}
	t.Run("in Chromium", func(t *testing.T) {
		b := chromium(t)
		b.visit(p.URL + "/boards?lang=ar")
		b.visit(p.URL + "/boards/" + list[0].UID + "?lang=ar")
		if got := js[string](b, "document.documentElement.dir"); got != "rtl" {
			t.Errorf("an Arabic board is written %q", got)
		}
		for _, one := range list {
			b.visit(p.URL + "/boards/" + one.UID)
			b.wellMade()
			for variable, want := range names[one.UID] {
				got := js[map[string]string](b, fmt.Sprintf(`Object.fromEntries([...document.querySelectorAll("input[name=var-%s]")].map((i) => [i.value, i.labels[0].textContent.trim()]))`, variable))
				if !maps.Equal(got, want) {
					t.Errorf("%s: of %s one may choose %v, want %v", one.UID, variable, got, want)
				}
			}
		}
	})
	t.Run("by keyboard", func(t *testing.T) { byKeyboard(t, chromium(t), p.URL) })
}

// choices are the names, by their codes, among which Grafana lets people choose the
// values of a variable: it prints the series that the query gives, and takes from each
// line what the regular expression calls value and text.
func choices(t *testing.T, v boardVariable, query func(string) []sample) map[string]string {
	t.Helper()
	asks := regexp.MustCompile(`^query_result\((.+)\)$`).FindStringSubmatch(v.Definition)
	if asks == nil || !strings.HasPrefix(v.Regex, "/") || !strings.HasSuffix(v.Regex, "/g") {
		t.Fatalf("the variable %s: %+v", v.Name, v)
	}
	takes := regexp.MustCompile(strings.TrimSuffix(strings.TrimPrefix(v.Regex, "/"), "/g"))
	found := map[string]string{}
	series := query(asks[1])
	for _, one := range series {
		var labels []string
		for name, value := range one.Metric {
			if name != "__name__" {
				labels = append(labels, name+`="`+value+`"`)
			}
		}
		slices.Sort(labels)
		taken := func() (code, name string) {
			line := one.Metric["__name__"] + "{" + strings.Join(labels, ",") + "} 1 1790000000000"
			for _, m := range takes.FindAllStringSubmatch(line, -1) {
				code += m[takes.SubexpIndex("value")]
				name += m[takes.SubexpIndex("text")]
			}
			return code, name
		}
		code, name := taken()
		slices.Reverse(labels) // whatever their order
		if c, n := taken(); c != code || n != name {
			t.Errorf("%s: %s is %s, or %s %s", v.Name, code, name, c, n)
		}
		if code != one.Metric[v.Name] || name != one.Metric["fr"] || name == "" || found[code] != "" {
			t.Errorf("%s: of %v it takes %q, called %q, which was %q", v.Name, one.Metric, code, name, found[code])
		}
		found[code] = name
	}
	if len(found) == 0 {
		t.Errorf("%s: nothing to choose from", v.Name)
	}
	// Whatever code has figures can be chosen.
	figures := "masar_kpi_people_followed_by_" + v.Name + "_total"
	switch v.Name {
	case "stage":
		figures = "masar_kpi_people_by_stage_by_stage"
	case "zone":
		figures = "masar_shortage_class"
	}
	counted := query("count by (" + v.Name + ") (" + figures + ")")
	if len(counted) == 0 {
		t.Errorf("no figures by %s", v.Name)
	}
	for _, one := range counted {
		if code := one.Metric[v.Name]; found[code] == "" {
			t.Errorf("%s: %q has figures and cannot be chosen", v.Name, code)
		}
	}
	return found
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

// browser is a page in Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func chromium(t *testing.T) browser {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox)
			allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
			t.Cleanup(stop)
			ctx, stop := chromedp.NewContext(allocator)
			t.Cleanup(stop)
			return browser{t, ctx}
		}
	}
	t.Skip("no Chromium here (chromium, chromium-browser or google-chrome): the pages are not drawn")
	return browser{}
}

// js is what an expression is in the page.
func js[T any](b browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// check fails unless an expression holds in the page.
func (b browser) check(what, expression string) {
	b.t.Helper()
	if !js[bool](b, expression) {
		b.t.Errorf("%s: not so: %s; the keyboard is at %s", what, expression, js[string](b, "document.activeElement.outerHTML.slice(0, 200)"))
	}
}

// drawn waits until a board of which an expression holds is drawn whole.
func (b browser) drawn(expression string) {
	b.t.Helper()
	harness.Eventually(b.t, "a page with "+expression+" is drawn", func() error {
		// The page before may be gone while it is asked.
		there, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`document.body?.dataset.drawn === "yes" && `+expression))
		if err == nil && !there {
			err = errors.New("not yet")
		}
		return err
	})
	if failed := js[[]string](b, `[...document.querySelectorAll("[data-failed]")].map((s) => s.textContent)`); len(failed) > 0 {
		b.t.Errorf("%s: %q", js[string](b, "location.href"), failed)
	}
}

func (b browser) visit(address string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatalf("%s: %v", address, err)
	}
	b.drawn("true")
}

func (b browser) press(keys string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...))); err != nil {
		b.t.Fatal(err)
	}
}

// tabTo presses Tab until the element that fits a selector has the keyboard. Whatever
// has it on the way is seen, with a line around it.
func (b browser) tabTo(selector string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	for range 150 {
		b.press(kb.Tab, modifiers...)
		at := js[struct {
			Fits, Seen bool
			What       string
		}](b, fmt.Sprintf(`(() => {
			const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			return {
				Fits: e.matches(%q), What: e.outerHTML.slice(0, 120),
				Seen: e === document.body || s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.height > 0 && r.bottom > 0 && r.top < innerHeight,
			};
		})()`, selector))
		if !at.Seen {
			b.t.Errorf("the keyboard is where nobody sees it: %s", at.What)
		}
		if at.Fits {
			return
		}
	}
	b.t.Fatalf("the keyboard does not reach %s", selector)
}

// wellMade: whatever the keyboard can reach has a name, and charts are also words and a table.
func (b browser) wellMade() {
	b.t.Helper()
	nameless := js[[]string](b, `[...document.querySelectorAll("a, button, summary, select, input, [tabindex='0']")]
		.filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.[0]?.textContent.trim())).map((e) => e.outerHTML)`)
	wordless := js[[]string](b, `[...document.querySelectorAll(".chart")].filter((c) => {
		const panel = c.closest("section"), title = panel.querySelector("h3").textContent, said = c.getAttribute("aria-label");
		return !said.startsWith(title) || !/\d/.test(said.slice(title.length)) || !panel.querySelector(".swap") || !panel.querySelector("tbody td");
	}).map((c) => c.getAttribute("aria-label"))`)
	if len(nameless)+len(wordless) > 0 {
		b.t.Errorf("%s: without a name %q, charts without words %q", js[string](b, "location.pathname"), nameless, wordless)
	}
}

// byKeyboard chooses a board, a period, a governorate, a language and the table of a
// chart without a mouse.
func byKeyboard(t *testing.T, b browser, base string) {
	b.visit(base + "/boards")
	b.press(kb.Tab)
	b.check("the first is the way past the header", `document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().top >= 0`)
	b.press(kb.Enter)
	b.check("it leads to the content", `document.activeElement.id === "main"`)
	b.tabTo(`main a[href$="/masar-territoires"]`)
	b.press(kb.Enter)
	b.drawn(`location.pathname === "/boards/masar-territoires"`)

	b.tabTo(`nav a[aria-current="page"]`)
	b.tabTo(".lang")
	b.tabTo("#from")
	before := js[string](b, "document.activeElement.value")
	b.press(kb.ArrowDown)
	period := js[string](b, "document.activeElement.value")
	if period == before {
		t.Errorf("an arrow key chooses no other period than %s", before)
	}
	b.check("nothing is read before it is asked for", `location.search === ""`)

	b.tabTo("#var-governorate")
	b.press(kb.Enter)
	b.check("the governorates are shown", "document.activeElement.parentElement.open")
	b.tabTo(`input[value="TN-12"]`)
	b.check("by their names", `document.activeElement.labels[0].textContent.trim() === "Ariana"`)
	b.press(" ")
	b.press(kb.Escape)
	b.check("they can be put away", `document.activeElement.id === "var-governorate" && !document.activeElement.parentElement.open`)
	b.tabTo("#refresh")
	b.press(kb.Enter)
	b.drawn(`location.search.includes("var-governorate=TN-12")`)
	b.check("the period too", fmt.Sprintf(`new URL(location).searchParams.get("from") === %q`, period))
	b.check("the keyboard is where it was", `document.activeElement.id === "refresh"`)
	b.check("one governorate is chosen", `document.querySelector("#var-governorate").textContent === "Gouvernorat : Ariana"`)
	const rows = `[...document.querySelectorAll("[data-panel='2'] tbody tr")].map((r) => r.cells[0].textContent).join()`
	b.check("and shown", rows+` === "Ariana"`)

	b.tabTo("#var-governorate", chromedp.ModifierShift)
	b.press(kb.Enter)
	b.tabTo(`input[value="TN-12"]`)
	b.press(" ")
	b.press(kb.Enter) // there as well
	b.drawn(`!location.search.includes("var-")`)
	b.check("the keyboard is at what was chosen", `document.activeElement.id === "var-governorate"`)
	b.check("all are shown", rows+`.split(",").length > 15`)

	b.tabTo(".lang", chromedp.ModifierShift)
	b.press(kb.Enter)
	b.drawn(`document.documentElement.dir === "rtl"`)
	b.check("what was chosen stays", fmt.Sprintf(`new URL(location).searchParams.get("from") === %q`, period))
	b.check("names are Arabic", `document.querySelector("input[value='TN-12']").labels[0].textContent.trim() === "أريانة"`)

	b.tabTo("[data-panel='7'] .why summary")
	b.press(kb.Enter)
	b.check("what a panel shows is said", `document.activeElement.nextElementSibling.checkVisibility()`)
	b.tabTo("[data-panel='7'] .swap")
	b.check("and put away behind", `!document.querySelector("details[open]")`)
	b.press(kb.Enter)
	b.check("the chart is a table", `document.activeElement.matches(".swap") && !document.querySelector("[data-panel='7'] .chart").checkVisibility() && document.querySelectorAll("[data-panel='7'] tbody tr").length === 24`)
	b.tabTo("[data-panel='7'] [role=region][tabindex='0']") // Chromium alone needs no tabindex
	b.press(kb.ArrowDown)
	harness.Eventually(t, "an arrow key scrolls the table", func() error {
		if js[float64](b, "document.activeElement.scrollTop") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	b.tabTo("[data-panel='7'] .swap", chromedp.ModifierShift)
	b.press(kb.Enter)
	b.check("the table is a chart again", `document.querySelector("[data-panel='7'] .chart svg").checkVisibility()`)
}
