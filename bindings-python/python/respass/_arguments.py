"""How arguments of methods become arguments of commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any


def flat(first: Any, more: Iterable[Any]) -> list[Any]:
    """`("a", ["b"])` and `(["a", "b"], ())` are the same keys."""
    keys = [first] if isinstance(first, (str, bytes, bytearray, memoryview, int, float)) else list(first)
    keys.extend(more)
    return keys


def pairs(mapping: Mapping[Any, Any]) -> Iterator[Any]:
    """Keys and values in turn."""
    return (item for pair in mapping.items() for item in pair)


def each(word: str, values: Any) -> Iterator[Any]:
    """The word in front of each value."""
    return (item for value in flat(values, ()) for item in (word, value))


def given(*conditions: Any) -> int:
    """How many of them hold."""
    return sum(map(bool, conditions))


def as_seconds(span: Any) -> Any:
    """A span as seconds."""
    return int(span.total_seconds()) if isinstance(span, timedelta) else span


def as_milliseconds(span: Any) -> Any:
    """A span as milliseconds."""
    return int(span.total_seconds() * 1000) if isinstance(span, timedelta) else span


def as_unix_seconds(moment: Any) -> Any:
    """A moment as seconds since 1970."""
    return int(moment.timestamp()) if isinstance(moment, datetime) else moment


def as_unix_milliseconds(moment: Any) -> Any:
    """A moment as milliseconds since 1970."""
    return int(moment.timestamp() * 1000) if isinstance(moment, datetime) else moment
