//! The server put together: what is said at start, the host's settings, and the engine whose log level may change.
//!
//! Exists so that `main.rs` needs to know neither the host nor the log.
//!
//! Always true: nothing is said before the log is installed, and nothing threaded exists before `daemonize`.
//!
//! Not here: the loop (`perdura_linux::run`), the engine (`perdura_core::node`).

use std::path::PathBuf;

use perdura_core::{
    config::Config,
    host::{
        BackupJob, BackupWritten, ClientId, Completion, Disk, Effects, Encoder, Engine, IoError, Peer,
        Signal, SnapshotJob,
    },
    node::Figures,
    time::Now,
};
use perdura_linux::{
    CrashLog, HostSettings,
    limits::{self, Warning},
};

use crate::{
    banner,
    logging::{self, LogControl},
    metrics::Publisher,
    notify::{self, Notifier},
};

/// Runs the server until it is told to leave, and gives its exit status.
///
/// `build` makes the engine from the final configuration, or says why it cannot; `views` is how it is looked at from
/// then on.
pub fn serve<E: Engine>(
    mut config: Config,
    start_dir: Option<PathBuf>,
    build: impl FnOnce(Config) -> Result<E, String>,
    views: Views<E>,
) -> i32 {
    let log = match leave_terminal(&config).and_then(|()| logging::install(&config)) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("Can't start the log: {error}");
            return 1;
        }
    };
    tracing::info!("{}", banner::greeting(&config, std::process::id()));
    fit_clients(&mut config);
    say_what_matters(&config);
    let settings = host_settings(&config, start_dir);
    let supervised = config.supervised;
    let engine = Publisher::start(&config).and_then(|metrics| {
        let engine = build(config)?;
        Ok(Watched { engine, log, metrics, notifier: Notifier::start(supervised), views })
    });
    match engine {
        Ok(engine) => {
            let status = perdura_linux::run(engine, settings);
            notify::leaving(supervised);
            status
        }
        Err(reason) => {
            tracing::error!("{reason}");
            1
        }
    }
}

/// What an engine shows of itself.
pub struct Views<E> {
    /// Its settings.
    pub config: fn(&E) -> &Config,
    /// Its figures.
    pub figures: fn(&E) -> Figures,
}

/// Goes to the background, if that is wanted, before anything remembers the process id.
fn leave_terminal(config: &Config) -> std::io::Result<()> {
    if config.daemonize { perdura_linux::daemonize() } else { Ok(()) }
}

/// Makes room for all clients, or lowers `maxclients` to those that fit.
fn fit_clients(config: &mut Config) {
    let files = limits::raise_open_files(config.maxclients.into(), config.io_threads > 1);
    let fitting = u32::try_from(files.clients_max()).unwrap_or(u32::MAX).max(1);
    if fitting < config.maxclients {
        tracing::warn!(
            "Only {} files may be open, {} are needed: maxclients is {fitting} instead of {}. Raise 'ulimit -n'.",
            files.granted,
            files.wanted,
            config.maxclients
        );
        config.maxclients = fitting;
    }
}

fn say_what_matters(config: &Config) {
    if config.config_file.is_none() {
        tracing::info!("No configuration file: the defaults apply, with the options of the command line.");
    }
    for text in machine_warnings(config).into_iter().chain(banner::doubts(config)) {
        tracing::warn!("{text}");
    }
    tracing::info!("Running mode=standalone, port={}.", config.port);
    tracing::info!("{}", banner::promise(config));
}

/// What about this machine deserves a warning, in words.
pub fn machine_warnings(config: &Config) -> Vec<String> {
    let backlog = i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX);
    limits::warnings(backlog).into_iter().map(in_words).collect()
}

fn in_words(warning: Warning) -> String {
    match warning {
        Warning::OvercommitMemory => {
            "vm.overcommit_memory is 0: a snapshot may fail to fork although memory would suffice. Set it with \
             'sysctl vm.overcommit_memory=1', and in /etc/sysctl.conf for the next boot."
                .into()
        }
        Warning::TransparentHugePages => {
            "Transparent huge pages are 'always': writes during a snapshot copy 2 MiB each. Set them with \
             'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled'."
                .into()
        }
        Warning::Backlog { wanted, allowed } => {
            format!("tcp-backlog is {wanted}, but net.core.somaxconn allows only {allowed}.")
        }
    }
}

/// The host's share of the configuration.
pub fn host_settings(config: &Config, start_dir: Option<PathBuf>) -> HostSettings {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    HostSettings {
        bind: config.bind.clone(),
        port: config.port,
        tls: config.tls_settings(),
        unixsocket: some(&config.unixsocket),
        unixsocketperm: Some(config.unixsocketperm).filter(|&bits| bits != 0),
        tcp_backlog: i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX),
        tcp_keepalive: config.tcp_keepalive,
        dir: config.dir.clone(),
        daemonize: false,
        pidfile: pidfile(config),
        oom_score_adj: config.oom_adjustment(),
        server_cpulist: some(&config.server_cpulist),
        bio_cpulist: some(&config.bio_cpulist),
        bgsave_cpulist: some(&config.bgsave_cpulist),
        io_uring: config.io_uring,
        io_threads: config.io_threads as usize,
        disable_thp: config.disable_thp,
        crash_log: crash_log(config),
        start_dir,
        ..HostSettings::default()
    }
}

fn crash_log(config: &Config) -> CrashLog {
    match config.logfile.as_str() {
        _ if !config.crash_log_enabled => CrashLog::Nowhere,
        "" => CrashLog::Output,
        path => CrashLog::File(path.into()),
    }
}

/// A server in the background has a pid file even if none is named, as in Redis.
fn pidfile(config: &Config) -> Option<String> {
    match (config.pidfile.as_str(), config.daemonize) {
        ("", false) => None,
        ("", true) => Some("/var/run/redis.pid".into()),
        (path, _) => Some(path.into()),
    }
}

/// An engine whose `loglevel`, `log-format` and role the log follows, and whose figures are published if that is wanted.
struct Watched<E> {
    engine: E,
    log: LogControl,
    metrics: Option<Publisher>,
    notifier: Option<Notifier>,
    views: Views<E>,
}

impl<E: Engine> Engine for Watched<E> {
    fn turn(&mut self, now: Now, effects: &mut Effects) {
        self.engine.turn(now, effects);
        // Three loads and compares: too little to be told of each change.
        self.log.follow((self.views.config)(&self.engine));
        if let Some(notifier) = &mut self.notifier {
            notifier.turned(now, || (self.views.figures)(&self.engine).loading);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.offer(now, || (self.views.figures)(&self.engine));
        }
    }

    fn connect(&mut self, now: Now, peer: Peer, effects: &mut Effects) -> ClientId {
        self.engine.connect(now, peer, effects)
    }
    fn receive(&mut self, now: Now, client: ClientId, bytes: &[u8], effects: &mut Effects) {
        self.engine.receive(now, client, bytes, effects);
    }
    fn disconnect(&mut self, now: Now, client: ClientId, effects: &mut Effects) {
        self.engine.disconnect(now, client, effects);
    }
    fn complete(&mut self, now: Now, completion: Completion, effects: &mut Effects) {
        self.engine.complete(now, completion, effects);
    }
    fn signal(&mut self, now: Now, signal: Signal, effects: &mut Effects) {
        self.engine.signal(now, signal, effects);
    }
    fn wake_at(&self) -> u64 {
        self.engine.wake_at()
    }
    fn output(&self, client: ClientId) -> &[u8] {
        self.engine.output(client)
    }
    fn sent(&mut self, now: Now, client: ClientId, count: usize, effects: &mut Effects) {
        self.engine.sent(now, client, count, effects);
    }
    fn is_holding(&self, client: ClientId) -> bool {
        self.engine.is_holding(client)
    }
    fn is_loading(&self) -> bool {
        self.engine.is_loading()
    }
    fn load(&mut self, now: Now, disk: &mut dyn Disk, effects: &mut Effects) {
        self.engine.load(now, disk, effects);
    }
    fn back_up(
        job: &BackupJob,
        disk: &mut dyn Disk,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BackupWritten, IoError> {
        E::back_up(job, disk, progress)
    }

    fn encoder<'a>(&'a self, job: &SnapshotJob) -> Box<dyn Encoder + 'a> {
        self.engine.encoder(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> Config {
        let mut config = Config::default();
        config.load(lines, &mut |_| Ok(vec![])).expect("valid");
        config
    }

    #[test]
    fn the_host_is_told_what_is_its_own() {
        let lines =
            "port 0\nunixsocket /s\nunixsocketperm 700\nbind 127.0.0.1\nlogfile l\nbgsave_cpulist 1-2";
        let settings = host_settings(&config(lines), None);
        assert_eq!((settings.port, settings.unixsocketperm), (0, Some(0o700)));
        assert_eq!(settings.bind, ["127.0.0.1"]);
        assert_eq!(settings.unixsocket.as_deref(), Some("/s"));
        assert_eq!(settings.crash_log, CrashLog::File("l".into()));
        assert_eq!(settings.bgsave_cpulist.as_deref(), Some("1-2"));
        assert_eq!((settings.pidfile, settings.server_cpulist), (None, None));
    }

    #[test]
    fn a_server_in_the_background_has_a_pid_file() {
        assert_eq!(pidfile(&config("daemonize yes")).as_deref(), Some("/var/run/redis.pid"));
        assert_eq!(pidfile(&config("daemonize yes\npidfile /p")).as_deref(), Some("/p"));
        assert_eq!(pidfile(&config("pidfile /p")).as_deref(), Some("/p"));
    }

    #[test]
    fn each_warning_says_what_to_do_or_what_is_so() {
        assert!(in_words(Warning::OvercommitMemory).contains("vm.overcommit_memory=1"));
        assert!(in_words(Warning::TransparentHugePages).contains("madvise"));
        assert!(in_words(Warning::Backlog { wanted: 511, allowed: 128 }).contains("only 128"));
    }
}
