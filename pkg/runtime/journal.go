package runtime

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/outbox"
)

// journalRequest asks for the events that were filed after the one with an id.
type journalRequest struct {
	After string `query:"after"`
	Limit int    `query:"limit" default:"1000" min:"1" max:"100000"`
}

// JournalLine is one line of a journal: an event as it was published.
type JournalLine struct {
	ID         string          `json:"id"`
	Topic      string          `json:"topic"`
	Key        string          `json:"key"`
	Headers    []JournalHeader `json:"headers"`
	Value      json.RawMessage `json:"value,omitempty"`        // when it is JSON
	Binary     []byte          `json:"value_base64,omitempty"` // when it is not
	Seq        int64           `json:"seq"`
	RecordedAt time.Time       `json:"recorded_at"`
}

// JournalHeader is one Kafka header of an event.
type JournalHeader struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// journalAnswer streams lines (NDJSON) in the order in which they were filed.
type journalAnswer struct {
	ctx   context.Context
	store docstore.Engine
	req   journalRequest
}

func (a journalAnswer) ContentType() string { return "application/x-ndjson" }

func (a journalAnswer) Stream(w io.Writer) error {
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	left := a.req.Limit
	for e, err := range outbox.Journal(a.store).All(a.ctx, a.req.After) {
		if err != nil {
			return err
		}
		line := JournalLine{ID: e.ID, Topic: e.Topic, Key: e.Key, Seq: e.Seq, RecordedAt: e.RecordedAt.UTC(), Headers: []JournalHeader{}}
		for _, h := range e.Headers {
			line.Headers = append(line.Headers, JournalHeader(h))
		}
		if json.Valid(e.Value) {
			line.Value = e.Value
		} else {
			line.Binary = e.Value
		}
		if err := to.Encode(line); err != nil {
			return err
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}

func addJournal(r *api.Router, name string, store docstore.Engine) {
	pattern := "/api/" + name + "/journal"
	for _, route := range r.Routes() {
		if strings.TrimSuffix(route.Pattern, "/{$}") == pattern {
			return // the service has its own
		}
	}
	api.Handle(r, "GET "+pattern, access.JournalRead, func(ctx context.Context, req journalRequest) (journalAnswer, error) {
		return journalAnswer{ctx, store, req}, nil
	}, api.Produces("application/x-ndjson"))
}
