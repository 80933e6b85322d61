//! A quiet server leaves no files behind that nobody needs.

use super::Violation;
use perdura_sim::SimDisk;

/// Checks the directory of a server that has had time to clean up, no child running.
///
/// # Errors
/// Names of what should be gone.
pub fn check(disk: &SimDisk) -> Result<(), Violation> {
    let files = disk.files();
    let leftovers: Vec<&String> = files.keys().filter(|path| is_leftover(path)).collect();
    if !leftovers.is_empty() {
        return Err(Violation::Leftovers(format!("{leftovers:?}")));
    }
    let incrementals =
        files.keys().filter(|path| path.ends_with(".incr.aof") && !path.contains("cut-")).count();
    let bases = files.keys().filter(|path| path.contains(".base.") && !path.contains("cut-")).count();
    if bases > 1 || incrementals > INCREMENTALS_MAX {
        return Err(Violation::Leftovers(format!(
            "{bases} bases, {incrementals} incremental files: {files:?}"
        )));
    }
    Ok(())
}

/// Rewrites that failed and repairs each leave one more incremental file until the next rewrite succeeds.
const INCREMENTALS_MAX: usize = 24;

fn is_leftover(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("temp")
}
