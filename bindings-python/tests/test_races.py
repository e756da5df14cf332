"""Threads that come at the worst moment, held there on purpose, and servers that stop reading."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import respass
from azure.identity import ManagedIdentityCredential
from conftest import Emulator, Server
from hostile import HELLO, answering, hostile, obey
from respass._credentials import Supply
from respass._driver import Driver

#: Signals, many threads and deliberate delays: not beside other tests.
pytestmark = pytest.mark.alone


def deaf(sock: Any) -> None:
    """Accepts the login and reads nothing more."""
    sock.recv(65536)
    sock.sendall(HELLO + b"+OK\r\n+OK\r\n")
    time.sleep(30)


def test_a_late_writer_takes_nothing_that_belongs_to_a_newer_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It holds the socket of the connection before; what it took would be lost, and all replies shifted."""
    write = Driver._write
    is_held, may_go_on = threading.Event(), threading.Event()

    def held(self: Driver, sock: Any, conn: int) -> Any:
        match threading.current_thread().name:
            case "first" if not is_held.is_set():
                late.start()
                is_held.wait(5)
            case "late" if not is_held.is_set():
                is_held.set()
                may_go_on.wait(5)
            case "third" if not may_go_on.is_set():
                may_go_on.set()
                late_is_through.wait(0.5)
        written = write(self, sock, conn)
        if threading.current_thread().name == "late":
            late_is_through.set()
        return written

    late_is_through = threading.Event()
    monkeypatch.setattr(Driver, "_write", held)
    replies: dict[str, Any] = {}

    def ask(word: str) -> threading.Thread:
        def run() -> None:
            try:
                replies[word] = r.echo(word)
            except respass.RedisError as error:
                replies[word] = error

        return threading.Thread(target=run, name=word)

    dying = answering(b"ECHO", b"", then_close=True)
    with hostile(dying, obey) as port, respass.Redis(port=port, background=False) as r:
        r.ping()
        late = ask("late")
        # The first loses the connection, the second makes a new one, and the third has something to write to it
        # when the late one wakes with the socket of the old one in its hands.
        for word in ("first", "second", "third", "fourth", "fifth"):
            thread = ask(word)
            thread.start()
            thread.join(10)
        late.join(10)
    for word in ("first", "late"):  # these two may have been on the connection that was lost
        assert isinstance(replies[word], respass.ConnectionError) or replies[word] == word.encode()
    assert [replies[word] for word in ("second", "third", "fourth", "fifth")] == [
        b"second",
        b"third",
        b"fourth",
        b"fifth",
    ]


@pytest.mark.parametrize("background", [True, False])
def test_a_server_that_stops_reading_costs_the_timeout_and_no_more(background: bool) -> None:
    with (
        hostile(deaf) as port,
        respass.Redis(port=port, socket_timeout=1, background=background) as r,
    ):
        began = time.monotonic()
        with pytest.raises(respass.TimeoutError) as caught:
            r.set("large", b"x" * 30_000_000)
        assert caught.value.outcome == "indeterminate" and time.monotonic() - began < 5


def test_a_client_with_a_full_socket_keeps_no_other_from_its_token(emulator: Emulator) -> None:
    credential = ManagedIdentityCredential()
    with (
        hostile(deaf) as port,
        respass.Redis(port=port, socket_timeout=1) as stuck,
        respass.Redis(**emulator.options(), credential=credential) as idle,
    ):
        assert idle.ping()
        with pytest.raises(respass.TimeoutError):
            stuck.set("large", b"x" * 30_000_000)
        time.sleep(7)
        assert idle.auth_status()["reauth_count"] >= 1
    assert emulator.admin("/stats")["closed_at_expiry"] == 0


def test_a_token_that_comes_while_a_client_is_made_reaches_it(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe = Supply.subscribe

    def at_once(self: Supply, client: Any) -> Any:
        subscription = subscribe(self, client)
        token = self.source.request(0)
        if token is not None:
            client.on_token(token)
        return subscription

    credential = ManagedIdentityCredential()
    with respass.Redis(**emulator.options(), credential=credential) as first:
        assert first.ping()
        monkeypatch.setattr(Supply, "subscribe", at_once)
        with respass.Redis(**emulator.options(), credential=credential) as second:
            assert second.ping()


def test_clients_made_and_closed_by_many_threads_leave_the_timers_alive(
    emulator: Emulator, server: Server
) -> None:
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        assert r.ping()
        end = time.monotonic() + 7

        def churn() -> None:
            while time.monotonic() < end:
                with respass.Redis(port=server.port) as other:
                    assert other.ping()

        threads = [threading.Thread(target=churn) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert r.auth_status()["reauth_count"] >= 1
        assert any(thread.name == "respass-background" for thread in threading.enumerate())
