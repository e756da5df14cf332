"""Pipelines: commands are encoded as they are given, and leave together."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Self

from ._respass import CommandBuffer
from ._scripts import AsyncScript, BaseScript, Script
from ._typed import PipelineCommands
from .exceptions import RedisError, WatchError


class BasePipeline(PipelineCommands, CommandBuffer):
    """What both kinds of pipeline share. `_call` is the native buffer's and returns the pipeline."""

    _make_script: Callable[..., Any]

    def __init__(self, driver: Any, transaction: bool) -> None:
        self._driver = driver
        self._transaction = transaction
        #: Functions that finish values, by the position of the command.
        self._functions: dict[int, Callable[[Any], Any]] = {}
        #: Scripts that the server must have before the commands are sent.
        self.scripts: set[BaseScript] = set()

    def _call_then(self, function: Callable[[Any], Any], shape: int, *arguments: Any) -> Self:
        self._call(shape, *arguments)
        self._functions[self._count() - 1] = function
        return self

    def __len__(self) -> int:
        return self._count()

    def __bool__(self) -> bool:
        return True

    def multi(self) -> None:
        """A transaction begins by itself; for code that says so."""

    def unwatch(self) -> bool:
        """Nothing is watched."""
        return True

    def register_script(self, script: str | bytes) -> Any:
        """A callable that runs the script with this pipeline."""
        return self._make_script(self, script)

    def _drop(self) -> None:
        self._clear()
        self._functions.clear()
        self.scripts.clear()

    def _finish(self, results: list[Any] | None, raise_on_error: bool) -> list[Any]:
        try:
            if results is None:
                raise WatchError("a watched key changed: the transaction did not run")
            for index, function in self._functions.items():
                if not isinstance(results[index], Exception):
                    results[index] = function(results[index])
            if raise_on_error:
                for index, result in enumerate(results):
                    if isinstance(result, Exception):
                        raise self._annotated(index, result)
            return results
        finally:
            self._drop()

    def _annotated(self, index: int, error: Exception) -> Exception:
        if isinstance(error, RedisError) and error.args:
            text = (
                f"Command # {index + 1} ({self._describe(index)}) of pipeline caused error: {error.args[0]}"
            )
            error.args = (text, *error.args[1:])
        return error

    def _digests(self) -> Self:
        """Asks for the scripts that the server has."""
        return type(self)(self._driver, False).script_exists(*(script.sha for script in self.scripts))

    def _missing(self, answers: list[Any]) -> Self:
        """Loads the scripts that the server has not."""
        loading = type(self)(self._driver, False)
        for script, is_there in zip(self.scripts, answers[0], strict=True):
            if not is_there:
                loading.script_load(script.script)
        return loading


class Pipeline(BasePipeline):
    """Commands that leave together, as a transaction unless told otherwise."""

    _make_script = Script

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.reset()

    def reset(self) -> None:
        """Drops the commands."""
        self._drop()

    close = reset

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends the commands; their replies in order."""
        if not self._count():
            return []
        if self.scripts:
            self._missing(self._digests().execute()).execute()
        try:
            results = self._driver.execute_all(self, self._transaction)
        except BaseException:
            self._drop()
            raise
        return self._finish(results, raise_on_error)


class AsyncPipeline(BasePipeline):
    """The same for asyncio."""

    _make_script = AsyncScript

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.reset()

    async def reset(self) -> None:
        """Drops the commands."""
        self._drop()

    aclose = reset

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends the commands; their replies in order."""
        if not self._count():
            return []
        if self.scripts:
            await self._missing(await self._digests().execute()).execute()
        try:
            results = await self._driver.execute_all(self, self._transaction)
        except BaseException:
            self._drop()
            raise
        return self._finish(results, raise_on_error)
