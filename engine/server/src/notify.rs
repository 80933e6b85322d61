//! What the service manager is told (`supervised systemd`): loading and how far, ready, alive, leaving.
//!
//! Always true: told from the loop itself, so that a loop that hangs is no longer called alive; without `NOTIFY_SOCKET`
//! nothing is sent.
//!
//! Not here: the unit file (`deploy/perdura.service`).

use perdura_core::{config::Supervised, node::Progress, time::Now};
use sd_notify::NotifyState;

/// Time between two reports of how far loading is.
const STATUS_INTERVAL_US: u64 = 1_000_000;

/// The service manager, seen from the loop.
pub struct Notifier {
    send: fn(&[NotifyState<'_>]),
    is_ready: bool,
    status_due_us: u64,
    /// Time between two signs of life, microseconds, if any are wanted.
    alive_interval_us: Option<u64>,
    alive_due_us: u64,
}

impl Notifier {
    /// One for whoever started us, if that is systemd and the configuration lets us speak to it.
    pub fn start(supervised: Supervised) -> Option<Notifier> {
        let is_wanted = is_wanted(supervised);
        if supervised == Supervised::Systemd && !is_wanted {
            tracing::warn!("systemd supervision requested, but NOTIFY_SOCKET not found");
        }
        // Half of what is asked for, as systemd advises.
        let alive = sd_notify::watchdog_enabled().map(|limit| limit.as_micros() as u64 / 2);
        is_wanted.then(|| Notifier::new(send, alive))
    }

    fn new(send: fn(&[NotifyState<'_>]), alive_interval_us: Option<u64>) -> Notifier {
        Notifier { send, is_ready: false, status_due_us: 0, alive_interval_us, alive_due_us: 0 }
    }

    /// The loop turns; `loading` tells how far the data set is, `None` once it is there.
    pub fn turned(&mut self, now: Now, loading: impl FnOnce() -> Option<Progress>) {
        if !self.is_ready && now.mono_us >= self.status_due_us {
            self.status_due_us = now.mono_us + STATUS_INTERVAL_US;
            self.tell_status(loading());
        }
        if let Some(interval_us) = self.alive_interval_us
            && now.mono_us >= self.alive_due_us
        {
            self.alive_due_us = now.mono_us + interval_us;
            (self.send)(&[NotifyState::Watchdog]);
        }
    }

    fn tell_status(&mut self, loading: Option<Progress>) {
        match loading {
            Some(progress) => {
                let eta = progress.eta_s().map_or(String::new(), |seconds| format!(", {seconds} s left"));
                let status = format!("Loading the data set: {:.1} %{eta}", progress.percent());
                (self.send)(&[NotifyState::Status(&status)]);
            }
            None => {
                self.is_ready = true;
                (self.send)(&[NotifyState::Ready, NotifyState::Status("Ready to accept connections")]);
            }
        }
    }
}

fn is_wanted(supervised: Supervised) -> bool {
    match supervised {
        Supervised::Systemd | Supervised::Auto => std::env::var_os("NOTIFY_SOCKET").is_some(),
        Supervised::Upstart | Supervised::No => false,
    }
}

/// The loop has ended: the server leaves.
pub fn leaving(supervised: Supervised) {
    if is_wanted(supervised) {
        send(&[NotifyState::Stopping]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    // Nobody to tell that nobody listens.
    let _ = sd_notify::notify(states);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    thread_local! {
        static SENT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn note(states: &[NotifyState<'_>]) {
        SENT.with_borrow_mut(|sent| sent.extend(states.iter().map(ToString::to_string)));
    }

    fn sent() -> Vec<String> {
        SENT.with_borrow_mut(std::mem::take).iter().map(|line| line.trim_end().to_owned()).collect()
    }

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_us: 0 }
    }

    #[test]
    fn loading_is_told_once_a_second_and_readiness_once() {
        let mut notifier = Notifier::new(note, None);
        let half = Some(Progress { total: 4, done: 2, elapsed_us: 3_000_000 });
        notifier.turned(at(1), || half);
        notifier.turned(at(2), || panic!("too early to look"));
        assert_eq!(sent(), ["STATUS=Loading the data set: 50.0 %, 3 s left"]);
        notifier.turned(at(2_000_000), || None);
        assert_eq!(sent(), ["READY=1", "STATUS=Ready to accept connections"]);
        notifier.turned(at(9_000_000), || panic!("told already"));
        assert!(sent().is_empty());
    }

    #[test]
    fn signs_of_life_come_while_the_loop_turns() {
        let mut notifier = Notifier::new(note, Some(500));
        notifier.turned(at(1), || None);
        notifier.turned(at(400), || None);
        notifier.turned(at(501), || None);
        let alive = sent().iter().filter(|line| *line == "WATCHDOG=1").count();
        assert_eq!(alive, 2);
    }
}
