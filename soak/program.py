"""One of the programs under test: `program.py NAME`. It works until its standard input closes."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import respass
import respass.asyncio
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential
from credentials import app_service
from operations import Caller, Plan
from record import Interrupted, Recorder

PORT = int(os.environ["SOAK_PORT"])
CA = os.environ["SOAK_CA"]
IMPATIENT = 0.25


@dataclass
class Shape:
    """What a program is made of."""

    clients: int
    workers: int
    #: Mean pause of a worker between two plans, in seconds.
    pause: float
    credential: Any
    is_async: bool = False
    background: bool = True
    #: Has clients whose commands are interrupted by a signal.
    interrupts: bool = False


#: The clients that this happens to, by their numbers.
INTERRUPTED = range(1, 5)
#: To each of them no more often than this, in seconds. An interruption ends the connection, and one that did not
#: hold for 10 s is followed by a longer pause.
INTERRUPTION_SECONDS = 11.0


SHAPES = {
    "sync": Shape(clients=10, workers=1, pause=0.01, credential=ManagedIdentityCredential, interrupts=True),
    "threads": Shape(clients=10, workers=8, pause=0.08, credential=ManagedIdentityCredential),
    "asyncio": Shape(clients=14, workers=3, pause=0.25, credential=ManagedIdentityCredential, is_async=True),
    "asyncio-credential": Shape(
        clients=8, workers=3, pause=0.25, credential=AsyncManagedIdentityCredential, is_async=True
    ),
    "callable": Shape(clients=8, workers=1, pause=0.02, credential=app_service, background=False),
}


class Program:
    """What the kinds of programs share."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.name, self.shape = name, shape
        self.stop = threading.Event()
        self.recorder = Recorder(Path(os.environ["SOAK_FOLDER"]), name, float(os.environ["SOAK_START"]))
        self.chance = random.Random(f"{os.environ['SOAK_SEED']} {name}")
        threading.Thread(target=self._wait_for_the_end, daemon=True).start()

    def _wait_for_the_end(self) -> None:
        sys.stdin.read()
        self.stop.set()

    def options(self, index: int, credential: Any) -> dict[str, Any]:
        return {
            "host": "localhost", "port": PORT, "credential": credential, "ssl_ca_certs": CA,
            "socket_timeout": self.timeout(index), "client_name": f"{self.name}-{index}",
            "background": self.shape.background,
        }  # fmt: skip

    def timeout(self, index: int) -> float:
        """One client in eight does not wait long for replies."""
        return IMPATIENT if index % 8 == 7 else 5.0

    def caller(self, index: int, worker: int) -> Caller:
        return Caller(f"{self.name}-{index}", worker, random.Random(self.chance.random()))


class SyncProgram(Program):
    """Workers are threads; a single one is the main thread."""

    def run(self) -> None:
        self._is_armed = False
        self._interrupted_at: dict[int, float] = {}
        credential = self.shape.credential()
        self.clients = [respass.Redis(**self.options(i, credential)) for i in range(self.shape.clients)]
        threading.Thread(target=self._pulse, daemon=True).start()
        if self.shape.interrupts:
            signal.signal(signal.SIGALRM, self._interrupt)
        if self.shape.workers == 1:
            self.work(0)
        else:
            threads = [threading.Thread(target=self.work, args=(w,)) for w in range(self.shape.workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for client in self.clients:
            client.close()
        self.recorder.close()

    def work(self, worker: int) -> None:
        callers = [self.caller(index, worker) for index in range(len(self.clients))]
        chance = random.Random(f"{self.name} {worker}")
        while not self.stop.wait(chance.uniform(0, 2 * self.shape.pause)):
            # Many threads meet on the first client.
            crowded = self.shape.workers > 1 and chance.random() < 0.5
            index = 0 if crowded else chance.randrange(len(callers))
            interrupted = self.shape.interrupts and index in INTERRUPTED
            plan = callers[index].plan(self.recorder.epoch())
            number = self.recorder.begin(plan.epoch)
            act = self._call_interrupted if interrupted else self._call
            results = act(index, plan)
            callers[index].learn(plan, self.recorder.end(number, plan, results, self.timeout(index)))

    def _call(self, index: int, plan: Plan) -> list[Any]:
        client = self.clients[index]
        try:
            if plan.form == "single":
                return [client.execute_command(*plan.steps[0].arguments)]
            pipeline = client.pipeline(transaction=plan.form == "transaction")
            for step in plan.steps:
                pipeline.execute_command(*step.arguments)
            return pipeline.execute(raise_on_error=False)
        except (Exception, Interrupted) as error:
            return [error] * len(plan.steps)

    def _interrupt(self, *_signal: object) -> None:
        if self._is_armed:
            self._is_armed = False
            raise Interrupted

    def _call_interrupted(self, index: int, plan: Plan) -> list[Any]:
        """Often the signal comes too late; where it comes in time, what became of the command is open."""
        if time.monotonic() < self._interrupted_at.get(index, 0.0) + INTERRUPTION_SECONDS:
            return self._call(index, plan)
        try:
            self._is_armed = True
            signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(0.0001, 0.004))
            results = self._call(index, plan)
            self._is_armed = False
        except Interrupted as error:
            results = [error] * len(plan.steps)
        if isinstance(results[0], Interrupted):
            self._interrupted_at[index] = time.monotonic()
        return results

    def _pulse(self) -> None:
        while not self.stop.wait(1):
            self.recorder.pulse()


class AsyncProgram(Program):
    """Workers are tasks, some on each client."""

    async def run(self) -> None:
        credential = self.shape.credential()
        indices = range(self.shape.clients)
        clients = [respass.asyncio.Redis(**self.options(index, credential)) for index in indices]
        tasks = [
            asyncio.create_task(self.work(index, clients[index], worker))
            for index in indices
            for worker in range(self.shape.workers)
        ]
        while not all(task.done() for task in tasks):
            self.recorder.pulse()
            await asyncio.wait(tasks, timeout=1)
        await asyncio.gather(*tasks)
        for client in clients:
            await client.aclose()
        if hasattr(credential, "__aexit__"):
            await credential.close()
        self.recorder.close()

    async def work(self, index: int, client: Any, worker: int) -> None:
        caller = self.caller(index, worker)
        while not self.stop.is_set():
            await asyncio.sleep(caller.chance.uniform(0, 2 * self.shape.pause))
            plan = caller.plan(self.recorder.epoch())
            number = self.recorder.begin(plan.epoch)
            # Some callers lose their patience: before the command could leave, on its way, or near its reply.
            patience = caller.chance.uniform(0, 0.01) if caller.chance.random() < 0.05 else None
            results = await self._call(client, plan, patience)
            caller.learn(plan, self.recorder.end(number, plan, results, self.timeout(index)))

    async def _call(self, client: Any, plan: Plan, patience: float | None) -> list[Any]:
        try:
            if plan.form == "single":
                call = client.execute_command(*plan.steps[0].arguments)
                return [await asyncio.wait_for(call, patience)]
            pipeline = client.pipeline(transaction=plan.form == "transaction")
            for step in plan.steps:
                pipeline.execute_command(*step.arguments)
            return list(await asyncio.wait_for(pipeline.execute(raise_on_error=False), patience))
        except Exception as error:
            return [error] * len(plan.steps)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("respass").setLevel(logging.DEBUG)
    # azure-identity logs answers of the identity service that it cannot read, with the token in them.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    faulthandler.register(signal.SIGUSR1)
    name = sys.argv[1]
    shape = SHAPES[name]
    if shape.is_async:
        asyncio.run(AsyncProgram(name, shape).run())
    else:
        SyncProgram(name, shape).run()


if __name__ == "__main__":
    main()
