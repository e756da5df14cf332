"""Command methods give what redis-py's give, on the same data, whichever protocol the server speaks."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import respass
from conftest import Server, free_port, wait_for

DATA: list[tuple[Any, ...]] = [
    ("SET", "text", "hello world"),
    ("SET", "number", "10"),
    ("SET", "other", "hello there"),
    ("SETBIT", "bits", 7, 1),
    ("HSET", "hash", "f", "v", "n", "5"),
    ("HSET", "one", "f", "v"),
    ("RPUSH", "list", "a", "b", "c", "a", "3"),
    ("RPUSH", "numbers", "3", "1", "2"),
    ("SADD", "set", "x"),
    ("SADD", "set2", "x", "y"),
    ("ZADD", "zset", "1", "a", "2.5", "b", "3", "c"),
    ("ZADD", "zset2", "1", "a", "inf", "d"),
    ("ZADD", "lex", "0", "a", "0", "b", "0", "c"),
    ("PFADD", "hll", "a", "b"),
    ("GEOADD", "geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"),
    ("XADD", "stream", "1-1", "f", "v"),
    ("XADD", "stream", "2-1", "f", "w", "g", "x"),
    ("XGROUP", "CREATE", "stream", "group", "0"),
    ("XREADGROUP", "GROUP", "group", "worker", "STREAMS", "stream", ">"),
]

SCRIPT = "return {KEYS[1], ARGV[1], 3}"
LIBRARY = """#!lua name=mylib
redis.register_function{
    function_name='f',
    callback=function(keys, args) return args[1] end,
    flags={'no-writes'}
}
"""

Call = Callable[[Any], Any]


def calls() -> Iterator[tuple[str, Call]]:
    """Representative calls, as text that both clients evaluate."""
    for line in CALLS.strip().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield (
                line,
                eval(f"lambda r: r.{line}", {"SCRIPT": SCRIPT, "LIBRARY": LIBRARY, "datetime": datetime}),
            )


CALLS = """
# Strings
append("text", "!")
decr("number")
decrby("number", 3)
get("text")
get("missing")
getdel("text")
getex("text", ex=10)
getex("text", px=datetime.timedelta(seconds=3))
getex("text", persist=True)
getex("text", ex=1, px=1)
getrange("text", 0, 3)
getset("text", "new")
getset("missing", "new")
incr("number")
incrby("number", 5)
incrbyfloat("number", 1.5)
lcs("text", "other")
lcs("text", "other", len=True)
lcs("text", "other", idx=True, withmatchlen=True, minmatchlen=2)
mget("text", "missing", "number")
mget(["text", "number"])
mset({"a": 1, "b": 2.5})
msetnx({"text": 1, "b": 2})
msetnx({"c": 1, "d": 2})
psetex("k", 1000, "v")
set("k", "v")
set("k", "v", ex=10)
set("k", "v", px=datetime.timedelta(seconds=1), nx=True)
set("text", "v", nx=True)
set("missing", "v", xx=True)
set("text", "v", get=True)
set("missing", "v", get=True)
set("text", "v", xx=True, get=True, keepttl=True)
set("k", "v", ex=1, px=1)
set("k", "v", nx=True, xx=True)
set("k", "v", exat=datetime.datetime(2040, 1, 1))
set("k", "v", pxat=2208988800000)
setex("k", 10, "v")
setnx("k", "v")
setnx("text", "v")
setrange("text", 6, "redis")
strlen("text")
substr("text", 2)
# Keys
copy("text", "copied")
copy("missing", "copied")
copy("text", "other", replace=True)
delete("text", "missing")
dump("number")
dump("missing")
exists("text", "missing", "text")
expire("text", 100)
expire("text", datetime.timedelta(minutes=1), nx=True)
expire("missing", 100)
expire("text", 5, gt=True)
expireat("text", datetime.datetime(2040, 1, 1))
expiretime("text")
keys("te*")
move("text", 1)
object("encoding", "number")
object("refcount", "text")
persist("text")
pexpire("text", 100000)
pexpireat("text", 2208988800000, xx=True)
pexpiretime("missing")
pttl("text")
pttl("missing")
rename("text", "renamed")
rename("missing", "renamed")
renamenx("text", "other")
restore("restored", 0, r.dump("number"))
restore("number", 0, r.dump("number"), replace=True, absttl=True, idletime=5)
restore("number", 0, b"broken")
scan(match="te*", _type="string", count=1000)
scan(0, _type="hash", count=1000)
sort("numbers")
sort("numbers", start=0, num=2, desc=True)
sort("numbers", by="w_*", get=["#", "w_*"], alpha=True)
sort("numbers", get="#", store="sorted")
sort("numbers", get=["#", "w_*"], groups=True)
sort("numbers", start=1)
sort_ro("numbers", desc=True)
touch("text", "missing")
ttl("text")
ttl("missing")
type("zset")
type("missing")
unlink("text", "hash", "missing")
# Hashes
hdel("hash", "f", "missing")
hexists("hash", "f")
hexists("hash", "missing")
hget("hash", "f")
hget("hash", "missing")
hgetall("hash")
hgetall("missing")
hincrby("hash", "n", 2)
hincrbyfloat("hash", "n", 0.5)
hkeys("hash")
hlen("hash")
hmget("hash", ["f", "missing"])
hmget("hash", "f", "n")
hmset("hash", {"a": 1})
hrandfield("one")
hrandfield("one", 2)
hrandfield("one", 2, withvalues=True)
hrandfield("missing")
hscan("hash")
hscan("hash", match="f")
hscan("missing")
hset("hash", "f", "w")
hset("hash", mapping={"a": 1, "f": 2})
hset("hash", "k", "v", mapping={"a": 1}, items=["b", 2])
hset("hash")
hsetnx("hash", "f", 1)
hstrlen("hash", "f")
hvals("hash")
# Lists
lindex("list", -1)
lindex("list", 99)
linsert("list", "BEFORE", "b", "x")
linsert("list", "AFTER", "missing", "x")
llen("list")
lmove("list", "numbers")
lmove("missing", "numbers", "RIGHT", "LEFT")
lmpop(2, "missing", "list", direction="LEFT", count=2)
lmpop(1, "missing", direction="RIGHT")
lpop("list")
lpop("list", 2)
lpop("missing")
lpop("missing", 2)
lpos("list", "a")
lpos("list", "a", count=0)
lpos("list", "a", rank=-1, maxlen=2)
lpos("list", "missing")
lpush("list", 1, 2)
lpushx("missing", 1)
lrange("list", 0, -1)
lrem("list", 0, "a")
lset("list", 0, "z")
lset("list", 99, "z")
ltrim("list", 1, 2)
rpop("list")
rpop("list", 9)
rpoplpush("list", "numbers")
rpush("list", "x")
rpushx("missing", 1)
# Sets
sadd("set", "x", "z")
scard("set")
sdiff("set2", "set")
sdiff(["set", "set2"])
sdiffstore("d", ["set2", "set"])
sinter("set", "set2")
sintercard(2, ["set", "set2"])
sintercard(2, ["set", "set2"], limit=1)
sinterstore("d", "set", "set2")
sismember("set", "x")
sismember("set", "missing")
smembers("set")
smembers("missing")
smismember("set", ["x", "y"])
smismember("set", "x", "y")
smove("set", "set2", "x")
smove("set", "set2", "missing")
spop("set")
spop("set", 2)
spop("missing")
srandmember("set")
srandmember("set", 2)
srem("set", "x", "missing")
sscan("set")
sunion("set", "set2")
sunionstore("d", "set", "set2")
# Sorted sets
zadd("zset", {"d": 4, "a": 5})
zadd("zset", {"d": 4, "a": 5}, ch=True, gt=True)
zadd("zset", {"a": 5}, incr=True)
zadd("zset", {"a": 5}, incr=True, nx=True)
zadd("zset", {})
zadd("zset", {"a": 1}, nx=True, xx=True)
zcard("zset")
zcount("zset", "-inf", 2.5)
zdiff(["zset", "zset2"])
zdiff(["zset", "zset2"], withscores=True)
zdiffstore("d", ["zset", "zset2"])
zincrby("zset", 1.5, "a")
zinter(["zset", "zset2"])
zinter(["zset", "zset2"], withscores=True)
zinter({"zset": 2, "zset2": 3}, aggregate="MAX", withscores=True)
zintercard(2, ["zset", "zset2"])
zintercard(2, ["zset", "zset2"], limit=1)
zinterstore("d", ["zset", "zset2"])
zinterstore("d", {"zset": 1, "zset2": 2}, aggregate="SUM")
zlexcount("lex", "-", "[b")
zmpop(1, ["zset"], min=True)
zmpop(2, ["missing", "zset"], max=True, count=2)
zmpop(1, ["missing"], min=True)
zmscore("zset", ["a", "missing"])
zpopmax("zset")
zpopmax("zset", 2)
zpopmin("zset")
zpopmin("missing")
zrandmember("missing")
zrandmember("zset", 0)
zrange("zset", 0, -1)
zrange("zset", 0, -1, withscores=True)
zrange("zset", 0, -1, desc=True, withscores=True, score_cast_func=int)
zrange("zset", 1, 3, byscore=True, offset=0, num=1)
zrange("lex", "[a", "[b", bylex=True)
zrange("zset", 0, -1, offset=0)
zrangebylex("lex", "-", "+", start=1, num=1)
zrangebyscore("zset", 1, 3)
zrangebyscore("zset", "-inf", "+inf", start=0, num=2, withscores=True)
zrangestore("d", "zset", 0, 1)
zrangestore("d", "zset", 3, 1, byscore=True, desc=True, offset=0, num=1)
zrank("zset", "b")
zrank("zset", "missing")
zrem("zset", "a", "missing")
zremrangebylex("lex", "[a", "[b")
zremrangebyrank("zset", 0, 1)
zremrangebyscore("zset", 2, 3)
zrevrange("zset", 0, -1)
zrevrange("zset", 0, -1, withscores=True)
zrevrangebylex("lex", "+", "-")
zrevrangebyscore("zset", 3, 1, withscores=True)
zrevrank("zset", "a")
zscan("zset")
zscan("zset", match="a", score_cast_func=int)
zscore("zset", "b")
zscore("zset2", "d")
zscore("zset", "missing")
zunion(["zset", "zset2"])
zunion({"zset": 1, "zset2": 2}, aggregate="MIN", withscores=True)
zunionstore("d", ["zset", "zset2"])
# Bits
bitcount("text")
bitcount("text", 0, 3)
bitcount("text", 0, 3, "BIT")
bitfield("bits").set("u8", 0, 200).overflow("SAT").incrby("u8", 0, 100).get("u8", 0).execute()
bitfield("bits", "FAIL").incrby("u2", 102, 3).incrby("u2", 102, 3).execute()
bitfield_ro("bits", "u8", 0, items=[("u4", 0)])
bitop("NOT", "d", "bits")
bitop("AND", "d", "bits", "text")
bitpos("bits", 1)
bitpos("bits", 0, 0, -1, "BIT")
getbit("bits", 7)
setbit("bits", 3, 1)
# HyperLogLog
pfadd("hll", "c")
pfcount("hll")
pfmerge("merged", "hll")
# Places
geoadd("geo", (13.5, 38.5, "Nowhere"))
geoadd("geo", (13.5, 38.5, "Palermo"), ch=True, xx=True)
geoadd("geo", (13.5, 38.5))
geodist("geo", "Palermo", "Catania")
geodist("geo", "Palermo", "Catania", "km")
geodist("geo", "Palermo", "missing")
geohash("geo", "Palermo", "Catania")
geopos("geo", "Palermo", "missing")
georadius("geo", 15, 37, 200, "km")
georadius("geo", 15, 37, 200, "km", withdist=True, withcoord=True, withhash=True, sort="ASC")
georadius("geo", 15, 37, 200, "km", count=1, any=True)
georadius("geo", 15, 37, 200, "km", store="d")
georadius("geo", 15, 37, 200000)
georadiusbymember("geo", "Palermo", 200, "km", withdist=True)
geosearch("geo", member="Palermo", radius=200, unit="km")
geosearch("geo", longitude=15, latitude=37, width=400, height=400, unit="km", sort="DESC", withdist=True)
geosearch("geo", longitude=15, latitude=37, radius=400, unit="km", count=1, withhash=True, withcoord=True)
geosearch("geo", radius=1)
geosearch("geo", member="Palermo", longitude=1, latitude=1, radius=1)
geosearchstore("d", "geo", member="Palermo", radius=200, unit="km")
# Streams
xack("stream", "group", "1-1")
xadd("stream", {"a": 1}, id="9-1")
xadd("stream", {"a": 1}, id="9-1", maxlen=1, approximate=False)
xadd("missing", {"a": 1}, nomkstream=True)
xadd("stream", {})
xadd("stream", {"a": 1}, id="9-1", minid="2-0", limit=10)
xautoclaim("stream", "group", "thief", 0)
xautoclaim("stream", "group", "thief", 0, start_id="1-1", count=1, justid=True)
xclaim("stream", "group", "thief", 0, ["1-1", "2-1"])
xclaim("stream", "group", "thief", 0, ["1-1"], justid=True)
xclaim("stream", "group", "thief", 0, ("1-1",), idle=5, retrycount=2, force=True)
xdel("stream", "1-1", "7-7")
xgroup_create("stream", "g2")
xgroup_create("new", "g2", id="0", mkstream=True, entries_read=1)
xgroup_create("stream", "group")
xgroup_createconsumer("stream", "group", "c2")
xgroup_delconsumer("stream", "group", "worker")
xgroup_destroy("stream", "group")
xgroup_setid("stream", "group", "0")
xinfo_groups("stream")
xinfo_stream("stream")
xlen("stream")
xpending("stream", "group")
xpending("missing", "group")
xrange("stream")
xrange("stream", min="2", max="3", count=1)
xread({"stream": "0"})
xread({"stream": "0", "missing": "0"}, count=1)
xread({"missing": "0"})
xreadgroup("group", "worker", {"stream": ">"})
xreadgroup("group", "worker", {"stream": "0"}, count=1, noack=True)
xrevrange("stream", count=1)
xtrim("stream", maxlen=1, approximate=False)
xtrim("stream", minid="2", limit=5)
xtrim("stream")
# Scripts and functions
eval(SCRIPT, 1, "k", "a")
eval("return redis.error_reply('MY error')", 0)
eval_ro(SCRIPT, 1, "k", "a")
evalsha("0" * 40, 0)
evalsha(r.script_load(SCRIPT), 1, "k", "a")
evalsha_ro(r.script_load(SCRIPT), 1, "k", "a")
function_load(LIBRARY)
function_load(LIBRARY, replace=True)
fcall("f", 0, "x")
fcall_ro("f", 0, "x")
function_list()
function_list("mylib", withcode=True)
function_dump()
function_restore(r.function_dump(), "REPLACE")
function_delete("mylib")
function_flush()
script_exists("0" * 40, r.script_load(SCRIPT))
script_flush("SYNC")
script_flush()
script_kill()
script_load(SCRIPT)
# Publishing
publish("channel", "m")
spublish("channel", "m")
pubsub_channels()
pubsub_numpat()
pubsub_numsub("a", "b")
pubsub_shardchannels()
pubsub_shardnumsub("a")
# Connection and server
client_getname()
client_setname("me")
client_getredir()
client_kill("127.0.0.1:1")
client_kill_filter(_id=99999999)
client_kill_filter()
client_no_evict("ON")
client_pause(1)
client_pause(1, all=False)
client_unpause()
client_unblock(99999999)
echo("e")
ping()
acl_cat()
acl_cat("hash")
acl_deluser("nobody")
acl_dryrun("default", "get", "k")
acl_getuser("default")
acl_getuser("nobody")
acl_list()
acl_log()
acl_log_reset()
acl_users()
acl_whoami()
command_getkeys("MSET", "a", 1, "b", 2)
command_getkeysandflags("LMOVE", "a", "b", "left", "right")
command_list(category="geo")
config_get("maxmemory-policy")
config_get("maxmemory", "hz*")
config_set("maxmemory-samples", 5)
config_set("maxmemory-samples", 5, "slowlog-max-len", 128)
config_resetstat()
dbsize()
execute_command("CONFIG GET", "save")
execute_command("GET", "text")
execute_command("set", "k", "v")
execute_command("NOSUCH")
execute_command("CLIENT", "GETNAME")
latency_history("command")
latency_latest()
latency_reset()
memory_purge()
memory_usage("text")
memory_usage("list", samples=0)
memory_usage("missing")
module_list()
role()
slowlog_reset()
swapdb(0, 1)
flushdb()
flushdb(asynchronous=True)
flushall()
get("hash")
"""

#: Calls whose values change by themselves: their types and keys are compared.
ALIKE = """
slowlog_len()
slowlog_get(1)
lastsave()
command_count()
acl_genpass()
acl_genpass(64)
bgrewriteaof()
client_id()
client_info()
client_list()
client_list(_type="normal")
client_list(client_id=[1, 2, 3])
command()
info()
info("server")
info("server", "clients")
info("commandstats")
lolwut()
lolwut(5, 1)
memory_malloc_stats()
memory_stats()
randomkey()
time()
xinfo_consumers("stream", "group")
xinfo_stream("stream", full=True)
xpending_range("stream", "group", "-", "+", 10)
xpending_range("stream", "group", "-", "+", 10, consumername="worker", idle=0)
zrandmember("zset", 2, withscores=True)
hrandfield("hash", -3, withvalues=True)
bgsave()
"""


@contextlib.contextmanager
def running(*options: str) -> Iterator[Server]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--slowlog-log-slower-than", "0"]
    folder = tempfile.TemporaryDirectory()
    process = subprocess.Popen([*command, *options, "--dir", folder.name], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield Server(port)
    finally:
        process.terminate()
        process.wait()
        folder.cleanup()


@pytest.fixture(scope="module", params=["resp3", "resp2"])
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """A server each; ours speaks RESP2 where it knows no HELLO."""
    options = ("--rename-command", "HELLO", "") if request.param == "resp2" else ()
    with running() as theirs, running(*options) as ours:
        yield theirs, ours


@pytest.fixture(scope="module", params=[False, True], ids=["bytes", "str"])
def clients(
    request: pytest.FixtureRequest, servers: tuple[Server, Server]
) -> Iterator[tuple[redis.Redis, respass.Redis[Any]]]:
    theirs = redis.Redis(port=servers[0].port, decode_responses=request.param)
    with respass.Redis(port=servers[1].port, decode_responses=request.param) as ours:
        yield theirs, ours
    theirs.close()


def prepare(client: Any) -> None:
    client.flushall()
    client.script_flush()
    client.function_flush()
    client.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    for command in DATA:
        client.execute_command(*command)


def outcome(call: Call, client: Any) -> Any:
    prepare(client)
    try:
        value = call(client)
    except Exception as error:
        return type(error).__name__
    return (type(value), value)


def ordered(value: Any) -> Any:
    """Members of hash tables come in an order that differs from server to server."""
    if isinstance(value, tuple):
        return tuple(ordered(part) for part in value)
    return sorted(value) if isinstance(value, list) else value


def texts(value: Any) -> Any:
    """Scores that redis-py leaves as bytes beside text."""
    if isinstance(value, (list, tuple)):
        return [texts(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def likeness(value: Any) -> Any:
    """What stays the same: types, and the names of fields."""
    if isinstance(value, dict):
        return {key: likeness(item) for key, item in value.items()} if len(value) < 400 else type(value)
    if isinstance(value, (list, tuple)):
        return type(value), {repr(likeness(item)) for item in value}
    return type(value)


@pytest.mark.parametrize(("line", "call"), list(calls()), ids=[line for line, _ in calls()])
def test_values_and_errors_are_those_of_redis_py(
    clients: tuple[redis.Redis, respass.Redis[Any]], line: str, call: Call
) -> None:
    theirs, ours = (outcome(call, client) for client in clients)
    if line.startswith(("zdiff(", "zmpop(")):
        assert texts(ours) == texts(theirs)
    elif line.startswith(("scan(", "acl_cat(", "command_list(")):
        assert ordered(ours) == ordered(theirs)
    else:
        assert ours == theirs


@pytest.mark.parametrize("line", [line for line in ALIKE.strip().splitlines()])
def test_values_that_change_by_themselves_are_of_the_same_types(
    clients: tuple[redis.Redis, respass.Redis[Any]], line: str
) -> None:
    theirs, ours = (outcome(eval(f"lambda r: r.{line}"), client) for client in clients)
    if line == "command()":
        for table in (theirs[1], ours[1]):
            for facts in table.values():
                # Nested tables are as the protocol gives them.
                del facts["subcommands"], facts["key_specifications"]
            table.pop("hello", None)
    if line.startswith(("zrandmember", "hrandfield")):
        theirs, ours = texts(theirs), texts(ours)
    assert ours[0] is theirs[0] or ours[0] == theirs[0]
    assert likeness(ours[1]) == likeness(theirs[1])
