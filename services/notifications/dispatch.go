package notifications

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/telemetry"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

const (
	senders  = 8   // mails on their way at the same time
	batch    = 200 // messages looked up at once
	lease    = "notifications.dispatch"
	leaseTTL = 30 * time.Second
	poll     = time.Second      // how often due messages are looked for
	longest  = 60 * time.Second // longest pause after an outage
	record   = 10 * time.Second // to write how a try went, also while stopping
)

// Dispatcher sends the messages that are due. Of all dispatchers on a store one
// works at a time, under a lease; a claim on each message covers the moment in
// which a lease changes hands.
type Dispatcher struct {
	Store    docstore.Engine
	Messages *docstore.Collection[Message]
	Contact  func(ctx context.Context, candidate string) (Contact, error)
	Renderer *Renderer
	Carrier  Carrier
	Policy   Policy
	Log      *slog.Logger
	Tracer   trace.Tracer
	Measure  Measure
	Now      func() time.Time
	Holder   string // unique for each process

	wake chan struct{}
}

// NewDispatcher completes d.
func NewDispatcher(d Dispatcher) *Dispatcher {
	d.wake = make(chan struct{}, 1)
	return &d
}

// Wake says that a message was planned, so that it need not wait for the next
// look.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, and then lets the carrier go.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer func() { _ = d.Carrier.Close() }() // what was accepted is recorded
	for ctx.Err() == nil {
		if err := docstore.Hold(ctx, d.Store, lease, d.Holder, leaseTTL, d.loop); err != nil && ctx.Err() == nil {
			d.Log.WarnContext(ctx, "dispatcher interrupted", "cause", err)
			pause(ctx, d.wake, poll)
		}
	}
	return nil
}

// loop works while ctx, and with it the lease, lasts.
func (d *Dispatcher) loop(ctx context.Context) error {
	outage := time.Duration(0)
	for ctx.Err() == nil {
		more, err := d.Pass(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			outage = min(max(2*outage, poll), longest)
			d.Log.WarnContext(ctx, "messages wait", "cause", err, "pause", outage)
			pause(ctx, nil, outage)
		default:
			outage = 0
			if !more {
				pause(ctx, d.wake, poll)
			}
		}
	}
	return ctx.Err()
}

// pause waits for the time, for a wake-up or for the end.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// Pass tries the messages that are due, once each, and says whether there may
// be more. It stops early, with the error, when the store, the candidates
// service or the mail server cannot be reached: the messages that were not
// tried yet lose no attempt.
func (d *Dispatcher) Pass(ctx context.Context) (more bool, err error) {
	due, err := d.due(ctx)
	if err != nil || len(due) == 0 {
		return false, err
	}
	var outage atomic.Pointer[error]
	var group errgroup.Group
	group.SetLimit(senders)
	for _, person := range due {
		group.Go(func() error {
			for _, id := range person {
				if outage.Load() != nil || ctx.Err() != nil {
					return nil
				}
				if err := d.try(ctx, id); err != nil {
					outage.CompareAndSwap(nil, &err)
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	if first := outage.Load(); first != nil {
		return true, *first
	}
	return true, ctx.Err()
}

// due finds what is due, grouped by person: one person's messages are sent one
// after the other, the oldest news first.
func (d *Dispatcher) due(ctx context.Context) ([][]string, error) {
	var docs []*docstore.Doc[Message]
	for _, status := range []Status{Planned, Sending} {
		found, _, err := d.Messages.Find(ctx, docstore.Query{
			// The claim and the due time are in the same field: a message whose
			// claim has lapsed was left by a dispatcher that died.
			Index: byDue, Eq: []any{string(status)}, Below: d.Now().Add(time.Millisecond), Limit: batch,
		})
		if err != nil {
			return nil, err
		}
		docs = append(docs, found...)
	}
	slices.SortStableFunc(docs, func(a, b *docstore.Doc[Message]) int {
		return cmp.Or(a.Body.OccurredAt.Compare(b.Body.OccurredAt), cmp.Compare(a.ID, b.ID))
	})
	var people [][]string
	place := map[string]int{}
	for _, doc := range docs {
		i, seen := place[doc.Body.CandidateID]
		if !seen {
			i = len(people)
			place[doc.Body.CandidateID] = i
			people = append(people, nil)
		}
		people[i] = append(people[i], doc.ID)
	}
	return people, nil
}

// result is how a try ended: settled with a status and reason, or to be tried
// again.
type result struct {
	status   Status // Planned: to be tried again
	reason   Reason
	language string
	err      error // why not sent; names nobody
	outage   bool  // err is not about this message
}

// try claims a message, sends it and records how that went. The error is an
// outage.
func (d *Dispatcher) try(ctx context.Context, id string) error {
	claimed := false
	doc, err := d.Messages.Update(ctx, id, func(doc *docstore.Doc[Message]) error {
		claimed = false
		now := d.Now()
		switch {
		case !doc.Body.due(now):
			return docstore.Unchanged
		case doc.Body.exhausted(d.Policy, now):
			d.settle(ctx, doc, Failed, Expired, now)
		default:
			doc.Body.claim(d.Policy, d.Carrier.Name(), now)
			claimed = true
		}
		return nil
	})
	switch {
	case errors.Is(err, docstore.ErrNotFound), errors.Is(err, docstore.ErrStale):
		return nil // another dispatcher is at it
	case err != nil:
		return err
	case !claimed:
		if doc.Body.settled() {
			d.Measure(ctx, doc.Body)
		}
		return nil
	}
	ctx, span := d.Tracer.Start(remote(ctx, doc.Body.Trace), "send "+doc.Body.Channel,
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(
			attribute.String(telemetry.MessageID, id),
			attribute.String(telemetry.MessageTemplate, string(doc.Body.Template)),
			attribute.Int(telemetry.MessageAttempt, doc.Body.Attempts),
		))
	defer span.End()
	r := d.deliver(ctx, doc)
	if r.err != nil {
		span.SetStatus(codes.Error, r.err.Error())
	}
	if err := d.finish(ctx, id, doc.Body.Attempts, r); err != nil {
		return err
	}
	if r.outage {
		return r.err
	}
	return nil
}

// deliver asks for the contact, writes the text and hands it to the carrier.
func (d *Dispatcher) deliver(ctx context.Context, doc *docstore.Doc[Message]) result {
	contact, err := d.Contact(ctx, doc.Body.CandidateID)
	switch {
	case errors.Is(err, ErrUnknownPerson):
		return result{status: Skipped, reason: NoContact, err: err}
	case err != nil:
		return result{status: Planned, err: err, outage: true}
	case !contact.consents():
		return result{status: Skipped, reason: NoConsent}
	case contact.Email == "":
		return result{status: Skipped, reason: NoContact}
	}
	language := contact.Language
	if language != Arabic {
		language = French
	}
	subject, body, err := d.Renderer.Text(&doc.Body, contact.greeting(language), language)
	if err != nil {
		return result{status: Planned, language: language, err: err}
	}
	err = d.Carrier.Deliver(ctx, Mail{
		MessageID: doc.ID, From: d.Carrier.From(), To: contact.Email,
		Subject: subject, Body: body, Language: language,
		Date: doc.Body.PlannedAt, News: doc.Body.OccurredAt,
	})
	switch {
	case err == nil:
		return result{status: Sent, language: language}
	case errors.Is(err, ErrAddress):
		return result{status: Skipped, reason: NoContact, language: language, err: err}
	case errors.Is(err, ErrRefused):
		return result{status: Failed, reason: Refused, language: language, err: err}
	default:
		return result{status: Planned, language: language, err: err, outage: errors.Is(err, ErrOutage)}
	}
}

// finish records how a try went. It does so also when ctx has ended meanwhile:
// a mail that the server accepted must not be sent again because of a stop.
func (d *Dispatcher) finish(ctx context.Context, id string, attempt int, r result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), record)
	defer cancel()
	recorded := false
	doc, err := d.Messages.Update(ctx, id, func(doc *docstore.Doc[Message]) error {
		recorded = false
		m, now := &doc.Body, d.Now()
		// When the claim lapsed meanwhile, the message is another's; but what was
		// sent was sent.
		if m.settled() || m.Attempts != attempt && r.status != Sent {
			return docstore.Unchanged
		}
		recorded = true
		if r.language != "" {
			m.Language = r.language
		}
		if r.status != Planned {
			d.settle(ctx, doc, r.status, r.reason, now)
		} else if !m.postpone(d.Policy, now) {
			d.settle(ctx, doc, Failed, Expired, now)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !recorded {
		return nil
	}
	m := doc.Body
	log := d.Log.With("message_id", id, "template", m.Template, "attempts", m.Attempts, "status", m.Status)
	switch {
	case m.Status == Planned:
		log.InfoContext(ctx, "message will be tried again", "cause", r.err, "next_attempt_at", m.NextAttemptAt)
	case m.Status == Failed:
		log.WarnContext(ctx, "message given up", "cause", r.err, "reason", m.Reason)
	default:
		log.DebugContext(ctx, "message settled", "reason", m.Reason)
	}
	if m.settled() {
		d.Measure(ctx, m)
	}
	return nil
}

// settle ends the message's life and says so on the topic, in the same write.
func (d *Dispatcher) settle(ctx context.Context, doc *docstore.Doc[Message], status Status, reason Reason, now time.Time) {
	m := &doc.Body
	m.settle(status, reason, now)
	var news event.Event
	if status == Sent {
		news = event.New("/notifications", doc.ID, now, now, &notificationsv1.MessageSent{
			CandidateId: m.CandidateID, PathwayId: m.PathwayID, CauseId: m.CauseID,
			Template: string(m.Template), Language: m.Language, Channel: m.Channel, Attempts: int32(m.Attempts),
		})
	} else {
		news = event.New("/notifications", doc.ID, now, now, &notificationsv1.MessageFailed{
			CandidateId: m.CandidateID, PathwayId: m.PathwayID, CauseId: m.CauseID,
			Template: string(m.Template), Language: m.Language, Channel: m.Channel, Attempts: int32(m.Attempts),
			Reason: string(reason),
		})
	}
	doc.Emit(news.Outgoing(ctx, event.TopicNotifications))
}

// remote continues the trace of the event that caused the message.
func remote(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
}
