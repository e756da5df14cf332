"""Servers for the tests: plain and TLS redis-server on free loopback ports, and the emulator of Azure."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import leaks
import pytest
from respass.__main__ import emulator_candidates

REPOSITORY = Path(__file__).resolve().parents[2]

# The identity libraries honour proxies even on loopback.
os.environ["NO_PROXY"] = "localhost,127.0.0.1"


def pytest_configure() -> None:
    leaks.listen()


@pytest.fixture(scope="session", autouse=True)
def no_token_is_ever_said() -> Iterator[None]:
    """After the last test: nothing that was said in the whole run holds a part of a token."""
    yield
    assert leaks.recorder.found() == []


class Server:
    """A redis-server and a way to it that does not use the client under test."""

    def __init__(self, port: int, ca: str | None = None) -> None:
        self.port, self.ca = port, ca

    def raw(self, *arguments: str) -> bytes:
        """Sends one command over a socket of its own; the reply as far as it comes at once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(encode(*arguments))
            return sock.recv(1 << 16)

    def kill_clients(self) -> None:
        """Cuts every other connection."""
        self.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def encode(*arguments: str) -> bytes:
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield Server(port)
    finally:
        process.terminate()
        process.wait()


def make_certificates(folder: Path) -> dict[str, str]:
    """An authority and a certificate for localhost."""
    paths = {
        name: str(folder / name) for name in ("ca.key", "ca.pem", "server.key", "server.csr", "server.pem")
    }
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca = ["-subj", "/CN=test CA", "-addext", "basicConstraints=critical,CA:TRUE"]
    ca += ["-addext", "keyUsage=critical,keyCertSign"]
    for command in (
        ["req", "-x509", *key, "-keyout", paths["ca.key"], "-out", paths["ca.pem"], *ca],
        ["req", *key, "-keyout", paths["server.key"], "-out", paths["server.csr"], "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", paths["server.csr"], "-CA", paths["ca.pem"], "-CAkey", paths["ca.key"],
         "-CAcreateserial", "-out", paths["server.pem"], "-extfile", str(extensions)],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return paths


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    paths = make_certificates(tmp_path_factory.mktemp("certificates"))
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--tls-cert-file", paths["server.pem"], "--tls-key-file", paths["server.key"],
         "--tls-ca-cert-file", paths["ca.pem"], "--tls-auth-clients", "no"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(port)
        yield Server(port, paths["ca.pem"])
    finally:
        process.terminate()
        process.wait()


class Emulator:
    """The emulator of Azure, and its admin endpoint."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.host, self.port, self.ca = facts["host"], facts["port"], facts["ca_file"]

    def admin(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.facts["admin"] + path, data=data, headers={"content-type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.loads(answer.read() or b"{}")  # type: ignore[no-any-return]

    def token(self, **overrides: Any) -> dict[str, Any]:
        """A fresh token, by the admin endpoint."""
        answer = self.admin("/token", overrides)
        leaks.recorder.tokens.add(answer["access_token"])
        return answer

    def remember_tokens(self) -> None:
        """Has the search for leaks know every token that was issued."""
        leaks.recorder.tokens.update(self.admin("/tokens"))

    def options(self) -> dict[str, Any]:
        return {"host": self.host, "port": self.port, "ssl_ca_certs": self.ca}


def emulator_binary() -> str:
    for candidate in emulator_candidates():
        if os.path.isfile(candidate):
            return candidate
    command = ["cargo", "build", "-q", "-p", "respass-emulator", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    for line in reversed(built.stdout.splitlines()):
        executable = json.loads(line).get("executable")
        if executable:
            return str(executable)
    raise RuntimeError("cargo named no executable")


@pytest.fixture(scope="session")
def emulator_path() -> str:
    return emulator_binary()


@contextlib.contextmanager
def run_emulator(
    path: str, token_ttl: int, environment: pytest.MonkeyPatch, profile: str = "amr-nocluster"
) -> Iterator[Emulator]:
    """An emulator that the identity libraries find through the environment."""
    process = subprocess.Popen(
        [path, "--profile", profile, "--token-ttl", str(token_ttl), "--port", "0",
         "--identity-port", "0", "--stdin-lifeline"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        environment.setenv("IDENTITY_ENDPOINT", facts["identity_endpoint"])
        environment.setenv("IDENTITY_HEADER", facts["identity_header"])
        environment.delenv("IDENTITY_SERVER_THUMBPRINT", raising=False)
        emulator = Emulator(facts)
        yield emulator
        emulator.remember_tokens()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def emulator(emulator_path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """One with tokens of five seconds."""
    with run_emulator(emulator_path, 5, monkeypatch) as emulator:
        yield emulator
