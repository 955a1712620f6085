// Package docstore keeps versioned documents together with the events they
// cause. STUB by the lead so that others compile; DOCSTORE replaces it.
package docstore

import (
	"context"
	"errors"
	"iter"
	"time"
)

var (
	ErrNotFound      = errors.New("docstore: not found")
	ErrExists        = errors.New("docstore: exists")
	ErrStale         = errors.New("docstore: stale")
	ErrUnavailable   = errors.New("docstore: unavailable")
	ErrInvalidCursor = errors.New("docstore: invalid cursor")
	Unchanged        = errors.New("docstore: unchanged")
	errStub          = errors.New("docstore: stub")
)

type Kind int

const (
	String Kind = iota
	Int
	Time
	Bool
)

type Field struct {
	Path string
	Kind Kind
}

type Index struct {
	Name   string
	Fields []Field
	Unique bool
}

type Schema struct {
	Collection string
	Indexes    []Index
}

type Header struct{ Key, Value string }

type Event struct {
	ID, Topic, Key string
	Headers        []Header
	Value          []byte
	Seq            int64
	RecordedAt     time.Time
}

type Query struct {
	Index       string
	Eq          []any
	Prefix      string
	From, Below any
	Desc        bool
	After       string
	Limit       int
}

type Engine interface {
	Ensure(ctx context.Context, schemas ...Schema) error
	Ping(ctx context.Context) error
	Close() error
}

type Option func()

func Open(ctx context.Context, uri string, opts ...Option) (Engine, error) { return nil, errStub }

type Doc[T any] struct {
	ID           string
	Version, Seq int64
	Body         T
	out          []Event
}

func (d *Doc[T]) Emit(e Event) { d.Seq++; e.Seq = d.Seq; d.out = append(d.out, e) }

type Collection[T any] struct{ e Engine }

func NewCollection[T any](e Engine, s Schema) *Collection[T]                 { return &Collection[T]{e: e} }
func (c *Collection[T]) Ensure(ctx context.Context) error                    { return errStub }
func (c *Collection[T]) Get(ctx context.Context, id string) (*Doc[T], error) { return nil, errStub }
func (c *Collection[T]) Insert(ctx context.Context, d *Doc[T]) error         { return errStub }
func (c *Collection[T]) Update(ctx context.Context, id string, change func(*Doc[T]) error) (*Doc[T], error) {
	return nil, errStub
}

func (c *Collection[T]) Upsert(ctx context.Context, id string, change func(*Doc[T]) error) (*Doc[T], error) {
	return nil, errStub
}

func (c *Collection[T]) Delete(ctx context.Context, id string, version int64) error { return errStub }

func (c *Collection[T]) Find(ctx context.Context, q Query) ([]*Doc[T], string, error) {
	return nil, "", errStub
}

func (c *Collection[T]) All(ctx context.Context) iter.Seq2[*Doc[T], error] {
	return func(func(*Doc[T], error) bool) {}
}
func (c *Collection[T]) Count(ctx context.Context) (int64, error) { return 0, errStub }

func Hold(ctx context.Context, e Engine, name, holder string, ttl time.Duration, run func(ctx context.Context) error) error {
	return errStub
}
