"""What is measured, beside whom, and the targets."""

from dataclasses import dataclass

# name: (language, adapter or program).
CLIENTS = {
    "respass": ("own", "Respass"),
    "respass asyncio": ("own", "RespassAsync"),
    "redis-py+hiredis": ("peers", "RedisPy"),
    "redis-py asyncio+hiredis": ("peers", "RedisPyAsync"),
    "redis-py asyncio+hiredis, pool of 50": ("peers", "RedisPyPool"),
    "valkey-glide sync": ("peers", "GlideSync"),
    "valkey-glide asyncio": ("peers", "GlideAsync"),
    "redis-py asyncio+hiredis, RedisCluster": ("peers", "RedisPyCluster"),
    "valkey-glide asyncio, cluster": ("peers", "GlideCluster"),
    "bare socket (no client)": ("peers", "BareSocket"),
    "respass C": ("c", "respass_blocking"),
    "respass C, poll loop": ("c", "respass"),
    "hiredis": ("c", "hiredis"),
    "respass Node": ("node", "respass"),
    "node-redis": ("node", "node-redis"),
    "ioredis": ("node", "ioredis"),
    "ioredis, auto-pipelining": ("node", "ioredis-auto"),
    "valkey-glide Node": ("node", "glide"),
    "node-redis, cluster": ("node", "node-redis-cluster"),
    "ioredis, Cluster": ("node", "ioredis-cluster"),
    "ioredis, Cluster with auto-pipelining": ("node", "ioredis-cluster-auto"),
    "valkey-glide Node, cluster": ("node", "glide-cluster"),
    "respass Rust": ("rust", "respass"),
    "redis-rs": ("rust", "redis-rs"),
}


@dataclass(frozen=True)
class Scenario:
    """One table. The ratio is that of `own` to the fastest of `against` in the same round."""

    name: str
    title: str
    workload: str
    own: str
    against: tuple[str, ...]
    target: float | None = None
    # Measured for comparison; the target is not against them.
    beside: tuple[str, ...] = ()
    tls: bool = False
    tasks: int = 0
    # One command at a time is bound by the wake-up of the other side. Across CPUs, on a virtual machine,
    # that costs more than a client does, so client and server share a CPU there; elsewhere each has its own.
    shares_cpu: bool = False
    # Three servers that share the keys, in place of one.
    is_cluster: bool = False

    @property
    def clients(self):
        return (self.own, *self.against, *self.beside)

    @property
    def server(self):
        return ("tls" if self.tls else "plain") + ("-cluster" if self.is_cluster else "")


TURNS = "{} concurrent tasks, GET and SET in turn"


def sync(name, title, workload, target, **options):
    # What a command costs without any client tells how near its end a ratio is.
    floor = ("bare socket (no client)",) if workload in ("get", "lrange") else ()
    beside = ("valkey-glide sync", *floor)
    return Scenario(name, title, workload, "respass", ("redis-py+hiredis",), target, beside, **options)


def tasks(name, count, target, peer="redis-py asyncio+hiredis", **options):
    title = f"asyncio, {count:,} concurrent tasks on one client, GET and SET in turn"
    against = (peer, "valkey-glide asyncio")
    return Scenario(name, title, "tasks", "respass asyncio", against, target, tasks=count, **options)


def in_c(name, title, workload, target, own="respass C", beside=("respass C, poll loop",), **options):
    """Plain and over TLS."""
    for prefix, tls in (("", False), ("tls-", True)):
        yield Scenario(
            prefix + name,
            f"C, {title}",
            workload,
            own,
            ("hiredis",),
            target,
            beside,
            tls=tls,
            **options,
        )


def in_node(name, title, workload, target, against=("node-redis",), only_tls=False, **options):
    """Plain and over TLS."""
    for prefix, tls in (("tls-", True),) if only_tls else (("", False), ("tls-", True)):
        yield Scenario(
            prefix + name, f"Node, {title}", workload, "respass Node", against, target, tls=tls, **options
        )


def on_cluster(name, title, own, against, target):
    """100 tasks on three shards, plain and over TLS."""
    title = f"{title}, 3 shards, {TURNS.format(100)}"
    for prefix, tls in (("", False), ("tls-", True)):
        yield Scenario(
            prefix + name, title, "tasks", own, against, target, tls=tls, tasks=100, is_cluster=True
        )


def rust(name, title, workload, target, **options):
    title = f"Rust, one thread of tokio, {title}"
    return Scenario(name, title, workload, "respass Rust", ("redis-rs",), target, **options)


MANY_AT_ONCE = ("node-redis", "ioredis, auto-pipelining", "valkey-glide Node")
ONE, GETS, SETS = "sync GET, one at a time", "sync pipeline of 1,000 GET", "sync pipeline of 1,000 SET"
SCENARIOS = (
    tasks("conc-100", 100, 4),
    tasks("conc-1000", 1000, 7, "redis-py asyncio+hiredis, pool of 50"),
    sync("get", ONE, "get", 2, shares_cpu=True),
    sync("pipe-get", GETS, "pipe_get", 4),
    sync("pipe-set", SETS, "pipe_set", 4),
    sync("lrange", "sync LRANGE of 100,000 x 20 B", "lrange", 1.3),
    tasks("tls-conc-100", 100, 4, tls=True),
    sync("tls-get", ONE, "get", 2, shares_cpu=True, tls=True),
    sync("tls-pipe-get", GETS, "pipe_get", 4, tls=True),
    sync("tls-pipe-set", SETS, "pipe_set", 4, tls=True),
    sync(
        "tls-connect", "a new client connects, logs in, PING, close", "connect", 8, shares_cpu=True, tls=True
    ),
    *in_c(
        "c-conc-100",
        "100 concurrent tasks, GET and SET in turn",
        "tasks",
        1.2,
        own="respass C, poll loop",
        beside=(),
        tasks=100,
    ),
    *in_c("c-get", "GET, one at a time", "get", 1, shares_cpu=True),
    *in_c("c-pipe-get", "batches of 1,000 GET", "pipe_get", 1.4),
    *in_c("c-pipe-set", "batches of 1,000 SET", "pipe_set", 1.05),
    *in_c("c-lrange", "LRANGE of 100,000 x 20 B", "lrange", 1.8),
    *in_c("c-large", "GET of 64 MiB", "large", 1.8),
    *in_node("node-get", "GET, one at a time", "get", 1.05, against=("ioredis",), shares_cpu=True),
    *in_node("node-pipe-get", "batches of 1,000 GET", "pipe_get", 1.5),
    *in_node("node-pipe-set", "batches of 1,000 SET", "pipe_set", 1.4),
    *in_node("node-conc-100", TURNS.format(100), "tasks", 2, against=MANY_AT_ONCE, tasks=100),
    *in_node("node-conc-1000", TURNS.format("1,000"), "tasks", 3, against=MANY_AT_ONCE, tasks=1000),
    *in_node("node-lrange", "LRANGE of 100,000 x 20 B", "lrange", 2.5),
    *in_node("node-large", "GET of 64 MiB", "large", 1.6),
    *in_node(
        "node-connect", "a new client connects, logs in, PING, close", "connect", 1, only_tls=True,
        against=("valkey-glide Node",), shares_cpu=True,
    ),
    *on_cluster(
        "cluster-conc-100", "asyncio", "respass asyncio",
        ("redis-py asyncio+hiredis, RedisCluster", "valkey-glide asyncio, cluster"), 2.5,
    ),
    *on_cluster(
        "node-cluster-conc-100", "Node", "respass Node",
        (
            "node-redis, cluster", "ioredis, Cluster", "ioredis, Cluster with auto-pipelining",
            "valkey-glide Node, cluster",
        ), 2,
    ),
    rust("rust-conc-100", "100 concurrent tasks, GET and SET in turn", "tasks", 1, tasks=100),
    rust("rust-pipe-get", "pipeline of 1,000 GET", "pipe_get", 1.2),
    # The server is the limit: a client that costs nothing would be at 1.2.
    rust("rust-pipe-set", "pipeline of 1,000 SET", "pipe_set", None),
    rust("rust-lrange", "LRANGE of 100,000 x 20 B", "lrange", None),
    rust("rust-tls-conc-100", "100 concurrent tasks, GET and SET in turn", "tasks", 1, tasks=100, tls=True),
    rust("rust-tls-pipe-get", "pipeline of 1,000 GET", "pipe_get", 1.2, tls=True),
    rust("rust-tls-pipe-set", "pipeline of 1,000 SET", "pipe_set", None, tls=True),
)
