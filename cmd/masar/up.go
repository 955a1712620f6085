package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"masar.local/dashboards"
	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/embedded"
	"masar.local/pkg/runtime"
	"masar.local/pkg/telemetry"
	"masar.local/services/candidates"
	"masar.local/services/employers"
	"masar.local/services/indicators"
	"masar.local/services/matching"
	"masar.local/services/notifications"
)

// upCmd runs the whole platform in this process: broker, stores, services.
type upCmd struct {
	Data        string        `default:"data" env:"MASAR_DATA_DIR" help:"Directory of all state." placeholder:"DIR"`
	Listen      string        `default:"127.0.0.1:8080" help:"HTTP address of the services." placeholder:"ADDR"`
	KafkaListen string        `default:"127.0.0.1:9092" help:"Address of the embedded broker (loopback)." placeholder:"ADDR"`
	LogLevel    slog.Level    `default:"warn" env:"MASAR_LOG_LEVEL" help:"debug, info, warn or error; the log goes to DATA/masar.log and to standard error."`
	OTLP        string        `env:"MASAR_OTLP_ENDPOINT" help:"OTLP/HTTP collector for metrics, traces and logs." placeholder:"URL"`
	StopTimeout time.Duration `default:"25s" env:"MASAR_STOP_TIMEOUT" help:"Longest clean stop."`
	StuckAfter  time.Duration `default:"5m" env:"MASAR_STUCK_AFTER" help:"A consumer that does not move for so long, though messages wait, is not ready."`
	OutboxAge   time.Duration `default:"5m" env:"MASAR_OUTBOX_MAX_AGE" help:"With an event that waits for longer to be published, a service is not ready."`
}

// builders are the five services, in the order in which data first flows.
var builders = []struct {
	name  string
	build runtime.Builder
}{
	{"candidates", candidates.New},
	{"employers", employers.New},
	{"matching", matching.New},
	{"indicators", indicators.New},
	{"notifications", notifications.New},
}

func serviceNames() []string {
	var names []string
	for _, b := range builders {
		names = append(names, b.name)
	}
	return names
}

func (c upCmd) Run(ctx context.Context) error { return c.run(ctx, func() {}) }

// run runs until ctx ends; started is called once everything answers.
func (c upCmd) run(ctx context.Context, started func()) (err error) {
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	logFile, err := os.OpenFile(filepath.Join(data, "masar.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	defer logFile.Close()
	tel, err := telemetry.Start(ctx, telemetry.Config{
		Service: "masar", Version: version(), OTLPEndpoint: c.OTLP, TraceRatio: 1,
		LogLevel: c.LogLevel, LogTo: io.MultiWriter(os.Stderr, logFile),
	})
	if err != nil {
		return err
	}
	defer closing(&err, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return tel.Shutdown(ctx)
	})

	// The broker locks the directory: two platforms never share one.
	broker, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(data, "kafka"), Addr: c.KafkaListen, Log: tel.Log})
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	defer closing(&err, broker.Close)
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()
	running := instance{PID: os.Getpid(), URL: "http://" + reachable(listener.Addr()), Kafka: broker.Addr(), Started: time.Now().UTC()}

	issuer, err := access.OpenIssuer(data, running.URL, time.Now)
	if err != nil {
		return err
	}
	tokens := issuer.Source(access.Principal{Subject: "masar", Role: access.Service}, time.Hour)
	var built []*runtime.Service
	for _, b := range builders {
		log := tel.Log.With("service", b.name)
		meter, tracer := tel.MeterFor(b.name), tel.TracerFor(b.name)
		store, err := docstore.Open(ctx, "sqlite:"+filepath.Join(data, "store", b.name+".db"),
			docstore.WithLog(log), docstore.WithMeter(meter), docstore.WithTracer(tracer))
		if err != nil {
			return fmt.Errorf("store of %s: %w", b.name, err)
		}
		defer closing(&err, store.Close)
		client, err := bus.New(bus.Config{
			Brokers: []string{running.Kafka}, ClientID: "masar-" + b.name, Log: log, Meter: meter, Tracer: tracer, Now: now, Classify: runtime.Classify,
		})
		if err != nil {
			return err
		}
		defer closing(&err, client.Close)
		service, err := runtime.Build(ctx, runtime.Platform{
			Name: b.name, Log: log, Store: store, Bus: client, Meter: meter, Tracer: tracer, Now: now,
			DataDir: data, Tokens: tokens, Getenv: os.Getenv, Holder: runtime.Holder(),
			PeerURL: func(string) string { return running.URL },
		}, b.build)
		if err != nil {
			return err
		}
		built = append(built, service)
	}

	verifier := issuer.Verifier()
	front, err := newPage(running, c.Data, api.NewClient(running.URL, issuer.Source(access.Principal{Subject: "page", Role: access.Manager}, time.Hour)))
	if err != nil {
		return err
	}
	past, err := openHistory(filepath.Join(data, "metrics"), tel.MetricsHandler(), listener.Addr().String(), tel.Log)
	if err != nil {
		return err
	}
	defer closing(&err, past.db.Close)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { past.run(watching) })
	defer watch.Wait()
	defer stop()
	boards, err := dashboards.Page(map[string]http.Handler{
		"masar-kpi":     asked(running.URL, "/api/indicators/prometheus", issuer.Source(access.Principal{Subject: "boards", Role: access.Manager}, time.Hour)),
		"masar-metrics": past,
	})
	if err != nil {
		return err
	}
	boards = local(verifier, access.PlatformRead, boards)
	wellKnown := issuer.Handler()
	defer os.Remove(instanceFile(data))
	return runtime.Run(ctx, built, runtime.Options{
		Listener: listener, Verifier: verifier, Log: tel.Log, Meter: tel.Meter, Now: now, StopTimeout: c.StopTimeout,
		StuckAfter: c.StuckAfter, OutboxMaxAge: c.OutboxAge,
		Metrics: local(verifier, access.PlatformRead, tel.MetricsHandler()),
		Extra: map[string]http.Handler{
			"GET /{$}":           local(verifier, access.PlatformRead, front),
			"GET /boards":        boards,
			"GET /boards/":       boards,
			"GET /.well-known/":  wellKnown,
			"HEAD /.well-known/": wellKnown,
		},
		Started: func() {
			// Other commands find us from here on.
			if err := running.write(data); err != nil {
				tel.Log.Error("other commands cannot find this platform", "cause", err.Error())
			}
			fmt.Print(banner(running, c.Data))
			started()
		},
	})
}

func now() time.Time { return time.Now().UTC() }

// closing closes something and keeps its error beside the one there is.
func closing(err *error, close func() error) { *err = errors.Join(*err, close()) }

// reachable is the address that a client on this machine uses for a listener.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return a.String()
}

func banner(i instance, data string) string {
	return fmt.Sprintf(`Masar runs. Ctrl-C stops it; everything stays in %[3]s.

  page      %[1]s/          boards    %[1]s/boards
  services  %[1]s/api/{%[4]s}/
  health    %[1]s/healthz/ready    metrics  %[1]s/metrics
  Kafka     %[2]s

  a token   bin/masar token --data %[3]s --role counsellor
  data      bin/masar import offers FILE.jsonl --data %[3]s
            bin/masar import candidates FILE.xlsx --data %[3]s
            make demo DATA=%[3]s
`, i.URL, i.Kafka, data, strings.Join(serviceNames(), ","))
}
