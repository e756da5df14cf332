"""Clusters: found out by `Redis`, insisted on by `RedisCluster`, wherever their nodes say that they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import respass
import respass.asyncio
from conftest import Emulator, Server, run_emulator


@pytest.fixture(scope="module")
def cluster(emulator_path: str) -> Iterator[Emulator]:
    """Three shards, whose advertised addresses lead nowhere."""
    with (
        pytest.MonkeyPatch.context() as environment,
        run_emulator(emulator_path, 3600, environment, "amr-oss") as emulator,
    ):
        yield emulator


@pytest.fixture
def options(cluster: Emulator) -> dict[str, Any]:
    return {**cluster.options(), "credential": lambda: str(cluster.token()["access_token"])}


def use(r: respass.Redis[Any]) -> None:
    """Keys of every shard, commands over several, a pipeline, a transaction, a subscription."""
    keys = [f"key:{n}" for n in range(50)]
    assert r.mset(dict.fromkeys(keys, "v")) is True
    assert r.mget(keys) == [b"v"] * 50 and r.exists(*keys) == 50
    with r.pipeline(transaction=False) as p:
        for key in keys:
            p.append(key, "w")
        assert p.execute() == [2] * 50
    with r.pipeline() as p:
        p.watch("{tag}a", "{tag}b")
        p.multi()
        assert p.set("{tag}a", 1).incr("{tag}a").execute() == [True, 2]
    r.rpush("{tag}l", 1)
    assert r.blpop("{tag}l", 1) == (b"{tag}l", b"1")
    with r.pubsub(ignore_subscribe_messages=True) as p:
        p.ssubscribe(*(f"shard:{n}" for n in range(10)))
        for n in range(10):
            assert r.spublish(f"shard:{n}", n) == 1
        found: set[bytes] = set()
        deadline = time.monotonic() + 10
        while len(found) < 10:
            assert time.monotonic() < deadline
            message = p.get_message(timeout=1)  # none for a confirmation
            found |= {message["data"]} if message else set()
        assert found == {b"%d" % n for n in range(10)}
    with pytest.raises(respass.ClusterCrossSlotError) as caught:
        r.rename("a", "b")
    assert caught.value.code == 514
    assert isinstance(caught.value, respass.RedisClusterException)
    assert r.delete(*keys) == 50


def test_a_cluster_is_found_out(options: dict[str, Any]) -> None:
    with respass.Redis(**options) as r:
        use(r)
        mains = [one for one in r.auth_status()["connections"] if one.lane == "main"]
        assert len({one.port for one in mains}) == 3
        assert all(one.is_ready and one.expires_at for one in mains)


def test_a_client_that_insists_on_a_cluster(options: dict[str, Any], server: Server) -> None:
    host, port = options.pop("host"), options.pop("port")
    for start in (
        {"host": host, "port": port},
        {"startup_nodes": [respass.ClusterNode(host, port)]},
        {"startup_nodes": [{"host": host, "port": port}]},
    ):
        with respass.RedisCluster(**start, **options) as r:
            assert r.set("k", 1) is True
    with respass.RedisCluster.from_url(f"rediss://{host}:{port}", **options) as r:
        assert type(r) is respass.RedisCluster and r.get("k") == b"1"
    with pytest.raises(respass.ConfigurationError, match="startup_nodes"):
        respass.RedisCluster()
    with respass.RedisCluster("localhost", server.port, socket_timeout=1) as r:
        with pytest.raises(respass.RedisClusterException) as caught:
            r.get("k")
        assert caught.value.code == 205


def test_a_callable_tells_where_nodes_are(options: dict[str, Any]) -> None:
    asked: set[tuple[str, int]] = set()

    def where(address: tuple[str, int]) -> tuple[str, int]:
        asked.add(address)
        return "localhost", address[1]

    with respass.Redis(**options, address_map=where) as r:
        use(r)
    assert {host for host, _ in asked} == {"localhost", "127.0.0.2"}

    def nowhere(address: tuple[str, int]) -> Any:
        raise LookupError("no such node")

    with (
        respass.Redis(**options, address_map=nowhere, socket_timeout=1) as r,
        pytest.raises(respass.ConnectionError, match="no such node"),
    ):
        r.get("k")


@pytest.mark.parametrize(
    "wrong",
    [
        {"address_map": "elsewhere"},
        {"allowed_hosts": ["a"]},
        {"address_map": {("a", 1): "b"}},
        {"max_own_connections": 0},
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(respass.ConfigurationError):
        respass.Redis(**wrong)


def test_asyncio(options: dict[str, Any]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), respass.asyncio.RedisCluster(**options) as r:
            keys = [f"key:{n}" for n in range(50)]
            assert await r.mset(dict.fromkeys(keys, "v")) is True
            assert await asyncio.gather(*(r.get(key) for key in keys)) == [b"v"] * 50
            async with r.pipeline() as p:
                await p.watch("{tag}a")
                p.multi()
                assert await p.set("{tag}a", 1).execute() == [True]
            async with r.pubsub(ignore_subscribe_messages=True) as p:
                await p.ssubscribe(*(f"shard:{n}" for n in range(10)))
                for n in range(10):
                    assert await r.spublish(f"shard:{n}", n) == 1
                found: set[bytes] = set()
                while len(found) < 10:
                    message = await p.get_message(timeout=1)
                    found |= {message["data"]} if message else set()
            assert await r.delete(*keys) == 50

    asyncio.run(main())
