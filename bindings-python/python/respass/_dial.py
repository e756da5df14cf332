"""Connections on their way: looked up and connected without holding up those that are there."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

_UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK))


def reason(error: OSError | UnicodeError) -> str:
    """Why there is no connection. asyncio's own texts leave the system's word out."""
    if isinstance(error, UnicodeError):
        return "this is no host name: each of its labels has 1 to 63 letters"
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


class Dial:
    """The addresses of a host, tried one after the other. How long it may take is the core's business."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        #: On its way to be connected, and in the end connected.
        self.sock: socket.socket | None = None
        #: The name is looked up by a thread.
        self._is_looked_up = False
        self._addresses: list[Any] | None = None
        self._address: Any = None
        self._latest: Exception | None = None

    @property
    def has_news(self) -> bool:
        """Whether `advance` is to be called, although no socket says so."""
        return self.sock is None and self._addresses is not None

    def begin(self, tell: Callable[[], None] | None) -> None:
        """Has the name looked up: by a thread that calls `tell` afterwards, or at once where there is no `tell`."""
        if self._addresses is not None or self._is_looked_up:
            return
        try:
            self._addresses = self._found(socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            if tell is None or not self._begin_thread(tell):
                self._look_up()

    def _begin_thread(self, tell: Callable[[], None]) -> bool:
        def work() -> None:
            self._look_up()
            tell()

        try:
            threading.Thread(target=work, name="respass-look-up", daemon=True).start()
        except RuntimeError:  # no thread can be had
            return False
        self._is_looked_up = True
        return True

    def _look_up(self) -> None:
        try:
            self._addresses = self._found(0)
        except (OSError, UnicodeError) as error:
            self._latest, self._addresses = error, []

    def _found(self, flags: int) -> list[Any]:
        return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=flags)[::-1]

    def advance(self) -> socket.socket | None:
        """Goes on without waiting: the socket once it is connected; raises why where none can be."""
        if self._addresses is None:
            return None
        while True:
            if self.sock is None:
                self._next()
            sock = self.sock
            assert sock is not None
            number = sock.connect_ex(self._address)
            if number in (0, errno.EISCONN):
                return sock
            if number in _UNDER_WAY:
                return None
            self._latest = OSError(number, os.strerror(number))
            self.close()

    def _next(self) -> None:
        if not self._addresses:
            error = self._latest or OSError(f"{self.host} has no address")
            raise OSError(f"{self.host}:{self.port}: {reason(error)}")  # type: ignore[arg-type]
        family, kind, protocol, _, self._address = self._addresses.pop()
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        self.sock = sock

    def close(self) -> None:
        """Gives the socket up."""
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()
