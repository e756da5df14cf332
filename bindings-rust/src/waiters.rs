//! Who waits for which command: one slot per future, and the slot of every command that has no answer yet.

use crate::{Error, Reply};
use respass::{CommandId, CommandIds};
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// What became of a command. A reply may still be an error that the server sent.
pub(crate) type Answer = Result<Reply, Error>;

/// A waker on its way in, and the one it replaces on its way out: that may belong to a task that is gone, and
/// dropping it then runs foreign code, which the lock must not be held for.
pub(crate) struct Exchange<'a> {
    pub(crate) new: &'a Waker,
    pub(crate) old: &'a mut Option<Waker>,
}

impl Exchange<'_> {
    pub(crate) fn put(self, place: &mut Option<Waker>) {
        if place.as_ref().is_none_or(|known| !known.will_wake(self.new)) {
            *self.old = place.replace(self.new.clone());
        }
    }
}

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
    pub(crate) fn answer(
        &mut self,
        command: CommandId,
        answer: impl FnOnce() -> Answer,
        wakers: &mut Vec<Waker>,
    ) {
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
    pub(crate) fn poll_one(&mut self, id: SlotId, wakers: Exchange<'_>) -> Poll<Answer> {
        match self.poll(id, wakers) {
            Poll::Ready(Answers::One(answer)) => Poll::Ready(answer.and_then(Reply::or_error)),
            Poll::Ready(_) => Poll::Ready(Err(Error::closed("the command has no answer"))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The answers to several commands, once; frees the slot.
    pub(crate) fn poll_many(&mut self, id: SlotId, wakers: Exchange<'_>) -> Poll<Vec<Answer>> {
        match self.poll(id, wakers) {
            Poll::Ready(Answers::Many(answers)) => Poll::Ready(
                answers.into_iter().flatten().map(|answer| answer.and_then(Reply::or_error)).collect(),
            ),
            Poll::Ready(Answers::One(answer)) => Poll::Ready(vec![answer.and_then(Reply::or_error)]),
            Poll::Ready(Answers::None) => Poll::Ready(Vec::new()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Nobody waits for the slot any more: the commands that have no answer, to be cancelled, and the waker.
    pub(crate) fn abandon(&mut self, id: SlotId) -> (Vec<CommandId>, Option<Waker>) {
        let slot = std::mem::take(self.slot(id));
        self.free.push(id);
        let mut cancelled = Vec::new();
        for number in (slot.first..slot.first + u64::from(slot.count)).filter(|_| slot.left > 0) {
            if let Some(open) = self.open_mut(number).filter(|open| **open == id) {
                *open = NOBODY;
                cancelled.push(CommandId::from_u64(number));
            }
        }
        (cancelled, slot.waker)
    }

    fn poll(&mut self, id: SlotId, wakers: Exchange<'_>) -> Poll<Answers> {
        let slot = self.slot(id);
        if slot.left > 0 {
            wakers.put(&mut slot.waker);
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

#[cfg(test)]
mod tests {
    use super::*;
    use respass::ErrorCode;

    fn ids(first: u64, count: u32) -> CommandIds {
        CommandIds { first: CommandId::from_u64(first), count }
    }

    fn answer(waiters: &mut Waiters, number: u64) {
        waiters.answer(CommandId::from_u64(number), || Err(Error::closed("")), &mut Vec::new());
    }

    fn is_ready(waiters: &mut Waiters, slot: SlotId) -> bool {
        let mut old = None;
        waiters.poll_many(slot, Exchange { new: Waker::noop(), old: &mut old }).is_ready()
    }

    #[test]
    fn a_pipeline_is_ready_with_its_last_answer_in_whatever_order() {
        let mut waiters = Waiters::default();
        let (one, three) = (waiters.open(ids(1, 1)), waiters.open(ids(2, 3)));
        for number in [4, 2] {
            answer(&mut waiters, number);
            assert!(!is_ready(&mut waiters, three));
        }
        answer(&mut waiters, 3);
        let mut old = None;
        let exchange = Exchange { new: Waker::noop(), old: &mut old };
        let Poll::Ready(answers) = waiters.poll_many(three, exchange) else { panic!("ready") };
        assert_eq!(answers.len(), 3);
        assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|e| e.code() == ErrorCode::Closed)));
        assert!(!is_ready(&mut waiters, one));
    }

    #[test]
    fn what_is_abandoned_is_cancelled_where_it_has_no_answer() {
        let mut waiters = Waiters::default();
        let (three, other) = (waiters.open(ids(5, 3)), waiters.open(ids(8, 1)));
        answer(&mut waiters, 6);
        let (cancelled, _) = waiters.abandon(three);
        assert_eq!(cancelled.iter().map(|id| id.as_u64()).collect::<Vec<_>>(), [5, 7]);
        // Their answers come all the same, and find nobody; nor does an answer to a command never given.
        for number in [5, 7, 7, 99] {
            answer(&mut waiters, number);
        }
        answer(&mut waiters, 8);
        assert!(is_ready(&mut waiters, other));
        assert!(waiters.open.is_empty());
    }

    #[test]
    fn memory_is_used_again() {
        let mut waiters = Waiters::default();
        for number in 1..1000 {
            let slot = waiters.open(ids(number, 1));
            answer(&mut waiters, number);
            assert!(is_ready(&mut waiters, slot));
        }
        assert_eq!((waiters.slots.len(), waiters.open.len()), (1, 0));
    }
}
