//! Rows of MULTI and its kin; `node/transaction.rs` carries them out.

use super::{
    Command, KeySpec, NodeCommand,
    spec::{acl, flag, key_flag},
};

const ANYTIME: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::node("discard", 1, ANYTIME | flag::FAST, NodeCommand::Discard).acl(acl::TRANSACTION).doc(
        "transactions",
        "2.0.0",
        "Discards a transaction.",
        "O(N), when N is the number of queued commands",
    ),
    Command::node(
        "exec",
        1,
        flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_SLOWLOG,
        NodeCommand::Exec,
    )
    .acl(acl::TRANSACTION)
    .doc(
        "transactions",
        "1.2.0",
        "Executes all commands in a transaction.",
        "Depends on commands in the transaction",
    ),
    Command::node("multi", 1, ANYTIME | flag::FAST, NodeCommand::Multi).acl(acl::TRANSACTION).doc(
        "transactions",
        "1.2.0",
        "Starts a transaction.",
        "O(1)",
    ),
    Command::node("unwatch", 1, ANYTIME | flag::FAST, NodeCommand::Unwatch).acl(acl::TRANSACTION).doc(
        "transactions",
        "2.2.0",
        "Forgets about watched keys of a transaction.",
        "O(1)",
    ),
    Command::node("watch", -2, ANYTIME | flag::FAST, NodeCommand::Watch)
        .keys(&[KeySpec::range(1, -1, 1, key_flag::RO)])
        .acl(acl::TRANSACTION)
        .doc(
            "transactions",
            "2.2.0",
            "Monitors changes to keys to determine the execution of a transaction.",
            "O(1) for every key",
        ),
];
