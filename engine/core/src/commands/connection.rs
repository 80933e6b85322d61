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
    Command::container("client", CLIENT).acl(acl::CONNECTION).doc(
        "connection",
        "2.4.0",
        "A container for client connection commands.",
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
    Command::node("getredir", 2, CLIENT_SELF, NodeCommand::ClientGetRedir).acl(acl::CONNECTION).doc(
        "connection",
        "6.0.0",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
        "O(1)",
    ),
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
];
