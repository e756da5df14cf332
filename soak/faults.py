"""What the fault maker does to the programs, of what the emulator offers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One kind of fault. Kinds of the table that the emulator does not know are left out."""

    kind: str
    #: The rest of the order, drawn anew each time.
    order: Callable[[random.Random], dict[str, Any]]
    #: Seconds that it is left in force.
    lasts: tuple[float, float]
    #: Seconds after its end until everything must be well again.
    settles: float
    #: Tokens may run out before the next one comes, or is accepted.
    outlives_tokens: bool = False


def _nothing(_chance: random.Random) -> dict[str, Any]:
    return {}


def _seconds(least: float, most: float) -> Callable[[random.Random], dict[str, Any]]:
    return lambda chance: {"seconds": round(chance.uniform(least, most), 2)}


def _count(least: int, most: int) -> Callable[[random.Random], dict[str, Any]]:
    return lambda chance: {"count": chance.randint(least, most)}


def _identity_status(chance: random.Random) -> dict[str, Any]:
    status = chance.choice((404, 410, 429, 500))
    return {"status": status} | ({"retry_after": chance.randint(1, 4)} if status == 429 else {})


_EXPIRY_MODES = ("fin", "rst", "close_notify", "mid-reply")

# What spoils replies here can be recognised. A surplus reply while commands wait cannot, by any client: so there
# is none in this table.
FAULTS = (
    Fault("close-all", _nothing, (0.1, 1), 4),
    Fault("auth-delay", _seconds(0.5, 6), (4, 10), 10, outlives_tokens=True),
    Fault("auth-fail", _count(1, 20), (2, 6), 15, outlives_tokens=True),
    Fault("identity-status", _identity_status, (3, 12), 20, outlives_tokens=True),
    Fault("identity-delay", _seconds(0.5, 4), (4, 10), 12, outlives_tokens=True),
    # Noticed after 15 s without a byte while a command is overdue.
    Fault("half-open", _count(1, 60), (1, 25), 35),
    Fault("expiry-close", lambda chance: {"mode": chance.choice(_EXPIRY_MODES)}, (4, 10), 5),
    Fault("revoke-assignment", _nothing, (1, 6), 15, outlives_tokens=True),
    Fault("disable-keys", _nothing, (1, 4), 5),
    Fault("resp3-off", _nothing, (4, 10), 5),
    Fault("garbage", _count(1, 60), (1, 3), 5),
    Fault("truncate-reply", _count(1, 60), (1, 3), 5),
    Fault("slow-reply", _seconds(0.05, 1), (4, 10), 8),
    Fault("accept-close", _count(1, 20), (2, 6), 12),
    Fault(
        "identity-body", lambda chance: {"body": chance.choice(("no-token", "malformed"))}, (3, 12), 20, True
    ),
)


class FaultMaker:
    """Draws faults; the same seed and the same emulator give the same row."""

    def __init__(self, chance: random.Random, kinds: list[str]) -> None:
        self._chance = chance
        self.faults = [fault for fault in FAULTS if fault.kind in kinds]
        self._left: list[Fault] = []

    def next(self) -> tuple[Fault, dict[str, Any], float]:
        """The next fault, the order for it, and how long it lasts. Each kind comes once before any comes twice."""
        if not self._left:
            self._left = self._chance.sample(self.faults, len(self.faults))
        fault = self._left.pop()
        order = {"kind": fault.kind} | fault.order(self._chance)
        return fault, order, self._chance.uniform(*fault.lasts)
