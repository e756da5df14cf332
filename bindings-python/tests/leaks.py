"""Records everything that respass says in a run (logs, errors, statuses, what nobody caught) and every token that was
issued, and finds the tokens in what was said."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any

import respass
from respass._client import BaseRedis

#: As many consecutive characters of a token are a leak.
WINDOW = 8


class Recorder(logging.Handler):
    """What was said, and what must not be."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []
        self.tokens: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))

    def say(self, *things: Any) -> None:
        self.said.extend(str(thing) for thing in things)

    def found(self) -> list[str]:
        """What was said and holds a part of a token."""
        parts = self._parts()
        return [text for text in self.said if leaks(text, parts)]

    def _parts(self) -> set[str]:
        parts: set[str] = set()
        for token in self.tokens:
            parts.update(windows(token))
        return parts


def windows(text: str) -> Iterable[str]:
    return (text[index : index + WINDOW] for index in range(len(text) - WINDOW + 1))


def leaks(text: str, parts: set[str]) -> bool:
    return any(window in parts for window in windows(text))


recorder = Recorder()


def listen() -> None:
    """Begins to record."""
    for name in ("respass", "asyncio"):
        logger = logging.getLogger(name)
        logger.addHandler(recorder)
    logging.getLogger("respass").setLevel(logging.DEBUG)

    make = respass.RedisError.__init__

    def made(error: respass.RedisError, *arguments: Any) -> None:
        recorder.say(*arguments, repr(error))
        make(error, *arguments)

    respass.RedisError.__init__ = made  # type: ignore[method-assign, assignment]

    status = BaseRedis.auth_status

    def told(client: BaseRedis) -> dict[str, Any]:
        found = status(client)
        recorder.say(found, repr(client))
        return found

    BaseRedis.auth_status = told  # type: ignore[method-assign]

    unraisable, thread = sys.unraisablehook, threading.excepthook

    def not_raised(what: Any) -> None:
        recorder.say(what.exc_value, what.err_msg, what.object)
        unraisable(what)

    def not_caught(what: Any) -> None:
        recorder.say(what.exc_value)
        thread(what)

    sys.unraisablehook, threading.excepthook = not_raised, not_caught
