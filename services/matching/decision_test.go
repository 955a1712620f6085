package matching

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// bench decides on one case; its clock starts at noon of 2026-03-01.
type bench struct {
	rules *Rules
	c     Case
	basis DecisionBasis
	now   time.Time
	role  access.Role
}

func newBench() *bench {
	offer, candidate := id(100), id(1)
	return &bench{
		rules: testRules(), now: at("2026-03-01"), role: access.Counsellor,
		basis: DecisionBasis{
			CaseID: CaseID(offer, candidate), OfferID: offer, CandidateID: candidate, Offer: anOffer(), Seeker: aSeeker(),
		},
	}
}

func (b *bench) decide(kind string) (*Step, error) {
	step, _, err := b.c.decide(b.rules, b.basis, Command{Kind: kind, Now: b.now, Actor: b.role, By: "u1"})
	return step, err
}

// follow is what the pathway's own events do later.
func (b *bench) follow(stage string) {
	w := &b.basis.Seeker.Pathways[0]
	w.Seq, w.Stage, w.EnteredAt = w.Seq+1, stage, b.now
}

func TestWhatMayFollowWhat(t *testing.T) {
	for path, want := range map[string]string{
		"shortlisted":                   "",
		"shortlisted interview":         "",
		"shortlisted interview hired":   "",
		"refused":                       "",
		"shortlisted refused":           "",
		"shortlisted interview refused": "",
		"shortlisted disclosed":         "",
		"shortlisted disclosed interview offered accepted hired": "",
		"shortlisted interview accepted":                         "",
		"shortlisted interview accepted refused":                 "",
		"shortlisted interview accepted no_show":                 "",
		"shortlisted interview accepted hired no_show":           "",
		"shortlisted interview hired no_show":                    "",
		"shortlisted interview no_show":                          "",
		"shortlisted offered refused":                            "",
		"accepted":                                               "order_first",
		"no_show":                                                "order_first",
		"shortlisted no_show":                                    "order_after",
		"shortlisted interview disclosed":                        "order_after",
		"shortlisted interview offered no_show":                  "order_after",
		"shortlisted interview accepted offered":                 "order_after",
		"shortlisted interview hired accepted":                   "order_after",
		"shortlisted interview accepted hired refused":           "order_after",
		"shortlisted interview no_show hired":                    "order_after",
		"shortlisted interview accepted refused hired":           "order_after",
		"shortlisted accepted":                                   "pathway_stage",
		"interview":                                              "order_first",
		"hired":                                                  "order_first",
		"refused shortlisted":                                    "order_after",
		"refused hired":                                          "order_after",
		"shortlisted interview hired refused":                    "order_after",
		// The transition is allowed; this scheme's pathway is not at the interview.
		"shortlisted hired": "pathway_stage",
	} {
		t.Run(path, func(t *testing.T) {
			b := newBench()
			var err error
			for _, kind := range strings.Fields(path) {
				if err != nil {
					t.Fatalf("already at %s: %v", b.c.State, err)
				}
				b.now = b.now.Add(time.Hour)
				_, err = b.decide(kind)
			}
			if want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != api.KindConflict || len(e.Fields) == 0 || e.Fields[0].Code != want {
				t.Fatalf("got %v, want a conflict for %s", err, want)
			}
			if e.Fields[0].Reason == "" || strings.Contains(e.Fields[0].Reason, "{") {
				t.Errorf("its reason is %q", e.Fields[0].Reason)
			}
		})
	}
}

// A pathway follows a moment later; decisions made before it has are judged at
// the stage where it will be.
func TestDecisionsDoNotWaitForThePathway(t *testing.T) {
	b := newBench()
	for _, want := range []struct{ kind, stage string }{{Shortlisted, "P04"}, {Interview, "P07"}, {Hired, "P08"}} {
		step, err := b.decide(want.kind)
		if err != nil {
			t.Fatalf("%s: %v", want.kind, err)
		}
		if step.To != want.stage {
			t.Errorf("%s leads to %s, want %s", want.kind, step.To, want.stage)
		}
	}
	if b.c.Seat != seat(id(100), 0) || b.c.HiredIn != id(900) {
		t.Errorf("hired with seat %q in %q", b.c.Seat, b.c.HiredIn)
	}
}

// When the pathway has moved since, where it really is counts.
func TestAPathwayThatMovedElsewhereCounts(t *testing.T) {
	b := newBench()
	if _, err := b.decide(Shortlisted); err != nil {
		t.Fatal(err)
	}
	b.follow("P08") // hired for another offer, by hand
	_, err := b.decide(Interview)
	var e *api.Error
	if !errors.As(err, &e) || !slices.ContainsFunc(e.Fields, func(f api.Field) bool { return f.Path == CondFree }) {
		t.Fatalf("got %v, want a conflict that says the person is taken", err)
	}
}

func TestDecisionsAreRefusedWithAReason(t *testing.T) {
	tests := []struct {
		name   string
		before []string
		change func(*bench)
		kind   string
		want   string // path of the first field
	}{
		{"no longer consents", []string{Shortlisted}, func(b *bench) { b.basis.Seeker.Consents = nil }, Interview, CondConsent},
		{"no open pathway", nil, func(b *bench) { b.basis.Seeker.Pathways[0].Open = false }, Shortlisted, CondPathway},
		{"offer closed", []string{Shortlisted}, func(b *bench) { b.basis.Offer.Open = false }, Interview, CondOffer},
		{"posts filled", []string{Shortlisted}, func(b *bench) { b.basis.Offer.Filled = 2 }, Interview, CondPosts},
		{"employer suspended", nil, func(b *bench) { b.basis.Suspended = true }, Shortlisted, CondEmployer},
		{"last seat taken, the offer does not know yet", []string{Shortlisted, Interview}, func(b *bench) { b.basis.Holders, b.basis.Seat = 2, 2 }, Hired, CondPosts},
		{"one post filled by hand, one by us", []string{Shortlisted, Interview}, func(b *bench) {
			b.basis.Offer.Filled, b.basis.Holders, b.basis.Seat = 1, 1, 1
		}, Hired, CondPosts},
		{"hired by another offer, the pathway does not know yet", []string{Shortlisted, Interview}, func(b *bench) { b.basis.Taken = true }, Hired, CondFree},
		{"before the stage was entered", nil, func(b *bench) { b.basis.Seeker.Pathways[0].EnteredAt = b.now.Add(time.Hour) }, Shortlisted, CondPathway},
		{"an employer without disclosure", nil, func(b *bench) {
			b.role, b.basis.Seeker.Consents = access.Employer, []string{ConsentMatching}
		}, Shortlisted, CondDisclosure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench()
			for _, kind := range tt.before {
				if _, err := b.decide(kind); err != nil {
					t.Fatal(err)
				}
			}
			tt.change(b)
			before := b.c
			_, err := b.decide(tt.kind)
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != api.KindConflict || len(e.Fields) == 0 || e.Fields[0].Path != tt.want {
				t.Fatalf("got %v, want a conflict about %s", err, tt.want)
			}
			if len(b.c.Steps) != len(before.Steps) || b.c.State != before.State || b.c.Seat != "" {
				t.Errorf("the case changed: %+v", b.c)
			}
			// A refusal is possible in spite of all that.
			if _, err := b.decide(Refused); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// What a case holds it holds from accepted or hired on, and gives back whole.
func TestWhatACaseHolds(t *testing.T) {
	for path, holds := range map[string]bool{
		"shortlisted interview offered":                false,
		"shortlisted interview accepted":               true,
		"shortlisted interview hired":                  true,
		"shortlisted interview accepted hired":         true,
		"shortlisted interview accepted refused":       false,
		"shortlisted interview accepted hired no_show": false,
		"shortlisted interview no_show":                false,
	} {
		b := newBench()
		var by string
		for _, kind := range strings.Fields(path) {
			step, err := b.decide(kind)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if step.HeldBy != by {
				t.Errorf("%s: %s says it was held by %q, want %q", path, kind, step.HeldBy, by)
			}
			if by == "" && (kind == Accepted || kind == Hired) {
				by = step.ID
			}
			// The post that was taken closes the offer: what follows needs none.
			if kind == Accepted {
				b.basis.Offer.Open, b.basis.Offer.Filled = false, b.basis.Offer.Posts
			}
		}
		if c := &b.c; (c.Seat != "") != holds || (c.HiredIn != "") != holds || (len(c.Holds) > 0) != holds || (c.heldBy() != "") != holds {
			t.Errorf("%s: seat %q, in %q, %v", path, c.Seat, c.HiredIn, c.Holds)
		}
	}
}

// The contract of whom an offer holds is signed in the pathway that it holds.
func TestTheContractNeedsThePathwayThatIsHeld(t *testing.T) {
	b := newBench()
	for _, kind := range []string{Shortlisted, Interview, Accepted} {
		if _, err := b.decide(kind); err != nil {
			t.Fatal(err)
		}
	}
	b.basis.Seeker.Pathways[0].Open = false
	b.basis.Seeker.Pathways = append(b.basis.Seeker.Pathways, Pathway{ID: id(999), Seq: 1, Scheme: "agri", Version: "1", Stage: "P07", Open: true})
	_, err := b.decide(Hired)
	var e *api.Error
	if !errors.As(err, &e) || e.Fields[0].Code != "pathway_other" {
		t.Errorf("hired: %v", err)
	}
	// What is over can be said, of the pathway that was meant.
	if step, err := b.decide(NoShow); err != nil || step.PathwayID != id(900) || step.To != "" {
		t.Errorf("no_show: %+v, %v", step, err)
	}
}

func TestOnlyTheActorsOfAStageLeadThere(t *testing.T) {
	b := newBench()
	b.role = access.Manager
	_, err := b.decide(Shortlisted)
	if !errors.Is(err, &api.Error{Kind: api.KindForbidden}) {
		t.Errorf("a manager shortlists: %v, want forbidden", err)
	}
	b.role = access.Admin
	if _, err := b.decide(Shortlisted); err != nil {
		t.Errorf("the owner of a local installation: %v", err)
	}
}

func TestTimesOfDecisions(t *testing.T) {
	b := newBench()
	try := func(kind string, occurred time.Time) error {
		_, _, err := b.c.decide(b.rules, b.basis, Command{Kind: kind, OccurredAt: occurred, Now: b.now, Actor: access.Counsellor})
		return err
	}
	code := func(err error) string {
		var e *api.Error
		if errors.As(err, &e) && e.Kind == api.KindInvalid && len(e.Fields) == 1 && e.Fields[0].Path == "occurred_at" {
			return e.Fields[0].Code
		}
		return ""
	}
	if err := try(Shortlisted, b.now.Add(tolerance+time.Second)); code(err) != "future" {
		t.Errorf("in the future: %v", err)
	}
	if err := try(Shortlisted, b.now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := try(Interview, b.now.Add(-2*time.Hour)); code(err) != "order" {
		t.Errorf("before the one it follows: %v", err)
	}
	// Availability is judged on the day of the decision, not on the day it is recorded.
	late := newBench()
	late.now = at("2026-09-01")
	late.basis.Seeker.AvailableTo = "2026-06-30"
	if _, _, err := late.c.decide(late.rules, late.basis, Command{Kind: Shortlisted, OccurredAt: at("2026-03-01"), Now: late.now, Actor: access.Counsellor}); err != nil {
		t.Errorf("recorded in September, decided in March: %v", err)
	}
}

func TestRepeats(t *testing.T) {
	b := newBench()
	cmd := Command{Kind: Shortlisted, OccurredAt: b.now.Add(-time.Hour), Now: b.now, Actor: access.Counsellor, Key: "k1", Fingerprint: "f1"}
	first, fresh, err := b.c.decide(b.rules, b.basis, cmd)
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	same := func(what string, cmd Command) {
		t.Helper()
		step, fresh, err := b.c.decide(b.rules, b.basis, cmd)
		if err != nil || fresh || step.ID != first.ID || len(b.c.Steps) != 1 {
			t.Errorf("%s: step %v, fresh %v, error %v", what, step, fresh, err)
		}
	}
	b.basis.Offer.Open = false // whatever happened since: the answer stays
	same("same key and body", cmd)
	cmd.Key = ""
	same("same content, no key", cmd)
	cmd.OccurredAt = time.Time{}
	same("no moment given", cmd)
	cmd.Key, cmd.Fingerprint = "k1", "other"
	if _, _, err := b.c.decide(b.rules, b.basis, cmd); !errors.Is(err, &api.Error{Kind: api.KindKeyReused}) {
		t.Errorf("same key, other body: %v", err)
	}
	cmd = Command{Kind: Shortlisted, OccurredAt: b.now, Now: b.now, Actor: access.Counsellor}
	if _, _, err := b.c.decide(b.rules, b.basis, cmd); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		t.Errorf("the same kind at another moment: %v", err)
	}
}

func TestStepsKeepWhatTheyWereMadeFrom(t *testing.T) {
	b := newBench()
	b.basis.Seeker.Seq, b.basis.Offer.Seq = 7, 9
	step, err := b.decide(Shortlisted)
	if err != nil {
		t.Fatal(err)
	}
	if step.CandidateSeq != 7 || step.OfferSeq != 9 || step.Score != 800 || len(step.Parts) != 6 ||
		step.Weights != PresentWeights().Version || step.Reference != "test" || step.PathwayID != id(900) {
		t.Errorf("step %+v", step)
	}
}

func TestIdsAreULIDsOfWhatTheyName(t *testing.T) {
	a := CaseID(id(100), id(1))
	if _, err := ulid.ParseStrict(a); err != nil {
		t.Error(err)
	}
	if a != CaseID(id(100), id(1)) || a == CaseID(id(1), id(100)) || decisionID(a, Hired) == decisionID(a, Refused) {
		t.Error("an id must be the same for the same and another for another")
	}
}

func TestSeatsSortAsNumbers(t *testing.T) {
	last := ""
	for n := range 1200 {
		name := seat("o", n)
		if name <= last {
			t.Fatalf("%s comes before %s", name, last)
		}
		if number, err := seatNumber(name); err != nil || number != n {
			t.Fatalf("%s is seat %d (%v)", name, number, err)
		}
		last = name
	}
	if _, err := seatNumber("broken"); err == nil {
		t.Error("a broken seat is accepted")
	}
}

func TestPseudonyms(t *testing.T) {
	p := pseudonyms{[]byte("0123456789abcdef0123456789abcdef")}
	seen := p.mask("E1", id(1))
	if seen == id(1) || seen == p.mask("E2", id(1)) || seen == p.mask("E1", id(2)) || seen != p.mask("E1", id(1)) {
		t.Error("a pseudonym must be the employer's own, one for each person, always the same")
	}
	if _, err := ulid.ParseStrict(seen); err != nil {
		t.Errorf("%q: %v", seen, err)
	}
	if back, ok := p.unmask("E1", seen); !ok || back != id(1) {
		t.Errorf("turned back into %q, want %q", back, id(1))
	}
	if back, _ := p.unmask("E2", seen); back == id(1) {
		t.Error("another employer can turn it back")
	}
	if back, _ := p.unmask("E1", id(1)); back == id(1) {
		t.Error("the real id is taken for a pseudonym")
	}
	if _, ok := p.unmask("E1", "nonsense"); ok {
		t.Error("nonsense is taken for a pseudonym")
	}
}
