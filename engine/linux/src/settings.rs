//! What the server's configuration says to the host.
//!
//! Not here: where the values come from (`server`), everything the engine itself reads (`core/config`).

use std::path::PathBuf;

use perdura_core::host::{OomAdjustment, TlsSettings};

/// Settings of one run of the host. Names and meanings are those of `redis.conf`.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Addresses to listen on; `*` all IPv4, `::*` all IPv6, a leading `-` meaning optional.
    pub bind: Vec<String>,
    /// TCP port, 0 for none.
    pub port: u16,
    /// The TLS port, and what its connections are made with.
    pub tls: TlsSettings,
    /// Path of the unix socket, if wanted.
    pub unixsocket: Option<String>,
    /// Permissions of the unix socket; the umask's if `None`.
    pub unixsocketperm: Option<u32>,
    /// Length of the queue of connections not yet accepted.
    pub tcp_backlog: i32,
    /// Seconds of silence before a connection is probed, 0 for never.
    pub tcp_keepalive: u32,
    /// Directory of all data files, relative to the working directory or absolute.
    pub dir: String,
    /// Refuse to start when another server holds `dir`, rather than warn.
    pub refuse_shared_dir: bool,
    /// Go to the background before anything else.
    pub daemonize: bool,
    /// File to write our process id to.
    pub pidfile: Option<String>,
    /// Values for `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<OomAdjustment>,
    /// Processors for the engine's thread, as `0,2-3` or `0-7:2`.
    pub server_cpulist: Option<String>,
    /// Processors for the worker threads.
    pub bio_cpulist: Option<String>,
    /// Processors for snapshot children.
    pub bgsave_cpulist: Option<String>,
    /// Serve connections by io_uring where the kernel lets us; otherwise, and if this is off, by epoll.
    pub io_uring: bool,
    /// Threads that read and write connections, the engine's included: 1 for none beside it.
    pub io_threads: usize,
    /// Ask the kernel not to use huge pages for this process.
    pub disable_thp: bool,
    /// Take over SIGINT, SIGTERM, SIGHUP and the crash signals. Off where several hosts share a process (tests).
    pub catch_signals: bool,
    /// Where the report of a crash goes.
    pub crash_log: CrashLog,
    /// Working directory at the start of the process, for DEBUG RESTART.
    pub start_dir: Option<PathBuf>,
    /// Test aid: microseconds by which each sync of a file is made slower.
    pub sync_delay_us: u64,
}

/// Where the report of a crash goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CrashLog {
    /// There is none: the signal does what it does by itself.
    Nowhere,
    /// To the standard output.
    Output,
    /// To the end of this file.
    File(String),
}

impl Default for HostSettings {
    fn default() -> Self {
        HostSettings {
            bind: vec!["*".into(), "-::*".into()],
            port: 6379,
            tls: TlsSettings::default(),
            unixsocket: None,
            unixsocketperm: None,
            tcp_backlog: 511,
            tcp_keepalive: 300,
            dir: ".".into(),
            refuse_shared_dir: false,
            daemonize: false,
            pidfile: None,
            oom_score_adj: None,
            server_cpulist: None,
            bio_cpulist: None,
            bgsave_cpulist: None,
            io_uring: true,
            io_threads: 1,
            disable_thp: true,
            catch_signals: true,
            crash_log: CrashLog::Output,
            start_dir: None,
            sync_delay_us: 0,
        }
    }
}
