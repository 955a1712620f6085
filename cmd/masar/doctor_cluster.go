package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// What the chart says of itself in Chart.yaml.
const (
	leastMinor = 30 // of Kubernetes 1
	appVersion = "0.1.0"
)

// chartDefaults is what matters here of the chart's values.yaml.
const chartDefaults = `
profile: services
image: {registry: masar.local, pullPolicy: IfNotPresent}
kafka:
  tls: {caKey: ca.crt}
  strimzi: {users: true}
mongodb: {caKey: ca.crt}
oidc: {audience: masar, roleClaim: masar_role}
defaults:
  replicas: 2
  resources:
    requests: {cpu: 100m, memory: 128Mi}
    limits: {memory: 512Mi}
  autoscaling: {minReplicas: 2}
matching:
  resources:
    requests: {cpu: 200m, memory: 256Mi}
    limits: {memory: 2Gi}
indicators:
  resources:
    requests: {cpu: 200m, memory: 512Mi}
    limits: {memory: 4Gi}
embedded:
  resources:
    requests: {cpu: 500m, memory: 512Mi}
    limits: {memory: 4Gi}
prepare: {enabled: true}
podDisruptionBudget: {enabled: true}
networkPolicy: {enabled: true}
monitoring: {enabled: true, boards: true}
`

// chartValues is what matters here of a chart's values, under the same names.
type chartValues struct {
	Profile string
	Image   struct {
		Registry, Tag, PullPolicy string
		Digests                   map[string]string
		PullSecrets               []string
	}
	PodLabels, PodAnnotations, NodeSelector map[string]string
	Tolerations                             []toleration
	PriorityClassName                       string
	Kafka                                   struct {
		Brokers []string
		TLS     struct {
			Enabled                       bool
			CASecret, CAKey, ClientSecret string
		}
		Strimzi struct {
			Cluster, Namespace string
			Users              bool
		}
	}
	MongoDB struct {
		ExistingSecret, CASecret, CAKey string
		Community                       struct {
			Enabled        bool
			PasswordSecret string
		}
	}
	OIDC          struct{ Issuer, Audience, RoleClaim, TokenURL, ExistingSecret string }
	Telemetry     struct{ OTLPEndpoint string }
	Candidates    struct{ MasterKeySecret string }
	Indicators    struct{ Programme, BordersConfigMap string }
	Notifications struct{ SMTPSecret string }
	Embedded      struct {
		StorageClass string
		Resources    resources
	}
	Prepare, PodDisruptionBudget, NetworkPolicy, Gateway struct{ Enabled bool }
	Backup                                               struct {
		Enabled                                              bool
		ExistingClaim, StorageClass, Restore, IdentitySecret string
	}
	Ingress struct {
		Enabled              bool
		ClassName, TLSSecret string
	}
	Monitoring struct{ Enabled, Boards bool }
	Grafana    struct{ URL, ExistingSecret string }

	// services are the five, each over the defaults.
	services map[string]serviceValues
	// imageNamed: the files say which image it is.
	imageNamed bool
}

type serviceValues struct {
	Replicas    int
	Resources   resources
	Autoscaling struct {
		Enabled, KEDA bool
		MinReplicas   int
	}
}

type resources struct{ Requests, Limits map[string]any }

type toleration struct{ Key, Operator, Value, Effect string }

// readValues reads values files over each other and over the chart's defaults, as
// helm does.
func readValues(files []string) (chartValues, error) {
	var v chartValues
	var all, given map[string]any
	if err := yaml.Unmarshal([]byte(chartDefaults), &all); err != nil {
		return v, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return v, err
		}
		var one map[string]any
		if err := yaml.Unmarshal(b, &one); err != nil {
			return v, fmt.Errorf("%s: %w", file, err)
		}
		all, given = merge(all, one), merge(given, one)
	}
	if err := decode(all, &v); err != nil {
		return v, fmt.Errorf("the values cannot be used (helm lint says what is expected): %w", err)
	}
	v.services = map[string]serviceValues{}
	defaults, _ := all["defaults"].(map[string]any)
	for _, name := range serviceNames() {
		own, _ := all[name].(map[string]any)
		var of serviceValues
		if err := decode(merge(defaults, own), &of); err != nil {
			return v, fmt.Errorf("the values of %s cannot be used: %w", name, err)
		}
		v.services[name] = of
	}
	image, _ := given["image"].(map[string]any)
	v.imageNamed = image["registry"] != nil || image["tag"] != nil || image["digests"] != nil
	return v, nil
}

// merge is helm's: maps go into maps, everything else takes the place, null removes.
func merge(under, over map[string]any) map[string]any {
	out := map[string]any{}
	maps.Copy(out, under)
	for key, value := range over {
		below, isMap := out[key].(map[string]any)
		above, alsoMap := value.(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap && alsoMap:
			out[key] = merge(below, above)
		default:
			out[key] = value
		}
	}
	return out
}

func decode(from map[string]any, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// image of the program masar, as the chart names it.
func (v chartValues) image() string {
	name := v.Image.Registry + "/masar/masar"
	if digest := v.Image.Digests["masar"]; digest != "" {
		return name + "@" + digest
	}
	return name + ":" + cmp.Or(v.Image.Tag, appVersion)
}

// scaled tells whether any service scales by the processor's load, and by what waits.
func (v chartValues) scaled() (load, waiting bool) {
	for _, s := range v.services {
		if v.Profile == "services" && s.Autoscaling.Enabled && v.Backup.Restore == "" {
			load, waiting = load || !s.Autoscaling.KEDA, waiting || s.Autoscaling.KEDA
		}
	}
	return load, waiting
}

// kind is one that the chart makes.
type kind struct{ api, resource, kind, namespace string }

const (
	strimziAPI    = "kafka.strimzi.io/v1beta2"
	communityAPI  = "mongodbcommunity.mongodb.com/v1"
	kedaAPI       = "keda.sh/v1alpha1"
	monitoringAPI = "monitoring.coreos.com/v1"
	gatewayAPI    = "gateway.networking.k8s.io/v1"
	metricsAPI    = "metrics.k8s.io/v1beta1"
)

// kinds are what the chart makes with these values where these APIs are.
func (v chartValues) kinds(apis map[string]bool, namespace string) []kind {
	var out []kind
	add := func(when bool, api, resource, name string) {
		if when {
			out = append(out, kind{api, resource, name, namespace})
		}
	}
	services := v.Profile == "services"
	load, waiting := v.scaled()
	several := false
	for _, s := range v.services {
		several = several || s.Replicas > 1 || s.Autoscaling.Enabled && v.Backup.Restore == ""
	}
	add(true, "v1", "pods", "Pod") // helm test
	add(true, "v1", "services", "Service")
	add(services, "apps/v1", "deployments", "Deployment")
	add(!services, "apps/v1", "statefulsets", "StatefulSet")
	add(services && v.Indicators.Programme != "" || v.Monitoring.Boards, "v1", "configmaps", "ConfigMap")
	add(services && v.PodDisruptionBudget.Enabled && several, "policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
	add(v.NetworkPolicy.Enabled, "networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
	running := v.Backup.Restore == ""
	add(services && v.Prepare.Enabled && running || v.Grafana.URL != "" && running || v.Backup.Enabled && !running, "batch/v1", "jobs", "Job")
	add(v.Backup.Enabled, "batch/v1", "cronjobs", "CronJob")
	add(v.Backup.Enabled && v.Backup.ExistingClaim == "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
	add(v.Ingress.Enabled, "networking.k8s.io/v1", "ingresses", "Ingress")
	add(v.Gateway.Enabled && apis[gatewayAPI], gatewayAPI, "httproutes", "HTTPRoute")
	add(load || waiting && !apis[kedaAPI], "autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
	add(waiting && apis[kedaAPI], kedaAPI, "scaledobjects", "ScaledObject")
	add(services && v.Kafka.TLS.Enabled && apis[kedaAPI], kedaAPI, "triggerauthentications", "TriggerAuthentication")
	add(services && v.MongoDB.Community.Enabled && apis[communityAPI], communityAPI, "mongodbcommunity", "MongoDBCommunity")
	add(services && v.Monitoring.Enabled && apis[monitoringAPI], monitoringAPI, "servicemonitors", "ServiceMonitor")
	add(services && v.Monitoring.Enabled && apis[monitoringAPI], monitoringAPI, "prometheusrules", "PrometheusRule")
	namespace = cmp.Or(v.Kafka.Strimzi.Namespace, namespace)
	strimzi := services && v.Kafka.Strimzi.Cluster != "" && apis[strimziAPI]
	add(strimzi, strimziAPI, "kafkatopics", "KafkaTopic")
	add(strimzi && v.Kafka.Strimzi.Users, strimziAPI, "kafkausers", "KafkaUser")
	return out
}

// kubectl is the operator's own: it knows his clusters and how he logs in to them.
type kubectl struct{ context, namespace string }

// refusal is what the API server answers instead of what was asked for.
type refusal struct{ reason, text string }

func (r refusal) Error() string { return r.text }

var refused = regexp.MustCompile(`(?s)^Error from server \((\w+)\): (?:error when creating "[^"]*": )?(.*)$`)

// isReason tells whether the API server answered with this reason, such as NotFound.
func isReason(err error, reason string) bool {
	var r refusal
	return errors.As(err, &r) && r.reason == reason
}

func (k kubectl) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(args, "--namespace="+k.namespace, "--request-timeout=10s")
	if k.context != "" {
		args = append(args, "--context="+k.context)
	}
	return exec.CommandContext(ctx, "kubectl", args...)
}

func (k kubectl) run(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	cmd := k.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, errors.New("the time was not enough for it")
	}
	var said []string
	for line := range strings.Lines(errs.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Warning:") && !strings.Contains(line, "memcache.go") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return nil, err
	}
	// Further lines repeat the first, or explain kubectl.
	if m := refused.FindStringSubmatch(said[0]); m != nil {
		return nil, refusal{m[1], m[2]}
	}
	return nil, errors.New(said[0])
}

// get reads objects, as kubectl get does.
func (k kubectl) get(ctx context.Context, into any, args ...string) error {
	out, err := k.run(ctx, nil, append([]string{"get", "--output=json"}, args...)...)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return refusal{"NotFound", "not found"} // of --ignore-not-found
	}
	return json.Unmarshal(out, into)
}

// unseen is a finding about what may not be looked at, where that is no failure:
// who installs into one namespace often may not read what is the whole cluster's.
func unseen(what string, err error) finding {
	if isReason(err, "Forbidden") {
		return finding{what: what, detail: "not looked at: you may not read it; ask who runs the cluster"}
	}
	return finding{what, "", "cannot be read: " + oneLine(err)}
}

// checkCluster looks whether the chart can be installed with these values, and
// whether it would run.
func checkCluster(ctx context.Context, k kubectl, v chartValues, image string) []finding {
	if _, err := exec.LookPath("kubectl"); err != nil {
		return []finding{{"kubectl", "", "is not found: install it beside helm, with the same kubeconfig (https://kubernetes.io/docs/tasks/tools/)"}}
	}
	server := k.checkServer(ctx)
	if server.problem != "" && server.detail == "" {
		return []finding{server}
	}
	out := []finding{server, v.check()}
	namespace, there, now := k.checkNamespace(ctx)
	out = append(out, namespace)
	apis, found := k.checkAPIs(ctx, v)
	out = append(out, found...)
	out = append(out, k.checkRights(ctx, v, apis))
	if there {
		out = append(out, k.checkQuotas(ctx, v)...)
	}
	out = append(out, k.checkStorage(ctx, v)...)
	nodes, found := k.checkNodes(ctx, v)
	out = append(out, found...)
	if there {
		out = append(out, k.checkObjects(ctx, v)...)
	}
	policy := finding{what: "network policies", detail: "none are made (networkPolicy.enabled is false): everything may flow"}
	if v.NetworkPolicy.Enabled {
		policy.detail = "are made; whether they are enforced depends on the cluster's network plugin, which cannot be asked"
	}
	out = append(out, policy)
	if !there {
		out = append(out, k.checkClocks(ctx, now, nodes)...)
		return append(out, finding{what: "from the cluster", detail: "not looked at: make the namespace first (kubectl create namespace " + k.namespace + "), then ask again"})
	}

	name := "masar-doctor-" + strings.ToLower(rand.Text()[:8])
	pod := v.pod(name, cmp.Or(image, v.image()))
	admitted, now := k.checkPod(ctx, pod)
	out = append(out, admitted)
	out = append(out, k.checkClocks(ctx, now, nodes)...)
	switch {
	case admitted.problem != "":
		return append(out, finding{what: "from the cluster", detail: "not looked at: the pod that would look is not admitted"})
	case image == "" && !v.imageNamed:
		return append(out, finding{what: "from the cluster", detail: "not looked at: the values name no image; say which with --image, such as registry.example.org/masar/masar:" + appVersion})
	}
	return append(out, k.lookFromInside(ctx, name, pod, cmp.Or(image, v.image()))...)
}

func (k kubectl) checkServer(ctx context.Context) finding {
	f := finding{what: "API server"}
	var v struct {
		ServerVersion struct{ GitVersion string }
	}
	out, err := k.run(ctx, nil, "version", "--output=json")
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	if err != nil {
		f.problem = "does not answer: " + oneLine(err) + ": see kubectl config get-contexts, and choose with --context"
		return f
	}
	name := k.context
	if name == "" {
		current, err := k.run(ctx, nil, "config", "current-context")
		name = "the current context"
		if err == nil {
			name = strings.TrimSpace(string(current))
		}
	}
	version := v.ServerVersion.GitVersion
	f.detail = fmt.Sprintf("%s, Kubernetes %s", name, version)
	var major, minor int
	if n, _ := fmt.Sscanf(version, "v%d.%d", &major, &minor); n == 2 && major == 1 && minor < leastMinor {
		f.problem = fmt.Sprintf("is too old: the chart needs 1.%d or later", leastMinor)
	}
	return f
}

// check is about what the chart would refuse.
func (v chartValues) check() finding {
	f := finding{what: "values", detail: "profile " + v.Profile}
	if v.Profile != "services" {
		return f
	}
	var missing []string
	for name, value := range map[string]string{
		"kafka.brokers": strings.Join(v.Kafka.Brokers, ","), "mongodb.existingSecret": v.MongoDB.ExistingSecret,
		"oidc.issuer": v.OIDC.Issuer, "oidc.existingSecret": v.OIDC.ExistingSecret, "candidates.masterKeySecret": v.Candidates.MasterKeySecret,
	} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		f.problem = "the chart needs " + strings.Join(sorted(missing), ", ") + ": give them in a file, with --values"
	}
	return f
}

// checkNamespace also returns the API server's time, where it had to be asked whether
// the namespace may be made.
func (k kubectl) checkNamespace(ctx context.Context) (f finding, there bool, now time.Time) {
	f = finding{what: "namespace", detail: k.namespace}
	var n struct {
		Metadata struct{ Labels map[string]string }
		Status   struct{ Phase string }
	}
	switch err := k.get(ctx, &n, "namespace", k.namespace); {
	case isReason(err, "NotFound"):
		now, err := k.dryRun(ctx, nil, "namespace", k.namespace)
		if err != nil {
			f.problem = "is not there, and you may not make it: ask who runs the cluster (" + oneLine(err) + ")"
			return f, false, now
		}
		f.detail += " is not there yet; you may make it"
		return f, false, now
	case isReason(err, "Forbidden"):
		f.detail += ": you may not read it; taken to be there"
	case err != nil:
		f.problem = "cannot be read: " + oneLine(err)
	case n.Status.Phase == "Terminating":
		f.problem = "is being deleted: wait until it is gone, or take another"
	default:
		f.detail += ", Pod Security " + cmp.Or(n.Metadata.Labels["pod-security.kubernetes.io/enforce"], "not set") + " (the chart keeps to restricted)"
	}
	return f, f.problem == "", now
}

func (k kubectl) checkAPIs(ctx context.Context, v chartValues) (map[string]bool, []finding) {
	out, err := k.run(ctx, nil, "api-versions")
	if err != nil {
		return nil, []finding{{"APIs", "", "cannot be read: " + oneLine(err)}}
	}
	apis := map[string]bool{}
	for _, api := range strings.Fields(string(out)) {
		apis[api] = true
	}
	var have, missing, absent []string
	for _, kind := range v.kinds(apis, k.namespace) {
		if kind.api == "v1" || slices.Contains(have, kind.api) {
			continue
		}
		have = append(have, kind.api)
		if !apis[kind.api] {
			missing = append(missing, kind.api+" is missing")
		}
	}
	needed := finding{"APIs", strings.Join(have, ", "), strings.Join(missing, "; ")}

	load, waiting := v.scaled()
	services := v.Profile == "services"
	var said []string
	for _, api := range []struct {
		name, without string
		asked         bool
		by            string
	}{
		{monitoringAPI, "no ServiceMonitor, no alerts", false, ""},
		{kedaAPI, "", waiting, "autoscaling.keda"},
		{metricsAPI, "", load, "autoscaling.enabled"},
		{gatewayAPI, "", v.Gateway.Enabled, "gateway.enabled"},
		{strimziAPI, "", services && v.Kafka.Strimzi.Cluster != "", "kafka.strimzi.cluster"},
		{communityAPI, "", services && v.MongoDB.Community.Enabled, "mongodb.community.enabled"},
	} {
		group, _, _ := strings.Cut(api.name, "/")
		switch {
		case apis[api.name]:
			said = append(said, group+" found")
		case api.asked:
			absent = append(absent, fmt.Sprintf("%s is absent, and %s asks for it: install what brings it, or take the value out", api.name, api.by))
		case api.without != "":
			said = append(said, group+" absent ("+api.without+")")
		default:
			said = append(said, group+" absent")
		}
	}
	further := finding{"further APIs", strings.Join(said, ", "), strings.Join(absent, "; ")}
	if len(absent) > 0 {
		further.detail += ";"
	}
	return apis, []finding{needed, further}
}

// right is a question to the API server: may I?
type right struct {
	Namespace   string `json:"namespace"`
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource,omitempty"`
}

func (k kubectl) checkRights(ctx context.Context, v chartValues, apis map[string]bool) finding {
	f := finding{what: "permissions"}
	ask := []kind{{api: "v1", resource: "secrets", namespace: k.namespace}} // where helm keeps the release
	ask = append(ask, v.kinds(apis, k.namespace)...)
	var questions []any
	question := func(r right) {
		questions = append(questions, map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
			"spec": map[string]any{"resourceAttributes": r},
		})
	}
	for _, kind := range ask {
		group, _, isGroup := strings.Cut(kind.api, "/")
		if !isGroup {
			group = ""
		}
		verbs := []string{"get", "list", "watch", "create", "patch", "delete"}
		if kind.resource == "secrets" {
			verbs = []string{"get", "list", "create", "update", "delete"}
		}
		for _, verb := range verbs {
			question(right{Namespace: kind.namespace, Verb: verb, Group: group, Resource: kind.resource})
		}
	}
	question(right{Namespace: k.namespace, Verb: "get", Resource: "pods", Subresource: "log"})
	in, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": questions})
	if err != nil {
		f.problem = oneLine(err)
		return f
	}
	out, err := k.run(ctx, in, "create", "--filename=-", "--output=json")
	if err != nil {
		f.problem = "cannot be asked for: " + oneLine(err)
		return f
	}
	type answer struct {
		Spec   struct{ ResourceAttributes right }
		Status struct{ Allowed bool }
	}
	missing := map[string][]string{}
	answers := 0
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var one struct {
			answer
			Items []answer
		}
		if err := in.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			f.problem = "the answer cannot be read: " + oneLine(err)
			return f
		}
		if one.Items == nil {
			one.Items = []answer{one.answer}
		}
		for _, a := range one.Items {
			answers++
			if r := a.Spec.ResourceAttributes; !a.Status.Allowed {
				name := r.Resource
				if r.Group != "" {
					name += "." + r.Group
				}
				if r.Subresource != "" {
					name += "/" + r.Subresource
				}
				if r.Namespace != k.namespace {
					name += " in " + r.Namespace
				}
				missing[name] = append(missing[name], r.Verb)
			}
		}
	}
	f.detail = fmt.Sprintf("for %d kinds in %s:", len(ask), k.namespace)
	switch {
	default:
		f.detail += " all that helm needs"
	case answers != len(questions):
		f.problem = fmt.Sprintf("only %d of %d questions were answered", answers, len(questions))
	case len(missing) > 0:
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(missing)) {
			lines = append(lines, strings.Join(missing[name], ", ")+" "+name)
		}
		f.problem = fmt.Sprintf("you may not %s. Ask for the ClusterRole edit, bound in the namespace, and for what it does not hold (kinds of operators)", strings.Join(lines, "; "))
	}
	return f
}

// needs are what the pods of a running release ask for together.
type needs struct{ cpu, memory, memoryLimit, pods, largestCPU, largestMemory float64 }

func (v chartValues) needs() (needs, error) {
	var n needs
	add := func(r resources, replicas int) error {
		times := float64(replicas)
		cpu, err1 := quantity(r.Requests["cpu"])
		memory, err2 := quantity(r.Requests["memory"])
		limit, err3 := quantity(r.Limits["memory"])
		n.cpu, n.memory, n.memoryLimit, n.pods = n.cpu+times*cpu, n.memory+times*memory, n.memoryLimit+times*limit, n.pods+times
		n.largestCPU, n.largestMemory = max(n.largestCPU, cpu), max(n.largestMemory, memory)
		return errors.Join(err1, err2, err3)
	}
	if v.Profile == "embedded" {
		return n, add(v.Embedded.Resources, 1)
	}
	for _, name := range serviceNames() {
		s := v.services[name]
		replicas := s.Replicas
		if s.Autoscaling.Enabled {
			replicas = s.Autoscaling.MinReplicas
		}
		if err := add(s.Resources, replicas); err != nil {
			return n, fmt.Errorf("%s.resources: %w", name, err)
		}
	}
	return n, nil
}

var quantityForm = regexp.MustCompile(`^([0-9.]+(?:[eE][+-]?[0-9]+)?)([munkMGTPE]?|[KMGTPE]i)$`)

// quantity reads one of Kubernetes', such as 100m or 1.5Gi; nothing is 0.
func quantity(of any) (float64, error) {
	if of == nil {
		return 0, nil
	}
	text := fmt.Sprint(of)
	m := quantityForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no quantity, such as 500m or 2Gi", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no quantity, such as 500m or 2Gi", text)
	}
	if binary, ok := strings.CutSuffix(m[2], "i"); ok {
		return n * math.Pow(1024, float64(1+strings.Index("KMGTPE", binary))), nil
	}
	return n * map[string]float64{"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}[m[2]], nil
}

func inGiB(bytes float64) string { return fmt.Sprintf("%.1f GiB", bytes/(1<<30)) }

func (k kubectl) checkQuotas(ctx context.Context, v chartValues) []finding {
	type item struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			Scopes        []string
			ScopeSelector any
			Limits        []struct {
				Type    string
				Default map[string]any
			}
		}
		Status struct{ Hard, Used map[string]any }
	}
	var list struct{ Items []item }
	if err := k.get(ctx, &list, "resourcequotas,limitranges"); err != nil {
		return []finding{unseen("quotas", err)}
	}
	n, err := v.needs()
	if err != nil {
		return []finding{{"quotas", "", oneLine(err)}}
	}
	wanted := map[string]float64{
		"cpu": n.cpu, "requests.cpu": n.cpu, "memory": n.memory, "requests.memory": n.memory, "limits.memory": n.memoryLimit, "pods": n.pods,
	}
	cpuLimit := false // given to who sets none
	for _, i := range list.Items {
		for _, limit := range i.Spec.Limits {
			cpuLimit = cpuLimit || limit.Type == "Container" && limit.Default["cpu"] != nil
		}
	}
	var out []finding
	for _, i := range list.Items {
		if i.Kind == "LimitRange" {
			out = append(out, finding{what: "limit range", detail: i.Metadata.Name + ": bounds and defaults of containers, see kubectl describe limitrange"})
			continue
		}
		var used, little []string
		for _, name := range slices.Sorted(maps.Keys(i.Status.Hard)) {
			used = append(used, fmt.Sprintf("%s %v of %v used", name, cmp.Or(i.Status.Used[name], any("0")), i.Status.Hard[name]))
			if i.Spec.Scopes != nil || i.Spec.ScopeSelector != nil {
				continue // not of every pod
			}
			hard, err1 := quantity(i.Status.Hard[name])
			taken, err2 := quantity(i.Status.Used[name])
			want, known := wanted[name]
			switch {
			case name == "limits.cpu" && !cpuLimit:
				little = append(little, "limits.cpu refuses pods without a limit of the processor, and the chart's have none: have a LimitRange with a default, or a quota without limits.cpu")
			case !known || err1 != nil || err2 != nil || hard-taken >= want:
			case strings.HasSuffix(name, "memory"):
				little = append(little, fmt.Sprintf("%s: the chart needs %s, %s is left", name, inGiB(want), inGiB(hard-taken)))
			default:
				little = append(little, fmt.Sprintf("%s: the chart needs %.4g, %.4g is left", name, want, hard-taken))
			}
		}
		f := finding{"quota", i.Metadata.Name + ": " + strings.Join(used, ", "), strings.Join(little, "; ")}
		if f.problem != "" {
			f.detail += ";"
		}
		out = append(out, f)
	}
	return out
}

func (k kubectl) checkStorage(ctx context.Context, v chartValues) []finding {
	type claim struct{ what, setting, class string }
	var claims []claim
	if v.Profile == "embedded" {
		claims = append(claims, claim{"the data", "embedded.storageClass", v.Embedded.StorageClass})
	}
	if v.Backup.Enabled && v.Backup.ExistingClaim == "" {
		claims = append(claims, claim{"backups", "backup.storageClass", v.Backup.StorageClass})
	}
	if len(claims) == 0 {
		return nil
	}
	var classes struct {
		Items []struct {
			Metadata struct {
				Name        string
				Annotations map[string]string
			}
		}
	}
	if err := k.get(ctx, &classes, "storageclasses"); err != nil {
		return []finding{unseen("storage classes", err)}
	}
	var names []string
	standard := ""
	for _, c := range classes.Items {
		names = append(names, c.Metadata.Name)
		if c.Metadata.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
			standard = c.Metadata.Name
		}
	}
	var out []finding
	for _, c := range claims {
		f := finding{what: "storage", detail: "for " + c.what + ": class " + cmp.Or(c.class, standard)}
		switch {
		case c.class == "" && standard != "":
			f.detail += ", the default"
		case c.class == "":
			f.detail = "for " + c.what + ":"
			f.problem = fmt.Sprintf("the cluster has no default class: set %s to one of %s", c.setting, cmp.Or(strings.Join(names, ", "), "(it has none at all)"))
		case !slices.Contains(names, c.class):
			if n := k.volumes(ctx, c.class); n > 0 {
				f.detail += fmt.Sprintf(": no such class, but %d volumes of it wait for a claim", n)
				break
			}
			f.problem = fmt.Sprintf("is not there: set %s to one of %s", c.setting, cmp.Or(strings.Join(names, ", "), "(the cluster has none)"))
		}
		out = append(out, f)
	}
	return out
}

// volumes counts those made by hand that a claim of the class could have.
func (k kubectl) volumes(ctx context.Context, class string) (n int) {
	var list struct {
		Items []struct {
			Spec   struct{ StorageClassName string }
			Status struct{ Phase string }
		}
	}
	if k.get(ctx, &list, "persistentvolumes") != nil {
		return 0
	}
	for _, volume := range list.Items {
		if volume.Spec.StorageClassName == class && volume.Status.Phase == "Available" {
			n++
		}
	}
	return n
}

type node struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Unschedulable bool
		Taints        []struct{ Key, Value, Effect string }
	}
	Status struct {
		Allocatable map[string]any
		Conditions  []struct{ Type, Status string }
		NodeInfo    struct{ Architecture, OperatingSystem string }
	}
}

func (n node) ready() bool {
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// unfit says why the chart's pods cannot run on the node, as far as the node says.
func (n node) unfit(v chartValues) string {
	switch {
	case !n.ready():
		return "not ready"
	case n.Spec.Unschedulable:
		return "cordoned"
	case n.Status.NodeInfo.OperatingSystem != "linux":
		return n.Status.NodeInfo.OperatingSystem
	case n.Status.NodeInfo.Architecture != "amd64" && n.Status.NodeInfo.Architecture != "arm64":
		return n.Status.NodeInfo.Architecture + " (images are for amd64 and arm64)"
	}
	for key, value := range v.NodeSelector {
		if n.Metadata.Labels[key] != value {
			return "not of nodeSelector"
		}
	}
	for _, taint := range n.Spec.Taints {
		tolerated := slices.ContainsFunc(v.Tolerations, func(t toleration) bool {
			return (t.Effect == "" || t.Effect == taint.Effect) && (t.Key == taint.Key && (t.Operator == "Exists" || t.Value == taint.Value) || t.Key == "" && t.Operator == "Exists")
		})
		if taint.Effect != "PreferNoSchedule" && !tolerated {
			return "taint " + taint.Key
		}
	}
	return ""
}

// checkNodes also returns the names of the nodes that are ready; nil: not known.
func (k kubectl) checkNodes(ctx context.Context, v chartValues) (ready []string, out []finding) {
	var list struct{ Items []node }
	if err := k.get(ctx, &list, "nodes"); err != nil {
		return nil, []finding{unseen("nodes", err)}
	}
	f := finding{what: "nodes"}
	usable := map[string]int{}
	others := map[string]int{}
	var cpu, memory, largestCPU, largestMemory float64
	fit := 0
	for _, n := range list.Items {
		if n.ready() {
			ready = append(ready, n.Metadata.Name)
		}
		if why := n.unfit(v); why != "" {
			others[why]++
			continue
		}
		fit++
		usable[n.Status.NodeInfo.Architecture]++
		c, _ := quantity(n.Status.Allocatable["cpu"]) // the kubelet writes good ones
		m, _ := quantity(n.Status.Allocatable["memory"])
		cpu, memory, largestCPU, largestMemory = cpu+c, memory+m, max(largestCPU, c), max(largestMemory, m)
	}
	f.detail = fmt.Sprintf("%d of %d can take the pods", fit, len(list.Items))
	for _, arch := range slices.Sorted(maps.Keys(usable)) {
		f.detail += fmt.Sprintf(", %d %s", usable[arch], arch)
	}
	for _, why := range slices.Sorted(maps.Keys(others)) {
		f.detail += fmt.Sprintf("; %d %s", others[why], why)
	}
	switch fit {
	case 0:
		f.detail += ","
		f.problem = "so none can start: see kubectl get nodes, nodeSelector and tolerations"
	case 1:
		f.detail += ": losing that one stops everything"
	}
	out = append(out, f)
	if n, err := v.needs(); err != nil {
		out = append(out, finding{"room", "", oneLine(err)})
	} else if fit > 0 {
		f := finding{what: "room", detail: fmt.Sprintf("the chart asks for %.4g cores and %s; these nodes have %.4g and %s, others' pods included", n.cpu, inGiB(n.memory), cpu, inGiB(memory))}
		if n.cpu > cpu || n.memory > memory || n.largestCPU > largestCPU || n.largestMemory > largestMemory {
			f.problem = "which is too little: add nodes, or ask for less (resources.requests)"
		}
		out = append(out, f)
	}
	return ready, out
}

// checkPod has the API server admit a pod like the chart's without making it, and
// takes its time from the answer.
func (k kubectl) checkPod(ctx context.Context, pod []byte) (finding, time.Time) {
	f := finding{what: "admission", detail: "a pod like the chart's"}
	now, err := k.dryRun(ctx, pod, "--filename=-")
	if err != nil {
		f.problem = "is refused: " + oneLine(err)
		return f, now
	}
	f.detail += " is admitted"
	return f, now
}

// dryRun has the API server go through everything but the making itself, and returns
// its time.
func (k kubectl) dryRun(ctx context.Context, in []byte, args ...string) (now time.Time, err error) {
	var made struct {
		Metadata struct{ CreationTimestamp time.Time }
	}
	out, err := k.run(ctx, in, append([]string{"create", "--dry-run=server", "--output=json"}, args...)...)
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	return made.Metadata.CreationTimestamp, err
}

// mostSkew is as for a running platform: see checkReady.
const mostSkew = 5 * time.Second

func (k kubectl) checkClocks(ctx context.Context, server time.Time, ready []string) []finding {
	if server.IsZero() {
		return []finding{{what: "clock", detail: "not looked at: the API server writes its time only on what you may make"}}
	}
	// It gives whole seconds.
	skew := time.Since(server.Add(500 * time.Millisecond))
	here := finding{what: "clock", detail: "this machine's is in step with the API server's"}
	if skew.Abs() > mostSkew {
		here.problem = fmt.Sprintf("it differs by %s: set the clocks by NTP", skew.Round(time.Second))
	}
	out := []finding{here}
	var leases struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ RenewTime time.Time }
		}
	}
	// Each node writes its own time into its own, every ten seconds.
	if err := (kubectl{k.context, "kube-node-lease"}).get(ctx, &leases, "leases"); err != nil {
		return append(out, unseen("nodes' clocks", err))
	}
	now := time.Now().Add(-skew)
	var wrong []string
	looked := 0
	for _, l := range leases.Items {
		if ready != nil && !slices.Contains(ready, l.Metadata.Name) {
			continue // an old one is no wonder
		}
		looked++
		switch ahead := l.Spec.RenewTime.Sub(now); {
		case ahead > mostSkew:
			wrong = append(wrong, fmt.Sprintf("%s is %s ahead", l.Metadata.Name, ahead.Round(time.Second)))
		case ahead < -time.Minute:
			wrong = append(wrong, fmt.Sprintf("%s is behind, or has been silent, by %s", l.Metadata.Name, -ahead.Round(time.Second)))
		}
	}
	f := finding{what: "nodes' clocks", detail: fmt.Sprintf("%d of %d nodes looked at, by their leases", looked, max(looked, len(ready)))}
	if len(wrong) > 0 {
		f.detail += ":"
		f.problem = strings.Join(wrong, ", ") + ": set the nodes' clocks by NTP"
	}
	return append(out, f)
}

// named is a Secret or ConfigMap that the values name, and the keys that are read.
type named struct {
	kind, name, setting string
	keys                []string
}

func (v chartValues) named() []named {
	var out []named
	add := func(when bool, kind, name, setting string, keys ...string) {
		if when && name != "" {
			out = append(out, named{kind, name, setting, keys})
		}
	}
	services := v.Profile == "services"
	for _, name := range v.Image.PullSecrets {
		add(true, "secret", name, "image.pullSecrets", ".dockerconfigjson")
	}
	add(true, "secret", v.Candidates.MasterKeySecret, "candidates.masterKeySecret", "master-key")
	add(services, "secret", v.MongoDB.ExistingSecret, "mongodb.existingSecret", serviceNames()...)
	add(services, "secret", v.MongoDB.CASecret, "mongodb.caSecret", v.MongoDB.CAKey)
	add(services && v.MongoDB.Community.Enabled, "secret", v.MongoDB.Community.PasswordSecret, "mongodb.community.passwordSecret", "password")
	if v.OIDC.TokenURL != "" {
		add(services, "secret", v.OIDC.ExistingSecret, "oidc.existingSecret", "client-id", "client-secret")
	} else {
		add(services, "secret", v.OIDC.ExistingSecret, "oidc.existingSecret", "token")
	}
	add(services && v.Kafka.TLS.Enabled, "secret", v.Kafka.TLS.CASecret, "kafka.tls.caSecret", v.Kafka.TLS.CAKey)
	add(services && v.Kafka.TLS.Enabled, "secret", v.Kafka.TLS.ClientSecret, "kafka.tls.clientSecret", "tls.crt", "tls.key")
	add(true, "secret", v.Notifications.SMTPSecret, "notifications.smtpSecret", "url")
	add(v.Backup.Enabled, "secret", v.Backup.IdentitySecret, "backup.identitySecret", "identity")
	add(v.Ingress.Enabled, "secret", v.Ingress.TLSSecret, "ingress.tlsSecret", "tls.crt", "tls.key")
	add(v.Grafana.URL != "", "secret", v.Grafana.ExistingSecret, "grafana.existingSecret", "grafana-token", "figures-token")
	add(services, "configmap", v.Indicators.BordersConfigMap, "indicators.bordersConfigMap", "governorates.geojson")
	return out
}

// keysOnly prints names, keys and lengths: values stay in kubectl.
const keysOnly = `{{define "one"}}{{$n := .metadata.name}}{{$n}}{{"\n"}}{{range $k, $v := .data}}{{$n}} {{$k}} {{len $v}}{{"\n"}}{{end}}{{end}}` +
	`{{if .items}}{{range .items}}{{template "one" .}}{{end}}{{else if .metadata}}{{template "one" .}}{{end}}`

// checkObjects looks whether everything that the values name is in the namespace.
func (k kubectl) checkObjects(ctx context.Context, v chartValues) []finding {
	all := v.named()
	have, denied := map[string]map[string]int{}, map[string]error{}
	for _, kind := range []string{"secret", "configmap"} {
		var names []string
		for _, n := range all {
			if n.kind == kind && !slices.Contains(names, n.name) {
				names = append(names, n.name)
			}
		}
		if len(names) == 0 {
			continue
		}
		out, err := k.run(ctx, nil, slices.Concat([]string{"get", kind}, names, []string{"--ignore-not-found", "--output=go-template=" + keysOnly})...)
		if err != nil {
			denied[kind] = err
			continue
		}
		for line := range strings.Lines(string(out)) {
			switch part := strings.Fields(line); len(part) {
			case 1:
				have[kind+" "+part[0]] = map[string]int{}
			case 3:
				have[kind+" "+part[0]][part[1]], _ = strconv.Atoi(part[2]) // printed by the template
			}
		}
	}
	var out []finding
	for _, n := range all {
		f := finding{what: n.kind, detail: n.name + " (" + n.setting + ")"}
		keys, there := have[n.kind+" "+n.name]
		var missing []string
		for _, key := range n.keys {
			if keys[key] == 0 {
				missing = append(missing, key)
			}
		}
		switch {
		case isReason(denied[n.kind], "Forbidden"):
			f.problem = "cannot be looked at: you may not read " + n.kind + "s of " + k.namespace
		case denied[n.kind] != nil:
			f.problem = "cannot be looked at: " + oneLine(denied[n.kind])
		case !there:
			f.problem = fmt.Sprintf("is not in the namespace %s: make it, with the keys %s", k.namespace, strings.Join(n.keys, ", "))
		case len(missing) > 0:
			f.problem = fmt.Sprintf("has no %s (or an empty one)", strings.Join(missing, ", "))
		case n.keys[0] == "master-key":
			f.problem = k.checkMasterKey(ctx, n.name)
		}
		out = append(out, f)
	}
	if v.Backup.Enabled && v.Backup.ExistingClaim != "" {
		f := finding{what: "claim", detail: v.Backup.ExistingClaim + " (backup.existingClaim)"}
		if err := k.get(ctx, &struct{}{}, "persistentvolumeclaim", v.Backup.ExistingClaim); err != nil {
			f.problem = "cannot be used: " + oneLine(err)
		}
		out = append(out, f)
	}
	if v.Ingress.Enabled && v.Ingress.ClassName != "" {
		f := finding{what: "ingress class", detail: v.Ingress.ClassName}
		if err := k.get(ctx, &struct{}{}, "ingressclass", v.Ingress.ClassName); isReason(err, "NotFound") {
			f.problem = "is not there: set ingress.className to one of kubectl get ingressclasses"
		} else if err != nil {
			f = unseen("ingress class", err)
		}
		out = append(out, f)
	}
	return out
}

// checkMasterKey judges it as candidates does, without a word about what it is.
func (k kubectl) checkMasterKey(ctx context.Context, secret string) (problem string) {
	out, err := k.run(ctx, nil, "get", "secret", secret, `--output=jsonpath={.data.master-key}`)
	if err != nil {
		return "cannot be looked at: " + oneLine(err)
	}
	text, err := base64.StdEncoding.DecodeString(string(out))
	if err != nil {
		return "has a master-key that cannot be read"
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return "has a master-key that is not the base64 of 32 bytes: make one with openssl rand -base64 32"
	}
	return ""
}

// pod is one like the chart's, which runs masar doctor --reach with the settings and
// secrets of the services.
func (v chartValues) pod(name, image string) []byte {
	var env, mounts, volumes []any
	value := func(name, value string) {
		if value != "" {
			env = append(env, map[string]any{"name": name, "value": value})
		}
	}
	// Where a secret or a key of it is missing, which is told already, the rest is
	// still looked at: optional.
	secret := func(name, secret, key string) {
		if secret != "" {
			env = append(env, map[string]any{"name": name, "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": secret, "key": key, "optional": true}}})
		}
	}
	mount := func(name, secret, path string) {
		mounts = append(mounts, map[string]any{"name": name, "mountPath": path, "readOnly": true})
		volumes = append(volumes, map[string]any{"name": name, "secret": map[string]any{"secretName": secret, "optional": true}})
	}
	if v.Profile == "services" {
		value("MASAR_KAFKA_BROKERS", strings.Join(v.Kafka.Brokers, ","))
		if v.Kafka.TLS.Enabled {
			value("MASAR_KAFKA_TLS", "true")
			if v.Kafka.TLS.CASecret != "" {
				value("MASAR_KAFKA_CA_FILE", "/etc/masar/kafka-ca/"+v.Kafka.TLS.CAKey)
				mount("kafka-ca", v.Kafka.TLS.CASecret, "/etc/masar/kafka-ca")
			}
			if v.Kafka.TLS.ClientSecret != "" {
				value("MASAR_KAFKA_CLIENT_CERT_FILE", "/etc/masar/kafka-client/tls.crt")
				value("MASAR_KAFKA_CLIENT_KEY_FILE", "/etc/masar/kafka-client/tls.key")
				mount("kafka-client", v.Kafka.TLS.ClientSecret, "/etc/masar/kafka-client")
			}
		}
		for _, service := range serviceNames() {
			secret("MASAR_STORE_URI_"+strings.ToUpper(service), v.MongoDB.ExistingSecret, service)
		}
		if v.MongoDB.CASecret != "" {
			mount("mongodb-ca", v.MongoDB.CASecret, "/etc/masar/mongodb")
		}
		value("MASAR_OIDC_ISSUER", v.OIDC.Issuer)
		value("MASAR_OIDC_AUDIENCE", v.OIDC.Audience)
		value("MASAR_OIDC_ROLE_CLAIM", v.OIDC.RoleClaim)
		if v.OIDC.ExistingSecret != "" {
			mount("oidc", v.OIDC.ExistingSecret, "/etc/masar/oidc")
			if v.OIDC.TokenURL != "" {
				value("MASAR_TOKEN_URL", v.OIDC.TokenURL)
				secret("MASAR_CLIENT_ID", v.OIDC.ExistingSecret, "client-id")
				value("MASAR_CLIENT_SECRET_FILE", "/etc/masar/oidc/client-secret")
			} else {
				value("MASAR_TOKEN_FILE", "/etc/masar/oidc/token")
			}
		}
	}
	value("MASAR_OTLP_ENDPOINT", v.Telemetry.OTLPEndpoint)
	secret("MASAR_SMTP_URL", v.Notifications.SMTPSecret, "url")

	labels := maps.Clone(v.PodLabels)
	if labels == nil {
		labels = map[string]string{}
	}
	// Not the chart's name "masar": beside a release, its Services would send requests
	// here, and its policies, which are for what is installed, would close what is asked
	// about. A policy of the namespace for all pods holds here as for the chart's.
	labels["app.kubernetes.io/name"] = "masar-doctor"
	labels["app.kubernetes.io/part-of"] = "masar"
	var pullSecrets []any
	for _, name := range v.Image.PullSecrets {
		pullSecrets = append(pullSecrets, map[string]any{"name": name})
	}
	spec := map[string]any{
		"automountServiceAccountToken": false,
		"enableServiceLinks":           false,
		"restartPolicy":                "Never",
		// Should nobody be left to delete it.
		"activeDeadlineSeconds":         60,
		"terminationGracePeriodSeconds": 0,
		"securityContext": map[string]any{
			"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": map[string]any{"type": "RuntimeDefault"},
		},
		"imagePullSecrets": pullSecrets,
		"nodeSelector":     v.NodeSelector,
		"tolerations":      v.tolerations(),
		"containers": []any{map[string]any{
			"name": "doctor", "image": image, "imagePullPolicy": v.Image.PullPolicy, "args": []string{"doctor", "--reach"},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []string{"ALL"}},
			},
			"env": env, "volumeMounts": mounts,
			"resources": map[string]any{
				"requests": map[string]any{"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "16Mi"},
				"limits":   map[string]any{"memory": "128Mi", "ephemeral-storage": "64Mi"},
			},
		}},
		"volumes": volumes,
	}
	if v.PriorityClassName != "" {
		spec["priorityClassName"] = v.PriorityClassName
	}
	b, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "labels": labels, "annotations": v.PodAnnotations},
		"spec":     spec,
	})
	if err != nil {
		panic(err) // nothing in it that JSON cannot say
	}
	return b
}

func (v chartValues) tolerations() []any {
	var out []any
	for _, t := range v.Tolerations {
		one := map[string]any{}
		for name, value := range map[string]string{"key": t.Key, "operator": t.Operator, "value": t.Value, "effect": t.Effect} {
			if value != "" {
				one[name] = value
			}
		}
		out = append(out, one)
	}
	return out
}

// lookFromInside runs the pod, tells what it found, and deletes it, whatever happens.
func (k kubectl) lookFromInside(ctx context.Context, name string, pod []byte, image string) (out []finding) {
	const what = "from the cluster"
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		cmd := k.command(ctx, "delete", "pod", name, "--ignore-not-found", "--wait=false")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
		if text, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "masar: the pod could not be deleted: kubectl delete pod %s -n %s (%s)\n", name, k.namespace, strings.TrimSpace(string(text)))
		}
	}()
	if _, err := k.run(ctx, pod, "create", "--filename=-"); err != nil {
		return []finding{{what, image, "the pod cannot be made: " + oneLine(err)}}
	}
	waiting, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	if problem := k.await(waiting, name); problem != "" {
		return []finding{{what, image, problem}}
	}
	text, err := k.run(ctx, nil, "logs", name, "--container=doctor")
	if err != nil {
		return []finding{{what, image, "its output cannot be read: " + oneLine(err)}}
	}
	for line := range strings.Lines(string(text)) {
		said := strings.Join(strings.Fields(line), " ")
		if detail, ok := strings.CutPrefix(said, "ok "); ok {
			out = append(out, finding{what: what, detail: detail})
		} else if problem, ok := strings.CutPrefix(said, "FAIL "); ok {
			out = append(out, finding{what: what, problem: problem})
		}
	}
	if len(out) == 0 {
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return []finding{{what, image, fmt.Sprintf("this image's masar does not know doctor --reach, or is not masar: name the version to be installed with --image (it said: %s)", first)}}
	}
	return out
}

// podStatus is what is read of a pod.
type podStatus struct {
	Status struct {
		Phase, Reason, Message string
		Conditions             []struct{ Type, Status, Reason, Message string }
		ContainerStatuses      []struct {
			Name  string
			State struct {
				Waiting, Terminated *struct{ Reason, Message string }
			}
		}
	}
}

// await waits until the pod's program has ended, and says why it cannot start.
func (k kubectl) await(ctx context.Context, name string) (problem string) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	state := "not seen"
	for {
		var pod podStatus
		err := k.get(ctx, &pod, "pod", name)
		switch {
		case isReason(err, "NotFound"):
			return "the pod was deleted by somebody else"
		case err == nil:
			var ended bool
			if ended, state, problem = pod.ended(); ended || problem != "" {
				return problem
			}
		}
		select {
		case <-ctx.Done():
			return "the pod has not ended in time, it is " + state + ": see kubectl get events, and ask again if it was the image's download"
		case <-tick.C:
		}
	}
}

func (p podStatus) ended() (ended bool, state, problem string) {
	s := p.Status
	state = strings.ToLower(cmp.Or(s.Phase, "not seen"))
	for _, c := range s.Conditions {
		if c.Type == "PodScheduled" && c.Status == "False" && c.Reason == "Unschedulable" {
			return false, state, "no node takes the pod: " + strings.TrimSuffix(c.Message, ".") + ": see nodeSelector, tolerations and the nodes' room"
		}
	}
	for _, c := range s.ContainerStatuses {
		switch w := c.State.Waiting; {
		case c.Name != "doctor": // somebody else's, beside it
		case c.State.Terminated != nil:
			if reason := c.State.Terminated.Reason; reason != "Completed" && reason != "Error" {
				return true, state, fmt.Sprintf("its program cannot run: %s %s", reason, c.State.Terminated.Message)
			}
			return true, state, ""
		case w == nil:
		case slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}, w.Reason):
			return false, state, fmt.Sprintf("the image cannot be had (%s: %s): check image.registry, image.tag and image.pullSecrets, or load it into the nodes", w.Reason, w.Message)
		case strings.HasSuffix(w.Reason, "Error"):
			return false, state, fmt.Sprintf("its container cannot be made: %s: %s", w.Reason, w.Message)
		case w.Reason != "":
			state += ", " + w.Reason
		}
	}
	if s.Phase == "Failed" || s.Phase == "Succeeded" {
		return true, state, strings.TrimSpace(s.Reason + " " + s.Message)
	}
	return false, state, ""
}
