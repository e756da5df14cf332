"""The credentials of the programs. Each writes its tokens to a file that only the judge reads."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import azure.identity
import azure.identity.aio

_TOKENS = os.environ.get("SOAK_TOKENS", os.devnull)


def _note(token: str) -> None:
    with open(_TOKENS, "a") as file:
        file.write(token + "\n")


class Recorded(azure.identity.ManagedIdentityCredential):
    """azure-identity's credential over the App Service endpoint."""

    def get_token_info(self, *scopes: str, **options: Any) -> Any:
        token = super().get_token_info(*scopes, **options)
        _note(token.token)
        return token


class AsyncRecorded(azure.identity.aio.ManagedIdentityCredential):
    """The same for asyncio."""

    async def get_token_info(self, *scopes: str, **options: Any) -> Any:
        token = await super().get_token_info(*scopes, **options)
        _note(token.token)
        return token


def plain_callable() -> Callable[[], tuple[str, float]]:
    """A credential without a library: one HTTP question to the App Service endpoint."""
    query = {"api-version": "2019-08-01", "resource": "https://redis.azure.com"}
    request = urllib.request.Request(
        os.environ["IDENTITY_ENDPOINT"] + "?" + urllib.parse.urlencode(query),
        headers={"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> tuple[str, float]:
        with opener.open(request, timeout=10) as answer:
            found = json.load(answer)
        _note(found["access_token"])
        return found["access_token"], float(found["expires_on"])

    return ask
