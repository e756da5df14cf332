"""Pipelines: commands are encoded as they are given, and leave together."""

from __future__ import annotations

from typing import Any

from ._commands import Commands
from ._respass import CommandBuffer
from .exceptions import RedisError


class BasePipeline(Commands, CommandBuffer):
    """What both kinds of pipeline share. `_call` is the native buffer's and returns the pipeline."""

    def __init__(self, driver: Any, transaction: bool) -> None:
        self._driver = driver
        self._transaction = transaction

    def __len__(self) -> int:
        return self._count()

    def __bool__(self) -> bool:
        return True

    def multi(self) -> None:
        """A transaction begins by itself; for code that says so."""

    def unwatch(self) -> bool:
        """Nothing is watched."""
        return True

    def _finish(self, results: list[Any], raise_on_error: bool) -> list[Any]:
        if raise_on_error:
            for index, result in enumerate(results):
                if isinstance(result, Exception):
                    raise self._annotated(index, result)
        self._clear()
        return results

    def _annotated(self, index: int, error: Exception) -> Exception:
        if isinstance(error, RedisError) and error.args:
            text = (
                f"Command # {index + 1} ({self._describe(index)}) of pipeline caused error: {error.args[0]}"
            )
            error.args = (text, *error.args[1:])
        self._clear()
        return error


class Pipeline(BasePipeline):
    """Commands that leave together, as a transaction unless told otherwise."""

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.reset()

    def reset(self) -> None:
        """Drops the commands."""
        self._clear()

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends the commands; their replies in order."""
        if not self._count():
            return []
        return self._finish(self._driver.execute_all(self, self._transaction), raise_on_error)


class AsyncPipeline(BasePipeline):
    """The same for asyncio."""

    async def __aenter__(self) -> AsyncPipeline:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.reset()

    async def reset(self) -> None:
        """Drops the commands."""
        self._clear()

    def __await__(self) -> Any:
        yield from ()
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends the commands; their replies in order."""
        if not self._count():
            return []
        return self._finish(await self._driver.execute_all(self, self._transaction), raise_on_error)
