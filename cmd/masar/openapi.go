package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
	"masar.local/pkg/runtime"
)

// openAPICmd prints what the services offer over HTTP, as this binary knows it;
// nothing needs to run. docs/openapi.json is its output.
type openAPICmd struct{}

func (openAPICmd) Run(ctx context.Context) (err error) {
	// A service knows its routes once it is built, and it is built on a store.
	dir, err := os.MkdirTemp("", "masar-openapi-")
	if err != nil {
		return err
	}
	defer closing(&err, func() error { return os.RemoveAll(dir) })
	var routers []*api.Router
	for _, b := range builders {
		store, err := docstore.Open(ctx, "sqlite:"+filepath.Join(dir, b.name+".db"))
		if err != nil {
			return err
		}
		defer store.Close()
		service, err := runtime.Build(ctx, runtime.Platform{
			Name: b.name, Log: slog.New(slog.DiscardHandler), Store: store, Now: now, DataDir: dir, Holder: "openapi",
			Meter: metricnoop.NewMeterProvider().Meter(""), Tracer: tracenoop.NewTracerProvider().Tracer(""),
			Tokens: access.Static(""), Getenv: func(string) string { return "" }, PeerURL: func(string) string { return "http://127.0.0.1" },
		}, b.build)
		if err != nil {
			return err
		}
		routers = append(routers, service.Router)
	}
	document, err := api.OpenAPI("Masar", "1", routers...)
	if err != nil {
		return err
	}
	fmt.Println(string(document))
	return nil
}
