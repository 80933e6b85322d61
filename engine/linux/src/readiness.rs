//! How the loop waits for sockets and moves their bytes.
//!
//! Exists as a small interface so that a completion-based back end (io_uring) can stand beside epoll: the loop asks
//! for bytes with [`Sockets::receive`] and hands bytes over with [`Sockets::send`] and does not know when the system
//! call happened.
//!
//! Always true: level-triggered; an event is a hint, never a promise, so every receive may come back empty-handed.
//!
//! Not here: what a connection is (`connections.rs`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::fd::{AsRawFd, RawFd};

use crate::sys;

/// What a descriptor is watched for. Errors and a full hang-up are always reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Bytes or connections to take.
    pub read: bool,
    /// Room for bytes.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Interest = Interest { read: true, write: false };
}

/// Something happened on a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The watcher's own name for it.
    pub token: u64,
    /// Something to take.
    pub is_readable: bool,
    /// Room again.
    pub is_writable: bool,
    /// Broken or closed in both directions.
    pub is_hung_up: bool,
}

/// What a receive brought.
pub enum Received<'a> {
    /// These bytes, at least one.
    Bytes(&'a [u8]),
    /// Nothing at present.
    Nothing,
    /// The other end sends nothing more; it may still read.
    End,
    /// The connection is broken.
    Broken,
}

/// Waiting for many descriptors, and moving bytes of those that are ready.
pub trait Sockets {
    /// Starts watching.
    fn watch(&mut self, fd: BorrowedFd, token: u64, interest: Interest) -> io::Result<()>;
    /// Watches for something else.
    fn change(&mut self, fd: BorrowedFd, token: u64, interest: Interest) -> io::Result<()>;
    /// Stops watching. To be said before the descriptor is closed: a forked child may hold it open for longer.
    fn forget(&mut self, fd: BorrowedFd);
    /// Waits, at most `timeout_us` (`None`: for ever), and replaces the contents of `events`.
    fn wait(&mut self, timeout_us: Option<u64>, events: &mut Vec<Event>) -> io::Result<()>;
    /// Takes what a socket has, at most `len_max` bytes. The bytes stand until the next call.
    fn receive(&mut self, fd: BorrowedFd, len_max: usize) -> Received<'_>;
    /// Hands bytes to a socket; how many it took, 0 when it is full.
    fn send(&mut self, fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize>;
    /// Descriptors of its own, which a forked child must close.
    fn own_descriptors(&self) -> Vec<RawFd>;
}

/// Most bytes one receive can bring.
pub const RECEIVE_BYTES_MAX: usize = 1024 * 1024;

/// Most events of one wait; the rest come with the next.
const EVENTS_MAX: usize = 1024;

/// Readiness by epoll, level-triggered, and one buffer for all connections.
pub struct Epoll {
    fd: OwnedFd,
    raw_events: Vec<libc::epoll_event>,
    /// Pages never touched cost nothing, so the room for large reads is always there.
    buffer: Vec<u8>,
}

impl Epoll {
    /// A new instance.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Epoll> {
        let raw_events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        Ok(Epoll { fd: sys::epoll_create()?, raw_events, buffer: vec![0; RECEIVE_BYTES_MAX] })
    }
}

impl Sockets for Epoll {
    fn watch(&mut self, fd: BorrowedFd, token: u64, interest: Interest) -> io::Result<()> {
        sys::epoll_ctl(self.fd.as_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), flags(interest), token)
    }

    fn change(&mut self, fd: BorrowedFd, token: u64, interest: Interest) -> io::Result<()> {
        sys::epoll_ctl(self.fd.as_fd(), libc::EPOLL_CTL_MOD, fd.as_raw_fd(), flags(interest), token)
    }

    fn forget(&mut self, fd: BorrowedFd) {
        // Fails only for a descriptor that is not watched, which is what is wanted.
        let _ = sys::epoll_ctl(self.fd.as_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, 0);
    }

    fn wait(&mut self, timeout_us: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let count = sys::epoll_wait(self.fd.as_fd(), &mut self.raw_events, timeout_us)?;
        events.extend(self.raw_events[..count].iter().map(|raw| Event {
            token: raw.u64,
            is_readable: raw.events & libc::EPOLLIN as u32 != 0,
            is_writable: raw.events & libc::EPOLLOUT as u32 != 0,
            is_hung_up: raw.events & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0,
        }));
        Ok(())
    }

    fn receive(&mut self, fd: BorrowedFd, len_max: usize) -> Received<'_> {
        let buffer = &mut self.buffer[..len_max.min(RECEIVE_BYTES_MAX)];
        match sys::receive(fd, buffer) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes(&self.buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            Err(_) => Received::Broken,
        }
    }

    fn send(&mut self, fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
        match sys::send(fd, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    fn own_descriptors(&self) -> Vec<RawFd> {
        vec![self.fd.as_raw_fd()]
    }
}

fn flags(interest: Interest) -> u32 {
    let read = if interest.read { libc::EPOLLIN as u32 } else { 0 };
    let write = if interest.write { libc::EPOLLOUT as u32 } else { 0 };
    read | write
}
