// Package outbox publishes what documents' outboxes hold. STUB by the lead; DOCSTORE replaces it.
package outbox

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
)

type Publisher interface {
	Publish(ctx context.Context, msgs ...bus.Message) error
}

type Config struct {
	Engine      docstore.Engine
	Collections []string
	Journal     string
	Publisher   Publisher
	Holder      string
	Log         *slog.Logger
	Meter       metric.Meter
	Now         func() time.Time
}

type Relay struct{ cfg Config }

func NewRelay(c Config) *Relay { return &Relay{cfg: c} }

func (r *Relay) Run(ctx context.Context) error   { return errors.New("stub") }
func (r *Relay) Drain(ctx context.Context) error { return nil }

type Progress struct {
	Pending   int64
	OldestAge time.Duration
	LastError string
}

func (r *Relay) Progress() Progress { return Progress{} }

type JournalReader struct{}

func Journal(e docstore.Engine) *JournalReader { return &JournalReader{} }

func (j *JournalReader) All(ctx context.Context, after string) iter.Seq2[docstore.Event, error] {
	return func(func(docstore.Event, error) bool) {}
}
