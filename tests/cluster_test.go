package tests

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/tests/harness"
)

// The tests of this file run inside the cluster's network: tests/cluster/run.sh
// builds it, loads the images and starts them.

// node is the cluster node's address, where the test's own servers listen; it skips
// the test where there is no cluster.
func node(t *testing.T) string {
	t.Helper()
	address := os.Getenv("MASAR_TEST_CLUSTER")
	if address == "" {
		t.Skip("no cluster: tests/cluster/run.sh starts one and runs this test in it")
	}
	return address
}

// run runs a command that must succeed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	cmd := exec.Command("kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// release is one installation of the chart in a namespace of its own, where nothing
// may run that Pod Security "restricted" does not allow.
type release struct {
	t         *testing.T
	namespace string
	values    []string
}

func newRelease(t *testing.T, namespace string, values ...string) *release {
	t.Helper()
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`, namespace))
	r := &release{t, namespace, values}
	t.Cleanup(func() {
		if t.Failed() {
			for _, look := range [][]string{{"get", "pods", "-o", "wide"}, {"events"}, {"logs", "-l", "app.kubernetes.io/name=masar", "--tail=30", "--prefix", "--all-containers"}} {
				out, _ := r.try("kubectl", look...)
				t.Log(out)
			}
		}
		_, _ = try("helm", "uninstall", "masar", "-n", namespace, "--wait")
		_, _ = try("kubectl", "delete", "namespace", namespace, "--wait=false")
	})
	return r
}

func (r *release) try(name string, args ...string) (string, error) {
	return try(name, append([]string{"-n", r.namespace}, args...)...)
}

func (r *release) kubectl(args ...string) string {
	r.t.Helper()
	return run(r.t, "kubectl", append([]string{"-n", r.namespace}, args...)...)
}

// upgrade installs or upgrades, and waits until everything is ready.
func (r *release) upgrade(more ...string) (string, error) {
	args := []string{"upgrade", "--install", "masar", filepath.Join(harness.Root(r.t), "deploy", "helm", "masar"), "--wait", "--timeout", "150s"}
	return r.try("helm", slices.Concat(args, r.values, more)...)
}

func (r *release) mustUpgrade(more ...string) {
	r.t.Helper()
	began := time.Now()
	if out, err := r.upgrade(more...); err != nil {
		r.t.Fatalf("helm upgrade: %v\n%s", err, out)
	}
	r.t.Logf("helm upgrade %s: %s", strings.Join(more, " "), time.Since(began).Round(100*time.Millisecond))
}

func (r *release) helmTest() {
	r.t.Helper()
	if out, err := r.try("helm", "test", "masar", "--timeout", "60s", "--logs"); err != nil {
		r.t.Fatalf("helm test: %v\n%s", err, out)
	}
}

// kill sends SIGKILL to the first process of a pod.
func (r *release) kill(pod string) {
	r.t.Helper()
	id := r.kubectl("get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	run(r.t, "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", strings.TrimPrefix(id, "containerd://"))
}

// pods of a component, without those that are being stopped.
func (r *release) pods(component string) []string {
	r.t.Helper()
	return strings.Fields(r.kubectl("get", "pods", "-l", "app.kubernetes.io/component="+component,
		"-o", "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}"))
}

// TestClusterEmbedded installs the embedded profile as a regional office would, and
// kills it in the middle of its work.
func TestClusterEmbedded(t *testing.T) {
	node(t)
	volume := filepath.Join(os.Getenv("CLUSTER_HOME"), "volume-embedded")
	if err := os.RemoveAll(volume); err != nil {
		t.Fatal(err)
	}
	// As fsGroup leaves a volume.
	if err := errors.Join(os.Mkdir(volume, 0o770), os.Chmod(volume, 0o770), os.Chown(volume, 0, 65532)); err != nil {
		t.Fatal(err)
	}
	apply(t, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: embedded}, spec: {capacity: {storage: 20Gi}, accessModes: [ReadWriteOnce], storageClassName: test, hostPath: {path: %s, type: Directory}}}`, volume))
	t.Cleanup(func() { _, _ = try("kubectl", "delete", "pv", "embedded", "--wait=false") })

	r := newRelease(t, "embedded", "--set", "profile=embedded", "--set", "embedded.storageClass=test", "--set", "image.tag=new")
	r.mustUpgrade()
	r.helmTest()
	masar := func(args ...string) (string, error) {
		return r.try("kubectl", append([]string{"exec", "masar-0", "--", "masar"}, args...)...)
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := masar(args...)
		if err != nil {
			t.Fatalf("masar %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	must("demo", "--people", "60")
	before := must("verify")

	going := make(chan struct{})
	go func() {
		defer close(going)
		_, _ = masar("demo", "--people", "400", "--seed", "7") // ends with the pod
	}()
	harness.Eventually(t, "more is written", func() error {
		if out, err := masar("verify"); err != nil || out == before {
			return fmt.Errorf("%v %s", err, out)
		}
		return nil
	})
	r.kill("masar-0")
	<-going
	harness.Eventually(t, "it runs again", func() error {
		out, err := masar("doctor")
		if err != nil {
			return fmt.Errorf("%w %s", err, out)
		}
		return nil
	})
	// Everything that was filed is counted, and the other way round.
	harness.Eventually(t, "the figures agree with the journals", func() error {
		out, err := masar("verify")
		if err == nil && !strings.Contains(out, "clean") || err != nil {
			return fmt.Errorf("%v %s", err, out)
		}
		t.Log(strings.TrimSpace(out))
		return nil
	})
}

// TestClusterServices installs the five services, tells them the story, and then does
// what operators do, and what happens to them, while commands stream in.
func TestClusterServices(t *testing.T) {
	host := node(t)
	kafka, mongo := os.Getenv("MASAR_TEST_KAFKA"), os.Getenv("MASAR_TEST_MONGODB_URI")
	if kafka == "" || mongo == "" {
		t.Skip("no Kafka or no MongoDB server in the cluster's network: tests/servers/with-kafka.sh and with-mongo.sh say why")
	}
	// The identity provider, outside of the cluster as any other.
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	idp := httptest.NewUnstartedServer(nil)
	idp.Listener.Close()
	idp.Listener = listener
	issuer, err := access.OpenIssuer(t.TempDir(), "http://"+listener.Addr().String(), time.Now)
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

	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := newRelease(t, "services",
		"--set", "kafka.brokers={"+kafka+"}", "--set", "mongodb.existingSecret=mongodb", "--set", "oidc.existingSecret=oidc",
		"--set", "oidc.issuer="+idp.URL, "--set", "oidc.ports={"+port+"}", "--set", "candidates.masterKeySecret=master-key",
		"--set", "defaults.resources.requests.cpu=10m,matching.resources.requests.cpu=10m,indicators.resources.requests.cpu=10m")
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(rand.Int())
	}
	secret := func(name string, data map[string]string) {
		var lines []string
		for k, v := range data {
			lines = append(lines, k+": "+base64.StdEncoding.EncodeToString([]byte(v)))
		}
		apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: services}, data: {%s}}`, name, strings.Join(lines, ", ")))
	}
	stores, testRun := map[string]string{}, time.Now().UnixNano()
	for _, s := range services {
		stores[s] = fmt.Sprintf("%s/%s_%d", strings.TrimSuffix(mongo, "/"), s, testRun)
	}
	secret("mongodb", stores)
	secret("oidc", map[string]string{"token": token("service")})
	secret("master-key", map[string]string{"master-key": base64.StdEncoding.EncodeToString(key)})
	r.mustUpgrade("--set", "image.tag=old")
	r.helmTest()

	// What an ingress does, to the Services by their names.
	front := http.NewServeMux()
	for _, s := range services {
		backend, err := url.Parse("http://masar-" + s + ".services:8080")
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(backend)
		proxy.ErrorLog = nil
		// A new connection for each request, as of many clients.
		proxy.Transport = &http.Transport{DisableKeepAlives: true}
		front.Handle("/api/"+s+"/", proxy)
	}
	ingress := httptest.NewServer(front)
	t.Cleanup(ingress.Close)
	w := world{
		url: ingress.URL, metrics: "http://masar-indicators.services:9090/metrics", kafka: kafka, token: token,
		cli: []string{"--url", ingress.URL, "--token", token("admin"), "--kafka", kafka},
	}
	t.Run("story", func(t *testing.T) { story(t, w) })

	flow := startTraffic(t, w)
	step := func(name string, do func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			before := flow.count()
			do(t)
			harness.Eventually(t, "commands are acknowledged again", func() error {
				if n := flow.count() - before; n < 10 {
					return fmt.Errorf("%d", n)
				}
				return nil
			})
		})
	}
	step("upgrade", func(*testing.T) { r.mustUpgrade("--set", "image.tag=new") })
	step("rollback", func(*testing.T) {
		run(t, "helm", "rollback", "masar", "1", "-n", "services", "--wait", "--timeout", "150s")
	})
	step("kill", func(*testing.T) {
		for _, s := range services {
			r.kill(r.pods(s)[0])
		}
		for _, s := range services {
			r.kubectl("rollout", "status", "deployment/masar-"+s, "--timeout=90s")
		}
	})
	step("drain", func(t *testing.T) {
		// With nowhere to go, the budget keeps one of two.
		out, err := try("kubectl", "drain", "node1", "--pod-selector=app.kubernetes.io/component=candidates", "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=12s")
		if err == nil || !strings.Contains(out, "disruption budget") {
			t.Errorf("the drain took both: %v\n%s", err, out)
		}
		run(t, "kubectl", "uncordon", "node1")
		r.kubectl("rollout", "status", "deployment/masar-candidates", "--timeout=90s")
	})
	step("out of memory", func(t *testing.T) {
		// What cannot start does not take the place of what runs.
		if out, err := r.upgrade("--timeout", "25s", "--set", "image.tag=new", "--set", "matching.resources.limits.memory=12Mi,matching.resources.requests.memory=12Mi"); err == nil {
			t.Errorf("a service with too little memory has started:\n%s", out)
		}
		if out := r.kubectl("get", "deployment", "masar-matching", "-o", "jsonpath={.status.availableReplicas}"); out != "2" {
			t.Errorf("%s of 2 are available", out)
		}
		r.mustUpgrade("--set", "image.tag=new")
	})
	flow.stop(t)
	r.helmTest()
	harness.Eventually(t, "the figures agree with the journals", func() error {
		out, code := w.masar(t, "verify")
		if code != 0 {
			return fmt.Errorf("%d %s", code, out)
		}
		t.Log(strings.TrimSpace(out))
		return nil
	})
}

// traffic is commands that stream in, each repeated under its key until it is
// acknowledged.
type traffic struct {
	w       world
	cancel  context.CancelFunc
	writers sync.WaitGroup

	mu      sync.Mutex
	ids     []string // of people
	repeats int
	lost    []string
}

func startTraffic(t *testing.T, w world) *traffic {
	ctx, cancel := context.WithCancel(t.Context())
	f := &traffic{w: w, cancel: cancel}
	t.Cleanup(cancel)
	token := w.token("admin")
	for writer := range 4 {
		f.writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("traffic-%d-%d", writer, n)
				person := map[string]any{
					"ref": key, "family_name": "Essai", "given_name": "Passage", "sex": "F", "birth_date": "1990-01-01",
					"governorate": "TN-11", "language": "fr", "occupations": []map[string]any{{"rome": "A1401"}}, "consents": []string{"matching"},
				}
				var id string
				f.insist(token, "/api/candidates/candidates", person, "person-"+key, &id)
				if id == "" {
					continue
				}
				f.insist(token, "/api/candidates/pathways", map[string]any{"candidate_id": id, "scheme": "agri", "occurred_at": time.Now().UTC().AddDate(0, 0, -20)}, "open-"+key, nil)
				f.mu.Lock()
				f.ids = append(f.ids, id)
				f.mu.Unlock()
			}
		})
	}
	return f
}

// insist repeats a command until it is acknowledged, as a client does: for a minute.
func (f *traffic) insist(token, path string, body any, key string, id *string) {
	pause := time.NewTicker(200 * time.Millisecond)
	defer pause.Stop()
	for range 300 {
		if accepted(token, f.w.url+path, body, key, id) {
			return
		}
		f.mu.Lock()
		f.repeats++
		f.mu.Unlock()
		<-pause.C
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = append(f.lost, key)
}

func (f *traffic) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// stop ends the stream and looks for everything that was acknowledged.
func (f *traffic) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	f.writers.Wait()
	t.Logf("%d people with a pathway were acknowledged; %d requests were repeated; %d commands failed", len(f.ids), f.repeats, len(f.lost))
	if len(f.lost) > 0 {
		t.Errorf("not acknowledged within a minute: %q", f.lost)
	}
	seen := map[string]bool{}
	for _, id := range f.ids {
		if seen[id] {
			t.Errorf("two commands made the person %s", id)
		}
		seen[id] = true
		if status := harness.Call(t, f.w.token("admin"), "GET", f.w.url+"/api/candidates/candidates/"+id, nil, nil); status != http.StatusOK {
			t.Errorf("the person %s was acknowledged and is gone: %d", id, status)
		}
	}
}
