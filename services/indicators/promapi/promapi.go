// Package promapi answers Prometheus' HTTP query API with Prometheus' own engine,
// over whatever the engine can read: Grafana's built-in data source, promtool and
// our own boards need no more.
//
// What is answered is described in https://prometheus.io/docs/prometheus/latest/querying/api/:
// query, query_range, series, labels, label values, metadata and build information;
// exemplars and rules are answered as "there are none".
package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// API answers queries. All fields are needed but Metadata.
type API struct {
	// Source is what a request may read; an error of its own is answered as bad_data.
	Source func(r *http.Request) (storage.Queryable, error)
	// Metadata tells what the metrics are; nil: nothing is told.
	Metadata func(r *http.Request) map[string][]Metadata
	Engine   *promql.Engine
	Now      func() time.Time
}

// Metadata says what a metric is.
type Metadata struct {
	Type string `json:"type"` // "counter", "gauge" ...
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// Limits of Prometheus itself.
const (
	MaxSamples = 50_000_000
	MaxPoints  = 11_000 // steps of a range
	Timeout    = 30 * time.Second
)

// NewEngine makes an engine that looks back so far from a step for the last sample.
func NewEngine(lookback time.Duration) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: MaxSamples, Timeout: Timeout, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: parse,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
}

var parse = parser.NewParser(parser.Options{})

// Routes are the patterns below which Handler answers, without their method.
var Routes = []string{
	"/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels", "/api/v1/label/{name}/values",
	"/api/v1/metadata", "/api/v1/status/buildinfo", "/api/v1/query_exemplars", "/api/v1/rules",
}

// Handler answers at Routes, by GET and by POST with a form.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for i, answer := range []func(*http.Request) (any, annotations.Annotations, error){
		a.query, a.queryRange, a.series, a.labels, a.values, a.metadata,
		told(map[string]string{"version": "3.0.0", "application": "masar"}), told([]any{}), told(map[string]any{"groups": []any{}}),
	} {
		mux.HandleFunc(Routes[i], func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodPost {
				w.Header().Set("Allow", "GET, POST")
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			data, notes, err := answer(r)
			send(w, data, notes, err)
		})
	}
	return mux
}

func told(data any) func(*http.Request) (any, annotations.Annotations, error) {
	return func(*http.Request) (any, annotations.Annotations, error) { return data, nil, nil }
}

func (a *API) query(r *http.Request) (any, annotations.Annotations, error) {
	at, err := moment(r, "time", a.Now())
	if err != nil {
		return nil, nil, err
	}
	return a.run(r, func(ctx context.Context, from storage.Queryable) (promql.Query, error) {
		return a.Engine.NewInstantQuery(ctx, from, nil, r.FormValue("query"), at)
	})
}

func (a *API) queryRange(r *http.Request) (any, annotations.Annotations, error) {
	from, err := moment(r, "start", time.Time{})
	to, err2 := moment(r, "end", time.Time{})
	step, err3 := duration(r.FormValue("step"))
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, nil, err
	}
	switch {
	case step <= 0:
		return nil, nil, errors.New(`invalid parameter "step": more than zero expected`)
	case to.Before(from):
		return nil, nil, errors.New(`invalid parameter "end": it is before "start"`)
	case to.Sub(from)/step > MaxPoints:
		return nil, nil, fmt.Errorf("exceeded maximum resolution of %d points per timeseries: use a longer step", MaxPoints)
	}
	return a.run(r, func(ctx context.Context, source storage.Queryable) (promql.Query, error) {
		return a.Engine.NewRangeQuery(ctx, source, nil, r.FormValue("query"), from, to, step)
	})
}

func (a *API) run(r *http.Request, prepare func(context.Context, storage.Queryable) (promql.Query, error)) (any, annotations.Annotations, error) {
	source, err := a.Source(r)
	if err != nil {
		return nil, nil, err
	}
	ctx := r.Context()
	if text := r.FormValue("timeout"); text != "" {
		limit, err := duration(text)
		if err != nil || limit <= 0 {
			return nil, nil, fmt.Errorf("invalid parameter %q: a duration expected", "timeout")
		}
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, limit)
		defer done()
	}
	q, err := prepare(ctx, source)
	if err != nil {
		return nil, nil, err
	}
	defer q.Close()
	out := q.Exec(ctx)
	if out.Err != nil {
		return nil, out.Warnings, failed{out.Err}
	}
	return result{out.Value.Type(), out.Value}, out.Warnings, nil
}

// failed is an error while a query was run.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

// matched are the selectors of match[], the querier that they are for, and the
// largest number of answers (0: any).
func (a *API) matched(r *http.Request, need bool) (storage.Querier, [][]*labels.Matcher, int, error) {
	from, err := moment(r, "start", time.UnixMilli(0))
	to, err2 := moment(r, "end", a.Now())
	limit, err3 := 0, error(nil)
	if text := r.FormValue("limit"); text != "" {
		if limit, err3 = strconv.Atoi(text); err3 != nil || limit < 0 {
			err3 = errors.New(`invalid parameter "limit": a whole number expected`)
		}
	}
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, nil, 0, err
	}
	var all [][]*labels.Matcher
	for _, text := range r.Form["match[]"] {
		one, err := parse.ParseMetricSelector(text)
		if err != nil {
			return nil, nil, 0, err
		}
		all = append(all, one)
	}
	if need && len(all) == 0 {
		return nil, nil, 0, errors.New("no match[] parameter provided")
	}
	source, err := a.Source(r)
	if err != nil {
		return nil, nil, 0, err
	}
	q, err := source.Querier(from.UnixMilli(), to.UnixMilli())
	return q, all, limit, err
}

func (a *API) series(r *http.Request) (any, annotations.Annotations, error) {
	q, all, limit, err := a.matched(r, true)
	if err != nil {
		return nil, nil, err
	}
	defer q.Close()
	seen, found := map[uint64]bool{}, []labels.Labels{}
	var notes annotations.Annotations
	for _, one := range all {
		set := q.Select(r.Context(), true, nil, one...)
		for set.Next() {
			if l := set.At().Labels(); !seen[l.Hash()] {
				seen[l.Hash()], found = true, append(found, l)
			}
		}
		notes.Merge(set.Warnings())
		if err := set.Err(); err != nil {
			return nil, notes, failed{err}
		}
	}
	return bounded(found, limit), notes, nil
}

func (a *API) labels(r *http.Request) (any, annotations.Annotations, error) {
	return a.list(r, func(ctx context.Context, q storage.Querier, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, nil, m...)
	})
}

func (a *API) values(r *http.Request) (any, annotations.Annotations, error) {
	name := r.PathValue("name")
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, nil, fmt.Errorf("invalid label name: %q", name)
	}
	return a.list(r, func(ctx context.Context, q storage.Querier, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, nil, m...)
	})
}

func (a *API) list(r *http.Request, ask func(context.Context, storage.Querier, []*labels.Matcher) ([]string, annotations.Annotations, error)) (any, annotations.Annotations, error) {
	q, all, limit, err := a.matched(r, false)
	if err != nil {
		return nil, nil, err
	}
	defer q.Close()
	if len(all) == 0 {
		all = [][]*labels.Matcher{nil}
	}
	found := []string{}
	var notes annotations.Annotations
	for _, one := range all {
		names, more, err := ask(r.Context(), q, one)
		notes.Merge(more)
		if err != nil {
			return nil, notes, failed{err}
		}
		found = append(found, names...)
	}
	slices.Sort(found)
	return bounded(slices.Compact(found), limit), notes, nil
}

func bounded[T any](list []T, limit int) []T {
	if limit > 0 && len(list) > limit {
		return list[:limit]
	}
	return list
}

func (a *API) metadata(r *http.Request) (any, annotations.Annotations, error) {
	all := map[string][]Metadata{}
	if a.Metadata != nil {
		all = a.Metadata(r)
	}
	if name := r.FormValue("metric"); name != "" {
		one, ok := all[name]
		all = map[string][]Metadata{}
		if ok {
			all[name] = one
		}
	}
	return all, nil, nil
}

// moment reads seconds since 1970, or RFC 3339; none: otherwise, when there is one.
func moment(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	text := r.FormValue(name)
	if text == "" && !otherwise.IsZero() {
		return otherwise, nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(s) < 1e12 {
		return time.UnixMilli(int64(math.Round(s * 1000))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("invalid parameter %q: seconds since 1970 or RFC 3339 expected", name)
}

// duration reads seconds, or Prometheus' "5m".
func duration(text string) (time.Duration, error) {
	if s, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(s) < 1e9 {
		return time.Duration(s * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("invalid duration %q: seconds or a text such as 5m expected", text)
	}
	return time.Duration(d), nil
}

// answer is Prometheus' envelope.
type answer struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

// json is the answer as JSON; the data of a query is written straight into it.
func (a answer) json() ([]byte, error) {
	data, ok := a.Data.(result)
	if !ok {
		return json.Marshal(a)
	}
	a.Data = nil
	rest, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	body, err := data.append([]byte(`{"data":`))
	return append(append(body, ','), rest[1:]...), err
}

func send(w http.ResponseWriter, data any, notes annotations.Annotations, err error) {
	out, status := answer{Status: "success", Data: data}, http.StatusOK
	out.Warnings, out.Infos = notes.AsStrings("", 10, 10)
	if err != nil {
		out.Status, out.Data, out.Error = "error", nil, err.Error()
		out.ErrorType, status = kind(err)
	}
	body, err := out.json()
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"status":"error","errorType":"internal","error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the reader is gone: nothing to do about it
}

// kind is the type of an error and its status, as Prometheus has them.
func kind(err error) (string, int) {
	var (
		canceled promql.ErrQueryCanceled
		timeout  promql.ErrQueryTimeout
		store    promql.ErrStorage
		run      failed
	)
	switch {
	case !errors.As(err, &run):
		return "bad_data", http.StatusBadRequest
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return "canceled", 499
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout", http.StatusServiceUnavailable
	case errors.As(err, &store):
		return "internal", http.StatusInternalServerError
	}
	return "execution", http.StatusUnprocessableEntity
}
