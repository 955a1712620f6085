package indicators

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// TestFromTopicToFigure publishes the story of golden_test.go, everything twice,
// and reads the figures over HTTP, then again after a restart.
func TestFromTopicToFigure(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.publish(s.events...)
	n := len(s.events)
	r.folded(n)

	check := func() {
		t.Helper()
		for path, want := range map[string]string{
			"code=people_followed":                                         "all 3",
			"code=people_followed&grain=month":                             "2026-01 2; 2026-02 1; 2026-03 1; 2026-04 0",
			"code=people_by_stage&by=stage,scheme":                         "all soin P04 1; all agri P16 1",
			"code=people_placed&grain=month&by=scheme":                     "2026-03 agri 1",
			"code=stage_days&by=stage":                                     "all P02 15; all P04 36.75; all P19 2",
			"code=posts_open&grain=month":                                  "2026-01 3; 2026-02 11; 2026-03 8; 2026-04 8",
			"code=offers_open":                                             "all 1",
			"code=pathways_exited&by=exit":                                 "all DESISTEMENT 1",
			"code=people_followed&grain=day&from=2026-02-01&to=2026-02-01": "2026-02-01 1",
		} {
			got := strings.Join(text(ask[Series](r, as(access.Statistician), "/api/indicators/values?"+path).Rows), "; ")
			if got != want {
				t.Errorf("%s:\n got %s\nwant %s", path, got, want)
			}
		}
		v := ask[Verification](r, as(access.Operator), "/api/indicators/verify")
		if !v.Clean || v.Facts != n || v.Served != n || v.Queries < 100 {
			t.Errorf("verify: %+v", v)
		}
		lines := strings.Count(facts(r, as(access.Statistician), ""), "\n")
		if lines != n {
			t.Errorf("%d facts are stored, want %d", lines, n)
		}
	}
	check()
	r.stop()
	r.start()
	check()

	f := ask[Freshness](r, as(access.Manager), "/api/indicators/freshness")
	if !f.Loaded || f.Facts != n || len(f.Sources) != 4 {
		t.Fatalf("freshness: %+v", f)
	}
	c := f.Sources[0]
	if c.Topic != event.TopicCandidates || !c.LastOccurred.Equal(at(t, "2026-05-02 12:00")) || !c.LastRecorded.Equal(at(t, "2026-05-02 12:01")) {
		t.Errorf("freshness of candidates: %+v", c)
	}
	runtimetest.Eventually(t, "nothing waits in the topics", func() bool {
		for _, s := range ask[Freshness](r, as(access.Manager), "/api/indicators/freshness").Sources {
			if s.LagMessages == nil || *s.LagMessages != 0 {
				return false
			}
		}
		return true
	})
}

func facts(r *rig, p access.Principal, query string) string {
	r.t.Helper()
	status, header, body := r.get(p, "/api/indicators/facts"+query)
	if status != http.StatusOK || header.Get("Content-Type") != "application/x-ndjson" {
		r.t.Fatalf("facts: %d %s %s", status, header.Get("Content-Type"), body)
	}
	return body
}

// TestFactsArePagedAndHoldNothingPersonal reads the facts page by page.
func TestFactsArePagedAndHoldNothingPersonal(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	var ids []string
	for after := ""; ; {
		body := facts(r, as(access.Admin), "?limit=7&after="+after)
		if body == "" {
			break
		}
		for line := range strings.Lines(body) {
			var f Fact
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			ids, after = append(ids, f.ID), f.ID
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != len(s.events) {
		t.Errorf("%d facts by page, want %d, sorted", len(ids), len(s.events))
	}

	// The documents have only the fields that are named here.
	allowed := []string{
		"id", "kind", "subject", "person", "offer", "seq", "occurred_at", "recorded_at", "codes", "terms", "stay_seconds",
		"scheme", "scheme_version", "sector", "governorate", "sex", "age", "stage", "from_stage", "placement", "exit", "decision",
		"reason", "actor", "status", "region", "rome", "contract", "template", "language", "channel", "posts", "filled",
	}
	var walk func(v map[string]any)
	walk = func(v map[string]any) {
		for name, inner := range v {
			if !slices.Contains(allowed, name) {
				t.Errorf("a fact has the field %q", name)
			}
			if m, ok := inner.(map[string]any); ok {
				walk(m)
			}
		}
	}
	for line := range strings.Lines(facts(r, as(access.Admin), "")) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		walk(v)
	}
}

// TestWhoMayAskWhat goes through every role and route.
func TestWhoMayAskWhat(t *testing.T) {
	r := newRig(t, nil)
	read := []string{"/api/indicators/indicators", "/api/indicators/values?code=people_followed", "/api/indicators/summary", "/api/indicators/freshness"}
	detail := []string{"/api/indicators/facts", "/api/indicators/verify"}
	for _, role := range append(access.Roles(), "") {
		p := as(role)
		for _, paths := range []struct {
			list       []string
			permission access.Permission
		}{{read, access.IndicatorsRead}, {detail, access.IndicatorsFacts}} {
			for _, path := range paths.list {
				want := http.StatusForbidden
				switch {
				case role == "":
					want = http.StatusUnauthorized
				case p.Can(paths.permission):
					want = http.StatusOK
				}
				if status, _, body := r.get(p, path); status != want {
					t.Errorf("GET %s as %q: %d, want %d: %s", path, role, status, want, body)
				}
			}
		}
	}
	scoped := as(access.Statistician)
	scoped.Governorates = []string{"TN-71"}
	if status, _, _ := r.get(scoped, "/api/indicators/verify"); status != http.StatusForbidden {
		t.Errorf("verify with a scope: %d, want 403", status)
	}
}

// TestScope shows that a principal's figures and facts are of its scope.
func TestScope(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))

	gafsa := as(access.Statistician)
	gafsa.Governorates = []string{"TN-71"}
	series := ask[Series](r, gafsa, "/api/indicators/values?code=people_followed&by=governorate")
	if got := strings.Join(text(series.Rows), "; "); got != "all TN-71 2" || strings.Join(text(series.Totals), "; ") != "all 2" {
		t.Errorf("people of TN-71: %s, total %v", got, text(series.Totals))
	}
	if got := series.Scope["governorate"]; !slices.Equal(got, []string{"TN-71"}) {
		t.Errorf("the scope is not told: %v", series.Scope)
	}
	if body := facts(r, gafsa, ""); strings.Contains(body, "TN-11") || !strings.Contains(body, "TN-71") {
		t.Errorf("facts outside of the scope")
	}
	care := as(access.Statistician)
	care.Schemes = []string{"soin"}
	if got := strings.Join(text(ask[Series](r, care, "/api/indicators/values?code=posts_open").Rows), "; "); got != "all 8" {
		t.Errorf("posts of soin: %s", got)
	}
	// A part of the country is a cell: hidden from a counsellor when it is small.
	counsellor := as(access.Counsellor)
	counsellor.Governorates = []string{"TN-71"}
	if got := strings.Join(text(ask[Series](r, counsellor, "/api/indicators/values?code=people_followed").Rows), "; "); got != "all -" {
		t.Errorf("people of TN-71 for a counsellor: %s", got)
	}
}

// crowd opens pathways: so many women and men in each governorate.
func crowd(t testing.TB, counts map[string][2]int) *story {
	s := newStory(t)
	for _, g := range slices.Sorted(func(yield func(string) bool) {
		for g := range counts {
			if !yield(g) {
				return
			}
		}
	}) {
		for i, sex := range []string{"F", "M"} {
			for n := range counts[g][i] {
				id := fmt.Sprintf("%s-%s-%d", g, sex, n)
				s.opened("2026-02-01 10:00", "p-"+id, "agri", person{id, sex, g})
			}
		}
	}
	return s
}

// TestSmallCells shows what a manager sees of small groups, and what a
// statistician does.
func TestSmallCells(t *testing.T) {
	r := newRig(t, nil)
	s := crowd(t, map[string][2]int{"TN-11": {9, 20}, "TN-12": {7, 6}, "TN-71": {3, 12}})
	r.publish(s.events...)
	r.folded(len(s.events))
	for _, test := range []struct {
		role       access.Role
		path, want string
	}{
		// Three women in TN-71: hidden, with the men of TN-71 and the women of
		// TN-12, from whom they could be worked out, and therefore the men of TN-12.
		{access.Manager, "by=governorate,sex", "all TN-11 F 9; all TN-11 M 20; all TN-12 F -; all TN-12 M -; all TN-71 F -; all TN-71 M -"},
		{access.Manager, "by=governorate", "all TN-11 29; all TN-12 13; all TN-71 15"},
		{access.Statistician, "by=governorate,sex", "all TN-11 F 9; all TN-11 M 20; all TN-12 F 7; all TN-12 M 6; all TN-71 F 3; all TN-71 M 12"},
		{access.Manager, "", "all 57"},
	} {
		series := ask[Series](r, as(test.role), "/api/indicators/values?code=people_followed&"+test.path)
		if got := strings.Join(text(series.Rows), "; "); got != test.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", test.role, test.path, got, test.want)
		}
		if test.path != "" && strings.Join(text(series.Totals), "") != "all 57" {
			t.Errorf("%s: the total is %v", test.role, text(series.Totals))
		}
	}
	_, _, body := r.get(as(access.Manager), "/api/indicators/values?code=people_followed&by=governorate,sex")
	if !strings.Contains(body, `"value":null,"suppressed":true`) {
		t.Errorf("a hidden cell is not marked: %s", body)
	}
	metrics := scrape(r)
	for _, want := range []string{
		`masar_kpi_people_followed_by_governorate{governorate="TN-71"} 15`,
		`masar_kpi_people_followed_by_sex{sex="F"} 19`,
	} {
		if !slices.Contains(metrics, want) {
			t.Errorf("no line %s", want)
		}
	}
}

// TestCSV reads the CSV with an ordinary reader.
func TestCSV(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	s.add("2026-04-01 08:00", "m9", messageWith("=cmd"))
	r.publish(s.events...)
	r.folded(len(s.events))
	status, header, body := r.get(as(access.Statistician), "/api/indicators/values?code=people_followed&grain=month&by=scheme,sex&format=csv")
	if status != http.StatusOK || header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" {
		t.Fatalf("%d %s", status, header.Get("Content-Type"))
	}
	want := "indicator,unit,period,scheme,sex,value,suppressed,scheme_label_fr,scheme_label_ar,sex_label_fr,sex_label_ar,definition_version,as_of\r\n" +
		"people_followed,people,2026-01,agri,F,1,false,Travail saisonnier agricole,العمل الفلاحي الموسمي,Femmes,إناث,1,\r\n" +
		"people_followed,people,2026-01,agri,M,1,false,Travail saisonnier agricole,العمل الفلاحي الموسمي,Hommes,ذكور,1,\r\n" +
		"people_followed,people,2026-02,soin,F,1,false,Soin et accompagnement,الرعاية والمرافقة,Femmes,إناث,1,\r\n" +
		"people_followed,people,2026-03,soin,F,1,false,Soin et accompagnement,الرعاية والمرافقة,Femmes,إناث,1,\r\n"
	if body != want {
		t.Errorf("got\n%q\nwant\n%q", body, want)
	}
	_, _, body = r.get(as(access.Manager), "/api/indicators/values?code=stage_days&by=stage&format=csv")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rows[1], "|"); got != "stage_days|days|all|P02||true|||Inscription|التسجيل|1|" {
		t.Errorf("a hidden median: %s", got)
	}
	_, _, body = r.get(as(access.Statistician), "/api/indicators/values?code=messages_sent&by=template&format=csv")
	if strings.Contains(body, "=cmd") {
		t.Errorf("a formula in the CSV: %s", body)
	}
	for in, want := range map[string]string{"=1+1": "'=1+1", "+a": "'+a", "-a": "'-a", "@a": "'@a", "\ta": "'\ta", "": "", "TN-71": "TN-71"} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestWrongQuestions shows that a mistake is answered with what there is.
func TestWrongQuestions(t *testing.T) {
	r := newRig(t, nil)
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/api/indicators/values?code=people":                                        {404, "people_by_stage"},
		"/api/indicators/values":                                                    {422, "people_by_stage"},
		"/api/indicators/values?code=people_followed&by=stage":                      {422, "scheme, sector, governorate, sex, age"},
		"/api/indicators/values?code=people_followed&by=sex,sex":                    {422, "twice"},
		"/api/indicators/values?code=people_followed&grain=week":                    {422, "day, month, quarter"},
		"/api/indicators/values?code=people_followed&from=2026-02-30":               {422, "date of the calendar"},
		"/api/indicators/values?code=people_followed&from=2026-02-02&to=2026-02-01": {422, "not before from"},
		"/api/indicators/values?code=people_followed&from=1999-01-01":               {422, "2000"},
		"/api/indicators/values?code=people_followed&grain=day&from=2001-01-01":     {422, "too many"},
		"/api/indicators/values?code=people_followed&format=xls":                    {422, "json, csv, xlsx"},
		"/api/indicators/values?code=people_followed&colour=red":                    {422, "unknown parameter"},
		"/api/indicators/values?code=people_followed&as_of=yesterday":               {422, "2026-03-31"},
		"/api/indicators/values?code=people_followed&as_of=1999-12-31":              {422, "as_of"},
		"/api/indicators/values?code=people_followed&format=xlsx&lang=de":           {422, "fr or ar"},
		"/api/indicators/facts?limit=-1":                                            {422, "from 0"},
		"/api/indicators/nothing":                                                   {404, "nothing at this address"},
	} {
		status, header, body := r.get(as(access.Admin), path)
		if status != want.status || !strings.Contains(body, want.text) || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("GET %s: %d %s\nwant %d and %q", path, status, body, want.status, want.text)
		}
	}
}

// TestWhatCannotBeCounted goes to the dead letters, with its bytes and the
// reason, and what follows is counted.
func TestWhatCannotBeCounted(t *testing.T) {
	r := newRig(t, nil)
	s := newStory(t)
	amel := person{"amel", "F", "TN-71"}
	s.add("2026-01-01 10:00", "x1", &candidatesv1.PathwayOpened{Scheme: "agri", Stage: "P02"})
	s.opened("2026-01-01 10:00", "pa", "agri", amel)
	ancient := s.events[1]
	ancient.ID, ancient.OccurredAt = "ancient", time.Date(1026, 1, 1, 0, 0, 0, 0, time.UTC)
	junk := bus.Message{Topic: event.TopicCandidates, Key: []byte("k"), Value: []byte("not an event")}
	if err := r.bus.Publish(t.Context(), junk); err != nil {
		t.Fatal(err)
	}
	r.publish(s.events[0], ancient, s.events[1])
	r.folded(1)

	letters := make(chan bus.Message, 10)
	go func() {
		_ = r.bus.Consume(t.Context(), bus.Consumer{Group: "reader", Topics: []string{Group + ".dlq"}, Handle: func(_ context.Context, m bus.Message) error {
			letters <- m
			return nil
		}})
	}()
	var reasons []string
	deadline := time.After(30 * time.Second)
	for range 3 {
		select {
		case m := <-letters:
			reason, _ := m.Header("dlq_reason")
			reasons = append(reasons, string(reason))
		case <-deadline:
			t.Fatalf("dead letters: %q", reasons)
		}
	}
	all := strings.Join(reasons, "\n")
	for _, want := range []string{"ce_specversion", "names no candidate", "year 1026"} {
		if !strings.Contains(all, want) {
			t.Errorf("no dead letter says %q:\n%s", want, all)
		}
	}
	if n := r.service.columns.Len(); n != 1 {
		t.Errorf("%d facts, want 1", n)
	}
}

// TestSummary is what the front page shows.
func TestSummary(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	sum := ask[Summary](r, as(access.Manager), "/api/indicators/summary")
	var got []string
	for _, f := range sum.Figures {
		line := f.Code + " " + number(f.Value)
		if f.Target != nil {
			line += " of " + number(f.Target)
		}
		if f.LabelAR == "" || f.LabelFR == "" {
			t.Errorf("%s has no label", f.Code)
		}
		got = append(got, line)
	}
	want := "people_followed 3 of 2500; people_registered 3; people_placed 1; people_by_stage 2; offers_open 1; posts_open 8"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, "; "), want)
	}
}
