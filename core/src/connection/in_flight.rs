//! Commands whose bytes were handed over and whose replies are due, in wire order.
//!
//! A slot is created together with its command's last byte and lives until its reply or the connection's end. Only the
//! steps of a transaction have theirs from its first byte on: the server answers them while the rest is on its way.
//! Cancel and timeout detach the waiter, never the slot: that is what keeps replies and commands aligned.

use super::queue::{Journey, Queued};
use crate::command::CommandId;
use std::collections::VecDeque;

/// The place of one reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// For the client's own commands: the id before which it was sealed, which keeps the slots sorted.
    pub(crate) id: CommandId,
    /// On the command clock, in microseconds.
    pub(crate) deadline: u64,
    /// Where its bytes are in the queue's stream; `u64::MAX` for the client's own.
    pub(crate) at: u64,
    /// Bytes of the command.
    pub(crate) len: u32,
    pub(crate) journey: Journey,
    /// The first bytes are those of `ASKING`.
    pub(crate) is_asking: bool,
    /// Its deadline has passed.
    is_overdue: bool,
    pub(crate) kind: SlotKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    Command,
    /// The client looks at the reply before anybody else does.
    Inspected,
    /// MULTI's `+OK` and each `+QUEUED`.
    TransactionStep,
    /// EXEC's reply, which is the transaction's.
    Transaction,
    /// Nobody waits any more.
    Detached,
    /// `ASKING`, ahead of a command whose slot is on its way to this node.
    Asking,
    Login,
    ReAuth,
    /// `PING <nonce>` behind a re-AUTH.
    ReAuthPing,
    Probe,
    /// A question about the cluster.
    Topology,
    /// SUBSCRIBE or UNSUBSCRIBE of one channel.
    Subscription,
    /// MONITOR.
    Monitor,
    /// PING, behind everything that was published before.
    Marker,
    /// UNWATCH, and the like: its reply tells nothing.
    Courtesy,
}

impl SlotKind {
    /// Whether a caller submitted what is answered.
    pub(crate) const fn is_callers(self) -> bool {
        matches!(
            self,
            SlotKind::Command
                | SlotKind::Inspected
                | SlotKind::TransactionStep
                | SlotKind::Transaction
                | SlotKind::Detached
        )
    }

    /// Whether the client asked it of its own accord, and a server answers it at once.
    pub(crate) const fn is_own_question(self) -> bool {
        matches!(
            self,
            SlotKind::Topology
                | SlotKind::Subscription
                | SlotKind::Monitor
                | SlotKind::Marker
                | SlotKind::Courtesy
        )
    }

    const fn has_waiter(self) -> bool {
        matches!(self, SlotKind::Command | SlotKind::Inspected | SlotKind::Transaction)
    }
}

#[derive(Debug, Default)]
pub(crate) struct InFlight {
    slots: VecDeque<Slot>,
    /// No reply is due earlier; may be too early once replies have come.
    earliest_deadline: Option<u64>,
    /// The id of the latest command.
    latest: CommandId,
    len_bytes: usize,
    /// How many replies are overdue.
    overdue: usize,
    /// A command came from elsewhere: ids are in no order.
    is_mixed: bool,
}

impl InFlight {
    /// The reply that counts, of a command or of a transaction.
    pub(crate) fn push_command(&mut self, command: &Queued, at: u64, kind: SlotKind) {
        self.is_mixed = !self.slots.is_empty() && (self.is_mixed || command.id < self.latest);
        self.latest = command.id;
        let kind = if command.is_wanted() { kind } else { SlotKind::Detached };
        let len = u32::try_from(command.len).unwrap_or(u32::MAX);
        self.len_bytes += len as usize;
        let &Queued { id, deadline, journey, is_asking, .. } = command;
        let is_overdue = false;
        self.slots.push_back(Slot { id, deadline, at, len, journey, is_asking, is_overdue, kind });
        self.earliest_deadline =
            Some(self.earliest_deadline.map_or(command.deadline, |at| at.min(command.deadline)));
    }

    /// A reply ahead of the one that counts.
    pub(crate) fn push_step(&mut self, id: CommandId, kind: SlotKind) {
        self.push_undated(id, kind);
    }

    /// A command of the client's own.
    pub(crate) fn push_own(&mut self, kind: SlotKind) {
        self.push_undated(self.latest, kind);
    }

    fn push_undated(&mut self, id: CommandId, kind: SlotKind) {
        self.slots.push_back(Slot {
            id,
            deadline: u64::MAX,
            at: u64::MAX,
            len: 0,
            journey: Journey::default(),
            is_asking: false,
            is_overdue: false,
            kind,
        });
    }

    /// Where the bytes begin that belong to replies which are due.
    pub(crate) fn oldest_at(&self) -> Option<u64> {
        self.slots.iter().map(|slot| slot.at).find(|&at| at < u64::MAX)
    }

    pub(crate) fn pop(&mut self) -> Option<Slot> {
        let slot = self.slots.pop_front()?;
        self.len_bytes -= slot.len as usize;
        self.overdue -= usize::from(slot.is_overdue);
        Some(slot)
    }

    /// Bytes of the commands whose replies are due.
    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether any reply is due that a caller's command has.
    pub(crate) fn has_callers(&self) -> bool {
        self.slots.iter().any(|slot| slot.kind.is_callers())
    }

    pub(crate) fn front_kind(&self) -> Option<SlotKind> {
        self.slots.front().map(|slot| slot.kind)
    }

    /// Whether every reply that is due belongs to this command or transaction.
    pub(crate) fn begins_with(&self, id: CommandId) -> bool {
        self.slots.front().is_none_or(|slot| slot.id == id)
    }

    /// Whether any reply is overdue, awaited or not: a peer that answers nobody is dead also when everybody
    /// gave up.
    pub(crate) fn has_overdue(&self) -> bool {
        self.overdue > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.slots.iter().any(|slot| slot.kind.has_waiter())
    }

    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        self.earliest_deadline
    }

    /// Detaches one waiter; whether there was one.
    pub(crate) fn detach(&mut self, id: CommandId) -> bool {
        let from = if self.is_mixed { 0 } else { self.slots.partition_point(|slot| slot.id < id) };
        let slot = self
            .slots
            .range_mut(from..)
            .take_while(|slot| slot.id == id || self.is_mixed)
            .find(|slot| slot.id == id && slot.kind.has_waiter());
        match slot {
            Some(slot) => {
                slot.kind = SlotKind::Detached;
                true
            }
            None => false,
        }
    }

    /// Detaches every waiter whose deadline is at or before `clock`. Whether any reply is overdue that was
    /// not before.
    pub(crate) fn detach_overdue(&mut self, clock: u64, mut detached: impl FnMut(CommandId)) -> bool {
        if self.earliest_deadline.is_none_or(|earliest| earliest > clock) {
            return false;
        }
        let (mut earliest, overdue_before) = (None, self.overdue);
        for slot in self.slots.iter_mut().filter(|slot| slot.deadline < u64::MAX) {
            if slot.deadline > clock {
                earliest = Some(earliest.map_or(slot.deadline, |at: u64| at.min(slot.deadline)));
                continue;
            }
            if slot.kind.has_waiter() {
                slot.kind = SlotKind::Detached;
                detached(slot.id);
            }
            slot.deadline = u64::MAX;
            slot.is_overdue = true;
            self.overdue += 1;
        }
        self.earliest_deadline = earliest;
        self.overdue > overdue_before
    }

    /// The ids of all waiters, at the connection's end.
    pub(crate) fn drain_waiters(&mut self) -> impl Iterator<Item = CommandId> + '_ {
        self.earliest_deadline = None;
        self.overdue = 0;
        self.slots.drain(..).filter(|slot| slot.kind.has_waiter()).map(|slot| slot.id)
    }
}
