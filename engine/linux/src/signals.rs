//! Signals: the two the engine hears of, the ones ignored, and the ones that mean a crash.
//!
//! A handler only sets a flag and rings a doorbell the loop waits on; the engine decides what a signal means.
//!
//! Not here: the child's handlers (`child.rs`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use perdura_core::host::Signal;

use crate::settings::CrashLog;
use crate::sys::{self, Action};

/// Written by handlers, which can reach nothing but statics.
static DOORBELL: AtomicI32 = AtomicI32::new(-1);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static TERMINATED: AtomicBool = AtomicBool::new(false);
/// Descriptor a crash is reported on.
static CRASH_LOG: AtomicI32 = AtomicI32::new(libc::STDOUT_FILENO);

/// Signals that say the program itself is wrong.
const CRASH_SIGNALS: [libc::c_int; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// The signals of the process, caught from now on. One per process.
pub struct Signals {
    doorbell: OwnedFd,
    _crash_log: Option<OwnedFd>,
}

impl Signals {
    /// Takes over the signals; those of a crash only where it is to be reported.
    ///
    /// # Errors
    /// A descriptor or a handler was refused.
    pub fn catch(crash_log: &CrashLog) -> io::Result<Signals> {
        let doorbell = sys::event_fd()?;
        DOORBELL.store(doorbell.as_raw_fd(), Ordering::Relaxed);
        let opened = match crash_log {
            CrashLog::File(path) => Some(open_crash_log(path)?),
            CrashLog::Output | CrashLog::Nowhere => None,
        };
        if let Some(fd) = &opened {
            CRASH_LOG.store(fd.as_raw_fd(), Ordering::Relaxed);
        }
        sys::set_action(libc::SIGINT, Action::Handle(on_interrupt))?;
        sys::set_action(libc::SIGTERM, Action::Handle(on_terminate))?;
        sys::set_action(libc::SIGHUP, Action::Ignore)?;
        sys::set_action(libc::SIGPIPE, Action::Ignore)?;
        if *crash_log != CrashLog::Nowhere {
            for signal in CRASH_SIGNALS {
                sys::set_action(signal, Action::HandleOnce(on_crash))?;
            }
        }
        Ok(Signals { doorbell, _crash_log: opened })
    }

    /// Readable when a signal waits to be taken.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    /// The signals that came since the last call, each kind once.
    pub fn take(&self) -> impl Iterator<Item = Signal> + use<> {
        sys::event_clear(self.doorbell.as_fd());
        let interrupted = INTERRUPTED.swap(false, Ordering::Relaxed).then_some(Signal::Interrupt);
        let terminated = TERMINATED.swap(false, Ordering::Relaxed).then_some(Signal::Terminate);
        interrupted.into_iter().chain(terminated)
    }
}

/// A SIGINT came and has not been taken.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Gives a forked child its own handling: SIGUSR1 ends it quietly, the rest is as the system has it.
pub(crate) fn reset_in_child() {
    // None of these can fail for a valid signal.
    for signal in CRASH_SIGNALS.into_iter().chain([libc::SIGTERM, libc::SIGHUP]) {
        let _ = sys::set_action(signal, Action::Default);
    }
    // The terminal's Ctrl-C reaches the whole group; the parent decides what becomes of the child.
    let _ = sys::set_action(libc::SIGINT, Action::Ignore);
    let _ = sys::set_action(libc::SIGPIPE, Action::Ignore);
    let _ = sys::set_action(libc::SIGUSR1, Action::Handle(on_end_of_child));
    sys::release_signals();
}

/// Dies by a signal, with a crash report where it is one of those.
pub(crate) fn die(signal: i32) -> ! {
    if !CRASH_SIGNALS.contains(&signal) {
        // Refused for SIGKILL and SIGSTOP, which need no help.
        let _ = sys::set_action(signal, Action::Default);
    }
    // In this thread, so that a crash report is written before anything else happens.
    sys::raise(signal);
    sys::exit_now(128 + signal)
}

fn open_crash_log(path: &str) -> io::Result<OwnedFd> {
    // A descriptor opened now: after a crash nothing can be trusted to open it.
    std::fs::File::options().append(true).create(true).open(path).map(OwnedFd::from)
}

extern "C" fn on_interrupt(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
    sys::event_ring(DOORBELL.load(Ordering::Relaxed));
}

extern "C" fn on_terminate(_: libc::c_int) {
    TERMINATED.store(true, Ordering::Relaxed);
    sys::event_ring(DOORBELL.load(Ordering::Relaxed));
}

/// Exit status of a child ended on purpose: no error, nothing to log as one.
pub(crate) const CHILD_ENDED_STATUS: i32 = 255;

extern "C" fn on_end_of_child(_: libc::c_int) {
    sys::exit_now(CHILD_ENDED_STATUS);
}

/// Reports a crash with async-signal-safe means only, then lets the signal do its work.
extern "C" fn on_crash(signal: libc::c_int) {
    report(b"\n=== PERDURA BUG REPORT START: please send this with the log above ===\n");
    report(b"perdura-server crashed by signal: ");
    let mut digits = [0; 3];
    report(decimal(signal, &mut digits));
    report(b"\n=== PERDURA BUG REPORT END ===\n");
    // The default action stands again (HandleOnce).
    sys::raise(signal);
}

fn report(text: &[u8]) {
    // SAFETY: the log's descriptor stays open as long as the process; borrowed for this call.
    let log = unsafe { BorrowedFd::borrow_raw(CRASH_LOG.load(Ordering::Relaxed)) };
    // Nobody is left to hear of a failure.
    let _ = sys::write(log, text);
}

/// A number below 1000 in digits, without allocation.
fn decimal(number: i32, digits: &mut [u8; 3]) -> &[u8] {
    let number = number.clamp(0, 999) as u32;
    *digits = [100, 10, 1].map(|unit| b'0' + (number / unit % 10) as u8);
    let leading_zeros = digits[..2].iter().take_while(|&&digit| digit == b'0').count();
    &digits[leading_zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_writes_signal_numbers() {
        let check = |number, expected: &str| {
            assert_eq!(decimal(number, &mut [0; 3]), expected.as_bytes());
        };
        check(0, "0");
        check(6, "6");
        check(11, "11");
        check(100, "100");
        check(999, "999");
    }
}
