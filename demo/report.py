"""What the Python programs count and report: one JSON line a second on standard output."""

import json
import os
import time

SECONDS = float(os.environ["DEMO_SECONDS"])
PORT = int(os.environ["DEMO_PORT"])
CA = os.environ["DEMO_CA"]


class Count:
    """Commands and errors so far."""

    def __init__(self):
        self.commands, self.errors, self.last_error = 0, 0, None

    def failed(self, error: Exception) -> None:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"

    def report(self, client) -> None:
        status = client.auth_status()
        line = {
            "commands": self.commands,
            "errors": self.errors,
            "last_error": self.last_error,
            "ports": [connection.port for connection in status["connections"] if connection.is_ready],
            "reauthentications": status["reauth_count"],
            "token_seconds_left": status["expires_at"] and status["expires_at"] - time.time(),
        }
        print(json.dumps(line), flush=True)
