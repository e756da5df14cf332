"""Command methods, shared by the clients and the pipelines.

Each method turns its arguments into the command's and names the shape of the reply; `self._call` does the
rest and returns what the class at hand returns: a value, an awaitable, or the pipeline itself. Names,
defaults, order of arguments and return types are redis-py's. Most methods are generated: see `_generated`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._generated import GeneratedCommands
from ._generated.replies import REPLIES
from ._handmade import HandmadeCommands
from ._respass import RAW
from .exceptions import DataError

_AS_IT_COMES: tuple[int, Callable[[Any], Any] | None] = (RAW, None)


class Commands(HandmadeCommands, GeneratedCommands):
    """Command methods over `_call(shape, *arguments)`, and `_call_then(function, shape, *arguments)` where a
    function finishes the value."""

    __slots__ = ()

    _call: Any
    _call_then: Any

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Any command, by its name and arguments."""
        if not args:
            raise DataError("a command has a name")
        name = args[0].decode("ascii", "replace") if isinstance(args[0], bytes) else args[0]
        known = isinstance(name, str)
        shape, function = REPLIES.get(name.upper(), _AS_IT_COMES) if known else _AS_IT_COMES
        return self._call_then(function, shape, *args) if function else self._call(shape, *args)
