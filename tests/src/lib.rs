//! What the test programs share.

pub mod resp_corpus;
pub mod simulator;
