//! Faults by plan: what goes wrong with which operation, as explicit data.
//!
//! Exists so that a failing run can be shrunk by striking out faults; nothing here is drawn at random.
//!
//! Always true: a fault fires at most once, on the first operation that fits it after `skip` others did.
//!
//! Not here: what a crash loses (`image.rs`), that no space is left (`SimDisk::set_capacity`).

/// One system call on the disk. All but the last three are numbered, and so are points to crash at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// `open`, creating or not.
    Open,
    /// `write` at the end of a file.
    Write,
    /// `fdatasync` of an open file.
    Fdatasync,
    /// `fsync` of a file or directory by name.
    Fsync,
    /// `rename`.
    Rename,
    /// `link`.
    Link,
    /// `unlink`.
    Unlink,
    /// `mkdir`.
    Mkdir,
    /// `ftruncate`.
    Truncate,
    /// `pread`.
    Read,
    /// Reading of a directory.
    Readdir,
    /// `stat`.
    Stat,
}

impl Operation {
    /// Its name in an [`IoError`](perdura_core::host::IoError), the same that the Linux host gives.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Open => "open",
            Operation::Write => "write",
            Operation::Fdatasync => "fdatasync",
            Operation::Fsync => "fsync",
            Operation::Rename => "rename",
            Operation::Link => "link",
            Operation::Unlink => "unlink",
            Operation::Mkdir => "mkdir",
            Operation::Truncate => "truncate",
            Operation::Read => "read",
            Operation::Readdir => "readdir",
            Operation::Stat => "stat",
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The operation fails with this error number and does nothing.
    ///
    /// A sync that fails loses its pages as the profile says: "fsyncgate", PostgreSQL 2018, and Rebello et al. 2020.
    Errno(i32),
    /// A write takes only so many bytes: write(2), "the number of bytes written may be less than count".
    Short(u32),
    /// The call is interrupted before it does anything, and repeated: signal(7).
    Interrupted,
    /// The operation takes this much longer, microseconds. Devices stall for seconds: FoundationDB's
    /// `AsyncFileChaos`, Redis' "Asynchronous AOF fsync is taking too long".
    Slow(u64),
    /// A write succeeds, but its pages are lost before the next sync, which reports it: errseq_t, Linux 4.13.
    Writeback,
    /// A write and its sync succeed, the platter keeps what it had: "lost writes", Bairavasundaram et al., FAST 2008.
    Lost,
    /// A write and its sync succeed, but the bytes land this many bytes before their place; same study,
    /// and TigerBeetle's storage tests.
    Misdirected(u32),
}

/// One fault of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which operation.
    pub operation: Operation,
    /// Part of the path it must be about; empty fits all.
    pub path: String,
    /// Operations that fit and go well before.
    pub skip: u32,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// The faults still to come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    pub fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The fault of this operation, if one is due; every other that fits comes one closer.
    pub fn next(&mut self, operation: Operation, path: &str) -> Option<FaultKind> {
        let mut due = None;
        for (index, fault) in self.waiting.iter_mut().enumerate() {
            if fault.operation != operation || !path.contains(&fault.path) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if due.is_none() {
                due = Some(index);
            }
        }
        due.map(|index| self.waiting.remove(index).kind)
    }
}

impl Faults {
    /// How much longer an operation takes that begins now, if the fault that is due for it says so.
    ///
    /// For operations that begin and end at different times; their other faults are looked for at the end.
    pub fn next_slow(&mut self, operation: Operation, path: &str) -> Option<u64> {
        let fits =
            |fault: &Fault| fault.operation == operation && fault.skip == 0 && path.contains(&fault.path);
        let index = self.waiting.iter().position(fits)?;
        match self.waiting[index].kind {
            FaultKind::Slow(us) => {
                self.waiting.remove(index);
                Some(us)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_fires_once_after_skipping() {
        let mut faults = Faults::default();
        let kind = FaultKind::Errno(5);
        faults.add(Fault { operation: Operation::Write, path: "incr".into(), skip: 1, kind });
        assert_eq!(faults.next(Operation::Fsync, "a.incr"), None);
        assert_eq!(faults.next(Operation::Write, "base"), None);
        assert_eq!(faults.next(Operation::Write, "a.incr"), None);
        assert_eq!(faults.next(Operation::Write, "a.incr"), Some(kind));
        assert_eq!(faults.next(Operation::Write, "a.incr"), None);
    }
}
