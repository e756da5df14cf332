"""Programs in several languages under the same load on a cluster, faults one after the other, and a judge.

    python trials/trial.py amr-oss acr-cluster plain
    MINUTES=10 TRIAL_PROGRAMS=node,rust TRIAL_PARTS=plain TRIAL_SCENES=failover python trials/trial.py amr-oss

Without MINUTES each stage plays its scenes once, and goes on as soon as everybody has recovered. The exit
status is 1 where the judge found something, and the folder with everything that was written is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOAK = HERE.parent / "soak"
sys.path.append(str(SOAK))

import verdict  # noqa: E402
from azure import AcrCluster, AmrOss  # noqa: E402
from cluster import read_ledgers, read_queues  # noqa: E402
from judge import judge_leaks, judge_text  # noqa: E402
from stages import Plain, PlainWithPassword, Scene, Stage  # noqa: E402
from steps import LEDGERS, ledger  # noqa: E402

STAGES: dict[str, Callable[[Path], Stage]] = {
    stage.name: stage for stage in (AmrOss, AcrCluster, Plain, PlainWithPassword)
}

#: Until every client of every program has succeeded with everything it does.
WARM_UP_SECONDS_MAX = 30.0
#: After a scene and its recovery, until the next.
CALM_SECONDS = 0.7
#: For commands under way when a stage ends.
END_SECONDS = 20.0


def commands() -> dict[str, list[str]]:
    """What starts each program. Those that were not built are left out, unless all are asked for."""
    found = {
        name: [sys.executable, "-W", "default", str(HERE / f"program_{name}.py")]
        for name in ("threads", "asyncio")
    }
    if project := os.environ.get("TRIAL_NODE"):
        # Modules are looked for beside the program: it goes where the package is installed.
        found["node"] = ["node", "--trace-warnings", shutil.copy(HERE / "program.mjs", project)]
    for name in ("rust", "c"):
        if program := os.environ.get(f"TRIAL_{name.upper()}"):
            found[name] = [program]
    chosen = os.environ.get("TRIAL_PROGRAMS")
    return {name: found[name] for name in chosen.split(",")} if chosen else found


class Program:
    """A program under test, as seen from outside."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._records: list[verdict.Record] = []
        self._read = 0
        self.text_path, self.records_path = folder / f"{name}.text", folder / f"{name}.records"
        with self.text_path.open("wb") as text:
            self.process = subprocess.Popen(
                command,
                env=environment | {"TRIAL_NAME": name},
                stdin=subprocess.PIPE,
                stdout=text,
                stderr=text,
            )

    def records(self) -> list[verdict.Record]:
        """All that there are by now."""
        if self.records_path.exists():
            with self.records_path.open() as file:
                file.seek(self._read)
                # What is written just now may end within a line.
                while (line := file.readline()).endswith("\n"):
                    self._records.append(json.loads(line))
                    self._read += len(line.encode())
        return self._records

    def end(self) -> None:
        """Asks it to end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, deadline: float) -> list[str]:
        try:
            status = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return [f"{self.name} did not end: see {self.text_path}"]
        return [] if status == 0 else [f"{self.name} ended with status {status}: see {self.text_path}"]


class Trial:
    """One stage's run."""

    def __init__(self, stage: Stage, folder: Path, is_long: bool) -> None:
        self.stage, self.folder = stage, folder
        self.spans: list[verdict.Span] = []
        self.violations: list[str] = []
        self.is_long = is_long
        self.programs: list[Program] = []

    def run(self) -> None:
        began = time.time()
        environment = self._environment()
        self.programs = [
            Program(name, command, self.folder, environment) for name, command in commands().items()
        ]
        self.warm_up()
        self.spans.append(verdict.Span("the start", began, time.time()))
        self.pause(CALM_SECONDS)
        for scene in self.stage.scenes():
            is_in_time = self.is_long or not scene.is_long_only
            if is_in_time and os.environ.get("TRIAL_SCENES", "") in scene.name:
                self.play(scene)
        self.finish()

    def _environment(self) -> dict[str, str]:
        environment = os.environ | self.stage.environment()
        environment |= {
            "NO_PROXY": "localhost,127.0.0.1",
            "PYTHONPATH": str(SOAK),
            "TRIAL_FOLDER": str(self.folder),
            "TRIAL_PARTS": ",".join(set(self.stage.parts) & set(_wanted_parts(self.stage))),
        }
        environment.pop("IDENTITY_SERVER_THUMBPRINT", None)
        return environment

    def warm_up(self) -> None:
        """Until everybody has succeeded with everything."""
        end = time.monotonic() + WARM_UP_SECONDS_MAX
        missing = ["nothing yet"]
        while missing and time.monotonic() < end:
            self.pause(0.5)
            missing = [name for program in self.programs for name in _unwell(program)]
        if missing:
            self.complain([f"not well before the first fault: {', '.join(missing)}"])

    def play(self, scene: Scene) -> None:
        began = time.time()
        print(f"  {time.strftime('%H:%M:%S')} {scene.name}", flush=True)
        scene.begin()
        self.pause(scene.lasts)
        scene.end()
        self.spans.append(verdict.Span(scene.name, began, time.time(), scene.recovery, scene.cuts_nodes))
        self.await_recovery(self.spans[-1])
        self.pause(CALM_SECONDS)
        scene.after()

    def await_recovery(self, span: verdict.Span) -> None:
        """Until everybody has succeeded again, or should have. A long run waits for the whole time."""
        end = span.end + span.recovery
        if self.is_long:
            self.pause(end - time.time())
        while (left := end - time.time()) > 0:
            self.pause(min(0.2, left))
            records = [record for program in self.programs for record in program.records()]
            if not verdict.judge_recovery(records, [span]):
                break

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            for program in self.programs:
                if program.process.poll() is not None:
                    raise SystemExit(f"trial: {program.name} ended on its own: see {program.text_path}")
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(0.25, left))

    def complain(self, found: list[str]) -> None:
        for violation in found:
            print(f"VIOLATION: {violation}", flush=True)
        self.violations += found

    def finish(self) -> None:
        for program in self.programs:
            program.end()
        deadline = time.monotonic() + END_SECONDS
        for program in self.programs:
            self.complain(program.wait(deadline))
        records = [record for program in self.programs for record in program.records()]
        reader = self.stage.reader()
        ledgers = read_ledgers(reader, [ledger(number) for number in range(LEDGERS)])
        queues = read_queues(reader, {record["key"] for record in records if record["op"] == "push"})
        reader.close()
        self.complain(verdict.judge(records, ledgers, queues, self.spans))
        self.complain(self.stage.complaints())
        self.judge_texts()
        for span in self.spans[1:]:
            print(f"  {span.name} ({span.end - span.begin:.1f} s): {verdict.outcomes(records, span)}")
        print(
            f"trial: {self.stage.name}: {len(records):,} commands and messages, {len(self.violations)} violations"
        )

    def judge_texts(self) -> None:
        tokens = self.stage.tokens()
        for program in self.programs:
            for path in (program.text_path, program.records_path):
                self.complain(judge_leaks(path.name, path.read_bytes(), tokens))
            self.complain(judge_text(program.text_path.name, program.text_path.read_bytes()))

    def stop(self) -> None:
        """Ends whatever is still there."""
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()
        self.stage.stop()


def _wanted_parts(stage: Stage) -> list[str]:
    chosen = os.environ.get("TRIAL_PARTS")
    return chosen.split(",") if chosen else list(stage.parts)


def _unwell(program: Program) -> list[str]:
    """What a program's clients have not succeeded with yet."""
    seen, good = set(), set()
    for record in program.records():
        one = (record["client"], record["op"])
        seen.add(one)
        if record["op"] == "heard" or record["outcome"] == "replied":
            good.add(one)
    wanted = {
        (client, op) for client, _ in seen for op in ("count", "multi", "set", "get", "mget", "del")
    } | seen
    return [f"{client} ({op})" for client, op in sorted(wanted - good)] or ([] if seen else [program.name])


def play(name: str, is_long: bool) -> int:
    """One stage; how many violations there were."""
    folder = Path(tempfile.mkdtemp(prefix=f"respass-trial-{name}-"))
    trial = Trial(STAGES[name](folder), folder, is_long)
    print(f"trial: {name}", flush=True)
    try:
        trial.run()
    finally:
        trial.stop()
    if trial.violations:
        print(f"trial: what the programs wrote is in {folder}")
    else:
        shutil.rmtree(folder)
    return len(trial.violations)


def main() -> int:
    seconds = float(os.environ.get("MINUTES") or 0) * 60
    names = sys.argv[1:] or [name for name in STAGES if seconds or name != PlainWithPassword.name]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("trial: asked to end"))
    began, violations = time.monotonic(), 0
    while True:
        violations += sum(play(name, seconds > 0) for name in names)
        if time.monotonic() - began >= seconds:
            break
    print(f"trial: {violations} violations in all")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
