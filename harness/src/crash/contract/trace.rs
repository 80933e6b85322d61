//! What a server asked of the kernel, read from `strace`.
//!
//! Exists so that the host is judged by what it did, not by what its own code says.
//!
//! Always true: calls stand in the order in which they ended; each knows the line on which it began and the line on
//! which it ended, so that calls of several threads can be compared; failed calls are not there.
//!
//! Not here: what the order must be (`order.rs`), what a crash may leave (`enumerate.rs`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The calls that matter for what is durable and what is answered.
pub(super) const CALLS: &str = "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,rename,renameat,\
renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,truncate,ftruncate,sendto,sendmsg,io_uring_setup";

/// One call that succeeded; paths are relative to the server's directory, which itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A file was opened and may have come into being.
    Create {
        path: PathBuf,
        is_exclusive: bool,
        truncates: bool,
    },
    /// Bytes were appended.
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    /// A file or a directory was synced.
    Sync {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeDir {
        path: PathBuf,
    },
    Truncate {
        path: PathBuf,
        len: u64,
    },
    /// Bytes were sent to a client.
    Send {
        bytes: Vec<u8>,
    },
    /// A ring was made: calls through it are not seen here.
    Ring,
}

/// A call and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Line on which it began.
    pub(super) begin: usize,
    /// Line on which it ended.
    pub(super) end: usize,
    pub(super) call: Call,
}

/// Reads the output of `strace -f -y -xx`; calls on files outside `dir` are left out.
pub(super) fn parse(text: &str, dir: &Path) -> Vec<Event> {
    let mut unfinished: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut events = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, (number, head));
            continue;
        }
        let resumed = rest.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>"));
        let (begin, whole) = match resumed {
            Some((_, tail)) => {
                let Some((begin, head)) = unfinished.remove(pid) else { continue };
                (begin, format!("{head}{tail}"))
            }
            None => (number, rest.to_string()),
        };
        events.extend(parse_call(&whole, dir).map(|call| Event { begin, end: number, call }));
    }
    events
}

fn parse_call(text: &str, dir: &Path) -> Option<Call> {
    let (call, result) = text.rsplit_once(" = ")?;
    let result: i64 =
        result.split(|letter: char| !letter.is_ascii_digit() && letter != '-').next()?.parse().ok()?;
    if result < 0 {
        return None;
    }
    let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let arguments = split_arguments(arguments);
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let inside = |path: PathBuf| path.strip_prefix(dir).map(Path::to_path_buf).ok();
    let of_descriptor = |index: usize| inside(descriptor_path(argument(index))?);
    let named = |index: usize| inside(Path::new(".").join(string(argument(index))));
    let at = |index: usize| {
        let name = string(argument(index + 1));
        let base = descriptor_path(argument(index)).unwrap_or_default();
        inside(if name == "." { base } else { base.join(name) })
    };
    let created = |path: PathBuf, flags: &str| {
        flags.contains("O_CREAT").then(|| Call::Create {
            path,
            is_exclusive: flags.contains("O_EXCL"),
            truncates: flags.contains("O_TRUNC"),
        })
    };
    match name {
        "openat" => created(at(0)?, argument(2)),
        "open" => created(named(0)?, argument(1)),
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            let mut bytes = quoted(argument(1));
            bytes.truncate(result as usize);
            match of_descriptor(0) {
                Some(path) => Some(Call::Write { path, bytes }),
                None => argument(0).contains(&hex("socket:")).then_some(Call::Send { bytes }),
            }
        }
        "sendto" | "sendmsg" => Some(Call::Send { bytes: quoted(argument(1)) }),
        "fsync" | "fdatasync" => Some(Call::Sync { path: of_descriptor(0)? }),
        "rename" => Some(Call::Rename { from: named(0)?, to: named(1)? }),
        "renameat" | "renameat2" => Some(Call::Rename { from: at(0)?, to: at(2)? }),
        "link" => Some(Call::Link { from: named(0)?, to: named(1)? }),
        "linkat" => Some(Call::Link { from: at(0)?, to: at(2)? }),
        "unlink" => Some(Call::Remove { path: named(0)? }),
        "unlinkat" => Some(Call::Remove { path: at(0)? }),
        "mkdir" => Some(Call::MakeDir { path: named(0)? }),
        "mkdirat" => Some(Call::MakeDir { path: at(0)? }),
        "ftruncate" => Some(Call::Truncate { path: of_descriptor(0)?, len: argument(1).parse().ok()? }),
        "io_uring_setup" => Some(Call::Ring),
        _ => None,
    }
}

/// Splits at commas that stand in no string, list or path.
fn split_arguments(text: &str) -> Vec<&str> {
    let mut arguments = Vec::new();
    let (mut start, mut depth, mut is_quoted) = (0, 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '[' | '{' | '<' if !is_quoted => depth += 1,
            ']' | '}' | '>' if !is_quoted => depth -= 1,
            ',' if !is_quoted && depth == 0 => {
                arguments.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    arguments.push(text[start..].trim());
    arguments
}

/// All strings in `text`, one after the other.
fn quoted(text: &str) -> Vec<u8> {
    text.split('"').skip(1).step_by(2).flat_map(unhex).collect()
}

fn string(text: &str) -> String {
    String::from_utf8_lossy(&quoted(text)).into_owned()
}

/// `7<\x2f…>` or `AT_FDCWD<\x2f…>`: what the descriptor stands for.
fn descriptor_path(text: &str) -> Option<PathBuf> {
    let path = text.split_once('<')?.1.split('>').next()?;
    Some(PathBuf::from(String::from_utf8_lossy(&unhex(path)).into_owned()))
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str, expected: &[Event]) {
        assert_eq!(parse(lines, Path::new("/d")), expected);
    }

    fn event(begin: usize, end: usize, call: Call) -> Event {
        Event { begin, end, call }
    }

    #[test]
    fn calls_are_read_with_their_paths_and_bytes() {
        let d = hex("/d");
        let lines = format!(
            "7 openat(4<{d}>, \"{a}\", O_WRONLY|O_CREAT|O_EXCL, 0644) = 5<{d}\\x2f\\x61>\n\
             7 write(5<{d}\\x2f\\x61>, \"\\x31\\x32\\x33\", 3) = 2\n\
             7 fsync(6<{d}>) = 0\n\
             7 renameat(4<{d}>, \"{a}\", 4<{d}>, \"\\x62\") = 0\n\
             7 unlinkat(4<{d}>, \"{a}\", 0) = -1 ENOENT (No such file or directory)\n\
             7 sendto(9<{s}>, \"\\x2b\", 1, 0, NULL, 0) = 1\n\
             7 write(3<{e}>, \"\\x31\", 1) = 1\n",
            a = hex("a"),
            s = hex("socket:[1]"),
            e = hex("/elsewhere"),
        );
        check(
            &lines,
            &[
                event(0, 0, Call::Create { path: "a".into(), is_exclusive: true, truncates: false }),
                event(1, 1, Call::Write { path: "a".into(), bytes: b"12".to_vec() }),
                event(2, 2, Call::Sync { path: "".into() }),
                event(3, 3, Call::Rename { from: "a".into(), to: "b".into() }),
                event(5, 5, Call::Send { bytes: b"+".to_vec() }),
            ],
        );
    }

    #[test]
    fn a_call_that_another_thread_interrupts_spans_lines() {
        let a = hex("/d/a");
        let lines = format!(
            "7 fdatasync(5<{a}> <unfinished ...>\n\
             8 write(5<{a}>, \"\\x31\", 1) = 1\n\
             7 <... fdatasync resumed>)          = 0\n"
        );
        check(
            &lines,
            &[
                event(1, 1, Call::Write { path: "a".into(), bytes: b"1".to_vec() }),
                event(0, 2, Call::Sync { path: "a".into() }),
            ],
        );
    }
}
