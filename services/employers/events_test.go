package employers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime/runtimetest"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// plant is a running service on a real broker.
type plant struct {
	*house
	client *bus.Client

	mu      sync.Mutex
	answers map[string]bus.Answer // by "partition/offset" of the record
	events  map[string][]event.Event
	dead    []bus.Message
}

const patience = 30 * time.Second

func newPlant(t *testing.T) *plant {
	t.Helper()
	client := runtimetest.Broker(t, t.TempDir())
	p := &plant{house: newHouse(t, client), client: client, answers: map[string]bus.Answer{}, events: map[string][]event.Event{}}
	if err := client.EnsureTopics(t.Context(), p.service.Topics...); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	run := func(name string, work func(context.Context) error) {
		running.Go(func() {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for _, actor := range p.service.Actors {
		run(actor.Name, actor.Run)
	}
	run("relay", p.service.Relay.Run)
	watch := func(topic string, see func(bus.Message) error) {
		run("watching "+topic, func(ctx context.Context) error {
			return client.Consume(ctx, bus.Consumer{Group: "test." + topic, Topics: []string{topic}, Handle: func(_ context.Context, m bus.Message) error {
				p.mu.Lock()
				defer p.mu.Unlock()
				return see(m)
			}})
		})
	}
	watch(event.Answers, func(m bus.Message) error {
		var a bus.Answer
		if err := json.Unmarshal(m.Value, &a); err != nil {
			return err
		}
		p.answers[fmt.Sprintf("%d/%d", a.Partition, a.Offset)] = a
		return nil
	})
	watch(event.TopicEmployers, func(m bus.Message) error {
		e, err := event.Decode(m)
		if err != nil {
			return err
		}
		p.events[e.Subject] = append(p.events[e.Subject], e)
		return nil
	})
	for _, group := range []string{inboundGroup, decisionGroup} {
		watch(group+".dlq", func(m bus.Message) error { p.dead = append(p.dead, m); return nil })
	}
	t.Cleanup(func() { stop(); running.Wait() })
	return p
}

// until waits for a condition on what was seen.
func (p *plant) until(what string, seen func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		ok := seen()
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-deadline.C:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("not within %s: %s; %d answers, %d subjects, %d dead letters", patience, what, len(p.answers), len(p.events), len(p.dead))
		case <-tick.C:
		}
	}
}

func (p *plant) send(topic, key, value string) {
	p.t.Helper()
	if err := p.client.Publish(p.t.Context(), bus.Message{Topic: topic, Key: []byte(key), Value: []byte(value)}); err != nil {
		p.t.Fatal(err)
	}
}

func TestKafkaInAndOut(t *testing.T) {
	p := newPlant(t)
	own := `{"ref":"R1","title":"Cueillette","rome":"A1401","contract":"SAI","posts":2,"commune":"13004"}`
	p.send(event.InOffers, "T00001", string(versioned(t, 1, 0)))
	p.send(event.InOffers, "T00001", string(versioned(t, 1, 0)))
	p.send(event.InOffers, "T00001", string(versioned(t, 1, 1)))
	p.send(event.InOffers, "R1", own)
	p.send(event.InOffers, "bad", `{"title":"x","rome":"nope"}`)
	p.send(event.InOffers, "worse", "\x00\xff not JSON")
	p.until("an answer for each record", func() bool { return len(p.answers) == 6 })

	byKey := map[string][]string{}
	var ownID string
	p.mu.Lock()
	for _, a := range p.answers {
		outcome := a.Outcome
		if r, ok := a.Result.(map[string]any); ok {
			outcome += "/" + r["outcome"].(string)
			if a.Key == "R1" {
				ownID = r["id"].(string)
			}
		}
		byKey[a.Key] = append(byKey[a.Key], outcome)
		if a.Outcome == bus.OutcomeRefused {
			text, _ := json.Marshal(a.Error)
			if !strings.Contains(string(text), `"fields":[{`) || !strings.Contains(string(text), "urn:masar:problem:invalid") {
				t.Errorf("refusal %s", text)
			}
		}
	}
	p.mu.Unlock()
	count := func(key, outcome string) (n int) {
		for _, o := range byKey[key] {
			if o == outcome {
				n++
			}
		}
		return n
	}
	if count("T00001", "accepted/created") != 1 || count("T00001", "accepted/unchanged") != 1 || count("T00001", "accepted/updated") != 1 ||
		count("R1", "accepted/created") != 1 || count("bad", "refused") != 1 || count("worse", "refused") != 1 {
		t.Errorf("answers %v", byKey)
	}
	p.until("two dead letters", func() bool { return len(p.dead) == 2 })
	p.mu.Lock()
	for _, m := range p.dead {
		if reason, ok := m.Header("dlq_reason"); !ok || len(reason) == 0 {
			t.Errorf("a dead letter without a reason: %+v", m.Headers)
		}
	}
	p.mu.Unlock()

	p.until("the offers' events", func() bool {
		return len(p.events[ownID]) == 1 && len(p.events[idOf(identity(OriginFranceTravail, "", "T00001"))]) == 2
	})
	p.mu.Lock()
	opened := p.events[ownID][0]
	terms := opened.Data.(*employersv1.OfferOpened).GetTerms()
	if opened.Source != "/employers" || opened.Seq != 1 || terms.GetPosts() != 2 || terms.GetScheme() != "agri" || terms.GetOrigin() != OriginKafka {
		t.Errorf("opened as %+v", opened)
	}
	p.mu.Unlock()

	// Two are hired, one decision comes three times, others are none of ours.
	decide := func(id, kind, offer, candidate string, seq int64) {
		e := event.New("/matching", offer+"."+candidate, day.Add(-time.Hour), day, &matchingv1.DecisionRecorded{DecisionId: id, OfferId: offer, CandidateId: candidate, Kind: kind})
		out := e.Outgoing(t.Context(), event.TopicMatching)
		m := bus.Message{Topic: out.Topic, Key: []byte(out.Key), Value: out.Value}
		for _, h := range out.Headers {
			m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: []byte(h.Value)})
		}
		m.Headers = append(m.Headers, bus.Header{Key: "ce_sequence", Value: []byte(strconv.FormatInt(seq, 10))})
		if err := p.client.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	decide("d0", "shortlisted", ownID, "c1", 1)
	for range 3 {
		decide("d1", "hired", ownID, "c1", 2)
	}
	decide("d2", "hired", ownID, "c2", 1)
	decide("d3", "hired", "01NOWHERE", "c3", 1)
	p.send(event.TopicMatching, "x", "not an event")
	p.until("posts filled and the offer closed", func() bool { return len(p.events[ownID]) == 4 })
	p.mu.Lock()
	var types []string
	for i, e := range p.events[ownID] {
		types = append(types, strings.TrimPrefix(e.Type, "masar.employers.v1."))
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has sequence %d", i+1, e.Seq)
		}
	}
	if got := strings.Join(types, " "); got != "OfferOpened PostFilled PostFilled OfferClosed" {
		t.Errorf("events %s", got)
	}
	closed := p.events[ownID][3].Data.(*employersv1.OfferClosed)
	if closed.GetReason() != ReasonFilled || closed.GetTerms().GetPostsFilled() != 2 || !p.events[ownID][3].OccurredAt.Equal(day.Add(-time.Hour)) {
		t.Errorf("closed as %+v at %s", closed, p.events[ownID][3].OccurredAt)
	}
	p.mu.Unlock()
	p.until("the unknown offer and the garbage in the dead letters", func() bool { return len(p.dead) == 4 })
}

func TestErrorsOfTheStoreBlockInsteadOfBurying(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("x: %w", docstore.ErrUnavailable): "blocked",
		context.Canceled: "blocked",
		&refusedError{}:  "permanent",
		fmt.Errorf("decision: %w", ErrUnknownOffer): "permanent",
		errors.New("who knows"):                     "retried",
	} {
		got := "retried"
		if marked := settle(err); bus.IsBlocked(marked) {
			got = "blocked"
		} else if bus.IsPermanent(marked) {
			got = "permanent"
		}
		if got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

func TestExpiryRunsUnderALease(t *testing.T) {
	store := openStore(t)
	h := &countingService{Service: newService(t, clock), ran: make(chan struct{}, 100)}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, holder := range []string{"a", "b"} {
		running.Go(func() {
			if err := expiry(h, store, holder, time.Millisecond, func(error) {})(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for range 10 {
		select {
		case <-h.ran:
		case <-time.After(patience):
			t.Fatal("the expiry does not run")
		}
	}
	stop()
	running.Wait()
	if h.most > 1 {
		t.Errorf("%d at the same time", h.most)
	}
}

// countingService watches how many expire at the same time.
type countingService struct {
	Service
	mu        sync.Mutex
	now, most int
	ran       chan struct{}
}

func (c *countingService) Expire(ctx context.Context) (int, error) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	n, err := c.Service.Expire(ctx)
	c.mu.Lock()
	c.now--
	c.mu.Unlock()
	select {
	case c.ran <- struct{}{}:
	default:
	}
	return n, err
}
