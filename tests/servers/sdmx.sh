#!/usr/bin/env bash
# Has the SDMX messages of a running `masar up` read by readers that are not ours:
# the official JSON schemas and pysdmx, see sdmx/check.py.
#
#   tests/servers/sdmx.sh bin/masar
#
# They come from PyPI with the versions of sdmx/requirements.txt, once, into
# ${XDG_CACHE_HOME:-~/.cache}/masar; where they cannot be had the script says so
# and exits 0.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=sdmx server=
source "$here/lib.sh"
usage "$@"
masar=$1
environment "$here/sdmx/requirements.txt"
workplace

port=$(free_port)
"$masar" up --data "$work/data" --listen "127.0.0.1:$port" --kafka-listen 127.0.0.1:0 >"$work/up.log" 2>&1 &
server=$!
for _ in $(seq 300); do
	[ ! -e "$work/data/run.json" ] || break
	sleep 0.1
done
"$masar" demo --data "$work/data" --people 200 >/dev/null || {
	tail -20 "$work/up.log" >&2
	exit 1
}
# A manager's, so that there are hidden cells.
MASAR_TOKEN=$("$masar" token --data "$work/data" --role manager) \
	"$venv/bin/python" "$here/sdmx/check.py" "http://127.0.0.1:$port"
