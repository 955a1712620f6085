package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"masar.local/pkg/access"
	"masar.local/pkg/embedded"
)

const chart = "../../deploy/helm/masar"

// What is repeated of the chart is as the chart has it.
func TestTheChartIsAsRepeated(t *testing.T) {
	read := func(name string, into any) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(chart, name))
		if err == nil {
			err = yaml.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var about struct{ KubeVersion, AppVersion string }
	read("Chart.yaml", &about)
	if want := fmt.Sprintf(">=1.%d.0-0", leastMinor); about.KubeVersion != want || about.AppVersion != appVersion {
		t.Errorf("Chart.yaml has kubeVersion %s, appVersion %s; here %s, %s", about.KubeVersion, about.AppVersion, want, appVersion)
	}

	// The chart's own values change nothing of the defaults.
	few, err := readValues(nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := readValues([]string{filepath.Join(chart, "values.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	few.imageNamed = all.imageNamed
	for name, of := range all.services {
		for _, have := range []map[string]any{of.Resources.Requests, of.Resources.Limits} {
			delete(have, "ephemeral-storage") // not looked at
		}
		all.services[name] = of
	}
	for _, have := range []map[string]any{all.Embedded.Resources.Requests, all.Embedded.Resources.Limits} {
		delete(have, "ephemeral-storage")
	}
	a, b := asJSON(t, few), asJSON(t, all)
	if a != b || !reflect.DeepEqual(few.services, all.services) {
		t.Errorf("defaults here: %s %v\nvalues.yaml:   %s %v", a, few.services, b, all.services)
	}
}

// asJSON is without the difference between nothing and an empty list.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("{}", "null", "[]", "null").Replace(string(b))
}

// The kinds whose rights are asked for are those that helm renders.
func TestKindsAreThoseThatTheChartRenders(t *testing.T) {
	apis := map[string][]string{ // as in tests/chart.sh
		"ministry":  {monitoringAPI},
		"operators": {strimziAPI, kedaAPI, communityAPI, gatewayAPI},
	}
	sets, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil || len(sets) == 0 {
		t.Fatal(sets, err)
	}
	for _, set := range sets {
		name := strings.TrimSuffix(filepath.Base(set), ".yaml")
		v, err := readValues([]string{set})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, api := range apis[name] {
			have[api] = true
		}
		ours := map[string]bool{}
		for _, kind := range v.kinds(have, "masar") {
			ours[kind.api+" "+kind.kind] = true
			if kind.api == strimziAPI && kind.namespace != "kafka" {
				t.Errorf("%s: %v is not in the namespace of Strimzi's Kafka", name, kind)
			}
		}
		rendered, err := os.ReadFile(filepath.Join("../../deploy/helm/golden", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		theirs := map[string]bool{}
		for document := range strings.SplitSeq(string(rendered), "\n---\n") {
			var object struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			if object.Kind != "" {
				theirs[object.APIVersion+" "+object.Kind] = true
			}
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%s: asked for %v\nthe chart renders %v", name, ours, theirs)
		}
	}
}

func TestValuesGoOverEachOtherAsWithHelm(t *testing.T) {
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	v, err := readValues([]string{
		write("a.yaml", `{kafka: {brokers: ["a:1", "b:1"], tls: {enabled: yes}}, mongodb: {existingSecret: one}, defaults: {replicas: 3, autoscaling: {enabled: true}}}`),
		write("b.yaml", `{kafka: {brokers: ["c:1"]}, mongodb: {existingSecret: null}, matching: {replicas: 1, autoscaling: {enabled: false}}, image: {tag: "1"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Kafka.Brokers, []string{"c:1"}) || !v.Kafka.TLS.Enabled || v.Kafka.TLS.CAKey != "ca.crt" || v.MongoDB.ExistingSecret != "" {
		t.Errorf("kafka %+v, mongodb %+v", v.Kafka, v.MongoDB)
	}
	if m, e := v.services["matching"], v.services["employers"]; m.Replicas != 1 || m.Autoscaling.Enabled || e.Replicas != 3 || !e.Autoscaling.Enabled {
		t.Errorf("matching %+v, employers %+v", m, e)
	}
	if got := v.image(); got != "masar.local/masar/masar:1" || !v.imageNamed {
		t.Errorf("image %s, named %v", got, v.imageNamed)
	}
	if _, err := readValues([]string{write("c.yaml", "kafka: {brokers: none}")}); err == nil || !strings.Contains(err.Error(), "Brokers") {
		t.Errorf("a text for a list: %v", err)
	}
}

func TestQuantity(t *testing.T) {
	for text, want := range map[string]float64{"100m": 0.1, "2": 2, "1.5Gi": 1.5 * (1 << 30), "512Mi": 512 << 20, "1k": 1000, "1e3": 1000, "2E": 2e18, "0": 0} {
		if got, err := quantity(text); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := quantity("much"); err == nil {
		t.Error("much is a quantity")
	}
}

func TestClocksThatDifferAreTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nodes' leases are not asked for
	for ahead, want := range map[time.Duration]string{0: "", time.Minute: "it differs by -1m", -time.Minute: "it differs by 1m", 3 * time.Second: ""} {
		got := kubectl{}.checkClocks(ctx, time.Now().Add(ahead), nil)[0].problem
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("an API server %s ahead: %q", ahead, got)
		}
	}
}

// What a pod's status says about why it does not run.
func TestPodStatusIsToldInASentence(t *testing.T) {
	for status, want := range map[string]string{
		`{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes are available."}]}`:                                      "no node takes the pod: 0/3 nodes are available: see nodeSelector",
		`{"phase":"Pending","containerStatuses":[{"name":"doctor","state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off"}}}]}`:                                             "the image cannot be had (ImagePullBackOff: Back-off): check image.registry",
		`{"phase":"Pending","containerStatuses":[{"name":"doctor","state":{"waiting":{"reason":"CreateContainerConfigError","message":"no secret"}}}]}`:                                  "its container cannot be made: CreateContainerConfigError: no secret",
		`{"phase":"Failed","reason":"DeadlineExceeded","message":"too long"}`:                                                                                                            "DeadlineExceeded too long",
		`{"phase":"Failed","containerStatuses":[{"name":"doctor","state":{"terminated":{"reason":"StartError","message":"exec format error"}}}]}`:                                        "its program cannot run: StartError exec format error",
		`{"phase":"Pending","containerStatuses":[{"name":"doctor","state":{"waiting":{"reason":"ContainerCreating"}}}]}`:                                                                 "",
		`{"phase":"Running","containerStatuses":[{"name":"istio-proxy","state":{"waiting":{"reason":"ErrImagePull"}}},{"name":"doctor","state":{"terminated":{"reason":"Completed"}}}]}`: "",
	} {
		var p podStatus
		if err := json.Unmarshal([]byte(`{"status":`+status+`}`), &p); err != nil {
			t.Fatal(err)
		}
		ended, _, got := p.ended()
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", status, got, want)
		}
		if want == "" && ended != strings.Contains(status, "Completed") {
			t.Errorf("%s: ended %v", status, ended)
		}
	}
}

// Everything that answers is found, with the token that one service has for another.
func TestReachFindsWhatAnswers(t *testing.T) {
	broker, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	provider := httptest.NewUnstartedServer(nil)
	issuer, err := access.OpenIssuer(t.TempDir(), "http://"+provider.Listener.Addr().String(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	provider.Config.Handler = issuer.Handler()
	provider.Start()
	defer provider.Close()
	tokenOf := func(role access.Role) string {
		token, err := issuer.Token(access.Principal{Subject: "test", Role: role}, time.Hour)
		path := filepath.Join(t.TempDir(), "token")
		if err := errors.Join(err, os.WriteFile(path, []byte(token), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := listen(t, func(c net.Conn) {})

	settings := []string{
		"MASAR_KAFKA_BROKERS=" + broker.Addr(), "MASAR_OIDC_ISSUER=" + issuer.URL(), "MASAR_STORE_URI=sqlite:/nowhere/at/all.db",
		"MASAR_OTLP_ENDPOINT=http://" + open, "MASAR_SMTP_URL=smtp://masar:geheim@" + open + "?from=masar@example.tn",
	}
	found := reach(t.Context(), append(settings, "MASAR_TOKEN_FILE="+tokenOf(access.Service)))
	var what []string
	for _, f := range found {
		what = append(what, f.what)
		if f.problem != "" || strings.Contains(f.detail, "geheim") {
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"Kafka", "OIDC", "service token", "OTLP", "SMTP"}; !slices.Equal(what, want) {
		t.Errorf("looked at %v, want %v", what, want)
	}

	found = reach(t.Context(), append(settings, "MASAR_TOKEN_FILE="+tokenOf(access.Officer)))
	if i := slices.IndexFunc(found, func(f finding) bool { return f.what == "service token" }); !strings.Contains(found[i].problem, "its role is officer") {
		t.Errorf("an officer's token: %+v", found[i])
	}

	// The token from the provider, for an id and a secret.
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if id, secret, _ := r.BasicAuth(); id != "masar" || secret != "geheim" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		token, _ := os.ReadFile(tokenOf(access.Service))
		_ = json.NewEncoder(w).Encode(map[string]string{"access_token": string(token), "token_type": "bearer"})
	}))
	defer tokens.Close()
	for _, secret := range []string{"geheim\n", "geheimer"} {
		path := filepath.Join(t.TempDir(), "client-secret")
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		found := reach(t.Context(), []string{"MASAR_OIDC_ISSUER=" + issuer.URL(), "MASAR_TOKEN_URL=" + tokens.URL, "MASAR_CLIENT_ID=masar", "MASAR_CLIENT_SECRET_FILE=" + path})
		if last := found[len(found)-1]; last.what != "service token" || (last.problem == "") != (secret == "geheim\n") || strings.Contains(last.problem, "geheim") {
			t.Errorf("client credentials: %+v", last)
		}
	}
}

// Behind TLS a broker answers who trusts it; the address that it gives for itself is
// asked too, as clients go there.
func TestReachAsksABrokerByTLSAndWhereItSends(t *testing.T) {
	broker, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	front := listen(t, func(c net.Conn) {
		secured := tls.Server(c, &tls.Config{Certificates: server.TLS.Certificates})
		behind, err := net.Dial("tcp", broker.Addr())
		if err != nil {
			return
		}
		defer behind.Close()
		go func() { _, _ = io.Copy(behind, secured) }()
		_, _ = io.Copy(secured, behind)
	})
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []string{"MASAR_KAFKA_BROKERS=" + front, "MASAR_KAFKA_TLS=true"}
	found := reach(t.Context(), append(settings, "MASAR_KAFKA_CA_FILE="+ca))
	if len(found) != 2 || found[0].problem != "" || !strings.HasPrefix(found[1].detail, broker.Addr()+" (its brokers give this address)") || found[1].problem == "" {
		t.Errorf("trusted: %+v", found)
	}
	if found := reach(t.Context(), settings); len(found) != 1 || !strings.Contains(found[0].problem, "certificate") {
		t.Errorf("by the system's roots: %+v", found)
	}
	if found := reach(t.Context(), append(settings, "MASAR_KAFKA_CA_FILE=/nowhere")); len(found) != 1 || !strings.Contains(found[0].problem, "MASAR_KAFKA_CA_FILE") {
		t.Errorf("without the file: %+v", found)
	}
}

// listen gives the address of a port that answers connections by do.
func listen(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				do(c)
			}()
		}
	}()
	return l.Addr().String()
}

// What does not answer is told, each for itself, and no password with it.
func TestReachTellsWhatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	// As a port that wants TLS: it hangs up on what it cannot understand.
	mute := listen(t, func(net.Conn) {})

	found := reach(t.Context(), []string{
		"MASAR_KAFKA_BROKERS=" + closed + "," + mute + ",kafka.nowhere.invalid:9092",
		"MASAR_STORE_URI_CANDIDATES=mongodb://masar:geheim@" + closed + "/c?serverSelectionTimeoutMS=200",
		"MASAR_STORE_URI_EMPLOYERS=mongodb://masar:ge/heim@" + closed + "/e",
		"MASAR_STORE_URI_MATCHING=mongodb://masar:geheim@" + closed,
		"MASAR_STORE_URI_INDICATORS=mongodb://masar:geheim@" + closed + "/i?authMechanism=geheim",
		"MASAR_OIDC_ISSUER=http://" + closed, "MASAR_TOKEN_FILE=/nowhere",
		"MASAR_OTLP_ENDPOINT=http://" + closed, "MASAR_SMTP_URL=smtp://masar:geheim@" + closed,
	})
	want := []string{ // in this order
		"DNS kafka.nowhere.invalid is not",
		"Kafka " + closed + " cannot be reached: dial tcp",
		"Kafka " + mute + " does not answer as Kafka: ",
		"Kafka kafka.nowhere.invalid:9092 cannot be reached",
		"MongoDB candidates " + closed + "/c does not answer: ",
		"MongoDB employers MASAR_STORE_URI_EMPLOYERS cannot be read as an address",
		"MongoDB matching " + closed + " does not answer: docstore: the mongodb address names no database",
		"MongoDB indicators " + closed + "/i does not answer: ",
		"OIDC http://" + closed + " gives no discovery document: ",
		"OTLP " + closed + " cannot be reached: ",
		"SMTP " + closed + " cannot be reached: ",
	}
	if len(found) != len(want) {
		t.Errorf("%d findings, want %d: %+v", len(found), len(want), found)
	}
	for i, f := range found {
		line := strings.Join([]string{f.what, f.detail, f.problem}, " ")
		if i < len(want) && !strings.HasPrefix(line, want[i]) {
			t.Errorf("%q, want %q", line, want[i])
		}
		if f.problem == "" || strings.Contains(line, "heim") || strings.Contains(line, "\n") {
			t.Errorf("shown: %q", line)
		}
	}
	if !strings.Contains(found[2].problem, "does this port want TLS") {
		t.Errorf("a port that hangs up: %s", found[2].problem)
	}
	if found := reach(t.Context(), nil); len(found) != 1 || !strings.Contains(found[0].problem, "set MASAR_KAFKA_BROKERS") {
		t.Errorf("nothing is set: %+v", found)
	}
}
