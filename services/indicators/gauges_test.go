package indicators

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

func messageWith(template string) *notificationsv1.MessageSent {
	return &notificationsv1.MessageSent{CandidateId: "amel", Template: template, Language: "ar", Channel: "mailbox"}
}

// scopeLabels are what the exporter adds to every series.
var scopeLabels = regexp.MustCompile(`(otel_scope_\w+="[^"]*",?)+`)

// scrape reads /metrics and gives the lines of the indicators, without the labels
// that the exporter adds.
func scrape(r *rig) (lines []string) {
	r.t.Helper()
	res, err := http.Get(r.base + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "masar_kpi_") {
			line = scopeLabels.ReplaceAllString(strings.TrimSpace(line), "")
			lines = append(lines, strings.ReplaceAll(strings.ReplaceAll(line, "{}", ""), ",}", "}"))
		}
	}
	return lines
}

// TestGaugesByHand compares a real scrape with a count by hand of the story of
// golden_test.go: all of it, so that nothing more is there than that.
func TestGaugesByHand(t *testing.T) {
	r := newRig(t, map[string]string{"MASAR_SMALL_CELL": "0"})
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	want := strings.Fields(strings.ReplaceAll(`
masar_kpi_decisions=3
masar_kpi_decisions_by_decision{decision="hired"}=1
masar_kpi_decisions_by_decision{decision="shortlisted"}=2
masar_kpi_messages_sent=1
masar_kpi_messages_sent_by_language{language="ar"}=1
masar_kpi_offers_open=1
masar_kpi_offers_open_by_region{region="76"}=1
masar_kpi_offers_open_by_scheme{scheme="soin"}=1
masar_kpi_offers_open_by_sector{sector="soin"}=1
masar_kpi_offers_received=3
masar_kpi_offers_received_by_scheme{scheme="agri"}=1
masar_kpi_offers_received_by_scheme{scheme="soin"}=1
masar_kpi_offers_received_by_scheme{scheme="unknown"}=1
masar_kpi_offers_received_by_sector{sector="agriculture"}=1
masar_kpi_offers_received_by_sector{sector="autre"}=1
masar_kpi_offers_received_by_sector{sector="soin"}=1
masar_kpi_pathways_exited=1
masar_kpi_pathways_exited_by_exit{exit="DESISTEMENT"}=1
masar_kpi_pathways_exited_by_scheme{scheme="agri"}=1
masar_kpi_pathways_exited_by_stage{stage="P04"}=1
masar_kpi_people_by_stage=2
masar_kpi_people_by_stage_by_governorate{governorate="TN-71"}=2
masar_kpi_people_by_stage_by_scheme_stage{scheme="agri",stage="P16"}=1
masar_kpi_people_by_stage_by_scheme_stage{scheme="soin",stage="P04"}=1
masar_kpi_people_by_stage_by_sex{sex="F"}=1
masar_kpi_people_by_stage_by_sex{sex="M"}=1
masar_kpi_people_by_stage_by_stage{stage="P04"}=1
masar_kpi_people_by_stage_by_stage{stage="P16"}=1
masar_kpi_people_followed=3
masar_kpi_people_followed_by_governorate{governorate="TN-11"}=1
masar_kpi_people_followed_by_governorate{governorate="TN-71"}=2
masar_kpi_people_followed_by_scheme{scheme="agri"}=2
masar_kpi_people_followed_by_scheme{scheme="soin"}=2
masar_kpi_people_followed_by_sector{sector="agriculture"}=2
masar_kpi_people_followed_by_sector{sector="soin"}=2
masar_kpi_people_followed_by_sex{sex="F"}=2
masar_kpi_people_followed_by_sex{sex="M"}=1
masar_kpi_people_followed_target=2500
masar_kpi_people_placed=1
masar_kpi_people_placed_by_governorate{governorate="TN-71"}=1
masar_kpi_people_placed_by_scheme{scheme="agri"}=1
masar_kpi_people_placed_by_sector{sector="agriculture"}=1
masar_kpi_people_placed_by_sex{sex="M"}=1
masar_kpi_people_registered=3
masar_kpi_people_registered_by_governorate{governorate="TN-11"}=1
masar_kpi_people_registered_by_governorate{governorate="TN-71"}=2
masar_kpi_people_registered_by_sex{sex="F"}=2
masar_kpi_people_registered_by_sex{sex="M"}=1
masar_kpi_posts_filled=2
masar_kpi_posts_filled_by_scheme{scheme="agri"}=2
masar_kpi_posts_filled_by_sector{sector="agriculture"}=2
masar_kpi_posts_offered=14
masar_kpi_posts_offered_by_scheme{scheme="agri"}=3
masar_kpi_posts_offered_by_scheme{scheme="soin"}=10
masar_kpi_posts_offered_by_scheme{scheme="unknown"}=1
masar_kpi_posts_offered_by_sector{sector="agriculture"}=3
masar_kpi_posts_offered_by_sector{sector="autre"}=1
masar_kpi_posts_offered_by_sector{sector="soin"}=10
masar_kpi_posts_open=8
masar_kpi_posts_open_by_region{region="76"}=8
masar_kpi_posts_open_by_scheme{scheme="soin"}=8
masar_kpi_posts_open_by_sector{sector="soin"}=8
masar_kpi_posts_released=0
masar_kpi_refusals=0
masar_kpi_stage_days=20
masar_kpi_stage_days_by_scheme_stage{scheme="agri",stage="P02"}=10
masar_kpi_stage_days_by_scheme_stage{scheme="agri",stage="P04"}=36.75
masar_kpi_stage_days_by_scheme_stage{scheme="soin",stage="P02"}=40
masar_kpi_stage_days_by_scheme_stage{scheme="soin",stage="P19"}=2
masar_kpi_stage_days_by_stage{stage="P02"}=15
masar_kpi_stage_days_by_stage{stage="P04"}=36.75
masar_kpi_stage_days_by_stage{stage="P19"}=2
masar_kpi_campaigns_completed=0
masar_kpi_contracts_signed=0
masar_kpi_departures_per_preselected=0
masar_kpi_employers_active=1
masar_kpi_employers_engaged=0
masar_kpi_employers_engaged_by_scheme{scheme="agri"}=0
masar_kpi_employers_engaged_by_scheme{scheme="soin"}=0
masar_kpi_employers_engaged_by_scheme{scheme="unknown"}=0
masar_kpi_employers_hiring=0
masar_kpi_employers_registered=1
masar_kpi_fill_rate=0.5
masar_kpi_fill_rate_by_scheme{scheme="agri"}=0.6666666666666666
masar_kpi_fill_rate_by_scheme{scheme="unknown"}=0
masar_kpi_followed_per_registered=1
masar_kpi_hired_per_shortlisted=0.5
masar_kpi_message_failure_rate=0.5
masar_kpi_messages_failed=1
masar_kpi_messages_failed_by_failure{failure="no_contact"}=1
masar_kpi_offers_closed=2
masar_kpi_offers_closed_by_closing{closing="expired"}=1
masar_kpi_offers_closed_by_closing{closing="withdrawn"}=1
masar_kpi_pathways_completed=1
masar_kpi_pathways_opened=4
masar_kpi_people_arrived=1
masar_kpi_people_arrived_by_scheme{scheme="agri"}=1
masar_kpi_people_departing=0
masar_kpi_people_hired=1
masar_kpi_people_in_training=0
masar_kpi_people_rehired=0
masar_kpi_people_returned=0
masar_kpi_people_shortlisted=2
masar_kpi_people_tested=0
masar_kpi_placed_per_followed=0.3333333333333333
masar_kpi_rehire_rate=0
masar_kpi_stage_entries=9
masar_kpi_visas_granted=0
masar_kpi_work_permits_granted=0
`, " ", ""))
	runtimetest.Eventually(t, "the scrape has come to the last fact", func() bool {
		return slices.Contains(scrape(r), "masar_kpi_people_followed 3") && slices.Contains(scrape(r), "masar_kpi_messages_sent 1")
	})
	got := scrape(r)
	for i := range got {
		got[i] = strings.Replace(got[i], " ", "=", 1)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		for _, line := range got {
			if !slices.Contains(want, line) {
				t.Errorf("more than the count by hand: %s", line)
			}
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("missing: %s", line)
			}
		}
	}
}

// TestNumberOfSeriesIsBounded sends codes that nobody has heard of: the number of
// series stays within what the definitions say.
func TestNumberOfSeriesIsBounded(t *testing.T) {
	r := newRig(t, map[string]string{"MASAR_SMALL_CELL": "0"})
	bound := seriesBound(r.service.defs, r.service.dims)
	if bound > 1000 {
		t.Errorf("the definitions may make %d series, want at most 1000", bound)
	}
	s := newStory(t)
	for i := range 300 {
		id := fmt.Sprintf("n%d", i)
		s.add("2026-01-01 10:00", "c"+id, &candidatesv1.CandidateRegistered{Profile: &candidatesv1.Profile{Sex: id, Governorate: "TN-" + id}})
		s.add("2026-01-02 10:00", id, &candidatesv1.PathwayOpened{
			CandidateId: "c" + id, Scheme: id, Stage: "Q" + id, Person: &candidatesv1.Person{Sex: id, Governorate: id},
		})
		s.add("2026-01-03 10:00", id, &candidatesv1.PathwayExited{CandidateId: "c" + id, Scheme: id, Stage: "Q" + id, Exit: "X" + id})
	}
	r.publish(s.events...)
	r.folded(len(s.events))
	lines := scrape(r)
	if len(lines) > bound {
		t.Errorf("%d series, bound %d", len(lines), bound)
	}
	if !slices.Contains(lines, `masar_kpi_people_followed_by_scheme{scheme="other"} 300`) {
		t.Errorf("unheard-of codes are not counted as other: %v", lines)
	}
}

// TestNothingIsServedBeforeItIsLoaded: a figure that is too low is worse than
// none.
func TestNothingIsServedBeforeItIsLoaded(t *testing.T) {
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	columns := NewColumns(Dimensions(), defs)
	s := &service{defs: defs, dims: Dimensions(), columns: columns, facts: &factStore{columns: columns}}
	if got, err := (&publisher{service: s}).now(); len(got) > 0 || err != nil {
		t.Errorf("%d series, %v", len(got), err)
	}
	if _, err := s.Values(t.Context(), ValuesQuery{Code: "people_followed"}); err == nil {
		t.Error("values are served")
	}
	if _, err := s.Summary(t.Context()); err == nil {
		t.Error("the summary is served")
	}
}

// TestMilestonesAreMetrics: what the programme's settings want reached is a series
// beside the figure, and counted in the bound.
func TestMilestonesAreMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "programme.yaml")
	settings := strings.Replace(string(defaultProgramme), "indicators: {}", `indicators:
  people_placed:
    target: {value: 40, source: made up for this test}
    milestones:
      - {date: "2026-03-31", value: 10, source: made up for this test}
      - {date: "2026-12-31", value: 25, source: made up for this test}`, 1)
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := newRig(t, nil)
	r := newRig(t, map[string]string{"MASAR_PROGRAMME": path})
	runtimetest.Eventually(t, "the milestones are scraped", func() bool {
		got := scrape(r)
		return slices.Contains(got, `masar_kpi_people_placed_milestone{date="2026-03-31"} 10`) &&
			slices.Contains(got, `masar_kpi_people_placed_milestone{date="2026-12-31"} 25`) &&
			slices.Contains(got, `masar_kpi_behind_milestone{indicator="people_placed"} 10`) && slices.Contains(got, "masar_kpi_people_placed_target 40")
	})
	for code, want := range map[string]bool{"people_placed": true, "visa_refusal_rate": false, "stage_days": false} {
		d, _ := r.service.defs.Get(code)
		with := *d
		with.Milestones = []Milestone{{Date: "2026-03-31", Value: 1}}
		if _, is := with.due("2026-04-01"); is != want {
			t.Errorf("%s falls behind a milestone: %v, want %v", code, is, want)
		}
		if _, early := with.due("2026-03-31"); early {
			t.Errorf("%s: its milestone is missed on the very day", code)
		}
	}
	if more := seriesBound(r.service.defs, r.service.dims) - seriesBound(plain.service.defs, plain.service.dims); more != 4 {
		t.Errorf("the bound grows by %d, want 4", more)
	}
	got := ask[Series](r, as(access.Manager), "/api/indicators/values?code=people_placed")
	if got.Target == nil || got.Target.Value != 40 || len(got.Milestones) != 2 {
		t.Errorf("values: %+v %+v", got.Target, got.Milestones)
	}
}

// TestScrapesStayCheap: what takes long to compute is computed more rarely.
func TestScrapesStayCheap(t *testing.T) {
	for cost, want := range map[time.Duration]time.Duration{0: scrapeAge, 10 * time.Millisecond: scrapeAge, time.Second: 9 * time.Second} {
		if got := standFor(cost); got != want {
			t.Errorf("after %s figures stand for %s, want %s", cost, got, want)
		}
	}
}
