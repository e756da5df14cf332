"""Scripts by digest, and pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import respass
from conftest import Server

SCRIPT = "return {KEYS[1], ARGV[1]}"


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis[str]]:
    with respass.Redis(port=server.port, decode_responses=True) as client:
        client.flushdb()
        client.script_flush()
        yield client


def test_a_script_runs_where_the_server_does_not_know_it_and_is_known_afterwards(
    r: respass.Redis[str],
) -> None:
    script = r.register_script(SCRIPT)
    assert r.script_exists(script.sha) == [False]
    assert script(keys=["k"], args=[1]) == ["k", "1"]
    assert r.script_exists(script.sha) == [True]
    assert script(["k"], ["a"]) == ["k", "a"]
    assert r.register_script("return 1")() == 1
    assert r.script_load(SCRIPT) == script.sha


def test_a_pipeline_loads_its_scripts_before_it_runs(r: respass.Redis[str]) -> None:
    first, second = r.register_script(SCRIPT), r.register_script("return 2")
    first(["k"], [0])
    with r.pipeline() as p:
        first(keys=["k"], args=["a"], client=p)
        p.set("x", 1)
        second(client=p)
        assert p.execute() == [["k", "a"], True, 2]
        assert p.register_script("return 3")() is p
        assert p.execute() == [3]


def test_asyncio_scripts_run_alike(server: Server) -> None:
    async def run() -> None:
        async with respass.asyncio.Redis(port=server.port, decode_responses=True) as r:
            await r.script_flush()
            script = r.register_script(SCRIPT)
            assert await script(keys=["k"], args=[1]) == ["k", "1"]
            await r.script_flush()
            async with r.pipeline() as p:
                await script(keys=["k"], args=["a"], client=p)
                p.get("missing")
                assert await p.execute() == [["k", "a"], None]

    asyncio.run(asyncio.wait_for(run(), 20))


def test_functions_that_finish_values_work_in_pipelines_transactions_and_asyncio(server: Server) -> None:
    def ask(p: respass.Pipeline) -> respass.Pipeline:
        p.zadd("z", {"a": 1.5, "b": 2}).zrange("z", 0, -1, withscores=True, score_cast_func=round)
        return p.info("server").execute_command("INFO", "server").get("nothing")

    with respass.Redis(port=server.port) as r:
        for transaction in (True, False):
            r.delete("z")
            _, pairs, info, again, nothing = ask(r.pipeline(transaction=transaction)).execute()
            assert pairs == [(b"a", 2), (b"b", 2)] and nothing is None
            assert info["redis_version"] == again["redis_version"]

    async def run() -> None:
        async with respass.asyncio.Redis(port=server.port) as r:
            section, clients = await asyncio.gather(r.info("server"), r.client_list())
            assert section["tcp_port"] == server.port and len(clients) >= 1
            p = r.pipeline()
            assert (await p.info("server").execute())[0]["tcp_port"] == server.port

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_pipeline_can_be_used_again_after_success_and_after_an_error(r: respass.Redis[str]) -> None:
    p = r.pipeline(transaction=False)
    assert len(p) == 0 and bool(p) and p.execute() == []
    p.set("k", "v").incr("k").get("k")
    assert len(p) == 3
    with pytest.raises(respass.ResponseError, match=r"Command # 2 \(INCRBY k 1\)"):
        p.execute()
    assert len(p) == 0 and p.get("k").execute() == ["v"]
    p.incr("k").info("server")
    first, second = p.execute(raise_on_error=False)
    assert isinstance(first, respass.ResponseError) and "tcp_port" in second
    p.get("k").reset()
    assert p.execute() == []


def test_iterators_give_everything_once(r: respass.Redis[str], server: Server) -> None:
    r.mset({f"key:{n}": n for n in range(300)})
    r.hset("h", mapping={f"f{n}": n for n in range(300)})
    r.sadd("s", *range(300))
    r.zadd("z", {f"m{n}": n for n in range(300)})
    assert set(r.scan_iter("key:*", count=7)) == {f"key:{n}" for n in range(300)}
    assert dict(r.hscan_iter("h")) == {f"f{n}": str(n) for n in range(300)}
    assert set(r.sscan_iter("s", match="1*")) == {str(n) for n in range(300) if str(n)[0] == "1"}
    assert dict(r.zscan_iter("z", score_cast_func=int)) == {f"m{n}": n for n in range(300)}

    async def run() -> None:
        async with respass.asyncio.Redis(port=server.port, decode_responses=True) as a:
            assert {key async for key in a.scan_iter("key:*")} == {f"key:{n}" for n in range(300)}
            assert {field: value async for field, value in a.hscan_iter("h")} == r.hgetall("h")
            assert {member async for member in a.sscan_iter("s")} == r.smembers("s")
            assert len([pair async for pair in a.zscan_iter("z", count=9)]) == 300

    asyncio.run(asyncio.wait_for(run(), 20))
