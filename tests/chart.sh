#!/usr/bin/env bash
# Checks the chart and renders it for each set of values in its folder ci:
#
#   tests/chart.sh
#
# helm lint; kubeconform against the schemas of the Kubernetes of tests/cluster;
# kube-score; values that must be refused, with a sentence. What is rendered goes to
# deploy/helm/golden, to be committed: a change of the chart shows there.
# Tools are built by Go into ${XDG_CACHE_HOME:-~/.cache}/masar, once.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kit=$root/tests/cluster chart=$root/deploy/helm/masar golden=$root/deploy/helm/golden
score=github.com/zegl/kube-score/cmd/kube-score@v1.20.0

tools=${XDG_CACHE_HOME:-$HOME/.cache}/masar/chart-$(cat "$kit/go.sum" <(echo "$score") | cksum | cut -d' ' -f1)
if [ ! -e "$tools/complete" ]; then
	echo "chart: building helm, kubeconform and kube-score into $tools"
	mkdir -p "$tools/json"
	export GOWORK=off GOBIN=$tools CGO_ENABLED=0
	(cd "$kit" && go install helm.sh/helm/v4/cmd/helm github.com/yannh/kubeconform/cmd/kubeconform ./schemas)
	(cd "$tools" && go install "$score")
	(cd "$kit" && go mod download k8s.io/kubernetes && "$tools/schemas" "$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/api/openapi-spec/swagger.json" "$tools/json")
	unset GOWORK GOBIN CGO_ENABLED
	touch "$tools/complete"
fi
PATH=$tools:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The APIs of operators that a set of values counts on.
apis() {
	case $1 in
	ministry) echo monitoring.coreos.com/v1 ;;
	operators) echo kafka.strimzi.io/v1beta2,keda.sh/v1alpha1,mongodbcommunity.mongodb.com/v1,gateway.networking.k8s.io/v1 ;;
	esac
}

rm -rf "$golden"
mkdir -p "$golden"
for values in "$chart"/ci/*.yaml; do
	name=$(basename "$values" .yaml)
	helm lint --strict --quiet "$chart" -f "$values"
	more=$(apis "$name")
	helm template masar "$chart" -n masar -f "$values" ${more:+--api-versions "$more"} >"$golden/$name.yaml"
	# Resources of operators have no schema here.
	kubeconform -strict -ignore-missing-schemas -schema-location "$tools/json/{{.ResourceKind}}{{.KindSuffix}}.json" -summary "$golden/$name.yaml"
	# Not its advice: two replicas at least, which a scaled object sees to; Always pulls, where tags never change and an air-gapped cluster has
	# no registry; limits of the processor, which slow down and protect nobody; one way
	# of spreading replicas beside topologySpreadConstraints.
	kube-score score --output-format ci --ignore-container-cpu-limit \
		--ignore-test container-image-pull-policy,deployment-replicas,deployment-has-host-podantiaffinity,statefulset-has-host-podantiaffinity \
		"$golden/$name.yaml" >"$work/score" || true
	if grep -E '^\[(CRITICAL|WARNING)\]' "$work/score"; then
		echo "chart: kube-score finds fault with $name" >&2
		exit 1
	fi
	if grep -iE '(password|secret|token|uri|url): *["'\'']?[a-z+]*://[^ ]*:[^ ]*@' "$golden/$name.yaml"; then
		echo "chart: a password in $name" >&2
		exit 1
	fi
done

# The boards, which are kept out of the golden files.
boards=$(helm template masar "$chart" -f "$chart/ci/embedded.yaml" --set monitoring.boards=true | tee "$work/boards.yaml" | grep -c 'name: masar-board-' || true)
[ "$boards" = "$(ls "$chart"/files/boards | wc -l)" ] || {
	echo "chart: $boards boards are rendered" >&2
	exit 1
}
kubeconform -strict -schema-location "$tools/json/{{.ResourceKind}}{{.KindSuffix}}.json" "$work/boards.yaml"

# Values that cannot be used are refused, and the sentence says what to do.
refused() { # SENTENCE ARGUMENT...
	local want=$1 out
	shift
	if out=$(helm template masar "$chart" "$@" 2>&1); then
		echo "chart: helm template $* should be refused" >&2
		exit 1
	fi
	grep -qF -- "$want" <<<"$out" || {
		echo "chart: helm template $*: \"$want\" is not said in: $out" >&2
		exit 1
	}
}
refused "kafka.brokers is needed: the addresses of the Kafka brokers"
refused "candidates.masterKeySecret is needed"
refused "additional properties 'kafak' not allowed" --set kafak.brokers=x
refused "at '/profile': value must be one of 'services', 'embedded'" --set profile=all
refused "at '/kafka/brokers/0'" --set 'kafka.brokers={kafka}'
refused "at '/shutdown/stopSeconds': minimum: got 1, want 5" --set shutdown.stopSeconds=1
refused "ingress.host is needed with ingress.enabled" -f "$chart/ci/embedded.yaml" --set ingress.enabled=true
refused "grafana.existingSecret is needed with grafana.url" -f "$chart/ci/embedded.yaml" --set grafana.url=http://g
refused "minReplicas is more than maxReplicas" -f "$chart/ci/autoscaled.yaml" --set matching.autoscaling.minReplicas=9
refused "backup.restore has no effect without backup.enabled" -f "$chart/ci/embedded.yaml" --set backup.restore=latest
echo "chart: $(ls "$golden" | wc -l) sets of values rendered, valid and scored"
