"""redis-server, plain and with TLS, on free ports of the loopback for as long as the benchmark runs."""

import contextlib
import ctypes
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "bench", "correct-horse"
KEYS, VALUE = 1000, b"x" * 100
ELEMENTS, ELEMENT_LEN = 100_000, 20
LARGE_LEN = 64 * 1024 * 1024
SLOTS, SHARDS = 16384, 3
PR_SET_PDEATHSIG = 1


@dataclass
class Server:
    """One that runs, or the first of a cluster."""

    pid: int
    port: int
    ca: str | None = None
    #: Its cluster's others.
    others: tuple["Server", ...] = ()

    def cpu_seconds(self):
        own = int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9
        return own + sum(other.cpu_seconds() for other in self.others)


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_certificates(folder):
    """An authority of our own and a certificate for the loopback."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    (folder / "extensions").write_text(
        "subjectAltName = DNS:localhost, IP:127.0.0.1\nextendedKeyUsage = serverAuth, clientAuth\n"
    )
    openssl(
        folder,
        "req",
        "-x509",
        *key,
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=bench CA",
    )
    openssl(folder, "req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    openssl(
        folder,
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "server.pem",
        "-days",
        "2",
        "-extfile",
        "extensions",
    )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def launch(folder, cpu, *options):
    """Starts one on the CPU; it ends with us, however we end."""

    def prepare():
        os.sched_setaffinity(0, {cpu})
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    command = [
        "redis-server",
        "--bind",
        "127.0.0.1",
        "-::1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder,
    ]
    user = ["--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
    return subprocess.Popen(
        [*command, "--maxclients", "4000", *user, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=prepare,
    )


def encode(*words):
    words = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def connected(server):
    """A socket, as soon as the server listens."""
    end = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
    if server.ca:
        context = ssl.create_default_context(cafile=server.ca)
        connection = context.wrap_socket(connection, server_hostname="localhost")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def seed(server):
    """The keys and the list that the scenarios read."""
    commands = [encode("SET", f"key:{i}", VALUE) for i in range(KEYS)]
    for start in range(0, ELEMENTS, 1000):
        elements = [b"%0*d" % (ELEMENT_LEN, i) for i in range(start, start + 1000)]
        commands.append(encode("RPUSH", "list", *elements))
    commands.append(encode("SET", "large", bytes(LARGE_LEN)))
    with connected(server) as connection, connection.makefile("rb") as replies:
        for command in commands:
            connection.sendall(command)
            line = replies.readline()
            if line[:1] not in (b"+", b":"):
                raise RuntimeError(f"seeding: {line!r}")


def call(server, *words):
    """One command; the first line of its reply."""
    with connected(server) as connection, connection.makefile("rb") as replies:
        connection.sendall(encode(*words))
        return replies.readline()


def join(servers, bus_ports):
    """Makes a cluster of them, with the slots in equal parts."""
    for number, server in enumerate(servers):
        begin, end = (SLOTS * at // len(servers) for at in (number, number + 1))
        call(server, "CLUSTER", "ADDSLOTSRANGE", str(begin), str(end - 1))
        # Each meets those before it: word of mouth would take longer.
        for other, bus_port in zip(servers[:number], bus_ports, strict=False):
            call(server, "CLUSTER", "MEET", "127.0.0.1", str(other.port), str(bus_port))
    end = time.monotonic() + 20
    while not all(is_settled(server, len(servers)) for server in servers):
        if time.monotonic() > end:
            raise RuntimeError("the cluster does not come together")
        time.sleep(0.05)


def is_settled(server, count):
    """Whether it serves, and knows who has the other slots."""
    with connected(server) as connection, connection.makefile("rb") as replies:
        connection.sendall(encode("CLUSTER", "INFO"))
        info = replies.read(int(replies.readline()[1:]) + 2)
    return b"cluster_state:ok" in info and b"cluster_size:%d\r\n" % count in info


def seed_cluster(servers):
    """Each takes the keys that are its own, and refuses the others."""
    for server in servers:
        with connected(server) as connection, connection.makefile("rb") as replies:
            for number in range(KEYS):
                connection.sendall(encode("SET", f"key:{number}", VALUE))
                replies.readline()


@contextlib.contextmanager
def running(cpu, wanted):
    """Those that are wanted, seeded, by name: plain, tls, plain-cluster, tls-cluster."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="respass-bench-")))
        make_certificates(folder)
        files = (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem"))
        tls_files = [word for name, file in files for word in (f"--tls-{name}-file", str(folder / file))]
        tls_files += ["--tls-auth-clients", "no"]

        def start(is_tls, *options):
            port = str(free_port())
            at = ("--port", "0", "--tls-port", port, *tls_files) if is_tls else ("--port", port)
            child = launch(folder, cpu, *at, *options)
            stack.callback(child.wait)
            stack.callback(child.terminate)
            return Server(child.pid, int(port), str(folder / "ca.pem") if is_tls else None)

        def start_cluster(is_tls):
            bus_ports = [free_port() for _ in range(SHARDS)]
            servers = [
                start(
                    is_tls, "--cluster-enabled", "yes", "--cluster-port", str(bus_port),
                    "--cluster-config-file", f"{bus_port}.nodes", *(["--tls-cluster", "yes"] if is_tls else []),
                )
                for bus_port in bus_ports
            ]  # fmt: skip
            join(servers, bus_ports)
            seed_cluster(servers)
            servers[0].others = tuple(servers[1:])
            return servers[0]

        servers = {}
        for name in sorted(wanted):
            is_tls = name.startswith("tls")
            if name.endswith("cluster"):
                servers[name] = start_cluster(is_tls)
            else:
                servers[name] = start(is_tls)
                seed(servers[name])
        yield servers
