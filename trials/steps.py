"""What the workers of every program do, in every language the same, and what each command must return.

Every command that counts has an id that no other has, and leaves it in a ledger: so the servers themselves
tell how often it ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: The ledgers lie in as many slots.
LEDGERS = 48
#: Keys of a worker's own, each in a slot of its own.
OWN_KEYS = 4
CYCLE = ("count", "set", "count", "get", "multi", "set", "mget", "count", "get", "del")


def ledger(number: int) -> str:
    return f"ledger:{{{number % LEDGERS}}}"


@dataclass
class Step:
    """One command, or one transaction."""

    id: str
    op: str
    commands: list[tuple[str, ...]]
    wants: Any
    #: Which of the worker's own keys it touches.
    own: list[int] = field(default_factory=list)


class Worker:
    """Makes the steps of one worker, and keeps account of its own keys."""

    def __init__(self, client: str, number: int) -> None:
        self.name = f"{client}.{number}"
        self._seed = sum(client.encode()) + number
        self._made = 0
        self._generation = 0
        self._values: list[str | None] = [None] * OWN_KEYS

    def next(self) -> Step:
        self._made += 1
        made, identity = self._made, f"{self.name}.{self._made}"
        op = CYCLE[made % len(CYCLE)]
        key = ledger(self._seed + made * 7)
        own = made % OWN_KEYS
        if op == "count":
            return Step(identity, op, [("HINCRBY", key, identity, "1")], 1)
        if op == "multi":
            ids = (f"{identity}.a", f"{identity}.b")
            return Step(identity, op, [("HINCRBY", key, one, "1") for one in ids], [1, 1])
        if op == "set":
            return Step(identity, op, [("SET", self._key(own), identity)], True, [own])
        if op == "get":
            return Step(identity, op, [("GET", self._key(own))], self._values[own])
        if op == "mget":
            keys = [self._key(number) for number in range(OWN_KEYS)]
            return Step(identity, op, [("MGET", *keys)], list(self._values))
        several = [own, (own + 1) % OWN_KEYS]
        there = sum(self._values[number] is not None for number in several)
        return Step(identity, op, [("DEL", *(self._key(number) for number in several))], there, several)

    def learn(self, step: Step, outcome: str) -> None:
        """What became of a step. A key whose write is uncertain is never used again."""
        if not step.own or outcome in ("not_sent", "refused"):
            return
        if outcome != "replied":
            self._generation += 1
            self._values = [None] * OWN_KEYS
            return
        for number in step.own:
            self._values[number] = step.id if step.op == "set" else None

    def _key(self, number: int) -> str:
        return f"own:{self.name}.{self._generation}:{number}"
