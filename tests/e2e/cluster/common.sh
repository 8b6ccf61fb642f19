# shellcheck shell=bash disable=SC2034 # variables are for the other files
# Settings and small helpers. Results go to standard output, progress to standard error.

: "${CLUSTER_NAME:=postern}"
: "${CLUSTER_NETWORK:=}"
: "${CLUSTER_STATE:=${TMPDIR:-/tmp}/postern-cluster-$UID}"
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/postern/cluster
MODE=node

say() { printf '%s\n' "$*"; }
note() { printf 'cluster: %s\n' "$*" >&2; }
die() {
	note "$*"
	exit 1
}

# Sets STATE and LOGS, which belong to this name and mode.
check_settings() {
	[[ $CLUSTER_NAME =~ ^[a-z][a-z0-9-]{0,9}$ ]] ||
		die "CLUSTER_NAME '$CLUSTER_NAME': a letter, then up to 9 letters, digits and dashes, all small"
	CLUSTER_STATE=$(realpath -m "$CLUSTER_STATE")
	STATE=$CLUSTER_STATE/$CLUSTER_NAME/$MODE
	LOGS=$CLUSTER_STATE/$CLUSTER_NAME/logs-$MODE
}

need() {
	local command
	for command; do command -v "$command" >/dev/null || die "'$command' is needed and not on PATH"; done
}

private_directory() {
	(umask 077 && mkdir -p "$1")
	[ -O "$1" ] || die "$1 belongs to somebody else"
}

# exclusively COMMAND...: one at a time per cluster. What goes on running must not inherit descriptor 9.
exclusively() {
	private_directory "$CLUSTER_STATE"
	private_directory "$CLUSTER_STATE/$CLUSTER_NAME"
	exec 9>"$CLUSTER_STATE/$CLUSTER_NAME/lock-$MODE"
	flock 9
	"$@"
}

# A process is remembered with the time of its start, because numbers are given out again.
start_of() { # start_of PID: nothing if it has ended
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	read -ra stat <<<"${stat##*) }" # after the name, which may hold anything
	[ "${stat[0]}" = Z ] || say "${stat[19]}"
}
remember() { say "$1 $(start_of "$1")" >"$2"; } # remember PID FILE
lives() { # lives FILE: sets PID
	local start
	[ -s "$1" ] && read -r PID start <"$1" && [ -n "$start" ] && [ "$(start_of "$PID")" = "$start" ]
}
end() { # end SIGNAL FILE: and waits; the process has 10 s for SIGNAL, then it is killed
	local i
	if lives "$2"; then
		kill "-$1" "$PID"
		for ((i = 0; i < 200; i++)); do
			lives "$2" || break
			[ "$i" != 100 ] || kill -KILL "$PID"
			sleep 0.1
		done
	fi
	rm -f "$2"
}

# await WHAT COMMAND...: polls for up to 90 s, gives up as soon as `broken` says why
await() {
	local what=$1 deadline=$((SECONDS + 90)) reason
	shift
	until "$@" >/dev/null 2>&1; do
		! reason=$(broken) || die "$reason; waited for: $what"
		((SECONDS < deadline)) || die "not within 90 s: $what"
		sleep 0.1
	done
	note "$what after $(seconds_since "$BEGIN") s"
}

# seconds_since TIME: with one decimal; TIME is an $EPOCHREALTIME
seconds_since() {
	local tenths=$(((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 100000))
	say "$((tenths / 10)).$((tenths % 10))"
}

is_running() { lives "$STATE/process"; }
must_run() { is_running || die "the cluster '$CLUSTER_NAME' ($MODE) is not up"; }

show_logs() {
	if [ $# = 0 ]; then
		tail -n 6 "$LOGS"/*.log
	else
		cat "$LOGS/$1.log" || die "there are logs of: $(cd "$LOGS" && printf '%s ' *.log | sed 's/\.log//g')"
	fi
}
