package notifications

import (
	"fmt"
	"time"

	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// Plan says which message an event calls for. ok is false when it calls for
// none: the event is of another kind, or its scheme does not notify the stage.
// The error names a scheme or stage that this version of Masar does not know.
//
// An exit is told whatever the stage: somebody who followed a pathway must not
// learn from silence that it is over.
func Plan(schemes reference.SchemeSet, e event.Event, p Policy, now time.Time) (m Message, ok bool, err error) {
	var person *candidatesv1.Person
	switch news := e.Data.(type) {
	case *candidatesv1.PathwayOpened:
		m.Template, m.CandidateID, m.Stage = PathwayOpened, news.GetCandidateId(), news.GetStage()
		m.Scheme, m.SchemeVersion, person = news.GetScheme(), news.GetSchemeVersion(), news.GetPerson()
	case *candidatesv1.StageEntered:
		if wayBack[news.GetReason()] {
			return Message{}, false, nil
		}
		m.Template, m.CandidateID, m.Stage = StageEntered, news.GetCandidateId(), news.GetTo()
		m.Scheme, m.SchemeVersion, person = news.GetScheme(), news.GetSchemeVersion(), news.GetPerson()
	case *candidatesv1.PathwayExited:
		if silent[news.GetExit()] {
			return Message{}, false, nil
		}
		m.Template, m.CandidateID, m.Stage = PathwayExited, news.GetCandidateId(), news.GetStage()
		m.Scheme, m.SchemeVersion, person = news.GetScheme(), news.GetSchemeVersion(), news.GetPerson()
	default:
		return Message{}, false, nil
	}
	if m.CandidateID == "" {
		return Message{}, false, fmt.Errorf("notifications: %s %s names no candidate", e.Type, e.ID)
	}
	scheme, known := schemes.Get(m.Scheme, m.SchemeVersion)
	if !known {
		return Message{}, false, fmt.Errorf("notifications: %s %s is about scheme %q version %q, which is not known here", e.Type, e.ID, m.Scheme, m.SchemeVersion)
	}
	stage, known := scheme.Stage(m.Stage)
	if !known {
		return Message{}, false, fmt.Errorf("notifications: %s %s is about stage %q, which scheme %s %s does not have", e.Type, e.ID, m.Stage, m.Scheme, m.SchemeVersion)
	}
	if !stage.Notify && m.Template != PathwayExited {
		return Message{}, false, nil
	}
	if m.Template != PathwayExited && discreet[m.Stage] {
		m.Template = StageDiscreet
	}
	m.PathwayID, m.CauseID, m.Trace = e.Subject, e.ID, e.Traceparent
	m.Governorate = person.GetGovernorate()
	m.OccurredAt, m.PlannedAt = e.OccurredAt, now
	m.Status, m.NextAttemptAt = Planned, now
	if now.Sub(e.OccurredAt) > p.MaxAge {
		m.settle(Skipped, TooOld, now)
	}
	return m, true, nil
}
