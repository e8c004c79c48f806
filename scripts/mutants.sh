#!/usr/bin/env bash
# Shows that the simulation can fail. Each patch of tests/mutants puts one fault into the engine, behind the question
# `crate::mutant::chosen("<name of the patch>")`. All of them are applied to one work tree and built once; then seeds are
# played for each mutant, chosen by TIDEGATE_MUTANT, until one seed fails.
#   scripts/mutants.sh [--seeds 200] [mutant…]
#   scripts/mutants.sh --check
# Fails if the engine without a mutant does not pass these seeds, or if a mutant does. With --check nothing is built: the
# patches have to apply together, and each to ask for its own name only. The engine is that of HEAD, with the
# patches as they are on disk.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=200
only_checks=
if [ "${1:-}" = --check ]; then
  only_checks=yes
  shift
elif [ "${1:-}" = --seeds ]; then
  seeds=$2
  shift 2
fi
root=$PWD
mutants=$root/tests/mutants
all=()
for patch in "$mutants"/*.patch; do
  all+=("$(basename "$patch" .patch)")
done
if [ $# -eq 0 ]; then
  set -- "${all[@]}"
fi
for name in "$@"; do
  [ -f "$mutants/$name.patch" ] || { echo "there is no mutant $name; there are: ${all[*]}" >&2; exit 2; }
done

scratch=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$scratch/tree" || true; rm -rf "$scratch"' EXIT
git worktree add --quiet --detach "$scratch/tree" HEAD
cd "$scratch/tree"

cp "$mutants/mutant.rs" runtime/src/mutant.rs
printf '\npub mod mutant;\n' >>runtime/src/lib.rs
for name in "${all[@]}"; do
  patch=$mutants/$name.patch
  git apply "$patch" || { echo "$name does not apply to HEAD, or not beside the others" >&2; exit 1; }
  # A patch that asks for another name, or for none, would change the engine that the others are compared with.
  asked=$(sed -nE 's/^\+.*mutant::chosen\("([^"]*)"\).*/\1/p' "$patch" | sort -u)
  [ "$asked" = "$name" ] || { echo "$name asks for the mutants: ${asked:-none}" >&2; exit 1; }
done
if [ -n "$only_checks" ]; then
  exit 0
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate
built=${CARGO_TARGET_DIR:-$cache/target}
# Mutants have a place of their own, so that nobody runs one for the engine; what they depend on is not built again.
export CARGO_TARGET_DIR=${TIDEGATE_MUTANTS_TARGET:-$cache/target-mutants}
if [ ! -d "$CARGO_TARGET_DIR" ] && [ -d "$built" ]; then
  mkdir -p "$(dirname "$CARGO_TARGET_DIR")"
  cp -al "$built" "$CARGO_TARGET_DIR"
  # One lock for both would have each wait for the other, and what is compiled in steps is changed in place.
  find "$CARGO_TARGET_DIR" -name .cargo-lock -delete
  rm -rf "$CARGO_TARGET_DIR"/*/incremental
fi
export CARGO_INCREMENTAL=0

began=$SECONDS
echo "==> building the engine with ${#all[@]} mutants"
cargo build --locked --quiet --workspace --bin sim
sim=$CARGO_TARGET_DIR/debug/sim
echo "built in $((SECONDS - began)) s"

# Plays seeds with a mutant, or with none: whether all were exact.
play() {
  TIDEGATE_MUTANT=$1 "$sim" --seeds "$seeds" >"$scratch/played" 2>"$scratch/log"
}

failed_seed() { sed -nE 's/^play it again with .make sim SEED=([0-9]+).*/\1/p' "$scratch/played" | head -n 1; }
cause() { sed -nE 's/^FAILED: (.*)/\1/p' "$scratch/played" | head -n 1; }

since=$SECONDS
if ! play ''; then
  printf 'the engine without a mutant fails: seed %s: %s\n' "$(failed_seed)" "$(cause)" >&2
  tail -n 20 "$scratch/log" >&2
  exit 1
fi
printf '%-28s exact in %s seeds, %s s\n' 'no mutant' "$seeds" "$((SECONDS - since))"

missed=0
for name in "$@"; do
  since=$SECONDS
  # A program that ends for another reason has found nothing.
  if play "$name" || [ -z "$(failed_seed)" ]; then
    printf '%-28s NOT FOUND in %s seeds, %s s\n' "$name" "$seeds" "$((SECONDS - since))"
    missed=$((missed + 1))
  else
    printf '%-28s found by seed %3s, %3s s: %s\n' "$name" "$(failed_seed)" "$((SECONDS - since))" "$(cause)"
  fi
done
echo "$(($# - missed)) of $# mutants found, in $((SECONDS - began)) s"
exit "$((missed > 0))"
