//! What belongs to the process as a whole: background, pid file, processors, working directory, a fresh start.
//!
//! Not here: children that write snapshots (`child.rs`), signals (`signals.rs`).

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use perdura_core::host::OomAdjustment;

use crate::settings::HostSettings;
use crate::sys::{self, Forked};

/// Puts the process into the background: a grandchild in a session of its own goes on, without a terminal.
///
/// # Errors
/// What the kernel refused. To be called before any thread exists.
pub fn daemonize() -> io::Result<()> {
    leave_parent()?;
    sys::new_session()?;
    leave_parent()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        sys::duplicate_onto(null.as_fd(), stream)?;
    }
    Ok(())
}

fn leave_parent() -> io::Result<()> {
    // SAFETY: no other thread exists, so no lock can be held by one.
    match unsafe { sys::fork() }? {
        Forked::Parent(_) => sys::exit_now(0),
        Forked::Child => Ok(()),
    }
}

/// A file holding our process id, removed when dropped.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written; the server goes on without.
    pub fn write(path: &str) -> io::Result<PidFile> {
        fs::write(path, format!("{}\n", sys::process_id()))?;
        Ok(PidFile { path: fs::canonicalize(path)? })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Ties the calling thread to a list of processors, as far as the kernel agrees.
pub fn tie_to_cpus(list: Option<&str>) {
    if let Some(cpus) = list.and_then(parse_cpus) {
        // A list that names processors we do not have is a setting without effect, as in Redis.
        let _ = sys::set_affinity(&cpus);
    }
}

/// Reads `0,2-3` or `0-7:2`; `None` for anything else.
fn parse_cpus(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, step.parse().ok().filter(|&step| step > 0)?),
            None => (part, 1),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last >= CPU_COUNT_MAX {
            return None;
        }
        cpus.extend((first..=last).step_by(step));
    }
    Some(cpus)
}

/// More than the kernel's own set holds; bounds what a typing error can ask for.
const CPU_COUNT_MAX: usize = 1024;

/// How readily the kernel is to end this process, and what it would do without us.
#[derive(Debug, Default)]
pub struct OomScore {
    /// The score before the first change, and what was asked for, while there is a change.
    adjusted: Option<(i32, OomAdjustment)>,
}

impl OomScore {
    /// Sets the score, or gives back the one from before. Raising it needs no privilege.
    ///
    /// # Errors
    /// It could not be read or written; nothing has changed.
    pub fn adjust(&mut self, scores: Option<OomAdjustment>) -> io::Result<()> {
        let before = match self.adjusted {
            Some((before, _)) => before,
            None if scores.is_none() => return Ok(()),
            None => read_oom_score()?,
        };
        write_oom_score(scores.map_or(before, |scores| sum(before, scores.server, scores)))?;
        self.adjusted = scores.map(|scores| (before, scores));
        Ok(())
    }

    /// What a snapshot child sets for itself.
    pub fn of_child(&self) -> Option<i32> {
        self.adjusted.map(|(before, scores)| sum(before, scores.child, scores))
    }
}

fn sum(before: i32, score: i32, scores: OomAdjustment) -> i32 {
    (if scores.are_relative { before + score } else { score }).clamp(-1000, 1000)
}

const OOM_SCORE_FILE: &str = "/proc/self/oom_score_adj";

fn read_oom_score() -> io::Result<i32> {
    fs::read_to_string(OOM_SCORE_FILE)?.trim().parse().map_err(io::Error::other)
}

/// Sets the score of the calling process.
pub fn write_oom_score(score: i32) -> io::Result<()> {
    fs::write(OOM_SCORE_FILE, score.to_string())
}

/// Replaces a file by new contents, atomically and durably.
///
/// Its permissions stay: a configuration with passwords must not become readable to all.
///
/// # Errors
/// The first step that failed; the file then has its old contents, and no temporary file is left.
pub fn replace_file(path: &str, contents: &[u8]) -> io::Result<()> {
    // A link is followed, so that it is its target that is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let temp = path.with_extension(format!("{}.tmp", sys::process_id()));
    let permissions = fs::metadata(&path).map_or(Permissions::from_mode(0o600), |m| m.permissions());
    let result = write_durably(&temp, contents, permissions).and_then(|()| fs::rename(&temp, &path));
    if result.is_err() {
        let _ = fs::remove_file(&temp);
        return result;
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn write_durably(path: &Path, contents: &[u8], permissions: Permissions) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(permissions)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Replaces this process by a fresh one of the same command line; comes back only with the reason it could not.
pub fn restart(settings: &HostSettings) -> io::Error {
    if let Some(dir) = &settings.start_dir
        && let Err(error) = std::env::set_current_dir(dir)
    {
        return error;
    }
    let executable = match std::env::current_exe() {
        Ok(executable) => executable,
        Err(error) => return error,
    };
    Command::new(executable).args(std::env::args_os().skip(1)).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_raised_and_given_back() {
        let before = read_oom_score().unwrap();
        let mut score = OomScore::default();
        score.adjust(None).unwrap();
        assert_eq!((read_oom_score().unwrap(), score.of_child()), (before, None));
        for are_relative in [true, false] {
            score.adjust(Some(OomAdjustment { server: before + 10, child: 2000, are_relative })).unwrap();
            let expected = if are_relative { 2 * before + 10 } else { before + 10 };
            assert_eq!((read_oom_score().unwrap(), score.of_child()), (expected, Some(1000)));
        }
        score.adjust(None).unwrap();
        assert_eq!((read_oom_score().unwrap(), score.of_child()), (before, None));
    }

    #[test]
    fn cpu_lists_are_read_as_redis_reads_them() {
        let check = |list: &str, expected: Option<&[usize]>| {
            assert_eq!(parse_cpus(list).as_deref(), expected, "{list}");
        };
        check("0", Some(&[0]));
        check("0,2-3", Some(&[0, 2, 3]));
        check("0-7:2", Some(&[0, 2, 4, 6]));
        check("3-1", None);
        check("0-4000000000", None);
        check("1:0", None);
        check("", None);
        check("a", None);
    }

    #[test]
    fn replaced_file_has_new_contents_and_its_old_permissions_and_leaves_no_temporary() {
        let dir = std::env::temp_dir().join(format!("perdura-config-{}", sys::process_id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("server.conf");
        fs::write(&path, "port 1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        replace_file(path.to_str().unwrap(), b"port 2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "port 2\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn config_in_a_missing_directory_is_an_error() {
        let error = replace_file("/nonexistent-perdura/server.conf", b"").unwrap_err();
        assert_eq!(sys::errno(&error), libc::ENOENT);
    }
}
