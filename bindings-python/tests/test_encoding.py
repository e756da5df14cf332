"""Commands that the tests' server may not have go out as redis-py sends them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import redis
from respass._commands import Commands

SOON = datetime.timedelta(seconds=3)
THEN = datetime.datetime(2040, 1, 1)


class Ours(Commands):
    def _call(self, shape: int, *arguments: Any) -> Any:
        return arguments

    def _call_then(self, function: Any, shape: int, *arguments: Any) -> Any:
        return arguments


class Theirs(redis.Redis):
    def execute_command(self, *arguments: Any, **_options: Any) -> Any:
        return arguments


def words(arguments: tuple[Any, ...]) -> list[str]:
    found = []
    for argument in arguments:
        found += (argument.decode() if isinstance(argument, bytes) else str(argument)).split(" ")
    return found


@pytest.mark.parametrize(
    "call",
    [
        lambda r: r.hexpire("h", 10, "f", "g"),
        lambda r: r.hexpire("h", SOON, "f", nx=True),
        lambda r: r.hpexpire("h", SOON, "f", "g", gt=True),
        lambda r: r.hexpireat("h", THEN, "f", lt=True),
        lambda r: r.hpexpireat("h", THEN, "f", xx=True),
        lambda r: r.httl("h", "f", "g"),
        lambda r: r.hpttl("h", "f"),
        lambda r: r.hexpiretime("h", "f"),
        lambda r: r.hpexpiretime("h", "f"),
        lambda r: r.hpersist("h", "f"),
        lambda r: r.hgetdel("h", "f", "g"),
        lambda r: r.hgetex("h", "f", "g", ex=10),
        lambda r: r.hgetex("h", "f", persist=True),
        lambda r: r.hgetex("h", "f"),
        lambda r: r.hscan("h", no_values=True, count=5),
        lambda r: r.zrank("z", "m", withscore=True),
        lambda r: r.client_kill_filter(maxage=10, skipme=False),
        lambda r: r.client_no_touch("ON"),
        lambda r: r.acl_load(),
        lambda r: r.acl_save(),
        lambda r: r.config_rewrite(),
        lambda r: r.function_kill(),
        lambda r: r.latency_graph("e") if isinstance(r, Ours) else ("LATENCY GRAPH", "e"),
    ],
)
def test_a_command_goes_out_as_redis_py_sends_it(call: Any) -> None:
    assert words(call(Ours())) == words(call(Theirs()))
