#!/usr/bin/env bash
# Runs the end-to-end tests in a real cluster; hack/cluster.sh says in which.
#
#   hack/e2e.sh                     all tests
#   hack/e2e.sh provisioning::      those whose name contains this; more arguments go to the tests too (-- --nocapture)
#   KEEP=1 hack/e2e.sh              the cluster and the tests' namespaces stay; the kubeconfig's path is printed
#   CLUSTER=kind|node hack/e2e.sh   choose
#
# With KUBECONFIG, its cluster has to give addresses to LoadBalancers that this machine can reach, and has to be able to
# pull POSTERN_IMAGE (required) and ECHO_IMAGE (default: the echo server of the Gateway API's conformance suite). So has a kind
# cluster, except for POSTERN_IMAGE, which is loaded into it.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${CLUSTER_NAME:-e2e}
begin=$SECONDS

say() { printf '== %s (after %d s)\n' "$*" $((SECONDS - begin)) >&2; }
fail() {
	printf 'e2e.sh: %s\n' "$@" >&2
	exit 1
}
# shellcheck source=hack/cluster.sh
. hack/cluster.sh

# What a failed run leaves to look at, beside what the tests say
describe() {
	"$POSTERN_KUBECTL" get pods --all-namespaces -o wide
	"$POSTERN_KUBECTL" --namespace postern-system logs --selector app.kubernetes.io/name=postern --prefix --tail=100
}

cluster_choose
target=${CARGO_TARGET_DIR:-target}
POSTERN_ENVOY=$(hack/envoy.sh)
export POSTERN_ENVOY
say "compile"
cargo build --quiet --workspace --lib --bin postern --test cluster --test watch --features postern-e2e/cluster
export POSTERN_BIN=${POSTERN_BIN:-$(realpath "$target/debug/postern")}
image=$target/postern-image.tar
if [ "$cluster" != given ]; then
	say "image of the controller"
	hack/postern-image.sh --quick --output "$image"
fi
say "cluster: $cluster"
trap cluster_down EXIT
cluster_up "$image"
[ "$cluster" != node ] || export POSTERN_E2E_CLUSTER=$PWD/$node_script
say "tests"
cargo test --quiet --workspace --features postern-e2e/cluster --test cluster --test watch -- --test-threads="${TEST_THREADS:-4}" "$@" || {
	describe >&2 || true
	fail "tests failed"
}
say "passed"
