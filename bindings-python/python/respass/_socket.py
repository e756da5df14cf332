"""Blocking sockets as the sync driver wants them: connected by a deadline, reads with an end, writes that do
not wait."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

#: Has a write never wait. Windows has no such flag: there it waits for the socket's timeout at most.
DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)

#: Longest wait of one read, so that timers are looked at.
PATIENCE = 1.0

_KEEP_ALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


def connect(host: str, port: int, timeout: float, dialled: list[socket.socket]) -> socket.socket:
    """Tries each address of the host, all within `timeout` seconds. `dialled` holds each socket from its
    beginning: a child of `fork` has to know of it."""
    deadline = time.monotonic() + timeout
    latest: OSError | None = None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(reason(error)) from None
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        dialled[:] = [sock]
        try:
            sock.settimeout(max(0.05, deadline - time.monotonic()))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            latest = error
        except BaseException:
            sock.close()
            raise
    dialled.clear()
    raise latest or OSError(f"{host} has no address")


def reason(error: OSError | UnicodeError) -> str:
    """Why there is no connection. asyncio's own texts leave the system's word out."""
    if isinstance(error, UnicodeError):
        return "this is no host name: each of its labels has 1 to 63 letters"
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def prepare(sock: socket.socket, patience: float) -> None:
    """Sets a connected socket's options: no delay, keep-alive, reads that end after `patience` seconds."""
    keep_alive(sock)
    if sys.platform == "win32":
        sock.settimeout(patience)
        return
    # A timeout of Python's own would cost one more system call for each read.
    sock.settimeout(None)
    seconds = int(patience)
    timeval = struct.pack("@ll", seconds, max(1, int((patience - seconds) * 1e6)) if patience < 1 else 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)


def keep_alive(sock: socket.socket) -> None:
    """No delay for small writes; the kernel's own keep-alive."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_readable(sock: socket.socket, timeout: float = 0.0) -> bool:
    """Whether a read would not wait."""
    return bool(_wait(sock, True, False, timeout) & 1)


def wait_writable(sock: socket.socket, timeout: float, or_readable: bool = False) -> bool:
    """Waits until a write would take bytes (or a read give some); true where a read would not wait."""
    return bool(_wait(sock, or_readable, True, timeout) & 1)


def _wait(sock: socket.socket, read: bool, write: bool, timeout: float) -> int:
    if not hasattr(select, "poll"):
        readers, writers, _ = select.select([sock] * read, [sock] * write, [], timeout)
        return bool(readers) | bool(writers) << 1
    poller = select.poll()
    poller.register(sock, read * select.POLLIN | write * select.POLLOUT)
    found = 0
    for _, events in poller.poll(timeout * 1000):
        if events & ~select.POLLOUT:
            found |= 1
        if events & select.POLLOUT:
            found |= 2
    return found
