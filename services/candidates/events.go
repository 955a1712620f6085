package candidates

import (
	"context"
	"errors"
	"fmt"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	matchingv1 "masar.local/proto/masar/matching/v1"
)

// Consumer groups of the service.
const (
	inboundGroup  = "masar.candidates.in"
	decisionGroup = "masar.candidates.matching"
)

// inbound is who writes what comes in over Kafka: whoever may write to the topic
// may register people everywhere.
var inbound = access.Principal{Subject: event.InCandidates, Role: access.Integrator}

// inboundHandler registers or updates the person of each record on
// masar.in.candidates.v1 and answers each on masar.in.answers.v1. A record that
// is refused is also kept as a dead letter.
func inboundHandler(e Endpoints, answers bus.MessagePublisher) bus.Handler {
	return bus.NewSubscriber(
		func(ctx context.Context, record []byte) (RowResult, error) {
			res, err := e.Place(access.With(ctx, inbound), record)
			if err == nil && res.Outcome == Refused {
				err = api.Invalid(res.Fields...)
			}
			return res, err
		},
		func(_ context.Context, m bus.Message) ([]byte, error) { return m.Value, nil },
		bus.SubscriberErrors(class),
		bus.SubscriberAnswers(answers, event.Answers, refusalBody),
	)
}

// refusalBody is what the sender of a record may read of an error.
func refusalBody(err error) any {
	var problem *api.Error
	if !errors.As(err, &problem) {
		return map[string]string{"type": api.TypePrefix + string(api.KindInternal), "detail": "The record could not be processed; it is in the dead letters."}
	}
	return struct {
		Type   string      `json:"type"`
		Detail string      `json:"detail,omitempty"`
		Fields []api.Field `json:"fields,omitempty"`
	}{api.TypePrefix + string(problem.Kind), problem.Detail, problem.Fields}
}

// decisionHandler moves pathways by the decisions of the matching service.
func decisionHandler(s Service) bus.Handler {
	return bus.NewSubscriber(
		func(ctx context.Context, e event.Event) (struct{}, error) { return struct{}{}, learn(ctx, s, e) },
		func(_ context.Context, m bus.Message) (event.Event, error) { return event.Decode(m) },
		bus.SubscriberErrors(class),
	)
}

// learn applies one event of the matching service.
func learn(ctx context.Context, s Service, e event.Event) error {
	d, ok := e.Data.(*matchingv1.DecisionRecorded)
	if !ok {
		return nil // of later versions, or none of our business
	}
	if d.GetDecisionId() == "" {
		return bus.Permanent(errors.New("the decision has no id, so it could not be applied only once"))
	}
	if d.GetPathwayId() == "" {
		return nil // the person has no pathway that could move
	}
	err := s.Decide(ctx, d.GetPathwayId(), Decision{
		ID: d.GetDecisionId(), Kind: d.GetKind(), CandidateID: d.GetCandidateId(), OfferID: d.GetOfferId(), HeldBy: d.GetHeldBy(),
		Actor: access.Role(d.GetActor()), OccurredAt: e.OccurredAt,
	})
	if errors.Is(err, docstore.ErrNotFound) {
		// Matching learned of the pathway from us, so this is a contradiction
		// that somebody must look at, not a delay.
		return bus.Permanent(fmt.Errorf("decision %s names a pathway that does not exist", d.GetDecisionId()))
	}
	return err
}

// class says what an error means for a message: wait for the store, give up on
// the message, or try again.
func class(err error) error {
	var problem *api.Error
	switch {
	case bus.IsPermanent(err), bus.IsBlocked(err):
		return err
	case errors.Is(err, docstore.ErrUnavailable):
		return bus.Blocked(err)
	case errors.As(err, &problem):
		return bus.Permanent(err)
	}
	return err
}
