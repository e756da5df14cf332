"""The asyncio client against a real server."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import respass
from conftest import Server
from hostile import hostile, obey
from respass.asyncio import Redis


def on_loop(server: Server, work: Callable[[Redis], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with Redis(port=server.port, **options) as r:
            await r.flushdb()
            return await work(r)

    return asyncio.run(main())


def test_commands_pipelines_and_transactions(server: Server) -> None:
    async def work(r: Redis) -> None:
        assert await r.set("k", "v") is True and await r.get("k") == b"v"
        assert await r.hset("h", mapping={"a": 1}) == 1 and await r.hgetall("h") == {b"a": b"1"}
        async with r.pipeline(transaction=False) as p:
            for index in range(3000):
                p.set(f"k{index}", "x" * 100)
            assert await p.execute() == [True] * 3000
        assert await r.pipeline().incr("n").incr("n").execute() == [1, 2]
        with pytest.raises(respass.ExecAbortError, match="command 1"):
            await r.pipeline().execute_command("NOSUCH").execute()
        with pytest.raises(respass.ResponseError, match="Command # 1"):
            await r.pipeline(transaction=False).incr("k").execute()
        value = b"x" * 20_000_000
        assert await r.set("big", value) and await r.get("big") == value

    on_loop(server, work)


def test_a_thousand_tasks_get_their_own_replies(server: Server) -> None:
    async def work(r: Redis) -> None:
        async def one(number: int) -> None:
            for turn in range(20):
                text = f"{number}:{turn}"
                assert await r.echo(text) == text.encode()

        await asyncio.gather(*(one(number) for number in range(1000)))

    on_loop(server, work)


def test_replies_reach_the_right_callers_under_cancellation(server: Server) -> None:
    async def work(r: Redis) -> None:
        chance = random.Random(7)

        async def one(number: int) -> int:
            done = 0
            for turn in range(50):
                text = f"{number}:{turn}"
                try:
                    async with asyncio.timeout(chance.choice((0.0, 0.0005, 0.002, 1))):
                        assert await r.echo(text) == text.encode()
                        done += 1
                except TimeoutError:
                    pass
            return done

        done = sum(await asyncio.gather(*(one(number) for number in range(50))))
        assert 0 < done < 2500
        assert await r.echo("last") == b"last"

    on_loop(server, work)


def test_a_command_cancelled_before_it_could_be_sent_is_not_sent(server: Server) -> None:
    async def main() -> None:
        async with Redis(port=server.port) as r:
            # Nothing is connected yet; the command is in the core's queue.
            lost = r.set("cancelled", 1)
            await asyncio.sleep(0)
            lost.cancel()
            assert await r.get("cancelled") is None

    server.raw("DEL", "cancelled")
    asyncio.run(main())


def test_errors_are_typed(server: Server) -> None:
    async def work(r: Redis) -> None:
        await r.rpush("l", 1)
        with pytest.raises(respass.ResponseError) as caught:
            await r.get("l")
        assert (caught.value.code, caught.value.outcome) == (510, "refused")
        # One that is refused takes nothing of the same turn with it.
        good, bad, other = await asyncio.gather(
            r.echo("a"), r.execute_command("SUBSCRIBE", "c"), r.echo("b"), return_exceptions=True
        )
        assert (good, other) == (b"a", b"b") and isinstance(bad, respass.UnsupportedCommandError)
        with pytest.raises(respass.DataError):
            await r.set("k", None)

    on_loop(server, work)


def test_timeouts_end_a_command_and_not_the_connection(server: Server) -> None:
    async def work(r: Redis) -> None:
        await r.ping()
        server.raw("CLIENT", "PAUSE", "2000", "ALL")
        started = time.monotonic()
        with pytest.raises(respass.TimeoutError) as caught:
            await r.echo("late")
        assert 0.15 < time.monotonic() - started < 1.5 and caught.value.outcome == "indeterminate"
        server.raw("PING")  # answered when the pause is over
        assert await r.echo("now") == b"now"

    on_loop(server, work, socket_timeout=0.2)


def test_a_killed_connection_is_replaced(server: Server) -> None:
    async def work(r: Redis) -> None:
        for _ in range(3):
            server.kill_clients()
            await asyncio.sleep(0.1)
            assert await r.ping()

    on_loop(server, work)


def test_a_server_that_is_not_there_is_named() -> None:
    from conftest import free_port

    async def main() -> None:
        async with Redis(port=free_port(), socket_timeout=0.3) as r:
            with pytest.raises(respass.ConnectionError) as caught:
                await r.ping()
            assert caught.value.outcome == "not_sent" and "refused" in str(caught.value).lower()

    asyncio.run(main())


def test_decode_responses_and_tls(tls_server: Server) -> None:
    async def main() -> None:
        options = {"ssl": True, "ssl_ca_certs": tls_server.ca, "decode_responses": True}
        async with Redis("localhost", tls_server.port, **options) as r:
            assert await r.set("k", "größer") and await r.get("k") == "größer"
            assert await asyncio.gather(*(r.get("k") for _ in range(100))) == ["größer"] * 100
            assert await r.set("k", "x" * 3_000_000) and len(await r.get("k")) == 3_000_000

    asyncio.run(main())


def test_a_client_without_a_loop_is_refused(server: Server) -> None:
    with pytest.raises(respass.EventLoopError):
        Redis(port=server.port).get("k")


def test_another_thread_is_refused(server: Server) -> None:
    async def work(r: Redis) -> None:
        await r.ping()
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                r.get("k")
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert isinstance(caught[0], respass.EventLoopError)

    on_loop(server, work)


def test_a_closed_client_says_so_and_pending_commands_end(server: Server) -> None:
    async def main() -> None:
        r = Redis(port=server.port)
        await r.ping()
        server.raw("CLIENT", "PAUSE", "200", "ALL")
        pending = r.echo("x")
        await asyncio.sleep(0.05)
        await r.aclose()
        with pytest.raises(respass.ConnectionError):
            await pending
        with pytest.raises(respass.ConnectionError, match="closed"):
            await r.ping()
        await r.aclose()

    asyncio.run(main())
    time.sleep(0.2)


def test_a_client_that_was_forgotten_is_collected(server: Server) -> None:
    async def main() -> None:
        r = Redis(port=server.port)
        await r.ping()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del r
            gc.collect()
        assert any("unclosed" in str(one.message) for one in seen)
        await asyncio.sleep(0.05)

    asyncio.run(main())


def test_backpressure_keeps_commands_in_the_core(server: Server) -> None:
    async def work(r: Redis) -> None:
        value = "x" * 1_000_000
        assert await asyncio.gather(*(r.set(f"b{index}", value) for index in range(40))) == [True] * 40

    on_loop(server, work)


def test_a_full_queue_is_refused_and_later_commands_are_not(server: Server) -> None:
    async def work(r: Redis) -> None:
        await r.ping()
        server.raw("CLIENT", "PAUSE", "300", "ALL")
        value = "x" * 30_000_000
        first = r.set("f", value)
        await asyncio.sleep(0)
        endings = await asyncio.gather(first, *(r.set("f", value) for _ in range(3)), return_exceptions=True)
        assert isinstance(endings[-1], respass.QueueFullError) and endings[0] is True
        assert endings[-1].outcome == "not_sent"
        assert await r.ping()

    on_loop(server, work)


@pytest.mark.parametrize("answers", [True, False], ids=["late login", "lost before the login"])
def test_what_was_given_up_before_the_login_was_done_is_never_sent(answers: bool) -> None:
    release = threading.Event()
    seen: list[list[bytes]] = []

    def first(sock: socket.socket) -> None:
        release.wait(20)
        if answers:
            obey(sock, seen.append)

    async def main(port: int) -> None:
        async with Redis(port=port) as r:
            wanted = asyncio.ensure_future(r.echo("wanted"))
            given_up = [asyncio.ensure_future(r.echo("given up"))]
            for transaction in (True, False):
                pipeline = r.pipeline(transaction).echo("given up").echo("given up")
                given_up.append(asyncio.ensure_future(pipeline.execute()))
            await asyncio.sleep(0.1)
            for future in given_up:
                future.cancel()
            await asyncio.sleep(0.05)
            release.set()
            assert await asyncio.wait_for(wanted, 10) == b"wanted"
            assert await r.echo("after") == b"after"

    with hostile(first, lambda sock: obey(sock, seen.append)) as port:
        asyncio.run(main(port))
    assert [command[-1] for command in seen if command[0] in (b"ECHO", b"MULTI")] == [b"wanted", b"after"]
