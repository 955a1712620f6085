package docstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Doc is one document. Version is 0 before the first write, then 1, 2, 3 ... Seq
// is the number of events that it has emitted so far.
type Doc[T any] struct {
	ID      string
	Version int64
	Seq     int64
	Body    T

	out []Event
}

// Emit gives the event the document's next sequence number and sends it with the
// same write as the change of the document.
func (d *Doc[T]) Emit(e Event) {
	d.Seq++
	e.Seq = d.Seq
	d.out = append(d.out, e)
}

// Collection is the documents of one type. It is safe for concurrent use.
type Collection[T any] struct {
	e      Engine
	schema Schema
	many   map[string]bool // indexes whose last field is an array in T
	turns  turns
}

// NewCollection gives the collection of the schema. Call Ensure, or
// Engine.Ensure with the same schema, once before using it. T is what
// bson.Marshal makes a document of: a struct with bson tags. An index over an
// array needs T to show the array.
func NewCollection[T any](e Engine, s Schema) *Collection[T] {
	c := &Collection[T]{e: e, schema: s, many: map[string]bool{}}
	for _, ix := range s.Indexes {
		if n := len(ix.Fields); n > 0 {
			c.many[ix.Name] = manyValued(reflect.TypeFor[T](), compile(ix).paths[n-1])
		}
	}
	return c
}

// Ensure creates the collection and its indexes; see Engine.Ensure.
func (c *Collection[T]) Ensure(ctx context.Context) error { return c.e.Ensure(ctx, c.schema) }

// Get reads a document, or gives ErrNotFound.
func (c *Collection[T]) Get(ctx context.Context, id string) (*Doc[T], error) {
	r, err := c.e.Get(ctx, c.schema.Collection, id)
	if err != nil {
		return nil, err
	}
	return c.decode(r)
}

// Insert writes a new document, whose Version is 0, with the events emitted on
// it, or gives ErrExists. After a success d has Version 1.
func (c *Collection[T]) Insert(ctx context.Context, d *Doc[T]) error {
	if d.Version != 0 {
		return fmt.Errorf("docstore: %s: insert of a document that has version %d already", c.schema.Collection, d.Version)
	}
	return c.write(ctx, d, c.e.Insert)
}

// How often, and after which pauses at most, Update tries again when another
// write came first.
const (
	attempts = 64
	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

// Update reads the document, lets change alter it and write events on it, and
// writes both when nobody else wrote meanwhile; otherwise it begins again, and
// gives ErrStale only after many times. change may so be called several times,
// each time with the document as it then is: a caller's version is checked
// inside it, and it should do nothing else, least of all update documents. When change returns Unchanged, nothing is written and the document
// is returned; any other error ends the update and is returned as it is.
func (c *Collection[T]) Update(ctx context.Context, id string, change func(*Doc[T]) error) (*Doc[T], error) {
	return c.change(ctx, id, false, change)
}

// Upsert is Update, but a document that is absent is given to change with
// Version 0, and inserted. It gives ErrExists when a unique index forbids that.
func (c *Collection[T]) Upsert(ctx context.Context, id string, change func(*Doc[T]) error) (*Doc[T], error) {
	return c.change(ctx, id, true, change)
}

func (c *Collection[T]) change(ctx context.Context, id string, insert bool, change func(*Doc[T]) error) (*Doc[T], error) {
	// Updates of one document in this process wait for each other: they would
	// only make each other begin again.
	done, err := c.turns.wait(ctx, id)
	if err != nil {
		return nil, err
	}
	defer done()

	var exists error // the last insert's, if it was refused
	for attempt := range attempts {
		d, err := c.Get(ctx, id)
		switch {
		case insert && errors.Is(err, ErrNotFound):
			if exists != nil {
				return nil, exists // and yet it is not there: a unique index refused
			}
			d = &Doc[T]{ID: id}
		case err != nil:
			return nil, err
		}
		if err := change(d); err != nil {
			if errors.Is(err, Unchanged) {
				return d, nil
			}
			return nil, err
		}
		if d.ID != id {
			return nil, fmt.Errorf("docstore: %s: a change may not rename the document", c.schema.Collection)
		}
		if d.Version == 0 {
			err = c.write(ctx, d, c.e.Insert)
		} else {
			err = c.write(ctx, d, c.e.Replace)
		}
		if d.Version > 0 && errors.Is(err, ErrExists) {
			return nil, err
		}
		switch {
		case err == nil:
			return d, nil
		case errors.Is(err, ErrExists):
			exists = err
		case errors.Is(err, ErrStale):
			exists = nil
		case insert && errors.Is(err, ErrNotFound): // deleted meanwhile
		default:
			return nil, err
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("docstore: %s: %w after %d attempts: too many writers of one document", c.schema.Collection, ErrStale, attempts)
}

// pause waits a random time that grows with the attempts.
func pause(ctx context.Context, attempt int) error {
	return sleep(ctx, rand.N(min(minPause<<min(attempt, 10), maxPause)))
}

// sleep waits, or gives the error of a context that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return cancelled(ctx)
	}
}

// turns lets one caller at a time have an id.
type turns struct {
	mu    sync.Mutex
	queue map[string]*turn
}

type turn struct {
	taken chan struct{} // holds one element while somebody has it
	users int           // who has it or waits for it
}

func (t *turns) wait(ctx context.Context, id string) (done func(), err error) {
	t.mu.Lock()
	mine := t.queue[id]
	if mine == nil {
		mine = &turn{taken: make(chan struct{}, 1)}
		if t.queue == nil {
			t.queue = map[string]*turn{}
		}
		t.queue[id] = mine
	}
	mine.users++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.queue, id)
		}
	}
	select {
	case mine.taken <- struct{}{}:
		return func() { <-mine.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, cancelled(ctx)
	}
}

// cancelled is the error of an operation that the end of its context kept from
// beginning.
func cancelled(ctx context.Context) error {
	return fmt.Errorf("%w: %w: %w", ErrUnavailable, ErrNothingWritten, context.Cause(ctx))
}

// Delete removes the document if it has this version, or gives ErrStale or
// ErrNotFound. Its events that wait are still published. Do not use the id
// again: versions and sequence numbers would begin anew.
func (c *Collection[T]) Delete(ctx context.Context, id string, version int64) error {
	return c.e.Delete(ctx, c.schema.Collection, id, version)
}

// Find gives one page of documents, and the cursor of the next page, "" when
// there is none.
func (c *Collection[T]) Find(ctx context.Context, q Query) (docs []*Doc[T], next string, err error) {
	q.many = c.many[q.Index]
	rs, next, err := c.e.Find(ctx, c.schema.Collection, q)
	if err != nil {
		return nil, "", err
	}
	docs = make([]*Doc[T], len(rs))
	for i, r := range rs {
		if docs[i], err = c.decode(r); err != nil {
			return nil, "", err
		}
	}
	return docs, next, nil
}

const scanPage = 200

// All gives every document, by id, in constant memory. It is not a snapshot: a
// document that is written meanwhile shows as it is when its turn comes, or not.
func (c *Collection[T]) All(ctx context.Context) iter.Seq2[*Doc[T], error] {
	return func(yield func(*Doc[T], error) bool) {
		for after := ""; ; {
			rs, err := c.e.Scan(ctx, c.schema.Collection, after, scanPage)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range rs {
				d, err := c.decode(r)
				if !yield(d, err) || err != nil {
					return
				}
				after = r.ID
			}
			if len(rs) < scanPage {
				return
			}
		}
	}
}

// Count counts the documents. It walks the collection: for reports, not for
// requests.
func (c *Collection[T]) Count(ctx context.Context) (int64, error) {
	return c.e.Count(ctx, c.schema.Collection)
}

// write writes the document as its next version. d is as before after an error.
func (c *Collection[T]) write(ctx context.Context, d *Doc[T], to func(context.Context, string, Record, []Event) error) error {
	if d.ID == "" || len(d.ID) > MaxID {
		return fmt.Errorf("docstore: %s: an id of %d bytes; 1 to %d are allowed", c.schema.Collection, len(d.ID), MaxID)
	}
	body, err := bson.Marshal(d.Body)
	if err != nil {
		return fmt.Errorf("docstore: %s: the body cannot be encoded: %w", c.schema.Collection, err)
	}
	if len(body) > MaxBody {
		return fmt.Errorf("docstore: %s: a body of %d bytes; the limit is %d", c.schema.Collection, len(body), MaxBody)
	}
	for _, e := range d.out {
		if err := e.check(); err != nil {
			return err
		}
	}
	if err := to(ctx, c.schema.Collection, Record{ID: d.ID, Version: d.Version + 1, Seq: d.Seq, Body: body}, d.out); err != nil {
		return err
	}
	d.Version++
	d.out = nil
	return nil
}

func (c *Collection[T]) decode(r Record) (*Doc[T], error) {
	d := &Doc[T]{ID: r.ID, Version: r.Version, Seq: r.Seq}
	if err := bson.Unmarshal(r.Body, &d.Body); err != nil {
		return nil, fmt.Errorf("docstore: %s: a document's body is not a %T: %w", c.schema.Collection, d.Body, err)
	}
	return d, nil
}

// encode gives the BSON of a body.
func encode(body any) (bson.Raw, error) { return bson.Marshal(body) }
