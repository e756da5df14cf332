//! What becomes of each command of a connection before the server sees it.
//!
//! On a proxy over several shards every key of a command has to be in one slot, but for the six commands that
//! the proxy splits. Nobody has published how it treats transactions: here all keys of a transaction, watched
//! ones included, have to be in one slot, and in a transaction nothing is split.

use super::keys;
use crate::cluster::View;
use crate::dialect::{Dialect, Refused, Verdict};

#[derive(Default)]
pub(super) struct Gate {
    in_multi: bool,
    /// Slot of the keys of the transaction so far.
    slot: Option<u16>,
}

impl Gate {
    /// Judges a command by its arguments, its name among them.
    pub(super) fn judge(&mut self, dialect: Dialect, arguments: &[&[u8]]) -> Verdict {
        let verdict = dialect.judge(arguments);
        self.follow(arguments);
        if self.in_multi && dialect.clustered && View::of(arguments).is_some() {
            // Its reply would be part of EXEC's, where the front does not look for servers to hide.
            return Verdict::Refuse(Refused::first_of_all("ERR Command not allowed inside a transaction"));
        }
        if dialect.one_slot && verdict == Verdict::Pass && !self.fits(arguments) {
            let text = "CROSSSLOT Keys in request don't hash to the same slot";
            let name = String::from_utf8_lossy(arguments[0]).to_lowercase();
            return Verdict::Refuse(Refused::after_rights(text, &name, ""));
        }
        verdict
    }

    /// Where the connection is between MULTI and EXEC.
    fn follow(&mut self, arguments: &[&[u8]]) {
        if is(arguments, &["multi"]) {
            self.in_multi = true;
        } else if is(arguments, &["exec", "discard"]) || (is(arguments, &["unwatch"]) && !self.in_multi) {
            *self = Gate::default();
        }
    }

    fn fits(&mut self, arguments: &[&[u8]]) -> bool {
        let in_transaction = self.in_multi || is(arguments, &["watch"]);
        if !in_transaction && is(arguments, &SPLIT) {
            return true;
        }
        let slots = keys::slots(arguments);
        let Some(first) = slots.first().copied() else {
            return true;
        };
        let slot = if in_transaction { self.slot.unwrap_or(first) } else { first };
        let fits = slots.iter().all(|other| *other == slot);
        if in_transaction && fits {
            self.slot = Some(slot);
        }
        fits
    }
}

fn is(arguments: &[&[u8]], names: &[&str]) -> bool {
    names.iter().any(|name| arguments[0].eq_ignore_ascii_case(name.as_bytes()))
}

const SPLIT: [&str; 6] = ["del", "exists", "mget", "mset", "touch", "unlink"];
