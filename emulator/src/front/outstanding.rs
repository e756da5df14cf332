//! Commands that the server has not answered yet, in order, and what its replies make of them.
//!
//! A login takes effect only when the server says yes to it: at `+OK` or the HELLO map, or for one that was
//! `+QUEUED` at its element of the reply to EXEC. To know which reply is which, every reply is counted, and
//! so are the confirmations of subscriptions, of which one command may have many.

use std::collections::{BTreeSet, VecDeque};

use super::reply::Reply;
use crate::cluster::View;
use crate::dialect::Refused;
use crate::token::{Grant, Refusal};

/// What the server will send for a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// One reply for each of so many commands in a row, whatever it is.
    Ordinary(usize),
    /// A login, with the front's opinion of its token.
    Login(Result<Grant, Refusal>),
    /// HELLO without credentials: it may change the protocol.
    Hello,
    Info,
    /// A question about the topology of the cluster.
    Topology(View),
    /// The server got a mistake in place of the command.
    Refused(Refused),
    /// From its `+OK` on, commands of others arrive as simple strings.
    Monitor,
    Exec,
    Discard,
    /// So many confirmations of subscriptions (or of their ends, for false), or one error.
    Confirmations(usize, Space, bool),
    /// A confirmation for each subscription there is, at least one.
    UnsubscribedFromAll(Space),
}

/// What kind of name was subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Channel,
    Pattern,
    Shard,
}

/// What a frame from the server meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// An ordinary command was answered, or one step of a subscription.
    Answered,
    /// A push or message, which answers nothing.
    OutOfBand,
    /// Logins were decided (several, if EXEC ran them).
    Logins(Vec<Result<Grant, Refusal>>),
    /// A command was refused, and the frame is not the error that the client gets.
    Refused(Refused),
}

/// What the reply to the oldest command may hold that has to be reworded, beside errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Plain,
    Greeting,
    Info,
    Topology(View),
}

#[derive(Default)]
pub(super) struct Outstanding {
    queue: VecDeque<Expected>,
    /// Whether the server speaks RESP3 on this connection.
    pub(super) resp3: bool,
    subscriptions: [BTreeSet<Vec<u8>>; 3],
    monitors: bool,
    /// Commands queued in the open MULTI.
    queued_count: usize,
    /// HELLO and logins among them: position, and the opinion if it is a login.
    queued: Vec<(usize, Option<Result<Grant, Refusal>>)>,
}

impl Outstanding {
    /// Adds a command that is about to be sent.
    pub(super) fn push(&mut self, expected: Expected) {
        match (self.queue.back_mut(), expected) {
            (Some(Expected::Ordinary(run)), Expected::Ordinary(more)) => *run += more,
            (_, expected) => self.queue.push_back(expected),
        }
    }

    /// What the next reply is, if it is the answer to the oldest command.
    pub(super) fn content(&self) -> Content {
        match self.queue.front() {
            Some(Expected::Hello | Expected::Login(_)) => Content::Greeting,
            Some(Expected::Info) => Content::Info,
            Some(Expected::Topology(view)) => Content::Topology(*view),
            _ => Content::Plain,
        }
    }

    /// Whether `frame` can only be the reply to an ordinary command; then it is counted as one.
    pub(super) fn settle_ordinary(&mut self, frame: &[u8]) -> bool {
        let Some(Expected::Ordinary(run)) = self.queue.front_mut() else {
            return false;
        };
        if frame[0] == b'>'
            || self.monitors
            || (!self.resp3 && self.subscriptions.iter().any(|names| !names.is_empty()))
        {
            return false;
        }
        // In a MULTI; the position of a login in it depends on this count.
        self.queued_count += usize::from(frame == b"+QUEUED\r\n");
        *run -= 1;
        if *run == 0 {
            self.queue.pop_front();
        }
        true
    }

    /// Takes a frame that [`Outstanding::settle_ordinary`] did not.
    pub(super) fn settle(&mut self, reply: &Reply<'_>) -> Settled {
        match reply {
            Reply::Push(elements) => return self.settle_push(elements),
            Reply::Array(elements) if !self.resp3 && is_message(elements) && self.is_subscribed() => {
                return Settled::OutOfBand;
            }
            Reply::Simple(line) if self.monitors && line.first().is_some_and(u8::is_ascii_digit) => {
                return Settled::OutOfBand;
            }
            Reply::Array(elements) if !self.resp3 && self.is_moved_away(elements) => {
                return self.settle_push(elements);
            }
            _ => (),
        }
        let Some(expected) = self.queue.pop_front() else {
            return Settled::OutOfBand;
        };
        match expected {
            Expected::Ordinary(run) => {
                self.queued_count += usize::from(is_queued(reply));
                if run > 1 {
                    self.queue.push_front(Expected::Ordinary(run - 1));
                }
                Settled::Answered
            }
            Expected::Info | Expected::Topology(_) => {
                self.queued_count += usize::from(is_queued(reply));
                Settled::Answered
            }
            Expected::Monitor => {
                self.monitors |= *reply == Reply::Simple(b"OK");
                Settled::Answered
            }
            Expected::Refused(refused) => Settled::Refused(refused),
            Expected::Hello | Expected::Login(_) if is_queued(reply) => {
                let Expected::Login(opinion) = expected else {
                    return self.remember_queued(None);
                };
                self.remember_queued(Some(opinion))
            }
            Expected::Hello => {
                self.greeted(reply);
                Settled::Answered
            }
            Expected::Login(opinion) => Settled::Logins(vec![self.decide(opinion, Some(reply))]),
            Expected::Exec => self.execute(reply),
            Expected::Discard => self.execute(&Reply::Other),
            Expected::Confirmations(..) | Expected::UnsubscribedFromAll(_) => {
                self.queue.push_front(expected);
                match reply {
                    Reply::Array(elements) => self.confirm(elements),
                    // An error, or QUEUED: there is one of these for the whole command.
                    _ => {
                        self.queued_count += usize::from(is_queued(reply));
                        self.queue.pop_front();
                    }
                }
                Settled::Answered
            }
        }
    }

    fn settle_push(&mut self, elements: &[Reply<'_>]) -> Settled {
        if confirmation(elements).is_none() {
            return Settled::OutOfBand;
        }
        if self.is_asked_for(elements) {
            self.confirm(elements);
            return Settled::Answered;
        }
        self.book(elements);
        Settled::OutOfBand
    }

    /// Whether the command in front waits for this confirmation.
    fn is_asked_for(&self, elements: &[Reply<'_>]) -> bool {
        let Some((space, subscribed, _)) = confirmation(elements) else {
            return false;
        };
        match self.queue.front() {
            Some(Expected::Confirmations(_, wanted, subscribing)) => {
                (*wanted, *subscribing) == (space, subscribed)
            }
            Some(Expected::UnsubscribedFromAll(wanted)) => *wanted == space && !subscribed,
            _ => false,
        }
    }

    /// Whether the server ended a subscription by itself: its slot moved to another server.
    fn is_moved_away(&self, elements: &[Reply<'_>]) -> bool {
        let ended = matches!(confirmation(elements), Some((Space::Shard, false, name))
            if self.subscriptions[Space::Shard as usize].contains(name));
        ended && !self.is_asked_for(elements)
    }

    fn book(&mut self, elements: &[Reply<'_>]) {
        if let Some((space, subscribed, name)) = confirmation(elements) {
            let names = &mut self.subscriptions[space as usize];
            if subscribed {
                names.insert(name.to_vec());
            } else {
                names.remove(name);
            }
        }
    }

    /// Books a confirmation, and ends the command in front if it was the last one for it.
    fn confirm(&mut self, elements: &[Reply<'_>]) {
        self.book(elements);
        let done = match self.queue.front_mut() {
            Some(Expected::Confirmations(left, ..)) => {
                *left -= 1;
                *left == 0
            }
            Some(Expected::UnsubscribedFromAll(space)) => self.subscriptions[*space as usize].is_empty(),
            _ => false,
        };
        if done {
            self.queue.pop_front();
        }
    }

    fn remember_queued(&mut self, opinion: Option<Result<Grant, Refusal>>) -> Settled {
        self.queued.push((self.queued_count, opinion));
        self.queued_count += 1;
        Settled::Answered
    }

    /// The end of a MULTI: `reply` has an element for each queued command, or is no array and nothing was
    /// run.
    fn execute(&mut self, reply: &Reply<'_>) -> Settled {
        self.queued_count = 0;
        let elements = if let Reply::Array(elements) = reply { elements.as_slice() } else { &[] };
        let mut logins = Vec::new();
        for (position, opinion) in std::mem::take(&mut self.queued) {
            let element = elements.get(position);
            match opinion {
                Some(opinion) => logins.push(self.decide(opinion, element)),
                None => element.map_or((), |element| self.greeted(element)),
            }
        }
        if logins.is_empty() { Settled::Answered } else { Settled::Logins(logins) }
    }

    /// What came of a login, by the server's word.
    fn decide(
        &mut self,
        opinion: Result<Grant, Refusal>,
        reply: Option<&Reply<'_>>,
    ) -> Result<Grant, Refusal> {
        let accepted = match reply {
            Some(Reply::Simple(text)) => *text == b"OK",
            Some(reply @ (Reply::Map | Reply::Array(_))) => {
                self.greeted(reply);
                true
            }
            _ => false,
        };
        if accepted { opinion } else { Err(opinion.err().unwrap_or(Refusal::RefusedByServer)) }
    }

    /// HELLO answers in the protocol that it switched to.
    fn greeted(&mut self, reply: &Reply<'_>) {
        match reply {
            Reply::Map => self.resp3 = true,
            Reply::Array(_) => self.resp3 = false,
            _ => (),
        }
    }

    fn is_subscribed(&self) -> bool {
        self.subscriptions.iter().any(|names| !names.is_empty())
    }
}

fn is_queued(reply: &Reply<'_>) -> bool {
    *reply == Reply::Simple(b"QUEUED")
}

fn is_message(elements: &[Reply<'_>]) -> bool {
    matches!(elements.first(), Some(Reply::Bulk(b"message" | b"pmessage" | b"smessage")))
}

/// Whether these are the elements of a confirmation: of what, of a subscription (or the end of one), and the
/// name.
fn confirmation<'b>(elements: &[Reply<'b>]) -> Option<(Space, bool, &'b [u8])> {
    let [Reply::Bulk(word), name, _] = elements else {
        return None;
    };
    // Unsubscribing from nothing has a null here.
    let name = if let Reply::Bulk(name) = name { name } else { b"".as_slice() };
    match *word {
        b"subscribe" => Some((Space::Channel, true, name)),
        b"unsubscribe" => Some((Space::Channel, false, name)),
        b"psubscribe" => Some((Space::Pattern, true, name)),
        b"punsubscribe" => Some((Space::Pattern, false, name)),
        b"ssubscribe" => Some((Space::Shard, true, name)),
        b"sunsubscribe" => Some((Space::Shard, false, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed<'b>(word: &'b str, name: &'b str) -> Vec<Reply<'b>> {
        vec![Reply::Bulk(word.as_bytes()), Reply::Bulk(name.as_bytes()), Reply::Other]
    }

    #[test]
    fn the_end_of_a_subscription_that_the_server_wanted_answers_nothing() {
        for resp3 in [true, false] {
            let frame = |word, name| match resp3 {
                true => Reply::Push(confirmed(word, name)),
                false => Reply::Array(confirmed(word, name)),
            };
            let mut outstanding = Outstanding { resp3, ..Outstanding::default() };
            outstanding.push(Expected::Confirmations(1, Space::Shard, true));
            assert_eq!(outstanding.settle(&frame("ssubscribe", "a")), Settled::Answered);
            outstanding.push(Expected::Confirmations(1, Space::Shard, true));
            assert_eq!(outstanding.settle(&frame("sunsubscribe", "a")), Settled::OutOfBand);
            assert_eq!(outstanding.settle(&frame("ssubscribe", "b")), Settled::Answered);
            assert!(outstanding.queue.is_empty());
            outstanding.push(Expected::UnsubscribedFromAll(Space::Shard));
            assert_eq!(outstanding.settle(&frame("sunsubscribe", "b")), Settled::Answered);
            assert!(outstanding.queue.is_empty() && !outstanding.is_subscribed());
        }
    }
}
