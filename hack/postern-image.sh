#!/usr/bin/env bash
# Makes the image of the controller without Docker, as an archive: one static program in an otherwise empty image.
#
#   hack/postern-image.sh --output FILE            as deploy/images/postern/Dockerfile makes it: optimized, musl
#   hack/postern-image.sh --quick --output FILE    for tests: from what was compiled for tests, linked anew
#   … --name NAME:TAG                              default: postern.dev/postern:<version>
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
	printf 'postern-image.sh: %s\n' "$@" >&2
	exit 1
}

limit=40000000 # every node that runs the controller pulls it
quick='' output=''
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=postern.dev/postern:$version
while [ $# != 0 ]; do
	case $1 in
	--quick) quick=1 ;;
	--output) output=${2:?} && shift ;;
	--name) name=${2:?} && shift ;;
	*) fail "unknown argument $1; see the head of this file" ;;
	esac
	shift
done
[ -n "$output" ] || fail "--output FILE is missing"

target=${CARGO_TARGET_DIR:-target}
if [ -n "$quick" ]; then
	# As `make test` compiles, so that nothing is compiled twice; then the program's few lines once more, linked statically.
	cargo build --quiet --workspace --lib --bin postern --test cluster --features postern-e2e/cluster
	program=$target/debug/postern-static
	rustc --edition 2024 --crate-name postern_static -C target-feature=+crt-static -C relocation-model=static -C strip=symbols \
		-C link-arg=-Wl,--icf=all -L "dependency=$target/debug/deps" --extern "postern=$target/debug/libpostern.rlib" \
		-o "$program" controller/src/main.rs
else
	triple=$(uname -m)-unknown-linux-musl
	# The C code of dependencies needs no C library, so the machine's own compiler will do for it.
	compiler=CC_${triple//-/_}
	export "$compiler=${!compiler:-cc}"
	if command -v rustup >/dev/null; then rustup --quiet target add "$triple"; fi
	cargo build --quiet --locked --release -p postern --bin postern --target "$triple"
	program=$target/$triple/release/postern
fi
! ldd "$program" 2>/dev/null | grep -q '=>' || fail "$program is not static"
hack/image.py --name "$name" --label "org.opencontainers.image.version=$version" --output "$output" "$program:/postern"
size=$(stat -c %s "$output")
printf '%s: %s, %s.%s MB\n' "$output" "$name" $((size / 1000000)) $((size / 100000 % 10)) >&2
[ -n "$quick" ] || [ "$size" -lt $limit ] || fail "the image must be smaller than $((limit / 1000000)) MB; Cargo.toml says which crates are compiled for size"
