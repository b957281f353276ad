//! Waiting for a socket, or for the end.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// Ends the waits of a thread, from any other.
#[derive(Clone, Debug)]
pub(crate) struct Wake(Arc<OwnedFd>);

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The socket can be read or written, or is broken.
    Ready,
    /// Time is up.
    TimedOut,
    /// The thread is to end.
    Stopped,
}

impl Wake {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends the current wait and all later ones.
    pub(crate) fn stop(&self) {
        // The counter is never read, so it stays readable; that it overflows does not matter then.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Waits for time to pass.
    pub(crate) fn pause(&self, time: Duration) -> Woken {
        self.poll(None, Some(time))
    }

    /// Waits until `socket` can be read, `None`: without limit.
    pub(crate) fn readable(&self, socket: BorrowedFd<'_>, time: Option<Duration>) -> Woken {
        self.poll(Some((socket, PollFlags::IN)), time)
    }

    /// Waits until `socket` can be written.
    pub(crate) fn writable(&self, socket: BorrowedFd<'_>, time: Option<Duration>) -> Woken {
        self.poll(Some((socket, PollFlags::OUT)), time)
    }

    fn poll(&self, socket: Option<(BorrowedFd<'_>, PollFlags)>, time: Option<Duration>) -> Woken {
        // What does not fit is longer than anyone waits.
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let stop = PollFd::new(&*self.0, PollFlags::IN);
        let polled = if let Some((socket, flags)) = &socket {
            let mut fds = [stop, PollFd::new(socket, *flags)];
            poll(&mut fds, time.as_ref()).map(|ready| (ready, !fds[0].revents().is_empty()))
        } else {
            let mut fds = [stop];
            poll(&mut fds, time.as_ref()).map(|ready| (ready, !fds[0].revents().is_empty()))
        };
        match polled {
            Ok((_, true)) => Woken::Stopped,
            Ok((0, false)) => Woken::TimedOut,
            // After a signal the caller tries, finds nothing and waits again.
            Ok(_) | Err(_) => Woken::Ready,
        }
    }
}
