"""The files that a program keeps for the judge: a line for every command, and its pulse."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import respass
from operations import Plan, summary

#: Commands are judged in lots of so many seconds.
EPOCH_SECONDS = 30.0


class Interrupted(BaseException):
    """Raised by a signal in the midst of a command."""


@dataclass
class Record:
    """What a program knows of one command. Times are seconds of the machine's monotonic clock."""

    identity: str
    kind: str
    client: str
    epoch: int
    began: float
    ended: float
    outcome: str
    reply: Any = None
    wants: str | None = None
    unit: str | None = None
    error: str | None = None
    #: Seconds that the client waits for a reply.
    timeout: float = 5.0


def outcome_of(result: Any) -> str:
    """`replied`, `not_sent`, `indeterminate`, `refused`, `cancelled`; of anything else `unknown`."""
    if not isinstance(result, BaseException):
        return "replied"
    if isinstance(result, respass.RedisError):
        return result.outcome or "unknown"
    if isinstance(result, (asyncio.CancelledError, TimeoutError, Interrupted)):
        return "cancelled"
    return "unknown"


class Recorder:
    """Writes the records of one program, a file for each epoch, and its pulse. Safe with threads."""

    def __init__(self, folder: Path, program: str, start: float) -> None:
        self.folder, self.program, self.start = folder, program, start
        self.commands = self.errors = 0
        self._files: dict[int, TextIO] = {}
        self._pending: dict[int, tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._next = 0

    def epoch(self) -> int:
        return int((time.monotonic() - self.start) / EPOCH_SECONDS)

    def begin(self, epoch: int) -> int:
        """Commands are about to be given; the number goes to `end`."""
        with self._lock:
            self._next += 1
            self._pending[self._next] = (time.monotonic(), epoch)
            return self._next

    def end(self, number: int, plan: Plan, results: list[Any], timeout: float) -> list[str]:
        """What came of them, in order; the answer is the outcomes."""
        ended, outcomes, lines = time.monotonic(), [], []
        began = self._pending[number][0]
        for step, result in zip(plan.steps, results, strict=True):
            outcome = outcome_of(result)
            outcomes.append(outcome)
            is_reply = outcome == "replied"
            record = Record(
                step.identity, step.kind, plan.client, plan.epoch, began, ended, outcome,
                summary(result) if is_reply else None, step.wants, plan.unit,
                None if is_reply else f"{type(result).__name__}: {result}", timeout,
            )  # fmt: skip
            lines.append(json.dumps(asdict(record)))
        with self._lock:
            self._file(plan.epoch).write("\n".join(lines) + "\n")
            self.commands += len(outcomes)
            self.errors += sum(outcome not in ("replied", "cancelled") for outcome in outcomes)
            del self._pending[number]
        return outcomes

    def pulse(self) -> None:
        """Replaces the pulse file."""
        with self._lock:
            for file in self._files.values():
                file.flush()
            pending = list(self._pending.values())
            now_epoch = self.epoch()
            for epoch in [old for old in self._files if old < now_epoch - 8]:
                self._files.pop(epoch).close()
        pulse = {
            "at": time.monotonic(),
            "commands": self.commands,
            "errors": self.errors,
            "oldest_epoch": min((epoch for _, epoch in pending), default=now_epoch),
            "oldest_began": min((began for began, _ in pending), default=None),
        }
        path = self.folder / f"{self.program}.pulse"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(pulse))
        os.replace(fresh, path)

    def close(self) -> None:
        self.pulse()
        for file in self._files.values():
            file.close()

    def _file(self, epoch: int) -> TextIO:
        if epoch not in self._files:
            self._files[epoch] = (self.folder / record_name(self.program, epoch)).open("a")
        return self._files[epoch]


def record_name(program: str, epoch: int) -> str:
    return f"{program}.{epoch}.records"


def read_records(path: Path) -> list[Record]:
    """The records in a file; none where there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return [Record(**json.loads(line)) for line in file]
