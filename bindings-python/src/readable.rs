//! Whether a socket has something to read, asked without waiting: one system call instead of several objects.

/// `true` also where it cannot be told: who looks finds out.
#[cfg(unix)]
pub(crate) fn is_readable(descriptor: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let Ok(descriptor) = i32::try_from(descriptor) else { return true };
    if descriptor < 0 {
        return true;
    }
    // SAFETY: the descriptor is that of a socket that only the caller, who has the turn, may close.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
}

#[cfg(not(unix))]
pub(crate) fn is_readable(_descriptor: i64) -> bool {
    true
}
