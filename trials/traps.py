"""Addresses that no client may connect to."""

from __future__ import annotations

import socket
import threading


class Trap:
    """Listens, keeps what comes first, and closes: so much like an address where nobody listens as it can be."""

    def __init__(self, host: str, port: int) -> None:
        self.name = f"{host}:{port}"
        self.connections = 0
        self.received = b""
        self._listener = socket.create_server((host, port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._swallow, args=(connection,), daemon=True).start()

    def _swallow(self, connection: socket.socket) -> None:
        connection.settimeout(1)
        try:
            self.received += connection.recv(65536)
        except OSError:
            pass
        connection.close()

    def complaints(self) -> list[str]:
        if not self.connections:
            return []
        return [f"{self.connections} connections to {self.name}, with {len(self.received)} bytes"]

    def close(self) -> None:
        self._listener.close()
