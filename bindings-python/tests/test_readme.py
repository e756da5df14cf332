"""The README's samples, run as they stand but for the address."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from conftest import REPOSITORY, Emulator, Server

SAMPLES = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)


def test_the_first_sample(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    import azure.identity

    # The machine has no other identity to find; the default chain would look for them all first.
    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", ManagedIdentityCredential)
    address = '"mycache.westeurope.redis.azure.net", 10000'
    assert address in SAMPLES[0]
    here = f'"{emulator.host}", {emulator.port}, ssl_ca_certs="{emulator.ca}"'
    names: dict[str, Any] = {}
    exec(SAMPLES[0].replace(address, here), names)
    assert names["r"].get("greeting") == b"hi" and names["hits"] == 1
    names["r"].close()


def test_the_second_sample(server: Server) -> None:
    names: dict[str, Any] = {}
    exec(SAMPLES[1].replace("6379", str(server.port)), names)
    assert asyncio.run(names["main"]()) == b"v"
