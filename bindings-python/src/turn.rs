//! Who reads, and who writes, of the threads that share a sync client.
//!
//! Both are owned by a thread, so that an interrupt between any two steps of the driver leaves nothing that its
//! `finally` could not give back, and so that a finaliser or a signal handler that comes in the middle of a command
//! can be told from another thread.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The thread that reads, connects and closes, and the thread that writes. 0 where there is none.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    reader: AtomicUsize,
    writer: AtomicUsize,
    is_torn: AtomicBool,
}

thread_local!(static MARK: u8 = const { 0 });

/// Tells running threads apart; never 0.
fn this_thread() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

fn take(owner: &AtomicUsize) -> bool {
    owner.compare_exchange(0, this_thread(), Ordering::Acquire, Ordering::Relaxed).is_ok()
}

fn give_back(owner: &AtomicUsize) -> bool {
    owner.compare_exchange(this_thread(), 0, Ordering::Release, Ordering::Relaxed).is_ok()
}

impl Turn {
    /// Whether this thread is in the middle of reading or writing.
    pub(crate) fn is_mine(&self) -> bool {
        let me = this_thread();
        self.reader.load(Ordering::Relaxed) == me || self.writer.load(Ordering::Relaxed) == me
    }

    /// Takes the turn to read, where it is free.
    pub(crate) fn lead(&self) -> bool {
        take(&self.reader)
    }

    /// Gives back what this thread has. Bytes that it took to write and did not account for are lost.
    pub(crate) fn leave(&self) {
        if self.writer.load(Ordering::Relaxed) == this_thread() {
            // Told before the turn is free: whoever takes it next must know.
            self.is_torn.store(true, Ordering::Release);
            give_back(&self.writer);
        }
        give_back(&self.reader);
    }

    pub(crate) fn is_led(&self) -> bool {
        self.reader.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn start_writing(&self) -> bool {
        take(&self.writer)
    }

    /// Whether bytes were lost: nothing more must be written to this connection.
    pub(crate) fn is_torn(&self) -> bool {
        self.is_torn.load(Ordering::Acquire)
    }

    pub(crate) fn stop_writing(&self) {
        give_back(&self.writer);
    }

    /// Whether another thread writes.
    pub(crate) fn is_written(&self) -> bool {
        let writer = self.writer.load(Ordering::Relaxed);
        writer != 0 && writer != this_thread()
    }

    /// The connection that lost bytes is gone.
    pub(crate) fn mend(&self) {
        self.is_torn.store(false, Ordering::Release);
    }
}
