"""The core's notices, as log lines of the logger `respass`. None of them holds a secret."""

from __future__ import annotations

import logging

from ._respass import Core

_LOG = logging.getLogger("respass")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def log_notices(core: Core) -> None:
    """Logs what the core had to say since the last call."""
    for level, text in core.notices():
        _LOG.log(_LEVELS[level], "%s", text)
