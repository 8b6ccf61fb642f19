#!/usr/bin/env bash
# Builds the OpenTelemetry collector of the tests (otel-collector/) into the user's cache and prints the path of the program.
# Running this again is free; running it several times at once is safe.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source="$here/otel-collector"

cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/postern"
digest=$(cat "$source"/* "$here/../../hack/go.sh" | sha256sum | cut -c1-12)
program="$cache/otel-collector-$digest/otel-collector"

if [ ! -x "$program" ]; then
	go=$("$here/../../hack/go.sh")
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/.otel-collector.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	printf 'Building the OpenTelemetry collector of the tests\n' >&2
	# What go.sum says of each module is all the trust that is needed.
	(cd "$source" && GOFLAGS=-mod=readonly GOWORK=off GOTOOLCHAIN=local GONOSUMDB='*' CGO_ENABLED=0 \
		"$go" build -trimpath -ldflags '-s -w' -o "$work/home/otel-collector" .) >&2
	mv -T "$work/home" "${program%/*}" 2>/dev/null || [ -x "$program" ] || {
		printf 'otel-collector.sh: cannot put the program into %s\n' "${program%/*}" >&2
		exit 1
	}
fi
printf '%s\n' "$program"
