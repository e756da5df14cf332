//! respass
#![forbid(unsafe_code)]
pub mod resp;
mod rng; mod secret; mod time;
pub use secret::Secret;
pub use time::{Instant, Now, UnixTime};
