//! CONFIG: reading and changing settings at run time, putting changes into effect, rewriting the file.
//!
//! A change that the host takes part in (directory, listeners, the file) makes the client wait; if the host fails,
//! everything the command changed is taken back, what the host had already done included.
//!
//! Always true: one such job at a time, others wait for its end; a client is answered once the change has happened.
//!
//! Not here: what values are allowed (`config/`).

use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{CommandStats, Counters, Node, acl, blocking::WaitKind, execute::Request};
use crate::{
    commands::{Args, CommandResult},
    config::{Changed, Extent, SetContext, SetError},
    error::Error,
    host::{ClientId, Completion, ENOENT, Effect, Effects, errno_text},
    resp::encode_command,
    session::{Session, Waiting},
    store::KeyStats,
};

/// What the host is doing for a CONFIG command.
#[derive(Clone, Debug)]
pub(super) struct ConfigJob {
    client: ClientId,
    task: Task,
}

#[derive(Clone, Debug)]
pub(super) enum Task {
    Set(Change),
    /// CONFIG REWRITE: reading, then writing.
    Rewrite(Extent),
    /// ACL LOAD: reading.
    AclLoad,
    /// ACL SAVE: writing.
    AclSave,
}

/// A CONFIG SET under way.
#[derive(Clone, Debug)]
pub(super) struct Change {
    changed: Vec<Changed>,
    /// What the host still has to do; the first is being done.
    left: VecDeque<Step>,
    /// What it has done; taken back, last first, once something failed.
    done: Vec<Step>,
    failure: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Directory,
    Listeners,
    OomScore,
}

impl Node {
    pub(super) fn config_get(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pattern in &args[2..] {
            for (name, value) in self.config.get(&pattern.to_ascii_lowercase()) {
                if pairs.iter().any(|(known, _)| *known == name) {
                    continue;
                }
                let value = if name == "dir" { self.data_dir.clone() } else { value };
                pairs.push((name, value));
            }
        }
        session.reply.map(pairs.len());
        for (name, value) in pairs {
            session.reply.bulk(name.as_bytes());
            session.reply.bulk(value.as_bytes());
        }
        Ok(())
    }

    pub(super) fn config_set(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        let args = request.args;
        if !args.len().is_multiple_of(2) {
            return Err(Error::new("ERR wrong number of arguments for 'config|set' command"));
        }
        if self.config_job.is_some() {
            return self.wait_for_config_job(session, request);
        }
        let pairs: Vec<(&[u8], &[u8])> = args[2..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let context = SetContext { is_local: session.peer.is_local, is_loading: self.loading.is_some() };
        let changed = self.config.set(&pairs, context).map_err(refused)?;
        let left = steps_of(&changed);
        if let Some(error) = self.obstacle(&changed, &left) {
            self.config.restore(&changed);
            return Err(error);
        }
        if left.is_empty() {
            self.put_into_effect(&changed, effects);
            session.reply.ok();
            return Ok(None);
        }
        let change = Change { changed, left, done: Vec::new(), failure: None };
        effects.push(self.effect_of(change.left[0]));
        self.config_job = Some(ConfigJob { client: session.client, task: Task::Set(change) });
        Ok(Some(Waiting::Config))
    }

    /// Why a change cannot be begun although its values are right.
    fn obstacle(&self, changed: &[Changed], steps: &VecDeque<Step>) -> Option<Error> {
        let name = changed.iter().map(|change| change.name).find(|name| step_of(name).is_some())?;
        let reason = if self.unit.is_some() {
            "it takes effect later than a transaction can wait"
        } else if steps.contains(&Step::Directory) && self.is_aof_on() {
            // The manifest would be looked for where its files are not.
            "the append-only file is in use there; set appendonly to no first"
        } else {
            return None;
        };
        Some(refused(SetError::failed(name, reason)))
    }

    /// Keeps a command until the running job is over.
    fn wait_for_config_job(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Option<Waiting>, Error> {
        if self.unit.is_some() {
            return Err(Error::new("ERR Another CONFIG command is waiting for its effect"));
        }
        match request.frame {
            Some(frame) => session.input.extend_from_slice(frame),
            None => encode_command(request.args, &mut session.input),
        }
        Ok(Some(Waiting::Config))
    }

    pub(super) fn config_rewrite(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        extent: Extent,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        let Some(path) = self.config.config_file.clone() else {
            return Err(Error::new("ERR The server is running without a config file"));
        };
        self.begin_file_job(session, request, Task::Rewrite(extent), Effect::ReadConfig { path }, effects)
    }

    /// Begins to read or write a file for a client, who is answered when that is done.
    pub(super) fn begin_file_job(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        task: Task,
        effect: Effect,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        if self.config_job.is_some() || self.unit.is_some() {
            return self.wait_for_config_job(session, request);
        }
        effects.push(effect);
        self.config_job = Some(ConfigJob { client: session.client, task });
        Ok(Some(Waiting::Config))
    }

    /// What the host says of a change of directory, listeners or file.
    pub(super) fn take_config_completion(&mut self, completion: Completion, effects: &mut Effects) {
        let Some(mut job) = self.config_job.take() else { return };
        let result = match (&mut job.task, completion) {
            (Task::Set(change), completion) => self.go_on_with_change(change, completion, effects),
            (Task::Rewrite(extent), Completion::ConfigRead(old)) => self.rewrite_file(*extent, old, effects),
            (Task::Rewrite(_), Completion::ConfigWritten(result)) => Some(result.map_err(not_rewritten)),
            (Task::AclLoad, Completion::ConfigRead(text)) => {
                Some(self.take_aclfile(job.client, text, effects))
            }
            (Task::AclSave, Completion::ConfigWritten(result)) => Some(result.map_err(acl::not_saved)),
            (Task::Rewrite(_) | Task::AclLoad | Task::AclSave, _) => None,
        };
        match result {
            None => self.config_job = Some(job),
            Some(result) => self.end_config_job(&job, result, effects),
        }
    }

    /// Takes in how the present step ended and asks for the next one; the result once there is none.
    fn go_on_with_change(
        &mut self,
        change: &mut Change,
        completion: Completion,
        effects: &mut Effects,
    ) -> Option<Result<(), Error>> {
        let result = match completion {
            Completion::DirChanged(Ok(path)) => {
                self.data_dir.clone_from(&path);
                self.config.dir = path;
                Ok(())
            }
            Completion::DirChanged(Err(errno)) => Err(("dir", errno_text(errno))),
            Completion::Listening(result) => result.map_err(|_| {
                let names: Vec<&'static str> = change.changed.iter().map(|changed| changed.name).collect();
                if names.contains(&"port") {
                    return ("port", "Unable to listen on this port. Check server logs.".to_string());
                }
                match names.into_iter().find(|name| name.starts_with("tls-")) {
                    Some(name) => {
                        (name, "Unable to update TLS configuration. Check server logs.".to_string())
                    }
                    None => ("bind", "Failed to bind to specified addresses.".to_string()),
                }
            }),
            Completion::OomScoreAdjusted(result) => result.map_err(|errno| {
                let reason = format!("Failed to set current oom_score_adj: {}", errno_text(errno));
                ("oom-score-adj", reason)
            }),
            _ => return None,
        };
        if change.failure.is_some() {
            // One step was taken back.
            change.done.pop();
        } else if let Err((name, reason)) = result {
            change.failure = Some(refused(SetError::failed(name, &reason)));
            self.config.restore(&change.changed);
        } else {
            change.done.extend(change.left.pop_front());
        }
        let next = if change.failure.is_some() { change.done.last() } else { change.left.front() };
        if let Some(&step) = next {
            effects.push(self.effect_of(step));
            return None;
        }
        Some(match change.failure.take() {
            Some(error) => Err(error),
            None => {
                self.put_into_effect(&change.changed, effects);
                Ok(())
            }
        })
    }

    /// What brings the host to the present settings.
    fn effect_of(&self, step: Step) -> Effect {
        match step {
            Step::Directory => Effect::ChangeDir(self.config.dir.clone()),
            Step::Listeners => Effect::Listen {
                bind: self.config.bind.clone(),
                port: self.config.port,
                tls: self.config.tls_settings(),
            },
            Step::OomScore => Effect::AdjustOomScore(self.config.oom_adjustment()),
        }
    }

    fn rewrite_file(
        &mut self,
        extent: Extent,
        old: Result<String, i32>,
        effects: &mut Effects,
    ) -> Option<Result<(), Error>> {
        let old = match old {
            Ok(old) => old,
            Err(ENOENT) => String::new(),
            Err(errno) => return Some(Err(not_rewritten(errno))),
        };
        let has_own_file = !self.config.aclfile.is_empty();
        let users: Vec<String> = if has_own_file { Vec::new() } else { self.acl.declarations().collect() };
        let text = self.config.rewrite_to(extent, &old, &users);
        let path = self.config.config_file.clone()?;
        effects.push(Effect::WriteConfig { path, text });
        None
    }

    /// Answers the client whose job it was; those who waited for its end run their commands now.
    fn end_config_job(&mut self, job: &ConfigJob, result: Result<(), Error>, effects: &mut Effects) {
        for client in self.waiting.clients(WaitKind::Config) {
            let is_own = client == job.client;
            self.with_session(client, |node, session| {
                node.unblock(session);
                if !is_own {
                    return node.run_kept_input(session, effects);
                }
                match &result {
                    Ok(()) => session.reply.ok(),
                    Err(error) => {
                        node.count_error(error.code());
                        session.reply.error(error.as_str());
                    }
                }
                node.owe(session);
                node.resume(session);
            });
        }
    }

    /// Makes the server behave as its settings now say.
    fn put_into_effect(&mut self, changed: &[Changed], effects: &mut Effects) {
        self.apply_settings();
        for change in changed {
            match change.name {
                "appendonly" => self.switch_append_only(self.config.appendonly, effects),
                "maxmemory" if self.config.maxmemory > 0 => {
                    let used = self.used_memory() as u64;
                    if used > self.config.maxmemory {
                        tracing::warn!(
                            "WARNING: the new maxmemory value set via CONFIG SET ({}) is smaller than the current memory \
                             usage ({used}). This will result in key eviction and/or the inability to accept new write \
                             commands depending on the maxmemory-policy.",
                            self.config.maxmemory
                        );
                    }
                    self.evict_soon();
                }
                "tcp-keepalive" => effects.push(Effect::KeepAlive { seconds: self.config.tcp_keepalive }),
                "requirepass" => self.acl.set_default_password(&self.config.requirepass),
                "slowlog-max-len" => self.slowlog.trim(self.config.slowlog_max_len),
                _ => {}
            }
        }
    }

    pub(super) fn config_resetstat(&mut self, session: &mut Session) {
        let peak_memory = self.counters.peak_memory;
        self.counters = Counters { peak_memory, ..Counters::default() };
        self.command_stats.fill(CommandStats::default());
        self.error_stats.clear();
        self.latencies.reset();
        self.store.stats = KeyStats::default();
        self.store.reset_freed();
        self.snapshots.count = 0;
        self.aof.stats.count = 0;
        session.reply.ok();
    }
}

fn steps_of(changed: &[Changed]) -> VecDeque<Step> {
    let steps = [Step::Directory, Step::Listeners, Step::OomScore].into_iter();
    steps.filter(|&step| changed.iter().any(|change| step_of(change.name) == Some(step))).collect()
}

/// What the host has to do before a directive has its effect.
fn step_of(name: &str) -> Option<Step> {
    match name {
        "dir" => Some(Step::Directory),
        "oom-score-adj" | "oom-score-adj-values" => Some(Step::OomScore),
        name if is_of_listeners(name) => Some(Step::Listeners),
        _ => None,
    }
}

/// Whether a directive changes what is listened on, or how.
fn is_of_listeners(name: &str) -> bool {
    matches!(name, "port" | "bind") || name.starts_with("tls-")
}

fn refused(error: SetError) -> Error {
    match error {
        SetError::Refused(text) => Error::text(format!("ERR {text}")),
        SetError::Loading => Error::new("LOADING Redis is loading the dataset in memory"),
    }
}

fn not_rewritten(errno: i32) -> Error {
    Error::text(format!("ERR Rewriting config file: {}", errno_text(errno)))
}

/// What CONFIG HELP says.
pub(super) const HELP: &[(&str, &str)] = &[
    ("GET <pattern> [<pattern> ...]", "Settings whose names match, with their values."),
    ("SET <directive> <value> [<directive> <value> ...]", "Change settings, all of these or none."),
    ("RESETSTAT", "Begin the counts of INFO anew."),
    ("REWRITE", "Write the present settings to the configuration file."),
];

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use crate::{
        host::{Effect, OomAdjustment},
        node::testing::TestServer,
    };

    #[test]
    fn settings_are_read_and_changed() {
        TestServer::new("").check(&[
            ("CONFIG GET maxmemory", "[\"maxmemory\", \"0\"]"),
            ("CONFIG SET maxmemory 1gb hz 20", "+OK"),
            ("CONFIG GET maxmemory hz max*ory", "[\"maxmemory\", \"1073741824\", \"hz\", \"20\"]"),
            ("CONFIG SET hz 10 nosuch 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
            ("CONFIG GET hz", "[\"hz\", \"20\"]"),
            ("CONFIG SET hz", "-ERR wrong number of arguments for 'config|set' command"),
            ("CONFIG SET hz 1 port", "-ERR wrong number of arguments for 'config|set' command"),
            ("CONFIG SET databases 3", "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"),
            ("CONFIG SET dir /x", "-ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config"),
            ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ]);
    }

    #[test]
    fn a_directory_counts_once_the_host_is_there() {
        let mut server = TestServer::new("enable-protected-configs yes");
        assert_eq!(server.run("CONFIG SET dir /data"), "+OK");
        assert_eq!(server.run("CONFIG GET dir"), "[\"dir\", \"/data\"]");
        server.dir_errno = Some(2);
        let refused =
            "-ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or directory";
        assert_eq!(server.run("CONFIG SET hz 33 dir /gone"), refused);
        assert_eq!(server.run("CONFIG GET dir hz"), "[\"dir\", \"/data\", \"hz\", \"10\"]");
    }

    #[test]
    fn a_score_that_the_host_cannot_set_is_refused() {
        let mut server = TestServer::new("");
        assert_eq!(server.run("CONFIG SET oom-score-adj-values \"-5 2 3\" oom-score-adj yes"), "+OK");
        let scores = OomAdjustment { server: -5, child: 3, are_relative: true };
        assert_eq!(server.seen.last(), Some(&Effect::AdjustOomScore(Some(scores))));
        server.oom_errno = Some(13);
        let refused = "-ERR CONFIG SET failed (possibly related to argument 'oom-score-adj') - Failed to set current \
                       oom_score_adj: Permission denied";
        assert_eq!(server.run("CONFIG SET oom-score-adj absolute"), refused);
        assert_eq!(server.run("CONFIG GET oom-score-adj"), "[\"oom-score-adj\", \"yes\"]");
    }

    #[test]
    fn keep_alive_is_told_to_the_host() {
        let mut server = TestServer::new("");
        assert_eq!(server.run("CONFIG SET tcp-keepalive 60"), "+OK");
        assert_eq!(server.seen.last(), Some(&Effect::KeepAlive { seconds: 60 }));
    }

    #[test]
    fn what_was_done_is_taken_back_when_a_later_step_fails() {
        let mut server = TestServer::new("enable-protected-configs yes\ndir /a");
        server.listening = Err("in use".into());
        let refused = "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.";
        assert_eq!(server.run("CONFIG SET dir /b port 7000"), refused);
        assert_eq!(server.run("CONFIG GET dir port"), "[\"dir\", \"/a\", \"port\", \"6379\"]");
        assert_eq!(server.seen.last(), Some(&Effect::ChangeDir("/a".into())));
        server.listening = Ok(());
        assert_eq!(server.run("CONFIG SET port 7000"), "+OK");
    }

    #[test]
    fn the_directory_of_a_log_in_use_stays() {
        let mut server = TestServer::new("enable-protected-configs yes\nappendonly yes");
        let reply = server.run("CONFIG SET dir /b");
        assert!(
            reply.ends_with("the append-only file is in use there; set appendonly to no first"),
            "{reply}"
        );
        server.check(&[("CONFIG SET appendonly no", "+OK"), ("CONFIG SET dir /b", "+OK")]);
    }

    #[test]
    fn inside_of_a_transaction_nothing_waits() {
        let mut server = TestServer::new("");
        server.check(&[("MULTI", "+OK"), ("CONFIG SET port 1", "+QUEUED"), ("CONFIG SET hz 11", "+QUEUED")]);
        let reply = server.run("EXEC");
        assert!(reply.contains("a transaction can wait, +OK]"), "{reply}");
        assert_eq!(server.run("CONFIG GET port hz"), "[\"port\", \"6379\", \"hz\", \"11\"]");
    }

    #[test]
    fn a_rewritten_file_keeps_what_its_owner_wrote() {
        let mut server = TestServer::new("");
        server.node.config.config_file = Some("/etc/a.conf".into());
        server.disk.files.insert("/etc/a.conf".into(), b"# mine\nhz 10\n".to_vec());
        server.check(&[("CONFIG SET hz 50", "+OK"), ("CONFIG REWRITE", "+OK")]);
        let text = String::from_utf8(server.disk.files["/etc/a.conf"].clone()).expect("text");
        assert!(text.starts_with("# mine\nhz 50\n"), "{text}");
    }

    #[test]
    fn a_log_switched_on_is_whole_before_it_counts() {
        let mut server = TestServer::new("");
        server.check(&[("SET k v", "+OK"), ("CONFIG SET appendonly yes", "+OK"), ("SET l w", "+OK")]);
        assert!(
            server.disk.files.contains_key("appendonlydir/appendonly.aof.1.base.rdb"),
            "{:?}",
            server.disk.files.keys()
        );
        server.check(&[("CONFIG SET appendfsync always", "+OK"), ("SET m x", "+OK")]);
        assert_eq!(server.node.aof.journal.offset_synced(), server.node.aof.journal.offset_buffered());
    }

    #[test]
    fn a_smaller_maxmemory_evicts_at_once() {
        let mut server = TestServer::new("maxmemory-policy allkeys-lru");
        for index in 0..100 {
            server.run(&alloc::format!("SET k{index} {}", "x".repeat(1000)));
        }
        let limit = server.node.used_memory() - 50_000;
        assert_eq!(server.run(&alloc::format!("CONFIG SET maxmemory {limit}")), "+OK");
        // The running command's own client is not counted while it runs.
        assert!(server.node.used_memory() <= limit + 4096);
        assert!(server.node.store().len() < 100);
    }

    #[test]
    fn a_smaller_maxmemory_evicts_nothing_inside_of_exec() {
        let mut server = TestServer::new("maxmemory-policy allkeys-lru");
        server.check(&[
            ("MULTI", "+OK"),
            ("INCR x", "+QUEUED"),
            ("CONFIG SET maxmemory 1", "+QUEUED"),
            ("INCR x", "+QUEUED"),
            ("EXEC", "[:1, +OK, :2]"),
            ("EXISTS x", ":0"),
        ]);
    }

    #[test]
    fn resetstat_begins_anew() {
        let mut server = TestServer::new("");
        server.check(&[("GET k", "nil"), ("CONFIG RESETSTAT", "+OK")]);
        let info = server.run("INFO stats");
        assert!(info.contains("keyspace_misses:0"), "{info}");
    }
}
