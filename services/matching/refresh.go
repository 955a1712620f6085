package matching

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// Timing of the index.
const (
	refreshEvery = 500 * time.Millisecond // how soon another replica's writes are seen
	// overlap is how far behind the last look the next one starts: writes that
	// were on their way during the last one, and clocks that differ.
	overlap     = 2 * time.Second
	reloadEvery = 15 * time.Minute // everything again, against clocks that differ by more
	staleAfter  = 30 * time.Second // without a look for so long, the index is not to be trusted
	longestWait = 10 * time.Second // between two tries while the store is away
	pageSize    = 500              // documents read at once
)

// refresher keeps the index the same as the documents.
//
// A replica sees its own writes at once: Learn puts the document that it wrote.
// The partitions that it does not own are folded by another replica into the
// same store, so it looks for documents changed since by their index on
// updated_at. That is the simplest way that is right: the documents stay the
// only truth, there is one fold, and a replica that was away needs no care. (To
// read every partition on every replica, with a group for each, would fold
// everything twice and would still have to be lined up with the documents at
// start.) Documents carry versions, so that reading one twice costs time only.
type refresher struct {
	store *store
	index *Index
	log   *slog.Logger
	now   func() time.Time

	loaded atomic.Bool
	looked atomic.Int64 // when the last look began, in Unix nanoseconds
}

// run loads the index and keeps it fresh until ctx ends.
func (r *refresher) run(ctx context.Context) error {
	var since, full time.Time // of the last look, and of the last full one
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		began := r.now()
		whole := since.IsZero() || began.Sub(full) >= reloadEvery
		var err error
		if whole {
			err = r.load(ctx)
		} else {
			err = r.look(ctx, since.Add(-overlap))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = min(longestWait, max(refreshEvery, 2*wait))
			r.log.WarnContext(ctx, "matching: the index could not be refreshed; trying again", "error", err, "wait", wait)
			continue
		}
		wait, since = refreshEvery, began
		r.looked.Store(began.UnixNano())
		if whole {
			full = began
		}
		if !r.loaded.Swap(true) {
			people, offers := r.index.Size()
			r.log.InfoContext(ctx, "matching: the index is loaded", "candidates", people, "offers", offers, "took", r.now().Sub(began))
		}
	}
}

// ready says whether the index may be asked.
func (r *refresher) ready() error {
	if !r.loaded.Load() {
		people, _ := r.index.Size()
		return api.Unavailable("The index of candidates is being loaded; %d so far.", people)
	}
	return nil
}

// fresh says whether the index is loaded and follows the documents.
func (r *refresher) fresh(context.Context) error {
	if !r.loaded.Load() {
		people, _ := r.index.Size()
		return fmt.Errorf("matching: the index is being loaded, %d candidates so far", people)
	}
	if age := r.now().Sub(time.Unix(0, r.looked.Load())); age > staleAfter {
		return fmt.Errorf("matching: the index was last compared with its documents %s ago", age.Round(time.Second))
	}
	return nil
}

// load takes every document.
func (r *refresher) load(ctx context.Context) error {
	return errors.Join(
		each(ctx, r.store.learned.e, employersSchema, r.index.PutEmployer),
		each(ctx, r.store.learned.e, offersSchema, r.index.PutOffer),
		each(ctx, r.store.learned.e, seekersSchema, r.index.PutSeeker),
	)
}

// scanPage is how many documents are read at once when all are.
const scanPage = 1000

// each puts every document of a collection. To decode one takes longer than to
// read it, so that all processors decode while one goroutine reads.
func each[T any](ctx context.Context, e docstore.Engine, schema docstore.Schema, put func(id string, version int64, body *T)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	pages := make(chan []docstore.Record, 1)
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for page := range pages {
				for _, r := range page {
					var body T
					if err := bson.Unmarshal(r.Body, &body); err != nil {
						stop(fmt.Errorf("matching: a document of %s is not a %T: %w", schema.Collection, body, err))
						break
					}
					put(r.ID, r.Version, &body)
				}
			}
		})
	}
	for after := ""; ctx.Err() == nil; {
		page, err := e.Scan(ctx, schema.Collection, after, scanPage)
		if err != nil {
			stop(err)
			break
		}
		pages <- page
		if len(page) < scanPage {
			break
		}
		after = page[len(page)-1].ID
	}
	close(pages)
	work.Wait()
	return context.Cause(ctx)
}

// look takes the documents that were changed at a time or after.
func (r *refresher) look(ctx context.Context, since time.Time) error {
	return errors.Join(
		changed(ctx, r.store.employers, since, r.index.PutEmployer),
		changed(ctx, r.store.offers, since, r.index.PutOffer),
		changed(ctx, r.store.seekers, since, r.index.PutSeeker),
	)
}

func changed[T any](ctx context.Context, c *docstore.Collection[T], since time.Time, put func(id string, version int64, body *T)) error {
	for after := ""; ; {
		docs, next, err := c.Find(ctx, docstore.Query{Index: byUpdated, From: since, After: after, Limit: pageSize})
		if err != nil {
			return err
		}
		for _, d := range docs {
			put(d.ID, d.Version, &d.Body)
		}
		if next == "" {
			return nil
		}
		after = next
	}
}
