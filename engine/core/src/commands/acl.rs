//! Rows of ACL and its subcommands; `node/acl.rs` carries them out.

use super::{Command, NodeCommand, spec::flag};

const ANYBODY: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const ADMIN: u32 = ANYBODY | flag::ADMIN;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command::container("acl", ACL).doc(
    "server",
    "6.0.0",
    "A container for Access List Control commands.",
    "Depends on subcommand.",
)];

const ACL: &[Command] = &[
    Command::node("cat", -2, ANYBODY, NodeCommand::AclCat).doc(
        "server",
        "6.0.0",
        "Lists the ACL categories, or the commands inside a category.",
        "O(1) since the categories and commands are a fixed set.",
    ),
    Command::node("deluser", -3, ADMIN, NodeCommand::AclDelUser)
        .doc(
            "server",
            "6.0.0",
            "Deletes ACL users, and terminates their connections.",
            "O(1) amortized time considering the typical user.",
        )
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("dryrun", -4, ADMIN, NodeCommand::AclDryRun).doc(
        "server",
        "7.0.0",
        "Simulates the execution of a command by a user, without executing the command.",
        "O(1).",
    ),
    Command::node("genpass", -2, ANYBODY, NodeCommand::AclGenPass).doc(
        "server",
        "6.0.0",
        "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        "O(1)",
    ),
    Command::node("getuser", 3, ADMIN, NodeCommand::AclGetUser).doc(
        "server",
        "6.0.0",
        "Lists the ACL rules of a user.",
        "O(N). Where N is the number of password, command and pattern rules that the user has.",
    ),
    Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::AclHelp).doc(
        "server",
        "6.0.0",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
    Command::node("list", 2, ADMIN, NodeCommand::AclList).doc(
        "server",
        "6.0.0",
        "Dumps the effective rules in ACL file format.",
        "O(N). Where N is the number of configured users.",
    ),
    Command::node("load", 2, ADMIN, NodeCommand::AclLoad).doc(
        "server",
        "6.0.0",
        "Reloads the rules from the configured ACL file.",
        "O(N). Where N is the number of configured users.",
    ),
    Command::node("log", -2, ADMIN, NodeCommand::AclLog).doc(
        "server",
        "6.0.0",
        "Lists recent security events generated due to ACL rules.",
        "O(N) with N being the number of entries shown.",
    ),
    Command::node("save", 2, ADMIN, NodeCommand::AclSave)
        .doc(
            "server",
            "6.0.0",
            "Saves the effective ACL rules in the configured ACL file.",
            "O(N). Where N is the number of configured users.",
        )
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("setuser", -3, ADMIN | flag::SENSITIVE, NodeCommand::AclSetUser)
        .doc(
            "server",
            "6.0.0",
            "Creates and modifies an ACL user and its rules.",
            "O(N). Where N is the number of rules provided.",
        )
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("users", 2, ADMIN, NodeCommand::AclUsers).doc(
        "server",
        "6.0.0",
        "Lists all ACL users.",
        "O(N). Where N is the number of configured users.",
    ),
    Command::node("whoami", 2, ANYBODY, NodeCommand::AclWhoAmI).doc(
        "server",
        "6.0.0",
        "Returns the authenticated username of the current connection.",
        "O(1)",
    ),
];
