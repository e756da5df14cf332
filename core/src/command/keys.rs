//! Which arguments are keys, and the slot they share.

use super::facts::{Facts, Keys};
use crate::slot::slot_of;

/// The slot of a command's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySlot {
    /// It has no keys.
    None,
    One(u16),
    /// Its keys are in several slots.
    Many,
}

/// The slot that a command's keys share.
pub(crate) fn key_slot<'a>(
    facts: &Facts,
    arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> KeySlot {
    let mut shared = KeySlot::None;
    let mut passed = 0;
    let positions = key_positions(facts, arguments.clone());
    let mut rest = arguments;
    for position in positions {
        let Some(key) = position.checked_sub(passed).and_then(|skip| rest.nth(skip)) else { break };
        passed = position + 1;
        let slot = slot_of(key);
        match shared {
            KeySlot::None => shared = KeySlot::One(slot),
            KeySlot::One(first) if first == slot => {}
            _ => return KeySlot::Many,
        }
    }
    shared
}

/// Indices of the arguments that are keys, ascending; the name is number 0. Of malformed arguments, those that are
/// there.
pub(crate) fn key_positions<'a>(
    facts: &Facts,
    mut arguments: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Positions {
    let count = arguments.len();
    match facts.keys {
        Keys::None => Positions::every(1, 0, 0),
        Keys::Range { first, last, step } => {
            let end = match usize::try_from(last) {
                Ok(last) => count.min(last + 1),
                Err(_) => (count + 1).saturating_sub(last.unsigned_abs().into()),
            };
            Positions::every(step, first.into(), end)
        }
        Keys::Counted { at, step, is_stored } => {
            let at = usize::from(at);
            let keys = arguments.nth(at).and_then(decimal).unwrap_or(0);
            let end = keys.saturating_mul(step.into()).saturating_add(at + 1).min(count);
            let positions = Positions::every(step, at + 1, end);
            if is_stored { positions.after_first(count) } else { positions }
        }
        Keys::Store { from } => {
            let stored = stored_at(arguments, from.into()).unwrap_or(count);
            Positions::every(1, stored, (stored + 1).min(count)).after_first(count)
        }
        Keys::Streams => {
            arguments.next();
            let first = stream_words(arguments).streams.map_or(count, |words| words + 2);
            match count.saturating_sub(first) {
                // As many ids as streams, or the command is malformed.
                words if words % 2 == 0 => Positions::every(1, first, first + words / 2),
                _ => Positions::every(1, 0, 0),
            }
        }
        Keys::Migrate => migrated(arguments),
    }
}

/// One argument, where there is such a one, and every so many of a range.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    first: Option<usize>,
    next: usize,
    end: usize,
    step: usize,
}

impl Positions {
    fn every(step: u8, first: usize, end: usize) -> Positions {
        Positions { first: None, next: first, end, step: step.max(1).into() }
    }

    /// Argument 1 in front of these, where there is one.
    fn after_first(self, count: usize) -> Positions {
        Positions { first: (count > 1).then_some(1), ..self }
    }
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let position = self.next;
        self.next = position.saturating_add(self.step);
        (position < self.end).then_some(position)
    }
}

/// What stands in front of the streams of XREAD and XREADGROUP.
pub(super) struct StreamWords<'a> {
    /// What follows `BLOCK`.
    pub(super) block: Option<&'a [u8]>,
    /// How many arguments stand between the name and that.
    pub(super) block_at: usize,
    /// How many arguments stand between the name and `STREAMS`.
    pub(super) streams: Option<usize>,
}

/// Reads the options, each with its values, because a group or a consumer may be called like an option. `arguments`
/// begin behind the name.
pub(super) fn stream_words<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> StreamWords<'a> {
    let mut words = StreamWords { block: None, block_at: 0, streams: None };
    let mut at = 0;
    while let Some(word) = arguments.next() {
        let is = |option: &[u8]| word.eq_ignore_ascii_case(option);
        if is(b"STREAMS") {
            words.streams = Some(at);
            break;
        }
        let values = if is(b"GROUP") {
            2
        } else if is(b"BLOCK") || is(b"COUNT") || is(b"CLAIM") {
            1
        } else {
            0
        };
        if is(b"BLOCK") {
            words.block = Some(arguments.next().unwrap_or_default());
            words.block_at = at + 1;
        } else {
            arguments.by_ref().take(values).for_each(drop);
        }
        at += 1 + values;
    }
    words
}

/// The argument behind the last `STORE` or `STOREDIST`: the last one counts.
fn stored_at<'a>(arguments: impl Iterator<Item = &'a [u8]>, from: usize) -> Option<usize> {
    let mut words = arguments.enumerate().skip(from);
    let mut stored = None;
    while let Some((_, word)) = words.next() {
        let is = |option: &[u8]| word.eq_ignore_ascii_case(option);
        if is(b"STORE") || is(b"STOREDIST") {
            stored = words.next().map(|(position, _)| position).or(stored);
        } else if is(b"LIMIT") {
            words.by_ref().take(2).for_each(drop);
        } else if is(b"BY") || is(b"GET") {
            words.next();
        }
    }
    stored
}

const MIGRATED_KEY: usize = 3;
const MIGRATE_OPTIONS: usize = 6;

fn migrated<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Positions {
    let count = arguments.len();
    let mut words = arguments.enumerate().skip(MIGRATED_KEY);
    if words.next().is_none_or(|(_, key)| !key.is_empty()) {
        return Positions::every(1, MIGRATED_KEY, count.min(MIGRATED_KEY + 1));
    }
    let mut words = words.skip_while(|(position, _)| *position < MIGRATE_OPTIONS);
    while let Some((position, word)) = words.next() {
        let is = |option: &[u8]| word.eq_ignore_ascii_case(option);
        if is(b"KEYS") {
            return Positions::every(1, position + 1, count);
        }
        let values = if is(b"AUTH2") { 2 } else { usize::from(is(b"AUTH")) };
        words.by_ref().take(values).for_each(drop);
    }
    Positions::every(1, 0, 0)
}

fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::facts_of;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(|word| if word == "''" { "" } else { word }.as_bytes()).collect()
    }

    /// The keys, with blanks between them.
    fn keys(line: &str) -> String {
        let words = words(line);
        let facts = facts_of(words.iter().copied());
        let keys = key_positions(&facts, words.iter().copied()).map(|position| words[position]);
        String::from_utf8_lossy(&keys.collect::<Vec<_>>().join(&b' ')).into_owned()
    }

    fn slot(line: &str) -> KeySlot {
        let words = words(line);
        key_slot(&facts_of(words.iter().copied()), words.iter().copied())
    }

    /// Command lines and their keys, as redis-server answers `COMMAND GETKEYS` to them.
    const AS_SERVERS_SAY: &str = include_str!("key_positions.txt");

    #[test]
    fn keys_are_where_servers_say() {
        assert!(AS_SERVERS_SAY.lines().count() > 300);
        for line in AS_SERVERS_SAY.lines() {
            let (command, expected) = line.split_once(" =>").expect("a command and its keys");
            assert_eq!(keys(command), expected.trim_start(), "{command}");
        }
    }

    #[test]
    fn keys_are_where_the_command_has_them() {
        for (line, expected) in [
            ("GET k", "k"),
            ("MSET a 1 b 2", "a b"),
            ("BLPOP a b 0", "a b"),
            ("BITOP AND d a b", "d a b"),
            ("EVAL s 2 a b c", "a b"),
            ("EVAL s 0 a", ""),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
            ("BLMPOP 0 2 a b LEFT", "a b"),
            ("XREADGROUP GROUP streams streams COUNT 1 STREAMS a b > >", "a b"),
            ("XREAD BLOCK 0 STREAMS streams 0", "streams"),
            ("GEORADIUS k 0 0 1 m STORE d", "k d"),
            ("GEORADIUSBYMEMBER k m 1 m COUNT 3 STOREDIST d", "k d"),
            ("SORT k BY store GET get LIMIT 0 1 STORE d ALPHA", "k d"),
            ("SORT k", "k"),
            ("MIGRATE h 1 k 0 5 REPLACE", "k"),
            ("MIGRATE h 1 '' 0 5 AUTH keys KEYS a b", "a b"),
            ("OBJECT ENCODING k", "k"),
            ("XGROUP CREATE s g $", "s"),
            ("PING hello", ""),
            ("PUBLISH c m", ""),
            ("SPUBLISH c m", "c"),
            // Of servers later than the one that the tests run.
            ("MSETEX 2 a 1 b 2 EX 5", "a b"),
            ("HGETEX h EX 5 FIELDS 1 f", "h"),
            ("XREADGROUP GROUP g c CLAIM 5 STREAMS a >", "a"),
            ("JSON.MGET a b $.x", "a b"),
            ("JSON.MSET a $ 1 b $ 2", "a b"),
            ("TS.MADD a 1 1 b 1 1", "a b"),
            ("TS.MRANGE - + FILTER x=y", ""),
            ("CMS.MERGE d 2 a b WEIGHTS 1 2", "d a b"),
            ("TDIGEST.MERGE d 1 a COMPRESSION 5", "d a"),
        ] {
            assert_eq!(keys(line), expected, "{line}");
        }
    }

    #[test]
    fn of_malformed_arguments_those_keys_count_that_are_there() {
        for (line, expected) in [
            ("GET", ""),
            ("MSET", ""),
            ("BLPOP", ""),
            ("BLPOP 0", ""),
            ("EVAL s", ""),
            ("EVAL s x a", ""),
            ("EVAL s -1 a", ""),
            ("EVAL s 5 a b", "a b"),
            ("EVAL s 99999999999999999999 a", ""),
            ("EVAL s 18446744073709551615 a", "a"),
            ("ZUNIONSTORE", ""),
            ("ZUNIONSTORE d", "d"),
            ("XREAD STREAMS", ""),
            ("XREAD STREAMS a b 0", ""),
            ("XREAD BLOCK", ""),
            ("XREADGROUP GROUP g", ""),
            ("SORT", ""),
            ("SORT k STORE", "k"),
            ("SORT k LIMIT", "k"),
            ("MIGRATE", ""),
            ("MIGRATE h 1 ''", ""),
            ("MIGRATE h 1 '' 0 5 KEYS", ""),
            ("OBJECT", ""),
        ] {
            assert_eq!(keys(line), expected, "{line}");
        }
    }

    #[test]
    fn whatever_the_arguments_are_positions_ascend_and_exist() {
        const WORDS: [&str; 24] = [
            "0",
            "1",
            "2",
            "3",
            "-1",
            "4294967296",
            "''",
            "k",
            "STORE",
            "STOREDIST",
            "STREAMS",
            "BLOCK",
            "COUNT",
            "GROUP",
            "KEYS",
            "AUTH",
            "AUTH2",
            "LIMIT",
            "BY",
            "GET",
            "CLAIM",
            "NOACK",
            "store",
            "streams",
        ];
        const NAMES: [&str; 20] = [
            "GET",
            "MSET",
            "BLPOP",
            "EVAL",
            "ZUNIONSTORE",
            "BLMPOP",
            "MSETEX",
            "XREAD",
            "XREADGROUP",
            "SORT",
            "GEORADIUS",
            "GEORADIUSBYMEMBER",
            "MIGRATE",
            "OBJECT",
            "XGROUP",
            "BITOP",
            "JSON.MSET",
            "JSON.MGET",
            "LMPOP",
            "PING",
        ];
        let mut rng = fastrand::Rng::with_seed(3);
        let mut found = 0;
        for _ in 0..50_000 {
            let mut line = (*rng.choice(NAMES.iter()).expect("a name")).to_owned();
            for _ in 0..rng.usize(..10) {
                line += " ";
                line += rng.choice(WORDS.iter()).expect("a word");
            }
            let words = words(&line);
            let facts = facts_of(words.iter().copied());
            let positions: Vec<usize> = key_positions(&facts, words.iter().copied()).collect();
            assert!(positions.is_sorted_by(|one, other| one < other), "{line}: {positions:?}");
            assert!(positions.iter().all(|&position| (1..words.len()).contains(&position)), "{line}");
            assert_eq!(positions.is_empty(), slot(&line) == KeySlot::None, "{line}");
            found += positions.len();
        }
        assert!(found > 50_000, "only {found}");
    }

    #[test]
    fn keys_share_a_slot_or_do_not() {
        assert_eq!(slot("PING"), KeySlot::None);
        assert_eq!(slot("GET foo"), KeySlot::One(12182));
        assert_eq!(slot("MGET {foo}a {foo}b"), KeySlot::One(12182));
        assert_eq!(slot("MGET foo bar"), KeySlot::Many);
        assert_eq!(slot("EVAL s 2 foo bar"), KeySlot::Many);
        assert_eq!(slot("ZUNIONSTORE {foo}d 2 {foo}a foo"), KeySlot::One(12182));
        assert_eq!(slot("XREAD STREAMS foo bar 0 0"), KeySlot::Many);
    }
}
