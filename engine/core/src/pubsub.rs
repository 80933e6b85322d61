//! Who listens to what: channels, patterns and shard channels with their subscribers, and the messages they get.
//!
//! Exists so that finding the receivers of a message does not look at every client.
//!
//! Always true: no channel without a subscriber is kept; receivers are found in the same order on every run.
//!
//! Not here: the commands, and what a session knows of its own subscriptions (`node/pubsub.rs`, `session.rs`).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    bytes::glob,
    host::ClientId,
    resp::{Protocol, Reply},
};

/// What can be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A channel by its name.
    Channel,
    /// Every channel whose name matches.
    Pattern,
    /// A shard channel by its name; patterns do not see these.
    Shard,
}

impl Kind {
    /// First word of the confirmation of a subscription.
    pub fn subscribed_word(self) -> &'static str {
        match self {
            Kind::Channel => "subscribe",
            Kind::Pattern => "psubscribe",
            Kind::Shard => "ssubscribe",
        }
    }

    /// First word of the confirmation of its end.
    pub fn unsubscribed_word(self) -> &'static str {
        match self {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
            Kind::Shard => "sunsubscribe",
        }
    }
}

/// Names with those who subscribed to them.
type Subscribers = BTreeMap<Vec<u8>, BTreeSet<ClientId>>;

/// All subscriptions of all clients.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    channels: Subscribers,
    patterns: Subscribers,
    shard_channels: Subscribers,
}

impl Registry {
    /// Notes a subscription; one that is known is fine.
    pub fn subscribe(&mut self, kind: Kind, name: &[u8], client: ClientId) {
        self.of_mut(kind).entry(name.to_vec()).or_default().insert(client);
    }

    /// Forgets a subscription; one that is not known is fine.
    pub fn unsubscribe(&mut self, kind: Kind, name: &[u8], client: ClientId) {
        let subscribers = self.of_mut(kind);
        if let Some(clients) = subscribers.get_mut(name) {
            clients.remove(&client);
            if clients.is_empty() {
                subscribers.remove(name);
            }
        }
    }

    /// Names somebody subscribed to, sorted.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.of(kind).keys().map(Vec::as_slice)
    }

    /// Number of different names somebody subscribed to.
    pub fn name_count(&self, kind: Kind) -> usize {
        self.of(kind).len()
    }

    /// Number of clients that subscribed to exactly this name.
    pub fn subscriber_count(&self, kind: Kind, name: &[u8]) -> usize {
        self.of(kind).get(name).map_or(0, BTreeSet::len)
    }

    /// Clients that subscribed to exactly this name.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> impl Iterator<Item = ClientId> {
        self.of(kind).get(name).into_iter().flatten().copied()
    }

    /// Patterns that match a channel, with the clients that subscribed to them.
    pub fn matching(&self, channel: &[u8]) -> impl Iterator<Item = (&[u8], &BTreeSet<ClientId>)> {
        let all = self.patterns.iter().map(|(pattern, clients)| (pattern.as_slice(), clients));
        all.filter(move |(pattern, _)| glob::matches(pattern, channel))
    }

    /// Nobody subscribed to any channel or pattern: nothing published to a channel is heard.
    pub fn is_silent(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    fn of(&self, kind: Kind) -> &Subscribers {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Subscribers {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard_channels,
        }
    }
}

/// What a client is told without having asked at that moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Push {
    /// A message to a channel it subscribed to.
    Message {
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// A message to a channel that matches its pattern.
    PatternMessage {
        /// The pattern.
        pattern: Vec<u8>,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// A message to a shard channel it subscribed to.
    ShardMessage {
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// Cached keys are out of date. RESP2 clients get it as a message to a channel of its own.
    Invalidate {
        /// Which; `None` is all of them.
        keys: Option<Vec<Vec<u8>>>,
    },
    /// The client that was to get the invalidations is gone.
    RedirectBroken {
        /// Its number.
        number: u64,
    },
}

impl Push {
    /// Writes it in the client's version of the protocol.
    pub fn write(&self, reply: &mut Reply) {
        match self {
            Push::Message { channel, payload } => write_words(reply, &[b"message", channel, payload]),
            Push::PatternMessage { pattern, channel, payload } => {
                write_words(reply, &[b"pmessage", pattern, channel, payload]);
            }
            Push::ShardMessage { channel, payload } => write_words(reply, &[b"smessage", channel, payload]),
            Push::Invalidate { keys } => write_invalidation(reply, keys.as_deref()),
            Push::RedirectBroken { number } => {
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.integer(*number as i64);
            }
        }
    }
}

fn write_words(reply: &mut Reply, words: &[&[u8]]) {
    reply.push(words.len());
    for word in words {
        reply.bulk(word);
    }
}

fn write_invalidation(reply: &mut Reply, keys: Option<&[Vec<u8>]>) {
    match reply.protocol() {
        Protocol::Resp2 => {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(b"__redis__:invalidate");
        }
        Protocol::Resp3 => {
            reply.push(2);
            reply.bulk(b"invalidate");
        }
    }
    match keys {
        None => reply.null(),
        Some(keys) => {
            reply.array(keys.len());
            for key in keys {
                reply.bulk(key);
            }
        }
    }
}

/// Writes the confirmation of a change of subscriptions; no name says that there was none to end.
pub fn write_confirmation(reply: &mut Reply, word: &str, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(word.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: ClientId = ClientId(1);
    const BOB: ClientId = ClientId(2);

    #[test]
    fn a_channel_without_subscribers_is_forgotten() {
        let mut registry = Registry::default();
        registry.subscribe(Kind::Channel, b"news", BOB);
        registry.subscribe(Kind::Channel, b"news", ALICE);
        registry.subscribe(Kind::Channel, b"news", ALICE);
        assert_eq!(registry.subscribers(Kind::Channel, b"news").collect::<Vec<_>>(), [ALICE, BOB]);
        registry.unsubscribe(Kind::Channel, b"news", ALICE);
        registry.unsubscribe(Kind::Pattern, b"news", BOB);
        assert_eq!(registry.subscriber_count(Kind::Channel, b"news"), 1);
        registry.unsubscribe(Kind::Channel, b"news", BOB);
        assert_eq!(registry.name_count(Kind::Channel), 0);
        assert!(registry.is_silent());
    }

    #[test]
    fn patterns_that_match_are_found_in_order() {
        let mut registry = Registry::default();
        for pattern in [&b"z*"[..], b"*s", b"new?"] {
            registry.subscribe(Kind::Pattern, pattern, ALICE);
        }
        let found: Vec<&[u8]> = registry.matching(b"news").map(|(pattern, _)| pattern).collect();
        assert_eq!(found, [&b"*s"[..], b"new?"]);
    }

    #[test]
    fn messages_are_arrays_or_pushes() {
        let push = Push::PatternMessage {
            pattern: b"n*".to_vec(),
            channel: b"news".to_vec(),
            payload: b"hi".to_vec(),
        };
        for (protocol, letter) in [(Protocol::Resp2, '*'), (Protocol::Resp3, '>')] {
            let mut reply = Reply::new(protocol);
            push.write(&mut reply);
            let expected =
                alloc::format!("{letter}4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
            assert_eq!(reply.as_bytes(), expected.as_bytes());
        }
    }
}
