//! Rows of scripts and functions; `node/script.rs` and `node/function.rs` carry them out.

use super::{
    Command, KeySpec, NodeCommand,
    spec::{acl, flag, key_flag},
};

const RUNNING: u32 = flag::NOSCRIPT | flag::SKIP_MONITOR | flag::NO_MANDATORY_KEYS | flag::STALE;
const RUNNING_WRITES: u32 = RUNNING | flag::MAY_REPLICATE;
const RUNNING_READS: u32 = RUNNING | flag::READONLY;
const CHANGING: u32 = flag::NOSCRIPT | flag::WRITE;
const HELPING: u32 = flag::LOADING | flag::STALE;

/// What a script will do with its keys cannot be said: the worst is assumed.
const KEYS_WRITTEN: &[KeySpec] = &[KeySpec::counted(2, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)];
const KEYS_READ: &[KeySpec] = &[KeySpec::counted(2, key_flag::RO | key_flag::ACCESS)];

const BY_SCRIPT: &str = "Depends on the script that is executed.";
const BY_FUNCTION: &str = "Depends on the function that is executed.";
const BY_FUNCTION_COUNT: &str = "O(N) where N is the number of functions";

const ON_ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const ON_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const ON_ONE: &[&str] = &["request_policy:all_shards", "response_policy:one_succeeded"];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::node("eval", -3, RUNNING_WRITES, NodeCommand::Eval).keys(KEYS_WRITTEN).acl(acl::SCRIPTING).doc(
        "scripting",
        "2.6.0",
        "Runs a script.",
        BY_SCRIPT,
    ),
    Command::node("evalsha", -3, RUNNING_WRITES, NodeCommand::EvalSha)
        .keys(KEYS_WRITTEN)
        .acl(acl::SCRIPTING)
        .doc("scripting", "2.6.0", "Runs a script that is known by its digest.", BY_SCRIPT),
    Command::node("evalsha_ro", -3, RUNNING_READS, NodeCommand::EvalShaRo)
        .keys(KEYS_READ)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Runs a script that is known by its digest and may only read.", BY_SCRIPT),
    Command::node("eval_ro", -3, RUNNING_READS, NodeCommand::EvalRo).keys(KEYS_READ).acl(acl::SCRIPTING).doc(
        "scripting",
        "7.0.0",
        "Runs a script that may only read.",
        BY_SCRIPT,
    ),
    Command::node("fcall", -3, RUNNING_WRITES, NodeCommand::FCall)
        .keys(KEYS_WRITTEN)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Calls a function.", BY_FUNCTION),
    Command::node("fcall_ro", -3, RUNNING_READS, NodeCommand::FCallRo)
        .keys(KEYS_READ)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Calls a function that may only read.", BY_FUNCTION),
    Command::container("function", FUNCTION).doc(
        "scripting",
        "7.0.0",
        "Libraries of functions.",
        "Depends on subcommand.",
    ),
    Command::container("script", SCRIPT).doc(
        "scripting",
        "2.6.0",
        "Scripts that are known by their digest.",
        "Depends on subcommand.",
    ),
];

const FUNCTION: &[Command] = &[
    Command::node("delete", 3, CHANGING, NodeCommand::FunctionDelete)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Removes a library with its functions.", "O(1)")
        .tips(ON_ALL_SHARDS),
    Command::node("dump", 2, flag::NOSCRIPT, NodeCommand::FunctionDump).acl(acl::SCRIPTING).doc(
        "scripting",
        "7.0.0",
        "All libraries as one payload.",
        BY_FUNCTION_COUNT,
    ),
    Command::node("flush", -2, CHANGING, NodeCommand::FunctionFlush)
        .acl(acl::SCRIPTING)
        .doc(
            "scripting",
            "7.0.0",
            "Removes all libraries.",
            "O(N) where N is the number of functions removed",
        )
        .tips(ON_ALL_SHARDS),
    Command::node("help", 2, HELPING, NodeCommand::FunctionHelp).acl(acl::SCRIPTING).doc(
        "scripting",
        "7.0.0",
        "What FUNCTION can do.",
        "O(1)",
    ),
    Command::node("kill", 2, flag::NOSCRIPT | flag::ALLOW_BUSY, NodeCommand::FunctionKill)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Ends the function that runs.", "O(1)")
        .tips(ON_ONE),
    Command::node("list", -2, flag::NOSCRIPT, NodeCommand::FunctionList)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Libraries with their functions.", BY_FUNCTION_COUNT)
        .tips(&["nondeterministic_output_order"]),
    Command::node("load", -3, CHANGING | flag::DENYOOM, NodeCommand::FunctionLoad)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Makes a library.", "O(1) (besides compiling it)")
        .tips(ON_ALL_SHARDS),
    Command::node("restore", -3, CHANGING | flag::DENYOOM, NodeCommand::FunctionRestore)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "Makes all libraries of a payload.", BY_FUNCTION_COUNT)
        .tips(ON_ALL_SHARDS),
    Command::node("stats", 2, flag::NOSCRIPT | flag::ALLOW_BUSY, NodeCommand::FunctionStats)
        .acl(acl::SCRIPTING)
        .doc("scripting", "7.0.0", "The function that runs, and how many there are.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
];

const SCRIPT: &[Command] = &[
    Command::node("debug", 3, flag::NOSCRIPT, NodeCommand::ScriptDebug).acl(acl::SCRIPTING).doc(
        "scripting",
        "3.2.0",
        "Whether scripts are run in a debugger.",
        "O(1)",
    ),
    Command::node("exists", -3, flag::NOSCRIPT, NodeCommand::ScriptExists)
        .acl(acl::SCRIPTING)
        .doc(
            "scripting",
            "2.6.0",
            "Which scripts are known.",
            "O(N) with N being the number of scripts asked for.",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
    Command::node("flush", -2, flag::NOSCRIPT, NodeCommand::ScriptFlush)
        .acl(acl::SCRIPTING)
        .doc("scripting", "2.6.0", "Forgets all scripts.", "O(N) with N being the number of scripts")
        .tips(ON_ALL_NODES),
    Command::node("help", 2, HELPING, NodeCommand::ScriptHelp).acl(acl::SCRIPTING).doc(
        "scripting",
        "5.0.0",
        "What SCRIPT can do.",
        "O(1)",
    ),
    Command::node("kill", 2, flag::NOSCRIPT | flag::ALLOW_BUSY, NodeCommand::ScriptKill)
        .acl(acl::SCRIPTING)
        .doc("scripting", "2.6.0", "Ends the script that runs.", "O(1)")
        .tips(ON_ONE),
    Command::node("load", 3, flag::NOSCRIPT | flag::STALE, NodeCommand::ScriptLoad)
        .acl(acl::SCRIPTING)
        .doc(
            "scripting",
            "2.6.0",
            "Makes a script known without running it.",
            "O(N) with N being its length in bytes.",
        )
        .tips(ON_ALL_NODES),
];
