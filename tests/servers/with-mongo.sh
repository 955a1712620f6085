#!/usr/bin/env bash
# Runs a command beside one server that speaks the MongoDB wire protocol, on a
# free loopback port, or on a port of the address MASAR_TEST_HOST.
#
#   tests/servers/with-mongo.sh go test ./pkg/docstore/...
#
# The command gets MASAR_TEST_MONGODB_URI=mongodb://host:port; its exit code is
# ours. The server is SecantusDB from PyPI, with the versions of
# mongo/requirements.txt, in a virtual environment in
# ${XDG_CACHE_HOME:-~/.cache}/masar, made once. Where Python 3 with venv or the
# registry is missing, the script says so, does not run the command and exits 0.
# A MASAR_TEST_MONGODB_URI that is already set is used as it is, so that a real
# mongod can be tested against.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=with-mongo server=
source "$here/lib.sh"
usage "$@"
if [ -n "${MASAR_TEST_MONGODB_URI:-}" ]; then
	say "using the server that MASAR_TEST_MONGODB_URI names"
	exec "$@"
fi
environment "$here/mongo/requirements.txt"

host=${MASAR_TEST_HOST:-127.0.0.1}
workplace

# Whether the server answers.
answers() {
	"$venv/bin/python" -c 'import sys, pymongo
pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=200).admin.command("ping")' "$1" 2>/dev/null
}

# A port may be taken between our look and the server's start: try again.
for attempt in 1 2 3; do
	port=$(free_port)
	uri=mongodb://$host:$port
	rm -rf "$work/data"
	: >"$work/secantusd.toml" # nothing from the home directory
	(cd "$work" && exec "$venv/bin/secantusd-py" --config "$work/secantusd.toml" --host $host --port "$port" \
		--storage-path "$work/data" --log-level WARNING) >"$work/server.log" 2>&1 &
	server=$!
	ready=
	for _ in $(seq 60); do
		kill -0 "$server" 2>/dev/null || break
		if answers "$uri"; then
			ready=yes
			break
		fi
		sleep 0.2
	done
	[ -n "$ready" ] && break
	stop
	say "attempt $attempt: the server did not start:"
	tail -5 "$work/server.log" >&2
done
[ -n "$server" ] || exit 1
say "SecantusDB answers at $uri"

set +e
MASAR_TEST_MONGODB_URI=$uri "$@"
code=$?
kill -0 "$server" 2>/dev/null || {
	say "the server died; its last words:"
	tail -20 "$work/server.log" >&2
}
exit $code
