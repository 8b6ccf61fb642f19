#!/usr/bin/env bash
# Runs the end-to-end tests in a real cluster: the one that KUBECONFIG names; else, where Docker and kind are, a kind cluster;
# else the project's own node (tests/e2e/cluster), which needs root. What it brings up, it takes down.
#
#   hack/e2e.sh                     all tests
#   hack/e2e.sh provisioning::      those whose name contains this; more arguments go to the tests too (-- --nocapture)
#   KEEP=1 hack/e2e.sh              the cluster and the tests' namespaces stay; the kubeconfig's path is printed
#   CLUSTER=kind|node hack/e2e.sh   choose
#
# With KUBECONFIG, its cluster has to give addresses to LoadBalancers that this machine can reach, and has to be able to
# pull POSTERN_IMAGE (required) and ECHO_IMAGE (default: the echo server of the Gateway API's conformance suite). So has a kind
# cluster, except for POSTERN_IMAGE, which is loaded into it; kind has not been tried.
set -euo pipefail
cd "$(dirname "$0")/.."

own=tests/e2e/cluster/cluster
node_name=${CLUSTER_NAME:-e2e}
kind_name=postern-e2e
begin=$SECONDS

say() { printf '== %s (after %d s)\n' "$*" $((SECONDS - begin)) >&2; }
fail() {
	printf 'e2e.sh: %s\n' "$@" >&2
	exit 1
}

choose() {
	if [ -n "${KUBECONFIG:-}" ]; then
		echo given
	elif [ -n "${CLUSTER:-}" ]; then
		echo "$CLUSTER"
	elif command -v kind >/dev/null && docker info >/dev/null 2>&1; then
		echo kind
	else
		echo node
	fi
}

kubectl_on_path() {
	command -v kubectl || fail "kubectl is not on PATH"
}

up_given() {
	[ -n "${POSTERN_IMAGE:-}" ] || fail "KUBECONFIG is set, so POSTERN_IMAGE must name an image of the controller that the cluster can pull" \
		"hack/postern-image.sh makes one; unset KUBECONFIG for a cluster that lives for the tests"
	POSTERN_KUBECTL=$(kubectl_on_path)
}

# Not tried: no machine with Docker was at hand.
up_kind() {
	POSTERN_KUBECTL=$(kubectl_on_path)
	command -v cloud-provider-kind >/dev/null ||
		fail "cloud-provider-kind is not on PATH: without it nothing gives addresses to LoadBalancers in kind"
	kind get clusters 2>/dev/null | grep -qx "$kind_name" || kind create cluster --name "$kind_name" --wait 120s >&2
	KUBECONFIG=$(mktemp)
	kind get kubeconfig --name "$kind_name" >"$KUBECONFIG"
	cloud-provider-kind >"$KUBECONFIG.addresses.log" 2>&1 &
	addresses=$!
	kind load image-archive --name "$kind_name" "$image" >&2
}

down_kind() {
	kill "${addresses:-}" 2>/dev/null || true
	kind delete cluster --name "$kind_name" >&2
	rm -f "$KUBECONFIG" "$KUBECONFIG.addresses.log"
}

up_node() {
	export CLUSTER_NAME=$node_name
	# Another run with the same node would take it down under this one. The node itself must not hold the lock.
	exec 6>"${TMPDIR:-/tmp}/postern-e2e-$UID-$node_name.lock"
	flock --nonblock 6 || { say "waiting for another run to end" && flock 6; }
	KUBECONFIG=$($own up 6>&-)
	POSTERN_KUBECTL=$($own path kubernetes)/kubectl
	export POSTERN_E2E_CLUSTER=$PWD/$own
	$own load "$image" >&2
	# In a kept cluster, pods of an older image
	$own kubectl --namespace postern-system rollout restart deployment/postern >&2 2>/dev/null || true
}

down_node() { $own down; }

# What a failed run leaves to look at, beside what the tests say
describe() {
	"$POSTERN_KUBECTL" get pods --all-namespaces -o wide
	"$POSTERN_KUBECTL" --namespace postern-system logs --selector app.kubernetes.io/name=postern --prefix --tail=100
}

down() {
	if [ -n "${KEEP:-}" ]; then
		say "kept: export KUBECONFIG=${KUBECONFIG:-}"
	elif declare -F "down_$kind" >/dev/null; then
		"down_$kind"
	fi
}

kind=$(choose)
declare -F "up_$kind" >/dev/null || fail "CLUSTER is $kind: must be kind or node"
[ "$kind" != node ] || [ "$(id -u)" = 0 ] || fail "the project's own node needs root; or set KUBECONFIG, or install Docker and kind"

target=${CARGO_TARGET_DIR:-target}
POSTERN_ENVOY=$(hack/envoy.sh)
export POSTERN_ENVOY
say "compile"
cargo build --quiet --workspace --lib --bin postern --test cluster --test watch --features postern-e2e/cluster
export POSTERN_BIN=${POSTERN_BIN:-$(realpath "$target/debug/postern")}
if [ "$kind" != given ]; then
	say "image of the controller"
	image=$target/postern-image.tar
	hack/postern-image.sh --quick --output "$image"
fi
say "cluster: $kind"
trap down EXIT
"up_$kind"
export KUBECONFIG POSTERN_KUBECTL
say "tests"
cargo test --quiet --workspace --features postern-e2e/cluster --test cluster --test watch -- --test-threads="${TEST_THREADS:-4}" "$@" || {
	describe >&2 || true
	fail "tests failed"
}
say "passed"
