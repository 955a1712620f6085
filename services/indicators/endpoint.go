package indicators

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/api"
	"masar.local/pkg/event"
)

// Endpoints are the use cases as typed go-kit endpoints; the transports are built
// on them.
type Endpoints struct {
	Fold       api.Endpoint[event.Event, struct{}]
	Indicators api.Endpoint[struct{}, output]      // a Catalogue
	Values     api.Endpoint[ValuesRequest, output] // a Series
	SDMX       api.Endpoint[sdmxRequest, output]
	Structure  api.Endpoint[struct{}, output]
	Geo        api.Endpoint[GeoQuery, output]
	Workbook   api.Endpoint[WorkbookQuery, output]
	Summary    api.Endpoint[struct{}, output] // a Summary
	Facts      api.Endpoint[FactsQuery, factsAnswer]
	Freshness  api.Endpoint[struct{}, Freshness]
	Verify     api.Endpoint[struct{}, verifyAnswer]
	Preview    api.Endpoint[PreviewRequest, Preview]
	Pathways   PathwayEndpoints
	Shortage   ShortageEndpoints
	reviewEndpoints
}

// ValuesRequest is a query with the format of its answer.
type ValuesRequest struct {
	ValuesQuery
	Format string   `query:"format"` // "json" (default), "csv", "xlsx", "sdmx-csv" or "sdmx-json"
	Lang   string   `query:"lang"`   // of a workbook: "fr" (default) or "ar"
	Accept []string `header:"Accept" json:"-"`
}

// Validate checks the format and the language.
func (r *ValuesRequest) Validate() error {
	var err error
	if r.Format, err = form(r.Format, r.Accept, formJSON, formCSV, formXLSX, formSDMXCSV, formSDMXJSON); err != nil {
		return err
	}
	r.Lang, err = workbookLang(r.Lang)
	return err
}

// form is the form that is asked for by name, or else by the first media type of
// Accept that is one; the first offered by default.
func form(name string, accept []string, offered ...string) (string, error) {
	if name != "" {
		if !slices.Contains(offered, name) {
			return "", api.Invalid(api.Field{Path: "query.format", Code: "unknown", Reason: strings.Join(offered, ", ") + " expected"})
		}
		return name, nil
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		for _, f := range offered {
			if strings.TrimSpace(kind) == formTypes[f] {
				return f, nil
			}
		}
	}
	return offered[0], nil
}

// workbookLang checks the language of a workbook.
func workbookLang(lang string) (string, error) {
	switch lang {
	case "":
		return "fr", nil
	case "fr", "ar":
		return lang, nil
	}
	return "", api.Invalid(api.Field{Path: "query.lang", Code: "unknown", Reason: "fr or ar expected"})
}

// NewEndpoints makes the endpoints of a service.
func NewEndpoints(s Service) Endpoints {
	return Endpoints{
		Fold: func(ctx context.Context, e event.Event) (struct{}, error) {
			return struct{}{}, s.Fold(ctx, e)
		},
		Indicators: func(ctx context.Context, _ struct{}) (output, error) {
			return catalogueOutput(ctx, s)
		},
		Values:    func(ctx context.Context, r ValuesRequest) (output, error) { return valuesOutput(ctx, s, r) },
		SDMX:      func(ctx context.Context, r sdmxRequest) (output, error) { return sdmxOutput(ctx, s, r) },
		Workbook:  func(ctx context.Context, q WorkbookQuery) (output, error) { return workbookOutput(ctx, s, q) },
		Geo:       func(ctx context.Context, q GeoQuery) (output, error) { return geoOutput(ctx, s, q) },
		Structure: func(ctx context.Context, _ struct{}) (output, error) { return sdmxStructureOutput(ctx, s) },
		Summary:   func(ctx context.Context, _ struct{}) (output, error) { return summaryOutput(ctx, s) },
		Facts: func(ctx context.Context, q FactsQuery) (factsAnswer, error) {
			facts, err := s.Facts(ctx, q)
			return factsAnswer{facts}, err
		},
		Preview:   s.Preview,
		Freshness: nothingAsked(s.Freshness),
		Verify: func(ctx context.Context, _ struct{}) (verifyAnswer, error) {
			return verifyAnswer{func() (Verification, error) { return s.Verify(ctx) }}, nil
		},
		Pathways:        newPathwayEndpoints(s),
		Shortage:        newShortageEndpoints(s),
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
