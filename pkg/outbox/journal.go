package outbox

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
)

// DefaultJournal is the collection of a service's journal.
const DefaultJournal = "journal"

// byPosition finds journal lines in the order in which they were filed. The ids
// of events sort by the clocks of those who wrote them, which is not the order of
// a document's events when replicas' clocks differ.
const byPosition = "position"

// line is one event in the journal. The document's id is the event's.
type line struct {
	Topic      string            `bson:"topic"`
	Key        string            `bson:"key"`
	Headers    []docstore.Header `bson:"headers,omitempty"`
	Value      []byte            `bson:"value"`
	Seq        int64             `bson:"seq"`
	RecordedAt time.Time         `bson:"recorded_at"`
	Position   int64             `bson:"position"` // grows with every line; about µs since 1970
}

func schema(collection string) docstore.Schema {
	return docstore.Schema{Collection: collection, Indexes: []docstore.Index{
		{Name: byPosition, Fields: []docstore.Field{{Path: "position", Kind: docstore.Int}}},
	}}
}

// journal writes and reads one journal.
type journal struct {
	e     docstore.Engine
	name  string
	lines *docstore.Collection[line]

	mu    sync.Mutex
	ready bool
	last  int64 // the highest position known
}

func newJournal(e docstore.Engine, name string) *journal {
	return &journal{e: e, name: name, lines: docstore.NewCollection[line](e, schema(name))}
}

// ensure makes the collection once.
func (j *journal) ensure(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ready {
		return nil
	}
	err := j.lines.Ensure(ctx)
	j.ready = err == nil
	return err
}

// open reads where the journal ends: another replica may have written to it.
func (j *journal) open(ctx context.Context) error {
	if err := j.ensure(ctx); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	end, _, err := j.lines.Find(ctx, docstore.Query{Index: byPosition, Desc: true, Limit: 1})
	if err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range end {
		j.last = max(j.last, l.Body.Position)
	}
	return nil
}

// file adds the events that are not there yet, in order.
func (j *journal) file(ctx context.Context, events []docstore.Event, now time.Time) error {
	j.mu.Lock()
	from := max(j.last+1, now.UnixMicro())
	j.last = from + int64(len(events)) - 1
	j.mu.Unlock()
	rs := make([]docstore.Record, len(events))
	for i, e := range events {
		body, err := bson.Marshal(line{
			Topic: e.Topic, Key: e.Key, Headers: e.Headers, Value: e.Value,
			Seq: e.Seq, RecordedAt: e.RecordedAt, Position: from + int64(i),
		})
		if err != nil {
			return fmt.Errorf("the event %s cannot be encoded: %w", e.ID, err)
		}
		rs[i] = docstore.Record{ID: e.ID, Version: 1, Body: body}
	}
	return j.e.File(ctx, j.name, rs)
}

// JournalReader reads a service's journal: every event that it ever published.
type JournalReader struct{ j *journal }

// Journal gives the reader of the journal in the collection DefaultJournal.
func Journal(e docstore.Engine) *JournalReader {
	return &JournalReader{j: newJournal(e, DefaultJournal)}
}

const page = 200

// All gives the events that were filed after the one with the id after, or all of
// them when it is "", in the order in which they were filed; the events of one
// document so come in the order of their sequence numbers. It reads page by page,
// in constant memory, and ends at the end of the journal. An id that the journal
// does not have gives docstore.ErrNotFound.
func (r *JournalReader) All(ctx context.Context, after string) iter.Seq2[docstore.Event, error] {
	return func(yield func(docstore.Event, error) bool) {
		if err := r.j.ensure(ctx); err != nil {
			yield(docstore.Event{}, err)
			return
		}
		q := docstore.Query{Index: byPosition, Limit: page}
		if after != "" {
			d, err := r.j.lines.Get(ctx, after)
			if err != nil {
				yield(docstore.Event{}, fmt.Errorf("outbox: the journal has no event with the id to begin after: %w", err))
				return
			}
			q.From = d.Body.Position
		}
		for {
			docs, next, err := r.j.lines.Find(ctx, q)
			if err != nil {
				yield(docstore.Event{}, err)
				return
			}
			for _, d := range docs {
				// Two relays may have given one position twice; ids then decide.
				if after != "" && d.Body.Position == q.From && d.ID <= after {
					continue
				}
				b := d.Body
				e := docstore.Event{ID: d.ID, Topic: b.Topic, Key: b.Key, Headers: b.Headers, Value: b.Value, Seq: b.Seq, RecordedAt: b.RecordedAt}
				if !yield(e, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			q.After = next
		}
	}
}

// Republish sends the events of the journal that follow the one with the id after
// ("": all) to their topic again, those of one topic, or of all when topic is "".
// Order within a key is kept; consumers ignore what they know already. It gives
// the number of events sent and the id of the last one that is known to be there,
// from which a call after an error goes on.
func (r *JournalReader) Republish(ctx context.Context, topic, after string, to Publisher) (sent int64, last string, err error) {
	last = after
	var events []docstore.Event
	flush := func() error {
		if err := publish(ctx, to, events); err != nil {
			return err
		}
		sent += int64(len(events))
		if n := len(events); n > 0 {
			last = events[n-1].ID
		}
		events = events[:0]
		return nil
	}
	for e, err := range r.All(ctx, after) {
		if err != nil {
			return sent, last, err
		}
		if topic != "" && e.Topic != topic {
			continue
		}
		if events = append(events, e); len(events) == page {
			if err := flush(); err != nil {
				return sent, last, err
			}
		}
	}
	err = flush()
	return sent, last, err
}
