"""A plain way to the nodes of a cluster that uses nothing of respass: for the judge."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any


class ReplyError(Exception):
    """An error that a server sent."""


class Connection:
    """RESP2 in its simplest form: one command, one reply."""

    def __init__(self, host: str, port: int, ca: str | None, name: str | None = None) -> None:
        plain = socket.create_connection((host, port), timeout=20)
        if ca:
            context = ssl.create_default_context(cafile=ca)
            plain = context.wrap_socket(plain, server_hostname=name or host)
        self._socket = plain
        self._file = self._socket.makefile("rb")

    def call(self, *arguments: str) -> Any:
        parts = [f"*{len(arguments)}\r\n".encode()]
        for argument in arguments:
            data = argument.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise ReplyError(rest)
        if kind == b"$":
            return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        raise RuntimeError(f"the judge's own connection got {line[:200]!r}")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Reader:
    """Reads keys wherever they are. `open` makes a connection to an advertised address."""

    def __init__(self, open: Callable[[str, int], Connection], host: str, port: int) -> None:
        self._open, self._first = open, (host, port)
        self._connections: dict[tuple[str, int], Connection] = {}

    def call(self, *arguments: str) -> Any:
        place = self._first
        for _ in range(8):
            if place not in self._connections:
                self._connections[place] = self._open(*place)
            try:
                return self._connections[place].call(*arguments)
            except ReplyError as error:
                word, *rest = str(error).split()
                if word != "MOVED":
                    raise
                host, _, port = rest[1].rpartition(":")
                place = (host, int(port))
        raise RuntimeError(f"{arguments} is moved around and around")

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def read_ledgers(reader: Reader, keys: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in keys:
        flat = reader.call("HGETALL", key)
        found |= {flat[at]: int(flat[at + 1]) for at in range(0, len(flat), 2)}
    return found


def read_queues(reader: Reader, keys: set[str]) -> dict[str, list[str]]:
    return {key: reader.call("LRANGE", key, "0", "-1") for key in sorted(keys)}
