package matching

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"masar.local/pkg/docstore"
	"masar.local/pkg/docstore/storetest"
	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// learner is the use case Learn on a store, without anything around it.
func learner(t testing.TB, e docstore.Engine) *service {
	t.Helper()
	documents, err := openStore(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	rules := testRules()
	return &service{
		store: documents, index: NewIndex(rules), rules: rules, names: pseudonyms{make([]byte, 32)}, past: &pastRules{present: rules},
		ready: func() error { return nil }, now: func() time.Time { return at("2026-03-01") },
	}
}

func openEngine(t testing.TB, uri string) docstore.Engine {
	t.Helper()
	e, err := docstore.Open(t.Context(), uri, docstore.WithLog(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// eventOf is the event of a seq.
func eventOf(subject string, seq int64, data proto.Message) event.Event {
	e := event.New("/test", subject, at("2026-02-01"), at("2026-02-01"), data)
	e.Seq = seq
	return e
}

// plain is a document without what says when and how it was written.
func plain[T any, P document[T]](d *T) T {
	c := *d
	switch c := any(&c).(type) {
	case *Seeker:
		c.Logged, c.UpdatedAt = false, time.Time{}
	case *Offer:
		c.Logged, c.UpdatedAt = false, time.Time{}
	case *Employer:
		c.Logged, c.UpdatedAt = false, time.Time{}
	}
	return c
}

// same compares documents; an empty list is no list.
func same[T any, P document[T]](a, b *T) bool {
	return a != nil && b != nil && fmt.Sprintf("%+v", plain[T, P](a)) == fmt.Sprintf("%+v", plain[T, P](b))
}

// past is every state in which documents were.
type past struct {
	seekers   map[string]map[uint64]*Seeker
	offers    map[string]map[int64]*Offer
	employers map[string]map[int64]*Employer
}

func newPast() past {
	return past{map[string]map[uint64]*Seeker{}, map[string]map[int64]*Offer{}, map[string]map[int64]*Employer{}}
}

func remember[K comparable, D any](m map[string]map[K]*D, id string, key K, d *D) {
	if m[id] == nil {
		m[id] = map[K]*D{}
	}
	if m[id][key] == nil {
		m[id][key] = d
	}
}

// note remembers how the document that an event is about stands.
func (p past) note(t fataler, s *service, e event.Event) {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	switch kindOf(e) {
	case aboutPerson:
		who, err := person(e)
		check(err)
		d, err := s.seekers.Get(ctx, who)
		check(err)
		remember(p.seekers, who, d.Body.Stamp(), &d.Body)
	case aboutOffer:
		d, err := s.offers.Get(ctx, e.Subject)
		check(err)
		remember(p.offers, e.Subject, d.Body.Seq, &d.Body)
	case aboutEmployer:
		d, err := s.employers.Get(ctx, e.Subject)
		check(err)
		remember(p.employers, e.Subject, d.Body.Seq, &d.Body)
	}
}

type fataler interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// check works every state out again, from the documents and from the log alone.
func (p past) check(t fataler, s *service) {
	ctx := context.Background()
	for who, states := range p.seekers {
		l, err := s.learned.read(ctx, who)
		if err != nil {
			t.Fatal(err)
		}
		for stamp, want := range states {
			if got, err := l.seeker(stamp); err != nil || !same(got, want) {
				t.Fatalf("%s at %x: %v\n got %+v\nwant %+v", who, stamp, err, got, want)
			}
			if got, err := s.seekerAt(ctx, who, stamp); err != nil || !same(got, want) {
				t.Fatalf("%s at %x: %v\n got %+v\nwant %+v", who, stamp, err, got, want)
			}
		}
	}
	for offer, states := range p.offers {
		for seq, want := range states {
			if got, err := s.offerAt(ctx, offer, seq); err != nil || !same(got, want) {
				t.Fatalf("%s at %d: %v\n got %+v\nwant %+v", offer, seq, err, got, want)
			}
		}
	}
	for employer, states := range p.employers {
		for seq, want := range states {
			if got, err := s.employerAt(ctx, employer, seq); err != nil || !same(got, want) {
				t.Fatalf("%s at %d: %v\n got %+v\nwant %+v", employer, seq, err, got, want)
			}
		}
	}
}

// Every state in which any document ever was can be worked out again, whatever
// the order between aggregates and whatever is repeated, also when the documents
// were there before the log.
func TestEveryStateCanBeWorkedOutAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e := openEngine(t, uri)
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			s := learner(t, prefixed{e, fmt.Sprintf("r%d_", round), nil})
			round++
			events := deliver(rt, genHistory(rt))
			// An older program, without a log, applied the first of them.
			before := rapid.IntRange(0, len(events)).Draw(rt, "before the log")
			if rapid.Bool().Draw(rt, "new installation") {
				before = 0
			}
			states := newPast()
			for i, e := range events {
				if i < before {
					withoutLog(rt, s, e)
				} else if _, err := s.Learn(t.Context(), e); err != nil {
					rt.Fatal(err)
				}
				if i >= before-1 {
					for _, e := range events[:i+1] {
						if i == before-1 || e.ID == events[i].ID {
							states.note(rt, s, e)
						}
					}
				}
			}
			// Documents that nothing happened to since have no log, and need none.
			for who, known := range states.seekers {
				if d, err := s.seekers.Get(t.Context(), who); err != nil {
					rt.Fatal(err)
				} else if !d.Body.Logged {
					delete(states.seekers, who)
					for stamp := range known {
						if got, err := s.seekerAt(t.Context(), who, stamp); err != nil || !same(got, known[stamp]) {
							rt.Fatalf("%s at %x, never changed: %+v, %v", who, stamp, got, err)
						}
					}
				}
			}
			states.check(rt, s)
		})
	})
}

// withoutLog applies an event as a program did that kept no log.
func withoutLog(t fataler, s *service, e event.Event) {
	var err error
	switch ctx := context.Background(); kindOf(e) {
	case aboutPerson:
		who, _ := person(e)
		_, err = s.seekers.Upsert(ctx, who, older(func(d *Seeker) bool { return d.apply(e) }))
	case aboutOffer:
		_, err = s.offers.Upsert(ctx, e.Subject, older(func(d *Offer) bool { return d.apply(e) }))
	case aboutEmployer:
		_, err = s.employers.Upsert(ctx, e.Subject, older(func(d *Employer) bool { return d.apply(e) }))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func older[T any](apply func(*T) bool) func(*docstore.Doc[T]) error {
	return func(d *docstore.Doc[T]) error {
		if !apply(&d.Body) {
			return docstore.Unchanged
		}
		return nil
	}
}

// prefixed is an engine of which every collection has another name, so that many
// rounds of a test share one database; and which fails where it is told to.
type prefixed struct {
	docstore.Engine
	prefix string
	fail   func(what, collection string) error
}

func (p prefixed) fails(what, collection string) error {
	if p.fail == nil {
		return nil
	}
	return p.fail(what, collection)
}

func (p prefixed) Ensure(ctx context.Context, schemas ...docstore.Schema) error {
	schemas = slices.Clone(schemas)
	for i := range schemas {
		schemas[i].Collection = p.prefix + schemas[i].Collection
	}
	return p.Engine.Ensure(ctx, schemas...)
}

func (p prefixed) Get(ctx context.Context, c, id string) (docstore.Record, error) {
	return p.Engine.Get(ctx, p.prefix+c, id)
}

func (p prefixed) Insert(ctx context.Context, c string, r docstore.Record, events []docstore.Event) error {
	if err := p.fails("insert", c); err != nil {
		return err
	}
	return p.Engine.Insert(ctx, p.prefix+c, r, events)
}

func (p prefixed) Replace(ctx context.Context, c string, r docstore.Record, events []docstore.Event) error {
	if err := p.fails("replace", c); err != nil {
		return err
	}
	return p.Engine.Replace(ctx, p.prefix+c, r, events)
}

func (p prefixed) Find(ctx context.Context, c string, q docstore.Query) ([]docstore.Record, string, error) {
	return p.Engine.Find(ctx, p.prefix+c, q)
}

func (p prefixed) Scan(ctx context.Context, c, after string, limit int) ([]docstore.Record, error) {
	return p.Engine.Scan(ctx, p.prefix+c, after, limit)
}

func (p prefixed) Count(ctx context.Context, c string) (int64, error) {
	return p.Engine.Count(ctx, p.prefix+c)
}

func (p prefixed) File(ctx context.Context, c string, rs []docstore.Record) error {
	if err := p.fails("file", c); err != nil {
		return err
	}
	return p.Engine.File(ctx, p.prefix+c, rs)
}

// A process that dies between the entry and the document, at any event, loses
// nothing: the event comes again, and every state can be worked out.
func TestDyingBetweenEntryAndDocument(t *testing.T) {
	e := openEngine(t, storetest.SQLite(t))
	errDead := errors.New("killed")
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		dead := false
		s := learner(t, prefixed{e, fmt.Sprintf("r%d_", round), func(what, _ string) error {
			if what != "file" && dead {
				return errDead
			}
			return nil
		}})
		round++
		h := genHistory(rt)
		states := newPast()
		next := map[string]int{}
		keys := slices.Sorted(maps.Keys(h))
		for len(keys) > 0 {
			i := rapid.IntRange(0, len(keys)-1).Draw(rt, "key")
			ev := h[keys[i]][next[keys[i]]]
			dead = rapid.IntRange(0, 2).Draw(rt, "dies") == 0
			if _, err := s.Learn(t.Context(), ev); dead {
				if !errors.Is(err, errDead) {
					rt.Fatalf("learned in spite of death: %v", err)
				}
				continue // the same key begins with the same event again, others may come before
			} else if err != nil {
				rt.Fatal(err)
			}
			states.note(rt, s, ev)
			if next[keys[i]]++; next[keys[i]] == len(h[keys[i]]) {
				keys = slices.Delete(keys, i, i+1)
			}
		}
		states.check(rt, s)
	})
}

// The log survives a restart, and a repeat adds nothing to it.
func TestTheLogSurvivesARestart(t *testing.T) {
	uri := storetest.SQLite(t)
	events := []event.Event{
		eventOf(id(1), 1, &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71")}),
		eventOf(id(901), 1, &candidatesv1.PathwayOpened{CandidateId: id(1), Scheme: "agri", SchemeVersion: "1", Stage: "P02"}),
		eventOf(id(1), 2, &candidatesv1.CandidateUpdated{Profile: profileOf("TN-11")}),
	}
	states := newPast()
	for range 2 {
		e, err := docstore.Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		s := learner(t, e)
		for _, ev := range events {
			if _, err := s.Learn(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			states.note(t, s, ev)
		}
		states.check(t, s)
		if n, err := e.Count(t.Context(), learnedSchema.Collection); err != nil || n != 3 {
			t.Errorf("%d entries, %v; want 3", n, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(states.seekers[id(1)]); n != 3 {
		t.Errorf("%d states were seen, want 3", n)
	}
}

func TestStatesThatAreNotInTheLogAreSaidToBe(t *testing.T) {
	s := learner(t, openEngine(t, storetest.SQLite(t)))
	first := eventOf(id(1), 1, &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71")})
	withoutLog(t, s, first)
	var old Seeker
	old.apply(first)
	second := eventOf(id(1), 2, &candidatesv1.CandidateUpdated{Profile: profileOf("TN-11")})
	withoutLog(t, s, second)
	third := second
	third.Seq = 3
	if _, err := s.Learn(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	for what, ask := range map[string]func() error{
		"before the log": func() error { _, err := s.seekerAt(t.Context(), id(1), old.Stamp()); return err },
		"never":          func() error { _, err := s.seekerAt(t.Context(), id(2), 7); return err },
		"an offer":       func() error { _, err := s.offerAt(t.Context(), id(3), 7); return err },
		"an employer":    func() error { _, err := s.employerAt(t.Context(), id(4), 7); return err },
	} {
		if err := ask(); !errors.Is(err, ErrForgotten) || !strings.Contains(err.Error(), "in the log") {
			t.Errorf("%s: %v, want ErrForgotten", what, err)
		}
	}
}

// What matching does not use is not in the log, and what it uses is.
func TestTheLogHoldsWhatIsUsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, e := range deliver(t, genHistory(t)) {
			kept := e
			kept.Data = used(e.Data)
			if kindOf(e) == aboutPerson {
				var a, b Seeker
				a.apply(e)
				b.apply(kept)
				if !same(&a, &b) {
					t.Fatalf("%s: from the log %+v, want %+v", e.Type, b, a)
				}
			}
			if text := fmt.Sprint(kept.Data); strings.Contains(text, "sex:") || strings.Contains(text, "birth_year") {
				t.Fatalf("the log holds %s", text)
			}
		}
	})
}

// A person with many pathways, and a stamp that nobody ever had.
func TestManyAggregatesAreSearchedInTime(t *testing.T) {
	s := learner(t, openEngine(t, storetest.SQLite(t)))
	h := history{}
	h.add(id(1), &candidatesv1.CandidateRegistered{Profile: profileOf("TN-71")})
	for range 30 {
		h.add(id(1), &candidatesv1.CandidateUpdated{Profile: profileOf("TN-11")})
	}
	for w := range 4 {
		h.add(id(900+w), &candidatesv1.PathwayOpened{CandidateId: id(1), Scheme: "agri", SchemeVersion: "1", Stage: "P02"})
		for range 15 {
			h.add(id(900+w), &candidatesv1.StageEntered{CandidateId: id(1), Scheme: "agri", SchemeVersion: "1", To: "P04"})
		}
	}
	states := newPast()
	var all []event.Event
	for _, k := range slices.Sorted(maps.Keys(h)) {
		all = append(all, h[k]...)
	}
	for _, e := range all {
		if _, err := s.Learn(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		states.note(t, s, e)
	}
	states.check(t, s)
	if _, err := s.seekerAt(t.Context(), id(1), 42); !errors.Is(err, ErrForgotten) {
		t.Errorf("a stamp of nobody: %v", err)
	}
}

// BenchmarkLearn is what a partition's worth of events costs, with as many at a
// time as the consumer has workers.
func BenchmarkLearn(b *testing.B) {
	s := learner(b, openEngine(b, storetest.SQLite(b)))
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		random := rand.New(rand.NewPCG(1, uint64(n.Add(1))))
		for pb.Next() {
			k := int(n.Add(1))
			e := eventOf(id(random.IntN(5000)), int64(k), &candidatesv1.CandidateUpdated{Profile: profileOf("TN-71", bothConsents...)})
			if _, err := s.Learn(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Two replicas that are handed the same events, as when partitions move from one
// to the other, log each once and lose no state.
func TestTwoReplicasLearnTheSame(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e := openEngine(t, uri)
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			h := genHistory(rt)
			engine := prefixed{e, fmt.Sprintf("two%d_", round), nil}
			round++
			replicas := []*service{learner(t, engine), learner(t, engine)}
			var work sync.WaitGroup
			failed := make(chan error, 2*len(h))
			for _, events := range h { // each key in order, on both at once
				for _, s := range replicas {
					work.Go(func() {
						for _, ev := range events {
							if _, err := s.Learn(context.Background(), ev); err != nil {
								failed <- err
								return
							}
						}
					})
				}
			}
			work.Wait()
			select {
			case err := <-failed:
				rt.Fatal(err)
			default:
			}
			n := 0
			states := newPast()
			for _, events := range h {
				n += len(events)
				states.note(rt, replicas[0], events[0])
			}
			states.check(rt, replicas[1])
			if logged, err := engine.Count(context.Background(), learnedSchema.Collection); err != nil || logged != int64(n) {
				rt.Fatalf("%d entries for %d events, %v", logged, n, err)
			}
		})
	})
}
