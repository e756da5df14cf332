"""What a program tells the judge: a line of JSON for each command, each message and each gap."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import respass


def outcome_of(result: Any) -> str:
    """`replied`, `not_sent`, `indeterminate`, `refused`; of anything else `unknown`."""
    if not isinstance(result, BaseException):
        return "replied"
    outcome = getattr(result, "outcome", None)
    return outcome if isinstance(result, respass.RedisError) and outcome else "unknown"


def plain(reply: Any) -> Any:
    """A reply as JSON can hold it."""
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "backslashreplace")
    if isinstance(reply, (list, tuple)):
        return [plain(one) for one in reply]
    return reply if isinstance(reply, (bool, int, str, type(None))) else repr(reply)


class Recorder:
    """Writes the records of one program. Safe with threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._lock = threading.Lock()
        self._flushed = time.monotonic()

    def command(
        self, client: str, op: str, identity: str, key: str, began: float, result: Any, wants: Any = None
    ) -> str:
        """A command ended; the answer is its outcome."""
        outcome = outcome_of(result)
        is_reply = outcome == "replied"
        self.write(
            client=client, op=op, id=identity, key=key, began=began, ended=time.time(), outcome=outcome,
            reply=plain(result) if is_reply else None, wants=wants,
            error=None if is_reply else f"{type(result).__name__}: {result}",
        )  # fmt: skip
        return outcome

    def heard(self, client: str, channel: str, payload: str | None) -> None:
        """A message came, or a gap in place of messages."""
        self.write(client=client, op="heard", id=payload, key=channel, began=time.time())

    def write(self, **record: Any) -> None:
        line = json.dumps(record) + "\n"
        with self._lock:
            self._file.write(line)
            if time.monotonic() - self._flushed > 0.5:
                self._file.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        self._file.close()
