//! How bytes come into the decoder's buffer, and how it grows.

use super::{Decoder, Token};

impl Decoder {
    /// Takes in bytes as they arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer's end, for a caller that decrypts into it; `len` is about how much will be appended.
    pub(crate) fn receive_into(&mut self, len: usize) -> &mut Vec<u8> {
        self.reserve(len);
        &mut self.buffer
    }

    /// The buffer, for a caller that appends to it by itself and gives it back. Nothing can be decoded meanwhile.
    pub(crate) fn lend(&mut self, room: usize) -> Vec<u8> {
        self.reserve(room);
        self.lent_len.get_or_insert(self.buffer.len());
        std::mem::take(&mut self.buffer)
    }

    /// Takes the buffer back; how many bytes were appended. `None` where it is not the one that was lent: what was
    /// received is lost.
    pub(crate) fn take_back(&mut self, buffer: Vec<u8>) -> Option<usize> {
        let appended = buffer.len().checked_sub(self.lent_len.take()?)?;
        self.buffer = buffer;
        Some(appended)
    }

    /// Whether received bytes are somewhere else.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent_len.is_some_and(|len| len > 0)
    }

    /// Room for `more` bytes: at least 64 KiB, else twice what is there, but not past the end of the buffer's only
    /// value. (Inside an array another value follows: growing to the end of each would copy the whole buffer each
    /// time.)
    fn reserve(&mut self, more: usize) {
        let len = self.buffer.len();
        if self.buffer.capacity() - len >= more {
            return;
        }
        let doubled = len.saturating_mul(2);
        let target = match self.token {
            Token::Body { len: body, .. } if self.open.is_empty() && self.frame_start == 0 => {
                doubled.min(self.position.saturating_add(body).saturating_add(2))
            }
            _ => doubled,
        };
        let target = target.max(64 << 10);
        self.buffer.reserve_exact(target.saturating_sub(len).max(more));
    }
}
