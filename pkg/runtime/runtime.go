// Package runtime starts services, watches them and stops them cleanly: one alone
// (Main, configured by MASAR_* variables), or several in one process (Build, Run).
//
// Its contract: a process is ready only while its services get on (the store
// answers, consumers move, the outbox drains); whatever ends with an error ends
// the process with that error; a stop fails readiness first, then finishes what
// was accepted, and takes no longer than it was given.
package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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
// timer. Run ends soon after ctx does, and then returns nil or ctx's error. One
// that ends earlier with nil has done its work; with an error, or by a panic, it
// stops the process.
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

	platform Platform // what Build built it from
}

// Builder builds a service from the platform; each service's New is one.
type Builder func(ctx context.Context, p Platform) (*Service, error)

// Build builds a service for Run, and gives it what every service has: the
// journal's endpoint and the checks of its store, consumers and outbox.
func Build(ctx context.Context, p Platform, build Builder) (*Service, error) {
	s, err := build(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", p.Name, err)
	}
	switch {
	case s.Name != p.Name:
		return nil, fmt.Errorf("service %s: it calls itself %q", p.Name, s.Name)
	case s.Router == nil:
		return nil, fmt.Errorf("service %s: it has no router", p.Name)
	}
	for _, route := range s.Router.Routes() {
		if !strings.HasPrefix(route.Pattern, "/api/"+s.Name+"/") {
			return nil, fmt.Errorf("service %s: the route %s %s is not under /api/%s/", s.Name, route.Method, route.Pattern, s.Name)
		}
	}
	s.platform = p
	if s.Relay != nil {
		addJournal(s.Router, s.Name, p.Store)
	}
	return s, nil
}
