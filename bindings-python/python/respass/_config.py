"""The options of a client: redis-py's names, defaults and units, checked and brought into the core's form."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from ._credentials import asker
from ._logging import Notice
from .exceptions import ConfigurationError

_VERIFIED = (None, True, "required", ssl.CERT_REQUIRED)

#: What OpenSSL takes for a certificate in a folder of authorities.
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


#: Host and port.
Address = tuple[str, int]
#: How the addresses that a cluster's nodes advertise become those to connect to.
AddressMapT = str | Mapping[Address, Address] | Callable[[Address], Address]


@dataclass
class Options:
    """What the native core reads. Its `repr` shows no secret."""

    host: str
    port: int
    tls: bool
    ca_pem: bytes | None = field(default=None, repr=False)
    client_pem: tuple[bytes, bytes] | None = field(default=None, repr=False)
    server_name: str | None = None
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    has_credential: bool = False
    client_name: str = ""
    db: int = 0
    socket_timeout: float | None = 5.0
    socket_connect_timeout: float | None = 10.0
    allow_plaintext_token: bool = False
    is_cluster: bool = False
    #: `auto`, `azure`, `advertised`, `table` or `driver`.
    address_map: str = "auto"
    address_table: list[tuple[Address, Address]] = field(default_factory=list)
    #: For `driver`: where an advertised address is.
    remap: Callable[[Address], Address] | None = field(default=None, repr=False)
    allowed_hosts: list[str] = field(default_factory=list)
    max_own_connections: int | None = None
    maintenance_events: bool | None = None
    decode_responses: bool = False
    encoding: str = "utf-8"
    encoding_errors: str = "strict"
    on_notice: Callable[[Notice], Any] | None = field(default=None, repr=False)

    @property
    def encodes_utf8(self) -> bool:
        """Whether `str` arguments travel as UTF-8."""
        return self.encoding.lower().replace("_", "-") in ("utf-8", "utf8")


def options(
    *,
    host: str,
    port: int,
    db: int,
    username: str | None,
    password: str | bytes | None,
    credential: Any,
    ssl: bool | None,
    ssl_ca_certs: str | None,
    ssl_ca_path: str | None,
    ssl_ca_data: str | bytes | None,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    ssl_check_hostname: bool,
    ssl_cert_reqs: Any,
    address_map: AddressMapT = "auto",
    allowed_hosts: Iterable[str] | None = None,
    max_own_connections: int | None = None,
    **others: Any,
) -> Options:
    """Checks what belongs together and reads the certificate files."""
    if credential == "auto":
        raise ConfigurationError(
            'credential="auto": the built-in sources are not in this version; give one of azure-identity'
        )
    if credential is not None:
        asker(credential)
    if credential is not None and password is not None:
        raise ConfigurationError("give a credential or a password, not both")
    if ssl_cert_reqs not in _VERIFIED or not ssl_check_hostname:
        raise ConfigurationError(
            "TLS without verification of the server is not offered: give ssl_ca_certs= or ssl_ca_data="
        )
    if (ssl_certfile is None) != (ssl_keyfile is None):
        raise ConfigurationError("a client certificate needs both ssl_certfile= and ssl_keyfile=")
    if username and password is None and credential is None:
        password = b""  # a user without a password
    plaintext = bool(others.get("allow_plaintext_token"))
    tls = bool(ssl) if ssl is not None else credential is not None and not plaintext
    return Options(
        host=host,
        port=_whole(port, "port", 1, 0xFFFF),
        db=_whole(db or 0, "db", 0, 0x7FFF_FFFF),
        username=username or None,
        password=None if password is None else _bytes(password),
        has_credential=credential is not None,
        tls=tls,
        ca_pem=_authorities(ssl_ca_certs, ssl_ca_path, ssl_ca_data, tls),
        client_pem=(_file(ssl_certfile, "ssl_certfile"), _file(ssl_keyfile, "ssl_keyfile"))
        if ssl_certfile and ssl_keyfile
        else None,
        max_own_connections=None
        if max_own_connections is None
        else _whole(max_own_connections, "max_own_connections", 1, 0xFFFF_FFFF),
        **_addresses(address_map, allowed_hosts),
        **others,
    )


def _addresses(address_map: AddressMapT, allowed_hosts: Iterable[str] | None) -> dict[str, Any]:
    hosts = [allowed_hosts] if isinstance(allowed_hosts, str) else list(allowed_hosts or ())
    if hosts and address_map != "advertised":
        raise ConfigurationError('allowed_hosts= belongs to address_map="advertised"')
    if isinstance(address_map, str):
        if address_map not in ("auto", "azure", "advertised"):
            raise ConfigurationError('address_map= is "auto", "azure", "advertised", a mapping or a callable')
        return {"address_map": address_map, "allowed_hosts": hosts}
    if callable(address_map):
        return {"address_map": "driver", "remap": address_map}
    return {
        "address_map": "table",
        "address_table": [_pair_of_addresses(*pair) for pair in address_map.items()],
    }


def _pair_of_addresses(advertised: Address, real: Address) -> tuple[Address, Address]:
    return _address(advertised), _address(real)


def _address(address: Any) -> Address:
    """A host and a port, from whoever calls them so."""
    try:
        host, port = address
    except (TypeError, ValueError):
        raise ConfigurationError("an address is a tuple of a host and a port") from None
    return str(host), _whole(port, "port", 1, 0xFFFF)


def remapped(options: Options, host: str, port: int) -> Address:
    """Where an advertised address is; raises `OSError` where the callable does not tell."""
    if options.remap is None:
        return host, port
    try:
        return _address(options.remap((host, port)))
    except Exception as error:  # foreign code
        raise OSError(f"{host}:{port}: address_map= raised {type(error).__name__}: {error}") from None


def parse_url(url: str) -> dict[str, Any]:
    """The options in a `redis://` or `rediss://` URL."""
    parts = urlparse(url)
    if parts.scheme == "unix":
        raise ConfigurationError("unix://: Unix sockets are not offered; use redis:// with host and port")
    if parts.scheme not in ("redis", "rediss"):
        raise ConfigurationError("a URL begins with redis:// or rediss://")
    found: dict[str, Any] = {}
    for name, values in parse_qs(parts.query).items():
        convert = _QUERY.get(name)
        if convert is None:
            raise ConfigurationError(f"the URL's option '{name}' is not known")
        try:
            found[name] = convert(values[0])
        except ValueError:
            raise ConfigurationError(f"the URL's option '{name}' has a value of the wrong kind") from None
    if parts.username:
        found["username"] = unquote(parts.username)
    if parts.password:
        found["password"] = unquote(parts.password)
    if parts.hostname:
        found["host"] = unquote(parts.hostname)
    try:
        if parts.port:
            found["port"] = parts.port
    except ValueError:
        raise ConfigurationError("the URL's port is a number from 1 to 65535") from None
    if "db" not in found:
        try:
            found["db"] = int(unquote(parts.path).replace("/", ""))
        except ValueError:
            pass  # as in redis-py, a path that is no number says nothing
    if parts.scheme == "rediss":
        found["ssl"] = True
    return found


def _boolean(text: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    try:
        return words[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _names(text: str) -> list[str]:
    return text.split(",")


_QUERY: dict[str, Callable[[str], Any]] = {
    "client_name": str,
    "db": int,
    "decode_responses": _boolean,
    "encoding": str,
    "encoding_errors": str,
    "health_check_interval": int,
    "legacy_responses": _boolean,
    "lib_name": str,
    "lib_version": str,
    "max_connections": int,
    "password": str,
    "protocol": int,
    "retry_on_error": _names,
    "retry_on_timeout": _boolean,
    "socket_connect_timeout": float,
    "socket_keepalive": _boolean,
    "socket_read_size": int,
    "socket_timeout": float,
    "ssl_ca_certs": str,
    "ssl_ca_data": str,
    "ssl_ca_path": str,
    "ssl_cert_reqs": str,
    "ssl_certfile": str,
    "ssl_check_hostname": _boolean,
    "ssl_keyfile": str,
    "ssl_min_version": int,
    "timeout": float,
    "username": str,
}


def _whole(value: Any, name: str, least: int, most: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = least - 1
    if not least <= number <= most:
        raise ConfigurationError(f"{name} must be a whole number from {least} to {most}: not {value!r:.40}")
    return number


def _authorities(path: str | None, folder: str | None, data: str | bytes | None, tls: bool) -> bytes | None:
    """The certificates to trust; none for the built-in list."""
    found: list[bytes] = []
    if path == "system":
        found += _system_authorities()
    elif path:
        found.append(_file(path, "ssl_ca_certs"))
    if folder:
        found += [_file(name, "ssl_ca_path") for name in _names_in(folder, "ssl_ca_path")]
    if data:
        found.append(_bytes(data))
    named = os.environ.get("SSL_CERT_FILE")
    if tls and named and not found:
        found.append(_file(named, "SSL_CERT_FILE"))
    return b"\n".join(found) if found else None


def _system_authorities() -> list[bytes]:
    """The operating system's store: a file, or Windows' list; else a folder, which Python does not list."""
    found = [ssl.DER_cert_to_PEM_cert(der) for der in ssl.create_default_context().get_ca_certs(True)]
    if found:
        return [text.encode() for text in found]
    folder = ssl.get_default_verify_paths().capath
    names = _names_in(folder, "ssl_ca_certs") if folder else []
    hashed = [name for name in names if _HASHED.fullmatch(os.path.basename(name))]
    if not hashed:
        raise ConfigurationError('ssl_ca_certs="system": no certificates found; give the path of a file')
    return [_file(name, "ssl_ca_certs") for name in hashed]


def _names_in(folder: str, option: str) -> list[str]:
    _check_path(folder, option)
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise ConfigurationError(f"{option}: {folder}: {error.strerror}") from None


def _file(path: str, option: str) -> bytes:
    _check_path(path, option)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{option}: {path}: {error.strerror}") from None


def _check_path(path: str, option: str) -> None:
    """Refuses what is no path, without showing it: it may be a private key."""
    text = os.fsdecode(path)
    if any(mark in text for mark in ("\n", "\r", "\0", "BEGIN")):
        raise ConfigurationError(
            f"{option} wants a path, and this is no path; PEM of authorities goes into ssl_ca_data="
        )


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
