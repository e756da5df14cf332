"""Faults of the emulator that a program must not notice, or must be told of by name."""

from __future__ import annotations

import asyncio
import time

import pytest
import respass
from azure.identity import ManagedIdentityCredential
from conftest import Emulator, run_emulator
from test_credentials import drive


def test_slow_validation_of_tokens_fails_no_command(
    emulator_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service may take ten seconds to validate a token: logins and re-authentications of nine seconds, tokens of
    two minutes, default timeouts."""

    async def one(r: respass.asyncio.Redis, index: int, end: float) -> None:
        value = 0
        while time.monotonic() < end or r.auth_status()["reauth_count"] < 1:
            value += 1
            await r.set(f"slow:{index}", value)
            assert await r.get(f"slow:{index}") == b"%d" % value
            await asyncio.sleep(0.05)

    async def main(emulator: Emulator) -> None:
        async with respass.asyncio.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
            began = time.monotonic()
            await asyncio.gather(*(one(r, index, began + 60) for index in range(5)))
            assert time.monotonic() - began < 120
            assert emulator.admin("/stats")["closed_at_expiry"] == 0

    with run_emulator(emulator_path, 120, monkeypatch) as emulator:
        emulator.admin("/fault", {"kind": "auth-delay", "seconds": 9})
        asyncio.run(main(emulator))


def test_all_connections_closed_at_once_costs_one_reconnect(emulator: Emulator) -> None:
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        r.set("k", "v")
        for _ in range(3):
            emulator.admin("/fault", {"kind": "close-all"})
            time.sleep(1.2)
            assert r.get("k") == b"v"


def test_refused_re_authentications_leave_the_old_login_working(emulator: Emulator) -> None:
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        r.set("k", "v")
        emulator.admin("/fault", {"kind": "auth-fail", "count": 1})
        drive(r, 8)
        stats = emulator.admin("/stats")
        assert stats["auth_refused"] == 1 and stats["closed_at_expiry"] == 0


def test_an_identity_endpoint_that_fails_for_a_while_costs_no_command(emulator: Emulator) -> None:
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        r.set("k", "v")
        emulator.admin("/fault", {"kind": "identity-status", "status": 500, "count": 2})
        drive(r, 8)
        assert emulator.admin("/stats")["closed_at_expiry"] == 0


def test_a_slow_identity_endpoint_costs_no_command(emulator: Emulator) -> None:
    emulator.admin("/fault", {"kind": "identity-delay", "seconds": 0.8})
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        drive(r, 8)
        assert emulator.admin("/stats")["closed_at_expiry"] == 0


def test_the_token_went_to_the_configured_name_only(emulator: Emulator) -> None:
    with respass.Redis(**emulator.options(), credential=ManagedIdentityCredential()) as r:
        r.ping()
        assert emulator.admin("/stats")["token_hosts"] == ["localhost"]
    with respass.Redis(
        host="127.0.0.1", port=emulator.port, ssl_ca_certs=emulator.ca, credential=ManagedIdentityCredential(),
        socket_timeout=1,
    ) as r:  # fmt: skip
        before = emulator.admin("/stats")["auth_total"]
        with pytest.raises(respass.ConnectionError, match="certificate"):
            r.ping()
        assert emulator.admin("/stats")["auth_total"] == before
