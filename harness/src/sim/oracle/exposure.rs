//! INFO tells the truth about exposure: what it calls safe is safe.
//!
//! An operator who reads that a power loss would take nothing has been promised all that was there at that moment. Who
//! reads that the log is on, under `always`, has been promised what was answered before it was.

use super::Violation;
use crate::client::Reply;
use crate::sim::history::History;

/// Takes what INFO said about the state at which it ran into the floors.
///
/// # Errors
/// It says nothing, or what cannot be.
pub fn hold_to(history: &mut History, reply: &Reply, state: usize) -> Result<(), Violation> {
    let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
    let field = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.map(str::trim).ok_or_else(|| Violation::Exposure(format!("INFO has no {name}")))
    };
    let policy = field("perdura_log_policy")?;
    let says = |name: &str, value: &str| field(name).map(|said| said == value);
    let (power, kill) = (field("perdura_power_loss_bytes")?, field("perdura_kill_loss_bytes")?);
    if policy == "none" {
        return Ok(());
    }
    let is_on = says("aof_enabled", "1")?
        && says("aof_rewrite_in_progress", "0")?
        && says("aof_rewrite_scheduled", "0")?;
    if is_on && policy == "always" {
        history.promise_log(history.told_unlogged.min(state));
    }
    if power == "0" && kill != "0" {
        return Err(Violation::Exposure(format!("a kill takes {kill} bytes and a power loss none")));
    }
    if power == "0" {
        history.promise_durable(state);
        history.promise_log(state);
    }
    if kill == "0" {
        history.floors.kill = history.floors.kill.max(state);
    }
    Ok(())
}

/// Judges what INFO says the set's files take up together, bytes, just after a start (W27).
///
/// # Errors
/// It is something else, or nothing.
pub fn check_size(said: Option<u64>, files: u64) -> Result<(), Violation> {
    match said {
        Some(said) if said == files => Ok(()),
        said => {
            Err(Violation::Exposure(format!("aof_current_size is {said:?}, the files have {files} bytes")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors_after(power: &str, kill: &str) -> Result<(usize, usize), Violation> {
        let policy = "aof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\nperdura_log_policy:everysec";
        floors_told(&format!(
            "{policy}\r\nperdura_power_loss_bytes:{power}\r\nperdura_kill_loss_bytes:{kill}\r\n"
        ))
    }

    /// After state 5 was told while nothing was logged.
    fn floors_told(info: &str) -> Result<(usize, usize), Violation> {
        let mut history = History::default();
        history.told_unlogged = 5;
        hold_to(&mut history, &Reply::Bulk(info.into()), 7)?;
        Ok((history.floors.power, history.floors.kill))
    }

    #[test]
    fn a_log_that_is_on_has_what_was_told_before() {
        let after = |enabled: u32, rewriting: u32, policy: &str| {
            let on = format!("aof_enabled:{enabled}\r\naof_rewrite_in_progress:{rewriting}\r\n");
            let rest =
                "aof_rewrite_scheduled:0\r\nperdura_power_loss_bytes:9\r\nperdura_kill_loss_bytes:9\r\n";
            floors_told(&format!("{on}perdura_log_policy:{policy}\r\n{rest}"))
        };
        assert_eq!(after(1, 0, "always"), Ok((5, 5)));
        assert_eq!(after(1, 1, "always"), Ok((0, 0)));
        assert_eq!(after(1, 0, "everysec"), Ok((0, 0)));
        assert_eq!(after(0, 0, "none"), Ok((0, 0)));
    }

    #[test]
    fn what_info_calls_safe_may_not_be_lost() {
        assert_eq!(floors_after("0", "0"), Ok((7, 7)));
        assert_eq!(floors_after("12", "0"), Ok((0, 7)));
        assert_eq!(floors_after("12", "12"), Ok((0, 0)));
    }

    #[test]
    fn what_info_cannot_say_is_a_violation() {
        assert!(floors_after("0", "12").is_err());
        assert!(hold_to(&mut History::default(), &Reply::Null, 1).is_err());
    }

    #[test]
    fn a_size_that_is_not_that_of_the_files_is_a_violation() {
        assert_eq!(check_size(Some(9), 9), Ok(()));
        assert!(check_size(Some(12), 9).is_err());
        assert!(check_size(None, 9).is_err());
    }
}
