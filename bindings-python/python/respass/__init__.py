"""The passwordless Redis client: Microsoft Entra ID tokens that never lapse.

    import respass

    r = respass.Redis("mycache.westeurope.redis.azure.net", 10000, credential=DefaultAzureCredential())
    r.set("greeting", "hi", ex=60)

`respass.asyncio.Redis` is the same for asyncio.
"""

from __future__ import annotations

from . import asyncio, exceptions
from ._client import Redis
from ._lock import Lock
from ._logging import Notice
from ._pipeline import Pipeline
from ._respass import __version__
from .exceptions import *  # noqa: F403  redis-py has its exceptions at top level, too

Redis.__module__ = Pipeline.__module__ = Lock.__module__ = Notice.__module__ = __name__


from_url = Redis.from_url

__all__ = [
    "Lock",
    "Notice",
    "Pipeline",
    "Redis",
    "__version__",
    "asyncio",
    "exceptions",
    "from_url",
    *exceptions.__all__,
]
