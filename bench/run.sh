#!/usr/bin/env bash
# The parser and the clients beside their peers; writes results.md beside this file. `run.sh --help` tells the options.
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "$0")/clients/main.py" "$@"
