"""Logins with tokens, against the emulator of Azure: tokens live five seconds, and it cuts at their end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import respass
from conftest import Emulator

SECONDS = 12.0


def drive(r: respass.Redis, seconds: float = SECONDS) -> int:
    """Commands for so long; each must succeed."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        assert r.incr("n")
        count += 1
        time.sleep(0.01)
    return count


async def drive_async(r: respass.asyncio.Redis, seconds: float = SECONDS) -> None:
    async def one() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert await r.incr("n")
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one() for _ in range(10)))


def test_a_sync_client_outlives_its_tokens_with_azure_identity(emulator: Emulator) -> None:
    from azure.identity import ManagedIdentityCredential

    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        drive(r)
        status = r.auth_status()
        assert status["reauth_count"] >= 3 and status["oid"] == emulator.facts["oid"]
        assert status["expires_at"] > time.time() - 5 and status["is_ready"]
        assert "eyJ" not in repr(status)


def test_an_asyncio_client_outlives_its_tokens_with_a_sync_credential(emulator: Emulator) -> None:
    from azure.identity import ManagedIdentityCredential

    async def main() -> None:
        async with respass.asyncio.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
            await drive_async(r)
            assert r.auth_status()["reauth_count"] >= 3

    asyncio.run(main())


def test_an_asyncio_client_works_with_an_asynchronous_credential(emulator: Emulator) -> None:
    from azure.identity.aio import ManagedIdentityCredential

    async def main() -> None:
        async with (
            ManagedIdentityCredential() as credential,
            respass.asyncio.Redis(**emulator.options(), credential=credential) as r,
        ):
            # This credential asks for a new token only when the old one is dead, so connections are replaced.
            await drive_async(r)

    asyncio.run(main())


def test_callables_of_every_kind(emulator: Emulator) -> None:
    class Access:
        def __init__(self, answer: dict[str, Any]) -> None:
            self.token, self.expires_on = answer["access_token"], int(answer["expires_on"])

    def text() -> str:
        return str(emulator.token()["access_token"])

    def pair() -> tuple[str, float]:
        answer = emulator.token()
        return answer["access_token"], float(answer["expires_on"])

    def access() -> Access:
        return Access(emulator.token())

    for credential in (text, pair, access):
        with respass.Redis(**emulator.options(), credential=credential) as r:
            assert r.ping()

    async def later() -> str:
        return await asyncio.to_thread(text)

    async def main() -> None:
        async with respass.asyncio.Redis(**emulator.options(), credential=later) as r:
            await drive_async(r, 7)
            assert r.auth_status()["reauth_count"] >= 1

    asyncio.run(main())
    with pytest.raises(respass.ConfigurationError):
        respass.Redis(**emulator.options(), credential=later)


def test_a_callable_may_return_what_msal_returns(emulator: Emulator) -> None:
    failure = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."}
    failures = [failure]

    def credential() -> dict[str, Any]:
        if failures:
            return failures.pop()
        answer = emulator.token()
        return {"access_token": answer["access_token"], "expires_in": 5, "token_type": "Bearer"}

    with respass.Redis(**emulator.options(), credential=credential) as r:
        assert r.ping()
        assert r.auth_status()["expires_at"] < time.time() + 6
        drive(r, 6)
        assert r.auth_status()["reauth_count"] >= 1

    with (
        respass.Redis(**emulator.options(), credential=lambda: failure, socket_timeout=0.5) as r,
        pytest.raises(respass.TokenError, match="AADSTS7000215: Invalid client secret"),
    ):
        r.ping()


def test_an_idle_client_presents_new_tokens_by_itself(emulator: Emulator) -> None:
    def credential() -> str:
        return str(emulator.token()["access_token"])

    with respass.Redis(**emulator.options(), credential=credential) as r:
        r.ping()
        connection = r.execute_command("CLIENT ID")
        time.sleep(9)
        assert r.auth_status()["reauth_count"] >= 2
        assert r.execute_command("CLIENT ID") == connection


def test_without_a_thread_a_lapse_costs_time_and_no_command(emulator: Emulator) -> None:
    def credential() -> str:
        assert threading.current_thread() is threading.main_thread()
        return str(emulator.token()["access_token"])

    with respass.Redis(**emulator.options(), credential=credential, background=False) as r:
        r.ping()
        time.sleep(7)
        assert r.ping()
        drive(r, 6)


def test_clients_share_the_questions_to_one_credential(emulator: Emulator) -> None:
    asked = []

    def credential() -> str:
        asked.append(threading.current_thread().name)
        return str(emulator.token(ttl=60)["access_token"])

    clients = [respass.Redis(**emulator.options(), credential=credential) for _ in range(5)]
    for client in clients:
        client.ping()
    assert asked == ["respass-credential"]
    for client in clients:
        client.close()


def test_a_failing_credential_is_named_and_recovery_is_noticed(emulator: Emulator) -> None:
    works = threading.Event()

    def credential() -> str:
        if not works.is_set():
            raise RuntimeError("no identity here, but eyJhbGciOiJSUzI1NiJ9.e30.c2ln was said")
        return str(emulator.token()["access_token"])

    with respass.Redis(**emulator.options(), credential=credential, socket_timeout=0.5) as r:
        with pytest.raises(respass.TokenError) as caught:
            r.ping()
        assert "RuntimeError: no identity here" in str(caught.value) and "eyJ" not in str(caught.value)
        assert caught.value.stage == "acquire" and caught.value.outcome == "not_sent" and caught.value.hint
        assert "RuntimeError" in r.auth_status()["last_error"]
        works.set()
        deadline = time.monotonic() + 15
        while True:
            try:
                assert r.ping()
                break
            except respass.TokenError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_an_answer_that_is_no_token_fails_at_once(emulator: Emulator) -> None:
    with respass.Redis(**emulator.options(), credential=lambda: 7) as r:
        started = time.monotonic()
        with pytest.raises(respass.TokenError, match="returned a int"):
            r.ping()
        assert time.monotonic() - started < 2


def test_a_credential_that_blocks_does_not_stall_the_event_loop(emulator: Emulator) -> None:
    def credential() -> str:
        time.sleep(3.0)
        return str(emulator.token()["access_token"])

    async def main() -> None:
        async with respass.asyncio.Redis(**emulator.options(), credential=credential) as r:
            ping, longest, latest = asyncio.ensure_future(r.ping()), 0.0, time.monotonic()
            while not ping.done():
                await asyncio.sleep(0.01)
                longest, latest = max(longest, time.monotonic() - latest), time.monotonic()
            assert await ping and longest < 2

    asyncio.run(main())


def test_a_user_without_rights_gets_the_servers_words(emulator: Emulator) -> None:
    token = emulator.token(oid="00000000-0000-0000-0000-000000000099")["access_token"]
    with respass.Redis(**emulator.options(), credential=lambda: token, socket_timeout=1) as r:
        with pytest.raises(respass.AuthenticationError) as caught:
            r.ping()
        assert token[:20] not in str(caught.value)
