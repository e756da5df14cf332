//! What the replies ahead of EXEC's say about a transaction.

use crate::resp::{Kind, Reply};

/// What was received of a transaction's replies so far.
#[derive(Debug, Default)]
pub(crate) struct TransactionProgress {
    /// Replies to MULTI and the commands.
    steps: u32,
    /// The first refusal: which step, and the server's words.
    pub(crate) refusal: Option<(u32, Vec<u8>)>,
    /// MULTI itself was refused, and a command ran at once instead of being queued.
    pub(crate) has_run: bool,
}

impl TransactionProgress {
    /// The reply to MULTI (the first one), or to a command behind it.
    pub(crate) fn handle_step(&mut self, reply: &Reply<'_>) {
        let step = self.steps;
        self.steps += 1;
        if reply.kind() == Kind::Error {
            self.refusal = self.refusal.take().or_else(|| Some((step, reply.as_bytes().to_vec())));
        } else if step > 0 && !reply.is_text(b"QUEUED") {
            self.has_run = true;
        }
    }
}
