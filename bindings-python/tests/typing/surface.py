"""What types the clients' users see. Checked by mypy and pyright, never run."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, assert_type

import respass
from respass import Pipeline
from respass.asyncio import Pipeline as AsyncPipeline
from respass.asyncio import Redis as AsyncRedis


def bytes_client() -> None:
    r = respass.Redis("localhost", 6379)
    assert_type(r, respass.Redis[bytes])
    assert_type(r.get("k"), bytes | None)
    assert_type(r.hgetall("h"), dict[bytes, bytes])
    assert_type(r.smembers("s"), set[bytes])
    assert_type(r.zrange("z", 0, -1), list[bytes])
    assert_type(r.zrange("z", 0, -1, withscores=True), list[tuple[bytes, float]])
    assert_type(r.lpop("l"), bytes | None)
    assert_type(r.lpop("l", 2), list[bytes] | None)
    assert_type(r.ttl("k"), int)
    assert_type(r.scan(), tuple[int, list[bytes]])
    assert_type(r.scan_iter(match="k*"), Iterator[bytes])
    assert_type(r.info(), dict[str, Any])
    assert_type(r.geopos("g", "m"), list[tuple[float, float] | None])
    assert_type(r.xrange("s"), list[tuple[bytes, dict[bytes, bytes]]])
    assert_type(r.dump("k"), bytes | None)
    r.set("k", 1, ex=5, nx=True)
    r.zadd("z", {"m": 1.5, b"n": 2}, gt=True)
    r.hset("h", mapping={"a": 1, "b": b"2"})
    r.mget("a", b"b")
    r.mget(["a", b"b"])


def text_client() -> None:
    r = respass.Redis(decode_responses=True, socket_keepalive=True, health_check_interval=30)
    assert_type(r, respass.Redis[str])
    assert_type(r.get("k"), str | None)
    assert_type(r.mget("a", "b"), list[str | None])
    assert_type(r.dump("k"), bytes | None)
    assert_type(respass.Redis.from_url("redis://localhost", decode_responses=True), respass.Redis[str])
    assert_type(respass.from_url("redis://localhost"), respass.Redis[bytes])
    with respass.from_url("redis://localhost", decode_responses=True, db=3) as other:
        assert_type(other.get("k"), str | None)


async def asyncio_client() -> None:
    async with AsyncRedis("localhost", decode_responses=True) as r:
        assert_type(r, AsyncRedis[str])
        assert_type(r.get("k"), Awaitable[str | None])
        assert_type(await r.get("k"), str | None)
        assert_type(await r.zscore("z", "m"), float | None)
        assert_type(await r.spop("s", 2), Any)
        assert_type(r.sscan_iter("s"), AsyncIterator[str])
        async with r.pipeline() as p:
            assert_type(p, AsyncPipeline)
            assert_type(await p.get("k").incr("n").execute(), list[Any])
    assert_type(AsyncRedis.from_url("redis://localhost"), AsyncRedis[bytes])


def pipeline(r: respass.Redis[str]) -> None:
    with r.pipeline(transaction=False) as p:
        assert_type(p, Pipeline)
        assert_type(p.set("a", 1).get("a").zrange("z", 0, -1, withscores=True), Pipeline)
        assert_type(p.execute(raise_on_error=False), list[Any])


def wrong(r: respass.Redis[str]) -> None:
    r.get()  # type: ignore[call-arg]
    r.get("k", "j")  # type: ignore[call-arg]
    r.set("k", object())  # type: ignore[call-overload]
    r.nonsense()  # type: ignore[attr-defined]
    respass.Redis(no_such_option=True)  # type: ignore[call-overload]


def on_notice(notice: respass.Notice) -> None:
    assert_type(notice.connection, int | None)


def noticed() -> None:
    respass.Redis(on_notice=on_notice)
