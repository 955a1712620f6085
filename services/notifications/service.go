package notifications

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
)

// Service is what can be asked of notifications.
type Service interface {
	// Learn plans the message that an event calls for, if any. Learning the same
	// event again changes nothing.
	Learn(ctx context.Context, e event.Event) (struct{}, error)
	// Messages lists messages, newest first, that the principal's scope covers.
	Messages(ctx context.Context, q MessagesQuery) (api.Page[View], error)
}

// ErrUnknownNews is wrapped by Learn's error for an event that this version of
// Masar cannot tell: no repetition will change that.
var ErrUnknownNews = errors.New("the event cannot be told")

// MessagesQuery says which messages to list.
type MessagesQuery struct {
	Candidate string `query:"candidate"`
	Status    string `query:"status"`
	api.Paging
}

// Validate checks the status; the transport checks the paging.
func (q MessagesQuery) Validate() error {
	if q.Status != "" && !slices.Contains(Statuses, Status(q.Status)) {
		return api.Invalid(api.Field{Path: "query.status", Code: "unknown", Reason: "one of planned, sending, sent, failed, skipped"})
	}
	return nil
}

// pagesScanned bounds the work of one answer for a principal whose scope leaves
// most messages out: its page may then be short, or empty, and go on.
const pagesScanned = 10

// View is a message as it is shown.
type View struct {
	ID            string     `json:"id"`
	CandidateID   string     `json:"candidate_id"`
	PathwayID     string     `json:"pathway_id"`
	CauseID       string     `json:"cause_id"`
	Template      Template   `json:"template"`
	Scheme        string     `json:"scheme"`
	SchemeVersion string     `json:"scheme_version"`
	Stage         string     `json:"stage"`
	OccurredAt    time.Time  `json:"occurred_at"`
	Language      string     `json:"language,omitempty"`
	Channel       string     `json:"channel,omitempty"`
	Status        Status     `json:"status"`
	Reason        Reason     `json:"reason,omitempty"`
	Attempts      int        `json:"attempts"`
	PlannedAt     time.Time  `json:"planned_at"`
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"`
	SettledAt     *time.Time `json:"settled_at,omitempty"`
}

func view(d *docstore.Doc[Message]) View {
	m := d.Body
	v := View{
		ID: d.ID, CandidateID: m.CandidateID, PathwayID: m.PathwayID, CauseID: m.CauseID,
		Template: m.Template, Scheme: m.Scheme, SchemeVersion: m.SchemeVersion, Stage: m.Stage,
		OccurredAt: m.OccurredAt.UTC(), Language: m.Language, Channel: m.Channel, Status: m.Status,
		Reason: m.Reason, Attempts: m.Attempts, PlannedAt: m.PlannedAt.UTC(),
	}
	if !m.settled() {
		next := m.NextAttemptAt.UTC()
		v.NextAttemptAt = &next
	} else {
		at := m.SettledAt.UTC()
		v.SettledAt = &at
	}
	return v
}

// service implements Service over the store.
type service struct {
	messages *docstore.Collection[Message]
	schemes  reference.SchemeSet
	policy   Policy
	now      func() time.Time
	planned  func() // told when there is something to send
}

// NewService makes the service over its messages. planned is called after each
// message that is to be sent.
func NewService(messages *docstore.Collection[Message], schemes reference.SchemeSet, policy Policy, now func() time.Time, planned func()) Service {
	return &service{messages: messages, schemes: schemes, policy: policy, now: now, planned: planned}
}

func (s *service) Learn(ctx context.Context, e event.Event) (none struct{}, err error) {
	m, ok, err := Plan(s.schemes, e, s.policy, s.now())
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrUnknownNews, err)
	}
	if !ok {
		return none, nil
	}
	err = s.messages.Insert(ctx, &docstore.Doc[Message]{ID: MessageID(e.ID, m.CandidateID), Body: m})
	if errors.Is(err, docstore.ErrExists) {
		return none, nil // learned before
	}
	if err == nil && m.Status == Planned {
		s.planned()
	}
	return none, err
}

func (s *service) Messages(ctx context.Context, q MessagesQuery) (api.Page[View], error) {
	find := docstore.Query{Index: byTime, Desc: true, After: q.Cursor}
	switch {
	case q.Candidate != "" && q.Status != "":
		find.Index, find.Eq = byCandidateStatus, []any{q.Candidate, q.Status}
	case q.Candidate != "":
		find.Index, find.Eq = byCandidate, []any{q.Candidate}
	case q.Status != "":
		find.Index, find.Eq = byStatus, []any{q.Status}
	}
	who := access.From(ctx)
	var items []View
	for range pagesScanned {
		// Ask for what is still missing, so that the cursor is where the page ends.
		find.Limit = q.Limit - len(items)
		docs, next, err := s.messages.Find(ctx, find)
		if err != nil {
			return api.Page[View]{}, err
		}
		for _, d := range docs {
			if who.Covers(d.Body.Governorate, d.Body.Scheme) {
				items = append(items, view(d))
			}
		}
		find.After = next
		if next == "" || len(items) >= q.Limit {
			break
		}
	}
	return api.NewPage(items, find.After), nil
}
