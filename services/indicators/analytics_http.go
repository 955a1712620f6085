package indicators

import (
	"context"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// PathwayEndpoints are the use cases about pathways as typed endpoints. The
// answers are what Service gives, or the same as a table in CSV.
type PathwayEndpoints struct {
	Funnel      api.Endpoint[PathwaysRequest, any]
	Durations   api.Endpoint[DurationsRequest, any]
	Bottlenecks api.Endpoint[PathwaysRequest, any]
	Conformance api.Endpoint[PathwaysRequest, any]
	Budgets     api.Endpoint[PathwaysRequest, any]
	Deviations  api.Endpoint[DeviationsQuery, api.Page[DeviatingPathway]]
	Late        api.Endpoint[LateQuery, api.Page[Due]]
}

// PathwaysRequest is a query with the format of its answer.
type PathwaysRequest struct {
	PathwayQuery
	AnalyticsFormat
}

// DurationsRequest is a query with the format of its answer.
type DurationsRequest struct {
	DurationsQuery
	AnalyticsFormat
}

func newPathwayEndpoints(s Service) PathwayEndpoints {
	return PathwayEndpoints{
		Funnel: about(s.Funnel), Bottlenecks: about(s.Bottlenecks), Conformance: about(s.Conformance), Budgets: about(s.Budgets),
		Durations: func(ctx context.Context, r DurationsRequest) (any, error) {
			answer, err := s.Durations(ctx, r.DurationsQuery)
			return r.form(answer, err)
		},
		Deviations: s.Deviations,
		Late:       s.Late,
	}
}

// about makes an endpoint of a use case that takes the plain query.
func about[Res tabular](use func(context.Context, PathwayQuery) (Res, error)) api.Endpoint[PathwaysRequest, any] {
	return func(ctx context.Context, r PathwaysRequest) (any, error) {
		answer, err := use(ctx, r.PathwayQuery)
		return r.form(answer, err)
	}
}

// form is the answer in the format that was asked for.
func (f *AnalyticsFormat) form(answer tabular, err error) (any, error) {
	switch {
	case err != nil:
		return nil, err
	case f.Format == "csv":
		return tableCSV{answer}, nil
	}
	return answer, nil
}

func mountPathways(r *api.Router, e PathwayEndpoints) {
	forms := api.Produces("application/json", "text/csv")
	api.Handle(r, "GET /api/indicators/pathways/funnel", access.IndicatorsRead, e.Funnel, forms)
	api.Handle(r, "GET /api/indicators/pathways/durations", access.IndicatorsRead, e.Durations, forms)
	api.Handle(r, "GET /api/indicators/pathways/bottlenecks", access.IndicatorsRead, e.Bottlenecks, forms)
	api.Handle(r, "GET /api/indicators/pathways/conformance", access.IndicatorsRead, e.Conformance, forms)
	api.Handle(r, "GET /api/indicators/pathways/budgets", access.IndicatorsRead, e.Budgets, forms)
	api.Handle(r, "GET /api/indicators/pathways/deviations", access.IndicatorsFacts, e.Deviations)
	api.Handle(r, "GET /api/indicators/pathways/late", access.IndicatorsFacts, e.Late)
}
