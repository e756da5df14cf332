"""Command methods, shared by the clients and the pipelines.

Each method turns its arguments into the command's and names the shape of the reply; `self._call` does the
rest and returns what the class at hand returns: a value, an awaitable, or the pipeline itself. Names,
defaults, order of arguments and return types are redis-py's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ._respass import BOOL, DICT, FLOAT, OK, PONG, RAW, SET
from .exceptions import DataError, UnsupportedCommandError

#: What `execute_command` makes of the replies of commands by name; of all others, what comes.
SHAPES: dict[str, int] = {
    "AUTH": OK,
    "CONFIG SET": OK,
    "EXPIRE": BOOL,
    "EXPIREAT": BOOL,
    "FLUSHALL": OK,
    "FLUSHDB": OK,
    "HEXISTS": BOOL,
    "HGETALL": DICT,
    "HINCRBYFLOAT": FLOAT,
    "HMSET": OK,
    "HSETNX": BOOL,
    "INCRBYFLOAT": FLOAT,
    "LSET": OK,
    "LTRIM": OK,
    "MSET": OK,
    "MSETNX": BOOL,
    "PERSIST": BOOL,
    "PEXPIRE": BOOL,
    "PING": PONG,
    "PSETEX": OK,
    "RENAME": OK,
    "RENAMENX": BOOL,
    "SDIFF": SET,
    "SET": OK,
    "SETEX": OK,
    "SETNX": BOOL,
    "SINTER": SET,
    "SISMEMBER": BOOL,
    "SMEMBERS": SET,
    "SMOVE": BOOL,
    "SUNION": SET,
    "ZINCRBY": FLOAT,
    "ZSCORE": FLOAT,
}


def shape_of(name: Any) -> int:
    """The shape for `execute_command`."""
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    return SHAPES.get(name.upper(), RAW) if isinstance(name, str) else RAW


def _flat(first: Any, more: tuple[Any, ...] | list[Any]) -> list[Any]:
    """`("a", ["b"])` and `(["a", "b"], ())` are the same keys."""
    keys = [first] if isinstance(first, (str, bytes, bytearray, memoryview, int, float)) else list(first)
    keys.extend(more)
    return keys


def _seconds(value: Any) -> Any:
    return int(value.total_seconds()) if isinstance(value, timedelta) else value


def _milliseconds(value: Any) -> Any:
    return int(value.total_seconds() * 1000) if isinstance(value, timedelta) else value


def _unix(value: Any) -> Any:
    return int(value.timestamp()) if isinstance(value, datetime) else value


def _unix_ms(value: Any) -> Any:
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else value


class Commands:
    """Command methods over `_call(shape, *arguments)`."""

    __slots__ = ()

    _call: Any

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Any command, by its name and arguments."""
        if not args:
            raise DataError("a command has a name")
        return self._call(shape_of(args[0]), *args)

    # Server

    def ping(self) -> Any:
        return self._call(PONG, "PING")

    def echo(self, value: Any) -> Any:
        return self._call(RAW, "ECHO", value)

    def dbsize(self) -> Any:
        return self._call(RAW, "DBSIZE")

    def flushdb(self, asynchronous: bool = False) -> Any:
        return self._call(OK, "FLUSHDB", "ASYNC") if asynchronous else self._call(OK, "FLUSHDB")

    # Keys

    def delete(self, *names: Any) -> Any:
        return self._call(RAW, "DEL", *names)

    def exists(self, *names: Any) -> Any:
        return self._call(RAW, "EXISTS", *names)

    def expire(
        self, name: Any, time: Any, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        flags = [word for word, flag in (("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)) if flag]
        return self._call(BOOL, "EXPIRE", name, _seconds(time), *flags)

    def ttl(self, name: Any) -> Any:
        return self._call(RAW, "TTL", name)

    def type(self, name: Any) -> Any:
        return self._call(RAW, "TYPE", name)

    # Strings

    def get(self, name: Any) -> Any:
        return self._call(RAW, "GET", name)

    def set(
        self,
        name: Any,
        value: Any,
        ex: Any = None,
        px: Any = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: bool = False,
        exat: Any = None,
        pxat: Any = None,
    ) -> Any:
        # The common case costs no more than the checks.
        if not (nx or xx or keepttl or get) and ex is px is exat is pxat is None:
            return self._call(OK, "SET", name, value)
        if sum((ex is not None, px is not None, exat is not None, pxat is not None, keepttl)) > 1:
            raise DataError("``ex``, ``px``, ``exat``, ``pxat``, and ``keepttl`` are mutually exclusive.")
        if nx and xx:
            raise DataError("``nx`` and ``xx`` are mutually exclusive.")
        arguments: list[Any] = []
        if ex is not None:
            arguments += ("EX", _seconds(ex))
        if px is not None:
            arguments += ("PX", _milliseconds(px))
        if exat is not None:
            arguments += ("EXAT", _unix(exat))
        if pxat is not None:
            arguments += ("PXAT", _unix_ms(pxat))
        arguments += [word for word, flag in (("KEEPTTL", keepttl), ("NX", nx), ("XX", xx)) if flag]
        if get:
            return self._call(RAW, "SET", name, value, *arguments, "GET")
        return self._call(OK, "SET", name, value, *arguments)

    def incrby(self, name: Any, amount: int = 1) -> Any:
        return self._call(RAW, "INCRBY", name, amount)

    incr = incrby

    def decrby(self, name: Any, amount: int = 1) -> Any:
        return self._call(RAW, "DECRBY", name, amount)

    decr = decrby

    def mget(self, keys: Any, *args: Any) -> Any:
        return self._call(RAW, "MGET", *_flat(keys, args))

    def mset(self, mapping: Any) -> Any:
        return self._call(OK, "MSET", *(item for pair in mapping.items() for item in pair))

    # Hashes

    def hset(
        self, name: Any, key: Any = None, value: Any = None, mapping: Any = None, items: Any = None
    ) -> Any:
        if key is None and not mapping and not items:
            raise DataError("'hset' with no key value pairs")
        arguments = list(items or ())
        if key is not None:
            arguments += (key, value)
        for pair in (mapping or {}).items():
            arguments += pair
        return self._call(RAW, "HSET", name, *arguments)

    def hget(self, name: Any, key: Any) -> Any:
        return self._call(RAW, "HGET", name, key)

    def hgetall(self, name: Any) -> Any:
        return self._call(DICT, "HGETALL", name)

    def hdel(self, name: Any, *keys: Any) -> Any:
        return self._call(RAW, "HDEL", name, *keys)

    # Lists

    def lpush(self, name: Any, *values: Any) -> Any:
        return self._call(RAW, "LPUSH", name, *values)

    def rpush(self, name: Any, *values: Any) -> Any:
        return self._call(RAW, "RPUSH", name, *values)

    def lrange(self, name: Any, start: int, end: int) -> Any:
        return self._call(RAW, "LRANGE", name, start, end)

    def llen(self, name: Any) -> Any:
        return self._call(RAW, "LLEN", name)

    # Sets

    def sadd(self, name: Any, *values: Any) -> Any:
        return self._call(RAW, "SADD", name, *values)

    def smembers(self, name: Any) -> Any:
        return self._call(SET, "SMEMBERS", name)

    # Sorted sets

    def zadd(
        self,
        name: Any,
        mapping: Any,
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Any:
        if not mapping:
            raise DataError("ZADD requires at least one element/score pair")
        if nx and xx:
            raise DataError("ZADD allows either 'nx' or 'xx', not both")
        if incr and len(mapping) != 1:
            raise DataError("ZADD option 'incr' only works when passing a single element/score pair")
        words = (("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt), ("CH", ch), ("INCR", incr))
        arguments: list[Any] = [word for word, flag in words if flag]
        for member, score in mapping.items():
            arguments += (score, member)
        return self._call(FLOAT if incr else RAW, "ZADD", name, *arguments)

    # Scripts

    def eval(self, script: Any, numkeys: int, *keys_and_args: Any) -> Any:
        return self._call(RAW, "EVAL", script, numkeys, *keys_and_args)

    # What a shared connection cannot do

    def _refuse(self, what: str) -> Any:
        error = UnsupportedCommandError(
            f"{what} needs a connection of its own, which this version does not open"
        )
        error.outcome, error.code = "not_sent", 103
        raise error

    def pubsub(self, **_options: Any) -> Any:
        return self._refuse("pubsub()")

    def monitor(self) -> Any:
        return self._refuse("monitor()")

    def watch(self, *_names: Any) -> Any:
        return self._refuse("watch()")
