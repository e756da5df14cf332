"""The trial's load with asyncio: `python program_asyncio.py`. What it does is told by the environment."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable
from typing import Any

import respass.asyncio
from records import Recorder
from settings import BEAT, CLIENTS, NAME, PARTS, PATIENCE, PAUSE, RECORDS, WORKERS, end_of_input, options
from steps import Step, Worker


async def attempt(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except Exception as error:  # every failure is judged, whatever it is
        return error


async def run(client: respass.asyncio.Redis, step: Step) -> Any:
    if step.op != "multi":
        return await attempt(client.execute_command(*step.commands[0]))
    pipeline = client.pipeline(transaction=True)
    for command in step.commands:
        pipeline.execute_command(*command)
    return await attempt(pipeline.execute())


class Client:
    """One client, and the tasks on it."""

    def __init__(self, name: str, given: dict[str, Any], recorder: Recorder, stop: threading.Event) -> None:
        self.name, self.recorder, self.stop = name, recorder, stop
        self.redis = respass.asyncio.Redis(client_name=name, **given)

    def jobs(self) -> list[Any]:
        jobs: list[Any] = [self.work(number) for number in range(WORKERS)]
        if "blocking" in PARTS:
            jobs += [self.push(), self.pop()]
        if "pubsub" in PARTS:
            jobs += [self.publish("PUBLISH", f"news:{self.name}"), self.hear()]
        if "shard" in PARTS:
            jobs += [self.publish("SPUBLISH", f"shard:{self.name}")]
        return jobs

    async def work(self, number: int) -> None:
        worker = Worker(self.name, number)
        while not self.stop.is_set():
            await asyncio.sleep(PAUSE)
            step, began = worker.next(), time.time()
            result = await run(self.redis, step)
            key = step.commands[0][1]
            worker.learn(
                step, self.recorder.command(self.name, step.op, step.id, key, began, result, step.wants)
            )

    async def push(self) -> None:
        key, number = f"queue:{self.name}", 0
        while not self.stop.is_set():
            await asyncio.sleep(BEAT)
            number, began = number + 1, time.time()
            identity = f"{self.name}.{number}"
            result = await attempt(self.redis.execute_command("RPUSH", key, identity))
            self.recorder.command(self.name, "push", identity, key, began, result)

    async def pop(self) -> None:
        key, number = f"queue:{self.name}", 0
        while not self.stop.is_set():
            number, began = number + 1, time.time()
            result = await attempt(self.redis.execute_command("BLPOP", key, str(PATIENCE)))
            self.recorder.command(self.name, "pop", str(number), key, began, result)

    async def publish(self, command: str, channel: str) -> None:
        number = 0
        while not self.stop.is_set():
            await asyncio.sleep(BEAT)
            number, began = number + 1, time.time()
            result = await attempt(self.redis.execute_command(command, channel, str(number)))
            self.recorder.command(self.name, "publish", str(number), channel, began, result)

    async def hear(self) -> None:
        def gap(_: object) -> None:
            self.recorder.heard(self.name, "", None)

        async with self.redis.pubsub(ignore_subscribe_messages=True, on_gap=gap) as pubsub:
            await pubsub.subscribe(f"news:{self.name}")
            if "shard" in PARTS:
                await pubsub.ssubscribe(f"shard:{self.name}")
            while not self.stop.is_set():
                message = await pubsub.get_message(timeout=0.5)
                if message is not None:
                    self.recorder.heard(self.name, message["channel"], message["data"])


async def main() -> None:
    recorder, stop = Recorder(RECORDS), end_of_input()
    given = options()
    clients = [Client(f"{NAME}-{number}", given, recorder, stop) for number in range(CLIENTS)]
    await asyncio.gather(*(job for client in clients for job in client.jobs()))
    for client in clients:
        await client.redis.aclose()
    recorder.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("respass").setLevel(logging.DEBUG)
    asyncio.run(main())
