//! Notices that a client has gone while nothing is sent to it. A client that has closed its side may still want a short
//! answer; of one that is sent as it comes it wants nothing more, and without a byte to send nobody would know.

use std::{
    os::fd::{BorrowedFd, RawFd},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;

/// How often we look. A look costs a microsecond.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until the client at the other end of `socket` has closed its side while an answer is live.
///
/// # Safety
/// `socket` must stay open as long as the future is polled.
pub async unsafe fn left(socket: RawFd, mut is_live: watch::Receiver<bool>) {
    loop {
        if is_live.wait_for(|is_live| *is_live).await.is_err() {
            return std::future::pending().await;
        }
        // SAFETY: the caller keeps it open.
        if is_shut(unsafe { BorrowedFd::borrow_raw(socket) }) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_shut(socket: BorrowedFd<'_>) -> bool {
    let mut looked = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut looked, Some(&at_once)).is_ok_and(|found| found > 0)
}
