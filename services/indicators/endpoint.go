package indicators

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/api"
	"masar.local/pkg/event"
)

// Endpoints are the use cases as typed go-kit endpoints; the transports are built
// on them.
type Endpoints struct {
	Fold       api.Endpoint[event.Event, struct{}]
	Indicators api.Endpoint[struct{}, Catalogue]
	Values     api.Endpoint[ValuesRequest, any] // Series, or valuesCSV
	Summary    api.Endpoint[struct{}, Summary]
	Facts      api.Endpoint[FactsQuery, factsAnswer]
	Freshness  api.Endpoint[struct{}, Freshness]
	Verify     api.Endpoint[struct{}, verifyAnswer]
	Pathways   PathwayEndpoints
	reviewEndpoints
}

// ValuesRequest is a query with the format of its answer.
type ValuesRequest struct {
	ValuesQuery
	Format string   `query:"format"` // "json" (default) or "csv"
	Accept []string `header:"Accept"`
}

// Validate checks the format.
func (r *ValuesRequest) Validate() error {
	switch r.Format {
	case "":
		r.Format = "json"
		if len(r.Accept) > 0 && strings.HasPrefix(r.Accept[0], "text/csv") {
			r.Format = "csv"
		}
	case "json", "csv":
	default:
		return api.Invalid(api.Field{Path: "query.format", Code: "unknown", Reason: "json or csv expected"})
	}
	return nil
}

// NewEndpoints makes the endpoints of a service.
func NewEndpoints(s Service) Endpoints {
	return Endpoints{
		Fold: func(ctx context.Context, e event.Event) (struct{}, error) {
			return struct{}{}, s.Fold(ctx, e)
		},
		Indicators: nothingAsked(s.Indicators),
		Values: func(ctx context.Context, r ValuesRequest) (any, error) {
			series, err := s.Values(ctx, r.ValuesQuery)
			if err != nil {
				return nil, err
			}
			if r.Format == "csv" {
				return valuesCSV{series}, nil
			}
			return series, nil
		},
		Summary: nothingAsked(s.Summary),
		Facts: func(ctx context.Context, q FactsQuery) (factsAnswer, error) {
			facts, err := s.Facts(ctx, q)
			return factsAnswer{facts}, err
		},
		Freshness: nothingAsked(s.Freshness),
		Verify: func(ctx context.Context, _ struct{}) (verifyAnswer, error) {
			return verifyAnswer{func() (Verification, error) { return s.Verify(ctx) }}, nil
		},
		Pathways:        newPathwayEndpoints(s),
		reviewEndpoints: newReviewEndpoints(s),
	}
}

func nothingAsked[Res any](f func(context.Context) (Res, error)) api.Endpoint[struct{}, Res] {
	return func(ctx context.Context, _ struct{}) (Res, error) { return f(ctx) }
}

// factsAnswer streams facts as lines of JSON (NDJSON).
type factsAnswer struct {
	facts iter.Seq2[Fact, error]
}

// ContentType of the stream.
func (factsAnswer) ContentType() string { return "application/x-ndjson" }

// Stream writes the lines.
func (a factsAnswer) Stream(w io.Writer) error {
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	for f, err := range a.facts {
		if err != nil {
			return err
		}
		if err := to.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// verifyAnswer is the outcome of a recount as JSON. A recount of many facts takes
// longer than a server waits for an answer, so a space, which JSON allows, is sent
// now and then while it goes on.
type verifyAnswer struct {
	verify func() (Verification, error)
}

const keepAlive = 10 * time.Second

// ContentType of the answer.
func (verifyAnswer) ContentType() string { return "application/json" }

// Stream verifies and writes the outcome.
func (a verifyAnswer) Stream(w io.Writer) error {
	type outcome struct {
		v   Verification
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := a.verify()
		done <- outcome{v, err}
	}()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := io.WriteString(w, " "); err != nil {
				return err // the caller is gone; the recount ends with its context
			}
			if f, ok := w.(interface{ Flush() }); ok {
				f.Flush()
			}
		case o := <-done:
			if o.err != nil {
				return o.err
			}
			to := json.NewEncoder(w)
			to.SetEscapeHTML(false)
			return to.Encode(o.v)
		}
	}
}

// valuesCSV writes a series as CSV (RFC 4180, UTF-8, with a header): one line for
// each figure; what is suppressed has no value.
type valuesCSV struct{ series Series }

// ContentType says that the first line is a header.
func (valuesCSV) ContentType() string { return "text/csv; charset=utf-8; header=present" }

// Stream writes the lines.
func (a valuesCSV) Stream(w io.Writer) error {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	s := a.series
	header := slices.Concat([]string{"indicator", "unit", "period"}, s.By, []string{"value", "suppressed"})
	if s.Measure == MedianDays {
		header = append(header, "p90", "count")
	}
	if err := to.Write(header); err != nil {
		return err
	}
	for _, r := range s.Rows {
		line := []string{plain(s.Code), plain(s.Unit), r.Period}
		for _, name := range s.By {
			line = append(line, plain(r.Dimensions[name]))
		}
		line = append(line, number(r.Value), strconv.FormatBool(r.Suppressed))
		if s.Measure == MedianDays {
			count := ""
			if r.Count != nil {
				count = strconv.Itoa(*r.Count)
			}
			line = append(line, number(r.P90), count)
		}
		if err := to.Write(line); err != nil {
			return err
		}
	}
	to.Flush()
	return to.Error()
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// plain keeps a spreadsheet from taking a text for a formula (CWE-1236): codes
// come from events, and events from other systems.
func plain(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
