"""Many threads on one client, interrupts and finalisers in the middle of commands, and no thread at all."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import respass
from conftest import Emulator, Server

#: Signals, many threads and deliberate delays: not beside other tests.
pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A deadlock shows where every thread stands, and ends the run."""
    faulthandler.dump_traceback_later(40, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis]:
    with respass.Redis(port=server.port) as client:
        client.flushdb()
        yield client


def run_threads(count: int, work: Callable[[int], Any]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def mixed(r: respass.Redis, number: int, turns: int) -> None:
    """Commands, pipelines and transactions whose replies tell whose they are."""
    chance = random.Random(number)
    for turn in range(turns):
        text = f"{number}:{turn}"
        kind = chance.randrange(4)
        if kind == 0:
            assert r.echo(text) == text.encode()
        elif kind == 1:
            assert r.set(text, turn) is True and r.get(text) == b"%d" % turn
        elif kind == 2:
            with r.pipeline(transaction=False) as p:
                texts = [f"{text}:{index}" for index in range(chance.randrange(1, 40))]
                for one in texts:
                    p.echo(one)
                assert p.execute() == [one.encode() for one in texts]
        else:
            with r.pipeline() as p:
                assert p.set(f"t{number}", turn).incr(f"t{number}").execute() == [True, turn + 1]


def test_thirty_two_threads_get_their_own_replies(r: respass.Redis) -> None:
    run_threads(32, lambda number: mixed(r, number, 60))


def test_threads_and_timeouts(server: Server) -> None:
    """Commands that time out leave their replies to nobody; the others' are right."""
    with respass.Redis(port=server.port, socket_timeout=0.15) as r:
        r.ping()
        timeouts = []

        def work(number: int) -> None:
            for turn in range(40):
                text = f"{number}:{turn}"
                try:
                    assert r.echo(text) == text.encode()
                except respass.TimeoutError:
                    timeouts.append(text)
                time.sleep(0.01)

        def pauses() -> None:
            for _ in range(2):
                server.raw("CLIENT", "PAUSE", "250", "ALL")
                time.sleep(0.4)

        pauser = threading.Thread(target=pauses)
        pauser.start()
        run_threads(16, work)
        pauser.join()
        assert 0 < len(timeouts) < 16 * 40
        time.sleep(0.3)
        mixed(r, 99, 30)


def test_threads_and_lost_connections(r: respass.Redis, server: Server) -> None:
    """A command whose connection was cut says so; no reply reaches another's caller."""
    ends = threading.Event()

    def cuts() -> None:
        while not ends.wait(0.05):
            server.kill_clients()

    cutter = threading.Thread(target=cuts)
    cutter.start()
    answered = []

    def work(number: int) -> None:
        for turn in range(60):
            text = f"{number}:{turn}"
            try:
                assert r.echo(text) == text.encode()
                answered.append(text)
            except respass.ConnectionError:
                pass

    try:
        run_threads(16, work)
    finally:
        ends.set()
        cutter.join()
    assert answered
    time.sleep(0.1)
    mixed(r, 99, 30)


def test_large_values_of_many_threads(r: respass.Redis) -> None:
    def work(number: int) -> None:
        value = bytes([number]) * 3_000_000
        for _ in range(3):
            assert r.set(f"large:{number}", value) and r.get(f"large:{number}") == value

    run_threads(8, work)


def interrupted(r: respass.Redis, seconds: float, use: Callable[[int], None]) -> tuple[int, int]:
    """Does that with signals at random moments: how often it was done, and how often interrupted."""

    class Interrupt(BaseException):
        pass

    def handler(*_: object) -> None:
        if is_armed:
            raise Interrupt

    # CPython's logging leaves its locks taken where an exception comes between acquire() and try.
    logging.getLogger("respass").setLevel(logging.CRITICAL)
    is_armed = False
    chance, done, broken, turn = random.Random(5), 0, 0, 0
    former = signal.signal(signal.SIGALRM, handler)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            turn += 1
            try:
                is_armed = True
                signal.setitimer(
                    signal.ITIMER_REAL, chance.uniform(0.00001, chance.choice((0.0008, 0.02))), 0.02
                )
                while True:
                    use(turn)
                    done += 1
                    turn += 1
            except Interrupt:
                is_armed = False
                broken += 1
    finally:
        is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        logging.getLogger("respass").setLevel(logging.DEBUG)
    return done, broken


def test_interrupts_at_random_moments(r: respass.Redis) -> None:
    def use(turn: int) -> None:
        assert r.echo(str(turn)) == str(turn).encode()

    done, broken = interrupted(r, 4, use)
    assert done > 0 and broken > 50
    started = time.monotonic()
    mixed(r, 1, 30)
    assert time.monotonic() - started < 15  # a reconnect may be paced by then


def test_interrupts_while_other_threads_use_the_client(r: respass.Redis) -> None:
    ends = threading.Event()
    failures: list[BaseException] = []

    def others(number: int) -> None:
        turn = 0
        while not ends.is_set():
            turn += 1
            text = f"{number}:{turn}"
            try:
                assert r.echo(text) == text.encode()
            except respass.ConnectionError:
                pass  # the interrupted reader's connection ended
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=others, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def use(turn: int) -> None:
        try:
            assert r.pipeline().echo(str(turn)).execute() == [str(turn).encode()]
        except respass.ConnectionError:
            pass

    try:
        _, broken = interrupted(r, 4, use)
    finally:
        ends.set()
        for thread in threads:
            thread.join(20)
    assert not failures, failures
    assert broken > 20 and not any(thread.is_alive() for thread in threads)
    mixed(r, 1, 30)


def test_a_signal_handler_may_use_the_client_in_the_middle_of_a_command(
    r: respass.Redis, server: Server
) -> None:
    seen = []
    former = signal.signal(signal.SIGUSR1, lambda *_: seen.append(r.echo("handler")))
    try:
        for _ in range(20):
            threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
            server.raw("CLIENT", "PAUSE", "40", "WRITE")
            assert r.set("k", "v") is True and r.echo("main") == b"main"
            time.sleep(0.005)
    finally:
        time.sleep(0.05)
        signal.signal(signal.SIGUSR1, former)
    assert seen == [b"handler"] * 20


class Finalised:
    """Uses a client when it is collected."""

    def __init__(self, use: Callable[[], Any]) -> None:
        self.use, self.itself = use, self

    def __del__(self) -> None:
        self.use()


def test_finalisers_that_use_the_client_at_every_allocation(r: respass.Redis) -> None:
    seen: list[bytes] = []
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:

        def work(number: int) -> None:
            for turn in range(30):
                Finalised(lambda: seen.append(r.echo("final")))
                text = f"{number}:{turn}"
                assert r.echo(text) == text.encode()
                assert r.pipeline().set(text, "x").get(text).execute() == [True, b"x"]
                with pytest.raises(respass.ResponseError):
                    r.execute_command("HGET", text, "f")
                with pytest.raises(UnicodeEncodeError):
                    r.set(text, "\ud800")

        work(0)
        run_threads(4, work)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert seen == [b"final"] * 150


def test_a_finaliser_that_closes_the_client(server: Server) -> None:
    r = respass.Redis(port=server.port)
    Finalised(r.close)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with pytest.raises(respass.ConnectionError):
            for _ in range(100):
                r.ping()
    finally:
        gc.set_threshold(*threshold)


def test_clients_and_what_they_hold_are_freed(server: Server) -> None:
    freed = []

    class Held:
        pass

    for turn in range(1, 4):
        held = Held()
        weakref.finalize(held, freed.append, 1)
        r = respass.Redis(port=server.port)
        r.ping()
        r.itself, r.held = r, held  # type: ignore[attr-defined]
        weakref.finalize(r._driver, freed.append, 2)
        weakref.finalize(next(iter(r._driver._lines.values())), freed.append, 3)
        with pytest.warns(ResourceWarning):
            del r, held
            deadline = time.monotonic() + 3
            while len(freed) < 3 * turn:
                # The background thread may be looking at the client just now.
                gc.collect()
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert sorted(freed) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_without_background_there_is_never_a_thread(server: Server, emulator: Emulator) -> None:
    server.raw("CONFIG", "SET", "timeout", "1")
    threads = set(threading.enumerate())

    def credential() -> str:
        assert set(threading.enumerate()) <= threads
        return str(emulator.token()["access_token"])

    try:
        with (
            respass.Redis(port=server.port, background=False) as r,
            respass.Redis(**emulator.options(), credential=credential, background=False) as azure,
        ):
            connections = set()
            for _ in range(3):
                connections.add(r.execute_command("CLIENT ID"))
                assert azure.ping()
                assert set(threading.enumerate()) <= threads
                time.sleep(2.6)  # longer than the server keeps an idle connection, or a token lives twice
            assert len(connections) == 3
            assert r.ping() and azure.ping()
            assert set(threading.enumerate()) <= threads
    finally:
        server.raw("CONFIG", "SET", "timeout", "0")


def test_where_threads_cannot_start_everything_works(
    server: Server, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from respass import _background

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if _background._background is not None:
        _background._background.stop()
        _background._background = None
    monkeypatch.setattr(threading.Thread, "start", start)
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with respass.Redis(port=server.port) as r:
            assert r.ping()
    assert len(os.listdir("/proc/self/fd")) == files

    def credential() -> str:
        return str(emulator.token()["access_token"])

    with respass.Redis(**emulator.options(), credential=credential) as r:
        end = time.monotonic() + 8
        while time.monotonic() < end:
            assert r.ping()
            time.sleep(0.05)
        assert r.auth_status()["reauth_count"] >= 1
    assert _background._background is None


def test_an_idle_connections_end_is_noticed_by_the_background_thread(
    r: respass.Redis, server: Server
) -> None:
    r.ping()
    time.sleep(2.2)
    server.kill_clients()
    deadline = time.monotonic() + 3
    while r._driver._lines:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_credential_that_hangs_does_not_stop_a_live_login(emulator: Emulator) -> None:
    hangs, asked = threading.Event(), []

    def credential() -> str:
        asked.append(threading.current_thread())
        if len(asked) > 1:
            hangs.wait(60)
        return str(emulator.token(ttl=20)["access_token"])

    with respass.Redis(**emulator.options(), credential=credential) as r:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            started = time.monotonic()
            assert r.ping()
            assert time.monotonic() - started < 5
            time.sleep(0.02)
        assert len(asked) == 2 and asked[1].daemon and asked[1].is_alive()
        hangs.set()
        end = time.monotonic() + 10
        while r.auth_status()["reauth_count"] < 1:
            assert time.monotonic() < end, "the late answer counts"
            assert r.ping()
            time.sleep(0.02)
