//! What varied applications do, drawn at random.

use super::errand::{Errand, Expected, Work};
use super::lies::STRANGER;
use super::slots::slot_of;

/// How many hash tags there are: enough to have some on every shard.
pub const TAGS: u64 = 40;

/// Draws errands; no payload comes twice.
#[derive(Debug, Default)]
pub struct Draw {
    latest: u64,
}

/// A name of one of three channels, of one of three patterns, or of one of eight sharded channels.
pub fn channel(number: u64) -> String {
    format!("news.{}", number % 3)
}

/// As [`channel`].
pub fn pattern(number: u64) -> String {
    ["news.*", "news.1*", "n*"][number as usize % 3].to_owned()
}

/// As [`channel`].
pub fn shard_channel(number: u64) -> String {
    format!("s{{t{}}}", number % 8)
}

impl Draw {
    /// So many payloads that were never used.
    pub fn payloads(&mut self, count: u64) -> Vec<u64> {
        let first = self.latest;
        self.latest += count;
        (first..self.latest).collect()
    }

    /// ECHO, once or several times, or in a transaction.
    pub fn plain(&mut self, count: u64, is_transaction: bool) -> Errand {
        let payloads = self.payloads(count);
        let mut commands: Vec<Vec<Vec<u8>>> =
            payloads.iter().map(|payload| vec![b"ECHO".to_vec(), payload.to_string().into_bytes()]).collect();
        let work = match (is_transaction, count) {
            (true, _) => Work::Transaction(commands),
            (false, 1) => Work::Command(commands.remove(0)),
            (false, _) => Work::Batch(commands),
        };
        Errand { work, expected: Expected::Each(payloads) }
    }

    /// Something of everything.
    pub fn varied(&mut self, rng: &mut fastrand::Rng) -> Errand {
        let tag = rng.u64(0..TAGS);
        match rng.u32(0..100) {
            0..30 => self.write("k", tag),
            30..40 => self.one(|payload| vec!["GET".into(), format!("k{{t{tag}}}:{payload}")]),
            40..45 => self.plain(1, false),
            45..53 => self.spread(rng, "MGET"),
            53..57 => self.spread(rng, "DEL"),
            57..60 => self.spread(rng, "MSET"),
            60..68 => self.transaction(rng, tag),
            68..72 => self.batch(rng),
            72..76 => self.script(tag, "return"),
            76..79 => self.forged(rng, tag),
            79..83 => self.wait(rng, tag),
            83..88 => {
                let payload = self.payloads(1)[0];
                let tag = tag % 4;
                Errand { work: Work::Session { tag, payload }, expected: Expected::Watching { payload } }
            }
            88..90 => self.write("w", tag % 4),
            90..95 => self.one(|payload| vec!["PUBLISH".into(), channel(tag), payload.to_string()]),
            95..99 => self.one(|payload| vec!["SPUBLISH".into(), shard_channel(tag), payload.to_string()]),
            _ => Errand { work: Work::command(&["DBSIZE"]), expected: Expected::Number },
        }
    }

    /// A command with keys, for every tag in turn.
    pub fn write(&mut self, prefix: &str, tag: u64) -> Errand {
        let payloads = self.payloads(1);
        let work = Work::Command(Work::increment(prefix, tag, payloads[0]));
        Errand { work, expected: Expected::Each(payloads) }
    }

    /// A command whose answer is its payload.
    pub fn one(&mut self, words: impl Fn(u64) -> Vec<String>) -> Errand {
        let payloads = self.payloads(1);
        let words = words(payloads[0]);
        let work = Work::command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        Errand { work, expected: Expected::Each(payloads) }
    }

    /// One command with keys all over the cluster.
    fn spread(&mut self, rng: &mut fastrand::Rng, name: &str) -> Errand {
        let payloads = self.payloads(rng.u64(1..8));
        let mut words = vec![name.to_owned()];
        for payload in &payloads {
            words.push(format!("m{{t{}}}:{payload}", rng.u64(0..TAGS)));
            words.extend((name == "MSET").then(|| "value".to_owned()));
        }
        let work = Work::command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let expected = match name {
            "MGET" => Expected::EachOfSplit(payloads),
            "DEL" => Expected::Count(payloads),
            _ => Expected::Done(payloads),
        };
        Errand { work, expected }
    }

    fn transaction(&mut self, rng: &mut fastrand::Rng, tag: u64) -> Errand {
        let payloads = self.payloads(rng.u64(1..5));
        let commands = payloads.iter().map(|payload| Work::increment("x", tag, *payload)).collect();
        Errand { work: Work::Transaction(commands), expected: Expected::Each(payloads) }
    }

    fn batch(&mut self, rng: &mut fastrand::Rng) -> Errand {
        let payloads = self.payloads(rng.u64(2..9));
        let commands =
            payloads.iter().map(|payload| Work::increment("b", rng.u64(0..TAGS), *payload)).collect();
        Errand { work: Work::Batch(commands), expected: Expected::Each(payloads) }
    }

    fn script(&mut self, tag: u64, text: &str) -> Errand {
        let payload = self.payloads(1)[0];
        let key = format!("e{{t{tag}}}:{payload}");
        let is_forged = text.starts_with("error:");
        let expected = if is_forged { Expected::Forged(payload) } else { Expected::Each(vec![payload]) };
        Errand { work: Work::command(&["EVAL", text, "1", &key]), expected }
    }

    /// A script that says what only servers should say.
    fn forged(&mut self, rng: &mut fastrand::Rng, tag: u64) -> Errand {
        let slot = slot_of(format!("t{tag}").as_bytes());
        let text = match rng.u8(0..6) {
            0 => format!("MOVED {slot} {STRANGER}:6379"),
            1 => format!("ASK {slot} {STRANGER}:6379"),
            2 => "NOAUTH says the script".to_owned(),
            3 => "TRYAGAIN Multiple keys request during rehashing of slot".to_owned(),
            4 => "CLUSTERDOWN The cluster is down".to_owned(),
            _ => "LOADING Redis is loading the dataset in memory".to_owned(),
        };
        self.script(tag, &format!("error:{text}"))
    }

    fn wait(&mut self, rng: &mut fastrand::Rng, tag: u64) -> Errand {
        let payload = self.payloads(1)[0];
        let timeout = match rng.u8(0..4) {
            0 => "0".to_owned(),
            _ => format!("{:.1}", 0.1 + rng.f64() * 20.0),
        };
        let work = Work::command(&["BLPOP", &format!("q{{t{tag}}}:{payload}"), &timeout]);
        Errand { work, expected: Expected::Popped(payload) }
    }

    /// An element for whoever waits at a list.
    pub fn feed(&mut self, list: &str) -> Errand {
        self.one(|payload| vec!["RPUSH".into(), list.to_owned(), payload.to_string()])
    }
}
