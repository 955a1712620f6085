package candidates

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/api"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// What was told of a pathway and was wrong is put right, never erased: the entry
// that says so stands in the history beside the one that it is about, and its
// event takes the place of the earlier one in every figure from then on. What a
// figure was on a day before can still be asked for.

// correct moves an entry to another moment. It must stay between its neighbours,
// for the order of a pathway is not a matter of dates. The time spent in the stage
// before it and after it changes, so the next entry is told again, too.
func (p *Pathway) correct(s *reference.Scheme, number int, act Act) ([]told, error) {
	if act.OccurredAt.IsZero() {
		return nil, api.Invalid(api.Field{Path: "occurred_at", Code: "required", Reason: "say when it happened"})
	}
	i, act, err := p.toPutRight(s, number, act)
	if err != nil {
		return nil, err
	}
	e, at := &p.History[i], act.OccurredAt
	before, after := p.neighbours(i)
	switch {
	case at.Equal(e.OccurredAt):
		return nil, api.Conflict("entry %d has that date already", number)
	case before >= 0 && at.Before(p.History[before].OccurredAt):
		return nil, outOfOrder("entry %d, before it, happened on %s", before+1, stamp(p.History[before].OccurredAt))
	case after >= 0 && at.After(p.History[after].OccurredAt):
		return nil, outOfOrder("entry %d, after it, happened on %s", after+1, stamp(p.History[after].OccurredAt))
	}
	if after >= 0 && p.History[after].EventID == "" {
		return nil, tooOld()
	}
	was := e.OccurredAt
	e.OccurredAt = at
	p.stand(s)
	p.UpdatedAt = act.Now
	out := []told{{entry: i, event: p.corrected(s, i, act)}}
	if after >= 0 {
		out = append(out, told{entry: after, event: p.corrected(s, after, act)})
	}
	p.record(entryCorrected, e.From, e.To, act)
	last := &p.History[len(p.History)-1]
	last.Entry, last.Was = number, &was
	return out, nil
}

// retract takes the last entry back: the pathway stands where it stood before.
func (p *Pathway) retract(s *reference.Scheme, number int, act Act) ([]told, error) {
	i, act, err := p.toPutRight(s, number, act)
	if err != nil {
		return nil, err
	}
	e := &p.History[i]
	before, after := p.neighbours(i)
	switch {
	case after >= 0:
		return nil, api.Conflict("entry %d came after it; only the last thing that happened can be taken back", after+1)
	case before < 0:
		return nil, api.Conflict("the pathway was opened with it; end the pathway with an exit instead")
	}
	e.Retracted = true
	p.stand(s)
	p.UpdatedAt = act.Now
	event := &candidatesv1.EntryRetracted{
		EventId: e.EventID, EntrySeq: e.EventSeq, Placement: e.Kind == entryMoved && e.To == s.Placement,
		Reason: act.Reason, Actor: string(act.Actor), Now: p.now(),
	}
	p.record(entryRetracted, e.From, e.To, act)
	p.History[len(p.History)-1].Entry = number
	return []told{{entry: len(p.History) - 1, event: event}}, nil
}

// told is an event and the entry whose date it has.
type told struct {
	entry int
	event proto.Message
}

// toPutRight is the place in the history of the entry with a number, from 1, which
// the actor may correct or take back; and the act, completed.
func (p *Pathway) toPutRight(s *reference.Scheme, number int, act Act) (int, Act, error) {
	act, f := act.clean()
	if number < 1 || number > len(p.History) {
		f.add("entry", "unknown", fmt.Sprintf("the number of an entry of the history expected, from 1 to %d", len(p.History)))
	}
	if len(f) > 0 {
		return 0, act, api.Invalid(f...)
	}
	return number - 1, act, p.mayPutRight(s, &p.History[number-1], act)
}

// mayPutRight says whether an entry can be corrected or taken back by the actor.
func (p *Pathway) mayPutRight(s *reference.Scheme, e *Entry, act Act) error {
	switch {
	case !e.happened():
		return api.Conflict("a %q entry is not something that happened to the pathway", e.Kind)
	case e.Retracted:
		return api.Conflict("the entry was taken back already")
	case e.DecisionID != "":
		return api.Conflict("a matching decision made this entry; record the decision that is right (such as a refusal or no_show) with matching, and the pathway follows")
	case e.EventID == "":
		return tooOld()
	}
	code := e.To
	if code == "" {
		code = e.From
	}
	if stage, known := s.Stage(code); known {
		if err := allowed(s, stage, act.Actor); err != nil {
			return err
		}
	}
	return nil
}

func tooOld() error {
	return api.Conflict("the entry, or the one after it, is from before entries could be put right; nothing was changed")
}

// happened says whether an entry tells something that happened to the pathway, not
// a note or what was put right.
func (e *Entry) happened() bool {
	switch e.Kind {
	case entryOpened, entryMoved, entryExited, entryCompleted:
		return true
	}
	return false
}

// neighbours are the entries before and after one that still stand; -1: none.
func (p *Pathway) neighbours(i int) (before, after int) {
	before, after = -1, -1
	for k := range p.History {
		if e := &p.History[k]; e.happened() && !e.Retracted {
			switch {
			case k < i:
				before = k
			case k > i && after < 0:
				after = k
			}
		}
	}
	return before, after
}

// stand works out from the history where the pathway stands.
func (p *Pathway) stand(s *reference.Scheme) {
	p.Placed = false
	p.State, p.Exit, p.EndedAt, p.OpenKey = Open, "", time.Time{}, p.CandidateID+"/"+p.Scheme
	for k := range p.History {
		e := &p.History[k]
		if !e.happened() || e.Retracted {
			continue
		}
		switch e.Kind {
		case entryOpened:
			p.OpenedAt, p.Stage, p.EnteredAt = e.OccurredAt, e.To, e.OccurredAt
			p.Placed = e.To == s.Placement
		case entryMoved:
			p.Stage, p.EnteredAt = e.To, e.OccurredAt
			p.Placed = p.Placed || e.To == s.Placement
		case entryExited:
			p.State, p.Exit, p.EndedAt, p.OpenKey = Exited, e.Exit, e.OccurredAt, ""
		case entryCompleted:
			p.State, p.EndedAt, p.OpenKey = Completed, e.OccurredAt, ""
		}
	}
}

// corrected tells an entry again, as it now stands.
func (p *Pathway) corrected(s *reference.Scheme, i int, act Act) *candidatesv1.EntryCorrected {
	e := &p.History[i]
	out := &candidatesv1.EntryCorrected{
		EventId: e.EventID, EntrySeq: e.EventSeq, Reason: act.Reason, Actor: string(act.Actor), Now: p.now(),
	}
	entered := ""
	if before, _ := p.neighbours(i); before >= 0 {
		entered = stamp(p.History[before].OccurredAt)
	}
	switch e.Kind {
	case entryOpened:
		out.Entry = &candidatesv1.EntryCorrected_Opened{Opened: &candidatesv1.PathwayOpened{
			CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion, Stage: e.To, Person: p.Person.event(),
		}}
	case entryMoved:
		out.Entry = &candidatesv1.EntryCorrected_Entered{Entered: &candidatesv1.StageEntered{
			CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
			From: e.From, To: e.To, FromEnteredAt: entered, Actor: e.Actor, Reason: e.Reason, OfferId: e.OfferID,
			Person: p.Person.event(), Placement: e.To == s.Placement,
		}}
	case entryExited:
		out.Entry = &candidatesv1.EntryCorrected_Exited{Exited: &candidatesv1.PathwayExited{
			CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
			Stage: e.From, StageEnteredAt: entered, Exit: e.Exit, Actor: e.Actor, OfferId: e.OfferID, Person: p.Person.event(),
		}}
	case entryCompleted:
		out.Entry = &candidatesv1.EntryCorrected_Completed{Completed: &candidatesv1.PathwayCompleted{
			CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
			Stage: e.From, StageEnteredAt: entered, Person: p.Person.event(),
		}}
	}
	return out
}

// now is where the pathway stands, for the services that follow it.
func (p *Pathway) now() *candidatesv1.PathwayState {
	return &candidatesv1.PathwayState{
		CandidateId: p.CandidateID, Scheme: p.Scheme, SchemeVersion: p.SchemeVersion,
		Stage: p.Stage, StageEnteredAt: stamp(p.EnteredAt), Open: p.State == Open,
	}
}

func outOfOrder(format string, args ...any) error {
	return api.Invalid(api.Field{Path: "occurred_at", Code: "order", Reason: fmt.Sprintf(format, args...) + ": a date between the entries around it expected"})
}
