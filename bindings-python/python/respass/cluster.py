"""The client that insists on a cluster: `respass.RedisCluster`.

`respass.Redis` finds out by itself whether a server belongs to a cluster, and does the same then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Unpack, overload

from ._client import Redis, UrlOptions
from ._cluster import ClusterNode, first_node
from ._typed import T

__all__ = ["ClusterNode", "RedisCluster"]


class RedisCluster(Redis[T]):
    """A client of a cluster. A server that belongs to none is an error.

    `startup_nodes` gives host and port of the endpoint, where `host` and `port` do not; the nodes are found.
    """

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
