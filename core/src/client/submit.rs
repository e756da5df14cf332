//! How commands come in: checked, numbered, encoded and queued in one step.

use super::{Client, Now};
use crate::command::{Batch, Command, CommandId, CommandIds, Refusal, refusal};
use crate::error::{ErrorCode, Outcome, SubmitError};
use std::time::Duration;

impl Client {
    /// Accepts one command. Exactly one output answers it.
    pub fn submit(&mut self, command: Command<'_>, now: Now) -> Result<CommandId, SubmitError> {
        let arguments = || command.arguments.iter().copied();
        let len = self.check(arguments())?;
        self.admit(len, 1)?;
        let monotonic = self.observe(now);
        let deadline = self.deadline(command.timeout, monotonic);
        let id = self.next_id();
        self.node.queue.push(id, deadline, arguments());
        // Behind others that the driver has not fetched, one more changes nothing.
        if !self.is_transmit_signalled {
            self.settle(monotonic);
        }
        Ok(id)
    }

    /// Accepts a batch of commands under the default timeout: all of them or none.
    pub fn submit_batch(
        &mut self,
        bytes: &[u8],
        lengths: &[u32],
        now: Now,
    ) -> Result<CommandIds, SubmitError> {
        let batch = Batch::new(bytes, lengths).ok_or_else(malformed)?;
        let (len, count) = self.check_all(batch)?;
        self.admit(len, count)?;
        let monotonic = self.observe(now);
        let deadline = self.deadline(None, monotonic);
        let first = CommandId(self.latest_command + 1);
        let mut count = 0;
        self.node.queue.reserve(len);
        for arguments in batch.commands() {
            let id = self.next_id();
            self.node.queue.push(id, deadline, arguments);
            count += 1;
        }
        self.settle(monotonic);
        Ok(CommandIds { first, count })
    }

    /// Accepts what several callers submitted in one turn: commands that have nothing to do with each other. Each gets
    /// an id; one that cannot be sent fails by itself. Only blocks that do not fit each other are refused.
    pub fn submit_each(
        &mut self,
        bytes: &[u8],
        lengths: &[u32],
        now: Now,
    ) -> Result<CommandIds, SubmitError> {
        let batch = Batch::new(bytes, lengths).ok_or_else(malformed)?;
        let monotonic = self.observe(now);
        let deadline = self.deadline(None, monotonic);
        let first = CommandId(self.latest_command + 1);
        let mut count = 0;
        for arguments in batch.commands() {
            let id = self.next_id();
            count += 1;
            match self.check(arguments).and_then(|len| self.admit(len, 1)) {
                Ok(()) => self.node.queue.push(id, deadline, arguments),
                Err(error) => self.fail(id, error.code, Outcome::NotSent, &error.text),
            }
        }
        self.settle(monotonic);
        Ok(CommandIds { first, count })
    }

    /// Accepts a transaction: MULTI, the commands and EXEC go out as one unit and have one answer, EXEC's. Where the
    /// server refuses a command when it is queued, that error is the answer, and nothing ran.
    pub fn submit_transaction(
        &mut self,
        bytes: &[u8],
        lengths: &[u32],
        now: Now,
    ) -> Result<CommandId, SubmitError> {
        let batch = Batch::new(bytes, lengths).filter(|_| !lengths.is_empty()).ok_or_else(malformed)?;
        let (len, _) = self.check_all(batch)?;
        if len > self.config.limits.command_len_max {
            return Err(too_large(len));
        }
        self.admit(len, 1)?;
        let monotonic = self.observe(now);
        let deadline = self.deadline(None, monotonic);
        let id = self.next_id();
        self.node.queue.push_transaction(id, deadline, batch.commands());
        self.settle(monotonic);
        Ok(id)
    }

    fn next_id(&mut self) -> CommandId {
        self.latest_command += 1;
        CommandId(self.latest_command)
    }

    fn deadline(&self, timeout: Option<Duration>, now: crate::time::Instant) -> u64 {
        let timeout = timeout.unwrap_or(self.config.timeouts.command);
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        self.node.clock.read(now).saturating_add(timeout)
    }

    /// About how many bytes the command takes; refused where it cannot be sent.
    fn check<'a>(
        &self,
        arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<usize, SubmitError> {
        let count = arguments.len();
        let limits = &self.config.limits;
        if count == 0 {
            return Err(malformed());
        }
        if count > limits.arguments_max {
            let text = format!("{count} arguments; a server takes {} at most", limits.arguments_max);
            return Err(SubmitError { code: ErrorCode::InvalidCommand, text });
        }
        let len = arguments.clone().map(|argument| argument.len() + ARGUMENT_OVERHEAD).sum();
        if len > limits.command_len_max {
            return Err(too_large(len));
        }
        let mut name = arguments.clone();
        match refusal(arguments) {
            None => Ok(len),
            Some(refusal) => Err(refused(refusal, name.next().unwrap_or_default())),
        }
    }

    /// How many bytes a batch takes, and how many commands it has.
    fn check_all(&self, batch: Batch<'_>) -> Result<(usize, usize), SubmitError> {
        let (mut len, mut count) = (0, 0);
        for arguments in batch.commands() {
            len += self.check(arguments)?;
            count += 1;
        }
        Ok((len, count))
    }

    /// Whether there is room. One command (or transaction) of any allowed size always finds room in an empty queue.
    fn admit(&self, len: usize, count: usize) -> Result<(), SubmitError> {
        if self.is_closed || self.is_finishing {
            return Err(SubmitError { code: ErrorCode::Closed, text: "the client is closed".to_owned() });
        }
        let held = self.node.held_bytes();
        if (held > 0 || count > 1) && held + len > self.config.limits.queued_bytes_max {
            let text = format!("{held} bytes of commands wait already; {len} more are over the limit");
            return Err(SubmitError { code: ErrorCode::QueueFull, text });
        }
        Ok(())
    }
}

/// `$<len>\r\n…\r\n` around each argument.
const ARGUMENT_OVERHEAD: usize = 12;

fn malformed() -> SubmitError {
    let text = "the command is empty, or its lengths do not fit its bytes".to_owned();
    SubmitError { code: ErrorCode::InvalidCommand, text }
}

fn too_large(len: usize) -> SubmitError {
    SubmitError {
        code: ErrorCode::InvalidCommand,
        text: format!("{len} bytes are too large for one command"),
    }
}

fn refused(refusal: Refusal, name: &[u8]) -> SubmitError {
    let name = String::from_utf8_lossy(name).to_uppercase();
    match refusal {
        Refusal::NeedsOwnConnection => SubmitError {
            code: ErrorCode::NeedsOwnConnection,
            text: format!("{name} needs a connection of its own, which this version does not open"),
        },
        Refusal::OwnedByClient => SubmitError {
            code: ErrorCode::OwnedByClient,
            text: format!(
                "{name} changes a state that the client keeps itself (login, protocol, database, transaction)"
            ),
        },
    }
}
