"""The judge sees what is wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import verdict
from steps import CYCLE, Worker
from verdict import Record, Span, judge

SPAN = Span("a fault", 10.0, 11.0)


def record(op: str = "count", identity: str = "a", outcome: str = "replied", **others: Any) -> Record:
    reply = {"count": 1, "multi": [1, 1], "push": 1, "publish": 1}.get(op) if outcome == "replied" else None
    wants = reply if op in ("count", "multi") else None
    given = {
        "client": "one", "op": op, "id": identity, "key": "k", "began": 11.5, "ended": 11.6, "outcome": outcome,
        "reply": reply, "wants": wants, "error": None,
    }  # fmt: skip
    return given | others


def heard(identity: str | None) -> Record:
    return {"client": "one", "op": "heard", "id": identity, "key": "k" if identity else "", "began": 11.5}


def judged(records: list[Record], ledgers: dict[str, int] | None = None, **queues: list[str]) -> list[str]:
    return judge(records, ledgers or {}, queues, [])


def test_what_is_true_is_no_violation() -> None:
    records = [
        record(identity="a"),
        record(identity="b", outcome="not_sent"),
        record(identity="c", outcome="indeterminate"),
        record(identity="d", outcome="indeterminate"),
        record(identity="e", outcome="refused"),
        record("multi", "f"),
    ]
    assert judged(records, {"a": 1, "c": 1, "f.a": 1, "f.b": 1}) == []


@pytest.mark.parametrize("outcome", ["replied", "not_sent", "refused", "indeterminate"])
def test_no_command_runs_twice(outcome: str) -> None:
    (violation,) = judged([record(outcome=outcome)], {"a": 2})
    assert "ran 2 times" in violation


@pytest.mark.parametrize("outcome", ["not_sent", "refused"])
def test_what_was_not_sent_or_was_refused_did_not_run(outcome: str) -> None:
    assert judged([record(outcome=outcome)]) == []
    (violation,) = judged([record(outcome=outcome)], {"a": 1})
    assert "ran 1 times" in violation


def test_what_was_answered_ran() -> None:
    (violation,) = judged([record()])
    assert violation.startswith("did not run")


def test_a_transaction_runs_as_a_whole() -> None:
    for outcome in ("replied", "indeterminate"):
        found = judged([record("multi", outcome=outcome)], {"a.a": 1})
        assert "in part" in found[0]


def test_an_outcome_that_is_none_is_seen() -> None:
    (violation,) = judged([record(outcome="unknown")])
    assert violation.startswith("no true outcome")


def test_a_reply_to_another_command_is_seen() -> None:
    (violation,) = judged([record("get", reply="another's", wants="mine")])
    assert violation.startswith("wrong reply")


def test_what_nobody_recorded_is_seen() -> None:
    (violation,) = judged([], {"x": 1})
    assert "nobody recorded" in violation


def pop(value: str | None, outcome: str = "replied") -> Record:
    return record("pop", "1", outcome, reply=["k", value] if value else None)


def test_what_was_pushed_comes_out_once() -> None:
    pushes = [record("push", one) for one in ("a", "b", "c")]
    assert judged([*pushes, pop("a"), pop(None)], k=["b", "c"]) == []
    (violation,) = judged([*pushes, pop("a"), pop("a")], k=["b", "c"])
    assert "came out 2 times" in violation
    (violation,) = judged([*pushes, pop("a")], k=["a", "b", "c"])
    assert "came out 2 times" in violation
    (violation,) = judged([*pushes, pop("a")], k=["b"])
    assert "1 values lost, 0 pops uncertain" in violation
    assert judged([*pushes, pop("a"), pop(None, "indeterminate")], k=["b"]) == []
    (violation,) = judged([*pushes, pop("x")], k=["a", "b", "c"])
    assert "nobody pushed" in violation
    (violation,) = judged([record("push", "a", "not_sent")], k=["a"])
    assert "came out 1 times" in violation


def publish(number: int, reply: int = 1, outcome: str = "replied") -> Record:
    return record("publish", str(number), outcome, reply=reply)


def test_messages_are_missing_where_a_gap_was_announced_and_nowhere_else() -> None:
    sent = [publish(number) for number in range(1, 6)]
    assert judged([*sent, *(heard(str(number)) for number in range(1, 6))]) == []
    assert judged([*sent, heard("3"), heard("4")]) == [], "nobody listened before, or after"
    (violation,) = judged([*sent, heard("1"), heard("3")])
    assert "missing without a gap" in violation
    assert judged([*sent, heard("1"), heard(None), heard("3")]) == []
    uncertain = [publish(1), publish(2, outcome="indeterminate"), publish(3)]
    assert judged([*uncertain, heard("1"), heard("3")]) == []
    (violation,) = judged([*sent, heard("1"), heard("1")])
    assert "twice" in violation
    assert judged([*sent, heard("1"), heard(None), heard("1"), heard("2")]) == []
    (violation,) = judged(sent)
    assert "nothing was ever heard" in violation


def test_a_message_that_a_server_could_not_pass_on_may_be_missing() -> None:
    records = [publish(1), publish(2, reply=0), publish(3), heard("1"), heard("3")]
    cut = Span("a failover", 11.0, 11.2, cuts_nodes=True)
    assert len(judge(records, {}, {}, [])) == 1
    assert not [one for one in judge(records, {}, {}, [cut]) if "missing" in one]


def test_failures_are_violations_once_everything_has_recovered() -> None:
    late = record("get", outcome="not_sent", began=13.5, ended=13.6)
    found = judge([late, record("get", began=11.5)], {}, {}, [SPAN])
    assert [one.split(":")[0] for one in found] == ["failed while nothing was wrong, after a fault"]
    early = late | {"began": 12.5}
    assert judge([early, record("get", began=11.5)], {}, {}, [SPAN]) == []
    into_the_next = Span("another", 13.55, 14.0)
    assert not [one for one in judge([late, record("get")], {}, {}, [SPAN, into_the_next]) if "failed" in one]


def test_what_waits_in_vain_is_seen() -> None:
    stuck = record("pop", "1", "not_sent", began=10.5, ended=13.1, reply=None)
    (violation,) = judge([stuck], {}, {}, [SPAN])
    assert violation.startswith("waited in vain")
    assert judge([stuck | {"ended": 12.9}], {}, {}, [SPAN]) == []
    assert judge([stuck | {"outcome": "replied"}], {}, {}, [SPAN]) == []


def test_a_client_that_does_not_recover_in_time_is_seen() -> None:
    assert judge([record("get", ended=12.9)], {}, {}, [SPAN]) == []
    (violation,) = judge([record("get", ended=13.1)], {}, {}, [SPAN])
    assert "succeeds 2.1 s after" in violation
    (violation,) = judge([record("get", ended=10.5, began=10.4)], {}, {}, [SPAN])
    assert "succeeds never after" in violation


def test_many_violations_of_a_kind_are_counted() -> None:
    found = judged([record(identity=f"x{number}") for number in range(100)])
    assert len(found) == verdict.EXAMPLES_MAX + 1 and found[-1] == "did not run: 100 in all"


def test_no_two_steps_are_the_same_and_every_kind_comes() -> None:
    worker = Worker("one", 0)
    steps = [worker.next() for _ in range(200)]
    assert len({step.id for step in steps}) == len(steps)
    assert {step.op for step in steps} == set(CYCLE)


@pytest.mark.parametrize("outcome", ["replied", "not_sent", "refused", "indeterminate"])
def test_a_key_whose_write_is_uncertain_is_not_used_again(outcome: str) -> None:
    worker = Worker("one", 0)

    def next_of(op: str) -> Any:
        while (step := worker.next()).op != op:
            worker.learn(step, "not_sent")
        return step

    worker.learn(next_of("set"), outcome)
    written = [one for one in next_of("mget").wants if one]
    assert len(written) == (outcome == "replied")
    assert (".1:" in next_of("get").commands[0][1]) == (outcome == "indeterminate")
