"""What a program is told by its starter, in the environment."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from credentials import app_service

NAME = os.environ["TRIAL_NAME"]
PARTS = frozenset(os.environ["TRIAL_PARTS"].split(","))
RECORDS = Path(os.environ["TRIAL_FOLDER"]) / f"{NAME}.records"
CLIENTS = int(os.environ.get("TRIAL_CLIENTS", "2"))
WORKERS = 3
#: Seconds between two steps of a worker.
PAUSE = 0.02
#: Seconds between two values that are pushed, or published.
BEAT = 0.05
#: A blocking command waits so many seconds for a value.
PATIENCE = 2


def options() -> dict[str, Any]:
    """The options of all clients of a Python program: they share a credential."""
    environment = os.environ
    found: dict[str, Any] = {
        "host": environment["TRIAL_HOST"],
        "port": int(environment["TRIAL_PORT"]),
        "decode_responses": True,
    }
    if environment.get("TRIAL_CA"):
        found |= {"ssl": True, "ssl_ca_certs": environment["TRIAL_CA"]}
    if environment.get("TRIAL_PASSWORD"):
        found["password"] = environment["TRIAL_PASSWORD"]
    if environment.get("IDENTITY_ENDPOINT"):
        found["credential"] = app_service()
    if hosts := environment.get("TRIAL_ALLOWED_HOSTS"):
        found |= {"address_map": "advertised", "allowed_hosts": hosts.split(",")}
    return found


def end_of_input() -> threading.Event:
    """Set once the starter closes our standard input."""
    event = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        event.set()

    threading.Thread(target=wait, daemon=True).start()
    return event
