package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/access"
)

// Config is what a Router tells and measures with; nil fields are silent.
type Config struct {
	Log    *slog.Logger
	Tracer trace.Tracer
	Meter  metric.Meter
}

// Route is one entry of a Router.
type Route struct {
	Method, Pattern string
	Permission      access.Permission
}

// Router holds the routes of one service. Every route demands a principal.
type Router struct{ routes []Route }

// NewRouter makes an empty router.
func NewRouter(c Config) *Router { return &Router{} }

// Routes lists what was added.
func (r *Router) Routes() []Route { return r.routes }

func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) { http.NotFound(w, req) }

// Option changes one route.
type Option func(*options)

type options struct{}

// MaxBody sets the largest request body of the route, in bytes (default 1 MiB).
func MaxBody(bytes int64) Option { return func(*options) {} }

// Through wraps the route's endpoint in go-kit middleware, the first outermost.
func Through(m ...Middleware) Option { return func(*options) {} }

// Handle adds a route.
func Handle[Req, Res any](r *Router, pattern string, permission access.Permission, e Endpoint[Req, Res], opts ...Option) {
}

// Streamer is implemented by a response that writes itself.
type Streamer interface {
	ContentType() string
	Stream(w io.Writer) error
}

// Key returns the request's Idempotency-Key, "" when there is none.
func Key(ctx context.Context) string { return "" }

// Principal returns who makes the request.
func Principal(ctx context.Context) access.Principal { return access.From(ctx) }

// IDFromKey gives the id that a command repeated under the same key by the same principal gets: a ULID in shape, the same each time.
func IDFromKey(principal, key string) string { return "" }

// Fingerprint gives a short digest of a request body, to be stored beside a key.
func Fingerprint(body []byte) string { return "" }

// IfMatch reads the version in an If-Match header: 428 when absent, 400 when malformed.
func IfMatch(header string) (version int64, err error) { return 0, nil }
