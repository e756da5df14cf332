"""hiredis in C, which both benchmarks compile from the sources of its current release."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

FILES = ("alloc.c", "async.c", "hiredis.c", "net.c", "read.c", "sds.c", "sockcompat.c")


def hiredis_sources(work):
    """Those under $HIREDIS, else those inside the source archive of the Python package of that name."""
    if "HIREDIS" in os.environ:
        return Path(os.environ["HIREDIS"])
    found = sorted(work.glob("hiredis-*/vendor/hiredis"))
    if not found:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
            "hiredis",
        ]
        subprocess.run([*command, "-d", work], check=True)
        for archive in work.glob("hiredis-*.tar.gz"):
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
        found = sorted(work.glob("hiredis-*/vendor/hiredis"))
    return found[-1]


def compile_with_hiredis(work, source, program, has_tls=False):
    """The program from one C file and hiredis; with its TLS, OpenSSL's headers are needed."""
    sources = hiredis_sources(work)
    files = [sources / name for name in FILES + (("ssl.c",) if has_tls else ())]
    command = [os.environ.get("CC", "cc"), "-O2", "-g", "-I", sources, "-o", program, source, *files]
    subprocess.run([*command, *(("-lssl", "-lcrypto") if has_tls else ())], check=True)
    return program
