//! Who may do what: access policies, assignments that come and go, and the access key.

mod rig;

use rig::{Client, Emulator};
use serde_json::{Value, json};

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair";

fn ask(client: &mut Client, line: &str) -> String {
    client.ask(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn the_policies_of_cache_for_redis_have_the_rights_of_6_0() {
    let emulator = Emulator::with(&["--profile", "acr-single"]);
    let mut clients = ["owner", "contributor", "reader"].map(|name| emulator.log_in_as(name));
    // Command, and whether owner, contributor and reader may run it.
    for (command, allowed) in [
        ("CLIENT SETNAME n", [true, false, true]),
        ("CLIENT ID", [true, false, true]),
        ("PING", [true, true, true]),
        ("ECHO x", [true, true, true]),
        ("HELLO 3 SETNAME n", [true, true, true]),
        ("CLUSTER SLOTS", [true, true, true]),
        ("CLUSTER INFO", [true, true, true]),
        ("CLUSTER SHARDS", [true, false, false]),
        ("CLUSTER MYID", [true, false, false]),
        ("INFO", [true, false, false]),
        ("FLUSHDB", [true, false, false]),
        ("KEYS none*", [true, false, true]),
        ("ROLE", [true, false, true]),
        ("READONLY", [true, true, false]),
        ("ASKING", [true, true, false]),
        ("SELECT 0", [true, true, false]),
        ("WAIT 0 0", [true, true, false]),
        ("WATCH k", [true, true, false]),
        ("UNWATCH", [true, true, false]),
        ("EVAL return(1) 0", [true, true, false]),
        ("PUBLISH a b", [true, true, false]),
        ("SUBSCRIBE a", [true, true, false]),
        ("SET k v", [true, true, false]),
        ("GET k", [true, true, true]),
        ("MULTI", [true, true, false]),
    ] {
        for (client, allowed) in clients.iter_mut().zip(allowed) {
            let reply = ask(client, command);
            let name = command.split(' ').next().unwrap_or_default().to_lowercase();
            let refusal =
                format!("-NOPERM this user has no permissions to run the '{name}' command or its subcommand");
            assert_eq!(reply == refusal, !allowed, "{command}: {reply}");
        }
    }
}

#[test]
fn an_assignment_comes_and_goes_at_run_time() {
    let emulator = Emulator::start();
    let oid = emulator.oid_of("unassigned").to_owned();
    let token = emulator.token(&json!({ "oid": oid }));
    let login = |client: &mut Client| client.ask(&["AUTH", &oid, &token]);
    let mut client = emulator.connect();
    assert!(login(&mut client).starts_with("-WRONGPASS"));
    assert_eq!(emulator.stats()["auth_refusals"]["no_assignment"], 1);

    assert_eq!(emulator.assign(&oid, Some("+get +hello ~a*")).status, 200);
    assert_eq!(login(&mut client), "+OK");
    assert_eq!(ask(&mut client, "GET apple"), "_");
    assert_eq!(ask(&mut client, "GET pear"), "-NOPERM No permissions to access a key");
    assert_eq!(emulator.assign(&oid, Some("default")).status, 200);
    assert_eq!(ask(&mut client, "SET pear 1"), "+OK", "new rights reach live connections");

    assert_eq!(emulator.assign(&oid, None).status, 200);
    assert_eq!(client.next(), None);
    assert!(login(&mut emulator.connect()).starts_with("-WRONGPASS"));
    assert_eq!(emulator.stats()["closed"]["assignment_revoked"], 1);
}

#[test]
fn a_policy_that_is_none_is_refused_with_the_servers_words() {
    let error = |profile: &str, policy: &str| {
        let emulator = Emulator::with(&["--profile", profile]);
        let answer = emulator.assign(emulator.oid(), Some(policy));
        assert_eq!(answer.status, 400);
        assert_eq!(emulator.log_in(60).ask(&["SET", "k", "v"]), "+OK", "the old policy stands");
        answer.json()["error"].as_str().expect("a text").to_owned()
    };
    let unknown = "InvalidAccessString: ERR Error in ACL SETUSER modifier '+@nonexistent': \
                   Unknown command or category name in ACL";
    assert_eq!(error("amr-nocluster", "+@nonexistent"), unknown);
    assert_eq!(error("acr-single", "+@nonexistent"), unknown);
    assert!(error("amr-nocluster", "+get >password").ends_with("'>password': Syntax error"));
    assert!(error("amr-nocluster", "contributor").ends_with("'contributor': Syntax error"));
}

#[test]
fn hello_needs_a_right_on_6_0_but_a_login_does_not() {
    let emulator = Emulator::with(&["--profile", "acr-single"]);
    let oid = emulator.oid_of("unassigned").to_owned();
    assert_eq!(emulator.assign(&oid, Some("+get ~*")).status, 200);
    let token = emulator.token(&json!({ "oid": oid }));
    let mut client = emulator.connect();
    assert!(client.ask(&["HELLO", "3", "AUTH", &oid, &token]).starts_with('%'), "judged as the default user");
    let refusal = "-NOPERM this user has no permissions to run the 'hello' command or its subcommand";
    assert_eq!(client.ask(&["HELLO", "3"]), refusal);
    assert_eq!(client.ask(&["HELLO", "3", "AUTH", &oid, &token]), refusal);
    assert_eq!(client.ask(&["AUTH", &oid, &token]), "+OK");
}

#[test]
fn a_revoked_assignment_ends_its_connections_and_no_others() {
    let emulator = Emulator::start();
    let (mut owner, mut reader) = (emulator.log_in_as("owner"), emulator.log_in_as("reader"));
    emulator.strike(&json!({ "kind": "revoke-assignment" }));
    assert_eq!(owner.next(), None);
    assert_eq!(ask(&mut reader, "GET k"), "_");
    let token = emulator.token(&Value::Null);
    let mut client = emulator.connect();
    assert!(client.ask(&["AUTH", emulator.oid(), &token]).starts_with("-WRONGPASS"));
    assert_eq!(emulator.fault(&json!({ "kind": "revoke-assignment" })).status, 400, "nothing to revoke");
    emulator.strike(&json!({ "kind": "clear" }));
    assert_eq!(client.ask(&["AUTH", emulator.oid(), &token]), "+OK");

    let order = json!({ "kind": "revoke-assignment", "oid": emulator.oid_of("reader") });
    emulator.strike(&order);
    assert_eq!(reader.next(), None);
    assert_eq!(emulator.assign(emulator.oid_of("reader"), Some("+@read ~*")).status, 200);
    emulator.log_in_as("owner");
}

#[test]
fn the_access_key_logs_in_until_keys_are_off_and_then_all_connections_end() {
    let emulator = Emulator::with(&["--profile", "acr-single"]);
    let key = emulator.text("access_key").to_owned();
    let mut by_key = emulator.connect();
    assert_eq!(by_key.ask(&["AUTH", "wrong"]), WRONGPASS);
    assert_eq!(by_key.ask(&["AUTH", &key]), "+OK");
    assert_eq!(ask(&mut by_key, "SET k v"), "+OK");
    let mut by_token = emulator.log_in(60);
    let mut idle = emulator.connect();
    assert!(idle.ask(&["HELLO", "3", "AUTH", "default", &key]).starts_with('%'));
    let stats = emulator.stats();
    assert_eq!(stats["connections"][0]["oid"], "default");
    assert_eq!(stats["connections"][0]["token_exp"], Value::Null);

    emulator.strike(&json!({ "kind": "disable-keys" }));
    for client in [&mut by_key, &mut by_token, &mut idle] {
        assert_eq!(client.next(), None);
    }
    assert_eq!(emulator.stats()["closed"]["keys_disabled"], 3);
    assert_eq!(emulator.connect().ask(&["AUTH", &key]), WRONGPASS);
    emulator.log_in(60);
    emulator.strike(&json!({ "kind": "clear" }));
    assert_eq!(emulator.connect().ask(&["AUTH", "default", &key]), "+OK");
}

#[test]
fn managed_redis_has_no_access_key_unless_asked_for() {
    let without = Emulator::start();
    assert_eq!(without.ready["access_key"], Value::Null);
    let mut client = without.log_in(60);
    without.strike(&json!({ "kind": "disable-keys" }));
    assert_eq!(client.next(), None, "whatever it logged in with");
    let with = Emulator::with(&["--access-keys", "on"]);
    assert_eq!(with.connect().ask(&["AUTH", with.text("access_key")]), "+OK");
    let off = Emulator::with(&["--profile", "acr-single", "--access-keys", "off"]);
    assert_eq!(off.ready["access_key"], Value::Null);
}
