//! Rows of the commands about a cluster: they exist, so that clients learn that there is none.
//!
//! Each answers as Redis does with cluster support off; `node/server.rs` does it.

use super::{
    Command, NodeCommand,
    spec::{acl, flag},
};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::container("cluster", &[
        Command::node("addslots", -3, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Gives slots to a node.", "O(N) where N is the total number of hash slot arguments"),
        Command::node("addslotsrange", -4, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "7.0.0", "Gives ranges of slots to a node.", "O(N) where N is the total number of the slots between the start slot and end slot arguments."),
        Command::node("bumpepoch", 2, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Advances the configuration epoch.", "O(1)").tips(&["nondeterministic_output"]),
        Command::node("count-failure-reports", 3, flag::ADMIN | flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "How many nodes report one as failed.", "O(N) where N is the number of failure reports").tips(&["nondeterministic_output"]),
        Command::node("countkeysinslot", 3, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "How many keys a slot has.", "O(1)"),
        Command::node("delslots", -3, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Takes slots from a node.", "O(N) where N is the total number of hash slot arguments"),
        Command::node("delslotsrange", -4, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "7.0.0", "Takes ranges of slots from a node.", "O(N) where N is the total number of the slots between the start slot and end slot arguments."),
        Command::node("failover", -2, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Makes a replica take over.", "O(1)"),
        Command::node("flushslots", 2, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Takes all slots from a node.", "O(1)"),
        Command::node("forget", 3, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Removes a node.", "O(1)"),
        Command::node("getkeysinslot", 4, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "Keys of a slot.", "O(log(N)) where N is the number of requested keys").tips(&["nondeterministic_output"]),
        Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::Cluster).doc("cluster", "5.0.0", "What CLUSTER can do.", "O(1)"),
        Command::node("info", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "State of the cluster.", "O(1)").tips(&["nondeterministic_output"]),
        Command::node("keyslot", 3, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "The slot of a key.", "O(N) where N is the number of bytes in the key"),
        Command::node("links", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "7.0.0", "Links between nodes.", "O(N) where N is the total number of Cluster nodes").tips(&["nondeterministic_output"]),
        Command::node("meet", -4, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Joins two nodes.", "O(1)"),
        Command::node("myid", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "Id of this node.", "O(1)"),
        Command::node("myshardid", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "7.2.0", "Id of this node's shard.", "O(1)"),
        Command::node("nodes", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "All nodes.", "O(N) where N is the total number of Cluster nodes").tips(&["nondeterministic_output"]),
        Command::node("replicas", 3, flag::ADMIN | flag::STALE, NodeCommand::Cluster).doc("cluster", "5.0.0", "Replicas of a node.", "O(1)").tips(&["nondeterministic_output"]),
        Command::node("replicate", 3, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Makes this node a replica.", "O(1)"),
        Command::node("reset", -2, flag::ADMIN | flag::NOSCRIPT | flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "Leaves the cluster.", "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect."),
        Command::node("saveconfig", 2, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Writes the cluster's configuration file.", "O(1)"),
        Command::node("set-config-epoch", 3, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Sets the configuration epoch.", "O(1)"),
        Command::node("setslot", -4, flag::ADMIN | flag::STALE | flag::NO_ASYNC_LOADING, NodeCommand::Cluster).doc("cluster", "3.0.0", "Assigns a slot.", "O(1)"),
        Command::node("shards", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "7.0.0", "Slots by shard.", "O(N) where N is the total number of cluster nodes").tips(&["nondeterministic_output"]),
        Command::node("slaves", 3, flag::ADMIN | flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "Replicas of a node.", "O(1)").tips(&["nondeterministic_output"]),
        Command::node("slots", 2, flag::STALE, NodeCommand::Cluster).doc("cluster", "3.0.0", "Slots by node.", "O(N) where N is the total number of Cluster nodes").tips(&["nondeterministic_output"]),
    ]).doc("cluster", "3.0.0", "Commands about a cluster, which this server is never part of.", "Depends on subcommand."),
    Command::node("readonly", 1, flag::LOADING | flag::STALE | flag::FAST, NodeCommand::ReadOnly).acl(acl::CONNECTION).doc("cluster", "3.0.0", "Allows reads on a cluster's replica.", "O(1)"),
    Command::node("readwrite", 1, flag::LOADING | flag::STALE | flag::FAST, NodeCommand::ReadWrite).acl(acl::CONNECTION).doc("cluster", "3.0.0", "Takes READONLY back.", "O(1)"),
    Command::node("asking", 1, flag::FAST, NodeCommand::Asking).acl(acl::CONNECTION).doc("cluster", "3.0.0", "Announces a query about a slot on its way.", "O(1)"),
];
