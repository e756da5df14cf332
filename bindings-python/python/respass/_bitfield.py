"""BITFIELD takes operations one by one."""

from __future__ import annotations

from typing import Any, Self

from ._respass import RAW
from .exceptions import DataError


class BitField:
    """Collects operations on a string's bits. `execute` sends them; a list of their results."""

    def __init__(self, client: Any, key: Any, default_overflow: str | None = None) -> None:
        self._client, self._key = client, key
        self._default_overflow = default_overflow
        self.reset()

    def reset(self) -> None:
        """Drops the operations."""
        self._operations: list[tuple[Any, ...]] = []
        self._latest_overflow = "WRAP"
        if self._default_overflow is not None:
            self.overflow(self._default_overflow)

    def overflow(self, overflow: str) -> Self:
        """What the next INCRBY and SET do beyond their type's range: WRAP, SAT or FAIL."""
        overflow = overflow.upper()
        if overflow != self._latest_overflow:
            self._latest_overflow = overflow
            self._operations.append(("OVERFLOW", overflow))
        return self

    def incrby(self, fmt: str, offset: int | str, increment: int, overflow: str | None = None) -> Self:
        """Adds to an integer."""
        if overflow is not None:
            self.overflow(overflow)
        self._operations.append(("INCRBY", fmt, offset, increment))
        return self

    def get(self, fmt: str, offset: int | str) -> Self:
        """An integer."""
        self._operations.append(("GET", fmt, offset))
        return self

    def set(self, fmt: str, offset: int | str, value: int) -> Self:
        """Sets an integer; the result is the former one."""
        self._operations.append(("SET", fmt, offset, value))
        return self

    @property
    def command(self) -> list[Any]:
        """The command as it will be sent."""
        return ["BITFIELD", self._key, *(word for operation in self._operations for word in operation)]

    def execute(self) -> Any:
        """Sends the operations and begins anew."""
        if not self._operations:
            raise DataError("BITFIELD without an operation")
        command = self.command
        self.reset()
        return self._client._call(RAW, *command)
