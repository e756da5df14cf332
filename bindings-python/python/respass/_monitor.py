"""MONITOR: every command that one server runs."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, TypedDict

from ._pubsub import closed, confirmation_max, late
from ._respass import Subscriber

_LINE = re.compile(r"(\S+) \[(\d+) (.*?)\] (.*)", re.DOTALL)
#: A word in quotes.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class MonitorCommandInfo(TypedDict):
    """One command."""

    time: float
    db: int
    client_address: str
    client_port: str
    client_type: str
    command: str


def parsed(line: bytes) -> MonitorCommandInfo | None:
    """A line of MONITOR; `None` where it is none."""
    found = _LINE.fullmatch(line.decode("utf-8", "replace"))
    if found is None:
        return None
    moment, db, client, words = found.groups()
    address, port, kind = _client(client)
    return {
        "time": float(moment),
        "db": int(db),
        "client_address": address,
        "client_port": port,
        "client_type": kind,
        "command": " ".join(_WORD.findall(words)).replace('\\"', '"'),
    }


def _client(text: str) -> tuple[str, str, str]:
    if text == "lua":
        return "lua", "", "lua"
    if text.startswith("unix"):
        return "unix", text[5:], "unix"
    if not text:
        return "", "", "unknown"
    address, _, port = text.rpartition(":")
    return address, port, "tcp"


class _Lines:
    """What came and was not asked for yet."""

    def __init__(self) -> None:
        self._subscriber: Subscriber | None = None
        self._commands: deque[MonitorCommandInfo] = deque()
        #: Whether the server said that it begins.
        self._has_begun = False

    def _take(self) -> tuple[Subscriber, int]:
        """Takes what came, and tells how often something came."""
        subscriber = self._subscriber
        taken = None if subscriber is None else subscriber.take()
        if subscriber is None or taken is None:
            raise closed()
        entries, seen = taken
        for word, _, _, data in entries:
            if word == "refused":
                raise data
            command = parsed(data) if word == "monitor" else None
            if command is not None:
                self._commands.append(command)
            self._has_begun |= word == "subscribe"
        return subscriber, seen


class Monitor(_Lines):
    """Commands, from when the `with` block is entered."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._driver, self._options = client._driver, client._options

    def __enter__(self) -> Self:
        self._subscriber = Subscriber(self._driver.native_core(), True)
        limit = confirmation_max(self._options)
        deadline = None if limit is None else time.monotonic() + limit
        try:
            while True:
                subscriber, seen = self._take()
                if self._has_begun:
                    return self
                if deadline is not None and time.monotonic() >= deadline:
                    raise late("MONITOR")
                call = subscriber.next(seen)
                if call is not None:
                    self._driver.wait(call, deadline)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_exception: object) -> None:
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.close()
            self._driver.attend()

    def next_command(self) -> MonitorCommandInfo:
        """The next command; waits for one."""
        while not self._commands:
            subscriber, seen = self._take()
            call = None if self._commands else subscriber.next(seen)
            if call is not None:
                self._driver.wait(call, None)
        return self._commands.popleft()

    def listen(self) -> Iterator[MonitorCommandInfo]:
        """Commands without end."""
        while True:
            yield self.next_command()


class AsyncMonitor(_Lines):
    """The same for asyncio."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client
        self._driver: Any = None

    async def __aenter__(self) -> Self:
        self._driver = self._client._drivers.current()
        self._subscriber = Subscriber(self._driver.core, True)
        self._driver.port.flush()
        try:
            async with asyncio.timeout(confirmation_max(self._client._options)):
                while True:
                    subscriber, seen = self._take()
                    if self._has_begun:
                        return self
                    arrival = self._driver.port.next_mail(subscriber, seen)
                    if arrival is not None:
                        await arrival
        except TimeoutError:
            await self.__aexit__()
            raise late("MONITOR") from None
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *_exception: object) -> None:
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.close()
            self._driver.port.flush()

    async def next_command(self) -> MonitorCommandInfo:
        """The next command; waits for one."""
        while not self._commands:
            subscriber, seen = self._take()
            arrival = None if self._commands else self._driver.port.next_mail(subscriber, seen)
            if arrival is not None:
                await arrival
        return self._commands.popleft()

    async def listen(self) -> AsyncIterator[MonitorCommandInfo]:
        """Commands without end."""
        while True:
            yield await self.next_command()
