#!/usr/bin/env bash
# Installs what a fresh machine lacks, where it may; else names it and stops.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need redis-server redis-server
need cc gcc
need c++ g++
need readelf binutils
need openssl openssl
need pkg-config pkg-config
need cmake cmake
need valgrind valgrind
# Headers of the event loop that one of the C adapters is for.
pkg-config --exists libuv 2>/dev/null || missing+=(libuv1-dev)
python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing: ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "please install these Debian packages, then try again: ${missing[*]}" >&2
        exit 1
    fi
fi

for tool in cargo:"a Rust toolchain" python3:"Python 3.11 or newer" node:"Node 20 or newer"; do
    if ! command -v "${tool%%:*}" >/dev/null 2>&1; then
        echo "please install ${tool#*:}" >&2
        exit 1
    fi
done
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
    { echo "Node 20 or newer is needed" >&2; exit 1; }
