//! Rows of the commands about snapshots, the log and the end of the server; `node/persistence.rs` carries them out.

use super::{
    Command, NodeCommand,
    spec::{acl, flag},
};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::node("backup", 3, flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::NO_MULTI, NodeCommand::Backup).doc(
        "server",
        "7.2.0",
        "Copies the data files into a new directory, consistent, synced and verified (BACKUP TO directory).",
        "O(N) where N is the size of the data files, off the thread that serves",
    ),
    Command::node("bgrewriteaof", 1, flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT, NodeCommand::BgRewriteAof).doc(
        "server",
        "1.0.0",
        "Asynchronously rewrites the append-only file to disk.",
        "O(1)",
    ),
    Command::node("bgsave", -1, flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT, NodeCommand::BgSave).doc(
        "server",
        "1.0.0",
        "Asynchronously saves the database(s) to disk.",
        "O(1)",
    ),
    Command::node("lastsave", 1, flag::LOADING | flag::STALE | flag::FAST, NodeCommand::LastSave)
        .acl(acl::ADMIN | acl::DANGEROUS)
        .doc("server", "1.0.0", "Returns the Unix timestamp of the last successful save to disk.", "O(1)")
        .tips(&["nondeterministic_output"]),
    Command::node(
        "save",
        1,
        flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::NO_MULTI,
        NodeCommand::Save,
    )
    .doc("server", "1.0.0", "Synchronously saves the database(s) to disk.", "O(N) where N is the total number of keys in all databases"),
    Command::node(
        "shutdown",
        -1,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
        NodeCommand::Shutdown,
    )
    .doc(
        "server",
        "1.0.0",
        "Synchronously saves the database(s) to disk and shuts down the Redis server.",
        "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
    ),
    Command::node("wait", 3, 0, NodeCommand::Wait).acl(acl::CONNECTION).doc("generic", "3.0.0", "Waits until replicas have this connection's writes.", "O(1)").tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    Command::node("waitaof", 4, flag::NOSCRIPT, NodeCommand::WaitAof)
        .acl(acl::CONNECTION)
        .doc(
            "generic",
            "7.2.0",
            "Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the master and/or replicas.",
            "O(1)",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];
