#!/usr/bin/env bash
# Runs a command beside one Apache Kafka node (KRaft) on a free loopback port, or
# on a port of the address MASAR_TEST_HOST.
#
#   tests/servers/with-kafka.sh go test ./pkg/bus/...
#
# The command gets MASAR_TEST_KAFKA=host:port and MASAR_TEST_KAFKA_JARS=directory;
# its exit code is ours. Kafka comes from Maven Central, with the versions of
# kafka/pom.xml, into ${XDG_CACHE_HOME:-~/.cache}/masar, once. Where Java (17 or
# later), Maven or the registry is missing, the script says so, does not run the
# command and exits 0. A MASAR_TEST_KAFKA that is already set is used as it is.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=with-kafka server=
source "$here/lib.sh"
usage "$@"
if [ -n "${MASAR_TEST_KAFKA:-}" ]; then
	say "using the cluster at $MASAR_TEST_KAFKA"
	exec "$@"
fi
command -v java >/dev/null || skip "no java here (17 or later is needed)"
major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
[ "${major:-0}" -ge 17 ] || skip "java ${major:-?} is too old, 17 or later is needed"

jars=$(cached kafka "$here/kafka/pom.xml")
if [ ! -d "$jars" ]; then
	command -v mvn >/dev/null || skip "no mvn here, and no jars in $jars"
	say "fetching Apache Kafka from Maven Central into $jars"
	mkdir -p "$(dirname "$jars")"
	fetched=$(mktemp -d "$jars.XXXXXX")
	if ! timeout 600 mvn -B -q -f "$here/kafka/pom.xml" dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory="$fetched" >"$fetched/mvn.log" 2>&1; then
		tail -5 "$fetched/mvn.log" >&2
		rm -rf "$fetched"
		skip "Maven Central does not give Kafka"
	fi
	# Another run may have been quicker.
	mv -T "$fetched" "$jars" 2>/dev/null || rm -rf "$fetched"
fi

host=${MASAR_TEST_HOST:-127.0.0.1}
workplace
kafka=(java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
	-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*")

# A port may be taken between our look and Kafka's start: try again.
for attempt in 1 2 3; do
	port=$(free_port)
	controller=$(free_port)
	rm -rf "$work/data"
	cat >"$work/server.properties" <<-PROPERTIES
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@$host:$controller
		listeners=PLAINTEXT://$host:$port,CONTROLLER://$host:$controller
		advertised.listeners=PLAINTEXT://$host:$port
		controller.listener.names=CONTROLLER
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
		log.dirs=$work/data
		auto.create.topics.enable=false
		num.partitions=1
		default.replication.factor=1
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=8
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		group.initial.rebalance.delay.ms=0
	PROPERTIES
	"${kafka[@]}" kafka.tools.StorageTool format -t "$("${kafka[@]}" kafka.tools.StorageTool random-uuid)" \
		-c "$work/server.properties" >"$work/format.log" 2>&1 || {
		cat "$work/format.log" >&2
		exit 1
	}
	"${kafka[@]}" kafka.Kafka "$work/server.properties" >"$work/kafka.log" 2>&1 &
	server=$!
	ready=
	for _ in $(seq 600); do
		kill -0 "$server" 2>/dev/null || break
		if connects $host "$port"; then
			ready=yes
			break
		fi
		sleep 0.1
	done
	[ -z "$ready" ] || break
	stop
	[ "$attempt" -lt 3 ] || {
		tail -30 "$work/kafka.log" >&2
		say "Kafka did not start"
		exit 1
	}
done

say "Apache Kafka $(basename "$jars"/kafka_2.13-*.jar .jar | cut -d- -f2) listens on $host:$port"
export MASAR_TEST_KAFKA=$host:$port MASAR_TEST_KAFKA_JARS=$jars
code=0
"$@" || code=$?
if [ "$code" -ne 0 ] && grep -qE 'ERROR|FATAL' "$work/kafka.log"; then
	say "the broker's own errors:"
	grep -E 'ERROR|FATAL' "$work/kafka.log" | tail -20 >&2
fi
exit "$code"
