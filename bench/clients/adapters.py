"""The Python clients. Each makes its object as the documentation shows, and imports only its own package."""

from servers import ELEMENT_LEN, ELEMENTS, VALUE, Server, connected, encode


class RedisPy:
    """redis-py; it takes hiredis where that is installed."""

    module, pooled = "redis", False

    def __init__(self, at):
        self.at = at

    def options(self):
        options = {"host": self.at.host, "port": self.at.port}
        if self.at.ca:
            options |= {
                "username": self.at.user,
                "password": self.at.password,
                "ssl_ca_certs": self.at.ca,
                "ssl": True,
            }
        return options

    def make(self):
        package = __import__(self.module, fromlist=["Redis"])
        options = self.options()
        if self.pooled:
            pool = package.BlockingConnectionPool(max_connections=50, **options)
            return package.Redis(connection_pool=pool)
        return package.Redis(**options)

    def open(self):
        self.client = self.make()
        self.client.ping()
        self.get, self.set = self.client.get, self.client.set

    def close(self):
        self.client.close()

    def lrange(self, key):
        return self.client.lrange(key, 0, -1)

    def pipe_get(self, keys):
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        return pipeline.execute()

    def pipe_set(self, keys, value):
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.set(key, value)
        return pipeline.execute()


class RedisPyAsync(RedisPy):
    module = "redis.asyncio"

    async def open(self):
        self.client = self.make()
        await self.client.ping()
        self.get, self.set = self.client.get, self.client.set

    async def close(self):
        await self.client.aclose()


class RedisPyPool(RedisPyAsync):
    """The default pool refuses more than 100 tasks at once; this is its documented way out."""

    pooled = True


class RedisPyCluster(RedisPyAsync):
    def make(self):
        package = __import__("redis.asyncio.cluster", fromlist=["RedisCluster"])
        return package.RedisCluster(**self.options())


class Respass(RedisPy):
    module = "respass"


class RespassAsync(RedisPyAsync):
    module = "respass.asyncio"


class GlideSync:
    module = "glide_sync"
    kind = "Glide"

    def __init__(self, at):
        self.at = at

    def configuration(self):
        self.package = package = __import__(self.module)
        package.Logger.init(package.LogLevel.ERROR)
        options = {
            "addresses": [package.NodeAddress(self.at.host, self.at.port)],
            "use_tls": bool(self.at.ca),
        }
        if self.at.ca:
            with open(self.at.ca, "rb") as file:
                tls = package.TlsAdvancedConfiguration(root_pem_cacerts=file.read())
            advanced = getattr(package, f"Advanced{self.kind}ClientConfiguration")
            options["advanced_config"] = advanced(tls_config=tls)
            options["credentials"] = package.ServerCredentials(
                username=self.at.user, password=self.at.password
            )
        # Its default of 250 ms ends commands where the machine is busy, and a sample with them.
        return getattr(package, f"{self.kind}ClientConfiguration")(request_timeout=60_000, **options)

    def open(self):
        configuration = self.configuration()
        self.client = self.package.GlideClient.create(configuration)
        self.client.ping()
        self.get, self.set = self.client.get, self.client.set

    def close(self):
        self.client.close()

    def lrange(self, key):
        return self.client.lrange(key, 0, -1)

    def pipe_get(self, keys):
        batch = self.package.Batch(is_atomic=False)
        for key in keys:
            batch.get(key)
        return self.client.exec(batch, True)

    def pipe_set(self, keys, value):
        batch = self.package.Batch(is_atomic=False)
        for key in keys:
            batch.set(key, value)
        return self.client.exec(batch, True)


class GlideAsync(GlideSync):
    module = "glide"

    async def open(self):
        configuration = self.configuration()
        self.client = await getattr(self.package, f"{self.kind}Client").create(configuration)
        await self.client.ping()
        self.get, self.set = self.client.get, self.client.set

    async def close(self):
        await self.client.close()


class GlideCluster(GlideAsync):
    kind = "GlideCluster"


# A bare socket's commands, the lengths of their replies, and what it hands to the driver's check.
GET, LRANGE = encode("GET", "key:7"), encode("LRANGE", "list", "0", "-1")
GET_LEN = len(f"${len(VALUE)}\r\n") + len(VALUE) + len("\r\n")
LRANGE_LEN = len(f"*{ELEMENTS}\r\n") + ELEMENTS * (len(f"${ELEMENT_LEN}\r\n") + ELEMENT_LEN + len("\r\n"))
READ = [b"0" * ELEMENT_LEN] * ELEMENTS


class BareSocket:
    """No client: sends a ready command and counts the reply's bytes."""

    def __init__(self, at):
        self.at = at
        self.buffer = bytearray(1 << 18)

    def open(self):
        self.socket = connected(Server(0, self.at.port, self.at.ca))

    def ask(self, command, reply_len):
        self.socket.sendall(command)
        while reply_len > 0:
            reply_len -= self.socket.recv_into(self.buffer)

    def get(self, _key):
        self.ask(GET, GET_LEN)
        return VALUE

    def lrange(self, _key):
        self.ask(LRANGE, LRANGE_LEN)
        return READ
