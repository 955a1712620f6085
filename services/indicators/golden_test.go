package indicators

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

// at reads "2026-03-01 10:00" as a time in Tunis, which is an hour before UTC.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	got, err := time.ParseInLocation("2006-01-02 15:04", text, tunis)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// story makes events as the services would, and counts each subject's sequence.
type story struct {
	t      testing.TB
	seq    map[string]int64
	events []event.Event
}

func newStory(t testing.TB) *story { return &story{t: t, seq: map[string]int64{}} }

func (s *story) add(when, subject string, data proto.Message) {
	s.t.Helper()
	s.seq[subject]++
	e := event.New("/test", subject, at(s.t, when), at(s.t, when).Add(time.Minute), data)
	e.ID = fmt.Sprintf("%s-%d", subject, s.seq[subject])
	e.Seq = s.seq[subject]
	s.events = append(s.events, e)
}

type person struct{ id, sex, governorate string }

func (p person) proto() *candidatesv1.Person {
	return &candidatesv1.Person{Sex: p.sex, Governorate: p.governorate, BirthYear: 1996}
}

func (s *story) opened(when, pathway, scheme string, p person) {
	s.t.Helper()
	s.add(when, pathway, &candidatesv1.PathwayOpened{CandidateId: p.id, Scheme: scheme, SchemeVersion: "1", Stage: "P02", Person: p.proto()})
}

func (s *story) moved(when, pathway, scheme string, p person, from, since, to string) {
	s.t.Helper()
	s.add(when, pathway, &candidatesv1.StageEntered{
		CandidateId: p.id, Scheme: scheme, SchemeVersion: "1", From: from, To: to,
		FromEnteredAt: at(s.t, since).Format(time.RFC3339), Person: p.proto(), Placement: to == "P16",
	})
}

func (s *story) exited(when, pathway, scheme string, p person, stage, since, exit string) {
	s.t.Helper()
	s.add(when, pathway, &candidatesv1.PathwayExited{
		CandidateId: p.id, Scheme: scheme, SchemeVersion: "1", Stage: stage,
		StageEnteredAt: at(s.t, since).Format(time.RFC3339), Exit: exit, Person: p.proto(),
	})
}

func terms(scheme string, posts, filled int32) *employersv1.Terms {
	return &employersv1.Terms{Scheme: scheme, Sector: map[string]string{"agri": "agriculture", "soin": "soin", "": "autre"}[scheme], Region: "76", Rome: "A1401", Contract: "SAI", Posts: posts, PostsFilled: filled}
}

// year is the small history whose figures are counted by hand below.
func year(t testing.TB) *story {
	s := newStory(t)
	amel, badr, cyrine := person{"amel", "F", "TN-71"}, person{"badr", "M", "TN-71"}, person{"cyrine", "F", "TN-11"}
	for _, p := range []person{amel, badr, cyrine} {
		s.add("2026-01-02 09:00", p.id, &candidatesv1.CandidateRegistered{Profile: &candidatesv1.Profile{Sex: p.sex, Governorate: p.governorate, BirthYear: 1996}})
	}
	s.add("2026-01-03 09:00", "amel", &candidatesv1.CandidateUpdated{Profile: &candidatesv1.Profile{Sex: "F", Governorate: "TN-71", BirthYear: 1996}})

	// Amel has two pathways: agriculture in January, which she leaves in March,
	// and care from February on. Badr walks to his placement in March.
	s.opened("2026-01-10 10:00", "pa1", "agri", amel)
	s.opened("2026-01-31 23:30", "pb1", "agri", badr) // 22:30 UTC, still January
	s.opened("2026-02-01 00:30", "pa2", "soin", amel) // 23:30 UTC on 31 January: February in Tunis
	s.moved("2026-01-20 10:00", "pa1", "agri", amel, "P02", "2026-01-10 10:00", "P04")
	s.exited("2026-03-05 10:00", "pa1", "agri", amel, "P04", "2026-01-20 10:00", "DESISTEMENT")
	s.moved("2026-02-10 23:30", "pb1", "agri", badr, "P02", "2026-01-31 23:30", "P04")
	s.moved("2026-03-12 11:30", "pb1", "agri", badr, "P04", "2026-02-10 23:30", "P16")
	// Learned in March, happened in February: a late event.
	s.moved("2026-02-21 00:30", "pa2", "soin", amel, "P02", "2026-02-01 00:30", "P04")
	// Cyrine opens in March; her pathway is completed in May, her second exit never
	// happened.
	s.opened("2026-03-01 00:00", "pc1", "soin", cyrine)
	s.moved("2026-04-30 12:00", "pc1", "soin", cyrine, "P02", "2026-03-01 12:00", "P19")
	s.add("2026-05-02 12:00", "pc1", &candidatesv1.PathwayCompleted{
		CandidateId: "cyrine", Scheme: "soin", SchemeVersion: "1", Stage: "P19",
		StageEnteredAt: at(t, "2026-04-30 12:00").Format(time.RFC3339), Person: cyrine.proto(),
	})

	// Offers: o1 of 3 posts, two of them filled, then withdrawn; o2 of 10 posts,
	// updated to 8; o3 outside of every scheme, updated after it was closed.
	s.add("2026-01-05 08:00", "o1", &employersv1.OfferOpened{Terms: terms("agri", 3, 0)})
	s.add("2026-02-05 08:00", "o2", &employersv1.OfferOpened{Terms: terms("soin", 10, 0)})
	s.add("2026-02-06 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 3, 1)})
	s.add("2026-02-07 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 3, 2)})
	s.add("2026-03-03 08:00", "o2", &employersv1.OfferUpdated{Terms: terms("soin", 8, 0)})
	s.add("2026-03-04 08:00", "o1", &employersv1.OfferClosed{Terms: terms("agri", 3, 2), Reason: "withdrawn"})
	s.add("2026-03-05 08:00", "o3", &employersv1.OfferOpened{Terms: terms("", 1, 0)})
	s.add("2026-03-06 08:00", "o3", &employersv1.OfferClosed{Terms: terms("", 1, 0), Reason: "expired"})
	s.add("2026-03-07 08:00", "o3", &employersv1.OfferUpdated{Terms: terms("", 2, 0)})
	s.add("2026-01-04 08:00", "e1", &employersv1.EmployerRegistered{Status: "active"})

	s.add("2026-01-19 08:00", "d1", &matchingv1.DecisionRecorded{CandidateId: "amel", OfferId: "o1", Kind: "shortlisted"})
	s.add("2026-02-10 08:00", "d2", &matchingv1.DecisionRecorded{CandidateId: "badr", OfferId: "o1", Kind: "shortlisted"})
	s.add("2026-02-11 08:00", "d2", &matchingv1.DecisionRecorded{CandidateId: "badr", OfferId: "o1", Kind: "hired"})
	s.add("2026-01-20 10:01", "m1", &notificationsv1.MessageSent{CandidateId: "amel", Template: "stage_entered", Language: "ar", Channel: "mailbox"})
	s.add("2026-01-20 10:02", "m2", &notificationsv1.MessageFailed{CandidateId: "badr", Template: "stage_entered", Language: "fr", Reason: "no_contact"})
	return s
}

// columnsOf folds the events in the order given, each of them twice.
func columnsOf(t testing.TB, events []event.Event) (*Columns, []Fact) {
	t.Helper()
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	c := NewColumns(Dimensions(), defs)
	var facts []Fact
	for _, e := range events {
		f, err := NewFact(e, reference.Schemes())
		if err != nil {
			t.Fatal(err)
		}
		if !c.Add(f) || c.Add(f) {
			t.Fatalf("fact %s: want it added once", f.ID)
		}
		facts = append(facts, f)
	}
	return c, facts
}

func lines(cells []Cell) (out []string) {
	for _, c := range cells {
		line := strings.Join(append([]string{c.Period}, c.Codes...), " ")
		line += fmt.Sprintf(" = %v", c.Value)
		if c.P90 != 0 {
			line += fmt.Sprintf(" (%v)", c.P90)
		}
		out = append(out, line)
	}
	return out
}

// TestFiguresByHand compares figures with a count made by hand on the story
// above. "(x)" is the 90th percentile.
func TestFiguresByHand(t *testing.T) {
	s := year(t)
	orders := map[string][]event.Event{"as it happened": s.events}
	reversed := slices.Clone(s.events)
	slices.Reverse(reversed)
	orders["backwards"] = reversed

	const today = "2026-04-15"
	for _, test := range []struct {
		code  string
		query Query
		want  string
	}{
		{"people_registered", Query{Grain: All}, "all = 3"},
		{"people_registered", Query{Grain: Month, By: []string{"sex"}}, "2026-01 F = 2; 2026-01 M = 1"},
		{"people_registered", Query{Grain: All, By: []string{"age"}}, "all 30-35 = 3"},

		// Amel counts once in all, and once in each of her schemes and months.
		{"people_followed", Query{Grain: All}, "all = 3"},
		{"people_followed", Query{Grain: All, By: []string{"scheme"}}, "all agri = 2; all soin = 2"},
		{"people_followed", Query{Grain: Month}, "2026-01 = 2; 2026-02 = 1; 2026-03 = 1; 2026-04 = 0"},
		{"people_followed", Query{Grain: Month, By: []string{"scheme", "sex"}}, "2026-01 agri F = 1; 2026-01 agri M = 1; 2026-02 soin F = 1; 2026-03 soin F = 1"},
		{"people_followed", Query{Grain: All, By: []string{"governorate"}}, "all TN-11 = 1; all TN-71 = 2"},
		{"people_followed", Query{Grain: Day, From: "2026-01-31", To: "2026-02-02"}, "2026-01-31 = 1; 2026-02-01 = 1; 2026-02-02 = 0"},
		{"people_followed", Query{Grain: All, From: "2026-02-01", To: "2026-02-28"}, "all = 1"},
		{"people_followed", Query{Grain: Month, From: "2026-01-11", To: "2026-02-28"}, "2026-01 = 1; 2026-02 = 1"},
		{"people_followed", Query{Grain: All, Only: map[string][]string{"governorate": {"TN-71"}}}, "all = 2"},

		{"people_placed", Query{Grain: Month, By: []string{"scheme"}}, "2026-03 agri = 1"},
		{"people_placed", Query{Grain: All}, "all = 1"},

		// End of January: pa1 at P04, pb1 at P02. February: pa1, pa2 and pb1 at
		// P04, Amel once. March: pa2 at P04, pb1 at P16, pc1 at P02. April: pc1 has
		// moved on the last day, by 12:00. May: pc1 is completed.
		{"people_by_stage", Query{Grain: Month, By: []string{"stage"}, To: "2026-05-31"}, "2026-01 P02 = 1; 2026-01 P04 = 1; 2026-02 P04 = 2; " +
			"2026-03 P02 = 1; 2026-03 P04 = 1; 2026-03 P16 = 1; 2026-04 P04 = 1; 2026-04 P16 = 1; 2026-04 P19 = 1; 2026-05 P04 = 1; 2026-05 P16 = 1"},
		{"people_by_stage", Query{Grain: Month, To: "2026-05-31"}, "2026-01 = 2; 2026-02 = 2; 2026-03 = 3; 2026-04 = 3; 2026-05 = 2"},
		{"people_by_stage", Query{Grain: All}, "all = 2"},
		{"people_by_stage", Query{Grain: All, To: "2026-01-31", By: []string{"scheme"}}, "all agri = 2"},
		{"people_by_stage", Query{Grain: Day, From: "2026-03-04", To: "2026-03-05", By: []string{"scheme"}}, "2026-03-04 agri = 2; 2026-03-04 soin = 2; 2026-03-05 agri = 1; 2026-03-05 soin = 2"},

		// Stays: pa1 10 days at P02 and 44 at P04; pb1 10 at P02 and 29.5 at P04;
		// pa2 20 at P02; pc1 60 at P02 and 2 at P19.
		{"stage_days", Query{Grain: All, By: []string{"stage"}}, "all P02 = 15 (60); all P04 = 36.75 (44); all P19 = 2 (2)"},
		{"stage_days", Query{Grain: Month, By: []string{"stage"}}, "2026-01 P02 = 10 (10); 2026-02 P02 = 15 (20); 2026-03 P04 = 36.75 (44); 2026-04 P02 = 60 (60); 2026-05 P19 = 2 (2)"},
		{"stage_days", Query{Grain: All, From: "2027-01-01", To: "2027-12-31"}, ""},

		{"offers_open", Query{Grain: Month}, "2026-01 = 1; 2026-02 = 2; 2026-03 = 1; 2026-04 = 1"},
		{"offers_open", Query{Grain: All, By: []string{"scheme"}}, "all soin = 1"},
		{"offers_open", Query{Grain: Day, From: "2026-03-05", To: "2026-03-07", By: []string{"sector"}}, "2026-03-05 autre = 1; 2026-03-05 soin = 1; 2026-03-06 soin = 1; 2026-03-07 soin = 1"},
		{"posts_open", Query{Grain: Month}, "2026-01 = 3; 2026-02 = 11; 2026-03 = 8; 2026-04 = 8"},
		{"posts_open", Query{Grain: Month, By: []string{"scheme"}}, "2026-01 agri = 3; 2026-02 agri = 1; 2026-02 soin = 10; 2026-03 soin = 8; 2026-04 soin = 8"},
		{"offers_received", Query{Grain: Month, By: []string{"scheme"}}, "2026-01 agri = 1; 2026-02 soin = 1; 2026-03 unknown = 1"},
		{"posts_offered", Query{Grain: Month}, "2026-01 = 3; 2026-02 = 10; 2026-03 = 1; 2026-04 = 0"},
		{"posts_filled", Query{Grain: Month}, "2026-02 = 2; 2026-03 = 0; 2026-04 = 0"},

		{"pathways_exited", Query{Grain: Month, By: []string{"exit", "stage"}}, "2026-03 DESISTEMENT P04 = 1"},
		{"decisions", Query{Grain: All, By: []string{"decision"}}, "all hired = 1; all shortlisted = 2"},
		{"messages_sent", Query{Grain: Month, By: []string{"language"}}, "2026-01 ar = 1"},
		{"messages_sent", Query{Grain: All}, "all = 1"},
	} {
		for order, events := range orders {
			columns, facts := columnsOf(t, events)
			defs, _ := Embedded()
			d, ok := defs.Get(test.code)
			if !ok {
				t.Fatalf("no indicator %s", test.code)
			}
			q := test.query
			q.Today = today
			cells, err := columns.View().Cells(d, q)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(lines(cells), "; "); got != test.want {
				t.Errorf("%s %+v, %s:\n got %s\nwant %s", test.code, test.query, order, got, test.want)
			}
			again := Recount(d, Dimensions(), slices.Values(append(facts, facts...)), q)
			if diff := Compare(d, q, cells, again); len(diff) > 0 {
				t.Errorf("%s %+v, %s: the recount differs: %v", test.code, test.query, order, diff)
			}
		}
	}
}

// TestReleasedPostsByHand follows an offer of two posts: both filled in January and
// so closed, one given back in February and filled again in March. Another is
// withdrawn, and a post given back afterwards does not open it.
func TestReleasedPostsByHand(t *testing.T) {
	s := newStory(t)
	s.add("2026-01-05 08:00", "o1", &employersv1.OfferOpened{Terms: terms("agri", 2, 0)})
	s.add("2026-01-10 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 2, 1), DecisionId: "d1"})
	s.add("2026-01-11 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 2, 2), DecisionId: "d2"})
	s.add("2026-01-11 08:00", "o1", &employersv1.OfferClosed{Terms: terms("agri", 2, 2), Reason: "filled"})
	s.add("2026-02-03 08:00", "o1", &employersv1.PostReleased{Terms: terms("agri", 2, 1), DecisionId: "d1"})
	s.add("2026-03-04 08:00", "o1", &employersv1.PostFilled{Terms: terms("agri", 2, 2), DecisionId: "d3"})
	s.add("2026-03-04 08:00", "o1", &employersv1.OfferClosed{Terms: terms("agri", 2, 2), Reason: "filled"})
	s.add("2026-01-05 08:00", "o2", &employersv1.OfferOpened{Terms: terms("agri", 3, 0)})
	s.add("2026-01-12 08:00", "o2", &employersv1.PostFilled{Terms: terms("agri", 3, 1), DecisionId: "d4"})
	s.add("2026-02-01 08:00", "o2", &employersv1.OfferClosed{Terms: terms("agri", 3, 1), Reason: "withdrawn"})
	s.add("2026-02-09 08:00", "o2", &employersv1.PostReleased{Terms: terms("agri", 3, 0), DecisionId: "d4"})
	s.add("2026-02-01 08:00", "o2", &employersv1.OfferClosed{Terms: terms("agri", 3, 0), Reason: "withdrawn"})
	s.add("2026-02-03 08:00", "c1", &matchingv1.DecisionRecorded{CandidateId: "amel", OfferId: "o1", Kind: "refused", RefusedBy: "candidate", Reason: "LIEU", HeldBy: "d1"})
	s.add("2026-02-04 08:00", "c2", &matchingv1.DecisionRecorded{CandidateId: "badr", OfferId: "o1", Kind: "refused", RefusedBy: "employer", Reason: "NON_PRECISE"})
	s.add("2026-02-09 08:00", "c3", &matchingv1.DecisionRecorded{CandidateId: "badr", OfferId: "o2", Kind: "no_show", HeldBy: "d4"})
	columns, facts := columnsOf(t, s.events)
	defs, _ := Embedded()
	for _, c := range []struct {
		code string
		by   []string
		want string
	}{
		{"posts_open", nil, "2026-01 = 2; 2026-02 = 1; 2026-03 = 0"},
		{"offers_open", nil, "2026-01 = 1; 2026-02 = 1; 2026-03 = 0"},
		{"offers_received", nil, "2026-01 = 2; 2026-02 = 0; 2026-03 = 0"},
		{"posts_filled", nil, "2026-01 = 3; 2026-02 = 0; 2026-03 = 1"},
		{"posts_released", []string{"scheme"}, "2026-02 agri = 2"},
		{"decisions", []string{"decision"}, "2026-02 no_show = 1; 2026-02 refused = 2"},
		{"refusals", []string{"refused_by", "reason"}, "2026-02 candidate LIEU = 1; 2026-02 employer NON_PRECISE = 1"},
	} {
		d, ok := defs.Get(c.code)
		if !ok {
			t.Fatalf("no indicator %s", c.code)
		}
		q := Query{Grain: Month, By: c.by, Today: "2026-03-31"}
		cells, err := columns.View().Cells(d, q)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(lines(cells), "; "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.code, got, c.want)
		}
		if diff := Compare(d, q, cells, Recount(d, Dimensions(), slices.Values(facts), q)); len(diff) > 0 {
			t.Errorf("%s: the recount differs: %v", c.code, diff)
		}
	}
}

// TestLateCorrectionSupersedes shows that the aggregate's own order decides, not
// the dates: the pathway was moved to P05, then that date was corrected to be
// before the move to P04, which it still follows.
func TestLateCorrectionSupersedes(t *testing.T) {
	p := person{"dora", "F", "TN-12"}
	s := newStory(t)
	s.opened("2026-01-01 10:00", "pd", "agri", p)
	s.moved("2026-03-10 10:00", "pd", "agri", p, "P02", "2026-01-01 10:00", "P04")
	s.moved("2026-02-10 10:00", "pd", "agri", p, "P04", "2026-03-10 10:00", "P05") // entered before it was left: no stay
	columns, facts := columnsOf(t, s.events)
	defs, _ := Embedded()
	d, _ := defs.Get("people_by_stage")
	q := Query{Grain: Month, By: []string{"stage"}, Today: "2026-03-31"}
	cells, err := columns.View().Cells(d, q)
	if err != nil {
		t.Fatal(err)
	}
	want := "2026-01 P02 = 1; 2026-02 P05 = 1; 2026-03 P05 = 1"
	if got := strings.Join(lines(cells), "; "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if facts[2].Stay != nil {
		t.Error("a stay of negative length was kept")
	}
}
