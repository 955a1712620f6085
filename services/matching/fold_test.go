package matching

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

// history is the events of every aggregate, each in its order.
type history map[string][]event.Event

func (h history) add(key string, data proto.Message) {
	seq := int64(len(h[key]) + 1)
	e := event.New("/test", key, at("2026-01-01").Add(time.Duration(seq)*time.Hour), at("2026-01-02"), data)
	e.Seq = seq
	h[key] = append(h[key], e)
}

// genHistory draws what happened to some people, offers and employers.
func genHistory(t *rapid.T) history {
	h := history{}
	profile := func() *candidatesv1.Profile {
		p := &candidatesv1.Profile{
			Sex: "F", BirthYear: 1990, Governorate: rapid.SampledFrom(govs).Draw(t, "governorate"),
			Licences: some(t, []string{"B", "C"}, 2, "licences"), Schemes: some(t, []string{"agri"}, 1, "schemes"),
			Consents: []string{ConsentMatching}, AvailableFrom: rapid.SampledFrom(days).Draw(t, "from"),
			Competences: some(t, []string{"100003", "100023", "125000"}, 3, "competences"),
		}
		for _, rome := range some(t, romes[:3], 2, "romes") {
			p.Occupations = append(p.Occupations, &candidatesv1.Occupation{Rome: rome, ExperienceMonths: rapid.Int32Range(0, 40).Draw(t, "months")})
		}
		return p
	}
	for n := range rapid.IntRange(1, 4).Draw(t, "people") {
		who := id(n)
		h.add(who, &candidatesv1.CandidateRegistered{Profile: profile()})
		for range rapid.IntRange(0, 3).Draw(t, "updates") {
			h.add(who, &candidatesv1.CandidateUpdated{Profile: profile()})
		}
		for w := range rapid.IntRange(0, 2).Draw(t, "pathways") {
			way := id(900 + 10*n + w)
			h.add(way, &candidatesv1.PathwayOpened{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
			stage := "P02"
			for _, to := range some(t, stags, 3, "moves") {
				h.add(way, &candidatesv1.StageEntered{CandidateId: who, Scheme: "agri", SchemeVersion: "1", From: stage, To: to, Placement: to == "P16"})
				stage = to
			}
			switch rapid.IntRange(0, 4).Draw(t, "end") {
			case 0:
				h.add(way, &candidatesv1.PathwayExited{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: stage, Exit: "DESISTEMENT"})
			case 1:
				h.add(way, &candidatesv1.PathwayCompleted{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: stage})
			}
		}
	}
	for n := range 2 {
		employer, offer := id(500+n), id(100+n)
		h.add(employer, &employersv1.EmployerRegistered{Status: "active"})
		for _, status := range some(t, []string{"active", "suspended"}, 2, "statuses") {
			h.add(employer, &employersv1.EmployerUpdated{Status: status})
		}
		terms := func(filled int32) *employersv1.Terms {
			return &employersv1.Terms{
				EmployerId: employer, Rome: rapid.SampledFrom(romes[:2]).Draw(t, "rome"), Scheme: "agri", Posts: 3, PostsFilled: filled,
				Languages:   []*employersv1.LanguageNeed{{Code: "fr", Required: false}},
				Competences: []*employersv1.CompetenceNeed{{Code: "100023", Required: rapid.Bool().Draw(t, "required competence")}},
			}
		}
		h.add(offer, &employersv1.OfferOpened{Terms: terms(0)})
		for i := range rapid.IntRange(0, 2).Draw(t, "filled") {
			h.add(offer, &employersv1.PostFilled{Terms: terms(int32(i + 1)), DecisionId: rapid.SampledFrom([]string{"", "D1", "D2"}).Draw(t, "decision")})
		}
		if rapid.Bool().Draw(t, "updated") {
			h.add(offer, &employersv1.OfferUpdated{Terms: terms(1)})
		}
		if rapid.IntRange(0, 3).Draw(t, "closed") == 0 {
			h.add(offer, &employersv1.OfferClosed{Terms: terms(1), Reason: "withdrawn"})
		}
	}
	return h
}

// deliver draws one way in which a broker may hand out a history: any
// interleaving that keeps the order of each key, with repeats: after a crash a
// key is delivered again from an earlier place on.
func deliver(t *rapid.T, h history) []event.Event {
	var out []event.Event
	next := map[string]int{}
	keys := slices.Sorted(maps.Keys(h))
	for crashes := 5; ; {
		var waiting []string
		for _, k := range keys {
			if next[k] < len(h[k]) {
				waiting = append(waiting, k)
			}
		}
		if len(waiting) == 0 {
			return out
		}
		k := rapid.SampledFrom(waiting).Draw(t, "key")
		out = append(out, h[k][next[k]])
		next[k]++
		if crashes > 0 && rapid.IntRange(0, 9).Draw(t, "crash") == 0 {
			crashes--
			for _, k := range keys {
				next[k] -= rapid.IntRange(0, next[k]).Draw(t, "again")
			}
		}
	}
}

// folded is the documents that a delivery leaves, with versions as a store
// counts them.
type folded struct {
	seekers   map[string]*Seeker
	offers    map[string]*Offer
	employers map[string]*Employer
	index     *Index
}

func fold(t *rapid.T, events []event.Event) folded {
	f := folded{map[string]*Seeker{}, map[string]*Offer{}, map[string]*Employer{}, NewIndex(testRules())}
	for version, e := range events {
		switch kindOf(e) {
		case aboutPerson:
			who, err := person(e)
			if err != nil {
				t.Fatal(err)
			}
			if f.seekers[who] == nil {
				f.seekers[who] = &Seeker{}
			}
			if f.seekers[who].apply(e) {
				f.index.PutSeeker(who, int64(version+1), f.seekers[who])
			}
		case aboutOffer:
			if f.offers[e.Subject] == nil {
				f.offers[e.Subject] = &Offer{}
			}
			if f.offers[e.Subject].apply(e) {
				f.index.PutOffer(e.Subject, int64(version+1), f.offers[e.Subject])
			}
		case aboutEmployer:
			if f.employers[e.Subject] == nil {
				f.employers[e.Subject] = &Employer{}
			}
			if f.employers[e.Subject].apply(e) {
				f.index.PutEmployer(e.Subject, int64(version+1), f.employers[e.Subject])
			}
		}
	}
	return f
}

// Whatever the order between aggregates and whatever is repeated, the documents
// are the same, and so is every shortlist.
func TestFoldIsOrderIndependentAndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := genHistory(t)
		a, b := fold(t, deliver(t, h)), fold(t, deliver(t, h))
		for what, pair := range map[string][2]any{
			"seekers": {a.seekers, b.seekers}, "offers": {a.offers, b.offers}, "employers": {a.employers, b.employers},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Fatalf("%s differ:\n%+v\n%+v", what, pair[0], pair[1])
			}
		}
		for offer := range a.offers {
			ask := Ask{K: 10, Today: today, Seed: "s", Left: -1}
			x, _ := a.index.Candidates(offer, ask)
			y, _ := b.index.Candidates(offer, ask)
			if !reflect.DeepEqual(said(x), said(y)) {
				t.Fatalf("shortlists differ:\n%+v\n%+v", x, y)
			}
		}
	})
}

func TestDocumentsHaveCompetences(t *testing.T) {
	s, o := &Seeker{}, &Offer{}
	s.apply(event.Event{Subject: id(1), Seq: 1, Data: &candidatesv1.CandidateRegistered{Profile: &candidatesv1.Profile{Competences: []string{"100023", "125000"}}}})
	o.apply(event.Event{Subject: id(2), Seq: 1, Data: &employersv1.OfferOpened{Terms: &employersv1.Terms{Competences: []*employersv1.CompetenceNeed{{Code: "100023", Required: true}, {Code: "125000"}}}}})
	if !slices.Equal(s.Competences, []string{"100023", "125000"}) || !slices.Equal(o.Competences, []CompetenceNeed{{"100023", true}, {"125000", false}}) {
		t.Errorf("folded to %v and %v", s.Competences, o.Competences)
	}
	s.apply(event.Event{Subject: id(1), Seq: 2, Data: &candidatesv1.CandidateUpdated{Profile: &candidatesv1.Profile{}}})
	o.apply(event.Event{Subject: id(2), Seq: 2, Data: &employersv1.OfferUpdated{Terms: &employersv1.Terms{}}})
	if len(s.Competences)+len(o.Competences) != 0 {
		t.Errorf("what is not there any more stays: %v and %v", s.Competences, o.Competences)
	}
}

// A post that was filled by hand and then told to be a decision's is one seat,
// taken by that decision.
func TestAttributedPostIsOneSeat(t *testing.T) {
	o := &Offer{}
	o.apply(event.Event{Subject: id(2), Seq: 1, Data: &employersv1.OfferOpened{Terms: &employersv1.Terms{Posts: 2}}})
	o.apply(event.Event{Subject: id(2), Seq: 2, Data: &employersv1.PostFilled{Terms: &employersv1.Terms{Posts: 2, PostsFilled: 1}}})
	byHand := o.seats()
	o.apply(event.Event{Subject: id(2), Seq: 3, Data: &employersv1.PostFilled{Terms: &employersv1.Terms{Posts: 2, PostsFilled: 1}, DecisionId: "D1", Attributed: true}})
	if byHand != 1 || o.seats() != 2 || o.Filled != 1 {
		t.Errorf("%d seats for decisions while filled by hand, then %d, %d filled; want 1, 2, 1", byHand, o.seats(), o.Filled)
	}
}

func TestSeekerKeepsNothingThatMatchingDoesNotNeed(t *testing.T) {
	kept := reflect.TypeFor[Seeker]()
	for i := range kept.NumField() {
		switch kept.Field(i).Name {
		case "Sex", "BirthYear", "Diploma", "DiplomaLevel", "Name":
			t.Errorf("Seeker keeps %s", kept.Field(i).Name)
		}
	}
}

func TestWhatIsNotForMatchingIsLeftAlone(t *testing.T) {
	if got := kindOf(event.Event{Data: &notificationsv1.MessageSent{}}); got != aboutNothing {
		t.Errorf("a message sent is about %d", got)
	}
}

func TestIdsThatCannotBeMaskedAreUnusable(t *testing.T) {
	for _, bad := range []string{"", "42", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01arz3ndektsv4rrffq69g5fav"} {
		e := event.Event{Subject: bad, Seq: 1, Data: &candidatesv1.CandidateRegistered{}}
		if _, err := person(e); !errors.Is(err, ErrUnusable) {
			t.Errorf("id %q: %v, want ErrUnusable", bad, err)
		}
	}
}

// The seats that decisions may fill: posts, less what was filled without us.
func TestSeats(t *testing.T) {
	for _, tt := range []struct {
		posts, filled int32
		counted       []string
		want          int
	}{
		{3, 0, nil, 3},
		{3, 1, nil, 2},             // by hand
		{3, 1, []string{"D1"}, 3},  // through us
		{3, 2, []string{"D1"}, 2},  // one of each
		{3, 0, []string{"D1"}, 3},  // the employer took one back
		{1, 3, []string{"D1"}, -1}, // fewer posts than before
	} {
		o := Offer{Posts: tt.posts, Filled: tt.filled, Counted: tt.counted}
		if got := o.seats(); got != tt.want {
			t.Errorf("%d posts, %d filled, %v through us: %d seats, want %d", tt.posts, tt.filled, tt.counted, got, tt.want)
		}
	}
}

// Whatever an event says, it is folded, matched, scored and put into words
// without a panic, and folding it again changes nothing.
func FuzzFold(f *testing.F) {
	empty := []proto.Message{
		&candidatesv1.CandidateRegistered{}, &candidatesv1.PathwayOpened{}, &candidatesv1.StageEntered{},
		&candidatesv1.PathwayExited{}, &employersv1.OfferOpened{}, &employersv1.PostFilled{}, &employersv1.EmployerUpdated{},
		&candidatesv1.EntryCorrected{}, &candidatesv1.EntryRetracted{},
	}
	seed := func(kind uint8, m proto.Message) {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, data)
	}
	seed(0, &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71", bothConsents...)})
	seed(2, &candidatesv1.StageEntered{CandidateId: id(1), Scheme: "agri", SchemeVersion: "1", To: "P04"})
	seed(4, &employersv1.OfferOpened{Terms: termsOf(id(500), -3)})
	rules := testRules()
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		m := proto.Clone(empty[int(kind)%len(empty)])
		if proto.Unmarshal(data, m) != nil {
			return
		}
		s, o, employer := aSeeker(), anOffer(), &Employer{}
		e := event.Event{Subject: id(1), Seq: 5, OccurredAt: at("2026-01-01"), Data: m}
		switch kindOf(e) {
		case aboutPerson:
			s.apply(e)
			if s.apply(e) {
				t.Fatal("the same event changed a person twice")
			}
		case aboutOffer:
			o.apply(e)
			if o.apply(e) {
				t.Fatal("the same event changed an offer twice")
			}
		case aboutEmployer:
			employer.apply(e)
			if employer.apply(e) {
				t.Fatal("the same event changed an employer twice")
			}
		}
		person, demand := rules.Person(s), rules.Demand(o, employer.Suspended)
		for _, failure := range Failures(&Pair{Offer: &demand, Person: &person, Today: today, Kind: Shortlisted}) {
			_ = failure.Why.Text()
		}
		parts := Score(rules.Weights, &demand, &person.Profile, today)
		for _, part := range parts {
			_ = part.Why.Text()
			if part.Value < 0 || part.Value > 1000 {
				t.Fatalf("part %s is %d", part.Name, part.Value)
			}
		}
	})
}
