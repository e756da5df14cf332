"""One sample: one client, one workload, for some seconds; prints a JSON line. `main.py` starts it, pinned."""

import argparse
import asyncio
import json
import resource
from time import perf_counter as clock

import adapters
from servers import ELEMENT_LEN, ELEMENTS, KEYS, VALUE

WARM_UP_S = 0.15
NAMES = [f"key:{i}" for i in range(KEYS)]


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter")
    parser.add_argument("workload")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", help="TLS, and a login")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    return parser.parse_args()


class Meter:
    """Wall time and CPU of this process, all threads."""

    def __init__(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu, self.wall = usage.ru_utime + usage.ru_stime, clock()

    def report(self, ops):
        now = Meter()
        print(json.dumps({"ops": ops, "seconds": now.wall - self.wall, "cpu_s": now.cpu - self.cpu}))


def step_of(client, workload):
    """What is repeated, how many commands that is, and whether its result is right."""

    def reconnect():
        client.open()
        client.close()

    return {
        "connect": (reconnect, 1, lambda _: True),
        "get": (lambda: client.get("key:7"), 1, lambda reply: reply == VALUE),
        "pipe_get": (lambda: client.pipe_get(NAMES), KEYS, lambda replies: replies == [VALUE] * KEYS),
        "pipe_set": (
            lambda: client.pipe_set(NAMES, VALUE),
            KEYS,
            lambda replies: len(replies) == KEYS and all(reply in (True, "OK", b"OK") for reply in replies),
        ),
        "lrange": (
            lambda: client.lrange("list"),
            1,
            lambda replies: len(replies) == ELEMENTS and len(replies[-1]) == ELEMENT_LEN,
        ),
    }[workload]


def repeat(step, seconds):
    """How often it ran."""
    count, end = 0, clock() + seconds
    while clock() < end:
        step()
        count += 1
    return count


def run(client, options):
    if options.workload != "connect":
        client.open()
    step, commands, is_right = step_of(client, options.workload)
    assert is_right(step()), "a wrong reply"
    repeat(step, WARM_UP_S)
    meter = Meter()
    count = repeat(step, options.seconds)
    meter.report(count * commands)


async def take_turns(client, tasks, seconds):
    """Each task gives a GET and a SET in turn on the one client object; how many commands."""
    get, put, end = client.get, client.set, clock() + seconds

    async def task(number):
        at, count = number * 31, 0
        # One turn at least, whatever the time: a pool has then made its connections.
        while count == 0 or clock() < end:
            await get(NAMES[at % KEYS])
            await put(NAMES[(at + 1) % KEYS], VALUE)
            at += 2
            count += 2
        return count

    return sum(await asyncio.gather(*(task(number) for number in range(tasks))))


async def run_tasks(client, options):
    await client.open()
    assert await client.get("key:7") == VALUE, "a wrong reply"
    await take_turns(client, options.tasks, WARM_UP_S)
    meter = Meter()
    meter.report(await take_turns(client, options.tasks, options.seconds))
    await client.close()


def main():
    options = parse()
    client = getattr(adapters, options.adapter)(options)
    if options.workload == "tasks":
        asyncio.run(run_tasks(client, options))
    else:
        run(client, options)


if __name__ == "__main__":
    main()
