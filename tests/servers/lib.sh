# What with-kafka.sh and with-mongo.sh share. The one that sources this sets
# name (for its messages) and server (process id of what it started, or empty).

say() { echo "$name: $*" >&2; }
skip() {
	say "SKIPPED: $*"
	exit 0
}

# usage ARGUMENT...: ends the script unless there is a command to run.
usage() {
	[ $# -gt 0 ] || {
		say "usage: $0 COMMAND [ARGUMENT...]"
		exit 2
	}
}

# cached NAME FILE: where what FILE pins is kept; a changed FILE is fetched anew.
cached() { echo "${XDG_CACHE_HOME:-$HOME/.cache}/masar/$1-$(cksum <"$2" | cut -d' ' -f1)"; }

stop() {
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || true
	for _ in $(seq 100); do
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=
}

# workplace: makes the directory $work, which goes with the server at the end.
workplace() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/masar-$name.XXXXXX")
	trap 'stop; rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# connects HOST PORT: whether something listens there.
connects() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

free_port() {
	local p
	for _ in $(seq 100); do
		p=$((20000 + RANDOM % 12000))
		connects 127.0.0.1 "$p" || {
			echo "$p"
			return
		}
	done
	return 1
}

# environment REQUIREMENTS: makes, once, a Python environment in $venv with what
# the file pins, wheels from PyPI. Skips the script where that cannot be had.
environment() {
	local version folder log
	folder=$(basename "$(dirname "$1")")
	command -v python3 >/dev/null || skip "no python3 here"
	version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	venv=$(cached "$folder" "$1")-py$version
	[ ! -e "$venv/complete" ] || return 0
	if ! python3 -c 'import venv, ensurepip' 2>/dev/null && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		say "installing python3-venv, which CI lacks"
		{ apt-get -q update && apt-get -q install -y python3-venv; } >/dev/null 2>&1 || true
	fi
	python3 -c 'import venv, ensurepip' 2>/dev/null || skip "python3 has no venv (on Debian: apt-get install python3-venv)"
	say "fetching what $folder needs from PyPI into $venv"
	mkdir -p "$(dirname "$venv")"
	# Environments cannot be moved: two runs that make one take turns.
	exec 9>"$venv.lock"
	flock 9 2>/dev/null || true
	if [ ! -e "$venv/complete" ]; then
		rm -rf "$venv"
		log=$(mktemp)
		if ! { python3 -m venv "$venv" && timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check \
			--only-binary :all: --no-deps -r "$1"; } >"$log" 2>&1; then
			tail -3 "$log" >&2
			rm -rf "$venv" "$log"
			skip "PyPI does not give what $folder needs for Python $version here"
		fi
		rm -f "$log"
		touch "$venv/complete"
	fi
	exec 9>&-
}
