//! Rows of the table, joined, damaged and cut at random: no panic, no dependence on chunking, no memory out of
//! proportion. `RESP_SEED` chooses another run, `RESP_CASES` a longer one.

use respass::resp::{DecodeLimits, Decoder};
use respass_tests::resp_corpus::{TABLE, Take, cut, decode};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const SEED: u64 = 0x7265_7370;
const CASES: u64 = 200_000;

/// What damage is made of: signs, digits, line ends and what lies beside them.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\r",
    b"\n",
    b"$",
    b"*",
    b"%",
    b"~",
    b">",
    b"|",
    b"!",
    b"=",
    b";",
    b".",
    b"?",
    b"-",
    b"+",
    b"0",
    b"1",
    b"9",
    b"16777216",
    b"\0",
    b"\xff",
    b"$-1\r\n",
    b"*?\r\n",
];

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a decimal number"))
}

fn stream(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..6) {
        bytes.extend_from_slice(TABLE[random.usize(..TABLE.len())].0);
    }
    for _ in 0..random.usize(0..4) {
        damage(&mut bytes, random);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    let end = (at + random.usize(0..4)).min(bytes.len());
    let piece = PIECES[random.usize(..PIECES.len())];
    match random.u8(0..5) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..at, piece.iter().copied())),
        3 => drop(bytes.splice(at..end, piece.iter().copied())),
        _ => {
            let again = bytes[at..].to_vec();
            bytes.extend(again);
        }
    }
}

fn limits(random: &mut fastrand::Rng) -> DecodeLimits {
    match random.u8(0..4) {
        0 => DecodeLimits { depth_max: 2, bulk_len_max: 8, elements_max: 5, line_len_max: 6 },
        _ => DecodeLimits::default(),
    }
}

fn check(seed: u64) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let bytes = stream(random);
    let limits = limits(random);
    let whole = decode(limits, [bytes.as_slice()], Take::AtEnd);
    for take in [Take::Completed, Take::Always, Take::AtEnd] {
        let longest = [2, 5, 30][random.usize(0..3)];
        let chunks = cut(&bytes, || random.usize(0..longest));
        let parts = decode(limits, chunks, take);
        assert_eq!(parts, whole, "{} in parts of less than {longest}, {take:?}", bytes.escape_ascii());
    }
    check_memory(&bytes, limits, random.usize(1..30));
}

/// Each buffer may have 64 KiB, or twice what it holds; the tape twice the nodes of the shortest values.
fn check_memory(bytes: &[u8], limits: DecodeLimits, chunk_len: usize) {
    let mut decoder = Decoder::new(limits);
    for chunk in bytes.chunks(chunk_len) {
        decoder.receive(chunk);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }
    let (block, nodes) = decoder.take(<_>::default());
    assert!(block.capacity() <= (64 << 10).max(2 * bytes.len()), "{}", bytes.escape_ascii());
    assert!(nodes.capacity() <= 4 + 2 * bytes.len() / 3, "{}", bytes.escape_ascii());
}

#[test]
fn damaged_streams() {
    let first = from_env("RESP_SEED", SEED);
    for seed in first..first + from_env("RESP_CASES", CASES) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
            eprintln!("again with RESP_SEED={seed} RESP_CASES=1");
            resume_unwind(panic);
        }
    }
}
