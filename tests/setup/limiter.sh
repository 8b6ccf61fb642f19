#!/usr/bin/env bash
# Builds the rate-limit service of the tests (tests/e2e/limiter) and prints the path of the program. When nothing has changed this is
# quick; running it several times at once is safe.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

export CARGO_INCREMENTAL=0 # else whoever sets it, and whoever does not, would each build much of this anew
target="${CARGO_TARGET_DIR:-target}/limiter"
program="$target/debug/postern-limiter"

[ -x "$program" ] || printf 'Building the rate-limit service of the tests\n' >&2
"${CARGO:-cargo}" build --quiet --locked --manifest-path tests/e2e/limiter/Cargo.toml --target-dir "$target" >&2 && [ -x "$program" ] || {
	printf 'limiter.sh: %s\n' "tests/e2e/limiter cannot be built: see above" "or set POSTERN_LIMITER to a program that was built elsewhere" >&2
	exit 1
}
realpath "$program"
