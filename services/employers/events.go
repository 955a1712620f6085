package employers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// Consumer groups of the service.
const (
	inboundGroup  = "masar.employers.in"
	decisionGroup = "masar.employers.matching"
)

// partner is who sends records over Kafka: a system that the cluster has let in.
var partner = access.Principal{Subject: event.InOffers, Role: access.Integrator}

// inbound takes in the records of masar.in.offers.v1 and answers each on
// masar.in.answers.v1. A record that is refused is also kept as a dead letter.
func inbound(receive api.Endpoint[Inbound, RowResult], answers bus.MessagePublisher) bus.Handler {
	return bus.NewSubscriber(
		func(ctx context.Context, in Inbound) (RowResult, error) {
			result, err := receive(access.With(ctx, partner), in)
			if err == nil && result.Outcome == OutcomeRefused {
				err = &refusedError{result}
			}
			return result, err
		},
		func(_ context.Context, m bus.Message) (Inbound, error) {
			return Inbound{Record: m.Value, Name: fmt.Sprintf("%s/%d/%d", m.Topic, m.Partition, m.Offset), At: m.Time}, nil
		},
		bus.SubscriberErrors(settle),
		bus.SubscriberAnswers(answers, event.Answers, explain),
	)
}

// refusedError is a record that was refused.
type refusedError struct{ result RowResult }

func (e *refusedError) Error() string {
	if len(e.result.Fields) == 0 {
		return "refused"
	}
	// Reasons may quote the record; path and code do not.
	f := e.result.Fields[0]
	return fmt.Sprintf("refused: %s [%s]", f.Path, f.Code)
}

// explain is what the sender of a record reads about an error.
func explain(err error) any {
	type problem struct {
		Type   string `json:"type"`
		Detail string `json:"detail,omitempty"`
		Fields []Note `json:"fields,omitempty"`
	}
	var refused *refusedError
	if errors.As(err, &refused) {
		return problem{api.TypePrefix + string(api.KindInvalid), "The record was refused; see fields.", refused.result.Fields}
	}
	var known *api.Error
	if !errors.As(err, &known) {
		return problem{Type: api.TypePrefix + string(api.KindInternal), Detail: "The record could not be processed; it is in the dead letters."}
	}
	return problem{Type: api.TypePrefix + string(known.Kind), Detail: known.Detail}
}

// settle says which errors no repetition cures, and which are not the message's.
func settle(err error) error {
	var refused *refusedError
	var known *api.Error
	if errors.As(err, &refused) || errors.As(err, &known) || errors.Is(err, ErrUnknownOffer) {
		return bus.Permanent(err)
	}
	if errors.Is(err, docstore.ErrUnavailable) || errors.Is(err, docstore.ErrStale) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return bus.Blocked(err)
	}
	return err
}

// decisions handles masar.matching.v1: who accepts or is hired fills a post, who
// is refused or does not come after that gives it back.
func decisions(hired, released api.Endpoint[Decision, struct{}]) bus.Handler {
	return bus.NewSubscriber(
		func(ctx context.Context, e event.Event) (struct{}, error) {
			d, ok := e.Data.(*matchingv1.DecisionRecorded)
			if !ok {
				return struct{}{}, nil
			}
			takes := d.Kind == reference.DecisionAccepted || d.Kind == reference.DecisionHired
			ends := d.Kind == reference.DecisionRefused || d.Kind == reference.DecisionNoShow
			if d.HeldBy == "" && !takes || d.HeldBy != "" && !ends {
				return struct{}{}, nil // no post is taken or given back
			}
			if d.DecisionId == "" || d.OfferId == "" {
				return struct{}{}, bus.Permanent(fmt.Errorf("a decision %q without decision_id or offer_id", d.Kind))
			}
			if ends {
				return released(ctx, Decision{ID: d.HeldBy, OfferID: d.OfferId, CandidateID: d.CandidateId, At: e.OccurredAt})
			}
			return hired(ctx, Decision{ID: d.DecisionId, OfferID: d.OfferId, CandidateID: d.CandidateId, At: e.OccurredAt})
		},
		func(_ context.Context, m bus.Message) (event.Event, error) { return event.Decode(m) },
		bus.SubscriberErrors(settle),
	)
}

// Timing of the expiry.
const (
	expireEvery = time.Minute
	expireLease = 30 * time.Second
)

// expiry closes offers that are over, now and then, in one process at a time.
func expiry(s Service, e docstore.Engine, holder string, every time.Duration, failed func(error)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		err := docstore.Hold(ctx, e, "employers.expiry", holder, expireLease, func(ctx context.Context) error {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				if _, err := s.Expire(ctx); err != nil && ctx.Err() == nil {
					failed(err) // the next turn finds the same offers
				}
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}
