"""The passwordless Redis client: Microsoft Entra ID tokens that never lapse.

    import respass

    r = respass.Redis("mycache.westeurope.redis.azure.net", 10000, credential=DefaultAzureCredential())
    r.set("greeting", "hi", ex=60)

`respass.asyncio.Redis` is the same for asyncio.
"""

from __future__ import annotations

import os

from . import asyncio, exceptions
from ._client import Redis
from ._lock import Lock
from ._logging import Notice
from ._pipeline import Pipeline
from ._respass import __version__, forked
from .exceptions import *  # noqa: F403  redis-py has its exceptions at top level, too

Redis.__module__ = Pipeline.__module__ = Lock.__module__ = Notice.__module__ = __name__

# A child of fork must not touch the parent's clients: the native module tells them apart from here on.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked)


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
