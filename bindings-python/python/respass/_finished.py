"""Awaitables whose values a function finishes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any


class Finished:
    """The command runs whether it is awaited or not."""

    __slots__ = ("_function", "_future")

    def __init__(self, future: Any, function: Callable[[Any], Any]) -> None:
        self._future, self._function = future, function

    def __await__(self) -> Generator[Any, None, Any]:
        return self._function((yield from self._future.__await__()))
