#!/usr/bin/env python3
"""The decoder beside hiredis' reader with reply objects, in one run.

    run.py                 CPU time, interleaved rounds, and the ratio of each round's pair
    run.py --callgrind     instructions a leaf too (needs valgrind)
    run.py --check         exit 1 where a target is missed

Needs cargo, a C compiler and pip. hiredis is built from its sources: those under $HIREDIS, else those that travel
inside the source archive of the Python package of that name. Everything made lands under target/bench-parser.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from hiredis_sources import compile_with_hiredis  # noqa: E402  needs the path above

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "bench-parser"
CHUNK_LEN = 16 << 10


def bulk(content):
    return b"$%d\r\n%s\r\n" % (len(content), content)


def small_bulks(count):
    return b"".join(bulk(b"value-%010d" % i) for i in range(count)), count, count


def array(count):
    return b"*%d\r\n" % count + b"".join(bulk(b"element-%012d" % i) for i in range(count)), 1, count


def integers(count):
    return b"".join(b":%d\r\n" % (i * 7919) for i in range(count)), count, count


def nested_maps(count):
    """Maps of 10 pairs, three deep; 2110 leaves each."""

    def level(depth):
        out = b"%10\r\n"
        for i in range(10):
            out += bulk(b"key-%04d" % i)
            out += level(depth - 1) if depth > 1 else b":%d\r\n" % (i * 1001) if i % 2 else bulk(b"value-%08d" % i)
        return out

    return level(3) * count, count, 2110 * count


def one_bulk(length):
    return bulk(b"y" * length), 1, 1


# name: (stream, its replies, its leaves), chunk length or 0, target for the CPU ratio, target for instructions a leaf.
# Where each leaf is a reply of its own it costs a call too. Callgrind counts a byte copied by `rep movsb` as an
# instruction, so the length of a leaf is part of the figure.
CASES = {
    "10k small bulks, whole": (small_bulks(10_000), 0, 0.25, 170),
    "10k small bulks, 16 KiB": (small_bulks(10_000), CHUNK_LEN, 0.25, 170),
    "array of 100k, whole": (array(100_000), 0, 0.1, 120),
    "array of 100k, 16 KiB": (array(100_000), CHUNK_LEN, 0.1, 120),
    "array of 400k, 16 KiB": (array(400_000), CHUNK_LEN, 0.1, 120),
    "10k integers, whole": (integers(10_000), 0, 0.35, 250),
    "nested maps, 16 KiB": (nested_maps(20), CHUNK_LEN, 0.25, 140),
    "bulk of 1 MiB, 16 KiB": (one_bulk(1 << 20), CHUNK_LEN, 0.6, None),
    "bulk of 16 MiB, 16 KiB": (one_bulk(16 << 20), CHUNK_LEN, 0.6, None),
}
# Four or sixteen times the reply may cost at most this much more per byte (caches take their share).
LINEAR = [
    ("array of 100k, 16 KiB", "array of 400k, 16 KiB"),
    ("bulk of 1 MiB, 16 KiB", "bulk of 16 MiB, 16 KiB"),
]
LINEAR_MAX = 3.0


def build():
    """The two programs, ours first."""
    WORK.mkdir(parents=True, exist_ok=True)
    cargo = ["cargo", "build", "--release", "-p", "respass-bench", "--bin", "bench-parser"]
    subprocess.run(cargo, check=True, cwd=ROOT)
    program = compile_with_hiredis(WORK, HERE / "hiredis.c", WORK / "hiredis")
    return {"respass": TARGET / "release" / "bench-parser", "hiredis": program}


def write_streams():
    paths = {}
    for number, (name, ((stream, _, _), _, _, _)) in enumerate(CASES.items()):
        paths[name] = WORK / f"stream-{number}.resp"
        paths[name].write_bytes(stream)
    return paths


def arguments(program, path, case, amount):
    (_, replies, _), chunk_len, _, _ = case
    return [str(program), str(path), str(replies), str(chunk_len), amount]


def cpu_seconds(program, path, case, seconds):
    """CPU of one pass, on the last CPU that we may use, so that the pair shares it."""
    cpu = max(os.sched_getaffinity(0))
    result = subprocess.run(arguments(program, path, case, str(seconds)), check=True, capture_output=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    measured = json.loads(result.stdout)
    return measured["cpu_s"] / measured["passes"]


def instructions(program, path, case):
    """Instructions of one pass: three passes less two, so that start-up and first allocations drop out."""

    def count(passes):
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        result = subprocess.run(command + arguments(program, path, case, f"x{passes}"), check=True, capture_output=True)
        return int(re.search(rb"Collected : (\d+)", result.stderr)[1])

    return count(3) - count(2)


def measure(programs, options):
    """Per case: CPU seconds of a pass by program and round, and instructions by program."""
    paths = write_streams()
    cpu = {name: {program: [] for program in programs} for name in CASES}
    for turn in range(options.rounds):
        order = list(programs) if turn % 2 == 0 else list(reversed(programs))
        for name, case in CASES.items():
            for program in order:
                cpu[name][program].append(cpu_seconds(programs[program], paths[name], case, options.seconds))
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
    counted = {}
    if options.callgrind:
        for name, case in CASES.items():
            counted[name] = {p: instructions(programs[p], paths[name], case) for p in programs}
    return cpu, counted


def report(cpu, counted):
    """Prints the table; the targets that were missed."""
    missed = []
    print("| reply | respass ns/leaf | hiredis ns/leaf | CPU ratio (min-max) | target "
          "| instructions/leaf | of hiredis | instructions/byte |")
    print("|---|---|---|---|---|---|---|---|")
    for name, ((stream, _, leaves), _, ratio_max, instructions_max) in CASES.items():
        ours, theirs = cpu[name]["respass"], cpu[name]["hiredis"]
        ratios = [a / b for a, b in zip(ours, theirs)]
        ratio = statistics.median(ratios)
        row = [name] + [f"{statistics.median(times) / leaves * 1e9:.1f}" for times in (ours, theirs)]
        row += [f"{ratio:.3f} ({min(ratios):.3f}-{max(ratios):.3f})", str(ratio_max or "")]
        if ratio_max is not None and ratio > ratio_max:
            missed.append(f"{name}: ratio {ratio:.3f}")
        if name in counted:
            leaf, other = counted[name]["respass"] / leaves, counted[name]["hiredis"] / leaves
            row += [f"{leaf:.1f}", f"{other:.1f}", f"{counted[name]['respass'] / len(stream):.2f}"]
            if instructions_max is not None and leaf > instructions_max:
                missed.append(f"{name}: {leaf:.1f} instructions a leaf")
        print("| " + " | ".join(row) + " |")
    print()
    for small, large in LINEAR:
        small_ns, large_ns = (statistics.median(cpu[n]["respass"]) / len(CASES[n][0][0]) * 1e9 for n in (small, large))
        print(f"linear: {small}: {small_ns:.3f} ns/byte; {large}: {large_ns:.3f} ns/byte")
        if large_ns > small_ns * LINEAR_MAX:
            missed.append(f"{large}: {large_ns / small_ns:.1f} times the cost per byte")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of one sample")
    parser.add_argument("--callgrind", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    missed = report(*measure(build(), options))
    for miss in missed:
        print("missed:", miss)
    sys.exit(1 if options.check and missed else 0)


if __name__ == "__main__":
    main()
