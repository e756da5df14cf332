"""The sync driver: one socket, many threads.

Whoever waits for a reply and finds nobody reading takes the turn: writes, reads, and hands each reply to its
waiter. The others write their own commands and sleep. A thread whose reply came passes the turn on.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from _thread import LockType, allocate_lock
from typing import Any

from . import _background, _fork
from ._config import Options
from ._credentials import ThreadSupply, is_async, thread_supply
from ._logging import log_notices, report
from ._respass import PENDING, Call, CommandBuffer, Core, Failure, Token
from ._socket import DONT_WAIT, PATIENCE, connect, is_readable, prepare, reason, wait_writable
from .exceptions import ConfigurationError, ForkError, RedisError

#: One read. Larger reads do not pay: the core copies from here while it is warm.
BUFFER_LEN = 128 * 1024
#: A socket is looked at so often at most before it is written to: a server that never stops sending cannot keep a
#: command from being written.
LOOKS_MAX = 16
#: After so many seconds the background thread tries again to write to a socket that was full.
FULL = 0.25


class _Unborn:
    """In a forked child, stands where a driver's core will be: whoever needs it first has it made."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._driver.core is self:
                self._driver.begin()
        return getattr(self._driver.core, name)


class Driver:
    """Drives a core over a blocking socket."""

    core: Any
    supply: ThreadSupply | None

    def __init__(self, options: Options, credential: Any, background: bool) -> None:
        if credential is not None and is_async(credential):
            raise ConfigurationError("an asynchronous credential belongs to respass.asyncio.Redis")
        self._options, self._credential, self._wants_background = options, credential, background
        self._on_notice = options.on_notice
        self._connect_timeout = options.socket_connect_timeout or 3600.0
        self._patience = min(PATIENCE, options.socket_timeout or PATIENCE)
        self.is_closed = False
        self._reset()
        self.begin()
        _fork.add(self)

    def _reset(self) -> None:
        self._buffer = bytearray(BUFFER_LEN)
        self._sock: socket.socket | None = None
        self._conn = 0
        #: Sockets on their way to be connected.
        self._dialled: list[socket.socket] = []
        #: The locks of threads that wait for a reply or for the turn.
        self._sleepers: dict[LockType, None] = {}
        #: Released to wake a leader without a socket. An interrupted `threading.Event` may stay locked.
        self._wake = allocate_lock()
        #: Bytes may be between the socket and the core; where it is found so, their reader was interrupted.
        self._is_torn = False
        #: Of the background thread: the socket that it watches, and from when on it may watch again.
        self.watched: socket.socket | None = None
        self.watch_after = 0.0
        self._ticked_at = 0.0
        self._background = False
        self.supply = None
        self._subscription: Any = None

    def begin(self) -> None:
        """Makes the core, and what lives as long as it does."""
        core = Core(self._options, os.urandom(32))
        if self.is_closed:
            core.close()
        self._background = self._wants_background and _background.add(self)
        # A token may come as soon as it is subscribed to, and before the core is everybody's.
        self._newest = core
        if self._credential is not None:
            self.supply = thread_supply(self._credential, self._background)
            self._subscription = self.supply.subscribe(self)
        self.core = core

    def forked(self) -> None:
        """In a child: nothing of the parent's is used, and the child's copies of its descriptors are closed.
        The parent's connection lives on, so not a byte is written."""
        if self._subscription is not None:
            self._subscription.detach()
        inherited = [*self._dialled, *([] if self._sock is None else [self._sock])]
        self._reset()
        self.core = _Unborn(self)
        for sock in inherited:
            sock.close()

    # Commands

    def execute(self, shape: int, *arguments: Any) -> Any:
        """Sends one command and waits for its reply."""
        call = self.core.submit(shape, *arguments)
        if call is None:
            return self._aside("execute", shape, *arguments)
        return self._wait(call)

    def execute_all(self, buffer: CommandBuffer, is_transaction: bool) -> Any:
        """Sends the commands of a pipeline and waits for their replies."""
        call = self.core.submit_all(buffer, is_transaction)
        if call is None:
            return self._aside("execute_all", buffer, is_transaction)
        return self._wait(call)

    def _aside(self, method: str, *arguments: Any) -> Any:
        """A finaliser or a signal handler came in the middle of a command of this very thread, which can go
        on only when it has ended: it gets a connection of its own."""
        other = Driver(self._options, self._credential, background=False)
        if self.is_closed:
            other.close()
        try:
            return getattr(other, method)(*arguments)
        finally:
            other.close()

    def _wait(self, call: Call) -> Any:
        core = self.core
        try:
            if core.lead():
                return self._lead(call)
            return self._follow(call)
        except RedisError:
            raise
        except BaseException:
            self._interrupted(core, call)
            raise
        finally:
            has_errands = core.leave()
            if self._sleepers:
                self._hand_over()
            if has_errands:
                self._run_errands(core)
            if self.is_closed and self._sock is not None:
                self._finish(core)

    def _follow(self, call: Call) -> Any:
        """Somebody else reads: waits until the reply is here, or the turn is free."""
        core = self.core
        lock = allocate_lock()
        lock.acquire()
        self._sleepers[lock] = None
        try:
            self._write_beside(call)
            while call.wakes(lock):
                # The reader may have left before it could see this thread among the sleepers.
                if core.lead():
                    self._sleepers.pop(lock, None)
                    return self._lead(call)
                # An end, in case that an interrupt kept the reader from waking anybody.
                lock.acquire(True, PATIENCE)
            return call.result()
        finally:
            self._sleepers.pop(lock, None)

    def _run_errands(self, core: Any) -> None:
        """Does what came of a turn that ended with its reply: a client that never waits for anything else must
        not leave it undone. Then logs and tells notices. The turn is free by then: handlers may be slow, and the
        callback use the client."""
        if core is self.core and core.lead():
            try:
                self._catch_up()
            finally:
                core.leave()
                if self._sleepers:
                    self._hand_over()
        report(log_notices(core), self._on_notice)

    def _hand_over(self) -> None:
        """Wakes one sleeper, which takes the turn if its reply is not here."""
        if self.core.is_led:
            return
        for lock in list(self._sleepers):
            _release(lock)
            return

    def _lead(self, call: Call) -> Any:
        """Writes and reads until the call is complete. The turn is held."""
        core, buffer = self.core, self._buffer
        self._mend_if_torn()
        if self._sock is not None and core.wants_look(self._sock.fileno()):
            self._look_first()
        if not self._background:
            self._tend()
        while True:
            if call.done:
                return call.result()
            sock = self._sock
            if sock is not None and (is_full := self._write(sock, self._conn)) is not None:
                try:
                    if is_full and not wait_writable(sock, self._patience, or_readable=True):
                        core.timeout()
                        continue
                    self._is_torn = True
                    count = sock.recv_into(buffer)
                except (BlockingIOError, TimeoutError):
                    self._is_torn = False
                    core.timeout()
                except OSError as error:
                    self._lost("broken", str(error))
                else:
                    if count:
                        try:
                            reply = core.received(self._conn, buffer, count, call)
                        finally:
                            self._is_torn = False
                        if reply is not PENDING:
                            return reply
                        continue
                    self._lost("closed", "")
            if core is not self.core:
                raise ForkError("the process forked while this command waited: its reply goes to the parent")
            self._attend()
            if self._sock is None and not call.done:
                self._pause()

    # Reading and writing

    def _write(self, sock: socket.socket, conn: int) -> bool | None:
        """Writes what there is for that connection: whether its socket is full. `None` where something is to
        be done first."""
        core = self.core
        while True:
            data = core.take(conn)
            if not data:
                return None if data is None else False
            try:
                count = sock.send(data, DONT_WAIT)
            except OSError:  # full, or broken: then the read will tell
                count = 0
            if not core.sent(data, count):
                return count < len(data)

    def _write_beside(self, call: Call | None = None) -> None:
        """Writes while another thread reads. Waits for room only for a call that somebody waits for: the
        background thread and credentials have others to serve."""
        while True:
            # In this order: a number that is new here belongs to a socket that is there already.
            conn, sock = self._conn, self._sock
            if sock is None:
                return
            is_full = self._write(sock, conn)
            if is_full is None:
                _release(self._wake)
                return
            if not is_full or call is None or call.done:
                return
            try:
                wait_writable(sock, self._patience)
            except (OSError, ValueError):  # closed by the reader
                return
            self.core.timeout()

    def _look_first(self) -> None:
        """What was received or became due while nobody waited comes before any write: the connection's end,
        or bytes that answer nobody, which the next command must not take for its reply."""
        sock = self._sock
        # The last piece may be the connection's end: a few reads are worth a command that would be lost.
        for _ in range(LOOKS_MAX):
            if sock is None or sock is not self._sock or not is_readable(sock):
                break
            self._read(sock)
        # After the reads: an answer that has lain there is not late.
        self.core.timeout()

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
        self._is_torn = True
        try:
            count = sock.recv_into(self._buffer)
        except (BlockingIOError, TimeoutError):
            self._is_torn = False
            return
        except OSError as error:
            self._lost("broken", str(error))
            return
        if count:
            self.core.received(self._conn, self._buffer, count, None)
            self._is_torn = False
        else:
            self._lost("closed", "")

    def _pause(self) -> None:
        """There is no socket: waits for a timer, a token, or another thread's word."""
        if self.core.has_actions:
            return
        delay = self.core.wakeup()
        self._wake.acquire(True, PATIENCE if delay is None else max(0.0, min(delay, PATIENCE)))
        self.core.timeout()
        if not self._background:
            self._tend()

    # What the core wants done

    def _attend(self, may_connect: bool = True) -> None:
        """Does what the core wants done. The turn is held."""
        core = self.core
        self._mend_if_torn()
        while (action := core.action()) is not None:
            kind, *rest = action
            if kind == "connect":
                if not may_connect:
                    break
                self._connect(*rest)
            elif kind == "disconnect":
                self._disconnect(*rest)
            elif kind == "token" and self.supply is not None:
                self.supply.request(self, *rest)
            core.acted()

    def _connect(self, conn: int, host: str, port: int) -> None:
        if self._sock is not None and conn == self._conn:
            self._lost("broken", "interrupted")
            return
        try:
            sock = connect(host, port, self._connect_timeout, self._dialled)
        except OSError as error:
            self.core.disconnected(conn, "failed", f"{host}:{port}: {reason(error)}")
            return
        prepare(sock, self._patience)
        self._sock, self._conn = sock, conn
        self._dialled.clear()
        self.core.connected(conn)
        if self._background:
            _background.poke()

    def _disconnect(self, conn: int, last_bytes: bytes) -> None:
        sock = self._sock
        if sock is None or conn != self._conn:
            return
        if last_bytes:
            try:
                sock.send(last_bytes, DONT_WAIT)
            except OSError:
                pass
        self._drop()

    def _lost(self, how: str, text: str) -> None:
        self._is_torn = True
        self._drop()
        self.core.disconnected(self._conn, how, text)
        self._is_torn = False

    def _drop(self) -> None:
        sock, self._sock = self._sock, None
        # A number that was closed may be another socket's by the time that a late write comes.
        while self.core.is_written:
            time.sleep(0)
        if sock is not None:
            sock.close()

    def _mend_if_torn(self) -> None:
        """Where an exception came from outside (Ctrl-C) at a moment when bytes may have been lost between
        the socket and the core, replies and commands would come apart: the connection ends."""
        if self._is_torn or self.core.is_torn:
            self._lost("broken", "interrupted")
            self.core.mended()

    def _interrupted(self, core: Any, call: Call) -> None:
        if core is self.core:
            core.cancel(call)

    # From other threads

    def on_token(self, token: Token) -> None:
        """The supply has a token."""
        self._newest.token(token)
        self._kick()

    def on_failure(self, failure: Failure) -> None:
        """The supply got none."""
        self._newest.token_failed(failure)
        self._kick()

    def _kick(self) -> None:
        if self._newest.has_bytes:
            self._write_beside()
        _release(self._wake)
        if self._background:
            _background.poke()

    def wakeup(self) -> float | None:
        """For the background thread: seconds until `tick`. A client that should connect waits for its next
        caller to do so: connecting may take long, and others have timers, too."""
        if self.is_closed:
            return None
        action = self.core.action()
        if action is not None and action[0] == "connect":
            return None
        wakeup: float | None = self.core.wakeup()
        if self._sock is None or not self.core.has_bytes:
            return wakeup
        retry = max(0.0, self._ticked_at + FULL - time.monotonic())
        return retry if wakeup is None else min(wakeup, retry)

    def tick(self) -> None:
        """A timer is due."""
        core = self.core
        self._ticked_at = time.monotonic()
        core.timeout()
        if core.lead():
            try:
                self._catch_up()
            finally:
                self._leave(core)
        elif core.has_bytes:
            self._write_beside()

    def idle_socket(self) -> socket.socket | None:
        """The socket, where nobody reads from it."""
        return None if self.core.is_led else self._sock

    @property
    def is_unwatched(self) -> bool:
        """Whether nobody would notice the connection's end while no command is given."""
        return self._sock is not None and self._sock is not self.watched

    def read_idle(self) -> bool:
        """Reads what came while nobody waited; false where somebody reads, or the socket is gone."""
        core = self.core
        if not core.lead():
            return False
        try:
            self._mend_if_torn()
            sock = self._sock
            if sock is None or sock is not self.watched:
                return False
            if is_readable(sock):
                self._read(sock)
            self._catch_up()
            return self._sock is sock
        finally:
            self._leave(core)

    def _catch_up(self) -> None:
        """What can be done without a caller who waits. The turn is held."""
        self._attend(may_connect=False)
        if self._sock is not None:
            self._write(self._sock, self._conn)

    def _leave(self, core: Any) -> None:
        has_errands = core.leave()
        if self._sleepers:
            self._hand_over()
        if has_errands:
            self._run_errands(core)

    def close(self) -> None:
        """Ends everything; whoever waits is told so."""
        if self.is_closed:
            return
        self.is_closed = True
        core = self.core
        core.close()
        if self._subscription is not None:
            self._subscription()
        self._finish(core)
        _release(self._wake)
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # ends the read; the reader closes
            except OSError:
                pass

    def _finish(self, core: Any) -> None:
        """Closes the socket, where nobody reads from it."""
        try:
            if core.lead():
                self._attend()
                self._drop()
        finally:
            self._leave(core)


def _release(lock: LockType) -> None:
    """Wakes whoever waits to acquire it."""
    try:
        lock.release()
    except RuntimeError:  # awake already
        pass
