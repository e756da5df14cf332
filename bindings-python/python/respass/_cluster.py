"""What clients that insist on a cluster take besides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .exceptions import ConfigurationError


class ClusterNode:
    """Where a node of a cluster is."""

    def __init__(self, host: str, port: int = 6379, server_type: str | None = None) -> None:
        self.host, self.port, self.server_type = host, port, server_type
        self.name = f"{host}:{port}"

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.ClusterNode({self.name})>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterNode) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


#: Options of redis-py's cluster client that have nothing to do here.
_NOT_NEEDED = frozenset(
    (
        "cluster_error_retry_attempts",
        "dynamic_startup_nodes",
        "read_from_replicas",
        "reinitialize_steps",
        "require_full_coverage",
    )
)


def first_node(
    host: str | None, port: int, startup_nodes: Iterable[Any] | None, options: dict[str, Any]
) -> tuple[str, int]:
    """Where to begin. The others are found; options that change nothing are dropped."""
    if options.get("read_from_replicas"):
        raise ConfigurationError("read_from_replicas=: commands go to primaries")
    for name in _NOT_NEEDED:
        options.pop(name, None)
    if "address_remap" in options:
        remap = options.pop("address_remap")
        if remap is not None:
            options.setdefault("address_map", remap)
    if host is not None:
        return host, port
    for node in startup_nodes or ():
        if isinstance(node, ClusterNode):
            return node.host, node.port
        if isinstance(node, dict):
            return node["host"], int(node.get("port", 6379))
        host, port = node
        return host, int(port)
    raise ConfigurationError("give host= and port=, a URL, or startup_nodes= with one node at least")
