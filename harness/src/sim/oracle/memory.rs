//! Memory is counted: what data takes is added when it comes and taken off when it goes, to the byte.
//!
//! Checked where it ends: a server whose databases are emptied holds nothing.

use super::Violation;

/// Judges the bytes that a server counts for its data after a FLUSHALL.
///
/// # Errors
/// Something was counted and never taken off.
pub fn check_emptied(bytes: usize) -> Result<(), Violation> {
    match bytes {
        0 => Ok(()),
        bytes => Err(Violation::Memory(format!("{bytes} bytes are counted for no data"))),
    }
}

#[test]
fn a_byte_that_is_never_taken_off_is_noticed() {
    assert_eq!(check_emptied(0), Ok(()));
    assert!(check_emptied(1).is_err());
}
