"""Programs in three languages that write and read for a while as their tokens expire and renew, side by side, and a
table of how they fare.

They log in with the managed identity of an App Service (Python and Node with Azure's own identity libraries, C by
asking its endpoint), against the emulator as Azure Managed Redis with its clustering policy "OSS": real redis-servers
behind a front that owns tokens, closes every connection whose token has ended, and advertises addresses that lead
nowhere. No program is told anything about that: each gets a name, a port and a credential.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOKEN_SECONDS = 20
SHARDS = 3
COLUMNS = (
    "language",
    "commands",
    "errors",
    "shards",
    "connections",
    "re-authentications",
    "token seconds left",
)


def programs_of(environment: dict[str, str]) -> dict[str, list[str]]:
    """The command that starts each program, by its language."""
    # Modules are looked for beside the program: it goes where the package is installed.
    node = shutil.copy(HERE / "program.mjs", environment["DEMO_NODE"])
    return {
        "Python, asyncio": [sys.executable, str(HERE / "program_asyncio.py")],
        "Python, threads": [sys.executable, str(HERE / "program_threads.py")],
        "Node": ["node", node],
        "C": [environment["DEMO_C"]],
    }


class Program:
    """One program under way, and the last line it reported."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]):
        self.name, self.latest = name, {}
        self.configured_port = int(environment["DEMO_PORT"])
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.latest = json.loads(line)

    def row(self) -> tuple[str, ...]:
        seconds = self.latest.get("token_seconds_left")
        return (
            self.name,
            f"{self.latest.get('commands', 0):,}",
            str(self.latest.get("errors", 0)),
            str(self.shards()),
            str(len(self.latest.get("ports", ()))),
            str(self.latest.get("reauthentications", 0)),
            "-" if seconds is None else f"{seconds:.0f}",
        )

    def shards(self) -> int:
        """How many it has a connection to: each is behind a port of its own."""
        return len(set(self.latest.get("ports", ())) - {self.configured_port})

    def complaints(self, seconds: float) -> list[str]:
        """What did not go as promised."""
        found = []
        if self.process.wait() != 0:
            found.append(f"{self.name} ended with status {self.process.returncode}")
        if self.latest.get("errors"):
            found.append(
                f"{self.name}: {self.latest['errors']} commands failed: {self.latest.get('last_error')}"
            )
        if self.latest.get("commands", 0) < 10 * seconds:
            found.append(f"{self.name} ran {self.latest.get('commands', 0)} commands only")
        if self.shards() < SHARDS:
            found.append(f"{self.name} was connected to {self.shards()} of {SHARDS} shards at the end")
        if self.latest.get("reauthentications", 0) < SHARDS * int(seconds // TOKEN_SECONDS):
            found.append(f"{self.name} re-authenticated {self.latest.get('reauthentications', 0)} times only")
        return found


def table(programs: list[Program]) -> list[str]:
    rows = [COLUMNS, *(program.row() for program in programs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]


def watch(programs: list[Program]) -> None:
    """Shows the table until every program has ended: in place on a terminal, every five seconds elsewhere."""
    live, drawn = sys.stdout.isatty(), 0
    for second in range(1_000_000):
        if all(program.process.poll() is not None for program in programs):
            break
        if live or second % 5 == 0:
            lines = table(programs)
            if live and drawn:
                print(f"\x1b[{drawn}A", end="")
            print("\n".join(line + "\x1b[K" if live else line for line in lines), flush=True)
            drawn = len(lines)
        time.sleep(1)
    for program in programs:
        program.reader.join()
    print("\n".join(table(programs)))


def main() -> int:
    seconds = float(os.environ.get("DEMO_SECONDS", "40"))
    command = [os.environ["RESPASS_EMULATOR"], "--port", "0", "--stdin-lifeline"]
    command += ["--profile", "amr-oss", "--shards", str(SHARDS), "--token-ttl", str(TOKEN_SECONDS)]
    emulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ready = emulator.stdout.readline()
    if not ready:
        print("the emulator did not start", file=sys.stderr)
        return 1
    facts = json.loads(ready)
    environment = os.environ | {
        "IDENTITY_ENDPOINT": facts["identity_endpoint"],
        "IDENTITY_HEADER": facts["identity_header"],
        "NO_PROXY": "localhost,127.0.0.1",
        "DEMO_PORT": str(facts["port"]),
        "DEMO_CA": facts["ca_file"],
        "DEMO_SECONDS": str(seconds),
    }
    environment.pop("IDENTITY_SERVER_THUMBPRINT", None)
    print(
        f"{facts['profile']} with {SHARDS} shards at {facts['host']}:{facts['port']}, tokens of {TOKEN_SECONDS} s, "
        f"for {seconds:.0f} s"
    )
    try:
        commands = programs_of(environment)
        programs = [Program(name, command, environment) for name, command in commands.items()]
        watch(programs)
        complaints = [complaint for program in programs for complaint in program.complaints(seconds)]
    finally:
        emulator.stdin.close()
        emulator.wait(10)
    for complaint in complaints:
        print(f"FAILED: {complaint}", file=sys.stderr)
    if not complaints:
        print("no command failed")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
