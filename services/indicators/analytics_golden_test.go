package indicators

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime/runtimetest"
)

// season is a small history in agriculture whose analytics are counted by hand.
//
//	p1   P02 01-01, P04 01-11, P07 01-31, exit NON_RETENU_EMPLOYEUR 02-10
//	p2   P02 01-05, P04 01-10, P07 01-20, back to P04 01-25, P07 02-04, P08 02-09
//	p3   P02 01-06, P08 01-16: skips P04 and P07
//	p4   P02 02-01, waits
//	p5   P02 02-02, P04 02-12, waits
//	p1b  the same person as p1 again: P02 02-20, waits
//
// all at 10:00, looked at on 2026-03-02 10:00.
func season(t testing.TB) *story {
	s := newStory(t)
	day := func(d string) string { return "2026-" + d + " 10:00" }
	who := func(n int) person { return person{fmt.Sprintf("c%d", n), []string{"F", "M"}[n%2], "TN-71"} }
	s.opened(day("01-01"), "p1", "agri", who(1))
	s.moved(day("01-11"), "p1", "agri", who(1), "P02", day("01-01"), "P04")
	s.moved(day("01-31"), "p1", "agri", who(1), "P04", day("01-11"), "P07")
	s.exited(day("02-10"), "p1", "agri", who(1), "P07", day("01-31"), "NON_RETENU_EMPLOYEUR")
	s.opened(day("01-05"), "p2", "agri", who(2))
	s.moved(day("01-10"), "p2", "agri", who(2), "P02", day("01-05"), "P04")
	s.moved(day("01-20"), "p2", "agri", who(2), "P04", day("01-10"), "P07")
	s.moved(day("01-25"), "p2", "agri", who(2), "P07", day("01-20"), "P04")
	s.moved(day("02-04"), "p2", "agri", who(2), "P04", day("01-25"), "P07")
	s.moved(day("02-09"), "p2", "agri", who(2), "P07", day("02-04"), "P08")
	s.opened(day("01-06"), "p3", "agri", who(3))
	s.moved(day("01-16"), "p3", "agri", who(3), "P02", day("01-06"), "P08")
	s.opened(day("02-01"), "p4", "agri", who(4))
	s.opened(day("02-02"), "p5", "agri", who(5))
	s.moved(day("02-12"), "p5", "agri", who(5), "P02", day("02-02"), "P04")
	s.opened(day("02-20"), "p1b", "agri", who(1))
	return s
}

// analyse is a service that holds these facts and nothing else.
func analyse(t testing.TB, events []event.Event, now string, smallCell int, budgets ...DelayBudget) *service {
	t.Helper()
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	columns, _ := columnsOf(t, events)
	s := &service{
		defs: defs, dims: Dimensions(), schemes: reference.Schemes(), columns: columns, smallCell: smallCell,
		programme: &Programme{SeasonStarts: "09-01", DelayBudgets: budgets},
		now:       func() time.Time { return at(t, now) }, log: slog.New(slog.DiscardHandler),
	}
	s.facts = newFactStore(nil, columns, s.now, s.log)
	s.facts.ready.Store(true)
	return s
}

func asRole(t testing.TB, role access.Role) context.Context {
	return access.With(t.Context(), as(role))
}

// csvOf is an answer as its table, without the header.
func csvOf(t testing.TB, a tabular, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := a.csv(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\r\n")
	for _, l := range lines {
		if strings.Count(l, ",") != strings.Count(lines[0], ",") {
			t.Errorf("a line of another length than the header:\n%s\n%s", lines[0], l)
		}
	}
	return lines[1:]
}

func sameLines(t testing.TB, what string, got []string, want string) {
	t.Helper()
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(want), "\t", ""), "\n")
	if !slices.Equal(got, lines) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// TestAnalyticsByHand compares every answer with a count made by hand on the story
// above, in whichever order its events come.
func TestAnalyticsByHand(t *testing.T) {
	short, week := 20, 7
	half, most := .5, .9
	budgets := []DelayBudget{
		{Code: "to_contract", LabelFR: "Contrat", LabelAR: "العقد", LabelEN: "Contract", Scheme: "agri", From: "P04", To: "P08", Days: &short, Share: &half, Source: "test"},
		{Code: "first_look", LabelFR: "Présélection", LabelAR: "الانتقاء", LabelEN: "First look", From: "P02", To: "P04", Days: &week, Share: &most, Source: "test"},
		{Code: "visa", LabelFR: "Visa", LabelAR: "التأشيرة", LabelEN: "Visa", From: "P13", To: "P14"},
	}
	events := season(t).events
	backwards := slices.Clone(events)
	slices.Reverse(backwards)
	for name, events := range map[string][]event.Event{"as it happened": events, "backwards": backwards} {
		s := analyse(t, events, "2026-03-02 10:00", 0, budgets...)
		ctx := asRole(t, access.Statistician)

		funnel, err := s.Funnel(ctx, PathwayQuery{})
		lines := csvOf(t, funnel, err)
		sameLines(t, name+": funnel", lines[:6], `
			all,agri,5,P02,false,5,5,0,4,0,2,0,0,,,0.8,1,false
			all,agri,5,P04,false,4,3,1,2,0,1,0,0,,,0.6667,0.6,false
			all,agri,5,P05,true,3,0,0,0,0,0,0,0,,,,0,false
			all,agri,5,P07,false,3,2,1,1,1,0,0,1,,,0.5,0.4,false
			all,agri,5,P07,false,,,,,,,,,NON_RETENU_EMPLOYEUR,1,,,false
			all,agri,5,P08,false,2,2,0,0,0,2,0,0,,,0,0.4,false`)
		if got := fmt.Sprint(funnel.Groups[0].Loops[0].From, funnel.Groups[0].Loops[0].To, *funnel.Groups[0].Loops[0].People, *funnel.Groups[0].Loops[0].Times); got != "P07P041 1" || len(funnel.Groups[0].Loops) != 1 {
			t.Errorf("%s: loops %s", name, got)
		}

		// Cohorts: p1b opened in February, though its person was there in January.
		funnel, err = s.Funnel(ctx, PathwayQuery{Cohort: Month, Sex: []string{"M"}})
		lines = slices.DeleteFunc(csvOf(t, funnel, err), func(l string) bool { return !strings.Contains(l, ",P02,") })
		sameLines(t, name+": funnel of men by month", lines, `
			2026-01,agri,M,2,P02,false,2,2,0,2,0,0,0,0,,,1,1,false
			2026-02,agri,M,2,P02,false,2,2,0,1,0,1,0,0,,,0.5,1,false`)

		// P02 took 10, 5, 10 and 10 days; p4 has waited 29 and p1b 10. At 10 days five
		// are there and three go: 5/6 * 2/5 = 1/3.
		durations, err := s.Durations(ctx, DurationsQuery{At: []int{5, 10, 29, 30}})
		lines = csvOf(t, durations, err)
		sameLines(t, name+": durations of P02", lines[:4], `
			all,agri,5,P02,,5,4,0,2,10,10,10,,5,5,0.8333,0.2731,0.9747,0.1667,0,false
			all,agri,5,P02,,5,4,0,2,10,10,10,,10,1,0.3333,0.0461,0.6756,0.6667,0,false
			all,agri,5,P02,,5,4,0,2,10,10,10,,29,0,0.3333,0.0461,0.6756,0.6667,0,false
			all,agri,5,P02,,5,4,0,2,10,10,10,,30,0,,,,,,false`)
		// From P02 to P08: 10 and 35 days; p1 exited at 40; 29, 28 and 10 days waiting.
		// Kaplan-Meier: 5/6, then 5/6 * 1/2; the exit takes the other half of the 5/6.
		durations, err = s.Durations(ctx, DurationsQuery{FromStage: "P02", ToStage: "P08", At: []int{9, 10, 35, 40, 41}})
		sameLines(t, name+": from P02 to P08", csvOf(t, durations, err), `
			all,agri,5,P02,P08,5,2,1,3,22.5,35,35,,9,6,1,,,0,0,false
			all,agri,5,P02,P08,5,2,1,3,22.5,35,35,,10,4,0.8333,0.2731,0.9747,0.1667,0,false
			all,agri,5,P02,P08,5,2,1,3,22.5,35,35,,35,1,0.4167,0.0112,0.8431,0.5833,0,false
			all,agri,5,P02,P08,5,2,1,3,22.5,35,35,,40,0,0.4167,0.0112,0.8431,0.5833,0.4167,false
			all,agri,5,P02,P08,5,2,1,3,22.5,35,35,,41,0,,,,0.5833,0.4167,false`)

		// Against their own medians: p4 lost 19 days at P02; p1 10 and p5 8 at P04; p1 5
		// at P07, which was 10 before the exit. P08 nobody has left yet. But P02 to P04
		// has a budget of 7 days, and P02 is measured by it: 3 + 3 + 3 + 22 + 3.
		lost, err := s.Bottlenecks(ctx, PathwayQuery{})
		sameLines(t, name+": bottlenecks", csvOf(t, lost, err), `
			1,all,agri,5,P02,Inscription,التسجيل,budget,7,4,34,25,0.5965,2,29,false
			2,all,agri,5,P04,Présélection sur CV,الانتقاء الأولي للملفات,median,10,2,18,8,0.3158,1,18,false
			3,all,agri,5,P07,Entretien avec l'employeur,المقابلة مع المشغّل,median,5,1,5,0,0.0877,0,,false
			,all,agri,5,P08,Promesse d'embauche ou contrat signé,إمضاء وعد بالتشغيل أو العقد,none,,,,,,2,45,false`)

		series, err := (&lostDays{service: s}).now(ctx)
		if err != nil || len(series) != 3 || series[0].days != 34 || series[1].days != 18 || series[2].days != 5 {
			t.Errorf("%s: the metric of days lost is %v, %v", name, series, err)
		}
		careful := analyse(t, events, "2026-03-02 10:00", 5, budgets...)
		if series, err := (&lostDays{service: careful}).now(ctx); err != nil || len(series) != 0 {
			t.Errorf("%s: at most four people were late, but there are series %v, %v", name, series, err)
		}

		conformance, err := s.Conformance(ctx, PathwayQuery{})
		sameLines(t, name+": conformance", csvOf(t, conformance, err), `
			all,agri,1,5,6,5,0.8333,,,,,,,,false
			all,agri,1,5,6,5,0.8333,move,true,P08,P02,1,1,1,false
			all,agri,1,5,6,5,0.8333,skipped,true,P04,,1,1,1,false
			all,agri,1,5,6,5,0.8333,skipped,true,P07,,1,1,1,false
			all,agri,1,5,6,5,0.8333,repeated,false,P04,P07,1,1,1,false
			all,agri,1,5,6,5,0.8333,repeated,false,P07,P04,1,1,1,false`)
		page, err := s.Deviations(ctx, DeviationsQuery{PathwayQuery: PathwayQuery{Cohort: All}, Paging: paging(10)})
		if err != nil || len(page.Items) != 1 || page.Items[0].Pathway != "p3" || len(page.Items[0].Findings) != 3 {
			t.Errorf("%s: deviations %+v, %v", name, page, err)
		}

		// Within 20 days from P04 to P08: p1 and p2 needed 30 and are late since 01-31
		// and 01-30, p5 waits since 18 days. Within 7 days to P04, or past it: p2 was
		// good; p1, p3 and p5 needed 10, p4 waits since 29 and p1b since 10.
		answer, err := s.Budgets(ctx, PathwayQuery{})
		sameLines(t, name+": budgets", csvOf(t, answer, err), `
			to_contract,P04,P08,20,0.5,all,5,3,2,0,2,0,1,0,0,1,-1,,2,2,exhausted,,false
			first_look,P02,P04,7,0.9,all,5,6,6,1,5,2,0,0,0.1667,0.6,-4.4,10,8.3333,8.3333,exhausted,,false
			visa,P13,P14,,,,,,,,,,,,,,,,,,à configurer,,`)
		late, err := s.Late(ctx, LateQuery{PathwayQuery: PathwayQuery{Cohort: All}, Paging: paging(10), Budget: "to_contract"})
		if err != nil || len(late.Items) != 1 || late.Items[0].Pathway != "p5" || late.Items[0].DaysLeft != 2 {
			t.Errorf("%s: late next %+v, %v", name, late, err)
		}
		late, err = s.Late(ctx, LateQuery{PathwayQuery: PathwayQuery{Cohort: All}, Paging: paging(1), Budget: "first_look", Late: true})
		if err != nil || len(late.Items) != 1 || late.Items[0].Pathway != "p4" || late.Items[0].DaysLeft != -22 || late.Next == "" {
			t.Errorf("%s: late %+v, %v", name, late, err)
		}
		more := LateQuery{PathwayQuery: PathwayQuery{Cohort: All}, Paging: paging(5), Budget: "first_look", Late: true}
		more.Cursor = late.Next
		if late, err = s.Late(ctx, more); err != nil || len(late.Items) != 1 || late.Items[0].Pathway != "p1b" || late.Next != "" {
			t.Errorf("%s: later %+v, %v", name, late, err)
		}
	}
}

// TestAnalyticsAsked sends what people would over HTTP, and what they should not.
func TestAnalyticsAsked(t *testing.T) {
	r := newRig(t, nil)
	s := season(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	const base = "/api/indicators/pathways/"
	for path, want := range map[string]int{
		"funnel":      http.StatusOK,
		"durations":   http.StatusOK,
		"bottlenecks": http.StatusOK,
		"conformance": http.StatusOK,
		"budgets":     http.StatusOK,
		"funnel?cohort=month&from=2026-01-15&to=2026-02-01&by=sex,age&governorate=TN-71,TN-11&as_of=2026-03-01T10:00:00Z": http.StatusOK,
		"funnel?format=xml":                                 http.StatusUnprocessableEntity,
		"funnel?cohort=week":                                http.StatusUnprocessableEntity,
		"funnel?by=stage":                                   http.StatusUnprocessableEntity,
		"funnel?by=sex,sex":                                 http.StatusUnprocessableEntity,
		"funnel?from=2026-01-01":                            http.StatusUnprocessableEntity,
		"funnel?cohort=month&from=1999-01-01":               http.StatusUnprocessableEntity,
		"funnel?cohort=month&from=2026-02-01&to=2026-01-01": http.StatusUnprocessableEntity,
		"funnel?sex=X":                                      http.StatusUnprocessableEntity,
		"funnel?as_of=yesterday":                            http.StatusUnprocessableEntity,
		"durations?from_stage=P02":                          http.StatusUnprocessableEntity,
		"durations?from_stage=P02&to_stage=P02":             http.StatusUnprocessableEntity,
		"durations?from_stage=P02&to_stage=P77":             http.StatusUnprocessableEntity,
		"durations?at=-1":                                   http.StatusUnprocessableEntity,
		"durations?at=99999":                                http.StatusUnprocessableEntity,
		"deviations":                                        http.StatusForbidden,
		"late?budget=visa":                                  http.StatusForbidden,
	} {
		if status, _, body := r.get(as(access.Manager), base+path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	for path, want := range map[string]int{
		"deviations":           http.StatusOK,
		"deviations?kind=move": http.StatusOK,
		"deviations?kind=x":    http.StatusUnprocessableEntity,
		"deviations?by=sex":    http.StatusUnprocessableEntity,
		"late":                 http.StatusUnprocessableEntity,
		"late?budget=visa":     http.StatusNotFound,
	} {
		if status, _, body := r.get(as(access.Statistician), base+path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	status, header, body := r.get(as(access.Manager), base+"durations?format=csv")
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/csv") || !strings.HasPrefix(body, "cohort,scheme,") {
		t.Errorf("%d %s %s", status, header.Get("Content-Type"), body)
	}
	// Scope: a counsellor of another governorate sees nothing of it.
	elsewhere := as(access.Statistician)
	elsewhere.Governorates = []string{"TN-11"}
	if f := ask[Funnel](r, elsewhere, base+"funnel"); len(f.Groups) != 0 || len(f.Scope["governorate"]) != 1 {
		t.Errorf("%+v", f)
	}
	if p := ask[struct{ Items []DeviatingPathway }](r, elsewhere, base+"deviations"); len(p.Items) != 0 {
		t.Errorf("%+v", p)
	}
}

// TestBudgetMetrics: a configured budget is two numbers on a scrape.
func TestBudgetMetrics(t *testing.T) {
	file := t.TempDir() + "/programme.yaml"
	write(t, file, strings.Replace(string(defaultProgramme), "delay_budgets: []", `delay_budgets:
  - {code: look, label_fr: a, label_ar: b, label_en: c, scheme: "", from: P02, to: P04, days: 7, share: 0.5, source: test}
  - {code: visa, label_fr: a, label_ar: b, label_en: c, scheme: "", from: P13, to: P14, days: null, share: null, source: ""}`, 1))
	r := newRig(t, map[string]string{"MASAR_PROGRAMME": file})
	s := season(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	// One good of six, half may be late: 3 - 5 of 3.
	runtimetest.Eventually(t, "the budget is scraped", func() bool {
		lines := scrape(r)
		return slices.Contains(lines, `masar_kpi_delay_budget_remaining{budget="look"} -0.6666666666666666`) &&
			slices.Contains(lines, `masar_kpi_delay_budget_burn_rate{budget="look",window="90d"} 2`)
	})
	for _, l := range scrape(r) {
		if strings.Contains(l, "delay_budget") && strings.Contains(l, `budget="visa"`) {
			t.Error(l)
		}
	}
}

func paging(limit int) (p api.Paging) {
	p.Limit = limit
	return p
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnalyticsOfNobody: no pathways at all, and pathways that all wait.
func TestAnalyticsOfNobody(t *testing.T) {
	days, part := 30, .9
	budget := DelayBudget{Code: "look", LabelFR: "a", LabelAR: "b", LabelEN: "c", From: "P02", To: "P04", Days: &days, Share: &part, Source: "test"}
	waiting := newStory(t)
	for i := range 7 {
		waiting.opened(fmt.Sprintf("2026-02-0%d 10:00", i+1), fmt.Sprintf("p%d", i), "soin", person{fmt.Sprintf("c%d", i), "F", "TN-71"})
	}
	for name, events := range map[string][]event.Event{"nobody": nil, "everybody waits": waiting.events} {
		for _, smallCell := range []int{0, 5} {
			s := analyse(t, events, "2026-02-20 10:00", smallCell, budget)
			ctx := asRole(t, access.Manager)
			q := PathwayQuery{Cohort: Month, By: []string{"sex"}}
			funnel, err := s.Funnel(ctx, q)
			csvOf(t, funnel, err)
			durations, err := s.Durations(ctx, DurationsQuery{PathwayQuery: q})
			csvOf(t, durations, err)
			lost, err := s.Bottlenecks(ctx, q)
			csvOf(t, lost, err)
			conformance, err := s.Conformance(ctx, q)
			csvOf(t, conformance, err)
			budgets, err := s.Budgets(ctx, q)
			csvOf(t, budgets, err)
			if len(events) == 0 {
				if len(funnel.Groups)+len(durations.Groups)+len(lost.Stages)+len(conformance.Groups)+len(budgets.Budgets[0].Groups) != 0 || *lost.LostDays != 0 {
					t.Errorf("%s: %+v", name, funnel)
				}
				continue
			}
			d := durations.Groups[0].Durations
			if len(d) != 1 || *d[0].Waiting != 7 || d[0].MedianDays != nil || d[0].Estimate.MedianDays != nil || *conformance.Groups[0].Conforming != 7 {
				t.Errorf("%s, %d: %+v", name, smallCell, d)
			}
			b := budgets.Budgets[0].Groups[0]
			if *b.Pending != 7 || b.State != budgetUnknown || b.Attained != nil || b.RemainingShare != nil {
				t.Errorf("%s, %d: %+v", name, smallCell, b)
			}
		}
	}
}

// TestAnalyticsAsKnownThen: a date that was corrected counts as it was known.
func TestAnalyticsAsKnownThen(t *testing.T) {
	s := analyse(t, nil, "2026-03-01 10:00", 0)
	day := func(d string) time.Time { return at(t, "2026-"+d+" 10:00").UTC() }
	codes := Codes{Scheme: "agri", SchemeVersion: "1", Stage: "P02"}
	opened := Fact{ID: "1", Kind: PathwayOpened, Subject: "p", Person: "c", Seq: 1, OccurredAt: day("01-01"), RecordedAt: day("01-01"), Codes: codes}
	codes.FromStage, codes.Stage = "P02", "P04"
	moved := Fact{ID: "2", Kind: StageEntered, Subject: "p", Person: "c", Seq: 2, OccurredAt: day("01-11"), RecordedAt: day("01-11"), Codes: codes}
	corrected := moved
	corrected.ID, corrected.Supersedes, corrected.OccurredAt, corrected.RecordedAt = "3", "2", day("01-06"), day("02-20")
	for _, f := range []Fact{corrected, opened, moved} {
		s.columns.Add(f)
	}
	for asOf, want := range map[string]string{"": "5", "2026-02-19": "10", "2026-02-20": "5", "2026-01-05": "", "2030-01-01": "5"} {
		d, err := s.Durations(asRole(t, access.Statistician), DurationsQuery{PathwayQuery: PathwayQuery{Cohort: All, AsOf: asOf}})
		if err != nil {
			t.Fatal(err)
		}
		if got := number(d.Groups[0].Durations[0].MedianDays); got != want {
			t.Errorf("as of %q: %q days at P02, want %q", asOf, got, want)
		}
	}
}

// TestBurnRate counts a budget by hand: half may be late after ten days. Eight were
// in time four months ago; in the last ninety days two were in time and six were not,
// all six in the last thirty.
func TestBurnRate(t *testing.T) {
	s := newStory(t)
	n := 0
	add := func(opened string, stay int) {
		n++
		p, who := fmt.Sprintf("p%02d", n), person{fmt.Sprintf("c%02d", n), "F", "TN-71"}
		s.opened(opened+" 10:00", p, "agri", who)
		if stay > 0 {
			at := at(t, opened+" 10:00").AddDate(0, 0, stay).Format("2006-01-02 15:04")
			s.moved(at, p, "agri", who, "P02", opened+" 10:00", "P04")
		}
	}
	for range 8 {
		add("2026-01-01", 5) // decided on 6 January
	}
	for range 2 {
		add("2026-03-20", 10) // on the very day, 30 March
	}
	for range 5 {
		add("2026-04-20", 0) // late since 30 April, waiting still
	}
	add("2026-04-20", 12) // late, and there since
	add("2026-05-15", 0)  // still has time
	days, half := 10, .5
	budget := DelayBudget{Code: "look", LabelFR: "a", LabelAR: "b", LabelEN: "c", From: "P02", To: "P04", Days: &days, Share: &half, Source: "test"}
	svc := analyse(t, s.events, "2026-05-20 10:00", 0, budget)
	answer, err := svc.Budgets(asRole(t, access.Statistician), PathwayQuery{})
	sameLines(t, "budget", csvOf(t, answer, err), `look,P02,P04,10,0.5,all,17,17,16,10,6,5,1,0,0.625,8,2,2,1.5,0.75,alert,2026-08-18,false`)
	// Two are left; in ninety days six were spent and four earned: ninety days more.
	g := answer.Budgets[0].Groups[0]
	if *g.RemainingShare != .25 || *g.Windows[0].Decided != 6 || *g.Windows[1].Decided != 8 || *g.Windows[2].Decided != 16 {
		t.Errorf("%+v", g)
	}
	// A hidden reader is not told of one who is late, but of enough.
	svc.smallCell = 5
	answer, err = svc.Budgets(asRole(t, access.Manager), PathwayQuery{})
	g = answer.Budgets[0].Groups[0]
	if err != nil || g.Pending != nil || g.State != budgetAlert {
		t.Errorf("%+v %v", g, err)
	}
}
