package matching

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"masar.local/pkg/access"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
)

var bothConsents = []string{ConsentMatching, ConsentDisclosure}

func TestRolesOverHTTP(t *testing.T) {
	r := newRig(t)
	offer, who := r.offer(100, id(500), 2), r.person(1, "TN-71", bothConsents...)
	routes := []struct{ method, path, body string }{
		{http.MethodGet, "/api/matching/offers/" + offer + "/candidates", ""},
		{http.MethodGet, "/api/matching/candidates/" + who + "/offers", ""},
		{http.MethodGet, "/api/matching/decisions", ""},
		{http.MethodPost, "/api/matching/decisions", fmt.Sprintf(`{"offer_id":%q,"candidate_id":%q,"kind":"shortlisted"}`, offer, who)},
	}
	may := []access.Role{access.Counsellor, access.Officer, access.Employer, access.Admin}
	for _, route := range routes {
		if status, _, _ := r.send(r.replica, access.Principal{}, route.method, route.path, route.body, ""); status != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d", route.method, route.path, status)
		}
		for _, role := range access.Roles() {
			p := access.Principal{Subject: "x", Role: role}
			if role == access.Employer {
				p.Employer = id(500)
			}
			status, _, body := r.send(r.replica, p, route.method, route.path, route.body, "")
			switch {
			case !slices.Contains(may, role):
				if status != http.StatusForbidden {
					t.Errorf("%s %s as %s: %d %s", route.method, route.path, role, status, body)
				}
			case role == access.Employer && strings.Contains(route.path+route.body, who):
				// The id is not one that an employer knows.
				if status != http.StatusNotFound {
					t.Errorf("%s %s as %s with a real id: %d %s", route.method, route.path, role, status, body)
				}
			case status >= 300:
				t.Errorf("%s %s as %s: %d %s", route.method, route.path, role, status, body)
			}
		}
	}
}

func TestShortlist(t *testing.T) {
	r := newRig(t)
	offer := r.offer(100, id(500), 2)
	r.person(1, "TN-71", bothConsents...)
	r.person(2, "TN-11", ConsentMatching)
	r.person(3, "TN-71") // no consent
	r.tell(id(4), &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71", ConsentMatching)})
	cook := profileOf("TN-71", ConsentMatching)
	cook.Occupations[0].Rome = "G1602"
	r.tell(id(5), &candidatesv1.CandidateRegistered{Profile: cook})
	better := profileOf("TN-11", ConsentMatching)
	better.Occupations[0].ExperienceMonths = 24
	r.tell(id(2), &candidatesv1.CandidateUpdated{Profile: better})

	got := r.shortlist(counsellor, offer)
	if got.Considered != 5 || got.Eligible != 2 || len(got.Candidates) != 2 {
		t.Fatalf("%d considered, %d eligible, %d shown", got.Considered, got.Eligible, len(got.Candidates))
	}
	for condition, want := range map[string]int{CondOccupation: 1, CondConsent: 1, CondPathway: 1} {
		if n := count(got, condition); n != want {
			t.Errorf("%d out for %s, want %d", n, condition, want)
		}
	}
	first := got.Candidates[0]
	if first.CandidateID != id(2) || first.Rank != 1 || first.Seq != 2 || first.Score <= got.Candidates[1].Score || len(first.Parts) != 6 {
		t.Errorf("first is %+v", first)
	}
	for _, part := range first.Parts {
		if part.ReasonFR == "" || part.ReasonAR == "" || part.LabelFR == "" || part.LabelAR == "" {
			t.Errorf("part %+v says nothing in one of the languages", part)
		}
	}
	if got.Weights == "" || got.Reference == "" || got.AsOf != "2026-03-01" || got.Seq != 1 || got.Seed == "" {
		t.Errorf("made from %+v", got.AnswerBasis)
	}
	again := get[CandidatesAnswer](r, counsellor, "/api/matching/offers/"+offer+"/candidates?k=1&seed="+got.Seed)
	if len(again.Candidates) != 1 || again.Candidates[0].CandidateID != first.CandidateID || again.Seed != got.Seed {
		t.Errorf("asked again with the seed: %+v", again)
	}

	// The offer is closed, then opened again by an employer that is suspended.
	r.tell(offer, &employersv1.OfferClosed{Terms: termsOf(id(500), 2), Reason: "withdrawn"})
	if a := r.shortlist(counsellor, offer); a.Eligible != 0 || count(a, CondOffer) != 5 {
		t.Errorf("closed: %+v", a)
	}
	r.tell(offer, &employersv1.OfferOpened{Terms: termsOf(id(500), 2)})
	r.tell(id(500), &employersv1.EmployerUpdated{Status: "suspended"})
	if a := r.shortlist(counsellor, offer); a.Eligible != 0 || count(a, CondEmployer) != 5 {
		t.Errorf("suspended: %+v", a)
	}
}

func TestOffersOfACandidate(t *testing.T) {
	r := newRig(t)
	who := r.person(1, "TN-71", bothConsents...)
	fits := r.offer(100, id(500), 2)
	hard := termsOf(id(501), 1)
	hard.Languages[0].Cefr, hard.Licences[0].Category = "C1", "D"
	r.tell(id(101), &employersv1.OfferOpened{Terms: hard})
	cooks := termsOf(id(501), 1)
	cooks.Rome = "G1602"
	r.tell(id(102), &employersv1.OfferOpened{Terms: cooks})
	r.tell(id(103), &employersv1.OfferOpened{Terms: termsOf(id(501), 1)})
	r.tell(id(103), &employersv1.OfferClosed{Terms: termsOf(id(501), 1), Reason: "expired"})

	got := get[OffersAnswer](r, counsellor, "/api/matching/candidates/"+who+"/offers")
	if got.Considered != 3 || got.Eligible != 1 || len(got.Offers) != 1 || got.Offers[0].OfferID != fits {
		t.Fatalf("%+v", got)
	}
	if len(got.NearMisses) != 1 || got.NearMisses[0].OfferID != id(101) {
		t.Fatalf("near misses %+v: the offer with another occupation is not near", got.NearMisses)
	}
	failed := got.NearMisses[0].Failed
	if len(failed) != 2 || failed[0].Condition != CondLanguage || failed[0].ReasonFR != "français : C1 exigé, niveau A2" || failed[1].Condition != CondLicence {
		t.Errorf("failed %+v", failed)
	}
	// An employer sees its own offers only, under its own name of the person.
	seen := r.shortlist(employerA, fits).Candidates[0].CandidateID
	own := get[OffersAnswer](r, employerA, "/api/matching/candidates/"+seen+"/offers")
	if own.CandidateID != seen || own.Considered != 1 || len(own.NearMisses) != 0 {
		t.Errorf("as the employer: %+v", own)
	}
}

func TestScopes(t *testing.T) {
	r := newRig(t)
	offerA, offerB := r.offer(100, id(500), 5), r.offer(101, id(501), 5)
	near := r.person(1, "TN-71", bothConsents...)
	far := r.person(2, "TN-11", bothConsents...)
	shy := r.person(3, "TN-71", ConsentMatching)
	r.decide(counsellor, offerA, near, Shortlisted)
	r.decide(counsellor, offerA, far, Shortlisted)
	r.decide(counsellor, offerA, shy, Shortlisted)

	ids := func(a CandidatesAnswer) (out []string) {
		for _, c := range a.Candidates {
			out = append(out, c.CandidateID)
		}
		slices.Sort(out)
		return out
	}
	status := func(p access.Principal, path string) int {
		s, _, _ := r.send(r.replica, p, http.MethodGet, path, "", "")
		return s
	}

	t.Run("governorate", func(t *testing.T) {
		got := r.shortlist(gafsa, offerA)
		if want := []string{near, shy}; got.Considered != 2 || !slices.Equal(ids(got), want) {
			t.Errorf("considers %d and sees %v, want %v", got.Considered, ids(got), want)
		}
		if s := status(gafsa, "/api/matching/candidates/"+far+"/offers"); s != http.StatusNotFound {
			t.Errorf("offers of somebody elsewhere: %d", s)
		}
		if s, body := r.post(r.replica, gafsa, offerA, far, Interview, ""); s != http.StatusNotFound {
			t.Errorf("decides on somebody elsewhere: %d %s", s, body)
		}
		if n := len(r.cases(gafsa, "offer="+offerA).Items); n != 2 {
			t.Errorf("sees %d cases, want 2", n)
		}
	})
	t.Run("scheme", func(t *testing.T) {
		if s := status(careOnly, "/api/matching/offers/"+offerA+"/candidates"); s != http.StatusNotFound {
			t.Errorf("an offer of another scheme: %d", s)
		}
		if s, _ := r.post(r.replica, careOnly, offerA, near, Interview, ""); s != http.StatusNotFound {
			t.Errorf("decides in another scheme: %d", s)
		}
		if a := get[OffersAnswer](r, careOnly, "/api/matching/candidates/"+near+"/offers"); a.Considered != 0 {
			t.Errorf("considers %d offers of another scheme", a.Considered)
		}
		if n := len(r.cases(careOnly, "").Items); n != 0 {
			t.Errorf("sees %d cases", n)
		}
	})
	t.Run("employer", func(t *testing.T) {
		got := r.shortlist(employerA, offerA)
		if got.Eligible != 2 || count(got, CondDisclosure) != 1 {
			t.Errorf("%d eligible, %d out for disclosure", got.Eligible, count(got, CondDisclosure))
		}
		for _, c := range got.Candidates {
			if slices.Contains([]string{near, far, shy}, c.CandidateID) {
				t.Error("the real id is shown")
			}
			if c.Decision != Shortlisted {
				t.Errorf("decision %q is shown, want shortlisted", c.Decision)
			}
		}
		if other := ids(r.shortlist(employerB, offerB)); slices.ContainsFunc(other, func(s string) bool { return slices.Contains(ids(got), s) }) {
			t.Error("two employers see one person under one id")
		}
		if s := status(employerA, "/api/matching/offers/"+offerB+"/candidates"); s != http.StatusNotFound {
			t.Errorf("another's offer: %d", s)
		}
		seen := got.Candidates[0].CandidateID
		if s, _ := r.post(r.replica, employerA, offerB, seen, Shortlisted, ""); s != http.StatusNotFound {
			t.Errorf("decides on another's offer: %d", s)
		}
		if s, body := r.post(r.replica, employerB, offerA, seen, Refused, ""); s != http.StatusNotFound {
			t.Errorf("another employer refuses: %d %s", s, body)
		}
		r.decide(employerA, offerA, seen, Interview)
		_, _, raw := r.send(r.replica, employerA, http.MethodGet, "/api/matching/decisions?candidate="+seen, "", "")
		for _, secret := range []string{near, far, shy, id(901), id(902), id(903)} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("the cases show %s to the employer", secret)
			}
		}
		page := r.cases(employerA, "candidate="+seen)
		if len(page.Items) != 1 || page.Items[0].Kind != Interview || page.Items[0].CandidateID != seen || len(page.Items[0].Decisions) != 2 {
			t.Errorf("cases %+v", page.Items)
		}
		if n := len(r.cases(employerA, "").Items); n != 2 {
			t.Errorf("sees %d cases, want the 2 of those who consent", n)
		}
		if n := len(r.cases(employerB, "").Items); n != 0 {
			t.Errorf("another employer sees %d cases", n)
		}
	})
}

func TestDecisionsOverHTTP(t *testing.T) {
	r := newRig(t)
	offer, who := r.offer(100, id(500), 1), r.person(1, "TN-71", bothConsents...)

	status, first := r.post(r.replica, counsellor, offer, who, Shortlisted, "key-1")
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, first)
	}
	var d Decision
	if err := json.Unmarshal(first, &d); err != nil {
		t.Fatal(err)
	}
	if d.CandidateID != who || d.PathwayID != id(901) || d.Kind != Shortlisted || d.Stage != "P04" || d.Actor != "counsellor" || d.Score == 0 || len(d.Parts) != 6 {
		t.Errorf("decision %+v", d)
	}
	if status, again := r.post(r.replica, counsellor, offer, who, Shortlisted, "key-1"); status != http.StatusCreated || !bytes.Equal(first, again) {
		t.Errorf("repeated: %d %s", status, again)
	}
	if status, again := r.post(r.replica, counsellor, offer, who, Shortlisted, ""); status != http.StatusCreated || !bytes.Equal(first, again) {
		t.Errorf("repeated without a key: %d %s", status, again)
	}
	if status, body := r.post(r.replica, counsellor, offer, who, Interview, "key-1"); status != http.StatusUnprocessableEntity || problemOf(t, body).Type != "urn:masar:problem:idempotency-key-reused" {
		t.Errorf("the key with another body: %d %s", status, body)
	}
	other := r.person(2, "TN-71", bothConsents...)
	if status, body := r.post(r.replica, counsellor, offer, other, Shortlisted, "key-1"); status != http.StatusUnprocessableEntity {
		t.Errorf("the key for another person: %d %s", status, body)
	}
	// Keys are the caller's own.
	if status, body := r.post(r.replica, gafsa, offer, other, Shortlisted, "key-1"); status != http.StatusCreated {
		t.Errorf("the same key by somebody else: %d %s", status, body)
	}
	status, body := r.post(r.replica, counsellor, offer, who, Hired, "")
	if p := problemOf(t, body); status != http.StatusConflict || p.Type != "urn:masar:problem:conflict" || len(p.Errors) == 0 || p.Errors[0].Path != CondPathway {
		t.Errorf("hired without the interview that the scheme demands: %d %s", status, body)
	}
	r.decide(counsellor, offer, who, Interview, Hired)
	status, body = r.post(r.replica, counsellor, offer, other, Interview, "")
	if status != http.StatusCreated {
		t.Fatalf("the offer's document does not know of the hire yet: %d %s", status, body)
	}
	status, body = r.post(r.replica, counsellor, offer, other, Hired, "")
	if p := problemOf(t, body); status != http.StatusConflict || p.Errors[0].Path != CondPosts {
		t.Errorf("a second hire on one post: %d %s", status, body)
	}
	if a := r.shortlist(counsellor, offer); a.Eligible != 0 || count(a, CondPosts) != 2 {
		t.Errorf("the shortlist of a full offer: %+v", a)
	}
	if n := len(r.cases(counsellor, "offer="+offer+"&candidate="+who).Items); n != 1 {
		t.Errorf("%d cases of the two, want one", n)
	}
	r.eventually("every decision is in the journal", func() bool {
		_, _, body := r.send(r.replica, access.Principal{Subject: "o", Role: access.Operator}, http.MethodGet, "/api/matching/journal", "", "")
		return bytes.Count(body, []byte("\n")) == 5
	})
}

// Cases come newest first, page by page, each once.
func TestDecisionsArePaged(t *testing.T) {
	r := newRig(t)
	offer := r.offer(100, id(500), 5)
	for n := range 7 {
		r.decide(counsellor, offer, r.person(n, "TN-71", ConsentMatching), Shortlisted)
	}
	for _, query := range []string{"", "&offer=" + offer} {
		seen, cursor := map[string]bool{}, ""
		for pages := 0; ; pages++ {
			page := r.cases(counsellor, "limit=3"+query+cursor)
			for _, c := range page.Items {
				seen[c.ID] = true
			}
			if page.Next == "" {
				if pages != 2 {
					t.Errorf("%d pages, want 3", pages+1)
				}
				break
			}
			cursor = "&cursor=" + page.Next
		}
		if len(seen) != 7 {
			t.Errorf("query %q: %d cases, want 7", query, len(seen))
		}
	}
}

func TestBadInput(t *testing.T) {
	r := newRig(t)
	offer, who := r.offer(100, id(500), 2), r.person(1, "TN-71", bothConsents...)
	good := fmt.Sprintf(`"offer_id":%q,"candidate_id":%q,"kind":"shortlisted"`, offer, who)
	posts := []struct {
		name, body string
		status     int
		kind       string
	}{
		{"not JSON", `{`, 400, "malformed"},
		{"nothing", ``, 400, "malformed"},
		{"trailing", `{` + good + `} {}`, 400, "malformed"},
		{"a list", `[]`, 422, "invalid"},
		{"unknown field", `{` + good + `,"luck":1}`, 422, "invalid"},
		{"wrong type", `{"offer_id":1,"candidate_id":"x","kind":"shortlisted"}`, 422, "invalid"},
		{"unknown kind", strings.Replace(`{`+good+`}`, "shortlisted", "promoted", 1), 422, "invalid"},
		{"nothing said", `{}`, 422, "invalid"},
		{"impossible date", `{` + good + `,"occurred_at":"2026-02-30T10:00:00Z"}`, 422, "invalid"},
		{"in the future", `{` + good + `,"occurred_at":"2026-03-02T10:00:00Z"}`, 422, "invalid"},
		{"unknown offer", strings.Replace(`{`+good+`}`, offer, id(42), 1), 404, "not-found"},
		{"unknown person", strings.Replace(`{`+good+`}`, who, id(42), 1), 404, "not-found"},
		{"too large", `{` + good + `,"note":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too-large"},
	}
	for _, tt := range posts {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := r.send(r.replica, counsellor, http.MethodPost, "/api/matching/decisions", tt.body, "")
			if p := problemOf(t, body); status != tt.status || p.Type != "urn:masar:problem:"+tt.kind {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.kind)
			}
		})
	}
	for path, want := range map[string]int{
		"/api/matching/offers/" + offer + "/candidates?k=0":                                 422,
		"/api/matching/offers/" + offer + "/candidates?k=201":                               422,
		"/api/matching/offers/" + offer + "/candidates?k=x":                                 422,
		"/api/matching/offers/" + offer + "/candidates?luck=1":                              422,
		"/api/matching/offers/" + offer + "/candidates?seed=" + strings.Repeat("x", 200):    422,
		"/api/matching/offers/" + id(42) + "/candidates":                                    404,
		"/api/matching/offers/%00/candidates":                                               422,
		"/api/matching/candidates/" + id(42) + "/offers":                                    404,
		"/api/matching/candidates/" + strings.Repeat("y", 600) + "/offers":                  404,
		"/api/matching/offers/" + strings.Repeat("y", 600) + "/candidates":                  404,
		"/api/matching/decisions?limit=0":                                                   422,
		"/api/matching/decisions?cursor=nonsense":                                           422,
		"/api/matching/decisions?candidate=" + who + "&offer=" + strings.Repeat("z", 10000): 200,
	} {
		if status, _, body := r.send(r.replica, counsellor, http.MethodGet, path, "", ""); status != want {
			t.Errorf("GET %.80s: %d %.200s, want %d", path, status, body, want)
		}
	}
	if n := len(r.cases(counsellor, "").Items); n != 0 {
		t.Errorf("%d cases were written", n)
	}
}

// Hires that come at once, through two replicas, never fill more posts than
// there are: by the unique seats.
func TestConcurrentHiresOfOneOffer(t *testing.T) {
	r := newRig(t)
	replicas := []*replica{r.replica, r.start("two")}
	const people = 12
	for _, posts := range []int32{1, 3} {
		offer := r.offer(100+int(posts), id(500), posts)
		for n := range people {
			n += int(posts) * 20
			r.decide(counsellor, offer, r.person(n, "TN-71", ConsentMatching), Shortlisted, Interview)
		}
		hired, refused := 0, 0
		var mu sync.Mutex
		var all sync.WaitGroup
		for n := range people {
			all.Go(func() {
				status, body := r.post(replicas[n%2], counsellor, offer, id(n+int(posts)*20), Hired, "")
				mu.Lock()
				defer mu.Unlock()
				switch status {
				case http.StatusCreated:
					hired++
				case http.StatusConflict:
					refused++
					if p := problemOf(t, body); p.Errors[0].Path != CondPosts {
						t.Errorf("refused for %s", body)
					}
				default:
					t.Errorf("%d %s", status, body)
				}
			})
		}
		all.Wait()
		if hired != int(posts) || refused != people-int(posts) {
			t.Errorf("%d posts: %d hired, %d refused", posts, hired, refused)
		}
	}
}

// Offers that hire one person at once: one of them does, also while the pathway
// does not know yet.
func TestConcurrentHiresOfOnePerson(t *testing.T) {
	r := newRig(t)
	replicas := []*replica{r.replica, r.start("two")}
	who := r.person(1, "TN-71", ConsentMatching)
	const offers = 8
	for n := range offers {
		r.decide(counsellor, r.offer(100+n, id(500), 5), who, Shortlisted, Interview)
	}
	hired := 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range offers {
		all.Go(func() {
			status, body := r.post(replicas[n%2], counsellor, id(100+n), who, Hired, "")
			mu.Lock()
			defer mu.Unlock()
			if status == http.StatusCreated {
				hired++
			} else if p := problemOf(t, body); status != http.StatusConflict || p.Errors[0].Path != CondFree {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	all.Wait()
	if hired != 1 {
		t.Errorf("hired %d times", hired)
	}
}

// One command sent many times at once has one effect and one answer.
func TestConcurrentRepeats(t *testing.T) {
	r := newRig(t)
	replicas := []*replica{r.replica, r.start("two")}
	offer, who := r.offer(100, id(500), 5), r.person(1, "TN-71", ConsentMatching)
	answers := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			status, body := r.post(replicas[n%2], counsellor, offer, who, Shortlisted, "one")
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprint(status, string(body))]++
		})
	}
	all.Wait()
	if len(answers) != 1 {
		t.Errorf("%d different answers: %v", len(answers), answers)
	}
	if items := r.cases(counsellor, "").Items; len(items) != 1 || len(items[0].Decisions) != 1 {
		t.Errorf("cases %+v", items)
	}
}

// One candidate for one offer: why not, and what would change it; and the shortlist
// says of those who are out what exactly they miss.
func TestPairOverHTTP(t *testing.T) {
	r := newRig(t)
	r.eventually("the index is loaded", func() bool { return r.service.ready() == nil })
	who := r.person(1, "TN-71", ConsentMatching)
	fits := r.person(2, "TN-71", ConsentMatching, ConsentDisclosure)
	terms := termsOf(employerA.Employer, 2)
	terms.Languages[0].Cefr = "B1"
	r.tell(id(100), &employersv1.OfferOpened{Terms: terms})
	path := "/api/matching/offers/" + id(100) + "/candidates/"
	got := get[PairAnswer](r, counsellor, path+who)
	if got.Eligible || !got.Possible || len(got.Changes) != 1 || len(got.Parts) != 6 || got.Score == 0 || got.Seq != 1 || got.OfferSeq != 1 {
		t.Fatalf("got %+v", got)
	}
	if c := got.Changes[0]; c.Condition != CondLanguage || c.About != "fr" || c.From != "A2" || c.To != "B1" || c.By != "candidate" ||
		c.TextFR != "français : passer de A2 à B1" || !strings.Contains(c.TextAR, "B1") {
		t.Errorf("change %+v", c)
	}
	list := r.shortlist(counsellor, id(100))
	if len(list.Out) != 1 || list.Out[0].Count != 2 || len(list.Out[0].Details) != 1 {
		t.Fatalf("filtered out: %+v", list.Out)
	}
	if d := list.Out[0].Details[0]; d.Count != 2 || d.About != "fr" || d.Required != "B1" || d.Has != "A2" {
		t.Errorf("detail %+v", d)
	}
	near := get[OffersAnswer](r, counsellor, "/api/matching/candidates/"+who+"/offers").NearMisses
	if len(near) != 1 || len(near[0].Changes) != 1 || near[0].Changes[0] != got.Changes[0] {
		t.Errorf("near misses %+v", near)
	}
	// An employer: its own offers, people who consent to it, under its own ids.
	mask := r.service.names.mask(employerA.Employer, fits)
	if own := get[PairAnswer](r, employerA, path+mask); own.CandidateID != mask || own.Eligible {
		t.Errorf("the employer got %+v", own)
	}
	for name, ask := range map[string]struct {
		p    access.Principal
		path string
	}{
		"another's offer":   {employerB, path + r.service.names.mask(employerB.Employer, fits)},
		"not to be shown":   {employerA, path + r.service.names.mask(employerA.Employer, who)},
		"nobody":            {counsellor, path + id(77)},
		"no offer":          {counsellor, "/api/matching/offers/" + id(101) + "/candidates/" + who},
		"outside the scope": {careOnly, path + who},
		"no id":             {counsellor, path + "x"},
		"the real id":       {employerA, path + fits},
	} {
		if status, _, body := r.send(r.replica, ask.p, "GET", ask.path, "", ""); status != 404 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}
