"""Compares what the programs recorded with what the server shows.

No function here talks to anybody: each takes what was seen and returns the violations as text.
"""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from operations import COUNTED, LISTED, amount, right_reply
from record import Record

#: A command may wait for a connection (10 s), a login (15 s), a token (35 s) and a re-authentication (15 s) on top
#: of its own timeout; the rest is for a busy machine.
ALLOWANCE_SECONDS = 75.0 + 10.0
#: Below this timeout a client gives up early even while nothing is wrong.
IMPATIENT_SECONDS = 1.0

RSS_GROWTH_MAX = 3 * 1024 * 1024
RSS_GROWTH_SHARE = 0.05
COUNT_GROWTH_MAX = 3
#: asyncio looks names up in threads, and keeps as many as once were needed, up to this.
EXECUTOR_THREADS = min(32, (os.cpu_count() or 1) + 4)

#: So many commands of one client tell that it answers nothing.
SILENCE_MIN = 20

#: A violation is told with at most so many examples of its kind.
EXAMPLES_MAX = 5

#: How often a command may have run.
_RUNS = {
    "replied": (1, 1),
    "not_sent": (0, 0),
    "refused": (0, 0),
    "indeterminate": (0, 1),
    "cancelled": (0, 1),
}


@dataclass
class Calm:
    """A time in which nothing is wrong, by the monotonic clock."""

    begin: float
    end: float


@dataclass
class Server:
    """What the server shows of one client and one epoch."""

    ledger: dict[str, int] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)


def judge_commands(
    records: Sequence[Record], servers: dict[tuple[str, int], Server], calms: Sequence[Calm]
) -> list[str]:
    """Each command against the server and against the clock, and the server against the commands."""
    found: list[str] = []
    pushes = {place: Counter(server.pushed) for place, server in servers.items()}
    for record in records:
        place = (record.client, record.epoch)
        found += _judge_outcome(record)
        found += _judge_runs(record, servers.get(place, Server()), pushes.get(place, Counter()))
        found += _judge_time(record, calms)
    found += _judge_units(records, servers, pushes)
    found += _judge_strangers(records, servers)
    found += _judge_silence(records, calms)
    return _with_few_examples(found)


def _judge_outcome(record: Record) -> list[str]:
    if record.outcome not in _RUNS:
        return [f"no outcome: {_told(record)}"]
    if record.outcome != "replied" or record.kind in LISTED:
        return []
    right = right_reply(record.kind, record.identity, record.wants)
    # 1 == True, and a reply of the wrong type is a wrong reply.
    if record.reply != right or isinstance(record.reply, bool) != isinstance(right, bool):
        return [f"wrong reply: wanted {right!r}: {_told(record)}"]
    return []


def _judge_runs(record: Record, server: Server, pushed: Counter[str]) -> list[str]:
    if record.kind in COUNTED:
        total = server.ledger.get(record.identity, 0)
        runs, rest = divmod(total, amount(record.identity))
        if rest:
            return [f"the ledger holds {total}, no multiple of {amount(record.identity)}: {_told(record)}"]
    elif record.kind in LISTED:
        runs = pushed[record.identity]
        if record.outcome == "replied" and not _is_at(server.pushed, record.reply, record.identity):
            return [f"wrong reply: its push is not at the place of the reply: {_told(record)}"]
    else:
        return []
    least, most = _RUNS.get(record.outcome, (0, 1))
    if runs < least:
        return [f"did not run: {_told(record)}"]
    if runs > most:
        return [f"ran {runs} times: {_told(record)}"]
    return []


def _is_at(pushed: list[str], place: object, identity: str) -> bool:
    return isinstance(place, int) and 0 < place <= len(pushed) and pushed[place - 1] == identity


def _judge_time(record: Record, calms: Sequence[Calm]) -> list[str]:
    took = record.ended - record.began
    if took > record.timeout + ALLOWANCE_SECONDS:
        return [f"answered after {took:.1f} s: {_told(record)}"]
    if record.outcome in ("replied", "cancelled"):
        return []
    if record.timeout < IMPATIENT_SECONDS and (record.error or "").startswith("TimeoutError"):
        return []
    if any(calm.begin <= record.began and record.ended <= calm.end for calm in calms):
        return [f"failed while nothing was wrong: {_told(record)}"]
    return []


def _judge_units(
    records: Iterable[Record],
    servers: dict[tuple[str, int], Server],
    pushes: dict[tuple[str, int], Counter[str]],
) -> list[str]:
    """A transaction runs as a whole or not at all."""
    units: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.unit is not None and record.kind in COUNTED | LISTED:
            units[record.unit].append(record)
    found = []
    for unit in units.values():
        ran = set()
        for record in unit:
            place = (record.client, record.epoch)
            ledger = servers.get(place, Server()).ledger
            ran.add(record.identity in ledger or pushes.get(place, Counter())[record.identity] > 0)
        if len(ran) > 1:
            found.append(f"a transaction ran in part: {_told(unit[0])}")
    return found


def _judge_strangers(records: Iterable[Record], servers: dict[tuple[str, int], Server]) -> list[str]:
    known = {record.identity for record in records}
    return [
        f"the server ran what nobody recorded: {identity} of epoch {epoch}"
        for (_client, epoch), server in servers.items()
        for identity in (*server.ledger, *server.pushed)
        if identity not in known
    ]


def _judge_silence(records: Iterable[Record], calms: Sequence[Calm]) -> list[str]:
    """A client all of whose callers give up while nothing is wrong does not answer at all."""
    outcomes: dict[tuple[str, int], list[str]] = defaultdict(list)
    for record in records:
        for number, calm in enumerate(calms):
            if calm.begin <= record.began and record.ended <= calm.end:
                outcomes[record.client, number].append(record.outcome)
    return [
        f"nothing was answered while nothing was wrong: {len(seen)} commands of {client}, "
        f"from {calms[number].begin:.3f} to {calms[number].end:.3f}"
        for (client, number), seen in outcomes.items()
        if len(seen) >= SILENCE_MIN and "replied" not in seen
    ]


def judge_pending(program: str, oldest_began: float | None, now: float) -> list[str]:
    """A command that waits beyond any deadline."""
    longest = 5.0 + ALLOWANCE_SECONDS
    if oldest_began is not None and now - oldest_began > longest:
        return [f"{program}: a command waits for {now - oldest_began:.0f} s"]
    return []


def judge_growth(program: str, what: str, samples: Sequence[float]) -> list[str]:
    """Samples at equal distances: the second half of a run must be flat."""
    if len(samples) < 20:
        return []
    tenth = len(samples) // 10
    # An outage may have closed connections just then: counts are compared with the most that there was until then.
    before = samples[: 6 * tenth]
    middle = statistics.median(before[-tenth:]) if what == "rss" else max(before)
    end = statistics.median(samples[-tenth:])
    most = {
        "rss": RSS_GROWTH_MAX + RSS_GROWTH_SHARE * middle,
        "threads": COUNT_GROWTH_MAX + EXECUTOR_THREADS,
        "descriptors": COUNT_GROWTH_MAX,
    }[what]
    if end - middle > most:
        return [f"{program}: {what} grew from {middle:.0f} to {end:.0f} in the second half"]
    return []


def judge_connections(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """While nothing is wrong, every client keeps its connection. By name, the connection's number."""
    return [
        f"the connection of {name} was replaced while nothing was wrong"
        for name, number in before.items()
        if after.get(name) != number
    ]


def judge_reauthentication(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], token_seconds: float, calm: Calm
) -> list[str]:
    """A connection that lives as long as a token has re-authenticated meanwhile."""
    if calm.end - calm.begin < token_seconds:
        return []
    now = {connection["id"]: connection["auth_count"] for connection in after}
    return [
        f"connection {one['id']} did not re-authenticate in {calm.end - calm.begin:.0f} s"
        for one in before
        if now.get(one["id"], one["auth_count"] + 1) <= one["auth_count"]
    ]


_WORD = re.compile(rb"[A-Za-z0-9_-]{8,}")
_GRAM_LEN = 8


def judge_leaks(name: str, text: bytes, tokens: Iterable[str]) -> list[str]:
    """No eight characters of a token's claims or signature may stand in what a program wrote."""
    secret = "\n".join(part for token in tokens for part in token.split(".")[1:]).encode()
    found = []
    checked: set[bytes] = set()
    for word in sorted(set(_WORD.findall(text))):
        grams = {word[at : at + _GRAM_LEN] for at in range(len(word) - _GRAM_LEN + 1)} - checked
        checked |= grams
        if any(gram in secret for gram in grams):
            found.append(f"{name} holds a piece of a token, in the word {_masked(word)}")
    return found[:EXAMPLES_MAX]


def _masked(word: bytes) -> str:
    return f"{word[:3].decode()}… ({len(word)} characters)"


_COMPLAINTS = (b"Traceback (most recent call last)", b"was never retrieved", b"was never awaited")
_UNCLOSED = b"ResourceWarning"


def judge_text(name: str, text: bytes, is_interrupted: bool = False) -> list[str]:
    """Nothing may go wrong behind the program's back either.

    A signal may come between the making of a socket and its keeping: in an interrupted program the language itself
    leaves sockets to be collected.
    """
    complaints = _COMPLAINTS if is_interrupted else (*_COMPLAINTS, _UNCLOSED)
    return [f"{name}: {complaint.decode()}" for complaint in complaints if complaint in text]


def _told(record: Record) -> str:
    return (
        f"{record.identity} ({record.kind}, {record.outcome}, reply {record.reply!r}, "
        f"error {record.error!r}, epoch {record.epoch}, from {record.began:.3f} to {record.ended:.3f})"
    )


def _with_few_examples(found: list[str]) -> list[str]:
    counts: Counter[str] = Counter()
    shown = []
    for violation in found:
        kind = violation.split(":")[0]
        counts[kind] += 1
        if counts[kind] <= EXAMPLES_MAX:
            shown.append(violation)
    return shown + [f"{kind}: {count} in all" for kind, count in counts.items() if count > EXAMPLES_MAX]
