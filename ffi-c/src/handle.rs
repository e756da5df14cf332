//! The line between C and Rust: everything unsafe is here.
//!
//! Handles and out-parameters cross as `Option<&mut T>`, which is a pointer that may be NULL to both languages; what
//! is left to check by hand are blocks of bytes.

use crate::{
    RESPASS_RESULT_ARGUMENT, RESPASS_RESULT_NULL, RESPASS_RESULT_OK, RESPASS_RESULT_PANIC, ResultCode,
};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a call did nothing.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ResultCode,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn argument(text: impl Into<String>) -> Failure {
        Failure { code: RESPASS_RESULT_ARGUMENT, text: text.into() }
    }

    pub(crate) fn null() -> Failure {
        Failure { code: RESPASS_RESULT_NULL, text: "a pointer is NULL that must not be".to_owned() }
    }
}

/// What stands behind a handle, with the memory of a panic.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    value: T,
    /// Set by const calls too, hence the cell; no two threads use a handle at once.
    is_poisoned: AtomicBool,
    /// Of the latest call that failed.
    error: String,
}

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Guarded<T> {
        Guarded { value, is_poisoned: AtomicBool::new(false), error: String::new() }
    }

    pub(crate) fn error(&self) -> &str {
        &self.error
    }

    /// Runs a call that may change the handle.
    pub(crate) fn call(&mut self, body: impl FnOnce(&mut T) -> Result<(), Failure>) -> ResultCode {
        if self.is_poisoned.load(Ordering::Relaxed) {
            return RESPASS_RESULT_PANIC;
        }
        match catch_unwind(AssertUnwindSafe(|| body(&mut self.value))) {
            Ok(Ok(())) => RESPASS_RESULT_OK,
            Ok(Err(failure)) => {
                self.error = failure.text;
                failure.code
            }
            Err(_) => {
                self.is_poisoned.store(true, Ordering::Relaxed);
                "a bug in respass made this handle unusable".clone_into(&mut self.error);
                RESPASS_RESULT_PANIC
            }
        }
    }

    /// Runs a call that does not change the handle.
    pub(crate) fn look(&self, body: impl FnOnce(&T) -> Result<(), Failure>) -> ResultCode {
        if self.is_poisoned.load(Ordering::Relaxed) {
            return RESPASS_RESULT_PANIC;
        }
        match catch_unwind(AssertUnwindSafe(|| body(&self.value))) {
            Ok(Ok(())) => RESPASS_RESULT_OK,
            Ok(Err(failure)) => failure.code,
            Err(_) => {
                self.is_poisoned.store(true, Ordering::Relaxed);
                RESPASS_RESULT_PANIC
            }
        }
    }
}

/// Runs a call that has no handle yet.
pub(crate) fn make(body: impl FnOnce() -> Result<(), Failure>) -> ResultCode {
    Guarded::new(()).call(|()| body())
}

/// Drops what a handle stood for. A panic on the way leaks the rest.
pub(crate) fn free<T>(handle: Option<Box<T>>) {
    // Nobody is left to be told.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
}

/// The place that a result goes to. To be asked for before anything is done.
pub(crate) fn place<T>(out: Option<&mut MaybeUninit<T>>) -> Result<&mut MaybeUninit<T>, Failure> {
    out.ok_or_else(Failure::null)
}

/// A caller's block of bytes or numbers, borrowed for the call.
macro_rules! block {
    ($data:expr, $len:expr) => {{
        // SAFETY: the crate's contract: `data` points at `len` elements that nobody changes during the call.
        unsafe { $crate::handle::block_of($data, $len) }
    }};
}

/// A caller's bytes, whatever C calls them, borrowed for the call.
macro_rules! bytes {
    ($data:expr, $len:expr) => {
        block!($data.cast::<u8>(), $len)
    };
}

/// A caller's text, borrowed for the call.
macro_rules! text {
    ($data:expr, $len:expr) => {
        bytes!($data, $len).and_then($crate::handle::text_of)
    };
}

pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::argument("a text is not UTF-8"))
}

/// A seed from its 32 bytes.
pub(crate) fn seed_of(bytes: &[u8]) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.copy_from_slice(bytes);
    seed
}

/// # Safety
///
/// Unless `len` is 0, `data` is NULL, misaligned, or points at `len` elements that nobody changes during `'a`.
pub(crate) unsafe fn block_of<'a, T>(data: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::null());
    }
    if !data.is_aligned() || len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument("a block is misaligned, or longer than memory"));
    }
    // SAFETY: not NULL, aligned and not too long, as just checked; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_poisons_the_handle_for_ever_and_it_can_still_be_freed() {
        let mut handle = Box::new(Guarded::new(1));
        assert_eq!(handle.call(|_| panic!("on purpose")), RESPASS_RESULT_PANIC);
        assert_eq!(handle.call(|_| Ok(())), RESPASS_RESULT_PANIC);
        assert_eq!(handle.look(|_| Ok(())), RESPASS_RESULT_PANIC);
        assert!(handle.error().contains("bug"));
        free(Some(handle));
    }

    #[test]
    fn a_call_that_failed_leaves_its_reason_and_the_handle_in_order() {
        let mut handle = Guarded::new(1);
        assert_eq!(handle.call(|_| Err(Failure::argument("no"))), RESPASS_RESULT_ARGUMENT);
        assert_eq!(handle.error(), "no");
        assert_eq!(handle.call(|_| Ok(())), RESPASS_RESULT_OK);
    }

    #[test]
    fn null_is_an_empty_block_and_nothing_else() {
        // SAFETY: NULL and a misaligned pointer are among the allowed values: nothing is read.
        unsafe {
            assert!(block_of::<u32>(std::ptr::null(), 0).expect("empty").is_empty());
            assert_eq!(block_of::<u32>(std::ptr::null(), 1).expect_err("NULL").code, RESPASS_RESULT_NULL);
            let misaligned = std::ptr::without_provenance::<u32>(3);
            assert_eq!(block_of(misaligned, 1).expect_err("misaligned").code, RESPASS_RESULT_ARGUMENT);
        }
    }
}
