//! Why bytes that came from outside are not what they claim to be.

use core::fmt;

/// A blob failed its deep check: what is wrong, and where.
///
/// Callers log it or answer `Bad data format`; nobody decides by the kind, so there is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The rule that is broken, in words for a log line.
    pub what: &'static str,
    /// Byte offset in the blob at which it was noticed.
    pub offset: usize,
}

impl Damage {
    pub(crate) fn at(offset: usize, what: &'static str) -> Damage {
        Damage { what, offset }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}
