//! What clients see of a cluster while nothing goes wrong.

mod rig;

use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;

use rig::{Client, Emulator, encode};
use serde_json::{Value, json};

/// One of each for all tests: what they ask changes nothing.
fn amr() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| Emulator::with(&["--profile", "amr-oss"]))
}

fn acr() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| Emulator::with(&["--profile", "acr-cluster"]))
}

fn ask(client: &mut Client, line: &str) -> String {
    client.ask(&line.split(' ').collect::<Vec<_>>())
}

/// A RESP2 connection to the configured endpoint.
fn log_in_resp2(emulator: &Emulator) -> Client {
    let mut client = emulator.connect();
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &emulator.token(&Value::Null)]), "+OK");
    client
}

#[test]
fn managed_redis_tells_its_topology_in_its_own_shapes() {
    let emulator = amr();
    let [zero, one, two] = [0, 1, 2].map(|node| emulator.node_port(node));
    let mut client = log_in_resp2(emulator);
    assert_eq!(
        ask(&mut client, "CLUSTER SLOTS"),
        format!(
            "*[*[:10922 :16383 *[$127.0.0.2 :{two} $3]] *[:5461 :10921 *[$127.0.0.2 :{one} $4]] \
             *[:0 :5460 *[$127.0.0.2 :{zero} $5]]]"
        )
    );
    let shard = |first, last, id, ip, port| {
        format!(
            "*[$slots *[:{first} :{last}] $nodes *[*[$id ${id} $tls-port :{port} $ip $10.0.0.{ip} \
             $endpoint $127.0.0.2 $hostname $ $role $master $replication-offset :0 $health $online]]]"
        )
    };
    let shards =
        [shard(10_922, 16_383, 3, 7, two), shard(5_461, 10_921, 4, 6, one), shard(0, 5_460, 5, 5, zero)];
    assert_eq!(ask(&mut client, "CLUSTER SHARDS"), format!("*[{}]", shards.join(" ")));
    assert_eq!(
        ask(&mut client, "CLUSTER NODES"),
        format!(
            "$3 127.0.0.2:{two} master - 0 0 0 connected 10922-16383\n\
             4 127.0.0.2:{one} master - 0 0 0 connected 5461-10921\n\
             5 127.0.0.2:{zero} myself,master - 0 0 0 connected 0-5460\n"
        )
    );
    let info = ask(&mut client, "CLUSTER INFO");
    assert!(info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3\r\n"), "{info}");
    assert_eq!(ask(&mut client, "CLUSTER KEYSLOT foo"), ":12182");
    let of_the_last = ask(&mut emulator.log_in_to(2), "CLUSTER NODES");
    assert!(of_the_last.contains("myself,master - 0 0 0 connected 10922-16383"), "{of_the_last}");
}

#[test]
fn resp3_has_maps_and_texts() {
    let mut client = amr().log_in(60);
    client.send(&encode(&["CLUSTER", "SHARDS"]));
    let port = amr().node_port(0);
    let end = format!(
        "%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5460\r\n$5\r\nnodes\r\n*1\r\n%8\r\n$2\r\nid\r\n$1\r\n5\r\n\
         $8\r\ntls-port\r\n:{port}\r\n$2\r\nip\r\n$8\r\n10.0.0.5\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.2\r\n\
         $8\r\nhostname\r\n$0\r\n\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n\
         $6\r\nhealth\r\n$6\r\nonline\r\n"
    );
    assert!(client.bytes_until(end.as_bytes()).starts_with(b"*3\r\n%2\r\n"));
    client.send(&encode(&["CLUSTER", "NODES"]));
    assert!(client.bytes_until(b"0-5460\n\r\n").starts_with(b"=1"), "a verbatim string");
}

#[test]
fn managed_redis_refuses_what_it_does_not_have() {
    let mut client = log_in_resp2(amr());
    for (command, reply) in [
        ("READONLY", "-ERR unknown command 'READONLY', with args beginning with: "),
        ("READWRITE", "-ERR unknown command 'READWRITE', with args beginning with: "),
        ("ASKING", "-ERR unknown command 'ASKING', with args beginning with: "),
        ("RESET", "-ERR unknown command 'RESET', with args beginning with: "),
        ("ROLE", "-ERR unknown command 'ROLE', with args beginning with: "),
        ("REPLCONF a", "-ERR unknown command 'REPLCONF', with args beginning with: 'a' "),
        ("PSYNC a 1", "-ERR unknown command 'PSYNC', with args beginning with: 'a' '1' "),
        ("MIGRATE a", "-ERR unknown command 'MIGRATE', with args beginning with: 'a' "),
        ("CLUSTER MYID", "-ERR unknown subcommand 'MYID'. Try CLUSTER HELP."),
        ("CLUSTER REPLICAS 3", "-ERR unknown subcommand 'REPLICAS'. Try CLUSTER HELP."),
        ("CLUSTER Setslot 1 STABLE", "-ERR unknown subcommand 'Setslot'. Try CLUSTER HELP."),
        ("CLIENT PAUSE 1", "-ERR unknown subcommand 'PAUSE'. Try CLIENT HELP."),
        ("CLUSTER", "-ERR wrong number of arguments for 'cluster' command"),
        ("SELECT 3", "+OK"),
        ("MULTI", "+OK"),
        ("CLUSTER SLOTS", "-ERR Command not allowed inside a transaction"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("EVAL return(redis.call('replconf')) 0", "-ERR This Redis command is not allowed from script"),
    ] {
        let got = ask(&mut client, command);
        assert!(got.starts_with(reply) && (got.len() == reply.len() || command.starts_with("EVAL")), "{got}");
    }
    assert_eq!(ask(&mut amr().connect(), "CLUSTER SLOTS"), "-NOAUTH Authentication required.");
}

#[test]
fn redirects_name_the_node_at_an_address_where_nobody_listens() {
    for emulator in [amr(), acr()] {
        let last = if emulator.text("profile") == "amr-oss" { 2 } else { 4 };
        let port = emulator.node_port(last);
        let moved = format!("-MOVED 12182 127.0.0.2:{port}");
        let mut client = emulator.log_in(60);
        assert_eq!(ask(&mut client, "GET foo"), moved);
        assert_eq!(ask(&mut client, "SUBSCRIBE a"), ">[$subscribe $a :1]");
        let lines = ["MULTI", "GET foo"].map(|line| ask(&mut client, line));
        assert_eq!(lines, ["+OK".to_owned(), moved]);
        assert_eq!(ask(&mut emulator.log_in_to(last), "SET foo 1"), "+OK");
        assert!(TcpStream::connect(("127.0.0.2", port)).is_err());
        let forged = "return {err='MOVED 12182 10.0.0.1:6379'}";
        let reply = client.ask(&["DISCARD"]) + &client.ask(&["EVAL", forged, "0"]);
        assert_eq!(reply, "+OK-MOVED 12182 10.0.0.1:6379", "what a script says is its own");
    }
}

#[test]
fn a_client_that_dials_what_it_is_told_fails() {
    let emulator = amr();
    let run = |key: &str| {
        let output = Command::new("timeout")
            .args([
                "10",
                "redis-cli",
                "-c",
                "--tls",
                "--cacert",
                emulator.text("ca_file"),
                "--sni",
                "localhost",
            ])
            .args(["-h", "localhost", "-p", &emulator.ready["port"].to_string(), "--user", emulator.oid()])
            .args(["GET", key])
            .env("REDISCLI_AUTH", emulator.token(&Value::Null))
            .output()
            .expect("redis-cli is there");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert_eq!(run("{b}none"), "\n", "where it connects first, all is well");
    let told = format!("Could not connect to Redis at 127.0.0.2:{}", emulator.node_port(2));
    assert!(run("foo").contains(&told), "{}", run("foo"));
}

#[test]
fn nothing_tells_where_the_servers_are() {
    for emulator in [amr(), acr()] {
        let mut client = log_in_resp2(emulator);
        let info = ask(&mut client, "INFO");
        assert!(info.contains("redis_mode:cluster") && info.contains("\r\nconnected_slaves:"), "{info}");
        let replication = ask(&mut emulator.log_in_to(1), "INFO replication");
        for line in info.lines().chain(replication.lines()) {
            assert!(!line.contains("127.0.0.1") && !line.starts_with("tcp_port:"), "{line}");
        }
        assert_eq!(ask(&mut client, "INFO nothing"), "$");
    }
}

#[test]
fn crossslot_is_an_error_within_a_node_too() {
    let mut client = amr().log_in(60);
    assert_eq!(ask(&mut client, "MGET b f"), "-CROSSSLOT Keys in request don't hash to the same slot");
}

#[test]
fn cache_for_redis_tells_its_topology_as_redis_6_0() {
    let emulator = acr();
    let ports: Vec<u16> = (0..6).map(|node| emulator.node_port(node)).collect();
    let mut client = emulator.log_in(60);
    let own = ask(&mut client, "CLUSTER MYID").trim_start_matches('$').to_owned();
    assert_eq!(own.len(), 40);
    let slots = ask(&mut client, "CLUSTER SLOTS");
    let first = format!("*[*[:0 :5460 *[$127.0.0.2 :{} ${own}] *[$127.0.0.2 :{} $", ports[0], ports[1]);
    assert!(slots.starts_with(&first), "{slots}");
    assert_eq!(slots.matches("$127.0.0.2").count(), 6, "replicas are listed");
    let nodes = ask(&mut client, "CLUSTER NODES");
    assert_eq!(nodes.lines().count(), 6, "{nodes}");
    for (node, port) in ports.iter().enumerate() {
        let role = if node % 2 == 0 { "master - " } else { "slave " };
        let line = nodes.lines().find(|line| line.contains(&format!(" 127.0.0.2:{port}@"))).expect("a line");
        assert!(line.contains(role) && !line.contains("nofailover"), "{line}");
    }
    let replicas = client.ask(&["CLUSTER", "REPLICAS", &own]);
    assert!(replicas.contains(&format!(" 127.0.0.2:{}@", ports[1])), "{replicas}");
    let unknown = "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.";
    assert_eq!(ask(&mut client, "CLUSTER SHARDS"), unknown);
    assert_eq!(ask(&mut client, "CLUSTER FAILOVER"), unknown.replace("SHARDS", "FAILOVER"));
    assert_eq!(ask(&mut client, "SELECT 1"), "-ERR SELECT is not allowed in cluster mode");
}

#[test]
fn replicas_of_cache_for_redis_serve_reads_when_asked_to() {
    let emulator = acr();
    assert_eq!(ask(&mut emulator.log_in_to(0), "SET b 1"), "+OK");
    let mut replica = emulator.log_in_to(1);
    let moved = format!("-MOVED 3300 127.0.0.2:{}", emulator.node_port(0));
    assert_eq!(ask(&mut replica, "GET b"), moved);
    assert_eq!(ask(&mut replica, "READONLY"), "+OK");
    assert!(rig::within(std::time::Duration::from_secs(5), || ask(&mut replica, "GET b") == "$1"));
    assert_eq!(ask(&mut replica, "SET b 2"), moved);
    assert_eq!(ask(&mut replica, "READWRITE"), "+OK");
    assert_eq!(ask(&mut replica, "GET b"), moved);
    assert_eq!(ask(&mut replica, "ASKING"), "+OK");
}

#[test]
fn policies_hold_on_every_node() {
    let emulator = acr();
    let (oid, mut owner) = (emulator.oid_of("reader"), emulator.log_in_to(4));
    let token = emulator.token(&json!({ "oid": oid }));
    assert!(owner.ask(&["HELLO", "3", "AUTH", oid, &token]).starts_with('%'));
    let refused = |name: &str| {
        format!("-NOPERM this user has no permissions to run the '{name}' command or its subcommand")
    };
    assert_eq!(ask(&mut owner, "SET foo 1"), refused("set"), "rights come before redirects");
    assert_eq!(ask(&mut owner, "READONLY"), refused("readonly"));
    assert_eq!(ask(&mut owner, "CLUSTER SHARDS"), refused("cluster"));
    assert!(ask(&mut owner, "CLUSTER SLOTS").starts_with("*[*[:0 :5460"));
}

#[test]
fn the_mode_is_cluster_and_logins_are_counted_by_node() {
    for (emulator, version) in [(amr(), "7.4.3"), (acr(), "6.0.20")] {
        let mut client = log_in_resp2(emulator);
        let greeting = ask(&mut client, "HELLO 2");
        assert!(greeting.contains(&format!("$version ${version}")) && greeting.contains("$mode $cluster"));
        let count = |stats: &Value| stats["auth_by_node"]["1"].as_u64().unwrap_or(0);
        let before = count(&emulator.stats());
        let _client = emulator.log_in_to(1);
        let stats = emulator.stats();
        assert!(count(&stats) > before);
        assert_eq!(stats["token_hosts"], json!(["localhost"]));
        let nodes = stats["connections"].as_array().expect("a list").iter().map(|one| &one["node"]);
        let nodes: Vec<&Value> = nodes.collect();
        assert!(nodes.contains(&&json!("seed")) && nodes.contains(&&json!("1")), "{nodes:?}");
    }
}
