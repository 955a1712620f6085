package indicators

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

func openStore(t testing.TB) docstore.Engine {
	t.Helper()
	e, err := docstore.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "facts.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// replica is one more holder of all facts on a store.
func replica(t testing.TB, e docstore.Engine, now func() time.Time) *factStore {
	t.Helper()
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	s := newFactStore(e, NewColumns(Dimensions(), defs), now, slog.New(slog.DiscardHandler))
	if err := s.docs.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTwoReplicasServeTheSame folds half of the story in each of two replicas, a
// part of it in both at the same time, while both follow each other.
func TestTwoReplicasServeTheSame(t *testing.T) {
	e := openStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	both := [2]*factStore{replica(t, e, time.Now), replica(t, e, time.Now)}
	for _, s := range both {
		running.Go(func() { _ = s.run(ctx) })
		<-s.loaded
	}
	events := year(t).events
	var folding sync.WaitGroup
	for i, ev := range events {
		f, err := NewFact(ev, reference.Schemes())
		if err != nil {
			t.Fatal(err)
		}
		for n, s := range both {
			if i%2 == n || i%3 == 0 { // a third of them in both: a rebalance in the middle
				folding.Go(func() {
					if err := s.put(ctx, f); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	folding.Wait()
	deadline := time.After(20 * time.Second)
	for both[0].columns.Len() < len(events) || both[1].columns.Len() < len(events) {
		select {
		case <-deadline:
			t.Fatalf("the replicas hold %d and %d of %d facts", both[0].columns.Len(), both[1].columns.Len(), len(events))
		case <-time.After(10 * time.Millisecond):
		}
	}
	stored, err := both[0].docs.Count(ctx)
	if err != nil || stored != int64(len(events)) {
		t.Fatalf("%d facts are stored, want %d (%v)", stored, len(events), err)
	}
	defs, _ := Embedded()
	for _, d := range defs {
		for _, q := range Checks(d, "2026-04-15", "") {
			a, err := both[0].columns.View().Cells(d, q)
			if err != nil {
				t.Fatal(err)
			}
			b, err := both[1].columns.View().Cells(d, q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := Compare(d, q, a, b); len(diff) > 0 {
				t.Fatalf("the replicas differ: %v", diff)
			}
		}
	}
}

// TestClockBehindIsRepaired: what a replica with a clock far behind has stored
// is not found by asking for what is new, but by counting.
func TestClockBehindIsRepaired(t *testing.T) {
	e := openStore(t)
	a := replica(t, e, time.Now)
	b := replica(t, e, func() time.Time { return time.Now().Add(-time.Hour) })
	a.position = time.Now().Add(-settle)
	facts := map[string]*factStore{"new": replica(t, e, time.Now), "late": b}
	for id, s := range facts {
		if err := s.put(t.Context(), Fact{ID: id, Kind: PathwayOpened, Subject: id, Person: "p", OccurredAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !a.columns.Has("new") || a.columns.Has("late") {
		t.Fatalf("after asking for what is new: %d facts", a.columns.Len())
	}
	if err := a.repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !a.columns.Has("late") {
		t.Error("the late fact is still missing")
	}
}

// TestManyFactsAreFollowedPageByPage: more than one page was stored since the
// last time.
func TestManyFactsAreFollowedPageByPage(t *testing.T) {
	e := openStore(t)
	writer, reader := replica(t, e, time.Now), replica(t, e, time.Now)
	var folding sync.WaitGroup
	const n = 2*page + 17
	for i := range n {
		folding.Go(func() {
			if err := writer.put(t.Context(), Fact{ID: fmt.Sprintf("%05d", i), Kind: OfferOpened, Subject: "o", OccurredAt: time.Now()}); err != nil {
				t.Error(err)
			}
		})
	}
	folding.Wait()
	if err := reader.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reader.columns.Len() != n {
		t.Errorf("%d facts, want %d", reader.columns.Len(), n)
	}
	// And by loading, which goes by id.
	fresh := replica(t, e, time.Now)
	if err := fresh.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fresh.columns.Len() != n {
		t.Errorf("%d facts loaded, want %d", fresh.columns.Len(), n)
	}
}

// TestTheFirstContentCounts: another event under the same id changes nothing.
func TestTheFirstContentCounts(t *testing.T) {
	e := openStore(t)
	s, other := replica(t, e, time.Now), replica(t, e, time.Now)
	first := Fact{ID: "1", Kind: PathwayOpened, Subject: "s", Person: "p", OccurredAt: at(t, "2026-01-01 10:00"), Codes: Codes{Scheme: "agri"}}
	second := first
	second.Codes.Scheme = "soin"
	for _, step := range []struct {
		s *factStore
		f Fact
	}{{s, first}, {s, second}, {other, second}} {
		if err := step.s.put(t.Context(), step.f); err != nil {
			t.Fatal(err)
		}
	}
	defs, _ := Embedded()
	d, _ := defs.Get("people_followed")
	for _, s := range []*factStore{s, other} {
		cells, err := s.columns.View().Cells(d, Query{Grain: All, By: []string{"scheme"}, Today: "2026-01-02"})
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(cells); len(got) != 1 || got[0] != "all agri = 1" {
			t.Errorf("got %v", got)
		}
	}
}
