//! Who keeps a file system from being unmounted.
//!
//! Exists because "target is busy" names nobody: a server's child that has not died yet, a loop device that has not let
//! go of its file, or somebody who looks into that device. Whoever mounts through the loop driver looks into the devices of
//! all others first, and the last to close a device is the one that frees its file.
//!
//! Always true: only tells; what has gone meanwhile is left out.
//!
//! Not here: waiting for them (`mount.rs`).

use std::fs;
use std::path::{Path, PathBuf};

/// In words: processes that have something below `folder` open, loop devices that stand on it, and who has those open.
pub(super) fn describe(folder: &Path) -> String {
    let devices = loop_devices_below(folder);
    let holds = |path: &PathBuf| path.starts_with(folder) || devices.contains(path);
    let mut held: Vec<String> = devices.iter().map(|device| device.display().to_string()).collect();
    for (process, paths) in processes() {
        held.extend(paths.into_iter().find(holds).map(|path| format!("{process} ({})", path.display())));
    }
    if held.is_empty() { "nobody who can be seen".into() } else { held.join(", ") }
}

/// The loop devices whose file lies below `folder`.
fn loop_devices_below(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        file.starts_with(folder.to_str()?).then(|| Path::new("/dev").join(entry.file_name()))
    })
    .collect()
}

/// Every process, by number and name, with the paths it has open.
fn processes() -> impl Iterator<Item = (String, Vec<PathBuf>)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let own = ["cwd", "root", "exe"].map(|link| entry.path().join(link)).into_iter();
        let open = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten().map(|fd| fd.path());
        let paths = own.chain(open).filter_map(|link| fs::read_link(link).ok()).collect();
        Some((format!("process {pid} {}", name.trim()), paths))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::TempDir;
    use std::fs::File;

    #[test]
    fn whoever_has_a_file_open_below_is_named() {
        let folder = TempDir::new("perdura-holders").unwrap();
        assert_eq!(describe(folder.path()), "nobody who can be seen");
        let path = folder.path().join("held");
        let file = File::create(&path).unwrap();
        let said = describe(folder.path());
        assert!(said.starts_with(&format!("process {} ", std::process::id())), "{said}");
        assert!(said.ends_with(&format!("({})", path.display())), "{said}");
        drop(file);
        assert_eq!(describe(folder.path()), "nobody who can be seen");
    }
}
