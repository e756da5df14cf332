//! Errors that faults have for commands, in place of their being run.

use super::Front;
use super::command::Command;
use super::keys;
use crate::cluster::Door;
use crate::dialect::Refused;
use crate::fault::{Struck, Text};
use crate::redis_6_0;

impl Front {
    /// The error that a fault has for an ordinary command.
    pub(super) fn injected_error(&self, door: Door, command: &Command<'_>) -> Option<Refused> {
        self.faults.cache().injection.as_ref()?;
        let arguments = command.arguments();
        let lower = |position: usize| {
            let text = arguments.get(position).copied().unwrap_or_default();
            String::from_utf8_lossy(text).to_lowercase()
        };
        let slots = keys::slots(&arguments);
        let struck = Struck { door, key_count: slots.len(), writes: redis_6_0::is_write(&lower(0)) };
        let text = match self.faults.cache().take_injection(struck)? {
            Text::Line(line) => line,
            Text::Redirect(redirect) => {
                let (own, next) = self.cluster.listed_ports(door);
                redirect.text(slots.first().copied().unwrap_or(0), own, next)
            }
        };
        Some(Refused::after_rights(&text, &lower(0), &lower(1)))
    }
}
