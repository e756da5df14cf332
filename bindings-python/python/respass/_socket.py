"""Blocking sockets as the sync driver wants them: reads with an end, writes that do not wait, and waiting for
several of them."""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Any

#: Has a write never wait. Windows has no such flag: there it waits for the socket's timeout at most.
DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)

_KEEP_ALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


def prepare(sock: socket.socket, patience: float) -> None:
    """Sets a connected socket's options: no delay, keep-alive, reads that end after `patience` seconds."""
    keep_alive(sock)
    if sys.platform == "win32":
        sock.settimeout(patience)
        return
    # A timeout of Python's own would cost one more system call for each read.
    sock.settimeout(None)
    timeval = struct.pack("@ll", int(patience), max(1, int(patience % 1 * 1e6)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)


def keep_alive(sock: socket.socket) -> None:
    """No delay for small writes; the kernel's own keep-alive."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class SelectPoll:
    """The part of `select.poll` that is used here, where there is none."""

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def register(self, sock: socket.socket, events: int) -> None:
        number = sock.fileno()
        if events & READ:
            self._readers.add(number)
        if events & WRITE:
            self._writers.add(number)

    def poll(self, milliseconds: float) -> list[tuple[int, int]]:
        writers = list(self._writers)
        # A connection that cannot be made is told as exceptional there.
        found = select.select(list(self._readers), writers, writers, milliseconds / 1000)
        events: dict[int, int] = {}
        for numbers, event in zip(found, (READ, WRITE, WRITE), strict=True):
            for number in numbers:
                events[number] = events.get(number, 0) | event
        return list(events.items())


READ: int = getattr(select, "POLLIN", 1)
WRITE: int = getattr(select, "POLLOUT", 4)
#: Makes an object that waits for sockets.
make_poll: Any = getattr(select, "poll", SelectPoll)


def is_readable(sock: socket.socket) -> bool:
    """Whether a read would not wait."""
    poll = make_poll()
    poll.register(sock, READ)
    return bool(poll.poll(0))


class Waker:
    """Ends another thread's wait for sockets."""

    def __init__(self) -> None:
        self.sock, self._other = socket.socketpair()
        self.sock.setblocking(False)
        self._other.setblocking(False)

    def wake(self) -> None:
        """Has the wait end, or the next one where there is none just now."""
        try:
            self._other.send(b"\0")
        except OSError:
            pass  # full of words already, or closed

    def clear(self) -> None:
        """Forgets the words so far."""
        try:
            self.sock.recv(4096)
        except OSError:
            pass

    def close(self) -> None:
        """Gives both ends up."""
        self.sock.close()
        self._other.close()
