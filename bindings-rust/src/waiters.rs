//! Who waits for which command: one slot per future, and the slot of every command that has no answer yet.

use crate::{Error, Reply};
use respass::{CommandId, CommandIds};
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// What became of a command. A reply may still be an error that the server sent.
pub(crate) type Answer = Result<Reply, Error>;

/// The future of one command or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

/// Nobody waits (any more).
const NOBODY: SlotId = SlotId(u32::MAX);

#[derive(Default)]
pub(crate) struct Waiters {
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    /// The slot of each command from `first` on.
    open: VecDeque<SlotId>,
    first: u64,
}

#[derive(Default)]
struct Slot {
    /// The first command's number.
    first: u64,
    count: u32,
    /// Commands without an answer.
    left: u32,
    waker: Option<Waker>,
    answers: Answers,
}

/// A single command, by far the most frequent case, needs no list.
#[derive(Default)]
enum Answers {
    #[default]
    None,
    One(Answer),
    Many(Vec<Option<Answer>>),
}

impl Waiters {
    /// A slot for commands that were accepted. Every accepted command has to come by here, in order.
    pub(crate) fn open(&mut self, ids: CommandIds) -> SlotId {
        let first = ids.first.as_u64();
        if self.open.is_empty() {
            self.first = first;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            SlotId(u32::try_from(self.slots.len() - 1).expect("fewer futures than bytes of memory"))
        });
        let answers = if ids.count == 1 {
            Answers::None
        } else {
            Answers::Many((0..ids.count).map(|_| None).collect())
        };
        *self.slot(id) = Slot { first, count: ids.count, left: ids.count, waker: None, answers };
        self.open.extend((0..ids.count).map(|_| id));
        id
    }

    /// A command ended. Whoever waits for it, and for nothing else any more, is added to `wakers`.
    pub(crate) fn answer(&mut self, command: CommandId, answer: impl FnOnce() -> Answer, wakers: &mut Vec<Waker>) {
        let Some(id) = self.close(command.as_u64()) else { return };
        let slot = self.slot(id);
        match &mut slot.answers {
            Answers::Many(answers) => {
                let index = usize::try_from(command.as_u64() - slot.first).unwrap_or(usize::MAX);
                if let Some(place) = answers.get_mut(index) {
                    *place = Some(answer());
                }
            }
            single => *single = Answers::One(answer()),
        }
        slot.left -= 1;
        if slot.left == 0 {
            wakers.extend(slot.waker.take());
        }
    }

    /// The answer to a single command, once; frees the slot.
    pub(crate) fn poll_one(&mut self, id: SlotId, waker: &Waker) -> Poll<Answer> {
        match self.poll(id, waker) {
            Poll::Ready(Answers::One(answer)) => Poll::Ready(answer),
            Poll::Ready(_) => Poll::Ready(Err(Error::closed("the command has no answer"))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The answers to several commands, once; frees the slot.
    pub(crate) fn poll_many(&mut self, id: SlotId, waker: &Waker) -> Poll<Vec<Answer>> {
        match self.poll(id, waker) {
            Poll::Ready(Answers::Many(answers)) => Poll::Ready(answers.into_iter().flatten().collect()),
            Poll::Ready(Answers::One(answer)) => Poll::Ready(vec![answer]),
            Poll::Ready(Answers::None) => Poll::Ready(Vec::new()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Nobody waits for the slot any more: the commands that have no answer, to be cancelled.
    pub(crate) fn abandon(&mut self, id: SlotId) -> Vec<CommandId> {
        let slot = std::mem::take(self.slot(id));
        self.free.push(id);
        let mut cancelled = Vec::new();
        for number in (slot.first..slot.first + u64::from(slot.count)).filter(|_| slot.left > 0) {
            if let Some(open) = self.open_mut(number).filter(|open| **open == id) {
                *open = NOBODY;
                cancelled.push(CommandId::from_u64(number));
            }
        }
        cancelled
    }

    fn poll(&mut self, id: SlotId, waker: &Waker) -> Poll<Answers> {
        let slot = self.slot(id);
        if slot.left > 0 {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                None => slot.waker = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        let answers = std::mem::take(&mut slot.answers);
        self.free.push(id);
        Poll::Ready(answers)
    }

    /// Takes the command off the list of those without an answer.
    fn close(&mut self, number: u64) -> Option<SlotId> {
        let id = std::mem::replace(self.open_mut(number)?, NOBODY);
        while self.open.front() == Some(&NOBODY) {
            self.open.pop_front();
            self.first += 1;
        }
        (id != NOBODY).then_some(id)
    }

    fn open_mut(&mut self, number: u64) -> Option<&mut SlotId> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.open.get_mut(index)
    }

    fn slot(&mut self, id: SlotId) -> &mut Slot {
        self.slots.get_mut(id.0 as usize).expect("a slot is never taken away")
    }
}
