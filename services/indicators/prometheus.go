package indicators

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/telemetry"
	"masar.local/services/indicators/promapi"
)

// The figures as Prometheus' series (DESIGN 4.9), so that Grafana's built-in data
// source draws years of them with late and corrected facts in their right month.
//
// The name is that of the metric of the cut (gaugeName), then what it is:
//
//	_total       since the start, up to the end of the day
//	_per_day     of the day
//	_per_month   of the month, on its first day
//	(nothing)    a stock, at the end of the day
//	_target      the value to be reached
//
// A ratio has its parts too (..._numerator_total ...), a median its 90th percentile
// and its number of stays (..._p90_per_month, ..._count_per_month). A sample stands
// at the first instant of its day in Africa/Tunis and holds for that day: the
// engine looks back 24 hours.
//
// Beside the definitions there are shortage classes, the scarcity of the last campaign
// and the last review: see prometheus_beside.go.
//
// What the codes of a dimension are called is masar_code_<dimension>, 1, with the
// code, fr and ar as labels, so that a board can join it:
//
//	masar_kpi_people_by_stage_by_stage * on (stage) group_left (fr, ar) masar_code_stage
//
// Figures that add up have a _total for every day. What counts persons or employers
// once, ratios and medians have one for the end of every month and for today. Who
// may not see small cells gets what `values` gives: no cuts by day, a cut's _total
// and stock at the ends of months and today, and no sample where a cell is hidden.

// lookback is the engine's: a sample holds for its day.
const lookback = 24 * time.Hour

// kpiName is one name of the KPI endpoint: a figure of a cut.
type kpiName struct {
	name    string
	d       *Definition
	by      []string
	kind    kpiKind
	variant string // "", "numerator", "denominator", "p90", "count"
}

type kpiKind int

const (
	ofTotal kpiKind = iota
	ofDay
	ofMonth
	ofStock
	ofTarget
	// Without a definition:
	ofCodes
	ofShortage
	ofScarcity
	ofReview
)

// kpiNames are all names that the definitions offer, in no order.
func kpiNames(defs Definitions) []kpiName {
	var all []kpiName
	for _, d := range defs {
		cuts := [][]string{nil}
		for _, name := range d.Dimensions {
			cuts = append(cuts, []string{name})
		}
		cuts = append(cuts, d.Cuts...)
		for _, by := range cuts {
			base := strings.ReplaceAll(gaugeName(d, by), ".", "_")
			add := func(variant, suffix string, k kpiKind) {
				name := base
				if variant != "" {
					name += "_" + variant
				}
				all = append(all, kpiName{name + suffix, d, by, k, variant})
			}
			if d.Measure == Stock {
				add("", "", ofStock)
				continue
			}
			variants := []string{""}
			switch d.Measure {
			case Ratio:
				variants = []string{"", "numerator", "denominator"}
			case MedianDays:
				variants = []string{"", "p90", "count"}
			}
			for _, v := range variants {
				add(v, "_total", ofTotal)
				add(v, "_per_month", ofMonth)
			}
			if d.Measure != Ratio && d.Measure != MedianDays {
				add("", "_per_day", ofDay)
			}
		}
		if d.Target != nil {
			all = append(all, kpiName{name: strings.ReplaceAll(gaugeName(d, nil), ".", "_") + "_target", d: d, kind: ofTarget})
		}
	}
	for dimension, codes := range codeLabels() {
		if len(codes) == 0 {
			continue // codes that no list names
		}
		all = append(all, kpiName{name: strings.ReplaceAll(telemetry.CodePrefix, ".", "_") + dimension, by: []string{dimension, "fr", "ar"}, kind: ofCodes})
	}
	return append(all, besideNames()...)
}

// prometheusAPI answers Prometheus' query API over the figures.
func (s *service) prometheusAPI() http.Handler {
	known := kpiNames(s.defs)
	answers := (&promapi.API{
		Engine: promapi.NewEngine(lookback),
		Now:    s.now,
		Source: func(r *http.Request) (storage.Queryable, error) {
			asOf := r.FormValue("as_of")
			if _, err := readAsOf(asOf); err != nil {
				return nil, err
			}
			return storage.QueryableFunc(func(from, to int64) (storage.Querier, error) {
				return &kpiQuerier{s, known, access.From(r.Context()), asOf, from, to}, nil
			}), nil
		},
		Metadata: func(*http.Request) map[string][]promapi.Metadata {
			all := map[string][]promapi.Metadata{}
			for _, f := range known {
				if f.d == nil {
					all[f.name] = []promapi.Metadata{{Type: "gauge", Help: besideHelp[f.kind]}}
					continue
				}
				all[f.name] = []promapi.Metadata{{Type: "gauge", Help: f.d.LabelFR + " · " + f.d.LabelAR, Unit: f.d.Unit}}
			}
			return all
		},
	}).Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.loading(); err != nil {
			api.WriteProblem(r.Context(), w, err)
			return
		}
		answers.ServeHTTP(w, r)
	})
}

// kpiQuerier reads the figures as one principal may see them, from one day to another.
type kpiQuerier struct {
	s         *service
	known     []kpiName
	principal access.Principal
	asOf      string
	from, to  int64
}

// mostNames bounds what one selector may read: a pattern that fits every name
// would count everything there is.
const mostNames = 100

func (q *kpiQuerier) read(ctx context.Context, matchers []*labels.Matcher) ([]*storage.SeriesEntry, error) {
	ctx = access.With(ctx, q.principal)
	var found []*storage.SeriesEntry
	read := 0
	for _, f := range q.known {
		fits := true
		for _, m := range matchers {
			// Of a label that a name does not have, the value is "".
			if m.Name == model.MetricNameLabel && !m.Matches(f.name) || m.Name != model.MetricNameLabel && !slices.Contains(f.by, m.Name) && !m.Matches("") {
				fits = false
			}
		}
		if !fits {
			continue
		}
		if read++; read > mostNames {
			return nil, fmt.Errorf("the selector fits more than %d metrics: name the metric", mostNames)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		series, err := q.figures(ctx, f, matchers)
		if err != nil {
			return nil, err
		}
		for _, one := range series {
			if len(one.points) > 0 && !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(one.labels.Get(m.Name)) }) {
				found = append(found, one.entry())
			}
		}
	}
	return found, nil
}

// figures are the series of a name, with the samples between from and to. What the
// principal may not ask is not there.
func (q *kpiQuerier) figures(ctx context.Context, f kpiName, matchers []*labels.Matcher) ([]*kpiSeries, error) {
	list := newKPIList(f, q.from, q.to)
	today := q.today()
	switch f.kind {
	case ofShortage:
		err := q.shortage(ctx, f, list, today, matchers)
		return list.all, err
	case ofScarcity:
		err := q.scarcity(ctx, f, list, today)
		return list.all, err
	case ofReview:
		err := q.review(ctx, f, list, today)
		return list.all, err
	case ofCodes:
		dimension := f.by[0]
		codes := slices.Concat([]string{Unknown, Other}, newDimensionSet(q.s.dims)[dimension].Codes, slices.Collect(maps.Keys(codeLabels()[dimension])))
		slices.Sort(codes)
		for _, code := range slices.Compact(codes) {
			l := codeLabel(dimension, code)
			list.held([]string{code, l.FR, l.AR}, today, 1)
		}
		return list.all, nil
	}
	guarded := q.s.guarded(q.principal, f.d, f.by)
	switch {
	case f.kind == ofTarget:
		list.held(nil, today, f.d.Target.Value)
		return list.all, nil
	case !guarded && (f.kind == ofDay || f.kind == ofStock || f.kind == ofTotal && f.d.addsUp()):
		err := q.daily(f, list, today)
		return list.all, err
	case f.kind == ofDay, guarded && q.asOf != "":
		return nil, nil
	case f.kind == ofMonth:
		err := q.rows(ctx, f, list, ValuesQuery{Grain: Month}, func(month string) int64 { return monthStart(month, 0) })
		return list.all, err
	case f.kind == ofStock:
		err := q.rows(ctx, f, list, ValuesQuery{Grain: Month}, func(month string) int64 {
			return min(today, dayBefore(monthStart(month, 1)))
		})
		return list.all, err
	}
	// Up to the end of each month, and today.
	spans, err := q.s.columns.View().periods(f.d, Query{Grain: All, Today: localDay(today)})
	if err != nil || len(spans) == 0 {
		return nil, err
	}
	for month := monthStart(localDay(max(q.from, spans[0].start))[:7], 0); month <= min(q.to, today); month = monthStart(localDay(month)[:7], 1) {
		end := dayBefore(monthStart(localDay(month)[:7], 1))
		ask := ValuesQuery{Grain: All}
		if end < today {
			ask.To = localDate(end)
		} else {
			end = today
		}
		if end < q.from || end > q.to {
			continue
		}
		if err := q.rows(ctx, f, list, ask, func(string) int64 { return end }); err != nil {
			return nil, err
		}
	}
	return list.all, nil
}

// today is the first instant of the last day that there can be figures of.
func (q *kpiQuerier) today() int64 {
	day := q.s.today()
	if at, _ := readAsOf(q.asOf); !at.IsZero() {
		day = min(day, localDay(at.UnixMilli()))
	}
	start, _ := dayStart(day, 0)
	return start.UnixMilli()
}

// rows adds the figures of `values`; place is where those of a period stand.
func (q *kpiQuerier) rows(ctx context.Context, f kpiName, list *kpiList, ask ValuesQuery, place func(period string) int64) error {
	ask.Code, ask.By, ask.AsOf = f.d.Code, f.by, q.asOf
	series, err := q.s.Values(ctx, ask)
	if err != nil {
		return err
	}
	for _, r := range series.Rows {
		value := r.Value
		switch f.variant {
		case "numerator":
			value = r.Numerator
		case "denominator":
			value = r.Denominator
		case "p90":
			value = r.P90
		case "count":
			value = nil
			if r.Count != nil {
				n := float64(*r.Count)
				value = &n
			}
		}
		if value == nil || r.Suppressed {
			continue
		}
		codes := make([]string, len(f.by))
		for i, name := range f.by {
			codes[i] = r.Dimensions[name]
		}
		list.add(codes, place(r.Period), *value)
	}
	return nil
}

// daily adds the figures of every day; of a total the sums since the start, of a
// stock what is there on each day.
func (q *kpiQuerier) daily(f kpiName, list *kpiList, today int64) error {
	at, _ := readAsOf(q.asOf)
	series, err := q.s.columns.View().Daily(f.d, Query{By: f.by, Today: localDay(today), AsOf: at, Only: scope(q.principal, f.d)})
	if err != nil {
		return err
	}
	starts := dayStarts()
	from, _ := dayNumber(max(q.from, 0))
	last, _ := dayNumber(min(q.to, today))
	for one := range series {
		s, sum := list.series(one.Codes), 0.0
		if f.kind != ofDay {
			s.points = make(kpiPoints, 0, max(int(last)-int(max(from, one.Days[0]))+1, 0))
		}
		for i, day := range one.Days {
			if f.kind == ofDay {
				list.put(s, starts[day], one.Values[i])
				continue
			}
			if sum += one.Values[i]; f.kind == ofStock {
				sum = one.Values[i]
			}
			until := last // it holds until the next one
			if i+1 < len(one.Days) {
				until = min(last, one.Days[i+1]-1)
			}
			for held := int(max(from, day)); held <= int(until); held++ {
				list.put(s, starts[held], sum)
			}
		}
	}
	if f.kind == ofTotal && len(f.by) == 0 && len(list.all) == 0 {
		list.add(nil, today, 0) // nothing yet, which is known
	}
	return nil
}

// addsUp says whether figures of days add up to those of longer times.
func (d *Definition) addsUp() bool { return d.Measure == Count || d.Measure == Sum }

func monthStart(month string, later int) int64 {
	t, err := time.ParseInLocation("2006-01", month, tunis)
	if err != nil {
		return 0
	}
	return time.Date(t.Year(), t.Month()+time.Month(later), 1, 0, 0, 0, 0, tunis).UnixMilli()
}

func startOf(ms int64) int64 {
	t := time.UnixMilli(ms).In(tunis)
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, tunis).UnixMilli()
}

func nextDay(ms int64) int64 {
	t := time.UnixMilli(ms).In(tunis)
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, tunis).UnixMilli()
}

func dayBefore(ms int64) int64 { return startOf(ms - 1) }

// kpiList gathers the samples of the series of a name.
type kpiList struct {
	f        kpiName
	from, to int64
	all      []*kpiSeries
	places   map[string]*kpiSeries
}

type kpiSeries struct {
	labels labels.Labels
	points kpiPoints
}

func newKPIList(f kpiName, from, to int64) *kpiList {
	return &kpiList{f: f, from: from, to: to, places: map[string]*kpiSeries{}}
}

// add adds a sample of a series, later than the others of it.
func (l *kpiList) add(codes []string, at int64, value float64) { l.put(l.series(codes), at, value) }

// held adds a sample of every day up to the last one.
func (l *kpiList) held(codes []string, last int64, value float64) {
	s := l.series(codes)
	for day := startOf(max(l.from, 0)); day <= min(l.to, last); day = nextDay(day) {
		l.put(s, day, value)
	}
}

func (l *kpiList) put(s *kpiSeries, at int64, value float64) {
	if at >= l.from && at <= l.to {
		s.points = append(s.points, kpiPoint{at, value})
	}
}

func (l *kpiList) series(codes []string) *kpiSeries {
	key := strings.Join(codes, "\x00")
	s := l.places[key]
	if s == nil {
		b := labels.NewBuilder(labels.EmptyLabels())
		b.Set(model.MetricNameLabel, l.f.name)
		for i, name := range l.f.by {
			b.Set(name, codes[i])
		}
		s = &kpiSeries{labels: b.Labels()}
		l.places[key], l.all = s, append(l.all, s)
	}
	return s
}

func (s *kpiSeries) entry() *storage.SeriesEntry {
	return &storage.SeriesEntry{Lset: s.labels, SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
		return storage.NewListSeriesIterator(s.points)
	}}
}

// kpiPoints are storage.Samples.
type kpiPoints []kpiPoint

// Get implements storage.Samples.
func (p kpiPoints) Get(i int) chunks.Sample { return &p[i] }

// Len implements storage.Samples.
func (p kpiPoints) Len() int { return len(p) }

// kpiPoint is one figure at the first instant of its day, a chunks.Sample.
type kpiPoint struct {
	at    int64
	value float64
}

// T implements chunks.Sample.
func (p *kpiPoint) T() int64 { return p.at }

// ST implements chunks.Sample.
func (p *kpiPoint) ST() int64 { return 0 }

// F implements chunks.Sample.
func (p *kpiPoint) F() float64 { return p.value }

// H implements chunks.Sample.
func (p *kpiPoint) H() *histogram.Histogram { return nil }

// FH implements chunks.Sample.
func (p *kpiPoint) FH() *histogram.FloatHistogram { return nil }

// Type implements chunks.Sample.
func (p *kpiPoint) Type() chunkenc.ValueType { return chunkenc.ValFloat }

// Copy implements chunks.Sample.
func (p *kpiPoint) Copy() chunks.Sample { c := *p; return &c }

// Select implements storage.Querier.
func (q *kpiQuerier) Select(ctx context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found, err := q.read(ctx, matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(found, func(a, b *storage.SeriesEntry) int { return labels.Compare(a.Lset, b.Lset) })
	}
	return &kpiSet{found, -1}
}

type kpiSet struct {
	all []*storage.SeriesEntry
	at  int
}

// Next implements storage.SeriesSet.
func (s *kpiSet) Next() bool { s.at++; return s.at < len(s.all) }

// At implements storage.SeriesSet.
func (s *kpiSet) At() storage.Series { return s.all[s.at] }

// Err implements storage.SeriesSet.
func (s *kpiSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (s *kpiSet) Warnings() annotations.Annotations { return nil }

// LabelValues implements storage.Querier. The names of metrics need no figures.
func (q *kpiQuerier) LabelValues(ctx context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var values []string
	if name == model.MetricNameLabel && len(matchers) == 0 {
		for _, f := range q.known {
			values = append(values, f.name)
		}
	} else {
		found, err := q.read(ctx, matchers)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range found {
			if v := s.Lset.Get(name); v != "" {
				values = append(values, v)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil, nil
}

// LabelNames implements storage.Querier.
func (q *kpiQuerier) LabelNames(ctx context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names := []string{model.MetricNameLabel}
	for _, f := range q.known {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel && !m.Matches(f.name) }) {
			names = append(names, f.by...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil, nil
}

// Close implements storage.Querier.
func (q *kpiQuerier) Close() error { return nil }
