#!/usr/bin/env bash
# Runs every test of the workspace. Those on a Kubernetes cluster wait more than they work, so they run beside the others,
# and what they have said is printed when they have ended.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --locked --workspace --no-run

said=$(mktemp)
set -m # its own process group, so that it can be ended whole
cargo test --locked --workspace --test kubernetes >"$said" 2>&1 &
cluster=$!
set +m
trap 'kill -- "-$cluster" 2>/dev/null || true; rm -f "$said"' EXIT

status=0
cargo test --locked --workspace --no-fail-fast --lib --bins --test all || status=$?
cargo test --locked --workspace --doc || status=$?
echo '==> waiting for the tests on a Kubernetes cluster'
wait "$cluster" || status=$?
cat "$said"
exit "$status"
