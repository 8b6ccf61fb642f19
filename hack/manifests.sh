#!/usr/bin/env bash
# Writes deploy/rendered: what kustomize makes of the base and of each overlay. `postern install` contains these files, and a test compares
# them with the overlays. Needs kubectl, or the one of the tests' own node.
set -euo pipefail
cd "$(dirname "$0")/.."

kubectl=${KUBECTL:-$(command -v kubectl || true)}
[ -n "$kubectl" ] || kubectl=$(tests/e2e/cluster/cluster path kubernetes)/kubectl
mkdir -p deploy/rendered
for overlay in deploy/base/ deploy/overlays/*/; do
	name=$(basename "$overlay")
	{
		echo "# kubectl kustomize ${overlay%/}, written by hack/manifests.sh"
		"$kubectl" kustomize "$overlay"
	} >"deploy/rendered/$name.yaml.new"
	mv "deploy/rendered/$name.yaml.new" "deploy/rendered/$name.yaml"
done
