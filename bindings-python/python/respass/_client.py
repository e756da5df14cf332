"""The sync client, and what it shares with the asyncio one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypedDict, Unpack, overload

from ._compatibility import check
from ._config import AddressMapT, Options, options, parse_url
from ._driver import Driver
from ._encoding import Encoding
from ._iterators import SyncIterators
from ._lock import Lock
from ._logging import Notice
from ._monitor import Monitor
from ._pipeline import Pipeline
from ._pubsub import PubSub
from ._scripts import Script
from ._typed import KeyT, SyncCommands, T
from .exceptions import ConfigurationError, WatchError


class ClientOptions(TypedDict, total=False):
    """Options by name. Those of redis-py that are missing here are in `_compatibility`."""

    username: str | None
    credential: Any
    encoding: str
    encoding_errors: str
    client_name: str | None
    ssl: bool | None
    ssl_ca_certs: str | None
    ssl_ca_path: str | None
    ssl_ca_data: str | bytes | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_check_hostname: bool
    ssl_cert_reqs: Any
    ssl_server_name: str | None
    background: bool
    allow_plaintext_token: bool
    on_notice: Callable[[Notice], Any] | None
    address_map: AddressMapT
    allowed_hosts: Iterable[str] | None
    max_own_connections: int | None
    maintenance_events: bool | None
    auto_close_connection_pool: bool
    driver_info: Any
    health_check_interval: float
    legacy_responses: Literal[True]
    lib_name: str | None
    lib_version: str | None
    max_connections: int | None
    protocol: int | None
    retry: Any
    retry_on_error: Any
    retry_on_timeout: bool
    single_connection_client: bool
    socket_keepalive: bool | None
    socket_keepalive_options: Any
    socket_read_size: int
    ssl_min_version: Any


class UrlOptions(ClientOptions, total=False):
    """What `from_url` takes besides."""

    db: int
    password: str | bytes | None
    socket_timeout: float | None
    socket_connect_timeout: float | None


@dataclass(frozen=True)
class ConnectionStatus:
    """How one connection stands."""

    host: str
    port: int
    #: What it is for: `main`, `blocking`, `session`, `subscriber` or `monitor`.
    lane: str
    #: Whether it is logged in.
    is_ready: bool
    #: When the token that it uses ends, in Unix seconds.
    expires_at: int | None


class BaseRedis(Generic[T]):
    """Options and what does not wait."""

    _driver: Any
    _call: Any
    _make_lock: Any
    _make_script: Any
    #: Whether a server that is no node of a cluster is an error.
    _is_cluster = False

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        password: str | bytes | None = None,
        socket_timeout: float | None = 5.0,
        socket_connect_timeout: float | None = 10.0,
        *,
        username: str | None = None,
        credential: Any = None,
        decode_responses: bool = False,
        encoding: str = "utf-8",
        encoding_errors: str = "strict",
        client_name: str | None = None,
        ssl: bool | None = None,
        ssl_ca_certs: str | None = None,
        ssl_ca_path: str | None = None,
        ssl_ca_data: str | bytes | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_check_hostname: bool = True,
        ssl_cert_reqs: Any = "required",
        ssl_server_name: str | None = None,
        background: bool = True,
        allow_plaintext_token: bool = False,
        on_notice: Callable[[Notice], Any] | None = None,
        address_map: AddressMapT = "auto",
        allowed_hosts: Iterable[str] | None = None,
        max_own_connections: int | None = None,
        maintenance_events: bool | None = None,
        **others: Any,
    ) -> None:
        """A client that connects with its first command.

        `socket_timeout` limits the wait for a reply, `socket_connect_timeout` that for a connection, both in
        seconds. A `credential` implies TLS; `username` is then the object id, where the token tells none.
        `on_notice` is called with a `Notice` when something is worth knowing: logins, lost connections.

        `address_map` tells how the addresses that the nodes of a cluster advertise become those to connect to, where
        that is not found out: `"azure"`, `"advertised"`, a mapping, or a callable, both of `(host, port)` tuples.
        With `"advertised"`, logins go to `host` and to `allowed_hosts` only. `max_own_connections` limits those of
        blocking commands and watched keys; who finds none free waits. `maintenance_events` tells whether to listen
        for what Azure Cache for Redis tells of its maintenance; `None` for at its host names.

        Options of redis-py that would change nothing here are accepted, others refused with what to use
        instead: `respass._compatibility` lists both.
        """
        check(others)
        self._options = options(
            host=host,
            port=port,
            db=db,
            username=username,
            password=password,
            credential=credential,
            ssl=ssl,
            ssl_ca_certs=ssl_ca_certs,
            ssl_ca_path=ssl_ca_path,
            ssl_ca_data=ssl_ca_data,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            ssl_check_hostname=ssl_check_hostname,
            ssl_cert_reqs=ssl_cert_reqs,
            server_name=ssl_server_name,
            socket_timeout=socket_timeout,
            socket_connect_timeout=socket_connect_timeout,
            decode_responses=decode_responses,
            encoding=encoding,
            encoding_errors=encoding_errors,
            client_name=client_name or "",
            allow_plaintext_token=allow_plaintext_token,
            on_notice=on_notice,
            is_cluster=self._is_cluster,
            address_map=address_map,
            allowed_hosts=allowed_hosts,
            max_own_connections=max_own_connections,
            maintenance_events=maintenance_events,
        )
        self._start(self._options, credential, background)
        if not self._options.encodes_utf8:
            self._call = Encoding(self._call, self._options)

    def _start(self, options: Options, credential: Any, background: bool) -> None:
        raise NotImplementedError

    @classmethod
    def _from_url(cls, url: str, kwargs: Any) -> Self:
        found = parse_url(url)
        if (
            kwargs.get("credential") is not None
            and not found.get("ssl")
            and not kwargs.get("allow_plaintext_token")
        ):
            raise ConfigurationError("a token is a bearer secret and needs TLS: use rediss://")
        return cls(**{**kwargs, **found})

    def __repr__(self) -> str:
        o = self._options
        scheme = "rediss" if o.tls else "redis"
        return f"<{type(self).__module__}.{type(self).__name__}({scheme}://{o.host}:{o.port}/{o.db})>"

    def lock(
        self,
        name: KeyT,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        lock_class: Any = None,
        thread_local: bool = True,
        raise_on_release_error: bool = True,
    ) -> Any:
        """A lock that processes share, in a key of this name. It is given up after `timeout` seconds."""
        make = lock_class or self._make_lock
        return make(
            self,
            name,
            timeout=timeout,
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
            thread_local=thread_local,
            raise_on_release_error=raise_on_release_error,
        )

    def register_script(self, script: str | bytes) -> Any:
        """A callable that runs the script by its digest, and has the server keep it where it must."""
        return self._make_script(self, script)

    def auth_status(self) -> dict[str, Any]:
        """How the login stands: `oid`, `expires_at` and `refresh_at` (Unix seconds), `state`, `reauth_count`,
        `last_error`, `is_ready`, and `connections`: a list of `ConnectionStatus`. Never the token."""
        status: dict[str, Any] = self._driver.core.auth_status()
        status["connections"] = [ConnectionStatus(*parts) for parts in status["connections"]]
        supply = self._driver.supply
        status["state"], status["refresh_at"] = supply.source.status() if supply is not None else (None, None)
        return status


class Redis(BaseRedis[T], SyncCommands[T], SyncIterators[T]):
    """A Redis client. One object serves any number of threads over one connection for each server of a cluster, beside
    those that blocking commands, watched keys and subscriptions need."""

    _make_lock = Lock
    _make_script = Script

    def _start(self, options: Options, credential: Any, background: bool) -> None:
        self._driver = Driver(options, credential, background)
        self._call = self._driver.execute

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Redis[bytes],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: Literal[False] = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...

        @overload
        def __init__(
            self: Redis[str],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: Literal[True],
            **options: Unpack[ClientOptions],
        ) -> None: ...

        @overload
        def __init__(
            self: Redis[Any],
            host: str = ...,
            port: int = ...,
            db: int = ...,
            password: str | bytes | None = ...,
            socket_timeout: float | None = ...,
            socket_connect_timeout: float | None = ...,
            *,
            decode_responses: bool = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...

        def __init__(self, *arguments: Any, **options: Any) -> None: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[False] = False, **kwargs: Unpack[UrlOptions]
    ) -> Redis[bytes]: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: Literal[True], **kwargs: Unpack[UrlOptions]
    ) -> Redis[str]: ...

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode_responses: bool = False, **kwargs: Unpack[UrlOptions]
    ) -> Redis[Any]: ...

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Any:
        """A client for `redis://` or `rediss://`; options in the URL go before `kwargs`."""
        return cls._from_url(url, kwargs)

    def _call_then(self, function: Callable[[Any], Any], shape: int, *arguments: Any) -> Any:
        return function(self._call(shape, *arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Collects commands that leave together; as a transaction, unless told otherwise."""
        return Pipeline(self._driver, transaction, self._options)

    def transaction(
        self,
        func: Callable[[Pipeline], Any],
        *watches: KeyT,
        shard_hint: Any = None,
        value_from_callable: bool = False,
        watch_delay: float | None = None,
    ) -> Any:
        """Calls `func` with a pipeline that watches keys, and executes that; again for as long as they are written
        to meanwhile, after `watch_delay` seconds each time. The replies, or what `func` returned."""
        with self.pipeline() as pipeline:
            while True:
                try:
                    if watches:
                        pipeline.watch(*watches)
                    value = func(pipeline)
                    replies = pipeline.execute()
                    return value if value_from_callable else replies
                except WatchError:
                    if watch_delay:
                        time.sleep(watch_delay)

    def pubsub(
        self,
        *,
        ignore_subscribe_messages: bool = False,
        on_gap: Callable[[PubSub], Any] | None = None,
        shard_hint: Any = None,
    ) -> PubSub:
        """Publish and subscribe, over connections of its own. `on_gap` is called with it where messages may be
        missing, because a connection was lost, before the next message."""
        return PubSub(self, ignore_subscribe_messages, on_gap)

    def monitor(self) -> Monitor:
        """Every command that the server runs; of a cluster, one server."""
        return Monitor(self)

    def close(self) -> None:
        """Closes the connections. Commands that wait end with an error."""
        self._driver.close()
