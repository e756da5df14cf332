"""The search for tokens in what was said; after the last test it goes over the whole run (see conftest)."""

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


def test_a_refusal_is_recorded_and_holds_no_part_of_its_token(emulator: Emulator) -> None:
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
