package indicators

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
)

// Service is what can be asked of indicators. What is answered depends on the
// principal: figures are of its scope, and small cells are hidden from whoever
// may not read facts.
type Service interface {
	// Fold keeps the event as a fact. Folding it again changes nothing.
	Fold(ctx context.Context, e event.Event) error
	// Indicators lists what is defined.
	Indicators(ctx context.Context) (Catalogue, error)
	// Values gives the figures of one indicator.
	Values(ctx context.Context, q ValuesQuery) (Series, error)
	// Stamp gives a text that changes whenever the figures of the queries may, for
	// whoever asks. It refuses what Values would.
	Stamp(ctx context.Context, queries ...ValuesQuery) (string, error)
	// SDMX gives the figures of queries for SDMX, SDMXStructure what they are made of.
	SDMX(ctx context.Context, queries ...ValuesQuery) (*sdmxMessage, error)
	SDMXStructure(ctx context.Context) (sdmxStructureMessage, error)
	// Workbook gives a workbook of indicators, SeriesWorkbook one of one indicator's
	// figures; WorkbookStamp is Stamp for a workbook.
	Workbook(ctx context.Context, q WorkbookQuery) (func(io.Writer) error, error)
	SeriesWorkbook(ctx context.Context, q ValuesQuery, lang string) (func(io.Writer) error, error)
	WorkbookStamp(ctx context.Context, q WorkbookQuery) (string, error)
	// Geo gives the figures of one indicator on a map, and GeoStamp their Stamp.
	Geo(ctx context.Context, q GeoQuery) (GeoMap, error)
	GeoStamp(ctx context.Context, q GeoQuery) (string, error)
	// Summary gives the present value of the main indicators.
	Summary(ctx context.Context) (Summary, error)
	// Facts gives the stored facts by id, as far as the principal's scope goes.
	Facts(ctx context.Context, q FactsQuery) (iter.Seq2[Fact, error], error)
	// Preview compares a definition with the one in force, before it takes effect.
	Preview(ctx context.Context, r PreviewRequest) (Preview, error)
	// Freshness says how far the figures have come.
	Freshness(ctx context.Context) (Freshness, error)
	// Funnel tells how far pathways come; Durations how long stages and delays take;
	// Bottlenecks where time is lost; Conformance whether the scheme is followed, and
	// Deviations by which pathways it is not; Budgets how the promised delays stand,
	// and Late who will miss them next.
	Funnel(ctx context.Context, q PathwayQuery) (Funnel, error)
	Durations(ctx context.Context, q DurationsQuery) (Durations, error)
	Bottlenecks(ctx context.Context, q PathwayQuery) (Bottlenecks, error)
	Conformance(ctx context.Context, q PathwayQuery) (Conformance, error)
	Deviations(ctx context.Context, q DeviationsQuery) (api.Page[DeviatingPathway], error)
	Budgets(ctx context.Context, q PathwayQuery) (Budgets, error)
	Late(ctx context.Context, q LateQuery) (api.Page[Due], error)
	// Verify counts everything again from the stored facts.
	Verify(ctx context.Context) (Verification, error)
	// Freeze, Reviews and Review: review.go. Differences: review_diff.go.
	Freeze(ctx context.Context, q FreezeRequest) (Review, error)
	Reviews(ctx context.Context, q ReviewsQuery) (api.Page[Review], error)
	Review(ctx context.Context, q ReviewQuery) (FrozenReview, error)
	Differences(ctx context.Context, q DifferencesQuery) (ReviewDifferences, error)
	// Lineage: lineage.go.
	Lineage(ctx context.Context, q LineageQuery) (Lineage, error)
	// Shortage occupations: shortage.go. Bulletin: shortage_bulletin.go.
	Shortage(ctx context.Context, q ShortageQuery) (Shortage, error)
	ImportShortage(ctx context.Context, q ShortageImport) (ShortageImported, error)
	ShortageDatasets(ctx context.Context) ([]ShortageDataset, error)
	Bulletin(ctx context.Context, q BulletinQuery) (Bulletin, error)
}

// Catalogue is the list of what is defined.
type Catalogue struct {
	TimeZone   string      `json:"time_zone"` // of days and months
	Indicators Definitions `json:"indicators"`
	Dimensions []Dimension `json:"dimensions"`
}

// ValuesQuery asks for the figures of one indicator.
type ValuesQuery struct {
	Code  string   `query:"code"`
	Grain Grain    `query:"grain" default:"all"`
	By    []string `query:"by"`
	From  api.Date `query:"from"` // first local day, included
	To    api.Date `query:"to"`   // last local day, included
	// AsOf asks for the figures as they were known: at an instant (RFC 3339) or at
	// the end of a local day; "": everything known.
	AsOf string `query:"as_of"`
}

// Series are the figures of one indicator.
type Series struct {
	Code    string  `json:"code"`
	Version int     `json:"version"` // of the definition
	LabelFR string  `json:"label_fr"`
	LabelAR string  `json:"label_ar"`
	LabelEN string  `json:"label_en"`
	Unit    string  `json:"unit"`
	Measure Measure `json:"measure"`
	Target  *Target `json:"target"`
	// TargetStatus says why there is no target.
	TargetStatus string      `json:"target_status,omitempty"`
	Baseline     *Target     `json:"baseline,omitempty"`
	Milestones   []Milestone `json:"milestones,omitempty"`
	TimeZone     string      `json:"time_zone"`
	Grain        Grain       `json:"grain"`
	By           []string    `json:"by"`
	From         api.Date    `json:"from,omitzero"`
	To           api.Date    `json:"to,omitzero"`
	// First and Last are the first and the last local day of the periods.
	First api.Date `json:"first,omitzero"`
	Last  api.Date `json:"last,omitzero"`
	// AsOf is when the figures were known so; none: now.
	AsOf time.Time `json:"as_of,omitzero"`
	// Scope is what the figures are restricted to, as the principal is: codes by
	// dimension.
	Scope map[string][]string `json:"scope,omitempty"`
	// SmallCell is the number of people below which a cell is hidden here; 0 when
	// nothing is hidden.
	SmallCell int `json:"small_cell,omitempty"`
	// KnownTo is when we learned of the last fact that may be in the figures.
	KnownTo time.Time `json:"known_to,omitzero"`
	// Rows are the figures, by period, then by codes. What has no row is 0, or
	// has no value when it is a median.
	Rows []Row `json:"rows"`
	// Totals are the figures without a cut. Where they are not the sum of the
	// rows (a person in two schemes, a median), they are right and the sum is not.
	Totals []Row `json:"totals,omitempty"`
	// Labels are what the codes of the rows are called, by dimension.
	Labels map[string]map[string]Label `json:"labels,omitempty"`
}

// Row is one figure.
type Row struct {
	Period     string            `json:"period"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
	Value      *float64          `json:"value"`           // null when suppressed
	P90        *float64          `json:"p90,omitempty"`   // 90th percentile, of a median
	Count      *int              `json:"count,omitempty"` // how many stays a median is of
	// Numerator and Denominator are what a ratio is made of.
	Numerator   *float64 `json:"numerator,omitempty"`
	Denominator *float64 `json:"denominator,omitempty"`
	Suppressed  bool     `json:"suppressed,omitempty"` // hidden: too few people, or it would give another one away
}

// Summary is the present value of the main indicators.
type Summary struct {
	KnownTo time.Time `json:"known_to,omitzero"`
	Figures []Figure  `json:"figures"`
}

// Figure is one of them.
type Figure struct {
	Code       string   `json:"code"`
	LabelFR    string   `json:"label_fr"`
	LabelAR    string   `json:"label_ar"`
	LabelEN    string   `json:"label_en"`
	Unit       string   `json:"unit"`
	Value      *float64 `json:"value"`
	Suppressed bool     `json:"suppressed,omitempty"`
	Target     *float64 `json:"target"`
	// TargetStatus says why there is no target.
	TargetStatus string `json:"target_status,omitempty"`
}

// FactsQuery asks for facts.
type FactsQuery struct {
	After string `query:"after"`                       // id of the last fact that was read
	Limit int    `query:"limit" min:"0" max:"1000000"` // 0: to the end
}

// Verification is the outcome of a recount.
type Verification struct {
	Clean       bool         `json:"clean"`
	Facts       int          `json:"facts"`   // read from the store
	Served      int          `json:"served"`  // in memory
	Queries     int          `json:"queries"` // indicator, grain and cut
	Cells       int          `json:"cells"`   // figures that were compared
	Different   int          `json:"different"`
	Differences []Difference `json:"differences"` // the first of them
	Seconds     float64      `json:"seconds"`
}

// Bounds of one answer.
const (
	mostPeriods     = 4000 // eleven years of days
	mostCells       = 200_000
	mostDifferences = 1000
)

// service implements Service.
type service struct {
	defs      Definitions
	dims      []Dimension
	schemes   reference.SchemeSet
	facts     *factStore
	reviews   *reviewStore
	shortages *shortageStore
	keys      *docstore.Collection[storedKey]
	columns   *Columns
	smallCell int
	programme *Programme
	lag       func(ctx context.Context) ([]bus.PartitionLag, error)
	now       func() time.Time
	log       *slog.Logger

	pathwayCache trackCache

	borders *borders // nil: points

	hiding disclosures

	hashOnce sync.Once // definitionsHash
	hash     string
}

var _ Service = (*service)(nil)

func (s *service) Fold(ctx context.Context, e event.Event) error {
	f, err := NewFact(e, s.schemes)
	if err != nil {
		return fmt.Errorf("event %s of type %s: %w", e.ID, e.Type, err)
	}
	if err := s.shortages.keep(ctx, e); err != nil {
		return err
	}
	return s.facts.put(ctx, f)
}

func (s *service) Indicators(context.Context) (Catalogue, error) {
	return Catalogue{TimeZone: Zone, Indicators: s.defs, Dimensions: s.dims}, nil
}

// today is the present local day.
func (s *service) today() string { return localDay(s.now().UnixMilli()) }

// loading refuses figures that would be too low because memory is still filling.
func (s *service) loading() error {
	if !s.facts.ready.Load() {
		return api.Unavailable("The facts are being loaded; the figures will be there in a moment.")
	}
	return nil
}

// scope is what the principal's figures of an indicator are restricted to.
func scope(p access.Principal, d *Definition) map[string][]string {
	only := map[string][]string{}
	for name, codes := range map[string][]string{"governorate": p.Governorates, "scheme": p.Schemes} {
		if len(codes) > 0 && slices.Contains(d.Dimensions, name) {
			only[name] = codes
		}
	}
	return only
}

// least is the number of people below which the principal sees no cell.
func (s *service) least(p access.Principal, d *Definition) int {
	if d.About != AboutPeople || p.Can(access.IndicatorsFacts) || s.smallCell <= 1 {
		return 0
	}
	return s.smallCell
}

// guarded says whether what the principal sees of a cut is decided by disclosure.go.
func (s *service) guarded(p access.Principal, d *Definition, by []string) bool {
	return s.least(p, d) > 0 && (len(by) > 0 || len(scope(p, d)) > 0)
}

// check says what is wrong with the query.
func (s *service) check(q ValuesQuery) (*Definition, error) {
	d, ok := s.defs.Get(q.Code)
	if !ok {
		if q.Code == "" {
			return nil, api.Invalid(api.Field{Path: "query.code", Code: "required", Reason: "an indicator expected; there are " + strings.Join(s.defs.Codes(), ", ")})
		}
		return nil, api.NotFound("There is no indicator %q; there are %s.", clip(q.Code), strings.Join(s.defs.Codes(), ", "))
	}
	var faults []api.Field
	if !slices.Contains(d.Grains, q.Grain) {
		faults = append(faults, api.Field{Path: "query.grain", Code: "unknown", Reason: fmt.Sprintf("there is no grain %q; %s has %s", clip(string(q.Grain)), d.Code, list(d.Grains))})
	}
	for i, name := range q.By {
		switch {
		case !slices.Contains(d.Dimensions, name):
			faults = append(faults, api.Field{Path: "query.by", Code: "unknown", Reason: fmt.Sprintf("%s cannot be cut by %q, but by %s", d.Code, clip(name), list(d.Dimensions))})
		case slices.Index(q.By, name) != i:
			faults = append(faults, api.Field{Path: "query.by", Code: "duplicate", Reason: fmt.Sprintf("%q is named twice", name)})
		}
	}
	for path, day := range map[string]api.Date{"query.from": q.From, "query.to": q.To} {
		if !day.IsZero() && (day.Year() < firstYear || day.Year() >= lastYear) {
			faults = append(faults, api.Field{Path: path, Code: "range", Reason: fmt.Sprintf("a day from %d to %d expected", firstYear, lastYear-1)})
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From.Time) {
		faults = append(faults, api.Field{Path: "query.to", Code: "range", Reason: "a day not before from expected"})
	}
	if _, err := readAsOf(q.AsOf); err != nil {
		if f := (api.Field{}); errors.As(err, &f) {
			faults = append(faults, f)
		}
	}
	if len(faults) > 0 {
		return nil, api.Invalid(faults...)
	}
	return d, nil
}

func (s *service) Values(ctx context.Context, q ValuesQuery) (Series, error) {
	if err := s.loading(); err != nil {
		return Series{}, err
	}
	d, err := s.check(q)
	if err != nil {
		return Series{}, err
	}
	p := access.From(ctx)
	guarded := s.guarded(p, d, q.By)
	if guarded {
		if err := askable(d, q, s.columns.View().season); err != nil {
			return Series{}, err
		}
	}
	asOf, _ := readAsOf(q.AsOf) // checked above
	query := Query{Grain: q.Grain, By: q.By, From: q.From.String(), To: q.To.String(), Today: s.today(), Only: scope(p, d)}
	known := s.knownTo(d)
	if !asOf.IsZero() {
		// As it was seen then: what was still to come was not a period yet.
		query.AsOf = asOf
		query.Today = min(query.Today, localDay(asOf.UnixMilli()))
		if known.After(asOf) {
			known = asOf
		}
	}
	out := Series{
		Code: d.Code, Version: d.Version, LabelFR: d.LabelFR, LabelAR: d.LabelAR, LabelEN: d.LabelEN,
		Unit: d.Unit, Measure: d.Measure, Target: d.Target, TargetStatus: d.TargetStatus, Baseline: d.Baseline, Milestones: d.Milestones, TimeZone: Zone,
		Grain: q.Grain, By: append([]string{}, q.By...), From: q.From, To: q.To,
		Scope: query.Only, SmallCell: s.least(p, d), KnownTo: known, AsOf: asOf,
	}
	view := s.columns.View()
	spans, err := view.periods(d, query)
	if err != nil {
		return Series{}, err
	} else if len(spans) > mostPeriods {
		return Series{}, tooMuch("%d periods", len(spans))
	} else if len(spans) > 0 {
		out.First, out.Last = localDate(spans[0].start), localDate(spans[len(spans)-1].end-1)
	}
	grain, label, _ := rangeOf(q, view.season) // askable, where it matters
	totals := query
	totals.By = nil
	for _, part := range []struct {
		query Query
		rows  *[]Row
	}{{query, &out.Rows}, {totals, &out.Totals}} {
		cells, err := view.Cells(d, part.query)
		if err != nil {
			return Series{}, err
		}
		if len(cells) > mostCells {
			return Series{}, tooMuch("%d figures", len(cells))
		}
		// A figure of a part of the country is a cell of the cut by governorate,
		// even when it is a total of its own.
		hidden := make([]bool, len(cells))
		if guarded && (len(part.query.By) > 0 || len(query.Only) > 0) {
			if cells, hidden, err = s.disclose(view, d, query.Only).cover(part.query.By, grain, label, spans, cells); err != nil {
				return Series{}, err
			}
			if len(cells) > mostCells {
				return Series{}, tooMuch("%d figures", len(cells))
			}
		}
		*part.rows = rows(d, part.query.By, cells, hidden)
		if len(q.By) == 0 {
			break // the rows are the totals
		}
	}
	out.Labels = labelsOf(out.By, out.Rows)
	return out, nil
}

// localDate is the local day of an instant in Unix milliseconds.
func localDate(ms int64) api.Date {
	t := time.UnixMilli(ms).In(tunis)
	return api.NewDate(t.Year(), t.Month(), t.Day())
}

func tooMuch(format string, args ...any) error {
	return api.Invalid(api.Field{Path: "query", Code: "range", Reason: fmt.Sprintf(format, args...) + " are too many for one answer; ask for fewer days, a longer grain or a simpler cut"})
}

func rows(d *Definition, by []string, cells []Cell, hidden []bool) []Row {
	out := make([]Row, len(cells))
	for i, c := range cells {
		r := Row{Period: c.Period, Suppressed: hidden[i]}
		if len(by) > 0 {
			r.Dimensions = make(map[string]string, len(by))
			for n, name := range by {
				r.Dimensions[name] = c.Codes[n]
			}
		}
		if !hidden[i] {
			r.Value = &cells[i].Value
			if d.Measure == MedianDays {
				r.P90, r.Count = &cells[i].P90, &cells[i].N
			}
			if d.Measure == Ratio {
				r.Numerator, r.Denominator = &cells[i].Numerator, &cells[i].Denominator
			}
		}
		out[i] = r
	}
	return out
}

// knownTo is when we learned of the last fact of the topics that the indicator
// is fed from.
func (s *service) knownTo(d *Definition) (last time.Time) {
	for _, source := range s.columns.Sources() {
		if d == nil || slices.ContainsFunc(d.Kinds(), func(k Kind) bool { return sources[sourceOf[k]].Topic == source.Topic }) {
			if source.LastRecorded.After(last) {
				last = source.LastRecorded
			}
		}
	}
	return last
}

func (s *service) Summary(ctx context.Context) (Summary, error) {
	if err := s.loading(); err != nil {
		return Summary{}, err
	}
	out := Summary{KnownTo: s.knownTo(nil), Figures: []Figure{}}
	for _, d := range s.defs {
		if d.Headline == 0 {
			continue
		}
		series, err := s.Values(ctx, ValuesQuery{Code: d.Code, Grain: All})
		if err != nil {
			return Summary{}, err
		}
		f := Figure{Code: d.Code, LabelFR: d.LabelFR, LabelAR: d.LabelAR, LabelEN: d.LabelEN, Unit: d.Unit, TargetStatus: d.TargetStatus}
		if d.Target != nil {
			f.Target = &d.Target.Value
		}
		if len(series.Rows) > 0 {
			f.Value, f.Suppressed = series.Rows[0].Value, series.Rows[0].Suppressed
		}
		out.Figures = append(out.Figures, f)
	}
	return out, nil
}

func (s *service) Facts(ctx context.Context, q FactsQuery) (iter.Seq2[Fact, error], error) {
	p := access.From(ctx)
	return func(yield func(Fact, error) bool) {
		left := q.Limit
		for f, err := range s.facts.all(ctx, q.After) {
			if err != nil {
				yield(Fact{}, err)
				return
			}
			if !p.Covers(f.Codes.Governorate, f.Codes.Scheme) {
				continue
			}
			if !yield(f, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}, nil
}

func list[T ~string](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = string(item)
	}
	return strings.Join(texts, ", ")
}

// clip keeps what an error repeats of a request short.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}
