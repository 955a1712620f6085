package matching

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// try posts a decision with more to say than its kind, and gives the answer.
func (r *rig) try(to *replica, p access.Principal, offer, who, kind string, more map[string]any) (int, []byte) {
	r.t.Helper()
	said := map[string]any{"offer_id": offer, "candidate_id": who, "kind": kind}
	maps.Copy(said, more)
	body, err := json.Marshal(said)
	if err != nil {
		r.t.Fatal(err)
	}
	status, _, answer := r.send(to, p, http.MethodPost, "/api/matching/decisions", string(body), "")
	return status, answer
}

// refused checks that a decision is refused, with this status and first field.
func (r *rig) refused(p access.Principal, offer, who, kind string, status int, path string) {
	r.t.Helper()
	got, body := r.post(r.replica, p, offer, who, kind, "")
	if got != status {
		r.t.Errorf("%s as %s: %d %s, want %d", kind, p.Role, got, body, status)
		return
	}
	problem := problemOf(r.t, body)
	if path != "" && (len(problem.Errors) == 0 || problem.Errors[0].Path != path || problem.Errors[0].Reason == "") {
		r.t.Errorf("%s as %s: %s, want a reason about %s", kind, p.Role, body, path)
	}
}

// The whole way of one person with one employer, each decision by who makes it,
// and what the events say of it.
func TestTheWholeWayOfACase(t *testing.T) {
	r := newRig(t)
	offer := r.offer(100, id(500), 1)
	who := r.person(1, "TN-71", bothConsents...)
	shy := r.person(2, "TN-71", ConsentMatching)
	r.decide(counsellor, offer, who, Shortlisted)
	r.decide(counsellor, offer, shy, Shortlisted)
	seen := r.shortlist(employerA, offer).Candidates[0].CandidateID

	r.refused(employerA, offer, seen, Disclosed, http.StatusForbidden, "")
	r.refused(counsellor, offer, shy, Disclosed, http.StatusConflict, CondDisclosure)
	status, body := r.post(r.replica, counsellor, offer, who, Disclosed, "")
	var d Decision
	if err := json.Unmarshal(body, &d); err != nil || status != http.StatusCreated || d.Consent != ConsentDisclosure || d.Stage != "P04" {
		t.Fatalf("disclosed: %d %s", status, body)
	}
	r.decide(employerA, offer, seen, Interview, Offered)
	r.refused(employerA, offer, seen, Accepted, http.StatusForbidden, "")
	r.decide(counsellor, offer, who, Accepted)
	r.refused(counsellor, offer, shy, Interview, http.StatusCreated, "") // the one post is taken; the offer does not know yet
	r.refused(counsellor, offer, shy, Hired, http.StatusConflict, CondPosts)
	r.decide(employerA, offer, seen, Hired)
	r.refused(counsellor, offer, who, Refused, http.StatusConflict, "order")

	want := []struct{ kind, consent string }{
		{Shortlisted, ""}, {Disclosed, ConsentDisclosure}, {Interview, ""}, {Offered, ""}, {Accepted, ""}, {Hired, ""},
	}
	var got []*matchingv1.DecisionRecorded
	for _, m := range r.read(event.TopicMatching, len(want)+2) {
		e, err := event.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if d := e.Data.(*matchingv1.DecisionRecorded); d.GetCandidateId() == who {
			got = append(got, d)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events", len(got))
	}
	for i, w := range want {
		heldBy := ""
		if w.kind == Hired {
			heldBy = got[4].GetDecisionId()
		}
		if d := got[i]; d.GetKind() != w.kind || d.GetConsent() != w.consent || d.GetHeldBy() != heldBy || d.GetRefusedBy() != "" || d.GetReason() != "" {
			t.Errorf("event %d: %v, want %+v", i, d, w)
		}
	}
	c := r.cases(counsellor, "offer="+offer+"&candidate="+who).Items[0]
	if c.Kind != Hired || len(c.Decisions) != 6 || c.Decisions[4].LabelFR == "" || c.Decisions[4].LabelAR == "" {
		t.Errorf("case %+v", c)
	}
}

func TestRefusalsSayByWhomAndWhy(t *testing.T) {
	r := newRig(t)
	offer := r.offer(100, id(500), 5)
	for i, tt := range []struct {
		as         access.Principal
		by, reason string
		status     int
		wantBy     string
		wantReason string
	}{
		{counsellor, "candidate", "LOGEMENT", 201, "candidate", "LOGEMENT"},
		{counsellor, "employer", "LANGUE", 201, "employer", "LANGUE"},
		{counsellor, "", "DOSSIER_INCOMPLET", 201, "programme", "DOSSIER_INCOMPLET"},
		{counsellor, "", "", 201, "programme", "NON_PRECISE"},
		{counsellor, "candidate", "LANGUE", 422, "", ""}, // an employer's reason
		{counsellor, "candidate", "il n'aime pas le froid", 422, "", ""},
		{counsellor, "nobody", "AUTRE", 422, "", ""},
		{employerA, "", "AUTRE_CANDIDAT", 201, "employer", "AUTRE_CANDIDAT"},
		{employerA, "candidate", "LIEU", 422, "", ""}, // an employer speaks for itself
	} {
		who := r.person(i, "TN-71", bothConsents...)
		r.decide(counsellor, offer, who, Shortlisted)
		if tt.as.Role == access.Employer {
			who = r.service.names.mask(tt.as.Employer, who)
		}
		more := map[string]any{}
		if tt.by != "" {
			more["by"] = tt.by
		}
		if tt.reason != "" {
			more["reason"] = tt.reason
		}
		status, body := r.try(r.replica, tt.as, offer, who, Refused, more)
		if status != tt.status {
			t.Errorf("%+v: %d %s", tt, status, body)
			continue
		}
		var d Decision
		if err := json.Unmarshal(body, &d); err != nil || status == 201 && (d.By != tt.wantBy || d.Reason != tt.wantReason || d.ReasonFR == "" || d.ReasonAR == "") {
			t.Errorf("%+v: %+v", tt, d)
		}
	}
	if list := get[RefusalList](r, employerA, "/api/matching/refusals"); len(list.Items) != len(reference.Refusals()) || list.Items[0].LabelAR == "" {
		t.Errorf("the reasons: %+v", list)
	}
	if status, body := r.try(r.replica, counsellor, offer, id(0), Shortlisted, map[string]any{"reason": "AUTRE"}); status != 422 {
		t.Errorf("a reason without refusal: %d %s", status, body)
	}
}

// Whom an offer gives back may go to another, and the post to another person; in
// every combination of who ends it and how far it had come.
func TestWhatIsGivenBackCanBeTakenAgain(t *testing.T) {
	r := newRig(t)
	for i, tt := range []struct{ before, end string }{
		{Accepted, Refused}, {Accepted, NoShow}, {Hired, NoShow},
	} {
		t.Run(tt.before+" "+tt.end, func(t *testing.T) {
			r.t = t
			one, other := r.offer(100+10*i, id(500), 1), r.offer(101+10*i, id(501), 1)
			who, next := r.person(1+10*i, "TN-71", bothConsents...), r.person(2+10*i, "TN-71", bothConsents...)
			for _, o := range []string{one, other} {
				r.decide(counsellor, o, who, Shortlisted, Interview)
			}
			r.decide(counsellor, one, next, Shortlisted, Interview)
			r.decide(counsellor, one, who, tt.before)
			r.refused(counsellor, other, who, Accepted, http.StatusConflict, CondFree)
			r.refused(counsellor, other, who, Hired, http.StatusConflict, CondFree)
			r.refused(counsellor, one, next, Accepted, http.StatusConflict, CondPosts)
			if a := r.shortlist(counsellor, one); count(a, CondPosts) != a.Considered {
				t.Errorf("the shortlist of a full offer: %+v", a)
			}
			r.decide(counsellor, one, who, tt.end)
			r.decide(counsellor, other, who, Accepted)
			r.decide(counsellor, one, next, Accepted)
			r.refused(counsellor, one, who, Offered, http.StatusConflict, "order") // refused and no_show are final
			if a := r.shortlist(counsellor, other); count(a, CondPosts) != a.Considered {
				t.Errorf("the other offer is full: %+v", a)
			}
		})
	}
}

// After the pathway has followed, too: from the contract back to where another
// offer may take the person, or a shortlist; and while it is on its way there.
func TestThePathwayThatWasGivenBackFollows(t *testing.T) {
	r := newRig(t)
	one, other := r.offer(100, id(500), 1), r.offer(101, id(501), 1)
	who := r.person(1, "TN-71", bothConsents...)
	enter := func(from, to string) {
		r.tell(id(901), &candidatesv1.StageEntered{CandidateId: who, Scheme: "agri", SchemeVersion: "1", From: from, To: to})
	}
	r.decide(counsellor, one, who, Shortlisted, Interview)
	r.decide(counsellor, other, who, Shortlisted, Interview)
	enter("P02", "P04")
	enter("P04", "P07")
	r.decide(counsellor, one, who, Accepted)
	enter("P07", "P08")
	r.refused(counsellor, other, who, Hired, http.StatusConflict, CondFree)
	status, body := r.try(r.replica, counsellor, one, who, Refused, map[string]any{"by": "candidate", "reason": "REMUNERATION"})
	var d Decision
	if err := json.Unmarshal(body, &d); err != nil || status != http.StatusCreated || d.Stage != "P07" {
		t.Fatalf("refused: %d %s", status, body)
	}
	// The pathway has not come back yet; that it will is known.
	r.decide(counsellor, other, who, Accepted)
	if a := r.cases(counsellor, "offer="+other+"&candidate="+who).Items[0]; a.Decisions[2].Stage != "P08" {
		t.Errorf("accepted leads to %q", a.Decisions[2].Stage)
	}
	enter("P08", "P09") // a counsellor goes on; the contract comes later
	r.decide(counsellor, other, who, Hired)
	for _, stage := range []string{"P10", "P11", "P12", "P13", "P14", "P15"} {
		enter("", stage)
	}
	r.decide(counsellor, other, who, NoShow)
	third := r.offer(102, id(501), 1)
	r.refused(counsellor, third, who, Shortlisted, http.StatusConflict, CondPathway) // until a counsellor ends the pathway
	r.tell(id(901), &candidatesv1.PathwayExited{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: "P15", Exit: "NON_DEPART"})
	r.tell(id(951), &candidatesv1.PathwayOpened{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	r.decide(counsellor, third, who, Shortlisted, Interview, Accepted)
}

// A pathway that ended, hired or not, holds nobody any more: another scheme's may
// go on. Before it ends, it does, even while nobody has heard of it.
func TestOnePersonInTwoSchemes(t *testing.T) {
	r := newRig(t)
	farm := r.offer(100, id(500), 1)
	terms := termsOf(id(501), 1)
	terms.Scheme = "soin"
	r.tell(id(101), &employersv1.OfferOpened{Terms: terms})
	care, who := id(101), id(1)
	p := profileOf("TN-71", bothConsents...)
	p.Schemes = nil
	r.tell(who, &candidatesv1.CandidateRegistered{Profile: p})
	for pathway, scheme := range map[string]string{id(901): "agri", id(902): "soin"} {
		r.tell(pathway, &candidatesv1.PathwayOpened{CandidateId: who, Scheme: scheme, SchemeVersion: "1", Stage: "P07"})
	}
	r.decide(counsellor, farm, who, Shortlisted, Interview, Hired)
	r.decide(counsellor, care, who, Shortlisted)
	r.tell(id(902), &candidatesv1.StageEntered{CandidateId: who, Scheme: "soin", SchemeVersion: "1", From: "P04", To: "P07"})
	r.refused(counsellor, care, who, Accepted, http.StatusConflict, CondFree)
	r.tell(id(901), &candidatesv1.PathwayExited{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: "P08", Exit: "RUPTURE_CONTRAT"})
	r.decide(counsellor, care, who, Accepted)
	// The post of the farm is still filled, until somebody says that they did not come.
	d, err := r.service.cases.Get(t.Context(), CaseID(farm, who))
	if err != nil || d.Body.Seat == "" || len(d.Body.Holds) != 0 {
		t.Errorf("the farm's case: %+v, %v", d, err)
	}
	r.decide(counsellor, farm, who, NoShow)
	if held, free, err := r.service.seats(t.Context(), farm); held != 0 || free != 0 || err != nil {
		t.Errorf("%d seats are held, %d is free, %v", held, free, err)
	}
}

// A new season (scheme agri, version 2): whoever is back at P19 is shortlisted and
// taken again, by the same rules, and held anew.
func TestANewSeason(t *testing.T) {
	r := newRig(t)
	who := id(1)
	r.tell(who, &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71", bothConsents...)})
	r.tell(id(901), &candidatesv1.PathwayOpened{CandidateId: who, Scheme: "agri", SchemeVersion: "2", Stage: "P02"})
	walk := func(stages ...string) {
		for _, s := range stages {
			r.tell(id(901), &candidatesv1.StageEntered{CandidateId: who, Scheme: "agri", SchemeVersion: "2", To: s, Placement: s == "P16"})
		}
	}
	first, second, rival := r.offer(100, id(500), 1), r.offer(101, id(500), 1), r.offer(102, id(501), 1)
	r.decide(counsellor, first, who, Shortlisted, Interview, Hired)
	walk("P04", "P07", "P08", "P15", "P16", "P17", "P18")
	r.refused(counsellor, second, who, Shortlisted, http.StatusConflict, CondPathway)
	walk("P19")
	if a := r.shortlist(counsellor, second); a.Eligible != 1 {
		t.Fatalf("the shortlist of the new season: %+v", a)
	}
	r.decide(counsellor, second, who, Shortlisted, Offered, Accepted)
	r.decide(counsellor, rival, who, Shortlisted)
	r.refused(counsellor, rival, who, Accepted, http.StatusConflict, CondFree)
	walk("P08")
	r.refused(counsellor, rival, who, Hired, http.StatusConflict, CondFree)
	r.decide(counsellor, second, who, Hired)
	if held, _, err := r.service.seats(t.Context(), first); held != 1 || err != nil {
		t.Errorf("the post of the first season is held by %d, %v", held, err)
	}
}

// Cases that were written before there were Holds guard as they did.
func TestHoldsOfEarlierDocuments(t *testing.T) {
	r := newRig(t)
	one, other, who := r.offer(100, id(500), 1), r.offer(101, id(500), 1), r.person(1, "TN-71", bothConsents...)
	r.decide(counsellor, one, who, Shortlisted, Interview, Hired)
	if _, err := r.service.cases.Update(t.Context(), CaseID(one, who), func(d *docstore.Doc[Case]) error {
		d.Body.Holds = nil
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.decide(counsellor, other, who, Shortlisted, Interview)
	r.refused(counsellor, other, who, Hired, http.StatusConflict, CondFree)
	r.decide(counsellor, one, who, NoShow)
	r.decide(counsellor, other, who, Hired)
}

// Many offers, many people, two replicas, everything at once: people are taken,
// given back and taken again; posts are never exceeded, nobody is held twice, and
// who is turned away is told why.
func TestConcurrentTakingAndGivingBack(t *testing.T) {
	r := newRig(t)
	replicas := []*replica{r.replica, r.start("two")}
	const offers, people, posts = 3, 6, 2
	for o := range offers {
		r.offer(100+o, id(500), posts)
		for p := range people {
			if o == 0 {
				r.person(p, "TN-71", bothConsents...)
			}
			r.decide(counsellor, id(100+o), id(p), Shortlisted, Interview)
		}
	}
	var all sync.WaitGroup
	for o := range offers {
		for p := range people {
			all.Go(func() {
				for i, kind := range []string{Accepted, Hired, NoShow} {
					if (o+p)%2 == 0 && kind == NoShow {
						return // these stay
					}
					if status, body := r.post(replicas[(o+p+i)%2], counsellor, id(100+o), id(p), kind, ""); status == http.StatusConflict {
						if e := problemOf(t, body).Errors; len(e) == 0 || !slices.Contains([]string{CondFree, CondPosts}, e[0].Path) && e[0].Path != "order" {
							t.Errorf("%s: %s", kind, body)
						}
						if kind == Accepted {
							return
						}
					} else if status != http.StatusCreated {
						t.Errorf("%s: %d %s", kind, status, body)
					}
				}
			})
		}
	}
	all.Wait()
	holders, held := map[string]int{}, map[string]string{}
	for d, err := range r.service.cases.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Body.Seat == "" {
			continue
		}
		if holders[d.Body.OfferID]++; holders[d.Body.OfferID] > posts {
			t.Errorf("%d hold posts of %s", holders[d.Body.OfferID], d.Body.OfferID)
		}
		if held[d.Body.CandidateID] != "" {
			t.Errorf("%s is held twice", d.Body.CandidateID)
		}
		held[d.Body.CandidateID] = d.Body.OfferID
	}
	if len(held) == 0 {
		t.Error("nobody was taken")
	}
}
