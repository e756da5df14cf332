"""Compares what the programs recorded with what the servers hold.

No function here talks to anybody: each takes what was seen and returns the violations as text.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: After the end of a fault, every client is well again within so many seconds.
RECOVERY_SECONDS = 2.0
#: A violation is told with at most so many examples of its kind.
EXAMPLES_MAX = 4

#: How often a command may have run.
_RUNS = {"replied": (1, 1), "not_sent": (0, 0), "refused": (0, 0), "indeterminate": (0, 1)}

Record = dict[str, Any]


@dataclass
class Span:
    """Something that was wrong, by the wall clock, and how long it may be felt after its end."""

    name: str
    begin: float
    end: float
    recovery: float = RECOVERY_SECONDS
    #: Nodes or their links were down: what one server published may not have reached another.
    cuts_nodes: bool = False


def judge(
    records: Sequence[Record], ledgers: dict[str, int], queues: dict[str, list[str]], spans: Sequence[Span]
) -> list[str]:
    """Everything. `ledgers` is what ran how often, by its id; `queues` what is left in which list."""
    found = [violation for record in records if record["op"] != "heard" for violation in _outcome(record)]
    found += _ledger(records, ledgers)
    found += _queues(records, queues)
    found += _messages(records, spans)
    found += _calm(records, spans)
    found += _in_vain(records, spans)
    found += judge_recovery(records, spans)
    return _with_few_examples(found)


def _outcome(record: Record) -> list[str]:
    if record["outcome"] not in _RUNS:
        return [f"no true outcome: {told(record)}"]
    if record["outcome"] == "replied" and record["wants"] is not None and record["reply"] != record["wants"]:
        return [f"wrong reply: wanted {record['wants']!r}: {told(record)}"]
    return []


def _ledger(records: Iterable[Record], ledgers: dict[str, int]) -> list[str]:
    found, known = [], set()
    for record in records:
        if record["op"] not in ("count", "multi"):
            continue
        ids = [record["id"]] if record["op"] == "count" else [f"{record['id']}.a", f"{record['id']}.b"]
        known.update(ids)
        runs = [ledgers.get(one, 0) for one in ids]
        if len(set(runs)) > 1:
            found.append(f"a transaction ran in part: {runs}: {told(record)}")
        least, most = _RUNS.get(record["outcome"], (0, 1))
        if max(runs) > most:
            found.append(f"ran {max(runs)} times: {told(record)}")
        if min(runs) < least:
            found.append(f"did not run: {told(record)}")
    found += [f"a server ran what nobody recorded: {one}" for one in ledgers if one not in known]
    return found


def _queues(records: Iterable[Record], queues: dict[str, list[str]]) -> list[str]:
    """What was pushed comes out once, or is still there. A pop that may have run may have lost one."""
    pushes: dict[str, dict[str, Record]] = defaultdict(dict)
    popped: dict[str, Counter[str]] = defaultdict(Counter)
    uncertain: Counter[str] = Counter()
    for record in records:
        if record["op"] == "push":
            pushes[record["key"]][record["id"]] = record
        elif record["op"] == "pop" and record["outcome"] == "replied" and record["reply"] is not None:
            popped[record["key"]][record["reply"][1]] += 1
        elif record["op"] == "pop" and record["outcome"] in ("indeterminate", "unknown"):
            uncertain[record["key"]] += 1
    found = []
    for key, given in pushes.items():
        out = popped[key] + Counter(queues.get(key, []))
        lost = [record for one, record in given.items() if record["outcome"] == "replied" and not out[one]]
        if len(lost) > uncertain[key]:
            found.append(f"{len(lost)} values lost, {uncertain[key]} pops uncertain: {told(lost[0])}")
        for one, count in out.items():
            record = given.get(one)
            if record is None:
                found.append(f"popped what nobody pushed: {one} of {key}")
            elif count > _RUNS.get(record["outcome"], (0, 1))[1]:
                found.append(f"came out {count} times: {told(record)}")
    return found


def _messages(records: Iterable[Record], spans: Sequence[Span]) -> list[str]:
    """Between two gaps messages come in order and once, and none is missing."""
    published: dict[str, dict[int, Record]] = defaultdict(dict)
    heard: dict[str, list[Record]] = defaultdict(list)
    clients = {record["key"]: record["client"] for record in records if record["op"] == "publish"}
    for record in records:
        if record["op"] == "publish":
            published[record["key"]][int(record["id"])] = record
        elif record["op"] == "heard":
            keys = [record["key"]] if record["id"] is not None else clients
            for key in keys:
                if clients.get(key) == record["client"]:
                    heard[key].append(record)
    found = []
    for key, sent in published.items():
        found += _channel(key, sent, heard[key], spans)
    return found


def _channel(key: str, sent: dict[int, Record], heard: Sequence[Record], spans: Sequence[Span]) -> list[str]:
    if not heard:
        return [f"nothing was ever heard on {key}"]
    found, latest, has_gap = [], None, True
    for record in heard:
        if record["id"] is None:
            has_gap = True
            continue
        number = int(record["id"])
        # Behind a gap, another server may bring late what was heard before.
        if latest is not None and number <= latest and not has_gap:
            found.append(f"a message came twice or out of order: {number} after {latest} on {key}")
        if not has_gap and latest is not None:
            missing = [sent[one] for one in range(latest + 1, number) if one in sent]
            lost = [one for one in missing if _should_be_heard(one, spans)]
            found += [f"a message is missing without a gap: {told(one)}" for one in lost]
        latest, has_gap = number, False
    return found


def _should_be_heard(publish: Record, spans: Sequence[Span]) -> bool:
    """The server told that somebody got it; or nothing kept it from going from one server to another."""
    if publish["outcome"] != "replied":
        return False
    if publish["reply"]:
        return True
    cut = [span for span in spans if span.cuts_nodes]
    return not any(s.begin <= publish["ended"] and publish["began"] <= s.end + s.recovery for s in cut)


def _calm(records: Iterable[Record], spans: Sequence[Span]) -> list[str]:
    """What begins when everything has recovered, and ends before the next fault, succeeds."""
    ordered = sorted(spans, key=lambda span: span.begin)
    found = []
    for record in records:
        if record["op"] == "heard" or record["outcome"] == "replied":
            continue
        for number, span in enumerate(ordered):
            has_next = number + 1 < len(ordered)
            end = ordered[number + 1].begin if has_next else float("inf")
            if span.end + span.recovery < record["began"] and record["ended"] < end:
                found.append(f"failed while nothing was wrong, after {span.name}: {told(record)}")
    return found


def _in_vain(records: Iterable[Record], spans: Sequence[Span]) -> list[str]:
    """What was given in the midst of a fault does not wait, and then fail, when all has long been well."""
    return [
        f"waited in vain, from {span.name} on: {told(record)}"
        for record in records
        if record["op"] != "heard" and record["outcome"] != "replied"
        for span in spans
        if span.begin <= record["began"] <= span.end and record["ended"] > span.end + span.recovery
    ]


def judge_recovery(records: Iterable[Record], spans: Sequence[Span]) -> list[str]:
    """Every client succeeds with each kind of command soon after a fault."""
    done: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if record["op"] not in ("heard", "pop"):
            times = done[record["client"], record["op"]]
            if record["outcome"] == "replied":
                times.append(record["ended"])
    found, told = [], set()
    for span in spans:
        slowest: dict[str, tuple[float, str]] = {}
        for (client, op), times in done.items():
            first = min((time for time in times if time >= span.end), default=float("inf"))
            slowest[client] = max(slowest.get(client, (0.0, "")), (first, op))
        for client, (first, op) in slowest.items():
            # Where one fault is felt into the next, it is told once.
            if first - span.end > span.recovery and (client, first) not in told:
                when = "never" if first == float("inf") else f"{first - span.end:.1f} s"
                found.append(f"{client} ({op}) succeeds {when} after the end of {span.name}")
                told.add((client, first))
    return found


def outcomes(records: Iterable[Record], span: Span) -> str:
    """What became of the commands that a fault may have touched, for people."""
    counts = Counter(
        record["outcome"]
        for record in records
        if record["op"] != "heard" and span.begin <= record["ended"] and record["began"] <= span.end
    )
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())


def told(record: Record) -> str:
    return json.dumps({key: value for key, value in record.items() if value is not None})


def _with_few_examples(found: list[str]) -> list[str]:
    counts: Counter[str] = Counter()
    shown = []
    for violation in found:
        kind = violation.split(":")[0]
        counts[kind] += 1
        if counts[kind] <= EXAMPLES_MAX:
            shown.append(violation)
    return shown + [f"{kind}: {count} in all" for kind, count in counts.items() if count > EXAMPLES_MAX]
