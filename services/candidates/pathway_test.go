package candidates

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

func docOf(c Candidate) *docstore.Doc[Candidate] { return &docstore.Doc[Candidate]{ID: "c", Body: c} }

func mustScheme(t interface{ Fatalf(string, ...any) }, code string) *reference.Scheme {
	s, ok := reference.Schemes().Current(code, testNow)
	if !ok {
		t.Fatalf("no scheme %s", code)
	}
	return s
}

func day(n int) time.Time { return testNow.AddDate(0, 0, n-200) }

func by(role access.Role, at time.Time) Act {
	return Act{OccurredAt: at, Now: testNow, Actor: role, By: "me"}
}

// walked is a pathway that went through stages, one day each.
func walked(t *testing.T, scheme string, stages ...string) (*Pathway, *reference.Scheme) {
	t.Helper()
	s := mustScheme(t, scheme)
	p, _, err := openPathway(s, "c1", Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995}, by(access.Counsellor, day(0)))
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range stages {
		if _, err := p.move(s, to, by(access.Counsellor, day(i+1))); err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
	}
	return &p, s
}

var toPlacement = []string{"P04", "P05", "P07", "P08", "P09", "P10", "P11", "P12", "P13", "P14", "P15", "P16"}

func kindOf(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestPathwayToPlacementAndNewSeason(t *testing.T) {
	p, s := walked(t, "agri", append(slices.Clone(toPlacement), "P17", "P18", "P19", "P08")...)
	if p.Stage != "P08" || p.State != Open || !p.Placed || p.OpenKey == "" {
		t.Fatalf("after a new season: %+v", p)
	}
	if len(p.History) != 17 {
		t.Errorf("history has %d entries", len(p.History))
	}
	for _, to := range []string{"P09", "P10", "P11", "P15", "P16", "P17", "P18", "P19"} { // a valid card skips P12 to P14
		if _, err := p.move(s, to, by(access.Officer, day(100))); err != nil {
			t.Fatal(err)
		}
	}
	e, err := p.complete(s, by(access.Counsellor, day(101)))
	if err != nil {
		t.Fatal(err)
	}
	if done := e.(*candidatesv1.PathwayCompleted); done.GetStage() != "P19" || done.GetStageEnteredAt() != stamp(day(100)) {
		t.Errorf("event: %v", done)
	}
	if p.State != Completed || p.OpenKey != "" || p.EndedAt != day(101) {
		t.Errorf("completed: %+v", p)
	}
}

func TestStageEnteredEvent(t *testing.T) {
	p, s := walked(t, "agri", toPlacement[:11]...)
	act := by(access.Officer, day(50))
	act.Reason, act.OfferID, act.Note = "flight", "O1", "met at the airport"
	e, err := p.move(s, "P16", act)
	if err != nil {
		t.Fatal(err)
	}
	want := &candidatesv1.StageEntered{
		CandidateId: "c1", Scheme: "agri", SchemeVersion: "1", From: "P15", To: "P16", FromEnteredAt: stamp(day(11)),
		Actor: "officer", Reason: "flight", OfferId: "O1", Placement: true,
		Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995},
	}
	if !proto.Equal(e, want) {
		t.Errorf("event\n%v\nwant\n%v", e, want)
	}
}

func TestMovesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		at   []string
		do   func(p *Pathway, s *reference.Scheme) error
		want api.Kind
	}{
		{"a stage that does not follow", nil, mover("P08", access.Counsellor, day(9)), api.KindConflict},
		{"the same stage", []string{"P04"}, mover("P04", access.Counsellor, day(9)), api.KindConflict},
		{"no stage at all", nil, mover("P99", access.Counsellor, day(9)), api.KindInvalid},
		{"a role that may not", toPlacement[:7], mover("P12", access.Employer, day(9)), api.KindForbidden},
		{"no role", nil, mover("P04", "", day(9)), api.KindForbidden},
		{"before the present stage", []string{"P04"}, mover("P05", access.Counsellor, day(0)), api.KindInvalid},
		{"in the future", nil, mover("P04", access.Counsellor, testNow.Add(tolerance+time.Second)), api.KindInvalid},
		{"an exit that is not there", nil, leaver("BORED", day(9)), api.KindInvalid},
		{"an exit without a reason", nil, leaver("", day(9)), api.KindInvalid},
		{"an exit at another stage", nil, leaver("REFUS_VISA", day(9)), api.KindConflict},
		{"an exit before the present stage", []string{"P04"}, leaver("DESISTEMENT", day(0)), api.KindInvalid},
		{"completion from the middle", []string{"P04"}, func(p *Pathway, s *reference.Scheme) error {
			_, err := p.complete(s, by(access.Counsellor, day(9)))
			return err
		}, api.KindConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := walked(t, "agri", c.at...)
			before := *p
			before.History = slices.Clone(p.History)
			if err := c.do(p, s); kindOf(err) != c.want {
				t.Errorf("error %v, want kind %s", err, c.want)
			}
			if len(p.History) != len(before.History) || p.Stage != before.Stage || p.State != before.State {
				t.Errorf("a refused command left something: %+v", p)
			}
		})
	}
}

func mover(to string, role access.Role, at time.Time) func(*Pathway, *reference.Scheme) error {
	return func(p *Pathway, s *reference.Scheme) error {
		_, err := p.move(s, to, by(role, at))
		return err
	}
}

func leaver(exit string, at time.Time) func(*Pathway, *reference.Scheme) error {
	return func(p *Pathway, s *reference.Scheme) error {
		_, err := p.leave(s, exit, by(access.Counsellor, at))
		return err
	}
}

func TestExitIsFinal(t *testing.T) {
	p, s := walked(t, "agri", "P04")
	act := by(access.Counsellor, day(9))
	act.OfferID = "O1"
	e, err := p.leave(s, "DESISTEMENT", act)
	if err != nil {
		t.Fatal(err)
	}
	want := &candidatesv1.PathwayExited{
		CandidateId: "c1", Scheme: "agri", SchemeVersion: "1", Stage: "P04", StageEnteredAt: stamp(day(1)), Exit: "DESISTEMENT",
		Actor: "counsellor", OfferId: "O1", Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995},
	}
	if !proto.Equal(e, want) {
		t.Errorf("event %v", e)
	}
	for _, err := range []error{
		mover("P05", access.Counsellor, day(10))(p, s),
		leaver("DECES", day(10))(p, s),
	} {
		if kindOf(err) != api.KindConflict {
			t.Errorf("after the exit: %v", err)
		}
	}
}

func TestDecisions(t *testing.T) {
	d := Decision{ID: "d1", Kind: reference.DecisionShortlisted, CandidateID: "c1", OfferID: "O1", Actor: access.Employer, OccurredAt: day(20), Now: testNow}
	t.Run("moves once", func(t *testing.T) {
		p, s := walked(t, "agri")
		e, known := p.decide(s, d)
		if e == nil || known || p.Stage != "P04" || p.EnteredAt != day(20) {
			t.Fatalf("event %v, known %v, %+v", e, known, p)
		}
		last := p.History[len(p.History)-1]
		if last.DecisionID != "d1" || last.OfferID != "O1" || last.Reason != "decision_shortlisted" || last.Refusal != "" {
			t.Errorf("entry %+v", last)
		}
		if _, known := p.decide(s, d); !known {
			t.Error("the same decision counts twice")
		}
	})
	for name, c := range map[string]struct {
		at     []string
		change func(d *Decision, p *Pathway, s *reference.Scheme)
		reason string
	}{
		"already there, for another offer": {[]string{"P04"}, func(*Decision, *Pathway, *reference.Scheme) {}, ""},
		"refused for this offer":           {[]string{"P04"}, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.Kind = "refused" }, ""},
		"not from here":                    {nil, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.Kind = "hired" }, "hired does not apply at stage P02"},
		"a kind that is not known":         {nil, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.Kind = "loved" }, "loved does not apply at stage P02"},
		"another candidate":                {nil, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.CandidateID = "c2" }, "the decision is about another candidate"},
		"too early":                        {[]string{"P04"}, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.OccurredAt = day(0) }, "decided before the present stage was entered"},
		"in the future":                    {nil, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.OccurredAt = testNow.AddDate(0, 0, 1) }, "occurred_at: the moment is in the future"},
		"by nobody":                        {nil, func(d *Decision, _ *Pathway, _ *reference.Scheme) { d.Actor = "cat" }, `stage P04 of scheme agri is entered by counsellor, officer, employer, not by "cat"`},
		"after the end": {nil, func(_ *Decision, p *Pathway, s *reference.Scheme) {
			if _, err := p.leave(s, "DESISTEMENT", by(access.Counsellor, day(9))); err != nil {
				panic(err)
			}
		}, "the pathway is exited"},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := walked(t, "agri", c.at...)
			d := d
			c.change(&d, p, s)
			stage := p.Stage
			e, known := p.decide(s, d)
			last := p.History[len(p.History)-1]
			if e != nil || known || p.Stage != stage || last.Kind != entryNoted || last.Refusal != c.reason || last.DecisionID != "d1" {
				t.Errorf("event %v, known %v, stage %s, entry %+v", e, known, p.Stage, last)
			}
		})
	}
	t.Run("another clock", func(t *testing.T) {
		p, s := walked(t, "agri", "P04")
		d := d
		d.Kind, d.OccurredAt = reference.DecisionInterview, day(1).Add(-time.Minute)
		if e, _ := p.decide(s, d); e == nil || p.EnteredAt != day(1) {
			t.Errorf("event %v, entered %v", e, p.EnteredAt)
		}
	})
}

// What an offer took and gave back, a pathway follows; the contract of whom an
// offer holds moves nothing.
func TestDecisionsOfTheOfferThatHoldsThePathway(t *testing.T) {
	way := []string{"P04", "P05", "P07"}
	type step struct{ kind, heldBy, stage string }
	for name, steps := range map[string][]step{
		"accepted and hired":           {{"accepted", "", "P08"}, {"hired", "accepted", "P08"}},
		"hired at once":                {{"hired", "", "P08"}},
		"accepted and refused":         {{"accepted", "", "P08"}, {"refused", "accepted", "P07"}},
		"hired, and did not come":      {{"hired", "", "P08"}, {"no_show", "hired", "P07"}},
		"refused before":               {{"refused", "", "P07"}},
		"did not come to be met":       {{"no_show", "", "P07"}},
		"taken again":                  {{"accepted", "", "P08"}, {"refused", "accepted", "P07"}, {"hired", "", "P08"}},
		"offered and shown":            {{"disclosed", "", "P07"}, {"offered", "", "P07"}, {"accepted", "", "P08"}},
		"refused by an offer that had": {{"accepted", "", "P08"}, {"refused", "", "P08"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := walked(t, "agri", way...)
			for i, st := range steps {
				e, known := p.decide(s, Decision{
					ID: st.kind, Kind: st.kind, HeldBy: st.heldBy, CandidateID: "c1", OfferID: "O1",
					Actor: access.Counsellor, OccurredAt: day(20 + i), Now: testNow,
				})
				last := p.History[len(p.History)-1]
				if known && i < 2 || p.Stage != st.stage || last.Refusal != "" || last.HeldBy != st.heldBy {
					t.Errorf("%s: event %v, stage %s, want %s, entry %+v", st.kind, e, p.Stage, st.stage, last)
				}
			}
		})
	}
	t.Run("a counsellor ends what is far on its way", func(t *testing.T) {
		p, s := walked(t, "agri", append(way, "P08", "P09", "P10", "P11", "P12", "P13", "P14", "P15")...)
		e, _ := p.decide(s, Decision{ID: "d", Kind: "no_show", HeldBy: "h", CandidateID: "c1", Actor: access.Counsellor, OccurredAt: day(20), Now: testNow})
		if last := p.History[len(p.History)-1]; e != nil || p.Stage != "P15" || last.Refusal != "" {
			t.Errorf("event %v, stage %s, %+v", e, p.Stage, last)
		}
		if _, err := p.leave(s, "NON_DEPART", by(access.Counsellor, day(21))); err != nil {
			t.Error(err)
		}
	})
}

// Decisions about different offers come in any order, those about one in theirs.
// Whatever the order, the pathway is at the contract if and only if an offer holds it.
func TestDecisionsOfSeveralOffersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := mustScheme(t, "agri")
		p, _, err := openPathway(s, "c1", Person{}, by(access.Counsellor, day(0)))
		if err != nil {
			t.Fatal(err)
		}
		for _, stage := range []string{"P04", "P05", "P07"} {
			if _, err := p.move(s, stage, by(access.Counsellor, day(1))); err != nil {
				t.Fatal(err)
			}
		}
		// Each offer takes the person and gives them back, but for the last perhaps.
		var offers [][]Decision
		n := rapid.IntRange(1, 5).Draw(t, "offers")
		heldAtTheEnd := false
		for i := range n {
			id := string(rune('a' + i))
			take := rapid.SampledFrom([]string{"accepted", "hired"}).Draw(t, "takes")
			mine := []Decision{{ID: id + take, Kind: take}}
			if take == "accepted" && rapid.Bool().Draw(t, "contract") {
				mine = append(mine, Decision{ID: id + "contract", Kind: "hired", HeldBy: id + take})
			}
			if i < n-1 || rapid.Bool().Draw(t, "back") {
				kind := "no_show"
				if len(mine) == 1 && take == "accepted" {
					kind = rapid.SampledFrom([]string{"refused", "no_show"}).Draw(t, "ends")
				}
				mine = append(mine, Decision{ID: id + kind, Kind: kind, HeldBy: id + take})
			} else {
				heldAtTheEnd = true
			}
			offers = append(offers, mine)
		}
		for len(offers) > 0 {
			i := rapid.IntRange(0, len(offers)-1).Draw(t, "next")
			d := offers[i][0]
			d.CandidateID, d.Actor, d.OccurredAt, d.Now = "c1", access.Counsellor, day(20), testNow
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				p.decide(s, d)
			}
			if last := p.History[len(p.History)-1]; last.Refusal != "" {
				t.Fatalf("%s was not applied: %s", d.ID, last.Refusal)
			}
			if offers[i] = offers[i][1:]; len(offers[i]) == 0 {
				offers = slices.Delete(offers, i, i+1)
			}
		}
		want := "P07"
		if heldAtTheEnd {
			want = "P08"
		}
		if p.Stage != want {
			t.Fatalf("at %s, want %s: %+v", p.Stage, want, p.History)
		}
		p.invariants(t, s)
	})
}

func TestRepeatedKeys(t *testing.T) {
	s := mustScheme(t, "agri")
	act := by(access.Counsellor, day(0))
	act.Key, act.Fingerprint = "k", "f"
	p, _, err := openPathway(s, "c1", Person{}, act)
	if err != nil {
		t.Fatal(err)
	}
	if known, err := p.repeated(act); !known || err != nil {
		t.Errorf("the same again: %v, %v", known, err)
	}
	act.Fingerprint = "g"
	if _, err := p.repeated(act); kindOf(err) != api.KindKeyReused {
		t.Errorf("another body: %v", err)
	}
	act.By = "somebody else"
	if known, err := p.repeated(act); known || err != nil {
		t.Errorf("another principal's key: %v, %v", known, err)
	}
}

// check fails when a pathway is not one that the rules can make.
func (p *Pathway) invariants(t *rapid.T, s *reference.Scheme) {
	stage, entered := "", time.Time{}
	ended := false
	for i, e := range p.History {
		if ended && e.Kind != entryNoted {
			t.Fatalf("entry %d %s after the end", i, e.Kind)
		}
		if e.RecordedAt.IsZero() || e.Kind != entryNoted && e.OccurredAt.After(e.RecordedAt.Add(tolerance)) {
			t.Fatalf("entry %d has impossible times: %+v", i, e)
		}
		switch e.Kind {
		case entryOpened:
			if i != 0 || e.To != s.First().Code {
				t.Fatalf("entry %d opens at %s", i, e.To)
			}
			stage, entered = e.To, e.OccurredAt
		case entryMoved:
			// What a holding offer gives back goes back, not on.
			back, _ := s.Decide(e.From, e.Decision, true)
			if e.From != stage || !s.Allows(e.From, e.To) && (e.HeldBy == "" || e.To != back) {
				t.Fatalf("entry %d goes %s to %s, from %s", i, e.From, e.To, stage)
			}
			if e.OccurredAt.Before(entered) {
				t.Fatalf("entry %d goes back in time", i)
			}
			stage, entered = e.To, e.OccurredAt
		case entryExited, entryCompleted:
			if e.From != stage || e.OccurredAt.Before(entered) {
				t.Fatalf("entry %d ends %s at %v", i, e.From, e.OccurredAt)
			}
			ended = true
		case entryNoted:
			if e.From != stage || e.To != stage || e.DecisionID == "" {
				t.Fatalf("entry %d: %+v", i, e)
			}
		}
	}
	if p.Stage != stage || !p.EnteredAt.Equal(entered) || ended != (p.State != Open) || (p.OpenKey == "") != ended || (p.Exit != "") != (p.State == Exited) {
		t.Fatalf("state differs from history: %+v", p)
	}
	placed := slices.ContainsFunc(p.History, func(e Entry) bool { return e.Kind == entryMoved && e.To == s.Placement })
	if p.Placed != placed {
		t.Fatalf("placed is %v, history says %v", p.Placed, placed)
	}
}

// TestRandomWalks tries arbitrary commands: whatever is accepted leaves a
// pathway that the rules can make, one event for each entry that changed
// something, and what is refused leaves no trace.
func TestRandomWalks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := mustScheme(t, rapid.SampledFrom([]string{"agri", "soin"}).Draw(t, "scheme"))
		roles := []access.Role{access.Counsellor, access.Officer, access.Employer, access.Admin, access.Statistician, ""}
		now := testNow.AddDate(0, 0, -300)
		var stages, exits []string
		for _, st := range s.Stages {
			stages = append(stages, st.Code)
		}
		for _, x := range s.Exits {
			exits = append(exits, x.Code)
		}
		p, e, err := openPathway(s, "c1", Person{Governorate: "TN-71", BirthYear: 1990}, Act{Now: now, Actor: access.Counsellor, By: "me"})
		if err != nil || e == nil {
			t.Fatal(err)
		}
		events := 1
		seen := map[string]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "hours")) * time.Hour)
			act := Act{Now: now, Actor: rapid.SampledFrom(roles).Draw(t, "role"), By: "me"}
			if rapid.Bool().Draw(t, "dated") {
				act.OccurredAt = now.Add(time.Duration(rapid.IntRange(-72, 1).Draw(t, "ago")) * time.Hour)
			}
			before, entries := p, len(p.History)
			var e proto.Message
			var err error
			switch rapid.SampledFrom([]string{"follow", "follow", "follow", "move", "exit", "complete", "decide"}).Draw(t, "command") {
			case "follow":
				next := s.Following(p.Stage)
				if len(next) == 0 {
					continue
				}
				e, err = p.move(s, rapid.SampledFrom(next).Draw(t, "to"), act)
			case "move":
				e, err = p.move(s, rapid.SampledFrom(append(stages, "", "P3")).Draw(t, "to"), act)
			case "exit":
				if rapid.IntRange(0, 4).Draw(t, "rarely") == 0 {
					e, err = p.leave(s, rapid.SampledFrom(append(exits, "")).Draw(t, "exit"), act)
				}
			case "complete":
				e, err = p.complete(s, act)
			case "decide":
				id := rapid.StringMatching("d[0-9]").Draw(t, "decision")
				var known bool
				e, known = p.decide(s, Decision{
					ID: id, CandidateID: rapid.SampledFrom([]string{"c1", "c1", "c2"}).Draw(t, "candidate"), Actor: act.Actor, Now: now,
					Kind: rapid.SampledFrom([]string{"shortlisted", "interview", "accepted", "hired", "refused", "no_show", "x"}).Draw(t, "kind"), OccurredAt: act.OccurredAt,
					HeldBy: rapid.SampledFrom([]string{"", "", "d1", "d2"}).Draw(t, "held by"),
				})
				if known != seen[id] {
					t.Fatalf("decision %s known %v, want %v", id, known, seen[id])
				}
				seen[id] = true
			}
			if err != nil && (e != nil || len(p.History) != entries || p.Stage != before.Stage || p.State != before.State) {
				t.Fatalf("a refused command left a trace: %v", err)
			}
			if e != nil {
				events++
			}
			p.invariants(t, s)
		}
		changes := 0
		for _, e := range p.History {
			if e.Kind != entryNoted {
				changes++
			}
		}
		if events != changes {
			t.Fatalf("%d events for %d changes", events, changes)
		}
	})
}

func FuzzPathwayCommands(f *testing.F) {
	f.Add([]byte(`[{"to":"P04"},{"to":"P05","occurred_at":"2026-01-01T00:00:00Z"},{"exit":"DESISTEMENT"}]`))
	f.Add([]byte(`[{"decision":"shortlisted"},{"decision":"hired"},{"to":"P07","reason":"\u0000"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var commands []struct {
			To, Exit, Decision, Reason, Note string
			OccurredAt                       time.Time `json:"occurred_at"`
		}
		if json.Unmarshal(data, &commands) != nil {
			return
		}
		s := mustScheme(t, "agri")
		p, _, err := openPathway(s, "c1", Person{}, by(access.Admin, day(0)))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range commands {
			act := Act{OccurredAt: c.OccurredAt, Now: testNow, Actor: access.Admin, Reason: c.Reason, Note: c.Note}
			var e proto.Message
			switch {
			case c.Exit != "":
				e, _ = p.leave(s, c.Exit, act)
			case c.Decision != "":
				e, _ = p.decide(s, Decision{ID: string(rune('a' + i%26)), Kind: c.Decision, CandidateID: "c1", OccurredAt: c.OccurredAt, Now: testNow, Actor: access.Admin})
			default:
				e, _ = p.move(s, c.To, act)
			}
			if e == nil {
				continue
			}
			// Whatever is accepted must be an event that can be written.
			if _, err := proto.Marshal(e); err != nil {
				t.Fatal(err)
			}
		}
	})
}
