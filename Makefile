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
BIN := $(CARGO_TARGET_DIR)/debug
RELEASE := $(CARGO_TARGET_DIR)/release

.PHONY: help setup build demo demo-cluster test sim lint bench generate counterparts image

help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: ## Installs what building needs (Debian packages, as root; otherwise says what is missing)
	@scripts/setup.sh

build: setup ## Builds the programs and the tests
	@echo '==> building (about 30 minutes on two cores the first time)'
	cargo build --workspace --all-targets

counterparts: build ## Fetches the servers that the tests run against
	@echo '==> fetching Kafka, S3, HDFS, ClickHouse and Kubernetes for the tests'
	$(BIN)/counterparts fetch

demo: setup ## Runs a job on generated orders, kills it twice, and compares every total with a reference
	@echo '==> building (about 30 minutes on two cores the first time)'
	cargo build --workspace --bins
	@$(BIN)/demo

demo-cluster: setup ## Installs Tidegate into a cluster, kills a process, a pod and a node under a job, and compares every total
	@echo '==> building (about 35 minutes on two cores the first time)'
	cargo build --workspace --bins
	@echo '==> fetching Kafka, S3, ClickHouse and Kubernetes'
	$(BIN)/counterparts fetch
	@$(BIN)/demo-cluster

test: counterparts ## Runs every test: units, properties, and the whole system against real servers
	@echo '==> testing'
	cargo test --workspace
	@HELM="$${HELM:-$$($(BIN)/counterparts where cluster)/helm}" scripts/chart.sh

sim: setup ## Plays the engine on one thread with seeded faults: SEEDS=1000 of them, or SEED=n alone with its log
	@echo '==> building (about 30 minutes on two cores the first time)'
	cargo build --workspace --bins
	@$(BIN)/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

lint: setup ## Formatting, clippy, generated files, shell syntax
	@echo '==> checking format and lints'
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo build -q --workspace --examples
	for file in "schema $(SCHEMA)" "crd $(CRD)" "crd $(CHART_CRD)" "conditions $(CONDITIONS)"; do \
		set -- $$file; $(BIN)/examples/$$1 | diff - $$2 || { echo "$$2 is old: run \`make generate\`"; exit 1; }; \
	done
	scripts/chart_values.py --check
	for script in scripts/*.sh .ci/run; do bash -n "$$script"; done

bench: setup ## Measures the store-sales job against real servers, beside consuming and decoding alone
	@echo '==> building for release (about 35 minutes on two cores the first time)'
	cargo build --release --workspace --bins
	@echo '==> fetching Kafka, S3 and ClickHouse'
	$(RELEASE)/counterparts fetch kafka s3 clickhouse
	@$(RELEASE)/bench

image: setup ## Builds OCI archives of both programs, to load into a registry or a node
	@echo '==> building for release (about 35 minutes on two cores the first time)'
	cargo build --release -p tidegate -p tidegate-operator --bins
	@scripts/image.sh --binaries $(RELEASE) --out $(CACHE)/images

generate: build ## Writes the files that are generated from the code
	cargo build -q --workspace --examples
	$(BIN)/examples/schema > $(SCHEMA)
	$(BIN)/examples/crd | tee $(CRD) > $(CHART_CRD)
	$(BIN)/examples/conditions > $(CONDITIONS)
	scripts/chart_values.py
	HELM="$${HELM:-$$($(BIN)/counterparts where cluster)/helm}" scripts/chart.sh --write
