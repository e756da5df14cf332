//! What the model servers do with each command.
//!
//! The payload that identifies a command for the ledger is the end of its key, behind a colon, or its argument; the
//! reply repeats it. Keys are not stored: only lists (for those who wait for elements) and the versions of keys that
//! are watched.

use super::channels::Kind;
use super::cluster::{Shape, Verdict};
use super::lies::Temper;
use super::server::{Blocked, Connection, Health, Key, Server};
use super::slots::slot_of;
use super::wire::Arguments;

impl Server {
    /// One command of one connection.
    pub(super) fn execute(&mut self, key: Key, connection: &mut Connection, command: Arguments, now: u64) {
        let name = name_of(&command);
        let is_subscriber = !connection.out.is_resp3 && !connection.subscriptions.0.is_empty();
        if matches!(&name[..], "HELLO" | "AUTH") {
            assert!(!is_subscriber, "B8: a login on a RESP2 subscriber");
            self.greet(connection, &command, now);
            return;
        }
        if name != "CLIENT" {
            // Anything but the set-up.
            assert!(connection.identity.is_some(), "B1: {name} before login");
        }
        if is_subscriber {
            assert!(name.ends_with("SUBSCRIBE") || name == "PING", "{name} on a RESP2 subscriber");
        }
        if connection.queued.is_some() && !matches!(&name[..], "EXEC" | "DISCARD") {
            self.queue(connection, command, now);
            return;
        }
        if connection.is_asking && connection.queued.is_none() {
            let has_keys = !keys_of(&name, &command).is_empty();
            assert!(has_keys || name == "MULTI", "C9: {name} behind ASKING");
        }
        match self.refusal(connection, &name, &command, now) {
            Some(error) => self.refuse(connection, &error),
            None => self.run_alone(key, connection, &name, &command, now),
        }
        // As in Redis: in a transaction, the flag lives until EXEC.
        if name != "ASKING" && connection.queued.is_none() {
            connection.is_asking = false;
        }
    }

    fn run_alone(
        &mut self,
        key: Key,
        connection: &mut Connection,
        name: &str,
        command: &Arguments,
        now: u64,
    ) {
        match name {
            "ASKING" => {
                assert!(self.shape() != Some(Shape::Managed), "ASKING where it is unknown");
                connection.is_asking = true;
                connection.out.simple("OK");
            }
            "CLUSTER" => {
                let what = String::from_utf8_lossy(&command[1]).to_uppercase();
                self.tell_topology(key, connection, &what, now);
            }
            "CLIENT" => connection.out.error("ERR unknown subcommand"),
            "MULTI" => {
                connection.queued = Some(Vec::new());
                connection.is_aborted = false;
                connection.out.simple("OK");
            }
            "EXEC" => self.exec(connection, now),
            "WATCH" => {
                for key in &command[1..] {
                    let version = self.versions.get(key).copied().unwrap_or_default();
                    connection.watched.push((key.clone(), version));
                }
                connection.out.simple("OK");
            }
            "UNWATCH" | "DISCARD" => {
                connection.watched.clear();
                connection.queued = None;
                connection.out.simple("OK");
            }
            "BLPOP" => self.pop_or_wait(connection, command, now),
            "SUBSCRIBE" => {
                connection.subscriptions.subscribe(Kind::Channel, &command[1..], &mut connection.out)
            }
            "PSUBSCRIBE" => {
                connection.subscriptions.subscribe(Kind::Pattern, &command[1..], &mut connection.out)
            }
            "SSUBSCRIBE" => {
                connection.subscriptions.subscribe(Kind::Shard, &command[1..], &mut connection.out)
            }
            "UNSUBSCRIBE" => {
                connection.subscriptions.unsubscribe(Kind::Channel, &command[1..], &mut connection.out);
            }
            "PUNSUBSCRIBE" => {
                connection.subscriptions.unsubscribe(Kind::Pattern, &command[1..], &mut connection.out);
            }
            "SUNSUBSCRIBE" => {
                connection.subscriptions.unsubscribe(Kind::Shard, &command[1..], &mut connection.out);
            }
            _ => self.run(connection, name, command, now),
        }
    }

    /// Commands that may be in a transaction.
    fn run(&mut self, connection: &mut Connection, name: &str, command: &Arguments, now: u64) {
        match name {
            "PING" if !connection.out.is_resp3 && !connection.subscriptions.0.is_empty() => {
                connection.out.array(2);
                connection.out.bulk("pong");
                connection.out.bulk(command.get(1).map_or(&b""[..], |nonce| nonce));
            }
            "PING" => match command.get(1) {
                Some(nonce) => connection.out.bulk(nonce),
                None => connection.out.simple("PONG"),
            },
            "ECHO" => {
                self.ledger.run(number(&command[1]));
                connection.out.bulk(&command[1]);
            }
            "GET" => {
                let payload = payload_of(&command[1]);
                self.ledger.run(payload);
                connection.out.bulk(payload.to_string());
            }
            "INCRBY" => {
                let payload = payload_of(&command[1]);
                self.ledger.run(payload);
                self.touch(&command[1]);
                connection.out.integer(payload.cast_signed());
            }
            "MGET" => {
                connection.out.array(command.len() - 1);
                for key in &command[1..] {
                    self.ledger.run(payload_of(key));
                    connection.out.bulk(payload_of(key).to_string());
                }
            }
            "DEL" | "EXISTS" => {
                command[1..].iter().for_each(|key| self.ledger.run(payload_of(key)));
                connection.out.integer(command.len() as i64 - 1);
            }
            "MSET" => {
                command[1..].chunks(2).for_each(|pair| self.ledger.run(payload_of(&pair[0])));
                connection.out.simple("OK");
            }
            "EVAL" => {
                let payload = payload_of(&command[3]);
                match command[1].strip_prefix(b"error:") {
                    Some(text) => {
                        self.ledger.run_forged(payload, connection.node);
                        connection.out.error(&String::from_utf8_lossy(text));
                    }
                    None => {
                        self.ledger.run(payload);
                        connection.out.integer(payload.cast_signed());
                    }
                }
            }
            "RPUSH" => {
                let payload = number(&command[2]);
                self.ledger.run(payload);
                connection.out.integer(payload.cast_signed());
                self.push(&command[1], payload, now);
            }
            "PUBLISH" | "SPUBLISH" => {
                let payload = number(&command[2]);
                self.ledger.run(payload);
                let kind = if name == "PUBLISH" { Kind::Channel } else { Kind::Shard };
                self.publish(connection.node, kind, &command[1], payload, now);
                connection.out.integer(payload.cast_signed());
            }
            "DBSIZE" => connection.out.integer(1),
            other => panic!("unexpected command {other}"),
        }
    }

    /// The error that a command gets instead of being run.
    fn refusal(&self, connection: &Connection, name: &str, command: &Arguments, now: u64) -> Option<String> {
        let node = connection.node;
        let mood = self.moods.get(&node).filter(|mood| now < mood.until).map(|mood| mood.temper);
        let keys: Vec<&[u8]> = match (&connection.queued, name) {
            (Some(queued), "EXEC") => {
                queued.iter().flat_map(|command| keys_of(&name_of(command), command)).collect()
            }
            _ => keys_of(name, command),
        };
        let slot = slot_of(keys.first()?);
        if let Some(text) = mood.and_then(|mood| self.moody(mood, node, slot)) {
            return Some(text);
        }
        if let Some(cluster) = &self.cluster {
            if keys.iter().any(|key| slot_of(key) != slot) {
                return Some("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
            }
            if let Verdict::Refuse(text) = cluster.route(node, slot, &keys, connection.is_asking, now) {
                return Some(text);
            }
        }
        let writes = !matches!(name, "GET" | "MGET" | "EXISTS" | "WATCH" | "SSUBSCRIBE" | "SPUBLISH");
        (writes && self.health(node) == Health::ReadOnly)
            .then(|| "READONLY You can't write against a read only replica.".to_owned())
    }

    /// What a node in a mood says to a command of `slot`.
    fn moody(&self, temper: Temper, node: usize, slot: u16) -> Option<String> {
        Some(match (temper, &self.cluster) {
            (Temper::Loading, _) => "LOADING Redis is loading the dataset in memory".to_owned(),
            (Temper::ClusterDown, _) => "CLUSTERDOWN The cluster is down".to_owned(),
            (Temper::MasterDown, _) => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.".to_owned()
            }
            (Temper::TryAgain, _) => "TRYAGAIN Multiple keys request during rehashing of slot".to_owned(),
            (Temper::Redirects(lie), Some(cluster)) => lie.text(cluster, node, slot),
            _ => return None,
        })
    }

    /// MULTI was said: the command waits for EXEC, unless it is refused already.
    fn queue(&mut self, connection: &mut Connection, command: Arguments, now: u64) {
        let name = name_of(&command);
        if let Some(error) = self.refusal(connection, &name, &command, now) {
            self.note(&error);
            connection.out.error(&error);
            connection.is_aborted = true;
            return;
        }
        connection.queued.get_or_insert_default().push(command);
        connection.out.simple("QUEUED");
    }

    fn exec(&mut self, connection: &mut Connection, now: u64) {
        let queued = connection.queued.take().expect("EXEC without MULTI");
        let watched = std::mem::take(&mut connection.watched);
        if std::mem::take(&mut connection.is_aborted) {
            connection.out.error("EXECABORT Transaction discarded because of previous errors.");
            return;
        }
        let is_touched =
            |(key, version): &(Vec<u8>, u64)| self.versions.get(key).copied().unwrap_or_default() != *version;
        if watched.iter().any(is_touched) {
            connection.out.null_array();
            return;
        }
        connection.out.array(queued.len());
        for command in queued {
            if let Some(key) = command.get(1).filter(|key| key.starts_with(b"w")) {
                let base = base_of(key);
                assert!(watched.iter().any(|(key, _)| key == base), "D5: EXEC without its WATCH");
            }
            self.run(connection, &name_of(&command), &command, now);
        }
    }

    fn pop_or_wait(&mut self, connection: &mut Connection, command: &Arguments, now: u64) {
        let (list, payload) = (&command[1], payload_of(&command[1]));
        self.ledger.begin(payload);
        if let Some(element) = self.lists.get_mut(list).and_then(std::collections::VecDeque::pop_front) {
            self.ledger.run(payload);
            popped(connection, list, element);
            return;
        }
        let seconds: f64 = std::str::from_utf8(&command[2]).expect("a time").parse().expect("a time");
        let until = (seconds > 0.0).then(|| now + (seconds * 1e6) as u64);
        connection.blocked = Some(Blocked { key: list.clone(), payload, until });
    }

    /// An element for whoever waits, or for later.
    fn push(&mut self, list: &[u8], element: u64, now: u64) {
        let waiting = self.connections.iter_mut().find_map(|(key, connection)| {
            connection.blocked.take_if(|blocked| blocked.key == list).map(|blocked| (*key, blocked.payload))
        });
        let Some((key, payload)) = waiting else {
            self.lists.entry(list.to_vec()).or_default().push_back(element);
            return;
        };
        self.ledger.run(payload);
        let connection = self.connections.get_mut(&key).expect("found");
        popped(connection, list, element);
        self.process(key, now);
    }

    /// A key was written to: who watches it will know.
    fn touch(&mut self, key: &[u8]) {
        if key.starts_with(b"w") {
            *self.versions.entry(base_of(key).to_vec()).or_default() += 1;
        }
    }

    fn note(&mut self, error: &str) {
        let word = error.split(' ').next().unwrap_or_default().to_owned();
        *self.ledger.errors.entry(word).or_default() += 1;
    }

    fn refuse(&mut self, connection: &mut Connection, error: &str) {
        self.note(error);
        connection.out.error(error);
        // Only EXEC is refused with a transaction open, and ends it.
        if connection.queued.take().is_some() {
            connection.watched.clear();
            connection.is_aborted = false;
        }
    }
}

fn popped(connection: &mut Connection, list: &[u8], element: u64) {
    connection.out.array(2);
    connection.out.bulk(list);
    connection.out.bulk(element.to_string());
}

fn name_of(command: &Arguments) -> String {
    String::from_utf8_lossy(&command[0]).to_uppercase()
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).expect("a number").parse().expect("a number")
}

/// What identifies the command: the end of its key, behind a colon.
fn payload_of(key: &[u8]) -> u64 {
    number(key.rsplit(|byte| *byte == b':').next().unwrap_or_default())
}

/// The key without it.
fn base_of(key: &[u8]) -> &[u8] {
    key.iter().rposition(|byte| *byte == b':').map_or(key, |at| &key[..at])
}

/// The keys of a command, and the channels that count as such.
fn keys_of<'a>(name: &str, command: &'a Arguments) -> Vec<&'a [u8]> {
    let all = &command[1..];
    let keys = match name {
        "GET" | "INCRBY" | "RPUSH" | "SPUBLISH" => &all[..1],
        "BLPOP" => &all[..all.len() - 1],
        "MGET" | "DEL" | "EXISTS" | "WATCH" | "SSUBSCRIBE" => all,
        "EVAL" => &all[2..3],
        "MSET" => return all.chunks(2).map(|pair| pair[0].as_slice()).collect(),
        _ => &[],
    };
    keys.iter().map(Vec::as_slice).collect()
}
