//! Strings that lie in memory of ours: what JavaScript would else copy once more.

use napi::bindgen_prelude::{Buffer, ToNapiValue};
use napi::sys;
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr;

/// `node_api_create_external_string_latin1`. Node has it since 20.4; a version of Node-API that counts it among its
/// functions only since 22.14.
type CreateExternalLatin1 = unsafe extern "C" fn(
    env: sys::napi_env,
    text: *mut c_char,
    len: usize,
    finalize: sys::napi_finalize,
    hint: *mut c_void,
    result: *mut sys::napi_value,
    copied: *mut bool,
) -> sys::napi_status;

#[cfg(unix)]
fn create_external_latin1() -> Option<CreateExternalLatin1> {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // "The program": null on Linux, -2 on macOS.
    let program =
        if cfg!(target_os = "macos") { ptr::without_provenance_mut(usize::MAX - 1) } else { ptr::null_mut() };
    // SAFETY: the name ends in a zero, and the handle is the one that stands for the program.
    let symbol = unsafe { dlsym(program, c"node_api_create_external_string_latin1".as_ptr()) };
    // SAFETY: Node's header declares the function of this name so; a null pointer is `None`.
    unsafe { std::mem::transmute::<*mut c_void, Option<CreateExternalLatin1>>(symbol) }
}

#[cfg(not(unix))]
fn create_external_latin1() -> Option<CreateExternalLatin1> {
    None
}

/// A string over a part of `block` that is ASCII, or the whole block as a Buffer where Node has no such strings.
pub struct LongText {
    pub(crate) block: Vec<u8>,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl ToNapiValue for LongText {
    unsafe fn to_napi_value(env: sys::napi_env, text: LongText) -> napi::Result<sys::napi_value> {
        let LongText { block, start, len } = text;
        let is_inside = start.checked_add(len).is_some_and(|end| end <= block.len());
        let Some(create) = create_external_latin1().filter(|_| is_inside) else {
            // SAFETY: the environment is the caller's.
            return unsafe { Buffer::to_napi_value(env, block.into()) };
        };
        let block = Box::new(block);
        let size = block.len() as i64;
        let text = block.as_ptr().wrapping_add(start).cast_mut().cast();
        let hint = Box::into_raw(block);
        let (mut result, mut copied) = (ptr::null_mut(), false);
        // SAFETY: the text lies in the block, which lives until `drop_block` is called; nobody writes to it.
        let status = unsafe {
            create(env, text, len, Some(drop_block), hint.cast(), &raw mut result, &raw mut copied)
        };
        if status == sys::Status::napi_ok {
            account(env, size);
            return Ok(result);
        }
        // SAFETY: where there is no string, there is no call of `drop_block` either.
        let block = unsafe { Box::from_raw(hint) };
        // SAFETY: the environment is the caller's.
        unsafe { Buffer::to_napi_value(env, (*block).into()) }
    }
}

unsafe extern "C" fn drop_block(env: sys::napi_env, _text: *mut c_void, hint: *mut c_void) {
    // SAFETY: `to_napi_value` made it of a box, for this one call.
    let block = unsafe { Box::from_raw(hint.cast::<Vec<u8>>()) };
    account(env, -(block.len() as i64));
}

/// The collector hears only of what exceeds this: else it would come for every few large replies, and take longer
/// than it takes to read them.
const UNTOLD: i64 = 32 << 20;

thread_local! {
    /// How much there is outside of this thread's heap.
    static OUTSIDE: Cell<i64> = const { Cell::new(0) };
}

/// Tells the collector of memory that it does not see, so that it comes in time.
fn account(env: sys::napi_env, change: i64) {
    let before = OUTSIDE.get();
    let after = before + change;
    OUTSIDE.set(after);
    let change = (after - UNTOLD).max(0) - (before - UNTOLD).max(0);
    if change == 0 {
        return;
    }
    // A string may outlive its environment.
    if env.is_null() {
        return;
    }
    let mut total = 0;
    // SAFETY: the environment is alive, and the result is written to a variable of ours. What it says is of no use.
    unsafe { sys::napi_adjust_external_memory(env, change, &raw mut total) };
}
