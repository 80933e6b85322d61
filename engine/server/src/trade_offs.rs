//! What a directive buys and what it costs: the second line of its entry in `perdura.conf`.
//!
//! Exists because a default is a decision for somebody else's load: who changes it should know what goes up and what
//! goes down.
//!
//! Always true: each directive that does something has an entry here, and nothing else has (`reference.rs` looks).
//!
//! Not here: what a directive is (`perdura_core::config`), how entries are laid out (`reference.rs`).

/// What is gained and lost by another value than the default.
pub fn of(directive: &str) -> Option<&'static str> {
    TRADE_OFFS.iter().find(|(name, _)| *name == directive).map(|(_, text)| *text)
}

/// By the order of the configuration.
pub const TRADE_OFFS: &[(&str, &str)] = &[
    // Network.
    ("bind", "Fewer addresses, fewer strangers: 127.0.0.1 keeps other machines out for certain."),
    ("port", "0 leaves TLS or the unix socket as the only way in; nothing is sent in the clear then."),
    ("tcp-backlog", "More survives a rush of new connections; the kernel caps it at net.core.somaxconn."),
    (
        "tcp-keepalive",
        "Less notices dead clients sooner, for a few packets more; 0 keeps them until they write.",
    ),
    ("timeout", "Frees what forgotten clients hold, but ends pools that idle; subscribers are never ended."),
    (
        "unixsocket",
        "Quicker than TCP on one machine, with file permissions as a gate; a socket file to look after.",
    ),
    ("unixsocketperm", "700 lets one user in, 770 a group, 777 everybody on the machine."),
    ("protected-mode", "no serves the whole network without a password: only behind a firewall."),
    ("maxclients", "More needs as many file descriptors (ulimit -n) and up to their buffers in memory."),
    (
        "client-query-buffer-limit",
        "Less bounds what one client can hold; a large MSET or EXEC must still fit.",
    ),
    (
        "client-output-buffer-limit",
        "Tighter protects memory from slow readers, who are cut off and lose messages.",
    ),
    (
        "proto-max-bulk-len",
        "Less bounds one value and one request; values that were larger can no longer be sent.",
    ),
    // The process and its log.
    (
        "daemonize",
        "yes leaves the shell, and whoever supervises, without its child: no under systemd and containers.",
    ),
    (
        "supervised",
        "Without it the unit counts as up before the data are loaded, and a hanging loop goes unseen.",
    ),
    ("pidfile", "For scripts that send signals; a supervisor needs none."),
    (
        "loglevel",
        "debug and verbose cost throughput and disk; warning hides when snapshots and rewrites ran.",
    ),
    ("logfile", "A file is yours to rotate; the standard output goes where the supervisor wants it."),
    ("log-format", "json is for collectors; redis is for eyes, and for tools that know Redis."),
    ("crash-log-enabled", "no leaves the signal to a core dump alone: nothing says where it happened."),
    (
        "disable-thp",
        "no may be quicker to read, but each page touched during a snapshot copies 2 MB instead of 4 kB.",
    ),
    (
        "oom-score-adj",
        "yes lets the kernel take the snapshot child before the server; lowering scores needs rights.",
    ),
    ("oom-score-adj-values", "The higher, the earlier the kernel kills it; below 0 needs rights."),
    ("server_cpulist", "Steadier latency where a core is its own; worse where others run there too."),
    ("bio_cpulist", "Keeps syncs off the server's core; too few make the disk seem slow."),
    ("bgsave_cpulist", "Keeps a snapshot off the server's core; it takes longer on a shared one."),
    (
        "io-uring",
        "Fewer system calls where the kernel has it; no where a sandbox forbids it or a fault is suspected.",
    ),
    (
        "io-threads",
        "More take the sockets off the engine's thread where cores are idle; on few cores they take its time.",
    ),
    ("hz", "More expires and notices sooner, for processor time while idle."),
    (
        "shutdown-on-sigint",
        "nosave ends at once and drops what no log holds; save keeps it and takes its time.",
    ),
    (
        "shutdown-on-sigterm",
        "nosave ends at once and drops what no log holds; save keeps it and takes its time.",
    ),
    // Security.
    ("requirepass", "Stops strangers; everybody shares it. Users (ACL) tell who may do what."),
    (
        "aclfile",
        "Users outlive a restart by ACL SAVE; `user` lines of the configuration are not allowed then.",
    ),
    ("acllog-max-len", "More remembers longer who was refused, in memory."),
    ("acl-pubsub-default", "allchannels is what Redis 6 did; a new user then hears everything."),
    ("enable-protected-configs", "yes lets whoever may CONFIG SET write files anywhere this user may."),
    ("enable-debug-command", "yes lets whoever may DEBUG crash or stall the server."),
    // Memory.
    (
        "databases",
        "More keeps data sets apart by number; FLUSHALL, maxmemory and the log are still one for all.",
    ),
    (
        "maxmemory",
        "Without it the kernel ends the process when memory is gone; leave room for copies during a snapshot.",
    ),
    (
        "maxmemory-policy",
        "allkeys-* makes a cache that forgets; noeviction refuses writes and keeps everything.",
    ),
    (
        "maxmemory-samples",
        "10 is close to true LRU, for processor time at each eviction; 3 is quicker and rougher.",
    ),
    (
        "maxmemory-clients",
        "Bounds what all slow readers hold together; the largest are cut off first, whoever they are.",
    ),
    ("lfu-log-factor", "More tells hot keys from very hot ones; new keys need more hits to stay."),
    ("lfu-decay-time", "Less forgets yesterday's hot keys sooner; 0 forgets at each look."),
    ("active-expire-effort", "More frees expired keys sooner, for processor time and latency."),
    (
        "lazyfree-lazy-eviction",
        "yes frees big values without a pause, but the memory comes back later than the limit wants it.",
    ),
    ("lazyfree-lazy-expire", "yes frees big values without a pause; their memory comes back later."),
    (
        "lazyfree-lazy-server-del",
        "yes overwrites big values without a pause; old and new are in memory together for a while.",
    ),
    ("lazyfree-lazy-user-del", "yes makes DEL quick whatever it deletes; the memory comes back later."),
    // Encodings.
    (
        "hash-max-listpack-entries",
        "More saves memory on middling hashes; each access reads through all of it.",
    ),
    ("hash-max-listpack-value", "More saves memory on middling hashes; each access reads through all of it."),
    ("list-max-listpack-size", "Larger nodes save memory; inserting in the middle moves more bytes."),
    ("set-max-intset-entries", "More saves memory on sets of numbers; adding moves more bytes."),
    ("set-max-listpack-entries", "More saves memory on middling sets; each access reads through all of it."),
    ("set-max-listpack-value", "More saves memory on middling sets; each access reads through all of it."),
    (
        "zset-max-listpack-entries",
        "More saves memory on middling sorted sets; each access reads through all of it.",
    ),
    (
        "zset-max-listpack-value",
        "More saves memory on middling sorted sets; each access reads through all of it.",
    ),
    (
        "hll-sparse-max-bytes",
        "More saves memory on small counts; PFADD takes longer on them. Above 16000 nothing is gained.",
    ),
    ("stream-node-max-bytes", "Larger nodes save memory; reading one entry decodes more."),
    ("stream-node-max-entries", "Larger nodes save memory; reading one entry decodes more."),
    // Snapshots.
    (
        "save",
        "Oftener loses less without a log, and forks oftener: memory and disk. \"\" leaves all to the log.",
    ),
    (
        "stop-writes-on-bgsave-error",
        "no goes on unnoticed while nothing can be saved; watch rdb_last_bgsave_status then.",
    ),
    ("rdbcompression", "no makes snapshots quicker and larger."),
    ("rdbchecksum", "no saves a few percent of time and lets decay pass unseen."),
    ("rdb-version", "10 loads in older servers, of Redis 7.0 and Debian 12; newer ones load all of them."),
    ("dbfilename", "Two servers in one directory need two names; better, two directories."),
    ("dir", "All that is durable lies here: a local file system with honest syncs."),
    // The append-only file.
    (
        "appendonly",
        "yes bounds what a crash takes to appendfsync's promise, for disk and a write(2) per turn.",
    ),
    ("appendfilename", "Must stay what it is where files exist: others are not looked for."),
    ("appenddirname", "Must stay what it is where files exist: others are not looked for."),
    (
        "appendfsync",
        "always loses nothing that was answered, at a sync per turn; everysec up to a second; no what the kernel holds.",
    ),
    (
        "appendfsync-max-lag",
        "Less keeps the promise of everysec tighter; a disk that stalls stops writes sooner.",
    ),
    (
        "appendfsync-lag-action",
        "wait keeps clients waiting, refuse tells them: choose what your clients bear better.",
    ),
    (
        "no-appendfsync-on-rewrite",
        "yes spares a slow disk; a power loss then may take all since the child began (not under always).",
    ),
    ("auto-aof-rewrite-percentage", "Less keeps the log short and starts quick; rewrites come oftener."),
    (
        "auto-aof-rewrite-min-size",
        "Less rewrites small logs for little gain; more leaves them longer to replay.",
    ),
    (
        "aof-load-truncated",
        "no refuses to start after a torn write, which a power loss may well leave: somebody must look.",
    ),
    ("aof-use-rdb-preamble", "no makes a base that eyes can read, several times as large and slow to load."),
    (
        "aof-checksum",
        "no saves about 25 bytes a batch, and a start cannot tell a torn end from decay. Takes effect at a start.",
    ),
    ("aof-timestamp-enabled", "yes lets a restore go by the clock, for a line a second."),
    ("aof-archive-dir", "Restores reach back across rewrites, for the disk that superseded files take."),
    ("aof-archive-max-age", "Longer reaches further back, for disk."),
    ("aof-archive-max-bytes", "More reaches further back, for disk."),
    // The disk.
    ("disk-soft-limit", "Higher rewrites earlier and oftener; too high rewrites for nothing."),
    (
        "disk-hard-limit",
        "At least the data set's size on disk leaves the rewrite its room; writes stop that much earlier.",
    ),
    // Watching.
    ("metrics-port", "Figures without an exporter; a few hundred bytes copied ten times a second."),
    (
        "metrics-bind",
        "An address of the network lets every machine there read figures: no keys and no values.",
    ),
    ("slowlog-log-slower-than", "Less sees more and costs a copy of each such command; 0 logs all."),
    ("slowlog-max-len", "More remembers longer, in memory."),
    ("latency-monitor-threshold", "Less sees more spikes; 0 costs nothing and sees none."),
    ("latency-tracking", "no saves a little time per command, and LATENCY HISTOGRAM stays empty."),
    ("latency-tracking-info-percentiles", "More makes INFO latencystats longer, nothing else."),
    ("notify-keyspace-events", "Each class published costs at every such change, with or without listeners."),
    // Clients that cache, scripts, replicas.
    ("tracking-table-max-keys", "More spares caching clients needless invalidations, for memory here."),
    ("busy-reply-threshold", "Less tells others sooner that a script runs, and when it may be killed."),
    (
        "min-replicas-to-write",
        "For files written for Redis: no replica follows this server, so 1 makes it read-only.",
    ),
    ("min-replicas-max-lag", "0 switches min-replicas-to-write off."),
    // TLS.
    (
        "tls-port",
        "Nobody reads or changes what is sent; each connection costs a handshake, each byte a cipher.",
    ),
    ("tls-cert-file", "Set it again, to the same path too, and new connections get the renewed one."),
    ("tls-key-file", "Readable for this server alone (0600); under a password it needs tls-key-file-pass."),
    (
        "tls-key-file-pass",
        "The key is safe in a backup, the password stands here: protect this file instead.",
    ),
    ("tls-ca-cert-file", "Whoever these authorities sign for gets in: your own, not the public ones."),
    ("tls-ca-cert-dir", "Every file in it counts, also one left there by mistake."),
    (
        "tls-auth-clients",
        "no leaves the password as the only proof of who a client is; yes needs certificates for all.",
    ),
    ("tls-protocols", "TLSv1.3 alone turns old clients away; 1.2 is offered with forward secrecy only."),
];
