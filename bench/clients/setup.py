"""What the benchmark needs, under .work/bench: the peers by package name, our wheel, the C and Node programs.

What is installed stays; remove .work/bench for the peers' newest releases. These name installed ones instead:
BENCH_PYTHON (an interpreter that has the peers), BENCH_NODE (a folder with node_modules),
HIREDIS (sources in C), RESPASS_WHEEL (else the newest in dist).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / ".work" / "bench"
sys.path.insert(0, str(HERE.parent))
from hiredis_sources import compile_with_hiredis, hiredis_sources  # noqa: E402  needs the path above

PYTHON_PEERS = ("redis[hiredis]", "hiredis", "valkey-glide", "valkey-glide-sync")


def run(*command, **options):
    """Runs to a good end; its output."""
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(str(part) for part in command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def environment(name):
    """A virtual environment's interpreter, made where it is missing."""
    python = WORK / name / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", WORK / name)
    return python


def python_peers():
    """An interpreter that has the peers."""
    if "BENCH_PYTHON" in os.environ:
        return os.environ["BENCH_PYTHON"]
    python, ready = environment("peers"), WORK / "peers" / ".ready"
    if not ready.exists():
        print("installing the Python peers", file=sys.stderr)
        run(python, "-m", "pip", "install", "-q", *PYTHON_PEERS)
        ready.touch()
    return python


def python_own():
    """An interpreter that has our wheel and nothing else: redis-py would pick up what it finds."""
    wheels = sorted((ROOT / "dist").glob("respass-*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    if "RESPASS_WHEEL" in os.environ:
        wheels = [Path(os.environ["RESPASS_WHEEL"])]
    if not wheels:
        sys.exit("no wheel in dist: run `make wheel` first, or `make bench`")
    python = environment("own")
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheels[-1])
    return python


def built(package, suffix):
    """The library that cargo makes of one of our packages."""
    print(f"building {package}", file=sys.stderr)
    options = ("--release", "--quiet", "--message-format", "json-render-diagnostics")
    lines = run("cargo", "build", "--package", package, *options, cwd=ROOT).splitlines()
    artifacts = [json.loads(line) for line in lines if line.startswith("{")]
    files = [
        file for artifact in artifacts for file in artifact.get("filenames", ()) if file.endswith(suffix)
    ]
    return files[-1]


def c_programs():
    """Ours and hiredis'."""
    binding = ROOT / "ffi-c"
    library = built("respass-ffi", "librespass.a")
    folders = ("-I", binding / "include", "-I", binding / "adapters")
    compiler = (os.environ.get("CC", "cc"), "-std=c99", "-O2", *folders)
    own = {name: WORK / f"{name}-c" for name in ("respass", "respass_blocking")}
    for name, program in own.items():
        run(*compiler, HERE / f"{name}.c", library, "-lpthread", "-ldl", "-lm", "-o", program)
    return own | {
        "hiredis": compile_with_hiredis(WORK, HERE / "hiredis.c", WORK / "hiredis-c", has_tls=True),
    }


NODE_PEERS = ("redis", "ioredis", "@valkey/valkey-glide")


def node_packages():
    """A folder with the peers and, packed and installed as for a user, ours."""
    folder = Path(os.environ.get("BENCH_NODE", WORK / "node")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", folder)
    if not all((folder / "node_modules" / name).exists() for name in NODE_PEERS):
        print("installing the Node peers", file=sys.stderr)
        run(*install, *NODE_PEERS)
    print("packing respass for Node", file=sys.stderr)
    run("make", "npm", cwd=ROOT)
    run(*install, *(ROOT / "dist").glob("respass-*.tgz"))
    os.environ["BENCH_NODE"] = str(folder)
    return folder


def rust_program():
    """Ours and redis-rs in one, built in a workspace of its own."""
    print("building the Rust clients", file=sys.stderr)
    environ = {**os.environ, "CARGO_TARGET_DIR": str(WORK / "rust")}
    run("cargo", "build", "--release", "--quiet", cwd=HERE / "rust", env=environ)
    return WORK / "rust" / "release" / "respass-bench-rust"


def versions(python, node, has_hiredis, has_rust):
    """What was measured, as far as it was."""
    lines = ["redis-server " + run("redis-server", "--version").split("v=")[1].split()[0]]
    if python:
        names = [package.split("[")[0] for package in PYTHON_PEERS]
        code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
        found = run(python["peers"], "-c", code, *names).split()
        own = run(python["own"], "-c", code, "respass").strip()
        lines += [
            f"respass {own}",
            *(f"{name} {number} (Python)" for name, number in zip(names, found, strict=True)),
        ]
        lines += ["C" + run(python["peers"], "--version").strip()]
    if node:
        for name in NODE_PEERS:
            package = node / "node_modules" / name / "package.json"
            lines.append(f"{name} {json.loads(package.read_text())['version']} (Node)")
        lines.append("Node " + run("node", "--version").strip())
    if has_hiredis:
        lines.append("hiredis " + hiredis_version())
    if has_rust:
        tree = run("cargo", "tree", "--depth", "1", "--prefix", "none", cwd=HERE / "rust").splitlines()
        crates = dict(line.split(" v", 1) for line in tree)
        lines += [f"{name} {crates[name].split()[0]}" for name in ("redis", "tokio")]
    lines.append(run("rustc", "--version").strip().split(" (")[0])
    return ", ".join([*lines, run(os.environ.get("CC", "cc"), "--version").splitlines()[0]])


def hiredis_version():
    header = (hiredis_sources(WORK) / "hiredis.h").read_text()
    numbers = (header.split(f"#define HIREDIS_{part} ")[1].split()[0] for part in ("MAJOR", "MINOR", "PATCH"))
    return ".".join(numbers)
