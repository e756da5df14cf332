"""`python -m respass emulator …`: Azure's Redis and its identity services on this machine, for development."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_NAME = "respass-emulator"

_USAGE = f"""usage: python -m respass emulator [OPTIONS]

Starts Azure Managed Redis (or Azure Cache for Redis) with Microsoft Entra ID on this machine: a real redis-server
behind TLS that takes tokens, and the services that issue them. `--help` after `emulator` lists its options.

It runs the program {_NAME}: that of the environment variable RESPASS_EMULATOR, that beside this Python
interpreter (pip install {_NAME}), or that on PATH.
"""


def emulator_candidates() -> Iterator[str]:
    """Where the emulator may be, best first."""
    given = os.environ.get("RESPASS_EMULATOR")
    if given:
        yield given
    suffix = ".exe" if sys.platform == "win32" else ""
    folders = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")]
    for folder in folders:
        yield str(Path(folder) / (_NAME + suffix))
    found = shutil.which(_NAME)
    if found:
        yield found


def emulator(arguments: list[str]) -> int:
    """Becomes the emulator (or waits for it, where a process cannot become another)."""
    for candidate in emulator_candidates():
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            break
    else:
        print(
            f"{_NAME} is not here: pip install {_NAME}, or set RESPASS_EMULATOR to the program",
            file=sys.stderr,
        )
        return 2
    if sys.platform == "win32":
        return subprocess.call([candidate, *arguments])
    os.execv(candidate, [candidate, *arguments])


def main() -> int:
    """The command line."""
    match sys.argv[1:]:
        case ["emulator", *arguments]:
            return emulator(arguments)
        case ["-h" | "--help"]:
            print(_USAGE)
            return 0
        case _:
            print(_USAGE, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
