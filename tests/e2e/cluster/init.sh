#!/usr/bin/env bash
# The first process of the node: makes its mounts, starts its programs, buries orphans, obeys orders. When it ends,
# the kernel ends everything in the node. node.sh starts it in namespaces of its own; $1 is the state directory.
set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=common.sh
. "$HERE/common.sh"
# shellcheck source=control-plane.sh
. "$HERE/control-plane.sh"
# shellcheck source=parts/images/names
. "$HERE/parts/images/names"
# shellcheck source=/dev/null
. "$1/settings"
DEBIAN=$(readlink -f "$STATE/debian")
export PATH=$DEBIAN/usr/sbin:$DEBIAN/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin
LIBRARIES=$DEBIAN/usr/lib/$(uname -m)-linux-gnu

declare -A PROCESS=() # of each running program

# start NAME COMMAND...: COMMAND is kept, to start it again
start() {
	local name=$1
	shift
	printf '%q ' exec "$@" >"$STATE/$name.command"
	start_again "$name"
}

start_again() {
	bash "$STATE/$1.command" >>"$LOGS/$1.log" 2>&1 </dev/null 4>&- &
	PROCESS[$1]=$!
	: >"$STATE/running/$1"
}

stop() {
	local pid=${PROCESS[$1]}
	unset "PROCESS[$1]"
	kill -KILL "$pid" || true
	wait "$pid" || true
	rm "$STATE/running/$1"
}

# /proc of this PID namespace, /sys of this network namespace, and in it only the node's own cgroups
mount_kernel() {
	local controllers
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	if [ "$(cut -d' ' -f1 "$STATE/cgroups")" = unified ]; then
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		sed 's/\</+/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
		return
	fi
	mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
	while read -r controllers _; do
		mkdir "/sys/fs/cgroup/${controllers#name=}"
		case $controllers in name=*) controllers=none,$controllers ;; esac
		mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/${controllers##*=}"
	done <"$STATE/cgroups"
}

# /run and /var of the node's own. The machine's are not touched.
mount_files() {
	mount -t tmpfs -o mode=755 run /run
	mkdir -p "$STATE"/var/{log,tmp,lib/kubelet}
	ln -s /run "$STATE/var/run"
	mount --bind "$STATE/var" /var
	mount --bind /var/lib/kubelet /var/lib/kubelet # below it the kubelet's mounts have to be seen by all
	mount --make-rshared /
}

# The kubelet wants three settings of the whole kernel, and would change them. It gets to see what it wants.
pretend_settings() {
	local setting
	for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
		say "${setting#*=}" >"/run/${setting//\//-}"
		mount --bind "/run/${setting//\//-}" "/proc/sys/${setting%=*}"
	done
	say 1 >/proc/sys/net/ipv4/ip_forward
}

# Pods are connected by routes, not by a bridge, so every packet passes the rules of kube-proxy.
configure_containerd() {
	mkdir /run/cni
	cat >/run/cni/pods.conflist <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/run/cni/addresses",
   "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
	# restrict_oom_score_adj: else runc fails where the machine gives no CAP_SYS_RESOURCE
	cat >/run/containerd.toml <<END
version = 2
root = "$STATE/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$DEBIAN/usr/lib/cni"
  conf_dir = "/run/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "$DEBIAN/usr/sbin/runc"
END
}

configure_kubelet() {
	local files
	files=$(ulimit -Hn)
	if [ "$files" = unlimited ] || ((files > 65536)); then files=65536; fi
	: >/run/resolv.conf
	cat >/run/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $STATE/keys/ca.crt}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
kubeAPIQPS: 200
kubeAPIBurst: 400
makeIPTablesUtilChains: false
maxOpenFiles: $files
maxPods: 250
oomScoreAdj: 0
resolvConf: /run/resolv.conf
volumePluginDir: /var/lib/kubelet/plugins
END
	cat >/run/kube-proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
hostnameOverride: node
bindAddress: $NODE_IP
clusterCIDR: $PODS
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
}

start_all() {
	local image
	start_etcd 2379 2380
	start_apiserver 2379 --advertise-address="$NODE_IP" --kubelet-preferred-address-types=InternalIP \
		--kubelet-client-certificate="$STATE/keys/apiserver.crt" --kubelet-client-key="$STATE/keys/apiserver.key"
	start containerd env LD_LIBRARY_PATH="$LIBRARIES" containerd --config /run/containerd.toml
	until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done
	for image in "$STATE"/images/*.tar; do ctr --namespace k8s.io images import "$image"; done
	until api_answers; do sleep 0.1; done
	start_controllers
	start kube-scheduler "$STATE/programs/kube-scheduler" --kubeconfig="$STATE/scheduler.kubeconfig" --leader-elect=false --secure-port=0
	start kubelet "$STATE/programs/kubelet" --config=/run/kubelet.yaml --kubeconfig="$STATE/kubelet.kubeconfig" \
		--hostname-override=node --node-ip="$NODE_IP"
	start kube-proxy env LD_LIBRARY_PATH="$LIBRARIES" "$STATE/programs/kube-proxy" --config=/run/kube-proxy.yaml
	start addresses "$STATE/programs/addresses" --kubeconfig="$STATE/addresses.kubeconfig" --pool="$POOL"
}

# Between orders, notes which programs have ended by themselves.
obey() {
	local order name
	while :; do
		if read -r -t 1 order name <&4; then
			case $order:${PROCESS[$name]:+runs} in
			stop:runs) stop "$name" ;;
			start:) start_again "$name" ;;
			esac
		fi
		for name in "${!PROCESS[@]}"; do
			kill -0 "${PROCESS[$name]}" 2>/dev/null && continue
			say "$name has ended; see $LOGS/$name.log" >>"$STATE/ended"
			unset "PROCESS[$name]"
		done
	done
}

exec 4<>"$STATE/orders"
read -r _ <&4 # until the cable is there
mkdir "$STATE/running"
mount_kernel
mount_files
pretend_settings
configure_containerd
configure_kubelet
start_all
obey
