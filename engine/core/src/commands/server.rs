//! Rows of the commands about the server; `node/` carries them out.

use super::{
    Command, NodeCommand,
    spec::{KeySpec, acl, flag, key_flag},
};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::node("command", -1, flag::LOADING | flag::STALE, NodeCommand::Command)
        .acl(acl::CONNECTION)
        .doc(
            "server",
            "2.8.13",
            "Details of all commands.",
            "O(N) where N is the total number of Redis commands",
        )
        .tips(&["nondeterministic_output_order"])
        .with_subcommands(&[
            Command::node("count", 2, flag::LOADING | flag::STALE, NodeCommand::CommandCount)
                .acl(acl::CONNECTION)
                .doc("server", "2.8.13", "How many commands there are.", "O(1)"),
            Command::node("docs", -2, flag::LOADING | flag::STALE, NodeCommand::CommandDocs)
                .acl(acl::CONNECTION)
                .doc(
                    "server",
                    "7.0.0",
                    "Documentation of commands.",
                    "O(N) where N is the number of commands to look up",
                )
                .tips(&["nondeterministic_output_order"]),
            Command::node("getkeys", -4, flag::LOADING | flag::STALE, NodeCommand::CommandGetKeys)
                .acl(acl::CONNECTION)
                .doc(
                    "server",
                    "2.8.13",
                    "The keys of a command line.",
                    "O(N) where N is the number of arguments to the command",
                ),
            Command::node(
                "getkeysandflags",
                -4,
                flag::LOADING | flag::STALE,
                NodeCommand::CommandGetKeysAndFlags,
            )
            .acl(acl::CONNECTION)
            .doc(
                "server",
                "7.0.0",
                "The keys of a command line and what happens to them.",
                "O(N) where N is the number of arguments to the command",
            ),
            Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::CommandHelp)
                .acl(acl::CONNECTION)
                .doc("server", "5.0.0", "What COMMAND can do.", "O(1)"),
            Command::node("info", -2, flag::LOADING | flag::STALE, NodeCommand::CommandInfo)
                .acl(acl::CONNECTION)
                .doc(
                    "server",
                    "2.8.13",
                    "Details of commands.",
                    "O(N) where N is the number of commands to look up",
                )
                .tips(&["nondeterministic_output_order"]),
            Command::node("list", -2, flag::LOADING | flag::STALE, NodeCommand::CommandList)
                .acl(acl::CONNECTION)
                .doc(
                    "server",
                    "7.0.0",
                    "Names of commands.",
                    "O(N) where N is the total number of Redis commands",
                )
                .tips(&["nondeterministic_output_order"]),
        ]),
    Command::container(
        "config",
        &[
            Command::node(
                "get",
                -3,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::ConfigGet,
            )
            .doc(
                "server",
                "2.0.0",
                "Settings and their values.",
                "O(N) when N is the number of configuration parameters provided",
            ),
            Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::ConfigHelp).doc(
                "server",
                "5.0.0",
                "What CONFIG can do.",
                "O(1)",
            ),
            Command::node(
                "resetstat",
                2,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::ConfigResetStat,
            )
            .doc("server", "2.0.0", "Begins the counts of INFO anew.", "O(1)"),
            Command::node(
                "rewrite",
                2,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::ConfigRewrite,
            )
            .doc(
                "server",
                "2.8.0",
                "Writes the present settings to the configuration file.",
                "O(1)",
            ),
            Command::node(
                "set",
                -4,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SENSITIVE,
                NodeCommand::ConfigSet,
            )
            .doc(
                "server",
                "2.0.0",
                "Changes settings.",
                "O(N) when N is the number of configuration parameters provided",
            )
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ],
    )
    .doc("server", "2.0.0", "Commands about settings.", "Depends on subcommand."),
    Command::node(
        "debug",
        -2,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::Debug,
    )
    .doc("server", "1.0.0", "Aids for testing.", "Depends on subcommand."),
    Command::node("failover", -1, flag::ADMIN | flag::NOSCRIPT | flag::STALE, NodeCommand::Failover).doc(
        "server",
        "6.2.0",
        "Hands over to a replica.",
        "O(1)",
    ),
    Command::container(
        "latency",
        &[
            Command::node(
                "doctor",
                2,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::LatencyDoctor,
            )
            .doc("server", "2.8.13", "What the latencies suggest, in words.", "O(1)")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
            Command::node(
                "graph",
                3,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::LatencyGraph,
            )
            .doc("server", "2.8.13", "Latencies of an event as a drawing.", "O(1)")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
            Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::LatencyHelp).doc(
                "server",
                "2.8.13",
                "What LATENCY can do.",
                "O(1)",
            ),
            Command::node(
                "histogram",
                -2,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::LatencyHistogram,
            )
            .doc(
                "server",
                "7.0.0",
                "Distribution of commands' durations.",
                "O(N) where N is the number of commands with latency information being retrieved.",
            )
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
            Command::node(
                "history",
                3,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::LatencyHistory,
            )
            .doc("server", "2.8.13", "Latencies of an event.", "O(1)")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
            Command::node(
                "latest",
                2,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::LatencyLatest,
            )
            .doc("server", "2.8.13", "The latest latency of each event.", "O(1)")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
            Command::node(
                "reset",
                -2,
                flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
                NodeCommand::LatencyReset,
            )
            .doc("server", "2.8.13", "Forgets latencies.", "O(1)")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ],
    )
    .doc("server", "2.8.13", "Commands about what took long.", "Depends on subcommand."),
    Command::node("lolwut", -1, flag::READONLY | flag::FAST, NodeCommand::Lolwut).doc(
        "server",
        "5.0.0",
        "The version, and something to look at.",
        "Depends on the subcommand.",
    ),
    Command::container(
        "memory",
        &[
            Command::node("doctor", 2, 0, NodeCommand::MemoryDoctor)
                .doc("server", "4.0.0", "What the use of memory suggests, in words.", "O(1)")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
            Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::MemoryHelp).doc(
                "server",
                "4.0.0",
                "What MEMORY can do.",
                "O(1)",
            ),
            Command::node("malloc-stats", 2, 0, NodeCommand::MemoryMallocStats)
                .doc(
                    "server",
                    "4.0.0",
                    "What the allocator says of itself.",
                    "Depends on how much memory is allocated, could be slow",
                )
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
            Command::node("purge", 2, 0, NodeCommand::MemoryPurge)
                .doc(
                    "server",
                    "4.0.0",
                    "Asks the allocator to give memory back.",
                    "Depends on how much memory is allocated, could be slow",
                )
                .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
            Command::node("stats", 2, 0, NodeCommand::MemoryStats)
                .doc("server", "4.0.0", "Where memory goes.", "O(1)")
                .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
            Command::node("usage", -3, flag::READONLY, NodeCommand::MemoryUsage)
                .keys(&[KeySpec::one(2, key_flag::RO)])
                .doc("server", "4.0.0", "Memory of a key.", "O(N) where N is the number of samples."),
        ],
    )
    .doc("server", "4.0.0", "Commands about memory.", "Depends on subcommand."),
    Command::container(
        "module",
        &[
            Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::ModuleHelp).doc(
                "server",
                "5.0.0",
                "What MODULE can do.",
                "O(1)",
            ),
            Command::node("list", 2, flag::ADMIN | flag::NOSCRIPT, NodeCommand::ModuleList)
                .doc("server", "4.0.0", "Loaded modules.", "O(N) where N is the number of loaded modules.")
                .tips(&["nondeterministic_output_order"]),
            Command::node(
                "load",
                -3,
                flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
                NodeCommand::ModuleLoad,
            )
            .doc("server", "4.0.0", "Loads a module.", "O(1)"),
            Command::node(
                "loadex",
                -3,
                flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
                NodeCommand::ModuleLoadEx,
            )
            .doc("server", "7.0.0", "Loads a module with settings.", "O(1)"),
            Command::node(
                "unload",
                3,
                flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
                NodeCommand::ModuleUnload,
            )
            .doc("server", "4.0.0", "Unloads a module.", "O(1)"),
        ],
    )
    .doc("server", "4.0.0", "Commands about modules, of which there are none.", "Depends on subcommand."),
    Command::node(
        "monitor",
        1,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::Monitor,
    )
    .doc("server", "1.0.0", "Shows every command as it is run.", "Depends on the subcommand."),
    Command::node(
        "psync",
        -3,
        flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI,
        NodeCommand::PSync,
    )
    .doc("server", "2.8.0", "Asks for a copy of the data and its changes.", "Depends on the subcommand."),
    Command::node(
        "replconf",
        -1,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
        NodeCommand::ReplConf,
    )
    .doc("server", "3.0.0", "Words between a primary and its replica.", "O(1)"),
    Command::node(
        "replicaof",
        3,
        flag::ADMIN | flag::NOSCRIPT | flag::STALE | flag::NO_ASYNC_LOADING,
        NodeCommand::ReplicaOf,
    )
    .doc("server", "5.0.0", "Follows a primary, or none.", "O(1)"),
    Command::node(
        "slaveof",
        3,
        flag::ADMIN | flag::NOSCRIPT | flag::STALE | flag::NO_ASYNC_LOADING,
        NodeCommand::ReplicaOf,
    )
    .doc("server", "1.0.0", "Follows a primary, or none.", "O(1)")
    .deprecated("5.0.0", "`REPLICAOF`"),
    Command::node("role", 1, flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST, NodeCommand::Role)
        .acl(acl::ADMIN | acl::DANGEROUS)
        .doc("server", "2.8.12", "The role in replication.", "O(1)"),
    Command::container(
        "slowlog",
        &[
            Command::node("get", -2, flag::ADMIN | flag::LOADING | flag::STALE, NodeCommand::SlowlogGet)
                .doc(
                    "server",
                    "2.2.12",
                    "The latest slow commands.",
                    "O(N) where N is the number of entries returned",
                )
                .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
            Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::SlowlogHelp).doc(
                "server",
                "6.2.0",
                "What SLOWLOG can do.",
                "O(1)",
            ),
            Command::node("len", 2, flag::ADMIN | flag::LOADING | flag::STALE, NodeCommand::SlowlogLen)
                .doc("server", "2.2.12", "How many slow commands are remembered.", "O(1)")
                .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
            Command::node("reset", 2, flag::ADMIN | flag::LOADING | flag::STALE, NodeCommand::SlowlogReset)
                .doc(
                    "server",
                    "2.2.12",
                    "Forgets slow commands.",
                    "O(N) where N is the number of entries in the slowlog",
                )
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ],
    )
    .doc("server", "2.2.12", "Commands about slow commands.", "Depends on subcommand."),
    Command::node(
        "sync",
        1,
        flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI,
        NodeCommand::Sync,
    )
    .doc("server", "1.0.0", "Asks for a copy of the data and its changes.", "Depends on the subcommand."),
    Command::node("time", 1, flag::LOADING | flag::STALE | flag::FAST, NodeCommand::Time)
        .doc("server", "2.6.0", "The time.", "O(1)")
        .tips(&["nondeterministic_output"]),
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
