//! The decoder against the table of RESP2 and RESP3, in every chunking, and its limits.

use respass::resp::{DecodeError, DecodeLimits, encode_command};
use respass_tests::resp_corpus::{Expected, Outcome, TABLE, Take, Tree, cut, decode};
use std::iter;

const NEXT: &[u8] = b"$6\r\nn\r\next\r\n";
const NEXT_SHOWN: &str = r"'n\r\next'";

fn whole(bytes: &[u8]) -> Outcome {
    decode(DecodeLimits::default(), [bytes], Take::Completed)
}

/// What the table wants of a row's bytes with `before` and `after` around them.
fn wanted(expected: Expected, before: Option<&str>, after: Option<&str>) -> Outcome {
    let frame = match expected {
        Expected::Is(text) => Some(text),
        Expected::Fails(_) | Expected::Unfinished => None,
    };
    let error = match expected {
        Expected::Fails(error) => Some(error),
        Expected::Is(_) | Expected::Unfinished => None,
    };
    let after = if error.is_some() { None } else { after };
    let frames = [before, frame, after].into_iter().flatten().map(str::to_owned).collect();
    Outcome { frames, error }
}

#[test]
fn table_whole() {
    for &(bytes, expected) in TABLE {
        assert_eq!(whole(bytes), wanted(expected, None, None), "{}", bytes.escape_ascii());
    }
}

#[test]
fn table_byte_by_byte() {
    for &(bytes, expected) in TABLE {
        for take in [Take::Completed, Take::Always, Take::AtEnd] {
            let outcome = decode(DecodeLimits::default(), bytes.chunks(1), take);
            assert_eq!(outcome, wanted(expected, None, None), "{} {take:?}", bytes.escape_ascii());
        }
    }
}

#[test]
fn table_with_a_next_frame_behind() {
    for &(bytes, expected) in TABLE {
        if matches!(expected, Expected::Unfinished) {
            continue;
        }
        let both = [bytes, NEXT].concat();
        let name = bytes.escape_ascii();
        assert_eq!(whole(&both), wanted(expected, None, Some(NEXT_SHOWN)), "{name}");
        let outcome = decode(DecodeLimits::default(), both.chunks(1), Take::Always);
        assert_eq!(outcome, wanted(expected, None, Some(NEXT_SHOWN)), "{name}, byte by byte");
    }
}

/// A frame in front makes `take` move every state that a token can be in.
#[test]
fn table_in_two_parts_at_every_split() {
    for &(bytes, expected) in TABLE {
        let both = [NEXT, bytes].concat();
        for at in 0..=both.len() {
            let (left, right) = both.split_at(at);
            for take in [Take::Completed, Take::Always, Take::AtEnd] {
                let outcome = decode(DecodeLimits::default(), [left, right], take);
                let name = bytes.escape_ascii();
                assert_eq!(outcome, wanted(expected, Some(NEXT_SHOWN), None), "{name} at {at}, {take:?}");
            }
        }
    }
}

#[test]
fn table_in_three_parts_taken_each_time() {
    for &(bytes, expected) in TABLE.iter().filter(|(bytes, _)| bytes.len() <= 40) {
        let both = [b":1\r\n", bytes].concat();
        for first in 0..both.len() {
            for second in first..both.len() {
                let parts = [&both[..first], &both[first..second], &both[second..]];
                let outcome = decode(DecodeLimits::default(), parts, Take::Always);
                let name = bytes.escape_ascii();
                assert_eq!(outcome, wanted(expected, Some("1"), None), "{name} at {first} and {second}");
            }
        }
    }
}

/// An error is an error as early as its last byte, and never before: no prefix of a good row fails.
#[test]
fn table_prefixes() {
    for &(bytes, expected) in TABLE {
        for at in 0..bytes.len() {
            let outcome = whole(&bytes[..at]);
            let name = bytes[..at].escape_ascii();
            assert!(outcome.frames.is_empty(), "{name}");
            match expected {
                Expected::Fails(error) => assert!(outcome.error.is_none_or(|early| early == error), "{name}"),
                Expected::Is(_) | Expected::Unfinished => assert_eq!(outcome.error, None, "{name}"),
            }
        }
    }
}

/// All good rows in one stream: what `take` hands over after each read equals one big read.
#[test]
fn taking_after_each_read_changes_nothing() {
    let mut stream = Vec::new();
    let mut frames = Vec::new();
    for &(bytes, expected) in TABLE {
        if let Expected::Is(text) = expected {
            stream.extend_from_slice(bytes);
            frames.push(text.to_owned());
        }
    }
    let wanted = Outcome { frames, error: None };
    assert_eq!(whole(&stream), wanted);
    for len in (1..100).chain([200, 500, 1000, stream.len() - 1]) {
        for take in [Take::Completed, Take::Always] {
            let outcome = decode(DecodeLimits::default(), stream.chunks(len), take);
            assert_eq!(outcome, wanted, "reads of {len}, {take:?}");
        }
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let chunks = cut(&stream, || random.usize(0..40));
        assert_eq!(decode(DecodeLimits::default(), chunks, Take::Always), wanted);
    }
}

#[test]
fn commands_come_back_as_they_went() {
    let long = vec![0xfe; 70_000];
    let commands: [&[&[u8]]; 5] = [
        &[b"PING"],
        &[b"SET", b"", b"a\r\n$1\r\n"],
        &[b"ECHO", &long],
        &[b"*", b"$", b"-ERR", b"\0\xff\r\n"],
        &[],
    ];
    let mut stream = Vec::new();
    let mut frames = Vec::new();
    for command in commands {
        encode_command(command.iter().copied(), &mut stream);
        let arguments = command.iter().map(|argument| Tree::Bulk(argument.to_vec())).collect();
        frames.push(Tree::Array(arguments).to_string());
    }
    let wanted = Outcome { frames, error: None };
    assert_eq!(whole(&stream), wanted);
    assert_eq!(decode(DecodeLimits::default(), stream.chunks(3), Take::Completed), wanted);
}

// Limits

const SMALL: DecodeLimits = DecodeLimits { depth_max: 3, bulk_len_max: 10, elements_max: 6, line_len_max: 5 };

#[track_caller]
fn check_limit(accepted: &[u8], refused: &[u8], error: DecodeError) {
    for take in [Take::AtEnd, Take::Always] {
        for len in [1, 2, 3, usize::MAX] {
            let outcome = decode(SMALL, accepted.chunks(len), take);
            assert_eq!((outcome.frames.len(), outcome.error), (1, None), "{}", accepted.escape_ascii());
            let outcome = decode(SMALL, refused.chunks(len), take);
            assert_eq!((outcome.frames.len(), outcome.error), (0, Some(error)), "{}", refused.escape_ascii());
        }
    }
}

#[test]
fn line_limit() {
    use DecodeError::LineTooLong;
    check_limit(b"+12345\r\n", b"+123456", LineTooLong);
    check_limit(b"-12345\r\n", b"-123456\r\n", LineTooLong);
    check_limit(b"(12345\r\n", b"(123456\r\n", LineTooLong);
    check_limit(b",12345\r\n", b",123456", LineTooLong);
    check_limit(b"*1\r\n+12345\r\n", b"*1\r\n_123456", LineTooLong);
}

#[test]
fn bulk_limit() {
    use DecodeError::BulkTooLong;
    check_limit(b"$10\r\n0123456789\r\n", b"$11\r\n", BulkTooLong);
    check_limit(b"!10\r\n0123456789\r\n", b"!11\r\n", BulkTooLong);
    check_limit(b"=10\r\ntxt:456789\r\n", b"=11\r\n", BulkTooLong);
    check_limit(
        b"$?\r\n;9\r\n012345678\r\n;1\r\n9\r\n;0\r\n",
        b"$?\r\n;9\r\n012345678\r\n;2\r\n",
        BulkTooLong,
    );
}

#[test]
fn element_limit() {
    use DecodeError::TooManyElements;
    check_limit(b"*6\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n", b"*7\r\n", TooManyElements);
    check_limit(b"%3\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n", b"%4\r\n", TooManyElements);
    check_limit(b"*2\r\n*2\r\n:1\r\n:1\r\n*2\r\n:1\r\n:1\r\n", b"*2\r\n*5\r\n", TooManyElements);
    check_limit(
        b"*?\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n.\r\n",
        b"*?\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        TooManyElements,
    );
    check_limit(b"|1\r\n:1\r\n:1\r\n*3\r\n:1\r\n:1\r\n:1\r\n", b"|1\r\n:1\r\n:1\r\n*4\r\n", TooManyElements);
    check_limit(b"|0\r\n:1\r\n", &b"|0\r\n".repeat(7), TooManyElements);
    check_limit(b"|?\r\n.\r\n:1\r\n", &b"|?\r\n.\r\n".repeat(7), TooManyElements);
    // The count starts again with each frame.
    let frames = b"*6\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n".repeat(3);
    let outcome = decode(SMALL, [frames.as_slice()], Take::AtEnd);
    assert_eq!((outcome.frames.len(), outcome.error), (3, None));
}

#[test]
fn depth_limit() {
    use DecodeError::TooDeep;
    check_limit(b"*1\r\n*1\r\n*1\r\n:1\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n", TooDeep);
    check_limit(b"*1\r\n%1\r\n:1\r\n~1\r\n*0\r\n", b"*1\r\n%1\r\n:1\r\n~1\r\n~1\r\n", TooDeep);
    check_limit(b"*?\r\n*?\r\n*?\r\n.\r\n.\r\n.\r\n", b"*?\r\n*?\r\n*?\r\n*?\r\n", TooDeep);
    check_limit(b">1\r\n|1\r\n*1\r\n:1\r\n:2\r\n:3\r\n", b"|1\r\n*1\r\n*1\r\n*1\r\n", TooDeep);
}

/// A million levels on a stack that could not hold a thousand of them as calls.
#[test]
fn a_million_levels_end_in_an_error_on_a_small_stack() {
    let limits = DecodeLimits { depth_max: 1 << 19, ..DecodeLimits::default() };
    let run = move || {
        for level in ["*1\r\n", "%1\r\n", "~1\r\n", "|1\r\n", "*?\r\n", "%?\r\n", "|?\r\n"] {
            let stream = level.repeat(1_000_000);
            for limits in [DecodeLimits::default(), limits] {
                let outcome = decode(limits, [stream.as_bytes()], Take::AtEnd);
                assert_eq!((outcome.frames.len(), outcome.error), (0, Some(DecodeError::TooDeep)), "{level}");
            }
        }
    };
    let small = std::thread::Builder::new().stack_size(64 << 10).spawn(run).expect("a thread starts");
    small.join().expect("no overflow, no panic");
}

/// Limits that no memory could reach must not overflow the decoder's own sums.
#[test]
fn limits_at_their_greatest() {
    let limits = DecodeLimits {
        depth_max: usize::MAX,
        bulk_len_max: usize::MAX,
        elements_max: u32::MAX,
        line_len_max: usize::MAX,
    };
    let unfinished = Outcome { frames: Vec::new(), error: None };
    let rows: [&[u8]; 4] =
        [b"$4294967295\r\nx", b"*4294967295\r\n:1\r\n", b"%2147483647\r\n:1\r\n", b"$?\r\n;4294967295\r\n"];
    for bytes in rows {
        assert_eq!(decode(limits, bytes.chunks(1), Take::Always), unfinished, "{}", bytes.escape_ascii());
    }
    for (bytes, error) in [
        (format!("${}\r\n", u64::MAX), DecodeError::BulkTooLong),
        ("$4294967296\r\n".to_owned(), DecodeError::BulkTooLong),
        (format!("$?\r\n;1\r\na\r\n;{}\r\n", u64::MAX), DecodeError::BulkTooLong),
        (format!("*{}\r\n", u64::MAX), DecodeError::TooManyElements),
        (format!("*?\r\n%{}\r\n", u64::MAX), DecodeError::TooManyElements),
    ] {
        let outcome = decode(limits, bytes.as_bytes().chunks(1), Take::Always);
        assert_eq!(outcome.error, Some(error), "{bytes}");
    }
}

#[test]
fn an_error_comes_after_the_frames_before_it() {
    let outcome = whole(b"+OK\r\n*2\r\n:1\r\n:2\r\n$x\r\n+never\r\n");
    let frames = vec!["+'OK'".to_owned(), "[1 2]".to_owned()];
    assert_eq!(outcome, Outcome { frames, error: Some(DecodeError::BadLength) });
}

#[test]
fn nothing_in_nothing_out() {
    let nothing = Outcome { frames: Vec::new(), error: None };
    assert_eq!(decode(DecodeLimits::default(), iter::empty(), Take::AtEnd), nothing);
    assert_eq!(decode(DecodeLimits::default(), [b"".as_slice(), b""], Take::Always), nothing);
    let trickle = [b"".as_slice(), b":1\r", b"", b"\n", b""];
    assert_eq!(decode(DecodeLimits::default(), trickle, Take::Completed).frames, ["1"]);
}
