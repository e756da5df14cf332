"""The asyncio client: `respass.asyncio.Redis`.

A command method returns a future. Commands given within one turn of the event loop leave in one write.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from ._async_pubsub import AsyncPubSub as PubSub
from ._client import BaseRedis, ClientOptions, UrlOptions
from ._cluster import ClusterNode, first_node
from ._config import Options
from ._encoding import Encoding
from ._finished import Finished
from ._iterators import AsyncIterators
from ._lock import AsyncLock as Lock
from ._loop import Drivers, LoopDriver
from ._monitor import AsyncMonitor as Monitor
from ._pipeline import AsyncPipeline as Pipeline
from ._scripts import AsyncScript
from ._typed import AsyncCommands, KeyT, T
from .exceptions import WatchError

__all__ = ["ClusterNode", "Lock", "Monitor", "Pipeline", "PubSub", "Redis", "RedisCluster"]


class Redis(BaseRedis[T], AsyncCommands[T], AsyncIterators[T]):
    """A Redis client for asyncio, with connections for each event loop that it is used on.

    Any number of tasks may share one object; those of one loop share one connection for each server of a cluster,
    beside those that blocking commands, watched keys and subscriptions need.
    """

    _make_lock = Lock
    _make_script = AsyncScript

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Redis[bytes],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: Literal[False] = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...

        @overload
        def __init__(
            self: Redis[str],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: Literal[True],
            **options: Unpack[ClientOptions],
        ) -> None: ...

        @overload
        def __init__(
            self: Redis[Any],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: bool = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...

        def __init__(self, *arguments: Any, **options: Any) -> None: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[False] = False, **kwargs: Unpack[UrlOptions]
    ) -> Redis[bytes]: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[True], **kwargs: Unpack[UrlOptions]
    ) -> Redis[str]: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: bool = False, **kwargs: Unpack[UrlOptions]
    ) -> Redis[Any]: ...

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Any:
        """A client for `redis://` or `rediss://`; options in the URL go before `kwargs`."""
        return cls._from_url(url, kwargs)

    def _call_then(self, function: Callable[[Any], Any], shape: int, *arguments: Any) -> Any:
        return Finished(self._call(shape, *arguments), function)

    def _start(self, options: Options, credential: Any, background: bool) -> None:
        self._drivers = Drivers(self, options, credential)
        self._use(None)

    @property
    def _driver(self) -> Any:
        """The running loop's driver."""
        return self._drivers.current()

    def _use(self, driver: LoopDriver | None) -> None:
        """Has commands go to this driver, or to whichever is the right one."""
        call = self._first_call if driver is None else driver.port.call
        if self._options.encodes_utf8 or driver is None:
            self._call = call
        else:
            self._call = Encoding(call, self._options)

    def _first_call(self, shape: int, *arguments: Any) -> Any:
        self._drivers.switch()
        return self._call(shape, *arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Collects commands that leave together; as a transaction, unless told otherwise."""
        return Pipeline(self._drivers, transaction, self._options)

    async def transaction(
        self,
        func: Callable[[Pipeline], Any],
        *watches: KeyT,
        shard_hint: Any = None,
        value_from_callable: bool = False,
        watch_delay: float | None = None,
    ) -> Any:
        """Calls `func` with a pipeline that watches keys, and executes that; again for as long as they are written
        to meanwhile, after `watch_delay` seconds each time. The replies, or what `func` returned, which is awaited
        where it can be."""
        async with self.pipeline() as pipeline:
            while True:
                try:
                    if watches:
                        await pipeline.watch(*watches)
                    value = func(pipeline)
                    if inspect.isawaitable(value):
                        value = await value
                    replies = await pipeline.execute()
                    return value if value_from_callable else replies
                except WatchError:
                    if watch_delay:
                        await asyncio.sleep(watch_delay)

    def pubsub(
        self,
        *,
        ignore_subscribe_messages: bool = False,
        on_gap: Callable[[PubSub], Any] | None = None,
        shard_hint: Any = None,
    ) -> PubSub:
        """Publish and subscribe, over connections of its own. `on_gap` is called with it, and awaited, where messages
        may be missing, because a connection was lost, before the next message."""
        return PubSub(self, ignore_subscribe_messages, on_gap)

    def monitor(self) -> Monitor:
        """Every command that the server runs; of a cluster, one server."""
        return Monitor(self)

    def auth_status(self) -> dict[str, Any]:
        """See `respass.Redis.auth_status`; that of the running event loop's connection."""
        return super().auth_status()

    async def aclose(self) -> None:
        """Closes the connections. Commands that wait end with an error."""
        await self._drivers.close()

    close = aclose


class RedisCluster(Redis[T]):
    """As `respass.RedisCluster`, for asyncio."""

    _is_cluster = True

    @overload
    def __init__(
        self: RedisCluster[bytes],
        host: str | None = ...,
        port: int = ...,
        startup_nodes: Iterable[Any] | None = ...,
        *,
        decode_responses: Literal[False] = ...,
        **options: Unpack[UrlOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: RedisCluster[str],
        host: str | None = ...,
        port: int = ...,
        startup_nodes: Iterable[Any] | None = ...,
        *,
        decode_responses: Literal[True],
        **options: Unpack[UrlOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: RedisCluster[Any],
        host: str | None = ...,
        port: int = ...,
        startup_nodes: Iterable[Any] | None = ...,
        *,
        decode_responses: bool = ...,
        **options: Unpack[UrlOptions],
    ) -> None: ...

    def __init__(
        self,
        host: str | None = None,
        port: int = 6379,
        startup_nodes: Iterable[Any] | None = None,
        **options: Any,
    ) -> None:
        host, port = first_node(host, port, startup_nodes, options)
        super().__init__(host, port, **options)
