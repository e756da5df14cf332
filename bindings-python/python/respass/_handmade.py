"""Command methods whose arguments redis-py arranges otherwise than the commands do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._arguments import each, flat, given, pairs
from ._bitfield import BitField
from ._replies import clients, denials, grouped, pending_range, popped_first, popped_scored, recast
from ._respass import FLOAT, OK, RAW, SCORED, STREAMS, TEXT, YES
from .exceptions import DataError


def _words(**flags: bool) -> list[str]:
    """The flags that are set, in capitals."""
    return [name.upper() for name, is_set in flags.items() if is_set]


def _counted(count: int | None) -> tuple[Any, ...]:
    return () if count is None or count == 1 else ("COUNT", count)


class HandmadeCommands:
    """See `_generated` for all the others."""

    __slots__ = ()

    _call: Any
    _call_then: Any

    # Keys

    def object(self, infotype: str, key: Any) -> Any:
        """What the server knows of a value: `infotype` is ENCODING, FREQ, IDLETIME or REFCOUNT."""
        return self._call(RAW, "OBJECT", infotype, key)

    def sort(
        self,
        name: Any,
        start: Any = None,
        num: Any = None,
        by: Any = None,
        get: Any = None,
        desc: bool = False,
        alpha: bool = False,
        store: Any = None,
        groups: bool | None = False,
    ) -> Any:
        """Sorted elements, or what `get` says of each; with `groups` as tuples. With `store` their number."""
        arguments = self._sorting(start, num, by, get, desc, alpha)
        if store is not None:
            arguments += ("STORE", store)
        if not groups:
            return self._call(RAW, "SORT", name, *arguments)
        if not get or isinstance(get, (str, bytes)) or len(get) < 2:
            raise DataError("groups needs two or more in get")
        return self._call_then(grouped(len(get)), RAW, "SORT", name, *arguments)

    def sort_ro(
        self,
        key: Any,
        start: Any = None,
        num: Any = None,
        by: Any = None,
        get: Any = None,
        desc: bool = False,
        alpha: bool = False,
    ) -> Any:
        """As `sort`, without `store`."""
        return self._call(RAW, "SORT_RO", key, *self._sorting(start, num, by, get, desc, alpha))

    @staticmethod
    def _sorting(start: Any, num: Any, by: Any, get: Any, desc: bool, alpha: bool) -> list[Any]:
        if (start is None) != (num is None):
            raise DataError("start and num belong together")
        arguments: list[Any] = [] if by is None else ["BY", by]
        if start is not None:
            arguments += ("LIMIT", start, num)
        if get is not None:
            arguments += each("GET", get)
        return arguments + _words(desc=desc, alpha=alpha)

    # Hashes and lists

    def hset(
        self, name: Any, key: Any = None, value: Any = None, mapping: Any = None, items: Any = None
    ) -> Any:
        """Sets fields, given one by one, as a mapping or as a flat list; how many are new."""
        if mapping is None and items is None and key is not None:
            return self._call(RAW, "HSET", name, key, value)
        if key is None and not mapping and not items:
            raise DataError("'hset' with no key value pairs")
        arguments = list(items or ())
        if key is not None:
            arguments += (key, value)
        arguments += pairs(mapping or {})
        return self._call(RAW, "HSET", name, *arguments)

    def lmpop(self, num_keys: int, *args: Any, direction: str, count: int | None = 1) -> Any:
        """Takes elements from the first list that has any, from the end that `direction` names."""
        return self._call(RAW, "LMPOP", num_keys, *args, direction, *_counted(count))

    def blmpop(self, timeout: float, numkeys: int, *args: Any, direction: str, count: int | None = 1) -> Any:
        """As `lmpop`, waiting so many seconds for an element; for ever with 0."""
        return self._call(RAW, "BLMPOP", timeout, numkeys, *args, direction, *_counted(count))

    def blpop(self, keys: Any, timeout: float | None = 0) -> Any:
        """Takes the first element of the first list that has any, with the list's name. Waits so many seconds
        for one, for ever with 0."""
        return self._call_then(popped_first, RAW, "BLPOP", *flat(keys, ()), timeout or 0)

    def brpop(self, keys: Any, timeout: float | None = 0) -> Any:
        """As `blpop`, but the last element."""
        return self._call_then(popped_first, RAW, "BRPOP", *flat(keys, ()), timeout or 0)

    def brpoplpush(self, src: Any, dst: Any, timeout: float | None = 0) -> Any:
        """As `rpoplpush`, waiting so many seconds for an element; for ever with 0."""
        return self._call(RAW, "BRPOPLPUSH", src, dst, timeout or 0)

    # Sorted sets

    def bzpopmax(self, keys: Any, timeout: float | None = 0) -> Any:
        """Takes the member with the highest score of the first set that has any: the set's name, the member and
        its score. Waits so many seconds for one, for ever with 0."""
        return self._call_then(popped_scored, RAW, "BZPOPMAX", *flat(keys, ()), timeout or 0)

    def bzpopmin(self, keys: Any, timeout: float | None = 0) -> Any:
        """As `bzpopmax`, but the lowest score."""
        return self._call_then(popped_scored, RAW, "BZPOPMIN", *flat(keys, ()), timeout or 0)

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
        """Sets the scores of members; how many are new, with `ch` how many changed, with `incr` the score."""
        if not mapping:
            raise DataError("ZADD requires at least one element/score pair")
        if given(nx, xx) > 1 or given(nx, gt, lt) > 1:
            raise DataError("of nx, gt and lt only one can be given, and nx not with xx")
        if incr and len(mapping) != 1:
            raise DataError("ZADD option 'incr' only works when passing a single element/score pair")
        arguments: list[Any] = _words(nx=nx, xx=xx, gt=gt, lt=lt, ch=ch, incr=incr)
        for member, score in mapping.items():
            arguments += (score, member)
        return self._call(FLOAT if incr else RAW, "ZADD", name, *arguments)

    def zinter(self, keys: Any, aggregate: str | None = None, withscores: bool = False) -> Any:
        """The members that are in all sets. Keys may be a mapping of keys and weights."""
        return self._combined(SCORED if withscores else RAW, "ZINTER", (), keys, aggregate, withscores)

    def zinterstore(self, dest: Any, keys: Any, aggregate: str | None = None) -> Any:
        """Stores what `zinter` gives; how many members that is."""
        return self._combined(RAW, "ZINTERSTORE", (dest,), keys, aggregate, False)

    def zunion(
        self,
        keys: Any,
        aggregate: str | None = None,
        withscores: bool = False,
        score_cast_func: Any = float,
    ) -> Any:
        """The members of all sets. Keys may be a mapping of keys and weights."""
        if withscores and score_cast_func is not float:
            arguments = self._combination((), keys, aggregate, True)
            return self._call_then(recast(score_cast_func), SCORED, "ZUNION", *arguments)
        return self._combined(SCORED if withscores else RAW, "ZUNION", (), keys, aggregate, withscores)

    def zunionstore(self, dest: Any, keys: Any, aggregate: str | None = None) -> Any:
        """Stores what `zunion` gives; how many members that is."""
        return self._combined(RAW, "ZUNIONSTORE", (dest,), keys, aggregate, False)

    def _combined(self, shape: int, command: str, *arguments: Any) -> Any:
        return self._call(shape, command, *self._combination(*arguments))

    @staticmethod
    def _combination(dest: tuple[Any, ...], keys: Any, aggregate: str | None, withscores: bool) -> list[Any]:
        if aggregate and aggregate.upper() not in ("SUM", "MIN", "MAX"):
            raise DataError("aggregate can be sum, min or max.")
        names = list(keys) if isinstance(keys, Mapping) else flat(keys, ())
        arguments = [*dest, len(names), *names]
        if isinstance(keys, Mapping):
            arguments += ("WEIGHTS", *keys.values())
        if aggregate:
            arguments += ("AGGREGATE", aggregate)
        return arguments + _words(withscores=withscores)

    # Bits and places

    def bitfield(self, key: Any, default_overflow: str | None = None) -> Any:
        """Operations on integers of any width within a string; their `execute` sends them."""
        return BitField(self, key, default_overflow)

    def bitfield_ro(self, key: Any, encoding: str, offset: Any, items: Any = None) -> Any:
        """Integers of any width within a string."""
        reads = (word for read in ((encoding, offset), *(items or ())) for word in ("GET", *read))
        return self._call(RAW, "BITFIELD_RO", key, *reads)

    def geoadd(self, name: Any, values: Any, nx: bool = False, xx: bool = False, ch: bool = False) -> Any:
        """Adds places, each by longitude, latitude and name; how many are new, with `ch` how many changed."""
        if nx and xx:
            raise DataError("GEOADD allows either 'nx' or 'xx', not both")
        if len(values) % 3:
            raise DataError("GEOADD requires places with lon, lat and name values")
        return self._call(RAW, "GEOADD", name, *_words(nx=nx, xx=xx, ch=ch), *values)

    # Streams

    def xadd(
        self,
        name: Any,
        fields: Any,
        id: Any = "*",
        maxlen: int | None = None,
        approximate: bool = True,
        nomkstream: bool = False,
        minid: Any = None,
        limit: int | None = None,
    ) -> Any:
        """Appends an entry, and cuts the stream as `xtrim` does; the entry's id."""
        if not isinstance(fields, Mapping) or not fields:
            raise DataError("XADD fields must be a non-empty dict")
        arguments: list[Any] = _words(nomkstream=nomkstream)
        arguments += self._cut(maxlen, approximate, minid, limit)
        return self._call(RAW, "XADD", name, *arguments, id, *pairs(fields))

    def xtrim(
        self,
        name: Any,
        maxlen: int | None = None,
        approximate: bool = True,
        minid: Any = None,
        limit: int | None = None,
    ) -> Any:
        """Cuts a stream to a length, or to what is not older than an id; how many entries that removed."""
        if maxlen is None and minid is None:
            raise DataError("One of ``maxlen`` or ``minid`` must be specified")
        return self._call(RAW, "XTRIM", name, *self._cut(maxlen, approximate, minid, limit))

    @staticmethod
    def _cut(maxlen: int | None, approximate: bool, minid: Any, limit: int | None) -> list[Any]:
        if maxlen is not None and minid is not None:
            raise DataError("Only one of ``maxlen`` or ``minid`` may be specified")
        if maxlen is None and minid is None:
            return []
        threshold = ["MAXLEN", maxlen] if maxlen is not None else ["MINID", minid]
        if approximate:
            threshold.insert(1, "~")
        return threshold if limit is None else [*threshold, "LIMIT", limit]

    def xread(self, streams: Any, count: int | None = None, block: int | None = None) -> Any:
        """Entries after an id, by stream; with `block` waiting so many milliseconds for one, for ever with 0."""
        return self._call(STREAMS, "XREAD", *self._reading(streams, count, block, False))

    def xreadgroup(
        self,
        groupname: Any,
        consumername: Any,
        streams: Any,
        count: int | None = None,
        block: int | None = None,
        noack: bool = False,
    ) -> Any:
        """Entries for one consumer of a group, by stream; `block` as in `xread`."""
        arguments = self._reading(streams, count, block, noack)
        return self._call(STREAMS, "XREADGROUP", "GROUP", groupname, consumername, *arguments)

    @staticmethod
    def _reading(streams: Any, count: int | None, block: int | None, noack: bool) -> list[Any]:
        if not isinstance(streams, Mapping) or not streams:
            raise DataError("streams is a non-empty dict")
        arguments: list[Any] = [] if count is None else ["COUNT", count]
        if block is not None:
            arguments += ("BLOCK", block)
        return [*arguments, *_words(noack=noack), "STREAMS", *streams.keys(), *streams.values()]

    def xpending_range(
        self,
        name: Any,
        groupname: Any,
        min: Any,
        max: Any,
        count: int,
        consumername: Any = None,
        idle: int | None = None,
    ) -> Any:
        """Pending entries in a range of ids."""
        arguments: list[Any] = [] if idle is None else ["IDLE", idle]
        arguments += (min, max, count)
        if consumername is not None:
            arguments.append(consumername)
        return self._call_then(pending_range, RAW, "XPENDING", name, groupname, *arguments)

    # Server and connections

    def acl_log(self, count: int | None = None) -> Any:
        """What the ACL denied of late."""
        return self._call_then(denials, RAW, "ACL LOG", *(() if count is None else (count,)))

    def acl_log_reset(self) -> Any:
        """Forgets what the ACL denied."""
        return self._call(OK, "ACL LOG", "RESET")

    def bgsave(self, schedule: bool = True) -> Any:
        """Has the data saved beside other work."""
        return self._call(YES, "BGSAVE", *_words(schedule=schedule))

    def client_kill_filter(
        self,
        _id: Any = None,
        _type: str | None = None,
        addr: Any = None,
        skipme: bool | None = None,
        laddr: Any = None,
        user: Any = None,
        maxage: int | None = None,
    ) -> Any:
        """Ends connections that fit; how many."""
        skip = None if skipme is None else "YES" if skipme else "NO"
        filters = (
            ("TYPE", _type), ("SKIPME", skip), ("ID", _id), ("ADDR", addr), ("LADDR", laddr), ("USER", user),
            ("MAXAGE", maxage),
        )  # fmt: skip
        arguments = [word for one in filters if one[1] is not None for word in one]
        if not arguments:
            raise DataError("CLIENT KILL needs a filter")
        return self._call(RAW, "CLIENT KILL", *arguments)

    def client_list(self, _type: str | None = None, client_id: Iterable[Any] = ()) -> Any:
        """What the server knows of its connections."""
        arguments: list[Any] = [] if _type is None else ["TYPE", _type]
        ids = list(client_id)
        if ids:
            arguments += ("ID", *ids)
        return self._call_then(clients, TEXT, "CLIENT LIST", *arguments)

    def client_pause(self, timeout: int, all: bool = True) -> Any:
        """Holds commands of all clients up for so many milliseconds; without `all` only writes."""
        return self._call(OK, "CLIENT PAUSE", timeout, *(() if all else ("WRITE",)))

    def client_setinfo(self, attr: str, value: str) -> Any:
        """Tells the server a library's name or version: `LIB-NAME` or `LIB-VER`."""
        return self._call(OK, "CLIENT SETINFO", attr, value)

    def config_set(self, name: Any, value: Any, *args: Any) -> Any:
        """Changes settings of the server."""
        return self._call(OK, "CONFIG SET", name, value, *args)

    def lolwut(self, *version_numbers: Any) -> Any:
        """A picture, and the server's version."""
        version = ("VERSION", *version_numbers) if version_numbers else ()
        return self._call(RAW, "LOLWUT", *version)
