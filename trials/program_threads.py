"""The trial's load with threads: `python program_threads.py`. What it does is told by the environment."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import respass
from records import Recorder
from settings import BEAT, CLIENTS, NAME, PARTS, PATIENCE, PAUSE, RECORDS, WORKERS, end_of_input, options
from steps import Step, Worker


def attempt(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception as error:  # every failure is judged, whatever it is
        return error


def run(client: respass.Redis, step: Step) -> Any:
    if step.op != "multi":
        return attempt(client.execute_command, *step.commands[0])
    pipeline = client.pipeline(transaction=True)
    for command in step.commands:
        pipeline.execute_command(*command)
    return attempt(pipeline.execute)


class Client:
    """One client, and the threads on it."""

    def __init__(self, name: str, given: dict[str, Any], recorder: Recorder, stop: threading.Event) -> None:
        self.name, self.recorder, self.stop = name, recorder, stop
        self.redis = respass.Redis(client_name=name, **given)
        jobs: list[tuple[Any, ...]] = [(self.work, number) for number in range(WORKERS)]
        if "blocking" in PARTS:
            jobs += [(self.push,), (self.pop,)]
        if "pubsub" in PARTS:
            jobs += [(self.publish, "PUBLISH", f"news:{name}"), (self.hear,)]
        if "shard" in PARTS:
            jobs += [(self.publish, "SPUBLISH", f"shard:{name}")]
        self.threads = [threading.Thread(target=job, args=arguments) for job, *arguments in jobs]

    def work(self, number: int) -> None:
        worker = Worker(self.name, number)
        while not self.stop.wait(PAUSE):
            step, began = worker.next(), time.time()
            result = run(self.redis, step)
            key = step.commands[0][1]
            worker.learn(
                step, self.recorder.command(self.name, step.op, step.id, key, began, result, step.wants)
            )

    def push(self) -> None:
        key, number = f"queue:{self.name}", 0
        while not self.stop.wait(BEAT):
            number, began = number + 1, time.time()
            identity = f"{self.name}.{number}"
            result = attempt(self.redis.execute_command, "RPUSH", key, identity)
            self.recorder.command(self.name, "push", identity, key, began, result)

    def pop(self) -> None:
        key, number = f"queue:{self.name}", 0
        while not self.stop.is_set():
            number, began = number + 1, time.time()
            result = attempt(self.redis.execute_command, "BLPOP", key, str(PATIENCE))
            self.recorder.command(self.name, "pop", str(number), key, began, result)

    def publish(self, command: str, channel: str) -> None:
        number = 0
        while not self.stop.wait(BEAT):
            number, began = number + 1, time.time()
            result = attempt(self.redis.execute_command, command, channel, str(number))
            self.recorder.command(self.name, "publish", str(number), channel, began, result)

    def hear(self) -> None:
        def gap(_: object) -> None:
            self.recorder.heard(self.name, "", None)

        with self.redis.pubsub(ignore_subscribe_messages=True, on_gap=gap) as pubsub:
            pubsub.subscribe(f"news:{self.name}")
            if "shard" in PARTS:
                pubsub.ssubscribe(f"shard:{self.name}")
            while not self.stop.is_set():
                message = pubsub.get_message(timeout=0.5)
                if message is not None:
                    self.recorder.heard(self.name, message["channel"], message["data"])


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("respass").setLevel(logging.DEBUG)
    recorder, stop = Recorder(RECORDS), end_of_input()
    given = options()
    clients = [Client(f"{NAME}-{number}", given, recorder, stop) for number in range(CLIENTS)]
    threads = [thread for client in clients for thread in client.threads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.redis.close()
    recorder.close()


if __name__ == "__main__":
    main()
