"""Fork: one client object serves the parent and every child, each over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import respass
import respass.asyncio
from conftest import Emulator, Server, free_port

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")]

#: A child that takes longer is stuck.
CHILD_SECONDS = 30


def child_of(work: Callable[[], Any]) -> int:
    """Forks; the child does the work and ends without any clean-up. Its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        signal.alarm(CHILD_SECONDS)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def join(*children: int) -> None:
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, f"a child ended with {status}"


def in_child(work: Callable[[], Any]) -> None:
    join(child_of(work))


def use(r: respass.Redis, turns: int = 50) -> None:
    """Commands whose replies are this thread's own, or somebody has mixed them."""
    name = f"{os.getpid()}:{threading.get_ident()}"
    for turn in range(turns):
        assert r.echo(f"{name}:{turn}") == f"{name}:{turn}".encode()
    with r.pipeline() as p:
        assert p.set(name, turns).get(name).execute() == [True, str(turns).encode()]


def sockets() -> set[str]:
    """What this process has open, but for files."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            kind = os.readlink(f"/proc/self/fd/{name}")
            if not kind.startswith("/"):
                found.add(f"{name} {kind}")
    return found


@contextlib.contextmanager
def under_load(r: respass.Redis, threads: int = 4) -> Iterator[None]:
    """Threads that are in the middle of commands all the time."""
    ends, failures = threading.Event(), []

    def work() -> None:
        try:
            while not ends.is_set():
                use(r, 5)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        ends.set()
        for worker in workers:
            worker.join(30)
    assert not failures, failures
    assert not any(worker.is_alive() for worker in workers)


@pytest.fixture
def r(server: Server) -> Iterator[respass.Redis]:
    with respass.Redis(port=server.port) as client:
        client.ping()
        yield client


def test_a_client_works_in_the_child_and_goes_on_in_the_parent(r: respass.Redis) -> None:
    connection = r.execute_command("CLIENT ID")

    def work() -> None:
        use(r)
        assert r.execute_command("CLIENT ID") != connection

    in_child(work)
    use(r)
    assert r.execute_command("CLIENT ID") == connection


def test_a_client_that_never_connected_works_in_the_child(server: Server) -> None:
    with respass.Redis(port=server.port) as r:
        in_child(lambda: use(r))
        use(r)


def test_a_client_closed_before_the_fork_is_closed_in_the_child(server: Server) -> None:
    r = respass.Redis(port=server.port)
    r.ping()
    r.close()

    def work() -> None:
        with pytest.raises(respass.ConnectionError, match="closed"):
            r.ping()

    in_child(work)


def test_the_child_closes_its_copies_and_the_parents_connection_lives(r: respass.Redis) -> None:
    connection = r.execute_command("CLIENT ID")
    before = sockets()

    def work() -> None:
        inherited = sockets() & before
        own = {name for name in before if "socket" in name or "eventpoll" in name}
        assert own and not inherited & own, inherited & own
        r.close()
        gc.collect()

    in_child(work)
    assert r.execute_command("CLIENT ID") == connection


def test_the_child_closes_every_connection_and_the_parents_go_on(r: respass.Redis) -> None:
    with r.pubsub(ignore_subscribe_messages=True) as p, r.pipeline() as watching:
        p.subscribe("a")
        watching.watch("watched")
        before = sockets()

        def work() -> None:
            own = {name for name in before if "socket" in name or "eventpoll" in name}
            assert len(own) >= 3 and not sockets() & own
            use(r)
            for method in (p.get_message, watching.execute):
                with pytest.raises(respass.ForkError):
                    method()
            with r.pubsub() as other:
                other.subscribe("b")

        in_child(work)
        assert r.publish("a", "x") == 1
        while (message := p.get_message(timeout=5)) is None:
            pass
        assert message["data"] == b"x"
        watching.multi()
        assert watching.set("watched", 1).execute() == [True]


def test_no_byte_is_written_by_a_child_that_does_not_use_the_client(tls_server: Server) -> None:
    """Over TLS a byte from the child would end the connection: it would use the parent's keys."""
    with respass.Redis("localhost", tls_server.port, ssl=True, ssl_ca_certs=tls_server.ca) as r:
        connection = r.execute_command("CLIENT ID")
        for end in (lambda: None, r.close, gc.collect):
            in_child(end)
            assert r.execute_command("CLIENT ID") == connection
        in_child(lambda: use(r))
        assert r.execute_command("CLIENT ID") == connection


def test_the_parents_idle_connection_is_still_watched(r: respass.Redis, server: Server) -> None:
    time.sleep(1.2)  # the background thread has the socket in its selector now
    in_child(lambda: use(r))
    assert r._driver.watched and list(r._driver.watched.values()) == list(r._driver._lines.values())
    server.kill_clients()
    deadline = time.monotonic() + 5
    while r._driver._lines:
        assert time.monotonic() < deadline, "the loss was not noticed"
        time.sleep(0.02)
    use(r)


def test_children_of_children(r: respass.Redis) -> None:
    def work() -> None:
        use(r)
        in_child(lambda: (use(r), in_child(lambda: use(r))))
        use(r)

    in_child(work)
    use(r)


def test_two_hundred_forks_under_load(r: respass.Redis) -> None:
    deadline = time.monotonic() + 120
    with under_load(r):
        for index in range(200):
            join(child_of((lambda: use(r, 2)) if index % 4 == 0 else (lambda: None)))
            assert time.monotonic() < deadline
    use(r)


def test_a_fork_from_another_thread(r: respass.Redis) -> None:
    with under_load(r, 3):
        thread = threading.Thread(target=lambda: [in_child(lambda: use(r)) for _ in range(10)])
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


def test_many_threads_of_a_child_start_over_at_once(r: respass.Redis) -> None:
    def work() -> None:
        with under_load(r, 8):
            time.sleep(0.2)
        assert r.execute_command("CLIENT ID") == r.execute_command("CLIENT ID")

    with under_load(r):
        in_child(work)


def test_a_fork_inside_a_pipeline(r: respass.Redis) -> None:
    r.delete("n")
    with r.pipeline() as p:
        p.incr("n")
        in_child(lambda: p.incr("n").execute() == [1, 2] or os._exit(9))
        assert p.execute() == [3]


def test_a_fork_in_the_middle_of_a_command_of_the_same_thread(r: respass.Redis, server: Server) -> None:
    """A signal handler that forks: the child's command ends with an error, the parent's with its reply."""
    children = []

    def handler(*_: object) -> None:
        number = os.fork()
        if not number:
            signal.alarm(CHILD_SECONDS)
        children.append(number)

    former = signal.signal(signal.SIGUSR1, handler)
    parent = os.getpid()
    try:
        server.raw("CLIENT", "PAUSE", "400", "ALL")
        timer = threading.Timer(0.1, lambda: os.kill(parent, signal.SIGUSR1))
        timer.start()
        try:
            reply = r.echo("parent")
        except respass.ForkError:
            assert os.getpid() != parent
            use(r)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        if os.getpid() != parent:
            os._exit(2)
        assert reply == b"parent"
    finally:
        signal.signal(signal.SIGUSR1, former)
        timer.join()
    join(*children)
    use(r)


def test_multiprocessing(r: respass.Redis, server: Server) -> None:
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        target, arguments = (use, (r, 20)) if method == "fork" else (use_new, (server.port,))
        processes = [context.Process(target=target, args=arguments) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(CHILD_SECONDS)
            assert process.exitcode == 0, method
    use(r)


def use_new(port: int) -> None:
    with respass.Redis(port=port) as r:
        use(r)


PREFORK = """
import os, socket, sys, threading
import respass
r = respass.Redis(port=int(sys.argv[1]))
r.set("prefork", 0)
listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
def serve():
    while True:
        connection, _ = listener.accept()
        with connection:
            text = connection.recv(100)
            if text == b"end":
                return
            r.incr("prefork")
            connection.sendall(b"%d %s" % (os.getpid(), r.echo(text)))
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        serve()
        sys.exit(0)
    children.append(child)
serve()
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert r.get("prefork") is not None
"""


def test_a_preforking_server(server: Server) -> None:
    port = free_port()
    command = [sys.executable, "-c", PREFORK, str(server.port), str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)

    def ask(text: bytes) -> bytes:
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                    sock.sendall(text)
                    return sock.recv(100)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)

    try:
        served = set()
        for index in range(200):
            number, echo = ask(b"%d" % index).split()
            assert echo == b"%d" % index
            served.add(number)
        assert len(served) > 1
        with respass.Redis(port=server.port) as r:
            assert r.get("prefork") == b"200"
        for _ in range(5):
            assert ask(b"end") == b""
        assert process.wait(20) == 0
        assert process.stderr is not None and process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()


SYS_EXIT = """
import os, sys, threading, time
import respass
r = respass.Redis(port=int(sys.argv[1]))
r.ping()
threading.Thread(target=lambda: [r.ping() for _ in range(200)], daemon=True).start()
for index in range(10):
    child = os.fork()
    if not child:
        assert index % 2 or r.echo("x") == b"x"
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert r.ping()
"""


def test_a_child_that_leaves_by_sys_exit(server: Server) -> None:
    command = [sys.executable, "-c", SYS_EXIT, str(server.port)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_asyncio_client_works_in_the_child_and_goes_on_in_the_parent(server: Server) -> None:
    async def use_async(r: respass.asyncio.Redis) -> None:
        texts = [f"{os.getpid()}:{turn}" for turn in range(50)]
        assert await asyncio.gather(*(r.echo(text) for text in texts)) == [text.encode() for text in texts]

    r = respass.asyncio.Redis(port=server.port)

    async def main() -> None:
        await use_async(r)
        connection = await r.execute_command("CLIENT ID")
        (protocol,) = r._driver.protocols.values()
        number = protocol.transport.get_extra_info("socket").fileno()
        inode = os.readlink(f"/proc/self/fd/{number}")

        def work() -> None:
            assert not any(inode in name for name in sockets())
            for _ in range(2):
                asyncio.run(use_async(r))
            gc.collect()

        for turn in range(5):
            pending = asyncio.gather(*(r.echo(str(index)) for index in range(100)))
            if turn % 2:
                await asyncio.sleep(0)
            child = child_of(work)
            assert await pending == [str(index).encode() for index in range(100)]
            await asyncio.to_thread(join, child)
            await use_async(r)
        assert await r.execute_command("CLIENT ID") == connection
        await r.aclose()

    asyncio.run(main())


def test_an_asyncio_pipeline_begun_before_the_fork(server: Server) -> None:
    r = respass.asyncio.Redis(port=server.port)
    p = r.pipeline().delete("n").incr("n")

    async def main() -> None:
        assert (await p.execute())[1] == 1

    in_child(lambda: asyncio.run(main()))
    asyncio.run(main())


def test_tokens_are_renewed_in_parent_and_child(emulator: Emulator) -> None:
    asked = []

    def credential() -> str:
        asked.append(os.getpid())
        return str(emulator.token()["access_token"])

    with (
        respass.Redis(**emulator.options(), credential=credential) as r,
        respass.Redis(**emulator.options(), credential=credential) as other,
    ):
        r.ping()
        other.ping()
        assert len(asked) == 1

        def work() -> None:
            del asked[:]
            assert r.ping() and other.ping()
            assert asked == [os.getpid()], "one supply for a credential in a process"
            drive(r)

        def drive(r: respass.Redis) -> None:
            end = time.monotonic() + 9
            while time.monotonic() < end:
                use(r, 2)
                time.sleep(0.05)
            assert r.auth_status()["reauth_count"] >= 2

        child = child_of(work)
        drive(r)
        join(child)
    assert set(asked) == {os.getpid()}


def test_a_close_by_the_parent_reaches_the_server_while_children_live(
    r: respass.Redis, server: Server
) -> None:
    """A child that held a copy would keep the parent's closed connection alive."""
    number = r.execute_command("CLIENT ID")
    read, write = os.pipe()

    def work() -> None:
        os.close(write)
        os.read(read, 1)

    child = child_of(work)
    r.close()
    deadline = time.monotonic() + 5
    while f"id={number} ".encode() in server.raw("CLIENT", "LIST"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.close(write)
    os.close(read)
    join(child)
