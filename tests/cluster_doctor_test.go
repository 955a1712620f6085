package tests

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/tests/harness"
)

// TestClusterDoctor asks `masar doctor --cluster` before an installation: where all is
// well, and where something is not.
func TestClusterDoctor(t *testing.T) {
	host := node(t)
	kafka, mongo := os.Getenv("MASAR_TEST_KAFKA"), os.Getenv("MASAR_TEST_MONGODB_URI")
	if kafka == "" || mongo == "" {
		t.Skip("no Kafka or no MongoDB server in the cluster's network: tests/servers/with-kafka.sh and with-mongo.sh say why")
	}
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
	token, err := issuer.Token(access.Principal{Subject: "test", Role: access.Service}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	r := newRelease(t, "doctor")
	secret := func(name string, data map[string]string) {
		t.Helper()
		var lines []string
		for k, v := range data {
			lines = append(lines, k+": "+base64.StdEncoding.EncodeToString([]byte(v)))
		}
		apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: doctor}, data: {%s}}`, name, strings.Join(lines, ", ")))
	}
	const password, badKey = "geheim-Geheim", "Z2VoZWltLUdlaGVpbQ=="
	stores := map[string]string{}
	for _, s := range services {
		stores[s] = strings.TrimSuffix(mongo, "/") + "/doctor_" + s
	}
	secret("mongodb", stores)
	delete(stores, "notifications")
	stores["candidates"] = "mongodb://masar:" + password + "@" + host + ":9/candidates?serverSelectionTimeoutMS=1000"
	secret("bad-mongodb", stores)
	secret("oidc", map[string]string{"token": token})
	secret("master-key", map[string]string{"master-key": base64.StdEncoding.EncodeToString(make([]byte, 32))})
	secret("bad-key", map[string]string{"master-key": badKey})
	apply(t, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: doctor}, provisioner: example.org/none}`)
	t.Cleanup(func() { _, _ = try("kubectl", "delete", "storageclass", "doctor") })

	values := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--values=" + path
	}
	good := values(fmt.Sprintf(`
image: {tag: new}
kafka: {brokers: ["%s"]}
mongodb: {existingSecret: mongodb}
oidc: {issuer: "%s", existingSecret: oidc}
candidates: {masterKeySecret: master-key}
backup: {enabled: true, storageClass: doctor}
`, kafka, idp.URL))
	// doctor asks; each want is an expression that a line of the output has.
	doctor := func(t *testing.T, code int, args []string, want ...string) {
		t.Helper()
		began := time.Now()
		out, got := harness.Masar(t, append([]string{"doctor", "--cluster", "--namespace=doctor"}, args...)...)
		t.Logf("%s after %s:\n%s", strings.Join(args, " "), time.Since(began).Round(100*time.Millisecond), out)
		if got != code {
			t.Errorf("exit code %d, want %d", got, code)
		}
		for _, w := range want {
			if !regexp.MustCompile("(?m)^" + w).MatchString(out) {
				t.Errorf("no line is %s", w)
			}
		}
		for _, hidden := range []string{password, badKey, token, base64.StdEncoding.EncodeToString([]byte(password))} {
			if strings.Contains(out, hidden) {
				t.Error("a secret is shown")
			}
		}
		if left := r.kubectl("get", "pods", "-l", "app.kubernetes.io/name=masar-doctor", "-o", "name"); left != "" {
			t.Errorf("left: %s", left)
		}
	}

	t.Run("all is well", func(t *testing.T) {
		doctor(t, 0, []string{good},
			`ok +API server .* Kubernetes v1\.`, `ok +permissions`, `ok +storage .* class doctor$`, `ok +nodes +1 of 1`, `ok +clock`, `ok +admission`,
			`ok +secret +mongodb \(mongodb.existingSecret\)$`, `ok +secret +master-key`,
			`ok +from the cluster +DNS kubernetes.default.svc is 10\.`, `ok +from the cluster +Kafka `+regexp.QuoteMeta(kafka)+` answers`,
			`ok +from the cluster +MongoDB notifications .* answers`, `ok +from the cluster +OIDC .* with . keys`, `ok +from the cluster +service token`,
			`all [0-9]+ checks passed`)
	})
	t.Run("no namespace yet", func(t *testing.T) {
		doctor(t, 0, []string{good, "--namespace=later"}, `ok +namespace +later is not there yet; you may make it`, `ok +clock +this machine's is in step`, `ok +from the cluster +not looked at: make the namespace first`)
	})
	t.Run("what is wrong", func(t *testing.T) {
		doctor(t, 1, []string{good, values(fmt.Sprintf(`
kafka: {brokers: ["%s:9"]}
mongodb: {existingSecret: bad-mongodb}
oidc: {existingSecret: nowhere}
candidates: {masterKeySecret: bad-key}
defaults: {autoscaling: {enabled: true, keda: true}}
backup: {storageClass: nowhere}
`, host))},
			`FAIL +secret +nowhere .* is not in the namespace doctor: make it, with the keys token`,
			`FAIL +secret +bad-mongodb .* has no notifications`,
			`FAIL +secret +bad-key .* is not the base64 of 32 bytes`,
			`FAIL +storage .* class nowhere is not there: set backup.storageClass to one of doctor`,
			`FAIL +further APIs .*keda.sh/v1alpha1 is absent, and autoscaling.keda asks for it`,
			`FAIL +from the cluster +Kafka `+regexp.QuoteMeta(host)+`:9 cannot be reached: .*connection refused`,
			`FAIL +from the cluster +MongoDB candidates `+regexp.QuoteMeta(host)+`:9/candidates does not answer`,
			`ok +from the cluster +MongoDB employers`, `FAIL +from the cluster +service token`)
	})
	t.Run("no such image", func(t *testing.T) {
		doctor(t, 1, []string{good, "--image=127.0.0.1:5000/masar/masar:none"},
			`FAIL +from the cluster +127.0.0.1:5000/masar/masar:none the image cannot be had \(ErrImagePull: .*: check image.registry`)
	})
	t.Run("another image", func(t *testing.T) {
		doctor(t, 1, []string{good, "--image=masar.local/masar/candidates:new"}, `FAIL +from the cluster .* does not know doctor --reach`)
	})
	t.Run("no node", func(t *testing.T) {
		doctor(t, 1, []string{good, values(`nodeSelector: {kubernetes.io/os: plan9}`)},
			`FAIL +nodes +0 of 1 can take the pods; 1 not of nodeSelector`, `FAIL +from the cluster .* no node takes the pod: 0/1 nodes`)
	})
	t.Run("nodes that differ", func(t *testing.T) {
		t.Cleanup(func() { _, _ = try("kubectl", "delete", "node", "ahead", "behind") })
		for name, by := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
			apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Node, metadata: {name: %s}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: "True"}]}}`, name))
			apply(t, fmt.Sprintf(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: %s, namespace: kube-node-lease}, spec: {holderIdentity: %[1]s, renewTime: %q}}`,
				name, time.Now().Add(by).UTC().Format("2006-01-02T15:04:05.000000Z")))
		}
		doctor(t, 1, []string{good}, `ok +nodes +1 of 3 can take the pods, 1 amd64; 2 cordoned: losing`, `FAIL +nodes' clocks +3 of 3 .*ahead is (1h0m|59m)`, `FAIL +nodes' clocks .*behind is behind, .* by (1h0m|59m)`)
	})
	t.Run("a quota", func(t *testing.T) {
		apply(t, `{apiVersion: v1, kind: ResourceQuota, metadata: {name: small, namespace: doctor}, spec: {hard: {pods: 0, requests.memory: 1Gi}}}`)
		t.Cleanup(func() { r.kubectl("delete", "resourcequota", "small") })
		harness.Eventually(t, "the quota counts", func() error {
			if r.kubectl("get", "resourcequota", "small", "-o", "jsonpath={.status.hard}") == "" {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		doctor(t, 1, []string{good}, `FAIL +quota +small: .* pods: the chart needs 10, 0 is left`, `FAIL +admission .* is refused: .*exceeded quota`)
	})
	t.Run("no right", func(t *testing.T) {
		r.kubectl("create", "serviceaccount", "reader")
		r.kubectl("create", "rolebinding", "reader", "--clusterrole=view", "--serviceaccount=doctor:reader")
		config := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(config, []byte(run(t, "kubectl", "config", "view", "--raw", "--minify", "--flatten")), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "kubectl", "--kubeconfig="+config, "config", "set-credentials", "reader", "--token="+r.kubectl("create", "token", "reader"))
		run(t, "kubectl", "--kubeconfig="+config, "config", "set-context", "reader", "--user=reader", "--cluster=c")
		t.Setenv("KUBECONFIG", config)
		// r.kubectl looks for what is left as the reader too, which it may.
		doctor(t, 1, []string{good, "--context=reader"},
			`FAIL +permissions .* you may not .*create, patch, delete deployments\.apps;`, `FAIL +secret .* cannot be looked at: you may not read secrets`,
			`ok +nodes +not looked at: you may not read it`, `FAIL +admission .* is refused: pods is forbidden`)
	})
	t.Run("stopped", func(t *testing.T) {
		// Nobody answers there, nor refuses.
		p := harness.Start(t, "masar", nil, "doctor", "--cluster", "--namespace=doctor", good, values(`kafka: {brokers: ["10.10.0.254:9092"]}`))
		harness.Eventually(t, "the pod runs", func() error {
			if phase := r.kubectl("get", "pods", "-l", "app.kubernetes.io/name=masar-doctor", "-o", "jsonpath={.items[*].status.phase}"); phase != "Running" {
				return fmt.Errorf("phase %q", phase)
			}
			return nil
		})
		if err := p.Stop(t); err == nil || !strings.Contains(p.Output(), "stopped before the end") {
			t.Errorf("ended with %v: %s", err, p.Output())
		}
		if left := r.kubectl("get", "pods", "-l", "app.kubernetes.io/name=masar-doctor", "-o", "name"); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}
