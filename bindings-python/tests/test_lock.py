"""Locks, beside redis-py's own: they respect each other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
import redis
import respass
from conftest import Server
from respass import LockError, LockNotOwnedError


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis[bytes]]:
    with respass.Redis(port=server.port) as client:
        client.flushdb()
        yield client


def test_a_lock_is_held_by_one_and_given_back(r: respass.Redis[bytes]) -> None:
    first, second = r.lock("l"), r.lock("l")
    assert first.acquire(blocking=False) and first.locked() and first.owned()
    assert not second.acquire(blocking=False) and second.locked() and not second.owned()
    assert r.get("l") == first.local.token
    first.release()
    assert not first.locked() and second.acquire(token="mine") and r.get("l") == b"mine"
    second.release()


def test_locks_of_redis_py_are_respected_and_the_other_way_round(
    r: respass.Redis[bytes], server: Server
) -> None:
    with redis.Redis(port=server.port) as other:
        with other.lock("l", timeout=10):
            assert r.lock("l").locked() and not r.lock("l").acquire(blocking=False)
        with r.lock("l", timeout=10):
            assert not other.lock("l").acquire(blocking=False)


def test_waiting_for_a_lock_ends_in_time(r: respass.Redis[bytes]) -> None:
    with r.lock("l"):
        began = time.monotonic()
        assert not r.lock("l", sleep=0.02, blocking_timeout=0.1).acquire()
        assert 0.05 < time.monotonic() - began < 2
        with pytest.raises(LockError, match="within the time specified"), r.lock("l", blocking=False):
            pass


def test_a_waiter_gets_the_lock_when_it_is_given_back(r: respass.Redis[bytes]) -> None:
    lock = r.lock("l")
    lock.acquire()
    taken = threading.Event()

    def wait() -> None:
        with r.lock("l", sleep=0.01, blocking_timeout=10):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not taken.wait(0.1)
    lock.release()
    assert taken.wait(10)
    thread.join(10)


def test_errors_of_locks_that_are_not_held(r: respass.Redis[bytes]) -> None:
    lock = r.lock("l", timeout=10)
    with pytest.raises(LockError, match="not owned or is already unlocked"):
        lock.release()
    with pytest.raises(LockError, match="Cannot extend an unlocked lock"):
        lock.extend(1)
    with pytest.raises(LockError, match="Cannot reacquire an unlocked lock"):
        lock.reacquire()
    lock.acquire()
    r.set("l", "stolen")
    for act in (lambda: lock.extend(1), lock.reacquire, lock.release):
        with pytest.raises(LockNotOwnedError, match="no longer owned") as caught:
            act()
        assert caught.value.lock_name == "l" and isinstance(caught.value, ValueError)
    r.delete("l")
    forever = r.lock("l")
    forever.acquire()
    with pytest.raises(LockError, match="Cannot extend a lock with no timeout"):
        forever.extend(1)


def test_an_owner_may_stay_longer(r: respass.Redis[bytes]) -> None:
    lock = r.lock("l", timeout=10)
    lock.acquire()
    assert lock.extend(20) is True and 29_000 < r.pttl("l") <= 30_000
    assert lock.extend(5, replace_ttl=True) is True and 4_000 < r.pttl("l") <= 5_000
    assert lock.reacquire() is True and 9_000 < r.pttl("l") <= 10_000


def test_a_key_whose_time_has_no_end_is_extended_as_redis_py_does(
    r: respass.Redis[bytes], server: Server
) -> None:
    with redis.Redis(port=server.port) as other:
        for lock, lost in ((r.lock("l", timeout=10), LockNotOwnedError),
                           (other.lock("l", timeout=10), redis.exceptions.LockNotOwnedError)):  # fmt: skip
            lock.acquire()
            r.persist("l")
            for replaces in (False, True):
                with pytest.raises(lost):
                    lock.extend(5, replace_ttl=replaces)
                assert r.pttl("l") == -1
            assert lock.reacquire() is True and 9_000 < r.pttl("l") <= 10_000
            lock.release()


def test_the_token_belongs_to_the_thread_unless_told_otherwise(r: respass.Redis[bytes]) -> None:
    mine, ours = r.lock("a"), r.lock("b", thread_local=False)
    mine.acquire()
    ours.acquire()
    owned: list[bool] = []
    thread = threading.Thread(target=lambda: owned.extend((mine.owned(), ours.owned())))
    thread.start()
    thread.join(10)
    assert owned == [False, True]


def test_leaving_a_lost_lock_may_be_forgiven(
    r: respass.Redis[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with r.lock("l", raise_on_release_error=False):
        r.delete("l")
    assert "no longer owned" in caplog.text
    with pytest.raises(LockNotOwnedError), r.lock("l"):
        r.delete("l")


def test_a_class_of_the_users_own_is_used(r: respass.Redis[bytes]) -> None:
    class Own(respass.Lock):
        pass

    assert type(r.lock("l", lock_class=Own)) is Own


def test_asyncio_locks_are_alike(server: Server) -> None:
    async def run() -> None:
        async with respass.asyncio.Redis(port=server.port, decode_responses=True) as r:
            await r.flushdb()
            async with r.lock("l", timeout=10) as lock:
                assert await lock.owned() and await lock.locked()
                assert not await r.lock("l", sleep=0.01, blocking_timeout=0.05).acquire()
                assert await lock.extend(5) and await lock.reacquire()
                await r.persist("l")
                with pytest.raises(LockNotOwnedError):
                    await lock.extend(5)
                assert await lock.reacquire()
            assert not await lock.locked()
            with pytest.raises(LockError):
                await lock.release()
            await lock.acquire()
            await r.set("l", "stolen")
            with pytest.raises(LockNotOwnedError):
                await lock.extend(1)

    asyncio.run(asyncio.wait_for(run(), 20))
