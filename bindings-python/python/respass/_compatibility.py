"""Options of redis-py that have nothing to do here, or that respass does in another way."""

from __future__ import annotations

import ssl
from typing import Any

from .exceptions import ConfigurationError

#: Accepted, whatever they say, and why nothing follows from them.
NOT_NEEDED: dict[str, str] = {
    "auto_close_connection_pool": "a client owns its connections",
    "driver_info": "the library's name is not changed",
    "health_check_interval": "a silent connection is tried by itself, within 35 seconds",
    "legacy_responses": "replies have the shapes that are redis-py's default",
    "lib_name": "the library's name is not changed",
    "lib_version": "the library's name is not changed",
    "maint_notifications_config": "lost connections are made again by themselves",
    "max_connections": "all threads and tasks share one connection to each server",
    "oss_cluster_maint_notifications_handler": "lost connections are made again by themselves",
    "protocol": "RESP3 where the server has it, else RESP2; replies are the same",
    "retry": "connecting is tried again by itself; a command that may have run is never sent twice",
    "retry_on_error": "a command that may have run is never sent twice",
    "retry_on_timeout": "a command that may have run is never sent twice",
    "single_connection_client": "there is one connection to each server anyway",
    "socket_keepalive": "always on",
    "socket_keepalive_options": "30 s idle, then 3 probes 5 s apart",
    "socket_read_size": "reads are as large as pays",
    "timeout": "there is no pool to wait for",
}

#: Refused unless empty, and what to use instead.
REFUSED: dict[str, str] = {
    "cache": "there is no client-side cache",
    "cache_config": "there is no client-side cache",
    "connection_pool": "there is no pool: give host and port; one client serves all threads",
    "credential_provider": "give credential=: one of azure-identity, or a callable that returns a token",
    "event_dispatcher": "give on_notice=",
    "redis_connect_func": "the client logs in by itself",
    "ssl_ciphers": "TLS 1.2 and 1.3 are used with the safe suites alone",
    "ssl_exclude_verify_flags": "certificates are verified in full",
    "ssl_include_verify_flags": "certificates are verified in full",
    "ssl_ocsp_context": "OCSP is not offered",
    "ssl_ocsp_expected_cert": "OCSP is not offered",
    "ssl_password": "give a key file that is not encrypted",
    "ssl_validate_ocsp": "OCSP is not offered",
    "ssl_validate_ocsp_stapled": "OCSP is not offered",
    "unix_socket_path": "Unix sockets are not offered: give host and port",
}


def check(options: dict[str, Any]) -> None:
    """Looks at options that have no parameter of their own."""
    for name, value in options.items():
        if name in REFUSED:
            if value:
                raise ConfigurationError(f"{name}=: {REFUSED[name]}")
        elif name == "ssl_min_version":
            if value is not None and value > ssl.TLSVersion.TLSv1_2:
                raise ConfigurationError("ssl_min_version=: TLS 1.2 is the lowest that is used, as it is")
        elif name not in NOT_NEEDED:
            raise TypeError(f"Redis() got an unexpected keyword argument '{name}'")
    if options.get("legacy_responses") is False:
        raise ConfigurationError("legacy_responses=False: replies have redis-py's default shapes")
    if options.get("protocol") not in (None, 2, 3, "2", "3"):
        raise ConfigurationError("protocol=: 2 or 3")
