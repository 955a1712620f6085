package employers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	employersv1 "masar.local/proto/masar/employers/v1"
)

// Valid numbers of made-up companies.
const (
	siretA = "73282932000074"
	siretB = "44229377500031"
)

func TestSIRET(t *testing.T) {
	for _, good := range []string{siretA, siretB, "35600000000048", "35600000049837", "35600000009075"} {
		if reason := checkSIRET(good); reason != "" {
			t.Errorf("%s: %s", good, reason)
		}
	}
	for _, bad := range []string{"", "7328293200007", "73282932000075", "73282932100074", "7328293200007X", "00000000000000", "35600000049838", "732829320000740"} {
		if checkSIRET(bad) == "" {
			t.Errorf("%q is taken for a SIRET", bad)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		digit := rapid.IntRange(0, 13).Draw(t, "place")
		other := rapid.IntRange(0, 9).Draw(t, "digit")
		mistyped := []byte(siretA)
		if int(mistyped[digit]-'0') == other {
			return
		}
		mistyped[digit] = byte('0' + other)
		if checkSIRET(string(mistyped)) == "" {
			t.Fatalf("one wrong digit in %s is not found: %s", siretA, mistyped)
		}
	})
}

func TestEmployerLife(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	e, err := s.Register(ctx, RegisterRequest{EmployerRecord{
		LegalName: "  Vergers  de l'Été ", SIRET: "732 829 320 00074", NAF: "0124Z", Address: Address{Commune: "2a004"},
		Contact: &Contact{Name: "Anne", Email: "anne@example.fr", Phone: "+33 4 74 00 00 00"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if e.LegalName != "Vergers de l'Été" || e.SIRET != siretA || e.SIREN != "732829320" || e.NAF != "01.24Z" || e.Address.Departement != "2A" ||
		e.EmployerRecord.Status != StatusActive || e.Contact.Phone != "+33474000000" || e.Version != 1 {
		t.Errorf("registered as %+v", e)
	}
	if _, err := s.Register(ctx, RegisterRequest{EmployerRecord{LegalName: "Autre", SIRET: siretA}}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) || !strings.Contains(err.Error(), e.ID) {
		t.Errorf("the same SIRET again: %v", err)
	}
	other := register(t, s, "Verger du Sud", siretB)

	for name, want := range map[string]int{"": 2, "vergers": 1, "VERGER": 2, "vergers de l ete": 1, "sud": 0} {
		page, err := s.Employers(ctx, EmployersRequest{Name: name, Paging: api.Paging{Limit: 10}})
		if err != nil || len(page.Items) != want {
			t.Errorf("search %q: %d found, %v; want %d", name, len(page.Items), err, want)
		}
	}

	update := func(version string, r EmployerRecord) (EmployerView, error) {
		return s.UpdateEmployer(ctx, UpdateEmployerRequest{ID: e.ID, IfMatch: version, EmployerRecord: r})
	}
	suspended := EmployerRecord{LegalName: "Vergers de l'Été", SIRET: siretA, NAF: "01.24Z", Address: Address{Commune: "2A004"}, Status: StatusSuspended}
	if _, err := update("", suspended); !errors.Is(err, &api.Error{Kind: api.KindPreconditionRequired}) {
		t.Errorf("without a version: %v", err)
	}
	if _, err := update(`"7"`, suspended); !errors.Is(err, docstore.ErrStale) {
		t.Errorf("with a version that is not: %v", err)
	}
	if _, err := update(`"1"`, EmployerRecord{LegalName: "X", SIRET: siretB}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("with the SIRET of another: %v", err)
	}
	v, err := update(`"1"`, suspended)
	if err != nil || v.Status != StatusSuspended || v.Version != 2 || v.Contact.Name != "Anne" {
		t.Errorf("suspended: %+v, %v", v, err)
	}
	if again, err := update(`"2"`, suspended); err != nil || again.Version != 2 {
		t.Errorf("the same record again is version %d, %v", again.Version, err)
	}
	if _, err := s.Post(ctx, PostRequest{OfferRecord{Title: "x", ROME: "A1401", EmployerID: e.ID}}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("a suspended employer posts: %v", err)
	}
	if _, err := s.Post(ctx, PostRequest{OfferRecord{Title: "x", ROME: "A1401", EmployerID: other}}); err != nil {
		t.Errorf("an active employer posts: %v", err)
	}
	d, err := s.employers.Get(ctx, e.ID)
	if err != nil || d.Seq != 2 {
		t.Errorf("%d events, %v; want registered and updated", d.Seq, err)
	}
}

func TestEmployerRecordFaults(t *testing.T) {
	r := EmployerRecord{
		SIRET: "123", NAF: "agriculture", Status: "dead", Address: Address{Postcode: "1000", Commune: "99999", Departement: "XX"},
		Contact: &Contact{Email: "nobody", Phone: "04 74"},
	}
	var paths []string
	for _, f := range r.clean() {
		paths = append(paths, f.Path)
	}
	want := []string{"legal_name", "siret", "naf", "status", "address.postcode", "address.commune", "address.departement", "contact.email", "contact.phone"}
	if !slices.Equal(paths, want) {
		t.Errorf("wrong are %v, want %v", paths, want)
	}
}

func TestOfferLife(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	employer := register(t, s, "Vergers", siretA)
	posted, err := s.Post(ctx, PostRequest{OfferRecord{
		EmployerID: employer, Title: "Cueillette", ROME: "a1401", Contract: "sai", ContractMonths: 4, Posts: 2, Commune: "13004", HoursWeek: 39,
		Pay: &PayRecord{Period: PerHour, MinCents: 1202}, Languages: []LanguageRecord{{Code: "FR", CEFR: "a2", Required: true}}, Licences: []LicenceRecord{{Category: "b"}},
		StartsOn: api.NewDate(2026, 5, 1), EndsOn: api.NewDate(2026, 8, 31), PublishedOn: api.NewDate(2026, 3, 1), ExperienceMonths: 6,
	}})
	if err != nil {
		t.Fatal(err)
	}
	terms := offer(t, s, posted.ID).Body.Terms()
	text, err := protoJSON(&offer(t, s, posted.ID).Body)
	if err != nil {
		t.Fatal(err)
	}
	if terms.Sector != "agriculture" || terms.Scheme != "agri" || terms.Departement != "13" || terms.Region != "93" || terms.Contract != "SAI" || terms.ContractMonths != 4 ||
		terms.Posts != 2 || terms.PostsFilled != 0 || terms.ExperienceMonths != 6 || terms.HoursWeekHundredths != 3900 || terms.PayMonthMinCents != 203138 || terms.PayMonthMaxCents != 203138 ||
		terms.StartsOn != "2026-05-01" || terms.EndsOn != "2026-08-31" || terms.Origin != OriginAPI || terms.EmployerId != employer ||
		len(terms.Languages) != 1 || terms.Languages[0].Cefr != "A2" || terms.Licences[0].Category != "B" {
		t.Errorf("terms %s", text)
	}
	if strings.Contains(string(text), "Vergers") || strings.Contains(string(text), "Cueillette") {
		t.Errorf("a name or a text is in the event: %s", text)
	}
	if !posted.OpenedAt.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) || !posted.RecordedAt.Equal(day) {
		t.Errorf("opened %s, recorded %s", posted.OpenedAt, posted.RecordedAt)
	}

	// What was read can be sent back and changes nothing that others hear of.
	record := posted.OfferRecord
	v, err := s.UpdateOffer(ctx, UpdateOfferRequest{ID: posted.ID, IfMatch: posted.ETag(), OfferRecord: record})
	if err != nil || offer(t, s, posted.ID).Seq != 1 {
		t.Errorf("sent back: %v, %d events", err, offer(t, s, posted.ID).Seq)
	}
	record.Posts = 3
	if _, err := s.UpdateOffer(ctx, UpdateOfferRequest{ID: posted.ID, IfMatch: posted.ETag(), OfferRecord: record}); !errors.Is(err, docstore.ErrStale) {
		t.Errorf("stale update: %v", err)
	}
	if v, err = s.UpdateOffer(ctx, UpdateOfferRequest{ID: posted.ID, IfMatch: v.ETag(), OfferRecord: record}); err != nil || v.Posts != 3 || v.Scheme != "agri" {
		t.Errorf("updated to %+v, %v", v, err)
	}

	fill := func(candidate string) (OfferView, error) {
		return s.Fill(ctx, FillRequest{ID: posted.ID, CandidateID: candidate})
	}
	for i, candidate := range []string{"c1", "", "c1", "c2"} {
		if v, err = fill(candidate); err != nil {
			t.Fatalf("fill %d: %v", i, err)
		}
	}
	if v.PostsFilled != 3 || v.Status != OfferClosed || v.CloseReason != ReasonFilled {
		t.Errorf("filled: %+v", v)
	}
	if _, err := fill("c3"); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("a fourth of three posts: %v", err)
	}
	if _, err := s.Close(ctx, CloseRequest{ID: posted.ID, Reason: ReasonWithdrawn}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("withdrawn after it was filled: %v", err)
	}
	if _, err := s.UpdateOffer(ctx, UpdateOfferRequest{ID: posted.ID, IfMatch: v.ETag(), OfferRecord: record}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("updated after it was filled: %v", err)
	}
	// Opened, updated, three posts filled, closed.
	if d := offer(t, s, posted.ID); d.Seq != 6 {
		t.Errorf("%d events, want 6", d.Seq)
	}

	second := post(t, s, nil)
	for range 2 {
		if v, err = s.Close(ctx, CloseRequest{ID: second, Reason: ReasonWithdrawn}); err != nil || v.Status != OfferClosed {
			t.Errorf("closed: %+v, %v", v, err)
		}
	}
	if d := offer(t, s, second); d.Seq != 2 {
		t.Errorf("%d events, want opened and closed", d.Seq)
	}
	if _, err := s.Close(ctx, CloseRequest{ID: second, Reason: ReasonFilled}); !errors.Is(err, &api.Error{Kind: api.KindInvalid}) {
		t.Errorf("closed as filled by hand: %v", err)
	}
	if _, err := s.Close(ctx, CloseRequest{ID: "nowhere", Reason: ReasonWithdrawn}); !errors.Is(err, docstore.ErrNotFound) {
		t.Errorf("an offer that is not: %v", err)
	}
}

func TestOfferRecordFaults(t *testing.T) {
	r := OfferRecord{
		ROME: "99", Scheme: "moon", Contract: "XXX", ContractMonths: -1, Posts: -2, Departement: "99", Postcode: "abc", ExperienceMonths: 9999,
		HoursWeek: 100, Pay: &PayRecord{Period: "day"}, Languages: []LanguageRecord{{Code: "français", CEFR: "D1"}}, Licences: []LicenceRecord{{Category: "Q"}},
		Competences: []CompetenceRecord{{Code: "100023"}, {Code: "Tailler"}},
		StartsOn:    api.NewDate(2026, 5, 2), EndsOn: api.NewDate(2026, 5, 1), PublishedOn: api.NewDate(2030, 1, 1),
	}
	_, wrong := r.content(day)
	var paths []string
	for _, f := range wrong {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	want := []string{
		"competences[1].code", "contract", "contract_months", "departement", "ends_on", "experience_months", "hours_week", "languages[0].cefr", "languages[0].code",
		"licences[0].category", "pay.period", "postcode", "posts", "published_on", "rome", "scheme", "title",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("wrong are %v, want %v", paths, want)
	}
}

// The competences of an offer: others hear of each once, what the source says in
// words stays with the offer, and an edit replaces the codes only.
func TestCompetencesOfAnOffer(t *testing.T) {
	store := openStore(t)
	s, ctx := newServiceOn(t, store, clock), officer(t)
	res, err := s.Import(ctx, ImportRequest{Rows: Rows{minimal(t, map[string]any{"competences": []any{
		map[string]any{"code": "125000", "libelle": "Tailler", "exigence": "S"},
		map[string]any{"code": "100023", "libelle": "Abattre un arbre", "exigence": "S"},
		map[string]any{"libelle": "sportif", "exigence": "E"},
		map[string]any{"code": "100023", "libelle": "Abattre", "exigence": "E"},
	}})}})
	if err != nil || res.Rows[0].Outcome != OutcomeCreated {
		t.Fatalf("imported: %+v, %v", res, err)
	}
	id := res.Rows[0].ID
	asked := func() string {
		var all []string
		for _, c := range offer(t, s, id).Body.Terms().Competences {
			all = append(all, fmt.Sprint(c.Code, " ", c.Required))
		}
		return strings.Join(all, ", ")
	}
	if got := asked(); got != "100023 true, 125000 false" {
		t.Errorf("others hear of %s", got)
	}
	v, err := s.Offer(ctx, IDRequest{id})
	if err != nil || len(v.Competences) != 2 || len(v.Published.Skills) != 4 {
		t.Fatalf("shown as %+v, %v", v, err)
	}
	// Sent back, nothing changes; then one more is asked for, and one not any more.
	update := func(r OfferRecord) {
		t.Helper()
		if v, err = s.UpdateOffer(ctx, UpdateOfferRequest{ID: id, IfMatch: v.ETag(), OfferRecord: r}); err != nil {
			t.Fatal(err)
		}
	}
	update(v.OfferRecord)
	if n := offer(t, s, id).Seq; n != 1 || len(v.Published.Skills) != 4 {
		t.Errorf("sent back, %d events, skills %+v", n, v.Published.Skills)
	}
	r := v.OfferRecord
	r.Competences = []CompetenceRecord{{Code: "300425"}, {Code: "125000", Required: true}}
	update(r)
	if got := asked(); got != "125000 true, 300425 false" {
		t.Errorf("after the edit others hear of %s", got)
	}
	want := []Skill{{Code: "300425"}, {Code: "125000", Text: "Tailler", Required: true}, {Text: "sportif", Required: true}}
	if !slices.Equal(v.Published.Skills, want) {
		t.Errorf("after the edit the skills are %+v, want %+v", v.Published.Skills, want)
	}
	if got := told(t, store, id); got != "OfferOpened 0, OfferUpdated 0" {
		t.Errorf("others hear %s", got)
	}
}

// Suspending an employer is for a time: its offers stay, and say so wherever they
// are shown; reinstated, they are as they were.
func TestOffersOfASuspendedEmployer(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	employer, other := register(t, s, "Vergers", siretA), register(t, s, "Ruchers", siretB)
	mine := post(t, s, func(r *OfferRecord) { r.EmployerID = employer })
	post(t, s, func(r *OfferRecord) { r.EmployerID = other })
	post(t, s, nil)
	for version, status := range []string{StatusActive, StatusSuspended, StatusActive} {
		if version > 0 {
			record := EmployerRecord{LegalName: "Vergers", SIRET: siretA, Status: status}
			if _, err := s.UpdateEmployer(ctx, UpdateEmployerRequest{ID: employer, IfMatch: fmt.Sprintf(`"%d"`, version), EmployerRecord: record}); err != nil {
				t.Fatal(err)
			}
		}
		page, err := s.Offers(ctx, OffersRequest{Status: OfferOpen, Paging: api.Paging{Limit: 10}})
		if err != nil || len(page.Items) != 3 {
			t.Fatalf("%s: %d open offers, %v", status, len(page.Items), err)
		}
		for _, v := range page.Items {
			if want := v.ID == mine && status == StatusSuspended; v.EmployerSuspended != want {
				t.Errorf("%s: in the list, offer of %q is of a suspended employer: %v", status, v.EmployerID, v.EmployerSuspended)
			}
		}
		if v, err := s.Offer(ctx, IDRequest{mine}); err != nil || v.Status != OfferOpen || v.EmployerSuspended != (status == StatusSuspended) {
			t.Errorf("%s: the offer is %+v, %v", status, v, err)
		}
	}
	if n := offer(t, s, mine).Seq; n != 1 {
		t.Errorf("the offer told %d events, want its opening only", n)
	}
}

func TestConcurrentFillsNeverExceedThePosts(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	const posts, tries = 7, 40
	id := post(t, s, func(r *OfferRecord) { r.Posts = posts })
	var wait sync.WaitGroup
	var mu sync.Mutex
	filled, refused := 0, 0
	for i := range tries {
		wait.Go(func() {
			if i%2 == 0 { // each decision comes twice, as Kafka may deliver it
				for range 2 {
					if err := s.Hired(t.Context(), Decision{ID: fmt.Sprintf("d%d", i), OfferID: id, CandidateID: fmt.Sprintf("c%d", i), At: day}); err != nil {
						t.Error(err)
					}
				}
				return
			}
			_, err := s.Fill(ctx, FillRequest{ID: id})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				filled++
			case errors.Is(err, &api.Error{Kind: api.KindConflict}):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	d := offer(t, s, id)
	byHand, decisions := 0, map[string]int{}
	waiting := 0
	for _, f := range d.Body.Fills {
		switch {
		case f.Waiting:
			waiting++
		case f.DecisionID == "":
			byHand++
		default:
			decisions[f.DecisionID]++
		}
	}
	if d.Body.filled() != posts || waiting+len(decisions) != tries/2 || byHand != filled || filled+refused != tries/2 || d.Body.CloseReason != ReasonFilled || d.Seq != 1+posts+1 {
		t.Errorf("%d filled of %d, %d wait (%d by hand, %d answered so), closed %q, %d events", d.Body.filled(), posts, waiting, byHand, filled, d.Body.CloseReason, d.Seq)
	}
	for id, n := range decisions {
		if n != 1 {
			t.Errorf("decision %s fills %d posts", id, n)
		}
	}
}

func TestHiredDecisions(t *testing.T) {
	store := openStore(t)
	s, ctx := newServiceOn(t, store, clock), officer(t)
	id := post(t, s, func(r *OfferRecord) { r.Posts = 3 })
	// Filled by hand first: the decision that comes later is the same hire.
	if _, err := s.Fill(ctx, FillRequest{ID: id, CandidateID: "c1"}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []Decision{{"d1", id, "c1", day}, {"d1", id, "c1", day}, {"d2", id, "c2", day}} {
		if err := s.Hired(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if o := offer(t, s, id).Body; len(o.Fills) != 2 || o.Fills[0].DecisionID != "d1" {
		t.Errorf("fills %+v", o.Fills)
	}
	// Withdrawn: what was decided before still counts, what is decided after does not.
	at := day
	if _, err := s.Close(ctx, CloseRequest{ID: id, Reason: ReasonWithdrawn, OccurredAt: &at}); err != nil {
		t.Fatal(err)
	}
	if err := s.Hired(t.Context(), Decision{"d3", id, "c3", day.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if o := offer(t, s, id).Body; len(o.Fills) != 2 {
		t.Errorf("a decision after the withdrawal fills a post: %+v", o.Fills)
	}
	if err := s.Hired(t.Context(), Decision{"d4", id, "c4", day.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	d := offer(t, s, id)
	if len(d.Body.Fills) != 3 || d.Body.CloseReason != ReasonWithdrawn {
		t.Errorf("a decision before the withdrawal: %+v, %s", d.Body.Fills, d.Body.CloseReason)
	}
	// Filled by hand, then by which decision; the last that others hear of a
	// closed offer is that it is closed.
	if got, want := told(t, store, id), "OfferOpened 0, PostFilled 1, PostFilled 1 d1 attributed, PostFilled 2 d2, OfferClosed 2, PostFilled 3 d4, OfferClosed 3"; got != want {
		t.Errorf("others hear\n%s, want\n%s", got, want)
	}
	if err := s.Hired(t.Context(), Decision{"d5", "01NOWHERE", "c5", day}); !errors.Is(err, ErrUnknownOffer) {
		t.Errorf("a decision about no offer: %v", err)
	}
}

// The last post is filled by hand, which closes the offer, before its decision
// is known.
func TestADecisionBehindAClosedOffer(t *testing.T) {
	store := openStore(t)
	s, ctx := newServiceOn(t, store, clock), officer(t)
	id := post(t, s, nil)
	if _, err := s.Fill(ctx, FillRequest{ID: id, CandidateID: "c1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Hired(t.Context(), Decision{"d1", id, "c1", day}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := told(t, store, id), "OfferOpened 0, PostFilled 1, OfferClosed 1, PostFilled 1 d1 attributed, OfferClosed 1"; got != want {
		t.Errorf("others hear\n%s, want\n%s", got, want)
	}
}

// A post that was given back is free, the offer is open again, and whoever waited
// for a post gets it.
func TestReleasedPosts(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	hire := func(id string, decisions ...string) {
		t.Helper()
		for _, d := range decisions {
			if err := s.Hired(t.Context(), Decision{d, id, "c-" + d, day}); err != nil {
				t.Fatal(err)
			}
		}
	}
	release := func(id string, decisions ...string) {
		t.Helper()
		for _, d := range decisions {
			if err := s.Released(t.Context(), Decision{d, id, "c-" + d, day.Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(what, id string, filled int32, status string, events int64) {
		t.Helper()
		if d := offer(t, s, id); d.Body.filled() != filled || d.Body.Status != status || d.Seq != events {
			t.Errorf("%s: %d filled, %s, %d events; want %d, %s, %d: %+v", what, d.Body.filled(), d.Body.Status, d.Seq, filled, status, events, d.Body.Fills)
		}
	}
	id := post(t, s, func(r *OfferRecord) { r.Posts = 2 })
	hire(id, "d1", "d2")
	expect("full", id, 2, OfferClosed, 4)
	release(id, "d1", "d1", "d9")
	expect("one given back", id, 1, OfferOpen, 5)
	hire(id, "d1") // an old message again
	expect("what was given back stays so", id, 1, OfferOpen, 5)
	hire(id, "d3", "d4", "d4") // d4 comes before what makes room for it
	expect("full again", id, 2, OfferClosed, 7)
	release(id, "d2")
	expect("who waited has the post", id, 2, OfferClosed, 10)
	hire(id, "d5")
	release(id, "d5", "d3") // d5 does not wait any more when d3's post is free
	expect("who gave up does not", id, 1, OfferOpen, 11)
	if _, err := s.Fill(ctx, FillRequest{ID: id, CandidateID: "c-d1"}); err != nil {
		t.Errorf("the same person by hand: %v", err)
	}
	expect("by hand", id, 2, OfferClosed, 13)

	// Withdrawn is withdrawn, whoever gives a post back.
	gone := post(t, s, func(r *OfferRecord) { r.Posts = 2 })
	hire(gone, "d1")
	at := day
	if _, err := s.Close(ctx, CloseRequest{ID: gone, Reason: ReasonWithdrawn, OccurredAt: &at}); err != nil {
		t.Fatal(err)
	}
	release(gone, "d1")
	expect("withdrawn", gone, 0, OfferClosed, 5)
	if err := s.Released(t.Context(), Decision{"d5", "01NOWHERE", "c5", day}); !errors.Is(err, ErrUnknownOffer) {
		t.Errorf("a decision about no offer: %v", err)
	}
}

// Matching never takes more people than there are posts; its decisions about
// different people come in any order and repeated. In the end exactly those who
// were not given back have a post, and the events say the same as the document.
func TestPostsFollowDecisionsInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		posts := rapid.Int32Range(1, 3).Draw(t, "posts")
		var events []proto.Message
		emit := func(_ string, _, _ time.Time, data eventData) docstore.Event {
			events = append(events, data)
			return docstore.Event{}
		}
		d := &docstore.Doc[Offer]{ID: "o"}
		openOffer(emit, d, OriginAPI, "", Content{Posts: posts, PublishedAt: day}, day)

		// What happened: people take posts and give them back, never too many at once.
		type message struct {
			id   string
			back bool
		}
		cases := map[string][]message{}
		var holding []string
		for i := range rapid.IntRange(0, 12).Draw(t, "steps") {
			if len(holding) == int(posts) || len(holding) > 0 && rapid.Bool().Draw(t, "give back") {
				k := rapid.IntRange(0, len(holding)-1).Draw(t, "who")
				cases[holding[k]] = append(cases[holding[k]], message{holding[k], true})
				holding = slices.Delete(holding, k, k+1)
			} else {
				id := fmt.Sprint("d", i)
				cases[id] = append(cases[id], message{id, false})
				holding = append(holding, id)
			}
		}
		// What comes: each case in its order, the cases mixed, old messages again.
		for len(cases) > 0 {
			ids := slices.Sorted(maps.Keys(cases))
			id := rapid.SampledFrom(ids).Draw(t, "next")
			m := cases[id][0]
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				var err error
				if m.back {
					err = d.Body.release(emit, d, m.id, day, day)
				} else {
					err = d.Body.fill(emit, d, Fill{DecisionID: m.id, CandidateID: "c" + m.id, At: day}, day)
				}
				if err != nil && !errors.Is(err, docstore.Unchanged) {
					t.Fatal(err)
				}
			}
			if n := d.Body.filled(); n > posts {
				t.Fatalf("%d of %d posts are filled", n, posts)
			}
			if cases[id] = cases[id][1:]; len(cases[id]) == 0 {
				delete(cases, id)
			}
		}
		var standing []string
		for _, f := range d.Body.Fills {
			if f.stands() {
				standing = append(standing, f.DecisionID)
			}
		}
		slices.Sort(standing)
		slices.Sort(holding)
		if !slices.Equal(standing, holding) || (d.Body.Status == OfferOpen) != (len(holding) < int(posts)) {
			t.Fatalf("posts of %v, want %v; %s", standing, holding, d.Body.Status)
		}
		// Folded as others fold them.
		open, counted := false, map[string]bool{}
		var terms *employersv1.Terms
		for _, e := range events {
			switch e := e.(type) {
			case *employersv1.OfferOpened:
				open, terms = true, e.Terms
			case *employersv1.PostFilled:
				counted[e.DecisionId], terms = true, e.Terms
			case *employersv1.PostReleased:
				delete(counted, e.DecisionId)
				open, terms = true, e.Terms
			case *employersv1.OfferClosed:
				open, terms = false, e.Terms
			}
		}
		if open != (d.Body.Status == OfferOpen) || int(terms.PostsFilled) != len(holding) || !slices.Equal(slices.Sorted(maps.Keys(counted)), holding) {
			t.Fatalf("the events say open %v, %d filled, by %v", open, terms.PostsFilled, counted)
		}
	})
}

func TestExpiry(t *testing.T) {
	now := day
	s := newService(t, func() time.Time { return now })
	lastDay := func(d api.Date) func(*OfferRecord) { return func(r *OfferRecord) { r.EndsOn = d } }
	over := post(t, s, lastDay(api.NewDate(2026, 3, 9)))
	today := post(t, s, lastDay(api.NewDate(2026, 3, 10)))
	later := post(t, s, lastDay(api.NewDate(2026, 4, 1)))
	unknown := post(t, s, nil)
	expire := func(want int) {
		t.Helper()
		if n, err := s.Expire(t.Context()); err != nil || n != want {
			t.Errorf("%d closed, %v; want %d", n, err, want)
		}
	}
	expire(1)
	expire(0)
	if o := offer(t, s, over).Body; o.CloseReason != ReasonExpired || !o.ClosedAt.Equal(time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)) || !o.UpdatedAt.Equal(day) {
		t.Errorf("expired as %s at %s, recorded %s", o.CloseReason, o.ClosedAt, o.UpdatedAt)
	}
	now = day.AddDate(0, 0, 1)
	expire(1)
	now = day.AddDate(1, 0, 0)
	expire(1)
	for id, want := range map[string]string{today: OfferClosed, later: OfferClosed, unknown: OfferOpen} {
		if o := offer(t, s, id).Body; o.Status != want {
			t.Errorf("an offer until %q is %s, want %s", o.Content.EndsOn, o.Status, want)
		}
	}
}

func TestRealOffersTwice(t *testing.T) {
	rows := realOffers(t)
	s := newService(t, clock)
	dry, err := s.Import(officer(t), ImportRequest{Rows: rows[:maxRows], DryRun: true})
	if err != nil || !dry.DryRun {
		t.Fatal(err)
	}
	for _, r := range dry.Rows {
		if r.Outcome != OutcomeCreated {
			t.Fatalf("dry run: %+v", r)
		}
	}
	if n, err := s.offers.Count(t.Context()); err != nil || n != 0 {
		t.Fatalf("a dry run wrote %d offers, %v", n, err)
	}
	started := time.Now()
	if count := importAll(t, s, rows); count[OutcomeCreated] != 605 || len(count) != 1 {
		t.Fatalf("outcomes %v, want 605 created", count)
	}
	took := time.Since(started)
	before, events := state(t, s)
	if len(before) != 605 || events != 605 {
		t.Errorf("%d offers and %d events, want 605 of each", len(before), events)
	}
	if count := importAll(t, s, rows); count[OutcomeUnchanged] != 605 || len(count) != 1 {
		t.Errorf("the same file again: %v", count)
	}
	if after, again := state(t, s); !maps.Equal(before, after) || again != events {
		t.Error("the same file again changed something")
	}
	t.Logf("605 real offers in %s", took)
}

// versioned is an offer of France Travail by its number, in one of its versions.
func versioned(t testing.TB, number, version int) json.RawMessage {
	return minimal(t, map[string]any{
		"id": fmt.Sprintf("T%05d", number), "nombrePostes": 1 + version,
		"dateActualisation": day.Add(time.Duration(version) * time.Hour).Format(time.RFC3339),
	})
}

// Files in any order, cut and repeated in any way, leave the same offers after
// the same number of events as one clean file. By the dry run, which takes rows
// as an import does, without a disk.
func TestAnyOrderAndRepetitionOfFilesGivesTheSame(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	var rows []json.RawMessage
	for i := range 30 {
		rows = append(rows, versioned(t, i, 0))
	}
	result := func(t failer, files ...[]json.RawMessage) (offers map[string]string, events int64) {
		t.Helper()
		drafts := map[string]*docstore.Doc[Offer]{}
		for _, row := range slices.Concat(files...) {
			in, refused := readRow(row)
			if refused != nil {
				t.Fatalf("refused: %+v", refused)
			}
			d := drafts[in.id]
			if _, err := s.place(ctx, in, true, &d, day); err != nil {
				t.Fatalf("%v", err)
			}
			drafts[in.id] = d
		}
		offers = map[string]string{}
		for id, d := range drafts {
			text, err := json.Marshal(d.Body)
			if err != nil {
				t.Fatalf("%v", err)
			}
			offers[id] = string(text)
			events += d.Seq
		}
		return offers, events
	}
	want, events := result(t, rows)
	if len(want) != 30 || events != 30 {
		t.Fatalf("%d offers and %d events, want 30 of each", len(want), events)
	}
	rapid.Check(t, func(r *rapid.T) {
		var files [][]json.RawMessage
		for range rapid.IntRange(0, 3).Draw(r, "files") {
			shuffled := rapid.Permutation(rows).Draw(r, "file")
			cut := rapid.IntRange(0, len(rows)).Draw(r, "cut")
			files = append(files, shuffled[:cut], shuffled[:cut/2])
		}
		files = append(files, rapid.Permutation(rows).Draw(r, "the whole"))
		if got, n := result(r, files...); !maps.Equal(got, want) || n != events {
			r.Fatalf("%d offers and %d events, want %d and %d", len(got), n, len(want), events)
		}
	})
}

// failer is what tests and properties fail by.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func TestAnyOrderOnDisk(t *testing.T) {
	var rows []json.RawMessage
	for i := range 40 {
		rows = append(rows, versioned(t, i, 0))
	}
	first := newService(t, clock)
	importAll(t, first, rows)
	want, events := state(t, first)
	shuffle := rand.New(rand.NewPCG(3, 4))
	for range 3 {
		s := newService(t, clock)
		for range 3 {
			shuffle.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			importAll(t, s, slices.Concat(rows[:25], rows[5:15]))
		}
		importAll(t, s, rows)
		if got, n := state(t, s); !maps.Equal(got, want) || n != events {
			t.Fatalf("%d offers and %d events, want %d and %d", len(got), n, len(want), events)
		}
	}
}

func TestTheNewestVersionWinsInAnyOrder(t *testing.T) {
	s := newService(t, clock)
	var rows []json.RawMessage
	for number := range 10 {
		for version := range 4 {
			rows = append(rows, versioned(t, number, version))
		}
	}
	shuffle := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		shuffle.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		importAll(t, s, rows)
	}
	for d, err := range s.offers.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Body.Content.Posts != 4 || d.Seq > 4 {
			t.Errorf("%s has %d posts after %d events, want the 4 of its last version", d.Body.Content.SourceID, d.Body.Content.Posts, d.Seq)
		}
	}
}

func TestRowsAboutAKnownOffer(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	one := func(row json.RawMessage) RowResult {
		t.Helper()
		res, err := s.Import(ctx, ImportRequest{Rows: Rows{row}})
		if err != nil {
			t.Fatal(err)
		}
		return res.Rows[0]
	}
	created := one(versioned(t, 1, 1))
	if created.Outcome != OutcomeCreated {
		t.Fatalf("%+v", created)
	}
	if r := one(versioned(t, 1, 0)); r.Outcome != OutcomeUnchanged || len(r.Fields) != 1 || r.Fields[0].Code != "older" || r.ID != created.ID {
		t.Errorf("an older version: %+v", r)
	}
	// The same date with another field is a change all the same.
	changed := minimal(t, map[string]any{"id": "T00001", "nombrePostes": 2, "dateActualisation": day.Add(time.Hour).Format(time.RFC3339), "description": "Corrigée"})
	if r := one(changed); r.Outcome != OutcomeUpdated {
		t.Errorf("a changed description: %+v", r)
	}
	d := offer(t, s, created.ID)
	if d.Body.Content.Description != "Corrigée" || d.Seq != 1 {
		t.Errorf("description %q after %d events: no term changed, so nobody hears of it", d.Body.Content.Description, d.Seq)
	}
	// An officer qualifies the offer; the same row again does not undo it, a newer
	// one keeps what a person decided.
	employer := register(t, s, "Vergers", siretA)
	v, err := s.Offer(ctx, IDRequest{created.ID})
	if err != nil {
		t.Fatal(err)
	}
	record := v.OfferRecord
	record.EmployerID, record.Posts, record.Scheme = employer, 5, "soin"
	if _, err := s.UpdateOffer(ctx, UpdateOfferRequest{ID: created.ID, IfMatch: v.ETag(), OfferRecord: record}); err != nil {
		t.Fatal(err)
	}
	if r := one(changed); r.Outcome != OutcomeUnchanged {
		t.Errorf("the same row after an edit: %+v", r)
	}
	if r := one(versioned(t, 1, 3)); r.Outcome != OutcomeUpdated {
		t.Errorf("a newer row: %+v", r)
	}
	d = offer(t, s, created.ID)
	if c := d.Body.Content; c.Posts != 4 || c.EmployerID != employer || c.Scheme != "soin" || c.Contract.Text != "Saisonnier - 3 Mois" {
		t.Errorf("after a newer row: %+v", c)
	}
	// Three of four posts are filled; the source then speaks of fewer.
	for i := range 3 {
		if err := s.Hired(t.Context(), Decision{fmt.Sprint("d", i), created.ID, fmt.Sprint("c", i), day}); err != nil {
			t.Fatal(err)
		}
	}
	fewer := minimal(t, map[string]any{"id": "T00001", "nombrePostes": 1, "dateActualisation": day.Add(9 * time.Hour).Format(time.RFC3339)})
	if r := one(fewer); r.Outcome != OutcomeUpdated {
		t.Errorf("fewer posts: %+v", r)
	}
	d = offer(t, s, created.ID)
	if d.Body.Content.Posts != 3 || d.Body.Status != OfferClosed || d.Body.CloseReason != ReasonFilled {
		t.Errorf("%d posts, %s %s", d.Body.Content.Posts, d.Body.Status, d.Body.CloseReason)
	}
	seq := d.Seq
	newer := minimal(t, map[string]any{"id": "T00001", "nombrePostes": 9, "dateActualisation": day.Add(10 * time.Hour).Format(time.RFC3339)})
	if r := one(newer); r.Outcome != OutcomeUpdated || len(r.Fields) == 0 || r.Fields[0].Code != "closed" {
		t.Errorf("a row about a closed offer: %+v", r)
	}
	if d = offer(t, s, created.ID); d.Body.Status != OfferClosed || d.Seq != seq {
		t.Errorf("reopened or told: %s, %d events after %d", d.Body.Status, d.Seq, seq)
	}
}

func TestImportAnswersEveryRow(t *testing.T) {
	s := newService(t, clock)
	res, err := s.Import(officer(t), ImportRequest{Rows: Rows{
		versioned(t, 1, 0), json.RawMessage(`17`), minimal(t, map[string]any{"id": nil}), versioned(t, 1, 0), minimal(t, map[string]any{"dateCreation": "2026-13-45"}), versioned(t, 1, 2),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []string
	for _, r := range res.Rows {
		outcomes = append(outcomes, r.Outcome)
	}
	if want := []string{"created", "refused", "refused", "unchanged", "refused", "updated"}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v, want %v", outcomes, want)
	}
	if f := res.Rows[4].Fields; len(f) != 1 || f[0].Path != "dateCreation" || f[0].Code != "date" || f[0].Value != "2026-13-45" || f[0].Reason == "" {
		t.Errorf("the reason is %+v", f)
	}
	dry, err := newService(t, clock).Import(officer(t), ImportRequest{DryRun: true, Rows: Rows{versioned(t, 1, 0), versioned(t, 1, 0), versioned(t, 1, 2), versioned(t, 1, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	outcomes = nil
	for _, r := range dry.Rows {
		outcomes = append(outcomes, r.Outcome)
	}
	if want := []string{"created", "unchanged", "updated", "unchanged"}; !slices.Equal(outcomes, want) {
		t.Errorf("dry run: %v, want %v", outcomes, want)
	}
	scoped := access.With(t.Context(), access.Principal{Subject: "o", Role: access.Officer, Schemes: []string{"soin"}})
	res, err = s.Import(scoped, ImportRequest{Rows: Rows{versioned(t, 7, 0), minimal(t, map[string]any{"id": "X1", "romeCode": "M1607"})}})
	if err != nil || res.Rows[0].Outcome != OutcomeRefused || res.Rows[0].Fields[0].Code != "scope" || res.Rows[1].Outcome != OutcomeCreated {
		t.Errorf("an officer of one scheme: %+v, %v", res.Rows, err)
	}
}

func TestReceive(t *testing.T) {
	s := newService(t, clock)
	ctx := access.With(t.Context(), partner)
	at := func(text, name string, hours int) RowResult {
		t.Helper()
		r, err := s.Receive(ctx, Inbound{Record: []byte(text), Name: name, At: day.Add(time.Duration(hours)*time.Hour).AddDate(0, 0, -2)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := at(string(versioned(t, 1, 0)), "t/0/0", 0); r.Outcome != OutcomeCreated {
		t.Errorf("France Travail's form: %+v", r)
	}
	own := `{"ref":"R1","title":"Cueillette","rome":"A1401","contract":"SAI","posts":%d}`
	first := at(fmt.Sprintf(own, 1), "t/0/1", 1)
	for i, c := range []struct {
		posts, hours int
		want         string
	}{
		{1, 1, OutcomeUnchanged}, // delivered again
		{1, 2, OutcomeUnchanged}, // sent again
		{2, 3, OutcomeUpdated},
		{1, 1, OutcomeUnchanged}, // the first, delivered again after the second
		{2, 3, OutcomeUnchanged},
		{1, 4, OutcomeUpdated}, // meant
	} {
		if r := at(fmt.Sprintf(own, c.posts), "t/0/2", c.hours); r.Outcome != c.want || r.ID != first.ID {
			t.Errorf("delivery %d: %+v, want %s", i, r, c.want)
		}
	}
	if d := offer(t, s, first.ID); d.Seq != 3 || d.Body.Origin != OriginKafka || d.Body.Content.Posts != 1 {
		t.Errorf("%d events, %+v", d.Seq, d.Body)
	}
	nameless := `{"title":"Cueillette","rome":"A1401"}`
	a, again, b := at(nameless, "t/0/3", 1), at(nameless, "t/0/3", 1), at(nameless, "t/0/4", 1)
	if a.Outcome != OutcomeCreated || again.Outcome != OutcomeUnchanged || again.ID != a.ID || b.Outcome != OutcomeCreated || b.ID == a.ID {
		t.Errorf("without a ref: %+v, %+v, %+v", a, again, b)
	}
	for text, code := range map[string]string{
		"": "json", "[]": "json", "\xff": "json", `{"a":1}`: "form", `{"title":"x","rome":"nope"}`: "rome", `{"title":"x","rome":"A1401","surprise":1}`: "unknown",
		`{"title":7,"rome":"A1401"}`: "type", `{"title":"x","rome":"A1401","employer_id":"nobody"}`: "unknown", `{"intitule":"x"}`: "required",
	} {
		if r := at(text, "t/0/9", 1); r.Outcome != OutcomeRefused || len(r.Fields) == 0 || r.Fields[0].Code != code {
			t.Errorf("%q: %+v, want %s", text, r, code)
		}
	}
}

func TestListsByEveryFilter(t *testing.T) {
	s, ctx := newService(t, clock), officer(t)
	employer := register(t, s, "Vergers", siretA)
	make := func(rome, commune, employer string, published api.Date) string {
		return post(t, s, func(r *OfferRecord) {
			r.ROME, r.Commune, r.EmployerID, r.PublishedOn = rome, commune, employer, published
		})
	}
	var all []string
	for i := range 12 {
		all = append(all, make([]string{"A1401", "A1402", "J1501"}[i%3], []string{"13004", "01053"}[i%2], []string{"", employer}[i%2], api.NewDate(2026, 1, 1+i)))
	}
	if _, err := s.Close(ctx, CloseRequest{ID: all[3], Reason: ReasonWithdrawn}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		req  OffersRequest
		want func(i int) bool
	}{
		{"all", OffersRequest{}, func(i int) bool { return true }},
		{"open", OffersRequest{Status: OfferOpen}, func(i int) bool { return i != 3 }},
		{"closed", OffersRequest{Status: OfferClosed}, func(i int) bool { return i == 3 }},
		{"sector", OffersRequest{Sector: "soin"}, func(i int) bool { return i%3 == 2 }},
		{"scheme", OffersRequest{Scheme: "agri"}, func(i int) bool { return i%3 != 2 }},
		{"rome", OffersRequest{ROME: "A1401"}, func(i int) bool { return i%3 == 0 }},
		{"rome, open", OffersRequest{ROME: "A1401", Status: OfferOpen}, func(i int) bool { return i%3 == 0 && i != 3 }},
		{"department and sector", OffersRequest{Departement: "01", Sector: "agriculture"}, func(i int) bool { return i%2 == 1 && i%3 != 2 }},
		{"employer", OffersRequest{Employer: employer, ROME: "A1402", Status: OfferOpen}, func(i int) bool { return i%2 == 1 && i%3 == 1 }},
		{"nothing", OffersRequest{ROME: "Z9999"}, func(i int) bool { return false }},
	} {
		for _, limit := range []int{1, 3, 50} {
			var want, got []string
			for i := len(all) - 1; i >= 0; i-- { // the newest first
				if c.want(i) {
					want = append(want, all[i])
				}
			}
			req := c.req
			req.Limit = limit
			for pages := 0; ; pages++ {
				page, err := s.Offers(ctx, req)
				if err != nil || len(page.Items) > limit || pages > len(all)+1 {
					t.Fatalf("%s by %d: page of %d, %v", c.name, limit, len(page.Items), err)
				}
				for _, v := range page.Items {
					got = append(got, v.ID)
				}
				if req.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d: %v, want %v", c.name, limit, got, want)
			}
		}
	}
}
