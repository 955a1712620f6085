package candidates

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// tolerance is how far a moment may be ahead of our clock: clocks differ.
const tolerance = 2 * time.Minute

// maxNote is the longest free text of a history entry, in runes; maxCode the
// longest reason code or id.
const (
	maxNote = 2000
	maxCode = 64
)

// State says whether a pathway still runs.
type State string

// States of a pathway. Exited and completed are final.
const (
	Open      State = "open"
	Exited    State = "exited"
	Completed State = "completed"
)

// Kinds of history entries.
const (
	entryOpened    = "opened"
	entryMoved     = "moved"
	entryExited    = "exited"
	entryCompleted = "completed"
	entryNoted     = "noted"     // a decision that changed no stage
	entryCorrected = "corrected" // an earlier entry has another date
	entryRetracted = "retracted" // an earlier entry was taken back
)

// Pathway is one person's way through one scheme. Its rules are the methods of
// this file; they never do I/O. Each change returns the event it causes.
type Pathway struct {
	CandidateID   string    `bson:"candidate_id"`
	Scheme        string    `bson:"scheme"`
	SchemeVersion string    `bson:"scheme_version"` // kept for the pathway's whole life
	State         State     `bson:"state"`
	Stage         string    `bson:"stage"` // the present stage, the last one when ended
	EnteredAt     time.Time `bson:"entered_at"`
	OpenedAt      time.Time `bson:"opened_at"`
	UpdatedAt     time.Time `bson:"updated_at"` // our clock, not the world's
	EndedAt       time.Time `bson:"ended_at,omitempty"`
	Exit          string    `bson:"exit,omitempty"`
	Placed        bool      `bson:"placed"` // the placement stage was reached at least once
	Person        Person    `bson:"person"` // as it stood when the pathway was opened
	// OpenKey is "<candidate>/<scheme>" while the pathway is open and "" after:
	// its unique index allows one open pathway for a person and scheme.
	OpenKey string  `bson:"open_key,omitempty"`
	History []Entry `bson:"history"`
}

// Person is the cut of a profile that figures are counted by.
type Person struct {
	Sex         string `bson:"sex,omitempty" json:"sex,omitempty"`
	Governorate string `bson:"governorate" json:"governorate"`
	BirthYear   int    `bson:"birth_year" json:"birth_year"`
	Diploma     string `bson:"diploma_level,omitempty" json:"diploma_level,omitempty"`
}

// Entry is one thing that happened to a pathway.
type Entry struct {
	Kind       string    `bson:"kind" json:"kind"`
	From       string    `bson:"from,omitempty" json:"from,omitempty"`
	To         string    `bson:"to,omitempty" json:"to,omitempty"`
	OccurredAt time.Time `bson:"occurred_at" json:"occurred_at"`
	RecordedAt time.Time `bson:"recorded_at" json:"recorded_at"`
	Actor      string    `bson:"actor" json:"actor"` // role
	By         string    `bson:"by" json:"by"`       // subject of the token
	Reason     string    `bson:"reason,omitempty" json:"reason,omitempty"`
	Note       string    `bson:"note,omitempty" json:"note,omitempty"`
	OfferID    string    `bson:"offer_id,omitempty" json:"offer_id,omitempty"`
	Exit       string    `bson:"exit,omitempty" json:"exit,omitempty"`
	// Decision and DecisionID name the matching decision that caused the entry.
	Decision   string `bson:"decision,omitempty" json:"decision,omitempty"`
	DecisionID string `bson:"decision_id,omitempty" json:"decision_id,omitempty"`
	// HeldBy is the decision by which the offer held the pathway already.
	HeldBy string `bson:"held_by,omitempty" json:"held_by,omitempty"`
	// Refusal says why a decision was not applied.
	Refusal string `bson:"refusal,omitempty" json:"refusal,omitempty"`
	// Entry is the number, from 1, of the entry that this one puts right, and Was
	// the date that it had. Retracted says that an entry was taken back.
	Entry     int        `bson:"entry,omitempty" json:"entry,omitempty"`
	Was       *time.Time `bson:"was,omitempty" json:"was,omitempty"`
	Retracted bool       `bson:"retracted,omitempty" json:"retracted,omitempty"`
	// EventID is the event that tells the entry as it stands, EventSeq the place of
	// the entry among the pathway's events. None: the entry caused no event, or is
	// from before this was kept.
	EventID  string `bson:"event_id,omitempty" json:"event_id,omitempty"`
	EventSeq int64  `bson:"event_seq,omitempty" json:"-"`
	// Key and Fingerprint are those of the request, so that a repeated command
	// is recognised.
	Key         string `bson:"key,omitempty" json:"-"`
	Fingerprint string `bson:"fingerprint,omitempty" json:"-"`
}

// Act is what every command on a pathway says: who, when, and about what.
type Act struct {
	OccurredAt  time.Time // in the world; zero means now
	Now         time.Time // our clock
	Actor       access.Role
	By          string
	Reason      string
	Note        string
	OfferID     string
	Key         string // Idempotency-Key, "" when there is none
	Fingerprint string
}

// openPathway starts a pathway at the scheme's first stage.
func openPathway(s *reference.Scheme, candidateID string, person Person, act Act) (Pathway, proto.Message, error) {
	act, f := act.clean()
	if len(f) > 0 {
		return Pathway{}, nil, api.Invalid(f...)
	}
	first := s.First()
	if err := allowed(s, first, act.Actor); err != nil {
		return Pathway{}, nil, err
	}
	p := Pathway{
		CandidateID: candidateID, Scheme: s.Code, SchemeVersion: s.Version,
		State: Open, Stage: first.Code, EnteredAt: act.OccurredAt, OpenedAt: act.OccurredAt, UpdatedAt: act.Now,
		Placed: first.Code == s.Placement, Person: person, OpenKey: candidateID + "/" + s.Code,
	}
	p.record(entryOpened, "", first.Code, act)
	return p, &candidatesv1.PathwayOpened{
		CandidateId: candidateID, Scheme: s.Code, SchemeVersion: s.Version, Stage: first.Code, Person: person.event(),
	}, nil
}

// move takes the pathway to a stage that may follow its present one.
func (p *Pathway) move(s *reference.Scheme, to string, act Act) (proto.Message, error) {
	act, f := act.clean()
	stage, known := s.Stage(to)
	if !known {
		f.add("to", "unknown", "not a stage of the scheme; from "+p.Stage+" may follow "+orNone(s.Following(p.Stage)))
	}
	if len(f) > 0 {
		return nil, api.Invalid(f...)
	}
	if err := p.running(); err != nil {
		return nil, err
	}
	if !s.Allows(p.Stage, to) {
		return nil, api.Conflict("stage %s does not follow %s in scheme %s version %s; there may follow %s",
			to, p.Stage, s.Code, s.Version, orNone(s.Following(p.Stage)))
	}
	if err := allowed(s, stage, act.Actor); err != nil {
		return nil, err
	}
	if err := p.inOrder(act); err != nil {
		return nil, err
	}
	return p.enter(s, stage, act), nil
}

// enter makes the move once it is known to be right.
func (p *Pathway) enter(s *reference.Scheme, stage *reference.Stage, act Act) proto.Message {
	e := &candidatesv1.StageEntered{
		CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
		From: p.Stage, To: stage.Code, FromEnteredAt: stamp(p.EnteredAt),
		Actor: string(act.Actor), Reason: act.Reason, OfferId: act.OfferID,
		Person: p.Person.event(), Placement: stage.Code == s.Placement,
	}
	p.record(entryMoved, p.Stage, stage.Code, act)
	p.Stage, p.EnteredAt, p.UpdatedAt = stage.Code, act.OccurredAt, act.Now
	p.Placed = p.Placed || e.Placement
	return e
}

// leave ends the pathway before its last stage, with an exit of the scheme.
func (p *Pathway) leave(s *reference.Scheme, exit string, act Act) (proto.Message, error) {
	act, f := act.clean()
	x, known := s.Exit(exit)
	switch {
	case exit == "":
		f.add("exit", "required", "say why the pathway ends, with one of "+strings.Join(exitCodes(s, p.Stage), ", "))
	case !known:
		f.add("exit", "unknown", "not an exit of the scheme; at "+p.Stage+" one of "+strings.Join(exitCodes(s, p.Stage), ", "))
	}
	if len(f) > 0 {
		return nil, api.Invalid(f...)
	}
	if err := p.running(); err != nil {
		return nil, err
	}
	if !x.At(p.Stage) {
		return nil, api.Conflict("exit %s does not happen at stage %s in scheme %s version %s; there one of %s",
			exit, p.Stage, s.Code, s.Version, strings.Join(exitCodes(s, p.Stage), ", "))
	}
	if err := p.inOrder(act); err != nil {
		return nil, err
	}
	e := &candidatesv1.PathwayExited{
		CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
		Stage: p.Stage, StageEnteredAt: stamp(p.EnteredAt), Exit: exit,
		Actor: string(act.Actor), OfferId: act.OfferID, Person: p.Person.event(),
	}
	p.record(entryExited, p.Stage, "", act)
	p.History[len(p.History)-1].Exit = exit
	p.State, p.Exit, p.EndedAt, p.UpdatedAt, p.OpenKey = Exited, exit, act.OccurredAt, act.Now, ""
	return e, nil
}

// complete ends the pathway from its last stage.
func (p *Pathway) complete(s *reference.Scheme, act Act) (proto.Message, error) {
	act, f := act.clean()
	if len(f) > 0 {
		return nil, api.Invalid(f...)
	}
	if err := p.running(); err != nil {
		return nil, err
	}
	if p.Stage != s.Last().Code {
		return nil, api.Conflict("the pathway is at %s; it is completed from the last stage of the scheme, %s", p.Stage, s.Last().Code)
	}
	if err := p.inOrder(act); err != nil {
		return nil, err
	}
	e := &candidatesv1.PathwayCompleted{
		CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
		Stage: p.Stage, StageEnteredAt: stamp(p.EnteredAt), Person: p.Person.event(),
	}
	p.record(entryCompleted, p.Stage, "", act)
	p.State, p.EndedAt, p.UpdatedAt, p.OpenKey = Completed, act.OccurredAt, act.Now, ""
	return e, nil
}

// Decision is a matching decision that reached us.
type Decision struct {
	ID          string
	Kind        string // one of reference.Decisions
	HeldBy      string // the decision by which the offer held the pathway already, "" when it did not
	CandidateID string
	OfferID     string
	Actor       access.Role
	OccurredAt  time.Time
	Now         time.Time
}

// decide applies a matching decision, once. A decision that the scheme does not
// allow now changes nothing but the history, which keeps it with the reason:
// whoever decided has already told the world, so refusing to listen helps
// nobody. The event is nil when no stage was entered; known says that the
// decision had been seen before and nothing was written.
func (p *Pathway) decide(s *reference.Scheme, d Decision) (event proto.Message, known bool) {
	if slices.ContainsFunc(p.History, func(e Entry) bool { return e.DecisionID == d.ID }) {
		return nil, true
	}
	act := Act{
		OccurredAt: d.OccurredAt, Now: d.Now, Actor: d.Actor, By: "matching", Reason: "decision_" + d.Kind, OfferID: d.OfferID,
	}
	act, f := act.clean()
	// Two services have two clocks: a decision made just after the stage was
	// entered may look as if it came before.
	if early := p.EnteredAt.Sub(act.OccurredAt); early > 0 && early <= tolerance {
		act.OccurredAt = p.EnteredAt
	}
	held := d.HeldBy != ""
	to, fits := s.Decide(p.Stage, d.Kind, held)
	ends := d.Kind == reference.DecisionRefused || d.Kind == reference.DecisionNoShow
	if held && ends && p.heldByAnother(s, d.HeldBy) {
		to, fits = p.Stage, true // what the one gave back another has taken already
	}
	refusal := ""
	switch {
	case len(f) > 0:
		refusal = f[0].Path + ": " + f[0].Reason
	case d.CandidateID != p.CandidateID:
		refusal = "the decision is about another candidate"
	case p.State != Open:
		refusal = "the pathway is " + string(p.State)
	case !fits:
		refusal = fmt.Sprintf("%s does not apply at stage %s", clip(d.Kind, maxCode), p.Stage)
	case act.OccurredAt.Before(p.EnteredAt):
		refusal = "decided before the present stage was entered"
	}
	if refusal == "" && to != p.Stage {
		stage, _ := s.Stage(to)
		// A way back is not an entry: whoever may end the case leads it there.
		if err := allowed(s, stage, act.Actor); err == nil || held && ends {
			event = p.enter(s, stage, act)
		} else {
			refusal = err.Detail
		}
	}
	if event == nil {
		act.Reason = ""
		p.record(entryNoted, p.Stage, p.Stage, act)
		p.UpdatedAt = act.Now
	}
	last := &p.History[len(p.History)-1]
	last.Decision, last.DecisionID, last.HeldBy, last.Refusal = clip(d.Kind, maxCode), d.ID, clip(d.HeldBy, maxCode), refusal
	return event, false
}

// heldByAnother says whether a decision other than this one took the pathway, and
// has not given it back. Decisions about different offers come in any order, so
// one offer may have taken the pathway before we hear that another gave it back.
// What came before the last placement is another season's.
func (p *Pathway) heldByAnother(s *reference.Scheme, decision string) bool {
	over := map[string]bool{decision: true}
	for i := len(p.History) - 1; i >= 0 && (p.History[i].Kind != entryMoved || p.History[i].Retracted || p.History[i].To != s.Placement); i-- {
		e := &p.History[i]
		switch e.Decision {
		case reference.DecisionRefused, reference.DecisionNoShow:
			over[e.HeldBy] = true
		case reference.DecisionAccepted, reference.DecisionHired:
			if e.HeldBy == "" && e.Refusal == "" && !over[e.DecisionID] {
				return true
			}
		}
	}
	return false
}

// repeated finds the entry that a request with the same key by the same
// principal made; an error says that the key was used with another body.
func (p *Pathway) repeated(act Act) (bool, error) {
	if act.Key == "" {
		return false, nil
	}
	for _, e := range p.History {
		if e.Key == act.Key && e.By == act.By {
			if e.Fingerprint != act.Fingerprint {
				return false, api.KeyReused()
			}
			return true, nil
		}
	}
	return false, nil
}

func (p *Pathway) record(kind, from, to string, act Act) {
	p.History = append(p.History, Entry{
		Kind: kind, From: from, To: to, OccurredAt: act.OccurredAt, RecordedAt: act.Now,
		Actor: string(act.Actor), By: act.By, Reason: act.Reason, Note: act.Note, OfferID: act.OfferID,
		Key: act.Key, Fingerprint: act.Fingerprint,
	})
}

func (p *Pathway) running() error {
	switch p.State {
	case Exited:
		return api.Conflict("the pathway ended with %s at stage %s; it does not move any more", p.Exit, p.Stage)
	case Completed:
		return api.Conflict("the pathway is completed; it does not move any more")
	}
	return nil
}

// inOrder says whether the act happened after the present stage was entered.
func (p *Pathway) inOrder(act Act) error {
	if act.OccurredAt.Before(p.EnteredAt) {
		return api.Invalid(api.Field{
			Path: "occurred_at", Code: "order",
			Reason: fmt.Sprintf("stage %s was entered on %s: nothing can have happened to the pathway before that since", p.Stage, stamp(p.EnteredAt)),
		})
	}
	return nil
}

// allowed says whether the role may enter the stage. The owner of a local
// installation may do everything.
func allowed(s *reference.Scheme, stage *reference.Stage, actor access.Role) *api.Error {
	if actor == access.Admin || slices.Contains(stage.Actors, string(actor)) {
		return nil
	}
	return api.Forbidden("stage %s of scheme %s is entered by %s, not by %q",
		stage.Code, s.Code, strings.Join(stage.Actors, ", "), clip(string(actor), maxCode))
}

// clean completes and checks what an act says by itself. Times are kept to the
// millisecond, as every store keeps them.
func (a Act) clean() (Act, faults) {
	var f faults
	a.Now = a.Now.UTC().Truncate(time.Millisecond)
	if a.OccurredAt.IsZero() {
		a.OccurredAt = a.Now
	}
	a.OccurredAt = a.OccurredAt.UTC().Truncate(time.Millisecond)
	if a.OccurredAt.After(a.Now.Add(tolerance)) {
		f.add("occurred_at", "future", "the moment is in the future")
	}
	f.text(&a.Reason, "reason", maxCode)
	f.text(&a.Note, "note", maxNote)
	f.text(&a.OfferID, "offer_id", maxCode)
	return a, f
}

func (p Person) event() *candidatesv1.Person {
	return &candidatesv1.Person{Sex: p.Sex, Governorate: p.Governorate, BirthYear: int32(p.BirthYear), DiplomaLevel: p.Diploma}
}

func exitCodes(s *reference.Scheme, stage string) []string {
	var codes []string
	for _, x := range s.Exits {
		if x.At(stage) {
			codes = append(codes, x.Code)
		}
	}
	return codes
}

func orNone(codes []string) string {
	if len(codes) == 0 {
		return "none"
	}
	return strings.Join(codes, ", ")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func clip(s string, most int) string {
	if r := []rune(strings.ToValidUTF8(s, "?")); len(r) > most {
		return string(r[:most])
	}
	return strings.ToValidUTF8(s, "?")
}
