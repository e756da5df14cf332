//! What the test programs share.

pub mod conversation;
pub mod conversation_nodes;
pub mod resp_corpus;
pub mod resp_text;
pub mod simulator;
pub mod tree;
pub mod vector;
pub mod vector_script;
