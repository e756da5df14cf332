"""Pipelines: commands are encoded as they are given, and leave together.

After `watch` they are sent one by one, over a connection that the pipeline has to itself, until `multi`; `execute`
then runs what was given since, unless a watched key was written to meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Self

from ._config import Options
from ._encoding import Encoding
from ._finished import Finished
from ._respass import OK, RAW, CommandBuffer, Session
from ._scripts import AsyncScript, BaseScript, Script
from ._typed import PipelineCommands
from .exceptions import ConnectionError, ForkError, RedisError, TimeoutError, WatchError


class _Held:
    """A session that somebody holds. It ends with its holder at the latest."""

    def __init__(self, session: Session, nudge: Callable[[], None]) -> None:
        self.session, self._nudge = session, nudge
        self._is_open = True

    def close(self) -> None:
        """Ends the session, and has the driver act on that."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self.session.close()
        except ForkError:  # the parent's
            return
        self._nudge()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # of a loop that is closed, or at the end of the process
            pass


class BasePipeline(PipelineCommands, CommandBuffer):
    """What both kinds of pipeline share. `_call` is the native buffer's and returns the pipeline."""

    _make_script: Callable[..., Any]

    def __init__(self, driver: Any, transaction: bool, options: Options) -> None:
        self._driver = driver
        self._transaction = transaction
        self._options = options
        #: Functions that finish values, by the position of the command.
        self._functions: dict[int, Callable[[Any], Any]] = {}
        #: Scripts that the server must have before the commands are sent.
        self.scripts: set[BaseScript] = set()
        #: Whether keys are watched.
        self.watching = False
        #: Whether `multi` was called.
        self.explicit_transaction = False
        self._held: _Held | None = None
        self._buffer()

    def _buffer(self) -> None:
        """From now on, commands are kept until `execute`."""
        self.__dict__.pop("_call", None)
        if not self._options.encodes_utf8:
            self._call = Encoding(super()._call, self._options)

    def _send(self) -> None:
        """From now on, commands are sent at once."""
        encodes = self._options.encodes_utf8
        self._call = self._immediate if encodes else Encoding(self._immediate, self._options)

    @property
    def _is_immediate(self) -> bool:
        return self.watching and not self.explicit_transaction

    def _immediate(self, shape: int, *arguments: Any) -> Any:
        raise NotImplementedError

    def _finished(self, value: Any, function: Callable[[Any], Any]) -> Any:
        raise NotImplementedError

    def _call_then(self, function: Callable[[Any], Any], shape: int, *arguments: Any) -> Any:
        value = self._call(shape, *arguments)
        if self._is_immediate:
            return self._finished(value, function)
        self._functions[self._count() - 1] = function
        return self

    def __len__(self) -> int:
        return self._count()

    def __bool__(self) -> bool:
        return True

    def multi(self) -> None:
        """Has commands collected again, after `watch`, for `execute`."""
        if self.explicit_transaction:
            raise RedisError("Cannot issue nested calls to MULTI")
        if self._count():
            raise RedisError("Commands without an initial WATCH have already been issued")
        self.explicit_transaction = True
        self._buffer()

    def register_script(self, script: str | bytes) -> Any:
        """A callable that runs the script with this pipeline."""
        return self._make_script(self, script)

    def _begin(self) -> None:
        """A session to watch keys in."""
        if self.explicit_transaction:
            raise RedisError("Cannot issue a WATCH after a MULTI")
        if self._held is None:
            self._held = self._new_session()

    def _new_session(self) -> _Held:
        raise NotImplementedError

    @property
    def _session(self) -> Session | None:
        held = self._held
        return None if held is None else held.session

    def _set_watching(self) -> None:
        self.watching = True
        self._send()

    def _set_unwatched(self) -> None:
        self.watching = False
        self._buffer()

    def _end(self) -> None:
        """Drops the commands, and the connection."""
        self._drop()
        self.watching = self.explicit_transaction = False
        self._buffer()
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _drop(self) -> None:
        self._clear()
        self._functions.clear()
        self.scripts.clear()

    @staticmethod
    def _single(results: list[Any]) -> Any:
        [result] = results
        if isinstance(result, Exception):
            raise result
        return result

    def _raised(self, error: RedisError) -> RedisError:
        """The error of a command that was sent at once. Where the connection is lost, watched keys may be written to
        unseen: that ends the session."""
        if self.watching and isinstance(error, ConnectionError | TimeoutError):
            text = f"A {type(error).__name__} occurred while watching one or more keys: {error}"
            lost = WatchError(text)
            lost.outcome, lost.code = error.outcome, error.code
            error = lost
        if isinstance(error, WatchError):
            self._end()
        return error

    def _prepare(self) -> bool:
        """Whether there is anything to be sent, and how: a transaction that is empty still tells of watched keys."""
        if self._count():
            return False
        CommandBuffer._call(self, RAW, "PING")
        return True

    @property
    def _is_transaction(self) -> bool:
        return self._transaction or self.explicit_transaction

    def _finish(self, results: list[Any] | None, raise_on_error: bool) -> list[Any]:
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

    def _annotated(self, index: int, error: Exception) -> Exception:
        if isinstance(error, RedisError) and error.args:
            text = (
                f"Command # {index + 1} ({self._describe(index)}) of pipeline caused error: {error.args[0]}"
            )
            error.args = (text, *error.args[1:])
        return error

    def _another(self) -> Self:
        return type(self)(self._driver, False, self._options)

    def _digests(self) -> Self:
        """Asks for the scripts that the server has."""
        return self._another().script_exists(*(script.sha for script in self.scripts))

    def _missing(self, answers: list[Any]) -> Self:
        """Loads the scripts that the server has not."""
        loading = self._another()
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

    def _new_session(self) -> _Held:
        return _Held(Session(self._driver.native_core()), self._driver.attend)

    def _finished(self, value: Any, function: Callable[[Any], Any]) -> Any:
        return function(value)

    def _immediate(self, shape: int, *arguments: Any) -> Any:
        buffer = CommandBuffer()
        buffer._call(shape, *arguments)
        try:
            return self._single(self._driver.execute_all(buffer, False, self._session))
        except RedisError as error:
            raise self._raised(error) from error.__cause__

    def watch(self, *names: Any) -> bool:
        """From now until `execute` or `reset`, sees whether these keys are written to. Commands are sent at once,
        until `multi`."""
        self._begin()
        done: bool = self._immediate(OK, "WATCH", *names)
        self._set_watching()
        return done

    def unwatch(self) -> bool:
        """Watches no key any more."""
        if not self.watching:
            return True
        done: bool = self._immediate(OK, "UNWATCH")
        self._set_unwatched()
        return done

    def reset(self) -> None:
        """Drops the commands, and watches no key any more."""
        self._end()

    close = reset

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends the commands; their replies in order."""
        if not self._count() and not self.watching:
            return []
        try:
            if self.scripts:
                self._missing(self._digests().execute()).execute()
            is_empty = self._prepare()
            try:
                results = self._driver.execute_all(self, self._is_transaction, self._session)
            except RedisError as error:
                raise self._raised(error) from error.__cause__
            results = self._finish(results, raise_on_error)
            return [] if is_empty else results
        finally:
            self._end()


class AsyncPipeline(BasePipeline):
    """The same for asyncio."""

    _make_script = AsyncScript

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.reset()

    def _new_session(self) -> _Held:
        driver = self._loop_driver = self._driver.current()

        def nudge() -> None:
            if not driver.loop.is_closed():
                driver.loop.call_soon_threadsafe(driver.port.flush)

        return _Held(Session(driver.core), nudge)

    def _finished(self, value: Any, function: Callable[[Any], Any]) -> Any:
        return Finished(value, function)

    def _immediate(self, shape: int, *arguments: Any) -> Any:
        buffer = CommandBuffer()
        buffer._call(shape, *arguments)
        return self._sent(self._loop_driver.port.call_all(buffer, False, self._session))

    async def _sent(self, future: Any) -> Any:
        try:
            return self._single(await future)
        except RedisError as error:
            raise self._raised(error) from error.__cause__

    async def watch(self, *names: Any) -> bool:
        """From now until `execute` or `reset`, sees whether these keys are written to. Commands are sent at once,
        until `multi`, and are awaited."""
        self._begin()
        done: bool = await self._immediate(OK, "WATCH", *names)
        self._set_watching()
        return done

    async def unwatch(self) -> bool:
        """Watches no key any more."""
        if not self.watching:
            return True
        done: bool = await self._immediate(OK, "UNWATCH")
        self._set_unwatched()
        return done

    async def reset(self) -> None:
        """Drops the commands, and watches no key any more."""
        self._end()

    aclose = reset

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends the commands; their replies in order."""
        if not self._count() and not self.watching:
            return []
        try:
            if self.scripts:
                await self._missing(await self._digests().execute()).execute()
            is_empty = self._prepare()
            try:
                results = await self._driver.execute_all(self, self._is_transaction, self._session)
            except RedisError as error:
                raise self._raised(error) from error.__cause__
            results = self._finish(results, raise_on_error)
            return [] if is_empty else results
        finally:
            self._end()
