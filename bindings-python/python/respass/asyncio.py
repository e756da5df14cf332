"""The asyncio client: `respass.asyncio.Redis`.

A command method returns a future. Commands given within one turn of the event loop leave in one write.
"""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from ._client import BaseRedis, ClientOptions, UrlOptions, _Encoding
from ._config import Options
from ._credentials import Supply, is_async, task_supply, thread_supply
from ._iterators import AsyncIterators
from ._lock import AsyncLock as Lock
from ._logging import log_notices, report
from ._pipeline import AsyncPipeline as Pipeline
from ._respass import CommandBuffer, Core, Failure, Link, LoopPort, Token
from ._scripts import AsyncScript
from ._socket import keep_alive, reason
from ._typed import AsyncCommands, T
from .exceptions import EventLoopError

__all__ = ["Lock", "Pipeline", "Redis"]

#: One read.
BUFFER_LEN = 256 * 1024


class _Protocol(asyncio.BufferedProtocol):
    """One connection. The native `Link` is its read buffer."""

    def __init__(self, driver: _LoopDriver, conn: int) -> None:
        self.driver, self.conn = driver, conn
        self.ended: asyncio.Future[None] = driver.loop.create_future()
        self.transport: Any = None
        link = Link(driver.port, conn, driver.buffer)
        self.get_buffer = link.get_buffer  # type: ignore[method-assign, assignment]
        self.buffer_updated = link.buffer_updated  # type: ignore[method-assign, assignment]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            keep_alive(sock)
        self.driver.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self.driver.lost(self, error)

    def pause_writing(self) -> None:
        self.driver.port.pause()

    def resume_writing(self) -> None:
        self.driver.port.resume()


class _LoopDriver:
    """Drives a core on one event loop."""

    def __init__(
        self, core: Core, options: Options, credential: Any, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.core, self.loop = core, loop
        self.on_notice = options.on_notice
        self.buffer = bytearray(BUFFER_LEN)
        self.protocol: _Protocol | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        # `loop.create_future` of the standard loops does nothing else, at twice the price.
        if type(loop).create_future is asyncio.BaseEventLoop.create_future:
            make: Any = asyncio.Future
            make_options: dict[str, Any] | None = {"loop": loop}
        else:
            make, make_options = loop.create_future, None
        self.port = LoopPort(core, loop, weakref.ref(self), make, make_options)
        self.supply: Supply | None = None
        if credential is not None:
            asynchronous = is_async(credential)
            self.supply = task_supply(credential, loop) if asynchronous else thread_supply(credential)
            self._unsubscribe = self.supply.subscribe(self)

    # From the native port

    def attend(self, has_actions: bool, delay: float | None) -> None:
        """The core wants something done, or a timer set."""
        if has_actions:
            notices = log_notices(self.core)
            if notices and self.on_notice is not None:
                self.loop.call_soon(report, notices, self.on_notice)
            actions = self.core.actions()
            for kind, *rest in actions:
                self._act(kind, *rest)
            if actions:
                self.loop.call_soon(self.port.flush)
        if delay is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_later(delay, _timeout, weakref.ref(self))

    def _act(self, kind: str, *rest: Any) -> None:
        if kind == "connect":
            task = self.loop.create_task(self._connect(*rest))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        elif kind == "disconnect":
            self._disconnect(*rest)
        elif kind == "token" and self.supply is not None:
            self.supply.request(self, *rest)

    def timeout(self) -> None:
        """The timer fired."""
        self._timer = None
        self.core.timeout()
        self.port.flush()

    # The connection

    async def _connect(self, conn: int, host: str, port: int) -> None:
        try:
            await self.loop.create_connection(lambda: _Protocol(self, conn), host, port)
        except OSError as error:
            self.core.disconnected(conn, "failed", f"{host}:{port}: {reason(error)}")
        except BaseException:
            self.core.disconnected(conn, "failed", "interrupted")
            raise
        self.port.flush()

    def connected(self, protocol: _Protocol) -> None:
        former, self.protocol = self.protocol, protocol
        if former is not None:
            former.transport.abort()
        self.port.attach(protocol.transport.write)
        # What was given up while there was no connection is not sent.
        self.port.forget_cancelled()
        self.core.connected(protocol.conn)

    def lost(self, protocol: _Protocol, error: Exception | None) -> None:
        if self.protocol is protocol:
            self.protocol = None
            self.port.detach()
        self.core.disconnected(protocol.conn, "closed" if error is None else "broken", str(error or ""))
        if not self.loop.is_closed():
            self.port.flush()

    def _disconnect(self, conn: int, last_bytes: bytes) -> None:
        protocol = self.protocol
        if protocol is None or protocol.conn != conn:
            return
        self.protocol = None
        self.port.detach()
        if last_bytes:
            protocol.transport.write(last_bytes)
        if protocol.transport.get_write_buffer_size():
            protocol.transport.abort()  # a peer that takes no bytes is not waited for
        else:
            protocol.transport.close()

    # Tokens; may be called from another thread

    def on_token(self, token: Token) -> None:
        """The supply has a token."""
        self._soon(self.core.token, token)

    def on_failure(self, failure: Failure) -> None:
        """The supply got none."""
        self._soon(self.core.token_failed, failure)

    def _soon(self, tell: Any, what: Any) -> None:
        def act() -> None:
            tell(what)
            self.port.flush()

        try:
            self.loop.call_soon_threadsafe(act)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    def execute_all(self, buffer: CommandBuffer, is_transaction: bool) -> Any:
        """A future of a pipeline's replies."""
        return self.port.call_all(buffer, is_transaction)

    async def close(self) -> None:
        """Ends everything and waits for the socket to be closed."""
        protocol = self.protocol
        self.core.close()
        if self.supply is not None:
            self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._connecting):
            task.cancel()
        self.port.flush()
        if protocol is not None:
            await protocol.ended


def _timeout(reference: weakref.ref[_LoopDriver]) -> None:
    driver = reference()
    if driver is not None:
        driver.timeout()


class _Finished:
    """An awaitable whose value a function finishes. The command runs whether it is awaited or not."""

    __slots__ = ("_function", "_future")

    def __init__(self, future: Any, function: Callable[[Any], Any]) -> None:
        self._future, self._function = future, function

    def __await__(self) -> Generator[Any, None, Any]:
        return self._function((yield from self._future.__await__()))


class Redis(BaseRedis[T], AsyncCommands[T], AsyncIterators[T]):
    """A Redis client for one event loop: that which runs when the first command is given.

    Any number of tasks may share one object; all of them share one connection.
    """

    _make_lock = Lock
    _make_script = AsyncScript

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Redis[bytes],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: Literal[False] = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...

        @overload
        def __init__(
            self: Redis[str],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: Literal[True],
            **options: Unpack[ClientOptions],
        ) -> None: ...

        @overload
        def __init__(
            self: Redis[Any],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: bool = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...

        def __init__(self, *arguments: Any, **options: Any) -> None: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[False] = False, **kwargs: Unpack[UrlOptions]
    ) -> Redis[bytes]: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[True], **kwargs: Unpack[UrlOptions]
    ) -> Redis[str]: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: bool = False, **kwargs: Unpack[UrlOptions]
    ) -> Redis[Any]: ...

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Any:
        """A client for `redis://` or `rediss://`; options in the URL go before `kwargs`."""
        return cls._from_url(url, kwargs)

    def _call_then(self, function: Callable[[Any], Any], shape: int, *arguments: Any) -> Any:
        return _Finished(self._call(shape, *arguments), function)

    def _start(self, options: Options, credential: Any, background: bool) -> None:
        self._core = Core(options, os.urandom(32))
        self._credential = credential
        self._loop_driver: _LoopDriver | None = None
        self._call = self._first_call
        self._is_closed = False

    @property
    def _driver(self) -> Any:
        """The driver, which begins with the first use on a running loop."""
        driver = self._loop_driver
        if driver is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                raise EventLoopError("an asyncio client is used on a running event loop") from None
            driver = self._loop_driver = _LoopDriver(self._core, self._options, self._credential, loop)
            self._call = driver.port.call
            if not self._options.encodes_utf8:
                self._call = _Encoding(self._call, self._options.encoding, self._options.encoding_errors)
        return driver

    def _first_call(self, shape: int, *arguments: Any) -> Any:
        self._driver  # noqa: B018  binds the client to its loop
        return self._call(shape, *arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Collects commands that leave together; as a transaction, unless told otherwise."""
        pipeline = Pipeline(self._driver, transaction)
        if not self._options.encodes_utf8:
            pipeline._call = _Encoding(pipeline._call, self._options.encoding, self._options.encoding_errors)
        return pipeline

    def auth_status(self) -> dict[str, Any]:
        """See `respass.Redis.auth_status`; needs the running event loop."""
        return super().auth_status()

    async def aclose(self) -> None:
        """Closes the connection. Commands that wait end with an error."""
        self._is_closed = True
        if self._loop_driver is None:
            self._core.close()
        else:
            await self._loop_driver.close()

    close = aclose

    def __del__(self) -> None:
        driver = getattr(self, "_loop_driver", None)
        if driver is None or self._is_closed or driver.protocol is None or driver.loop.is_closed():
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2)
        transport = driver.protocol.transport
        try:
            driver.loop.call_soon_threadsafe(transport.abort)
        except RuntimeError:
            pass
