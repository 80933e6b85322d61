//! A start succeeds, or refuses for a reason that is right.
//!
//! No crash and no image of the disk is a right reason. An error that the disk gives during the start is; then the
//! next start without it must succeed, and find everything.

use super::Violation;
use perdura_sim::End;

/// How a start went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// It serves.
    Serves,
    /// It was crashed on the way, by plan.
    Crashed(End),
    /// It refused because the disk failed it.
    RefusedRightly,
}

/// Judges a start that did not come to serve.
///
/// # Errors
/// No reason for it is known.
pub fn check_end(end: End, had_disk_errors: bool, reason: &str) -> Result<Start, Violation> {
    match end {
        End::Crashed(_) => Ok(Start::Crashed(end)),
        End::Exited(_) if had_disk_errors => Ok(Start::RefusedRightly),
        End::Exited(_) | End::Died(_) | End::Restart => Err(Violation::Refused(format!("{end:?} {reason}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_reason_is_noticed() {
        assert!(check_end(End::Exited(1), false, "").is_err());
        assert_eq!(check_end(End::Exited(1), true, ""), Ok(Start::RefusedRightly));
        assert!(check_end(End::Died(11), true, "").is_err());
    }
}
