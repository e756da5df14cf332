"""Watched keys, blocking commands and MONITOR: each over a connection of its own, and none of them in the way of
others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis
import respass
import respass.asyncio
from conftest import Server

#: Longest wait for something that comes at once.
SOON = 10.0


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis]:
    with respass.Redis(port=server.port) as client:
        client.flushdb()
        yield client


@contextlib.asynccontextmanager
async def client(server: Server, **options: Any) -> AsyncIterator[respass.asyncio.Redis]:
    async with asyncio.timeout(30), respass.asyncio.Redis(port=server.port, **options) as r:
        await r.flushdb()
        yield r


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waits(r: respass.Redis) -> bool:
    """Whether a connection of this server's waits in a blocking command."""
    return any(one["flags"] == "b" for one in r.client_list())


# Watched keys


@pytest.mark.parametrize("kind", [redis.Redis, respass.Redis])
def test_a_pipeline_sees_whether_watched_keys_were_written_to(server: Server, kind: Any) -> None:
    with kind(port=server.port) as r:
        r.flushdb()
        r.set("n", 5)
        with r.pipeline() as p:
            assert p.watch("n") is True
            assert p.get("n") == b"5" and p.hgetall("h") == {}
            p.multi()
            assert p.set("n", 6) is p
            assert p.execute() == [True]
            p.watch("n")
            r.set("n", 7)
            p.multi()
            p.set("n", 8)
            with pytest.raises((redis.WatchError, respass.WatchError)):
                p.execute()
            assert r.get("n") == b"7" and len(p) == 0
            p.watch("n")
            assert p.unwatch() is True
            assert p.get("n").execute() == [b"7"]


@pytest.mark.parametrize("kind", [redis.Redis, respass.Redis])
def test_misuse_is_refused_as_redis_py_does(server: Server, kind: Any) -> None:
    errors = (redis.RedisError, respass.RedisError)
    with kind(port=server.port) as r, r.pipeline() as p:
        p.watch("k")
        p.multi()
        with pytest.raises(errors, match="nested"):
            p.multi()
        with pytest.raises(errors, match="after a MULTI"):
            p.watch("k")
        p.reset()
        p.get("k")
        with pytest.raises(errors, match="without an initial WATCH"):
            p.multi()


@pytest.mark.parametrize("kind", [redis.Redis, respass.Redis])
def test_an_empty_transaction_tells_of_watched_keys(server: Server, kind: Any) -> None:
    with kind(port=server.port) as r, r.pipeline() as p:
        p.watch("k")
        assert p.execute() == []
        p.watch("k")
        r.set("k", 1)
        with pytest.raises((redis.WatchError, respass.WatchError)):
            p.execute()


def test_commands_without_a_transaction_run_in_the_session(r: respass.Redis) -> None:
    with r.pipeline(transaction=False) as p:
        p.watch("k")
        assert p.wait(0, 10) == 0
        own = p.client_id()
        assert own != r.client_id()
        p.multi()
        p.set("k", 1).get("k")
        assert p.execute() == [True, b"1"]


def test_a_transaction_is_tried_until_nobody_interferes(r: respass.Redis) -> None:
    r.set("n", 0)

    def add(p: Any) -> str:
        value = int(p.get("n"))
        p.multi()
        p.set("n", value + 1)
        return "added"

    def work() -> None:
        for _ in range(20):
            assert r.transaction(add, "n", value_from_callable=True) == "added"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert r.get("n") == b"80"


def test_a_connection_that_is_lost_while_keys_are_watched_is_a_watch_error(
    r: respass.Redis, server: Server
) -> None:
    with r.pipeline() as p:
        for step in ("command", "execute"):
            p.watch("k")
            server.kill_clients()
            if step == "execute":
                time.sleep(0.1)
                p.multi()
            with pytest.raises(respass.WatchError):
                p.get("k")
                p.execute()
            assert not p.watching
            assert p.set("k", 1).execute() == [True]


def test_no_connection_is_left_with_a_pipeline(server: Server) -> None:
    """Whatever its end: the connections go back, so that a pool of two serves any number."""
    with respass.Redis(port=server.port, max_own_connections=2, socket_timeout=2) as r:
        for turn in range(60):
            p = r.pipeline()
            p.watch("k")
            with contextlib.suppress(ZeroDivisionError, respass.ResponseError):
                match turn % 6:
                    case 0:
                        p.execute()
                    case 1:
                        p.reset()
                    case 2:
                        with p:
                            raise ZeroDivisionError
                    case 3:
                        p.multi()
                        p.set("k", 1).hget("k", "f").execute()
                    case 4:
                        r.transaction(lambda _: 1 / 0, "k")
                        p.unwatch()
                        p.reset()
            del p
            gc.collect()
        own = [one for one in r.auth_status()["connections"] if one.lane != "main"]
        assert 1 <= len(own) <= 2


def test_asyncio_pipelines_watch_keys(server: Server) -> None:
    async def main() -> None:
        async with client(server, max_own_connections=2, socket_timeout=2) as r:
            async with r.pipeline() as p:
                assert await p.watch("n") is True
                assert await p.get("n") is None and await p.hgetall("h") == {}
                p.multi()
                p.set("n", 6)
                assert await p.execute() == [True]
                await p.watch("n")
                await r.set("n", 7)
                p.multi()
                p.set("n", 8)
                with pytest.raises(respass.WatchError):
                    await p.execute()
                assert await p.get("n").execute() == [b"7"]

            async def add(p: respass.asyncio.Pipeline) -> None:
                value = int(await p.get("n"))  # type: ignore[misc]
                p.multi()
                p.set("n", value + 1)

            await asyncio.gather(*(r.transaction(add, "n") for _ in range(10)))
            assert await r.get("n") == b"17"

            async def stuck() -> None:
                async with r.pipeline() as p:
                    await p.watch("n")
                    await asyncio.sleep(30)

            for _ in range(10):  # cancelled at any step: the pool of two is not used up
                task = asyncio.create_task(stuck())
                await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.wait([task])
            p = r.pipeline()
            await p.watch("n")
            del p
            gc.collect()
            async with r.pipeline() as p:
                await p.watch("n")

    asyncio.run(main())


# Blocking commands


def blocking(r: Any) -> list[Any]:
    """Values of the blocking commands, where something is there and where nothing is."""
    r.flushdb()
    r.rpush("l", *range(8))
    r.zadd("z", {"a": 1, "b": 2, "c": 3, "d": 4})
    r.xadd("s", {"f": "v"}, id="1-1")
    r.xgroup_create("s", "g", id="0")
    found = [
        r.blpop("l", 1), r.blpop(["none", "l"], timeout=1), r.brpop("l"), r.brpop(("l",), None),
        r.brpoplpush("l", "m", 1), r.blmove("l", "m", 1, "LEFT", "RIGHT"),
        r.blmpop(1, 1, "l", direction="LEFT"), r.blmpop(1, 2, "l", "m", direction="RIGHT", count=2),
        r.bzpopmin("z", 1), r.bzpopmax(["z"], 1), r.bzmpop(1, 1, ["z"], min=True),
        r.bzmpop(1, 2, ["y", "z"], max=True, count=2),
        r.xread({"s": "0"}, block=100), r.xreadgroup("g", "me", {"s": ">"}, block=100),
    ]  # fmt: skip
    short = 0.01
    found += [
        r.blpop("no", short), r.brpop("no", short), r.brpoplpush("no", "m", short), r.blmove("no", "m", short),
        r.blmpop(short, 1, "no", direction="LEFT"), r.bzpopmin("no", short), r.bzpopmax("no", short),
        r.bzmpop(short, 1, ["no"], min=True), r.xread({"s": "$"}, block=10),
        r.xreadgroup("g", "me", {"s": ">"}, block=10),
    ]  # fmt: skip
    return found


def test_blocking_commands_give_what_redis_pys_give(server: Server) -> None:
    with redis.Redis(port=server.port) as theirs, respass.Redis(port=server.port) as ours:
        assert blocking(ours) == blocking(theirs)


@pytest.mark.parametrize("background", [True, False])
def test_a_blocking_command_holds_up_no_other_thread(server: Server, background: bool) -> None:
    """Also where it came first, and has the only connection there is."""
    with respass.Redis(port=server.port, background=background) as r:
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda key=f"list:{n}": found.append(r.blpop(key, 0))) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        slowest = 0.0
        for turn in range(50):
            began = time.monotonic()
            assert r.echo(str(turn)) == str(turn).encode()
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1.0, slowest
        for n in range(4):
            r.rpush(f"list:{n}", n)
        for thread in threads:
            thread.join(SOON)
        assert sorted(found) == [(b"list:%d" % n, b"%d" % n) for n in range(4)]


def test_its_own_timeout_counts_and_not_the_clients(server: Server) -> None:
    with respass.Redis(port=server.port, socket_timeout=0.3) as r:
        began = time.monotonic()
        assert r.blpop("nothing", 1) is None
        assert 0.9 < time.monotonic() - began < 5


def test_an_interrupted_blocking_command_is_withdrawn(r: respass.Redis, server: Server) -> None:
    class Interrupt(BaseException):
        pass

    wait = r._driver._serve

    def serve(deadline: float | None) -> None:
        wait(deadline)
        if with_server.ping() and waits(with_server):
            raise Interrupt

    with respass.Redis(port=server.port) as with_server:
        r._driver._serve = serve
        with pytest.raises(Interrupt):
            r.blpop("never", 0)
        del r._driver._serve
        assert r.ping()
        until(lambda: not waits(with_server))
        r.rpush("never", 1)
        assert r.llen("never") == 1


@pytest.mark.parametrize("by_name", [False, True])
def test_a_cancelled_blocking_command_is_withdrawn(server: Server, by_name: bool) -> None:
    async def main() -> None:
        async with client(server) as r, respass.asyncio.Redis(port=server.port) as other:

            async def pop() -> Any:
                return await (r.execute_command("BLPOP", "never", 0) if by_name else r.blpop("never"))

            async def waits_here() -> bool:
                return any(one["flags"] == "b" for one in await other.client_list())

            for _ in range(3):
                task = asyncio.create_task(pop())
                while not await waits_here():
                    await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                while await waits_here():
                    await asyncio.sleep(0.01)
            await r.rpush("never", 1)
            assert await r.llen("never") == 1
            assert [one.lane for one in r.auth_status()["connections"]].count("main") == 1

    asyncio.run(main())


def test_asyncio_commands_go_on_beside_blocking_ones(server: Server) -> None:
    async def main() -> None:
        async with client(server) as r:
            tasks = [asyncio.ensure_future(r.blpop(f"list:{n}", 0)) for n in range(20)]
            for turn in range(100):
                assert await r.echo(str(turn)) == str(turn).encode()
            for n in range(20):
                await r.rpush(f"list:{n}", n)
            assert await asyncio.gather(*tasks) == [(b"list:%d" % n, b"%d" % n) for n in range(20)]

    asyncio.run(main())


def test_who_finds_no_connection_free_waits(server: Server) -> None:
    with respass.Redis(port=server.port, max_own_connections=1) as r:
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(r.blpop("l", 0))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for n in range(5):
            r.rpush("l", n)
        for thread in threads:
            thread.join(SOON)
        assert sorted(found) == [(b"l", b"%d" % n) for n in range(5)]
        assert len([one for one in r.auth_status()["connections"] if one.lane == "blocking"]) <= 1


# MONITOR


def test_monitor_shows_what_the_server_runs(r: respass.Redis, server: Server) -> None:
    def shown(client: Any, monitor: Any) -> dict[str, Any]:
        client.set("k", 'a "quoted" value')
        while not (command := monitor.next_command())["command"].startswith("SET k"):
            pass
        return dict(command)

    with redis.Redis(port=server.port) as theirs, theirs.monitor() as monitor:
        expected = shown(theirs, monitor)
    with r.monitor() as monitor:
        found = shown(r, monitor)
    assert found.keys() == expected.keys()
    for name in ("db", "client_address", "client_type", "command"):
        assert found[name] == expected[name], name
    assert isinstance(found["time"], float) and found["client_port"].isdigit()
    until(lambda: not any(one["flags"] == "O" for one in r.client_list()))

    async def main() -> None:
        async with client(server) as a, a.monitor() as monitor:
            await a.set("k", "x")
            async for command in monitor.listen():
                if command["command"] == "SET k x":
                    break

    asyncio.run(main())


def test_a_refused_monitor_says_so(r: respass.Redis) -> None:
    r.execute_command("ACL", "SETUSER", "limited", "on", ">p", "+@all", "-monitor", "~*", "&*")
    try:
        with (
            respass.Redis(port=r._options.port, username="limited", password="p") as limited,
            pytest.raises(respass.NoPermissionError),
            limited.monitor(),
        ):
            pass
    finally:
        r.execute_command("ACL", "DELUSER", "limited")
