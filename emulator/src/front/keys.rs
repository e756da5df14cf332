//! The keys of a command, and their slots.

use std::collections::BTreeMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("keys.txt");

/// The slots of the keys of a command; its arguments hold its name.
pub(super) fn slots(arguments: &[&[u8]]) -> Vec<u16> {
    let lower = |at: usize| {
        let text = arguments.get(at).copied().unwrap_or_default();
        String::from_utf8_lossy(&text[..text.len().min(NAME_LEN_MAX)]).to_lowercase()
    };
    let name = lower(0);
    let places = table().get(name.as_str()).or_else(|| table().get(format!("{name}|{}", lower(1)).as_str()));
    let positions = places.into_iter().flatten().flat_map(|place| place.positions(arguments));
    positions.filter_map(|at| arguments.get(at)).map(|key| slot(key)).collect()
}

const NAME_LEN_MAX: usize = 64;

struct Place {
    begin: Begin,
    find: Find,
}

enum Begin {
    At(usize),
    /// Behind a word; from the end backwards for a negative start.
    Behind(&'static str, isize),
}

enum Find {
    Range { last: isize, step: usize, limit: usize },
    Count { at: usize, first: usize, step: usize },
}

impl Place {
    fn parse(text: &'static str) -> Option<Place> {
        let (begin, find) = text.trim().split_once(' ')?;
        let begin = match begin.split_once('@') {
            Some((word, from)) => Begin::Behind(word, from.parse().ok()?),
            None => Begin::At(begin.parse().ok()?),
        };
        let mut numbers = find.split(':').skip(1).map(|number| number.parse::<isize>().ok());
        let (one, two, three) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let (two, three) = (usize::try_from(two).ok()?, usize::try_from(three).ok()?);
        let find = if find.starts_with("range") {
            Find::Range { last: one, step: two, limit: three }
        } else {
            Find::Count { at: usize::try_from(one).ok()?, first: two, step: three }
        };
        Some(Place { begin, find })
    }

    fn positions(&self, arguments: &[&[u8]]) -> Vec<usize> {
        let Some(begin) = self.begin(arguments) else {
            return Vec::new();
        };
        match self.find {
            Find::Range { last, step, limit } => {
                let end = match usize::try_from(last) {
                    Ok(last) => begin + last + 1,
                    Err(_) if limit > 1 => begin + (arguments.len().saturating_sub(begin)) / limit,
                    Err(_) => (arguments.len() + 1).saturating_sub(last.unsigned_abs()),
                };
                (begin..end.min(arguments.len())).step_by(step.max(1)).collect()
            }
            Find::Count { at, first, step } => {
                let count = arguments.get(begin + at).and_then(|text| std::str::from_utf8(text).ok());
                let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                (begin + first..arguments.len()).step_by(step.max(1)).take(count).collect()
            }
        }
    }

    fn begin(&self, arguments: &[&[u8]]) -> Option<usize> {
        let is = |at: &usize, word: &str| arguments[*at].eq_ignore_ascii_case(word.as_bytes());
        match &self.begin {
            Begin::At(position) => Some(*position),
            Begin::Behind(word, from) => {
                let found = match usize::try_from(*from) {
                    Ok(from) => (from..arguments.len()).find(|at| is(at, word)),
                    Err(_) => {
                        (0..=arguments.len().checked_sub(from.unsigned_abs())?).rev().find(|at| is(at, word))
                    }
                };
                found.map(|at| at + 1)
            }
        }
    }
}

fn table() -> &'static BTreeMap<&'static str, Vec<Place>> {
    static PLACES: OnceLock<BTreeMap<&str, Vec<Place>>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|line| line.split_once(' '))
            .map(|(name, places)| (name, places.split(',').filter_map(Place::parse).collect()))
            .collect()
    })
}

/// The hash slot of a key: of what is between its first braces, if they hold something.
fn slot(key: &[u8]) -> u16 {
    let inside = |open: usize| {
        let close = key[open + 1..].iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &key[open + 1..open + 1 + close])
    };
    let hashed = key.iter().position(|byte| *byte == b'{').and_then(inside).unwrap_or(key);
    crc16(hashed) % 16_384
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_they_stand() {
        let cases = [
            ("GET a", "a"),
            ("PING", ""),
            ("MSET a 1 b 2", "a b"),
            ("BLPOP a b 0", "a b"),
            ("EVAL script 2 a b c", "a b"),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
            ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
            ("XGROUP CREATE a g $", "a"),
            ("GEORADIUS a 1 2 3 m STORE b", "a b"),
            ("BITOP AND d a b", "d a b"),
            ("OBJECT ENCODING a", "a"),
        ];
        for (command, keys) in cases {
            let arguments: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            let wanted: Vec<u16> = keys.split_whitespace().map(|key| slot(key.as_bytes())).collect();
            assert_eq!(slots(&arguments), wanted, "{command}");
        }
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"a{x}b"), slot(b"x"));
        assert_eq!(slot(b"foo"), 12_182);
        assert_ne!(slot(b"{}a"), slot(b"{}b"));
    }
}
