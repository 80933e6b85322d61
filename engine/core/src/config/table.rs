//! The table of directives: one row each, from which the typed fields and everything else come.
//!
//! A row reads: what it is for; its name, an older name; its field, type and default; the values it
//! takes; its flags. Rows are grouped as an operator would look for them; CONFIG GET follows their order.
//!
//! Always true: names are unique across names and aliases; each default is a value its row allows.
//!
//! Not here: how values are read and printed (`kind.rs`, `types.rs`).

use alloc::{string::String, vec, vec::Vec};

use super::{
    kind::{
        Accessors, Directive, Flag, GIB, INT_MAX, INT_MIN, KIB, Kind, LONG_MAX, MIB, UINT_MAX, ULONG_MAX,
        Value,
    },
    types::*,
};

macro_rules! directives {
    ($(
        #[doc = $doc:literal]
        $name:literal $(| $alias:literal)? => $field:ident: $type:ty = $default:expr, $kind:expr $(, $flag:ident)*;
    )*) => {
        /// The settings as they are now.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Config {
            $(
                #[doc = $doc]
                pub $field: $type,
            )*
            /// Commands given another name by `rename-command`, in order; an empty name removes the command.
            pub renamed_commands: Vec<(String, String)>,
            /// What followed the word `user` in each such line of the file.
            pub users: Vec<Vec<String>>,
            /// The absolute path of the file that CONFIG REWRITE rewrites, or `None` without one.
            pub config_file: Option<String>,
        }

        impl Default for Config {
            fn default() -> Config {
                Config {
                    $( $field: $default, )*
                    renamed_commands: Vec::new(),
                    users: Vec::new(),
                    config_file: None,
                }
            }
        }

        /// All directives.
        pub static DIRECTIVES: &[Directive] = &[$(
            Directive {
                name: $name,
                alias: alias!($($alias)?),
                flags: &[$(Flag::$flag),*],
                kind: $kind,
                doc: $doc,
                accessors: Accessors {
                    print: |config, kind| config.$field.print(kind),
                    parse: |config, words, kind| {
                        config.$field = config.$field.parse(words, kind)?;
                        Ok(())
                    },
                    lines: |config, kind| config.$field.lines(kind),
                    is_equal: |left, right| left.$field == right.$field,
                },
            },
        )*];
    };
}

macro_rules! alias {
    () => {
        None
    };
    ($alias:literal) => {
        Some($alias)
    };
}

directives! {
    // Network.

    /// Addresses to listen on; a leading `-` marks one that may be missing.
    "bind" => bind: Vec<String> = vec!["*".into(), "-::*".into()], Kind::Special("addresses"), MultiWord, AbsentAtDefault;
    /// TCP port; 0 for none.
    "port" => port: u16 = 6379, int(0, 65_535);
    /// Connections the kernel may hold before we take them.
    "tcp-backlog" => tcp_backlog: u32 = 511, int(0, INT_MAX), Immutable;
    /// Seconds between probes of idle connections; 0 for none.
    "tcp-keepalive" => tcp_keepalive: u32 = 300, int(0, INT_MAX);
    /// Seconds after which an idle client is disconnected; 0 for never.
    "timeout" => timeout: u32 = 0, int(0, INT_MAX);
    /// Path of the unix socket; empty for none.
    "unixsocket" => unixsocket: String = text(""), ANY_TEXT, Immutable;
    /// Permission bits of the unix socket; 0 leaves what the umask gives.
    "unixsocketperm" => unixsocketperm: u32 = 0, Kind::Octal { max: 0o777 }, Immutable;
    /// Address outgoing connections come from.
    "bind-source-addr" => bind_source_addr: String = text(""), ANY_TEXT, NoEffect;
    /// Whether clients of other machines are turned away while there is no password.
    "protected-mode" => protected_mode: bool = true, Kind::Bool;
    /// Clients served at once.
    "maxclients" => maxclients: u32 = 10_000, int(1, UINT_MAX);
    /// Bytes of requests a client may leave unprocessed.
    "client-query-buffer-limit" => client_query_buffer_limit: u64 = 1 << 30, memory(MIB, LONG_MAX);
    /// Bytes of replies a client may leave unread, by class: hard, soft, seconds above soft.
    "client-output-buffer-limit" => client_output_buffer_limit: OutputBufferLimits = OutputBufferLimits::DEFAULT, Kind::Special("class hard soft seconds ..."), MultiWord;
    /// Largest single string a client may send.
    "proto-max-bulk-len" => proto_max_bulk_len: u64 = 512 << 20, memory(MIB, LONG_MAX);
    /// Mark of our sockets for the firewall.
    "socket-mark-id" => socket_mark_id: u32 = 0, int(0, UINT_MAX), Immutable, NoEffect;

    // The process and its log.

    /// Whether to go to the background.
    "daemonize" => daemonize: bool = false, Kind::Bool, Immutable;
    /// Who started the server and is told when it is ready: systemd by NOTIFY_SOCKET, with progress of loading and signs of life.
    "supervised" => supervised: Supervised = Supervised::No, Supervised::KIND, Immutable;
    /// File to write the process id to.
    "pidfile" => pidfile: String = text(""), ANY_TEXT, Immutable;
    /// How much is logged.
    "loglevel" => loglevel: LogLevel = LogLevel::Notice, LogLevel::KIND;
    /// File to log to; empty for the standard output.
    "logfile" => logfile: String = text(""), ANY_TEXT, Immutable;
    /// How a line of the log looks.
    "log-format" => log_format: LogFormat = LogFormat::Redis, LogFormat::KIND;
    /// Whether to log to syslog as well.
    "syslog-enabled" => syslog_enabled: bool = false, Kind::Bool, Immutable, NoEffect;
    /// Under which name syslog files our lines.
    "syslog-ident" => syslog_ident: String = text("redis"), ANY_TEXT, Immutable, NoEffect;
    /// Under which facility syslog files our lines.
    "syslog-facility" => syslog_facility: SyslogFacility = SyslogFacility::Local0, SyslogFacility::KIND, Immutable, NoEffect;
    /// Whether a crash is reported in the log.
    "crash-log-enabled" => crash_log_enabled: bool = true, Kind::Bool;
    /// Whether memory is tested after a crash.
    "crash-memcheck-enabled" => crash_memcheck_enabled: bool = true, Kind::Bool, NoEffect;
    /// Whether a failed assertion exits instead of aborting.
    "use-exit-on-panic" => use_exit_on_panic: bool = false, Kind::Bool, Hidden, NoEffect;
    /// Milliseconds after which a blocked event loop is reported; 0 for never.
    "watchdog-period" => watchdog_period: u32 = 0, int(0, INT_MAX), Hidden, NoEffect;
    /// Whether to greet with a drawing where there is no terminal.
    "always-show-logo" => always_show_logo: bool = false, Kind::Bool, Immutable, NoEffect;
    /// Whether `ps` shows what the process does.
    "set-proc-title" => set_proc_title: bool = true, Kind::Bool, Immutable, NoEffect;
    /// What `ps` shows.
    "proc-title-template" => proc_title_template: String = text("{title} {listen-addr} {server-mode}"), Kind::Text(check_title_template), NoEffect;
    /// Locale by which SORT ALPHA compares; only byte order is known.
    "locale-collate" => locale_collate: String = text(""), ANY_TEXT, NoEffect;
    /// Warnings to leave out at start.
    "ignore-warnings" => ignore_warnings: String = text(""), ANY_TEXT, NoEffect;
    /// Whether the kernel's large pages are turned off for the process.
    "disable-thp" => disable_thp: bool = true, Kind::Bool, Immutable;
    /// Whether the kernel's out-of-memory score is adjusted.
    "oom-score-adj" => oom_score_adj: OomScoreAdj = OomScoreAdj::No, OomScoreAdj::KIND;
    /// Out-of-memory scores of a primary, a replica and a snapshot child.
    "oom-score-adj-values" => oom_score_adj_values: OomScores = OomScores { primary: 0, replica: 200, child: 800 }, Kind::Special("primary replica child"), MultiWord;
    /// Processors for the main thread.
    "server_cpulist" | "server-cpulist" => server_cpulist: String = text(""), ANY_TEXT, Immutable;
    /// Processors for the threads that wait for the disk.
    "bio_cpulist" | "bio-cpulist" => bio_cpulist: String = text(""), ANY_TEXT, Immutable;
    /// Processors for the child that rewrites the append-only file.
    "aof_rewrite_cpulist" | "aof-rewrite-cpulist" => aof_rewrite_cpulist: String = text(""), ANY_TEXT, Immutable, NoEffect;
    /// Processors for the child that writes a snapshot.
    "bgsave_cpulist" | "bgsave-cpulist" => bgsave_cpulist: String = text(""), ANY_TEXT, Immutable;
    /// Serve connections by io_uring where the kernel allows it, otherwise by epoll. Not a directive of Redis.
    "io-uring" => io_uring: bool = true, Kind::Bool, Immutable;
    /// Threads that talk to clients, the one that runs commands included: 1 for no other.
    "io-threads" => io_threads: u32 = 1, int(1, 128), Immutable;
    /// Whether those threads read as well as write: they always do.
    "io-threads-do-reads" => io_threads_do_reads: bool = false, Kind::Bool, Immutable, NoEffect;
    /// Times a second that timed work is done.
    "hz" => hz: u32 = 10, Kind::Hint { min: 1, max: 500 };
    /// Whether timed work is done more often for many clients.
    "dynamic-hz" => dynamic_hz: bool = true, Kind::Bool, NoEffect;
    /// Seconds a shutdown waits for replicas to catch up.
    "shutdown-timeout" => shutdown_timeout: u32 = 10, int(0, INT_MAX), NoEffect;
    /// What SIGINT asks of the shutdown.
    "shutdown-on-sigint" => shutdown_on_sigint: ShutdownFlags = ShutdownFlags::default(), ShutdownFlags::KIND, MultiWord;
    /// What SIGTERM asks of the shutdown.
    "shutdown-on-sigterm" => shutdown_on_sigterm: ShutdownFlags = ShutdownFlags::default(), ShutdownFlags::KIND, MultiWord;

    // Who may do what.

    /// Password of the default user; empty for none.
    "requirepass" => requirepass: String = text(""), ANY_TEXT, Sensitive;
    /// File of users and their rights, instead of `user` lines.
    "aclfile" => aclfile: String = text(""), ANY_TEXT, Immutable;
    /// Refused logins and commands remembered for ACL LOG.
    "acllog-max-len" => acllog_max_len: u64 = 128, int(0, LONG_MAX);
    /// Channels a new user may use.
    "acl-pubsub-default" => acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::Resetchannels, AclPubsubDefault::KIND;
    /// Who may change protected directives by CONFIG SET.
    "enable-protected-configs" => enable_protected_configs: Guard = Guard::No, Guard::KIND, Immutable;
    /// Who may use DEBUG.
    "enable-debug-command" => enable_debug_command: Guard = Guard::No, Guard::KIND, Immutable;
    /// Who may use MODULE.
    "enable-module-command" => enable_module_command: Guard = Guard::No, Guard::KIND, Immutable, NoEffect;

    // Databases, memory, expiry.

    /// Databases SELECT knows.
    "databases" => databases: u32 = 16, int(1, INT_MAX), Immutable;
    /// Bytes of data at which keys give way; 0 for no limit.
    "maxmemory" => maxmemory: u64 = 0, memory(0, ULONG_MAX);
    /// Which keys give way.
    "maxmemory-policy" => maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::Noeviction, MaxmemoryPolicy::KIND;
    /// Keys compared for each one that gives way.
    "maxmemory-samples" => maxmemory_samples: u32 = 5, int(1, INT_MAX);
    /// How long one round of eviction may take, 0 to 100.
    "maxmemory-eviction-tenacity" => maxmemory_eviction_tenacity: u32 = 10, int(0, 100), NoEffect;
    /// Memory all clients together may take: bytes, or a share of `maxmemory`; 0 for no limit.
    "maxmemory-clients" => maxmemory_clients: MemoryOrPercent = MemoryOrPercent::Bytes(0), Kind::MemoryOrPercent;
    /// How slowly the use counter of LFU grows.
    "lfu-log-factor" => lfu_log_factor: u32 = 10, int(0, INT_MAX);
    /// Minutes after which the use counter of LFU drops by one.
    "lfu-decay-time" => lfu_decay_time: u32 = 1, int(0, INT_MAX);
    /// How hard expired keys are looked for, 1 to 10.
    "active-expire-effort" => active_expire_effort: u32 = 1, int(1, 10);
    /// Whether large values that gave way are freed bit by bit, and logged as UNLINK.
    "lazyfree-lazy-eviction" => lazyfree_lazy_eviction: bool = false, Kind::Bool;
    /// Whether large values that expired are freed bit by bit, and logged as UNLINK.
    "lazyfree-lazy-expire" => lazyfree_lazy_expire: bool = false, Kind::Bool;
    /// Whether large values that are overwritten are freed bit by bit.
    "lazyfree-lazy-server-del" => lazyfree_lazy_server_del: bool = false, Kind::Bool;
    /// Whether DEL is UNLINK.
    "lazyfree-lazy-user-del" => lazyfree_lazy_user_del: bool = false, Kind::Bool;
    /// Whether FLUSHALL, FLUSHDB and their kin are ASYNC unless they say SYNC.
    "lazyfree-lazy-user-flush" => lazyfree_lazy_user_flush: bool = false, Kind::Bool, NoEffect;
    /// Whether a growing table is rehashed in idle moments.
    "activerehashing" => activerehashing: bool = true, Kind::Bool, NoEffect;
    /// Whether the allocator frees in a thread of its own.
    "jemalloc-bg-thread" => jemalloc_bg_thread: bool = true, Kind::Bool, NoEffect;
    /// Whether memory is defragmented.
    "activedefrag" => activedefrag: bool = false, Kind::Off("Active defragmentation cannot be enabled: Perdura's allocator gives no hints for it"), NoEffect;
    /// Bytes lost below which memory is not defragmented.
    "active-defrag-ignore-bytes" => active_defrag_ignore_bytes: u64 = 100 << 20, memory(1, LONG_MAX), NoEffect;
    /// Percentage lost at which defragmentation begins.
    "active-defrag-threshold-lower" => active_defrag_threshold_lower: u32 = 10, int(0, 1_000), NoEffect;
    /// Percentage lost at which defragmentation works hardest.
    "active-defrag-threshold-upper" => active_defrag_threshold_upper: u32 = 100, int(0, 1_000), NoEffect;
    /// Percentage of time for the least effort.
    "active-defrag-cycle-min" => active_defrag_cycle_min: u32 = 1, int(1, 99), NoEffect;
    /// Percentage of time for the greatest effort.
    "active-defrag-cycle-max" => active_defrag_cycle_max: u32 = 25, int(1, 99), NoEffect;
    /// Fields of a collection moved at one go.
    "active-defrag-max-scan-fields" => active_defrag_max_scan_fields: u64 = 1_000, int(1, LONG_MAX), NoEffect;

    // Encodings.

    /// Most fields of a hash kept as a listpack.
    "hash-max-listpack-entries" | "hash-max-ziplist-entries" => hash_max_listpack_entries: u64 = 512, int(0, LONG_MAX);
    /// Longest field or value of a hash kept as a listpack, bytes.
    "hash-max-listpack-value" | "hash-max-ziplist-value" => hash_max_listpack_value: u64 = 64, memory(0, LONG_MAX);
    /// Size of a node of a list: entries, or -1 to -5 for 4 to 64 kb.
    "list-max-listpack-size" | "list-max-ziplist-size" => list_max_listpack_size: i32 = -2, int(INT_MIN, INT_MAX);
    /// Nodes at each end of a list that are not compressed; 0 compresses none.
    "list-compress-depth" => list_compress_depth: u32 = 0, int(0, INT_MAX), NoEffect;
    /// Most integers of a set kept as an intset.
    "set-max-intset-entries" => set_max_intset_entries: u64 = 512, int(0, LONG_MAX);
    /// Most members of a set kept as a listpack.
    "set-max-listpack-entries" => set_max_listpack_entries: u64 = 128, int(0, LONG_MAX);
    /// Longest member of a set kept as a listpack, bytes.
    "set-max-listpack-value" => set_max_listpack_value: u64 = 64, int(0, LONG_MAX);
    /// Most members of a sorted set kept as a listpack.
    "zset-max-listpack-entries" | "zset-max-ziplist-entries" => zset_max_listpack_entries: u64 = 128, int(0, LONG_MAX);
    /// Longest member of a sorted set kept as a listpack, bytes.
    "zset-max-listpack-value" | "zset-max-ziplist-value" => zset_max_listpack_value: u64 = 64, memory(0, LONG_MAX);
    /// Largest HyperLogLog kept sparse, bytes.
    "hll-sparse-max-bytes" => hll_sparse_max_bytes: u64 = 3_000, memory(0, LONG_MAX);
    /// Largest node of a stream, bytes; 0 for no limit.
    "stream-node-max-bytes" => stream_node_max_bytes: u64 = 4_096, memory(0, LONG_MAX);
    /// Most entries of a node of a stream; 0 for no limit.
    "stream-node-max-entries" => stream_node_max_entries: u64 = 100, int(0, LONG_MAX);

    // Snapshots.

    /// When a snapshot is written by itself: seconds and changes, pair by pair; empty for never.
    "save" => save: Vec<SavePoint> = SavePoint::DEFAULT.into(), Kind::Special("seconds changes ..."), MultiWord, AlwaysWritten;
    /// Whether writes are refused while snapshots fail.
    "stop-writes-on-bgsave-error" => stop_writes_on_bgsave_error: bool = true, Kind::Bool;
    /// Whether strings in a snapshot are compressed.
    "rdbcompression" => rdbcompression: bool = true, Kind::Bool;
    /// Whether a snapshot ends in a checksum, and is checked against it.
    "rdbchecksum" => rdbchecksum: bool = true, Kind::Bool, Immutable;
    /// Version of the snapshots we write: 10 for Redis 7.0, 11 for 7.2, 12 for 7.4.
    "rdb-version" => rdb_version: u32 = 11, int(10, 12);
    /// Name of the snapshot's file.
    "dbfilename" => dbfilename: String = text("dump.rdb"), Kind::Text(check_dbfilename), Protected;
    /// Directory of all files.
    "dir" => dir: String = text("./"), Kind::Text(check_dir), Protected, NotWhileLoading, AlwaysWritten;
    /// Whether snapshots that were only for replication are removed.
    "rdb-del-sync-files" => rdb_del_sync_files: bool = false, Kind::Bool, NoEffect;
    /// Whether a snapshot is synced bit by bit while it is written.
    "rdb-save-incremental-fsync" => rdb_save_incremental_fsync: bool = true, Kind::Bool, NoEffect;
    /// Whether a dumped value is examined in depth before it is used.
    "sanitize-dump-payload" => sanitize_dump_payload: SanitizeDumpPayload = SanitizeDumpPayload::No, SanitizeDumpPayload::KIND, NoEffect;
    /// Microseconds to wait after each key written; negative: one for that many keys.
    "rdb-key-save-delay" => rdb_key_save_delay: i32 = 0, int(INT_MIN, INT_MAX), Hidden;
    /// Microseconds to wait after each key loaded; negative: one for that many keys.
    "key-load-delay" => key_load_delay: i32 = 0, int(INT_MIN, INT_MAX), Hidden, NoEffect;
    /// Bytes loaded between two looks at the clients.
    "loading-process-events-interval-bytes" => loading_process_events_interval_bytes: u64 = 2 << 20, int(KIB, INT_MAX), Hidden, NoEffect;

    // The append-only file.

    /// Whether every change is written to the append-only file.
    "appendonly" => appendonly: bool = false, Kind::Bool, NotWhileLoading;
    /// Beginning of the names of its files.
    "appendfilename" => appendfilename: String = text("appendonly.aof"), Kind::Text(check_appendfilename), Immutable;
    /// Directory of its files, inside `dir`.
    "appenddirname" => appenddirname: String = text("appendonlydir"), Kind::Text(check_appenddirname), Immutable;
    /// When it is made durable.
    "appendfsync" => appendfsync: AppendFsync = AppendFsync::Everysec, AppendFsync::KIND;
    /// Milliseconds the disk may fall behind under `everysec` before writes wait or are refused.
    "appendfsync-max-lag" => appendfsync_max_lag: u64 = 2_000, int(0, LONG_MAX);
    /// What happens to writes then.
    "appendfsync-lag-action" => appendfsync_lag_action: LagAction = LagAction::Wait, LagAction::KIND;
    /// Whether it is not synced while a child writes.
    "no-appendfsync-on-rewrite" => no_appendfsync_on_rewrite: bool = false, Kind::Bool;
    /// Growth in percent since the last rewrite that calls for the next; 0 for never.
    "auto-aof-rewrite-percentage" => auto_aof_rewrite_percentage: u32 = 100, int(0, INT_MAX);
    /// Size below which it is never rewritten by itself.
    "auto-aof-rewrite-min-size" => auto_aof_rewrite_min_size: u64 = 64 << 20, memory(0, LONG_MAX);
    /// Whether a file whose end is missing is loaded up to there.
    "aof-load-truncated" => aof_load_truncated: bool = true, Kind::Bool;
    /// Whether a rewrite begins with a snapshot instead of commands.
    "aof-use-rdb-preamble" => aof_use_rdb_preamble: bool = true, Kind::Bool;
    /// Whether each batch carries a checksum that stock servers skip.
    "aof-checksum" => aof_checksum: bool = true, Kind::Bool, Immutable;
    /// Whether the time is noted in the file.
    "aof-timestamp-enabled" => aof_timestamp_enabled: bool = false, Kind::Bool;
    /// Whether a rewrite is synced bit by bit while it is written.
    "aof-rewrite-incremental-fsync" => aof_rewrite_incremental_fsync: bool = true, Kind::Bool, NoEffect;
    /// Whether files no longer needed are kept.
    "aof-disable-auto-gc" => aof_disable_auto_gc: bool = false, Kind::Bool, Hidden, NoEffect;
    /// Directory that files no longer needed are moved to; empty removes them.
    "aof-archive-dir" => aof_archive_dir: String = text(""), ANY_TEXT, Protected;
    /// Seconds after which archived files are removed; 0 for never.
    "aof-archive-max-age" => aof_archive_max_age: u64 = 0, int(0, LONG_MAX);
    /// Bytes of archived files above which the oldest are removed; 0 for no limit.
    "aof-archive-max-bytes" => aof_archive_max_bytes: u64 = 0, memory(0, LONG_MAX);
    /// What to do about an error reply to a command from the file or the primary.
    "propagation-error-behavior" => propagation_error_behavior: PropagationErrorBehavior = PropagationErrorBehavior::Ignore, PropagationErrorBehavior::KIND, NoEffect;
    /// Free bytes on the disk below which the append-only file is rewritten early, with a warning in the log; 0 for never.
    "disk-soft-limit" => disk_soft_limit: u64 = 0, memory(0, LONG_MAX);
    /// Free bytes on the disk below which writes are refused, so that a rewrite still has room; 0 for never. Reads go on, and writes as soon as there is room again.
    "disk-hard-limit" => disk_hard_limit: u64 = 0, memory(0, LONG_MAX);

    // What can be seen of the server.

    /// Port of the page with live figures, `/metrics` for Prometheus, `/healthz` and `/readyz`; 0 for none. Anybody who can connect may read.
    "metrics-port" => metrics_port: u16 = 0, int(0, 65_535), Immutable;
    /// Addresses that port is open on; a leading `-` marks one that may be missing.
    "metrics-bind" => metrics_bind: Vec<String> = vec!["127.0.0.1".into(), "-::1".into()], Kind::Special("addresses"), MultiWord, Immutable;
    /// Microseconds from which a command goes into the slow log; negative for never.
    "slowlog-log-slower-than" => slowlog_log_slower_than: i64 = 10_000, int(-1, LONG_MAX);
    /// Entries of the slow log.
    "slowlog-max-len" => slowlog_max_len: u64 = 128, int(0, LONG_MAX);
    /// Milliseconds from which an event is a latency spike; 0 watches none.
    "latency-monitor-threshold" => latency_monitor_threshold: u64 = 0, int(0, LONG_MAX);
    /// Whether latencies are gathered for each command.
    "latency-tracking" => latency_tracking: bool = true, Kind::Bool;
    /// Percentiles of these latencies that INFO shows.
    "latency-tracking-info-percentiles" => latency_tracking_info_percentiles: Vec<f64> = vec![50.0, 99.0, 99.9], Kind::Special("percentiles"), MultiWord, AlwaysWritten;
    /// Which events on keys are published.
    "notify-keyspace-events" => notify_keyspace_events: KeyspaceEvents = KeyspaceEvents::default(), Kind::Special("letters");
    /// Keys remembered for clients that cache; 0 for no limit.
    "tracking-table-max-keys" => tracking_table_max_keys: u64 = 1_000_000, int(0, LONG_MAX);
    /// Milliseconds after which others are told that a script is running.
    "busy-reply-threshold" | "lua-time-limit" => busy_reply_threshold: u64 = 5_000, int(0, LONG_MAX);

    // Replication.

    /// The primary to follow, or none. This server follows nobody.
    "replicaof" | "slaveof" => replicaof: Option<Primary> = None, Kind::Special("host port"), Immutable, MultiWord, AbsentAtDefault, NoEffect;
    /// Password for the primary.
    "masterauth" => masterauth: String = text(""), ANY_TEXT, Sensitive, NoEffect;
    /// User for the primary; empty for the default user.
    "masteruser" => masteruser: String = text(""), ANY_TEXT, Sensitive, NoEffect;
    /// Whether a replica answers while it has lost its primary.
    "replica-serve-stale-data" | "slave-serve-stale-data" => replica_serve_stale_data: bool = true, Kind::Bool, NoEffect;
    /// Whether a replica refuses writes.
    "replica-read-only" | "slave-read-only" => replica_read_only: bool = true, Kind::Bool, NoEffect;
    /// Whether a replica ignores `maxmemory`.
    "replica-ignore-maxmemory" | "slave-ignore-maxmemory" => replica_ignore_maxmemory: bool = true, Kind::Bool, NoEffect;
    /// Whether a replica empties itself bit by bit before it loads.
    "replica-lazy-flush" | "slave-lazy-flush" => replica_lazy_flush: bool = false, Kind::Bool, NoEffect;
    /// Whether a replica goes on when its disk fails.
    "replica-ignore-disk-write-errors" => replica_ignore_disk_write_errors: bool = false, Kind::Bool, NoEffect;
    /// Rank among replicas when a primary is chosen; 0 for never.
    "replica-priority" | "slave-priority" => replica_priority: u32 = 100, int(0, INT_MAX), NoEffect;
    /// Whether the primary tells others of this replica.
    "replica-announced" => replica_announced: bool = true, Kind::Bool, NoEffect;
    /// Address by which others reach this replica; empty for the one they see.
    "replica-announce-ip" | "slave-announce-ip" => replica_announce_ip: String = text(""), ANY_TEXT, NoEffect;
    /// Port by which others reach this replica; 0 for `port`.
    "replica-announce-port" | "slave-announce-port" => replica_announce_port: u16 = 0, int(0, 65_535), NoEffect;
    /// Whether replicas get their snapshot without a file.
    "repl-diskless-sync" => repl_diskless_sync: bool = true, Kind::Bool, NoEffect;
    /// Seconds to wait for more replicas before that.
    "repl-diskless-sync-delay" => repl_diskless_sync_delay: u32 = 5, int(0, INT_MAX), NoEffect;
    /// Replicas at which there is no more waiting; 0 for no such number.
    "repl-diskless-sync-max-replicas" => repl_diskless_sync_max_replicas: u32 = 0, int(0, INT_MAX), NoEffect;
    /// How a replica takes in a snapshot.
    "repl-diskless-load" => repl_diskless_load: ReplDisklessLoad = ReplDisklessLoad::Disabled, ReplDisklessLoad::KIND, NotWhileLoading, NoEffect;
    /// Whether small packets to replicas are gathered.
    "repl-disable-tcp-nodelay" => repl_disable_tcp_nodelay: bool = false, Kind::Bool, NoEffect;
    /// Bytes of past changes kept for replicas that come back.
    "repl-backlog-size" => repl_backlog_size: u64 = 1 << 20, memory(1, LONG_MAX), NoEffect;
    /// Seconds they are kept when there is no replica; 0 for ever.
    "repl-backlog-ttl" => repl_backlog_ttl: u64 = 3_600, int(0, LONG_MAX), NoEffect;
    /// Seconds of silence after which a link is given up.
    "repl-timeout" => repl_timeout: u32 = 60, int(1, INT_MAX), NoEffect;
    /// Seconds between pings to replicas.
    "repl-ping-replica-period" | "repl-ping-slave-period" => repl_ping_replica_period: u32 = 10, int(1, INT_MAX), NoEffect;
    /// Replicas in good shape without which writes are refused; 0 for none. None follows this server: any other number refuses all writes.
    "min-replicas-to-write" | "min-slaves-to-write" => min_replicas_to_write: u32 = 0, int(0, INT_MAX);
    /// Seconds of silence up to which a replica is in good shape.
    "min-replicas-max-lag" | "min-slaves-max-lag" => min_replicas_max_lag: u32 = 10, int(0, INT_MAX);

    // Cluster: accepted, so that files load; Perdura is one node.

    /// Whether the server is a node of a cluster.
    "cluster-enabled" => cluster_enabled: bool = false, Kind::Bool, Immutable, NoEffect;
    /// File the cluster's nodes are kept in.
    "cluster-config-file" => cluster_config_file: String = text("nodes.conf"), ANY_TEXT, Immutable, NoEffect;
    /// Milliseconds of silence after which a node has failed.
    "cluster-node-timeout" => cluster_node_timeout: u64 = 15_000, int(0, LONG_MAX), NoEffect;
    /// Milliseconds between pings to nodes; 0 for the built-in pace.
    "cluster-ping-interval" => cluster_ping_interval: u64 = 0, int(0, LONG_MAX), Hidden, NoEffect;
    /// Port of the cluster's own bus.
    "cluster-port" => cluster_port: u16 = 0, int(0, 65_535), Immutable, NoEffect;
    /// Address other nodes use.
    "cluster-announce-ip" => cluster_announce_ip: String = text(""), ANY_TEXT, NoEffect;
    /// Host name clients use.
    "cluster-announce-hostname" => cluster_announce_hostname: String = text(""), Kind::Text(check_hostname), NoEffect;
    /// Name for people.
    "cluster-announce-human-nodename" => cluster_announce_human_nodename: String = text(""), Kind::Text(check_nodename), NoEffect;
    /// Port other nodes use.
    "cluster-announce-port" => cluster_announce_port: u16 = 0, int(0, 65_535), NoEffect;
    /// TLS port other nodes use.
    "cluster-announce-tls-port" => cluster_announce_tls_port: u16 = 0, int(0, 65_535), NoEffect;
    /// Bus port other nodes use.
    "cluster-announce-bus-port" => cluster_announce_bus_port: u16 = 0, int(0, 65_535), NoEffect;
    /// How nodes are named to clients.
    "cluster-preferred-endpoint-type" => cluster_preferred_endpoint_type: ClusterEndpointType = ClusterEndpointType::Ip, ClusterEndpointType::KIND, NoEffect;
    /// Whether a cluster with uncovered slots refuses queries.
    "cluster-require-full-coverage" => cluster_require_full_coverage: bool = true, Kind::Bool, NoEffect;
    /// Whether a cluster that is down allows reads.
    "cluster-allow-reads-when-down" => cluster_allow_reads_when_down: bool = false, Kind::Bool, NoEffect;
    /// Whether a cluster that is down allows sharded messages.
    "cluster-allow-pubsubshard-when-down" => cluster_allow_pubsubshard_when_down: bool = true, Kind::Bool, NoEffect;
    /// Whether replicas move to primaries that have none.
    "cluster-allow-replica-migration" => cluster_allow_replica_migration: bool = true, Kind::Bool, NoEffect;
    /// Replicas a primary keeps when one moves away.
    "cluster-migration-barrier" => cluster_migration_barrier: u32 = 1, int(0, INT_MAX), NoEffect;
    /// Whether a replica never takes over.
    "cluster-replica-no-failover" | "cluster-slave-no-failover" => cluster_replica_no_failover: bool = false, Kind::Bool, NoEffect;
    /// How old a replica's data may be for it to take over.
    "cluster-replica-validity-factor" | "cluster-slave-validity-factor" => cluster_replica_validity_factor: u32 = 10, int(0, INT_MAX), NoEffect;
    /// Bytes waiting for a node at which its link is given up; 0 for no limit.
    "cluster-link-sendbuf-limit" => cluster_link_sendbuf_limit: u64 = 0, memory(0, ULONG_MAX), NoEffect;

    // TLS. Setting any of these again, to the same value too, reads the files anew for connections to come.

    /// TLS port; 0 for none.
    "tls-port" => tls_port: u16 = 0, int(0, 65_535), Reapplied;
    /// Our certificate and those it rests on, as PEM.
    "tls-cert-file" => tls_cert_file: String = text(""), ANY_TEXT, Reapplied;
    /// Its key, as PEM.
    "tls-key-file" => tls_key_file: String = text(""), ANY_TEXT, Reapplied;
    /// The key's password, where it is encrypted (PKCS#8).
    "tls-key-file-pass" => tls_key_file_pass: String = text(""), ANY_TEXT, Sensitive, Reapplied;
    /// Certificate for outgoing connections.
    "tls-client-cert-file" => tls_client_cert_file: String = text(""), ANY_TEXT, NoEffect;
    /// Its key.
    "tls-client-key-file" => tls_client_key_file: String = text(""), ANY_TEXT, NoEffect;
    /// That key's password.
    "tls-client-key-file-pass" => tls_client_key_file_pass: String = text(""), ANY_TEXT, Sensitive, NoEffect;
    /// Parameters of the key exchange.
    "tls-dh-params-file" => tls_dh_params_file: String = text(""), ANY_TEXT, NoEffect;
    /// Authorities' certificates, in a file.
    "tls-ca-cert-file" => tls_ca_cert_file: String = text(""), ANY_TEXT, Reapplied;
    /// Authorities' certificates, in a directory.
    "tls-ca-cert-dir" => tls_ca_cert_dir: String = text(""), ANY_TEXT, Reapplied;
    /// Whether clients show certificates.
    "tls-auth-clients" => tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes, TlsAuthClients::KIND, Reapplied;
    /// Whether replication is encrypted.
    "tls-replication" => tls_replication: bool = false, Kind::Bool, NoEffect;
    /// Whether the cluster's bus is encrypted.
    "tls-cluster" => tls_cluster: bool = false, Kind::Bool, NoEffect;
    /// Versions of the protocol, as `TLSv1.2 TLSv1.3`; empty for both.
    "tls-protocols" => tls_protocols: String = text(""), ANY_TEXT, Reapplied;
    /// Ciphers up to TLS 1.2.
    "tls-ciphers" => tls_ciphers: String = text(""), ANY_TEXT, NoEffect;
    /// Ciphers of TLS 1.3.
    "tls-ciphersuites" => tls_ciphersuites: String = text(""), ANY_TEXT, NoEffect;
    /// Whether our order of ciphers goes before the client's.
    "tls-prefer-server-ciphers" => tls_prefer_server_ciphers: bool = false, Kind::Bool, NoEffect;
    /// Whether sessions are resumed.
    "tls-session-caching" => tls_session_caching: bool = true, Kind::Bool, NoEffect;
    /// Sessions remembered.
    "tls-session-cache-size" => tls_session_cache_size: u32 = 20 * 1024, int(0, INT_MAX), NoEffect;
    /// Seconds they are remembered.
    "tls-session-cache-timeout" => tls_session_cache_timeout: u32 = 300, int(0, INT_MAX), NoEffect;
}

/// Directives of older releases that are read and forgotten, each with one word.
pub(super) const FORGOTTEN: [&str; 3] =
    ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

const ANY_TEXT: Kind = Kind::Text(|_| Ok(()));

const _: () = assert!(GIB <= LONG_MAX); // The default of client-query-buffer-limit is in its range.

const fn int(min: i128, max: i128) -> Kind {
    Kind::Int { min, max }
}

const fn memory(min: i128, max: i128) -> Kind {
    Kind::Memory { min, max }
}

fn text(text: &str) -> String {
    text.into()
}

fn is_base_name(text: &str) -> bool {
    !text.contains(['/', '\\'])
}

fn check_dbfilename(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("dbfilename can't be empty"),
        _ if !is_base_name(text) => Err("dbfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

fn check_appendfilename(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("appendfilename can't be empty"),
        _ if !is_base_name(text) => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

fn check_appenddirname(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("appenddirname can't be empty"),
        _ if !is_base_name(text) => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

fn check_dir(text: &str) -> Result<(), &'static str> {
    if text.is_empty() { Err("dir can't be empty") } else { Ok(()) }
}

fn check_hostname(text: &str) -> Result<(), &'static str> {
    // RFC 1035 allows 253 characters; Redis's buffer takes 255 and its end mark.
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    Ok(())
}

fn check_nodename(text: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"!#$%&()*+:;<>?@[]^{|}~\"'/\\=,`".contains(&byte);
    if !text.bytes().all(is_plain) {
        return Err("Announced human node name contained invalid character");
    }
    Ok(())
}

fn check_title_template(text: &str) -> Result<(), &'static str> {
    const VARIABLES: [&str; 7] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        rest = match after.split_once('}') {
            Some((name, after)) if VARIABLES.contains(&name) => after,
            _ => return Err("template format is invalid or contains unknown variables"),
        };
    }
    Ok(())
}
