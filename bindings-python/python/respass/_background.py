"""The one daemon thread of the process: timers and idle sockets of sync clients, timers of token supplies.

It starts with the first client or credential that wants it. A client in use does its own reading: the thread
steps aside as soon as it finds the turn taken.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
import weakref
from typing import Any, Protocol

#: Longest sleep, in seconds.
_SLEEP_MAX = 30.0
#: Shortest: what is due and cannot be done must not keep a processor busy.
_SLEEP_MIN = 0.02
#: How long a client that was found in use is left alone.
_STEP_ASIDE = 1.0


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
        self._thread = threading.Thread(target=self._run, name="respass-background", daemon=True)
        self._thread.start()

    def poke(self) -> None:
        try:
            self._poke.send(b"\0")
        except OSError:
            pass  # full of pokes already

    def _run(self) -> None:
        while True:
            delay = _SLEEP_MAX
            for one in list(self.attended):
                wakeup = _quietly(_wakeup, one)
                if wakeup is not None:
                    delay = min(delay, wakeup)
            for key, _ in self._select(max(delay, _SLEEP_MIN)):
                if key.data is None:
                    self._poked.recv(4096)
                    continue
                client = key.data()
                if client is None or not _quietly(_read_idle, client):
                    self._selector.unregister(key.fileobj)
                    if client is not None:
                        client.watched = None
                        client.watch_after = time.monotonic() + _STEP_ASIDE
            for one in list(self.attended):
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
        idle_socket = getattr(one, "idle_socket", None)
        sock = idle_socket() if idle_socket is not None else None
        if sock is not None and time.monotonic() >= one.watch_after:
            self._watch(sock, one)

    def _watch(self, sock: socket.socket, client: Any) -> None:
        if client.watched is sock:
            return
        # The number of a closed socket may be in use again; what is known of it is out of date then.
        if sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock.fileno())
        self._selector.register(sock.fileno(), selectors.EVENT_READ, weakref.ref(client))
        client.watched = sock


def _read_idle(client: Any) -> bool:
    return bool(client.read_idle())


def _wakeup(one: Any) -> float | None:
    source = getattr(one, "source", None)
    wakeup: float | None = source.wakeup() if source is not None else one.wakeup()
    return wakeup


def _quietly(function: Any, one: Any) -> Any:
    try:
        return function(one)
    except Exception:  # one client's trouble is not the others'
        return None


_lock = threading.Lock()
_background: _Background | None = None


def add(one: Attended) -> bool:
    """Has the thread look after this; false where no thread can be had."""
    global _background
    with _lock:
        if _background is None:
            try:
                _background = _Background()
            except RuntimeError:
                return False
        _background.attended.add(one)
    return True


def poke() -> None:
    """Something changed that timers depend on."""
    if _background is not None:
        _background.poke()


def _forget() -> None:
    """In a forked child there is no such thread."""
    global _lock, _background
    _lock = threading.Lock()
    _background = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
