package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-kit/kit/endpoint"
	kithttp "github.com/go-kit/kit/transport/http"
	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"masar.local/pkg/access"
	"masar.local/pkg/telemetry"
)

const (
	defaultMaxBody = 1 << 20          // bytes of a request body
	defaultTimeout = 60 * time.Second // for one answer that is not a stream
	streamPatience = 60 * time.Second // how long a reader of a stream may stall
)

// Config is what a Router tells and measures with; nil fields are silent.
type Config struct {
	Log    *slog.Logger
	Tracer trace.Tracer
	Meter  metric.Meter
	Now    func() time.Time // default time.Now
}

// Route is one entry of a Router.
type Route struct {
	Method     string
	Pattern    string            // path pattern, as in net/http.ServeMux
	Permission access.Permission // "": anybody may ask, see HandleOpen

	// For OpenAPI; nil when HandleHTTP added the route.
	request, response reflect.Type
	options           options
}

// Router holds the routes of one service. Each has a permission, and none is
// served without a principal who holds it: what Handle is not told, ServeHTTP
// refuses. HandleOpen alone makes exceptions.
type Router struct {
	cfg      Config
	mux      *http.ServeMux
	open     map[string]bool // patterns
	routes   []Route
	duration metric.Float64Histogram
}

// NewRouter makes an empty router.
func NewRouter(c Config) *Router {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Tracer == nil {
		c.Tracer = tracenoop.NewTracerProvider().Tracer("")
	}
	if c.Meter == nil {
		c.Meter = metricnoop.NewMeterProvider().Meter("")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Router{cfg: c, mux: http.NewServeMux(), open: map[string]bool{}}
	var err error
	r.duration, err = c.Meter.Float64Histogram(telemetry.HTTPServerDuration,
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP requests that were answered"))
	if err != nil {
		panic(err) // the name is a constant of ours
	}
	return r
}

// Routes lists the routes in the order in which they were added.
func (r *Router) Routes() []Route { return append([]Route(nil), r.routes...) }

// Option changes one route.
type Option func(*options)

type options struct {
	maxBody      int64
	timeout      time.Duration
	optionalBody bool
	produces     []string
	answers      reflect.Type // what the JSON of a Streamer is
	through      []Middleware
}

// MaxBody sets the largest request body of the route, in bytes (default 1 MiB).
func MaxBody(bytes int64) Option { return func(o *options) { o.maxBody = bytes } }

// Timeout bounds how long the route may take (default 60 s; streams are bounded
// by their reader's patience instead). 0 is no bound.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// OptionalBody lets the route be called without a body.
func OptionalBody() Option { return func(o *options) { o.optionalBody = true } }

// Produces names the media types that the route can answer with, for a request's
// Accept (default application/json; a Streamer that names none is not checked).
func Produces(types ...string) Option { return func(o *options) { o.produces = types } }

// Answers says what a Streamer writes as JSON, for the description of the API, and
// the other media types that it can write.
func Answers[T any](others ...string) Option {
	return func(o *options) {
		o.produces, o.answers = append([]string{"application/json"}, others...), reflect.TypeFor[T]()
	}
}

// Through wraps the route's endpoint in go-kit middleware, the first outermost.
func Through(m ...Middleware) Option {
	return func(o *options) { o.through = append(o.through, m...) }
}

// Handle adds a route: pattern as in http.ServeMux with a method ("POST
// /api/candidates/pathways"), the permission that a principal must hold, and the
// use case. The request is decoded strictly from JSON (Decode) and from the
// fields' tags `path:"id"`, `query:"limit"`, `header:"If-Match"` (with `default`,
// `min`, `max`), `body:"json"` for a field that takes the whole body; then it may
// Validate itself. The response may have ETag (a reader who has this version
// already gets 304; with CacheControl it may also keep it), Filename, Status,
// Location, NextCursor, or be a Streamer. A mistake in the pattern or in the tags panics at start.
func Handle[Req, Res any](r *Router, pattern string, permission access.Permission, e Endpoint[Req, Res], opts ...Option) {
	o := options{maxBody: defaultMaxBody, timeout: defaultTimeout}
	var none Res
	if _, streams := any(none).(Streamer); streams {
		o.timeout = 0
	} else {
		o.produces = []string{"application/json"}
	}
	for _, opt := range opts {
		opt(&o)
	}
	decode, err := decoder[Req](&o)
	if err != nil {
		panic(fmt.Sprintf("api: route %s: request %T: %v", pattern, *new(Req), err))
	}
	kit := e.Kit()
	if len(o.through) > 0 {
		kit = endpoint.Chain(o.through[0], o.through[1:]...)(kit)
	}
	server := kithttp.NewServer(kit,
		func(ctx context.Context, req *http.Request) (any, error) {
			x := current(ctx)
			if err := acceptable(req, o.produces); err != nil {
				return nil, err
			}
			if header := req.Header.Get("Idempotency-Key"); header != "" {
				key, err := parseKey(header)
				if err != nil {
					return nil, err
				}
				x.key = key
			}
			return decode(x, req)
		},
		encode,
		kithttp.ServerErrorEncoder(fail),
	)
	route := r.add(pattern, permission, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if o.timeout > 0 {
			ctx, cancel := context.WithTimeout(req.Context(), o.timeout)
			defer cancel()
			req = req.WithContext(ctx)
		}
		server.ServeHTTP(w, req)
	}))
	route.request, route.response, route.options = reflect.TypeFor[Req](), reflect.TypeFor[Res](), o
}

// HandleHTTP adds a route that is served by an ordinary handler, for protocols of
// others (a query API, a download). The permission is checked as for Handle.
func HandleHTTP(r *Router, pattern string, permission access.Permission, h http.Handler) {
	r.add(pattern, permission, h)
}

// HandleOpen adds a route for anybody, without a token, also from the pages of other
// sites (CORS): for what is public anyway and says nothing of the programme. It
// answers with the media type.
func HandleOpen(r *Router, pattern, mediaType string, h http.Handler) {
	method, path, _ := strings.Cut(pattern, " ")
	if method != http.MethodGet || !strings.HasPrefix(path, "/") {
		panic(fmt.Sprintf("api: route %q: GET and a path expected", pattern))
	}
	r.routes = append(r.routes, Route{Method: method, Pattern: path, options: options{produces: []string{mediaType}}})
	r.open[pattern] = true
	r.mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		h.ServeHTTP(w, req)
	}))
}

// Guard serves h to whoever has a token that v verifies and a role that holds the
// permission, for a handler outside any Router. The principal is in its context.
func Guard(v access.Verifier, permission access.Permission, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p, err := authenticate(req.Context(), v, req.Header.Get("Authorization"))
		switch {
		case err != nil:
			fail(req.Context(), err, w)
		case !p.Can(permission):
			fail(req.Context(), lacks(p, permission), w)
		default:
			h.ServeHTTP(w, req.WithContext(access.With(req.Context(), p)))
		}
	})
}

func lacks(p access.Principal, permission access.Permission) *Error {
	return Forbidden("This needs the permission %s, which the role %s does not have.", permission, p.Role)
}

func (r *Router) add(pattern string, permission access.Permission, h http.Handler) *Route {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || method == "" || !strings.HasPrefix(path, "/") {
		panic(fmt.Sprintf("api: route %q: a method and a path expected, as in GET /api/candidates/schemes", pattern))
	}
	if !access.Exists(permission) {
		panic(fmt.Sprintf("api: route %q: there is no permission %q", pattern, permission))
	}
	r.routes = append(r.routes, Route{Method: method, Pattern: path, Permission: permission})
	r.mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch p := access.From(req.Context()); {
		case !p.Known():
			fail(req.Context(), Unauthorized("Send a token: Authorization: Bearer ..."), w)
		case !p.Can(permission):
			fail(req.Context(), lacks(p, permission), w)
		default:
			h.ServeHTTP(w, req)
		}
	}))
	return &r.routes[len(r.routes)-1]
}

// ServeHTTP serves requests whose context carries a principal already; all others
// are refused. Handler is what a server mounts.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.serve(w, req, nil) }

// Handler serves the routes to whoever has a token that v verifies.
func (r *Router) Handler(v access.Verifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.serve(w, req, v) })
}

// propagator reads the caller's trace; only the trace, no baggage.
var propagator = propagation.TraceContext{}

// serve is the way of every request: span, log, metric and panics outside,
// then who is it, then the route.
func (r *Router) serve(w http.ResponseWriter, req *http.Request, v access.Verifier) {
	start := r.cfg.Now()
	x := &exchange{id: ulid.Make().String(), writer: w}
	route, pattern := r.mux.Handler(req)
	if pattern != "" {
		x.route = pattern[strings.Index(pattern, " ")+1:]
	}

	method := knownMethod(req.Method)
	ctx := propagator.Extract(req.Context(), propagation.HeaderCarrier(req.Header))
	ctx, span := r.cfg.Tracer.Start(ctx, strings.TrimSpace(method+" "+x.route),
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String(telemetry.HTTPMethod, method)))
	defer span.End()
	ctx = context.WithValue(ctx, exchangeKey{}, x)
	req = req.WithContext(ctx)
	x.request = req

	out := &writer{ResponseWriter: w}
	out.Header().Set("X-Request-Id", x.id)
	out.Header().Set("Cache-Control", "no-store")
	out.Header().Set("X-Content-Type-Options", "nosniff")

	defer func() {
		broken := recover()
		if broken != nil && broken != http.ErrAbortHandler { //nolint:errorlint // it is compared by identity in net/http too
			r.cfg.Log.ErrorContext(ctx, "panic while answering a request",
				"request", x.id, "route", x.route, "panic", fmt.Sprint(broken), "stack", string(debug.Stack()))
			if out.status == 0 {
				broken = nil
				fail(ctx, problem(KindInternal, "The cause is in the log, under this request's id.", nil), out)
			} else {
				broken = http.ErrAbortHandler // half an answer is out: cut it off, visibly
			}
		}
		r.finish(ctx, x, out, method, span, r.cfg.Now().Sub(start), broken != nil)
		if broken != nil {
			panic(broken)
		}
	}()

	if v != nil && !r.open[pattern] {
		p, err := authenticate(ctx, v, req.Header.Get("Authorization"))
		if err != nil {
			fail(ctx, err, out)
			return
		}
		ctx = access.With(ctx, p)
		req = req.WithContext(ctx)
		x.request = req
	}
	switch {
	case pattern != "":
		r.mux.ServeHTTP(out, req)
	case !access.From(ctx).Known():
		fail(ctx, Unauthorized("Send a token: Authorization: Bearer ..."), out)
	default:
		missed(ctx, route, out, req)
	}
}

// authenticate reads a bearer token (RFC 6750).
func authenticate(ctx context.Context, v access.Verifier, header string) (access.Principal, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(header), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return access.Principal{}, Unauthorized("Send a token: Authorization: Bearer ...")
	}
	p, err := v.Verify(ctx, token)
	if err != nil {
		return access.Principal{}, AsError(ctx, err)
	}
	return p, nil
}

// missed turns the mux's own plain-text 404 and 405 into problems.
func missed(ctx context.Context, route http.Handler, w http.ResponseWriter, req *http.Request) {
	probe := &discard{header: http.Header{}}
	route.ServeHTTP(probe, req)
	if probe.status == http.StatusMethodNotAllowed {
		e := problem(KindMethodNotAllowed, "The method %s is not offered here; offered: %s.", []any{knownMethod(req.Method), probe.header.Get("Allow")})
		e.Allow = probe.header.Get("Allow")
		fail(ctx, e, w)
		return
	}
	fail(ctx, NotFound("There is nothing at this address."), w)
}

// finish tells what became of a request: route and status, never the query, ids
// or anything else of a person.
func (r *Router) finish(ctx context.Context, x *exchange, out *writer, method string, span trace.Span, took time.Duration, broken bool) {
	status := out.status
	if status == 0 {
		status = http.StatusOK // a handler that wrote nothing
	}
	attrs := []attribute.KeyValue{
		attribute.String(telemetry.HTTPMethod, method),
		attribute.String(telemetry.URLScheme, scheme(x.request)),
		attribute.Int(telemetry.HTTPStatus, status),
	}
	if x.route != "" {
		attrs = append(attrs, attribute.String(telemetry.HTTPRoute, x.route))
	}
	switch {
	case broken:
		attrs = append(attrs, attribute.String(telemetry.ErrorType, "aborted"))
	case status >= 500:
		attrs = append(attrs, attribute.String(telemetry.ErrorType, strconv.Itoa(status)))
	}
	r.duration.Record(ctx, took.Seconds(), metric.WithAttributes(attrs...))
	span.SetAttributes(attrs...)

	level := slog.LevelInfo
	log := []any{"request", x.id, "method", method, "route", x.route, "status", status, "duration", took}
	if role := access.From(x.request.Context()).Role; role != "" {
		log = append(log, "role", string(role))
	}
	if p := x.problem; p != nil {
		log = append(log, "problem", string(p.Kind))
		if status >= 500 {
			level = slog.LevelError
			cause := p.cause
			if cause == nil {
				cause = p
			}
			log = append(log, "cause", cause.Error())
			span.RecordError(cause)
			span.SetStatus(codes.Error, string(p.Kind))
		}
		if len(p.Fields) > 0 {
			log = append(log, "fields", p.Error())
		}
	}
	if broken {
		level = slog.LevelError
		span.SetStatus(codes.Error, "aborted")
	}
	r.cfg.Log.Log(ctx, level, "request", log...)
}

func scheme(r *http.Request) string {
	if r != nil && r.TLS != nil {
		return "https"
	}
	return "http"
}

// knownMethod keeps made-up methods out of metrics, as semconv asks.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// acceptable checks Accept against what the route produces; quality values only
// count as zero or not.
func acceptable(r *http.Request, produces []string) error {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if header == "" || len(produces) == 0 {
		return nil
	}
	for part := range strings.SplitSeq(header, ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q == 0 {
			continue
		}
		for _, p := range produces {
			if major, _, _ := strings.Cut(p, "/"); kind == "*/*" || kind == p || kind == major+"/*" {
				return nil
			}
		}
	}
	return problem(KindNotAcceptable, "This answers with %s.", []any{strings.Join(produces, " or ")})
}

// Streamer is implemented by a response that writes itself, bit by bit. An error
// before the first byte is answered as a problem; after it, the connection is cut,
// so that nobody takes half an answer for a whole one.
type Streamer interface {
	ContentType() string
	Stream(w io.Writer) error
}

// Empty is the response of a use case that has nothing to say (204).
type Empty struct{}

// Status is 204 No Content.
func (Empty) Status() int { return http.StatusNoContent }

// encode writes a response.
func encode(ctx context.Context, w http.ResponseWriter, response any) error {
	x := current(ctx)
	header := w.Header()
	if r, ok := response.(interface{ ETag() string }); ok && r.ETag() != "" {
		header.Set("ETag", r.ETag())
		// Nothing is kept by caches (no-store) unless the response says that it may
		// be: a figure may, a person's file may not.
		if c, ok := response.(interface{ CacheControl() string }); ok {
			header.Set("Cache-Control", c.CacheControl())
			header.Set("Vary", "Accept, Authorization")
		}
		if noneMatch(x.request, r.ETag()) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	if r, ok := response.(interface{ Filename() string }); ok && r.Filename() != "" {
		header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": r.Filename()}))
	}
	if r, ok := response.(interface{ Location() string }); ok && r.Location() != "" {
		header.Set("Location", r.Location())
	}
	if r, ok := response.(interface{ NextCursor() string }); ok && r.NextCursor() != "" {
		next := url.URL{Path: x.request.URL.Path}
		query := x.request.URL.Query()
		query.Set("cursor", r.NextCursor())
		next.RawQuery = query.Encode()
		header.Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	status := http.StatusOK
	if r, ok := response.(interface{ Status() int }); ok && r.Status() != 0 {
		status = r.Status()
	}
	if s, ok := response.(Streamer); ok {
		header.Set("Content-Type", s.ContentType())
		out := &patient{w: w, status: status, control: http.NewResponseController(x.writer)}
		if err := s.Stream(out); err != nil {
			if !out.begun {
				header.Del("Content-Type")
				return err
			}
			x.problem = AsError(ctx, err)
			panic(http.ErrAbortHandler)
		}
		if !out.begun {
			w.WriteHeader(status)
		}
		return nil
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return nil
	}
	var body bytes.Buffer
	to := json.NewEncoder(&body)
	to.SetEscapeHTML(false)
	if err := to.Encode(response); err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the caller is gone: there is nobody to tell
	return nil
}

// noneMatch says whether the reader has this version already: If-None-Match by the
// weak comparison, as RFC 9110, 13.1.2 has it.
func noneMatch(r *http.Request, etag string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, header := range r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(header, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}

// patient writes a stream to a reader as long as the reader takes some of it in
// time, however long the whole is.
type patient struct {
	w       http.ResponseWriter
	status  int
	control *http.ResponseController
	begun   bool
}

func (p *patient) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.w.WriteHeader(p.status)
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(streamPatience)) // not offered in tests
	return p.w.Write(b)
}

// Flush sends what is written so far, for streams that follow something live.
func (p *patient) Flush() { _ = p.control.Flush() }

// problemBody is an Error in the form of RFC 9457.
type problemBody struct {
	Type     string  `json:"type"`
	Title    string  `json:"title"`
	Status   int     `json:"status"`
	Detail   string  `json:"detail,omitempty"`
	Instance string  `json:"instance,omitempty"`
	Errors   []Field `json:"errors,omitempty"`
}

// instancePrefix comes before the request's id in a problem's instance.
const instancePrefix = "urn:masar:request:"

// WriteProblem answers a request with the problem that err is, for handlers that
// are not endpoints.
func WriteProblem(ctx context.Context, w http.ResponseWriter, err error) { fail(ctx, err, w) }

func fail(ctx context.Context, err error, w http.ResponseWriter) {
	e := AsError(ctx, err)
	x := current(ctx)
	x.problem = e
	body := problemBody{Type: TypePrefix + string(e.Kind), Title: e.Title, Status: e.Code(), Detail: e.Detail, Errors: e.Fields}
	if x.id != "" {
		body.Instance = instancePrefix + x.id
	}
	if body.Title == "" {
		body.Title = kinds[e.Kind].title
	}
	if body.Status < 400 { // an Error that somebody made by hand, without a known kind
		body.Type, body.Title, body.Status = TypePrefix+string(KindInternal), kinds[KindInternal].title, http.StatusInternalServerError
	}
	if body.Status == http.StatusInternalServerError {
		body.Detail, body.Errors = "The cause is in the log, under this request's id.", nil
	}
	header := w.Header()
	for _, name := range []string{"ETag", "Link", "Location", "Content-Length", "Content-Disposition"} {
		header.Del(name)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/problem+json")
	switch e.Kind {
	case KindUnauthorized:
		challenge := `Bearer realm="masar"`
		if e.cause != nil { // RFC 6750 §3.1: only when a token was sent
			challenge += `, error="invalid_token"`
		}
		header.Set("WWW-Authenticate", challenge)
	case KindMethodNotAllowed:
		header.Set("Allow", e.Allow)
	case KindUnavailable, KindTooMany:
		header.Set("Retry-After", strconv.Itoa(max(1, int(e.RetryAfter.Round(time.Second)/time.Second))))
	}
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte(`{"type":"` + TypePrefix + `internal","status":500}`)
	}
	header.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(body.Status)
	_, _ = w.Write(append(text, '\n'))
}

// writer remembers the status that was sent.
type writer struct {
	http.ResponseWriter
	status int
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the server's own writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discard is a writer for answers that are only looked at.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// clean reports whether s is text without control characters.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
