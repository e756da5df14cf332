"""Programs that work on real sockets while tokens run out and faults come and go, and a judge over all of it.

    MINUTES=30 SEED=7 python soak/soak.py

The exit status is 1 where the judge found something, and the folder with everything that was written is kept.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import judge
from faults import FaultMaker
from operations import ledger_key, list_key
from record import EPOCH_SECONDS, read_records, record_name
from server import Connection, Emulator

HERE = Path(__file__).resolve().parent
PROGRAMS = ("sync", "threads", "asyncio", "asyncio-credential", "callable")
#: Their commands are interrupted, which ends their connection each time.
INTERRUPTED = tuple(f"sync-{number}" for number in range(1, 5))
#: Its credential, azure-identity's for asyncio, keeps the last token for 30 s at least: with shorter tokens a new
#: one comes only when the old one is dead, so that the connection is replaced then, without an error.
LATE_TOKENS = "asyncio-credential-"
#: Of some fifty connections, so many may reach their token's end within one fault or calm time: a connection whose
#: credential has no newer token yet stops sending a second before (tokens of 20 s), and a command of these programs may
#: take longer than that.
LAPSES_MAX = 2

SAMPLE_SECONDS = 2.0
LINE_SECONDS = 10.0
WARM_UP_SECONDS = 6.0
#: After the end of an epoch, until what it left on the server is judged.
RIPE_SECONDS = 20.0
#: For commands under way when the run ends: as long as the longest deadline.
END_SECONDS = 5.0 + judge.ALLOWANCE_SECONDS
#: For all that a run needs beyond its minutes.
EXTRA_SECONDS = END_SECONDS + 150.0


class Program:
    """A program under test, as seen from outside."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.name, self._pulse_path = name, folder / f"{name}.pulse"
        self.text_path = folder / f"{name}.text"
        self.pulse: dict[str, Any] = {"commands": 0, "errors": 0, "oldest_epoch": 0, "oldest_began": None}
        self.samples: dict[str, list[float]] = {"rss": [], "descriptors": [], "threads": []}
        with self.text_path.open("wb") as text:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "default", str(HERE / "program.py"), name],
                env=environment, stdin=subprocess.PIPE, stdout=text, stderr=text,
            )  # fmt: skip

    def look(self) -> None:
        """Takes a sample of what it uses and reads its pulse."""
        if self._pulse_path.exists():
            self.pulse = json.loads(self._pulse_path.read_text())
        if self.process.poll() is not None:
            return
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        facts = dict(line.split(":", 1) for line in status.splitlines())
        self.samples["rss"].append(int(facts["VmRSS"].split()[0]) * 1024)
        self.samples["threads"].append(int(facts["Threads"]))
        self.samples["descriptors"].append(len(os.listdir(f"/proc/{self.process.pid}/fd")))

    def end(self) -> None:
        """Asks it to end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, deadline: float) -> list[str]:
        try:
            status = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # It writes down what its threads are doing. Not safe enough for a program that is well.
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(1)
            self.process.kill()
            return [f"{self.name} did not end: see the stacks in {self.text_path}"]
        return [] if status == 0 else [f"{self.name} ended with status {status}: see {self.text_path}"]


class Soak:
    """One run."""

    def __init__(self, minutes: float, seed: int, folder: Path) -> None:
        chance = random.Random(seed)
        self.chance, self.seed, self.folder = chance, seed, folder
        self.token_seconds = 20 if minutes < 5 else chance.randint(20, 40)
        self.start = time.monotonic()
        self.end = self.start + minutes * 60
        self.emulator = Emulator(os.environ["RESPASS_EMULATOR"], self.token_seconds)
        self.fault_maker = FaultMaker(chance, self.emulator.kinds())
        self.programs: list[Program] = []
        self.calms: list[judge.Calm] = []
        self.violations: list[str] = []
        self.tokens: set[str] = set()
        self.faults = 0
        self.now_is = "warming up"
        self._next_sample = self._next_line = self.start
        self._judged = 0
        self._closed_at_expiry = 0

    def run(self) -> None:
        kinds = ", ".join(fault.kind for fault in self.fault_maker.faults)
        print(f"soak: seed {self.seed}, tokens of {self.token_seconds} s, faults: {kinds}", flush=True)
        self.programs = [Program(name, self.folder, self._environment()) for name in PROGRAMS]
        self.pause(WARM_UP_SECONDS)
        self.stay_calm(self.token_seconds + 5.0, [])
        while time.monotonic() < self.end:
            self.make_fault()
        self.finish()

    def _environment(self) -> dict[str, str]:
        facts = self.emulator.facts
        environment = os.environ | {
            "IDENTITY_ENDPOINT": facts["identity_endpoint"],
            "IDENTITY_HEADER": facts["identity_header"],
            "NO_PROXY": "localhost,127.0.0.1",
            "SOAK_PORT": str(facts["port"]),
            "SOAK_CA": facts["ca_file"],
            "SOAK_FOLDER": str(self.folder),
            "SOAK_SEED": str(self.seed),
            "SOAK_START": str(self.start),
        }
        environment.pop("IDENTITY_SERVER_THUMBPRINT", None)
        return environment

    # Faults and calm

    def make_fault(self) -> None:
        """One fault, what follows it, and a calm time in which nothing may fail."""
        fault, order, lasts = self.fault_maker.next()
        self.faults += 1
        self.now_is = json.dumps(order)
        began = time.monotonic()
        self.emulator.fault(order)
        self.pause(lasts)
        self.emulator.fault({"kind": "clear"})
        self.now_is = f"after {fault.kind}"
        self.pause(fault.settles)
        closed = self.emulator.stats()["closed_at_expiry"]
        if closed > self._closed_at_expiry + LAPSES_MAX and not fault.outlives_tokens:
            count = closed - self._closed_at_expiry
            self.complain([f"{count} connections ended with their tokens, from {began:.3f} on, by {order}"])
        # Every third time it is long enough for every connection to re-authenticate.
        is_long = self.faults % 3 == 0
        self.stay_calm(self.token_seconds + 5.0 if is_long else self.chance.uniform(4, 8), [fault.kind])

    def stay_calm(self, seconds: float, after: list[str]) -> None:
        self.now_is = "calm"
        stats = self.emulator.stats()
        connection = self.emulator.open()
        names = self._connection_ids(connection)
        calm = judge.Calm(time.monotonic(), 0)
        self.pause(seconds)
        calm.end = time.monotonic()
        self.calms.append(calm)
        now = self.emulator.stats()
        told = f" (calm from {calm.begin:.3f} to {calm.end:.3f} after {', '.join(after) or 'the start'})"
        found = judge.judge_connections(names, self._connection_ids(connection))
        found += judge.judge_reauthentication(
            stats["connections"], now["connections"], self.token_seconds, calm
        )
        if now["closed_at_expiry"] > stats["closed_at_expiry"] + LAPSES_MAX:
            found.append("connections ended with their tokens while nothing was wrong")
        self.complain([one + told for one in found])
        self._closed_at_expiry = now["closed_at_expiry"]
        self.tokens.update(self.emulator.tokens())
        self.judge_ripe(connection)
        connection.close()

    def _connection_ids(self, connection: Connection) -> dict[str, str]:
        """By name of the client, the server's number of its connection."""
        listed = [dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
                  for line in connection.call("CLIENT", "LIST").splitlines()]  # fmt: skip
        return {
            one["name"]: one["id"]
            for one in listed
            if one["name"] not in ("", *INTERRUPTED) and not one["name"].startswith(LATE_TOKENS)
        }

    def pause(self, seconds: float) -> None:
        """Lets time pass and looks after the programs."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if now >= self._next_sample:
                self._next_sample = now + SAMPLE_SECONDS
                self.look()
            if now >= self._next_line:
                self._next_line = now + LINE_SECONDS
                self.print_line()
            time.sleep(min(0.25, max(0.0, until - now)))

    def look(self) -> None:
        for program in self.programs:
            program.look()
            self.complain(judge.judge_pending(program.name, program.pulse["oldest_began"], time.monotonic()))
            if program.process.poll() is not None:
                raise SystemExit(f"soak: {program.name} ended on its own: see {program.text_path}")

    # Judging

    def judge_ripe(self, connection: Connection, at_the_end: bool = False) -> None:
        """Judges the epochs in which nothing can happen any more."""
        while at_the_end or self._is_ripe(self._judged):
            epoch = self._judged
            if self.start + epoch * EPOCH_SECONDS > time.monotonic():
                break
            self.judge_epoch(connection, epoch)
            self._judged += 1

    def _is_ripe(self, epoch: int) -> bool:
        is_over = time.monotonic() > self.start + (epoch + 1) * EPOCH_SECONDS + RIPE_SECONDS
        return is_over and all(program.pulse["oldest_epoch"] > epoch for program in self.programs)

    def judge_epoch(self, connection: Connection, epoch: int) -> None:
        paths = [self.folder / record_name(program.name, epoch) for program in self.programs]
        records = [record for path in paths for record in read_records(path)]
        places = {(record.client, record.epoch) for record in records}
        servers = {place: read_server(connection, *place) for place in places}
        found = judge.judge_commands(records, servers, self.calms)
        self.complain(found)
        if not found:
            for path in paths:
                path.unlink(missing_ok=True)
        for place in places:
            connection.call("UNLINK", ledger_key(*place), list_key(*place))

    def judge_late(self, connection: Connection) -> None:
        """What was judged was removed: whatever is there again ran after all deadlines."""
        for pattern in ("ledger:*", "list:*"):
            for key in connection.call("KEYS", pattern):
                self.complain([f"commands ran long after their end, or were never recorded: {key}"])

    def complain(self, found: list[str]) -> None:
        for violation in found:
            print(f"VIOLATION: {violation}", flush=True)
        self.violations += found

    # The end

    def finish(self) -> None:
        self.now_is = "ending"
        self.stay_calm(5.0, ["the last fault"])
        for program in self.programs:
            program.end()
        deadline = time.monotonic() + END_SECONDS
        for program in self.programs:
            self.complain(program.wait(deadline))
            program.look()
        connection = self.emulator.open()
        self.judge_ripe(connection, at_the_end=True)
        self.judge_late(connection)
        connection.close()
        self.judge_programs()
        commands = sum(program.pulse["commands"] for program in self.programs)
        stats = self.emulator.stats()
        if not commands or not stats["reauth_total"]:
            self.complain(["nothing was done"])
        print(
            f"soak: {commands:,} commands, {stats['reauth_total']:,} re-authentications, "
            f"{self.faults} faults, {len(self.violations)} violations"
        )

    def judge_programs(self) -> None:
        self.tokens.update(self.emulator.tokens())
        if not self.tokens:
            self.complain(["no token was issued: the search for tokens finds nothing"])
        for program in self.programs:
            text = program.text_path.read_bytes()
            self.complain(judge.judge_leaks(program.text_path.name, text, self.tokens))
            is_interrupted = INTERRUPTED[0].startswith(program.name + "-")
            self.complain(judge.judge_text(program.text_path.name, text, is_interrupted))
            for what, samples in program.samples.items():
                self.complain(judge.judge_growth(program.name, what, samples))

    def print_line(self) -> None:
        seconds = time.monotonic() - self.start
        commands = sum(program.pulse["commands"] for program in self.programs)
        errors = sum(program.pulse["errors"] for program in self.programs)
        memory = sum(program.samples["rss"][-1] for program in self.programs if program.samples["rss"]) >> 20
        print(
            f"{seconds:5.0f} s  {commands:>9,} commands  {errors:>6,} errors  {self.faults:>3} faults  "
            f"{memory} MiB  {len(self.violations)} violations  {self.now_is}",
            flush=True,
        )

    def stop(self) -> None:
        """Ends whatever is still there."""
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
        self.emulator.stop()


def read_server(connection: Connection, client: str, epoch: int) -> judge.Server:
    flat = connection.call("HGETALL", ledger_key(client, epoch))
    ledger = {flat[at]: int(flat[at + 1]) for at in range(0, len(flat), 2)}
    return judge.Server(ledger, connection.call("LRANGE", list_key(client, epoch), "0", "-1"))


def main() -> int:
    minutes = float(os.environ.get("MINUTES", "30"))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    folder = Path(tempfile.mkdtemp(prefix="respass-soak-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: asked to end"))
    soak = Soak(minutes, seed, folder)

    def give_up() -> None:
        print("soak: not done in time", flush=True)
        soak.stop()
        os._exit(3)

    guard = threading.Timer(minutes * 60 + EXTRA_SECONDS, give_up)
    guard.daemon = True
    guard.start()
    try:
        soak.run()
    finally:
        soak.stop()
    if soak.violations:
        print(f"soak: seed {seed}; what the programs wrote is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
