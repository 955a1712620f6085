#!/usr/bin/env bash
# Runs a command beside one server that speaks the MongoDB wire protocol, on a
# free loopback port.
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
command -v python3 >/dev/null || skip "no python3 here"
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

venv=$(cached mongo "$here/mongo/requirements.txt")-py$version
if [ ! -e "$venv/complete" ]; then
	if ! python3 -c 'import venv, ensurepip' 2>/dev/null && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		say "installing python3-venv, which CI lacks"
		{ apt-get -q update && apt-get -q install -y python3-venv; } >/dev/null 2>&1 || true
	fi
	python3 -c 'import venv, ensurepip' 2>/dev/null || skip "python3 has no venv (on Debian: apt-get install python3-venv)"
	say "fetching SecantusDB from PyPI into $venv"
	mkdir -p "$(dirname "$venv")"
	# Environments cannot be moved: two runs that make one take turns.
	exec 9>"$venv.lock"
	flock 9 2>/dev/null || true
	if [ ! -e "$venv/complete" ]; then
		rm -rf "$venv"
		log=$(mktemp)
		if ! { python3 -m venv "$venv" && timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check \
			--only-binary :all: --no-deps -r "$here/mongo/requirements.txt"; } >"$log" 2>&1; then
			tail -3 "$log" >&2
			rm -rf "$venv" "$log"
			skip "PyPI does not give SecantusDB for Python $version here"
		fi
		rm -f "$log"
		touch "$venv/complete"
	fi
	exec 9>&-
fi

workplace

# Whether the server answers.
answers() {
	"$venv/bin/python" -c 'import sys, pymongo
pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=200).admin.command("ping")' "$1" 2>/dev/null
}

# A port may be taken between our look and the server's start: try again.
for attempt in 1 2 3; do
	port=$(free_port)
	uri=mongodb://127.0.0.1:$port
	rm -rf "$work/data"
	: >"$work/secantusd.toml" # nothing from the home directory
	(cd "$work" && exec "$venv/bin/secantusd-py" --config "$work/secantusd.toml" --host 127.0.0.1 --port "$port" \
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
