package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"

	"masar.local/pkg/access"
	"masar.local/pkg/docstore"
	masarruntime "masar.local/pkg/runtime"
)

// reachTimeout is how long one address has to answer.
const reachTimeout = 8 * time.Second

// reach asks everything that the settings of the services (MASAR_*, as of
// os.Environ) name, from where it runs: names, brokers, databases, identity
// provider, collector, mail server. What no setting names is not asked. Nothing is
// written anywhere, and no password is shown.
func reach(ctx context.Context, environ []string) []finding {
	// What else a service needs is not our matter: only what is set is looked at.
	c, _ := masarruntime.ReadConfig(environ)
	set := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		set[name] = value
	}

	var names []string
	var checks []func(context.Context) []finding
	host := func(name string) {
		if name != "" && net.ParseIP(name) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	hostOf := func(address string) {
		if u, err := url.Parse(address); err == nil {
			host(u.Hostname())
		}
	}
	dial := func(what, address, port string) {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" {
			checks = append(checks, func(context.Context) []finding { return []finding{{what, "", "its setting is not an address"}} })
			return
		}
		host(u.Hostname())
		at := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
		checks = append(checks, func(ctx context.Context) []finding { return []finding{reachTCP(ctx, what, at)} })
	}

	if set["KUBERNETES_SERVICE_HOST"] != "" {
		host("kubernetes.default.svc") // every cluster has it: do names work at all?
	}
	if len(c.KafkaBrokers) > 0 {
		for _, b := range c.KafkaBrokers {
			if name, _, err := net.SplitHostPort(b); err == nil {
				host(name)
			}
		}
		checks = append(checks, func(ctx context.Context) []finding { return reachKafka(ctx, c) })
	}
	for _, service := range append([]string{""}, serviceNames()...) {
		setting := strings.TrimSuffix("MASAR_STORE_URI_"+strings.ToUpper(service), "_")
		uri := set[setting]
		if uri == "" || strings.HasPrefix(uri, "sqlite:") {
			continue
		}
		// Several hosts are one to url.Parse; those of mongodb+srv are in other records.
		if u, err := url.Parse(uri); err == nil && u.Scheme == "mongodb" {
			for _, at := range strings.Split(u.Host, ",") {
				host((&url.URL{Host: at}).Hostname())
			}
		}
		checks = append(checks, func(ctx context.Context) []finding {
			return []finding{reachMongo(ctx, strings.TrimSpace("MongoDB "+service), setting, uri)}
		})
	}
	if c.OIDCIssuer != "" {
		hostOf(c.OIDCIssuer)
		hostOf(c.TokenURL)
		checks = append(checks, func(ctx context.Context) []finding { return reachIssuer(ctx, c) })
	}
	if c.OTLPEndpoint != "" {
		port := "80"
		if strings.HasPrefix(c.OTLPEndpoint, "https:") {
			port = "443"
		}
		dial("OTLP", c.OTLPEndpoint, port)
	}
	if address := set["MASAR_SMTP_URL"]; address != "" {
		port := "587"
		if strings.HasPrefix(address, "smtps:") {
			port = "465"
		}
		dial("SMTP", address, port)
	}
	for _, name := range slices.Backward(names) {
		checks = slices.Insert(checks, 0, func(ctx context.Context) []finding { return []finding{reachName(ctx, name)} })
	}
	if len(checks) == 0 {
		return []finding{{"reach", "", "nothing to ask: set MASAR_KAFKA_BROKERS, MASAR_STORE_URI_CANDIDATES, MASAR_OIDC_ISSUER, MASAR_OTLP_ENDPOINT or MASAR_SMTP_URL as the services have them"}}
	}

	found := make([][]finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, reachTimeout)
			defer cancel()
			found[i] = check(ctx)
		})
	}
	all.Wait()
	return slices.Concat(found...)
}

func reachName(ctx context.Context, name string) finding {
	f := finding{what: "DNS", detail: name}
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	var unknown *net.DNSError
	switch {
	case err == nil:
		f.detail += " is " + strings.Join(addresses, ", ")
	case errors.As(err, &unknown) && unknown.IsNotFound:
		f.problem = "is not known here: check the name, and which names the DNS of this place answers"
	default:
		f.problem = "is not answered for by the DNS of this place: " + oneLine(err)
	}
	return f
}

func reachTCP(ctx context.Context, what, address string) finding {
	f := finding{what: what, detail: address}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		f.problem = "cannot be reached: " + oneLine(err) + ": is it there, and do firewalls and network policies let us through?"
		return f
	}
	conn.Close()
	f.detail += " accepts connections"
	return f
}

// reachKafka asks each broker for its metadata, and then the addresses that the
// brokers give for themselves: that is where clients go.
func reachKafka(ctx context.Context, c masarruntime.Config) []finding {
	conf, err := kafkaTLS(c)
	if err != nil {
		return []finding{{"Kafka TLS", "", oneLine(err)}}
	}
	dialer := &kafka.Dialer{ClientID: "masar", TLS: conf, Timeout: 5 * time.Second}
	var out []finding
	var advertised []string
	for _, address := range c.KafkaBrokers {
		f, others := reachBroker(ctx, dialer, address)
		out = append(out, f)
		for _, other := range others {
			if !slices.Contains(c.KafkaBrokers, other) && !slices.Contains(advertised, other) {
				advertised = append(advertised, other)
			}
		}
	}
	for _, address := range advertised {
		f, _ := reachBroker(ctx, dialer, address)
		f.detail += " (its brokers give this address)"
		out = append(out, f)
	}
	return out
}

func reachBroker(ctx context.Context, dialer *kafka.Dialer, address string) (f finding, brokers []string) {
	f = finding{what: "Kafka", detail: address}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		var inner *net.OpError
		if errors.As(err, &inner) {
			err = inner // without the layers that say the address again
		}
		f.problem = "cannot be reached: " + oneLine(err)
		return f, nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // an error shows at the next request
	all, err := conn.Brokers()
	if err != nil {
		f.problem = "does not answer as Kafka: " + oneLine(err)
		if dialer.TLS == nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
			f.problem += ": does this port want TLS (kafka.tls.enabled)?"
		}
		return f, nil
	}
	for _, b := range all {
		brokers = append(brokers, net.JoinHostPort(b.Host, fmt.Sprint(b.Port)))
	}
	f.detail += fmt.Sprintf(" answers, one of %d", len(all))
	return f, brokers
}

// kafkaTLS is how the services encrypt the connection to Kafka; nil = not.
func kafkaTLS(c masarruntime.Config) (*tls.Config, error) {
	if !c.KafkaTLS {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.KafkaCAFile != "" {
		pem, err := os.ReadFile(c.KafkaCAFile)
		if err != nil {
			return nil, fmt.Errorf("MASAR_KAFKA_CA_FILE: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("MASAR_KAFKA_CA_FILE: no PEM certificate in %s", c.KafkaCAFile)
		}
	}
	if c.KafkaCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.KafkaCertFile, c.KafkaKeyFile)
		if err != nil {
			return nil, fmt.Errorf("MASAR_KAFKA_CLIENT_CERT_FILE: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

func reachMongo(ctx context.Context, what, setting, uri string) finding {
	f := finding{what: what, detail: setting}
	u, err := url.Parse(uri)
	if err != nil {
		f.problem = "cannot be read as an address: give mongodb://user:password@host/database (characters such as @ / : of a password as %40 %2F %3A)"
		return f
	}
	f.detail = u.Host + u.Path
	engine, err := docstore.Open(ctx, uri)
	if err != nil {
		text := oneLine(err)
		// No driver quotes them today.
		if password, ok := u.User.Password(); ok && password != "" {
			text = strings.NewReplacer(uri, setting, u.User.String(), "***", password, "***").Replace(text)
		}
		f.problem = "does not answer: " + text
		return f
	}
	_ = engine.Close()
	f.detail += " answers"
	return f
}

// reachIssuer asks the identity provider for what the services need of it, and looks
// at the token of the one that calls another as that other would.
func reachIssuer(ctx context.Context, c masarruntime.Config) []finding {
	f := finding{what: "OIDC", detail: c.OIDCIssuer}
	verifier, err := access.NewVerifier(ctx, c.OIDCIssuer, access.Rules{Audience: c.OIDCAudience, RoleClaim: c.OIDCRoleClaim})
	if err != nil {
		f.problem = "gives no discovery document: " + oneLine(err)
		return []finding{f}
	}
	var document struct {
		JWKS string `json:"jwks_uri"`
	}
	var keys struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := getJSON(ctx, strings.TrimSuffix(c.OIDCIssuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
		f.problem = "gives no discovery document: " + oneLine(err)
	} else if err := getJSON(ctx, document.JWKS, &keys); err != nil {
		f.problem = "its keys (" + document.JWKS + ") cannot be read: " + oneLine(err)
	} else if len(keys.Keys) == 0 {
		f.problem = "it has no keys at " + document.JWKS
	} else {
		f.detail += fmt.Sprintf(" answers, with %d keys", len(keys.Keys))
	}
	out := []finding{f}

	var source access.TokenSource
	switch {
	case c.TokenFile != "":
		source = access.File(c.TokenFile)
	case c.TokenURL != "":
		secret, err := os.ReadFile(c.ClientSecretFile)
		if err != nil {
			return append(out, finding{"service token", c.TokenURL, "MASAR_CLIENT_SECRET_FILE: " + oneLine(err)})
		}
		source = access.ClientCredentials(c.TokenURL, c.ClientID, strings.TrimSpace(string(secret)), nil)
	default:
		return out
	}
	f = finding{what: "service token", detail: cmp.Or(c.TokenURL, c.TokenFile)}
	token, err := source.Token(ctx)
	if err == nil {
		var who access.Principal
		if who, err = verifier.Verify(ctx, token); err == nil && who.Role != access.Service {
			err = fmt.Errorf("its role is %s, and should be %s", who.Role, access.Service)
		}
	}
	if err != nil {
		f.problem = "(with which notifications calls candidates) is not good: " + oneLine(err)
	} else {
		f.detail += " is accepted"
	}
	return append(out, f)
}

func getJSON(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into)
}

// oneLine is the text of an error, for a list of one line each.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
