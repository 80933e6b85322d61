//! What only the system and the allocator know of the process: memory, processor time, names.
//!
//! For INFO and MEMORY alone; nothing is decided by it. What cannot be found out is zero or empty.
//!
//! Not here: the text of INFO (`perdura_core::node`).

use std::fs;
use std::sync::{Mutex, PoisonError};

use perdura_core::node::HostFacts;
use tikv_jemalloc_ctl::{epoch, stats};

use crate::sys;

/// The facts as they are now. To be called on the thread that runs the engine: its processor time is among them.
pub fn facts() -> HostFacts {
    let (system_memory, page_bytes) = sys::memory_and_page_bytes();
    // The allocator's figures stand still between two epochs.
    let _ = epoch::advance();
    HostFacts {
        os: os(),
        multiplexing: *MULTIPLEXING.lock().unwrap_or_else(PoisonError::into_inner),
        executable: std::env::current_exe().map_or(String::new(), |path| path.to_string_lossy().into_owned()),
        allocator: "jemalloc-5.3.0".into(),
        rss: resident_pages() * page_bytes,
        system_memory,
        allocated: stats::allocated::read().unwrap_or(0) as u64,
        active: stats::active::read().unwrap_or(0) as u64,
        resident: stats::resident::read().unwrap_or(0) as u64,
        cpu_us: sys::processor_time_us(libc::RUSAGE_SELF),
        cpu_children_us: sys::processor_time_us(libc::RUSAGE_CHILDREN),
        cpu_main_us: sys::processor_time_us(libc::RUSAGE_THREAD),
    }
}

/// How the server waits for sockets. Of the host started last, where a process has several (tests).
static MULTIPLEXING: Mutex<&str> = Mutex::new("");

/// Notes how the server waits for sockets.
pub(crate) fn note_multiplexing(name: &'static str) {
    *MULTIPLEXING.lock().unwrap_or_else(PoisonError::into_inner) = name;
}

/// Gives memory that the allocator keeps for later back to the system.
pub fn purge_memory() {
    sys::purge_memory();
}

/// The second number of `statm`.
fn resident_pages() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// `Linux 6.1.0 x86_64`.
fn os() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {} {}", release.trim(), std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_and_has_used_time() {
        let facts = facts();
        assert!(facts.rss > 1 << 20 && facts.rss < facts.system_memory, "{facts:?}");
        assert!(facts.os.starts_with("Linux ") && facts.executable.starts_with('/'), "{facts:?}");
        purge_memory();
    }
}
