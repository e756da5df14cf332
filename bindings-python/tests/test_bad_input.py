"""Every mistake ends in a typed error that names the cause and the fix, within its time, with nothing lost: the
command's outcome is told truthfully, and where the mistake can pass, later commands work."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import respass
from conftest import Emulator, Server, free_port, run_emulator
from hostile import answering, black_hole, hostile, obey, reset

#: Longest time that a mistake may take beyond the timeouts given, in seconds: this machine may be busy.
SLACK = 3.0

Commands = Callable[..., list[Any]]


def sync_outcomes(count: int, **options: Any) -> list[Any]:
    found: list[Any] = []
    with respass.Redis(**options) as r:
        for index in range(count):
            try:
                found.append(r.execute_command("ECHO", f"word-{index}"))
            except respass.RedisError as error:
                found.append(error)
    return found


def asyncio_outcomes(count: int, **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        found: list[Any] = []
        async with respass.asyncio.Redis(**options) as r:
            for index in range(count):
                try:
                    found.append(await r.execute_command("ECHO", f"word-{index}"))
                except respass.RedisError as error:
                    found.append(error)
        return found

    return asyncio.run(main())


@pytest.fixture(params=[sync_outcomes, asyncio_outcomes], ids=["sync", "asyncio"])
def outcomes(request: pytest.FixtureRequest) -> Commands:
    """Sends a number of ECHOs through a new client; replies and errors in order."""
    return request.param  # type: ignore[no-any-return]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


def the_error(found: list[Any], kind: type[respass.RedisError], *words: str) -> respass.RedisError:
    (error,) = found
    assert type(error) is kind, repr(error)
    for word in words:
        assert word in str(error), str(error)
    assert error.code is not None
    return error


# Addresses and TLS


def test_a_certificate_for_another_name_is_refused(outcomes: Commands, long: Emulator) -> None:
    options = {**long.options(), "host": "127.0.0.1", "password": "x", "ssl": True, "socket_timeout": 0.5}
    with within(0.5):
        error = the_error(outcomes(1, **options), respass.ConnectionError, "127.0.0.1", "localhost")
    assert error.outcome == "not_sent" and error.code == 202


def test_a_certificate_of_an_unknown_authority_is_refused(outcomes: Commands, tls_server: Server) -> None:
    with within(0.5):
        found = outcomes(1, port=tls_server.port, ssl=True, socket_timeout=0.5)
    assert (
        the_error(found, respass.ConnectionError, "authority", "not among the trusted").outcome == "not_sent"
    )


def both_at_once(**options: Any) -> list[list[Any]]:
    """What a sync and an asyncio client say, for mistakes that take long to notice."""
    with ThreadPoolExecutor(2) as pool:
        attempts = [pool.submit(attempt, 1, **options) for attempt in (sync_outcomes, asyncio_outcomes)]
        return [attempt.result(60) for attempt in attempts]


def test_tls_to_a_plaintext_port_says_so(server: Server) -> None:
    with within(15.5):
        both = both_at_once(port=server.port, ssl=True, socket_timeout=0.5)
    for found in both:
        assert the_error(found, respass.ConnectionError, "a port without TLS").outcome == "not_sent"


def test_plaintext_to_a_tls_port_says_so(outcomes: Commands, tls_server: Server, long: Emulator) -> None:
    for port in (tls_server.port, long.port):
        with within(0.5):
            found = outcomes(1, port=port, socket_timeout=0.5)
        assert the_error(found, respass.ConnectionError, "TLS", "rediss://").outcome == "not_sent"


def test_a_refused_port_is_named(outcomes: Commands) -> None:
    port = free_port()
    with within(0.5):
        found = outcomes(1, port=port, socket_timeout=0.5)
    the_error(found, respass.ConnectionError, f"localhost:{port}", "Connection refused")


def test_an_unknown_host_is_named(outcomes: Commands) -> None:
    with within(10):
        found = outcomes(1, host="no-such-cache.invalid", socket_timeout=0.5)
    the_error(found, respass.ConnectionError, "no-such-cache.invalid")


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "x" * 70 + ".example", ".a", "\u00e4" * 70])
def test_what_is_no_host_name_is_named(outcomes: Commands, host: str) -> None:
    with within(10):
        try:
            found = outcomes(1, host=host, socket_timeout=0.5, socket_connect_timeout=1)
        except respass.ConfigurationError as error:
            assert host in str(error)
        else:
            the_error(found, respass.ConnectionError, host, "host name")


def test_an_address_that_never_answers_costs_the_connect_timeout(outcomes: Commands) -> None:
    with black_hole() as port, within(1.5):
        found = outcomes(1, port=port, socket_connect_timeout=1.0, socket_timeout=0.5)
    assert the_error(found, respass.ConnectionError, "time").outcome == "not_sent"


# Identities and tokens


@pytest.fixture(scope="module")
def long(emulator_path: str) -> Iterator[Emulator]:
    """An emulator with tokens of an hour."""
    with (
        pytest.MonkeyPatch.context() as environment,
        run_emulator(emulator_path, 3600, environment) as emulator,
    ):
        yield emulator


def fixed(emulator: Emulator, **overrides: Any) -> Callable[[], tuple[str, int]]:
    """A credential that gives new tokens with these claims."""

    def credential() -> tuple[str, int]:
        answer = emulator.token(**overrides)
        return answer["access_token"], int(answer["expires_on"])

    return credential


@pytest.mark.parametrize(
    ("overrides", "options", "code", "stage", "words"),
    [
        ({"oid": "11111111-2222-3333-4444-555555555555"}, {}, 403, "auth",
         ["object id 11111111-2222-3333-4444-555555555555", "no access policy assignment", "Assign"]),
        ({}, {"username": "someone-else"}, 404, "auth", ["'someone-else'", "object id", "Leave the user name"]),
        ({"aud": "https://management.azure.com"}, {}, 405, "auth",
         ["'https://management.azure.com'", "https://redis.azure.com/.default"]),
        ({"ttl": -600}, {}, 406, "expired", ["ended", "clock"]),
        ({"nbf": 1800}, {}, 407, "auth", ["not valid", "clock"]),
    ],
    ids=["no assignment", "wrong user name", "wrong audience", "expired", "not yet valid"],
)  # fmt: skip
def test_a_refused_token_names_its_cause(
    outcomes: Commands,
    long: Emulator,
    overrides: dict[str, Any],
    options: dict[str, Any],
    code: int,
    stage: str,
    words: list[str],
) -> None:
    if "nbf" in overrides:
        overrides = {"nbf": int(time.time()) + overrides["nbf"]}
    with within(1.5):
        found = outcomes(1, **long.options(), credential=fixed(long, **overrides), **options)
    error = the_error(found, respass.TokenError, "WRONGPASS", *words)
    assert isinstance(error, respass.TokenError)
    assert (error.code, error.stage, error.outcome) == (code, stage, "not_sent")
    assert error.hint and error.hint in str(error)


def test_the_client_id_given_as_the_user_name_is_recognised(outcomes: Commands, long: Emulator) -> None:
    username = long.facts["client_id"]
    found = outcomes(1, **long.options(), credential=fixed(long), username=username)
    the_error(found, respass.TokenError, "it is the client id", long.facts["oid"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("opaque-token-without-claims", ["object id", "user name"]),
        ("x" * 16_385, ["16385 bytes", "16384"]),
        ("eyJhbGciOiJub25lIn0.e30.\r\nAUTH", ["control characters"]),
        ("", ["empty token"]),
        (None, ["NoneType"]),
        (42, ["int", "AccessToken"]),
        (b"bytes", ["bytes", "AccessToken"]),
        (("text", "tomorrow"), ["expiry"]),
        (RuntimeError("the vault is locked"), ["RuntimeError", "the vault is locked"]),
        (KeyError("resource"), ["KeyError"]),
    ],
    ids=[
        "opaque",
        "too long",
        "line break",
        "empty",
        "None",
        "int",
        "bytes",
        "odd expiry",
        "raises",
        "raises a KeyError",
    ],
)
def test_an_answer_that_is_no_token_is_refused_before_anything_is_sent(
    outcomes: Commands, long: Emulator, answer: Any, words: list[str]
) -> None:
    def credential() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    before = long.admin("/stats")["auth_total"]
    with within(6):
        found = outcomes(1, **long.options(), credential=credential, socket_timeout=0.5)
    assert the_error(found, respass.TokenError, *words).outcome == "not_sent"
    assert long.admin("/stats")["auth_total"] == before


def test_a_credential_recovers_by_itself(outcomes: Commands, long: Emulator) -> None:
    good, failures = fixed(long), iter([RuntimeError("not yet"), OSError("unreachable")])

    def credential() -> Any:
        for failure in failures:
            raise failure
        return good()

    # Growing pauses lie between its questions.
    assert outcomes(1, **long.options(), credential=credential, socket_timeout=20) == [b"word-0"]


def test_a_credential_that_hangs_costs_no_more_than_the_wait_for_a_token(long: Emulator) -> None:
    """And its answer after the client was closed disturbs nobody."""
    release = threading.Event()

    def credential() -> Any:
        release.wait(120)
        return fixed(long)()

    with within(36):
        both = both_at_once(**long.options(), credential=credential, socket_timeout=1)
    for found in both:
        error = the_error(found, respass.TokenError, "the credential has not answered")
        assert error.outcome == "not_sent"
    release.set()
    time.sleep(0.2)
    gc.collect()


# Servers


GARBAGE = [
    ("garbage", answering(b"ECHO", b"\x00\xff\xfegarbage\r\n"), 203),
    ("a wrong terminator", answering(b"ECHO", b"$3\r\nabcXX\r\n"), 203),
    ("a nested push", answering(b"ECHO", b"*2\r\n:1\r\n>2\r\n+a\r\n+b\r\n"), 203),
    ("100,000 levels", answering(b"ECHO", b"*1\r\n" * 100_000 + b":1\r\n"), 203),
    ("an array of 2147483647", answering(b"ECHO", b"*2147483647\r\n:1\r\n"), 203),
    ("a string of 2147483647", answering(b"ECHO", b"$2147483647\r\nabc"), 203),
    ("an endless line", answering(b"ECHO", b"+" + b"x" * 100_000), 203),
    ("the end in mid-reply", answering(b"ECHO", b"$1000\r\nabc", then_close=True), 201),
    (
        "a reset in mid-reply",
        lambda sock: (reset(sock), answering(b"ECHO", b"$1000\r\nabc", True)(sock))[1],
        201,
    ),
]


@pytest.mark.parametrize(
    ("script", "code"), [case[1:] for case in GARBAGE], ids=[case[0] for case in GARBAGE]
)
def test_what_no_server_should_send_costs_one_command_and_the_next_works(
    outcomes: Commands, script: Any, code: int
) -> None:
    with hostile(script, obey) as port, within(5):
        found = outcomes(3, port=port)
    assert found[1:] == [b"word-1", b"word-2"]
    error = the_error(found[:1], respass.InvalidResponse if code == 203 else respass.ConnectionError)
    assert (error.code, error.outcome) == (code, "indeterminate")


def test_a_reply_that_never_ends_times_out_and_the_next_command_works(outcomes: Commands) -> None:
    with hostile(answering(b"ECHO", b"*1000000\r\n:1\r\n"), obey) as port, within(17):
        found = outcomes(1, port=port, socket_timeout=0.5)
    assert the_error(found, respass.TimeoutError).outcome == "indeterminate"


def test_a_surplus_reply_is_given_to_nobody(outcomes: Commands) -> None:
    """The connection ends instead: whatever would follow could be somebody else's."""
    surplus = answering(b"ECHO", b"$6\r\nword-0\r\n$6\r\nothers\r\n")
    with hostile(surplus, obey) as port, within(5):
        found = outcomes(3, port=port)
    assert found == [b"word-0", b"word-1", b"word-2"]


def test_a_transaction_that_did_not_run_for_a_watched_key_says_so() -> None:
    def odd(command: list[bytes]) -> bytes | None:
        return {b"MULTI": b"+OK\r\n", b"INCR": b"+QUEUED\r\n", b"EXEC": b"_\r\n"}.get(command[0])

    async def execute(port: int) -> None:
        async with respass.asyncio.Redis("127.0.0.1", port) as r:
            await r.pipeline().incr("n").execute()

    with hostile(*[lambda sock: obey(sock, odd)] * 2) as port:
        with respass.Redis("127.0.0.1", port) as r, pytest.raises(respass.WatchError, match="did not run"):
            r.pipeline().incr("n").execute()
        with pytest.raises(respass.WatchError, match="did not run"):
            asyncio.run(execute(port))


def test_bytes_that_nobody_asked_for_are_no_reply(outcomes: Commands) -> None:
    """They come while nothing is awaited; the next command must not take them for its own."""

    def chatty(sock: Any) -> None:
        def more(command: list[bytes]) -> bytes | None:
            if command[0] == b"ECHO":
                threading.Timer(0.05, sock.sendall, [b"$10\r\nunasked-of\r\n"]).start()
            return None

        obey(sock, more)

    def slowly(**options: Any) -> list[Any]:
        with respass.Redis(**options) as r:
            found = []
            for index in range(4):
                found.append(r.execute_command("ECHO", f"word-{index}"))
                time.sleep(0.2)
            return found

    async def slowly_too(**options: Any) -> list[Any]:
        async with respass.asyncio.Redis(**options) as r:
            found = []
            for index in range(4):
                found.append(await r.execute_command("ECHO", f"word-{index}"))
                await asyncio.sleep(0.2)
            return found

    expected = [b"word-0", b"word-1", b"word-2", b"word-3"]
    with hostile(chatty) as port:
        if outcomes is sync_outcomes:
            assert slowly(port=port) == slowly(port=port, background=False) == expected
        else:
            assert asyncio.run(slowly_too(port=port)) == expected


def test_a_connection_that_ended_while_nobody_waited_costs_no_command(server: Server) -> None:
    with respass.Redis(port=server.port) as r:
        for pause in (0.0, 0.01, 0.1, 0.5):
            for _ in range(3):
                assert r.ping()
                server.kill_clients()
                time.sleep(pause + 0.005)
                assert r.ping(), pause


def test_a_server_that_closes_at_once_is_not_stormed(outcomes: Commands) -> None:
    accepted: list[float] = []
    with hostile(lambda _: accepted.append(time.monotonic())) as port, within(1):
        found = outcomes(1, port=port, socket_timeout=1)
    the_error(found, respass.ConnectionError, "may expect TLS")
    assert 1 < len(accepted) < 40


# Values, closed clients, full queues


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value", [None, True, [1], {"a": 1}, object(), Unprintable(), 1j, ("x",)], ids=lambda v: type(v).__name__
)
def test_values_of_the_wrong_type_are_refused_and_the_client_goes_on(server: Server, value: Any) -> None:
    with respass.Redis(port=server.port) as r:
        with pytest.raises(respass.DataError, match=type(value).__name__):
            r.set("k", value)
        with pytest.raises(respass.DataError), r.pipeline() as p:
            p.set("good", 1).set("k", value)
        assert r.ping() and not r.exists("good")

    async def main() -> None:
        async with respass.asyncio.Redis(port=server.port) as r:
            first = r.echo("first")
            with pytest.raises(respass.DataError):
                await r.set("k", value)
            assert await r.echo("second") == b"second" and await first == b"first"

    asyncio.run(main())


def test_text_that_is_no_utf8_is_refused_or_reported(server: Server) -> None:
    with respass.Redis(port=server.port, decode_responses=True) as r:
        with pytest.raises((respass.DataError, UnicodeEncodeError)):
            r.set("k", "\ud800")
        r.execute_command("SET", "k", b"\xff")
        with pytest.raises(UnicodeDecodeError):
            r.get("k")
        assert r.ping()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": ""}, ["host"]),
        ({"host": "a b"}, ["host"]),
        ({"port": 0}, ["port"]),
        ({"port": 70_000}, ["port"]),
        ({"port": -1}, ["port"]),
        ({"db": -1}, ["db"]),
        ({"socket_timeout": 0}, ["socket_timeout"]),
        ({"socket_timeout": -1}, ["socket_timeout"]),
        ({"socket_timeout": float("nan")}, ["socket_timeout"]),
        ({"credential": 42}, ["credential", "int"]),
        ({"credential": print, "password": "x"}, ["not both"]),
        ({"credential": print, "ssl": False}, ["TLS"]),
        ({"credential": print, "host": "example.org", "allow_plaintext_token": True}, ["TLS"]),
        ({"ssl": True, "ssl_cert_reqs": "none"}, ["verification"]),
        ({"ssl": True, "ssl_check_hostname": False}, ["verification"]),
        ({"ssl": True, "ssl_ca_certs": "/no/such/file.pem"}, ["/no/such/file.pem"]),
        ({"ssl": True, "ssl_ca_data": "no certificate"}, ["certificate"]),
        ({"ssl": True, "ssl_certfile": __file__}, ["ssl_keyfile"]),
        ({"client_name": "two words"}, ["client name"]),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_when_the_client_is_made(
    options: dict[str, Any], words: list[str]
) -> None:
    for kind in (respass.Redis, respass.asyncio.Redis):
        with pytest.raises(respass.ConfigurationError) as caught:
            kind(**options)
        for word in words:
            assert word in str(caught.value)


def test_a_closed_client_says_so(server: Server) -> None:
    r = respass.Redis(port=server.port)
    assert r.ping()
    r.close()
    r.close()
    with pytest.raises(respass.ConnectionError, match="closed") as caught:
        r.ping()
    assert caught.value.code == 100
    with pytest.raises(respass.ConnectionError, match="closed"), r.pipeline() as p:
        p.ping().execute()

    async def main() -> None:
        a = respass.asyncio.Redis(port=server.port)
        assert await a.ping()
        pending = a.echo("x")
        await a.aclose()
        await a.aclose()
        with pytest.raises(respass.ConnectionError, match="closed"):
            await pending
        with pytest.raises(respass.ConnectionError, match="closed"):
            await a.ping()

    asyncio.run(main())


def test_a_full_queue_refuses_at_once_and_keeps_what_it_has() -> None:
    """A server that reads nothing for a while: 64 MiB wait, what comes on top is refused, and the rest arrives."""
    release = threading.Event()

    def slow(sock: Any) -> None:
        def wait(command: list[bytes]) -> None:
            if command[0] == b"ECHO":
                release.wait(30)

        obey(sock, wait)

    async def main(port: int) -> None:
        async with respass.asyncio.Redis(port=port, socket_timeout=60) as r:
            assert await r.ping()
            waiting = [asyncio.ensure_future(r.echo(b"%02d" % index * (1 << 19))) for index in range(80)]
            await asyncio.sleep(0.5)
            refused = [future for future in waiting if future.done()]
            assert 10 < len(refused) < 25
            for future in refused:
                with pytest.raises(respass.QueueFullError) as caught:
                    future.result()
                assert caught.value.code == 101 and caught.value.outcome == "not_sent"
            release.set()
            for index, future in enumerate(waiting):
                if future not in refused:
                    assert await future == b"%02d" % index * (1 << 19)

    with hostile(slow) as port:
        asyncio.run(main(port))
