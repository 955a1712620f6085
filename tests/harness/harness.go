// Package harness runs Masar's real programs for the tests that cross
// services: the one binary, or the five services as processes of their own.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"masar.local/pkg/opendata"
	"masar.local/pkg/runtime/runtimetest"
)

// Root is the repository's root: the folder of go.work.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.work above the working directory")
	return ""
}

// Shared is a file of the real open data beside the repository; the test is
// skipped where it is absent.
func Shared(t testing.TB, elem ...string) string {
	t.Helper()
	return opendata.Path(t, elem...)
}

var (
	buildOnce sync.Once
	buildDir  string
	buildErr  error
)

// Program builds every program once for the test run and returns the path of one.
func Program(t testing.TB, name string) string {
	t.Helper()
	root := Root(t)
	buildOnce.Do(func() {
		if buildDir, buildErr = os.MkdirTemp("", "masar-programs-"); buildErr != nil {
			return
		}
		args := []string{"build", "-o", buildDir + string(filepath.Separator), "./cmd/masar"}
		for _, s := range []string{"candidates", "employers", "indicators", "matching", "notifications"} {
			args = append(args, "./services/"+s+"/cmd/"+s)
		}
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return filepath.Join(buildDir, name)
}

// Cleanup removes what Program built; call it at the end of TestMain.
func Cleanup() {
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
}

// Process is one running program.
type Process struct {
	Cmd  *exec.Cmd
	name string
	out  *runtimetest.Log
	done chan struct{}
	err  error
}

// Start runs a program until the test ends; its output shows when the test fails.
func Start(t testing.TB, name string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.Command(Program(t, name), args...), name: name, out: &runtimetest.Log{}, done: make(chan struct{})}
	p.Cmd.Env = append(os.Environ(), env...)
	p.Cmd.Stdout, p.Cmd.Stderr = p.out, p.out
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.Cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, tail(p.out.String(), 60))
		}
	})
	return p
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Output is what the program has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Kill ends the program at once, as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.done
}

// Stop sends SIGTERM and returns how the program ended.
func (p *Process) Stop(t testing.TB) error {
	t.Helper()
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(40 * time.Second):
		p.Kill()
		return errors.New("did not stop within 40 s of SIGTERM")
	}
}

// Exited tells whether the program has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Eventually waits until check returns nil and fails the test with its last
// error after a minute and a half.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var err error
	for {
		if err = check(); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// Platform is a running `masar up`.
type Platform struct {
	*Process
	Data, URL, Kafka string
}

// Up starts `masar up` on a data directory and waits until it is ready.
func Up(t testing.TB, data string) *Platform {
	t.Helper()
	_ = os.Remove(filepath.Join(data, "run.json"))
	p := &Platform{Data: data}
	p.Process = Start(t, "masar", nil, "up", "--data", data, "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0")
	Eventually(t, "masar up is ready", func() error {
		if p.Exited() {
			t.Fatalf("masar up ended: %v\n%s", p.err, p.Output())
		}
		b, err := os.ReadFile(filepath.Join(data, "run.json"))
		if err != nil {
			return err
		}
		var i struct{ URL, Kafka string }
		if err := json.Unmarshal(b, &i); err != nil {
			return err
		}
		p.URL, p.Kafka = i.URL, i.Kafka
		return Ready(p.URL)
	})
	return p
}

// Ready asks a readiness probe.
func Ready(base string) error {
	res, err := http.Get(base + "/healthz/ready")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		return fmt.Errorf("readiness is %d: %s", res.StatusCode, body)
	}
	return nil
}

// Masar runs one command of the binary to its end and returns its output and
// exit code.
func Masar(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(Program(t, "masar"), args...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// Token returns an access token of the platform's local identity.
func (p *Platform) Token(t testing.TB, role string, more ...string) string {
	t.Helper()
	out, code := Masar(t, append([]string{"token", "--data", p.Data, "--role", role}, more...)...)
	if code != 0 {
		t.Fatalf("masar token: %s", out)
	}
	return strings.TrimSpace(out)
}

// Call makes one API call. body nil sends none; a JSON answer is decoded into answer.
func Call(t testing.TB, token, method, url string, body, answer any, headers ...string) int {
	t.Helper()
	status, raw, err := TryCall(token, method, url, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			t.Fatalf("%s %s: status %d, not the JSON that was expected (%v): %s", method, url, status, err, raw)
		}
	}
	return status
}

// TryCall is Call for a platform that may be down.
func TryCall(token, method, url string, body any, headers ...string) (int, []byte, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, raw, err
}

// Metrics scrapes a Prometheus page into its samples, by series as written.
func Metrics(t testing.TB, url string) map[string]float64 {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	samples := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		var v float64
		if _, err := fmt.Sscanf(line[at+1:], "%g", &v); err == nil {
			samples[line[:at]] = v
		}
	}
	return samples
}
