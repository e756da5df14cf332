"""The asyncio driver: for each event loop a core, with a transport for each of its connections."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import Any

from . import _fork
from ._config import Options, remapped
from ._credentials import Supply, is_async, task_supply, thread_supply
from ._dial import reason
from ._logging import log_notices, report
from ._respass import CommandBuffer, Core, Failure, Link, LoopPort, Session, Token, leak
from ._socket import keep_alive
from .exceptions import EventLoopError

#: One read.
BUFFER_LEN = 256 * 1024


class _Protocol(asyncio.BufferedProtocol):
    """One connection. The native `Link` is its read buffer."""

    def __init__(self, driver: LoopDriver, conn: int) -> None:
        self.driver, self.conn = driver, conn
        self.ended: asyncio.Future[None] = driver.loop.create_future()
        self.transport: Any = None
        # A loop that has the system fill buffers needs one for each connection.
        buffer = bytearray(BUFFER_LEN) if hasattr(driver.loop, "_proactor") else driver.buffer
        link = Link(driver.port, conn, buffer)
        self.get_buffer = link.get_buffer  # type: ignore[method-assign, assignment]
        self.buffer_updated = link.buffer_updated  # type: ignore[method-assign, assignment]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            keep_alive(sock)
        self.driver.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        self.ended.set_result(None)
        self.driver.lost(self, error)

    def pause_writing(self) -> None:
        self.driver.port.pause(self.conn)

    def resume_writing(self) -> None:
        self.driver.port.resume(self.conn)


class LoopDriver:
    """Drives a core on one event loop."""

    def __init__(self, drivers: Drivers, core: Core, loop: asyncio.AbstractEventLoop) -> None:
        credential = drivers.credential
        self.core, self.loop, self._drivers = core, loop, weakref.ref(drivers)
        self._options, self.on_notice = drivers.options, drivers.options.on_notice
        self.buffer = bytearray(BUFFER_LEN)
        #: The connections, and those on their way, by their numbers.
        self.protocols: dict[int, _Protocol] = {}
        self._connecting: dict[int, asyncio.Task[None]] = {}
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
            self._subscription = self.supply.subscribe(self)
        self.has_ended = False
        self._farewell = _farewell(weakref.ref(self))
        _step(self._farewell.__anext__())

    # From the native port

    def elsewhere(self, shape: int, arguments: tuple[Any, ...]) -> Any:
        """A command was given on another loop than this driver's."""
        drivers = self._drivers()
        if drivers is None:
            raise EventLoopError("this client is gone")
        return drivers.switch().port.call(shape, *arguments)

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
            self._connecting[rest[0]] = self.loop.create_task(self._connect(*rest))
        elif kind == "disconnect":
            self._disconnect(*rest)
        elif kind == "token" and self.supply is not None:
            self.supply.request(self, *rest)

    def timeout(self) -> None:
        """The timer fired."""
        self._timer = None
        self.core.timeout()
        self.port.flush()

    # The connections

    async def _connect(self, conn: int, host: str, port: int) -> None:
        protocol = _Protocol(self, conn)
        try:
            await self._dial(protocol, host, port)
        except (OSError, UnicodeError) as error:
            self.core.disconnected(conn, "failed", reason(error))
        except BaseException:
            self.core.disconnected(conn, "failed", "interrupted")
            if protocol.transport is not None:
                # uvloop tells a connection's end only to those who were told of its beginning.
                protocol.transport.abort()
                protocol.connection_lost(None)
            raise
        finally:
            self._connecting.pop(conn, None)
        self.port.flush()

    async def _dial(self, protocol: _Protocol, host: str, port: int) -> None:
        host, port = remapped(self._options, host, port)
        try:
            await self.loop.create_connection(lambda: protocol, host, port)
        except (OSError, UnicodeError) as error:
            raise OSError(f"{host}:{port}: {reason(error)}") from None

    def connected(self, protocol: _Protocol) -> None:
        conn = protocol.conn
        self.protocols[conn] = protocol
        self.port.attach(conn, protocol.transport.write)
        # What was given up while there was no connection is not sent.
        self.port.forget_cancelled()
        self.core.connected(conn)

    def lost(self, protocol: _Protocol, error: Exception | None) -> None:
        conn = protocol.conn
        if self.protocols.pop(conn, None) is not None:
            self.port.detach(conn)
        self.core.disconnected(conn, "closed" if error is None else "broken", str(error or ""))
        if not self.loop.is_closed():
            self.port.flush()

    def _disconnect(self, conn: int, last_bytes: bytes) -> None:
        task = self._connecting.get(conn)
        protocol = self.protocols.pop(conn, None)
        if protocol is None:
            if task is not None:
                task.cancel()
            return
        self.port.detach(conn)
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

    # The end

    async def close(self) -> None:
        """Ends everything and waits for the sockets to be closed."""
        protocols = list(self.protocols.values())
        self.end()
        for protocol in protocols:
            # Whoever is cancelled while waiting must not cancel what others wait for.
            await asyncio.shield(protocol.ended)

    def end(self) -> None:
        """Ends everything; the sockets are closed in one of the loop's next turns."""
        self.core.close()
        self._let_go()
        for task in list(self._connecting.values()):
            task.cancel()
        self.port.flush()

    def end_soon(self) -> None:
        """The same from another thread, or from a finaliser."""
        try:
            self.loop.call_soon_threadsafe(self.end)
        except RuntimeError:
            self.drop()

    def drop(self) -> None:
        """The loop is closed: nothing can be asked of it, and what waits is never told."""
        self._let_go()
        protocols, self.protocols = self.protocols, {}
        for conn, protocol in protocols.items():
            self.port.detach(conn)
            _drop(protocol.transport)

    def abandon(self) -> None:
        """In a child of `fork`: the connections, the loop and the kernel's event queue are the parent's."""
        if self.supply is not None:
            self._subscription.detach()
        leak(self)
        for protocol in self.protocols.values():
            sock = protocol.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                os.close(sock.fileno())

    def _let_go(self) -> None:
        self.has_ended = True
        if self.supply is not None:
            self._subscription()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _step(self._farewell.aclose())


async def _farewell(reference: weakref.ref[LoopDriver]) -> AsyncGenerator[None]:
    """Before a loop is closed it ends the asynchronous generators that were begun on it: the one moment at
    which a connection can still be closed in an orderly way."""
    try:
        yield
    finally:
        driver = reference()
        if driver is not None and not driver.has_ended:
            driver.port.cancel_all()
            driver.end()


def _step(awaitable: Any) -> None:
    """Runs what never waits."""
    try:
        awaitable.send(None)
    except (StopIteration, StopAsyncIteration, RuntimeError):
        pass


def _drop(transport: Any) -> None:
    """Closes a transport whose loop is closed."""
    end = getattr(transport, "_call_connection_lost", None)
    try:
        if end is not None:
            end(None)  # no public method closes its socket any more
        else:
            transport.abort()
    except (RuntimeError, AttributeError, TypeError):
        pass


def _timeout(reference: weakref.ref[LoopDriver]) -> None:
    driver = reference()
    if driver is not None:
        driver.timeout()


class Drivers:
    """The drivers of one client: one for each event loop that it is used on."""

    def __init__(self, client: Any, options: Options, credential: Any) -> None:
        self.credential = credential
        self.is_closed = False
        self.options, self._name = options, repr(client)
        self._client = weakref.ref(client)
        self._drivers: dict[asyncio.AbstractEventLoop, LoopDriver] = {}
        # Made at once, so that options that cannot work are refused at once.
        self._spare: Core | None = Core(options, os.urandom(32))
        _fork.add(self)

    def current(self) -> LoopDriver:
        """The running loop's."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise EventLoopError("an asyncio client is used on a running event loop") from None
        driver = self._drivers.get(loop)
        return driver if driver is not None else self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> LoopDriver:
        self._forget_closed()
        core, self._spare = self._spare, None
        if core is None:
            core = Core(self.options, os.urandom(32))
        if self.is_closed:
            core.close()
        driver = self._drivers[loop] = LoopDriver(self, core, loop)
        return driver

    def switch(self) -> LoopDriver:
        """The running loop's, which the client goes to directly from now on."""
        driver, client = self.current(), self._client()
        if client is not None:
            client._use(driver)
        return driver

    def execute_all(self, buffer: CommandBuffer, is_transaction: bool, session: Session | None = None) -> Any:
        """A future of a pipeline's replies."""
        return self.current().port.call_all(buffer, is_transaction, session)

    async def close(self) -> None:
        """Ends the drivers of all loops; waits for that of the running one."""
        self.is_closed = True
        self._forget_closed()
        if self._spare is not None:
            self._spare.close()
        here = self._drivers.get(asyncio.get_running_loop())
        for driver in list(self._drivers.values()):
            if driver is not here:
                driver.end_soon()
        if here is not None:
            await here.close()

    def _forget_closed(self) -> None:
        for loop in list(self._drivers):
            if loop.is_closed():
                driver = self._drivers.pop(loop, None)
                if driver is not None:
                    driver.drop()

    def forked(self) -> None:
        """In a child: nothing of the parent's is used."""
        drivers, self._drivers, self._spare = self._drivers, {}, None
        for driver in drivers.values():
            driver.abandon()
        client = self._client()
        if client is not None:
            client._use(None)

    def __del__(self) -> None:
        if getattr(self, "_drivers", None) is None:
            return
        self._forget_closed()
        for driver in self._drivers.values():
            if driver.protocols:
                warnings.warn(f"unclosed {self._name}", ResourceWarning, stacklevel=2)
            driver.end_soon()
