//! respass for C: the sans-IO core behind opaque handles. All unsafe code is in `handle.rs`.
//!
//! # The contract
//!
//! What holds for every function; the header's own comments say only what is special to one.
//!
//! - Handles are made by `_new`, `_open` or a call that returns one, and released once by `_free` or `_close`, where
//!   NULL does nothing. A handle is no address; nothing may be read through it.
//! - A handle that was freed, that is of another type or that was never given out is told apart:
//!   `RESPASS_RESULT_HANDLE`. A handle may move between threads; where another call uses it already, a second one
//!   does nothing: `RESPASS_RESULT_BUSY`. A child of `fork` has no use of its parent's handles but to free them:
//!   `RESPASS_RESULT_FORKED`. Freeing a handle that is in use does nothing.
//! - Every function but `_free`, `_close`, `_clear` and those of plain facts (`respass_version`,
//!   `respass_error_of_reply`) returns a `respass_result`. Results go to out-parameters, which are written on success
//!   only; a `respass_error`, where one is asked for, on failure only.
//! - Input bytes are a pointer and a length, borrowed for the call and copied where they are kept. NULL is allowed
//!   with length 0 only.
//! - Output bytes are borrowed until the next non-const call on the same handle, or owned by a `respass_output` or a
//!   `respass_reply`.
//! - A credential and a wake function are the only callbacks. There is no log and no thread-local; the one thing that
//!   is global is the table of handles. A thread is only made, by a blocking client, to look up a host's name while
//!   other connections of that client must not wait; it ends with the look-up.
//! - A panic inside is caught: the handle answers `RESPASS_RESULT_PANIC` from then on, and `_free` still works.
#![expect(clippy::missing_safety_doc, reason = "the contract above is the same for every function")]

#[macro_use]
mod handle;
mod answers;
pub mod batch;
pub mod client;
mod clock;
pub mod config;
pub mod core;
pub mod credential;
mod driver;
pub mod error;
pub mod input;
#[cfg(test)]
mod layout;
mod links;
mod messages;
#[cfg(test)]
mod misuse;
pub mod output;
pub mod reply;
pub mod request;
pub mod session;
mod socket;
pub mod source;
pub mod status;
pub mod subscriber;

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
/// The handle was freed, is of another type, or was never given out.
pub const RESPASS_RESULT_HANDLE: u32 = 4;
/// Another call uses this handle now: one of another thread, or one that this call comes from.
pub const RESPASS_RESULT_BUSY: u32 = 5;
/// The handle was made before the process forked.
pub const RESPASS_RESULT_FORKED: u32 = 6;
/// Nothing is left.
pub const RESPASS_RESULT_END: u32 = 7;

/// No time: nothing is due.
pub const RESPASS_NEVER_US: u64 = u64::MAX;

/// Points `version` at the library's version, like "1.2.3", without an end mark. It lives as long as the library.
#[unsafe(no_mangle)]
pub extern "C" fn respass_version() -> Slice {
    Slice::of(env!("CARGO_PKG_VERSION").as_bytes())
}
