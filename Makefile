# Everything a person or a CI runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidegate
export CARGO_TARGET_DIR ?= $(CACHE)/target
SCHEMA := docs/reference/streamjob.schema.json
CRD := crds/streamjob.yaml
CHART_CRD := charts/tidegate/files/crds/streamjob.yaml
CONDITIONS := docs/reference/conditions.md
FIELDS := docs/reference/fields.md
API := docs/reference/api.md
METRICS := docs/reference/metrics.md
OPERATOR_METRICS := docs/reference/operator-metrics.md
# Programs that check the tree, by version: another version is another folder.
DENY_VERSION := 0.20.2
DENY := $(CACHE)/tools/cargo-deny-$(DENY_VERSION)
BIN := $(CARGO_TARGET_DIR)/debug
RELEASE := $(CARGO_TARGET_DIR)/release

SHIPPED := $(BIN)/shipped
# What could not be tested on this machine, line by line.
SKIPPED := $(CARGO_TARGET_DIR)/skipped.txt
DEMO := --locked --no-default-features -p tidegate -p tidegate-tests --bin tidegate --bin demo

.PHONY: help setup build shipped demo demo-cluster test sim mutants fuzz-sql lint features deny bench generate counterparts image

help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: ## Installs what building and testing needs (Debian packages, as root; otherwise says what is missing)
	@scripts/setup.sh test

# The same packages and features as everywhere else, so that what they depend on is built once; only our own crates differ.
shipped: setup ## Builds both programs with what a release has in it: all systems, and no fault points
	@echo '==> building what is shipped (about 30 minutes on two cores the first time)'
	cargo build --locked -p tidegate -p tidegate-operator --bins
	@mkdir -p $(SHIPPED)
	@for program in tidegate tidegate-operator; do \
		cp -f $(BIN)/$$program $(SHIPPED)/$$program.new; mv -f $(SHIPPED)/$$program.new $(SHIPPED)/$$program; done

build: shipped ## Builds the programs and the tests
	@echo '==> building the tests, and the program with fault points for them'
	cargo build --locked --workspace --all-targets

counterparts: build ## Fetches the servers that the tests run against
	@echo '==> fetching Kafka, S3, HDFS, ClickHouse and Kubernetes for the tests'
	$(BIN)/counterparts fetch

demo: ## Runs a job on generated orders, kills it twice, and compares every total with a reference
	@scripts/setup.sh demo
	@echo '==> building what the demo runs (about 10 minutes on two cores the first time)'
	cargo build $(DEMO)
	@$(BIN)/demo

demo-cluster: shipped ## Installs Tidegate into a cluster, kills a process, a pod and a node under a job, and compares every total
	@echo '==> building the demo'
	cargo build --locked --workspace --bins
	@echo '==> fetching Kafka, S3, ClickHouse and Kubernetes'
	$(BIN)/counterparts fetch
	@$(BIN)/demo-cluster

test: counterparts ## Runs every test: units, properties, and the whole system against real servers
	@echo '==> the demo, with the program as it is shipped'
	TIDEGATE_BIN=$(SHIPPED)/tidegate $(BIN)/demo
	@echo '==> testing'
	@rm -f $(SKIPPED)
	TIDEGATE_TEST_SKIPPED=$(SKIPPED) scripts/test.sh
	@HELM="$${HELM:-$$($(BIN)/counterparts where cluster)/helm}" scripts/chart.sh
	@if [ -s $(SKIPPED) ]; then echo "==> $$(wc -l < $(SKIPPED)) skipped:"; cat $(SKIPPED); \
		else echo '==> nothing was skipped'; fi

sim: setup ## Plays the engine on one thread with seeded faults: SEEDS=1000 of them, or SEED=n alone with its log
	@echo '==> building (about 30 minutes on two cores the first time)'
	cargo build --locked --workspace --bins
	@$(BIN)/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

mutants: setup ## Shows that the simulation finds each fault of tests/mutants, in SEEDS=200 at most (one build, then up to some minutes for each)
	scripts/mutants.sh --seeds $(or $(SEEDS),200)

fuzz-sql: setup ## Compares random jobs with DuckDB while they are killed and changed: SEEDS=1000 of them, or SEED=n alone with its documents
	@echo '==> building (about 30 minutes on two cores the first time)'
	cargo build --locked --workspace --bins
	@$(BIN)/fuzz-sql $(if $(SEED),--seed $(SEED) $(if $(TOLD),--told),--seeds $(or $(SEEDS),1000) --from $(or $(FROM),0))

lint: setup ## Formatting, clippy, generated files, shell scripts
	@echo '==> checking format and lints'
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo build -q --locked --workspace --examples
	for file in "schema $(SCHEMA)" "crd $(CRD)" "crd $(CHART_CRD)" "conditions $(CONDITIONS)" "fields $(FIELDS)" "api $(API)" \
		"metrics $(METRICS)" "operator-metrics $(OPERATOR_METRICS)"; do \
		set -- $$file; $(BIN)/examples/$$1 | diff - $$2 || { echo "$$2 is old: run \`make generate\`"; exit 1; }; \
	done
	scripts/chart_values.py --check
	shellcheck .ci/run $$(git ls-files '*.sh')
	for mutant in tests/mutants/*.patch; do git apply --check $$mutant || exit 1; done
	scripts/mutants.sh --check

features: setup ## Checks the program as it is shipped, and with each of its features alone
	cargo clippy --locked -p tidegate -p tidegate-operator -- -D warnings
	for feature in none clickhouse hdfs jemalloc kafka rocksdb s3 tls; do \
		echo "==> checking with $$feature"; \
		only=$${feature/#none/}; \
		cargo clippy --locked -p tidegate -p tidegate-operator --no-default-features $${only:+--features tidegate/$$only} -- -D warnings; \
	done

$(DENY)/bin/cargo-deny:
	@echo '==> building cargo-deny $(DENY_VERSION), once'
	cargo install --locked --root $(DENY) --target-dir $(DENY)/target --version $(DENY_VERSION) cargo-deny
	@rm -rf $(DENY)/target

deny: $(DENY)/bin/cargo-deny ## Checks licences, versions and origins of all dependencies, by deny.toml
	$(DENY)/bin/cargo-deny --locked check bans licenses sources

bench: setup ## Measures the store-sales job against real servers, beside consuming and decoding alone
	@echo '==> building for release (about 35 minutes on two cores the first time)'
	cargo build --locked --release --workspace --bins
	@echo '==> fetching Kafka, S3 and ClickHouse'
	$(RELEASE)/counterparts fetch kafka s3 clickhouse
	@$(RELEASE)/bench

image: setup ## Builds OCI archives of both programs, to load into a registry or a node
	@echo '==> building for release (about 35 minutes on two cores the first time)'
	cargo build --locked --release -p tidegate -p tidegate-operator --bins
	@scripts/image.sh --binaries $(RELEASE) --out $(CACHE)/images

generate: build ## Writes the files that are generated from the code
	cargo build -q --locked --workspace --examples
	$(BIN)/examples/schema > $(SCHEMA)
	$(BIN)/examples/crd | tee $(CRD) > $(CHART_CRD)
	$(BIN)/examples/conditions > $(CONDITIONS)
	$(BIN)/examples/fields > $(FIELDS)
	$(BIN)/examples/api > $(API)
	$(BIN)/examples/metrics > $(METRICS)
	$(BIN)/examples/operator-metrics > $(OPERATOR_METRICS)
	scripts/chart_values.py
	HELM="$${HELM:-$$($(BIN)/counterparts where cluster)/helm}" scripts/chart.sh --write
