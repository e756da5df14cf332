"""The format of conversation vectors: the same in every language, see tests/vectors/README.md."""

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from respass.exceptions import RedisError

ESCAPE = re.compile(rb"\\(?:\*(\d+)\{(.*?)\}|<(.*?)>|x(..)|(.))", re.S)
SHOWN = {13: "\\r", 10: "\\n", 34: '\\"', 92: "\\\\"}


class Script:
    """Reads and writes vectors. Who drives the core adds `event` and `obey`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tokens: dict[str, bytes] = {}
        self.nonce = b""
        self.lines: list[list[str]] = [[], [], []]
        self.outcomes, self.notices, self.doings = self.lines

    def event(self, verb: str, *rest: str) -> None:
        raise NotImplementedError

    def obey(self) -> bool:
        """Does what the machines want done; whether there was anything."""
        raise NotImplementedError

    def play(self, name: str) -> Iterator[str]:
        """The lines of a file, with what the core really did."""
        for line in (self.root / f"{name}.txt").read_text("ascii").splitlines():
            if line.startswith("    "):
                continue
            yield line
            if line.startswith("given "):
                list(self.play(line[6:]))
            elif line and line[0] != "#":
                self.event(*line.removesuffix(" &").split(" ", 2))
                while not line.endswith(" &") and self.obey():
                    pass
                for lines in self.lines if not line.endswith(" &") else ():
                    yield from ("    " + line for line in lines)
                    lines.clear()

    @classmethod
    def main(cls, root: Path, names: list[str]) -> bool:
        """Plays files and tells how they went; whether all passed."""
        passed = 0
        for name in names:
            played = "".join(line + "\n" for line in cls(root).play(name))
            print(f"vector {fnv(played):08x} {name}")
            if played == (root / f"{name}.txt").read_text("ascii"):
                passed += 1
            else:
                print(f"{name} went like this:\n{played}", file=sys.stderr)
        print(f"vectors: {passed} passed")
        return passed == len(names)

    def define(self, name: str, text: str) -> None:
        payload = base64.urlsafe_b64encode(text.encode()).rstrip(b"=")
        self.tokens[name] = b"e30." + payload + b".c2ln" if text[0] == "{" else self.read(text)

    def read(self, text: str) -> bytes:
        def one(match: re.Match[bytes]) -> bytes:
            count, inner, token, byte, char = match.groups()
            if count:
                return self.read(inner.decode()) * int(count)
            if token:
                return self.tokens[token.decode()]
            if byte:
                return bytes.fromhex(byte.decode())
            return self.nonce if char == b"p" else {b"r": b"\r", b"n": b"\n"}.get(char, char)

        return ESCAPE.sub(one, text.removeprefix('"').removesuffix('"').encode())

    def show(self, text: bytes | str) -> str:
        names = {token: f"\\<{name}>" for name, token in self.tokens.items()}

        def one(match: re.Match[bytes]) -> str:
            byte, count = match[0][0], len(match[0])
            char = SHOWN.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")
            return names.get(match[0]) or (char if count == 1 else f"\\*{count}{{{char}}}")

        parts = b"|".join([*map(re.escape, names), rb"(.)\1{31,}", rb"."])
        data = text.encode() if isinstance(text, str) else text
        return '"' + "".join(map(one, re.finditer(parts, data, re.S))) + '"'

    def sent(self, piece: bytes) -> list[str]:
        """A text for each command."""
        self.nonce = (re.findall(rb"PING\r\n\$16\r\n(.{16})", piece) or [self.nonce])[-1]
        return [self.show(command) for command in re.split(rb"(?<=\r\n)(?=\*)", piece)]

    def error(self, error: RedisError) -> str:
        # Python's texts tell the outcome, too.
        text = re.sub(r" \(not sent\)| \(it may have run\)", "", str(error))
        text = re.sub("^[A-Z]+ ", "", text) if (error.code or 0) >= 500 else text
        return f"{error.code} {str(error.outcome).replace('_', '-')} {self.show(text)}"

    def value(self, value: Any) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(self.value, value)) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.value(key)}: {self.value(value[key])}" for key in value) + "}"
        if isinstance(value, RedisError):
            return "error " + self.error(value)
        if isinstance(value, bytes | str):
            return self.show(value)
        return "null" if value is None else str(value).lower().removesuffix(".0")


def fnv(text: str) -> int:
    """FNV-1a, to compare what two languages saw."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
