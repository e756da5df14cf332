"""Iteration over what SCAN and its kin give step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic

from ._typed import KeyT, T


def _items(found: Any) -> Any:
    return found.items() if isinstance(found, dict) else found


class SyncIterators(Generic[T]):
    """For the sync client."""

    __slots__ = ()

    scan: Any
    hscan: Any
    sscan: Any
    zscan: Any

    def _steps(self, step: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
        cursor: Any = 0
        while True:
            cursor, found = step(*arguments, cursor, **options)
            yield from _items(found)
            if not cursor:
                return

    def scan_iter(
        self, match: KeyT | None = None, count: int | None = None, _type: str | None = None
    ) -> Iterator[T]:
        """All keys, some of them perhaps more than once."""
        return self._steps(self.scan, match=match, count=count, _type=_type)

    def hscan_iter(
        self,
        name: KeyT,
        match: KeyT | None = None,
        count: int | None = None,
        no_values: bool | None = None,
    ) -> Iterator[Any]:
        """All fields with their values, or with `no_values` their names alone."""
        return self._steps(self.hscan, name, match=match, count=count, no_values=bool(no_values))

    def sscan_iter(self, name: KeyT, match: KeyT | None = None, count: int | None = None) -> Iterator[T]:
        """All members of a set."""
        return self._steps(self.sscan, name, match=match, count=count)

    def zscan_iter(
        self,
        name: KeyT,
        match: KeyT | None = None,
        count: int | None = None,
        score_cast_func: Callable[[float], Any] = float,
    ) -> Iterator[tuple[T, Any]]:
        """All members of a sorted set with their scores."""
        return self._steps(self.zscan, name, match=match, count=count, score_cast_func=score_cast_func)


class AsyncIterators(Generic[T]):
    """For the asyncio client."""

    __slots__ = ()

    scan: Any
    hscan: Any
    sscan: Any
    zscan: Any

    async def _steps(self, step: Callable[..., Any], *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        cursor: Any = 0
        while True:
            cursor, found = await step(*arguments, cursor, **options)
            for item in _items(found):
                yield item
            if not cursor:
                return

    def scan_iter(
        self, match: KeyT | None = None, count: int | None = None, _type: str | None = None
    ) -> AsyncIterator[T]:
        """All keys, some of them perhaps more than once."""
        return self._steps(self.scan, match=match, count=count, _type=_type)

    def hscan_iter(
        self,
        name: KeyT,
        match: KeyT | None = None,
        count: int | None = None,
        no_values: bool | None = None,
    ) -> AsyncIterator[Any]:
        """All fields with their values, or with `no_values` their names alone."""
        return self._steps(self.hscan, name, match=match, count=count, no_values=bool(no_values))

    def sscan_iter(self, name: KeyT, match: KeyT | None = None, count: int | None = None) -> AsyncIterator[T]:
        """All members of a set."""
        return self._steps(self.sscan, name, match=match, count=count)

    def zscan_iter(
        self,
        name: KeyT,
        match: KeyT | None = None,
        count: int | None = None,
        score_cast_func: Callable[[float], Any] = float,
    ) -> AsyncIterator[tuple[T, Any]]:
        """All members of a sorted set with their scores."""
        return self._steps(self.zscan, name, match=match, count=count, score_cast_func=score_cast_func)
