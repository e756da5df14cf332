//! How commands come in: checked, numbered, and passed on to where they are run.

use super::routing::{CROSS_SLOT, Route};
use super::{Client, Lane, lanes};
use crate::command::{Batch, Command, CommandId, CommandIds, Facts, Lane as Needs, facts_of};
use crate::connection::{Journey, Unit};
use crate::error::{ErrorCode, Outcome, SubmitError};
use crate::resp::encode_command;
use crate::time::{Instant, Now};
use std::time::Duration;

impl Client {
    /// Accepts one command. Exactly one output answers it.
    pub fn submit(&mut self, command: Command<'_>, now: Now) -> Result<CommandId, SubmitError> {
        let arguments = || command.arguments.iter().copied();
        let facts = facts_of(arguments());
        let len = self.check(&facts, arguments())?;
        self.admit(len, 1)?;
        let monotonic = self.observe(now);
        let timeout = self.timeout_of(command.timeout);
        let id = self.next_id();
        self.send(id, &facts, arguments(), timeout, monotonic);
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
        let timeout = self.timeout_of(None);
        let first = CommandId(self.latest_command + 1);
        let mut count = 0;
        if !self.cluster.is_cluster
            && let Some(lane) = self.lanes.first_mut()
        {
            lane.queue.reserve(len);
        }
        for arguments in batch.commands() {
            let id = self.next_id();
            self.pass_on(id, &facts_of(arguments), arguments, timeout, monotonic);
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
        let timeout = self.timeout_of(None);
        let first = CommandId(self.latest_command + 1);
        let mut count = 0;
        for arguments in batch.commands() {
            let id = self.next_id();
            count += 1;
            let facts = facts_of(arguments);
            match self.check(&facts, arguments).and_then(|len| self.admit(len, 1)) {
                Ok(()) => self.pass_on(id, &facts, arguments, timeout, monotonic),
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
        let route = self.route_transaction(batch.commands());
        if route == Route::CrossSlot {
            return Err(SubmitError { code: ErrorCode::CrossSlot, text: CROSS_SLOT.to_owned() });
        }
        let timeout = self.timeout_of(None);
        let id = self.next_id();
        match route {
            Route::Lane(lane) => {
                if let Some(lane) = lanes::get(&mut self.lanes, lane) {
                    let deadline = lane.clock.read(monotonic).saturating_add(timeout);
                    lane.queue.push_transaction(id, deadline, batch.commands());
                }
            }
            Route::NoNode(slot) => {
                let unit = Unit::transaction(id, batch.commands());
                self.park_for_slot(unit, slot, timeout, monotonic);
            }
            Route::FanOut | Route::CrossSlot => {}
        }
        self.settle(monotonic);
        Ok(id)
    }

    /// Passes a command on, and brings in line whom it touches.
    fn send<'a>(
        &mut self,
        id: CommandId,
        facts: &Facts,
        arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        timeout: u64,
        now: Instant,
    ) {
        if facts.lane == Needs::Main
            && let Route::Lane(lane) = self.route(facts, arguments.clone())
            && let Some(own) = lanes::get(&mut self.lanes, lane)
        {
            own.push(id, arguments, timeout, now);
            // Behind others that the driver has not fetched, one more changes nothing.
            let is_signalled = |own: &Lane| {
                own.connection.as_ref().is_some_and(|connection| connection.is_transmit_signalled)
            };
            if !is_signalled(own) {
                self.settle_lane(lane, now);
            }
            return;
        }
        self.pass_on(id, facts, arguments, timeout, now);
        self.settle(now);
    }

    /// Puts a command where it is to wait for being sent.
    fn pass_on<'a>(
        &mut self,
        id: CommandId,
        facts: &Facts,
        arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        timeout: u64,
        now: Instant,
    ) {
        if let Needs::Blocking(at) = facts.lane {
            let arguments: Vec<&[u8]> = arguments.collect();
            if self.submit_blocking(id, at, facts, &arguments, timeout, now).is_err() {
                self.fail(id, ErrorCode::CrossSlot, Outcome::NotSent, CROSS_SLOT);
            }
            return;
        }
        match self.route(facts, arguments.clone()) {
            Route::Lane(lane) => {
                if let Some(lane) = lanes::get(&mut self.lanes, lane) {
                    lane.push(id, arguments, timeout, now);
                }
            }
            Route::FanOut => {
                let arguments: Vec<&[u8]> = arguments.collect();
                self.fan_out(id, facts, &arguments, timeout, now);
            }
            Route::NoNode(slot) => {
                let mut bytes = Vec::new();
                encode_command(arguments, &mut bytes);
                let unit = Unit { id, bytes, steps: 0, journey: Journey::default(), is_inspected: false };
                self.park_for_slot(unit, slot, timeout, now);
            }
            Route::CrossSlot => self.fail(id, ErrorCode::CrossSlot, Outcome::NotSent, CROSS_SLOT),
        }
    }

    pub(super) fn next_id(&mut self) -> CommandId {
        self.latest_command += 1;
        CommandId(self.latest_command)
    }

    /// How long a reply may take, in microseconds.
    pub(super) fn timeout_of(&self, timeout: Option<Duration>) -> u64 {
        let timeout = timeout.unwrap_or(self.config.timeouts.command);
        u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX)
    }

    /// About how many bytes a command takes; refused where only a session or the client itself may send it.
    pub(super) fn check<'a>(
        &self,
        facts: &Facts,
        arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<usize, SubmitError> {
        let len = self.check_len(arguments.clone())?;
        match facts.lane {
            Needs::Main | Needs::Blocking(_) => Ok(len),
            Needs::Session | Needs::Refused => Err(refused(facts.lane, arguments)),
        }
    }

    pub(super) fn check_len<'a>(
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
        let len = arguments.map(|argument| argument.len() + ARGUMENT_OVERHEAD).sum();
        if len > limits.command_len_max {
            return Err(too_large(len));
        }
        Ok(len)
    }

    /// How many bytes a transaction takes, and how many commands it has.
    pub(super) fn check_all(&self, batch: Batch<'_>) -> Result<(usize, usize), SubmitError> {
        let (mut len, mut count) = (0, 0);
        for arguments in batch.commands() {
            len += self.check(&facts_of(arguments), arguments)?;
            count += 1;
        }
        Ok((len, count))
    }

    /// Whether there is room. One command (or transaction) of any allowed size always finds room in an empty queue.
    pub(super) fn admit(&self, len: usize, count: usize) -> Result<(), SubmitError> {
        self.check_open()?;
        let queued: usize = self.lanes.iter().map(Lane::held_bytes).sum();
        let held = queued + self.parked.len_bytes();
        if (held > 0 || count > 1) && held + len > self.config.limits.queued_bytes_max {
            let text = format!("{held} bytes of commands wait already; {len} more are over the limit");
            return Err(SubmitError { code: ErrorCode::QueueFull, text });
        }
        Ok(())
    }

    pub(super) fn check_open(&self) -> Result<(), SubmitError> {
        if self.is_closed || self.is_finishing {
            return Err(SubmitError { code: ErrorCode::Closed, text: "the client is closed".to_owned() });
        }
        Ok(())
    }
}

impl Lane {
    /// Queues a command that has so many microseconds.
    fn push<'a>(
        &mut self,
        id: CommandId,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
        timeout: u64,
        now: Instant,
    ) {
        let deadline = self.clock.read(now).saturating_add(timeout);
        self.queue.push(id, deadline, arguments);
    }
}

/// `$<len>\r\n…\r\n` around each argument.
const ARGUMENT_OVERHEAD: usize = 12;

pub(super) fn malformed() -> SubmitError {
    let text = "the command is empty, or its lengths do not fit its bytes".to_owned();
    SubmitError { code: ErrorCode::InvalidCommand, text }
}

pub(super) fn too_large(len: usize) -> SubmitError {
    SubmitError {
        code: ErrorCode::InvalidCommand,
        text: format!("{len} bytes are too large for one command"),
    }
}

pub(super) fn refused<'a>(needs: Needs, mut arguments: impl Iterator<Item = &'a [u8]>) -> SubmitError {
    let name = String::from_utf8_lossy(arguments.next().unwrap_or_default()).to_uppercase();
    let is_streaming = matches!(name.as_str(), "MONITOR" | "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE");
    if needs != Needs::Refused || is_streaming {
        let owner = if is_streaming { "a subscriber" } else { "a session" };
        let text = format!("{name} needs a connection of its own: that of {owner}");
        return SubmitError { code: ErrorCode::NeedsOwnConnection, text };
    }
    let text = format!(
        "{name} changes a state that the client keeps itself (login, protocol, database, transaction)"
    );
    SubmitError { code: ErrorCode::OwnedByClient, text }
}
