package matching

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// message is an event as a relay publishes it.
func message(ctx context.Context, e event.Event) bus.Message {
	topic := event.TopicCandidates
	if kindOf(e) != aboutPerson {
		topic = event.TopicEmployers
	}
	return runtimetest.Message(ctx, topic, e)
}

func (r *rig) publish(events ...event.Event) {
	r.t.Helper()
	var messages []bus.Message
	for _, e := range events {
		messages = append(messages, message(r.t.Context(), e))
	}
	if err := r.bus.Publish(r.t.Context(), messages...); err != nil {
		r.t.Fatal(err)
	}
}

// read waits for n messages of a topic, from its beginning on.
func (r *rig) read(topic string, n int) (out []bus.Message) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	err := r.bus.Consume(ctx, bus.Consumer{
		Group: fmt.Sprintf("test-%d", rand.Uint64()), Topics: []string{topic}, Workers: 1,
		Handle: func(_ context.Context, m bus.Message) error {
			if out = append(out, m); len(out) == n {
				cancel()
			}
			return nil
		},
	})
	if err != nil || len(out) < n {
		r.t.Fatalf("%d of %d messages of %s: %v", len(out), n, topic, err)
	}
	return out
}

// The story over Kafka: events in, in an order that no service would send them
// in, with repeats and rubbish between them; a shortlist; decisions out; the
// pathway that follows; a restart.
func TestOverKafka(t *testing.T) {
	r := newRig(t)
	offer, who, way, employer := id(100), id(1), id(901), id(500)
	registered := r.event(who, &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71", bothConsents...)})
	opened := r.event(way, &candidatesv1.PathwayOpened{CandidateId: who, Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
	posted := r.event(offer, &employersv1.OfferOpened{Terms: termsOf(employer, 1)})
	known := r.event(employer, &employersv1.EmployerRegistered{Status: "active"})

	unusable := r.event("not-a-ulid", &candidatesv1.CandidateRegistered{Profile: &candidatesv1.Profile{}})
	r.publish(opened, posted, opened, unusable)
	rubbish := bus.Message{Topic: event.TopicCandidates, Key: []byte(who), Value: []byte("\x00 rubbish")}
	noSequence := message(t.Context(), event.New("/test", who, at("2026-02-01"), at("2026-02-01"), &candidatesv1.CandidateUpdated{}))
	if err := r.bus.Publish(t.Context(), rubbish, noSequence); err != nil {
		t.Fatal(err)
	}
	r.publish(registered, known, posted, registered)

	r.eventually("the person is proposed", func() bool {
		status, _, _ := r.send(r.replica, counsellor, http.MethodGet, "/api/matching/offers/"+offer+"/candidates", "", "")
		return status == http.StatusOK && r.shortlist(counsellor, offer).Eligible == 1
	})
	letters := r.read(group+".dlq", 3)
	if !slices.ContainsFunc(letters, func(m bus.Message) bool { return string(m.Value) == "\x00 rubbish" }) {
		t.Error("the dead letters do not hold the original bytes")
	}

	r.decide(counsellor, offer, who, Shortlisted, Interview)
	out := r.read(event.TopicMatching, 2)
	for i, want := range []string{Shortlisted, Interview} {
		e, err := event.Decode(out[i])
		if err != nil {
			t.Fatal(err)
		}
		d, ok := e.Data.(*matchingv1.DecisionRecorded)
		if !ok || e.Source != "/matching" || e.Subject != CaseID(offer, who) || string(out[i].Key) != e.Subject || e.Seq != int64(i+1) {
			t.Errorf("event %+v", e)
		}
		if d.GetKind() != want || d.GetOfferId() != offer || d.GetCandidateId() != who || d.GetPathwayId() != way || d.GetActor() != "counsellor" ||
			d.GetScore() == 0 || len(d.GetParts()) != 6 || d.GetWeightsVersion() == "" || d.GetDecisionId() == "" {
			t.Errorf("decision %v", d)
		}
	}

	// The pathway follows, then is hired by another way: the next shortlist knows.
	r.publish(
		r.event(way, &candidatesv1.StageEntered{CandidateId: who, Scheme: "agri", SchemeVersion: "1", From: "P02", To: "P04", OfferId: offer}),
		r.event(way, &candidatesv1.StageEntered{CandidateId: who, Scheme: "agri", SchemeVersion: "1", From: "P04", To: "P07", OfferId: offer}),
	)
	r.eventually("the stage is known", func() bool {
		p, ok := r.service.index.Person(who)
		return ok && p.Tracks[0].Stage == "P07"
	})
	before := r.shortlist(counsellor, offer)

	// A restart: the index comes back from the documents, the group goes on
	// where it was.
	r.stop()
	r.replica = r.start("again")
	if after := r.shortlist(counsellor, offer); !reflect.DeepEqual(before, after) {
		t.Errorf("before the restart %+v, after it %+v", before, after)
	}
	r.decide(counsellor, offer, who, Hired)
	r.publish(r.event(offer, &employersv1.PostFilled{Terms: filled(termsOf(employer, 1)), DecisionId: decisionID(CaseID(offer, who), Hired)}))
	r.eventually("the post is known to be filled through us", func() bool {
		d, err := r.service.offers.Get(t.Context(), offer)
		return err == nil && d.Body.Filled == 1 && d.Body.seats() == 1
	})
	lags, err := r.bus.Lag(t.Context(), group, event.TopicCandidates, event.TopicEmployers)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lags {
		if l.Lag > 1 { // the last commit may be on its way
			t.Errorf("partition %d of %s is %d behind", l.Partition, l.Topic, l.Lag)
		}
	}
}

func filled(terms *employersv1.Terms) *employersv1.Terms {
	terms = proto.CloneOf(terms)
	terms.PostsFilled++
	return terms
}

// Two replicas share the partitions; each index learns of what the other folds.
func TestTwoReplicasKnowTheSame(t *testing.T) {
	r := newRig(t)
	two := r.start("two")
	const people = 60
	events := []event.Event{r.event(id(100), &employersv1.OfferOpened{Terms: termsOf(id(500), 3)})}
	for n := range people {
		events = append(
			events,
			r.event(id(n+1), &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71", ConsentMatching)}),
			r.event(id(n+901), &candidatesv1.PathwayOpened{CandidateId: id(n + 1), Scheme: "agri", SchemeVersion: "1", Stage: "P02"}),
		)
	}
	r.publish(events...)
	one := r.replica
	for name, replica := range map[string]*replica{"one": one, "two": two} {
		r.eventually("replica "+name+" knows everybody", func() bool {
			list, ok := replica.service.index.Candidates(id(100), Ask{K: 1, Today: today, Left: -1})
			return ok && list.Eligible == people
		})
	}
	r.replica = one
	a := r.shortlist(counsellor, id(100))
	r.replica = two
	if b := r.shortlist(counsellor, id(100)); !reflect.DeepEqual(a, b) {
		t.Error("the replicas answer differently")
	}
}

// The fold over the real store: any delivery leaves the same documents, and an
// index that followed is one that is loaded. What the fold itself does with any
// delivery is a property of its own (TestFoldIsOrderIndependentAndOnce); here a
// few deliveries show that the store keeps it.
func TestFoldOverTheStore(t *testing.T) {
	type story struct {
		history    history
		deliveries [2][]event.Event
	}
	stories := rapid.Custom(func(t *rapid.T) (s story) {
		s.history = genHistory(t)
		for i := range s.deliveries {
			s.deliveries[i] = deliver(t, s.history)
		}
		return s
	})
	for n := range 8 {
		s := stories.Example(n)
		var left [2]map[string]any
		for i, delivery := range s.deliveries {
			left[i] = learnAll(t, s.history, delivery)
		}
		if !reflect.DeepEqual(left[0], left[1]) {
			t.Fatalf("story %d: documents differ:\n%+v\n%+v", n, left[0], left[1])
		}
	}
}

// learnAll delivers events to a service on a fresh store and gives the documents.
func learnAll(t *testing.T, h history, delivery []event.Event) map[string]any {
	t.Helper()
	engine, err := docstore.Open(t.Context(), "sqlite:"+t.TempDir()+"/m.db")
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	documents, err := openStore(t.Context(), engine)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{store: documents, index: NewIndex(testRules()), now: func() time.Time { return at("2026-03-01") }}
	for _, e := range delivery {
		if _, err := s.Learn(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	loaded := NewIndex(testRules())
	if err := (&refresher{store: documents, index: loaded}).load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for offer := range h {
		ask := Ask{K: 10, Today: today, Seed: "s", Left: -1}
		a, _ := s.index.Candidates(offer, ask)
		b, _ := loaded.Candidates(offer, ask)
		if !reflect.DeepEqual(said(a), said(b)) {
			t.Fatalf("the index that followed says %+v, the one that was loaded %+v", a, b)
		}
	}
	out := map[string]any{}
	collect(t, documents.seekers, out)
	collect(t, documents.offers, out)
	collect(t, documents.employers, out)
	return out
}

func collect[T any](t *testing.T, c *docstore.Collection[T], out map[string]any) {
	t.Helper()
	for d, err := range c.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		// The version too: a repeat writes nothing. It counts the events that
		// changed the document, which are the same in any order.
		out[d.ID] = [2]any{d.Version, d.Body}
	}
}

func TestVerdicts(t *testing.T) {
	if err := verdict(unusable("x")); !bus.IsPermanent(err) {
		t.Error("an event that can never be applied is tried again")
	}
	if err := verdict(docstore.ErrUnavailable); !bus.IsBlocked(err) {
		t.Error("an event becomes a dead letter because the store is away")
	}
	if err := verdict(errors.New("x")); bus.IsPermanent(err) || bus.IsBlocked(err) {
		t.Error("another error is not tried a few times")
	}
}
