#!/usr/bin/env bash
# Sends thousands of generated requests, good and bad, to every operation of
# docs/openapi.json on a running `masar up`, and fails where one is answered by a
# server error or by something that the document does not say.
#
#   tests/servers/api.sh bin/masar
#
# Schemathesis comes from PyPI with the versions of api/requirements.txt, once,
# into ${XDG_CACHE_HOME:-~/.cache}/masar; where it cannot be had the script says
# so and exits 0.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=api server=
source "$here/lib.sh"
usage "$@"
masar=$1
environment "$here/api/requirements.txt"
workplace

port=$(free_port)
"$masar" up --data "$work/data" --listen "127.0.0.1:$port" --kafka-listen 127.0.0.1:0 >"$work/up.log" 2>&1 &
server=$!
for _ in $(seq 300); do
	[ ! -e "$work/data/run.json" ] || break
	sleep 0.1
done
"$masar" demo --data "$work/data" --people 20 >/dev/null || {
	tail -20 "$work/up.log" >&2
	exit 1
}
token=$("$masar" token --data "$work/data" --role admin)
say "the API is asked at 127.0.0.1:$port"
code=0
(cd "$work" && "$venv/bin/st" run "$here/../../docs/openapi.json" --url "http://127.0.0.1:$port" \
	-H "Authorization: Bearer $token" --checks not_a_server_error,content_type_conformance,response_schema_conformance \
	--max-examples "${API_EXAMPLES:-40}" --continue-on-failure --generation-deterministic --no-color) >"$work/st.log" 2>&1 || code=$?
if [ "$code" -ne 0 ]; then
	cat "$work/st.log"
	exit "$code"
fi
grep -E 'Tested:|generated,' "$work/st.log"
