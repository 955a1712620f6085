package matching

import (
	"net/http"
	"testing"

	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// Twenty women, of whom six know French well and the others little, twenty men who
// are in between, and fourteen posts: the six and eight men score highest. Who reads
// the report sees that, and that parity would cost score and no placement.
func TestTheFairnessOfACampaign(t *testing.T) {
	r := newRig(t)
	for n := 1; n <= 40; n++ {
		p := profileOf("TN-71", ConsentMatching, ConsentDisclosure)
		p.Sex, p.DiplomaLevel, p.Languages[0].Cefr = "F", "bac", "A1"
		switch {
		case n > 20:
			p.Sex, p.Languages[0].Cefr = "M", "A2"
		case n <= 6:
			p.Languages[0].Cefr = "B1"
		}
		r.tell(id(n), &candidatesv1.CandidateRegistered{Profile: p})
		r.tell(id(900+n), &candidatesv1.PathwayOpened{CandidateId: id(n), Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	}
	r.asks(101, 14, "A1", "B")
	campaign := r.campaign(manager, `{"name":"Printemps"}`)
	r.ended(campaign, CampaignDone)
	path := "/api/matching/campaigns/" + campaign + "/fairness"

	report := get[FairnessReport](r, manager, path)
	if report.Eligible != exactly(40) || report.Selected != exactly(14) {
		t.Errorf("%+v", report)
	}
	women := report.line(BySex, "F")
	if women == nil || women.Eligible != 20 || women.Selected != exactly(6) || women.FourFifths != "below" {
		t.Errorf("women: %+v in %+v", women, report.Cuts)
	}
	for _, who := range []struct {
		name string
		want int
	}{{"counsellor", 403}, {"scoped", 403}} {
		p := counsellor
		if who.name == "scoped" {
			p = careManager
		}
		if status, _, body := r.send(r.replica, p, http.MethodGet, path, "", ""); status != who.want {
			t.Errorf("%s: %d %s", who.name, status, body)
		}
	}

	if status, _, body := r.send(r.replica, manager, http.MethodGet, path+"/price?attribute=name&code=F", "", ""); status != 422 {
		t.Errorf("an unknown attribute: %d %s", status, body)
	}
	price := get[ParityPrice](r, manager, path+"/price?attribute=sex&code=F&points=20")
	if len(price.Steps) == 0 || price.Placed != 14 || price.PoolShare != 0.5 {
		t.Fatalf("%+v", price)
	}
	last := price.Steps[len(price.Steps)-1]
	if last.Least != 7 || !last.Attainable || last.Lost != 0 || last.ScoreLost <= 0 {
		t.Errorf("the price of parity: %+v", last)
	}

	held := r.campaign(manager, `{"name":"Quotas","quotas":[{"by":"governorate","code":"TN-71","min":1}]}`)
	r.ended(held, CampaignDone)
	if status, _, body := r.send(r.replica, manager, http.MethodGet, "/api/matching/campaigns/"+held+"/fairness/price?attribute=sex&code=M", "", ""); status != 409 {
		t.Errorf("beside quotas by governorate: %d %s", status, body)
	}
}

// The floor that a price of parity asks for holds, and is refused where it cannot.
func TestACampaignWithAFloor(t *testing.T) {
	r := smallTown(t)
	campaign := r.campaign(manager, `{"name":"Printemps","seed":"s"}`)
	r.ended(campaign, CampaignDone)
	d, err := r.service.campaigns.get(t.Context(), campaign)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.service.campaigns.baseOf(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	free, err := b.atLeast(t.Context(), []string{id(1), id(3)}, 0)
	if err != nil || free.Placed != 3 || free.Members != 1 {
		t.Fatalf("%+v, %v", free, err)
	}
	// Both of them only fit the one post for anybody.
	if _, err := b.atLeast(t.Context(), []string{id(1), id(3)}, 2); err != ErrParityUnattainable {
		t.Errorf("two of two for one post: %v", err)
	}
	for _, who := range []string{id(1), id(3)} {
		if got, err := b.atLeast(t.Context(), []string{who}, 1); err != nil || got.Placed != 3 || got.Members != 1 {
			t.Errorf("%s: %+v, %v", who, got, err)
		}
	}
}
