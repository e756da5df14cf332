"""The sync client against a real server."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator

import pytest
import respass
from conftest import Server


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis]:
    with respass.Redis(port=server.port) as client:
        client.flushdb()
        yield client


def test_replies_have_the_types_of_redis_py(r: respass.Redis) -> None:
    assert r.ping() is True
    assert r.set("k", "v") is True and r.get("k") == b"v" and r.get("missing") is None
    assert r.set("k", "w", nx=True) is None
    assert r.set("k", "w", get=True) == b"v"
    assert r.incrby("n", 3) == 3 and r.decr("n") == 2
    assert r.hset("h", mapping={"a": 1, "b": 2.5}) == 2 and r.hgetall("h") == {b"a": b"1", b"b": b"2.5"}
    assert r.hget("h", "a") == b"1" and r.hdel("h", "a") == 1
    assert r.rpush("l", 1, 2) == 2 and r.lpush("l", 0) == 3 and r.lrange("l", 0, -1) == [b"0", b"1", b"2"]
    assert r.llen("l") == 3
    assert r.sadd("s", "x", "y") == 2 and r.smembers("s") == {b"x", b"y"}
    assert r.zadd("z", {"m": 1.5}) == 1 and r.zadd("z", {"m": 1}, incr=True) == 2.5
    assert r.expire("k", 100) is True and r.ttl("k") == 100 and r.expire("missing", 1) is False
    assert r.mset({"a": 1, "b": 2}) is True and r.mget("a", "b", "c") == [b"1", b"2", None]
    assert r.exists("a", "b") == 2 and r.delete("a", "b") == 2
    assert r.type("l") == b"list" and r.dbsize() == 6
    assert r.eval("return {KEYS[1], ARGV[1], 3}", 1, "k", "a") == [b"k", b"a", 3]
    assert r.echo("e") == b"e"
    assert r.execute_command("CONFIG GET", "maxmemory") == {"maxmemory": "0"}


def test_decode_responses_gives_str(server: Server) -> None:
    with respass.Redis(port=server.port, decode_responses=True) as r:
        r.set("k", "größer")
        assert r.get("k") == "größer" and r.echo("x") == "x"
        r.set("k", b"\xff")
        with pytest.raises(UnicodeDecodeError):
            r.get("k")
        assert r.ping() is True
    with respass.Redis(port=server.port, decode_responses=True, encoding="latin-1") as r:
        r.set("k", "é")
        assert r.get("k") == "é"
    with respass.Redis(port=server.port) as r:
        assert r.get("k") == b"\xe9"


def test_arguments_that_have_no_bytes_are_refused_before_anything_is_sent(r: respass.Redis) -> None:
    for value in (None, True, [1], object()):
        with pytest.raises(respass.DataError):
            r.set("k", value)
    assert r.set("k", bytearray(b"a")) and r.get("k") == b"a"
    assert r.set("k", memoryview(b"b")) and r.get("k") == b"b"
    assert r.set("k", 2**70) and r.get("k") == str(2**70).encode()

    class Word(str):
        pass

    assert r.set("k", Word("w")) and r.get("k") == b"w"


def test_errors_carry_a_type_a_code_and_an_outcome(r: respass.Redis) -> None:
    r.rpush("l", 1)
    with pytest.raises(respass.ResponseError, match="WRONGTYPE") as caught:
        r.get("l")
    assert (caught.value.code, caught.value.outcome) == (510, "refused")
    with pytest.raises(respass.NoScriptError):
        r.execute_command("EVALSHA", "0" * 40, 0)
    with pytest.raises(respass.UnsupportedCommandError) as refused:
        r.execute_command("WATCH", "l")
    assert refused.value.outcome == "not_sent"


@pytest.mark.parametrize("command", ["WATCH k", "WAIT 1 1", "SUBSCRIBE c", "MONITOR", "AUTH x", "MULTI"])
def test_commands_that_a_shared_connection_cannot_carry_are_refused(r: respass.Redis, command: str) -> None:
    with pytest.raises(respass.UnsupportedCommandError):
        r.execute_command(*command.split())
    assert r.ping()


def test_pipelines_return_replies_in_order(r: respass.Redis) -> None:
    with r.pipeline(transaction=False) as p:
        for index in range(2000):
            p.set(f"k{index}", "x" * 100)
        p.get("k7").hgetall("missing")
        replies = p.execute()
    assert replies[:2000] == [True] * 2000 and replies[2000:] == [b"x" * 100, {}]
    assert r.pipeline().execute() == []


def test_a_pipeline_can_be_used_again(r: respass.Redis) -> None:
    p = r.pipeline()
    assert p.incr("n").execute() == [1] and p.incr("n").incr("n").execute() == [2, 3] and len(p) == 0


def test_pipeline_errors_are_raised_or_returned(r: respass.Redis) -> None:
    for transaction in (True, False):
        r.set("k", "text")
        with r.pipeline(transaction=transaction) as p, pytest.raises(respass.ResponseError) as caught:
            p.set("a", 1).incr("k").execute()
        assert str(caught.value).startswith("Command # 2 (INCRBY k 1) of pipeline caused error")
        with r.pipeline(transaction=transaction) as p:
            first, second, third = p.set("a", 1).incr("k").get("a").execute(raise_on_error=False)
        assert first is True and isinstance(second, respass.ResponseError) and third == b"1"


def test_an_aborted_transaction_names_the_command_that_caused_it(r: respass.Redis) -> None:
    with (
        r.pipeline() as p,
        pytest.raises(respass.ExecAbortError, match=r"command 2 .*unknown command") as caught,
    ):
        p.set("a", 1).execute_command("NOSUCH").execute()
    assert caught.value.outcome == "refused" and r.get("a") is None


def test_transactions_run_as_one(r: respass.Redis) -> None:
    def work() -> None:
        for _ in range(100):
            with r.pipeline() as p:
                before, after = p.incr("n").incr("n").execute()
            assert after == before + 1

    run_threads(work, 4)
    assert r.get("n") == b"800"


def run_threads(work: object, count: int) -> None:
    failures: list[BaseException] = []

    def guarded(*arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_eight_threads_on_one_client_get_their_own_replies(r: respass.Redis) -> None:
    def work() -> None:
        name = threading.get_ident()
        for index in range(400):
            assert r.set(f"{name}", index) is True
            assert r.get(f"{name}") == str(index).encode()
            assert r.echo(f"{name}:{index}") == f"{name}:{index}".encode()

    run_threads(work, 8)


def test_large_values_go_both_ways_without_a_deadlock(r: respass.Redis) -> None:
    value = os.urandom(20_000_000)
    with r.pipeline(transaction=False) as p:
        p.set("big", value).get("big").get("big")
        assert p.execute() == [True, value, value]


def test_a_transaction_larger_than_any_buffer_is_answered(r: respass.Redis) -> None:
    """The server answers its first commands while the last ones are still on their way."""
    p = r.pipeline()
    for number in range(500):
        p.set(f"large:{number}", b"x" * 50_000)
    assert p.execute() == [True] * 500


def test_a_command_without_a_reply_times_out_and_later_replies_are_right(server: Server) -> None:
    with respass.Redis(port=server.port, socket_timeout=0.2) as r:
        r.set("k", "v")
        server.raw("CLIENT", "PAUSE", "2000", "ALL")
        started = time.monotonic()
        with pytest.raises(respass.TimeoutError) as caught:
            r.echo("late")
        assert 0.15 < time.monotonic() - started < 1.5
        assert caught.value.outcome == "indeterminate"
        server.raw("PING")  # answered when the pause is over
        assert r.get("k") == b"v" and r.echo("now") == b"now"


def test_a_killed_connection_is_replaced_and_the_loss_is_noticed_before_the_next_command(
    r: respass.Redis,
) -> None:
    r.set("k", "v")
    for _ in range(3):
        Server(r._options.port).kill_clients()
        time.sleep(1.1)
        assert r.get("k") == b"v"


def test_a_command_in_flight_when_the_connection_dies_is_indeterminate(server: Server) -> None:
    with respass.Redis(port=server.port) as r:
        r.ping()
        server.raw("CLIENT", "PAUSE", "400", "ALL")
        killer = threading.Timer(0.1, server.kill_clients)
        killer.start()
        with pytest.raises(respass.ConnectionError) as caught:
            r.incr("n")
        assert caught.value.outcome == "indeterminate"
        killer.join()
        time.sleep(0.5)
        assert r.ping()


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    from conftest import free_port

    with (
        respass.Redis(port=free_port(), socket_timeout=0.3) as r,
        pytest.raises(respass.ConnectionError) as caught,
    ):
        r.ping()
    assert "refused" in str(caught.value) and caught.value.outcome == "not_sent"


def test_a_closed_client_says_so(r: respass.Redis) -> None:
    r.ping()
    r.close()
    r.close()
    with pytest.raises(respass.ConnectionError, match="closed"):
        r.ping()


def test_close_wakes_a_thread_that_waits(server: Server) -> None:
    r = respass.Redis(port=server.port)
    r.ping()
    server.raw("CLIENT", "PAUSE", "3000", "ALL")
    threading.Timer(0.1, r.close).start()
    started = time.monotonic()
    with pytest.raises(respass.ConnectionError):
        r.ping()
    assert time.monotonic() - started < 2
    server.raw("PING")  # answered when the pause is over


def test_no_thread_is_needed(server: Server) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with respass.Redis(port=server.port, background=False) as r:
        assert r.ping()
        server.kill_clients()
        time.sleep(1.1)
        assert r.ping()
    assert {thread.name for thread in threading.enumerate()} <= before


def test_the_sync_client_works_inside_a_running_loop(server: Server) -> None:
    async def main() -> bool:
        with respass.Redis(port=server.port) as r:
            return bool(r.ping())

    assert asyncio.run(main())


def test_an_interrupt_leaves_no_reply_behind(r: respass.Redis) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)
    r.set("k", "v")
    Server(r._options.port).raw("CLIENT", "PAUSE", "300", "ALL")
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        r.echo("lost")
    time.sleep(0.4)
    assert r.get("k") == b"v" and r.echo("next") == b"next"


def test_tls_verifies_the_server(tls_server: Server) -> None:
    with respass.Redis("localhost", tls_server.port, ssl=True, ssl_ca_certs=tls_server.ca) as r:
        assert r.set("k", "v") and r.get("k") == b"v"
        assert len(r.pipeline(transaction=False).set("k", "x" * 1_000_000).get("k").execute()[1]) == 1_000_000
    with (
        respass.Redis("localhost", tls_server.port, ssl=True, socket_timeout=0.5) as r,
        pytest.raises(respass.ConnectionError, match="authority"),
    ):
        r.ping()
    data = open(str(tls_server.ca)).read()
    with respass.from_url(f"rediss://localhost:{tls_server.port}", ssl_ca_data=data) as r:
        assert r.ping()


def test_options_that_cannot_work_are_refused() -> None:
    bad: list[dict[str, object]] = [
        {"ssl": True, "ssl_cert_reqs": "none"},
        {"ssl": True, "ssl_check_hostname": False},
        {"credential": "auto"},
        {"credential": lambda: "t", "password": "p"},
        {"credential": lambda: "t", "ssl": False},
        {"credential": 7},
        {"port": 0},
        {"socket_timeout": 0},
        {"ssl": True, "ssl_ca_certs": "/no/such/file"},
    ]
    for options in bad:
        with pytest.raises(respass.ConfigurationError):
            respass.Redis(**options)
    for url in ("http://x", "redis://x:port", "redis://x?nope=1", "redis://x?db=x"):
        with pytest.raises(respass.ConfigurationError):
            respass.from_url(url)
    with pytest.raises(respass.ConfigurationError):
        respass.from_url("redis://x", credential=lambda: "t")


def test_urls(server: Server) -> None:
    server.raw("ACL", "SETUSER", "someone", "on", ">pä:ss", "~*", "+@all")
    with respass.from_url(
        f"redis://someone:p%C3%A4%3Ass@localhost:{server.port}/3?decode_responses=yes"
    ) as r:
        r.set("k", "three")
        assert r.get("k") == "three" and r.execute_command("ACL WHOAMI") == "someone"
        assert r.execute_command("CLIENT INFO")["db"] == 3
    wrong = respass.Redis(port=server.port, username="someone", password="wrong", socket_timeout=0.5)
    with wrong as r, pytest.raises(respass.AuthenticationError):
        r.ping()


def test_the_client_name_is_shown(server: Server) -> None:
    with respass.Redis(port=server.port, client_name="tester") as r:
        assert r.execute_command("CLIENT GETNAME") == "tester"


def test_no_repr_shows_a_secret(server: Server) -> None:
    secret = "hunter2hunter2"
    r = respass.Redis(port=server.port, username="u", password=secret)
    with pytest.raises(respass.AuthenticationError) as caught:
        r.ping()
    for shown in (repr(r), repr(r._options), repr(r._driver), repr(r.auth_status()), repr(caught.value)):
        assert secret not in shown
    r.close()


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("CONFIG SET requirepass hunter2 no-such x", "CONFIG SET requirepass (the rest is withheld)"),
        ("config set no-such-option hunter2", "config set no-such-option (the rest is withheld)"),
        ("ACL SETUSER someone >hunter2 nonsense", "ACL SETUSER someone (the rest is withheld)"),
        ("MIGRATE host port key 0 x AUTH hunter2", "MIGRATE host port (the rest is withheld)"),
        ("CONFIG GET", "CONFIG GET"),
        ("INCR word", "INCR word"),
    ],
)
def test_the_error_of_a_pipeline_names_the_command_without_its_secrets(
    r: respass.Redis, command: str, shown: str
) -> None:
    r.set("word", "word")
    for transaction in (False, True):
        with pytest.raises(respass.ResponseError) as caught, r.pipeline(transaction) as p:
            p.ping().execute_command(*command.split()).execute()
        assert "hunter2" not in str(caught.value)
        if not isinstance(caught.value, respass.ExecAbortError):
            assert f"Command # 2 ({shown}) of pipeline caused error: " in str(caught.value)


def test_a_reply_function_that_raises_leaves_the_pipeline_empty(r: respass.Redis) -> None:
    def fails(_score: float) -> float:
        raise ZeroDivisionError

    r.zadd("z", {"a": 1})
    p = r.pipeline()
    with pytest.raises(ZeroDivisionError):
        p.set("k", 1).zrange("z", 0, -1, withscores=True, score_cast_func=fails).execute()
    assert len(p) == 0 and p.get("k").execute() == [b"1"]
