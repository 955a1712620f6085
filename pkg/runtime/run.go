package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/telemetry"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
)

// Options says how Run runs. Listener and Verifier are needed; a zero duration
// means its default.
type Options struct {
	Listener  net.Listener            // where the services answer
	Telemetry net.Listener            // where health and metrics answer; nil = on Listener, beside the services
	Metrics   http.Handler            // served at /metrics; nil = not
	Verifier  access.Verifier         // who is calling
	Extra     map[string]http.Handler // further handlers of Listener by ServeMux pattern ("GET /{$}"); they guard themselves
	Log       *slog.Logger
	Meter     metric.Meter
	Now       func() time.Time
	Started   func() // called once, when everything runs

	StartTimeout time.Duration // for the broker to answer; default 60 s
	StopTimeout  time.Duration // for the whole stop; default 20 s
	DrainDelay   time.Duration // not ready but still serving; default none
	StuckAfter   time.Duration // default 5 min
	OutboxMaxAge time.Duration // default 5 min
}

func (o Options) filled() Options {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&o.StartTimeout, time.Minute},
		{&o.StopTimeout, 20 * time.Second},
		{&o.StuckAfter, 5 * time.Minute},
		{&o.OutboxMaxAge, 5 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = metricnoop.NewMeterProvider().Meter("")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// drainPatience bounds the emptying of the outbox at the stop: with a broker that
// is down it would take all the time there is, for nothing.
const drainPatience = 5 * time.Second

// Run serves and works until ctx ends or something fails, then stops cleanly: it
// is not ready any more, waits DrainDelay, answers the requests that are under
// way, lets consumers finish and commit, publishes what waits in the outboxes. It
// returns nil after a clean stop that ctx asked for. The services are of Build.
// Stores, Kafka clients and telemetry are the caller's to close afterwards.
func Run(ctx context.Context, services []*Service, o Options) error {
	o = o.filled()
	if o.Listener == nil || o.Verifier == nil {
		return errors.New("runtime: Run needs a listener and a verifier of tokens")
	}
	r := &run{Options: o, services: services, failed: make(chan error, 1)}
	watch, err := r.watch()
	if err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	defer func() { _ = watch.Unregister() }()

	// Work and requests end when we say so, and not with ctx: that is what a
	// clean stop is.
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	requestCtx, cutRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cutRequests()

	servers := r.serve(requestCtx)
	startErr := r.topics(ctx)
	if startErr == nil {
		r.work(workCtx)
		r.started.Store(true)
		names := make([]string, len(services))
		for i, s := range services {
			names[i] = s.Name
		}
		o.Log.Info("running", "services", strings.Join(names, " "), "listen", o.Listener.Addr().String())
		if o.Started != nil {
			o.Started()
		}
		select {
		case <-ctx.Done():
		case startErr = <-r.failed:
		}
	} else if ctx.Err() != nil {
		startErr = nil // told to stop while still waiting for the broker
	}

	begun := o.Now()
	r.stopping.Store(true)
	o.Log.Info("stopping", "within", o.StopTimeout)
	stopCtx, done := context.WithTimeout(context.WithoutCancel(ctx), o.StopTimeout)
	defer done()
	stopErr := r.stop(stopCtx, servers, stopWork, cutRequests, startErr != nil)
	o.Log.Info("stopped", "took", o.Now().Sub(begun))
	return errors.Join(startErr, stopErr)
}

// run is one Run.
type run struct {
	Options
	services []*Service
	failed   chan error // the first failure
	started  atomic.Bool
	stopping atomic.Bool

	actors sync.WaitGroup
	active sync.Map // names of the actors that have not ended

	checking sync.Mutex
	checked  time.Time
	report   Report
}

// fail makes the process stop with err; the first one counts.
func (r *run) fail(err error) {
	select {
	case r.failed <- err:
	default:
		r.Log.Error("a further failure", "cause", err.Error())
	}
}

// serve starts answering: health at once, requests when everything has started.
func (r *run) serve(ctx context.Context) []*http.Server {
	mux := http.NewServeMux()
	for _, s := range r.services {
		mux.Handle("/api/"+s.Name+"/", r.whenStarted(s.Router.Handler(r.Verifier)))
	}
	// Whatever else is asked of /api/: who are you, then that there is no such thing.
	mux.Handle("/api/", api.NewRouter(api.Config{Log: r.Log}).Handler(r.Verifier))
	for pattern, h := range r.Extra {
		mux.Handle(pattern, h)
	}
	health := mux
	if r.Telemetry != nil {
		health = http.NewServeMux()
	}
	health.HandleFunc("GET /healthz/live", r.live)
	health.HandleFunc("GET /healthz/ready", r.ready)
	if r.Metrics != nil {
		health.Handle("GET /metrics", r.Metrics)
	}
	servers := []*http.Server{r.listen(ctx, r.Listener, mux)}
	if r.Telemetry != nil {
		servers = append(servers, r.listen(ctx, r.Telemetry, health))
	}
	return servers
}

// whenStarted refuses requests until topics exist and consumers run.
func (r *run) whenStarted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.started.Load() {
			api.WriteProblem(req.Context(), w, api.Unavailable("Starting: the broker does not answer yet."))
			return
		}
		h.ServeHTTP(w, req)
	})
}

func (r *run) listen(ctx context.Context, l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{
		Handler: h,
		// Slow senders and readers must not hold a connection for ever. A route may
		// take 60 s (package api), and a stream extends its time with every write.
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(r.Log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			r.fail(fmt.Errorf("serving on %s: %w", l.Addr(), err))
		}
	}()
	return s
}

// topics creates the services' topics, waiting for the broker if need be.
func (r *run) topics(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.StartTimeout, errors.New("start timeout"))
	defer cancel()
	for _, s := range r.services {
		if len(s.Topics) == 0 {
			continue
		}
		if s.platform.Bus == nil {
			return fmt.Errorf("service %s needs topics, but was built without a Kafka client", s.Name)
		}
		pause := 100 * time.Millisecond
		for {
			// One attempt must not eat the whole time on a broker that hangs.
			once, cancelOnce := context.WithTimeout(ctx, 15*time.Second)
			err := s.platform.Bus.EnsureTopics(once, s.Topics...)
			cancelOnce()
			if err == nil {
				break
			}
			r.Log.Warn("the topics cannot be created yet", "service", s.Name, "cause", err.Error())
			select {
			case early := <-r.failed:
				return early
			case <-ctx.Done():
				return fmt.Errorf("service %s: its topics could not be created within %s; is Kafka reachable, and may we create topics? %w", s.Name, r.StartTimeout, err)
			case <-time.After(pause):
			}
			pause = min(2*pause, 3*time.Second)
		}
	}
	return nil
}

// work starts the actors and relays.
func (r *run) work(ctx context.Context) {
	for _, s := range r.services {
		for _, a := range s.Actors {
			r.act(ctx, s.Name+"/"+a.Name, a.Run)
		}
		if s.Relay != nil {
			r.act(ctx, s.Name+"/relay", s.Relay.Run)
		}
	}
}

func (r *run) act(ctx context.Context, name string, work func(context.Context) error) {
	r.actors.Add(1)
	r.active.Store(name, true)
	go func() {
		defer r.actors.Done()
		defer r.active.Delete(name)
		err := func() (err error) {
			defer func() {
				if broken := recover(); broken != nil {
					err = fmt.Errorf("panic: %v\n%s", broken, debug.Stack())
				}
			}()
			return work(ctx)
		}()
		switch {
		case err == nil && ctx.Err() == nil:
			r.Log.Info("an actor has done its work", "actor", name)
		case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		default:
			r.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// stop ends everything in the order of DESIGN §4.12. Each step has what is left of
// the time, and the last ones have some of it for themselves.
func (r *run) stop(ctx context.Context, servers []*http.Server, stopWork, cutRequests func(), broken bool) error {
	var errs []error
	if r.DrainDelay > 0 && !broken {
		wait(ctx, r.DrainDelay)
	}

	// Requests: no new ones, then those under way; half the time that is left.
	serveCtx, cancel := part(ctx, 0.5)
	if err := servers[0].Shutdown(serveCtx); err != nil {
		cutRequests()
		errs = append(errs, fmt.Errorf("requests under way were cut off after %s", r.StopTimeout/2))
		_ = servers[0].Close()
	}
	cancel()

	// Consumers and timers: finish what they hold and commit.
	stopWork()
	ended := make(chan struct{})
	go func() { r.actors.Wait(); close(ended) }()
	workCtx, cancel := part(ctx, 0.7)
	select {
	case <-ended:
	case <-workCtx.Done():
		var late []string
		r.active.Range(func(name, _ any) bool { late = append(late, name.(string)); return true })
		errs = append(errs, fmt.Errorf("did not end in time: %s", strings.Join(late, ", ")))
	}
	cancel()

	// What the last commands wrote goes out now, or waits in the outbox for the next start.
	if !broken {
		ctx, cancel := context.WithTimeout(ctx, drainPatience)
		defer cancel()
		var drains sync.WaitGroup
		for _, s := range r.services {
			if s.Relay == nil {
				continue
			}
			drains.Go(func() {
				if err := s.Relay.Drain(ctx); err != nil {
					r.Log.Warn("the outbox could not be emptied; the rest is published after the next start", "service", s.Name, "cause", err.Error())
				}
			})
		}
		drains.Wait()
	}
	for _, s := range servers[1:] {
		_ = s.Close() // probes and scrapes only
	}
	select { // a failure that came with the stop
	case err := <-r.failed:
		errs = append(errs, err)
	default:
	}
	return errors.Join(errs...)
}

// part is ctx with a share of the time that it has left.
func part(ctx context.Context, share float64) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(float64(time.Until(deadline))*share))
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// consumers gives the progress of each Kafka client once, however many services share it.
func (r *run) consumers() []bus.ConsumerProgress {
	seen := map[*bus.Client]bool{}
	var all []bus.ConsumerProgress
	for _, s := range r.services {
		if b := s.platform.Bus; b != nil && !seen[b] {
			seen[b] = true
			all = append(all, b.Progress()...)
		}
	}
	return all
}

// watch gives every check of the readiness as a metric, also when no prober asks.
func (r *run) watch() (metric.Registration, error) {
	gauge, err := r.Meter.Int64ObservableGauge(telemetry.Ready, metric.WithDescription("1 while the check is passed"))
	if err != nil {
		return nil, err
	}
	return r.Meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		for _, c := range r.readiness(ctx).Checks {
			value := int64(0)
			if c.OK {
				value = 1
			}
			o.ObserveInt64(gauge, value, metric.WithAttributes(attribute.String(telemetry.CheckName, c.Name)))
		}
		return nil
	}, gauge)
}
