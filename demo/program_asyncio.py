"""Ten tasks on one asyncio client, each with a key of its own, and one that reads them all."""

import asyncio
import time
from functools import partial

import respass.asyncio
from azure.identity import ManagedIdentityCredential
from report import CA, PORT, SECONDS, Count

NAMES = [f"asyncio:{index}" for index in range(10)]
LATEST = dict.fromkeys(NAMES, 0)


async def write_and_read(client, name: str, value: int) -> int:
    await client.set(name, value)
    LATEST[name] = value
    found = int(await client.get(name))
    if found != value:
        raise AssertionError(f"{name} is {found}, not {value}")
    return 2


async def read_all(client, _: int) -> int:
    """The names are in several slots: this is one command to each."""
    before = dict(LATEST)
    found = dict(zip(NAMES, await client.mget(NAMES), strict=True))
    late = [name for name in NAMES if int(found[name] or 0) < before[name]]
    if late:
        raise AssertionError(f"older values than were written: {late}")
    return 1


async def repeat(step, count: Count, end: float) -> None:
    value = 0
    while time.monotonic() < end:
        value += 1
        try:
            count.commands += await step(value)
        except Exception as error:  # every failure counts, whatever it is
            count.failed(error)
        await asyncio.sleep(0.02)


async def main() -> None:
    count, end = Count(), time.monotonic() + SECONDS
    # The synchronous credential: it runs in a worker thread, never on the loop.
    async with respass.asyncio.Redis(
        "localhost", PORT, credential=ManagedIdentityCredential(), ssl_ca_certs=CA
    ) as client:
        steps = [partial(write_and_read, client, name) for name in NAMES] + [partial(read_all, client)]
        tasks = [asyncio.create_task(repeat(step, count, end)) for step in steps]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(1)
            count.report(client)


asyncio.run(main())
