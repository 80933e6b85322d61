//! Rows of publish and subscribe; `node/pubsub.rs` carries them out.

use super::{
    Command, KeySpec, NodeCommand,
    spec::{flag, key_flag},
};

const SUBSCRIBING: u32 = flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE;
const PUBLISHING: u32 = flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST | flag::MAY_REPLICATE;
const LOOKING: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::node("psubscribe", -2, SUBSCRIBING, NodeCommand::PSubscribe).doc(
        "pubsub",
        "2.0.0",
        "Hear messages to all channels that match.",
        "O(N) where N is the number of patterns to subscribe to.",
    ),
    Command::node("publish", 3, PUBLISHING, NodeCommand::Publish).doc(
        "pubsub",
        "2.0.0",
        "Send a message to all who listen to a channel.",
        "O(N+M) where N is the number of clients that listen to the channel and M the number of patterns",
    ),
    Command::container("pubsub", PUBSUB).doc(
        "pubsub",
        "2.8.0",
        "Who listens to what.",
        "Depends on subcommand.",
    ),
    Command::node("punsubscribe", -1, SUBSCRIBING, NodeCommand::PUnsubscribe).doc(
        "pubsub",
        "2.0.0",
        "End subscriptions to patterns.",
        "O(N) where N is the number of patterns to unsubscribe.",
    ),
    Command::node("spublish", 3, PUBLISHING, NodeCommand::SPublish)
        .keys(&[KeySpec::one(1, key_flag::NOT_KEY)])
        .doc(
            "pubsub",
            "7.0.0",
            "Send a message to all who listen to a shard channel.",
            "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        ),
    Command::node("ssubscribe", -2, SUBSCRIBING, NodeCommand::SSubscribe)
        .keys(&[KeySpec::range(1, -1, 1, key_flag::NOT_KEY)])
        .doc(
            "pubsub",
            "7.0.0",
            "Hear messages to shard channels.",
            "O(N) where N is the number of shard channels to subscribe to.",
        ),
    Command::node("subscribe", -2, SUBSCRIBING, NodeCommand::Subscribe).doc(
        "pubsub",
        "2.0.0",
        "Hear messages to channels.",
        "O(N) where N is the number of channels to subscribe to.",
    ),
    Command::node("sunsubscribe", -1, SUBSCRIBING, NodeCommand::SUnsubscribe)
        .keys(&[KeySpec::range(1, -1, 1, key_flag::NOT_KEY)])
        .doc(
            "pubsub",
            "7.0.0",
            "End subscriptions to shard channels.",
            "O(N) where N is the number of shard channels to unsubscribe.",
        ),
    Command::node("unsubscribe", -1, SUBSCRIBING, NodeCommand::Unsubscribe).doc(
        "pubsub",
        "2.0.0",
        "End subscriptions to channels.",
        "O(N) where N is the number of channels to unsubscribe.",
    ),
];

const PUBSUB: &[Command] = &[
    Command::node("channels", -2, LOOKING, NodeCommand::PubsubChannels).doc(
        "pubsub",
        "2.8.0",
        "Channels somebody subscribed to.",
        "O(N) where N is the number of active channels",
    ),
    Command::node("help", 2, flag::LOADING | flag::STALE, NodeCommand::PubsubHelp).doc(
        "pubsub",
        "6.2.0",
        "What PUBSUB can do.",
        "O(1)",
    ),
    Command::node("numpat", 2, LOOKING, NodeCommand::PubsubNumPat).doc(
        "pubsub",
        "2.8.0",
        "How many patterns somebody subscribed to.",
        "O(1)",
    ),
    Command::node("numsub", -2, LOOKING, NodeCommand::PubsubNumSub).doc(
        "pubsub",
        "2.8.0",
        "How many clients subscribed to each channel.",
        "O(N) where N is the number of channels asked for",
    ),
    Command::node("shardchannels", -2, LOOKING, NodeCommand::PubsubShardChannels).doc(
        "pubsub",
        "7.0.0",
        "Shard channels somebody subscribed to.",
        "O(N) where N is the number of active shard channels",
    ),
    Command::node("shardnumsub", -2, LOOKING, NodeCommand::PubsubShardNumSub).doc(
        "pubsub",
        "7.0.0",
        "How many clients subscribed to each shard channel.",
        "O(N) where N is the number of shard channels asked for",
    ),
];
