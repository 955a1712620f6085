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
