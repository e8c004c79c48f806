# Everything a person or a CI runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidegate
export CARGO_TARGET_DIR ?= $(CACHE)/target
SCHEMA := docs/reference/streamjob.schema.json
BIN := $(CARGO_TARGET_DIR)/debug
RELEASE := $(CARGO_TARGET_DIR)/release

.PHONY: help setup build demo test lint bench generate counterparts

help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: ## Installs what building needs (Debian packages, as root; otherwise says what is missing)
	@scripts/setup.sh

build: setup ## Builds the programs and the tests
	@echo '==> building (about 20 minutes on two cores the first time)'
	cargo build --workspace --all-targets

counterparts: build ## Fetches the servers that the tests run against
	@echo '==> fetching Kafka, S3, ClickHouse and Kubernetes for the tests'
	$(BIN)/counterparts fetch

demo: setup ## Runs a job on generated orders, kills it twice, and compares every total with a reference
	@echo '==> building (about 20 minutes on two cores the first time)'
	cargo build --workspace --bins
	@$(BIN)/demo

test: counterparts ## Runs every test: units, properties, and the whole system against real servers
	@echo '==> testing'
	cargo test --workspace

lint: setup ## Formatting, clippy, generated files, shell syntax
	@echo '==> checking format and lints'
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo run -q -p tidegate-crds --example schema | diff - $(SCHEMA) || { echo 'run `make generate`'; exit 1; }
	for script in scripts/*.sh .ci/run; do bash -n "$$script"; done

bench: setup ## Measures the store-sales job against real servers, beside consuming and decoding alone
	@echo '==> building for release (about 25 minutes on two cores the first time)'
	cargo build --release --workspace --bins
	@echo '==> fetching Kafka, S3 and ClickHouse'
	$(RELEASE)/counterparts fetch kafka s3 clickhouse
	@$(RELEASE)/bench

generate: setup ## Writes the files that are generated from the code
	cargo run -q -p tidegate-crds --example schema > $(SCHEMA)
