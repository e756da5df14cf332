"""The sync driver: one socket, many threads.

Whoever waits for a reply and finds nobody reading takes the turn: writes, reads, and hands each reply to its
waiter. The others write their own commands and sleep. A thread whose reply came passes the turn on.
"""

from __future__ import annotations

import os
import socket
import threading
from _thread import LockType, allocate_lock
from collections import deque
from typing import Any

from . import _background
from ._config import Options
from ._credentials import is_async, thread_supply
from ._logging import Notice, log_notices, report
from ._respass import PENDING, Call, CommandBuffer, Core, Failure, Token
from ._socket import DONT_WAIT, PATIENCE, connect, is_readable, prepare, reason, wait_writable
from .exceptions import ConfigurationError, RedisError

#: One read. Larger reads do not pay: the core copies from here while it is warm.
BUFFER_LEN = 128 * 1024
#: After a shorter piece the core has no more to write: it seals up to 64 KiB at once.
MORE_LEN = 32 * 1024
#: After so many seconds of silence the socket is looked at before it is written to.
STALE = 1.0
#: As often at most, so that a server that never stops sending cannot keep a command from being written.
LOOKS_MAX = 16


class Driver:
    """Drives a core over a blocking socket."""

    def __init__(self, options: Options, credential: Any, background: bool) -> None:
        self.core = Core(options, os.urandom(32))
        self._buffer = bytearray(BUFFER_LEN)
        self._sock: socket.socket | None = None
        self._conn = 0
        #: Taken from the core and not by the socket yet.
        self._unsent: bytes | memoryview = b""
        self._todo: deque[tuple[Any, ...]] = deque()
        self._on_notice = options.on_notice
        #: To be told once the turn is free: the callback may use the client.
        self._notices: list[Notice] = []
        #: Whoever holds it reads, connects and closes.
        self._turn = allocate_lock()
        self._writing = allocate_lock()
        #: The locks of threads that wait for a reply or for the turn.
        self._sleepers: dict[LockType, None] = {}
        self._wake = threading.Event()
        self._connect_timeout = options.socket_connect_timeout or 3600.0
        self._patience = min(PATIENCE, options.socket_timeout or PATIENCE)
        self.is_closed = False
        #: Of the background thread: the socket that it watches, and from when on it may watch again.
        self.watched: socket.socket | None = None
        self.watch_after = 0.0
        self._background = background and _background.add(self)
        self.supply = None
        if credential is not None:
            if is_async(credential):
                raise ConfigurationError("an asynchronous credential belongs to respass.asyncio.Redis")
            self.supply = thread_supply(credential, self._background)
            self._unsubscribe = self.supply.subscribe(self)

    # Commands

    def execute(self, shape: int, *arguments: Any) -> Any:
        """Sends one command and waits for its reply."""
        return self._wait(self.core.submit(shape, *arguments))

    def execute_all(self, buffer: CommandBuffer, is_transaction: bool) -> Any:
        """Sends the commands of a pipeline and waits for their replies."""
        return self._wait(self.core.submit_all(buffer, is_transaction))

    def _wait(self, call: Call) -> Any:
        if not self._turn.acquire(False):
            return self._follow(call)
        try:
            return self._lead(call)
        except RedisError:
            raise
        except BaseException:
            self._interrupted(call)
            raise
        finally:
            self._leave()

    def _follow(self, call: Call) -> Any:
        """Somebody else reads: waits until the reply is here, or the turn is free."""
        lock = allocate_lock()
        lock.acquire()
        self._sleepers[lock] = None
        try:
            self._write_beside()
            while call.wakes(lock):
                # The reader may have left before it could see this thread among the sleepers.
                if self._turn.acquire(False):
                    self._sleepers.pop(lock, None)
                    try:
                        return self._lead(call)
                    except RedisError:
                        raise
                    except BaseException:
                        self._interrupted(call)
                        raise
                    finally:
                        self._turn.release()
                lock.acquire()
            return call.result()
        except RedisError:
            raise
        except BaseException:
            self.core.cancel(call)
            raise
        finally:
            self._sleepers.pop(lock, None)
            # This thread may have been woken to take the turn, and does not need it.
            if self._sleepers:
                self._hand_over()
            if self._notices:
                self._report()

    def _leave(self) -> None:
        self._turn.release()
        if self._sleepers:
            self._hand_over()
        if self._notices:
            self._report()

    def _report(self) -> None:
        notices, self._notices = self._notices, []
        report(notices, self._on_notice)

    def _hand_over(self) -> None:
        """Wakes one sleeper, which takes the turn if its reply is not here."""
        if self._turn.locked():
            return
        for lock in list(self._sleepers):
            try:
                lock.release()
            except RuntimeError:  # awake already
                pass
            return

    def _lead(self, call: Call) -> Any:
        """Writes and reads until the call is complete. The turn is held."""
        core, buffer = self.core, self._buffer
        if core.silence() > STALE:
            self._look_first()
        if not self._background:
            self._tend()
        if self._todo:
            self._attend()
        while True:
            sock = self._sock
            if sock is not None and self._write(sock):
                try:
                    if self._unsent and not wait_writable(sock, self._patience, or_readable=True):
                        core.timeout()
                        continue
                    count = sock.recv_into(buffer)
                except (BlockingIOError, TimeoutError):
                    core.timeout()
                except OSError as error:
                    self._lost("broken", str(error))
                else:
                    if count:
                        reply = core.received(self._conn, buffer, count, call)
                        if reply is not PENDING:
                            return reply
                        continue
                    self._lost("closed", "")
            self._attend()
            if call.done:
                return call.result()
            if self._sock is None:
                self._pause()
                if call.done:
                    return call.result()

    # Reading and writing

    def _write(self, sock: socket.socket) -> bool:
        """Writes as much as the socket takes; false where the core wants something done first."""
        with self._writing:
            while True:
                rest = self._unsent
                data = rest or self.core.take()
                if not data:
                    return data is not None
                try:
                    sent = sock.send(data, DONT_WAIT)
                except (BlockingIOError, TimeoutError):
                    sent = 0
                except OSError:
                    return True  # the read will tell
                if sent < len(data):
                    self._unsent = memoryview(data)[sent:]
                    return True
                self._unsent = b""
                if not rest and sent < MORE_LEN:
                    return True

    def _write_beside(self) -> None:
        """Writes while another thread reads."""
        while (sock := self._sock) is not None:
            if not self._write(sock):
                self._wake.set()
                return
            if not self._unsent:
                return
            try:
                wait_writable(sock, self._patience)
            except (OSError, ValueError):  # closed by the reader
                return

    def _look_first(self) -> None:
        """After a silence: what became due or was received meanwhile comes before any write."""
        self.core.timeout()
        sock = self._sock
        # The last piece may be the connection's end: a few reads are worth a command that would be lost with it.
        for _ in range(LOOKS_MAX):
            if sock is None or sock is not self._sock or not is_readable(sock):
                break
            self._read(sock)

    def _tend(self) -> None:
        """What the background thread does, where there is none."""
        delay = self.core.wakeup()
        if delay is not None and delay <= 0:
            self.core.timeout()
        if self.supply is not None:
            delay = self.supply.source.wakeup()
            if delay is not None and delay <= 0:
                self.supply.tick()

    def _read(self, sock: socket.socket) -> None:
        try:
            count = sock.recv_into(self._buffer)
        except (BlockingIOError, TimeoutError):
            return
        except OSError as error:
            self._lost("broken", str(error))
            return
        if count:
            self.core.received(self._conn, self._buffer, count, None)
        else:
            self._lost("closed", "")

    def _pause(self) -> None:
        """There is no socket: waits for a timer, a token, or another thread's word."""
        if self.core.has_actions:
            return
        delay = self.core.wakeup()
        self._wake.wait(PATIENCE if delay is None else min(delay, PATIENCE))
        self._wake.clear()
        self.core.timeout()
        if not self._background:
            self._tend()

    # What the core wants done

    def _attend(self, may_connect: bool = True) -> None:
        """Does what the core wants done. The turn is held."""
        todo = self._todo
        todo.extend(self.core.actions())
        while todo and (may_connect or todo[0][0] != "connect"):
            kind, *rest = todo.popleft()
            if kind == "connect":
                self._connect(*rest)
            elif kind == "disconnect":
                self._disconnect(*rest)
            elif kind == "token" and self.supply is not None:
                self.supply.request(self, *rest)
            todo.extend(self.core.actions())
        notices = log_notices(self.core)
        if self._on_notice is not None:
            self._notices += notices

    def _connect(self, conn: int, host: str, port: int) -> None:
        try:
            sock = connect(host, port, self._connect_timeout)
        except OSError as error:
            self.core.disconnected(conn, "failed", f"{host}:{port}: {reason(error)}")
            return
        except BaseException:
            self.core.disconnected(conn, "failed", "interrupted")
            raise
        prepare(sock, self._patience)
        self._sock, self._conn, self._unsent = sock, conn, b""
        self.core.connected(conn)
        if self._background:
            _background.poke()

    def _disconnect(self, conn: int, last_bytes: bytes) -> None:
        sock = self._sock
        if sock is None or conn != self._conn:
            return
        if last_bytes and not self._unsent:
            try:
                sock.send(last_bytes, DONT_WAIT)
            except OSError:
                pass
        self._drop()

    def _lost(self, how: str, text: str) -> None:
        conn = self._conn
        self._drop()
        self.core.disconnected(conn, how, text)

    def _drop(self) -> None:
        sock, self._sock = self._sock, None
        with self._writing:
            self._unsent = b""
        if sock is not None:
            sock.close()

    def _interrupted(self, call: Call) -> None:
        """An exception came from outside (Ctrl-C). Bytes may have been lost between the socket and the core,
        and replies and commands would come apart: the connection ends."""
        if self._sock is not None:
            self._lost("broken", "interrupted")
        self.core.cancel(call)

    # From other threads

    def on_token(self, token: Token) -> None:
        """The supply has a token."""
        self.core.token(token)
        self._kick()

    def on_failure(self, failure: Failure) -> None:
        """The supply got none."""
        self.core.token_failed(failure)
        self._kick()

    def _kick(self) -> None:
        if self.core.has_bytes:
            self._write_beside()
        self._wake.set()
        if self._background:
            _background.poke()

    def wakeup(self) -> float | None:
        """For the background thread: seconds until `tick`. A client that should connect waits for its next
        caller to do so: connecting may take long, and others have timers, too."""
        return None if self.is_closed or self._todo else self.core.wakeup()

    def tick(self) -> None:
        """A timer is due."""
        self.core.timeout()
        if not self._turn.acquire(False):
            if self.core.has_bytes:
                self._write_beside()
            return
        try:
            self._attend(may_connect=False)
            if self._sock is not None:
                self._write(self._sock)
        finally:
            self._leave()

    def idle_socket(self) -> socket.socket | None:
        """The socket, where nobody reads from it."""
        return None if self._turn.locked() else self._sock

    def read_idle(self) -> bool:
        """Reads what came while nobody waited; false where somebody reads, or the socket is gone."""
        if not self._turn.acquire(False):
            return False
        try:
            sock = self._sock
            if sock is None or sock is not self.watched:
                return False
            if is_readable(sock):
                self._read(sock)
            self._attend(may_connect=False)
            if self._sock is not None:
                self._write(self._sock)
            return self._sock is sock
        finally:
            self._leave()

    def close(self) -> None:
        """Ends everything; whoever waits is told so."""
        if self.is_closed:
            return
        self.is_closed = True
        self.core.close()
        if self.supply is not None:
            self._unsubscribe()
        if self._turn.acquire(False):
            try:
                self._attend()
                self._drop()
            finally:
                self._leave()
            return
        self._wake.set()
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # ends the read; the reader closes
            except OSError:
                pass
