#!/usr/bin/env bash
# The parser and the clients beside their peers; writes results.md beside this file. `run.sh --help` tells the options.
set -euo pipefail
# hiredis, the peer in C, has its TLS from there.
if ! echo '#include <openssl/ssl.h>' | "${CC:-cc}" -E - >/dev/null 2>&1; then
    echo "please install OpenSSL's headers (Debian: libssl-dev), then try again" >&2
    exit 1
fi
exec "${PYTHON:-python3}" "$(dirname "$0")/clients/main.py" "$@"
