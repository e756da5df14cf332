"""Runs last (see conftest): nothing that was said in the whole run holds a part of a token."""

from __future__ import annotations

import base64
import json

import pytest
import respass
from conftest import Emulator
from leaks import leaks, recorder, windows


def test_a_part_of_a_token_would_be_found() -> None:
    parts = set(windows("eyJhbGciOi.abcdefghijklmnop.signature"))
    assert leaks("ERR unknown command, args: 'efghijkl'", parts)
    assert not leaks("ERR unknown command, args: 'efghijk'", parts)


def test_nothing_said_in_the_whole_run_holds_part_of_a_token(emulator: Emulator) -> None:
    # A refusal of this very test: the search is never without something to look through.
    answer = emulator.token(aud="https://management.azure.com")
    token = answer["access_token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == "https://management.azure.com"
    with respass.Redis(**emulator.options(), credential=lambda: token) as r:
        with pytest.raises(respass.TokenError, match="management"):
            r.ping()
        assert r.auth_status()["last_error"]
    assert token in recorder.tokens
    assert any("WRONGPASS" in text for text in recorder.said)
    assert recorder.found() == []
