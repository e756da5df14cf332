"""The emulator, and a plain way to its server that uses nothing of respass."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from typing import Any


class Emulator:
    """A running emulator and its admin endpoint."""

    def __init__(self, binary: str, token_seconds: int | str, *more: str) -> None:
        options = ["--port", "0", "--token-ttl", str(token_seconds), "--stdin-lifeline", *more]
        if "--access-keys" in subprocess.run([binary, "--help"], capture_output=True, text=True).stdout:
            options += ["--access-keys", "on"]  # so that they can be disabled
        self._process = subprocess.Popen(
            [binary, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if not ready:
            raise RuntimeError("the emulator did not start")
        self.facts: dict[str, Any] = json.loads(ready)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def kinds(self) -> list[str]:
        """The kinds of fault that it knows."""
        try:
            self._admin("/fault", {"kind": "?"})
        except urllib.error.HTTPError as answer:
            return list(json.load(answer)["kinds"])
        raise RuntimeError("the emulator takes any kind of fault")

    def fault(self, order: dict[str, Any]) -> None:
        try:
            self._admin("/fault", order)
        except urllib.error.HTTPError as answer:
            raise RuntimeError(f"the emulator refused {order}: {answer.read().decode()}") from None

    def stats(self) -> dict[str, Any]:
        return self._admin("/stats")

    def tokens(self) -> list[str]:
        """All tokens issued so far; of very many, the latest."""
        return self._admin("/tokens")

    def token(self) -> dict[str, Any]:
        """One that the programs do not have."""
        return self._admin("/token", {"ttl": 3600})

    def open(self) -> Connection:
        """A connection of its own, logged in with a token of its own."""
        token = self.token()
        connection = Connection(self.facts["host"], self.facts["port"], self.facts["ca_file"])
        connection.call("AUTH", token["oid"], token["access_token"])
        return connection

    def _admin(self, path: str, order: dict[str, Any] | None = None) -> Any:
        data = None if order is None else json.dumps(order).encode()
        request = urllib.request.Request(
            self.facts["admin"] + path, data=data, headers={"content-type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)


class Connection:
    """RESP2 in its simplest form: one command, one reply."""

    def __init__(self, host: str, port: int, ca: str) -> None:
        context = ssl.create_default_context(cafile=ca)
        plain = socket.create_connection((host, port), timeout=20)
        self._socket = context.wrap_socket(plain, server_hostname=host)
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
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        raise RuntimeError(f"the judge's own connection got {line[:200]!r}")

    def _bulk(self, length: int) -> str | None:
        if length < 0:
            return None
        return self._file.read(length + 2)[:-2].decode("ascii", "backslashreplace")

    def close(self) -> None:
        self._file.close()
        self._socket.close()
