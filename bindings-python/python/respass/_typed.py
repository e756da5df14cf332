"""Command methods as their users see them: `_typed.pyi` has their types."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Generic, TypeVar

from ._commands import Commands

#: What strings of replies are.
T = TypeVar("T", str, bytes)
#: The name of a key, or a pattern.
KeyT = str | bytes | bytearray | memoryview
#: What can be sent.
ValueT = str | bytes | bytearray | memoryview | int | float
#: A span of time.
SpanT = int | timedelta
#: A moment.
MomentT = int | datetime


class SyncCommands(Commands, Generic[T]):
    """Methods return values."""

    __slots__ = ()


class AsyncCommands(Commands, Generic[T]):
    """Methods return awaitables."""

    __slots__ = ()


class PipelineCommands(Commands):
    """Methods return the pipeline."""

    __slots__ = ()
