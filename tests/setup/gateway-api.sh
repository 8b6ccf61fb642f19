#!/usr/bin/env bash
# Puts the pinned Gateway API into the user's cache and prints the directory that holds it:
#
#   gateway-api/    CRDs of both channels (config/crd), Go types (apis), examples
#   conformance/    the conformance suite with its manifests
#
# Both are Go modules, downloaded by Go: the one on PATH, else the one of hack/go.sh. Running this again is free; running it
# several times at once is safe: each run prepares its own copy, and one atomic rename decides whose is kept.
#
#   tests/setup/gateway-api.sh    print the directory, fetch first if needed
#   PYTHON=python3.12 …           the Python to use
set -euo pipefail

version=v1.7.0
gateway_api_sum='h1:duVnm7nO6oXfMMUWfcDoBph47CYR/ME3NGxccOVglaY='
conformance_sum='h1:8Llf3aLHmeuiKA1AolOpeTIp0tmEuo6BSPOmw/w8tnk='

cache="${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/postern"
home="$cache/gateway-api-$version"
python="${PYTHON:-python3}"

fail() {
	printf 'gateway-api.sh: %s\n' "$@" >&2
	exit 1
}

# Renames directory $1 to $2, unless another run was first.
keep() {
	"$python" -c 'import os, sys
try:
    os.rename(sys.argv[1], sys.argv[2])
except OSError:
    if not os.path.isdir(sys.argv[2]):
        raise' "$1" "$2"
}

if [ -d "$home" ]; then
	printf '%s\n' "$home"
	exit 0
fi

command -v "$python" >/dev/null || fail "$python is not on PATH" "install Python 3, or set PYTHON to one"

mkdir -p "$cache"
work="$(mktemp -d "$cache/.gateway-api-$version.XXXXXX")"
trap 'rm -rf "$work"' EXIT

go="$(command -v go)" || go="$("$(dirname "$0")/../../hack/go.sh")" || fail "neither Go nor a way to install it is here"

# Downloads module $1 and unpacks it as $2 when its checksum is $3.
fetch() {
	# An older Go downloads the module but says that it cannot use it, and fails: what counts is the archive.
	(cd "$work" && GOFLAGS='' GOWORK=off GO111MODULE=on GOTOOLCHAIN=local "$go" mod download -json "$1@$version" >"$2.json") || true
	"$python" - "$1@$version" "$work/$2.json" "$work/home/$2" "$3" <<'END' || fail "could not fetch the Go module $1@$version" "can $go reach its module proxy?"
import json, os, sys, zipfile

module, description, target, checksum = sys.argv[1:]
with open(description) as file:
    found = json.loads(file.read() or "{}")
if "Zip" not in found:
    sys.exit(found.get("Error", "go printed no description of the module"))
if found.get("Sum") != checksum:
    sys.exit(f"{module} has the checksum {found.get('Sum')}, expected {checksum}")
prefix = module + "/"
with zipfile.ZipFile(found["Zip"]) as archive:
    for name in archive.namelist():
        if not name.startswith(prefix) or ".." in name.split("/"):
            sys.exit(f"unexpected file {name} in {module}")
        path = os.path.join(target, name[len(prefix):])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(archive.read(name))
END
}

printf 'Fetching the Gateway API %s into %s\n' "$version" "$home" >&2
mkdir "$work/home"
fetch sigs.k8s.io/gateway-api gateway-api "$gateway_api_sum"
fetch sigs.k8s.io/gateway-api/conformance conformance "$conformance_sum"
keep "$work/home" "$home"
printf '%s\n' "$home"
