//! Replies that came, until somebody wants them. Those of one connection come in the order of their commands, those of
//! several come as they like.

use crate::error;
use crate::handle::Failure;
use crate::reply::{Piece, Replies, Spare};
use respass_core::{Answer, Client, CommandError, CommandId, ReplyBatch};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// So little is copied: a short reply that is kept must not keep a read's memory.
const SMALL_LEN: usize = 4 << 10;

#[derive(Default)]
pub(crate) struct Answers {
    /// What is being taken from: all there is, but where several connections answer.
    current: Option<Arrival>,
    /// The others, by the first command that was not looked at.
    others: BTreeMap<CommandId, Arrival>,
    failed: Vec<(CommandId, CommandError)>,
    pub(crate) spare: Arc<Spare>,
}

/// A batch, its answers in the order of their commands.
struct Arrival {
    batch: Arc<Replies>,
    /// Answers that were looked at.
    seen: usize,
}

impl Arrival {
    fn rest(&self) -> &[Answer] {
        self.batch.replies.answers.get(self.seen..).unwrap_or_default()
    }

    /// Passes over the answers of commands before this one, whose replies nobody wants. Which command the next answers.
    fn skip_to(&mut self, id: CommandId) -> Option<CommandId> {
        self.seen += self.rest().iter().take_while(|answer| answer.command < id).count();
        self.rest().first().map(|answer| answer.command)
    }
}

/// Some of the answers of a batch.
pub(crate) type Run = (Arc<Replies>, Range<usize>);

impl Answers {
    pub(crate) fn put(&mut self, mut replies: ReplyBatch, core: &mut Client) {
        // A command that was sent anew is answered after those that followed it.
        if !replies.answers.is_sorted_by_key(|answer| answer.command) {
            replies.answers.sort_unstable_by_key(|answer| answer.command);
        }
        let Some(first) = replies.answers.first().map(|answer| answer.command) else { return };
        let kept = if replies.bytes.len() <= SMALL_LEN {
            let ReplyBatch { bytes, nodes, answers } = &replies;
            let copy = ReplyBatch { bytes: bytes.clone(), nodes: nodes.clone(), answers: answers.clone() };
            core.recycle(replies);
            Replies { replies: copy, home: None }
        } else {
            Replies { replies, home: Some(self.spare.clone()) }
        };
        let arrival = Arrival { batch: Arc::new(kept), seen: 0 };
        if self.current.is_none() {
            self.current = Some(arrival);
        } else {
            self.others.insert(first, arrival);
        }
    }

    pub(crate) fn put_failure(&mut self, id: CommandId, error: CommandError) {
        self.failed.push((id, error));
    }

    /// Makes the batch current that answers this command. Commands are asked for in order: what answers those before
    /// it is forgotten.
    fn seek(&mut self, id: CommandId) -> Option<&mut Arrival> {
        loop {
            match self.current.as_mut().and_then(|current| current.skip_to(id)) {
                Some(next) if next == id => return self.current.as_mut(),
                Some(next) => self.others.extend(self.current.take().map(|current| (next, current))),
                None => self.current = None,
            }
            let first = self.others.first_entry().filter(|first| *first.key() <= id)?;
            self.current = Some(first.remove());
        }
    }

    /// The next one.
    pub(crate) fn take_next(&mut self, id: CommandId) -> Option<Result<Piece, Failure>> {
        let Some(arrival) = self.seek(id) else { return self.take_failure(id) };
        let node = arrival.rest().first()?.node;
        arrival.seen += 1;
        Some(outcome(Piece { batch: arrival.batch.clone(), node }))
    }

    /// As many as came together and answer the commands that are due, beginning with the first of them: the batch,
    /// and which of its answers.
    pub(crate) fn take_run(&mut self, due: &VecDeque<CommandId>) -> Option<Run> {
        let arrival = self.seek(*due.front()?)?;
        let answered = arrival.rest().iter().zip(due);
        let len = answered.take_while(|(answer, due)| answer.command == **due).count();
        let start = arrival.seen;
        arrival.seen += len;
        Some((arrival.batch.clone(), start..start + len))
    }

    /// The latest one.
    pub(crate) fn take_latest(&mut self, id: CommandId) -> Option<Result<Piece, Failure>> {
        for Arrival { batch, .. } in self.current.iter().chain(self.others.values().rev()) {
            let answers = &batch.replies.answers;
            if let Ok(index) = answers.binary_search_by_key(&id, |answer| answer.command) {
                return Some(outcome(Piece { batch: batch.clone(), node: answers[index].node }));
            }
        }
        self.take_failure(id)
    }

    pub(crate) fn take_failure<R>(&mut self, id: CommandId) -> Option<Result<R, Failure>> {
        let index = self.failed.iter().position(|(failed, _)| *failed == id)?;
        let (_, error) = self.failed.remove(index);
        Some(Err(Failure::from(&error)))
    }

    pub(crate) fn clear(&mut self) {
        self.current = None;
        self.others.clear();
        self.failed.clear();
    }
}

/// An error reply is a failure of its command.
fn outcome(piece: Piece) -> Result<Piece, Failure> {
    let view = piece.view();
    if view.kind() == respass_core::resp::Kind::Error { Err(error::of_reply(&view)) } else { Ok(piece) }
}
