//! Commands that wait to be sealed. They belong to the node, not to a connection: what was never handed over is
//! still ours when a connection is lost.

use crate::command::CommandId;
use crate::resp::{encode_command, encode_header};
use std::collections::VecDeque;

/// One command, or one MULTI…EXEC unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) id: CommandId,
    /// Bytes on the wire.
    pub(crate) len: usize,
    /// On the command clock, in microseconds.
    pub(crate) deadline: u64,
    /// Replies before the one that counts: 0 for a command, MULTI's and each QUEUED for a transaction.
    pub(crate) steps: u32,
    /// With fewer bytes nothing can run: a command needs all of its own, a transaction those of MULTI and the
    /// first command behind it, which a server runs at once where it refuses MULTI.
    runs_from: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Wanted,
    /// Nobody waits for it any more; its bytes are skipped.
    Dropped,
    /// Nobody waits, but its first bytes left: the rest must follow.
    Detached,
}

impl Queued {
    /// Whether somebody waits for the reply.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state == State::Wanted
    }
}

/// What became of a command that was taken out of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// None of its bytes had left.
    Untouched,
    /// A part had left, the rest will follow.
    PartlySealed,
}

/// What moved of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sealed<'a> {
    /// Its first byte.
    Begun(&'a Queued),
    /// Its last byte.
    Whole(&'a Queued),
}

/// A FIFO of encoded commands over one block of bytes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    /// The first byte that is not sealed.
    head: usize,
    entries: VecDeque<Queued>,
    /// Bytes of the first entry that are sealed already.
    sealed_of_first: usize,
    /// No deadline is earlier; may be too early once commands have left.
    earliest_deadline: Option<u64>,
}

impl Queue {
    /// Appends a command.
    pub(crate) fn push<'a>(
        &mut self,
        id: CommandId,
        deadline: u64,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
    ) {
        let start = self.bytes.len();
        encode_command(arguments, &mut self.bytes);
        self.push_entry(id, deadline, 0, start, self.bytes.len());
    }

    /// Appends MULTI, the commands and EXEC as one unit.
    pub(crate) fn push_transaction<'a, C>(&mut self, id: CommandId, deadline: u64, commands: C)
    where
        C: Iterator,
        C::Item: ExactSizeIterator<Item = &'a [u8]>,
    {
        let start = self.bytes.len();
        let (mut steps, mut first_end) = (1, None);
        self.word(b"MULTI");
        for command in commands {
            encode_command(command, &mut self.bytes);
            first_end = first_end.or(Some(self.bytes.len()));
            steps += 1;
        }
        self.word(b"EXEC");
        self.push_entry(id, deadline, steps, start, first_end.unwrap_or(self.bytes.len()));
    }

    /// Makes room for commands of about so many bytes in all, so that the buffer moves once at most.
    pub(crate) fn reserve(&mut self, len: usize) {
        self.bytes.reserve(len);
    }

    fn word(&mut self, word: &[u8]) {
        encode_header(b'*', 1, &mut self.bytes);
        encode_header(b'$', word.len(), &mut self.bytes);
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The bytes from `start` on are a command's or a transaction's; with those up to `first_end` something
    /// can run.
    fn push_entry(&mut self, id: CommandId, deadline: u64, steps: u32, start: usize, first_end: usize) {
        let (len, runs_from) = (self.bytes.len() - start, first_end - start);
        self.entries.push_back(Queued { id, len, deadline, steps, runs_from, state: State::Wanted });
        self.earliest_deadline =
            Some(self.earliest_deadline.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Whether a command's first bytes left and the rest did not: nothing may come between.
    pub(crate) fn is_mid_command(&self) -> bool {
        self.sealed_of_first > 0
    }

    /// Bytes of a command that was sealed in part.
    pub(crate) fn rest_of_first(&self) -> usize {
        let rest = |first: &Queued| if self.is_mid_command() { first.len - self.sealed_of_first } else { 0 };
        self.entries.front().map_or(0, rest)
    }

    /// No deadline on the command clock is earlier.
    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        self.earliest_deadline
    }

    /// Moves up to `room` bytes to `out`; `sealed` is told each command whose first or last byte moved.
    pub(crate) fn seal(&mut self, mut room: usize, out: &mut Vec<u8>, mut sealed: impl FnMut(Sealed<'_>)) {
        let mut run = self.head..self.head;
        while let Some(first) = self.entries.front() {
            if first.state == State::Dropped {
                // A dropped command interrupts the run of bytes to move.
                out.extend_from_slice(self.bytes.get(run.clone()).unwrap_or_default());
                run = run.end + first.len..run.end + first.len;
                self.entries.pop_front();
                continue;
            }
            if room == 0 {
                break;
            }
            let rest = first.len - self.sealed_of_first;
            let moved = rest.min(room);
            run.end += moved;
            room -= moved;
            if self.sealed_of_first == 0 {
                sealed(Sealed::Begun(first));
            }
            if moved < rest {
                self.sealed_of_first += moved;
                break;
            }
            self.sealed_of_first = 0;
            sealed(Sealed::Whole(first));
            self.entries.pop_front();
        }
        out.extend_from_slice(self.bytes.get(run.clone()).unwrap_or_default());
        self.head = run.end;
        self.release();
    }

    /// After a connection was lost: what had left only in part, and cannot have run, goes out whole on the
    /// next one, unless nobody waits for it. A transaction of which something may have run is taken out and
    /// returned.
    /// `is_only_queued`: whether the server said of that transaction that nothing of it runs before EXEC.
    pub(crate) fn rewind(&mut self, is_only_queued: impl FnOnce(CommandId) -> bool) -> Option<CommandId> {
        let sealed = std::mem::take(&mut self.sealed_of_first);
        self.head -= sealed;
        let first = self.entries.front_mut()?;
        let may_have_run = sealed >= first.runs_from && !is_only_queued(first.id);
        let failed = (may_have_run && first.is_wanted()).then_some(first.id);
        if failed.is_some() || first.state == State::Detached {
            first.state = State::Dropped;
        }
        self.forget_dropped();
        failed
    }

    /// Takes out one command; `None` where it is not here.
    pub(crate) fn remove(&mut self, id: CommandId) -> Option<Removed> {
        let index = self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let removed = self.detach(index);
        self.forget_dropped();
        removed
    }

    /// Takes out every command whose deadline is at or before `clock`.
    pub(crate) fn remove_overdue(&mut self, clock: u64, mut removed: impl FnMut(CommandId, Removed)) {
        if self.earliest_deadline.is_none_or(|earliest| earliest > clock) {
            return;
        }
        let mut earliest = None;
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index).copied().filter(Queued::is_wanted) else { continue };
            if entry.deadline <= clock {
                if let Some(how) = self.detach(index) {
                    removed(entry.id, how);
                }
            } else {
                earliest = Some(earliest.map_or(entry.deadline, |at: u64| at.min(entry.deadline)));
            }
        }
        self.earliest_deadline = earliest;
        self.forget_dropped();
    }

    /// Takes out every command.
    pub(crate) fn remove_all(&mut self, removed: impl FnMut(CommandId, Removed)) {
        self.earliest_deadline = Some(0);
        self.remove_overdue(u64::MAX, removed);
        if !self.is_mid_command() {
            *self = Queue::default();
        }
    }

    fn detach(&mut self, index: usize) -> Option<Removed> {
        let partly = index == 0 && self.is_mid_command();
        let entry = self.entries.get_mut(index).filter(|entry| entry.is_wanted())?;
        if partly {
            entry.state = State::Detached;
            Some(Removed::PartlySealed)
        } else {
            entry.state = State::Dropped;
            Some(Removed::Untouched)
        }
    }

    /// Lets go of dropped commands at the front: nobody waits for them, and they must not fill the queue.
    fn forget_dropped(&mut self) {
        while let Some(first) = self.entries.front().filter(|first| first.state == State::Dropped) {
            self.head += first.len;
            self.entries.pop_front();
        }
        self.release();
    }

    /// Gives back memory: an emptied queue starts over, a long-lived one moves its bytes to the front now and then.
    fn release(&mut self) {
        if self.entries.is_empty() {
            self.head = 0;
            self.earliest_deadline = None;
            if self.bytes.capacity() > KEPT_LEN_MAX {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.head > self.bytes.len() / 2 && self.head > KEPT_LEN_MAX {
            // The first entry may be sealed in part; its bytes stay until it is sealed whole (see `rewind`).
            let gone = self.head - self.sealed_of_first;
            self.bytes.drain(..gone);
            self.head -= gone;
        }
    }
}

/// A larger buffer is given back once it is empty.
const KEPT_LEN_MAX: usize = 1 << 20;
