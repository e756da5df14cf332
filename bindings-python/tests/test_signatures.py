"""Names, order and defaults of parameters are redis-py's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import redis
import respass

#: Parameters of redis-py that are not here: options of commands that are younger than the facts.
MISSING: dict[str, set[str]] = {
    "set": {"ifeq", "ifne", "ifdeq", "ifdne"},
    "xadd": {"ref_policy", "idmpauto", "idmp"},
    "xread": {"max_count", "max_size"},
    "xreadgroup": {"claim_min_idle_time", "max_count", "max_size"},
    "xtrim": {"ref_policy"},
}

#: Methods whose parameters differ otherwise, and why.
DIFFERENT: dict[str, str] = {
    "acl_dryrun": "names the command, which must be given",
    "client_list": "no mutable default",
    "georadius": "`unit` shows its default",
    "georadiusbymember": "`unit` shows its default",
    "latency_graph": "the command needs an event",
    "from_url": "options are typed",
    "pubsub": "options are named",
    "transaction": "options are named",
}


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    given = list(inspect.signature(method).parameters.values())[1:]
    return [(p.name, p.kind, p.default) for p in given if p.kind is not inspect.Parameter.VAR_KEYWORD]


def methods() -> list[str]:
    both = set(dir(redis.Redis)) & set(dir(respass.Redis))
    return sorted(
        name
        for name in both
        if not name.startswith("_") and inspect.isfunction(getattr(redis.Redis, name, None))
    )


def test_most_of_the_commands_are_there() -> None:
    assert len(methods()) > 220


@pytest.mark.parametrize("name", methods())
def test_parameters_have_the_names_order_and_defaults_of_redis_py(name: str) -> None:
    theirs = [p for p in parameters(getattr(redis.Redis, name)) if p[0] not in MISSING.get(name, ())]
    ours = parameters(getattr(respass.Redis, name))
    if name in DIFFERENT:
        assert ours != theirs, "the difference is gone: take it off the list"
    else:
        assert ours == theirs


def test_the_asyncio_client_has_the_same_methods() -> None:
    for name in methods():
        if name not in ("close", "from_url", "pipeline"):
            ours, sync = getattr(respass.asyncio.Redis, name), getattr(respass.Redis, name)
            assert parameters(ours) == parameters(sync), name
