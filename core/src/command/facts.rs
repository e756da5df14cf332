//! What is known of a command by its name: where its keys are, which connection carries it, which nodes run it.

use super::keys::stream_words;
use super::table::TABLE;

/// What is known of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) keys: Keys,
    pub(crate) lane: Lane,
    pub(crate) routing: Routing,
    pub(crate) merge: Merge,
    /// Whether it runs a script or a function: what that did before an error is not known.
    pub(crate) is_script: bool,
}

/// Where the keys are. Arguments are counted from the name, which is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    None,
    /// Every `step`th argument from `first` to `last`; a negative `last` counts from the end, -1 being the last one.
    Range {
        first: u8,
        last: i8,
        step: u8,
    },
    /// Argument `at` says how many keys follow it, `step` arguments from one to the next. Argument 1 is a key as well
    /// where the result is stored.
    Counted {
        at: u8,
        step: u8,
        is_stored: bool,
    },
    /// Argument 1, and what follows the last `STORE` or `STOREDIST` at or after `from`.
    Store {
        from: u8,
    },
    /// The first half of what follows `STREAMS`.
    Streams,
    /// Argument 3, or where that is empty, all that follows `KEYS`.
    Migrate,
}

/// Which connection carries a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The one that is shared.
    Main,
    /// One of its own: it may wait for as long as an argument says.
    Blocking(TimeoutAt),
    /// That of a session: it changes or asks for the state of its connection.
    Session,
    /// None: it changes a state that the client keeps, or has an interface of its own.
    Refused,
}

/// Where a blocking command says how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutAt {
    /// Seconds, the first argument.
    SecondsFirst,
    /// Seconds, the last argument.
    SecondsLast,
    /// Milliseconds, behind the word `BLOCK`.
    MillisBlock,
}

/// Which nodes of a cluster run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// That of its keys' one slot; any where it has no key.
    BySlot,
    /// Those of its keys: each takes its part. Keys are every `step`th argument from `first` on.
    MultiShard { first: u8, step: u8 },
    /// Every primary.
    AllShards,
    /// Every node.
    AllNodes,
    /// Whichever.
    Any,
    /// One primary after the other, as its cursor says.
    Scan,
}

/// How the replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "no command that is known has the policies `Or` and `Max`, which servers' tables may name"
)]
pub(crate) enum Merge {
    /// In the order of the keys, or one shard's elements after the other's.
    None,
    OneSucceeded,
    AllSucceeded,
    And,
    Or,
    Min,
    Max,
    Sum,
    /// The first that is not null.
    Special,
}

impl Facts {
    /// Of a command that nothing is known of: most commands have one key, and it comes first.
    pub(super) const UNKNOWN: Facts = Facts {
        keys: Keys::Range { first: 1, last: 1, step: 1 },
        lane: Lane::Main,
        routing: Routing::BySlot,
        merge: Merge::None,
        is_script: false,
    };
}

/// A line of the table.
pub(super) struct Entry {
    /// In capitals; a subcommand's begins with its container's.
    name: &'static str,
    facts: Facts,
    has_subcommands: bool,
}

/// A command whose keys decide where it runs.
pub(super) const fn keyed(name: &'static str, keys: Keys) -> Entry {
    Entry { name, facts: Facts { keys, ..Facts::UNKNOWN }, has_subcommands: false }
}

/// A command that any node runs.
pub(super) const fn keyless(name: &'static str) -> Entry {
    let facts = Facts { keys: Keys::None, routing: Routing::Any, ..Facts::UNKNOWN };
    Entry { name, facts, has_subcommands: false }
}

impl Entry {
    pub(super) const fn lane(mut self, lane: Lane) -> Entry {
        self.facts.lane = lane;
        self
    }

    pub(super) const fn routing(mut self, routing: Routing, merge: Merge) -> Entry {
        self.facts.routing = routing;
        self.facts.merge = merge;
        self
    }

    pub(super) const fn script(mut self) -> Entry {
        self.facts.is_script = true;
        self
    }

    pub(super) const fn container(mut self) -> Entry {
        self.has_subcommands = true;
        self
    }
}

pub(super) const fn range(first: u8, last: i8, step: u8) -> Keys {
    Keys::Range { first, last, step }
}

pub(super) const fn counted(at: u8, step: u8) -> Keys {
    Keys::Counted { at, step, is_stored: false }
}

pub(super) const fn stored(at: u8) -> Keys {
    Keys::Counted { at, step: 1, is_stored: true }
}

/// The facts of a command, by its name in any case and, for a container of subcommands, its second word.
#[inline]
pub(crate) fn facts_of<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Facts {
    let name = arguments.next().unwrap_or_default();
    // Most commands are like most, and their places are free.
    if INDEX[place_of(name, &[])] == 0 {
        return Facts::UNKNOWN;
    }
    listed_facts(name, arguments)
}

fn listed_facts<'a>(name: &[u8], mut arguments: impl Iterator<Item = &'a [u8]>) -> Facts {
    let Some(entry) = find(name, &[]) else { return Facts::UNKNOWN };
    if entry.has_subcommands {
        let subcommand = arguments.next().unwrap_or_default();
        return find(name, subcommand).unwrap_or(entry).facts;
    }
    match entry.facts.lane {
        Lane::Blocking(TimeoutAt::MillisBlock) if stream_words(arguments).block.is_none() => {
            Facts { lane: Lane::Main, ..entry.facts }
        }
        _ => entry.facts,
    }
}

fn find(name: &[u8], subcommand: &[u8]) -> Option<&'static Entry> {
    let mut len = name.len();
    if !subcommand.is_empty() {
        len = len.checked_add(1 + subcommand.len())?;
    }
    if len > LONGEST_NAME {
        return None;
    }
    let is_asked_for = |entry: &Entry| {
        let known = entry.name.as_bytes();
        known.len() == len
            && known.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
            && (subcommand.is_empty()
                || known.get(name.len() + 1..).is_some_and(|word| word.eq_ignore_ascii_case(subcommand)))
    };
    let mut place = place_of(name, subcommand);
    // The index has free places, so this ends.
    while let Some(entry) = usize::from(INDEX[place]).checked_sub(1).map(|number| &TABLE[number]) {
        if is_asked_for(entry) {
            return Some(entry);
        }
        place = (place + 1) % PLACES;
    }
    None
}

/// Of the table's names.
const LONGEST_NAME: usize = {
    let (mut longest, mut number) = (0, 0);
    while number < TABLE.len() {
        let len = TABLE[number].name.len();
        longest = if len > longest { len } else { longest };
        number += 1;
    }
    longest
};

/// Open addressing: at its hash or soon after it, an entry's number plus one; 0 is a free place.
static INDEX: [u8; PLACES] = {
    assert!(TABLE.len() < 256, "an entry's number is kept in a byte");
    let mut index = [0_u8; PLACES];
    let mut number = 0;
    while number < TABLE.len() {
        let (name, subcommand) = words(TABLE[number].name.as_bytes());
        let mut place = place_of(name, subcommand);
        while index[place] != 0 {
            place = (place + 1) % PLACES;
        }
        number += 1;
        index[place] = number as u8;
    }
    index
};

const PLACES: usize = 1024;

/// A name and its subcommand.
const fn words(name: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < name.len() {
        if name[at] == b' ' {
            let (name, rest) = name.split_at(at);
            return (name, rest.split_at(1).1);
        }
        at += 1;
    }
    (name, &[])
}

/// Where to look first. Looks at a few bytes only, blind to case: a name is short, and looked up for every command.
#[inline]
const fn place_of(name: &[u8], subcommand: &[u8]) -> usize {
    // This factor was looked for: the names that are sent most find free places.
    let mixed = ends_of(name).wrapping_mul(0x8aff_4b4f);
    let mixed =
        if subcommand.is_empty() { mixed } else { mixed ^ ends_of(subcommand).wrapping_mul(0x85eb_ca6b) };
    (mixed >> 22) as usize
}

/// First, last and middle letter, and the length.
#[inline]
const fn ends_of(word: &[u8]) -> u32 {
    let len = word.len();
    if len == 0 {
        return 0;
    }
    u32::from_le_bytes([word[0] & 0xdf, word[len - 1] & 0xdf, word[len / 2] & 0xdf, len as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(line: &str) -> Facts {
        facts_of(line.split(' ').map(str::as_bytes))
    }

    #[test]
    fn every_entry_is_found_by_its_name_in_any_case() {
        for entry in &TABLE {
            let mut words = entry.name.split(' ');
            let (name, subcommand) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            for (name, subcommand) in
                [(name.to_owned(), subcommand.to_owned()), (name.to_lowercase(), subcommand.to_lowercase())]
            {
                let found = find(name.as_bytes(), subcommand.as_bytes()).expect("listed");
                assert_eq!(found.name, entry.name);
            }
        }
    }

    #[test]
    fn most_entries_stand_where_their_hash_says() {
        let far = |entry: &&Entry| {
            let (name, subcommand) = words(entry.name.as_bytes());
            let place = place_of(name, subcommand);
            (0..3).all(|step| {
                let number = usize::from(INDEX[(place + step) % INDEX.len()]);
                number == 0 || TABLE[number - 1].name != entry.name
            })
        };
        let far: Vec<&str> = TABLE.iter().filter(far).map(|entry| entry.name).collect();
        assert!(far.len() < TABLE.len() / 10, "{far:?}");
    }

    #[test]
    fn commands_that_are_sent_most_are_known_by_a_glance() {
        let names =
            "GET SET SETEX INCR INCRBY EXPIRE TTL HGET HSET HGETALL HINCRBY LPUSH RPOP LRANGE SADD ZADD XADD";
        for name in names.split(' ') {
            assert_eq!(INDEX[place_of(name.as_bytes(), &[])], 0, "{name}");
        }
    }

    #[test]
    fn a_command_that_is_not_listed_has_its_key_first() {
        for line in ["GET k", "get", "SOMEMODULE.COMMAND x", "", "GETX", "HSET h f v", "ACLX y"] {
            assert_eq!(facts(line), Facts::UNKNOWN, "{line}");
        }
        assert_eq!(facts_of([].into_iter()), Facts::UNKNOWN);
        assert_eq!(facts_of([&[b'A'; 100_000][..]].into_iter()), Facts::UNKNOWN);
    }

    #[test]
    fn a_subcommand_has_facts_of_its_own_or_its_containers() {
        assert_eq!(facts("client Reply off").lane, Lane::Refused);
        assert_eq!(facts("CLIENT ID").lane, Lane::Main);
        assert_eq!(facts("CLIENT").routing, Routing::Any);
        assert_eq!(facts("SCRIPT EXISTS a").merge, Merge::And);
        assert_eq!(facts("object encoding k").keys, range(2, 2, 1));
        assert_eq!(facts("XINFO STREAM k").routing, Routing::BySlot);
        assert_eq!(facts("MEMORY DOCTOR").keys, Keys::None);
    }

    #[test]
    fn a_read_of_streams_blocks_only_where_it_says_so() {
        let blocking = Lane::Blocking(TimeoutAt::MillisBlock);
        for (line, lane) in [
            ("XREAD COUNT 2 block 0 STREAMS s $", blocking),
            ("XREAD COUNT 2 STREAMS block $", Lane::Main),
            ("XREAD STREAMS s 0", Lane::Main),
            ("XREADGROUP GROUP block streams COUNT 1 STREAMS s >", Lane::Main),
            ("XREADGROUP GROUP streams block BLOCK 5 STREAMS s >", blocking),
            ("XREADGROUP", Lane::Main),
        ] {
            assert_eq!(facts(line).lane, lane, "{line}");
        }
    }

    #[test]
    fn what_waits_says_where_its_timeout_is() {
        for (line, at) in [
            ("BLPOP", TimeoutAt::SecondsLast),
            ("BRPOP", TimeoutAt::SecondsLast),
            ("BLMOVE", TimeoutAt::SecondsLast),
            ("BRPOPLPUSH", TimeoutAt::SecondsLast),
            ("BZPOPMIN", TimeoutAt::SecondsLast),
            ("BZPOPMAX", TimeoutAt::SecondsLast),
            ("BLMPOP", TimeoutAt::SecondsFirst),
            ("BZMPOP", TimeoutAt::SecondsFirst),
        ] {
            assert_eq!(facts(line).lane, Lane::Blocking(at), "{line}");
        }
    }

    #[test]
    fn commands_over_several_shards_say_how_their_replies_become_one() {
        let split = |step| Routing::MultiShard { first: 1, step };
        for (line, routing, merge) in [
            ("DEL", split(1), Merge::Sum),
            ("UNLINK", split(1), Merge::Sum),
            ("EXISTS", split(1), Merge::Sum),
            ("TOUCH", split(1), Merge::Sum),
            ("MGET", split(1), Merge::None),
            ("MSET", split(2), Merge::AllSucceeded),
            ("MSETNX", Routing::BySlot, Merge::None),
            ("DBSIZE", Routing::AllShards, Merge::Sum),
            ("KEYS", Routing::AllShards, Merge::None),
            ("FLUSHALL", Routing::AllShards, Merge::AllSucceeded),
            ("SCRIPT LOAD", Routing::AllNodes, Merge::AllSucceeded),
            ("FUNCTION KILL", Routing::AllShards, Merge::OneSucceeded),
            ("RANDOMKEY", Routing::AllShards, Merge::Special),
            ("SCAN", Routing::Scan, Merge::None),
            ("INFO", Routing::Any, Merge::None),
            ("PUBLISH", Routing::Any, Merge::None),
            ("SPUBLISH", Routing::BySlot, Merge::None),
        ] {
            let facts = facts(line);
            assert_eq!((facts.routing, facts.merge), (routing, merge), "{line}");
        }
    }

    #[test]
    fn scripts_and_functions_are_marked() {
        for line in ["EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"] {
            assert!(facts(line).is_script, "{line}");
        }
        assert!(!facts("SCRIPT LOAD").is_script && !facts("GET").is_script);
    }
}
