//! BACKUP TO DIR: who may ask, what it waits for, and the answer.
//!
//! The reply comes when the backup is complete, synced and read again, or has failed; the server serves meanwhile. One
//! runs at a time. While it runs, rewrites go on, but no superseded file is removed.
//!
//! Not here: which files, and the work itself (`persist/backup.rs`).

use alloc::{
    format,
    string::{String, ToString},
    vec,
};

use super::{Node, blocking::WaitKind};
use crate::{
    commands::Args,
    error::{Error, SYNTAX},
    host::{BackupPart, BackupWritten, Effect, Effects, IoError, Ticket},
    persist::{
        append_only::State,
        backup::Need,
        snapshot::{Origin, Outcome},
    },
    session::{Session, Waiting},
};

impl Node {
    pub(super) fn backup(&mut self, session: &mut Session, args: Args<'_>) -> Result<Option<Waiting>, Error> {
        let [_, word, dir] = args else { return Err(SYNTAX) };
        if !word.eq_ignore_ascii_case(b"to") {
            return Err(SYNTAX);
        }
        if self.backups.is_running() {
            return Err(Error::new("ERR A backup is already in progress"));
        }
        let may_leave = self.config.enable_protected_configs.allows(session.peer.is_local);
        let dir = target(dir, may_leave)?;
        if self.aof.state() == State::On && !self.aof.journal.is_closing() {
            self.backups.begin_with_log(dir, self.aof.journal.offset_buffered(), self.now);
        } else {
            self.backups.begin_with_snapshot(dir, self.now);
        }
        Ok(Some(Waiting::Backup))
    }

    /// The end of a turn: goes on with a backup as far as the disk has come.
    pub(super) fn drive_backup(&mut self, effects: &mut Effects) {
        self.aof.is_pinned = self.backups.needs_files();
        match self.backups.need() {
            Need::Nothing => {}
            Need::Log(cut) => self.back_up_log(cut, effects),
            Need::Snapshot => {
                let is_free =
                    !self.has_child() && !self.snapshots.is_in_foreground() && !self.aof.is_rewriting();
                if is_free && !self.is_shutting_down() {
                    self.begin_snapshot(Origin::Background, effects);
                    self.backups.snapshot_begun();
                }
            }
        }
    }

    fn back_up_log(&mut self, cut: u64, effects: &mut Effects) {
        if self.aof.state() != State::On {
            self.backups.fail("the log was switched off meanwhile".into());
            self.settle_backup(effects);
            return;
        }
        self.aof.journal.flush_all(self.now, effects);
        self.aof.journal.sync_all(self.now, effects);
        let is_synced = self.aof.journal.offset_synced() >= cut && self.aof.journal.broken().is_none();
        if !is_synced || self.aof.is_repairing() {
            return;
        }
        let (parts, manifest) = self.aof.backup_parts();
        let (offset, bytes) = (self.aof.journal.offset_synced(), self.aof.sizes().0);
        let job = self.backups.job(parts, Some(manifest), Some(offset), bytes, self.now, &mut self.ids);
        effects.extend(job.map(Effect::Backup));
    }

    /// A snapshot in the background has ended; a backup may have waited for it.
    pub(super) fn back_up_snapshot(&mut self, outcome: &Outcome, effects: &mut Effects) {
        if outcome.origin != Origin::Background || !self.backups.waits_for_snapshot() {
            return;
        }
        if !outcome.is_ok {
            self.backups.fail("the snapshot failed".into());
            self.settle_backup(effects);
            return;
        }
        let name = self.config.dbfilename.clone();
        let parts = vec![BackupPart { from: name.clone(), to: name, len: None, is_final: true }];
        let job = self.backups.job(parts, None, None, 0, self.now, &mut self.ids);
        effects.extend(job.map(Effect::Backup));
    }

    /// The host is done.
    pub(super) fn backed_up(
        &mut self,
        ticket: Ticket,
        result: Result<BackupWritten, IoError>,
        effects: &mut Effects,
    ) {
        if self.backups.ended(ticket, result, self.now) {
            self.settle_backup(effects);
        }
    }

    /// Answers who asked, and lets go of the files.
    fn settle_backup(&mut self, effects: &mut Effects) {
        self.aof.is_pinned = false;
        self.aof.clean_up(self.now, &mut self.ids, effects);
        let error = self.backups.stats.error.clone();
        for client in self.waiting.clients(WaitKind::Backup) {
            self.with_session(client, |node, session| {
                node.unblock(session);
                match &error {
                    None => session.reply.ok(),
                    Some(reason) => session.reply.error(&format!("ERR Backup failed: {reason}")),
                }
                node.owe(session);
                node.resume(session);
            });
        }
    }
}

/// Where a backup may go: below `dir`, or anywhere for those who may change protected settings.
fn target(dir: &[u8], may_leave: bool) -> Result<String, Error> {
    let text = core::str::from_utf8(dir).map_err(|_| Error::new("ERR Invalid backup directory"))?;
    let text = text.strip_suffix('/').unwrap_or(text);
    let is_strange = text.is_empty()
        || text.contains('\0')
        || text.trim_start_matches('/').split('/').any(|name| matches!(name, "" | "." | ".."));
    if is_strange {
        return Err(Error::new("ERR Invalid backup directory"));
    }
    if text.starts_with('/') && !may_leave {
        return Err(Error::new(
            "ERR A backup outside of the data directory needs enable-protected-configs: name a directory below it",
        ));
    }
    Ok(text.to_string())
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use crate::node::testing::TestServer;

    #[test]
    fn a_backup_of_a_log_holds_its_set_and_an_inventory() {
        let mut server = TestServer::new("appendonly yes");
        server.run("SET a 1");
        assert_eq!(server.run("BACKUP TO saved"), "+OK");
        let names: Vec<&str> =
            server.disk.files.keys().filter_map(|name| name.strip_prefix("saved/")).collect();
        assert_eq!(
            names,
            [
                "appendonlydir/appendonly.aof.1.base.rdb",
                "appendonlydir/appendonly.aof.1.incr.aof",
                "appendonlydir/appendonly.aof.manifest",
                "perdura-backup.sha256",
            ]
        );
        let incr = "appendonlydir/appendonly.aof.1.incr.aof";
        assert_eq!(server.disk.files[&format!("saved/{incr}")], server.disk.files[incr]);
        let info = server.run("INFO persistence");
        assert!(info.contains("backup_last_status:ok") && info.contains("backup_in_progress:0"), "{info}");
    }

    #[test]
    fn a_backup_without_a_log_is_a_snapshot() {
        let mut server = TestServer::new("");
        server.run("SET a 1");
        assert_eq!(server.run("BACKUP TO saved"), "+OK");
        assert_eq!(server.disk.files["saved/dump.rdb"], server.disk.files["dump.rdb"]);
    }

    #[test]
    fn a_backup_goes_nowhere_else() {
        let mut server = TestServer::new("appendonly yes");
        for (line, reply) in [
            ("BACKUP TO ../x", "-ERR Invalid backup directory"),
            ("BACKUP TO a/../../x", "-ERR Invalid backup directory"),
            ("BACKUP TO \"\"", "-ERR Invalid backup directory"),
            ("BACKUP FROM x", "-ERR syntax error"),
        ] {
            assert_eq!(server.run(line), reply, "{line}");
        }
        assert!(server.run("BACKUP TO /x").starts_with("-ERR A backup outside of the data directory"));
        let mut server = TestServer::new("appendonly yes\nenable-protected-configs local");
        assert_eq!(server.run("BACKUP TO /x"), "+OK");
        assert!(server.run("BACKUP TO /x").starts_with("-ERR Backup failed: mkdir /x: errno 17"));
    }

    #[test]
    fn rotten_data_is_no_backup() {
        let mut server = TestServer::new("appendonly yes");
        server.run("SET key value");
        let log = server.disk.files.get_mut("appendonlydir/appendonly.aof.1.incr.aof").unwrap();
        let at = log.windows(5).position(|window| window == b"value").unwrap();
        log[at] = b'V';
        assert!(server.run("BACKUP TO saved").starts_with("-ERR Backup failed: verify"));
        let info = server.run("INFO persistence");
        assert!(info.contains("backup_last_status:err"), "{info}");
        assert!(server.disk.files.contains_key("saved/perdura-backup.incomplete"));
        assert!(!server.disk.files.contains_key("saved/perdura-backup.sha256"));
    }

    #[test]
    fn superseded_parts_are_archived_within_bounds() {
        let mut server = TestServer::new("appendonly yes\naof-archive-dir old\naof-archive-max-age 100");
        let manifests = |server: &TestServer| {
            server
                .disk
                .files
                .keys()
                .filter(|name| name.starts_with("old/") && name.ends_with(".manifest"))
                .count()
        };
        for round in 1..=3 {
            server.run("SET a 1");
            server.run("BGREWRITEAOF");
            assert_eq!(manifests(&server), round);
            server.now.mono_us += 40_000_000;
            server.now.wall_us += 40_000_000;
        }
        let live = server.disk.files.keys().filter(|name| name.starts_with("appendonlydir/")).count();
        assert_eq!(live, 3, "{:?}", server.disk.files.keys());
        server.now.mono_us += 30_000_000;
        server.now.wall_us += 30_000_000;
        server.run("PING");
        assert_eq!(manifests(&server), 1, "two are older than 100 seconds");
        let info = server.run("INFO persistence");
        assert!(info.contains("aof_archive_sets:1") && info.contains("aof_archive_status:ok"), "{info}");
    }
}
