//! What each profile's Redis is: its version, its texts, and what it refuses.

mod rig;

use rig::{Client, Emulator, encode};
use serde_json::json;

const NO_CLUSTER: &str = "-ERR This instance has cluster support disabled";
const CROSSSLOT: &str = "-CROSSSLOT Keys in request don't hash to the same slot";

fn ask(client: &mut Client, line: &str) -> String {
    client.ask(&line.split(' ').collect::<Vec<_>>())
}

fn acr() -> Emulator {
    Emulator::with(&["--profile", "acr-single"])
}

#[test]
fn a_proxy_over_shards_splits_six_commands_and_refuses_the_rest() {
    let emulator = Emulator::with(&["--profile", "amr-enterprise", "--shards", "3"]);
    let mut client = emulator.log_in(60);
    assert_eq!(ask(&mut client, "MSET a 1 b 2"), "+OK");
    assert_eq!(ask(&mut client, "MGET a b"), "*[$1 $2]");
    for command in ["EXISTS a b", "TOUCH a b", "UNLINK a b"] {
        assert_eq!(ask(&mut client, command), ":2", "{command}");
    }
    assert_eq!(ask(&mut client, "DEL a b"), ":0");
    for command in ["MSETNX a 1 b 2", "SUNION a b", "RENAME a b", "EVAL return(1) 2 a b", "BLPOP a b 1"] {
        assert_eq!(ask(&mut client, command), CROSSSLOT, "{command}");
    }
    assert_eq!(ask(&mut client, "MSETNX {x}a 1 {x}b 2"), ":1");
    assert_eq!(emulator.connect().ask(&["SUNION", "a", "b"]), "-NOAUTH Authentication required.");
}

#[test]
fn a_transaction_behind_a_proxy_stays_in_one_slot() {
    let emulator = Emulator::with(&["--profile", "amr-enterprise"]);
    let mut client = emulator.log_in(60);
    for (lines, last) in [
        (&["MULTI", "SET {x}a 1", "GET {x}b", "EXEC"][..], "*[+OK _]"),
        (&["MULTI", "SET a 1", "SET b 1"], CROSSSLOT),
        (&["EXEC"], "-EXECABORT Transaction discarded because of previous errors."),
        (&["WATCH a", "MULTI", "SET b 1"], CROSSSLOT),
        (&["DISCARD"], "+OK"),
        (&["WATCH a", "UNWATCH", "MULTI", "SET b 1"], "+QUEUED"),
        (&["DEL a b"], CROSSSLOT),
        (&["DISCARD"], "+OK"),
        (&["DEL a b"], ":0"),
    ] {
        let replies: Vec<String> = lines.iter().map(|line| ask(&mut client, line)).collect();
        assert_eq!(replies.last().map(String::as_str), Some(last), "{lines:?}");
    }
}

#[test]
fn what_nobody_published_about_managed_redis_can_be_switched() {
    let unknown = "-ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS' ";
    let modes =
        [("disabled", NO_CLUSTER), ("unknown", unknown), ("not-allowed", "-ERR command is not allowed")];
    for (mode, text) in modes {
        let emulator = Emulator::with(&["--profile", "amr-enterprise", "--cluster-refusal", mode]);
        assert_eq!(emulator.log_in(60).ask(&["CLUSTER", "SLOTS"]), text);
    }
    let refuses = Emulator::start();
    let text = "-ERR unknown command 'SELECT', with args beginning with: '1' ";
    assert_eq!(refuses.log_in(60).ask(&["SELECT", "1"]), text);
    let ignores = Emulator::with(&["--select", "ignore"]);
    let mut client = ignores.log_in(60);
    assert_eq!(ask(&mut client, "SET k v"), "+OK");
    assert_eq!(ask(&mut client, "SELECT 7"), "+OK");
    assert_eq!(ask(&mut client, "GET k"), "$v");
}

#[test]
fn managed_redis_is_a_7_4_and_refuses_subcommands_as_unknown() {
    let emulator = Emulator::start();
    let mut client = emulator.log_in(60);
    assert_eq!(ask(&mut client, "ACL SETUSER x on"), "-ERR unknown subcommand 'SETUSER'. Try ACL HELP.");
    assert_eq!(ask(&mut client, "client Pause 1"), "-ERR unknown subcommand 'Pause'. Try CLIENT HELP.");
    assert!(ask(&mut client, "INFO server").contains("redis_version:7.4.3"));
    let reply = emulator.connect().ask(&["HELLO", "3"]);
    assert!(reply.contains("HELLO <proto> AUTH <user> <pass>"), "{reply}");

    let mut reader = emulator.log_in_as("reader");
    let text =
        format!("-NOPERM User {} has no permissions to run the 'set' command", emulator.oid_of("reader"));
    assert_eq!(ask(&mut reader, "SET k v"), text);
}

#[test]
fn cache_for_redis_is_a_6_0() {
    let emulator = acr();
    assert_eq!(emulator.ready["profile"], "acr-single");
    let mut client = emulator.log_in(60);
    assert!(ask(&mut client, "INFO server").contains("redis_version:6.0.20"));
    let greeting =
        emulator.connect().ask(&["HELLO", "2", "AUTH", emulator.oid(), &emulator.token(&json!({}))]);
    assert!(greeting.contains("$version $6.0.20"), "{greeting}");
    for (command, reply) in [
        ("GETEX k EX 1", "-ERR unknown command `GETEX`, with args beginning with: `k`, `EX`, `1`, "),
        ("RESET", "-ERR unknown command `RESET`, with args beginning with: "),
        ("CONFIG GET save", "-ERR unknown command `CONFIG`, with args beginning with: `GET`, `save`, "),
        ("SELECT 5", "+OK"),
        ("SET k v", "+OK"),
        ("SET k v GET", "-ERR syntax error"),
        ("LPOP k 2", "-ERR wrong number of arguments for 'lpop' command"),
        ("ZRANGE k 0 -1 REV", "-ERR syntax error"),
        ("CLUSTER SLOTS", NO_CLUSTER),
        ("READONLY", NO_CLUSTER),
        ("CLIENT INFO", "-ERR Unknown subcommand or wrong number of arguments for 'INFO'. Try CLIENT HELP"),
        ("CLIENT SETNAME n", "+OK"),
        ("GETEX k\r\n+OK", "-ERR unknown command `GETEX`, with args beginning with: `k  +OK`, "),
        ("HELLO", "-ERR wrong number of arguments for 'hello' command"),
        ("AUTH x y", "-WRONGPASS invalid username-password pair"),
        ("SUBSCRIBE AzureRedisEvents", ">[$subscribe $AzureRedisEvents :1]"),
    ] {
        assert_eq!(ask(&mut client, command), reply, "{command}");
    }
    let mut old = emulator.connect();
    let token = emulator.token(&json!({}));
    assert_eq!(old.ask(&["AUTH", emulator.oid(), &token]), "+OK");
    assert_eq!(ask(&mut old, "SUBSCRIBE a"), "*[$subscribe $a :1]");
    let refusal = "-ERR Can't execute 'auth': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT \
                   are allowed in this context";
    assert_eq!(old.ask(&["AUTH", emulator.oid(), &token]), refusal);
}

#[test]
fn a_refused_command_keeps_its_place_and_spoils_its_transaction() {
    let emulator = acr();
    let mut client = emulator.log_in(60);
    let token = emulator.token(&json!({}));
    let mut commands = Vec::new();
    for line in ["ECHO 1", "GETEX k", "ECHO 2", "MULTI", "GETEX k", "SET k v GET", "EXEC", "MULTI"] {
        commands.extend(encode(&line.split(' ').collect::<Vec<_>>()));
    }
    commands.extend(encode(&["AUTH", emulator.oid(), &token]));
    commands.extend(encode(&["AUTH", emulator.oid(), "bad"]));
    commands.extend(encode(&["EXEC"]));
    client.send(&commands);
    let unknown = "-ERR unknown command `GETEX`, with args beginning with: `k`, ";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    let nested = "*[+OK -WRONGPASS invalid username-password pair]";
    for wanted in
        ["$1", unknown, "$2", "+OK", unknown, "+QUEUED", aborted, "+OK", "+QUEUED", "+QUEUED", nested]
    {
        assert_eq!(client.reply(), wanted);
    }
}
