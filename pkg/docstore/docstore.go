// Package docstore keeps versioned documents together with the events they
// cause.
//
// Its contract: a document and the events of one change are written in one
// atomic write, or not at all. Every write names the version it was made from
// and fails with ErrStale when another came first. Events wait in the
// document's outbox until a relay (package outbox) has published and filed
// them; taking them out does not change the version. A write that returned nil
// survives a power cut. Documents are found by id or by declared index only,
// so that every look-up costs the same in a small and in a large collection.
//
// Two engines keep this contract, and one suite of tests holds them to it:
// sqlite (embedded, one process) and mongo (production, any number of
// replicas). They need nothing but the atomicity of a single document: no
// transactions, no change streams.
//
// Bodies are BSON in both, so their times have milliseconds and come back in
// UTC.
package docstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Errors of the store; compare with errors.Is. An error that wraps none of them
// is a mistake of the program: an index that is not declared, a value of another
// kind than its field, a body that is too large. No error holds a value of a
// document.
var (
	// ErrNotFound: there is no such document.
	ErrNotFound = errors.New("docstore: not found")
	// ErrExists: the id, or the value of a unique index, is taken. The error is
	// a *Taken. Nothing was written.
	ErrExists = errors.New("docstore: exists")
	// ErrStale: the document has another version than the one given. Nothing
	// was written.
	ErrStale = errors.New("docstore: stale")
	// ErrUnavailable: the store could not answer, or the context ended. A write
	// may have happened or not: read, or repeat it under the same id. When it
	// also wraps ErrNothingWritten, it has not.
	ErrUnavailable = errors.New("docstore: unavailable")
	// ErrNothingWritten is wrapped, beside ErrUnavailable, where it is certain
	// that a write did not happen.
	ErrNothingWritten = errors.New("nothing was written")
	// ErrInvalidCursor: Query.After is not a cursor that this query gave.
	ErrInvalidCursor = errors.New("docstore: invalid cursor")
)

// Unchanged is what the function given to Update or Upsert returns to write
// nothing and still succeed.
//
//lint:ignore ST1012 it is a decision, not a failure
var Unchanged = errors.New("docstore: unchanged")

// Taken is the error of a write whose id, or whose value of a unique index,
// another document has. errors.Is(err, ErrExists) holds.
type Taken struct {
	Collection string
	Index      string // "" when it is the id
}

func (t *Taken) Error() string {
	if t.Index == "" {
		return "docstore: " + t.Collection + ": the id exists"
	}
	return "docstore: " + t.Collection + ": the value exists in the unique index " + t.Index
}

// Is reports whether the target is ErrExists.
func (t *Taken) Is(target error) bool { return target == ErrExists }

// Kind is the type of an indexed value.
type Kind int

// Kinds of indexed values: a string, an int of any size, a time.Time, a bool.
const (
	String Kind = iota
	Int
	Time
	Bool
)

func (k Kind) String() string {
	if k < String || k > Bool {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return [...]string{"String", "Int", "Time", "Bool"}[k]
}

// Field is one part of an index: a dotted path of bson names in the body, such
// as "person.governorate". A value that is absent or null is missing; missing
// values sort before all others. A value of another kind refuses the write.
type Field struct {
	Path string
	Kind Kind
}

// Index is a declared way to find documents, by its fields in order and then by
// id. The path of the last field may lead through or to an array: the document
// then has one entry for each distinct element. In a unique index no two
// documents have the same entry, and a document of which a field is missing or
// "" is not in it (nor found by it).
type Index struct {
	Name   string
	Fields []Field
	Unique bool
}

// Schema is a collection and its indexes. Names are made of letters, digits and
// the underscore.
type Schema struct {
	Collection string
	Indexes    []Index
}

func (s Schema) check() error {
	if !plainName(s.Collection) {
		return fmt.Errorf("docstore: the collection name %q is not made of letters, digits and _", s.Collection)
	}
	seen := map[string]bool{}
	for _, ix := range s.Indexes {
		switch {
		case !plainName(ix.Name):
			return fmt.Errorf("docstore: %s: the index name %q is not made of letters, digits and _", s.Collection, ix.Name)
		case seen[ix.Name]:
			return fmt.Errorf("docstore: %s: the index %s is declared twice", s.Collection, ix.Name)
		case len(ix.Fields) == 0:
			return fmt.Errorf("docstore: %s: the index %s has no fields", s.Collection, ix.Name)
		}
		seen[ix.Name] = true
		for _, f := range ix.Fields {
			if f.Path == "" || strings.Contains("."+f.Path+".", "..") || strings.Contains(f.Path, "$") || f.Kind < String || f.Kind > Bool {
				return fmt.Errorf("docstore: %s: the index %s has no usable field {%q, %v}", s.Collection, ix.Name, f.Path, f.Kind)
			}
		}
	}
	return nil
}

func plainName(s string) bool {
	return s != "" && len(s) <= 60 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// Header is one header of an event.
type Header struct {
	Key   string `bson:"key"`
	Value string `bson:"value"`
}

// Event is one entry of an outbox: a message that waits to be published, and
// later a line of the journal.
type Event struct {
	ID         string    `bson:"id"` // unique, a ULID
	Topic      string    `bson:"topic"`
	Key        string    `bson:"key"`
	Headers    []Header  `bson:"headers,omitempty"`
	Value      []byte    `bson:"value"`
	Seq        int64     `bson:"seq"` // 1, 2, 3 ... within the document
	RecordedAt time.Time `bson:"recorded_at"`
}

// Limits of one write, the same in both engines. A MongoDB document ends at 16
// MiB, a Kafka message at 1 MB.
const (
	MaxBody  = 8 << 20 // bytes of BSON
	MaxEvent = 900_000 // bytes of key, headers and value
	MaxID    = 512     // bytes
)

func (e Event) check() error {
	size := len(e.Key) + len(e.Value)
	for _, h := range e.Headers {
		size += len(h.Key) + len(h.Value)
	}
	switch {
	case e.ID == "" || e.Topic == "":
		return errors.New("docstore: an event needs an id and a topic")
	case size > MaxEvent:
		return fmt.Errorf("docstore: the event %s for %s has %d bytes, the limit is %d: put less in it", e.ID, e.Topic, size, MaxEvent)
	}
	return nil
}

// Query asks for documents by one declared index, sorted by the fields of the
// index and then by id. Of an index with an array field, a document comes once,
// at the first of its entries that the query matches.
type Query struct {
	Index string
	Eq    []any // the first len(Eq) fields equal these; nil asks for missing
	// On the field after those, at most one of:
	Prefix      string // strings that begin so, in binary order
	From, Below any    // From <= value < Below, either may be nil; missing values are outside

	Desc  bool   // the other way round, ids included
	After string // the cursor of the page before, "" for the first
	Limit int    // default 50

	many bool // the last field of the index is an array
}

// Record is a document as an engine keeps it.
type Record struct {
	ID      string
	Version int64
	Seq     int64
	Body    bson.Raw
}

// Pending is what waits in the outbox of one document, in order.
type Pending struct {
	ID     string // of the document
	Events []Event
	marks  []int64 // where the sqlite engine keeps each
}

// Backlog says how much waits in the outboxes of a collection.
type Backlog struct {
	Documents int64     // with events that wait; counting stops at some 10,000
	Oldest    time.Time // since when the oldest event waits, by this machine's clock; zero when none does
}

const backlogLimit = 10_000

// Engine is the port to one database. Services use a Collection instead; the
// outbox relay uses the engine itself. It is safe for concurrent use.
type Engine interface {
	// Ensure creates collections and builds indexes that are declared and not
	// there yet, or are declared otherwise than they are; from the bodies, so
	// that an index can be added at any time. It is idempotent. An index that is
	// no longer declared is dropped by sqlite; mongo leaves it and says so in
	// the log, because an older replica may still need it.
	Ensure(ctx context.Context, schemas ...Schema) error
	// Get reads one document.
	Get(ctx context.Context, collection, id string) (Record, error)
	// Insert writes a new document with version r.Version, and its events.
	Insert(ctx context.Context, collection string, r Record, events []Event) error
	// Replace writes r over the document's version r.Version-1, and its events.
	Replace(ctx context.Context, collection string, r Record, events []Event) error
	// Delete removes a document of this version. Events that wait are still
	// published.
	Delete(ctx context.Context, collection, id string, version int64) error
	// Find answers a query with at most Limit documents and the cursor of the
	// next page, "" when there is none.
	Find(ctx context.Context, collection string, q Query) ([]Record, string, error)
	// Scan reads at most limit documents with an id above after, by id.
	Scan(ctx context.Context, collection, after string, limit int) ([]Record, error)
	// Count counts the documents. It walks the collection.
	Count(ctx context.Context, collection string) (int64, error)

	// Pending reads about limit events that wait, those of the documents that
	// have waited longest first. It may give a document's first events only.
	Pending(ctx context.Context, collection string, limit int) ([]Pending, error)
	// Settle takes the events out of the outboxes. Twice is once.
	Settle(ctx context.Context, collection string, done []Pending) error
	// Backlog measures the outboxes of a collection.
	Backlog(ctx context.Context, collection string) (Backlog, error)
	// File inserts the documents that are not there yet and leaves the others
	// as they are. When it fails, some may have been written.
	File(ctx context.Context, collection string, rs []Record) error
	// Watch gives a channel that receives after this process wrote events, and a
	// function that ends it. It only wakes: others write events too.
	Watch() (wake <-chan struct{}, stop func())

	// Hold is the function Hold on this engine.
	Hold(ctx context.Context, name, holder string, ttl time.Duration, run func(ctx context.Context) error) error

	// Ping reads something from the database.
	Ping(ctx context.Context) error
	// Close finishes what was accepted and frees the database.
	Close() error
}

// Option changes how Open opens an engine.
type Option func(*settings)

type settings struct {
	log    *slog.Logger
	meter  metric.Meter
	tracer trace.Tracer
}

// WithLog gives the engine a log. Default: none.
func WithLog(log *slog.Logger) Option { return func(o *settings) { o.log = log } }

// WithMeter counts and times every operation (db.client.operation.duration).
func WithMeter(m metric.Meter) Option { return func(o *settings) { o.meter = m } }

// WithTracer makes a span of every operation that is part of a trace.
func WithTracer(t trace.Tracer) Option { return func(o *settings) { o.tracer = t } }

// Open opens a database by its address: "sqlite:PATH" (the file and its
// directory are created when absent, readable by the owner only) or
// "mongodb://HOST/DATABASE?..." (also mongodb+srv). It fails when the database
// cannot be reached.
func Open(ctx context.Context, uri string, opts ...Option) (Engine, error) {
	o := settings{log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&o)
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	switch scheme {
	case "sqlite":
		e, err := openSQLite(ctx, rest)
		if err != nil {
			return nil, err
		}
		return observe(e, "sqlite", o)
	case "mongodb", "mongodb+srv":
		e, err := openMongo(ctx, uri, o)
		if err != nil {
			return nil, err
		}
		return observe(e, "mongodb", o)
	}
	// The address may hold a password: only its scheme is shown.
	return nil, fmt.Errorf("docstore: no engine for %q addresses: give sqlite:PATH or mongodb://HOST/DATABASE", scheme)
}
