"""The judge sees what it is there for: forged records, and a server that does not fit them."""

from __future__ import annotations

import random
from typing import Any

import judge
import pytest
from judge import Calm, Server, judge_commands
from operations import Caller, Plan, amount, big, right_reply, summary
from record import Record

PLACE = ("one", 0)
CALM = [Calm(0, 1000)]


def record(identity: str, kind: str = "count", **changes: Any) -> Record:
    """A command that went well."""
    reply = 1 if kind == "push" else right_reply(kind, identity, None)
    facts = {"client": "one", "epoch": 0, "began": 10.0, "ended": 10.1, "outcome": "replied", "reply": reply}
    return Record(identity, kind, **(facts | changes))


def server(*pushed: str, **runs: int) -> dict[tuple[str, int], Server]:
    """A server on which each of `runs` ran so many times."""
    return {PLACE: Server({one: times * amount(one) for one, times in runs.items()}, list(pushed))}


def failed(identity: str, outcome: str, **changes: Any) -> Record:
    return record(identity, outcome=outcome, reply=None, error="ConnectionError: lost", **changes)


def test_a_run_without_fault_is_no_violation() -> None:
    records = [
        record("a"),
        record("b", "echo"),
        record("c", "script"),
        record("d", "push"),
        record("e", "read", wants="x", reply="x"),
        record("f", "read-big", wants="x", reply=summary(big("x"))),
        record("g", "write"),
        failed("h", "not_sent"),
        failed("i", "indeterminate"),
        failed("j", "cancelled"),
        failed("k", "refused"),
    ]
    assert judge_commands(records, server("d", a=1, c=1, i=1), []) == []


@pytest.mark.parametrize("outcome", ["replied", "not_sent", "refused", "indeterminate", "cancelled"])
@pytest.mark.parametrize("kind", ["count", "push"])
def test_no_command_runs_twice(outcome: str, kind: str) -> None:
    seen = server(a=2) if kind == "count" else server("a", "a")
    (violation,) = judge_commands([record("a", kind, outcome=outcome)], seen, [])
    assert "ran 2 times" in violation


@pytest.mark.parametrize("outcome", ["not_sent", "refused"])
def test_what_was_not_sent_or_was_refused_did_not_run(outcome: str) -> None:
    (violation,) = judge_commands([failed("a", outcome)], server(a=1), [])
    assert "ran 1 times" in violation


@pytest.mark.parametrize("kind", ["count", "script"])
def test_what_was_answered_ran(kind: str) -> None:
    (violation,) = judge_commands([record("a", kind)], server(), [])
    assert violation.startswith("did not run")


def test_a_push_is_where_its_reply_says() -> None:
    swapped = [record("a", "push", reply=2), record("b", "push", reply=1)]
    assert [violation.split(":")[0] for violation in judge_commands(swapped, server("a", "b"), [])] == [
        "wrong reply",
        "wrong reply",
    ]


def test_swapped_replies_are_seen() -> None:
    for kind in ("count", "echo", "script", "echo-big"):
        one, two = record("a", kind), record("b", kind)
        one.reply, two.reply = two.reply, one.reply
        found = judge_commands([one, two], server(a=1, b=1), [])
        assert len(found) == 2 and all(violation.startswith("wrong reply") for violation in found), kind


def test_a_read_finds_the_callers_own_last_value() -> None:
    (violation,) = judge_commands([record("a", "read", wants="mine", reply="another's")], server(), [])
    assert violation.startswith("wrong reply")
    (violation,) = judge_commands([record("a", "read", wants="mine", reply=None)], server(), [])
    assert violation.startswith("wrong reply")


def test_a_reply_of_another_type_is_wrong() -> None:
    (violation,) = judge_commands([record("a", "write", reply=1)], server(), [])
    assert violation.startswith("wrong reply")


def test_a_transaction_runs_as_a_whole() -> None:
    records = [failed("a", "indeterminate", unit="a"), failed("b", "indeterminate", kind="push", unit="a")]
    assert judge_commands(records, server("b", a=1), []) == []
    assert judge_commands(records, server(), []) == []
    (violation,) = judge_commands(records, server(a=1), [])
    assert "in part" in violation


def test_a_ledger_entry_that_is_no_multiple_is_seen() -> None:
    seen = {PLACE: Server({"a": amount("a") + 1}, [])}
    (violation,) = judge_commands([record("a")], seen, [])
    assert "no multiple" in violation


def test_what_nobody_recorded_is_seen() -> None:
    found = judge_commands([], server("y", x=1), [])
    assert [violation.split(":")[1].split()[0] for violation in found] == ["x", "y"]


def test_an_error_without_an_outcome_is_seen() -> None:
    (violation,) = judge_commands([failed("a", "unknown")], server(), [])
    assert violation.startswith("no outcome")


def test_a_late_answer_is_seen() -> None:
    late = 10.0 + 5 + judge.ALLOWANCE_SECONDS + 1
    (violation,) = judge_commands([record("a", ended=late)], server(a=1), [])
    assert violation.startswith("answered after")
    assert judge.judge_pending("p", 10.0, late)
    assert not judge.judge_pending("p", 10.0, 20.0)
    assert not judge.judge_pending("p", None, 20.0)


def test_errors_are_violations_in_calm_times_only() -> None:
    error = failed("a", "not_sent")
    (violation,) = judge_commands([error], server(), CALM)
    assert violation.startswith("failed while nothing was wrong")
    for calm in (Calm(0, 10), Calm(10.05, 11), Calm(10, 10.05)):
        assert judge_commands([error], server(), [calm]) == []


def test_an_impatient_client_may_time_out_at_any_time() -> None:
    impatient = record("a", outcome="indeterminate", reply=None, error="TimeoutError: no reply", timeout=0.25)
    assert judge_commands([impatient], server(), CALM) == []
    impatient.timeout = 5.0
    assert len(judge_commands([impatient], server(), CALM)) == 1


def test_a_client_whose_callers_all_give_up_is_seen() -> None:
    given_up = [failed(f"x{number}", "cancelled") for number in range(judge.SILENCE_MIN)]
    (violation,) = judge_commands(given_up, server(), CALM)
    assert violation.startswith("nothing was answered")
    assert judge_commands(given_up, server(), []) == []
    assert judge_commands([*given_up, record("a", "echo")], server(), CALM) == []


def test_many_violations_of_a_kind_are_counted() -> None:
    found = judge_commands([record(f"x{number}") for number in range(100)], server(), [])
    assert len(found) == judge.EXAMPLES_MAX + 1 and found[-1] == "did not run: 100 in all"


@pytest.mark.parametrize("part", [1, 2])
def test_pieces_of_tokens_are_found(part: int) -> None:
    token = "eyJ0eXAiOiJKV1Qi.eyJvaWQiOiIxMjM0NTY3ODkwMTIzNDU2.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
    piece = token.split(".")[part][5:13]
    for text in (f"a line with {piece} in it", f"x={piece}", f"prefix{piece}suffix"):
        (violation,) = judge.judge_leaks("log", text.encode(), [token])
        assert piece not in violation
    assert judge.judge_leaks("log", f"only {piece[:7]} of it".encode(), [token]) == []
    assert judge.judge_leaks("log", b"the header eyJ0eXAiOiJKV1Qi is no secret", [token]) == []


def test_what_went_wrong_behind_the_back_is_found() -> None:
    assert judge.judge_text("log", b"Task exception was never retrieved")
    assert judge.judge_text("log", b"all is well") == []
    unclosed = b"ResourceWarning: unclosed <socket>"
    assert judge.judge_text("log", unclosed) and not judge.judge_text("log", unclosed, is_interrupted=True)


def test_growing_memory_is_seen() -> None:
    mebibyte = 1 << 20
    flat = [50 * mebibyte + (number % 3) * 1000 for number in range(100)]
    assert judge.judge_growth("p", "rss", flat) == []
    early = [min(50, 20 + number) * mebibyte for number in range(100)]
    assert judge.judge_growth("p", "rss", early) == [], "the first half may grow"
    steady = [(50 + number // 5) * mebibyte for number in range(100)]
    assert len(judge.judge_growth("p", "rss", steady)) == 1
    assert len(judge.judge_growth("p", "descriptors", [20 + number / 5 for number in range(100)])) == 1
    assert judge.judge_growth("p", "threads", [20 + number % 2 for number in range(100)]) == []
    assert len(judge.judge_growth("p", "threads", [20 + number for number in range(100)])) == 1


def test_replaced_connections_are_seen() -> None:
    assert judge.judge_connections({"a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "3"}) == []
    assert len(judge.judge_connections({"a": "1", "b": "2"}, {"a": "4"})) == 2


def test_a_connection_that_does_not_re_authenticate_is_seen() -> None:
    before = [{"id": 1, "auth_count": 1}, {"id": 2, "auth_count": 3}, {"id": 3, "auth_count": 1}]
    after = [{"id": 1, "auth_count": 2}, {"id": 2, "auth_count": 3}]
    (violation,) = judge.judge_reauthentication(before, after, 20, Calm(0, 25))
    assert "connection 2" in violation
    assert judge.judge_reauthentication(before, after, 20, Calm(0, 15)) == [], "too short to tell"


def test_no_two_commands_of_a_caller_are_the_same() -> None:
    caller = Caller("one", 0, random.Random(1))
    steps = [step for _ in range(500) for step in caller.plan(0).steps]
    assert len({step.identity for step in steps}) == len(steps)
    assert {step.kind for step in steps} >= {"count", "push", "echo", "script", "write", "read", "echo-big"}


@pytest.mark.parametrize("outcome", ["replied", "not_sent", "indeterminate"])
def test_a_key_whose_write_is_uncertain_is_not_used_again(outcome: str) -> None:
    caller = Caller("one", 0, random.Random(1))

    def next_write() -> Plan:
        while True:
            plan = caller.plan(0)
            if plan.form == "single" and plan.steps[0].kind == "write":
                return plan

    first = next_write()
    caller.learn(first, [outcome])
    stays = next_write().steps[0].arguments[1] == first.steps[0].arguments[1]
    assert stays == (outcome != "indeterminate")
