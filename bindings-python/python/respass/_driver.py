"""The sync driver: any number of sockets, many threads.

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
from ._lines import FULL, QUICK, Lines
from ._logging import log_notices, report
from ._respass import PENDING, Call, CommandBuffer, Core, Failure, Session, Token
from .exceptions import ConfigurationError, ForkError, RedisError

#: Longest wait for sockets, so that timers are looked at.
PATIENCE = 1.0
#: After so many seconds the background thread tries again to write to a socket that was full.
RETRY = 0.25


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


class Driver(Lines):
    """Drives a core over blocking sockets."""

    core: Any
    supply: ThreadSupply | None

    def __init__(self, options: Options, credential: Any, background: bool) -> None:
        if credential is not None and is_async(credential):
            raise ConfigurationError("an asynchronous credential belongs to respass.asyncio.Redis")
        self._options, self._credential, self._wants_background = options, credential, background
        self._on_notice = options.on_notice
        self._patience = min(PATIENCE, options.socket_timeout or PATIENCE)
        self._quick = min(QUICK, self._patience)
        self.is_closed = False
        self._reset()
        self.begin()
        _fork.add(self)

    def _reset(self) -> None:
        super()._reset()
        #: The locks of threads that wait for a reply or for the turn.
        self._sleepers: dict[LockType, None] = {}
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

    def native_core(self) -> Core:
        """The core, which is made now where a fork left none."""
        if isinstance(self.core, _Unborn):
            _ = self.core.is_led
        return self.core  # type: ignore[no-any-return]

    def forked(self) -> None:
        """In a child: nothing of the parent's is used, and the child's copies of its descriptors are closed.
        The parent's connections live on, so not a byte is written."""
        if self._subscription is not None:
            self._subscription.detach()
        inherited = self._descriptors()
        self._reset()
        self.core = _Unborn(self)
        for one in inherited:
            one.close()

    # Commands

    def execute(self, shape: int, *arguments: Any) -> Any:
        """Sends one command and waits for its reply."""
        call = self.core.submit(shape, *arguments)
        if call is None:
            return self._aside("execute", shape, *arguments)
        return self._wait(call)

    def execute_all(self, buffer: CommandBuffer, is_transaction: bool, session: Session | None = None) -> Any:
        """Sends the commands of a pipeline and waits for their replies."""
        call = self.core.submit_all(buffer, is_transaction, session)
        if call is not None:
            return self._wait(call)
        if session is not None:
            raise RedisError("a pipeline that watches keys cannot interrupt a command of its own thread")
        return self._aside("execute_all", buffer, is_transaction)

    def wait(self, call: Call, deadline: float | None) -> None:
        """Waits until the call is complete, or until that moment of the monotonic clock."""
        if self.core.is_mine:
            raise RedisError("messages cannot be waited for in the middle of a command of the same thread")
        self._wait(call, deadline)
        if not call.done:
            self.core.cancel(call)

    def attend(self) -> None:
        """Has begun what the core wants done, without waiting for its end."""
        core = self.core
        if core.lead():
            try:
                self._catch_up()
            finally:
                self._leave(core)
        else:
            self._write_beside()
        if self._background:
            _background.poke()

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

    def _wait(self, call: Call, deadline: float | None = None) -> Any:
        core = self.core
        try:
            if core.lead():
                return self._lead(call, deadline)
            return self._follow(call, deadline)
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
            if self.is_closed and (self._lines or self._waker):
                self._finish(core)

    def _follow(self, call: Call, deadline: float | None) -> Any:
        """Somebody else reads: waits until the reply is here, or the turn is free."""
        core = self.core
        lock = allocate_lock()
        lock.acquire()
        self._sleepers[lock] = None
        try:
            self._write_beside()
            while call.wakes(lock):
                # The reader may have left before it could see this thread among the sleepers.
                if core.lead():
                    self._sleepers.pop(lock, None)
                    return self._lead(call, deadline)
                left = PATIENCE if deadline is None else min(PATIENCE, deadline - time.monotonic())
                if left <= 0:
                    return None
                # An end, in case that an interrupt kept the reader from waking anybody.
                lock.acquire(True, left)
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

    def _lead(self, call: Call, deadline: float | None) -> Any:
        """Writes and reads until the call is complete, or it is late. The turn is held."""
        core, buffer = self.core, self._buffer
        self._mend_if_torn()
        if (sock := self._sole) is None or core.wants_look(self._conn, sock.fileno()):
            self._look_first()
        if not self._background:
            self._tend()
        is_quick = deadline is None
        while not call.done:
            sock, conn = self._sole, self._conn
            if is_quick and sock is not None and self._write(sock, conn) < FULL:
                try:
                    self._torn = conn
                    count = sock.recv_into(buffer)
                except (BlockingIOError, TimeoutError):
                    self._torn = 0
                    is_quick = False
                except OSError as error:
                    self._lost(conn, "broken", str(error))
                else:
                    if count:
                        try:
                            reply = core.received(conn, buffer, count, call)
                        finally:
                            self._torn = 0
                        if reply is not PENDING:
                            return reply
                        continue
                    self._lost(conn, "closed", "")
            if core is not self.core:
                raise ForkError("the process forked while this command waited: its reply goes to the parent")
            self._serve(deadline)
            if deadline is not None and time.monotonic() >= deadline:
                return None
        return call.result()

    def _serve(self, deadline: float | None) -> None:
        """Does what the core wants done, writes what there is, and waits for any of the sockets, a timer, or another
        thread's word. The turn is held."""
        core = self.core
        self._attend()
        full = self._write_all()
        if full is None:
            return
        delay = core.wakeup()
        wait = self._patience if delay is None else min(self._patience, delay)
        if deadline is not None:
            wait = min(wait, deadline - time.monotonic())
        ready = self._ready(full, wait)
        if core is not self.core:
            return
        self._read_ready(ready)
        if not ready or (delay is not None and delay <= 0):
            core.timeout()
        if not self._background:
            self._tend()

    def _tend(self) -> None:
        """What the background thread does, where there is none."""
        delay = self.core.wakeup()
        if delay is not None and delay <= 0:
            self.core.timeout()
        if self.supply is not None:
            delay = self.supply.source.wakeup()
            if delay is not None and delay <= 0:
                self.supply.tick()

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
        self._write_beside()
        if self._background:
            _background.poke()

    def wakeup(self) -> float | None:
        """For the background thread: seconds until `tick`."""
        if self.is_closed:
            return None
        core = self.core
        if core.has_actions or any(dial.has_news for dial in list(self._dials.values())):
            return 0.0
        wakeup: float | None = core.wakeup()
        if not self._lines or not core.has_bytes:
            return wakeup
        retry = max(0.0, self._ticked_at + RETRY - time.monotonic())
        return retry if wakeup is None else min(wakeup, retry)

    def tick(self) -> None:
        """A timer is due, or there is something to do."""
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

    def idle_sockets(self) -> list[tuple[socket.socket, bool]]:
        """The sockets, where nobody reads from them, and whether each is on its way to be connected."""
        if self.core.is_led:
            return []
        dialled = (dial.sock for dial in list(self._dials.values()))
        idle = [(sock, False) for sock in list(self._lines.values())]
        return idle + [(sock, True) for sock in dialled if sock is not None]

    @property
    def is_unwatched(self) -> bool:
        """Whether nobody would notice a connection's end while no command is given."""
        watched = list(self.watched.values())
        return any(sock not in watched for sock in list(self._lines.values()))

    def read_idle(self, number: int) -> bool | None:
        """Reads what came while nobody waited: whether that socket is still to be watched, or `None` where somebody
        reads."""
        core = self.core
        if not core.lead():
            return None
        try:
            self._mend_if_torn()
            sock = self.watched.get(number)
            is_here = sock is not None and self._look_at(sock)
            self._catch_up()
            return is_here and self.watched.get(number) is sock
        finally:
            self._leave(core)

    def _catch_up(self) -> None:
        """What can be done without a caller who waits. The turn is held."""
        self._attend()
        self._write_all()

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
        self._wake()
        for sock in list(self._lines.values()):
            try:
                sock.shutdown(socket.SHUT_RDWR)  # ends the read; the reader closes
            except OSError:
                pass

    def _finish(self, core: Any) -> None:
        """Closes the sockets, where nobody reads from them."""
        try:
            if core.lead():
                self._attend()
                self._drop_all()
        finally:
            self._leave(core)


def _release(lock: LockType) -> None:
    """Wakes whoever waits to acquire it."""
    try:
        lock.release()
    except RuntimeError:  # awake already
        pass
