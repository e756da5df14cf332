"""The sockets of a sync client: one for each connection that the core has, and those on their way.

Whoever has the turn connects, reads and closes. Others write, while they hold the native right to.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from . import _background
from ._config import Options, remapped
from ._dial import Dial
from ._respass import Core
from ._socket import DONT_WAIT, READ, WRITE, Waker, is_readable, make_poll, prepare

#: One read. Larger reads do not pay: the core copies from here while it is warm.
BUFFER_LEN = 128 * 1024
#: Sockets are looked at so often at most before they are written to: a server that never stops sending cannot keep
#: a command from being written.
LOOKS_MAX = 16
#: A reply that takes longer is waited for together with all else that may happen: one socket alone is read from
#: without asking first, which costs the least.
QUICK = 0.02

#: What became of bytes to write: there were none, all were written, the socket was full, something is to be done first.
NOTHING, WRITTEN, FULL, BLOCKED = range(4)


class Lines:
    """Sockets, and what the core wants done with them."""

    core: Any
    supply: Any
    _options: Options
    _background: bool
    _quick: float

    def _reset(self) -> None:
        self._buffer = bytearray(BUFFER_LEN)
        self._lines: dict[int, socket.socket] = {}
        self._dials: dict[int, Dial] = {}
        #: The socket that is alone, and its connection. Made anew, as the poll is, after each change.
        self._sole: socket.socket | None = None
        self._conn = 0
        self._poll: Any = None
        self._conns: dict[int, int] = {}
        self._waker: Waker | None = None
        #: Bytes of this connection may be between its socket and the core; where it is found so, their reader was
        #: interrupted.
        self._torn = 0
        #: Of the background thread: the sockets that it watches by their numbers, and from when on it may do so again.
        self.watched: dict[int, socket.socket] = {}
        self.watch_after = 0.0

    def _descriptors(self) -> list[Any]:
        """All that a child of `fork` has to close."""
        dialled = [dial.sock for dial in self._dials.values()]
        return [one for one in (*self._lines.values(), *dialled, self._waker) if one is not None]

    # Writing

    def _write(self, sock: socket.socket, conn: int) -> int:
        """Writes what there is for that connection."""
        core = self.core
        written = NOTHING
        while True:
            data = core.take(conn)
            if not data:
                return BLOCKED if data is None else written
            try:
                count = sock.send(data, DONT_WAIT)
            except OSError:  # full, or broken: then the read will tell
                count = 0
            if not core.sent(data, count):
                return FULL if count < len(data) else WRITTEN
            written = WRITTEN

    def _write_all(self) -> dict[int, socket.socket] | None:
        """Writes what there is for any connection: those whose sockets are full, or `None` where something is to be
        done first."""
        # Whoever wrote while others tried to has to come back for what they had.
        passed: set[int] = set()
        full: dict[int, socket.socket] = {}
        while True:
            writable = self.core.writable()
            if writable is None:
                return None
            if passed.issuperset(writable):
                return full
            for conn in writable:
                sock = self._lines.get(conn)
                written = NOTHING if sock is None or conn in passed else self._write(sock, conn)
                if written == BLOCKED:
                    return None
                if sock is not None and written == FULL:
                    full[conn] = sock
                if written != WRITTEN:
                    passed.add(conn)

    def _write_beside(self) -> None:
        """Writes while another thread has the turn, and tells it where it is needed."""
        if not self._lines or self._write_all() != {}:
            self._wake()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            waker.wake()

    # Reading. The turn is held.

    def _read(self, conn: int, sock: socket.socket) -> None:
        self._torn = conn
        try:
            count = sock.recv_into(self._buffer)
        except (BlockingIOError, TimeoutError):
            self._torn = 0
        except OSError as error:
            self._lost(conn, "broken", str(error))
        else:
            if count:
                self.core.received(conn, self._buffer, count, None)
                self._torn = 0
            else:
                self._lost(conn, "closed", "")

    def _look_first(self) -> None:
        """What was received or became due while nobody waited comes before any write: a connection's end, or bytes
        that answer nobody, which the next command must not take for its reply."""
        # The last piece may be the connection's end: a few reads are worth a command that would be lost.
        for _ in range(LOOKS_MAX):
            if not self._lines or not self._read_ready(self._ready({}, 0)):
                break
        # After the reads: an answer that has lain there is not late.
        self.core.timeout()

    def _ready(self, full: dict[int, socket.socket], delay: float) -> list[tuple[int, int]]:
        """Waits for sockets: those to read from, and the full ones to take bytes again."""
        poll = self._poll
        if poll is None or full:
            poll = self._make_poll(full)
        found: list[tuple[int, int]] = poll.poll(max(0.0, delay) * 1000)
        return found

    def _make_poll(self, full: dict[int, socket.socket]) -> Any:
        waker = self._waker
        if waker is None:
            waker = self._waker = Waker()
        poll, conns, lines = make_poll(), {}, list(self._lines.items())
        poll.register(waker.sock, READ)
        for conn, sock in lines:
            poll.register(sock, READ | WRITE if conn in full else READ)
            conns[sock.fileno()] = conn
        for dial in self._dials.values():
            if dial.sock is not None:
                poll.register(dial.sock, WRITE)
        self._conns = conns
        if not full:
            self._poll = poll
            if len(lines) == 1 and not self._dials:
                self._conn, self._sole = lines[0]
        return poll

    def _read_ready(self, ready: list[tuple[int, int]]) -> bool:
        """Reads from sockets that have something; whether any had."""
        was_read = False
        for number, events in ready:
            conn = self._conns.get(number)
            sock = None if conn is None else self._lines.get(conn)
            if conn is None or sock is None:
                if self._waker is not None and number == self._waker.sock.fileno():
                    self._waker.clear()
            elif events & ~WRITE and sock.fileno() == number:
                self._read(conn, sock)
                was_read = True
        return was_read

    def _look_at(self, sock: socket.socket) -> bool:
        """Reads from one socket, where it has something; whether it is in use as before."""
        conn = next((conn for conn, other in self._lines.items() if other is sock), None)
        if conn is None:
            return any(dial.sock is sock for dial in self._dials.values())
        if is_readable(sock):
            self._read(conn, sock)
        return self._lines.get(conn) is sock

    # What the core wants done. The turn is held.

    def _attend(self) -> None:
        """Does what the core wants done, and brings the connections on their way further."""
        core = self.core
        self._mend_if_torn()
        while (action := core.action()) is not None:
            kind, *rest = action
            if kind == "connect":
                self._connect(*rest)
            elif kind == "disconnect":
                self._disconnect(*rest)
            elif kind == "token" and self.supply is not None:
                self.supply.request(self, *rest)
            core.acted()
        for conn, dial in list(self._dials.items()):
            self._advance(conn, dial)

    def _connect(self, conn: int, host: str, port: int) -> None:
        self._sole = self._poll = None
        try:
            host, port = remapped(self._options, host, port)
        except OSError as error:
            self.core.disconnected(conn, "failed", str(error))
            return
        dial = self._dials.setdefault(conn, Dial(host, port))
        # A look-up that holds nobody up needs no thread.
        in_thread = self._background and (bool(self._lines) or _background.is_here())
        dial.begin(self._looked_up if in_thread else None)
        if self._background:
            _background.poke()

    def _looked_up(self) -> None:
        self._wake()
        _background.poke()

    def _advance(self, conn: int, dial: Dial) -> None:
        if conn in self._lines:
            self._lost(conn, "broken", "interrupted")
            return
        self._sole = self._poll = None
        try:
            sock = dial.advance()
        except OSError as error:
            del self._dials[conn]
            self.core.disconnected(conn, "failed", str(error))
            return
        if sock is None:
            return
        prepare(sock, self._quick)
        self.watched.pop(sock.fileno(), None)
        self._lines[conn] = sock
        self.core.connected(conn)
        del self._dials[conn]
        if self._background:
            _background.poke()

    def _disconnect(self, conn: int, last_bytes: bytes) -> None:
        sock = self._lines.get(conn)
        if last_bytes and sock is not None:
            try:
                sock.send(last_bytes, DONT_WAIT)
            except OSError:
                pass
        self._drop(conn)

    def _lost(self, conn: int, how: str, text: str) -> None:
        self._torn = conn
        self._drop(conn)
        self.core.disconnected(conn, how, text)
        self._torn = 0

    def _drop(self, conn: int) -> None:
        self._sole = self._poll = None
        sock = self._lines.pop(conn, None)
        dial = self._dials.pop(conn, None)
        # A number that was closed may be another socket's by the time that a late write comes.
        while self.core.is_written:
            time.sleep(0)
        if sock is not None:
            sock.close()
        elif dial is not None:
            dial.close()

    def _drop_all(self) -> None:
        for conn in (*self._lines, *self._dials):
            self._drop(conn)
        waker, self._waker = self._waker, None
        self._poll = None
        if waker is not None:
            waker.close()

    def _mend_if_torn(self) -> None:
        """Where an exception came from outside (Ctrl-C) at a moment when bytes may have been lost between a socket
        and the core, replies and commands would come apart: that connection ends."""
        core: Core = self.core
        if self._torn:
            self._lost(self._torn, "broken", "interrupted")
        if core.is_torn:
            conn = core.torn()
            if conn is not None:
                self._lost(conn, "broken", "interrupted")
            core.mended()
