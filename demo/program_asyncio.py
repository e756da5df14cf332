"""Ten tasks on one asyncio client."""

import asyncio
import time

import respass.asyncio
from azure.identity import ManagedIdentityCredential
from report import CA, PORT, SECONDS, Count


async def work(client, count: Count, name: str, end: float) -> None:
    value = 0
    while time.monotonic() < end:
        try:
            value += 1
            await client.set(name, value)
            count.commands += 1
            if int(await client.get(name)) != value:
                raise AssertionError(f"{name} is not {value}")
            count.commands += 1
        except Exception as error:  # every failure counts, whatever it is
            count.failed(error)
        await asyncio.sleep(0.02)


async def main() -> None:
    count, end = Count(), time.monotonic() + SECONDS
    # The synchronous credential: it runs in a worker thread, never on the loop.
    async with respass.asyncio.Redis(
        "localhost", PORT, credential=ManagedIdentityCredential(), ssl_ca_certs=CA
    ) as client:
        tasks = [asyncio.create_task(work(client, count, f"asyncio:{index}", end)) for index in range(10)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(1)
            count.report(client)


asyncio.run(main())
