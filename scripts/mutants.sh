#!/usr/bin/env bash
# Shows that the simulation can fail: applies each patch of tests/mutants to the engine, in a work tree of its own, one by
# one, and plays seeds until one is not exact. Fails if a mutant is not found in so many seeds.
#   scripts/mutants.sh [--seeds 200] [mutant…]
# What is committed counts: the work tree is of HEAD.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=200
if [ "${1:-}" = --seeds ]; then
  seeds=$2
  shift 2
fi
root=$PWD
if [ $# -eq 0 ]; then
  set -- tests/mutants/*.patch
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate
built=${CARGO_TARGET_DIR:-$cache/target}
# Mutants have a place of their own, so that nobody runs one for the engine; what they depend on is not built again.
export CARGO_TARGET_DIR=${TIDEGATE_MUTANTS_TARGET:-$cache/target-mutants}
if [ ! -d "$CARGO_TARGET_DIR" ] && [ -d "$built" ]; then
  mkdir -p "$(dirname "$CARGO_TARGET_DIR")"
  cp -al "$built" "$CARGO_TARGET_DIR"
  # One lock for both would have each wait for the other.
  find "$CARGO_TARGET_DIR" -name .cargo-lock -delete
fi

scratch=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$scratch/tree" || true; rm -rf "$scratch"' EXIT
git worktree add --quiet --detach "$scratch/tree" HEAD
cd "$scratch/tree"

missed=0
for mutant in "$@"; do
  name=$(basename "$mutant" .patch)
  git checkout --quiet --force HEAD
  git apply "$root/tests/mutants/$name.patch"
  if ! cargo build --locked --quiet --workspace --bin sim >"$scratch/build" 2>&1; then
    printf '%-28s does not compile\n' "$name"
    tail -n 40 "$scratch/build"
    missed=$((missed + 1))
    continue
  fi
  if "$CARGO_TARGET_DIR/debug/sim" --seeds "$seeds" >"$scratch/played" 2>&1; then
    printf '%-28s NOT FOUND in %s seeds\n' "$name" "$seeds"
    missed=$((missed + 1))
  else
    played=$(sed -nE 's/^([0-9]+) seeds, .*/\1/p' "$scratch/played")
    printf '%-28s found after %3s seeds: %s\n' "$name" "${played:-?}" \
      "$(sed -nE 's/^FAILED: (.*)/\1/p' "$scratch/played" | head -n 1)"
  fi
done
exit "$((missed > 0))"
