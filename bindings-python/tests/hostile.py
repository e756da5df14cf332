"""Servers that misbehave on purpose, on loopback: each connection is handled by the next script of a list."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Script = Callable[[socket.socket], None]

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


def requests(sock: socket.socket) -> Iterator[list[bytes]]:
    """The commands that arrive, until the connection ends."""
    with sock.makefile("rb") as file:
        while (header := file.readline()).startswith(b"*"):
            command = []
            for _ in range(int(header[1:])):
                length = int(file.readline()[1:])
                command.append(file.read(length + 2)[:-2])
            yield command


def obey(sock: socket.socket, odd: Callable[[list[bytes]], bytes | None] = lambda _: None) -> None:
    """A server that accepts logins, answers PING, and echoes the last argument of anything else; `odd` may give
    other bytes for a command, or none for the ordinary ones."""
    for command in requests(sock):
        other = odd(command)
        if other is not None:
            sock.sendall(other)
        elif command[0] == b"HELLO":
            sock.sendall(HELLO)
        elif command[0] == b"CLIENT":
            sock.sendall(b"+OK\r\n")
        elif command == [b"PING"]:
            sock.sendall(b"+PONG\r\n")
        else:
            sock.sendall(b"$%d\r\n%s\r\n" % (len(command[-1]), command[-1]))


def answering(name: bytes, reply: bytes, then_close: bool = False) -> Script:
    """Obeys, but answers the command `name` with these bytes."""

    def script(sock: socket.socket) -> None:
        for_this = lambda command: reply if command[0] == name else None  # noqa: E731
        if not then_close:
            return obey(sock, for_this)
        for command in requests(sock):
            if command[0] == name:
                sock.sendall(reply)
                return None
            sock.sendall(HELLO if command[0] == b"HELLO" else b"+OK\r\n")
        return None

    return script


def reset(sock: socket.socket) -> None:
    """Has the socket end in an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def hostile(*scripts: Script) -> Iterator[int]:
    """A server whose n-th connection is handled by the n-th script, the last one by all further; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()
    open_sockets: list[socket.socket] = []

    def serve(sock: socket.socket, script: Script) -> None:
        with sock:
            try:
                script(sock)
            except OSError:
                pass  # the client has gone

    def accept() -> None:
        for index in range(10_000):
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if is_over.is_set():
                sock.close()
                return
            open_sockets.append(sock)
            script = scripts[min(index, len(scripts) - 1)]
            threading.Thread(target=serve, args=(sock, script), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in open_sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        acceptor.join(5)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port on loopback that never accepts: its queue is full, so the kernel drops what asks to connect."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    try:
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        yield port
    finally:
        for filler in fillers:
            filler.close()
        listener.close()


def free_of_output(command: list[str]) -> bool:
    """Whether a program ends well and prints nothing."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout == "" and done.stderr == ""
