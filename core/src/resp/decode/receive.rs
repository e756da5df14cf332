//! How bytes come into the decoder's buffer, and how it grows.

use super::{Decoder, Token};

/// A larger block is not kept for another reply.
const BLOCK_LEN_MAX: usize = 128 << 20;

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

    /// Memory for the next reply of about that size: it spares the system's work for fresh one. A reply that has no
    /// use for it, or [`Decoder::forget_block`], lets go of it.
    pub(crate) fn donate(&mut self, mut block: Vec<u8>) {
        if block.capacity() <= BLOCK_LEN_MAX {
            block.clear();
            self.block = block;
        }
    }

    /// Lets go of the memory that was donated.
    pub(crate) fn forget_block(&mut self) {
        self.block = Vec::new();
    }

    /// Goes on in the donated block, where the buffer's only value fits into it and fills half of it.
    fn move_to_block(&mut self, value_end: usize, more: usize) -> bool {
        let capacity = self.block.capacity();
        if value_end < capacity / 2 || value_end.max(self.buffer.len() + more) > capacity {
            return false;
        }
        let mut block = std::mem::take(&mut self.block);
        block.extend_from_slice(&self.buffer);
        self.buffer = block;
        true
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
                let end = self.position.saturating_add(body).saturating_add(2);
                if self.move_to_block(end, more) {
                    return;
                }
                doubled.min(end)
            }
            _ => doubled,
        };
        let target = target.max(64 << 10);
        self.buffer.reserve_exact(target.saturating_sub(len).max(more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::DecodeLimits;

    const LEN: usize = 1 << 20;

    /// Receives a string in two parts; where the bytes lie then, and how much memory they have.
    fn receive_string(decoder: &mut Decoder, len: usize) -> Vec<u8> {
        decoder.receive(format!("${len}\r\n").as_bytes());
        assert_eq!(decoder.next_frame(), Ok(None));
        for part in [len / 8, len - len / 8] {
            decoder.receive(&vec![b'x'; part]);
        }
        decoder.receive(b"\r\n");
        assert!(decoder.next_frame().expect("a string").is_some());
        decoder.take(Default::default()).0
    }

    #[test]
    fn a_large_string_is_received_in_the_block_of_the_one_before_it() {
        let mut decoder = Decoder::new(DecodeLimits::default());
        let block = receive_string(&mut decoder, LEN);
        let address = block.as_ptr();
        decoder.donate(block);
        let next = receive_string(&mut decoder, LEN - 9);
        assert_eq!(next.as_ptr(), address);
        assert_eq!(next.iter().filter(|&&byte| byte == b'x').count(), LEN - 9);
    }

    #[test]
    fn a_string_that_would_leave_most_of_the_block_empty_does_not_take_it_and_ends_it() {
        let mut decoder = Decoder::new(DecodeLimits::default());
        decoder.donate(Vec::with_capacity(LEN));
        assert!(receive_string(&mut decoder, LEN / 4).capacity() < LEN / 2);
        assert_eq!(decoder.block.capacity(), 0);
    }

    #[test]
    fn a_string_that_is_longer_than_the_block_grows_by_itself() {
        let mut decoder = Decoder::new(DecodeLimits::default());
        decoder.donate(Vec::with_capacity(LEN));
        let bytes = receive_string(&mut decoder, 2 * LEN);
        assert_eq!(bytes.iter().filter(|&&byte| byte == b'x').count(), 2 * LEN);
    }

    #[test]
    fn a_block_beyond_the_limit_is_not_kept() {
        let mut decoder = Decoder::new(DecodeLimits::default());
        decoder.donate(Vec::with_capacity(BLOCK_LEN_MAX + 1));
        assert_eq!(decoder.block.capacity(), 0);
    }
}
