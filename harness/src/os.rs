//! The few system calls the judge needs and std does not offer.
//!
//! Exists so that all `unsafe` of this crate stands in one place.
//!
//! Always true: every function here is one system call or an obvious handful, and turns failure into an
//! `io::Error`.
//!
//! Not here: what is done with them (`process.rs`, `load.rs`).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// A signal the judge sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Cannot be caught: the process is gone between two instructions.
    Kill,
    /// Asks for an orderly end.
    Terminate,
    /// Freezes the process.
    Stop,
    /// Lets a frozen process run again.
    Continue,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Signal::Kill => libc::SIGKILL,
            Signal::Terminate => libc::SIGTERM,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        }
    }
}

/// Sends `signal` to one process.
///
/// # Errors
/// `NotFound`-like errno when it no longer exists.
pub fn signal_process(pid: u32, signal: Signal) -> io::Result<()> {
    assert!(pid > 1, "never to everyone, never to init");
    // SAFETY: kill takes two integers and touches no memory of ours.
    check(unsafe { libc::kill(pid as i32, signal.number()) })
}

/// Sends `signal` to every process of the group that `leader` leads.
///
/// # Errors
/// As [`signal_process`].
pub fn signal_group(leader: u32, signal: Signal) -> io::Result<()> {
    assert!(leader > 1, "never to everyone, never to init");
    // SAFETY: kill takes two integers and touches no memory of ours.
    check(unsafe { libc::kill(-(leader as i32), signal.number()) })
}

/// Makes the process `command` starts the leader of its own group, pinned to `core` if given, and killed when
/// the thread that started it ends.
pub fn prepare_server(command: &mut Command, core: Option<usize>) {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and
    // sched_setaffinity are bare system calls, and `pin` allocates nothing.
    unsafe {
        command.pre_exec(move || {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            core.map_or(Ok(()), pin)
        });
    }
}

/// Pins the calling thread to one core.
///
/// # Errors
/// `InvalidInput`-like errno when the machine has no such core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET writes inside it for any core below
    // CPU_SETSIZE; the kernel only reads the set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        libc::CPU_SET(core, &mut set);
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set))
    }
}

/// Lets the calling thread run on every core again.
///
/// # Errors
/// Whatever the kernel reports.
pub fn unpin() -> io::Result<()> {
    // SAFETY: as in `pin`; the kernel intersects the full set with the cores that exist.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in 0..libc::CPU_SETSIZE as usize {
            libc::CPU_SET(core, &mut set);
        }
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set))
    }
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    // SAFETY: the call takes nothing, touches no memory of ours and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Gives the calling thread, and those it starts from now on, a mount table of their own.
///
/// # Errors
/// Whatever the kernel reports.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: the call takes flags only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })
}

/// CPU time the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert!(result == 0, "every Linux has a thread clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time that all threads of a process have used so far, also those that have ended.
///
/// # Errors
/// When the process is gone.
pub fn process_cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid, writable clock id.
    match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
        0 => {}
        errno => return Err(io::Error::from_raw_os_error(errno)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// A set of sockets that reports which of them are ready.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// One socket that became ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// What it was added under.
    pub token: usize,
    /// It can be read, or has failed: reading tells which.
    pub is_readable: bool,
    /// It can be written.
    pub is_writable: bool,
}

impl Epoll {
    /// An empty set that reports at most `events_max` sockets per wait.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub fn new(events_max: usize) -> io::Result<Epoll> {
        // SAFETY: the call takes flags only; its result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        // SAFETY: `fd` was just created and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; events_max] })
    }

    /// Watches `socket` for reading.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub fn add(&self, socket: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, token, libc::EPOLLIN)
    }

    /// Watches `socket` for writing as well.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub fn watch_writing(&self, socket: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, token, libc::EPOLLIN | libc::EPOLLOUT)
    }

    /// Watches `socket` for reading only.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub fn watch_reading_only(&self, socket: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, token, libc::EPOLLIN)
    }

    fn control(&self, operation: i32, socket: RawFd, token: usize, interest: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        // SAFETY: `event` lives through the call and the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, socket, &mut event) })
    }

    /// Waits at most `timeout_ms` and replaces what is in `ready` by the sockets that are.
    ///
    /// # Errors
    /// Whatever the kernel reports; an interruption is an empty wait.
    pub fn wait(&mut self, timeout_ms: i32, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let events_max = self.events.len() as i32;
        // SAFETY: the buffer holds `events_max` events and is not touched by anyone else meanwhile.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), events_max, timeout_ms)
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready.extend(self.events[..count as usize].iter().map(|event| {
            let flags = event.events as i32;
            Ready {
                token: event.u64 as usize,
                is_readable: flags & (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP) != 0,
                is_writable: flags & libc::EPOLLOUT != 0,
            }
        }));
        Ok(())
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
