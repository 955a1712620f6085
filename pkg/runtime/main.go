package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/telemetry"
)

// Main runs one service alone, as services/<name>/cmd/<name> does: settings from
// the environment, until SIGTERM or SIGINT. A second signal ends it at once.
// Status 0 after a clean stop, 1 after a failure, 2 when the settings are wrong.
func Main(name string, build Builder) {
	// Before anything starts, so that no signal is missed.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, name+": second signal, ending at once; what was not finished is done after the next start")
		os.Exit(1)
	}()
	switch args := os.Args[1:]; {
	case len(args) == 0:
		os.Exit(Alone(ctx, name, build, os.Environ(), os.Stderr))
	case len(args) == 1 && args[0] == "prepare":
		os.Exit(Prepare(ctx, name, build, os.Environ(), os.Stderr))
	case len(args) == 1 && args[0] == "version":
		fmt.Println(name, Version())
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "usage: %s            run the service, by MASAR_* settings\n       %s prepare    create the topics and indexes that it needs, and end\n       %s version\n", name, name, name)
	os.Exit(2)
}

// Alone is Main without the process: it runs one service by the settings in
// environ until ctx ends, logs to out, and returns the exit status.
func Alone(ctx context.Context, name string, build Builder, environ []string, out io.Writer) int {
	return status(ctx, name, build, environ, out, alone)
}

// Prepare creates the topics, collections and indexes of one service and ends: what
// a new version needs is there before it starts. What is there stays, so that it can
// be repeated, and done while the version before is running. It waits for the store
// and the broker as a start does, and returns the exit status.
func Prepare(ctx context.Context, name string, build Builder, environ []string, out io.Writer) int {
	return status(ctx, name, build, environ, out, prepare)
}

func status(ctx context.Context, name string, build Builder, environ []string, out io.Writer, do func(context.Context, string, Builder, Config, []string, io.Writer) error) int {
	c, err := ReadConfig(environ)
	if err != nil {
		fmt.Fprintf(out, "%s: wrong settings:\n%v\n", name, err)
		return 2
	}
	if err := do(ctx, name, build, c, environ, out); err != nil {
		fmt.Fprintf(out, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// release is set by the linker: -X masar.local/pkg/runtime.release=1.2.3
var release string

// Version is the version of the program: that of the release, or the module's, or
// "devel".
func Version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func alone(ctx context.Context, name string, build Builder, c Config, environ []string, out io.Writer) (err error) {
	t, err := telemetry.Start(ctx, telemetry.Config{
		Service: "masar-" + name, Version: Version(), OTLPEndpoint: c.OTLPEndpoint, TraceRatio: c.TraceRatio,
		LogLevel: c.LogLevel, LogFormat: c.LogFormat, LogTo: out,
	})
	if err != nil {
		return err
	}
	log := t.Log.With("service", name)
	// Of the time for the stop, a fifth is for what comes after Run.
	reserve := c.StopTimeout / 5
	defer func() {
		if err != nil {
			log.Error("failed", "cause", err.Error())
		}
		ctx, cancel := context.WithTimeout(context.Background(), reserve)
		defer cancel()
		if flushErr := t.Shutdown(ctx); flushErr != nil {
			log.Warn("telemetry was lost at the stop", "cause", flushErr.Error())
		}
	}()

	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("MASAR_DATA_DIR: %w", err)
	}
	// Listen first: whoever probes sees that the process lives, and a taken
	// address shows at once.
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("MASAR_LISTEN: %w", err)
	}
	defer listener.Close()
	probes, err := listening.Listen(ctx, "tcp", c.TelemetryListen)
	if err != nil {
		return fmt.Errorf("MASAR_TELEMETRY_LISTEN: %w", err)
	}
	defer probes.Close()

	starting, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	// Told to stop while others are still being waited for: that is a clean stop.
	early := func(setting string, err error) error {
		if ctx.Err() != nil {
			log.Info("stopped before it had started", "cause", err.Error())
			return nil
		}
		return fmt.Errorf("%s%w", setting, err)
	}
	platform, closeAll, err := open(starting, name, c, t, log, environ)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return early("", err)
	}
	verifier, err := retry(starting, log, "the identity provider does not answer yet", always, func(ctx context.Context) (access.Verifier, error) {
		return access.NewVerifier(ctx, c.OIDCIssuer, access.Rules{Audience: c.OIDCAudience, RoleClaim: c.OIDCRoleClaim})
	})
	if err != nil {
		return early("MASAR_OIDC_ISSUER: ", err)
	}
	service, err := Build(starting, platform, build)
	if err != nil {
		return early("", err)
	}
	return Run(ctx, []*Service{service}, Options{
		Listener: listener, Telemetry: probes, Metrics: t.MetricsHandler(), Verifier: verifier,
		Log: log, Meter: t.MeterFor(name), Now: now,
		StartTimeout: c.StartTimeout, StopTimeout: c.StopTimeout - reserve, DrainDelay: c.DrainDelay,
		StuckAfter: c.StuckAfter, OutboxMaxAge: c.OutboxMaxAge,
	})
}

// open connects a service with its store and with Kafka. What it opened is to be
// closed, also after an error.
func open(ctx context.Context, name string, c Config, t *telemetry.Telemetry, log *slog.Logger, environ []string) (p Platform, closeAll func() error, err error) {
	closeAll = func() error { return nil }
	store, err := retry(ctx, log, "the store cannot be opened yet", isUnavailable, func(ctx context.Context) (docstore.Engine, error) {
		return openStore(ctx, c, t, name, log)
	})
	if err != nil {
		return p, closeAll, fmt.Errorf("MASAR_STORE_URI: %w", err)
	}
	closeAll = store.Close
	tls, err := c.kafkaTLS()
	if err != nil {
		return p, closeAll, err
	}
	kafka, err := bus.New(bus.Config{
		Brokers: c.KafkaBrokers, TLS: tls, ClientID: "masar-" + name, Log: log,
		Meter: t.MeterFor(name), Tracer: t.TracerFor(name), Now: now,
		Classify: Classify,
	})
	if err != nil {
		return p, closeAll, err
	}
	closeAll = func() error { return errors.Join(kafka.Close(), store.Close()) }
	tokens, err := c.tokens()
	if err != nil {
		return p, closeAll, err
	}
	settings := environment(environ)
	return Platform{
		Name: name, Log: log, Store: store, Bus: kafka,
		Meter: t.MeterFor(name), Tracer: t.TracerFor(name), Now: now,
		DataDir: c.DataDir, Tokens: tokens, Getenv: settings,
		PeerURL: func(service string) string { return settings("MASAR_" + strings.ToUpper(service) + "_URL") },
		Holder:  Holder(),
	}, closeAll, nil
}

func prepare(ctx context.Context, name string, build Builder, c Config, environ []string, out io.Writer) (err error) {
	// Its metrics and traces are nobody's.
	t, err := telemetry.Start(ctx, telemetry.Config{Service: "masar-" + name, Version: Version(), LogLevel: c.LogLevel, LogFormat: c.LogFormat, LogTo: out})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Shutdown(context.WithoutCancel(ctx))) }()
	log := t.Log.With("service", name)
	starting, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	platform, closeAll, err := open(starting, name, c, t, log, environ)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return err
	}
	service, err := Build(starting, platform, build)
	if err != nil {
		return err
	}
	r := &run{Options: Options{Log: log, StartTimeout: c.StartTimeout}.filled(), services: []*Service{service}, failed: make(chan error, 1)}
	if err := r.topics(starting); err != nil {
		return err
	}
	log.Info("topics and indexes are there", "topics", len(service.Topics))
	return nil
}

// Classify says which errors of a consumer mean that something it needs is down,
// so that its messages wait and do not become dead letters. It is for bus.Config.
func Classify(err error) error {
	var e *api.Error
	switch {
	case bus.IsPermanent(err), bus.IsBlocked(err):
		return err
	case errors.Is(err, docstore.ErrUnavailable),
		errors.As(err, &e) && (e.Kind == api.KindUnavailable || e.Kind == api.KindTooMany):
		return bus.Blocked(err)
	}
	return err
}

func now() time.Time { return time.Now().UTC() }

// Holder is a name for this process in leases that no other process has had: the
// host's name says where to look, the rest keeps two starts apart.
func Holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + ulid.Make().String()
}

func environment(environ []string) func(string) string {
	values := make(map[string]string, len(environ))
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

// retry tries until ctx ends, with growing pauses, as long as the error may pass:
// at start, others may be starting too.
func retry[T any](ctx context.Context, log *slog.Logger, what string, passes func(error) bool, try func(context.Context) (T, error)) (T, error) {
	pause := 100 * time.Millisecond
	for {
		v, err := try(ctx)
		if err == nil {
			return v, nil
		}
		if ctx.Err() != nil || !passes(err) {
			return v, err
		}
		log.Warn(what, "cause", err.Error())
		wait(ctx, pause)
		if ctx.Err() != nil {
			return v, err
		}
		pause = min(2*pause, 3*time.Second)
	}
}

func isUnavailable(err error) bool { return errors.Is(err, docstore.ErrUnavailable) }

// always: a wrong address and an identity provider that starts look the same.
func always(error) bool { return true }

// openStore opens the service's store.
func openStore(ctx context.Context, c Config, t *telemetry.Telemetry, name string, log *slog.Logger) (docstore.Engine, error) {
	return docstore.Open(ctx, c.StoreURI, docstore.WithLog(log), docstore.WithMeter(t.MeterFor(name)), docstore.WithTracer(t.TracerFor(name)))
}
