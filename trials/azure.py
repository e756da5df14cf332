"""Azure's clusters as the emulator has them, and what may happen to them."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster import Connection, Reader
from server import Emulator
from stages import Scene, Stage
from steps import ledger
from traps import Trap

#: The connections of the programs see several tokens end.
TOKEN_SECONDS = "6-10"
#: What the topologies tell: nobody listens there but our traps.
ADVERTISED = "127.0.0.2"
FOREIGN = "127.0.0.3"
#: A silent peer is noticed so late, and then there is a new login.
SILENCE_SECONDS = 15.0 + 2.0
#: After an outage of three seconds the identity endpoint is asked again within so many: waits grow by then.
IDENTITY_SECONDS = 9.0


class Azure(Stage):
    """A profile of the emulator with three shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.emulator = Emulator(
            os.environ["RESPASS_EMULATOR"], TOKEN_SECONDS,
            "--profile", self.name, "--shards", "3", "--access-keys", "on",
        )  # fmt: skip
        self.trap = Trap(FOREIGN, 0)
        self.traps: dict[int, Trap] = {}
        self._set_traps()

    def _set_traps(self) -> None:
        """One at the advertised address of every node that there is by now."""
        for node in self.emulator.stats()["nodes"]:
            for port in (node["port"], node["listed_port"]):
                if port not in self.traps:
                    self.traps[port] = Trap(ADVERTISED, port)

    def environment(self) -> dict[str, str]:
        facts = self.emulator.facts
        return {
            "TRIAL_HOST": facts["host"],
            "TRIAL_PORT": str(facts["port"]),
            "TRIAL_CA": facts["ca_file"],
            "IDENTITY_ENDPOINT": facts["identity_endpoint"],
            "IDENTITY_HEADER": facts["identity_header"],
        }

    def fault(self, kind: str, **order: Any) -> None:
        self.emulator.fault({"kind": kind} | order)
        self._set_traps()

    def clear(self) -> None:
        self.emulator.fault({"kind": "clear"})

    def scene(self, name: str, kind: str, lasts: float = 0.0, *, cuts: bool = False, **order: Any) -> Scene:
        return Scene(name, partial(self.fault, kind, **order), lasts, self.clear, cuts_nodes=cuts)

    def storm(self, mode: str, **order: Any) -> Scene:
        return self.scene(f"a storm of redirects: {mode}", "moved-storm", 0.7, mode=mode, **order)

    def failover(self, shard: int) -> Scene:
        return self.scene("a failover", "failover", 1.0, cuts=True, shard=shard, seconds=1)

    def migration(self, number: int, to: int, seconds: float) -> Scene:
        """A slot that all programs write to."""
        reader = self.reader()
        slot = reader.call("CLUSTER", "KEYSLOT", ledger(number))
        reader.close()
        return self.scene("a slot moves", "migrate-slot", seconds, slot=slot, to=to, seconds=seconds)

    def half_open(self) -> Scene:
        """Every connection is dead, and nobody says so: new ones are well."""
        freeze = partial(self.fault, "half-open")
        return Scene("all connections half open", freeze, recovery=SILENCE_SECONDS, after=self.clear)

    def identity_outage(self) -> Scene:
        fail = partial(self.fault, "identity-status", status=500)
        return Scene("an identity outage across a renewal", fail, 3.0, self.clear, IDENTITY_SECONDS)

    def foreign(self, **order: Any) -> Scene:
        return self.storm("foreign", host=FOREIGN, port=self.trap.port, **order)

    def reader(self) -> Reader:
        facts = self.emulator.facts

        def open_node(_host: str, port: int) -> Connection:
            connection = Connection(facts["host"], port, facts["ca_file"])
            token = self.emulator.token()
            connection.call("AUTH", token["oid"], token["access_token"])
            return connection

        return Reader(open_node, facts["host"], facts["port"])

    def complaints(self) -> list[str]:
        found = [one for trap in (self.trap, *self.traps.values()) for one in trap.complaints()]
        stats = self.emulator.stats()
        if strangers := set(stats["token_hosts"]) - {self.emulator.facts["host"]}:
            found.append(f"tokens went to servers by the names {strangers}")
        if strangers := set(stats["commands"]) - {self.emulator.facts["oid"]}:
            found.append(f"commands ran as {strangers}")
        if not stats["reauth_total"]:
            found.append("no connection was logged in anew")
        return found

    def tokens(self) -> list[str]:
        return self.emulator.tokens()

    def stop(self) -> None:
        self.emulator.stop()
        for trap in (self.trap, *self.traps.values()):
            trap.close()


class AmrOss(Azure):
    """Azure Managed Redis with the OSS cluster policy."""

    name = "amr-oss"

    def scenes(self) -> list[Scene]:
        return [
            self.failover(shard=0),
            self.scene("a node retires", "retire-node", 1.0, cuts=True, node=1, stale_seconds=1, seconds=1),
            self.scene("keys disabled, all connections cut", "disable-keys", 0.3),
            self.migration(0, to=2, seconds=0.0),
            self.migration(0, to=0, seconds=0.0),
            self.foreign(),
            *(self.storm(mode) for mode in ("loop", "?", "unreachable")),
            *(
                replace(self.storm(mode), is_long_only=True)
                for mode in ("self", "empty", "port0", "other-slot")
            ),
            *(
                self.scene(f"{kind} from everybody", kind, 0.7)
                for kind in ("readonly", "clusterdown", "loading")
            ),
            self.scene("a node is away", "close-node", 1.0, cuts=True, node=2, seconds=1),
            self.scene("the seed is away", "close-node", 1.0, node="seed", seconds=1),
            self.identity_outage(),
            self.half_open(),
        ]


class AcrCluster(Azure):
    """Azure Cache for Redis, clustered: Redis 6.0, which has no sharded channels."""

    name = "acr-cluster"
    parts = ("plain", "blocking", "pubsub")

    def scenes(self) -> list[Scene]:
        return [
            self.failover(shard=1),
            self.migration(0, to=2, seconds=1.5),
            self.migration(0, to=1, seconds=1.5),
            self.scene("maintenance of a node", "maintenance", 4.0, cuts=True, node=0, seconds=2),
            self.foreign(ask=True),
            *(self.scene(f"{kind} from everybody", kind, 0.7) for kind in ("tryagain", "masterdown")),
            self.scene("keys disabled, all connections cut", "disable-keys", 0.3),
        ]
