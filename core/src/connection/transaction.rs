//! What the replies ahead of EXEC's say about a transaction.

use crate::resp::{Kind, Reply};

/// What was received of a transaction's replies so far.
#[derive(Debug, Default)]
pub(crate) struct TransactionProgress {
    /// Replies to MULTI and the commands.
    steps: u32,
    /// MULTI was answered `+OK`.
    is_open: bool,
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
        if step == 0 {
            self.is_open = reply.is_text(b"OK");
        }
        if reply.kind() == Kind::Error {
            self.refusal = self.refusal.take().or_else(|| Some((step, reply.as_bytes().to_vec())));
        } else if step > 0 && !reply.is_text(b"QUEUED") {
            self.has_run = true;
        }
    }

    /// Whether the server said of MULTI and every step since that nothing runs before EXEC.
    pub(crate) fn is_only_queued(&self) -> bool {
        self.is_open && self.refusal.is_none() && !self.has_run
    }
}
