package candidates

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"masar.local/pkg/access"
	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// line is the service beside a broker, everything running.
type line struct {
	*house
	bus *bus.Client

	mu   sync.Mutex
	seen map[string][]bus.Message // by topic
}

func newLine(t *testing.T) *line {
	t.Helper()
	client := runtimetest.Broker(t, t.TempDir())
	l := &line{house: newHouseOn(t, client), bus: client, seen: map[string][]bus.Message{}}
	if err := client.EnsureTopics(t.Context(), l.service.Topics...); err != nil {
		t.Fatal(err)
	}
	dead := []bus.Topic{{Name: inboundGroup + ".dlq"}, {Name: decisionGroup + ".dlq"}}
	if err := client.EnsureTopics(t.Context(), dead...); err != nil {
		t.Fatal(err)
	}
	l.run()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		err := client.Consume(ctx, bus.Consumer{
			Group: "test", Topics: []string{event.TopicCandidates, event.Answers, dead[0].Name, dead[1].Name},
			Handle: func(_ context.Context, m bus.Message) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.seen[m.Topic] = append(l.seen[m.Topic], m)
				return nil
			},
		})
		if err != nil {
			t.Errorf("test consumer: %v", err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return l
}

func (l *line) got(topic string) []bus.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen[topic])
}

func (l *line) publish(topic, key string, value []byte) {
	l.t.Helper()
	if err := l.bus.Publish(l.t.Context(), bus.Message{Topic: topic, Key: []byte(key), Value: value}); err != nil {
		l.t.Fatal(err)
	}
}

func TestRecordsFromIntegrators(t *testing.T) {
	l := newLine(t)
	records := map[string]string{
		"new":     string(variant(t, "ref", `"X-1"`)),
		"again":   string(variant(t, "ref", `"X-1"`)),
		"minor":   string(variant(t, "national_id", `"22222222"`, "birth_date", `"2020-01-01"`)),
		"no json": `<candidate/>`,
		"empty":   ``,
		"list":    `[1]`,
	}
	l.publish(event.InCandidates, "new", []byte(records["new"]))
	runtimetest.Eventually(t, "the first answer", func() bool { return len(l.got(event.Answers)) == 1 })
	for _, key := range []string{"again", "minor", "no json", "empty", "list"} {
		l.publish(event.InCandidates, key, []byte(records[key]))
	}
	runtimetest.Eventually(t, "all answers", func() bool { return len(l.got(event.Answers)) == len(records) })

	type outcome struct {
		Outcome string
		Result  RowResult
		Error   struct {
			Type   string
			Fields []struct{ Path, Code string }
		}
	}
	answers := map[string]outcome{}
	for _, m := range l.got(event.Answers) {
		var o outcome
		if err := json.Unmarshal(m.Value, &o); err != nil {
			t.Fatalf("%s: %v", m.Value, err)
		}
		answers[string(m.Key)] = o
		for _, secret := range []string{"01234567", "Ben Ali", "22222222"} {
			if strings.Contains(string(m.Value), secret) {
				t.Errorf("an answer holds %s: %s", secret, m.Value)
			}
		}
	}
	if a := answers["new"]; a.Outcome != bus.OutcomeAccepted || a.Result.Outcome != Created || a.Result.ID == "" {
		t.Errorf("new: %+v", a)
	}
	if a := answers["again"]; a.Result.Outcome != Unchanged || a.Result.ID != answers["new"].Result.ID {
		t.Errorf("again: %+v", a)
	}
	if a := answers["minor"]; a.Outcome != bus.OutcomeRefused || len(a.Error.Fields) != 1 || a.Error.Fields[0].Path != "birth_date" || a.Error.Fields[0].Code != "minor" {
		t.Errorf("minor: %+v", a)
	}
	for _, key := range []string{"no json", "empty", "list"} {
		if a := answers[key]; a.Outcome != bus.OutcomeRefused || len(a.Error.Fields) == 0 {
			t.Errorf("%s: %+v", key, a)
		}
	}
	runtimetest.Eventually(t, "the dead letters", func() bool { return len(l.got(inboundGroup+".dlq")) == 4 })
	for _, m := range l.got(inboundGroup + ".dlq") {
		if reason, ok := m.Header("dlq_reason"); !ok || len(reason) == 0 || string(m.Value) != records[string(m.Key)] {
			t.Errorf("dead letter %s: %s because %s", m.Key, m.Value, reason)
		}
	}
	runtimetest.Eventually(t, "the event of the person", func() bool { return len(l.got(event.TopicCandidates)) == 1 })
	e, err := event.Decode(l.got(event.TopicCandidates)[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := e.Data.(*candidatesv1.CandidateRegistered); !ok || e.Seq != 1 || e.Subject != answers["new"].Result.ID {
		t.Errorf("event %+v", e)
	}
}

func (l *line) decide(d *matchingv1.DecisionRecorded, at time.Time) {
	l.t.Helper()
	out := event.New("/matching", "case-"+d.GetOfferId()+d.GetCandidateId(), at, testNow, d).Outgoing(l.t.Context(), event.TopicMatching)
	m := bus.Message{Topic: out.Topic, Key: []byte(out.Key), Value: out.Value}
	for _, h := range out.Headers {
		m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: []byte(h.Value)})
	}
	if err := l.bus.Publish(l.t.Context(), m); err != nil {
		l.t.Fatal(err)
	}
}

func TestDecisionsMovePathways(t *testing.T) {
	l := newLine(t)
	person := l.register()
	id := l.openWay(person, "agri")
	decision := func(n int, kind, pathway string) *matchingv1.DecisionRecorded {
		return &matchingv1.DecisionRecorded{
			DecisionId: fmt.Sprintf("d%d", n), OfferId: "O1", CandidateId: person, PathwayId: pathway, Kind: kind, Actor: "employer",
		}
	}
	shortlisted := decision(1, "shortlisted", id)
	l.decide(shortlisted, day(1))
	l.decide(shortlisted, day(1)) // delivered twice
	l.decide(decision(2, "hired", id), day(2))
	l.decide(decision(3, "interview", id), day(3))
	l.decide(decision(4, "refused", id), day(4))
	l.decide(decision(5, "shortlisted", ""), day(5))              // nobody to move
	l.decide(decision(6, "shortlisted", "no-such"), day(5))       // a contradiction
	l.decide(&matchingv1.DecisionRecorded{PathwayId: id}, day(5)) // no id
	l.publish(event.TopicMatching, "noise", []byte("noise"))
	l.decide(decision(7, "hired", id), day(6))

	runtimetest.Eventually(t, "the last decision", func() bool { return len(l.way(id).History) == 6 })
	w := l.way(id)
	var got []string
	for _, e := range w.History {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s>%s %s %s", e.Kind, e.From, e.To, e.DecisionID, e.Refusal)))
	}
	want := []string{
		"opened >P02", "moved P02>P04 d1", "noted P04>P04 d2 hired does not apply at stage P04",
		"moved P04>P07 d3", "noted P07>P07 d4", "moved P07>P08 d7",
	}
	if !slices.Equal(got, want) {
		t.Errorf("history\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	runtimetest.Eventually(t, "the dead letters", func() bool { return len(l.got(decisionGroup+".dlq")) == 3 })
	// Opened and three moves, in order, by business time.
	runtimetest.Eventually(t, "the events", func() bool { return len(l.got(event.TopicCandidates)) >= 5 })
	var stages []string
	for _, m := range l.got(event.TopicCandidates) {
		e, err := event.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := e.Data.(*candidatesv1.StageEntered); ok {
			stages = append(stages, s.GetTo()+" "+s.GetReason()+" "+s.GetActor()+" "+e.OccurredAt.Format(time.DateOnly))
		}
	}
	if want := []string{
		"P04 decision_shortlisted employer " + day(1).Format(time.DateOnly),
		"P07 decision_interview employer " + day(3).Format(time.DateOnly),
		"P08 decision_hired employer " + day(6).Format(time.DateOnly),
	}; !slices.Equal(stages, want) {
		t.Errorf("stages entered %v, want %v", stages, want)
	}
}

func FuzzDecision(f *testing.F) {
	f.Add("d", "o", "c1", "p", "shortlisted", "employer", int64(0))
	f.Add("", "", "", "", "", "", int64(1)<<60)
	f.Fuzz(func(t *testing.T, id, offer, candidate, pathway, kind, actor string, at int64) {
		d := &matchingv1.DecisionRecorded{DecisionId: id, OfferId: offer, CandidateId: candidate, PathwayId: pathway, Kind: kind, Actor: actor}
		if _, err := proto.Marshal(d); err != nil {
			return // not UTF-8: it cannot arrive
		}
		s := mustScheme(t, "agri")
		p, _, err := openPathway(s, "c1", Person{}, by(access.Counsellor, day(0)))
		if err != nil {
			t.Fatal(err)
		}
		e, _ := p.decide(s, Decision{ID: id, Kind: kind, CandidateID: candidate, OfferID: offer, Actor: access.Role(actor), OccurredAt: time.Unix(at, 0), Now: testNow})
		if (e != nil) != (p.Stage != "P02") {
			t.Fatalf("event %v at stage %s", e, p.Stage)
		}
		if e != nil {
			if _, err := proto.Marshal(e); err != nil {
				t.Fatal(err)
			}
		}
	})
}
