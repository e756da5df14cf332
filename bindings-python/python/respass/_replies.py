"""Replies that are text with a form of its own, or records that redis-py gives names to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _record(value: Any) -> dict[str, Any]:
    """Pairs, as a dict or as a flat list."""
    items = value.items() if isinstance(value, dict) else zip(value[::2], value[1::2], strict=False)
    return {_text(key): item for key, item in items}


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else dict(zip(value[::2], value[1::2], strict=False))


# Scores


def recast(function: Callable[[float], Any]) -> Callable[[Any], Any]:
    """For members with scores."""
    return lambda found: found and [(member, function(score)) for member, score in found]


def recast_rank(function: Callable[[float], Any]) -> Callable[[Any], Any]:
    """For a rank with a score."""
    return lambda found: found and [found[0], function(found[1])]


def recast_scan(function: Callable[[float], Any]) -> Callable[[Any], Any]:
    """For a cursor and members with scores."""
    again = recast(function)
    return lambda found: (found[0], again(found[1]))


def grouped(count: int) -> Callable[[Any], Any]:
    """For SORT with several GET: tuples of so many values."""
    return lambda found: found and list(zip(*(found[i::count] for i in range(count)), strict=False))


def popped_first(found: Any) -> Any:
    """A list's name and its element, or `None`."""
    return tuple(found) if found else None


def popped_scored(found: Any) -> Any:
    """A set's name, its member and its score, or `None`."""
    return (found[0], found[1], float(found[2])) if found else None


def second(found: Any) -> Any:
    """The second part."""
    return found[1] if found else found


# Text


def _figure(text: str) -> Any:
    if "=" in text:
        figures: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, equals, value = part.rpartition("=")
            figures[name if equals else value] = _figure(value) if equals else True
        return figures
    if "," in text:
        return [_figure(part) for part in text.split(",") if part]
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def sections(text: str) -> dict[str, Any]:
    """INFO."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon:
            found.setdefault("__raw__", []).append(line)
        elif name == "module":
            found.setdefault("modules", []).append(_figure(value))
        else:
            if name == "cmdstat_host":
                name, _, value = line.rpartition(":")
            found[name] = _figure(value)
    return found


def clients(text: str) -> list[dict[str, str]]:
    """CLIENT LIST."""
    return [client for line in text.splitlines() if (client := _client(line))]


def _client(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    latest = ""
    for word in line.split(" "):
        name, equals, value = word.partition("=")
        if equals:
            found[name], latest = value, name
        elif latest:  # a path with a space in it
            found[latest] += " " + word
    return found


#: Of CLIENT INFO, as integers.
_COUNTS = "id age idle db sub psub multi qbuf qbuf-free obl argv-mem oll omem tot-mem"


def client(text: str) -> dict[str, Any]:
    """CLIENT INFO."""
    found = _client(text.strip())
    counts = _COUNTS.split()
    return {name: int(value) if name in counts else value for name, value in found.items()}


# Records


def moment(seconds: int) -> datetime | None:
    """LASTSAVE, in local time."""
    return datetime.fromtimestamp(seconds) if seconds else None


def paired(found: list[Any]) -> list[tuple[Any, Any]]:
    """PUBSUB NUMSUB."""
    if isinstance(found, dict):
        return list(found.items())
    return list(zip(found[::2], found[1::2], strict=False))


def memory(found: dict[str, Any]) -> dict[str, Any]:
    """MEMORY STATS."""
    return {name: _memory(value) for name, value in found.items()}


def _memory(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return _record(value)
    return float(value) if isinstance(value, (str, bytes)) else value  # RESP2 has no doubles


def slow_commands(found: list[Any]) -> list[dict[str, Any]]:
    """SLOWLOG GET."""
    return [_slow_command(item) for item in found]


def _slow_command(item: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"id": item[0], "start_time": int(item[1]), "duration": int(item[2])}
    rest = item[3:]
    if not isinstance(rest[0], list):  # some services tell a complexity first
        result["complexity"] = rest.pop(0)
    result["command"] = b" ".join(rest[0])
    if len(rest) >= 3:
        result["client_address"], result["client_name"] = rest[1:3]
    return result


def _entry(value: Any) -> Any:
    return (value[0], _dict(value[1])) if value and value[0] is not None else value


def stream_record(found: dict[str, Any]) -> dict[str, Any]:
    """XINFO STREAM."""
    for name in ("first-entry", "last-entry"):
        if name in found:
            found[name] = _entry(found[name])
    return found


def full_stream_record(found: dict[str, Any]) -> dict[str, Any]:
    """XINFO STREAM FULL."""
    found["entries"] = {id: _dict(fields) for id, fields in found["entries"]}
    found["groups"] = [_record(group) for group in found["groups"]]
    for group in found["groups"]:
        group["consumers"] = [_dict(consumer) for consumer in group["consumers"]]
    return found


def pending(found: list[Any]) -> dict[str, Any]:
    """XPENDING."""
    count, low, high, consumers = found
    each = [{"name": name, "pending": int(number)} for name, number in consumers or []]
    return {"pending": count, "min": low, "max": high, "consumers": each}


def pending_range(found: list[Any]) -> list[dict[str, Any]]:
    """XPENDING with a range."""
    names = ("message_id", "consumer", "time_since_delivered", "times_delivered")
    return [dict(zip(names, item, strict=False)) for item in found]


def commands(found: list[Any]) -> dict[str, dict[str, Any]]:
    """COMMAND."""
    table = {}
    for name, arity, flags, first, last, step, *more in found:
        facts: dict[str, Any] = {"name": _text(name), "arity": arity}
        facts["flags"] = [_text(flag) for flag in flags]
        facts |= {"first_key_pos": first, "last_key_pos": last, "step_count": step}
        if more:
            facts["acl_categories"] = [_text(category) for category in more[0]]
        if len(more) > 1:
            facts |= zip(("tips", "key_specifications", "subcommands"), more[1:], strict=False)
        table[facts["name"]] = facts
    return table


def denials(found: Any) -> Any:
    """ACL LOG; with RESET it is no list."""
    if not isinstance(found, list):
        return _text(found) == "OK"
    table = []
    for item in found:
        denial = {name: _text(value) for name, value in _record(item).items()}
        denial["age-seconds"] = float(denial["age-seconds"])
        denial["client-info"] = client(denial.get("client-info", ""))
        table.append(denial)
    return table


def user(found: Any) -> dict[str, Any] | None:
    """ACL GETUSER."""
    if found is None:
        return None
    facts = _record(found)
    for name in ("flags", "passwords"):
        facts[name] = [_text(item) for item in facts[name]]
    for name in ("keys", "channels"):
        if isinstance(facts.get(name), (str, bytes)):
            facts[name] = _text(facts[name]).split()
    words = _text(facts["commands"]).split(" ")
    facts["categories"] = [word for word in words if "@" in word]
    facts["commands"] = [word for word in words if "@" not in word]
    facts["enabled"] = "on" in facts["flags"]
    facts["selectors"] = [_flat_texts(selector) for selector in facts.get("selectors", [])]
    return facts


def _flat_texts(value: Any) -> list[Any]:
    items = [item for pair in value.items() for item in pair] if isinstance(value, dict) else value
    return [_text(item) for item in items]
