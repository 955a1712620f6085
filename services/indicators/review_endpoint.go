package indicators

import (
	"context"
	"encoding/csv"
	"io"
	"net/http"
	"strconv"
	"strings"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// reviewEndpoints are the use cases of reviews as endpoints.
type reviewEndpoints struct {
	Freeze      api.Endpoint[FreezeRequest, frozenAnswer]
	Reviews     api.Endpoint[ReviewsQuery, api.Page[Review]]
	Review      api.Endpoint[reviewRequest, any] // FrozenReview, or reviewCSV
	Differences api.Endpoint[DifferencesQuery, ReviewDifferences]
	Lineage     api.Endpoint[LineageQuery, Lineage]
}

func newReviewEndpoints(s Service) reviewEndpoints {
	return reviewEndpoints{
		Freeze: func(ctx context.Context, q FreezeRequest) (frozenAnswer, error) {
			r, err := s.Freeze(ctx, q)
			return frozenAnswer{r}, err
		},
		Reviews: s.Reviews,
		Review: func(ctx context.Context, q reviewRequest) (any, error) {
			r, err := s.Review(ctx, q.ReviewQuery)
			if err != nil {
				return nil, err
			}
			if q.Format == "csv" {
				return reviewCSV{r}, nil
			}
			return r, nil
		},
		Differences: s.Differences,
		Lineage:     s.Lineage,
	}
}

func mountReviews(r *api.Router, e reviewEndpoints) {
	api.Handle(r, "POST /api/indicators/reviews", access.IndicatorsFreeze, e.Freeze)
	api.Handle(r, "GET /api/indicators/reviews", access.IndicatorsRead, e.Reviews)
	api.Handle(r, "GET /api/indicators/reviews/{id}", access.IndicatorsRead, e.Review, api.Produces("application/json", "text/csv"))
	api.Handle(r, "GET /api/indicators/reviews/{id}/differences", access.IndicatorsRead, e.Differences)
	api.Handle(r, "GET /api/indicators/lineage", access.IndicatorsFacts, e.Lineage)
}

// reviewRequest is a query with the format of its answer.
type reviewRequest struct {
	ReviewQuery
	Format string `query:"format"` // "json" (default) or "csv"
}

// Validate checks the format.
func (r *reviewRequest) Validate() error {
	switch r.Format {
	case "", "json", "csv":
		return nil
	}
	return api.Invalid(api.Field{Path: "query.format", Code: "unknown", Reason: "json or csv expected"})
}

// frozenAnswer is a review that was just frozen, or, for a repeated command, is
// there already.
type frozenAnswer struct{ Review }

// Status is 201, or 200 when nothing was made.
func (a frozenAnswer) Status() int {
	if a.repeated {
		return http.StatusOK
	}
	return http.StatusCreated
}

// Location is the address of the review.
func (a frozenAnswer) Location() string { return "/api/indicators/reviews/" + a.ID }

// reviewCSV writes the figures of a review as CSV (RFC 4180, UTF-8, with a
// header): one line for each figure. The fields from by to people are those of
// the canonical text, so that the hash of each indicator can be made again.
type reviewCSV struct{ review FrozenReview }

// ContentType says that the first line is a header.
func (reviewCSV) ContentType() string { return "text/csv; charset=utf-8; header=present" }

// Stream writes the lines.
func (a reviewCSV) Stream(w io.Writer) error {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	rows := [][]string{{
		"review", "period", "indicator", "version", "definition_hash", "unit", "by", "codes",
		"value", "numerator", "denominator", "p90", "count", "people", "suppressed", "commitment", "salt",
	}}
	r := a.review
	for _, f := range r.Figures {
		for _, c := range f.Cells {
			rows = append(rows, []string{
				r.Name, r.Period, f.Code, strconv.Itoa(f.Version), f.DefinitionHash, plain(f.Unit),
				strings.Join(c.By, ","), plain(strings.Join(c.Codes, ",")),
				number(c.Value), number(c.Numerator), number(c.Denominator), number(c.P90), whole(c.Count), whole(c.People),
				strconv.FormatBool(c.Hidden), c.Commitment, c.Salt,
			})
		}
	}
	return to.WriteAll(rows)
}
