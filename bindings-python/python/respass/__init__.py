"""The passwordless Redis client: Microsoft Entra ID tokens that never lapse.

    import respass

    r = respass.Redis("mycache.westeurope.redis.azure.net", 10000, credential=DefaultAzureCredential())
    r.set("greeting", "hi", ex=60)

`respass.asyncio.Redis` is the same for asyncio. Both find out by themselves whether they talk to a cluster.
"""

from __future__ import annotations

from . import asyncio, cluster, exceptions
from ._client import ConnectionStatus, Redis
from ._lock import Lock
from ._logging import Notice
from ._monitor import Monitor
from ._pipeline import Pipeline
from ._pubsub import PubSub, Subscription
from ._respass import __version__
from .cluster import ClusterNode, RedisCluster
from .exceptions import *  # noqa: F403  redis-py has its exceptions at top level, too

for _class in (ClusterNode, ConnectionStatus, Lock, Monitor, Notice, Pipeline, PubSub, Redis, Subscription):
    _class.__module__ = __name__
RedisCluster.__module__ = __name__

from_url = Redis.from_url

__all__ = [
    "ClusterNode",
    "ConnectionStatus",
    "Lock",
    "Monitor",
    "Notice",
    "Pipeline",
    "PubSub",
    "Redis",
    "RedisCluster",
    "Subscription",
    "__version__",
    "asyncio",
    "cluster",
    "exceptions",
    "from_url",
    *exceptions.__all__,
]
