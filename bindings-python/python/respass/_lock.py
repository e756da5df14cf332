"""Locks that processes share: a key that holds its owner's token, and lives no longer than `timeout`."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from types import SimpleNamespace
from typing import Any, Self

from .exceptions import LockError, LockNotOwnedError

_LOG = logging.getLogger("respass")

#: Each compares the token and acts at once: in two steps, the lock could change hands in between.
_RELEASE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[1])
return 1
"""
#: ARGV: token, milliseconds, and 1 to replace the time left or 0 to add to it.
_EXTEND = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
local left = redis.call('pttl', KEYS[1])
if left < 0 then return 0 end
if ARGV[3] == '1' then left = 0 end
redis.call('pexpire', KEYS[1], left + ARGV[2])
return 1
"""
#: ARGV: token, milliseconds. A key whose time has no end gets one.
_REACQUIRE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('pexpire', KEYS[1], ARGV[2])
return 1
"""

_UNOWNED = "Cannot {} a lock that's no longer owned"
_UNLOCKED = "Cannot {} a lock that's not owned or is already unlocked."
_NO_TIMEOUT = "Cannot {} a lock with no timeout"
_TOO_LATE = "Unable to acquire lock within the time specified"


class BaseLock:
    """Options and the token."""

    def __init__(
        self,
        redis: Any,
        name: Any,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
        raise_on_release_error: bool = True,
    ) -> None:
        """`timeout`, `sleep` and `blocking_timeout` are seconds. With `thread_local` the token belongs to the
        thread that acquired the lock, and no other can release it."""
        self.redis, self.name = redis, name
        self.timeout, self.sleep = timeout, sleep
        self.blocking, self.blocking_timeout = blocking, blocking_timeout
        self.thread_local = bool(thread_local)
        self.raise_on_release_error = raise_on_release_error
        self.local: Any = threading.local() if self.thread_local else SimpleNamespace()
        self.local.token = None
        self.lua_release = redis.register_script(_RELEASE)
        self.lua_extend = redis.register_script(_EXTEND)
        self.lua_reacquire = redis.register_script(_REACQUIRE)

    def _token(self) -> bytes | None:
        return getattr(self.local, "token", None)

    def _take_token(self) -> bytes:
        token = self._expect("release")
        self.local.token = None
        return token

    def _expect(self, verb: str, needs_timeout: bool = False) -> bytes:
        token = self._token()
        if token is None:
            # redis-py's own words, which differ by verb.
            text = _UNLOCKED if verb == "release" else "Cannot {} an unlocked lock"
            raise LockError(text.format(verb), lock_name=self.name)
        if needs_timeout and self.timeout is None:
            raise LockError(_NO_TIMEOUT.format(verb), lock_name=self.name)
        return token

    def _check(self, answer: Any, verb: str) -> bool:
        if not answer:
            raise LockNotOwnedError(_UNOWNED.format(verb), lock_name=self.name)
        return True

    def _setting(self) -> dict[str, Any]:
        return {"nx": True, "px": int(self.timeout * 1000) if self.timeout else None}

    def _extension(self, token: bytes, seconds: float, replace: bool) -> dict[str, Any]:
        return {"keys": [self.name], "args": [token, int(seconds * 1000), int(replace)]}

    def _reacquisition(self, token: bytes) -> dict[str, Any]:
        return {"keys": [self.name], "args": [token, int((self.timeout or 0) * 1000)]}

    def _is_own(self, stored: Any) -> bool:
        own = self._token()
        return own is not None and _bytes(stored) == own

    def _forgive(self, error: LockError) -> None:
        if self.raise_on_release_error:
            raise error
        _LOG.warning("Lock was unlocked or no longer owned when exiting context manager.")

    def _plan(self, sleep: Any, token: Any, blocking: Any, blocking_timeout: Any) -> _Attempts:
        return _Attempts(
            self.sleep if sleep is None else sleep,
            secrets.token_hex(16).encode() if token is None else _bytes(token),
            self.blocking if blocking is None else blocking,
            self.blocking_timeout if blocking_timeout is None else blocking_timeout,
        )


def _bytes(text: Any) -> Any:
    return text.encode() if isinstance(text, str) else text


class _Attempts:
    """How to go about acquiring."""

    def __init__(self, sleep: float, token: bytes, blocking: bool, timeout: float | None) -> None:
        self.sleep, self.token, self._blocking = sleep, token, blocking
        self._end = None if timeout is None else time.monotonic() + timeout

    def may_go_on(self) -> bool:
        """Whether another attempt, after a sleep, is in time."""
        return self._blocking and (self._end is None or time.monotonic() + self.sleep <= self._end)


class Lock(BaseLock):
    """A lock that processes and threads share."""

    def __enter__(self) -> Self:
        if self.acquire():
            return self
        raise LockError(_TOO_LATE, lock_name=self.name)

    def __exit__(self, *_exception: object) -> None:
        try:
            self.release()
        except LockError as error:
            self._forgive(error)

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: str | bytes | None = None,
    ) -> bool:
        """Whether the lock could be had; waits for it, unless told otherwise."""
        plan = self._plan(sleep, token, blocking, blocking_timeout)
        while not self.do_acquire(plan.token):
            if not plan.may_go_on():
                return False
            time.sleep(plan.sleep)
        self.local.token = plan.token
        return True

    def do_acquire(self, token: bytes) -> bool:
        """One attempt."""
        return bool(self.redis.set(self.name, token, **self._setting()))

    def locked(self) -> bool:
        """Whether anybody holds the lock."""
        return self.redis.get(self.name) is not None

    def owned(self) -> bool:
        """Whether this object holds the lock."""
        return self._is_own(self.redis.get(self.name))

    def release(self) -> None:
        """Gives the lock back."""
        self.do_release(self._take_token())

    def do_release(self, expected_token: bytes) -> None:
        """Gives the lock back if this is its token."""
        self._check(self.lua_release(keys=[self.name], args=[expected_token]), "release")

    def extend(self, additional_time: float, replace_ttl: bool = False) -> bool:
        """Adds seconds to the time left, or replaces it."""
        token = self._expect("extend", needs_timeout=True)
        return self._check(self.lua_extend(**self._extension(token, additional_time, replace_ttl)), "extend")

    def reacquire(self) -> bool:
        """Sets the time left to `timeout` again."""
        token = self._expect("reacquire", needs_timeout=True)
        return self._check(self.lua_reacquire(**self._reacquisition(token)), "reacquire")


class AsyncLock(BaseLock):
    """The same for asyncio."""

    async def __aenter__(self) -> Self:
        if await self.acquire():
            return self
        raise LockError(_TOO_LATE, lock_name=self.name)

    async def __aexit__(self, *_exception: object) -> None:
        try:
            await self.release()
        except LockError as error:
            self._forgive(error)

    async def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: str | bytes | None = None,
    ) -> bool:
        """Whether the lock could be had; waits for it, unless told otherwise."""
        plan = self._plan(sleep, token, blocking, blocking_timeout)
        while not await self.do_acquire(plan.token):
            if not plan.may_go_on():
                return False
            await asyncio.sleep(plan.sleep)
        self.local.token = plan.token
        return True

    async def do_acquire(self, token: bytes) -> bool:
        """One attempt."""
        return bool(await self.redis.set(self.name, token, **self._setting()))

    async def locked(self) -> bool:
        """Whether anybody holds the lock."""
        return await self.redis.get(self.name) is not None

    async def owned(self) -> bool:
        """Whether this object holds the lock."""
        return self._is_own(await self.redis.get(self.name))

    async def release(self) -> None:
        """Gives the lock back."""
        await self.do_release(self._take_token())

    async def do_release(self, expected_token: bytes) -> None:
        """Gives the lock back if this is its token."""
        self._check(await self.lua_release(keys=[self.name], args=[expected_token]), "release")

    async def extend(self, additional_time: float, replace_ttl: bool = False) -> bool:
        """Adds seconds to the time left, or replaces it."""
        token = self._expect("extend", needs_timeout=True)
        answer = await self.lua_extend(**self._extension(token, additional_time, replace_ttl))
        return self._check(answer, "extend")

    async def reacquire(self) -> bool:
        """Sets the time left to `timeout` again."""
        token = self._expect("reacquire", needs_timeout=True)
        return self._check(await self.lua_reacquire(**self._reacquisition(token)), "reacquire")
