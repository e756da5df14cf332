//! What goes wrong with clusters when an admin wants it to.

mod rig;

use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rig::{Client, Emulator, encode, within};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

/// One of each, for one test at a time; each finds it without faults.
fn lend(emulator: &'static OnceLock<Mutex<Emulator>>, profile: &str) -> MutexGuard<'static, Emulator> {
    let shared = emulator.get_or_init(|| Mutex::new(Emulator::with(&["--profile", profile])));
    let emulator = shared.lock().unwrap_or_else(|broken| broken.into_inner());
    emulator.strike(&json!({ "kind": "clear" }));
    emulator
}

fn amr() -> MutexGuard<'static, Emulator> {
    static EMULATOR: OnceLock<Mutex<Emulator>> = OnceLock::new();
    lend(&EMULATOR, "amr-oss")
}

fn acr() -> MutexGuard<'static, Emulator> {
    static EMULATOR: OnceLock<Mutex<Emulator>> = OnceLock::new();
    lend(&EMULATOR, "acr-cluster")
}

fn ask(client: &mut Client, line: &str) -> String {
    client.ask(&line.split(' ').collect::<Vec<_>>())
}

fn over(emulator: &Emulator) {
    assert!(within(SOON, || emulator.stats()["operations_running"] == 0), "the operation ends");
}

/// Slot 3300, of shard 0.
const KEY: &str = "b";

#[test]
fn a_closed_node_is_gone_for_a_while_and_the_others_are_not() {
    let emulator = amr();
    let port = emulator.node_port(1);
    let (mut struck, mut other) = (emulator.log_in_to(1), emulator.log_in_to(0));
    emulator.strike(&json!({ "kind": "close-node", "node": 1, "seconds": 0.5 }));
    assert_eq!(struck.next(), None);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    assert_eq!(ask(&mut other, "PING"), "+PONG");
    assert!(within(SOON, || emulator.log_in_at(port).is_ok()), "it is back at its port");
    emulator.strike(&json!({ "kind": "close-node", "node": "seed" }));
    emulator.log_in(60);
    emulator.strike(&json!({ "kind": "close-node", "node": "seed", "seconds": 60 }));
    assert!(emulator.connect_as("localhost").is_err());
    emulator.strike(&json!({ "kind": "clear" }));
    emulator.log_in(60);
    assert_eq!(emulator.fault(&json!({ "kind": "close-node", "node": 3 })).status, 400);
}

#[test]
fn a_retired_node_is_replaced_and_may_stay_listed() {
    for lend in [amr, acr] {
        let emulator = lend();
        let (old, mut client) = (emulator.node_port(0), emulator.log_in_to(0));
        let mut observer = emulator.log_in_to(2);
        emulator.strike(&json!({ "kind": "retire-node", "node": 0, "stale_seconds": 0.6 }));
        assert_eq!(client.next(), None);
        assert!(TcpStream::connect(("127.0.0.1", old)).is_err(), "its port is closed for good");
        let new = emulator.node_port(0);
        assert_ne!(old, new);
        assert_eq!(emulator.node(0)["listed_port"], old);
        let moved = |port| format!("-MOVED 3300 127.0.0.2:{port}");
        assert_eq!(ask(&mut observer, "GET b"), moved(old), "it is still listed");
        assert!(within(SOON, || ask(&mut observer, "GET b") == moved(new)));
        assert!(ask(&mut observer, "CLUSTER SLOTS").contains(&format!(":{new} ")));
        assert!(emulator.log_in_to(0).ask(&["SET", KEY, "1"]) == "+OK", "the shard goes on");
        emulator.strike(&json!({ "kind": "retire-node", "node": "seed", "seconds": 0.2 }));
        assert!(emulator.connect_as("localhost").is_err());
        assert!(within(SOON, || emulator.connect_as("localhost").is_ok()), "the seed comes back");
    }
}

#[test]
fn a_failover_of_managed_redis_is_a_cut_and_keeps_port_and_data() {
    let emulator = amr();
    let (port, mut other) = (emulator.node_port(0), emulator.log_in_to(1));
    for mode in ["planned", "takeover"] {
        let (mut struck, mut seed) = (emulator.log_in_to(0), emulator.log_in(60));
        assert_eq!(ask(&mut struck, &format!("SET b {mode}")), "+OK");
        assert_eq!(ask(&mut struck, "WAIT 1 5000"), ":1", "there is a real replica");
        let run_id = |client: &mut Client| {
            let info = ask(client, "INFO server");
            info.lines().find(|line| line.starts_with("run_id:")).expect("a run id").to_owned()
        };
        let before = run_id(&mut struck);
        emulator.strike(&json!({ "kind": "failover", "shard": 0, "seconds": 0.3, "mode": mode }));
        assert_eq!((struck.next(), seed.next()), (None, None), "{mode}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{mode}");
        assert!(ask(&mut other, "GET b").ends_with(&format!(":{port}")), "{mode}");
        over(&emulator);
        let mut again = emulator.log_in_to(0);
        assert_eq!(ask(&mut again, "GET b"), format!("${mode}"));
        assert_eq!(ask(&mut again, "SET b 2"), "+OK", "{mode}");
        assert_ne!(run_id(&mut again), before, "another server");
        assert_eq!(emulator.node_port(0), port);
    }
}

#[test]
fn a_failover_of_cache_for_redis_swaps_roles() {
    let emulator = acr();
    let [old, new] = if emulator.node(0)["role"] == "primary" { [0, 1] } else { [1, 0] };
    let (mut former, mut later) = (emulator.log_in_to(old), emulator.log_in_to(new));
    let mut blocked = emulator.log_in_to(old);
    assert_eq!(ask(&mut former, "SET b 1"), "+OK");
    blocked.send(&encode(&["BLPOP", "{b}list", "0"]));
    assert!(blocked.is_quiet(Duration::from_millis(50)));
    emulator.strike(&json!({ "kind": "failover", "shard": 0 }));
    let moved = format!("-MOVED 3300 127.0.0.2:{}", emulator.node_port(new));
    assert_eq!(ask(&mut former, "SET b 2"), moved);
    let unblocked = blocked.reply();
    assert!(unblocked.starts_with("-UNBLOCKED") || unblocked == moved, "{unblocked}");
    assert_eq!(ask(&mut later, "GET b"), "$1");
    assert_eq!(ask(&mut later, "SET b 2"), "+OK");
    let slots = ask(&mut later, "CLUSTER SLOTS");
    assert!(
        slots.starts_with(&format!("*[*[:0 :5460 *[$127.0.0.2 :{} ", emulator.node_port(new))),
        "{slots}"
    );
    assert_eq!(
        (&emulator.node(old)["role"], &emulator.node(new)["role"]),
        (&json!("replica"), &json!("primary"))
    );
    emulator.strike(&json!({ "kind": "failover", "shard": 0, "seconds": 0.3 }));
    assert_eq!(later.next(), None, "with a time the old primary goes away");
    assert_eq!(ask(&mut former, "GET b"), "$2");
    over(&emulator);
    emulator.log_in_to(new);
}

#[test]
fn a_slot_of_managed_redis_moves_at_once() {
    let emulator = amr();
    let (mut source, mut target) = (emulator.log_in_to(0), emulator.log_in_to(2));
    for number in 0..150 {
        assert_eq!(ask(&mut source, &format!("SET {{b}}{number} {number}")), "+OK");
    }
    let mut subscriber = emulator.log_in_to(0);
    assert_eq!(ask(&mut subscriber, "SSUBSCRIBE b"), ">[$ssubscribe $b :1]");
    emulator.strike(&json!({ "kind": "migrate-slot", "slot": 3300, "to": 2 }));
    assert_eq!(ask(&mut source, "GET {b}7"), format!("-MOVED 3300 127.0.0.2:{}", emulator.node_port(2)));
    for number in 0..150 {
        assert_eq!(ask(&mut target, &format!("GET {{b}}{number}")), format!("${number}"));
    }
    assert_eq!(subscriber.reply(), ">[$sunsubscribe $b :0]");
    assert_eq!(ask(&mut subscriber, "PING"), "+PONG");
    assert!(within(SOON, || ask(&mut source, "CLUSTER NODES").contains(" 3300 10922-16383")));
    assert!(ask(&mut source, "CLUSTER NODES").contains(" 0-3299 3301-5460"));
    emulator.strike(&json!({ "kind": "migrate-slot", "slot": 3300, "to": 0 }));
    assert_eq!(ask(&mut source, "GET {b}7"), "$7");
}

#[test]
fn no_command_sees_a_slot_of_managed_redis_between_two_shards() {
    let emulator = amr();
    let port_of = [0, 2].map(|node| emulator.node_port(node));
    let mut clients = [emulator.log_in_to(0), emulator.log_in_to(2)];
    assert_eq!(ask(&mut clients[0], "DEL {b}n"), ":0");
    let (mut at, mut count, mut redirects) = (0, 0, 0);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for to in [2, 0, 2, 0] {
                std::thread::sleep(Duration::from_millis(50));
                emulator.strike(&json!({ "kind": "migrate-slot", "slot": 3300, "to": to }));
            }
        });
        while !mover.is_finished() {
            match ask(&mut clients[at], "INCR {b}n") {
                reply if reply == format!(":{}", count + 1) => count += 1,
                reply => {
                    assert_eq!(reply, format!("-MOVED 3300 127.0.0.2:{}", port_of[1 - at]));
                    (at, redirects) = (1 - at, redirects + 1);
                }
            }
        }
    });
    assert_eq!(redirects, 4, "one for each move, and never round and round");
}

#[test]
fn a_slot_of_cache_for_redis_moves_key_by_key() {
    let emulator = acr();
    let primary = |shard: usize| {
        let node = if emulator.node(2 * shard)["role"] == "primary" { 2 * shard } else { 2 * shard + 1 };
        (emulator.log_in_to(node), emulator.node_port(node))
    };
    let ((mut source, old), (mut target, new)) = (primary(0), primary(1));
    assert_eq!(ask(&mut source, "MSET {b}1 1 {b}2 2 {b}3 3"), "+OK");
    emulator.strike(&json!({ "kind": "migrate-slot", "slot": 3300, "to": 1, "seconds": 1.2 }));
    let asked = format!("-ASK 3300 127.0.0.2:{new}");
    assert_eq!(ask(&mut source, "GET {b}new"), asked, "what is not there is there");
    assert_eq!(ask(&mut target, "GET {b}new"), format!("-MOVED 3300 127.0.0.2:{old}"));
    assert_eq!(ask(&mut target, "ASKING"), "+OK");
    assert_eq!(ask(&mut target, "GET {b}new"), "_");
    let line = ask(&mut source, "CLUSTER NODES");
    assert!(line.contains("[3300->-"), "{line}");
    let mut seen = Vec::new();
    assert!(within(SOON, || {
        seen.push(ask(&mut source, "MGET {b}1 {b}2 {b}3"));
        seen.last().is_some_and(|last| last.starts_with("-MOVED"))
    }));
    assert!(seen.iter().any(|reply| reply.starts_with("-TRYAGAIN ")), "{seen:?}");
    assert!(seen.contains(&"*[$1 $2 $3]".to_owned()) && seen.contains(&asked), "{seen:?}");
    over(&emulator);
    assert_eq!(ask(&mut target, "MGET {b}1 {b}2 {b}3"), "*[$1 $2 $3]");
    emulator.strike(&json!({ "kind": "migrate-slot", "slot": 3300, "to": 0 }));
    over(&emulator);
    assert_eq!(ask(&mut source, "GET {b}1"), "$1");
}

#[test]
fn commands_get_the_errors_that_the_fault_is_named_after() {
    let emulator = amr();
    let mut client = emulator.log_in_to(0);
    for (kind, struck, text, spared) in [
        ("readonly", "SET b 1", "READONLY You can't write against a read only replica.", "GET {b}x"),
        ("clusterdown", "GET b", "CLUSTERDOWN The cluster is down", "PING"),
        ("loading", "GET b", "LOADING Redis is loading the dataset in memory", "PING"),
        (
            "masterdown",
            "GET b",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "PING",
        ),
        ("tryagain", "MGET b b", "TRYAGAIN Multiple keys request during rehashing of slot", "GET {b}x"),
    ] {
        emulator.strike(&json!({ "kind": kind, "count": 1 }));
        assert!(!ask(&mut client, spared).starts_with('-'), "{kind} spares {spared}");
        assert_eq!(ask(&mut client, struck), format!("-{text}"));
        assert!(!ask(&mut client, struck).starts_with('-'), "{kind} is over");
        emulator.strike(&json!({ "kind": kind, "seconds": 0.2, "node": 1 }));
        assert!(!ask(&mut client, struck).starts_with('-'), "{kind} is elsewhere");
        emulator.strike(&json!({ "kind": kind, "seconds": 0.2 }));
        assert_eq!(ask(&mut client, struck), format!("-{text}"));
        assert!(within(SOON, || !ask(&mut client, struck).starts_with('-')), "{kind} ends in time");
    }
}

#[test]
fn redirects_can_be_wrong_in_many_ways() {
    let emulator = amr();
    let mut client = emulator.log_in_to(0);
    let [own, next, last] = [0, 1, 2].map(|node| emulator.node_port(node));
    let storm = |order: &Value| {
        let mut order = order.clone();
        order["kind"] = json!("moved-storm");
        order["count"] = json!(1);
        emulator.strike(&order);
    };
    for (order, address) in [
        (json!({}), format!("3300 127.0.0.2:{next}")),
        (json!({ "mode": "self" }), format!("3300 127.0.0.2:{own}")),
        (json!({ "mode": "empty" }), format!("3300 :{next}")),
        (json!({ "mode": "?" }), format!("3300 ?:{next}")),
        (json!({ "mode": "port0" }), "3300 127.0.0.2:0".to_owned()),
        (json!({ "mode": "unreachable" }), format!("3300 10.255.255.1:{next}")),
        (json!({ "mode": "other-slot" }), format!("3301 127.0.0.2:{next}")),
        (json!({ "mode": "foreign", "host": "evil.test", "port": 7 }), "3300 evil.test:7".to_owned()),
    ] {
        storm(&order);
        assert_eq!(ask(&mut client, "GET b"), format!("-MOVED {address}"), "{order}");
        assert!(!ask(&mut client, "GET b").starts_with('-'), "{order}");
    }
    storm(&json!({ "ask": true }));
    assert_eq!(ask(&mut client, "GET b"), format!("-ASK 3300 127.0.0.2:{next}"));
    storm(&json!({ "mode": "self" }));
    let replies = ["MULTI", "SET b 1", "EXEC"].map(|line| ask(&mut client, line));
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(replies, ["+OK", &format!("-MOVED 3300 127.0.0.2:{own}"), aborted]);
    emulator.strike(&json!({ "kind": "moved-storm", "mode": "loop" }));
    let round = [0, 1, 2].map(|node| ask(&mut emulator.log_in_to(node), "GET b"));
    assert_eq!(round, [next, last, own].map(|port| format!("-MOVED 3300 127.0.0.2:{port}")));
    assert_eq!(emulator.fault(&json!({ "kind": "moved-storm", "mode": "sideways" })).status, 400);
}

#[test]
fn a_half_open_node_is_silent_for_new_connections_too() {
    let emulator = amr();
    let (port, mut client, mut other) = (emulator.node_port(1), emulator.log_in_to(1), emulator.log_in_to(0));
    emulator.strike(&json!({ "kind": "half-open", "node": 1 }));
    client.send(&encode(&["PING"]));
    assert!(client.is_quiet(Duration::from_millis(100)));
    assert_eq!(ask(&mut other, "PING"), "+PONG");
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("TCP is fine");
    tcp.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    assert!(std::io::Read::read(&mut tcp, &mut [0; 1]).is_err(), "no word and no end");
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            emulator.strike(&json!({ "kind": "clear" }));
        });
        emulator.log_in_to(1);
    });
    assert!(started.elapsed() >= Duration::from_millis(300), "it waited for the end of the silence");
    assert_eq!(client.reply(), "+PONG");
}

#[test]
fn every_connection_of_every_node_can_be_cut_at_once() {
    for lend in [amr, acr] {
        let emulator = lend();
        for (kind, cause) in [("disable-keys", "keys_disabled"), ("close-all", "close_all")] {
            let mut clients = [0, 1, 2].map(|node| emulator.log_in_to(node));
            let before = emulator.stats()["closed"][cause].as_u64().unwrap_or(0);
            emulator.strike(&json!({ "kind": kind }));
            assert!(clients.iter_mut().all(|client| client.next().is_none()));
            assert!(emulator.stats()["closed"][cause].as_u64().unwrap_or(0) >= before + 3, "{kind}");
        }
    }
}

#[test]
fn tokens_expire_on_every_node() {
    let emulator = amr();
    let token = emulator.token(&json!({ "ttl": 1 }));
    let mut clients = [0, 1, 2].map(|node| emulator.log_in_to(node));
    let kept = emulator.log_in_to(0).ask(&["PING"]);
    for client in &mut clients {
        assert!(client.ask(&["AUTH", emulator.oid(), &token]) == "+OK");
    }
    assert!(clients.iter_mut().all(|client| client.next().is_none()));
    assert_eq!(kept, "+PONG");
}

#[test]
fn new_connections_beyond_a_rate_are_closed_before_tls() {
    let emulator = amr();
    emulator.strike(&json!({ "kind": "throttle", "count": 2 }));
    let attempts = [(); 6].map(|()| emulator.connect_as("localhost").is_ok());
    let taken = attempts.iter().filter(|taken| **taken).count();
    assert!((2..=4).contains(&taken), "{attempts:?}");
    assert!(within(SOON, || emulator.connect_as("localhost").is_ok()), "the next second has its own");
    emulator.strike(&json!({ "kind": "throttle", "count": 0 }));
    assert!(emulator.connect_as("localhost").is_err());
    emulator.strike(&json!({ "kind": "clear" }));
    emulator.log_in(60);
}

#[test]
fn silence_is_cut_on_every_node() {
    let emulator = amr();
    let mut silent = emulator.log_in_to(2);
    emulator.strike(&json!({ "kind": "idle-cut", "seconds": 0.2 }));
    assert_eq!(silent.next(), None);
}

#[test]
fn maintenance_is_announced_and_happens() {
    let emulator = acr();
    let node = if emulator.node(2)["role"] == "primary" { 2 } else { 3 };
    let port = emulator.node_port(node);
    let (mut struck, mut subscriber) = (emulator.log_in_to(node), emulator.log_in_to(0));
    assert_eq!(ask(&mut subscriber, "SUBSCRIBE AzureRedisEvents"), ">[$subscribe $AzureRedisEvents :1]");
    emulator.strike(&json!({ "kind": "maintenance", "node": node, "seconds": 1.5 }));
    let rest = format!("|IsReplica|False|IPAddress||SSLPort|{port}|NonSSLPort|{}]", port - 2_000);
    for kind in ["Scheduled", "Starting", "Start", "FailoverComplete", "Ended"] {
        if kind == "FailoverComplete" {
            assert_eq!(struck.next(), None, "it was cut before");
        }
        let message = subscriber.reply();
        let begin =
            format!(">[$message $AzureRedisEvents $NotificationType|NodeMaintenance{kind}|StartTimeInUTC|20");
        assert!(message.starts_with(&begin) && message.ends_with(&rest), "{message}");
    }
    over(&emulator);
    assert_eq!(emulator.node(node)["role"], "replica", "its replica took over");
    emulator.strike(&json!({ "kind": "azure-event", "text": "anything||" }));
    assert_eq!(subscriber.reply(), ">[$message $AzureRedisEvents $anything||]");
    drop(emulator);
    assert_eq!(amr().fault(&json!({ "kind": "maintenance" })).status, 400, "AMR says nothing");
}

#[test]
fn maintenance_of_a_single_cache_cuts_its_endpoint() {
    let emulator = Emulator::with(&["--profile", "acr-single"]);
    let (mut struck, port) = (emulator.log_in(60), rig::port_of(&emulator.ready["port"]));
    emulator.strike(&json!({ "kind": "maintenance", "seconds": 1 }));
    assert_eq!(struck.next(), None);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    over(&emulator);
    emulator.log_in(60);
    for kind in ["failover", "migrate-slot", "retire-node"] {
        let order = json!({ "kind": kind, "shard": 0, "slot": 1, "to": 0, "node": 0 });
        assert_eq!(emulator.fault(&order).status, 400, "{kind} needs a cluster");
    }
}
