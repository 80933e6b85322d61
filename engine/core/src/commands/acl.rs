//! Rows of ACL and its subcommands; `node/acl.rs` carries them out.

use super::{Command, NodeCommand, spec::flag};

const ANYBODY: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const ADMIN: u32 = ANYBODY | flag::ADMIN;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command::container("acl", ACL).doc(
    "server",
    "6.0.0",
    "Users and what they may do.",
    "Depends on subcommand.",
)];

const ACL: &[Command] = &[
    Command::node("cat", -2, ANYBODY, NodeCommand::AclCat).doc(
        "server",
        "6.0.0",
        "Categories of commands, or the commands of one.",
        "O(1)",
    ),
    Command::node("deluser", -3, ADMIN, NodeCommand::AclDelUser)
        .doc("server", "6.0.0", "Removes users and ends their connections.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("dryrun", -4, ADMIN, NodeCommand::AclDryRun).doc(
        "server",
        "7.0.0",
        "Whether a user may run a command.",
        "O(1).",
    ),
    Command::node("genpass", -2, ANYBODY, NodeCommand::AclGenPass).doc(
        "server",
        "6.0.0",
        "A random password.",
        "O(1)",
    ),
    Command::node("getuser", 3, ADMIN, NodeCommand::AclGetUser).doc(
        "server",
        "6.0.0",
        "All about a user.",
        "O(N) where N is the number of the user's rules",
    ),
    Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::AclHelp).doc(
        "server",
        "6.0.0",
        "What ACL can do.",
        "O(1)",
    ),
    Command::node("list", 2, ADMIN, NodeCommand::AclList).doc(
        "server",
        "6.0.0",
        "Users with their rules, as in a file.",
        "O(N) where N is the number of users",
    ),
    Command::node("load", 2, ADMIN, NodeCommand::AclLoad).doc(
        "server",
        "6.0.0",
        "Takes the users from the ACL file.",
        "O(N) where N is the number of users",
    ),
    Command::node("log", -2, ADMIN, NodeCommand::AclLog).doc(
        "server",
        "6.0.0",
        "What was denied lately.",
        "O(N) where N is the number of entries shown",
    ),
    Command::node("save", 2, ADMIN, NodeCommand::AclSave)
        .doc("server", "6.0.0", "Writes the users to the ACL file.", "O(N) where N is the number of users")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("setuser", -3, ADMIN | flag::SENSITIVE, NodeCommand::AclSetUser)
        .doc("server", "6.0.0", "Makes or changes a user.", "O(N) where N is the number of rules")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("users", 2, ADMIN, NodeCommand::AclUsers).doc(
        "server",
        "6.0.0",
        "Names of all users.",
        "O(N) where N is the number of users",
    ),
    Command::node("whoami", 2, ANYBODY, NodeCommand::AclWhoAmI).doc(
        "server",
        "6.0.0",
        "The user of this connection.",
        "O(1)",
    ),
];
