"""Publish and subscribe: what redis-py's `PubSub` gives on the same server, over RESP3 and RESP2, and what it does
not have: subscriptions that outlive connections, and word of what may be missing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis
import respass
import respass.asyncio
from conftest import Emulator, Server
from hostile import hostile, obey

#: Longest wait for something that comes at once.
SOON = 10.0


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis]:
    with respass.Redis(port=server.port) as client:
        yield client


@contextlib.asynccontextmanager
async def client(server: Server, **options: Any) -> AsyncIterator[respass.asyncio.Redis]:
    async with asyncio.timeout(30), respass.asyncio.Redis(port=server.port, **options) as r:
        yield r


def messages(p: Any, count: int) -> list[Any]:
    """What a pubsub object has to say, up to so many; what it keeps to itself does not count."""
    found: list[Any] = []
    deadline = time.monotonic() + SOON
    while len(found) < count:
        assert time.monotonic() < deadline, found
        message = p.get_message(timeout=0.1)
        if message is not None:
            found.append(message)
    return found


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_no_order(found: list[Any]) -> list[Any]:
    """The same, where several channels that were left in one command stand in one order: servers have none."""
    groups = itertools.groupby(found, lambda message: message["type"])
    result: list[Any] = []
    for kind, group in groups:
        together = list(group)
        if kind.endswith("unsubscribe"):
            channels = sorted((message["channel"] for message in together), key=str)
            together = [{**message, "channel": channels[at]} for at, message in enumerate(together)]
        result += together
    return result


def conversation(r: Any) -> list[Any]:
    """One of everything."""
    handled: list[Any] = []
    with r.pubsub() as p:
        p.subscribe("a", "b", c=handled.append)
        p.psubscribe("x*", **{"y*": handled.append})
        p.ssubscribe("s")
        found = messages(p, 6)
        for channel, text in (("a", "1"), ("c", "2"), ("xy", "3"), ("yx", "4"), ("nobody", "5")):
            r.publish(channel, text)
        found += messages(p, 2)
        r.spublish("s", "6")
        found += messages(p, 1)
        p.unsubscribe("a")
        p.punsubscribe()
        p.sunsubscribe()
        found += messages(p, 4)
        until(lambda: p.get_message(timeout=0.05) is None and len(handled) == 2)
        states = [p.subscribed, sorted(p.channels, key=str), p.patterns, p.shard_channels]
        p.unsubscribe()
        found += messages(p, 2)
        return [*in_no_order(found), handled, *states, p.subscribed]


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
def test_messages_are_those_of_redis_py(server: Server, decode: bool, protocol: int) -> None:
    with redis.Redis(port=server.port, decode_responses=decode, protocol=protocol) as theirs:
        expected = conversation(theirs)
    with respass.Redis(port=server.port, decode_responses=decode) as ours:
        assert conversation(ours) == expected


@pytest.mark.parametrize("decode", [False, True])
def test_messages_of_asyncio_are_the_same(server: Server, decode: bool) -> None:
    with respass.Redis(port=server.port, decode_responses=decode) as sync:
        expected = conversation(sync)

    async def conversed() -> list[Any]:
        handled: list[Any] = []

        async def handler(message: Any) -> None:
            await asyncio.sleep(0)
            handled.append(message)

        found: list[Any] = []

        async def take(count: int) -> None:
            end = len(found) + count
            while len(found) < end:
                message = await p.get_message(timeout=0.1)
                if message is not None:
                    found.append(message)

        async with client(server, decode_responses=decode) as r, r.pubsub() as p:
            await p.subscribe("a", "b", c=handler)
            await p.psubscribe("x*", **{"y*": handled.append})
            await p.ssubscribe("s")
            await take(6)
            for channel, text in (("a", "1"), ("c", "2"), ("xy", "3"), ("yx", "4"), ("nobody", "5")):
                await r.publish(channel, text)
            await take(2)
            await r.spublish("s", "6")
            await take(1)
            await p.unsubscribe("a")
            await p.punsubscribe()
            await p.sunsubscribe()
            await take(4)
            while len(handled) < 2:
                await p.get_message(timeout=0.05)
            states = [p.subscribed, sorted(p.channels, key=str), p.patterns, p.shard_channels]
            await p.unsubscribe()
            await take(2)
            return [*in_no_order(found), handled, *states, p.subscribed]

    assert asyncio.run(conversed()) == expected


def test_a_subscription_stands_when_subscribe_returns(r: respass.Redis) -> None:
    for turn in range(20):
        with r.pubsub(ignore_subscribe_messages=True) as p:
            p.subscribe("here")
            assert r.publish("here", str(turn)) == 1
            assert messages(p, 1)[0]["data"] == b"%d" % turn
    until(lambda: r.pubsub_numsub("here") == [(b"here", 0)])


def test_get_message_waits_no_longer_than_it_is_told(r: respass.Redis) -> None:
    with r.pubsub(ignore_subscribe_messages=True) as p:
        assert p.get_message() is None
        p.subscribe("quiet")
        assert p.get_message() is None  # the confirmation
        for timeout in (0.0, 0.2):
            began = time.monotonic()
            assert p.get_message(timeout=timeout) is None
            assert timeout <= time.monotonic() - began < timeout + 2


def test_listen_ends_with_the_last_subscription(r: respass.Redis) -> None:
    with r.pubsub() as p:
        p.subscribe("a")
        seen = []
        for message in p.listen():
            seen.append(message["type"])
            if message["type"] == "subscribe":
                r.publish("a", "x")
            elif message["type"] == "message":
                p.unsubscribe()
        assert seen == ["subscribe", "message", "unsubscribe"]


def test_a_thread_hands_messages_to_handlers_until_it_is_stopped(r: respass.Redis) -> None:
    seen: list[bytes] = []
    p = r.pubsub()
    p.subscribe("plain")
    with pytest.raises(respass.PubSubError, match="no handler"):
        p.run_in_thread()
    p.reset()
    p.subscribe(**{"handled": lambda message: seen.append(message["data"])})
    thread = p.run_in_thread(daemon=True)
    for turn in range(50):
        r.publish("handled", str(turn))
    until(lambda: len(seen) == 50)
    assert seen == [b"%d" % turn for turn in range(50)]
    began = time.monotonic()
    thread.stop()
    thread.join(SOON)
    assert not thread.is_alive() and time.monotonic() - began < 1 and not p.subscribed


def test_an_error_of_a_handler_reaches_who_was_named_for_it(r: respass.Redis) -> None:
    errors: list[BaseException] = []

    def handle(error: BaseException, pubsub: Any, thread: Any) -> None:
        errors.append(error)
        thread.stop()

    p = r.pubsub()
    p.subscribe(**{"handled": lambda message: 1 / 0})
    thread = p.run_in_thread(exception_handler=handle, daemon=True)
    r.publish("handled", "x")
    thread.join(SOON)
    assert not thread.is_alive() and isinstance(errors[0], ZeroDivisionError)


def test_many_subscribers_and_commands_share_one_client(r: respass.Redis) -> None:
    """Each thread waits for messages of its own, while others send them: whoever leads serves all sockets."""
    failures: list[BaseException] = []
    ready = threading.Barrier(9)

    def listen(number: int) -> None:
        try:
            with r.pubsub(ignore_subscribe_messages=True) as p:
                p.subscribe(f"channel:{number}")
                ready.wait(SOON)
                found = [message["data"] for message in messages(p, 50)]
                assert found == [b"%d:%d" % (number, turn) for turn in range(50)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    ready.wait(SOON)
    for turn in range(50):
        for number in range(8):
            assert r.publish(f"channel:{number}", f"{number}:{turn}") == 1
    for thread in threads:
        thread.join(30)
    assert not failures, failures


def test_another_thread_may_subscribe_while_one_waits(r: respass.Redis) -> None:
    with r.pubsub(ignore_subscribe_messages=True) as p:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(messages(p, 1)))
        thread.start()
        time.sleep(0.1)
        p.subscribe("later")
        r.publish("later", "x")
        thread.join(SOON)
        assert [message["data"] for message in found] == [b"x"]


def test_closing_the_client_ends_the_wait(server: Server) -> None:
    r = respass.Redis(port=server.port)
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe("quiet")
    threading.Timer(0.3, r.close).start()
    with pytest.raises(respass.ConnectionError, match="closed"):
        list(p.listen())


def test_ping_becomes_a_message(r: respass.Redis) -> None:
    with r.pubsub(ignore_subscribe_messages=True) as p:
        p.subscribe("a")
        assert p.ping() is True and p.ping("word") is True
        found = messages(p, 2)
        assert found == [
            {"type": "pong", "pattern": None, "channel": None, "data": data} for data in (b"", b"word")
        ]


def test_a_lost_connection_is_made_again_and_the_gap_is_told(r: respass.Redis, server: Server) -> None:
    gaps: list[Any] = []
    with r.pubsub(ignore_subscribe_messages=True, on_gap=gaps.append) as p:
        p.subscribe("a")
        p.psubscribe("x*")
        r.publish("a", "before")
        assert messages(p, 1)[0]["data"] == b"before" and gaps == []
        server.raw("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: p.get_message(timeout=0.05) is None and gaps == [p])
        r.publish("a", "after")
        r.publish("xy", "too")
        assert [message["data"] for message in messages(p, 2)] == [b"after", b"too"]


def test_a_subscriber_that_nobody_asks_is_subscribed_again_all_the_same(
    r: respass.Redis, server: Server
) -> None:
    with r.pubsub(ignore_subscribe_messages=True) as p:
        p.subscribe("a")
        time.sleep(1.2)  # the background thread watches by now
        server.raw("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: r.publish("a", "after") == 1)
        assert b"after" in [message["data"] for message in messages(p, 1)]


def test_refused_subscriptions_raise_their_error(r: respass.Redis) -> None:
    r.execute_command("ACL", "SETUSER", "limited", "on", ">p", "+@all", "~*", "resetchannels", "&open")
    try:
        with (
            respass.Redis(port=r._options.port, username="limited", password="p") as limited,
            limited.pubsub(ignore_subscribe_messages=True) as p,
        ):
            p.subscribe("closed", "open")
            errors: list[Any] = []
            texts: list[bytes] = []
            until(lambda: _collect(p, errors, texts, r))
            assert errors[0].outcome == "refused" and p.channels == {b"open": None}
    finally:
        r.execute_command("ACL", "DELUSER", "limited")


def _collect(p: Any, errors: list[Any], texts: list[bytes], r: respass.Redis) -> bool:
    r.publish("open", "x")
    try:
        message = p.get_message(timeout=0.05)
    except respass.NoPermissionError as error:
        errors.append(error)
    else:
        texts += [] if message is None else [message["data"]]
    return bool(errors and texts)


def test_a_server_that_does_not_confirm_costs_the_timeouts() -> None:
    def silent(command: list[bytes]) -> bytes | None:
        return b"" if command[0] == b"SUBSCRIBE" else None

    with (
        hostile(lambda sock: obey(sock, silent)) as port,
        respass.Redis(port=port, socket_timeout=0.5, socket_connect_timeout=0.5) as r,
        r.pubsub() as p,
    ):
        with pytest.raises(respass.TimeoutError, match="not confirmed"):
            p.subscribe("a")
        assert not p.subscribed

    async def main(port: int) -> None:
        options: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
        async with respass.asyncio.Redis(port=port, **options) as r, r.pubsub() as p:
            with pytest.raises(respass.TimeoutError, match="not confirmed"):
                await p.subscribe("a")
            assert not p.subscribed

    with hostile(lambda sock: obey(sock, silent)) as port:
        asyncio.run(asyncio.wait_for(main(port), 20))


def test_names_that_are_none_are_refused(r: respass.Redis) -> None:
    with r.pubsub() as p:
        for names in ((), (None,), (True,), (object(),)):
            with pytest.raises(respass.DataError):
                p.subscribe(*names)
        p.subscribe(respass.Subscription("a"), memoryview(b"b"), 7)
        assert set(p.channels) == {b"a", b"b", b"7"}


def test_asyncio_waits_are_given_up_without_a_trace(server: Server) -> None:
    async def main() -> None:
        async with client(server) as r, r.pubsub(ignore_subscribe_messages=True) as p:
            with pytest.raises(RuntimeError, match="did you forget"):
                await p.get_message()
            await p.subscribe("a")
            for _ in range(100):
                assert await p.get_message(timeout=0.001) is None
            task = asyncio.create_task(p.get_message(timeout=None))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await r.publish("a", "x")
            message = await p.get_message(timeout=SOON)
            assert message is not None and message["data"] == b"x"

    asyncio.run(main())


def test_asyncio_runs_handlers_until_it_is_cancelled(server: Server) -> None:
    async def main() -> None:
        async with client(server) as r, r.pubsub() as p:
            seen: list[bytes] = []
            await p.subscribe(**{"a": lambda message: seen.append(message["data"])})
            task = asyncio.create_task(p.run())
            for turn in range(20):
                await r.publish("a", str(turn))
            while len(seen) < 20:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


@pytest.mark.parametrize("resp3", [True, False])
def test_subscriptions_outlive_their_tokens(emulator: Emulator, resp3: bool) -> None:
    """Tokens end after five seconds: the connection presents newer ones, or another takes over in time."""
    if not resp3:
        emulator.admin("/fault", {"kind": "resp3-off"})

    def credential() -> str:
        return str(emulator.token()["access_token"])

    gaps: list[Any] = []
    with (
        respass.Redis(**emulator.options(), credential=credential) as r,
        r.pubsub(ignore_subscribe_messages=True, on_gap=gaps.append) as p,
    ):
        p.subscribe("a")
        sent, seen, end = 0, [], time.monotonic() + 12
        while time.monotonic() < end:
            r.publish("a", str(sent))
            sent += 1
            message = p.get_message(timeout=0.02)
            seen += [] if message is None else [int(message["data"])]
        while len(seen) < sent and (message := p.get_message(timeout=1)) is not None:
            seen.append(int(message["data"]))
        assert gaps == [] and seen == list(range(sent))
        lanes = {one.lane: one for one in r.auth_status()["connections"]}
        assert lanes["subscriber"].is_ready and lanes["subscriber"].expires_at > time.time()
