//! Commands that wait to be sealed, and the bytes of those whose replies are due: a server may refuse a command in a
//! way that sends it elsewhere. What was never handed over belongs to the lane, not to a connection, and is still ours
//! when a connection is lost.

use crate::command::CommandId;
use crate::resp::{command_len, encode_command, encode_header};
use std::collections::VecDeque;

/// Where a command was before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Journey {
    /// How often it was sent.
    pub(crate) attempts: u8,
    /// How often it was sent elsewhere since it last waited.
    pub(crate) redirects: u8,
    /// The node that may have run it, whatever it said: it must not get it again.
    pub(crate) avoids: Option<u16>,
}

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
    pub(crate) journey: Journey,
    /// `ASKING` goes ahead of it.
    pub(crate) is_asking: bool,
    /// The client looks at its reply before anybody else does.
    pub(crate) is_inspected: bool,
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
    /// The same; but a server had it before, and refused it.
    RefusedBefore,
    /// A part had left, the rest will follow.
    PartlySealed,
}

/// What moved of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sealed<'a> {
    /// Its first byte.
    Begun(&'a Queued),
    /// Its last byte. `at`: where in the queue's stream its first one was.
    Whole { command: &'a Queued, at: u64 },
}

/// A command, or a MULTI…EXEC unit, on its way from one queue to another.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) id: CommandId,
    /// As encoded, without `ASKING`.
    pub(crate) bytes: Vec<u8>,
    pub(crate) steps: u32,
    pub(crate) journey: Journey,
    pub(crate) is_inspected: bool,
}

impl Unit {
    /// MULTI, the commands and EXEC.
    pub(crate) fn transaction<'a, C>(id: CommandId, commands: impl Iterator<Item = C>) -> Unit
    where
        C: ExactSizeIterator<Item = &'a [u8]>,
    {
        let mut queue = Queue::default();
        queue.push_transaction(id, 0, commands);
        let steps = queue.entries.front().map_or(0, |entry| entry.steps);
        Unit { id, bytes: queue.bytes, steps, journey: Journey::default(), is_inspected: false }
    }
}

/// A FIFO of encoded commands over one block of bytes. What was sealed stays until it is released.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    /// Where in the queue's stream `bytes` begins.
    base: u64,
    /// What lies before is of no use any more.
    kept_from: usize,
    /// The first byte that is not sealed.
    head: usize,
    entries: VecDeque<Queued>,
    /// Bytes of the first entry that are sealed already.
    sealed_of_first: usize,
    /// No deadline is earlier; may be too early once commands have left.
    earliest_deadline: Option<u64>,
    /// A command came from elsewhere: ids are in no order.
    is_mixed: bool,
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

    /// Appends what comes from elsewhere. `is_asking`: its slot is on its way to this node.
    pub(crate) fn push_unit(&mut self, unit: &Unit, deadline: u64, is_asking: bool) {
        let start = self.bytes.len();
        if is_asking {
            self.bytes.extend_from_slice(ASKING);
        }
        let prefix = self.bytes.len() - start;
        self.bytes.extend_from_slice(&unit.bytes);
        let runs_from = prefix + if unit.steps > 0 { first_two_len(&unit.bytes) } else { unit.bytes.len() };
        self.is_mixed = true;
        self.push_entry(unit.id, deadline, unit.steps, start, start + runs_from);
        if let Some(entry) = self.entries.back_mut() {
            entry.journey = unit.journey;
            entry.is_inspected = unit.is_inspected;
            entry.is_asking = is_asking;
        }
    }

    /// Takes out all commands of which nothing has left, each with its deadline.
    pub(crate) fn take_units(&mut self, mut taken: impl FnMut(Unit, u64)) {
        let first = usize::from(self.is_mid_command());
        let mut at = self.head - self.sealed_of_first
            + if first == 1 { self.entries.front().map_or(0, |entry| entry.len) } else { 0 };
        let rest_at = at;
        for entry in self.entries.drain(first.min(self.entries.len())..) {
            let bytes = self.bytes.get(at..at + entry.len).unwrap_or_default();
            at += entry.len;
            if entry.is_wanted() {
                taken(entry.unit(bytes), entry.deadline);
            }
        }
        self.bytes.truncate(rest_at.max(self.head));
        self.tidy();
    }

    /// The command that was sealed at `at`, of so many bytes.
    pub(crate) fn sealed_bytes(&self, at: u64, len: usize) -> &[u8] {
        let start = usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(start..).and_then(|bytes| bytes.get(..len)).unwrap_or_default()
    }

    /// No reply is due to what was sealed before `at`; `None`: to nothing that was sealed.
    pub(crate) fn release_to(&mut self, at: Option<u64>) {
        let whole = self.head - self.sealed_of_first;
        let at = at.map_or(whole, |at| usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX));
        self.kept_from = self.kept_from.max(at.min(whole));
        self.tidy();
    }

    /// The bytes of the commands whose replies are due, which stay with a connection that gives way to another.
    pub(crate) fn split_sealed(&mut self) -> Queue {
        let whole = self.head - self.sealed_of_first;
        let bytes: Vec<u8> = self.bytes.drain(..whole).collect();
        let base = self.base;
        self.base += bytes.len() as u64;
        self.head -= whole;
        let kept_from = std::mem::take(&mut self.kept_from);
        Queue { head: bytes.len(), bytes, base, kept_from, ..Queue::default() }
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
        self.entries.push_back(Queued {
            id,
            len,
            deadline,
            steps,
            runs_from,
            journey: Journey::default(),
            is_asking: false,
            is_inspected: false,
            state: State::Wanted,
        });
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
            sealed(Sealed::Whole { command: first, at: self.base + (run.end - first.len) as u64 });
            self.entries.pop_front();
        }
        out.extend_from_slice(self.bytes.get(run.clone()).unwrap_or_default());
        self.head = run.end;
        if self.entries.is_empty() {
            self.earliest_deadline = None;
            self.is_mixed = false;
        }
    }

    /// After a connection was lost: what had left only in part, and cannot have run, goes out whole on the
    /// next one, unless nobody waits for it. A transaction of which something may have run is taken out and
    /// returned.
    /// `is_only_queued`: whether the server said of that transaction that nothing of it runs before EXEC.
    pub(crate) fn rewind(&mut self, is_only_queued: impl FnOnce(CommandId) -> bool) -> Option<CommandId> {
        let sealed = std::mem::take(&mut self.sealed_of_first);
        self.head -= sealed;
        self.release_to(None);
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
        let index = if self.is_mixed {
            self.entries.iter().position(|entry| entry.id == id)?
        } else {
            self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?
        };
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
    }

    fn detach(&mut self, index: usize) -> Option<Removed> {
        let partly = index == 0 && self.is_mid_command();
        let entry = self.entries.get_mut(index).filter(|entry| entry.is_wanted())?;
        if partly {
            entry.state = State::Detached;
            Some(Removed::PartlySealed)
        } else {
            entry.state = State::Dropped;
            Some(if entry.journey.attempts > 0 { Removed::RefusedBefore } else { Removed::Untouched })
        }
    }

    /// Lets go of dropped commands at the front: nobody waits for them, and they must not fill the queue.
    fn forget_dropped(&mut self) {
        while let Some(first) = self.entries.front().filter(|first| first.state == State::Dropped) {
            if self.kept_from == self.head {
                self.kept_from += first.len;
            }
            self.head += first.len;
            self.entries.pop_front();
        }
        self.tidy();
    }

    /// Gives back memory: an emptied queue starts over, a long-lived one moves its bytes to the front now and then.
    fn tidy(&mut self) {
        if self.entries.is_empty() {
            self.earliest_deadline = None;
            self.is_mixed = false;
        }
        if self.kept_from == self.bytes.len() {
            self.base += self.bytes.len() as u64;
            (self.head, self.kept_from) = (0, 0);
            if self.bytes.capacity() > KEPT_LEN_MAX {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.kept_from > self.bytes.len() / 2 && self.kept_from > MOVED_LEN_MIN {
            self.bytes.drain(..self.kept_from);
            self.base += self.kept_from as u64;
            self.head -= self.kept_from;
            self.kept_from = 0;
        }
    }
}

impl Queued {
    fn unit(&self, bytes: &[u8]) -> Unit {
        let bytes = if self.is_asking { bytes.get(ASKING.len()..).unwrap_or_default() } else { bytes };
        Unit {
            id: self.id,
            bytes: bytes.to_vec(),
            steps: self.steps,
            journey: self.journey,
            is_inspected: self.is_inspected,
        }
    }
}

/// What goes ahead of a command whose slot is on its way to another node.
pub(crate) const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// The bytes of MULTI and of the command behind it.
fn first_two_len(bytes: &[u8]) -> usize {
    let multi = command_len(bytes);
    multi + command_len(bytes.get(multi..).unwrap_or_default())
}

/// A larger buffer is given back once it is empty.
const KEPT_LEN_MAX: usize = 1 << 20;

/// With fewer bytes that are of no use, the others stay where they are.
const MOVED_LEN_MIN: usize = 64 << 10;
