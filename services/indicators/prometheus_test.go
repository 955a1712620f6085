package indicators

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	"masar.local/services/indicators/promapi"
)

// asked asks the KPI query API as a role.
func asked(t testing.TB, s *service, role access.Role, path string, form url.Values) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(access.With(t.Context(), as(role)), http.MethodPost, "http://masar.test/api/v1/"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.prometheusAPI().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

type promSeries struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

func answered(t testing.TB, s *service, role access.Role, path string, form url.Values) []promSeries {
	t.Helper()
	status, body := asked(t, s, role, path, form)
	var out struct {
		Data struct {
			Result []promSeries `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: %d %s (%v)", path, form, status, body, err)
	}
	return out.Data.Result
}

func sampleValue(t testing.TB, v any) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(v.(string), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// twoYears are pathways opened in 22 governorates and 24 months, some of which were
// then found to have been opened a month before, or never. It gives what was
// known at first and what is known now, by month and governorate.
func twoYears(t testing.TB, seed uint64) (s *story, before, after map[string]float64) {
	s, before, after = newStory(t), map[string]float64{}, map[string]float64{}
	r := rand.New(rand.NewPCG(seed, 1))
	months := lastDays(Month, "2024-04-01", "2026-03-31", "")
	n := 0
	var corrections []func()
	for g := range 22 {
		governorate := fmt.Sprintf("TN-%d", []int{11, 12, 13, 14, 21, 22, 23, 31, 32, 33, 34, 41, 42, 43, 51, 52, 53, 61, 71, 72, 73, 81}[g])
		for i := range months {
			month := months[i][:7]
			for range r.IntN(8) {
				n++
				pathway, who := fmt.Sprintf("w%d", n), person{fmt.Sprintf("c%d", n), "F", governorate}
				s.opened(fmt.Sprintf("%s-%02d 23:30", month, 1+r.IntN(28)), pathway, "agri", who)
				id := s.events[len(s.events)-1].ID
				before[month+" "+governorate]++
				after[month+" "+governorate]++
				switch change := r.IntN(10); {
				case change == 0 && i > 0:
					right := months[i-1][:7]
					after[month+" "+governorate]--
					after[right+" "+governorate]++
					corrections = append(corrections, func() {
						s.add(right+"-01 00:00", pathway, &candidatesv1.EntryCorrected{
							EventId: id, EntrySeq: 1, Entry: &candidatesv1.EntryCorrected_Opened{Opened: &candidatesv1.PathwayOpened{
								CandidateId: who.id, Scheme: "agri", SchemeVersion: "1", Stage: "P02", Person: who.proto(),
							}}, Now: &candidatesv1.PathwayState{CandidateId: who.id, Scheme: "agri", SchemeVersion: "1", Stage: "P02", Open: true},
						})
					})
				case change == 1:
					after[month+" "+governorate]--
					corrections = append(corrections, func() {
						s.add(month+"-28 12:00", pathway, &candidatesv1.EntryRetracted{EventId: id, EntrySeq: 1, Now: &candidatesv1.PathwayState{CandidateId: who.id}})
					})
				}
			}
		}
	}
	known := len(s.events)
	for _, correct := range corrections {
		correct()
	}
	for i := range s.events {
		s.events[i].RecordedAt = at(t, "2026-04-01 12:00")
		if i >= known {
			s.events[i].RecordedAt = at(t, "2026-04-10 12:00")
		}
	}
	r.Shuffle(len(s.events), func(i, j int) { s.events[i], s.events[j] = s.events[j], s.events[i] })
	return s, before, after
}

// TestEveryMonthOfEveryGovernorate: the 528 cells of two years are exact, in each
// way in which a board may ask for them, with corrections in their right month.
func TestEveryMonthOfEveryGovernorate(t *testing.T) {
	story, before, after := twoYears(t, 7)
	s := analyse(t, story.events, "2026-04-15 12:00", 5)
	months := lastDays(Month, "2024-04-01", "2026-03-31", "")
	cells := func(query string, step string, asOf string, month func(at time.Time) string) map[string]float64 {
		out := map[string]float64{}
		for _, one := range answered(t, s, access.Admin, "query_range", url.Values{
			"query": {query}, "start": {"2024-03-31T23:00:00Z"}, "end": {"2026-04-15T11:00:00Z"}, "step": {step}, "as_of": {asOf},
		}) {
			for _, v := range one.Values {
				if n := sampleValue(t, v[1]); n != 0 {
					out[month(time.Unix(int64(v[0].(float64)), 0).In(tunis))+" "+one.Metric["governorate"]] = n
				}
			}
		}
		return out
	}
	itself := func(at time.Time) string { return at.Format("2006-01") }
	without := func(m map[string]float64) map[string]float64 {
		m = maps.Clone(m)
		maps.DeleteFunc(m, func(_ string, n float64) bool { return n == 0 })
		return m
	}
	checked := 0
	same := func(how string, got, want map[string]float64) {
		t.Helper()
		for _, m := range months {
			for g := range 99 {
				key := fmt.Sprintf("%s TN-%d", m[:7], g)
				if _, counted := before[key]; counted {
					checked++
				}
				if got[key] != want[key] {
					t.Errorf("%s: %s is %v, want %v", how, key, got[key], want[key])
				}
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d cells, want %d", how, len(got), len(want))
		}
	}
	same("per month", cells("masar_kpi_pathways_opened_by_governorate_per_month", "1d", "", itself), without(after))
	same("as was known before", cells("masar_kpi_pathways_opened_by_governorate_per_month", "1d", "2026-04-05", itself), without(before))
	// At noon of the first of a month, what happened in the month before.
	days := map[string]float64{}
	for _, m := range months {
		first := time.UnixMilli(monthStart(m[:7], 1)).In(tunis)
		length := int(first.Sub(time.UnixMilli(monthStart(m[:7], 0)).In(tunis)).Hours() / 24)
		for _, one := range answered(t, s, access.Admin, "query", url.Values{
			"query": {fmt.Sprintf("sum_over_time(masar_kpi_pathways_opened_by_governorate_per_day[%dd]) > 0", length)}, "time": {first.Add(-time.Second).Format(time.RFC3339)},
		}) {
			days[m[:7]+" "+one.Metric["governorate"]] = sampleValue(t, one.Value[1])
		}
	}
	same("days added up", days, without(after))
	grown := map[string]float64{}
	for _, m := range months {
		first := time.UnixMilli(monthStart(m[:7], 1))
		length := first.Sub(time.UnixMilli(monthStart(m[:7], 0)))
		for _, one := range answered(t, s, access.Admin, "query", url.Values{
			"query": {fmt.Sprintf("masar_kpi_pathways_opened_by_governorate_total - (masar_kpi_pathways_opened_by_governorate_total offset %ds or 0 * masar_kpi_pathways_opened_by_governorate_total)", int(length.Seconds()))},
			"time":  {first.Add(-time.Second).Format(time.RFC3339)},
		}) {
			if n := sampleValue(t, one.Value[1]); n != 0 {
				grown[m[:7]+" "+one.Metric["governorate"]] = n
			}
		}
	}
	same("totals subtracted", grown, without(after))
	if checked < 4*400 {
		t.Errorf("only %d cells were looked at", checked)
	}
	for _, role := range []access.Role{access.Manager, access.Admin} {
		all := answered(t, s, role, "query", url.Values{"query": {"masar_kpi_pathways_opened_total"}, "time": {"2026-04-15T11:00:00Z"}})
		sum := 0.0
		for _, n := range after {
			sum += n
		}
		if len(all) != 1 || sampleValue(t, all[0].Value[1]) != sum {
			t.Errorf("the total is %v, want %v", all, sum)
		}
	}
}

// TestQueriesHideSmallCells: who may not see small cells gets by queries what
// `values` shows, and nothing by day.
func TestQueriesHideSmallCells(t *testing.T) {
	story, _, _ := twoYears(t, 8)
	s := analyse(t, story.events, "2026-04-15 12:00", 2)
	whole := url.Values{"query": {"masar_kpi_pathways_opened_by_governorate_per_month"}, "start": {"2024-03-31T23:00:00Z"}, "end": {"2026-04-15T11:00:00Z"}, "step": {"1d"}}
	got := map[string]float64{}
	for _, one := range answered(t, s, access.Manager, "query_range", whole) {
		for _, v := range one.Values {
			got[time.Unix(int64(v[0].(float64)), 0).In(tunis).Format("2006-01")+" "+one.Metric["governorate"]] = sampleValue(t, v[1])
		}
	}
	series, err := s.Values(asRole(t, access.Manager), ValuesQuery{Code: "pathways_opened", Grain: Month, By: []string{"governorate"}})
	if err != nil {
		t.Fatal(err)
	}
	want, hidden := map[string]float64{}, 0
	for _, r := range series.Rows {
		if r.Suppressed {
			hidden++
			continue
		}
		want[r.Period+" "+r.Dimensions["governorate"]] = *r.Value
	}
	if !maps.Equal(got, want) || hidden == 0 || len(want) == 0 {
		t.Errorf("%d samples, want %d; %d are hidden", len(got), len(want), hidden)
	}
	for _, query := range []string{
		"masar_kpi_pathways_opened_by_governorate_per_day",
		"masar_kpi_pathways_opened_by_governorate_total offset 3d", // neither the end of a month nor today
	} {
		if got := answered(t, s, access.Manager, "query", url.Values{"query": {query}, "time": {"2026-04-15T11:00:00Z"}}); len(got) != 0 {
			t.Errorf("%s: %v", query, got)
		}
	}
	if got := answered(t, s, access.Manager, "query", url.Values{"query": {whole.Get("query")}, "time": {"2026-03-01T11:00:00Z"}, "as_of": {"2026-04-05"}}); len(got) != 0 {
		t.Errorf("as of a past date: %v", got)
	}
	// A counsellor of Gafsa sees Gafsa.
	r := httptest.NewRequestWithContext(access.With(t.Context(), access.Principal{Subject: "t", Role: access.Counsellor, Governorates: []string{"TN-71"}}),
		http.MethodGet, "http://masar.test/api/v1/query?time=2026-04-15T11:00:00Z&query=masar_kpi_pathways_opened_by_governorate_total", nil)
	w := httptest.NewRecorder()
	s.prometheusAPI().ServeHTTP(w, r)
	if body := w.Body.String(); !strings.Contains(body, `"governorate":"TN-71"`) || strings.Count(body, `"governorate"`) != 1 {
		t.Errorf("the scope is not kept: %s", body)
	}
}

// TestQueriesAreThoseOfPrometheus: what the engine says over our figures is what it
// says over Prometheus' own storage with the same samples.
func TestQueriesAreThoseOfPrometheus(t *testing.T) {
	story, _, _ := twoYears(t, 9)
	s := analyse(t, story.events, "2026-04-15 12:00", 5)
	ours := &kpiQuerier{s: s, known: kpiNames(s.defs), principal: as(access.Admin), from: monthStart("2025-09", 0), to: monthStart("2026-05", 0)}
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = (400 * 24 * time.Hour).Milliseconds()
	db, err := tsdb.Open(t.TempDir(), nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions() // one beside samples out of their order panics now and then
	t.Cleanup(func() { _ = db.Close() })
	names := []string{
		"masar_kpi_pathways_opened_by_governorate_total", "masar_kpi_pathways_opened_by_governorate_per_day", "masar_kpi_pathways_opened_by_scheme_per_month",
		"masar_kpi_people_by_stage_by_governorate", "masar_kpi_people_followed_total", "masar_kpi_people_followed_target",
	}
	samples := 0
	for _, name := range names {
		found, err := ours.read(t.Context(), []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)})
		if err != nil {
			t.Fatal(err)
		}
		to := db.Appender(t.Context())
		for _, one := range found {
			for it := one.Iterator(nil); it.Next() != 0; samples++ {
				at, v := it.At()
				if _, err := to.Append(0, one.Labels(), at, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := to.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if samples < 5000 {
		t.Fatalf("only %d samples", samples)
	}
	engine, source := promapi.NewEngine(lookback), storage.QueryableFunc(func(from, to int64) (storage.Querier, error) {
		return &kpiQuerier{s: s, known: ours.known, principal: as(access.Admin), from: from, to: to}, nil
	})
	rapid.Check(t, func(t *rapid.T) {
		selector := rapid.SampledFrom(names).Draw(t, "name") + rapid.SampledFrom([]string{
			"", `{governorate="TN-71"}`, `{governorate!="TN-71"}`, `{governorate=~"TN-1.*|TN-71"}`, `{governorate!~"TN-.*"}`, `{scheme=""}`, `{none="x"}`,
		}).Draw(t, "matchers")
		query := fmt.Sprintf(rapid.SampledFrom([]string{
			"%s", "sum(%s)", "sum by (governorate) (%s)", "topk(3, %s)", "%s offset 7d", "%s offset -2d", "max_over_time(%s[30d])",
			"count_over_time(%s[10d:1d])", "%s > 3", "%s @ 1772000000", "quantile(0.5, %s)", "absent(%s)", "avg(%s) without (governorate)", "last_over_time(%s[90d])",
		}).Draw(t, "form"), selector)
		from := time.UnixMilli(monthStart("2025-12", 0)).Add(time.Duration(rapid.IntRange(0, 100*24*60).Draw(t, "minute")) * time.Minute)
		step := rapid.SampledFrom([]time.Duration{time.Hour, 24 * time.Hour, 36 * time.Hour, 7 * 24 * time.Hour}).Draw(t, "step")
		to := from.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "steps")) * step)
		a, err := engine.NewRangeQuery(t.Context(), source, nil, query, from, to, step)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		b, err := engine.NewRangeQuery(t.Context(), db, nil, query, from, to, step)
		if err != nil {
			t.Fatal(err)
		}
		got, want := a.Exec(t.Context()), b.Exec(t.Context())
		if (got.Err == nil) != (want.Err == nil) || got.Err == nil && saidBy(got) != saidBy(want) {
			t.Fatalf("%s from %s to %s by %s:\n%s %v\nPrometheus:\n%s %v", query, from, to, step, saidBy(got), got.Err, saidBy(want), want.Err)
		}
	})
}

func saidBy(r *promql.Result) string {
	lines := strings.Split(r.Value.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestQueryErrors(t *testing.T) {
	s := analyse(t, nil, "2026-04-15 12:00", 5)
	for what, c := range map[string]struct {
		path   string
		form   url.Values
		status int
		says   string
	}{
		"no query":          {"query", url.Values{}, 400, `"errorType":"bad_data"`},
		"not PromQL":        {"query", url.Values{"query": {"sum("}}, 400, `parse error`},
		"not a time":        {"query", url.Values{"query": {"1"}, "time": {"yesterday"}}, 400, `\"time\"`},
		"not a date":        {"query", url.Values{"query": {"1"}, "as_of": {"yesterday"}}, 400, `as_of`},
		"no step":           {"query_range", url.Values{"query": {"1"}, "start": {"0"}, "end": {"1"}}, 400, `duration`},
		"a step of nothing": {"query_range", url.Values{"query": {"1"}, "start": {"0"}, "end": {"1"}, "step": {"0"}}, 400, `\"step\"`},
		"backwards":         {"query_range", url.Values{"query": {"1"}, "start": {"1"}, "end": {"0"}, "step": {"1"}}, 400, `\"end\"`},
		"too many points":   {"query_range", url.Values{"query": {"1"}, "start": {"0"}, "end": {"20000"}, "step": {"1"}}, 400, `11000`},
		"everything":        {"query", url.Values{"query": {`{__name__=~"masar_.*"}`}}, 422, `name the metric`},
		"no selector":       {"series", url.Values{}, 400, `match[]`},
	} {
		if status, body := asked(t, s, access.Manager, c.path, c.form); status != c.status || !strings.Contains(body, c.says) || !strings.Contains(body, `"status":"error"`) {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	for path, says := range map[string]string{
		"label/__name__/values": `"masar_kpi_people_followed_total"`, "labels": `"governorate"`, "metadata?metric=masar_kpi_people_followed_total": "Personnes suivies",
		"status/buildinfo": `"version"`, "query_exemplars": `[]`, "rules": `"groups":[]`, "query?query=masar_kpi_people_followed_total": `"0"`,
		"series?match[]=masar_kpi_people_followed_target": `"masar_kpi_people_followed_target"`,
	} {
		if status, body := asked(t, s, access.Manager, path, nil); status != http.StatusOK || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestCodesHaveNames: a board that joins what codes are called loses no series and
// changes no figure.
func TestCodesHaveNames(t *testing.T) {
	s := analyse(t, season(t).events, "2026-03-02 10:00", 0)
	count := func(query string) string {
		t.Helper()
		status, body := asked(t, s, access.Statistician, "query", url.Values{"query": {query}})
		if status != http.StatusOK || strings.Contains(body, `"result":[]`) {
			t.Fatalf("%s: %d %s", query, status, body)
		}
		return body[strings.LastIndex(body, "["):]
	}
	for _, f := range kpiNames(s.defs) {
		if len(f.by) != 1 || f.variant != "" || len(codeLabels()[f.by[0]]) == 0 || f.kind != ofTotal && f.kind != ofStock {
			continue
		}
		if _, body := asked(t, s, access.Statistician, "query", url.Values{"query": {f.name}}); strings.Contains(body, `"result":[]`) {
			continue // the story has nothing of it
		}
		joined := fmt.Sprintf("%s * on (%s) group_left (fr, ar) masar_code_%s", f.name, f.by[0], f.by[0])
		for _, of := range []string{"sum", "count"} {
			if is, want := count(of+"("+joined+")"), count(of+"("+f.name+")"); is != want {
				t.Errorf("%s of %s: %s, without names %s", of, f.name, is, want)
			}
		}
	}
	if _, body := asked(t, s, access.Statistician, "query", url.Values{"query": {`masar_code_stage{stage="P02"}`}}); !strings.Contains(body, `"fr":"Inscription"`) || !strings.Contains(body, "التسجيل") {
		t.Errorf("the name of P02: %s", body)
	}
}

// TestNamesAreUnique: no two figures have one name.
func TestNamesAreUnique(t *testing.T) {
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range kpiNames(defs) {
		if seen[n.name] {
			t.Errorf("%s is there twice", n.name)
		}
		seen[n.name] = true
	}
}

func FuzzQueries(f *testing.F) {
	story, _, _ := twoYears(f, 10)
	s := analyse(f, story.events[:300], "2026-04-15 12:00", 5)
	today := s.now()
	s.now = func() time.Time { return today }
	f.Add("query", "query=masar_kpi_pathways_opened_total&time=1776250000")
	f.Add("query_range", "query=sum(masar_kpi_people_by_stage_by_stage)&start=1770000000&end=1776250000&step=1d")
	f.Add("label/scheme/values", "match[]=masar_kpi_people_followed_by_scheme_total")
	f.Add("series", "match[]={__name__=~\"masar_kpi_visa.*\"}&start=0&limit=3&as_of=2026-01-01")
	f.Fuzz(func(t *testing.T, path, form string) {
		values, err := url.ParseQuery(form)
		if err != nil || strings.ContainsAny(path, "?# %") || strings.Contains(path, "..") {
			return
		}
		if _, err := url.Parse("http://masar.test/api/v1/" + path); err != nil {
			return
		}
		status, body := asked(t, s, access.Manager, path, values)
		if status == http.StatusInternalServerError || status == http.StatusOK && !json.Valid([]byte(body)) {
			t.Errorf("%s %s: %d %s", path, form, status, body)
		}
	})
}

// BenchmarkQueryRange asks for two years of some 500 series by day: people in each
// stage of each governorate.
func BenchmarkQueryRange(b *testing.B) {
	s := newStory(b)
	r := rand.New(rand.NewPCG(1, 2))
	stages := []string{"P04", "P05", "P06", "P07", "P08", "P09", "P10", "P11", "P12", "P13", "P14", "P15", "P16", "P17", "P18", "P19", "P20", "P21", "P03", "P06b"}
	for n := range 10_000 {
		who := person{fmt.Sprintf("c%d", n), "F", fmt.Sprintf("TN-%d", []int{11, 12, 13, 14, 21, 22, 23, 31, 32, 33, 34, 41, 42, 43, 51, 52, 53, 61, 71, 72, 73, 81, 82, 83}[r.IntN(24)])}
		day, was, since := at(b, "2024-05-01 10:00").AddDate(0, 0, r.IntN(600)), "P02", ""
		since = day.Format("2006-01-02 15:04")
		s.opened(since, fmt.Sprintf("w%d", n), "agri", who)
		for _, to := range stages[:r.IntN(len(stages))] {
			if day = day.AddDate(0, 0, 1+r.IntN(20)); day.After(at(b, "2026-04-14 00:00")) {
				break
			}
			next := day.Format("2006-01-02 15:04")
			s.moved(next, fmt.Sprintf("w%d", n), "agri", who, was, since, to)
			was, since = to, next
		}
	}
	service := analyse(b, s.events, "2026-04-15 12:00", 5)
	b.ReportMetric(float64(len(s.events)), "facts")
	for b.Loop() {
		status, body := asked(b, service, access.Admin, "query_range", url.Values{
			"query": {"masar_kpi_people_by_stage_by_stage_governorate"}, "start": {"2024-04-15T11:00:00Z"}, "end": {"2026-04-15T11:00:00Z"}, "step": {"1d"},
		})
		if status != http.StatusOK {
			b.Fatal(body)
		}
		b.ReportMetric(float64(strings.Count(body, `"metric"`)), "series")
		b.ReportMetric(float64(len(body)), "bytes")
	}
}
