//! How the loop waits for sockets and moves their bytes.
//!
//! Exists as a small interface so that io_uring can stand beside epoll: the loop asks for bytes with
//! [`Sockets::receive`] and hands bytes over with [`Sockets::send`] and does not know when the system call happened.
//!
//! Always true: what is there to be received and wanted is reported until it was received; an event is a hint, never
//! a promise, so every receive may come back empty-handed.
//!
//! Not here: io_uring (`ring.rs`), what a connection is (`connections.rs`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::ring::Ring;
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

/// Waiting for many descriptors, and moving bytes of connections.
pub trait Sockets {
    /// What operators know it as.
    fn name(&self) -> &'static str;
    /// Watches a descriptor that is no connection for reading.
    fn watch(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()>;
    /// Takes a connection in and watches it for reading.
    fn open(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()>;
    /// Watches a connection for something else.
    fn change(&mut self, fd: BorrowedFd, token: u64, interest: Interest) -> io::Result<()>;
    /// Stops watching. To be said before the descriptor is closed: a forked child may hold it open for longer.
    fn forget(&mut self, fd: BorrowedFd);
    /// Waits, at most `timeout_us` (`None`: for ever), and replaces the contents of `events`.
    fn wait(&mut self, timeout_us: Option<u64>, events: &mut Vec<Event>) -> io::Result<()>;
    /// Takes what a connection has, about `len_max` bytes at most. The bytes stand until the next call.
    fn receive(&mut self, fd: BorrowedFd, len_max: usize) -> Received<'_>;
    /// Hands bytes to a connection; how many it took, 0 when it is full.
    fn send(&mut self, fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize>;
    /// Bytes it took are still on the way to the kernel: forgetting the connection would lose them.
    fn is_sending(&self, fd: BorrowedFd) -> bool;
    /// Gives the kernel what was taken so far; otherwise the next `wait` does.
    fn flush(&mut self);
}

/// The best there is: io_uring if it is wanted and the kernel lets us, else epoll.
///
/// # Errors
/// Out of descriptors.
pub fn sockets(wants_io_uring: bool) -> io::Result<Box<dyn Sockets>> {
    if wants_io_uring {
        match Ring::new() {
            Ok(ring) => return Ok(Box::new(ring)),
            Err(error) => tracing::info!("io_uring can't be used, epoll is: {error}"),
        }
    }
    Ok(Box::new(Epoll::new()?))
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
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn watch(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        let events = flags(Interest::READ);
        sys::epoll_ctl(self.fd.as_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), events, token)
    }

    fn open(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        self.watch(fd, token)
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
        sys::send_or_nothing(fd, bytes)
    }

    fn is_sending(&self, _fd: BorrowedFd) -> bool {
        false
    }

    fn flush(&mut self) {}
}

fn flags(interest: Interest) -> u32 {
    let read = if interest.read { libc::EPOLLIN as u32 } else { 0 };
    let write = if interest.write { libc::EPOLLOUT as u32 } else { 0 };
    read | write
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Lets the kernel answer this thread's attempts to make a ring with EPERM, as container sandboxes do.
    fn forbid_io_uring() {
        let statement = |code: u32, jump_if: u8, value: u32| libc::sock_filter {
            code: code as u16,
            jt: jump_if,
            jf: 0,
            k: value,
        };
        let filter = [
            // The number of the system call is the first field of what a filter looks at.
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            // This one goes on to the statement after the next.
            statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_io_uring_setup as u32),
            statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
            statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: both calls change this thread only; the program is read during the call.
        let results = unsafe {
            [
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
            ]
        };
        assert_eq!(results, [0, 0], "{}", io::Error::last_os_error());
    }

    #[test]
    fn epoll_stands_in_where_io_uring_is_refused_or_not_wanted() {
        assert_eq!(sockets(false).unwrap().name(), "epoll");
        let refused = thread::spawn(|| {
            forbid_io_uring();
            let error = Ring::new().err().expect("the kernel refuses");
            (error.raw_os_error(), sockets(true).unwrap().name())
        });
        assert_eq!(refused.join().unwrap(), (Some(libc::EPERM), "epoll"));
    }
}
