"""What a child of `fork` does first: it lets go of all that belongs to its parent.

Locks may be held by threads that do not exist in the child; sockets, TLS keys and the kernel's event queues
are the parent's, who goes on using them. So descriptors are closed without a byte, native objects are left
behind as they are, and each client starts anew when it is used next.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from ._respass import exiting, forked


class Inheritor(Protocol):
    """What is told of a fork, in the child."""

    def forked(self) -> None: ...


_modules: list[Callable[[], None]] = []
_inheritors: weakref.WeakSet[Any] = weakref.WeakSet()


def on_fork(forget: Callable[[], None]) -> Callable[[], None]:
    """Has a module's function called in each child, before any client is told."""
    _modules.append(forget)
    return forget


def add(one: Inheritor) -> None:
    """Has this told of forks for as long as it lives."""
    _inheritors.add(one)


def _in_child() -> None:
    global _inheritors
    forked()
    inheritors = list(_inheritors)
    # A thread of the parent may have been at work on the old set.
    _inheritors = weakref.WeakSet(inheritors)
    for forget in _modules:
        forget()
    for one in inheritors:
        try:
            one.forked()
        except Exception:  # one client's trouble is not the others'
            pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

# Imported before all else here, so that this handler runs behind the others of this package.
atexit.register(exiting)
