package notifications

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/caarlos0/env/v11"

	"masar.local/pkg/bus"
	"masar.local/pkg/event"
	"masar.local/pkg/outbox"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime"
)

// Config is what this service reads from the environment, beside what every
// service does.
type Config struct {
	SMTP     string        `env:"MASAR_SMTP_URL"`                           // see OpenSMTP; "" = the mailbox folder under the data directory
	MaxAge   time.Duration `env:"MASAR_NOTIFY_MAX_AGE" envDefault:"168h"`   // older news is recorded and not sent
	Attempts int           `env:"MASAR_NOTIFY_ATTEMPTS" envDefault:"20"`    // tries before a message is given up
	Expiry   time.Duration `env:"MASAR_NOTIFY_EXPIRY" envDefault:"72h"`     // age at which a message is given up
	Backoff  time.Duration `env:"MASAR_NOTIFY_BACKOFF" envDefault:"30s"`    // wait after the first failed try
	Longest  time.Duration `env:"MASAR_NOTIFY_BACKOFF_MAX" envDefault:"6h"` // longest wait between two tries
}

// ReadConfig reads and checks the settings.
func ReadConfig(getenv func(string) string) (Config, error) {
	values := map[string]string{}
	params, err := env.GetFieldParams(&Config{})
	if err != nil {
		return Config{}, err
	}
	for _, p := range params {
		if v := getenv(p.Key); v != "" {
			values[p.Key] = v
		}
	}
	c, err := env.ParseAsWithOptions[Config](env.Options{Environment: values})
	if err != nil {
		return Config{}, fmt.Errorf("settings: %w", err)
	}
	return c, c.Validate()
}

// Validate says everything that is wrong at once.
func (c Config) Validate() error {
	var wrong []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"MASAR_NOTIFY_MAX_AGE", c.MaxAge},
		{"MASAR_NOTIFY_EXPIRY", c.Expiry},
		{"MASAR_NOTIFY_BACKOFF", c.Backoff},
		{"MASAR_NOTIFY_BACKOFF_MAX", c.Longest},
	} {
		if d.value <= 0 {
			wrong = append(wrong, fmt.Errorf("%s is %s, want a duration above 0 such as 72h", d.name, d.value))
		}
	}
	if c.Attempts < 1 {
		wrong = append(wrong, fmt.Errorf("MASAR_NOTIFY_ATTEMPTS is %d, want 1 or more", c.Attempts))
	}
	return errors.Join(wrong...)
}

// Policy is what the settings say about trying.
func (c Config) Policy() Policy {
	p := DefaultPolicy()
	p.MaxAge, p.Attempts, p.Expiry, p.Backoff, p.Longest = c.MaxAge, c.Attempts, c.Expiry, c.Backoff, c.Longest
	return p
}

// carrier opens the mail server or the mailbox.
func (c Config) carrier(dataDir string) (Carrier, error) {
	if c.SMTP != "" {
		return OpenSMTP(c.SMTP)
	}
	return OpenMailbox(filepath.Join(dataDir, "mailbox"))
}

// New builds the service: its documents, the use cases over them, the transports
// that lead in, the dispatcher that leads out.
func New(ctx context.Context, p runtime.Platform) (*runtime.Service, error) {
	config, err := ReadConfig(p.Getenv)
	if err != nil {
		return nil, err
	}
	candidates := p.PeerURL("candidates")
	if candidates == "" {
		return nil, errors.New("where the candidates service answers is not known: set MASAR_CANDIDATES_URL")
	}
	carrier, err := config.carrier(p.DataDir)
	if err != nil {
		return nil, err
	}
	schemes := reference.Schemes()
	renderer, err := NewRenderer(schemes)
	if err != nil {
		return nil, err
	}
	measure, err := NewMeasure(p.Meter)
	if err != nil {
		return nil, err
	}

	messages := Messages(p.Store)
	if err := messages.Ensure(ctx); err != nil {
		return nil, err
	}
	dispatcher := NewDispatcher(Dispatcher{
		Store: p.Store, Messages: messages, Contact: NewContacts(candidates, p.Tokens).Contact,
		Renderer: renderer, Carrier: carrier, Policy: config.Policy(),
		Log: p.Log, Tracer: p.Tracer, Measure: measure, Now: p.Now, Holder: p.Holder,
	})
	service := NewService(messages, schemes, config.Policy(), p.Now, dispatcher.Wake)
	endpoints := NewEndpoints(service)
	router := p.Router() // checks token and permission, traces and measures
	AddRoutes(router, endpoints)
	consumer := NewConsumer(endpoints) // traced and measured by the bus

	return &runtime.Service{
		Name:   "notifications",
		Router: router,
		Topics: []bus.Topic{{Name: event.TopicCandidates}, {Name: event.TopicNotifications}},
		Relay: outbox.NewRelay(outbox.Config{
			Engine: p.Store, Collections: []string{Collection}, Journal: "journal",
			Publisher: p.Bus, Holder: p.Holder, Log: p.Log, Meter: p.Meter, Now: p.Now,
		}),
		Actors: []runtime.Actor{
			{Name: "consumer", Run: func(ctx context.Context) error { return p.Bus.Consume(ctx, consumer) }},
			{Name: "dispatcher", Run: dispatcher.Run},
		},
	}, nil
}
