#!/usr/bin/env bash
# Installs the chart on a real Kubernetes node and tries it: tests/cluster_test.go.
#
#   tests/cluster/run.sh [-run TestClusterEmbedded ...]
#
# Builds the images and, where $CLUSTER_HOME (default /tmp/masar-cluster) has none,
# the cluster (10 minutes), starts it, runs the tests inside beside Apache Kafka and
# a MongoDB-wire server, and stops it. Where a cluster cannot be had (no root, no
# Debian packages), it says so and ends with 0.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export CLUSTER_HOME=${CLUSTER_HOME:-/tmp/masar-cluster}
node=10.10.0.1 # node.sh
cluster=$here/cluster

skip() {
	echo "cluster: SKIPPED: $*" >&2
	exit 0
}
[ "$(id -u)" = 0 ] || skip "a node needs root"
command -v apt-get >/dev/null || skip "containerd and runc are taken from Debian's packages"
unshare --mount --net --pid --fork true 2>/dev/null || skip "no namespaces of one's own here"

began=$(date +%s)
if [ ! -e "$CLUSTER_HOME/bin/.stamp" ]; then
	[ -z "${CI:-}" ] || apt-get update -qq
	echo "cluster: building Kubernetes into $CLUSTER_HOME"
fi
GOWORK=off "$cluster" build >"${TMPDIR:-/tmp}/cluster-build.log" 2>&1 || {
	tail -20 "${TMPDIR:-/tmp}/cluster-build.log" >&2
	echo "cluster: it could not be built" >&2
	exit 1
}
echo "cluster: built after $(($(date +%s) - began)) s"

work=$(mktemp -d)
trap '"$cluster" down >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
# The same programs under two tags: an upgrade changes every pod.
(cd "$root" && for tag in old new; do go run ./deploy/images --version "$tag" --arch "$(go env GOARCH)" --archive --out "$work/$tag"; done) >/dev/null
echo "cluster: images after $(($(date +%s) - began)) s"

"$cluster" down >/dev/null
"$cluster" up | tail -1
for image in "$work"/*/*.tar; do
	"$cluster" load "$image" >/dev/null
done

# What the servers need is fetched outside: nothing inside reaches the world.
"$root/tests/servers/with-kafka.sh" true
"$root/tests/servers/with-mongo.sh" true
cd "$root"
export MASAR_TEST_CLUSTER=$node MASAR_TEST_HOST=$node
# Where a server cannot be had, its script runs nothing: the rest is still tried.
code=0
if [ -n "$(MASAR_TEST_HOST=127.0.0.1 tests/servers/with-kafka.sh tests/servers/with-mongo.sh echo yes 2>/dev/null)" ]; then
	beside=(tests/servers/with-kafka.sh tests/servers/with-mongo.sh)
else
	beside=()
fi
"$cluster" exec "${beside[@]}" go test ./tests -count=1 -timeout 20m -run TestCluster -v "$@" || code=$?
[ "$code" = 0 ] || "$cluster" logs node >&2
exit "$code"
