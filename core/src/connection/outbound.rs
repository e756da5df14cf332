//! Bytes on their way to the socket: sealed, in order, with a prefix that stays put until it is transmitted.

/// The sealed bytes that the driver has not reported as transmitted.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    bytes: Vec<u8>,
    /// Transmitted bytes at the front of `bytes`.
    head: usize,
}

/// Fewer transmitted bytes are not worth moving the rest.
const COMPACTED_LEN_MIN: usize = 64 << 10;

impl Outbound {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.head..).unwrap_or_default()
    }

    /// The end of the buffer, to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn transmitted(&mut self, len: usize) {
        self.head = self.bytes.len().min(self.head.saturating_add(len));
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head >= COMPACTED_LEN_MIN && self.head >= self.bytes.len() / 2 {
            // A socket that always takes a little less than there is must not keep what it took alive.
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    /// Everything unsent, which counts as transmitted. `spare` is the buffer to go on with.
    pub(crate) fn take(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        spare.clear();
        let mut bytes = std::mem::replace(&mut self.bytes, spare);
        if self.head > 0 {
            bytes.drain(..self.head);
        }
        self.head = 0;
        bytes
    }
}
