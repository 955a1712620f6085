package indicators

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
)

// Collection is where the facts are, one document for each, by event id.
const Collection = "facts"

// byStored sorts facts in the order in which they entered the store.
const byStored = "stored"

var schema = docstore.Schema{
	Collection: Collection,
	Indexes: []docstore.Index{
		{Name: byStored, Fields: []docstore.Field{{Path: "stored_at", Kind: docstore.Time}}},
	},
}

// How a replica learns of the facts that others wrote. Each replica holds all
// facts in memory, while the consumer group gives each only some partitions. The
// store is the one place where all of them come together, and facts never change
// there, so it is enough to ask it again and again for what was stored since the
// last time. Writers stamp facts with their own clocks, and a stamped fact takes
// a moment to be readable; so each question goes back by settle. What even that
// would miss (a clock that is far behind) shows in the number of facts, which is
// compared once per recheck, and is cured by reading everything.
const (
	settle   = 10 * time.Second
	interval = time.Second
	recheck  = 10 * time.Minute // the count walks the collection
	page     = 1000             // facts read at once
	// idle is how many times longer than it worked the follower rests: with many
	// facts coming in, reading them again must not take the processor from folding.
	idle = 9
)

// factStore keeps the facts in documents and holds all of them in memory.
type factStore struct {
	engine  docstore.Engine
	docs    *docstore.Collection[Fact]
	columns *Columns
	gaps    *gaps
	now     func() time.Time
	log     *slog.Logger

	loaded   chan struct{} // closed when memory holds what was stored at the start
	ready    atomic.Bool   // the same
	position time.Time     // everything that was stored before is in memory
}

func newFactStore(e docstore.Engine, columns *Columns, now func() time.Time, log *slog.Logger) *factStore {
	return &factStore{
		engine: e, docs: docstore.NewCollection[Fact](e, schema), columns: columns, gaps: newGaps(),
		now: now, log: log, loaded: make(chan struct{}),
	}
}

// put stores a fact, once: the same event id again changes nothing.
func (s *factStore) put(ctx context.Context, f Fact) error {
	f.StoredAt = s.now().UTC().Truncate(time.Millisecond)
	err := s.docs.Insert(ctx, &docstore.Doc[Fact]{ID: f.ID, Body: f})
	if errors.Is(err, docstore.ErrExists) {
		if s.columns.Has(f.ID) {
			return nil
		}
		// Another replica was first, or this one before it was killed. What is
		// stored counts, even if this event says something else under the same id.
		return s.fetch(ctx, f.ID)
	}
	if err != nil {
		return err
	}
	s.keep(f)
	return nil
}

// keep brings a fact into memory, unless it is there.
func (s *factStore) keep(f Fact) {
	if s.columns.Add(f) {
		s.gaps.add(f)
	}
}

func (s *factStore) fetch(ctx context.Context, id string) error {
	d, err := s.docs.Get(ctx, id)
	if err != nil {
		return err
	}
	s.keep(complete(d.Body, d.ID))
	return nil
}

// complete gives a fact back what its document keeps elsewhere.
func complete(f Fact, id string) Fact {
	f.ID = id
	f.OccurredAt, f.RecordedAt = f.OccurredAt.UTC(), f.RecordedAt.UTC()
	return f
}

// all yields the stored facts by id, beginning after the given one.
func (s *factStore) all(ctx context.Context, after string) iter.Seq2[Fact, error] {
	return func(yield func(Fact, error) bool) {
		for {
			records, err := s.engine.Scan(ctx, Collection, after, page)
			if err != nil {
				yield(Fact{}, err)
				return
			}
			for _, r := range records {
				after = r.ID
				var f Fact
				if err := bson.Unmarshal(r.Body, &f); err != nil {
					yield(Fact{}, fmt.Errorf("the document of fact %s is not a fact: %w", r.ID, err))
					return
				}
				if !yield(complete(f, r.ID), nil) {
					return
				}
			}
			if len(records) < page {
				return
			}
		}
	}
}

// load brings every stored fact into memory.
func (s *factStore) load(ctx context.Context) error {
	for f, err := range s.all(ctx, "") {
		if err != nil {
			return err
		}
		s.keep(f)
	}
	return nil
}

// run loads, then follows what other replicas store, until ctx ends. A store that
// is down for a while delays it, and no more.
func (s *factStore) run(ctx context.Context) error {
	pause := 100 * time.Millisecond
	for {
		began := s.now()
		err := s.load(ctx)
		if err == nil {
			s.position = began.Add(-settle)
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.WarnContext(ctx, "the facts cannot be loaded yet", "cause", err.Error(), "retry_in", pause.String())
		rest(ctx, pause)
		pause = min(2*pause, 10*time.Second)
	}
	s.ready.Store(true)
	close(s.loaded)
	s.log.InfoContext(ctx, "facts loaded", "facts", s.columns.Len())
	return s.follow(ctx)
}

func (s *factStore) follow(ctx context.Context) error {
	checked := s.now()
	for ctx.Err() == nil {
		began := time.Now() // how long it took, whatever the platform's clock says
		err := s.catchUp(ctx)
		if err == nil && s.now().Sub(checked) >= recheck {
			err = s.repair(ctx)
			checked = s.now()
		}
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the facts of other replicas cannot be read at present", "cause", err.Error())
		}
		rest(ctx, max(interval, idle*time.Since(began)))
	}
	return nil
}

// catchUp reads what was stored since the last time.
func (s *factStore) catchUp(ctx context.Context) error {
	now := s.now()
	q := docstore.Query{Index: byStored, From: s.position, Limit: page}
	for {
		docs, next, err := s.docs.Find(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range docs {
			s.keep(complete(d.Body, d.ID))
		}
		if next == "" {
			break
		}
		q.After = next
	}
	if back := now.Add(-settle); back.After(s.position) {
		s.position = back
	}
	return nil
}

// repair reads everything again if the store holds more facts than memory does.
func (s *factStore) repair(ctx context.Context) error {
	stored, err := s.docs.Count(ctx)
	if err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	missing := stored - int64(s.columns.Len())
	if missing <= 0 {
		return nil
	}
	s.log.WarnContext(ctx, "facts of another replica were missed (are the clocks set?); reading all of them again", "missing", missing)
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("reading all facts again: %w", err)
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
