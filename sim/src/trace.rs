//! The trace of a run: a digest to compare two runs by, and the last operations for a report.
//!
//! Exists because two runs of one seed must be the same run; madsim's own check hashes draws, not data.
//!
//! Always true: equal digests mean equal operations, times and results (up to 64-bit collisions).

use std::collections::VecDeque;
use std::fmt;

/// Operations kept for a report.
pub const RECENT_COUNT: usize = 48;

/// Digest and recent operations.
#[derive(Clone, Debug)]
pub struct Trace {
    digest: u64,
    recent: VecDeque<Entry>,
    recent_max: usize,
}

/// One operation as it went.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// When, microseconds of the monotonic clock.
    pub mono_us: u64,
    /// Whose.
    pub process: u32,
    /// What.
    pub operation: &'static str,
    /// On what.
    pub path: String,
    /// Bytes, or whatever else it counts.
    pub amount: u64,
    /// Error number, 0 if it succeeded.
    pub errno: i32,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { number, mono_us, process, operation, path, amount, errno } = self;
        write!(f, "#{number} {mono_us}us p{process} {operation} {path:?} {amount} -> {errno}")
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { digest: FNV_OFFSET, recent: VecDeque::with_capacity(RECENT_COUNT), recent_max: RECENT_COUNT }
    }
}

impl Trace {
    /// Takes in one operation.
    pub(crate) fn record(&mut self, entry: &EntryRef<'_>) {
        self.mix(entry.number);
        self.mix(entry.mono_us);
        self.mix(u64::from(entry.process));
        self.mix_bytes(entry.operation.as_bytes());
        self.mix_bytes(entry.path.as_bytes());
        self.mix(entry.amount);
        self.mix(u64::from(entry.errno.unsigned_abs()));
        self.remember(entry);
    }

    /// Takes in a number.
    pub(crate) fn mix(&mut self, value: u64) {
        // Whole words at a time: FNV's steps, a quarter of the time of byte by byte.
        self.digest = (self.digest ^ value).wrapping_mul(FNV_PRIME);
        self.digest ^= self.digest >> 29;
    }

    /// Takes in bytes.
    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().expect("chunks of 8")));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64).rotate_left(32));
    }

    /// The digest so far.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Keeps all operations from now on.
    pub(crate) fn keep_all(&mut self) {
        self.recent_max = usize::MAX;
    }

    /// The last operations, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Entry> {
        self.recent.iter()
    }

    fn remember(&mut self, entry: &EntryRef<'_>) {
        // The string of the entry that falls out is used again: no allocation per operation.
        let mut path = String::new();
        if self.recent.len() == self.recent_max {
            path = self.recent.pop_front().map(|old| old.path).unwrap_or_default();
        }
        path.clear();
        path.push_str(entry.path);
        self.recent.push_back(Entry {
            number: entry.number,
            mono_us: entry.mono_us,
            process: entry.process,
            operation: entry.operation,
            path,
            amount: entry.amount,
            errno: entry.errno,
        });
    }
}

/// An [`Entry`] that borrows its path.
pub(crate) struct EntryRef<'a> {
    pub number: u64,
    pub mono_us: u64,
    pub process: u32,
    pub operation: &'static str,
    pub path: &'a str,
    pub amount: u64,
    pub errno: i32,
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(bytes: &[&[u8]]) -> u64 {
        let mut trace = Trace::default();
        bytes.iter().for_each(|part| trace.mix_bytes(part));
        trace.digest()
    }

    #[test]
    fn digest_tells_apart_where_one_part_ends() {
        assert_ne!(digest_of(&[b"ab", b"c"]), digest_of(&[b"a", b"bc"]));
        assert_ne!(digest_of(&[b"a"]), digest_of(&[b"a\0"]));
        assert_ne!(digest_of(&[b"12345678"]), digest_of(&[b"12345678\0"]));
        assert_eq!(digest_of(&[b"a", b"b"]), digest_of(&[b"a", b"b"]));
    }

    #[test]
    fn only_the_last_operations_are_kept() {
        let mut trace = Trace::default();
        for number in 0..100 {
            let path = "f";
            trace.record(&EntryRef {
                number,
                mono_us: 0,
                process: 0,
                operation: "write",
                path,
                amount: 0,
                errno: 0,
            });
        }
        let kept: Vec<u64> = trace.recent().map(|entry| entry.number).collect();
        assert_eq!(kept, (52..100).collect::<Vec<_>>());
    }
}
