"""One asyncio client on many event loops, at once and one after another; cancellation at every step."""

from __future__ import annotations

import asyncio
import collections
import faulthandler
import gc
import os
import threading
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import respass
import uvloop
from conftest import Emulator, Server
from respass.asyncio import Redis

#: Signals, many threads and deliberate delays: not beside other tests.
pytestmark = pytest.mark.alone

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """`asyncio.run` on either kind of loop."""

    def run(main: Any) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main)

    return run


async def use(r: Redis, tag: str, turns: int = 20) -> None:
    async def one(number: int) -> None:
        for turn in range(turns):
            text = f"{tag}:{number}:{turn}"
            assert await r.echo(text) == text.encode()

    await asyncio.gather(*(one(number) for number in range(10)))
    async with r.pipeline() as p:
        assert await p.set(tag, 1).incr(tag).execute() == [True, 2]


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_main_job_on_either_loop(run: Callable[[Any], Any], tls_server: Server) -> None:
    async def main() -> None:
        options = {"ssl": True, "ssl_ca_certs": tls_server.ca}
        async with Redis("localhost", tls_server.port, **options) as r:
            await use(r, "main", 50)
            value = b"x" * 10_000_000
            assert await r.set("big", value) and await r.get("big") == value
            async with asyncio.timeout(30):
                values = [b"y" * 300_000] * 30
                assert all(await asyncio.gather(*(r.set(f"b{i}", v) for i, v in enumerate(values))))
            with pytest.raises(respass.ResponseError):
                await r.hget("big", "f")

    run(main())


def test_a_thousand_loops_one_after_another(server: Server, run: Callable[[Any], Any]) -> None:
    r = Redis(port=server.port)

    async def main(turn: int) -> None:
        assert await r.echo(str(turn)) == str(turn).encode()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main(0))
        gc.collect()
        before, threads = files(), threading.active_count()
        objects = collections.Counter(type(one).__name__ for one in gc.get_objects())
        for turn in range(1000):
            run(main(turn))
            assert files() <= before
        gc.collect()
        assert files() <= before and threading.active_count() <= threads
        grown = collections.Counter(type(one).__name__ for one in gc.get_objects()) - objects
        del grown["LogRecord"]  # pytest's own copies
        assert grown.total() < 500, grown.most_common(3)
    info = server.raw("INFO", "clients")
    assert b"connected_clients:1\r\n" in info, info


def test_a_loop_that_was_closed_without_a_farewell(server: Server) -> None:
    r = Redis(port=server.port)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = files()
        for turn in range(30):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(use(r, f"loop{turn}", 2))
            loop.close()
            assert files() <= before + 1
        del r
        gc.collect()
        assert files() <= before


def test_two_loops_at_once(server: Server, run: Callable[[Any], Any]) -> None:
    r = Redis(port=server.port)
    failures: list[BaseException] = []
    connections = []

    def work(number: int) -> None:
        async def main() -> None:
            for turn in range(20):
                await use(r, f"{number}:{turn}", 5)
            connections.append(await r.execute_command("CLIENT ID"))

        try:
            run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert len(set(connections)) == 3


def test_closing_ends_the_connections_of_all_loops(server: Server) -> None:
    r = Redis(port=server.port)
    ready, ended = threading.Event(), []

    def work() -> None:
        async def main() -> None:
            await r.ping()
            server.raw("CLIENT", "PAUSE", "1000", "ALL")
            pending = r.echo("never")
            await asyncio.sleep(0.05)
            ready.set()
            with pytest.raises(respass.ConnectionError):
                await pending
            ended.append(True)

        asyncio.run(main())

    async def main() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(ready.wait)
        await r.aclose()
        await asyncio.to_thread(thread.join)
        with pytest.raises(respass.ConnectionError, match="closed"):
            await r.ping()

    asyncio.run(main())
    assert ended
    server.raw("CLIENT", "UNPAUSE")


def test_another_encoding_survives_a_change_of_loops(server: Server) -> None:
    r = Redis(port=server.port, encoding="latin-1")

    async def main() -> None:
        await r.set("k", "é")
        assert await r.get("k") == b"\xe9"

    for _ in range(3):
        asyncio.run(main())


def test_two_closings_at_once_and_one_cancelled(server: Server) -> None:
    async def main() -> None:
        r = Redis(port=server.port)
        await r.ping()
        first, second = asyncio.ensure_future(r.aclose()), asyncio.ensure_future(r.aclose())
        await asyncio.sleep(0)
        first.cancel()
        await second
        await asyncio.wait([first])
        assert first.cancelled()

    asyncio.run(main())


def test_asynchronous_credentials_belong_to_a_loop_each(emulator: Emulator) -> None:
    asked: list[asyncio.AbstractEventLoop] = []

    async def credential() -> str:
        asked.append(asyncio.get_running_loop())
        return str((await asyncio.to_thread(emulator.token))["access_token"])

    r = Redis(**emulator.options(), credential=credential)
    other = Redis(**emulator.options(), credential=credential)

    async def main(seconds: float) -> None:
        await other.ping()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert await r.ping()
            await asyncio.sleep(0.02)

    for _ in range(2):
        asyncio.run(main(0))
    assert len(asked) == len(set(map(id, asked))) == 2, "one supply for a credential on a loop"
    thread = threading.Thread(target=lambda: asyncio.run(main(7)))
    thread.start()
    asyncio.run(main(7))
    thread.join(30)
    assert len(set(map(id, asked))) == 4 and len(asked) >= 6


def test_a_synchronous_credential_on_many_loops_has_one_supply(emulator: Emulator) -> None:
    asked = []

    def credential() -> str:
        asked.append(threading.current_thread().name)
        return str(emulator.token(ttl=60)["access_token"])

    r = Redis(**emulator.options(), credential=credential)

    async def main() -> None:
        assert await r.ping()
        r.auth_status()

    for _ in range(5):
        asyncio.run(main())
    assert set(asked) == {"respass-credential"}


def test_the_sync_client_inside_a_running_loop(emulator: Emulator, server: Server) -> None:
    def credential() -> str:
        return str(emulator.token()["access_token"])

    async def main() -> None:
        with respass.Redis(**emulator.options(), credential=credential) as r:
            for _ in range(10):
                assert r.ping()
                await asyncio.sleep(0)
            assert all(await asyncio.gather(*(asyncio.to_thread(r.ping) for _ in range(10))))

    asyncio.run(main())


def test_clients_in_reference_cycles_are_freed(server: Server) -> None:
    freed = []

    async def main() -> None:
        for ends in (True, False):
            r = Redis(port=server.port)
            await r.ping()
            pending = r.echo("x")
            r.itself, r.pending = r, pending  # type: ignore[attr-defined]
            weakref.finalize(r, freed.append, 1)
            weakref.finalize(r._driver, freed.append, 2)
            if ends:
                await r.aclose()
            del r, pending
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
                await asyncio.sleep(0.05)
                gc.collect()

    asyncio.run(main())
    assert sorted(freed) == [1, 1, 2, 2]


def test_pending_work_of_a_closed_loop_is_freed(server: Server) -> None:
    """A future that waits for its reply when the loop ends is held by the core, and holds its task."""
    r = Redis(port=server.port)
    freed = []

    async def wait() -> None:
        await r.echo("never")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(r, "a", 1))
    server.raw("CLIENT", "PAUSE", "200", "ALL")
    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0.02))
    weakref.finalize(task, freed.append, 1)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    del task, loop
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0.3))
    loop.run_until_complete(use(r, "b", 1))
    gc.collect()
    assert freed == [1]
    loop.run_until_complete(r.aclose())
    loop.close()


def cancel_at_each_step(
    loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[Any]], check: Callable[[], Awaitable[Any]]
) -> int:
    """Cancels the work after 0, 1, 2, ... turns of the loop until it ends by itself; how many that were."""

    async def main() -> int:
        steps = -1
        while steps < 100_000:
            # A connection takes a loop any number of turns, most of which are alike.
            steps += 1 if steps < 60 else 1 + steps // 8
            task = asyncio.ensure_future(work())
            for _ in range(steps):
                await asyncio.sleep(0)
                if task.done():
                    break
            was_done = task.done()
            task.cancel()
            await asyncio.wait([task], timeout=10)
            assert task.done(), f"stuck after {steps} steps: {task}"
            assert task.cancelled() or isinstance(task.exception(), respass.ConnectionError | None)
            async with asyncio.timeout(10):
                await check()
            if was_done:
                return steps
        raise AssertionError("no end")

    return loop.run_until_complete(asyncio.wait_for(main(), 90))


@pytest.mark.parametrize("kind", list(LOOPS))
def test_cancellation_at_every_step(kind: str, server: Server, emulator: Emulator) -> None:
    loop = LOOPS[kind]()
    r = Redis(port=server.port)
    count = 0

    async def check() -> None:
        nonlocal count
        count += 1
        texts = [f"{count}:{index}" for index in range(5)]
        assert await asyncio.gather(*(r.echo(text) for text in texts)) == [text.encode() for text in texts]

    async def connect() -> None:
        async with Redis(port=server.port) as other:
            assert await other.echo("x") == b"x"

    def credential() -> str:
        return token

    async def login() -> None:
        async with Redis(**emulator.options(), credential=credential) as other:
            assert await other.echo("x") == b"x"

    async def command() -> None:
        assert await r.echo("y") == b"y"

    async def pipeline() -> None:
        assert await r.pipeline(transaction=False).echo("a").echo("b").execute() == [b"a", b"b"]

    async def transaction() -> None:
        assert await r.pipeline().echo("a").echo("b").execute() == [b"a", b"b"]

    token = str(emulator.token(ttl=300)["access_token"])
    before = files()
    for work in (command, pipeline, transaction, connect, login):
        assert cancel_at_each_step(loop, work, check) > 0
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.run_until_complete(r.aclose())
    loop.close()
    gc.collect()
    assert files() <= before + 3


def test_garbage_collection_at_every_allocation(server: Server) -> None:
    r = Redis(port=server.port)
    sync, seen = respass.Redis(port=server.port), []

    class Finalised:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            seen.append(sync.echo("final"))
            try:
                r.echo("final too").add_done_callback(lambda future: future.cancelled() or future.exception())
            except respass.EventLoopError:
                pass

    async def main() -> None:
        for turn in range(30):
            Finalised()
            await use(r, f"{turn}", 1)
            with pytest.raises(UnicodeEncodeError):
                await r.set("k", "\ud800")

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        asyncio.run(main())
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    sync.close()
    assert seen == [b"final"] * 30
