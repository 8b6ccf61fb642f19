# shellcheck shell=bash disable=SC2034 # variables are for the other files
# The machine's side of the node: its network, its cgroups, and the process that all others of the node descend from.

# Derives the addresses from CLUSTER_NETWORK.
plan_network() {
	local prefix
	[[ $CLUSTER_NETWORK =~ ^([0-9]+\.[0-9]+)\.0\.0/16$ ]] || die "CLUSTER_NETWORK '$CLUSTER_NETWORK': must be a /16 such as 10.190.0.0/16"
	prefix=${BASH_REMATCH[1]}
	MACHINE_IP=$prefix.0.1 # this machine, as the node and its pods see it
	NODE_IP=$prefix.0.2
	POOL=$prefix.1.0/24        # of LoadBalancers
	SERVICES=$prefix.16.0/20
	API_IP=$prefix.16.1
	DNS_IP=$prefix.16.10
	PODS=$prefix.64.0/18
	SERVER=$NODE_IP:6443
}

# Succeeds if nothing on this machine is in a network or has a route into it.
is_free() {
	[ -z "$(ip -4 route show root "$1"; ip -4 route show match "$1" | sed '/^default/d')" ]
}

choose_network() {
	local number
	if [ -n "$CLUSTER_NETWORK" ]; then
		plan_network
		is_free "$CLUSTER_NETWORK" || die "this machine has routes into $CLUSTER_NETWORK: choose another CLUSTER_NETWORK"
		return
	fi
	for number in {190..219}; do
		CLUSTER_NETWORK=10.$number.0.0/16
		! is_free "$CLUSTER_NETWORK" || break
		CLUSTER_NETWORK=
	done
	[ -n "$CLUSTER_NETWORK" ] || die "this machine has routes into all networks from 10.190.0.0/16 to 10.219.0.0/16: choose a CLUSTER_NETWORK"
	plan_network
}

# The node has one cable, to this machine. It goes when the node goes, and takes the routes along.
connect_node() {
	local inside=$1 cable=$CLUSTER_NAME-node
	ip link add "$cable" type veth peer name machine netns "$inside"
	ip address add "$MACHINE_IP/24" dev "$cable"
	ip link set "$cable" up
	ip route add "$CLUSTER_NETWORK" via "$NODE_IP"
	nsenter --target "$inside" --net -- bash -c '
		set -e
		ip link set lo up
		ip address add "$1/24" dev machine
		ip link set machine up
		ip route add unreachable default
		ip route add local "$2" dev lo' - "$NODE_IP" "$POOL"
}

# A cgroup below the one that this process is in, in each hierarchy; lists their directories with the controllers.
make_cgroups() {
	local controllers path root directory setting name=postern-$CLUSTER_NAME
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		# Version 2: at the top, because only there a cgroup may hold processes and pass controllers on.
		sed 's/\</+/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control ||
			die "cannot pass cgroup controllers on (in a container, move its processes out of the topmost cgroup first)"
		mkdir -p "/sys/fs/cgroup/$name/init"
		say "unified /sys/fs/cgroup/$name" >"$STATE/cgroups"
		return
	fi
	while IFS=: read -r _ controllers path; do
		root=/sys/fs/cgroup/${controllers#name=}
		[ -n "$controllers" ] && [ -d "$root" ] || continue
		directory=${root}${path%/}/$name
		mkdir -p "$directory"
		if [ -f "$directory/cpuset.cpus" ]; then # is empty at first, and then holds no process
			for setting in cpus mems; do cat "$directory/../cpuset.$setting" >"$directory/cpuset.$setting"; done
			say 1 >"$directory/cgroup.clone_children"
		fi
		say "$controllers $directory" >>"$STATE/cgroups"
	done </proc/self/cgroup
}

remove_cgroups() {
	local directory i
	[ -f "$STATE/cgroups" ] || return 0
	while read -r _ directory; do
		for ((i = 0; i < 100; i++)); do # the kernel takes a moment to bury killed processes
			[ -d "$directory" ] || break
			find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
		done
		[ ! -d "$directory" ] || note "$directory is still in use"
	done <"$STATE/cgroups"
}

# Starts init.sh in namespaces of its own. Its parent stays outside; killing that kills all.
start_init() {
	local cgroup inside pid
	mkfifo "$STATE/orders"
	(
		while read -r _ cgroup; do say "$BASHPID" >"$cgroup/cgroup.procs"; done <"$STATE/cgroups"
		exec setsid unshare --cgroup --mount --net --pid --propagation private --fork --kill-child \
			bash "$HERE/init.sh" "$STATE"
	) >"$LOGS/init.log" 2>&1 </dev/null 9>&- &
	remember $! "$STATE/process"
	disown
	await "the node's first process runs" init_of
	inside=$(init_of)
	if [ -d "/sys/fs/cgroup/postern-$CLUSTER_NAME/init" ]; then
		for pid in $! "$inside"; do say "$pid" >"/sys/fs/cgroup/postern-$CLUSTER_NAME/init/cgroup.procs"; done
	fi
	connect_node "$inside"
	say begin >"$STATE/orders"
}

# init_of: the node's process 1, by its number out here
init_of() {
	local children=()
	lives "$STATE/process" && read -ra children -d '' <"/proc/$PID/task/$PID/children" || true
	[ -n "${children[*]}" ] && say "${children[0]}"
}

node_broken() {
	if ! is_running; then
		say "the node has ended"
	elif [ -f "$STATE/ended" ]; then
		cat "$STATE/ended"
	else
		return 1
	fi
}

check_machine() {
	local directory
	[ "$(id -u)" = 0 ] || die "the node needs root, for namespaces; 'cluster api-only up' does not"
	need ip nsenter unshare openssl python3 mkfifo
	for directory in "$STATE" "$CACHE" "$HERE"; do
		case $(realpath -m "$directory")/ in
		/run/* | /var/*) die "$directory: the node has its own /run and /var; choose another place (CLUSTER_STATE, XDG_CACHE_HOME)" ;;
		esac
	done
	[ ! -f /sys/fs/cgroup/cgroup.controllers ] || note "cgroups of version 2: not tried yet, tell us how it went"
}

# Each Envoy takes five inotify instances, and all that run as the same user share what the kernel allows: with its default of 128,
# the 26th Envoy on this machine ends with SIGSEGV as soon as it starts.
raise_limits() {
	local setting=/proc/sys/fs/inotify/max_user_instances
	(($(<$setting) >= 1024)) || say 1024 >$setting || note "$setting is $(<$setting): more than some 20 Envoys at once will crash"
}

node_up() {
	if is_running; then
		note "the cluster '$CLUSTER_NAME' is up already"
		say "$STATE/admin.kubeconfig"
		return
	fi
	check_machine
	raise_limits
	build "${PARTS[@]}"
	node_down
	BEGIN=$EPOCHREALTIME
	private_directory "$STATE"
	rm -rf "$LOGS"
	private_directory "$LOGS"
	trap node_failed EXIT
	ln -s "$(part_directory kubernetes)" "$STATE/programs"
	ln -s "$(part_directory debian)" "$STATE/debian"
	ln -s "$(part_directory images)" "$STATE/images"
	exec 7>"$CLUSTER_STATE/network.lock"
	flock 7 # nobody else chooses until this network is in use
	choose_network
	declare -p CLUSTER_NAME CLUSTER_NETWORK MACHINE_IP NODE_IP POOL SERVICES API_IP DNS_IP PODS SERVER STATE LOGS |
		sed 's/^declare --/declare -g/' >"$STATE/settings"
	make_credentials "$NODE_IP" "$API_IP"
	make_cgroups
	start_init 7>&-
	exec 7>&-
	await "the API answers" api_answers
	await "DNS is deployed" deploy_dns
	await "the node is ready" kubectl wait --for=condition=Ready node/node --timeout=1s
	await "DNS is ready" kubectl -n kube-system rollout status deployment/coredns --timeout=1s
	trap - EXIT
	say "$STATE/admin.kubeconfig"
}

deploy_dns() {
	# shellcheck source=parts/images/names
	. "$HERE/parts/images/names"
	sed "s#@DNS_IP@#$DNS_IP#; s#@IMAGE@#$COREDNS_IMAGE#" "$HERE/dns.yaml" | kubectl apply -f -
}

node_failed() {
	note "the ends of the logs in $LOGS:"
	show_logs >&2
	node_down
}

node_down() {
	end KILL "$STATE/process"
	ip link delete "$CLUSTER_NAME-node" 2>/dev/null || true # sooner than the kernel does it
	remove_cgroups
	rm -rf --one-file-system "$STATE"
}

node_status() {
	if ! is_running; then
		say "the cluster '$CLUSTER_NAME' is not up"
		return 1
	fi
	# shellcheck source=/dev/null
	. "$STATE/settings"
	say "kubeconfig $STATE/admin.kubeconfig"
	say "node $NODE_IP, this machine $MACHINE_IP, load balancers $POOL, services $SERVICES, pods $PODS"
	! node_broken || return 1
	kubectl get nodes,pods --all-namespaces
	kubectl wait --for=condition=Ready node/node --timeout=0s >/dev/null
}

pool() (
	# shellcheck source=/dev/null
	. "$STATE/settings"
	say "$POOL"
)

# The client of containerd, as the node has it.
ctr() { nsenter --target "$(init_of)" --mount --net -- "$STATE/debian/usr/bin/ctr" --namespace k8s.io "$@"; }

load_images() {
	local file
	for file; do
		[ -f "$file" ] || die "no file $file"
		ctr images import --no-unpack - <"$file"
	done
}

# Ends the containers of a pod as a crash would: no signal that they could hear, and nobody but the kubelet learns of it.
kill_pod() {
	local ids id
	[[ ${1:-} =~ ^[^/]+/[^/]+$ ]] || die "usage: cluster kill NAMESPACE/POD"
	ids=$(kubectl --namespace "${1%/*}" get pod "${1#*/}" --output 'jsonpath={.status.containerStatuses[*].containerID}')
	[ -n "$ids" ] || die "the pod $1 has no containers"
	for id in $ids; do ctr tasks kill --signal SIGKILL "${id#containerd://}"; done
}

# The node's first process does it, and says when it has.
node_apiserver() {
	BEGIN=$EPOCHREALTIME
	case $1 in
	stop)
		say "stop kube-apiserver" >"$STATE/orders"
		await "the API server has ended" test ! -e "$STATE/running/kube-apiserver"
		;;
	start)
		say "start kube-apiserver" >"$STATE/orders"
		await "the API answers" api_answers
		;;
	*) die "usage: cluster apiserver stop|start" ;;
	esac
}
