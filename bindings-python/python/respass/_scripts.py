"""Lua scripts that the server keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from .exceptions import NoScriptError


class BaseScript:
    """A script, its digest, and the client that registered it."""

    def __init__(self, registered_client: Any, script: str | bytes) -> None:
        self.registered_client = registered_client
        self.script = script
        text = script.encode() if isinstance(script, str) else script
        #: By this digest the server knows it.
        self.sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()

    def _arguments(self, keys: Iterable[Any] | None, args: Iterable[Any] | None) -> tuple[Any, ...]:
        names = tuple(keys or ())
        return (len(names), *names, *(args or ()))

    def _joins(self, client: Any) -> bool:
        """Whether the client is a pipeline, which then loads the script before it sends its commands."""
        scripts: set[Any] | None = getattr(client, "scripts", None)
        if scripts is None:
            return False
        scripts.add(self)
        return True


class Script(BaseScript):
    """Called with `keys` and `args`, it runs; on a pipeline, it runs with the pipeline."""

    def __call__(
        self, keys: Iterable[Any] | None = None, args: Iterable[Any] | None = None, client: Any = None
    ) -> Any:
        client = self.registered_client if client is None else client
        arguments = self._arguments(keys, args)
        if self._joins(client):
            return client.evalsha(self.sha, *arguments)
        try:
            return client.evalsha(self.sha, *arguments)
        except NoScriptError:
            # Refused, so it did not run; this runs it and has the server keep it.
            return client.eval(self.script, *arguments)


class AsyncScript(BaseScript):
    """The same for asyncio."""

    async def __call__(
        self, keys: Iterable[Any] | None = None, args: Iterable[Any] | None = None, client: Any = None
    ) -> Any:
        client = self.registered_client if client is None else client
        arguments = self._arguments(keys, args)
        if self._joins(client):
            return client.evalsha(self.sha, *arguments)
        try:
            return await client.evalsha(self.sha, *arguments)
        except NoScriptError:
            return await client.eval(self.script, *arguments)
