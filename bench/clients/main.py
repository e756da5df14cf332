#!/usr/bin/env python3
"""The parser beside hiredis, and the clients end to end beside their peers: ratios within one run.

    bench/run.sh                       everything, about 10 minutes; writes bench/results.md
    bench/run.sh tls conc              scenarios whose names begin so ("parser" is one); in .work/bench
    bench/run.sh --quick               one short round of each; likewise
    bench/run.sh --check               exit 1 where a target is missed

One process per sample. A round runs every client of every scenario; the next begins with another client. A
ratio is taken within a round. Server and client have a CPU each; where commands go one by one they share one.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import report
import servers
import setup
from scenarios import CLIENTS, SCENARIOS

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results.md"
# A JavaScript engine compiles what runs often, so its programs get longer.
NODE_FACTOR = 2
SAMPLE_TIMEOUT_S = 60
# What others may take in a moment that counts as quiet.
QUIET_S, QUIET_CPUS = 0.1, 0.3


class Bench:
    """Programs, servers and CPUs: what a sample needs."""

    def __init__(self, scenarios, seconds):
        self.seconds = seconds
        cpus = sorted(os.sched_getaffinity(0))
        self.server_cpu, self.client_cpu = cpus[0], cpus[-1]
        languages = {CLIENTS[name][0] for scenario in scenarios for name in scenario.clients}
        self.python = self.c = self.node = self.rust = None
        if "own" in languages:
            self.python = {"own": setup.python_own(), "peers": setup.python_peers()}
        if "c" in languages:
            self.c = setup.c_programs()
        if "node" in languages:
            self.node = setup.node_packages()
        if "rust" in languages:
            self.rust = setup.rust_program()

    def command(self, scenario, client, server):
        language, name = CLIENTS[client]
        if language == "c":
            command = [self.c[name], scenario.workload, "127.0.0.1", server.port, self.seconds, scenario.tasks]
            return command + ([server.ca, servers.USER, servers.PASSWORD] if scenario.tls else [])
        seconds = self.seconds * (NODE_FACTOR if language == "node" else 1)
        program = {"rust": [self.rust], "node": ["node", HERE / "node.mjs"]}.get(language)
        program = program or [self.python[language], HERE / "driver.py"]
        command = [*program, name, scenario.workload, "--port", server.port]
        command += ["--seconds", seconds, "--tasks", scenario.tasks]
        if scenario.tls:
            command += ["--ca", server.ca, "--user", servers.USER, "--password", servers.PASSWORD]
        return command

    def sample(self, scenario, client):
        """Its rate, its CPU a command, and how many CPUs others took meanwhile; or why there is none."""
        server = self.servers[scenario.server]
        cpu = self.server_cpu if scenario.shares_cpu else self.client_cpu
        before = Usage(self.servers.values())
        try:
            done = subprocess.run(
                [str(word) for word in self.command(scenario, client, server)],
                text=True,
                capture_output=True,
                timeout=SAMPLE_TIMEOUT_S,
                preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
            )
        except subprocess.TimeoutExpired:
            return {"error": "no end within the time given"}
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": why.replace(str(setup.ROOT), ".").replace("|", "/")[:200]}
        printed = json.loads(done.stdout.splitlines()[-1])
        others = Usage(self.servers.values()).others_since(before)
        ops = printed["ops"]
        return {"rate": ops / printed["seconds"], "cpu_us": printed["cpu_s"] / ops * 1e6, "others": others}


class Usage:
    """CPU time so far: the machine's, and ours with our children and servers."""

    def __init__(self, ours):
        with open("/proc/stat") as file:
            user, nice, system, _, _, irq, softirq, *_ = (int(word) for word in file.readline().split()[1:])
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        self.wall = time.monotonic()
        self.others = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - own
        self.others -= sum(server.cpu_seconds() for server in ours)

    def others_since(self, before):
        return max(0.0, (self.others - before.others) / (self.wall - before.wall))


def wait_for_quiet(patience):
    """Lets other processes finish their work, as long as our patience lasts; what is left of it."""
    while patience > 0:
        before = Usage(())
        time.sleep(QUIET_S)
        if Usage(()).others_since(before) < QUIET_CPUS:
            break
        patience -= QUIET_S
    return patience


def measure(bench, scenarios, rounds, patience):
    """Per scenario and client: its samples, one a round."""
    samples = {scenario: {client: [] for client in scenario.clients} for scenario in scenarios}
    for turn in range(rounds):
        left = patience / rounds
        for scenario in scenarios:
            first = turn % len(scenario.clients)
            for client in scenario.clients[first:] + scenario.clients[:first]:
                left = wait_for_quiet(left)
                sample = bench.sample(scenario, client)
                samples[scenario][client].append(sample)
                if "error" in sample:
                    print(f"{scenario.name}: {client}: {sample['error']}", file=sys.stderr)
        print(f"clients: round {turn + 1} of {rounds}", file=sys.stderr)
    return samples


def run_parser(quick):
    """What the parser's benchmark prints."""
    setup.WORK.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "HIREDIS": str(setup.hiredis_sources(setup.WORK))}
    command = [sys.executable, HERE.parent / "parser" / "run.py"]
    command += ["--rounds", "1", "--seconds", "0.05"] if quick else []
    return subprocess.run(command, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="beginnings of scenario names")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one sample")
    parser.add_argument("--quick", action="store_true", help="one round of 0.2 s a sample")
    parser.add_argument(
        "--patience", type=float, default=120, help="seconds in all to wait for other processes to be quiet"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    parser.add_argument("--out", type=Path, help="the file to write")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.patience = 1, 0.2, 0
    if options.out is None:
        # The committed file comes from whole runs only.
        is_whole = not options.names and not options.quick
        options.out = RESULTS if is_whole else setup.WORK / "results.md"
    return options


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit stops the servers
    prefixes = tuple(options.names) or ("",)
    scenarios = [scenario for scenario in SCENARIOS if scenario.name.startswith(prefixes)]
    has_parser = "parser".startswith(prefixes)
    if not scenarios and not has_parser:
        sys.exit("no scenario has such a name: " + ", ".join([*(s.name for s in SCENARIOS), "parser"]))
    setup.WORK.mkdir(parents=True, exist_ok=True)
    bench = Bench(scenarios, options.seconds)
    parser = run_parser(options.quick) if has_parser else None
    samples = {}
    if scenarios:
        with servers.running(bench.server_cpu, {scenario.server for scenario in scenarios}) as bench.servers:
            samples = measure(bench, scenarios, options.rounds, options.patience)
    versions = setup.versions(
        bench.python, bench.node, has_hiredis=bench.c is not None or has_parser, has_rust=bench.rust is not None
    )
    text, missed = report.write(samples, parser, versions, options)
    options.out.write_text(text)
    print(text)
    print("written:", os.path.relpath(options.out), file=sys.stderr)
    for miss in missed:
        print("missed:", miss, file=sys.stderr)
    sys.exit(1 if options.check and missed else 0)


if __name__ == "__main__":
    main()
