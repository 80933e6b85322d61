//! The order of system calls that durability demands.
//!
//! Exists because a crash test sees a wrong order only when the crash falls between two calls; the order itself can be
//! read off every run.
//!
//! | rule | of what |
//! |---|---|
//! | a reply leaves after the sync that covers its record has ended | `appendfsync always` |
//! | a file is synced between its last write and its rename | every file that takes another's name |
//! | what a manifest names is durable, contents and name, before the manifest takes its place | every manifest |
//! | a file of the set is removed only after a manifest without it is durable | every removal |
//! | an incremental file is created exclusively | W17 |
//!
//! Always true: a call counts as done when it has ended, and as asked for when it has begun.
//!
//! Not here: how calls are read (`trace.rs`).

use super::trace::{Call, Event};
use std::path::{Path, PathBuf};

/// Every place where the order is wrong, in words.
pub(super) fn breaches(events: &[Event]) -> Vec<String> {
    let trace = Trace { events };
    let mut breaches = Vec::new();
    for event in events {
        match &event.call {
            Call::Send { bytes } => breaches.extend(trace.reply_too_early(event, bytes)),
            Call::Rename { from, to } => {
                breaches.extend(trace.renamed_unsynced(event, from));
                if is_manifest(to) {
                    breaches.extend(trace.manifest_too_early(event, from));
                }
            }
            Call::Remove { path } if is_part(path) => breaches.extend(trace.removed_too_early(event, path)),
            Call::Create { path, is_exclusive: false, .. }
                if path.to_string_lossy().ends_with(".incr.aof") =>
            {
                breaches.push(format!("{} is not created exclusively", path.display()));
            }
            Call::Ring => breaches.push("calls go through io_uring, which this trace cannot see".into()),
            _ => {}
        }
    }
    breaches
}

/// The number in a reply `:n`, of which the last of several counts: so many elements were pushed.
pub(super) fn pushed(reply: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(reply).ok()?;
    text.split("\r\n").filter_map(|line| line.strip_prefix(':')?.parse().ok()).last()
}

/// What the client pushes as its element `number`, as it stands in the log: unlike any other's beginning.
pub(super) fn element(number: u64) -> String {
    format!("<{number}>")
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "manifest")
}

/// A base or incremental file under its own name.
fn is_part(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with("temp") && (name.contains(".base.") || name.contains(".incr."))
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

struct Trace<'a> {
    events: &'a [Event],
}

impl Trace<'_> {
    /// Whether `path` was synced by a call that began after line `after` and ended before line `before`.
    fn is_synced_between(&self, path: &Path, after: usize, before: usize) -> bool {
        self.events.iter().any(|event| {
            matches!(&event.call, Call::Sync { path: synced } if synced == path)
                && event.begin > after
                && event.end < before
        })
    }

    fn reply_too_early(&self, reply: &Event, bytes: &[u8]) -> Option<String> {
        let count = pushed(bytes)?;
        let needle = element(count.checked_sub(1)?).into_bytes();
        let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let record = self.events.iter().find_map(|event| match &event.call {
            Call::Write { path, bytes } if holds(bytes) && path.to_string_lossy().ends_with(".incr.aof") => {
                Some((event, path))
            }
            _ => None,
        });
        match record {
            None => Some(format!("the reply to push {count} has no record in the log")),
            Some((write, path)) => (!self.is_synced_between(path, write.end, reply.begin)).then(|| {
                format!("the reply to push {count} left before the sync of {} had ended", path.display())
            }),
        }
    }

    fn renamed_unsynced(&self, rename: &Event, from: &Path) -> Option<String> {
        let last_write = self.events.iter().rfind(|event| {
            event.end < rename.begin && matches!(&event.call, Call::Write { path, .. } if path == from)
        })?;
        (!self.is_synced_between(from, last_write.end, rename.begin))
            .then(|| format!("{} was renamed before it was synced", from.display()))
    }

    fn manifest_too_early(&self, rename: &Event, from: &Path) -> Vec<String> {
        let place = folder(from);
        self.contents(from, rename.begin)
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .filter_map(|name| {
                let path = place.join(name);
                let appeared = self.appeared(&path, rename.begin)?;
                (!self.is_synced_between(&place, appeared, rename.begin))
                    .then(|| format!("a manifest names {} before its name is durable", path.display()))
            })
            .collect()
    }

    /// When `path` came into being, at last, before line `before`; `None` if it was there from the beginning.
    fn appeared(&self, path: &Path, before: usize) -> Option<usize> {
        let makes = |call: &Call| match call {
            Call::Create { path: made, .. } => made == path,
            Call::Rename { to, .. } | Call::Link { to, .. } => to == path,
            _ => false,
        };
        self.events.iter().rfind(|event| event.end < before && makes(&event.call)).map(|event| event.end)
    }

    /// What was written to `path` since it was last created, before line `before`.
    fn contents(&self, path: &Path, before: usize) -> String {
        let mut contents = Vec::new();
        for event in self.events.iter().filter(|event| event.end < before) {
            match &event.call {
                Call::Create { path: made, truncates: true, .. } if made == path => contents.clear(),
                Call::Write { path: written, bytes } if written == path => contents.extend_from_slice(bytes),
                _ => {}
            }
        }
        String::from_utf8_lossy(&contents).into_owned()
    }

    fn removed_too_early(&self, removal: &Event, path: &Path) -> Option<String> {
        let place = folder(path);
        let name = path.file_name()?.to_string_lossy().into_owned();
        // Of the manifests that took their place by then, the last decides.
        let last = self.events.iter().rfind(|event| {
            event.end < removal.begin && matches!(&event.call, Call::Rename { to, .. } if is_manifest(to))
        });
        let Some(Event { end, begin, call: Call::Rename { from, .. } }) = last else {
            return Some(format!("{} was removed without any manifest", path.display()));
        };
        let names_it = self.contents(from, *begin).lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            // A part listed as history is no part any more.
            words.next() == Some(name.as_str()) && !line.ends_with("type h")
        });
        if names_it {
            return Some(format!("{} was removed while the manifest named it", path.display()));
        }
        (!self.is_synced_between(&place, *end, removal.begin))
            .then(|| format!("{} was removed before the manifest without it was durable", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(calls: Vec<Call>) -> Vec<Event> {
        calls.into_iter().enumerate().map(|(at, call)| Event { begin: at, end: at, call }).collect()
    }

    fn write(path: &str, text: &str) -> Call {
        Call::Write { path: path.into(), bytes: text.into() }
    }

    fn sync(path: &str) -> Call {
        Call::Sync { path: path.into() }
    }

    fn create(path: &str) -> Call {
        Call::Create { path: path.into(), is_exclusive: true, truncates: true }
    }

    fn rename(from: &str, to: &str) -> Call {
        Call::Rename { from: from.into(), to: to.into() }
    }

    fn send(text: &str) -> Call {
        Call::Send { bytes: text.into() }
    }

    /// A run that does everything right: a push, then a rewrite.
    fn right() -> Vec<Call> {
        vec![
            create("a/x.1.incr.aof"),
            write("a/x.1.incr.aof", "<0>"),
            sync("a/x.1.incr.aof"),
            send(":1\r\n"),
            create("a/x.2.incr.aof"),
            create("temp.rdb"),
            write("temp.rdb", "base"),
            sync("temp.rdb"),
            rename("temp.rdb", "a/x.2.base.rdb"),
            sync("a"),
            create("a/temp-x.manifest"),
            write("a/temp-x.manifest", "file x.2.base.rdb seq 2 type b\nfile x.2.incr.aof seq 2 type i\n"),
            sync("a/temp-x.manifest"),
            rename("a/temp-x.manifest", "a/x.manifest"),
            sync("a"),
            Call::Remove { path: "a/x.1.incr.aof".into() },
        ]
    }

    #[test]
    fn the_right_order_has_no_breach() {
        assert_eq!(breaches(&trace(right())), Vec::<String>::new());
    }

    #[test]
    fn each_sync_that_is_left_out_is_a_breach() {
        let syncs = (0..right().len()).filter(|at| matches!(right()[*at], Call::Sync { .. }));
        for left_out in syncs {
            let mut calls = right();
            calls.remove(left_out);
            assert!(!breaches(&trace(calls)).is_empty(), "without call {left_out}");
        }
    }

    #[test]
    fn a_sync_that_has_not_ended_covers_nothing() {
        let mut events = trace(right());
        events[2].end = 3; // The reply begins on line 3.
        assert_eq!(breaches(&events).len(), 1);
        let mut events = trace(right());
        events[2].begin = 1; // It began before the write had ended.
        assert_eq!(breaches(&events).len(), 1);
    }

    #[test]
    fn a_part_that_is_still_named_may_not_go() {
        let mut calls = right();
        calls.push(Call::Remove { path: "a/x.2.base.rdb".into() });
        assert_eq!(breaches(&trace(calls)).len(), 1);
    }
}
