package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

const childName = "MASAR_RUNTIME_TEST_CHILD"

// TestMain becomes the toy as a process of its own when the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv(childName) != "" {
		os.Args = os.Args[:1]
		Main("toy", buildToy)
	}
	os.Exit(m.Run())
}

// output collects what a child logs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

type process struct {
	cmd  *exec.Cmd
	out  *output
	exit chan error
}

func startProcess(t *testing.T, environ ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^$"), out: &output{}, exit: make(chan error, 1)}
	p.cmd.Env = append(append(os.Environ(), childName+"=1", "MASAR_DRAIN_DELAY=200ms"), environ...)
	p.cmd.Stderr = p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exit <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the child said:\n%s", p.out)
		}
	})
	return p
}

// status waits for the end and gives the exit status.
func (p *process) status(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.exit:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0
	case <-time.After(40 * time.Second):
		t.Fatalf("the process does not end:\n%s", p.out)
		return -1
	}
}

// freeAddress gives an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}

// issuer is an identity provider of the test.
func issuer(t *testing.T) *access.Issuer {
	t.Helper()
	server := httptest.NewUnstartedServer(nil) // nobody is answered before there is a handler
	t.Cleanup(server.Close)
	i, err := access.OpenIssuer(t.TempDir(), "http://"+server.Listener.Addr().String(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = i.Handler()
	server.Start()
	return i
}

func TestAProcessOfItsOwn(t *testing.T) {
	broker, dir, who := startBroker(t), t.TempDir(), issuer(t)
	address, probes := freeAddress(t), freeAddress(t)
	environ := []string{
		"MASAR_LISTEN=" + address, "MASAR_TELEMETRY_LISTEN=" + probes, "MASAR_STORE_URI=sqlite:" + filepath.Join(dir, "deep", "toy.db"),
		"MASAR_KAFKA_BROKERS=" + broker.Addr(), "MASAR_OIDC_ISSUER=" + who.URL(), "MASAR_DATA_DIR=" + dir, "MASAR_LOG_LEVEL=debug",
	}
	c := api.NewClient("http://"+address, who.Source(access.Principal{Subject: "c", Role: access.Counsellor}, time.Hour), api.WithAttempts(1))
	var ids []string
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := startProcess(t, environ...)
		until(t, "ready", func() (bool, string) {
			status, body := get(t, "http://"+probes+"/healthz/ready")
			return status == 200, body + p.out.String()
		})
		if status, body := get(t, "http://"+probes+"/metrics"); status != 200 || !strings.Contains(body, `service_name="masar-toy"`) {
			t.Errorf("metrics: %d, %d bytes", status, len(body))
		}
		for range 5 {
			var made thingAnswer
			if err := c.Post(t.Context(), "/api/toy/things", map[string]string{"word": "figue"}, &made); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, made.ID)
		}
		for _, id := range ids {
			until(t, "seen", func() (bool, string) {
				var a thingAnswer
				err := c.Get(t.Context(), "/api/toy/things/"+id, &a)
				return err == nil && a.Seen == 1, fmt.Sprint(a, err)
			})
		}
		answered := make(chan error, 1)
		var slow thingAnswer
		go func() { answered <- c.Post(t.Context(), "/api/toy/things", map[string]string{"word": "slow"}, &slow) }()
		until(t, "the slow request is under way", func() (bool, string) {
			return strings.Contains(p.out.String(), slowBegun), ""
		})
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err != nil {
			t.Errorf("the request that was under way: %v", err)
		} else {
			ids = append(ids, slow.ID)
		}
		if status := p.status(t); status != 0 {
			t.Errorf("%v: exit status %d", sig, status)
		}
		if log := p.out.String(); !strings.Contains(log, `"msg":"stopped"`) || !strings.Contains(log, `"service":"toy"`) || strings.Contains(log, "figue") {
			t.Errorf("the log is not as expected:\n%s", log)
		}
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	broker, dir, who := startBroker(t), t.TempDir(), issuer(t)
	probes := freeAddress(t)
	p := startProcess(t, "MASAR_LISTEN=127.0.0.1:0", "MASAR_TELEMETRY_LISTEN="+probes, "MASAR_STORE_URI=sqlite:"+filepath.Join(dir, "toy.db"),
		"MASAR_KAFKA_BROKERS="+broker.Addr(), "MASAR_OIDC_ISSUER="+who.URL(), "MASAR_DATA_DIR="+dir, "MASAR_DRAIN_DELAY=20s")
	until(t, "ready", func() (bool, string) {
		status, body := get(t, "http://"+probes+"/healthz/ready")
		return status == 200, body + p.out.String()
	})
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "stopping", func() (bool, string) {
		status, body := get(t, "http://"+probes+"/healthz/ready")
		return status == 503, body
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := p.status(t); status != 1 || time.Since(begun) > 10*time.Second {
		t.Errorf("status %d after %s", status, time.Since(begun))
	}
}

func TestAStopWhileWaitingForOthersIsClean(t *testing.T) {
	broker, dir := startBroker(t), t.TempDir()
	p := startProcess(t, "MASAR_LISTEN=127.0.0.1:0", "MASAR_TELEMETRY_LISTEN=127.0.0.1:0", "MASAR_STORE_URI=sqlite:"+filepath.Join(dir, "toy.db"),
		"MASAR_KAFKA_BROKERS="+broker.Addr(), "MASAR_OIDC_ISSUER=http://127.0.0.1:1", "MASAR_DATA_DIR="+dir)
	until(t, "it waits", func() (bool, string) {
		return strings.Contains(p.out.String(), "the identity provider does not answer yet"), p.out.String()
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := p.status(t); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestWrongSettingsAreAllNamedAtOnce(t *testing.T) {
	var out bytes.Buffer
	status := Alone(t.Context(), "toy", buildToy, []string{
		"MASAR_KAFKA_BROKERS=nohost", "MASAR_TRACE_RATIO=2", "MASAR_LOG_FORMAT=xml", "MASAR_STOP_TIMEOUT=0s",
		"MASAR_TOKEN_URL=http://x", "MASAR_TOKEN_FILE=/x", "MASAR_KAFKA_CLIENT_CERT_FILE=/x", "MASAR_OTLP_ENDPOINT=collector:4318",
	}, &out)
	for _, want := range []string{
		"MASAR_STORE_URI is needed", `MASAR_KAFKA_BROKERS: "nohost"`, "MASAR_OIDC_ISSUER is needed", "MASAR_TRACE_RATIO", "MASAR_LOG_FORMAT",
		"MASAR_STOP_TIMEOUT", "MASAR_CLIENT_ID", "exclude each other", "go together", "MASAR_OTLP_ENDPOINT",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said in:\n%s", want, &out)
		}
	}
	if status != 2 {
		t.Errorf("status %d", status)
	}
	out.Reset()
	if status := Alone(t.Context(), "toy", buildToy, []string{"MASAR_STOP_TIMEOUT=soon"}, &out); status != 2 || !strings.Contains(out.String(), "StopTimeout") {
		t.Errorf("status %d: %s", status, &out)
	}
}

func TestWhatIsNotThereAtTheStartIsNamed(t *testing.T) {
	broker, dir, who := startBroker(t), t.TempDir(), issuer(t)
	taken := listen(t)
	defer taken.Close()
	good := map[string]string{
		"MASAR_LISTEN": "127.0.0.1:0", "MASAR_TELEMETRY_LISTEN": "127.0.0.1:0", "MASAR_STORE_URI": "sqlite:" + filepath.Join(dir, "toy.db"),
		"MASAR_KAFKA_BROKERS": broker.Addr(), "MASAR_OIDC_ISSUER": who.URL(), "MASAR_DATA_DIR": dir, "MASAR_START_TIMEOUT": "1s",
	}
	for what, c := range map[string]struct{ name, value, says string }{
		"address taken":        {"MASAR_LISTEN", taken.Addr().String(), "MASAR_LISTEN"},
		"no such store":        {"MASAR_STORE_URI", "mysql://x/y", "MASAR_STORE_URI"},
		"no identity provider": {"MASAR_OIDC_ISSUER", "http://127.0.0.1:1", "MASAR_OIDC_ISSUER"},
		"no CA":                {"MASAR_KAFKA_CA_FILE", "/nowhere", "MASAR_KAFKA_CA_FILE"},
	} {
		environ := []string{"MASAR_KAFKA_TLS=" + fmt.Sprint(c.name == "MASAR_KAFKA_CA_FILE")}
		for name, value := range good {
			if name == c.name {
				value = c.value
			}
			environ = append(environ, name+"="+value)
		}
		if _, ok := good[c.name]; !ok {
			environ = append(environ, c.name+"="+c.value)
		}
		var out bytes.Buffer
		if status := Alone(t.Context(), "toy", buildToy, environ, &out); status != 1 || !strings.Contains(out.String(), "toy: "+c.says) {
			t.Errorf("%s: status %d:\n%s", what, status, &out)
		}
	}
}

// TestPrepare: what a service needs is there before it starts, and stays when it is
// prepared again.
func TestPrepare(t *testing.T) {
	broker, dir := startBroker(t), t.TempDir()
	environ := []string{
		"MASAR_STORE_URI=sqlite:" + filepath.Join(dir, "toy.db"), "MASAR_KAFKA_BROKERS=" + broker.Addr(),
		"MASAR_OIDC_ISSUER=http://127.0.0.1:1", "MASAR_DATA_DIR=" + dir, "MASAR_START_TIMEOUT=5s", // the identity provider is not needed
	}
	for range 2 {
		var out bytes.Buffer
		if status := Prepare(t.Context(), "toy", buildToy, environ, &out); status != 0 || !strings.Contains(out.String(), "topics and indexes are there") {
			t.Fatalf("status %d:\n%s", status, &out)
		}
		conn, err := kafka.Dial("tcp", broker.Addr())
		if err != nil {
			t.Fatal(err)
		}
		partitions, err := conn.ReadPartitions(toyTopic)
		if err = errors.Join(err, conn.Close()); err != nil || len(partitions) != 4 {
			t.Errorf("%d partitions: %v", len(partitions), err)
		}
		if _, err := os.Stat(filepath.Join(dir, "toy.db")); err != nil {
			t.Errorf("the collections are not there: %v", err)
		}
	}
	var out bytes.Buffer
	environ[1], environ[4] = "MASAR_KAFKA_BROKERS=127.0.0.1:1", "MASAR_START_TIMEOUT=1s"
	if status := Prepare(t.Context(), "toy", buildToy, environ, &out); status != 1 || !strings.Contains(out.String(), "could not be created") {
		t.Errorf("status %d:\n%s", status, &out)
	}
}
