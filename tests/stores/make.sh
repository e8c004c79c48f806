#!/usr/bin/env bash
# Makes the stores of one build: `make.sh PROGRAM FORMAT`, where PROGRAM was built with the feature `fault-points` and writes
# manifests of format FORMAT at most. A variant that the build can't make is left out. See README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$1 format=$2

# store NAME FAULT [ENVIRONMENT…] [-- ARGUMENT…]: a job that is killed at FAULT, with what it has put out by then.
store() {
    local name=$1 fault=$2 folder
    shift 2
    local environment=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do environment+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    folder=$(mktemp -d)
    (
        cd "$folder"
        env "${environment[@]}" "TIDEGATE_FAULT=$fault" "$program" run "$here/job.yaml" "$@" 2>log || true
    )
    if grep -q 'killing the process' "$folder/log"; then
        tar -C "$folder" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - checkpoints output |
            gzip -9n >"$here/$format-$name.tar.gz"
        echo "$format-$name.tar.gz: $(stat -c %s "$here/$format-$name.tar.gz") bytes"
    else
        echo "$format-$name: left out: $(tail -n 1 "$folder/log")"
    fi
    rm -rf "$folder"
}

# An epoch is owned and not published; later, one is published and not noted. Windows have begun by then.
store memory after-own@5
store noted before-epoch-committed@4
store rocksdb after-own@5 "TIDEGATE_LOCAL_FOLDER=$(mktemp -d)" -- --set spec.stateBackend=RocksDB
store in-flight after-own@2 TIDEGATE_LABOUR_MS=60 -- --set spec.checkpoint.alignmentTimeout=0s
