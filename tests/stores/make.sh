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
        pack "$folder" "$name"
    else
        echo "$format-$name: left out: $(tail -n 1 "$folder/log")"
    fi
    rm -rf "$folder"
}

# saved NAME: a job that is stopped with the savepoint `kept`, when it has put out some files.
saved() {
    local name=$1 folder job address
    folder=$(mktemp -d)
    (cd "$folder" && exec "$program" run "$here/job.yaml" 2>log) &
    job=$!
    while kill -0 "$job" && [ "$(find "$folder/output" -name '[!.]*' -type f 2>/dev/null | wc -l)" -lt 4 ]; do sleep 0.02; done
    address=$(sed -nE 's/.* address=([0-9.:]+).*/\1/p' "$folder/log" | head -n 1)
    curl -fsS -o "$folder/answer" -H 'Content-Type: application/json' -d '{"purpose": "Suspend", "savepoint": "kept"}' \
        "http://$address/v1/stop" || true
    wait "$job" || true
    if [ -d "$(find "$folder/checkpoints" -type d -path '*/savepoints/kept' | head -n 1)" ]; then
        pack "$folder" "$name"
    else
        echo "$format-$name: left out: $(tail -n 1 "$folder/log")"
    fi
    rm -rf "$folder"
}

# pack FOLDER NAME
pack() {
    local folder=$1 archive=$format-$2.tar.gz
    tar -C "$folder" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - checkpoints output |
        gzip -9n >"$here/$archive"
    echo "$archive: $(stat -c %s "$here/$archive") bytes"
}

# An epoch is owned and not published; later, one is published and not noted. Windows have begun by then.
store memory after-own@5
store noted before-epoch-committed@4
store rocksdb after-own@5 "TIDEGATE_LOCAL_FOLDER=$(mktemp -d)" -- --set spec.stateBackend=RocksDB
store in-flight after-own@2 TIDEGATE_LABOUR_MS=60 -- --set spec.checkpoint.alignmentTimeout=0s
saved savepoint
