"""The results as Markdown, and the targets that were missed."""

import os
import platform
import statistics
import time
from pathlib import Path

METHOD = """\
Absolute figures belong to the machine; read the ratios. A ratio is taken between samples of one round
and given as the median of all rounds (min–max). Where a target is against several clients, it is against
the fastest of them in each round. Values are of 100 bytes. redis-server runs beside the clients, over
the loopback, on a CPU of its own; each client, with all its threads, has another one, but shares the
server's where commands go one at a time (a wake-up across CPUs of a virtual machine costs more than a
client does). Over TLS every client logs in with a user and a password. CPU is that of the client's
process. The bare socket is Python's own, without a client: it sends a ready command and counts the bytes
of the reply."""


def spread(values, text="{:.2f}"):
    low, middle, high = (
        text.format(value) for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low}–{high})" if len(values) > 1 else middle


def ratios(samples, own, peers):
    """Of the rounds in which every one of them gave a figure."""
    rounds = zip(samples[own], *(samples[peer] for peer in peers), strict=True)
    return [
        row[0]["rate"] / max(peer["rate"] for peer in row[1:])
        for row in rounds
        if not any("error" in sample for sample in row)
    ]


def machine():
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} CPUs of {model}, {memory:.0f} GiB, Linux {platform.release()}"


def title_of(scenario):
    return ("TLS: " if scenario.tls else "") + scenario.title


def summary(samples):
    """The table of targets, and those missed."""
    lines, missed = ["| scenario | against | ratio (min–max) | target | met |", "|---|---|---|---|---|"], []
    for scenario, by_client in samples.items():
        found = ratios(by_client, scenario.own, scenario.against)
        is_met = bool(found) and (scenario.target is None or statistics.median(found) >= scenario.target)
        if not is_met:
            missed.append(f"{scenario.name}: {spread(found) if found else 'failed'} of {scenario.target}")
        target = "" if scenario.target is None else f"{scenario.target:g}"
        verdict = "no" if not is_met else "yes" if target else ""
        against = " or ".join(scenario.against)
        cells = (title_of(scenario), against, spread(found) if found else "failed", target, verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return lines, missed


def detail(scenario, by_client):
    """One scenario: a line for each client."""
    unit = "connections/s" if scenario.workload == "connect" else "commands/s"
    lines = [f"### {scenario.name}: {title_of(scenario)}", ""]
    lines += [
        f"| client | {unit} (min–max) | CPU µs each | respass is … times as fast |",
        "|---|---|---|---|",
    ]
    others = []
    for client, samples in by_client.items():
        good = [sample for sample in samples if "error" not in sample]
        others += [sample["others"] for sample in good]
        if not good:
            lines.append(f"| {client} | failed: {samples[-1]['error']} | | |")
            continue
        cpu = [sample["cpu_us"] for sample in good if "cpu_us" in sample]
        found = ratios(by_client, scenario.own, [client]) if client != scenario.own else []
        name = client if len(good) == len(samples) else f"{client} ({len(good)} of {len(samples)} rounds)"
        cells = (
            name,
            spread([sample["rate"] for sample in good], "{:,.0f}"),
            f"{statistics.median(cpu):,.2f}" if cpu else "",
            spread(found) if found else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    if others:
        took = f"{statistics.median(others):.2f} CPUs (at most {max(others):.2f})"
        lines += ["", f"Meanwhile other processes took {took}."]
    return [*lines, ""]


def parser_section(printed):
    """What the parser's benchmark printed, as a section; and what it says was missed."""
    lines = [
        "## Parser",
        "",
        "CPU time of decoding, and its ratio to that of hiredis' reader with reply objects: lower is better,",
        "and a target is met by a ratio no higher.",
        "",
    ]
    missed = [line.removeprefix("missed: ") for line in printed if line.startswith("missed: ")]
    lines += [line if line.startswith("|") or not line else f"- {line}" for line in printed]
    if not missed:
        lines.append("- all of the parser's targets are met")
    return [*lines, ""], [f"parser: {line}" for line in missed]


def write(samples, parser, versions, options):
    """The whole text, and what was missed."""
    lines = [
        "# Benchmark results",
        "",
        f"Measured {time.strftime('%Y-%m-%d')} by `make bench`: {options.rounds} rounds, "
        f"{options.seconds:g} s a sample (Node: twice that).",
        "",
        f"- Machine: {machine()}.",
        f"- Versions: {versions}.",
        "",
        METHOD,
        "",
    ]
    missed = []
    if samples:
        table, missed = summary(samples)
        lines += ["## Clients: targets", "", *table, ""]
    if parser is not None:
        section, missed_there = parser_section(parser.splitlines())
        lines += section
        missed += missed_there
    if samples:
        lines += ["## Clients: figures", ""]
    for scenario, by_client in samples.items():
        lines += detail(scenario, by_client)
    return "\n".join(lines).rstrip() + "\n", missed
