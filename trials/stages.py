"""The clusters that a trial is played on, and what is done to each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import Reader
from plain import HOSTS, SLOTS, PlainCluster
from steps import LEDGERS, ledger
from verdict import RECOVERY_SECONDS


def nothing() -> None:
    """Some faults are over at once."""


@dataclass(frozen=True)
class Scene:
    """One fault."""

    name: str
    begin: Callable[[], object]
    #: Seconds that it is left in force, and what ends it.
    lasts: float = 0.0
    end: Callable[[], object] = nothing
    recovery: float = RECOVERY_SECONDS
    #: What is left to do when all have recovered.
    after: Callable[[], object] = nothing
    cuts_nodes: bool = False
    #: Left out of short runs: another scene is much like it.
    is_long_only: bool = False


class Stage:
    """A cluster under load."""

    name: str
    #: What its servers can do, of what the programs can.
    parts: Sequence[str] = ("plain", "blocking", "pubsub", "shard")
    tokens_must_not_show: bool = False

    def environment(self) -> dict[str, str]:
        """What the programs need to know."""
        raise NotImplementedError

    def scenes(self) -> list[Scene]:
        raise NotImplementedError

    def reader(self) -> Reader:
        raise NotImplementedError

    def complaints(self) -> list[str]:
        """What the stage itself saw that should not have been, at the end."""
        return []

    def tokens(self) -> list[str]:
        """Everything that must not stand in what a program wrote."""
        return []

    def stop(self) -> None:
        raise NotImplementedError


class Plain(Stage):
    """Open-source servers with TLS, an address and a certificate for each node, and no Azure."""

    name = "plain"

    def __init__(self, folder: Path, password: str | None = None) -> None:
        self.password = password
        self.cluster = PlainCluster(folder, password)

    def environment(self) -> dict[str, str]:
        found = {
            "TRIAL_HOST": HOSTS[0],
            "TRIAL_PORT": str(self.cluster.port),
            "TRIAL_CA": str(self.cluster.ca),
        }
        if self.password:
            found |= {"TRIAL_PASSWORD": self.password, "TRIAL_ALLOWED_HOSTS": ",".join(HOSTS)}
        return found

    def scenes(self) -> list[Scene]:
        return [
            Scene("a failover", self.cluster.fail_over, cuts_nodes=True),
            Scene("a reshard of 100 slots", self._reshard, cuts_nodes=True),
            Scene("another failover", self.cluster.fail_over, cuts_nodes=True),
        ]

    def _reshard(self) -> None:
        """Slots with keys that the programs use, and others."""
        used = {self.cluster.slot(ledger(number)) for number in range(LEDGERS)}
        others = (slot for slot in range(0, SLOTS, 163) if slot not in used)
        self.cluster.reshard(
            sorted(used) + [slot for slot, _ in zip(others, range(100 - len(used)), strict=False)]
        )

    def reader(self) -> Reader:
        return self.cluster.reader()

    def tokens(self) -> list[str]:
        return [self.password] if self.password else []

    def stop(self) -> None:
        self.cluster.stop()


class PlainWithPassword(Plain):
    """The same with a password, and with the nodes' names given."""

    name = "plain-password"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "correct-horse-battery-staple")
