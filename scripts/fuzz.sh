#!/usr/bin/env bash
# Runs each random test of the parser with ever new seeds for so many seconds. A failure prints its seed.
set -euo pipefail
seconds=${1:?seconds}
cd "$(dirname "$0")/.."
cargo test --release --quiet -p respass-tests --no-run
for target in resp_mutation resp_differential; do
    seed=${FROM:-1} runs=0
    end=$((SECONDS + seconds))
    while [ $SECONDS -lt $end ]; do
        export RESP_SEED=$seed RESP_CASES=1000000
        cargo test --release --quiet -p respass-tests --test "$target" >/dev/null || {
            echo "$target failed; replay with RESP_SEED=$seed cargo test -p respass-tests --test $target" >&2
            exit 1
        }
        seed=$((seed + 1)) runs=$((runs + 1))
    done
    echo "$target: $runs seeds of 1,000,000 cases, no finding"
done
