"""Plays the conversation vectors against the native core: ``vectors.py ROOT NAME…``, see tests/vectors."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from respass import _respass as native
from respass._config import Options
from respass.exceptions import RedisError
from vector_script import Script


class Player(Script):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.clocks = 1_000_000, 1_800_000_000_000_000
        native.stop_clocks(*self.clocks)
        self.source = native.Source(b"\x08" * 32)
        self.source.subscribe()
        self.core, self.calls, self.held = None, {}, False

    def event(self, verb: str, *rest: str) -> None:
        EVENTS[verb](self, *rest)

    def configure(self, pairs: str) -> None:
        given = dict(pair.split("=") for pair in pairs.split())
        options = Options(given.get("host", "localhost"), 6379, tls=False, username=given.get("user"))
        options.password = given["password"].encode() if "password" in given else None
        options.client_name, options.db = given.get("name", ""), int(given.get("db", 0))
        options.has_credential, options.allow_plaintext_token = "token" in given, "plaintext" in given
        options.socket_timeout = float(given.get("command", "5s")[:-1])
        options.socket_connect_timeout = float(given.get("connect", "10s")[:-1])
        options.decode_responses = "strings" in given
        try:
            self.core = native.Core(options, b"\x07" * 32)
        except RedisError as error:
            self.doings.append(f"invalid {self.show(str(error))}")

    def fetched(self, name: str, times: str = "") -> None:
        self.source.fetched(self.tokens[name].decode(), *map(float, times.split()))

    def unfetched(self, status: str, rest: str) -> None:
        wait, permanence, text = rest.split(" ", 2)
        stated = int(status) or None, float(wait) or None
        self.source.failed(self.read(text).decode(), *stated, permanence == "permanent")

    def advance(self, monotonic: float, unix: float) -> None:
        self.clocks = self.clocks[0] + round(monotonic * 1e6), self.clocks[1] + round(unix * 1e6)
        native.stop_clocks(*self.clocks)

    def wait(self, seconds: float) -> None:
        self.advance(seconds, seconds)
        for machine in filter(None, (self.core, self.source)):
            machine.timeout()

    def timer(self) -> None:
        waits = [wait for wait in (self.core.wakeup(), self.source.wakeup()) if wait is not None]
        self.doings.append(f"waited {min(waits):.6f}s" if waits else "no timer")
        for wait in sorted(waits)[:1]:
            self.wait(wait)

    def submit(self, label: str, words: str, is_transaction: bool) -> None:
        buffer = native.CommandBuffer()
        core = self.core
        commands = [list(map(self.read, command.split(" "))) for command in words.split(" | ")]
        for command in commands:
            buffer._call(native.RAW, *command)
        try:
            call = core.submit_all(buffer, True) if is_transaction else core.submit(native.RAW, *commands[0])
            call.wakes(SimpleNamespace(release=lambda: self.end(label)))
            self.calls[label] = call
        except RedisError as error:
            self.outcomes.append(f"failed {label} {self.error(error)}")

    def end(self, label: str) -> None:
        try:
            self.outcomes.append(f"reply {label} {self.value(self.calls[label].result())}")
        except RedisError as error:
            self.outcomes.append(f"failed {label} {self.error(error)}")

    def receive(self, conn: str, text: str) -> None:
        data = bytearray(self.read(text))
        self.core.received(int(conn), data, len(data), None)

    def lose(self, conn: str, how: str, text: str = "") -> None:
        self.core.disconnected(int(conn), how, self.read(text).decode())

    def obey(self) -> bool:
        busy = False
        while self.core and (action := self.core.action()):
            busy = True
            self.act(*action)
            self.core.acted()
        for what, *more in self.source.outputs():
            busy = True
            if what in ("issued", "failed"):
                (self.core.token if what == "issued" else self.core.token_failed)(more[0])
            else:
                self.doings.append("fetch" if what == "fetch" else f"supply {more[0]}")
        for name, _, text, _ in self.core.notices() if self.core else ():
            self.notices.append(f"notice {name} {self.show(text)}")
        # Bytes leave when all else is done.
        return busy or (not self.held and self.send())

    def act(self, what: str, number: int, host: Any = "", port: int = 0) -> None:
        if what == "connect":
            self.doings.append(f"open {number} {host}:{port}")
        elif what == "disconnect":
            self.doings.append(f"close {number}")
        else:
            self.doings.append(f"token-needed {number}")
            if token := self.source.request(number):
                self.core.token(token)

    def send(self) -> bool:
        busy = False
        for conn in sorted((self.core and self.core.writable()) or ()):
            piece = self.core.take(conn)
            if piece:
                busy = True
                self.core.sent(piece, len(piece))
                self.doings.extend(f"send {conn} {text}" for text in self.sent(piece))
        return busy


EVENTS: dict[str, Any] = {
    "config": lambda player, *pairs: player.configure(" ".join(pairs)),
    "token": Script.define,
    "fetched": Player.fetched,
    "unfetched": Player.unfetched,
    "after": lambda player, time: player.wait(float(time[:-1])),
    "timer": Player.timer,
    "jump": lambda player, time: player.advance(0, float(time[:-1])),
    "hold": lambda player: setattr(player, "held", True),
    "flow": lambda player: setattr(player, "held", False),
    "piece": Player.send,
    "call": lambda player, label, words: player.submit(label, words, False),
    "multi": lambda player, label, words: player.submit(label, words, True),
    "cancel": lambda player, label: player.core.cancel(player.calls[label]),
    "connect": lambda player: player.core.connect(),
    "close": lambda player: player.core.close(),
    "connected": lambda player, conn: player.core.connected(int(conn)),
    "recv": Player.receive,
    "closed": lambda player, conn: player.lose(conn, "closed"),
    "broken": lambda player, conn, text: player.lose(conn, "broken", text),
    "unreachable": lambda player, conn, text: player.lose(conn, "failed", text),
}


if __name__ == "__main__":
    sys.exit(not Player.main(Path(sys.argv[1]), sys.argv[2:]))
