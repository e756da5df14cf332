"""The sync client, and what it shares with the asyncio one."""

from __future__ import annotations

from typing import Any, Self

from ._commands import Commands
from ._config import Options, options, parse_url
from ._driver import Driver
from ._pipeline import Pipeline
from .exceptions import ConfigurationError


class BaseRedis(Commands):
    """Options and what does not wait."""

    _driver: Any

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
        ssl_ca_data: str | bytes | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_check_hostname: bool = True,
        ssl_cert_reqs: Any = "required",
        ssl_server_name: str | None = None,
        background: bool = True,
        allow_plaintext_token: bool = False,
    ) -> None:
        """A client that connects with its first command.

        `socket_timeout` limits the wait for a reply, `socket_connect_timeout` that for a connection, both in
        seconds. A `credential` implies TLS; `username` is then the object id, where the token tells none.
        """
        self._options = options(
            host=host,
            port=port,
            db=db,
            username=username,
            password=password,
            credential=credential,
            ssl=ssl,
            ssl_ca_certs=ssl_ca_certs,
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
        )
        self._start(self._options, credential, background)
        if not self._options.encodes_utf8:
            self._call = _Encoding(self._call, encoding, encoding_errors)

    def _start(self, options: Options, credential: Any, background: bool) -> None:
        raise NotImplementedError

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Self:
        """A client for `redis://` or `rediss://`; options in the URL go before `kwargs`."""
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

    def auth_status(self) -> dict[str, Any]:
        """How the login stands: `oid`, `expires_at` and `refresh_at` (Unix seconds), `state`, `reauth_count`,
        `last_error`, `is_ready`. Never the token."""
        status: dict[str, Any] = self._driver.core.auth_status()
        supply = self._driver.supply
        status["state"], status["refresh_at"] = supply.source.status() if supply is not None else (None, None)
        return status


class _Encoding:
    """Encodes `str` arguments otherwise than as UTF-8, in front of `_call`."""

    def __init__(self, call: Any, encoding: str, errors: str) -> None:
        self._next, self._encoding, self._errors = call, encoding, errors

    def __call__(self, shape: int, name: Any, *arguments: Any) -> Any:
        encoded = (
            argument.encode(self._encoding, self._errors) if isinstance(argument, str) else argument
            for argument in arguments
        )
        return self._next(shape, name, *encoded)


class Redis(BaseRedis):
    """A Redis client. One object serves any number of threads over one connection."""

    def _start(self, options: Options, credential: Any, background: bool) -> None:
        self._driver = Driver(options, credential, background)
        self._call = self._driver.execute

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Collects commands that leave together; as a transaction, unless told otherwise."""
        pipeline = Pipeline(self._driver, transaction)
        if not self._options.encodes_utf8:
            pipeline._call = _Encoding(pipeline._call, self._options.encoding, self._options.encoding_errors)
        return pipeline

    def close(self) -> None:
        """Closes the connection. Commands that wait end with an error."""
        self._driver.close()
