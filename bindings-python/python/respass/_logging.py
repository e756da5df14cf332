"""The core's notices: log lines, and objects for who asks for them. None of them holds a secret."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._respass import Core

_LOGGER = logging.getLogger("respass")
_LOGGER.addHandler(logging.NullHandler())
_AUTH_LOGGER = logging.getLogger("respass.auth")
_CONNECTION_LOGGER = logging.getLogger("respass.connection")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
_AUTH = frozenset(
    ("login-refused", "reauthenticated", "reauth-refused", "clock-is-wrong", "identity-changed")
)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing about a client.

    `name` is stable (`"ready"`, `"connection-lost"`, `"login-refused"`, `"reauthenticated"`, …), `severity`
    is `"debug"`, `"info"` or `"warning"`, `text` is for people, `connection` is the number of one of the
    client's connections.
    """

    name: str
    severity: str
    text: str
    connection: int | None = None

    @property
    def logger(self) -> logging.Logger:
        """Its logger: `respass.auth` or `respass.connection`."""
        return _AUTH_LOGGER if self.name in _AUTH else _CONNECTION_LOGGER


def log_notices(core: Core) -> list[Notice]:
    """Logs what the core had to say since the last call."""
    notices = [Notice(*notice) for notice in core.notices()]
    for notice in notices:
        notice.logger.log(_LEVELS[notice.severity], "%s", notice.text)
    return notices


def report(notices: list[Notice], callback: Callable[[Notice], Any] | None) -> None:
    """Tells who asked for notices. Nobody's lock may be held: the callback may use the client."""
    for notice in notices if callback is not None else ():
        try:
            callback(notice)  # type: ignore[misc]
        except Exception:
            _LOGGER.exception("on_notice raised an exception")
