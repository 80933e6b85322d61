//! Publish and subscribe, keyspace events on top of it, and the delivery of everything nobody asked for.
//!
//! What is told goes into the outbox while commands run, and from there into the receivers' output once the command,
//! script or EXEC is through: its change has its place in the log by then, so that the word of it can be gated
//! like any reply, and the author's own copy comes after the author's reply.
//!
//! Always true: a session's subscriptions and the registry say the same; the outbox is empty between requests.
//!
//! Not here: who listens to what (`crate::pubsub`), invalidations (`tracking.rs`).

use alloc::{format, sync::Arc, vec::Vec};

use super::{Node, server::reply_help};
use crate::{
    bytes::glob,
    commands::{Args, CommandResult, NodeCommand, printable},
    error::Error,
    host::ClientId,
    pubsub::{Kind, Push, write_confirmation},
    session::Session,
    store::{Class, Event},
};

/// Something to be told to a client; shared, since many may be told the same.
pub(super) type Outgoing = (ClientId, Arc<Push>);

/// What PUBSUB HELP says.
const HELP: &[(&str, &str)] = &[
    ("CHANNELS [<pattern>]", "Channels somebody subscribed to."),
    ("NUMPAT", "How many patterns somebody subscribed to."),
    ("NUMSUB [<channel> ...]", "How many clients subscribed to each channel, by its name."),
    ("SHARDCHANNELS [<pattern>]", "Shard channels somebody subscribed to."),
    ("SHARDNUMSUB [<shardchannel> ...]", "How many clients subscribed to each shard channel."),
];

impl Node {
    /// Carries out a command of publish and subscribe.
    pub(super) fn pubsub_command(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        args: Args<'_>,
    ) -> CommandResult {
        use NodeCommand::*;
        match command {
            Subscribe => self.subscribe(session, Kind::Channel, args),
            PSubscribe => self.subscribe(session, Kind::Pattern, args),
            SSubscribe if session.transaction.is_some() => {
                return Err(Error::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
            }
            SSubscribe => self.subscribe(session, Kind::Shard, args),
            Unsubscribe => self.unsubscribe(session, Kind::Channel, args),
            PUnsubscribe => self.unsubscribe(session, Kind::Pattern, args),
            SUnsubscribe => self.unsubscribe(session, Kind::Shard, args),
            Publish => {
                let count = self.publish(args[1], args[2]);
                session.reply.integer(count as i64);
            }
            SPublish => {
                let count = self.publish_to_shard(args[1], args[2]);
                session.reply.integer(count as i64);
            }
            PubsubChannels => self.list_channels(session, Kind::Channel, args)?,
            PubsubShardChannels => self.list_channels(session, Kind::Shard, args)?,
            PubsubNumSub => self.count_subscribers(session, Kind::Channel, args),
            PubsubShardNumSub => self.count_subscribers(session, Kind::Shard, args),
            PubsubNumPat => session.reply.integer(self.subscriptions.name_count(Kind::Pattern) as i64),
            PubsubHelp => reply_help(&mut session.reply, "PUBSUB", HELP),
            _ => unreachable!("{command:?} is not of publish and subscribe"),
        }
        Ok(())
    }

    // --- Subscribing --------------------------------------------------------------------------------

    fn subscribe(&mut self, session: &mut Session, kind: Kind, args: Args<'_>) {
        for name in &args[1..] {
            if session.subscriptions_mut(kind).insert(name.to_vec()) {
                self.subscriptions.subscribe(kind, name, session.client);
            }
            let count = session.subscription_count(kind);
            write_confirmation(&mut session.reply, kind.subscribed_word(), Some(name), count);
        }
    }

    fn unsubscribe(&mut self, session: &mut Session, kind: Kind, args: Args<'_>) {
        let names: Vec<Vec<u8>> = match args {
            [_] => session.subscriptions_mut(kind).iter().cloned().collect(),
            [_, names @ ..] => names.iter().map(|name| name.to_vec()).collect(),
            [] => unreachable!("a request has a name"),
        };
        if names.is_empty() {
            let count = session.subscription_count(kind);
            write_confirmation(&mut session.reply, kind.unsubscribed_word(), None, count);
        }
        for name in names {
            self.end_subscription(session, kind, &name);
            let count = session.subscription_count(kind);
            write_confirmation(&mut session.reply, kind.unsubscribed_word(), Some(&name), count);
        }
    }

    fn end_subscription(&mut self, session: &mut Session, kind: Kind, name: &[u8]) {
        if session.subscriptions_mut(kind).remove(name) {
            self.subscriptions.unsubscribe(kind, name, session.client);
        }
    }

    /// A client leaves all channels and patterns, and is not told.
    pub(super) fn forget_subscriptions(&mut self, session: &mut Session) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in core::mem::take(session.subscriptions_mut(kind)) {
                self.subscriptions.unsubscribe(kind, &name, session.client);
            }
        }
    }

    // --- Publishing ---------------------------------------------------------------------------------

    /// Tells all who listen to a channel; how many times somebody is told.
    pub(super) fn publish(&mut self, channel: &[u8], payload: &[u8]) -> usize {
        if self.subscriptions.is_silent() {
            return 0;
        }
        let before = self.outbox.len();
        let message = Push::Message { channel: channel.to_vec(), payload: payload.to_vec() };
        let message = Arc::new(message);
        for client in self.subscriptions.subscribers(Kind::Channel, channel) {
            self.outbox.push((client, message.clone()));
        }
        for (pattern, clients) in self.subscriptions.matching(channel) {
            let message = Arc::new(Push::PatternMessage {
                pattern: pattern.to_vec(),
                channel: channel.to_vec(),
                payload: payload.to_vec(),
            });
            self.outbox.extend(clients.iter().map(|&client| (client, message.clone())));
        }
        self.outbox.len() - before
    }

    fn publish_to_shard(&mut self, channel: &[u8], payload: &[u8]) -> usize {
        let before = self.outbox.len();
        let message = Arc::new(Push::ShardMessage { channel: channel.to_vec(), payload: payload.to_vec() });
        for client in self.subscriptions.subscribers(Kind::Shard, channel) {
            self.outbox.push((client, message.clone()));
        }
        self.outbox.len() - before
    }

    /// Publishes the keyspace events raised since this was last called.
    pub(super) fn publish_events(&mut self) {
        for Event { class: _, name, db, key } in core::mem::take(&mut self.store.events) {
            if self.config.notify_keyspace_events.contains(Class::Keyspace) {
                let channel = [format!("__keyspace@{db}__:").as_bytes(), &key].concat();
                self.publish(&channel, name.as_bytes());
            }
            if self.config.notify_keyspace_events.contains(Class::Keyevent) {
                let channel = format!("__keyevent@{db}__:{name}");
                self.publish(channel.as_bytes(), &key);
            }
        }
    }

    /// Writes what is in the outbox into the receivers' output, gated by all that is logged so far.
    ///
    /// `author` is the session that is out of its slot, if one is.
    pub(super) fn deliver(&mut self, mut author: Option<&mut Session>) {
        // Inside of EXEC or a script the change is not in the log yet.
        if self.outbox.is_empty() || self.unit.is_some() {
            return;
        }
        let author_client = author.as_ref().map(|author| author.client);
        let is_late = |(client, push): &Outgoing| {
            Some(*client) == author_client && matches!(**push, Push::Invalidate { .. })
        };
        // The author's own invalidations come last.
        let (late, soon): (Vec<_>, Vec<_>) = core::mem::take(&mut self.outbox).into_iter().partition(is_late);
        for (client, push) in soon.into_iter().chain(late) {
            match (&*push, &mut author) {
                (Push::Invalidate { .. }, _) => self.tell_invalidation(&mut author, client, &push),
                (_, Some(author)) if author.client == client => self.tell(author, &push),
                _ => self.with_session(client, |node, session| node.tell(session, &push)),
            }
        }
    }

    /// Writes something nobody asked for into a client's output.
    pub(super) fn tell(&mut self, session: &mut Session, push: &Push) {
        if session.is_closing {
            return;
        }
        push.write(&mut session.reply);
        self.owe(session);
    }

    // --- Looking ------------------------------------------------------------------------------------

    fn list_channels(&self, session: &mut Session, kind: Kind, args: Args<'_>) -> CommandResult {
        let pattern = match args {
            [_, _] => None,
            [_, _, pattern] => Some(*pattern),
            _ => {
                return Err(Error::text(format!(
                    "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
                    printable(args[1])
                )));
            }
        };
        let names = self.subscriptions.names(kind);
        let names: Vec<&[u8]> =
            names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).collect();
        session.reply.array(names.len());
        for name in names {
            session.reply.bulk(name);
        }
        Ok(())
    }

    fn count_subscribers(&self, session: &mut Session, kind: Kind, args: Args<'_>) {
        session.reply.array((args.len() - 2) * 2);
        for name in &args[2..] {
            session.reply.bulk(name);
            session.reply.integer(self.subscriptions.subscriber_count(kind, name) as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::Conversation;

    #[test]
    fn subscribing_is_confirmed_name_by_name() {
        let mut talk = Conversation::new("");
        let client = talk.connect();
        assert_eq!(
            talk.says(client, "subscribe a b a"),
            "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *3 $9 subscribe $1 a :2"
        );
        assert_eq!(talk.says(client, "psubscribe x*"), "*3 $10 psubscribe $2 x* :3");
        assert_eq!(talk.says(client, "ssubscribe s"), "*3 $10 ssubscribe $1 s :1");
        assert_eq!(
            talk.says(client, "get a"),
            "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context"
        );
        assert_eq!(talk.says(client, "ping hi"), "*2 $4 pong $2 hi");
        assert_eq!(talk.says(client, "unsubscribe"), "*3 $11 unsubscribe $1 a :2 *3 $11 unsubscribe $1 b :1");
        assert_eq!(talk.says(client, "unsubscribe"), "*3 $11 unsubscribe $-1 :1");
        assert_eq!(talk.says(client, "unsubscribe q"), "*3 $11 unsubscribe $1 q :1");
        assert_eq!(talk.says(client, "punsubscribe"), "*3 $12 punsubscribe $2 x* :0");
        assert_eq!(talk.says(client, "sunsubscribe"), "*3 $12 sunsubscribe $1 s :0");
        assert_eq!(talk.says(client, "get a"), "$-1");
    }

    #[test]
    fn a_message_reaches_channels_then_patterns() {
        let mut talk = Conversation::new("");
        let (reader, pusher) = (talk.connect(), talk.connect_resp3());
        talk.says(reader, "subscribe news");
        talk.says(reader, "psubscribe n* *");
        talk.says(reader, "ssubscribe news");
        assert_eq!(talk.says(pusher, "publish news hi"), ":3");
        assert_eq!(
            talk.hears(reader),
            "*3 $7 message $4 news $2 hi *4 $8 pmessage $1 * $4 news $2 hi *4 $8 pmessage $2 n* $4 news $2 hi"
        );
        assert_eq!(talk.says(pusher, "spublish news hi"), ":1");
        assert_eq!(talk.hears(reader), "*3 $8 smessage $4 news $2 hi");
        talk.disconnect(reader);
        assert_eq!(talk.says(pusher, "publish news hi"), ":0");
        assert_eq!(talk.says(pusher, "pubsub numpat"), ":0");
    }

    #[test]
    fn the_author_hears_of_it_after_the_reply() {
        let mut talk = Conversation::new("");
        let client = talk.connect_resp3();
        talk.says(client, "subscribe a");
        assert_eq!(talk.says(client, "publish a x"), ":1 >3 $7 message $1 a $1 x");
        assert_eq!(talk.says(client, "multi"), "+OK");
        talk.says(client, "publish a y");
        talk.says(client, "subscribe b");
        talk.says(client, "ssubscribe b");
        assert_eq!(
            talk.says(client, "exec"),
            "*3 :1 >3 $9 subscribe $1 b :2 -ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client \
             >3 $7 message $1 a $1 y"
        );
    }

    #[test]
    fn reset_and_silence() {
        let mut talk = Conversation::new("");
        let client = talk.connect();
        talk.says(client, "subscribe a");
        assert_eq!(talk.says(client, "reset"), "+RESET");
        assert_eq!(talk.says(client, "publish a x"), ":0");
    }

    #[test]
    fn the_registry_can_be_looked_at() {
        let mut talk = Conversation::new("");
        let (reader, client) = (talk.connect(), talk.connect());
        talk.says(reader, "subscribe b a");
        talk.says(reader, "psubscribe p*");
        talk.says(reader, "ssubscribe s");
        assert_eq!(talk.says(client, "pubsub channels"), "*2 $1 a $1 b");
        assert_eq!(talk.says(client, "pubsub channels [b-z]"), "*1 $1 b");
        assert_eq!(talk.says(client, "pubsub shardchannels"), "*1 $1 s");
        assert_eq!(talk.says(client, "pubsub numsub a z"), "*4 $1 a :1 $1 z :0");
        assert_eq!(talk.says(client, "pubsub shardnumsub s"), "*2 $1 s :1");
        assert_eq!(talk.says(client, "pubsub numsub"), "*0");
        assert_eq!(talk.says(client, "pubsub numpat"), ":1");
        assert_eq!(
            talk.says(client, "pubsub channels a b"),
            "-ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP."
        );
        assert!(talk.says(client, "pubsub help").starts_with("*13 +PUBSUB <subcommand>"));
    }

    #[test]
    fn keyspace_events_follow_the_classes() {
        let mut talk = Conversation::new("notify-keyspace-events KEg$x");
        let (reader, client) = (talk.connect(), talk.connect());
        talk.says(reader, "psubscribe __key*");
        talk.says(client, "set k v px 5");
        assert_eq!(
            talk.hears(reader),
            "*4 $8 pmessage $6 __key* $16 __keyspace@0__:k $3 set *4 $8 pmessage $6 __key* $18 __keyevent@0__:set $1 k \
             *4 $8 pmessage $6 __key* $16 __keyspace@0__:k $6 expire *4 $8 pmessage $6 __key* $21 __keyevent@0__:expire \
             $1 k"
        );
        talk.wait_ms(200);
        assert!(talk.hears(reader).contains("$22 __keyevent@0__:expired $1 k"));
        talk.says(client, "config set notify-keyspace-events Eg");
        talk.says(client, "set k v");
        assert_eq!(talk.hears(reader), "");
        talk.says(client, "del k");
        assert_eq!(talk.hears(reader), "*4 $8 pmessage $6 __key* $18 __keyevent@0__:del $1 k");
    }

    #[test]
    fn word_of_a_change_waits_for_the_change() {
        let mut talk = Conversation::new("appendonly yes\nappendfsync always\nnotify-keyspace-events EA");
        let (reader, client) = (talk.connect(), talk.connect());
        talk.says(reader, "psubscribe *");
        for commands in [&["set k v"][..], &["multi", "set k w", "exec"]] {
            for command in commands {
                talk.sends(client, command);
            }
            talk.turn();
            assert_eq!(talk.hears(reader), "", "{commands:?}");
            talk.confirm_log();
            talk.turn();
            talk.confirm_log();
            talk.turn();
            assert_eq!(talk.hears(reader), "*4 $8 pmessage $1 * $18 __keyevent@0__:set $1 k", "{commands:?}");
        }
    }
}
