"""Codecs other than UTF-8."""

from __future__ import annotations

from typing import Any

from ._config import Options


class Encoding:
    """Encodes `str` arguments otherwise than as UTF-8, in front of `_call`."""

    def __init__(self, call: Any, options: Options) -> None:
        self._next, self._encoding, self._errors = call, options.encoding, options.encoding_errors

    def __call__(self, shape: int, name: Any, *arguments: Any) -> Any:
        encoded = (
            argument.encode(self._encoding, self._errors) if isinstance(argument, str) else argument
            for argument in arguments
        )
        return self._next(shape, name, *encoded)
