"""Plays the conversation vectors against the native core: ``vectors.py ROOT NAME…``; see tests/vectors/README.md."""

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from respass import _respass as native
from respass._config import Options
from respass.exceptions import RedisError

ESCAPE = re.compile(rb"\\(?:\*(\d+)\{(.*?)\}|<(.*?)>|x(..)|(.))", re.S)
SHOWN = {13: "\\r", 10: "\\n", 34: '\\"', 92: "\\\\"}
WORDS = {None: "null", True: "true", False: "false"}


class Player:
    def __init__(self, root: Path) -> None:
        self.root, self.clocks, self.held, self.conn = root, (1_000_000, 1_800_000_000_000_000), False, 0
        self.advance(0, 0)
        self.core: Any = None
        self.source = native.Source(b"\x08" * 32)
        self.source.subscribe()
        self.tokens: dict[bytes, bytes] = {}
        self.calls: dict[str, Any] = {}
        self.nonce = b""
        self.outcomes, self.notices, self.doings = lists = ([], [], [])  # type: ignore[var-annotated]
        self.lists: tuple[list[str], ...] = lists

    def play(self, name: str) -> Iterator[str]:
        for line in (self.root / f"{name}.txt").read_text("ascii").splitlines():
            if line.startswith("    "):
                continue
            yield line
            if line.startswith("given "):
                list(self.play(line[6:]))
            elif line and not line.startswith("#"):
                verb, *rest = line.removesuffix(" &").split(" ", 2)
                EVENTS[verb](self, *rest)
                if line.endswith(" &"):
                    continue
                while self.obey():
                    pass
                for lines in self.lists:
                    yield from ("    " + line for line in lines)
                    lines.clear()

    def read(self, text: str) -> bytes:
        def one(match: re.Match[bytes]) -> bytes:
            count, inner, token, byte, char = match.groups()
            if count or token or byte:
                return (
                    self.read(inner.decode()) * int(count)
                    if count
                    else self.tokens.get(token) or bytes.fromhex(byte.decode())
                )
            return self.nonce if char == b"p" else {b"r": b"\r", b"n": b"\n"}.get(char, char)

        return ESCAPE.sub(one, text.strip('"').encode())

    def show(self, text: bytes | str) -> str:
        names = {token: f"\\<{name.decode()}>" for name, token in self.tokens.items()}

        def one(match: re.Match[bytes]) -> str:
            byte, count = match[0][0], len(match[0])
            char = SHOWN.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")
            return names.get(match[0]) or (char if count == 1 else f"\\*{count}{{{char}}}")

        parts = b"|".join([*map(re.escape, names), rb"(.)\1{31,}", rb"."])
        data = text.encode() if isinstance(text, str) else text
        return '"' + "".join(map(one, re.finditer(parts, data, re.S))) + '"'

    def error(self, error: RedisError) -> str:
        text = re.sub(r" \(not sent\)| \(it may have run\)", "", str(error))
        text = re.sub("^[A-Z]+ ", "", text) if error.code >= 500 else text
        return f"{error.code} {error.outcome.replace('_', '-')} {self.show(text)}"

    def value(self, value: Any) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(self.value, value)) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.value(k)}: {self.value(v)}" for k, v in value.items()) + "}"
        if isinstance(value, RedisError):
            return "error " + self.error(value)
        if value is None or isinstance(value, bool):
            return WORDS[value]
        return self.show(value) if isinstance(value, bytes | str) else str(value).removesuffix(".0")

    def configure(self, pairs: str) -> None:
        given = dict(pair.split("=", 1) for pair in pairs.split(" "))
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

    def define(self, name: str, text: str) -> None:
        payload = base64.urlsafe_b64encode(text.encode()).rstrip(b"=")
        self.tokens[name.encode()] = b"e30." + payload + b".c2ln" if text[0] == "{" else self.read(text)

    def fetched(self, name: str, times: str = "") -> None:
        moments = (None if time == "-" else float(time) for time in times.split())
        self.source.fetched(self.tokens[name.encode()].decode("latin-1"), *moments)

    def unfetched(self, status: str, rest: str) -> None:
        wait, permanence, text = rest.split(" ", 2)
        numbers = (None if status == "-" else int(status), None if wait == "-" else float(wait))
        self.source.failed(self.read(text).decode(), *numbers, permanence == "permanent")

    def advance(self, monotonic: float, unix: float) -> None:
        self.clocks = self.clocks[0] + round(monotonic * 1e6), self.clocks[1] + round(unix * 1e6)
        native.stop_clocks(*self.clocks)

    def wait(self, seconds: float) -> None:
        self.advance(seconds, seconds)
        if self.core:
            self.core.timeout()
        self.source.timeout()

    def timer(self) -> None:
        waits = [wait for wait in (self.core.wakeup(), self.source.wakeup()) if wait is not None]
        self.doings.append(f"waited {min(waits):.6f}s" if waits else "no timer")
        if waits:
            self.wait(min(waits))

    def submit(self, label: str, words: str, is_transaction: bool) -> None:
        buffer = native.CommandBuffer()
        commands = [list(map(self.read, command.split(" "))) for command in words.split(" | ")]
        for command in commands:
            buffer._call(native.RAW, *command)
        try:
            call = (
                self.core.submit_all(buffer, True)
                if is_transaction
                else self.core.submit(native.RAW, *commands[0])
            )
        except RedisError as error:
            self.outcomes.append(f"failed {label} {self.error(error)}")
        else:
            self.calls[label] = call
            call.wakes(Waker(self, label))

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
            if what == "issued":
                self.core.token(more[0])
            elif what == "failed":
                self.core.token_failed(more[0])
            else:
                self.doings.append("fetch" if what == "fetch" else f"supply {more[0]}")
        if self.core:
            self.notices.extend(
                f"notice {name} {self.show(text)}" for name, _, text, _ in self.core.notices()
            )
        return busy or (not self.held and self.send())

    def act(self, what: str, number: int, host: Any = "", port: int = 0) -> None:
        if what == "token":
            self.doings.append(f"token-needed {number}")
            if token := self.source.request(number):
                self.core.token(token)
        elif what == "disconnect":
            self.doings.append(f"close {number}")
        else:
            self.conn = number
            self.doings.append(f"open {number} {host}:{port}")

    def send(self) -> bool:
        piece = self.core.take(self.conn) if self.core and self.core.has_bytes else b""
        if not piece:
            return False
        self.core.sent(piece, len(piece))
        self.nonce = (re.findall(rb"PING\r\n\$16\r\n(.{16})", piece) or [self.nonce])[-1]
        for command in re.split(rb"(?<=\r\n)(?=\*)", piece):
            self.doings.append(f"send {self.conn} {self.show(command)}")
        return True


class Waker:
    def __init__(self, player: Player, label: str) -> None:
        self.player, self.label = player, label

    def release(self) -> None:
        """What a call does when it is complete."""
        try:
            value = self.player.calls[self.label].result()
            self.player.outcomes.append(f"reply {self.label} {self.player.value(value)}")
        except RedisError as error:
            self.player.outcomes.append(f"failed {self.label} {self.player.error(error)}")


EVENTS: dict[str, Any] = {
    "config": lambda player, *pairs: player.configure(" ".join(pairs)),
    "token": Player.define,
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


def main(root: Path, names: list[str]) -> int:
    passed = 0
    for name in names:
        played = "".join(line + "\n" for line in Player(root).play(name))
        log = 0x811C9DC5
        for byte in played.encode():
            log = (log ^ byte) * 0x01000193 & 0xFFFFFFFF
        print(f"vector {log:08x} {name}")
        if played == (root / f"{name}.txt").read_text("ascii"):
            passed += 1
        else:
            print(f"{name} went like this:\n{played}", file=sys.stderr)
    print(f"vectors: {passed} passed")
    return passed != len(names)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
