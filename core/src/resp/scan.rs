//! Numbers and single values at a place in the bytes.

use super::limits::DecodeError;
use super::reply::{Kind, Node};

/// What was read of a number so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    value: u64,
    digits: u8,
    sign: Sign,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sign {
    #[default]
    None,
    Plus,
    Minus,
}

/// What a length or count may say.
pub(super) enum Length {
    Known(u64),
    /// RESP2's -1: there is no value.
    Null,
}

impl Number {
    /// The number as a length: no sign, but for -1.
    pub(super) fn length(self) -> Result<Length, DecodeError> {
        match (self.sign, self.value) {
            (Sign::None, value) => Ok(Length::Known(value)),
            (Sign::Minus, 1) => Ok(Length::Null),
            _ => Err(DecodeError::BadLength),
        }
    }

    pub(super) fn integer(self) -> Option<i64> {
        match self.sign {
            Sign::Minus if self.value <= 1 << 63 => Some(self.value.wrapping_neg().cast_signed()),
            Sign::Minus => None,
            Sign::None | Sign::Plus => i64::try_from(self.value).ok(),
        }
    }
}

pub(super) enum Scan {
    Complete { number: Number, next: usize },
    Partial { number: Number, at: usize },
}

/// Reads `[+-]digits CR LF` from `at` on, where `number` holds what was read before. No leading zeros, 64 bits.
#[inline]
pub(super) fn scan_number(buffer: &[u8], mut at: usize, mut number: Number) -> Result<Scan, DecodeError> {
    loop {
        let Some(&byte) = buffer.get(at) else { return Ok(Scan::Partial { number, at }) };
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            let zero_in_front = number.digits > 0 && number.value == 0;
            let value = number.value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit)));
            let Some(value) = value.filter(|_| !zero_in_front) else { return Err(DecodeError::BadLength) };
            number.value = value;
            number.digits += 1;
        } else if byte == b'\r' && number.digits > 0 {
            return match buffer.get(at + 1) {
                None => Ok(Scan::Partial { number, at }),
                Some(b'\n') => Ok(Scan::Complete { number, next: at + 2 }),
                Some(_) => Err(DecodeError::BadTerminator),
            };
        } else if number.digits == 0 && number.sign == Sign::None && matches!(byte, b'-' | b'+') {
            number.sign = if byte == b'-' { Sign::Minus } else { Sign::Plus };
        } else {
            return Err(DecodeError::BadLength);
        }
        at += 1;
    }
}

/// The grammar of RESP3 doubles: a decimal number with optional fraction and exponent, `inf`, `-inf`, `nan`.
pub(super) fn parse_double(text: &[u8]) -> Option<f64> {
    match text {
        b"inf" | b"+inf" => return Some(f64::INFINITY),
        b"-inf" => return Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => return Some(f64::NAN),
        _ => {}
    }
    if !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E')) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The bulk string or integer at the front of `bytes`, which are the last of a buffer, and what follows it.
#[inline(always)]
pub(super) fn plain_leaf(bytes: &[u8], buffer_len: usize, bulk_len_max: usize) -> Option<(Node, &[u8])> {
    let (&sign, line) = bytes.split_first()?;
    let (number, rest) = plain_number(line)?;
    match sign {
        b'$' => {
            let len = usize::try_from(number).ok().filter(|&len| len <= bulk_len_max)?;
            let start = buffer_len - rest.len();
            let rest = rest.get(len..)?.strip_prefix(b"\r\n")?;
            // Below 2^32 by the limit.
            Some((Node::new(Kind::BulkString, len as u32, start as u64), rest))
        }
        b':' => Some((Node::new(Kind::Integer, 0, number), rest)),
        _ => None,
    }
}

/// The number at the front of `bytes`, where it is a plain one of at most 18 digits, and what follows its line.
#[inline(always)]
fn plain_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digit = |byte: u8| u64::from(byte.wrapping_sub(b'0'));
    match *bytes {
        // Nearly all lengths, without a loop.
        [a @ b'0'..=b'9', b'\r', b'\n', ref rest @ ..] => Some((digit(a), rest)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ref rest @ ..] => {
            Some((digit(a) * 10 + digit(b), rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ref rest @ ..] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), rest))
        }
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..] => longer_number(bytes),
        _ => None,
    }
}

fn longer_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut len = 0;
    while let Some(digit @ 0..=9) = bytes.get(len).map(|byte| byte.wrapping_sub(b'0')) {
        // Overflows beyond 18 digits only, and then counts for nothing.
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        len += 1;
    }
    let rest = bytes.get(len..)?.strip_prefix(b"\r\n")?;
    (len <= 18).then_some((value, rest))
}
