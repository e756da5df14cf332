"""A cluster of open-source redis-servers with TLS: six nodes, each with an address and a certificate."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from cluster import Connection, Reader, ReplyError

SHARDS = 3
SLOTS = 16384
HOSTS = [f"127.0.0.{number}" for number in range(11, 11 + 2 * SHARDS)]


class PlainCluster:
    """Three primaries and their replicas."""

    def __init__(self, folder: Path, password: str | None) -> None:
        self.folder, self.password = folder, password
        self.port = _free_port()
        self.ca = folder / "ca.pem"
        _make_authority(folder)
        self._processes = [self._start(host) for host in HOSTS]
        try:
            self._connections = {host: self._connect(host) for host in HOSTS}
            self._join()
        except BaseException:
            self.stop()
            raise

    def _start(self, host: str) -> subprocess.Popen[bytes]:
        _make_certificate(self.folder, host)
        options = {
            "bind": host, "bind-source-addr": host, "cluster-announce-ip": host, "protected-mode": "no",
            "port": "0", "tls-port": str(self.port), "tls-cluster": "yes", "tls-replication": "yes",
            "tls-cert-file": str(self.folder / f"{host}.pem"), "tls-key-file": str(self.folder / f"{host}.key"),
            "tls-ca-cert-file": str(self.ca), "tls-auth-clients": "no",
            "cluster-enabled": "yes", "cluster-config-file": f"{host}.nodes", "cluster-node-timeout": "2000",
            "save": "", "appendonly": "no", "dir": str(self.folder), "repl-diskless-sync-delay": "0",
        }  # fmt: skip
        if self.password:
            options |= {"requirepass": self.password, "masterauth": self.password}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.folder / f"{host}.log").open("wb") as log:
            return subprocess.Popen(["redis-server", *arguments], stdout=log, stderr=log)

    def _connect(self, host: str, port: int | None = None) -> Connection:
        end = time.monotonic() + 20
        while True:
            try:
                connection = Connection(host, port or self.port, str(self.ca))
                if self.password:
                    connection.call("AUTH", self.password)
                return connection
            except ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _join(self) -> None:
        first, *others = HOSTS
        for number, host in enumerate(HOSTS[:SHARDS]):
            begin, end = (SLOTS * at // SHARDS for at in (number, number + 1))
            self._connections[host].call("CLUSTER", "ADDSLOTSRANGE", str(begin), str(end - 1))
        for host in others:
            self._connections[first].call("CLUSTER", "MEET", host, str(self.port))
        ids = {host: self.id(host) for host in HOSTS}
        for number, host in enumerate(HOSTS[SHARDS:]):
            primary = ids[HOSTS[number]]
            self._wait(lambda host=host, primary=primary: self._replicate(host, primary))
        self._wait(lambda: all(self._is_settled(host) for host in HOSTS))

    def _replicate(self, host: str, primary: str) -> bool:
        try:
            return self._connections[host].call("CLUSTER", "REPLICATE", primary) == "OK"
        except ReplyError:  # it has not heard of that node yet
            return False

    def _is_settled(self, host: str) -> bool:
        info = self._connections[host].call("CLUSTER", "INFO")
        nodes = self._connections[host].call("CLUSTER", "NODES").splitlines()
        replicas = [line for line in nodes if " slave " in line or ",slave " in line]
        is_linked = "master_link_status:down" not in self._connections[host].call("INFO", "replication")
        return "cluster_state:ok" in info and len(replicas) == SHARDS and is_linked

    def _wait(self, condition: object) -> None:
        end = time.monotonic() + 30
        while not condition():  # type: ignore[operator]
            if time.monotonic() > end:
                raise RuntimeError("the cluster does not come together")
            time.sleep(0.05)

    def id(self, host: str) -> str:
        return self._connections[host].call("CLUSTER", "MYID")

    def primaries(self) -> list[str]:
        return [host for host in HOSTS if self._connections[host].call("ROLE")[0] == "master"]

    def reader(self) -> Reader:
        return Reader(lambda host, port: self._connect(host, port), HOSTS[0], self.port)

    def fail_over(self) -> None:
        """A replica takes over from its primary, which agrees: nothing that was answered is lost."""
        replica = next(host for host in HOSTS if host not in self.primaries())
        self._connections[replica].call("CLUSTER", "FAILOVER")
        self._wait(lambda: replica in self.primaries() and len(self.primaries()) == SHARDS)

    def reshard(self, slots: list[int]) -> None:
        """Slots go from whoever has them to the last primary, one after the other, with their keys."""
        target = self.primaries()[-1]
        for slot in slots:
            source = self._owner(slot)
            if source != target:
                self._move(slot, source, target)

    def _owner(self, slot: int) -> str:
        for begin, end, primary, *_ in self._connections[HOSTS[0]].call("CLUSTER", "SLOTS"):
            if begin <= slot <= end:
                return primary[0]
        raise RuntimeError(f"nobody has slot {slot}")

    def _move(self, slot: int, source: str, target: str) -> None:
        give, take = self._connections[source], self._connections[target]
        take.call("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.id(source))
        give.call("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.id(target))
        login = ["AUTH", self.password] if self.password else []
        while keys := give.call("CLUSTER", "GETKEYSINSLOT", str(slot), "1"):
            give.call("MIGRATE", target, str(self.port), "", "0", "5000", *login, "KEYS", *keys)
            # Clients meet a slot that is in two places.
            time.sleep(0.005)
        for host in (target, source, *self.primaries()):
            self._connections[host].call("CLUSTER", "SETSLOT", str(slot), "NODE", self.id(target))

    def slot(self, key: str) -> int:
        return self._connections[HOSTS[0]].call("CLUSTER", "KEYSLOT", key)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def _free_port() -> int:
    """One whose cluster bus, 10,000 higher, is free as well, on every address."""
    for port in range(17000, 30000, 7):
        try:
            for host in HOSTS:
                for one in (port, port + 10000):
                    with socket.socket() as trial:
                        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        trial.bind((host, one))
        except OSError:
            continue
        return port
    raise RuntimeError("no port is free")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _make_authority(folder: Path) -> None:
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=trial authority",
    )  # fmt: skip


def _make_certificate(folder: Path, host: str) -> None:
    (folder / f"{host}.ext").write_text(f"subjectAltName=IP:{host}\n")
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", f"{host}.key", "-out", f"{host}.csr", "-subj", f"/CN={host}",
    )  # fmt: skip
    _openssl(
        folder, "x509", "-req", "-in", f"{host}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-out", f"{host}.pem", "-extfile", f"{host}.ext",
    )  # fmt: skip
