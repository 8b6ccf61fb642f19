#!/usr/bin/env bash
# Runs the conformance suite of the Gateway API against Postern, installed as users install it, in a cluster of its own;
# hack/cluster.sh says in which. Says at the end what failed and what it cost.
#
#   hack/conformance.sh                        the whole suite; its report goes to docs/conformance/<channel>.yaml
#   TEST=HTTPRouteWeight hack/conformance.sh   the tests whose name is matched from end to end by this regular expression
#   CHANNEL=experimental hack/conformance.sh   with the CRDs of this channel (default: standard)
#   RELEASE=1 …                                with an optimized controller, for figures that count; else as compiled for tests
#   REPORT=FILE …                              where the report goes
#   KEEP=1 …                                   the cluster stays; the kubeconfig's path is printed
#   CLUSTER=kind|node …                        choose
#
# More arguments go to the suite and win: --debug, -test.parallel=1, --cleanup-test-resources=false, …
#
# The suite takes the features from the status of the GatewayClass, and is asked about each profile whose kind of route is among
# them. In a cluster of yours (KUBECONFIG), say USABLE_ADDRESS and UNUSABLE_ADDRESS: one that a LoadBalancer can get by asking for it,
# and one that it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${CLUSTER_NAME:-conform}
channel=${CHANNEL:-standard}
report=${REPORT:-docs/conformance/$channel.yaml}
begin=$SECONDS

say() { printf '== %s (after %d s)\n' "$*" $((SECONDS - begin)) >&2; }
fail() {
	printf 'conformance.sh: %s\n' "$@" >&2
	exit 1
}
# shellcheck source=hack/cluster.sh
. hack/cluster.sh

kubectl() { "$POSTERN_KUBECTL" "$@"; }

install_gateway_api() {
	local directory installed
	installed=$(kubectl get crd gateways.gateway.networking.k8s.io --ignore-not-found \
		-o jsonpath='{.metadata.annotations.gateway\.networking\.k8s\.io/channel}')
	[ "${installed:-$channel}" = "$channel" ] ||
		fail "the cluster has the CRDs of the $installed channel, which those of another one may not replace; take a fresh cluster"
	directory=$(tests/setup/gateway-api.sh)/gateway-api/config/crd
	[ "$channel" = standard ] || directory+=/$channel
	kubectl apply --server-side -k "$directory" >/dev/null
}

install_postern() {
	kubectl apply --server-side -k deploy/crds >/dev/null
	kubectl apply --server-side --force-conflicts -k deploy/overlays/single-replica >/dev/null
	if [ -n "${POSTERN_IMAGE:-}" ]; then
		kubectl -n postern-system set image deployment/postern "postern=$POSTERN_IMAGE" >/dev/null
		kubectl -n postern-system set env deployment/postern "POSTERN_IMAGE=$POSTERN_IMAGE" >/dev/null
	fi
	kubectl -n postern-system rollout status deployment/postern --timeout=180s >/dev/null
	kubectl wait --for=condition=Accepted gatewayclass/postern --timeout=60s >/dev/null
}

# profiles: those whose kind of route is claimed
profiles() {
	local features profile
	features=" $(kubectl get gatewayclass postern -o jsonpath='{.status.supportedFeatures[*].name}') "
	for profile in HTTP GRPC TLS TCP UDP; do
		case $features in *" ${profile}Route "*) printf 'GATEWAY-%s\n' "$profile" ;; esac
	done | paste -sd,
}

# addresses: the flags about them
addresses() {
	local pool
	if [ "$cluster" = node ]; then
		pool=$($node_script pool)
		# The lowest ones are given to those who do not ask; 192.0.2.0/24 is for examples.
		printf '%s\n' "--usable-address=${pool%.*}.250" --unusable-address=192.0.2.250
	else
		printf '%s\n' ${USABLE_ADDRESS:+"--usable-address=$USABLE_ADDRESS"} ${UNUSABLE_ADDRESS:+"--unusable-address=$UNUSABLE_ADDRESS"}
	fi
}

# about_us: what the report says about the implementation
about_us() {
	local repository=https://github.com/postern/postern
	printf '%s\n' --organization=postern --project=postern --url=$repository --contact=$repository/issues \
		--version="v$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
}

# start_watching: what happens to pods goes to pods.log and events.log, what the processes of the node use to usage.json. A test takes
# its objects away, whether it failed or not.
watchers=()
start_watching() {
	"$POSTERN_KUBECTL" get pods --all-namespaces --output wide --watch --output-watch-events >"$output/pods.log" 2>&1 &
	watchers+=($!)
	"$POSTERN_KUBECTL" get events --all-namespaces --watch >"$output/events.log" 2>&1 &
	watchers+=($!)
	[ "$cluster" = node ] || return 0
	hack/conformance/usage.py watch "postern-$name" "$output/usage.json" &
	watchers+=($!)
}

stop_watching() {
	local watcher
	for watcher in "${watchers[@]}"; do kill "$watcher" && wait "$watcher" || true; done 2>/dev/null
	watchers=()
}

finish() {
	stop_watching
	cluster_down
}

case $channel in standard | experimental) ;; *) fail "CHANNEL is $channel: must be standard or experimental" ;; esac
cluster_choose
target=${CARGO_TARGET_DIR:-target}
output=$target/conformance/$channel
rm -rf "$output"
mkdir -p "$output"
suite=$(tests/e2e/cluster/cluster path conformance)/conformance
image=$target/postern-conformance.tar
if [ "$cluster" != given ]; then
	say "image of the controller"
	if [ -n "${RELEASE:-}" ]; then hack/postern-image.sh --output "$image"; else hack/postern-image.sh --quick --output "$image"; fi
fi
say "cluster: $cluster"
trap finish EXIT
cluster_up "$image"
say "the Gateway API's CRDs ($channel channel), and Postern"
install_gateway_api
install_postern

# When Kubernetes deletes a namespace, it looks again after half of the longest grace period of its pods. A proxy has 60 s; the suite would
# wait for 30 s.
flags=(-test.v=test2json -test.timeout=60m -test.parallel=8 -test.run="^TestConformance\$/^(${TEST:-.*})\$"
	--timeout-config-overrides=DeleteTimeout:90 --gateway-class=postern --conformance-profiles="$(profiles)")
# What is left of the suite goes with the cluster.
[ "$cluster" = given ] || [ -n "${KEEP:-}" ] || flags+=(--cleanup-base-resources=false)
mapfile -t -O ${#flags[@]} flags < <(addresses)
if [ -z "${TEST:-}" ]; then
	mkdir -p "$(dirname "$report")"
	mapfile -t -O ${#flags[@]} flags < <(about_us)
	flags+=(--report-output="$output/report.yaml")
fi
say "suite"
start_watching
suite_begin=$SECONDS
passed=1
"$suite" "${flags[@]}" "$@" >"$output/suite.log" 2>&1 || passed=
suite_seconds=$((SECONDS - suite_begin))
stop_watching
kubectl -n postern-system logs deployment/postern --timestamps >"$output/controller.log" || true
hack/conformance/summary.py "$output/suite.log"
printf 'wall time of the suite: %d s\n' "$suite_seconds"
[ ! -f "$output/usage.json" ] || hack/conformance/usage.py print "$output/usage.json"
if [ -f "$output/report.yaml" ]; then
	install -m 644 "$output/report.yaml" "$report"
	say "report: $report"
fi
say "logs: $output"
[ -n "$passed" ] || fail "the suite failed"
say "passed"
