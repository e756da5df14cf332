"""What the programs do, and what the server must have to show for it.

Every command has an identity of its own, and what it leaves on the server and gets as its reply follows from
that identity alone: so the judge needs no word of the program to know what is right.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from dataclasses import dataclass, field
from typing import Any

BIG_LEN = 100_000

#: Counts like HINCRBY and answers with the identity: a reply that went astray shows.
SCRIPT = "redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2]) return ARGV[1]"

#: Kinds that leave `amount(identity)` under the identity in the ledger.
COUNTED = frozenset(("count", "script", "script-big"))
#: Kinds that leave the identity in a list.
LISTED = frozenset(("push",))

_EXPIRE_SECONDS = "900"


def amount(identity: str) -> int:
    """What one run of the command adds to the ledger: two runs show, and so does another command's reply."""
    return zlib.crc32(identity.encode()) + 1


def big(identity: str) -> bytes:
    """100 KB that no other identity has."""
    block = hashlib.sha256(identity.encode()).hexdigest().encode()
    return (block * (BIG_LEN // len(block) + 1))[:BIG_LEN]


def summary(reply: Any) -> Any:
    """A reply in the records: itself, or of long ones length and checksum."""
    if isinstance(reply, (bytes, bytearray)):
        if len(reply) > 200:
            return f"{len(reply)} bytes, checksum {zlib.crc32(reply)}"
        return bytes(reply).decode("ascii", "backslashreplace")
    return reply if isinstance(reply, (int, bool, type(None))) else repr(reply)[:200]


def right_reply(kind: str, identity: str, wants: str | None) -> Any:
    """The reply that the command must get; `wants` is the identity of the write that a read must find.

    A push is judged by the list instead.
    """
    if kind == "count":
        return amount(identity)
    if kind in ("echo", "script", "script-big"):
        return identity
    if kind == "echo-big":
        return summary(big(identity))
    if kind in ("write", "write-big"):
        return True
    if kind == "read":
        return wants
    if kind == "read-big":
        return None if wants is None else summary(big(wants))
    raise ValueError(f"no right reply is known for {kind}")


def ledger_key(client: str, epoch: int) -> str:
    return f"ledger:{client}:{epoch}"


def list_key(client: str, epoch: int) -> str:
    return f"list:{client}:{epoch}"


@dataclass
class Step:
    """One command."""

    identity: str
    kind: str
    arguments: tuple[Any, ...]
    wants: str | None = None


@dataclass
class Plan:
    """Commands that are given at once: one, a pipeline, or a transaction."""

    form: str
    epoch: int
    client: str
    steps: list[Step] = field(default_factory=list)

    @property
    def unit(self) -> str | None:
        """What the commands of one transaction have in common."""
        return self.steps[0].identity if self.form == "transaction" else None


class Caller:
    """Makes the plans of one worker on one client, and keeps account of its own keys."""

    def __init__(self, client: str, worker: int, chance: random.Random) -> None:
        self.client, self.worker, self.chance = client, worker, chance
        self._made = 0
        self._generation = 0
        #: By kind of value: the identity of the last write that is certain.
        self._written: dict[str, str | None] = {"write": None, "write-big": None}

    def plan(self, epoch: int) -> Plan:
        """The next commands."""
        lot = self.chance.random()
        if lot < 0.70:
            plan = Plan("single", epoch, self.client)
            size = 1
        elif lot < 0.85:
            plan = Plan("pipeline", epoch, self.client)
            size = self.chance.randint(2, 12)
        else:
            plan = Plan("transaction", epoch, self.client)
            size = self.chance.randint(2, 6)
        kinds = _SINGLE if plan.form == "single" else _GROUPED
        for kind in self.chance.choices(list(kinds), list(kinds.values()), k=size):
            plan.steps.append(self._step(kind, epoch))
        return plan

    def _step(self, kind: str, epoch: int) -> Step:
        self._made += 1
        identity = f"{self.client}.{self.worker}.{self._made}"
        ledger = ledger_key(self.client, epoch)
        if kind == "count":
            return Step(identity, kind, ("HINCRBY", ledger, identity, str(amount(identity))))
        if kind in ("script", "script-big"):
            script = ("EVAL", SCRIPT, "1", ledger, identity, str(amount(identity)))
            return Step(identity, kind, (*script, big(identity)) if kind == "script-big" else script)
        if kind == "push":
            return Step(identity, kind, ("RPUSH", list_key(self.client, epoch), identity))
        if kind == "echo":
            return Step(identity, kind, ("ECHO", identity))
        if kind == "echo-big":
            return Step(identity, kind, ("ECHO", big(identity)))
        if kind in ("write", "write-big"):
            value = big(identity) if kind == "write-big" else identity
            return Step(identity, kind, ("SET", self._value_key(kind), value, "EX", _EXPIRE_SECONDS))
        write = kind.replace("read", "write")
        return Step(identity, kind, ("GET", self._value_key(write)), self._written[write])

    def _value_key(self, kind: str) -> str:
        return f"{kind}:{self.client}:{self.worker}:{self._generation}"

    def learn(self, plan: Plan, outcomes: list[str]) -> None:
        """What became of a plan. Values are read and written by single commands: each knows the one before."""
        for step, outcome in zip(plan.steps, outcomes, strict=True):
            if step.kind not in ("write", "write-big"):
                continue
            if outcome == "replied":
                self._written[step.kind] = step.identity
            elif outcome in ("indeterminate", "cancelled"):
                # It may still arrive, after commands that were given later: this key is nobody's any more.
                self._generation += 1
                self._written = dict.fromkeys(self._written)


_SINGLE = {
    "count": 30, "push": 15, "echo": 15, "script": 8, "write": 10, "read": 15, "echo-big": 2, "script-big": 2,
    "write-big": 1, "read-big": 2,
}  # fmt: skip
_GROUPED = {"count": 40, "push": 20, "echo": 20, "script": 10, "echo-big": 1}
