package matching

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

var (
	manager     = access.Principal{Subject: "m1", Role: access.Manager}
	careManager = access.Principal{Subject: "m2", Role: access.Manager, Schemes: []string{"soin"}}
)

// campaign starts a campaign and gives its id.
func (r *rig) campaign(p access.Principal, body string) string {
	r.t.Helper()
	status, header, answer := r.send(r.replica, p, http.MethodPost, "/api/matching/campaigns", body, "")
	if status != http.StatusAccepted {
		r.t.Fatalf("POST campaigns: %d %s", status, answer)
	}
	var v CampaignView
	if err := json.Unmarshal(answer, &v); err != nil {
		r.t.Fatal(err)
	}
	if header.Get("Location") != "/api/matching/campaigns/"+v.ID {
		r.t.Fatalf("Location %q", header.Get("Location"))
	}
	return v.ID
}

// ended waits until a campaign has one of the states.
func (r *rig) ended(id string, states ...string) CampaignView {
	r.t.Helper()
	var v CampaignView
	r.eventually("campaign "+strings.Join(states, " or "), func() bool {
		v = get[CampaignView](r, counsellor, "/api/matching/campaigns/"+id)
		return slices.Contains(states, v.State)
	})
	return v
}

func (r *rig) assignments(p access.Principal, id string) []Assignment {
	r.t.Helper()
	var all []Assignment
	for next := ""; ; {
		page := get[api.Page[Assignment]](r, p, "/api/matching/campaigns/"+id+"/assignments?limit=2&cursor="+next)
		all = append(all, page.Items...)
		if next = page.Next; next == "" {
			return all
		}
	}
}

// someone tells of a person with a language level.
func (r *rig) someone(n int, governorate, level string, licences ...string) string {
	r.t.Helper()
	p := profileOf(governorate, ConsentMatching, ConsentDisclosure)
	p.Languages[0].Cefr = level
	p.Licences = licences
	r.tell(id(n), &candidatesv1.CandidateRegistered{Profile: p})
	r.tell(id(900+n), &candidatesv1.PathwayOpened{CandidateId: id(n), Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	return id(n)
}

// asks tells of an open offer that asks for a level of French and for a licence.
func (r *rig) asks(n int, posts int32, level, licence string) string {
	r.t.Helper()
	terms := termsOf(id(500), posts)
	terms.Languages[0].Cefr = level
	terms.Licences = nil
	if licence != "" {
		terms.Licences = []*employersv1.LicenceNeed{{Category: licence, Required: true}}
	}
	r.tell(id(n), &employersv1.OfferOpened{Terms: terms})
	return id(n)
}

// smallTown is a small world: three people in Gafsa with A2, of whom one drives lorries,
// one in Tunis with B1; an offer for anybody, one for B1, one for a lorry driver.
func smallTown(t testing.TB) *rig {
	r := newRig(t)
	r.someone(1, "TN-71", "A2", "B")
	r.someone(2, "TN-71", "A2", "B", "C")
	r.someone(3, "TN-71", "A2", "B")
	r.someone(4, "TN-11", "B1", "B")
	r.asks(101, 1, "A1", "B")
	r.asks(102, 2, "B1", "")
	r.asks(103, 1, "A1", "C")
	return r
}

func TestACampaignFillsThePosts(t *testing.T) {
	r := smallTown(t)
	body := `{"name":"Printemps","seed":"s"}`
	status, _, first := r.send(r.replica, manager, http.MethodPost, "/api/matching/campaigns", body, "key-1")
	again, _, second := r.send(r.replica, manager, http.MethodPost, "/api/matching/campaigns", body, "key-1")
	var v, w CampaignView
	if json.Unmarshal(first, &v) != nil || json.Unmarshal(second, &w) != nil || status != 202 || again != 202 || v.ID != w.ID {
		t.Fatalf("the same command twice: %d %s, %d %s", status, first, again, second)
	}
	if status, _, body := r.send(r.replica, manager, http.MethodPost, "/api/matching/campaigns", `{"name":"Autre"}`, "key-1"); status != 422 {
		t.Fatalf("another command under the same key: %d %s", status, body)
	}
	done := r.ended(v.ID, CampaignDone, CampaignFailed)
	if done.State != CampaignDone || done.Summary == nil || done.Summary.Filled != 3 || done.Summary.Posts != 4 ||
		done.Summary.Candidates != 4 || done.Summary.Verified != "optimal" || done.Progress.Phase != PhaseStoring {
		t.Fatalf("%+v %+v", done, done.Summary)
	}
	rows := r.assignments(counsellor, v.ID)
	offers := map[string]string{}
	for _, a := range rows {
		offers[a.OfferID] = a.CandidateID
	}
	if len(rows) != 3 || offers[id(102)] != id(4) || offers[id(103)] != id(2) {
		t.Fatalf("%+v", rows)
	}
	// A counsellor sees those of the own governorate, a manager pseudonyms.
	if own := r.assignments(gafsa, v.ID); len(own) != 2 {
		t.Errorf("the counsellor of Gafsa sees %+v", own)
	}
	for _, a := range r.assignments(manager, v.ID) {
		if slices.ContainsFunc(rows, func(b Assignment) bool { return a.CandidateID == b.CandidateID }) {
			t.Errorf("the manager sees the candidate %s", a.CandidateID)
		}
	}
	status, header, sheet := r.send(r.replica, counsellor, http.MethodGet, "/api/matching/campaigns/"+v.ID+"/assignments?format=csv", "", "")
	lines, err := csv.NewReader(strings.NewReader(string(sheet))).ReadAll()
	if status != 200 || err != nil || len(lines) != 4 || !strings.HasPrefix(header.Get("Content-Type"), "text/csv") {
		t.Errorf("CSV: %d %v %s", status, err, sheet)
	}
	if list := get[api.Page[CampaignView]](r, counsellor, "/api/matching/campaigns"); len(list.Items) != 1 || list.Items[0].ID != v.ID {
		t.Errorf("the list: %+v", list)
	}

	// It proposes; nothing was decided.
	if cases := r.cases(counsellor, ""); len(cases.Items) != 0 {
		t.Errorf("decisions: %+v", cases)
	}
	replay := get[CampaignReplay](r, counsellor, "/api/matching/campaigns/"+v.ID+"/replay")
	if !replay.Same || replay.Remade != done.ResultSHA {
		t.Errorf("replay: %s, %s", replay.Remade, done.ResultSHA)
	}
	// The world goes on: the replay does not see it.
	r.tell(id(1), &candidatesv1.CandidateUpdated{Profile: profileOf("TN-11")})
	r.tell(id(103), &employersv1.OfferClosed{Terms: termsOf(id(500), 1), Reason: "cancelled"})
	if replay := get[CampaignReplay](r, counsellor, "/api/matching/campaigns/"+v.ID+"/replay"); !replay.Same {
		t.Errorf("replay after changes: %s", replay.Answer)
	}
}

func TestScarcityOfACampaign(t *testing.T) {
	r := smallTown(t)
	campaign := r.campaign(manager, `{"name":"Printemps"}`)
	r.ended(campaign, CampaignDone)
	s := get[ScarcityView](r, manager, "/api/matching/campaigns/"+campaign+"/scarcity")
	// One post of the offer for B1 is empty, one person without B1 has no place.
	if s.Unfilled != 1 || len(s.Occupations) != 1 || s.Occupations[0].OneMoreCandidate != 1 || s.Occupations[0].Unplaced != 1 {
		t.Fatalf("%+v", s)
	}
	var b1, inGafsa, inTunis *ConditionView
	for i, c := range s.Conditions {
		if c.Condition == CondLanguage && c.Code == "fr" && c.CEFR == "B1" {
			switch c.Governorate {
			case "":
				b1 = &s.Conditions[i]
			case "TN-71":
				inGafsa = &s.Conditions[i]
			case "TN-11":
				inTunis = &s.Conditions[i]
			}
		}
		if c.ReasonFR == "" || c.ReasonAR == "" || strings.Contains(c.ReasonFR+c.ReasonAR, "{") {
			t.Errorf("%+v", c)
		}
	}
	if b1 == nil || b1.Placements != 1 || b1.OneMore != 1 || b1.People != 3 || inGafsa == nil || inGafsa.Placements != 1 || inTunis != nil {
		t.Fatalf("%+v", s.Conditions)
	}
	for _, o := range s.Offers {
		if want := map[string]Margin{id(101): {1, 0}, id(102): {0, 1}, id(103): {1, 0}}[o.ID]; o.Margin != want {
			t.Errorf("%s: %+v, want %+v", o.ID, o.Margin, want)
		}
	}
}

func TestWhatIf(t *testing.T) {
	r := smallTown(t)
	campaign := r.campaign(manager, `{"name":"Printemps"}`)
	r.ended(campaign, CampaignDone)
	ask := func(changes string) (a WhatIfAnswer) {
		t.Helper()
		status, _, body := r.send(r.replica, counsellor, http.MethodPost, "/api/matching/campaigns/"+campaign+"/what-if", `{"changes":[`+changes+`]}`, "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", changes, status, body)
		}
		if err := json.Unmarshal(body, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask(`{"add_language":{"code":"fr","cefr":"B1","governorate":"TN-71","count":50}}`)
	if a.More != 1 || a.Changes[0].Used != 1 || a.Changes[0].Placements != 1 || a.Gained.Count != 1 || a.Lost.Count != 0 || a.Verified != "optimal" {
		t.Errorf("50 certificates in Gafsa: %+v", a)
	}
	if a := ask(`{"add_language":{"code":"fr","cefr":"B1","governorate":"TN-11","count":50}}`); a.More != 0 || a.Changes[0].Used != 0 {
		t.Errorf("50 certificates in Tunis: %+v", a)
	}
	if a := ask(fmt.Sprintf(`{"withdraw_offer":%q}`, id(103))); a.More != -1 || a.Lost.Count != 1 {
		t.Errorf("an offer less: %+v", a)
	}
	if a := ask(fmt.Sprintf(`{"add_posts":{"offer":%q,"count":2}}`, id(101))); a.More != 1 || a.After.Posts != 6 {
		t.Errorf("posts more: %+v", a)
	}
	if status, _, body := r.send(r.replica, counsellor, http.MethodPost, "/api/matching/campaigns/"+campaign+"/what-if", `{"changes":[{"withdraw_offer":"nobody"}]}`, ""); status != 422 {
		t.Errorf("an unknown offer: %d %s", status, body)
	}
}

func TestQuotasThatCannotHold(t *testing.T) {
	r := smallTown(t)
	campaign := r.campaign(manager, `{"name":"x","quotas":[{"by":"governorate","code":"TN-71","min":40}]}`)
	v := r.ended(campaign, CampaignInfeasible, CampaignDone)
	text := ""
	for _, s := range v.Reasons {
		text += s.FR + " "
		if s.AR == "" {
			t.Errorf("%+v", s)
		}
	}
	// Two of the three can be placed at once.
	for _, want := range []string{"au moins 40 pour", "TN-71", "Il manque 38 placements"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if status, _, body := r.send(r.replica, counsellor, http.MethodGet, "/api/matching/campaigns/"+campaign+"/assignments", "", ""); status != 409 {
		t.Errorf("assignments: %d %s", status, body)
	}
	if replay := get[CampaignReplay](r, counsellor, "/api/matching/campaigns/"+campaign+"/replay"); !replay.Same {
		t.Errorf("replay: %+v", replay)
	}
	// One that can: nobody of Tunis.
	campaign = r.campaign(manager, `{"name":"x","quotas":[{"by":"governorate","code":"TN-11","min":0,"max":0},{"by":"scheme","code":"agri","min":2}]}`)
	if v := r.ended(campaign, CampaignInfeasible, CampaignDone); v.State != CampaignDone || v.Summary.Filled != 2 {
		t.Errorf("%+v", v)
	}
}

func TestAStableCampaign(t *testing.T) {
	r := smallTown(t)
	campaign := r.campaign(counselManager(r), fmt.Sprintf(
		`{"name":"x","objective":"stable","rankings":[{"offer":%q,"candidates":[[%q],[%q]]}]}`, id(101), id(3), id(1)))
	v := r.ended(campaign, CampaignDone, CampaignFailed)
	if v.State != CampaignDone || v.Summary.Verified != "stable" {
		t.Fatalf("%+v", v)
	}
	for _, a := range r.assignments(counsellor, campaign) {
		if a.OfferID == id(101) && a.CandidateID != id(3) && a.CandidateID != id(4) {
			t.Errorf("the employer ranked 3 first: %+v", a)
		}
	}
	if !get[CampaignReplay](r, counsellor, "/api/matching/campaigns/"+campaign+"/replay").Same {
		t.Error("the replay differs")
	}
	if status, _, body := r.send(r.replica, counsellor, http.MethodPost, "/api/matching/campaigns/"+campaign+"/what-if", `{"changes":[{"withdraw_offer":"x"}]}`, ""); status != 409 {
		t.Errorf("what-if: %d %s", status, body)
	}
}

// counselManager is somebody who may start campaigns and sees the real ids.
func counselManager(*rig) access.Principal {
	return access.Principal{Subject: "a1", Role: access.Admin}
}

func TestAPreviousCampaignIsKeptWhereEqual(t *testing.T) {
	r := newRig(t)
	for n := 1; n <= 6; n++ {
		r.someone(n, "TN-71", "A2", "B")
	}
	r.asks(101, 2, "A1", "B")
	r.asks(102, 2, "A1", "B")
	first := r.campaign(manager, `{"name":"x","seed":"one"}`)
	r.ended(first, CampaignDone)
	second := r.campaign(manager, fmt.Sprintf(`{"name":"x","seed":"two","previous":%q}`, first))
	if v := r.ended(second, CampaignDone, CampaignFailed); v.Summary == nil || v.Summary.Kept != 4 {
		t.Errorf("%+v", v.Summary)
	}
}

func TestWhoMayDoWhatWithCampaigns(t *testing.T) {
	r := smallTown(t)
	for _, c := range []struct {
		who  access.Principal
		body string
		want int
	}{
		{counsellor, `{"name":"x"}`, 403},
		{employerA, `{"name":"x"}`, 403},
		{careManager, `{"name":"x","offers":{"schemes":["agri"]}}`, 422},
		{careManager, fmt.Sprintf(`{"name":"x","offers":{"ids":[%q]}}`, id(101)), 422},
		{manager, `{"name":""}`, 422},
		{manager, `{"name":"x","objective":"stable","quotas":[{"by":"scheme","code":"agri","min":1}]}`, 422},
		{manager, `{"name":"x","quotas":[{"by":"scheme","code":"agri","min":2,"max":1}]}`, 422},
		{manager, `{"name":"x","quotas":[{"by":"sex","code":"F","min":2}]}`, 422},
		{manager, `{"name":"x","previous":"nothing"}`, 422},
	} {
		if status, _, body := r.send(r.replica, c.who, http.MethodPost, "/api/matching/campaigns", c.body, ""); status != c.want {
			t.Errorf("%s %s: %d %s", c.who.Role, c.body, status, body)
		}
	}
	if status, _, _ := r.send(r.replica, employerA, http.MethodGet, "/api/matching/campaigns", "", ""); status != 403 {
		t.Errorf("an employer sees campaigns: %d", status)
	}
	campaign := r.campaign(careManager, `{"name":"x"}`)
	if v := r.ended(campaign, CampaignDone); v.Summary.Offers != 0 || !slices.Equal(v.Offers.Schemes, []string{"soin"}) {
		t.Errorf("a campaign beyond the scope: %+v", v)
	}
}

// stopAt makes campaigns of a replica wait when they reach a phase, once.
func stopAt(c *campaigns, phase string) (reached <-chan struct{}, release func()) {
	at, gone := make(chan struct{}), make(chan struct{})
	first := true
	c.reached = func(ctx context.Context, now string) {
		if now == phase && first {
			first = false
			close(at)
			select {
			case <-gone:
			case <-ctx.Done():
			}
		}
	}
	return at, func() { close(gone) }
}

func TestACampaignCanBeCancelled(t *testing.T) {
	r := smallTown(t)
	reached, _ := stopAt(r.service.campaigns, PhaseSolving)
	campaign := r.campaign(manager, `{"name":"x"}`)
	<-reached
	running := r.ended(campaign, CampaignRunning)
	r.eventually("progress", func() bool {
		return get[CampaignView](r, counsellor, "/api/matching/campaigns/"+campaign).Progress.Phase == PhaseSolving
	})
	if running.InputsSHA == "" {
		t.Error("no inputs are recorded")
	}
	for range 2 {
		if status, _, body := r.send(r.replica, manager, http.MethodPost, "/api/matching/campaigns/"+campaign+"/cancel", "", ""); status != 200 {
			t.Fatalf("cancel: %d %s", status, body)
		}
	}
	// The next one is worked out, so the first was let go.
	r.ended(r.campaign(manager, `{"name":"y"}`), CampaignDone)
	if v := r.ended(campaign, CampaignCancelled); v.Summary != nil {
		t.Errorf("%+v", v)
	}
	done := r.campaign(manager, `{"name":"z"}`)
	r.ended(done, CampaignDone)
	if status, _, body := r.send(r.replica, manager, http.MethodPost, "/api/matching/campaigns/"+done+"/cancel", "", ""); status != 409 {
		t.Errorf("cancel what is done: %d %s", status, body)
	}
}

func TestACampaignSurvivesARestart(t *testing.T) {
	r := smallTown(t)
	body := `{"name":"x","seed":"s"}`
	whole := r.ended(r.campaign(manager, body), CampaignDone)

	for _, phase := range []string{PhaseInputs, PhasePairs, PhaseSolving, PhaseStoring} {
		reached, _ := stopAt(r.service.campaigns, phase)
		campaign := r.campaign(manager, body)
		<-reached
		// While nobody works on it, the world changes after the inputs were recorded.
		if phase != PhaseInputs {
			r.tell(id(1), &candidatesv1.CandidateUpdated{Profile: profileOf("TN-11")})
		}
		r.stop()
		r.replica = r.start("after " + phase)
		v := r.ended(campaign, CampaignDone, CampaignFailed)
		if v.ResultSHA != whole.ResultSHA {
			t.Errorf("stopped at %s: %s %s, want %s", phase, v.State, v.ResultSHA, whole.ResultSHA)
		}
		p := profileOf("TN-71", ConsentMatching, ConsentDisclosure)
		p.Licences = []string{"B"}
		r.tell(id(1), &candidatesv1.CandidateUpdated{Profile: p})
	}
}

func TestTwoReplicasWorkACampaignOutOnce(t *testing.T) {
	r := smallTown(t)
	other := r.start("two")
	var ids []string
	for n := range 4 {
		ids = append(ids, r.campaign(manager, fmt.Sprintf(`{"name":"%d"}`, n)))
	}
	for _, id := range ids {
		r.ended(id, CampaignDone)
		d, err := other.service.campaigns.docs.Get(t.Context(), id)
		if err != nil || d.Body.Attempt != 1 || d.Seq != 1 {
			t.Errorf("%d attempts, %d events, %v", d.Body.Attempt, d.Seq, err)
		}
	}
}
