//! How long a blocking command says that it waits.

use super::facts::TimeoutAt;
use super::keys::stream_words;
use std::time::Duration;

/// How long a blocking command waits at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnTimeout {
    /// For ever, if need be.
    Never,
    /// At most so long.
    After(Duration),
}

/// The timeout of a command of the lane `Blocking(at)`; `None` where it is malformed, which the server answers at once.
pub(crate) fn own_timeout<'a>(
    at: TimeoutAt,
    arguments: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Option<OwnTimeout> {
    let mut rest = arguments.skip(1);
    let duration = match at {
        TimeoutAt::SecondsFirst => seconds(rest.next()?)?,
        TimeoutAt::SecondsLast => seconds(rest.last()?)?,
        TimeoutAt::MillisBlock => Duration::from_millis(text(stream_words(rest).block?)?.parse().ok()?),
    };
    Some(if duration.is_zero() { OwnTimeout::Never } else { OwnTimeout::After(duration) })
}

/// Which argument of XREAD or XREADGROUP says how long to wait; the name is number 0.
pub(crate) fn block_at<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let words = stream_words(arguments.skip(1));
    words.block.map(|_| words.block_at + 1)
}

fn seconds(text_of: &[u8]) -> Option<Duration> {
    Duration::try_from_secs_f64(text(text_of)?.parse().ok()?).ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_where_the_command_has_them() {
        let after = |millis| Some(OwnTimeout::After(Duration::from_millis(millis)));
        for (at, line, expected) in [
            (TimeoutAt::SecondsLast, "BLPOP 7 0", Some(OwnTimeout::Never)),
            (TimeoutAt::SecondsLast, "BLPOP k 1.5", after(1500)),
            (TimeoutAt::SecondsLast, "BLPOP k x", None),
            (TimeoutAt::SecondsLast, "BLPOP k -1", None),
            (TimeoutAt::SecondsLast, "BLPOP k nan", None),
            (TimeoutAt::SecondsLast, "BLPOP k 1e300", None),
            (TimeoutAt::SecondsLast, "BLPOP", None),
            (TimeoutAt::SecondsFirst, "BLMPOP 2 1 k LEFT", after(2000)),
            (TimeoutAt::SecondsFirst, "BLMPOP", None),
            (TimeoutAt::MillisBlock, "XREAD BLOCK 20 STREAMS block 0", after(20)),
            (TimeoutAt::MillisBlock, "XREAD BLOCK 0 STREAMS s 0", Some(OwnTimeout::Never)),
            (TimeoutAt::MillisBlock, "XREADGROUP GROUP block 9 BLOCK 7 STREAMS s >", after(7)),
            (TimeoutAt::MillisBlock, "XREAD BLOCK", None),
            (TimeoutAt::MillisBlock, "XREAD BLOCK -1 STREAMS s 0", None),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(own_timeout(at, words.into_iter()), expected, "{line}");
        }
    }

    #[test]
    fn the_place_of_block_is_known_wherever_it_stands() {
        for (line, expected) in [
            ("XREAD BLOCK 20 STREAMS block 0", Some(2)),
            ("XREADGROUP BLOCK 7 GROUP block block STREAMS s >", Some(2)),
            ("XREADGROUP GROUP block block COUNT 1 BLOCK 7 STREAMS s >", Some(7)),
            ("XREAD COUNT 1 STREAMS BLOCK 0", None),
        ] {
            assert_eq!(block_at(line.split(' ').map(str::as_bytes)), expected, "{line}");
        }
    }
}
