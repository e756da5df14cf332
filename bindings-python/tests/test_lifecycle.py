"""The end of a process with work in flight: exit code 0, nothing said, no hang."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import Emulator, Server

#: Signals, many threads and deliberate delays: not beside other tests.
pytestmark = pytest.mark.alone

#: How often each program is run, with an end at random moments.
TURNS = int(os.environ.get("RESPASS_EXITS", "5"))

HEAD = """
import asyncio, gc, os, random, sys, threading, time
import respass, respass.asyncio
port = int(sys.argv[1])
moment = random.random() * 0.06
"""

PROGRAMS = {
    "daemon threads": """
r = respass.Redis(port=port)
def work():
    while True:
        r.echo("x"); r.pipeline().set("k", 1).get("k").execute()
        try: r.execute_command("HGET", "k", "f")
        except respass.ResponseError: pass
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(moment)
""",
    "threads that end": """
r = respass.Redis(port=port)
for _ in range(4):
    threading.Thread(target=lambda: [r.echo("x") for _ in range(50)]).start()
time.sleep(moment / 4)
""",
    "a client that nobody closed": """
r = respass.Redis(port=port)
r.ping()
time.sleep(moment)
""",
    "a cycle with a client": """
r = respass.Redis(port=port)
r.ping()
r.itself = r
del r
time.sleep(moment / 4)
""",
    "a client used by an exit handler": """
import atexit
r = respass.Redis(port=port)
atexit.register(lambda: r.set("k", 1) or os._exit(3))
r.ping()
time.sleep(moment / 4)
""",
    "pending tasks": """
async def main():
    r = respass.asyncio.Redis(port=port)
    async def work():
        while True:
            await asyncio.gather(*(r.echo("x") for _ in range(20)))
    tasks = [asyncio.create_task(work()) for _ in range(5)]
    await asyncio.sleep(moment)
asyncio.run(main())
""",
    "an event loop in a daemon thread": """
r = respass.asyncio.Redis(port=port)
async def main():
    async def work():
        while True:
            await asyncio.gather(*(r.echo("x") for _ in range(20)))
    await asyncio.gather(*(work() for _ in range(5)))
threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
time.sleep(moment + 0.03)
""",
    "a global asyncio client": """
r = respass.asyncio.Redis(port=port)
async def main():
    await r.ping()
    pending = r.echo("x")
    await asyncio.sleep(moment / 4)
asyncio.run(main())
""",
    "sys.exit in a task": """
r = respass.asyncio.Redis(port=port)
async def main():
    pending = [r.echo("x") for _ in range(50)]
    await asyncio.sleep(0)
    sys.exit(0)
asyncio.run(main())
""",
}


def run(program: str, *arguments: str) -> None:
    command = [sys.executable, "-c", HEAD + program, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=30, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_exit_with_work_in_flight(name: str, server: Server) -> None:
    for _ in range(TURNS):
        run(PROGRAMS[name], str(server.port))


HANGING_CREDENTIAL = """
def credential():
    time.sleep(1000)
r = respass.Redis("localhost", port, ssl_ca_certs=sys.argv[2], credential=credential, socket_timeout=0.2)
threading.Thread(target=lambda: r.ping(), daemon=True).start()
time.sleep(0.2)
"""


def test_exit_while_a_credential_hangs(emulator: Emulator) -> None:
    run(HANGING_CREDENTIAL, str(emulator.port), emulator.ca)
