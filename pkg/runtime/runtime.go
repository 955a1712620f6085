// Package runtime starts a service, watches it and stops it cleanly: alone
// (Main, configured by MASAR_* variables) or with others in one process (Run).
package runtime

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/outbox"
)

// Platform is what a service is given to build itself from.
type Platform struct {
	Name    string                      // the service's name: candidates, employers ...
	Log     *slog.Logger                // redacts personal data by attribute key
	Store   docstore.Engine             // the service's own store; no other service reads it
	Bus     *bus.Client                 // Kafka
	Meter   metric.Meter                // names: package telemetry
	Tracer  trace.Tracer                // names: package telemetry
	Now     func() time.Time            // the clock, UTC
	DataDir string                      // a directory for the service's own files
	Tokens  access.TokenSource          // for calls to other services
	Getenv  func(string) string         // settings of the service's own
	PeerURL func(service string) string // base URL of another service, "" = not known
	Holder  string                      // who we are in leases: unique for each process
}

// Router makes the service's router, with the platform's log, tracer and meter.
func (p Platform) Router() *api.Router {
	return api.NewRouter(api.Config{Log: p.Log, Tracer: p.Tracer, Meter: p.Meter})
}

// Actor is work of a service that is not an answer to a request: a consumer, a
// timer. Run returns nil when ctx ends; any earlier return stops the process.
type Actor struct {
	Name string
	Run  func(ctx context.Context) error
}

// Service is a built service, ready to run.
type Service struct {
	Name   string
	Router *api.Router                     // routes under /api/<name>/
	Topics []bus.Topic                     // topics that it needs, created at start
	Relay  *outbox.Relay                   // nil when it emits nothing
	Actors []Actor                         // run until the stop
	Ready  func(ctx context.Context) error // nil = always; beside what runtime checks for every service
}

// Builder builds a service from the platform; each service's New is one.
type Builder func(ctx context.Context, p Platform) (*Service, error)

// Options says how Run runs.
type Options struct {
	Listener net.Listener            // where the services answer
	Verifier access.Verifier         // who is calling
	Extra    map[string]http.Handler // further handlers by ServeMux pattern
	Log      *slog.Logger
}

// Main runs one service alone, as services/<name>/cmd/<name> does: settings
// from the environment, until SIGTERM or SIGINT.
func Main(name string, build Builder) {}

// Run runs services until ctx ends, then stops them cleanly.
func Run(ctx context.Context, services []*Service, o Options) error {
	return errors.New("runtime: not implemented")
}
