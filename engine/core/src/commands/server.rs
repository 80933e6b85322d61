//! Rows of the commands about the server; `node/` carries them out.

use super::{
    Command, NodeCommand,
    spec::{acl, flag},
};

const CONFIG: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::container(
        "config",
        &[
            Command::node("get", -3, CONFIG, NodeCommand::ConfigGet).doc(
                "server",
                "2.0.0",
                "Returns the effective values of configuration parameters.",
                "O(N) when N is the number of configuration parameters provided",
            ),
            Command::node("set", -4, CONFIG, NodeCommand::ConfigSet).doc(
                "server",
                "2.0.0",
                "Sets configuration parameters in-flight.",
                "O(N) when N is the number of configuration parameters provided",
            ),
        ],
    )
    .doc("server", "2.0.0", "A container for server configuration commands.", "Depends on subcommand."),
    Command::node("dbsize", 1, flag::READONLY | flag::FAST, NodeCommand::DbSize)
        .acl(acl::KEYSPACE)
        .doc("server", "1.0.0", "Returns the number of keys in the database.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Command::node("flushall", -1, flag::WRITE, NodeCommand::FlushAll)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "server",
            "1.0.0",
            "Removes all keys from all databases.",
            "O(N) where N is the total number of keys in all databases",
        )
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::node("flushdb", -1, flag::WRITE, NodeCommand::FlushDb)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "server",
            "1.0.0",
            "Removes all keys from the current database.",
            "O(N) where N is the number of keys in the selected database",
        )
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::node("info", -1, flag::LOADING | flag::STALE, NodeCommand::Info)
        .acl(acl::DANGEROUS)
        .doc("server", "1.0.0", "Returns information and statistics about the server.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Command::node("swapdb", 3, flag::WRITE | flag::FAST, NodeCommand::SwapDb)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "server",
            "4.0.0",
            "Swaps two Redis databases.",
            "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        ),
];
