package notifications

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// news is an event of the candidates service.
func news(data proto.Message, at time.Time) event.Event {
	e := event.New("/candidates", "01PATHWAY00000000000000000", at, at, data)
	e.Seq = 1
	return e
}

func opened(at time.Time) event.Event {
	return news(&candidatesv1.PathwayOpened{
		CandidateId: "01CANDIDATE000000000000000", Scheme: "agri", SchemeVersion: "1", Stage: "P02",
		Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995},
	}, at)
}

func entered(stage string, at time.Time) event.Event {
	return news(&candidatesv1.StageEntered{
		CandidateId: "01CANDIDATE000000000000000", Scheme: "agri", SchemeVersion: "1", From: "P02", To: stage,
		Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995},
	}, at)
}

// back is a move to the interview that has a reason.
func back(reason string, at time.Time) event.Event {
	return news(&candidatesv1.StageEntered{
		CandidateId: "01CANDIDATE000000000000000", Scheme: "agri", SchemeVersion: "1", From: "P08", To: "P07", Reason: reason,
		Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995},
	}, at)
}

func exited(stage, exit string, at time.Time) event.Event {
	return news(&candidatesv1.PathwayExited{
		CandidateId: "01CANDIDATE000000000000000", Scheme: "agri", SchemeVersion: "1", Stage: stage, Exit: exit,
		Person: &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: 1995},
	}, at)
}

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		event  event.Event
		want   Template // "" = no message
		status Status
	}{
		"opened":                  {opened(noon), PathwayOpened, Planned},
		"entered":                 {entered("P07", noon), StageEntered, Planned},
		"a stage without notify":  {entered("P09", noon), "", ""},
		"medical visit":           {entered("P14", noon), StageDiscreet, Planned},
		"exit":                    {exited("P04", "NON_RETENU_PRESELECTION", noon), PathwayExited, Planned},
		"exit from a quiet stage": {exited("P09", "OFFRE_RETIREE", noon), PathwayExited, Planned},
		"unfit":                   {exited("P14", "INAPTITUDE_MEDICALE", noon), PathwayExited, Planned},
		"death":                   {exited("P17", "DECES", noon), "", ""},
		"the way back":            {back("decision_refused", noon), "", ""},
		"who did not come":        {back("decision_no_show", noon), "", ""},
		"by a decision":           {back("decision_interview", noon), StageEntered, Planned},
		"a week old":              {entered("P07", noon.Add(-7*24*time.Hour)), StageEntered, Planned},
		"older":                   {entered("P07", noon.Add(-7*24*time.Hour-time.Second)), StageEntered, Skipped},
		"of another kind":         {news(&candidatesv1.CandidateRegistered{}, noon), "", ""},
		"completed":               {news(&candidatesv1.PathwayCompleted{CandidateId: "x", Scheme: "agri", SchemeVersion: "1", Stage: "P19"}, noon), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, ok, err := Plan(reference.Schemes(), c.event, DefaultPolicy(), noon)
			if err != nil || ok != (c.want != "") || m.Template != c.want || m.Status != c.status {
				t.Fatalf("got %v %q %q %v, want %q %q", ok, m.Template, m.Status, err, c.want, c.status)
			}
			if !ok {
				return
			}
			if m.CauseID != c.event.ID || m.PathwayID != c.event.Subject || m.Governorate != "TN-71" || !m.PlannedAt.Equal(noon) {
				t.Errorf("got %+v", m)
			}
			if m.settled() != (c.status == Skipped) || m.settled() && m.Reason != TooOld {
				t.Errorf("settled: %v, reason %q", m.settled(), m.Reason)
			}
		})
	}
}

func TestPlanUnknown(t *testing.T) {
	for name, data := range map[string]*candidatesv1.StageEntered{
		"scheme":    {CandidateId: "c", Scheme: "mars", SchemeVersion: "1", To: "P07"},
		"version":   {CandidateId: "c", Scheme: "agri", SchemeVersion: "99", To: "P07"},
		"stage":     {CandidateId: "c", Scheme: "agri", SchemeVersion: "1", To: "P99"},
		"candidate": {Scheme: "agri", SchemeVersion: "1", To: "P07"},
	} {
		if _, ok, err := Plan(reference.Schemes(), news(data, noon), DefaultPolicy(), noon); ok || err == nil {
			t.Errorf("news without a known %s: planned %v, %v", name, ok, err)
		}
	}
}

func TestMessageID(t *testing.T) {
	id := MessageID("01EVENT", "01PERSON")
	if id != MessageID("01EVENT", "01PERSON") || len(id) != 26 || strings.ToUpper(id) != id {
		t.Errorf("%q is not the same ULID each time", id)
	}
	for _, other := range []string{MessageID("01EVENT", "01OTHER"), MessageID("01OTHER", "01PERSON"), MessageID("01EVENT0", "1PERSON")} {
		if other == id {
			t.Error("two messages have one id")
		}
	}
}

// TestPatience: however tries go, waits grow up to the longest, tries and age
// stay within their bounds, and the message ends.
func TestPatience(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			Attempts: rapid.IntRange(1, 30).Draw(t, "attempts"),
			Expiry:   time.Duration(rapid.IntRange(1, 100).Draw(t, "expiry")) * time.Hour,
			Backoff:  time.Duration(rapid.IntRange(1, 1000).Draw(t, "backoff")) * time.Second,
			Longest:  time.Duration(rapid.IntRange(1, 600).Draw(t, "longest")) * time.Minute,
			Claim:    time.Minute,
		}
		now := noon
		m := Message{Status: Planned, PlannedAt: now, NextAttemptAt: now}
		last := time.Duration(0)
		for tries := 0; ; tries++ {
			if tries > p.Attempts {
				t.Fatalf("%d tries of %d", tries, p.Attempts)
			}
			if !m.due(now) || m.exhausted(p, now) {
				t.Fatal("what was postponed can be tried when its time comes")
			}
			m.claim(p, "smtp", now)
			if m.due(now) || !m.due(now.Add(p.Claim)) {
				t.Fatal("a claim holds until it lapses")
			}
			if !m.postpone(p, now) {
				m.settle(Failed, Expired, now)
				break
			}
			wait := m.NextAttemptAt.Sub(now)
			if wait < last || wait > p.Longest || m.NextAttemptAt.Sub(m.PlannedAt) >= p.Expiry {
				t.Fatalf("waits %s after %s", wait, last)
			}
			last, now = wait, m.NextAttemptAt
		}
		if !m.settled() || m.due(now.Add(1000*time.Hour)) {
			t.Fatal("a message that was given up is never due")
		}
	})
}

func TestDefaultPatience(t *testing.T) {
	p, m := DefaultPolicy(), Message{Status: Planned, PlannedAt: noon, NextAttemptAt: noon}
	now := noon
	for {
		m.claim(p, "smtp", now)
		if !m.postpone(p, now) {
			break
		}
		now = m.NextAttemptAt
	}
	if age := now.Sub(noon); age < 60*time.Hour || age > p.Expiry {
		t.Errorf("given up after %s and %d tries, want nearly %s", age, m.Attempts, p.Expiry)
	}
}

// FuzzNews: whatever a message on the topic holds, it is planned, left alone or
// refused for good; what is planned can be rendered.
func FuzzNews(f *testing.F) {
	f.Add("masar.candidates.v1.StageEntered", []byte(`{"candidateId":"c","scheme":"agri","schemeVersion":"1","to":"P07","person":{"governorate":"TN-71"}}`), int64(0))
	f.Add("masar.candidates.v1.PathwayExited", []byte(`{"candidateId":"c","scheme":"soin","schemeVersion":"1","stage":"P06b","exit":"DECES"}`), int64(-1e9))
	f.Add("masar.candidates.v1.PathwayOpened", []byte(`{"candidateId":"c","scheme":"agri","schemeVersion":"1","stage":"P02"}`), int64(1<<40))
	f.Add("masar.candidates.v1.StageEntered", []byte(`{}`), int64(0))
	r := renderer(f)
	f.Fuzz(func(t *testing.T, kind string, data []byte, seconds int64) {
		e, err := event.Decode(bus.Message{Key: []byte("p"), Value: data, Headers: []bus.Header{
			{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_id", Value: []byte("e")},
			{Key: "ce_source", Value: []byte("/candidates")},
			{Key: "ce_type", Value: []byte(kind)},
			{Key: "ce_subject", Value: []byte("p")},
			{Key: "ce_time", Value: []byte(noon.Add(time.Duration(seconds % 1e10)).Format(time.RFC3339Nano))},
			{Key: "content-type", Value: []byte("application/json")},
		}})
		if err != nil {
			return
		}
		m, ok, err := Plan(reference.Schemes(), e, DefaultPolicy(), noon)
		if err != nil || !ok {
			return
		}
		if m.CandidateID == "" || m.settled() != (m.Status == Skipped) {
			t.Fatalf("planned %+v", m)
		}
		for _, language := range Languages {
			if _, _, err := r.Text(&m, "Zoé", language); err != nil {
				t.Fatal(err)
			}
		}
	})
}
