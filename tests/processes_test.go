package tests

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/embedded"
	"masar.local/tests/harness"
)

// brokerDir tells a re-executed test binary to be the broker.
const brokerDir = "MASAR_TEST_BROKER_DIR"

// runBroker is the one kfake process of the test.
func runBroker(dir, addr string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	b, err := embedded.Start(ctx, embedded.Config{Dir: dir, Addr: addr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-ctx.Done()
	if err := b.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// freeAddr is a loopback address that nobody listens on at present.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// broker gives the Kafka address: a real cluster's where one is named, else that
// of a kfake process of our own.
func broker(t *testing.T) string {
	t.Helper()
	if addr := os.Getenv("MASAR_TEST_KAFKA"); addr != "" {
		return addr
	}
	addr := freeAddr(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerDir+"="+filepath.Join(t.TempDir(), "kafka"), "MASAR_TEST_BROKER_ADDR="+addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	harness.Eventually(t, "the broker listens", func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
	return addr
}

// storeURI names a service's own database: on a MongoDB server where one is
// named, else a file.
func storeURI(t *testing.T, dir, service, run string) string {
	if server := os.Getenv("MASAR_TEST_MONGODB_URI"); server != "" {
		return strings.TrimSuffix(server, "/") + "/" + service + "_" + run
	}
	return "sqlite:" + filepath.Join(dir, service+".db")
}

// TestProcesses tells the story on the five services as processes of their own,
// with one broker and an identity provider, as on a cluster.
func TestProcesses(t *testing.T) {
	dir, run, kafkaAddr := t.TempDir(), fmt.Sprintf("t%d", time.Now().UnixNano()), broker(t)

	// The identity provider: discovery and keys over HTTP, as any other.
	idp := httptest.NewUnstartedServer(nil)
	issuer, err := access.OpenIssuer(dir, "http://"+idp.Listener.Addr().String(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	idp.Config.Handler = issuer.Handler()
	idp.Start()
	t.Cleanup(idp.Close)
	token := func(role string) string {
		signed, err := issuer.Token(access.Principal{Subject: "test", Role: access.Role(role)}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	tokenFile := filepath.Join(dir, "service.token")
	if err := os.WriteFile(tokenFile, []byte(token("service")), 0o600); err != nil {
		t.Fatal(err)
	}

	// The ingress: one address for the five.
	front := http.NewServeMux()
	ingress := httptest.NewServer(front)
	t.Cleanup(ingress.Close)
	// On a MongoDB server every service runs twice, as it may on a cluster.
	replicas := 1
	if os.Getenv("MASAR_TEST_MONGODB_URI") != "" {
		replicas = 2
	}
	processes := map[string]*harness.Process{}
	telemetry := map[string]string{}
	for _, service := range services {
		var backends []http.Handler
		for n := range replicas {
			name := fmt.Sprintf("%s-%d", service, n)
			listen := freeAddr(t)
			telemetry[name] = "http://" + freeAddr(t)
			backend, err := url.Parse("http://" + listen)
			if err != nil {
				t.Fatal(err)
			}
			backends = append(backends, httputil.NewSingleHostReverseProxy(backend))
			processes[name] = harness.Start(t, service, []string{
				"MASAR_LISTEN=" + listen, "MASAR_TELEMETRY_LISTEN=" + strings.TrimPrefix(telemetry[name], "http://"),
				"MASAR_STORE_URI=" + storeURI(t, dir, service, run), "MASAR_KAFKA_BROKERS=" + kafkaAddr,
				"MASAR_OIDC_ISSUER=" + idp.URL, "MASAR_TOKEN_FILE=" + tokenFile, "MASAR_CANDIDATES_URL=" + ingress.URL,
				"MASAR_DATA_DIR=" + filepath.Join(dir, service),
			})
			// One after the other: the first makes what the second finds.
			harness.Eventually(t, name+" is ready", func() error {
				if processes[name].Exited() {
					t.Fatalf("%s ended:\n%s", name, processes[name].Output())
				}
				return harness.Ready(telemetry[name])
			})
		}
		var turn atomic.Int64
		front.HandleFunc("/api/"+service+"/", func(w http.ResponseWriter, r *http.Request) {
			backends[int(turn.Add(1))%len(backends)].ServeHTTP(w, r)
		})
	}
	story(t, world{
		url: ingress.URL, metrics: telemetry["indicators-0"] + "/metrics", kafka: kafkaAddr, token: token,
		cli: []string{"--url", ingress.URL, "--token", token("admin"), "--kafka", kafkaAddr},
	})
	for name, p := range processes {
		if err := p.Stop(t); err != nil {
			t.Errorf("SIGTERM to %s: %v\n%s", name, err, p.Output())
		}
	}
}
