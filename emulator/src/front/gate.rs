//! What becomes of each command of a connection before the server sees it.
//!
//! On a proxy over several shards every key of a command has to be in one slot, but for the six commands that
//! the proxy splits. Nobody has published how it treats transactions: here all keys of a transaction, watched
//! ones included, have to be in one slot, and in a transaction nothing is split.

use super::keys;
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
        if dialect.one_slot && verdict == Verdict::Pass && !self.fits(arguments) {
            let text = "CROSSSLOT Keys in request don't hash to the same slot";
            let name = String::from_utf8_lossy(arguments[0]).to_lowercase();
            return Verdict::Refuse(Refused::after_rights(text, &name, ""));
        }
        verdict
    }

    fn fits(&mut self, arguments: &[&[u8]]) -> bool {
        let is = |names: &[&str]| names.iter().any(|name| arguments[0].eq_ignore_ascii_case(name.as_bytes()));
        if is(&["multi"]) {
            self.in_multi = true;
        } else if is(&["exec", "discard"]) || (is(&["unwatch"]) && !self.in_multi) {
            *self = Gate::default();
        }
        let in_transaction = self.in_multi || is(&["watch"]);
        if !in_transaction && is(&SPLIT) {
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

const SPLIT: [&str; 6] = ["del", "exists", "mget", "mset", "touch", "unlink"];
