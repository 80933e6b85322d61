//! Rows of the connection's commands; `node/connection.rs` and `node/client.rs` carry them out.

use super::{
    Command, NodeCommand,
    spec::{acl, flag},
};

const ANYTIME: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::node(
        "auth",
        -2,
        ANYTIME | flag::NO_AUTH | flag::SENSITIVE | flag::ALLOW_BUSY,
        NodeCommand::Auth,
    )
    .acl(acl::CONNECTION)
    .doc(
        "connection",
        "1.0.0",
        "Authenticates the connection.",
        "O(N) where N is the number of passwords defined for the user",
    ),
    Command::container("client", CLIENT).doc(
        "connection",
        "2.4.0",
        "Commands about connections.",
        "Depends on subcommand.",
    ),
    Command::node("echo", 2, flag::LOADING | flag::STALE | flag::FAST, NodeCommand::Echo)
        .acl(acl::CONNECTION)
        .doc("connection", "1.0.0", "Returns the given string.", "O(1)"),
    Command::node(
        "hello",
        -1,
        ANYTIME | flag::NO_AUTH | flag::SENSITIVE | flag::ALLOW_BUSY,
        NodeCommand::Hello,
    )
    .acl(acl::CONNECTION)
    .doc("connection", "6.0.0", "Handshakes with the Redis server.", "O(1)"),
    Command::node("ping", -1, flag::FAST, NodeCommand::Ping)
        .acl(acl::CONNECTION)
        .doc("connection", "1.0.0", "Returns the server's liveliness response.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::node("quit", -1, ANYTIME | flag::NO_AUTH | flag::ALLOW_BUSY, NodeCommand::Quit)
        .acl(acl::CONNECTION)
        .doc("connection", "1.0.0", "Closes the connection.", "O(1)"),
    Command::node("reset", 1, ANYTIME | flag::NO_AUTH | flag::ALLOW_BUSY, NodeCommand::Reset)
        .acl(acl::CONNECTION)
        .doc("connection", "6.2.0", "Resets the connection.", "O(1)"),
    Command::node("select", 2, flag::LOADING | flag::STALE | flag::FAST, NodeCommand::Select)
        .acl(acl::CONNECTION)
        .doc("connection", "1.0.0", "Changes the selected database.", "O(1)"),
];

const CLIENT_SELF: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;

const CLIENT: &[Command] = &[
    Command::node("caching", 3, CLIENT_SELF, NodeCommand::ClientCaching).acl(acl::CONNECTION).doc(
        "connection",
        "6.0.0",
        "Instructs the server whether to track the keys in the next request.",
        "O(1)",
    ),
    Command::node("getname", 2, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientGetName)
        .acl(acl::CONNECTION)
        .doc("connection", "2.6.9", "The name of this connection.", "O(1)"),
    Command::node("getredir", 2, CLIENT_SELF, NodeCommand::ClientGetRedir).acl(acl::CONNECTION).doc(
        "connection",
        "6.0.0",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
        "O(1)",
    ),
    Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::ClientHelp).acl(acl::CONNECTION).doc(
        "connection",
        "5.0.0",
        "What CLIENT can do.",
        "O(1)",
    ),
    Command::node("id", 2, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientId)
        .acl(acl::CONNECTION)
        .doc("connection", "5.0.0", "The number of this connection.", "O(1)"),
    Command::node("info", 2, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientInfo)
        .acl(acl::CONNECTION)
        .doc("connection", "6.2.0", "All about this connection.", "O(1)")
        .tips(&["nondeterministic_output"]),
    Command::node(
        "kill",
        -3,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::ClientKill,
    )
    .acl(acl::CONNECTION)
    .doc("connection", "2.4.0", "Ends connections.", "O(N) where N is the number of client connections"),
    Command::node(
        "list",
        -2,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::ClientList,
    )
    .acl(acl::CONNECTION)
    .doc(
        "connection",
        "2.4.0",
        "All about every connection.",
        "O(N) where N is the number of client connections",
    )
    .tips(&["nondeterministic_output"]),
    Command::node(
        "no-evict",
        3,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::ClientNoEvict,
    )
    .acl(acl::CONNECTION)
    .doc("connection", "7.0.0", "Keeps this connection when clients take too much memory.", "O(1)"),
    Command::node("no-touch", 3, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientNoTouch)
        .acl(acl::CONNECTION)
        .doc("connection", "7.2.0", "Leaves idle times of keys as they are.", "O(1)"),
    Command::node(
        "pause",
        -3,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::ClientPause,
    )
    .acl(acl::CONNECTION)
    .doc("connection", "2.9.50", "Lets commands wait for a while.", "O(1)"),
    Command::node("reply", 3, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientReply)
        .acl(acl::CONNECTION)
        .doc("connection", "3.2.0", "Chooses which replies this connection gets.", "O(1)"),
    Command::node("setinfo", 4, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientSetInfo)
        .acl(acl::CONNECTION)
        .doc("connection", "7.2.0", "Says which library talks to the server.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("setname", 3, flag::NOSCRIPT | flag::LOADING | flag::STALE, NodeCommand::ClientSetName)
        .acl(acl::CONNECTION)
        .doc("connection", "2.6.9", "Gives this connection a name.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::node("tracking", -3, CLIENT_SELF, NodeCommand::ClientTracking).acl(acl::CONNECTION).doc(
        "connection",
        "6.0.0",
        "Controls server-assisted client-side caching for the connection.",
        "O(1). Some options may introduce additional complexity.",
    ),
    Command::node("trackinginfo", 2, CLIENT_SELF, NodeCommand::ClientTrackingInfo).acl(acl::CONNECTION).doc(
        "connection",
        "6.2.0",
        "Returns information about server-assisted client-side caching for the connection.",
        "O(1)",
    ),
    Command::node(
        "unblock",
        -3,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::ClientUnblock,
    )
    .acl(acl::CONNECTION)
    .doc(
        "connection",
        "5.0.0",
        "Ends a blocking command of another client.",
        "O(log N) where N is the number of client connections",
    ),
    Command::node(
        "unpause",
        2,
        flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        NodeCommand::ClientUnpause,
    )
    .acl(acl::CONNECTION)
    .doc("connection", "6.2.0", "Ends CLIENT PAUSE.", "O(N) Where N is the number of paused clients"),
];
