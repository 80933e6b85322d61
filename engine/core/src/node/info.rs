//! INFO: the state of the server in Redis's sections and field names, and what no peer shows.

use alloc::{format, string::String};

use super::Node;
use crate::{
    commands::{Args, CommandResult},
    persist::append_only::State,
    session::Session,
};

impl Node {
    pub(super) fn info(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let _ = args;
        let text = format!(
            "# Server\r\nredis_version:7.2.4\r\nserver_name:perdura\r\nprocess_id:{}\r\n\r\n{}",
            self.seeds.process_id,
            self.info_persistence()
        );
        session.reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    fn info_persistence(&self) -> String {
        let flag = u8::from;
        let word = |failed: bool| if failed { "err" } else { "ok" };
        format!(
            "# Persistence\r\nloading:{}\r\nrdb_changes_since_last_save:{}\r\nrdb_bgsave_in_progress:{}\r\nrdb_last_save_time:{}\r\n\
             rdb_last_bgsave_status:{}\r\naof_enabled:{}\r\naof_rewrite_in_progress:{}\r\naof_rewrite_scheduled:{}\r\n\
             aof_last_bgrewrite_status:{}\r\naof_last_write_status:{}\r\n",
            flag(self.loading.is_some()),
            self.store.dirty,
            flag(self.snapshots.is_in_background()),
            self.snapshots.last_save_s,
            word(self.snapshots.has_failed),
            flag(self.aof.state() != State::Off),
            flag(self.aof.is_rewriting()),
            flag(self.aof.is_scheduled()),
            word(self.aof.stats.has_failed),
            word(self.aof.journal.broken().is_some()),
        )
    }
}
