# shellcheck shell=bash disable=SC2034 # variables are for the other files
# The API alone: the store, the API server and the controllers are processes on loopback.

# start NAME COMMAND...: COMMAND is kept, to start it again
start() {
	local name=$1
	shift
	printf '%q ' exec "$@" >"$STATE/$name.command"
	start_again "$name"
}

start_again() {
	setsid bash "$STATE/$1.command" >>"$LOGS/$1.log" 2>&1 </dev/null 9>&- &
	remember $! "$STATE/$1.process"
	disown
}

api_only_up() {
	local ports
	if is_running; then
		note "the cluster '$CLUSTER_NAME' (api-only) is up already"
		say "$STATE/admin.kubeconfig"
		return
	fi
	need openssl python3 setsid
	build kubernetes
	api_only_down
	BEGIN=$EPOCHREALTIME
	private_directory "$STATE"
	rm -rf "$LOGS"
	private_directory "$LOGS"
	trap 'api_only_failed' EXIT
	ln -s "$(part_directory kubernetes)" "$STATE/programs"
	SERVICES=10.0.0.0/24
	read -ra ports < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(one.getsockname()[1] for one in sockets))')
	SERVER=127.0.0.1:${ports[2]}
	make_credentials 127.0.0.1
	start_etcd "${ports[0]}" "${ports[1]}"
	start_apiserver "${ports[0]}" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none
	cp "$STATE/etcd.process" "$STATE/process"
	await "the API answers" api_answers
	start_controllers
	await "the controllers work" has_controllers
	trap - EXIT
	say "$STATE/admin.kubeconfig"
}

# broken: says what is, if it is
broken() {
	if [ "$MODE" = node ]; then
		node_broken
	elif ! lives "$STATE/kube-apiserver.process"; then
		say "kube-apiserver has ended"
	else
		return 1
	fi
}

api_only_failed() {
	show_logs >&2
	api_only_down
}

api_only_down() {
	local name
	for name in kube-controller-manager kube-apiserver etcd; do end TERM "$STATE/$name.process"; done
	rm -rf "$STATE"
}

api_only_status() {
	local name
	for name in etcd kube-apiserver kube-controller-manager; do
		if lives "$STATE/$name.process"; then say "$name: process $PID"; else say "$name: not running"; fi
	done
	api_answers
}

api_only_apiserver() {
	case $1 in
	stop) end KILL "$STATE/kube-apiserver.process" ;;
	start)
		BEGIN=$EPOCHREALTIME
		lives "$STATE/kube-apiserver.process" || start_again kube-apiserver
		await "the API answers" api_answers
		;;
	*) die "usage: cluster api-only apiserver stop|start" ;;
	esac
}
