"""The one daemon thread of the process: timers and idle sockets of sync clients, timers of token supplies.

It starts with the first client or credential that wants it. A client in use does its own reading: the thread
steps aside as soon as it finds the turn taken.
"""

from __future__ import annotations

import atexit
import selectors
import socket
import threading
import time
import weakref
from typing import Any, Protocol

from . import _fork

#: Longest sleep, in seconds.
_SLEEP_MAX = 30.0
#: Shortest: what is due and cannot be done must not keep a processor busy.
_SLEEP_MIN = 0.02
#: How long the end of the process may be held up.
_JOIN_MAX = 1.0
#: How long a client that was found in use is left alone.
_STEP_ASIDE = 1.0


def snapshot(ones: weakref.WeakSet[Any]) -> list[Any]:
    """What is in the set. Other threads add to it and take from it meanwhile."""
    while True:
        try:
            return list(ones)
        except RuntimeError:  # the set changed its size
            continue


class Attended(Protocol):
    """What the thread looks after."""

    def tick(self) -> None: ...


class _Background:
    def __init__(self) -> None:
        self.attended: weakref.WeakSet[Any] = weakref.WeakSet()
        self._selector = selectors.DefaultSelector()
        self._poked, self._poke = socket.socketpair()
        self._poked.setblocking(False)
        self._poke.setblocking(False)
        self._selector.register(self._poked, selectors.EVENT_READ, None)
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="respass-background", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self.release()
            raise

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_current(self) -> bool:
        return self._thread is threading.current_thread()

    def poke(self) -> None:
        try:
            self._poke.send(b"\0")
        except OSError:
            pass  # full of pokes already

    def release(self) -> None:
        """Closes the descriptors. Nothing is taken out of the selector: in a child of `fork`, the kernel's
        part of it is the parent's."""
        self._selector.close()
        self._poked.close()
        self._poke.close()

    def stop(self) -> None:
        """Ends the thread: at the end of the process it must not be found in the middle of something."""
        self._is_stopped = True
        self.poke()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_MAX)
        if not self._thread.is_alive():
            self.release()

    def _run(self) -> None:
        # Each step is a call of its own: a variable that lived here would keep a forgotten client alive.
        while not self._is_stopped:
            try:
                self._turn()
            except Exception:  # what goes wrong for one must not end it for all
                time.sleep(_SLEEP_MIN)

    def _turn(self) -> None:
        self._read(self._select(self._delay()))
        self._look_after_all()

    def _delay(self) -> float:
        delay = _SLEEP_MAX
        for one in snapshot(self.attended):
            wakeup = _quietly(_wakeup, one)
            if wakeup is not None:
                delay = min(delay, wakeup)
            if getattr(one, "is_unwatched", False):
                delay = min(delay, _STEP_ASIDE)
        return max(delay, _SLEEP_MIN)

    def _read(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, _ in ready:
            if key.data is None:
                self._poked.recv(4096)
                continue
            client = key.data()
            is_watched = client is not None and _quietly(lambda one, key=key: one.read_idle(key.fd), client)
            if is_watched:
                continue
            self._selector.unregister(key.fileobj)
            if client is not None:
                client.watched.pop(key.fd, None)
                if is_watched is None:
                    client.watch_after = time.monotonic() + _STEP_ASIDE

    def _look_after_all(self) -> None:
        for one in snapshot(self.attended):
            _quietly(self._look_after, one)

    def _select(self, delay: float) -> list[tuple[selectors.SelectorKey, int]]:
        try:
            return self._selector.select(delay)
        except OSError:  # a socket was closed behind the selector's back: select() complains, epoll does not
            for key in list(self._selector.get_map().values()):
                if key.data is not None:
                    self._selector.unregister(key.fileobj)
            return []

    def _look_after(self, one: Any) -> None:
        wakeup = _wakeup(one)
        if wakeup is not None and wakeup <= 0:
            one.tick()
        idle_sockets = getattr(one, "idle_sockets", None)
        if idle_sockets is not None and time.monotonic() >= one.watch_after:
            for sock, is_dialled in idle_sockets():
                self._watch(sock, selectors.EVENT_WRITE if is_dialled else selectors.EVENT_READ, one)

    def _watch(self, sock: socket.socket, events: int, client: Any) -> None:
        number = sock.fileno()
        if client.watched.get(number) is sock:
            return
        # The number of a closed socket may be in use again; what is known of it is out of date then.
        if number in self._selector.get_map():
            self._selector.unregister(number)
        self._selector.register(number, events, weakref.ref(client))
        client.watched[number] = sock


def _wakeup(one: Any) -> float | None:
    source = getattr(one, "source", None)
    wakeup: float | None = source.wakeup() if source is not None else one.wakeup()
    return wakeup


def _quietly(function: Any, one: Any) -> Any:
    try:
        return function(one)
    except Exception:  # one client's trouble is not the others'
        return None


# A finaliser may make a client while another is being made by the same thread.
_lock = threading.RLock()
_background: _Background | None = None
_is_exiting = False


def add(one: Attended) -> bool:
    """Has the thread look after this; false where no thread can be had."""
    global _background
    with _lock:
        if _background is None or not _background.is_alive():
            if _is_exiting:
                return False
            try:
                made = _Background()
            except (RuntimeError, OSError):
                return False
            if _background is None or not _background.is_alive():
                _background = made
            else:
                made.stop()
        _background.attended.add(one)
    return True


def is_here() -> bool:
    """Whether the caller is that thread."""
    return _background is not None and _background.is_current()


def poke() -> None:
    """Something changed that timers depend on."""
    if _background is not None:
        _background.poke()


@_fork.on_fork
def _forget() -> None:
    """In a forked child there is no such thread."""
    global _lock, _background
    _lock = threading.RLock()
    former, _background = _background, None
    if former is not None:
        former.release()


@atexit.register
def _exit() -> None:
    global _background, _is_exiting
    _is_exiting = True
    former, _background = _background, None
    if former is not None:
        former.stop()
