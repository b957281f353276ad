# Everything a developer runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
BIN := $(VENV)/bin
CARGO := $(or $(shell command -v cargo 2>/dev/null),$(wildcard $(HOME)/.cargo/bin/cargo))
# What the native libraries are made of.
NATIVE := $(shell find crates api -type f -not -path '*/target/*' -not -path '*/fuzz/*' 2>/dev/null) Cargo.toml Cargo.lock hatch_build.py
DENY := target/tools/bin/cargo-deny
PYTEST := $(BIN)/pytest -n 2 --dist loadgroup

.PHONY: help setup demo test test-rust test-python test-fuzz test-nightly lint format bench wheel clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/' | expand -t 16

setup: $(VENV)/installed ## Create .venv with everything the project needs, native parts built

demo: $(VENV)/installed ## Show a policy enforced on real traffic
	@$(PY) examples/starwars/demo.py

test: $(VENV)/installed test-rust test-python test-fuzz ## Run all tests

# Command=Debian package. What is missing and cannot be installed is named; its tests are skipped.
TEST_COMMANDS := ip=iproute2 nft=nftables bpftool=bpftool openssl=openssl nm=binutils java=default-jre-headless mvn=maven memcached=memcached mariadbd=mariadb-server-core mariadb=mariadb-client-core
BENCH_COMMANDS := wrk=wrk haproxy=haproxy nginx=nginx-light curl=curl taskset=util-linux

test-rust: $(VENV)/tools
	$(CARGO) test --workspace --locked --quiet

test-python: $(VENV)/installed
	@./tools/system-packages.sh $(TEST_COMMANDS)
	$(PYTEST)

test-fuzz: $(VENV)/installed
	./fuzz/run.sh 5

test-nightly: $(VENV)/installed ## Run the long tests: soak, deep differential and fuzzing
	$(PYTEST) -m "soak or not soak"
	./fuzz/run.sh 600

lint: $(VENV)/installed $(DENY) ## Check formatting, lints, types, licences
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/stubtest cilium_proxy._core --ignore-disjoint-bases
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(DENY) --log-level error check bans licenses sources

format: $(VENV)/tools ## Format all code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	$(CARGO) fmt --all

bench: $(VENV)/installed ## Run the benchmarks and print their tables
	@./tools/system-packages.sh $(BENCH_COMMANDS)
	$(PY) -m bench

wheel: $(VENV)/tools ## Make one self-contained wheel in dist/
	$(BIN)/hatchling build -t wheel

clean: ## Remove everything that was built
	rm -rf $(VENV) target dist build fuzz/target src/cilium_proxy/_core.abi3.so src/cilium_proxy/_native/*.so
	rm -f src/cilium_proxy/_native/cilium-envoy-launch src/cilium_proxy/api/envoy_descriptors.bin

$(VENV)/tools: requirements/dev.txt requirements/build.txt | check-rust
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r requirements/build.txt
	$(BIN)/uv pip install --quiet --python $(PY) --require-hashes -r requirements/dev.txt
	@touch $@

# Editable: the tests run what is in src/.
$(VENV)/installed: $(VENV)/tools pyproject.toml $(NATIVE)
	$(BIN)/uv pip install --quiet --python $(PY) --no-build-isolation --no-deps --editable .
	@touch $@

# A debug build: it is compiled once per clone and runs for a second.
$(DENY): | check-rust
	$(CARGO) install --quiet --debug --locked --root target/tools --target-dir target/tools/build cargo-deny@0.20.2
	rm -rf target/tools/build

.PHONY: check-rust
check-rust:
	@test -n "$(CARGO)" || { echo "Rust 1.88 or newer is needed: see https://rustup.rs, then run make again." >&2; exit 1; }
