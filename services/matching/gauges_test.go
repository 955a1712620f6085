package matching

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/api"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// gaugesOf reads our gauges from the metrics of a replica, by name and code, once
// there are any: those of all campaigns and decisions come together.
func (r *rig) gaugesOf(from *replica) map[string]float64 {
	r.t.Helper()
	var out map[string]float64
	r.eventually("the gauges of matching", func() bool {
		res, err := http.Get(from.base + "/metrics")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		page, err := io.ReadAll(res.Body)
		if err != nil {
			return false
		}
		out = map[string]float64{}
		for line := range strings.Lines(string(page)) {
			name, ok := strings.CutPrefix(line, "masar_matching_")
			if !ok {
				continue
			}
			name, labels, _ := strings.Cut(name, "{")
			labels, value, _ := strings.Cut(labels, "} ")
			for label := range strings.SplitSeq(labels, ",") {
				if code, ok := strings.CutPrefix(label, "masar_"); ok {
					_, code, _ = strings.Cut(code, "=")
					code, _ = strconv.Unquote(code)
					if out[name+" "+code], err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
						r.t.Errorf("%q: %v", line, err)
					}
				}
			}
		}
		return len(out) > 0
	})
	return out
}

// stands are the gauges as they should be: everything else is 0.
func stands(values map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for _, state := range []string{"queued", "running", "done", "infeasible", "cancelled", "failed"} {
		out["campaigns "+state] = 0
	}
	for _, step := range []string{"proposed", "shortlisted", "disclosed", "interview", "offered", "accepted"} {
		out["awaited "+step], out["awaited_age_seconds "+step] = 0, 0
	}
	maps.Copy(out, values)
	return out
}

// What the gauges say after a history is what the API says.
func TestTheGaugesSayHowMatchingStands(t *testing.T) {
	r := newRig(t)
	if got, want := r.gaugesOf(r.replica), stands(nil); !maps.Equal(got, want) {
		t.Fatalf("before anything happened: %v, want %v", got, want)
	}
	// Six people of Gafsa and one who drives lorries; three offers.
	for n := 1; n <= 6; n++ {
		r.someone(n, "TN-71", "A2", "B")
	}
	r.someone(7, "TN-11", "A2", "B", "C")
	r.asks(101, 5, "A1", "B")
	r.asks(102, 1, "A1", "C")
	r.asks(103, 2, "A1", "B")
	g := newGauges(r.service.campaigns)
	awaited := func() map[string]int64 {
		t.Helper()
		r.eventually("the index has what was told", func() bool { return r.service.ready() == nil })
		if err := g.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		out := map[string]int64{}
		for step, a := range g.last.awaited {
			out[step] = a.count
		}
		return out
	}
	expect := func(when string, want map[string]int64) {
		t.Helper()
		if got := awaited(); !maps.Equal(got, want) {
			t.Errorf("%s: %v are awaited, want %v", when, got, want)
		}
	}

	spring := r.campaign(manager, `{"name":"Printemps","seed":"s","offers":{"ids":["`+id(101)+`","`+id(102)+`"]}}`)
	r.ended(spring, CampaignDone)
	rows := r.assignments(counsellor, spring)
	if len(rows) != 6 {
		t.Fatalf("%+v", rows)
	}
	expect("after a campaign", map[string]int64{stepProposed: 6})
	var harvest []string // whom the campaign places at the first offer
	for _, a := range rows {
		if a.OfferID == id(101) {
			harvest = append(harvest, a.CandidateID)
		}
	}
	for i, who := range harvest[:4] {
		day := map[string]any{"occurred_at": at([]string{"2026-02-20", "2026-02-18", "2026-02-19", "2026-02-20"}[i])}
		if status, body := r.try(r.replica, counsellor, id(101), who, Shortlisted, day); status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
	}
	expect("shortlisted", map[string]int64{stepProposed: 2, Shortlisted: 4})
	if since := g.last.awaited[Shortlisted].since; !since.Equal(at("2026-02-18")) {
		t.Errorf("the first of them is awaited since %s", since)
	}
	r.decide(counsellor, id(101), harvest[0], Disclosed)
	r.decide(counsellor, id(101), harvest[1], Interview, Offered)
	r.decide(counsellor, id(101), harvest[2], Interview, Accepted)
	expect("each a step further", map[string]int64{stepProposed: 2, Shortlisted: 1, Disclosed: 1, Offered: 1, Accepted: 1})

	// The API says the same of every case and every proposal.
	undecided := func(rows []Assignment) (n int64) {
		t.Helper()
		for _, a := range rows {
			if pair := get[PairAnswer](r, counsellor, "/api/matching/offers/"+a.OfferID+"/candidates/"+a.CandidateID); pair.Decision == "" && pair.Eligible {
				n++
			}
		}
		return n
	}
	said := map[string]int64{stepProposed: undecided(rows)}
	for _, c := range r.cases(counsellor, "").Items {
		said[c.Kind]++
	}
	if got := awaited(); !maps.Equal(got, said) {
		t.Errorf("%v are awaited, the API says %v", got, said)
	}

	// A later campaign takes the place of the first for the offer that both had, and
	// nothing for the other.
	summer := r.campaign(manager, `{"name":"Été","seed":"s","offers":{"ids":["`+id(101)+`","`+id(103)+`"]}}`)
	r.ended(summer, CampaignDone)
	rows = append(r.assignments(counsellor, summer), rows[slices.IndexFunc(rows, func(a Assignment) bool { return a.OfferID == id(102) })])
	proposed := undecided(rows)
	if proposed < 3 {
		t.Fatalf("the second campaign proposes nothing new: %+v", rows)
	}
	expect("after a second campaign", map[string]int64{stepProposed: proposed, Shortlisted: 1, Disclosed: 1, Offered: 1, Accepted: 1})
	impossible := r.campaign(manager, `{"name":"Trop","quotas":[{"by":"governorate","code":"TN-71","min":1000}]}`)
	r.ended(impossible, CampaignInfeasible)

	// What a restart finds, on the page that is scraped.
	r.stop()
	r.replica = r.start("two")
	counts := map[string]float64{}
	for _, c := range get[api.Page[CampaignView]](r, counsellor, "/api/matching/campaigns").Items {
		counts["campaigns "+c.State]++
	}
	maps.Copy(counts, map[string]float64{
		"awaited proposed": float64(proposed), "awaited shortlisted": 1, "awaited disclosed": 1, "awaited offered": 1, "awaited accepted": 1,
		"awaited_age_seconds shortlisted": (9 * 24 * time.Hour).Seconds(), // the others' last decision is of this very moment
	})
	want := stands(counts)
	got := r.gaugesOf(r.replica)
	maps.DeleteFunc(got, func(name string, _ float64) bool { return strings.HasPrefix(name, "impact_ratio") })
	if want["campaigns done"] != 2 || want["campaigns infeasible"] != 1 || !maps.Equal(got, want) {
		t.Errorf("the page says %v, want %v", got, want)
	}

	// Nobody waits for what cannot be any more: the person is hired elsewhere, refused,
	// or took the consent back; the offer is closed.
	g = newGauges(r.service.campaigns)
	after := awaited()
	ends := func(why, step string) {
		t.Helper()
		delete(after, step)
		if after[stepProposed] = undecided(rows); after[stepProposed] == 0 {
			delete(after, stepProposed)
		}
		expect(why, after)
	}
	r.tell(id(900+idNumber(t, harvest[0])), &candidatesv1.StageEntered{CandidateId: harvest[0], Scheme: "agri", SchemeVersion: "1", From: "P02", To: "P08"})
	ends("hired elsewhere", Disclosed)
	r.decide(counsellor, id(101), harvest[1], Refused)
	ends("refused", Offered)
	r.tell(harvest[3], &candidatesv1.CandidateUpdated{Profile: profileOf("TN-71")})
	ends("no consent any more", Shortlisted)
	if after[stepProposed] == 0 {
		t.Error("nothing is left to be closed")
	}
	for n := 101; n <= 103; n++ {
		r.tell(id(n), &employersv1.OfferClosed{Terms: termsOf(id(500), 4), Reason: "cancelled"})
	}
	ends("every offer is closed, and one contract is on its way", stepProposed)
	r.decide(counsellor, id(101), harvest[2], Hired)
	expect("hired", map[string]int64{})
}

// idNumber is the number that an id of a test was made from.
func idNumber(t *testing.T, of string) int {
	t.Helper()
	for n := range 1000 {
		if id(n) == of {
			return n
		}
	}
	t.Fatalf("%s is no id of this test", of)
	return 0
}

// One ratio for each attribute that the report compares, as it does; and none where
// it tells too little.
func TestTheRatiosOfTheLastCampaign(t *testing.T) {
	r := newRig(t)
	// Of twenty women six know French well; there are twenty men, and posts for
	// fourteen. Three people are of another governorate.
	for n := 1; n <= 40; n++ {
		p := profileOf("TN-71", ConsentMatching)
		p.Sex, p.DiplomaLevel, p.Languages[0].Cefr = "F", "bac", "A1"
		switch {
		case n > 20:
			p.Sex, p.Languages[0].Cefr = "M", "A2"
		case n <= 6:
			p.Languages[0].Cefr = "B1"
		}
		if n > 37 {
			p.Governorate = "TN-11"
		}
		r.tell(id(n), &candidatesv1.CandidateRegistered{Profile: p})
		r.tell(id(900+n), &candidatesv1.PathwayOpened{CandidateId: id(n), Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	}
	r.asks(101, 14, "A1", "B")
	ratios := func(on *replica) map[string]float64 {
		t.Helper()
		out := map[string]float64{}
		r.eventually("the ratios", func() bool {
			for name, value := range r.gaugesOf(on) {
				if attribute, ok := strings.CutPrefix(name, "impact_ratio "); ok {
					out[attribute] = value
				}
			}
			return len(out) > 0
		})
		return out
	}
	for i, objective := range []string{ObjectivePlacements, ObjectiveStable} {
		campaign := r.campaign(manager, `{"name":"Printemps","objective":"`+objective+`"}`)
		r.ended(campaign, CampaignDone)
		report := get[FairnessReport](r, manager, "/api/matching/campaigns/"+campaign+"/fairness")
		women := report.line(BySex, "F")
		if report.Eligible != exactly(40) || women == nil || women.Ratio == nil || women.Ratio.Value == nil {
			t.Fatalf("%s: %+v", objective, report)
		}
		if got, want := ratios(r.start(fmt.Sprint("other", i))), map[string]float64{BySex: *women.Ratio.Value}; !maps.Equal(got, want) || *women.Ratio.Value != 0.75 {
			t.Errorf("%s: %v, the report says %v", objective, got, want)
		}
	}
}

// A ratio is told where all that is compared is shown, and only where the report
// leaves no other possible: it is the lowest that the report has.
func TestAnImpactRatioSaysNoMoreThanTheReport(t *testing.T) {
	told := 0
	rapid.Check(t, func(t *rapid.T) {
		p := genPool(t)
		report, err := Fairness(p.selected, p.eligible, p.of, FairnessOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range report.Cuts {
			ratio, ok := c.impactRatio()
			var shown []float64
			hidden := false
			for _, l := range c.Lines {
				if l.Ratio != nil && l.Ratio.Value != nil {
					shown = append(shown, *l.Ratio.Value)
				} else if l.Ratio != nil {
					hidden = true
				}
			}
			switch {
			case len(shown) == 0 && ok:
				t.Fatalf("%v is told of %+v, which shows no ratio", ratio, c)
			case len(shown) > 0 && !hidden && !ok:
				t.Fatalf("nothing is told of %+v", c)
			case ok && ratio != slices.Min(shown):
				t.Fatalf("%v is told of %+v", ratio, c)
			}
			if ok {
				told++
			}
		}
	})
	if told == 0 {
		t.Error("no ratio was ever told")
	}
	// Women are left out altogether: their number is hidden, and so is the ratio.
	var p pool
	p.add(Groups{Sex: "M"}, 60, 30)
	p.add(Groups{Sex: "F"}, 40, 0)
	r := p.report(t, FairnessOptions{})
	if ratio, ok := r.Cuts[0].impactRatio(); ok {
		t.Errorf("%v is told of numbers that are hidden", ratio)
	}
}
