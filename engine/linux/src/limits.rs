//! What the machine allows, and what about it deserves a warning at start.
//!
//! Facts only: the server words the warnings.

use std::fs;

use crate::sys;

/// Descriptors the server needs for itself: files, listeners, epoll, pipes.
pub const DESCRIPTORS_RESERVED: u64 = 32;

/// How many files may be open, and what that leaves for clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFiles {
    /// What `maxclients` clients and the server itself need.
    pub wanted: u64,
    /// What the kernel grants.
    pub granted: u64,
    /// Descriptors one client takes: its socket, and where I/O threads serve it, their own for the same.
    pub per_client: u64,
}

impl OpenFiles {
    /// Clients that fit.
    pub fn clients_max(self) -> u64 {
        self.granted.min(self.wanted).saturating_sub(DESCRIPTORS_RESERVED) / self.per_client
    }
}

/// Raises the limit of open files so that `maxclients` clients fit, as far as the kernel lets us.
pub fn raise_open_files(maxclients: u64, has_io_threads: bool) -> OpenFiles {
    let per_client = if has_io_threads { 2 } else { 1 };
    let wanted = maxclients.saturating_mul(per_client).saturating_add(DESCRIPTORS_RESERVED);
    let Ok((soft, hard)) = sys::open_files_limit() else {
        return OpenFiles { wanted, granted: wanted, per_client };
    };
    if soft >= wanted {
        return OpenFiles { wanted, granted: soft, per_client };
    }
    let is_raised = sys::set_open_files_limit(wanted, hard.max(wanted)).is_ok()
        || sys::set_open_files_limit(wanted.min(hard), hard).is_ok();
    let granted = sys::open_files_limit().map_or(soft, |(soft, _)| soft);
    OpenFiles { wanted, granted: if is_raised { granted } else { soft }, per_client }
}

/// A state of the machine that makes the server slow or its snapshots fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// `vm.overcommit_memory` is 0: fork may be refused although memory would suffice.
    OvercommitMemory,
    /// Transparent huge pages are `always`: every write after a fork copies 2 MiB.
    TransparentHugePages,
    /// The kernel shortens the queue of waiting connections to `allowed`.
    Backlog {
        /// `tcp-backlog`.
        wanted: i32,
        /// `net.core.somaxconn`.
        allowed: i32,
    },
}

/// All warnings about this machine.
pub fn warnings(tcp_backlog: i32) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if setting("/proc/sys/vm/overcommit_memory").as_deref() == Some("0") {
        warnings.push(Warning::OvercommitMemory);
    }
    if setting("/sys/kernel/mm/transparent_hugepage/enabled").is_some_and(|text| text.contains("[always]")) {
        warnings.push(Warning::TransparentHugePages);
    }
    let allowed = setting("/proc/sys/net/core/somaxconn").and_then(|text| text.parse().ok());
    if let Some(allowed) = allowed.filter(|&allowed| allowed < tcp_backlog) {
        warnings.push(Warning::Backlog { wanted: tcp_backlog, allowed });
    }
    warnings
}

fn setting(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_leaves_room_for_clients_only() {
        let check = |wanted, granted, expected| {
            assert_eq!(OpenFiles { wanted, granted, per_client: 1 }.clients_max(), expected);
        };
        assert_eq!(OpenFiles { wanted: 20_032, granted: 10_032, per_client: 2 }.clients_max(), 5_000);
        check(10_032, 10_032, 10_000);
        check(10_032, 1_000_000, 10_000);
        check(10_032, 1024, 992);
        check(33, 32, 0);
        check(33, 1, 0);
    }

    #[test]
    fn an_enormous_backlog_is_warned_about() {
        assert!(warnings(i32::MAX).iter().any(|w| matches!(w, Warning::Backlog { wanted: i32::MAX, .. })));
    }
}
