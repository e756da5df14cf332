//! The core for Node: synchronous methods over owned buffers. Sockets, timers and credentials are JavaScript's
//! (`lib/`); what crosses here are batches.

mod core;
mod sessions;
mod settings;
mod source;
mod text;
mod window;

use respass::{ErrorCode, Instant, Now, UnixTime};

/// Both clocks, in microseconds: `performance.now()` and `Date.now()`, scaled.
fn now(monotonic_us: f64, unix_us: f64) -> Now {
    // A conversion from a float saturates: foreign numbers do no harm.
    Now { monotonic: Instant::from_micros(monotonic_us as u64), unix: UnixTime::from_micros(unix_us as u64) }
}

fn milliseconds(at: UnixTime) -> f64 {
    at.as_micros() as f64 / 1e3
}

/// The number of an error reply, by its text.
#[napi_derive::napi(catch_unwind)]
pub fn error_code_of(text: &[u8]) -> u32 {
    (ErrorCode::of_reply(text) as u16).into()
}

/// A string of its own outside of JavaScript's heap, of bytes that are ASCII.
#[napi_derive::napi(catch_unwind)]
pub fn segment_of(bytes: &[u8], start: f64, end: f64) -> text::LongText {
    let block = bytes.get(start as usize..end as usize).unwrap_or_default().to_vec();
    text::LongText { len: block.len(), start: 0, block }
}
