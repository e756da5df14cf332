//! respass for C: the sans-IO core behind opaque handles. All unsafe code is in `handle.rs`.
//!
//! # The contract
//!
//! What holds for every function; the header's own comments say only what is special to one.
//!
//! - Handles are made by `_new` and released once by `_free`, where NULL does nothing. A handle may move between
//!   threads, but no two threads may use it at once.
//! - Every function but `_free`, `_clear` and `respass_version` returns a `respass_result`. Results go to
//!   out-parameters, which are written on success only.
//! - Input bytes are a pointer and a length, borrowed for the call and copied where they are kept. NULL is allowed
//!   with length 0 only. No text is NUL-terminated.
//! - Output bytes are borrowed until the next non-const call on the same handle, or owned by a `respass_output`.
//! - No callbacks, no global state, no thread-locals, no log.
//! - A panic inside is caught: the handle answers `RESPASS_RESULT_PANIC` from then on, and `_free` still works.
#![expect(clippy::missing_safety_doc, reason = "the contract above is the same for every function")]

#[macro_use]
mod handle;
pub mod client;
pub mod config;
pub mod input;
pub mod output;
pub mod source;

use output::Slice;

/// What a call came to: `RESPASS_RESULT_…` below 100, `RESPASS_ERROR_…` from 100.
pub type ResultCode = u32;

/// The call did what it says.
pub const RESPASS_RESULT_OK: u32 = 0;
/// A pointer is NULL that must not be.
pub const RESPASS_RESULT_NULL: u32 = 1;
/// An argument is out of range, misaligned or no UTF-8.
pub const RESPASS_RESULT_ARGUMENT: u32 = 2;
/// This handle met a bug in respass, now or before. All that is left to do is to free it.
pub const RESPASS_RESULT_PANIC: u32 = 3;

/// No time: nothing is due.
pub const RESPASS_NEVER_US: u64 = u64::MAX;

/// Points `version` at the library's version, like "1.2.3", without an end mark. It lives as long as the library.
#[unsafe(no_mangle)]
pub extern "C" fn respass_version() -> Slice {
    Slice::of(env!("CARGO_PKG_VERSION").as_bytes())
}
