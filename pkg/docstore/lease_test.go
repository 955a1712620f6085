package docstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"masar.local/pkg/docstore/storetest"
)

const testTTL = 600 * time.Millisecond

func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// Several holders on connections of their own: one at a time works, and when it
// stops the next one follows soon.
func TestOneHoldsTheLease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		const holders = 4
		var (
			working atomic.Int32
			turns   [holders]atomic.Int32
			wg      sync.WaitGroup
		)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for h := range holders {
			e, err := Open(t.Context(), uri)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			wg.Go(func() {
				for ctx.Err() == nil {
					err := Hold(ctx, e, "some.work", fmt.Sprint(h), testTTL, func(ctx context.Context) error {
						if n := working.Add(1); n > 1 {
							t.Errorf("%d work at once", n)
						}
						defer working.Add(-1)
						turns[h].Add(1)
						select {
						case <-ctx.Done():
						case <-time.After(testTTL / 2):
						}
						return nil
					})
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			})
		}
		wait(t, "six turns", func() bool {
			var all int32
			for h := range holders {
				all += turns[h].Load()
			}
			return all >= 6
		})
		cancel()
		wg.Wait()
	})
}

func TestHoldGivesTheResultOfItsWork(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e := open(t, uri).e
		if err := Hold(t.Context(), e, "work", "me", testTTL, func(context.Context) error { return errNo }); err != errNo {
			t.Errorf("%v", err)
		}
		// It was released: no waiting for ttl.
		start := time.Now()
		if err := Hold(t.Context(), e, "work", "you", time.Hour, func(context.Context) error { return nil }); err != nil {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("a free lease was taken after %s", took)
		}
		// Who waits in vain says so.
		err := Hold(t.Context(), e, "work", "me", time.Hour, func(context.Context) error {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			return Hold(ctx, e, "work", "you", time.Hour, func(context.Context) error { return nil })
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// deaf is an engine whose writes reach nobody while cut is set.
type deaf struct {
	Engine
	cut atomic.Bool
}

var errDeaf = fmt.Errorf("%w: cut off", ErrUnavailable)

func (d *deaf) Replace(ctx context.Context, collection string, r Record, events []Event) error {
	if d.cut.Load() {
		return errDeaf
	}
	return d.Engine.Replace(ctx, collection, r, events)
}

func (d *deaf) Get(ctx context.Context, collection, id string) (Record, error) {
	if d.cut.Load() {
		return Record{}, errDeaf
	}
	return d.Engine.Get(ctx, collection, id)
}

// A holder that cannot reach the database any more ends its work before another
// begins, and takes its turn again later. The leases of the mongo engine are
// plain documents, so this runs on every engine.
func TestALostLeaseEndsTheWork(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		e := &deaf{Engine: open(t, uri).e}
		other := open(t, uri).e
		ctx, cancel := context.WithCancel(t.Context())
		var working, first, second atomic.Int32
		work := func(turns *atomic.Int32) func(context.Context) error {
			return func(ctx context.Context) error {
				if n := working.Add(1); n > 1 {
					t.Errorf("%d work at once", n)
				}
				turns.Add(1)
				<-ctx.Done()
				working.Add(-1)
				return nil
			}
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = holdByDocument(ctx, e, "work", "first", testTTL, work(&first)) })
		wait(t, "the first works", func() bool { return first.Load() == 1 })
		otherCtx, stopOther := context.WithCancel(ctx)
		wg.Go(func() { _ = holdByDocument(otherCtx, other, "work", "second", testTTL, work(&second)) })
		e.cut.Store(true)
		wait(t, "the second works", func() bool { return second.Load() == 1 })
		e.cut.Store(false)
		stopOther()
		wait(t, "the first works again", func() bool { return first.Load() == 2 })
	})
}

// stutter answers some renewals with an error although they were written, and
// some without having written them.
type stutter struct {
	Engine
	n atomic.Int32
}

func (s *stutter) Replace(ctx context.Context, collection string, r Record, events []Event) error {
	switch s.n.Add(1) % 4 {
	case 1:
		return errDeaf
	case 2:
		return errors.Join(s.Engine.Replace(ctx, collection, r, events), errDeaf)
	}
	return s.Engine.Replace(ctx, collection, r, events)
}

func TestALeaseOutlastsLostAnswers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, uri string) {
		s := &stutter{Engine: open(t, uri).e}
		err := holdByDocument(t.Context(), s, "work", "me", testTTL, func(ctx context.Context) error {
			wait(t, "twelve renewals", func() bool { return s.n.Load() >= 12 || ctx.Err() != nil })
			return context.Cause(ctx)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A process that dies leaves its lease to the next: at once on sqlite, after ttl
// on mongo.
func TestTheLeaseOfADeadProcess(t *testing.T) {
	if uri := os.Getenv("DOCSTORE_TEST_HOLD"); uri != "" {
		_ = Hold(t.Context(), open(t, uri).e, "work", "child", testTTL, func(ctx context.Context) error {
			fmt.Println("holding")
			<-ctx.Done()
			return nil
		})
		return
	}
	storetest.Each(t, func(t *testing.T, uri string) {
		kill, out := child(t, t.Name(), "DOCSTORE_TEST_HOLD="+uri)
		if line := <-out; line != "holding" {
			t.Fatalf("the child says %q", line)
		}
		e := open(t, uri).e
		held := make(chan error, 1)
		go func() {
			held <- Hold(t.Context(), e, "work", "parent", testTTL, func(context.Context) error { return nil })
		}()
		select {
		case err := <-held:
			t.Fatalf("two processes hold the lease: %v", err)
		case <-time.After(2 * testTTL):
		}
		kill()
		select {
		case err := <-held:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Error("nobody took over")
		}
	})
}
