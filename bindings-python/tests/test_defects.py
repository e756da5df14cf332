"""What goes wrong in clients whose tokens are an afterthought: one test for each known defect, named after it.

Tokens of the emulator live five seconds here, and it closes each connection at its token's end.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import respass
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential
from conftest import Emulator, run_emulator
from hostile import free_of_output
from test_credentials import drive


def fetch(emulator: Emulator) -> tuple[str, int]:
    answer = emulator.token()
    return answer["access_token"], int(answer["expires_on"])


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


class Outages:
    """A credential that fails at the calls that are named, counted from 1."""

    def __init__(self, emulator: Emulator, *failing: int, error: type[Exception] = OSError) -> None:
        self.emulator, self.failing, self.error, self.calls = emulator, failing, error, 0

    def __call__(self) -> tuple[str, int]:
        self.calls += 1
        if self.calls in self.failing:
            raise self.error("the identity service is away")
        return fetch(self.emulator)


def test_however_a_client_is_made_its_live_connections_are_re_authenticated(emulator: Emulator) -> None:
    """By its constructor or from a URL, sync or asyncio, with a credential of its own or a shared one."""
    options, credential = emulator.options(), ManagedIdentityCredential()
    url = f"rediss://{emulator.host}:{emulator.port}"
    trust = {"ssl_ca_certs": emulator.ca}
    clients = [
        respass.Redis(**options, credential=credential),
        respass.Redis.from_url(url, credential=credential, **trust),
        respass.from_url(url, credential=ManagedIdentityCredential(), **trust),
        respass.Redis(**options, credential=credential, background=False),
    ]
    threads = [threading.Thread(target=drive, args=(client, 9)) for client in clients]

    async def drive_asyncio() -> None:
        async with (
            respass.asyncio.Redis(**options, credential=credential) as first,
            respass.asyncio.Redis.from_url(url, credential=credential, **trust) as second,
        ):
            end = time.monotonic() + 9
            while time.monotonic() < end:
                assert await first.incr("a") and await second.incr("b")
                await asyncio.sleep(0.01)
            for one in (first, second):
                assert one.auth_status()["reauth_count"] >= 2

    for thread in threads:
        thread.start()
    asyncio.run(drive_asyncio())
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        assert client.auth_status()["reauth_count"] >= 2, client
        client.close()
    assert emulator.admin("/stats")["closed_at_expiry"] == 0


@pytest.mark.parametrize(
    "error", [OSError, ClientAuthenticationError, KeyError], ids=lambda error: error.__name__
)
def test_renewal_survives_a_failing_source(emulator: Emulator, error: type[Exception]) -> None:
    """Whatever it raises: here at the first two renewals."""
    credential = Outages(emulator, 2, 3, error=error)
    with respass.Redis(**emulator.options(), credential=credential) as r:
        drive(r, 9)
        until(lambda: bool(r.ping()) and credential.calls >= 4 and r.auth_status()["last_error"] is None)


def test_the_event_loop_never_stalls_for_a_token(emulator: Emulator) -> None:
    class Slow(Outages):
        def __call__(self) -> tuple[str, int]:
            time.sleep(2)
            return super().__call__()

    credential = Slow(emulator)

    async def main() -> float:
        stall = 0.0
        async with respass.asyncio.Redis(**emulator.options(), credential=credential) as r:
            first = asyncio.ensure_future(r.ping())
            end, before = time.monotonic() + 7, time.monotonic()
            while time.monotonic() < end:
                await asyncio.sleep(0.005)
                stall, before = max(stall, time.monotonic() - before), time.monotonic()
            assert await first and await r.ping()
        return stall

    assert asyncio.run(main()) < 1.5
    assert credential.calls >= 2


def test_the_sync_client_works_inside_a_running_event_loop(emulator: Emulator) -> None:
    async def main() -> None:
        with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
            assert r.set("k", "v") and r.get("k") == b"v"

    asyncio.run(asyncio.wait_for(main(), 10))


def test_two_clients_on_one_credential_are_both_renewed_and_share_its_tokens(emulator: Emulator) -> None:
    credential = Outages(emulator)
    with (
        respass.Redis(**emulator.options(), credential=credential) as first,
        respass.Redis(**emulator.options(), credential=credential) as second,
    ):
        end = time.monotonic() + 8
        while time.monotonic() < end:
            assert first.incr("n") and second.incr("n")
            time.sleep(0.01)
        counts = [client.auth_status()["reauth_count"] for client in (first, second)]
        assert min(counts) >= 2
        # Each token serves both: far fewer questions than logins.
        assert credential.calls <= max(counts) + 2


def test_a_token_request_that_hangs_disturbs_no_live_connection(
    emulator_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with the wait for it: another question takes its place."""
    release = threading.Event()
    with run_emulator(emulator_path, 20, monkeypatch) as emulator:

        class Hangs(Outages):
            def __call__(self) -> tuple[str, int]:
                answer = super().__call__()
                if self.calls == 2:
                    release.wait(60)
                return answer

        with respass.Redis(**emulator.options(), credential=Hangs(emulator)) as r:
            began = time.monotonic()
            drive(r, 14)
            until(lambda: r.auth_status()["state"] in ("renewing", "late"))
            assert r.ping() and time.monotonic() - began < 19
            release.set()
            until(lambda: r.auth_status()["reauth_count"] == 1, 5)
            drive(r, 1)


def test_every_waiter_settles_when_the_first_token_fails(emulator: Emulator) -> None:
    """Two connections start at once, and the first answer of their credential is an error."""

    async def main() -> None:
        credential = Outages(emulator, 1)
        async with (
            respass.asyncio.Redis(**emulator.options(), credential=credential) as first,
            respass.asyncio.Redis(**emulator.options(), credential=credential) as second,
        ):
            assert await asyncio.wait_for(asyncio.gather(first.ping(), second.ping()), 10) == [True, True]

        def broken() -> str:
            raise ClientAuthenticationError("no identity here")

        async with (
            respass.asyncio.Redis(**emulator.options(), credential=broken, socket_timeout=1) as first,
            respass.asyncio.Redis(**emulator.options(), credential=broken, socket_timeout=1) as second,
        ):
            both = asyncio.gather(first.ping(), second.ping(), return_exceptions=True)
            for error in await asyncio.wait_for(both, 20):
                assert isinstance(error, respass.TokenError) and "no identity here" in str(error)

    asyncio.run(main())


def test_reconnects_add_no_listener_and_one_renewal_is_one_auth(emulator: Emulator) -> None:
    with respass.Redis(**emulator.options(), credential=Outages(emulator)) as r:
        for _ in range(5):
            assert r.ping()
            emulator.admin("/fault", {"kind": "close-all"})
            until(lambda: not emulator.admin("/stats")["connections"])
            time.sleep(1.1)  # the client looks before it writes after a second of silence
        assert r.ping()
        before = emulator.admin("/stats")
        count = r.auth_status()["reauth_count"]
        until(lambda: r.auth_status()["reauth_count"] >= count + 2)
        after = emulator.admin("/stats")
        renewals = r.auth_status()["reauth_count"] - count
        assert after["connections_accepted"] == before["connections_accepted"]
        assert after["auth_total"] - before["auth_total"] <= renewals + 1


def test_no_auth_lands_inside_a_transaction(emulator: Emulator) -> None:
    """It would be queued: one more element in EXEC's reply, and no login."""
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        threads = [threading.Thread(target=drive, args=(r, 9)) for _ in range(3)]
        for thread in threads:
            thread.start()
        end, expected = time.monotonic() + 9, 0
        while time.monotonic() < end:
            with r.pipeline() as p:
                for _ in range(20):
                    p.incr("t").get("t")
                results = p.execute()
            assert len(results) == 40
            for index in range(0, 40, 2):
                expected += 1
                assert results[index] == expected and results[index + 1] == b"%d" % expected
        for thread in threads:
            thread.join()
        assert r.auth_status()["reauth_count"] >= 2
    assert emulator.admin("/stats")["auth_refused"] == 0


def test_the_same_token_is_not_sent_twice(emulator: Emulator) -> None:
    """A caching credential gives the same token at every question until shortly before its end."""
    held: dict[str, Any] = {}

    def cached() -> tuple[str, int]:
        if not held or held["expires_on"] - time.time() < 1.5:
            held.update(emulator.token(ttl=8))
            held["expires_on"] = int(held["expires_on"])
            held["count"] = held.get("count", 0) + 1
        held["questions"] = held.get("questions", 0) + 1
        return held["access_token"], held["expires_on"]

    with respass.Redis(**emulator.options(), credential=cached) as r:
        drive(r, 14)
    stats = emulator.admin("/stats")
    assert held["questions"] > held["count"], "the cache was never met"
    assert stats["auth_total"] == held["count"] and stats["closed_at_expiry"] == 0


def test_the_user_name_goes_with_every_token(emulator: Emulator) -> None:
    """A bare AUTH <token> would log in as the default user, which is off."""
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        drive(r, 7)
        assert r.execute_command("ACL", "WHOAMI") == emulator.facts["oid"].encode()
    stats = emulator.admin("/stats")
    assert stats["reauth_total"] >= 1 and stats["auth_refused"] == 0
    assert set(stats["commands"]) == {emulator.facts["oid"]}


def test_nothing_is_printed_by_itself(emulator: Emulator) -> None:
    """Failing credentials, lost connections, refused logins: all of it goes to the logger, none to the console."""
    program = f"""
import respass, time
options = dict(host={emulator.host!r}, port={emulator.port}, ssl_ca_certs={emulator.ca!r}, socket_timeout=0.5)
def broken(): raise OSError("away")
for credential in (broken, lambda: "opaque", lambda: ""):
    with respass.Redis(**options, credential=credential) as r:
        try:
            r.ping()
        except respass.RedisError:
            pass
with respass.Redis(port=1, socket_timeout=0.2) as r:
    try:
        r.ping()
    except respass.RedisError:
        pass
"""
    assert free_of_output([sys.executable, "-c", program])


def test_a_certificate_for_another_name_ends_the_connection_before_the_token_leaves(
    emulator: Emulator,
) -> None:
    options = {**emulator.options(), "host": "127.0.0.1", "socket_timeout": 0.5}
    with (
        respass.Redis(**options, credential=lambda: fetch(emulator)) as r,
        pytest.raises(respass.ConnectionError, match="not valid for name"),
    ):
        r.ping()
    stats = emulator.admin("/stats")
    assert stats["auth_total"] == 0 and stats["token_hosts"] == []


def test_a_connection_outlives_any_number_of_tokens(emulator: Emulator) -> None:
    """And stays the same connection: nothing is reconnected for a renewal."""
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        first = r.execute_command("CLIENT", "ID")
        until(lambda: bool(r.ping()) and r.auth_status()["reauth_count"] >= 4, 30)
        assert r.execute_command("CLIENT", "ID") == first
