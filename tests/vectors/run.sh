#!/bin/sh
# Plays every conversation vector in Rust, Python, Node and C, and compares what they saw.
#
#   PYTHON            an interpreter that has the package; otherwise that of `make test`
#   CARGO_TARGET_DIR  where Rust's parts are built
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
vectors=$root/tests/vectors
target=${CARGO_TARGET_DIR:-$root/target}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
cd "$root"

if [ -z "${PYTHON:-}" ]; then
    PYTHON=$root/.work/venv/bin/python
    make --silent "$root/.work/venv/.installed"
fi
[ -f bindings-node/respass.node ] || (cd bindings-node && npm run --silent build)
cargo build --quiet -p respass-ffi
cc -std=c99 -O1 -Wall -Wextra -Werror -pedantic -I ffi-c/include -o "$logs/vectors" ffi-c/tests/vectors.c \
    "$target/debug/librespass.a" -lpthread -ldl -lm

all=$(cd "$vectors" && find . -name '*.txt' | sed 's/^\.\///; s/\.txt$//' | LC_ALL=C sort)
# Sessions and subscribers are objects of their own in each language, which its own tests drive; and Python takes the
# first word off what the client itself says of a refused redirect. Rust plays them all.
names=$(echo "$all" | grep -v '^sessions/\|^subscriptions/\|^cluster_refusals/')
count=$(echo "$names" | wc -l)
result=0

# play LANGUAGE COMMAND…: keeps the lines that all languages have in common.
play() {
    language=$1
    shift
    "$@" >"$logs/$language.out" 2>"$logs/$language.err" || { cat "$logs/$language.err" >&2; result=1; }
    grep '^vector ' "$logs/$language.out" | grep -v ' sessions/\| subscriptions/\| cluster_refusals/' |
        LC_ALL=C sort -k 3 >"$logs/$language" || true
    expected=$([ "$language" = rust ] && echo "$all" | wc -l || echo "$count")
    if ! grep -qx "vectors: $expected passed" "$logs/$language.out"; then
        echo "$language: $(grep '^vectors:' "$logs/$language.out" || echo 'no result') of $expected" >&2
        result=1
    fi
    if ! cmp -s "$logs/rust" "$logs/$language"; then
        echo "$language saw something else than rust:" >&2
        diff "$logs/rust" "$logs/$language" | grep '^[<>]' >&2 || true
        result=1
    fi
}

# Names hold no blanks: they may be split.
play rust cargo test --quiet -p respass-tests --test vectors -- --nocapture
play python "$PYTHON" bindings-python/tests/vectors.py "$vectors" $names
play node node bindings-node/test/vectors.mjs "$vectors" $names
play c "$logs/vectors" "$vectors" $names

[ $result = 0 ] || exit 1
echo "vectors: $count passed, with the same log in Rust, Python, Node and C"
