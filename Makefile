# Everything a contributor does, by name. `make help` lists it.
# Tools that are not on the machine (Envoy, Redis, the Gateway API module) are put into
# ${XDG_CACHE_HOME:-~/.cache}/postern by the targets that need them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

EXAMPLE ?= quickstart
ECHO ?= --echo red=127.0.0.1:3001 --echo blue=127.0.0.1:3002
CARGO ?= cargo
LIMITER := tests/e2e/limiter

.PHONY: help run test e2e conformance lint fmt bench docs crds manifests envoy check-machine

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: check-machine ## Serve examples/quickstart with a real Envoy (EXAMPLE=name for another one)
	@envoy="$$(hack/envoy.sh)"; \
	$(CARGO) build --quiet -p postern; \
	exec "$${CARGO_TARGET_DIR:-target}/debug/postern" run examples/$(EXAMPLE) --envoy "$$envoy" $(ECHO)

test: check-machine ## Run all tests: unit, property, golden, real Envoy, examples
	@POSTERN_ENVOY="$$(hack/envoy.sh)"; \
	POSTERN_REDIS="$$(tests/setup/redis.sh)"; \
	POSTERN_LIMITER="$$(CARGO=$(CARGO) tests/setup/limiter.sh)"; \
	export POSTERN_ENVOY POSTERN_REDIS POSTERN_LIMITER; \
	tests/setup/gateway-api.sh >/dev/null; \
	$(CARGO) build --workspace --all-targets; \
	export POSTERN_BIN="$$(realpath "$${CARGO_TARGET_DIR:-target}/debug/postern")"; \
	$(CARGO) test --workspace

e2e: check-machine ## Run the tests in a cluster: KUBECONFIG's, else kind's, else the project's own node (as root)
	@hack/e2e.sh

conformance: check-machine ## Run the Gateway API's conformance suite (TEST=name, CHANNEL=experimental, RELEASE=1); the report goes to docs/conformance
	@hack/conformance.sh

lint: check-machine ## Check format, lints, documentation and (where cargo-deny is installed) dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features postern-e2e/cluster -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) fmt --all --check --manifest-path $(LIMITER)/Cargo.toml
	$(CARGO) clippy --locked --workspace --all-targets --manifest-path $(LIMITER)/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}/limiter" -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check bans licenses sources; \
	else echo "cargo-deny is not installed: dependencies were not checked (cargo install --locked cargo-deny)"; fi

fmt: ## Format the code
	$(CARGO) fmt --all
	$(CARGO) fmt --all --manifest-path $(LIMITER)/Cargo.toml

bench: check-machine ## Run the benchmarks; they print tables (several minutes)
	@export POSTERN_ENVOY="$$(hack/envoy.sh)"; \
	$(CARGO) bench -p postern-translator; \
	$(CARGO) build --release -p postern; \
	$(CARGO) bench -p postern-e2e

docs: check-machine ## Build the API documentation into target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

crds: ## Write deploy/crds from the types
	$(CARGO) run --quiet -p postern-api --example generate-crds

manifests: ## Write deploy/rendered from the base and the overlays
	@hack/manifests.sh

envoy: ## Install the pinned Envoy into the cache and print its path
	@hack/envoy.sh

check-machine:
	@command -v $(CARGO) >/dev/null || { echo "cargo is not on PATH: install Rust with rustup (the version is in rust-toolchain.toml)" >&2; exit 1; }
	@command -v python3 >/dev/null || { echo "python3 is not on PATH: it brings the pinned Envoy" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "no C compiler on PATH: install gcc or clang" >&2; exit 1; }
