# shellcheck shell=bash
# The cluster that hack/e2e.sh and hack/conformance.sh run in: the one that KUBECONFIG names; else, where Docker and kind are, a
# kind cluster; else the project's own node (tests/e2e/cluster), which needs root. What is brought up is taken down, unless KEEP
# is set. CLUSTER=kind|node chooses.
#
# Who sources this sets `name`, and has `say` and `fail`. It gets `cluster` (given, kind or node) from cluster_choose;
# KUBECONFIG and POSTERN_KUBECTL from cluster_up. kind has not been tried: no machine with Docker was at hand.

node_script=tests/e2e/cluster/cluster

cluster_choose() {
	if [ -n "${KUBECONFIG:-}" ]; then
		cluster=given
		[ -n "${POSTERN_IMAGE:-}" ] || fail "KUBECONFIG is set, so POSTERN_IMAGE must name an image of the controller that the cluster can pull" \
			"hack/postern-image.sh makes one; unset KUBECONFIG for a cluster that lives for the tests"
	elif [ -n "${CLUSTER:-}" ]; then
		cluster=$CLUSTER
	elif command -v kind >/dev/null && docker info >/dev/null 2>&1; then
		cluster=kind
	else
		cluster=node
	fi
	declare -F "cluster_up_$cluster" >/dev/null || fail "CLUSTER is $cluster: must be kind or node"
	[ "$cluster" != node ] || [ "$(id -u)" = 0 ] ||
		fail "the project's own node needs root; or set KUBECONFIG, or install Docker and kind"
}

# cluster_up IMAGE: an archive with the image of the controller, which is loaded where that is possible
cluster_up() {
	"cluster_up_$cluster" "$@"
	export KUBECONFIG POSTERN_KUBECTL
}

cluster_down() {
	if [ -n "${KEEP:-}" ]; then
		say "kept: export KUBECONFIG=${KUBECONFIG:-}"
	elif declare -F "cluster_down_$cluster" >/dev/null; then
		"cluster_down_$cluster"
	fi
}

kubectl_on_path() {
	command -v kubectl || fail "kubectl is not on PATH"
}

cluster_up_given() { POSTERN_KUBECTL=$(kubectl_on_path); }

cluster_up_kind() {
	POSTERN_KUBECTL=$(kubectl_on_path)
	command -v cloud-provider-kind >/dev/null ||
		fail "cloud-provider-kind is not on PATH: without it nothing gives addresses to LoadBalancers in kind"
	kind get clusters 2>/dev/null | grep -qx "postern-$name" || kind create cluster --name "postern-$name" --wait 120s >&2
	KUBECONFIG=$(mktemp)
	kind get kubeconfig --name "postern-$name" >"$KUBECONFIG"
	cloud-provider-kind >"$KUBECONFIG.addresses.log" 2>&1 &
	addresses=$!
	kind load image-archive --name "postern-$name" "$1" >&2
}

cluster_down_kind() {
	kill "${addresses:-}" 2>/dev/null || true
	kind delete cluster --name "postern-$name" >&2
	rm -f "$KUBECONFIG" "$KUBECONFIG.addresses.log"
}

cluster_up_node() {
	export CLUSTER_NAME=$name
	# Another run with the same node would take it down under this one. The node itself must not hold the lock.
	exec 6>"${TMPDIR:-/tmp}/postern-e2e-$UID-$name.lock"
	flock --nonblock 6 || { say "waiting for another run to end" && flock 6; }
	KUBECONFIG=$($node_script up 6>&-)
	POSTERN_KUBECTL=$($node_script path kubernetes)/kubectl
	$node_script load "$1" >&2
	# In a kept cluster, pods of an older image
	$node_script kubectl --namespace postern-system rollout restart deployment/postern >&2 2>/dev/null || true
}

cluster_down_node() { $node_script down; }
