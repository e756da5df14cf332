//! Errors as the blocking surface tells them.

use crate::ResultCode;
use crate::handle::{Failure, code};
use respass_core::resp::Reply;
use respass_core::{CommandError, ErrorCode, Outcome};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// Why a call failed. The texts end with a NUL and are cut where they are too long.
#[repr(C)]
#[derive(Debug)]
pub struct ErrorReport {
    /// What the call returned: a RESPASS_RESULT_… or a RESPASS_ERROR_CODE_….
    pub code: u32,
    /// A RESPASS_OUTCOME_…: what became of the command; 0 where there was none.
    pub outcome: u32,
    /// The cause. Holds no secret; may hold text of the server's.
    pub message: [c_char; 512],
    /// What to do about it, where experience tells; else empty.
    pub hint: [c_char; 256],
}

const _: () = assert!(size_of::<ErrorReport>() == 776);

impl ErrorReport {
    fn of(failure: &Failure) -> ErrorReport {
        ErrorReport {
            code: failure.code,
            outcome: failure.outcome,
            message: terminated(&failure.text),
            hint: terminated(failure.hint),
        }
    }
}

/// As much of the text as fits: whole characters, and none that would end it early.
fn terminated<const LEN: usize>(text: &str) -> [c_char; LEN] {
    let mut out = [0; LEN];
    let kept = text.floor_char_boundary_at(LEN - 1);
    for (place, byte) in out.iter_mut().zip(kept.bytes()) {
        *place = if byte == 0 { b'?'.cast_signed() } else { byte.cast_signed() } as c_char;
    }
    out
}

trait Cut {
    fn floor_char_boundary_at(&self, len_max: usize) -> &str;
}

impl Cut for str {
    fn floor_char_boundary_at(&self, len_max: usize) -> &str {
        let mut len = self.len().min(len_max);
        while !self.is_char_boundary(len) {
            len -= 1;
        }
        &self[..len]
    }
}

impl From<&CommandError> for Failure {
    fn from(error: &CommandError) -> Failure {
        Failure {
            code: error.code as ResultCode,
            outcome: error.outcome as u32,
            text: error.text.clone().into(),
            hint: error.code.hint().unwrap_or(""),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(ErrorCode::InvalidConfig as ResultCode, format!("the system refused: {error}"))
    }
}

/// The failure that an error reply is.
pub(crate) fn of_reply(reply: &Reply<'_>) -> Failure {
    let text = reply.as_bytes();
    Failure {
        code: ErrorCode::of_reply(text) as ResultCode,
        outcome: Outcome::Refused as u32,
        text: String::from_utf8_lossy(text).into_owned().into(),
        hint: "",
    }
}

/// The result code, with the reason where somebody wants it.
#[inline]
pub(crate) fn told(error: Option<&mut MaybeUninit<ErrorReport>>, result: Result<(), Failure>) -> ResultCode {
    if let (Err(failure), Some(place)) = (&result, error) {
        place.write(ErrorReport::of(failure));
    }
    code(result)
}

/// Which RESPASS_ERROR_CODE_… an error reply is, by its first word; 0 where `text` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn respass_error_of_reply(text: *const c_char, text_len: usize) -> u32 {
    bytes!(text, text_len).map_or(0, |text| u32::from(ErrorCode::of_reply(text) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of<const LEN: usize>(text: &str) -> String {
        let bytes: Vec<u8> = terminated::<LEN>(text).iter().map(|&byte| byte.cast_unsigned()).collect();
        let end = bytes.iter().position(|&byte| byte == 0).expect("a NUL");
        String::from_utf8(bytes[..end].to_vec()).expect("whole characters")
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_ends_with_a_nul() {
        assert_eq!(text_of::<8>("short"), "short");
        assert_eq!(text_of::<8>("1234567"), "1234567");
        assert_eq!(text_of::<8>("12345678"), "1234567");
        assert_eq!(text_of::<8>("123456é8"), "123456");
        assert_eq!(text_of::<2>("é"), "");
        assert_eq!(text_of::<8>("a\0b"), "a?b");
    }
}
