package docstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Hold blocks until the lease of this name is ours, and then calls run; of all
// processes that hold it on one database, one runs at a time. When the lease is
// lost (the database cannot be reached for nearly ttl), run's context ends, and
// after run has returned Hold waits for the lease again. It returns when ctx
// ends, with an error that wraps its cause, or when run returns while the lease
// is held, with that result. holder tells people who has the lease. The name is
// made of letters, digits, _, . and -.
//
// A lease tells who should work, not who may write: one who has lost it without
// noticing can still be in the middle of something. Make the work repeatable.
func Hold(ctx context.Context, e Engine, name, holder string, ttl time.Duration, run func(ctx context.Context) error) error {
	return e.Hold(ctx, name, holder, ttl, run)
}

func checkLease(name string, ttl time.Duration) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		return fmt.Errorf("docstore: the lease name %q is not made of letters, digits, _, . and -", name)
	}
	if ttl <= 0 {
		return fmt.Errorf("docstore: lease %s: a ttl of %s", name, ttl)
	}
	return nil
}

// leaseDoc is the lease of one name. Each renewal gives the document a new
// version: who waits for it takes it when the version has not changed for ttl by
// the waiting machine's own clock. No two clocks are ever compared.
type leaseDoc struct {
	Holder string    `bson:"holder"` // "": free
	Token  string    `bson:"token"`  // of one call of Hold
	At     time.Time `bson:"at"`     // of the last renewal, for people
}

var leases = Schema{Collection: "masar_leases"}

type lease struct {
	c     *Collection[leaseDoc]
	name  string
	ttl   time.Duration
	mine  leaseDoc
	doc   *Doc[leaseDoc] // as last written by us
	since time.Time      // before that write: the others count from later
}

func holdByDocument(ctx context.Context, e Engine, name, holder string, ttl time.Duration, run func(context.Context) error) error {
	if err := checkLease(name, ttl); err != nil {
		return err
	}
	if holder == "" {
		holder = "unnamed"
	}
	l := &lease{c: NewCollection[leaseDoc](e, leases), name: name, ttl: ttl, mine: leaseDoc{Holder: holder, Token: ulid.Make().String()}}
	for {
		if err := l.acquire(ctx); err != nil {
			return err
		}
		if held, err := l.held(ctx, run); held {
			return err
		}
	}
}

// acquire waits for the lease. It outlasts a database that cannot be reached.
func (l *lease) acquire(ctx context.Context) error {
	var (
		seen    int64 // the version that others' lease has
		seenAt  time.Time
		ensured bool
	)
	for {
		err := func() error {
			if !ensured {
				if err := l.c.Ensure(ctx); err != nil {
					return err
				}
				ensured = true
			}
			d, err := l.c.Get(ctx, l.name)
			switch {
			case errors.Is(err, ErrNotFound):
				return l.write(ctx, &Doc[leaseDoc]{ID: l.name})
			case err != nil:
				return err
			case d.Body.Holder == "" || d.Body.Token == l.mine.Token:
				return l.write(ctx, d)
			case d.Version != seen:
				seen, seenAt = d.Version, time.Now()
			case time.Since(seenAt) >= l.ttl:
				return l.write(ctx, d)
			}
			return ErrStale // somebody has it
		}()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return cancelled(ctx)
		}
		if !errors.Is(err, ErrStale) && !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnavailable) {
			return err
		}
		if err := sleep(ctx, min(l.ttl/3, time.Second)); err != nil {
			return err
		}
	}
}

// write makes d the lease's next version, held by us.
func (l *lease) write(ctx context.Context, d *Doc[leaseDoc]) error {
	start := time.Now()
	d.Body = l.mine
	d.Body.At = start.UTC()
	to := l.c.e.Replace
	if d.Version == 0 {
		to = l.c.e.Insert
	}
	if err := l.c.write(ctx, d, to); err != nil {
		return err
	}
	l.doc, l.since = d, start
	return nil
}

// held runs run while the lease is renewed, and reports whether it was still ours
// when run returned. It gives up a quarter of ttl before others may take over, so
// that run has time to end.
func (l *lease) held(ctx context.Context, run func(context.Context) error) (held bool, err error) {
	runCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	result := make(chan error, 1)
	go func() { result <- run(runCtx) }()

	errLost := fmt.Errorf("the lease %s is lost", l.name)
	renew := time.NewTicker(l.ttl / 3)
	defer renew.Stop()
	for {
		select {
		case err := <-result:
			l.release(ctx)
			return true, err
		case <-renew.C:
		}
		end := l.since.Add(l.ttl * 3 / 4)
		renewCtx, cancel := context.WithDeadline(ctx, end)
		err := l.renew(renewCtx)
		cancel()
		if err != nil && (!errors.Is(err, ErrUnavailable) || !time.Now().Before(end)) && ctx.Err() == nil {
			stop(errLost)
			<-result
			return false, nil
		}
	}
}

// renew writes the next version. A renewal whose answer was lost may have
// happened: the token tells.
func (l *lease) renew(ctx context.Context) error {
	err := l.write(ctx, l.doc)
	if !errors.Is(err, ErrStale) {
		return err
	}
	d, err := l.c.Get(ctx, l.name)
	if err != nil {
		return err
	}
	if d.Body.Token != l.mine.Token {
		return fmt.Errorf("%w: %s has it", ErrStale, d.Body.Holder)
	}
	return l.write(ctx, d)
}

// release lets the next one have the lease at once. When that fails, it waits.
func (l *lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl/3)
	defer cancel()
	l.doc.Body = leaseDoc{At: time.Now().UTC()}
	_ = l.c.write(ctx, l.doc, l.c.e.Replace)
}
