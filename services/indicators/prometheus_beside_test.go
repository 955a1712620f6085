package indicators

import (
	"net/http"
	"net/url"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/runtime/runtimetest"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// TestShortageSeries: the boards are told the classes that the API gives, of the
// zones that they ask for.
func TestShortageSeries(t *testing.T) {
	r := newRig(t, nil)
	r.folded(0)
	if status, _ := r.importFile(as(access.Statistician), "", "", []byte(tunisia())); status != http.StatusCreated {
		t.Fatal(status)
	}
	s := r.service
	got := map[string]float64{}
	for _, one := range answered(t, s, access.Manager, "query", url.Values{"query": {`masar_shortage_class{zone="TN-71"}`}}) {
		if one.Metric["fr"] == "" || one.Metric["period"] == "" {
			t.Errorf("%v", one.Metric)
		}
		got[one.Metric["nomenclature"]+" "+one.Metric["occupation"]] = sampleValue(t, one.Value[1])
	}
	want := map[string]float64{}
	for _, table := range ask[Shortage](r, as(access.Manager), "/api/indicators/shortage?zone=TN-71").Tables {
		for _, row := range table.Rows {
			if row.Class != nil {
				want[string(table.Nomenclature)+" "+row.Code] = float64(*row.Class)
			}
		}
	}
	if len(want) == 0 || len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %v, want %v", k, got[k], v)
		}
	}
	zones := answered(t, s, access.Manager, "query", url.Values{"query": {`masar_code_zone`}})
	if len(zones) != 2 || zones[0].Metric["ar"] == "" {
		t.Errorf("zones: %v", zones)
	}
	if got := answered(t, s, access.Manager, "query", url.Values{"query": {`masar_shortage_index{zone="TN-23"}`}}); len(got) == 0 {
		t.Error("no index")
	}
}

// TestScarcitySeries: of the last campaign, without numbers that single people out.
func TestScarcitySeries(t *testing.T) {
	r := newRig(t, nil)
	s := newStory(t)
	campaign(s, "2026-03-02 10:00", "c2", &matchingv1.OccupationScarcity{Rome: "A1401", Posts: 9, Filled: 4, Candidates: 3, Unplaced: 1, OneMoreCandidate: 1})
	r.publish(s.events...)
	value := func(role access.Role, name string) (list []float64) {
		for _, one := range answered(t, r.service, role, "query", url.Values{"query": {name + `{rome="A1401"}`}}) {
			list = append(list, sampleValue(t, one.Value[1]))
		}
		return list
	}
	runtimetest.Eventually(t, "the campaign is kept", func() bool { return len(value(access.Manager, "masar_scarcity_posts")) == 1 })
	if got := value(access.Manager, "masar_scarcity_posts"); got[0] != 9 {
		t.Errorf("posts: %v", got)
	}
	if got := value(access.Manager, "masar_scarcity_candidates"); len(got) != 0 {
		t.Errorf("three candidates are shown: %v", got)
	}
	if got := value(access.Statistician, "masar_scarcity_candidates"); len(got) != 1 || got[0] != 3 {
		t.Errorf("to whoever reads facts: %v", got)
	}
}

// TestReviewSeries: what the last review froze, and what the same period's figure is
// now, for the board that asks what changed since.
func TestReviewSeries(t *testing.T) {
	r := newRig(t, nil)
	r.folded(0)
	s := r.service
	if got := answered(t, s, access.Manager, "query", url.Values{"query": {"masar_review_frozen"}}); len(got) != 0 {
		t.Errorf("before any review: %v", got)
	}
	r.freeze(FreezeRequest{Period: "2026-Q1"}, "")
	for _, side := range []string{"frozen", "now"} {
		series := answered(t, s, access.Manager, "query", url.Values{"query": {"masar_review_" + side}})
		if len(series) < 10 {
			t.Fatalf("%s: %d indicators", side, len(series))
		}
		for _, one := range series {
			if one.Metric["review"] == "" || one.Metric["ar"] == "" {
				t.Errorf("%v", one.Metric)
			}
		}
	}
	if got := answered(t, s, access.Manager, "query", url.Values{"query": {"sum(abs(masar_review_now - masar_review_frozen))"}}); len(got) != 1 || sampleValue(t, got[0].Value[1]) != 0 {
		t.Errorf("nothing came since, and the differences are %v", got)
	}
}
