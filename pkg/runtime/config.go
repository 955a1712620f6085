package runtime

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"masar.local/pkg/access"
)

// Config is what a service that runs alone reads from its environment. README and
// chart list the same names.
type Config struct {
	Listen          string `env:"MASAR_LISTEN" envDefault:":8080"`           // address of the API
	TelemetryListen string `env:"MASAR_TELEMETRY_LISTEN" envDefault:":9090"` // address of /metrics and /healthz, not for the public

	StoreURI string `env:"MASAR_STORE_URI"` // mongodb://host/db or sqlite:/path/file.db
	DataDir  string `env:"MASAR_DATA_DIR" envDefault:"."`

	KafkaBrokers  []string `env:"MASAR_KAFKA_BROKERS"`          // host:port, separated by commas
	KafkaTLS      bool     `env:"MASAR_KAFKA_TLS"`              // encrypt, with the system's roots or those of MASAR_KAFKA_CA_FILE
	KafkaCAFile   string   `env:"MASAR_KAFKA_CA_FILE"`          // PEM
	KafkaCertFile string   `env:"MASAR_KAFKA_CLIENT_CERT_FILE"` // PEM, to authenticate by certificate
	KafkaKeyFile  string   `env:"MASAR_KAFKA_CLIENT_KEY_FILE"`  // PEM
	OIDCIssuer    string   `env:"MASAR_OIDC_ISSUER"`            // URL of the identity provider
	OIDCAudience  string   `env:"MASAR_OIDC_AUDIENCE" envDefault:"masar"`
	OIDCRoleClaim string   `env:"MASAR_OIDC_ROLE_CLAIM" envDefault:"masar_role"`

	// How this service authenticates to others: a token in a file, or client credentials.
	TokenFile        string `env:"MASAR_TOKEN_FILE"`
	TokenURL         string `env:"MASAR_TOKEN_URL"`
	ClientID         string `env:"MASAR_CLIENT_ID"`
	ClientSecretFile string `env:"MASAR_CLIENT_SECRET_FILE"`

	OTLPEndpoint string     `env:"MASAR_OTLP_ENDPOINT"` // base URL of a collector
	TraceRatio   float64    `env:"MASAR_TRACE_RATIO" envDefault:"1"`
	LogLevel     slog.Level `env:"MASAR_LOG_LEVEL" envDefault:"info"`
	LogFormat    string     `env:"MASAR_LOG_FORMAT" envDefault:"json"`

	StartTimeout time.Duration `env:"MASAR_START_TIMEOUT" envDefault:"60s"` // for store, broker and identity provider to answer
	StopTimeout  time.Duration `env:"MASAR_STOP_TIMEOUT" envDefault:"25s"`  // from the signal to the exit; less than the cluster's grace (30 s)
	DrainDelay   time.Duration `env:"MASAR_DRAIN_DELAY" envDefault:"2s"`    // not ready, but still serving, so that balancers notice
	StuckAfter   time.Duration `env:"MASAR_STUCK_AFTER" envDefault:"5m"`    // a consumer with lag that does not move for so long is not ready
	OutboxMaxAge time.Duration `env:"MASAR_OUTBOX_MAX_AGE" envDefault:"5m"` // with an event that waits for longer, a service is not ready
}

// ReadConfig reads and checks the settings; environ is as of os.Environ.
func ReadConfig(environ []string) (Config, error) {
	c, err := env.ParseAsWithOptions[Config](env.Options{Environment: env.ToMap(environ)})
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	return c, c.Validate()
}

// Validate says everything that is wrong at once.
func (c Config) Validate() error {
	var wrong []error
	note := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if c.StoreURI == "" {
		note("MASAR_STORE_URI is needed: mongodb://host/database or sqlite:/path/file.db")
	}
	if len(c.KafkaBrokers) == 0 {
		note("MASAR_KAFKA_BROKERS is needed: host:port, several separated by commas")
	}
	for _, b := range c.KafkaBrokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			note("MASAR_KAFKA_BROKERS: %q is not host:port", b)
		}
	}
	if !isURL(c.OIDCIssuer) {
		note("MASAR_OIDC_ISSUER is needed: the URL of the identity provider whose tokens are accepted")
	}
	for name, value := range map[string]string{"MASAR_OTLP_ENDPOINT": c.OTLPEndpoint, "MASAR_TOKEN_URL": c.TokenURL} {
		if value != "" && !isURL(value) {
			note("%s: an http or https URL expected", name)
		}
	}
	if c.TokenURL != "" && (c.ClientID == "" || c.ClientSecretFile == "") {
		note("MASAR_TOKEN_URL needs MASAR_CLIENT_ID and MASAR_CLIENT_SECRET_FILE")
	}
	if c.TokenURL != "" && c.TokenFile != "" {
		note("MASAR_TOKEN_FILE and MASAR_TOKEN_URL exclude each other")
	}
	if (c.KafkaCertFile == "") != (c.KafkaKeyFile == "") {
		note("MASAR_KAFKA_CLIENT_CERT_FILE and MASAR_KAFKA_CLIENT_KEY_FILE go together")
	}
	if c.TraceRatio < 0 || c.TraceRatio > 1 {
		note("MASAR_TRACE_RATIO: %g is not between 0 and 1", c.TraceRatio)
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		note("MASAR_LOG_FORMAT: %q is neither json nor text", c.LogFormat)
	}
	for name, d := range map[string]time.Duration{
		"MASAR_START_TIMEOUT": c.StartTimeout, "MASAR_STOP_TIMEOUT": c.StopTimeout,
		"MASAR_STUCK_AFTER": c.StuckAfter, "MASAR_OUTBOX_MAX_AGE": c.OutboxMaxAge,
	} {
		if d <= 0 {
			note("%s: a duration above 0 expected, such as 30s", name)
		}
	}
	if c.DrainDelay < 0 || c.DrainDelay >= c.StopTimeout {
		note("MASAR_DRAIN_DELAY: from 0 to less than MASAR_STOP_TIMEOUT expected")
	}
	return errors.Join(wrong...)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// tokens is how this service authenticates to others.
func (c Config) tokens() (access.TokenSource, error) {
	switch {
	case c.TokenFile != "":
		return access.File(c.TokenFile), nil
	case c.TokenURL != "":
		secret, err := os.ReadFile(c.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("MASAR_CLIENT_SECRET_FILE: %w", err)
		}
		return access.ClientCredentials(c.TokenURL, c.ClientID, strings.TrimSpace(string(secret)), &http.Client{Timeout: 10 * time.Second}), nil
	}
	return access.Static(""), nil // says that none is configured, when one is asked for
}

// kafkaTLS is how the connection to Kafka is encrypted; nil = not.
func (c Config) kafkaTLS() (*tls.Config, error) {
	if !c.KafkaTLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.KafkaCAFile != "" {
		pem, err := os.ReadFile(c.KafkaCAFile)
		if err != nil {
			return nil, fmt.Errorf("MASAR_KAFKA_CA_FILE: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("MASAR_KAFKA_CA_FILE: no PEM certificate in %s", c.KafkaCAFile)
		}
	}
	if c.KafkaCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.KafkaCertFile, c.KafkaKeyFile)
		if err != nil {
			return nil, fmt.Errorf("MASAR_KAFKA_CLIENT_CERT_FILE: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
