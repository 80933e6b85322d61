//! Client-side caching: CLIENT TRACKING, CACHING, TRACKINGINFO, and telling clients which keys changed.
//!
//! Always true: a client that read a key under tracking hears of the key's next change, expiry or eviction, or
//! that its table overflowed, or that all is gone; never before the change is as safe as a reply must be.
//!
//! Not here: who cached what (`crate::tracking`), the way out (`pubsub.rs`).

use alloc::{format, sync::Arc, vec, vec::Vec};

use super::Node;
use crate::{
    commands::{
        Args, CommandResult, parse_int, printable,
        spec::{self, flag},
        table::{Row, key_positions},
    },
    error::{Error, SYNTAX},
    host::ClientId,
    pubsub::Push,
    resp::Protocol,
    session::{Redirect, Session, Tracking},
    store::DbKey,
    tracking::BroadcastDue,
};

impl Node {
    // --- CLIENT TRACKING and kin --------------------------------------------------------------------

    pub(super) fn client_tracking(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let wanted = self.parse_tracking(session, args)?;
        if args[2].eq_ignore_ascii_case(b"on") {
            check_compatible(&session.tracking, &wanted)?;
            self.start_tracking(session, wanted);
        } else if args[2].eq_ignore_ascii_case(b"off") {
            self.stop_tracking(session);
        } else {
            return Err(SYNTAX);
        }
        session.reply.ok();
        Ok(())
    }

    fn parse_tracking(&self, session: &Session, args: Args<'_>) -> Result<Tracking, Error> {
        let mut wanted = Tracking { is_on: true, ..Tracking::default() };
        let mut words = args[3..].iter();
        while let Some(word) = words.next() {
            match word.to_ascii_lowercase().as_slice() {
                b"bcast" => wanted.is_broadcast = true,
                b"optin" => wanted.is_opt_in = true,
                b"optout" => wanted.is_opt_out = true,
                b"noloop" => wanted.is_no_loop = true,
                b"prefix" => wanted.prefixes.push(words.next().ok_or(SYNTAX)?.to_vec()),
                b"redirect" => {
                    let number = words.next().ok_or(SYNTAX)?;
                    if wanted.redirect.is_some() {
                        return Err(Error::new("ERR A client can only redirect to a single other client"));
                    }
                    wanted.redirect = Some(self.find_redirect(session, number)?);
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(wanted)
    }

    fn find_redirect(&self, session: &Session, number: &[u8]) -> Result<Redirect, Error> {
        let number = parse_int(number)?;
        let number = u64::try_from(number).unwrap_or(0);
        let client = if number == session.number {
            Some(session.client)
        } else {
            self.sessions.by_number(number).map(|other| other.client)
        };
        match client {
            Some(client) => Ok(Redirect { number, client }),
            None => Err(Error::new("ERR The client ID you want redirect to does not exist")),
        }
    }

    fn start_tracking(&mut self, session: &mut Session, mut wanted: Tracking) {
        self.tracking.start(session.client);
        if wanted.is_broadcast {
            if wanted.prefixes.is_empty() {
                wanted.prefixes.push(Vec::new());
            }
            for prefix in &wanted.prefixes {
                self.tracking.start_broadcast(session.client, prefix);
            }
            // Prefixes add up until tracking is switched off.
            wanted.prefixes.append(&mut session.tracking.prefixes);
            wanted.prefixes.sort();
            wanted.prefixes.dedup();
        }
        wanted.caching = session.tracking.caching;
        session.tracking = wanted;
        self.update_change_tracking();
    }

    /// A client caches no more.
    pub(super) fn stop_tracking(&mut self, session: &mut Session) {
        if session.tracking.is_on {
            self.tracking.stop(session.client, session.tracking.prefixes.iter());
            session.tracking = Tracking::default();
            self.update_change_tracking();
        }
    }

    pub(super) fn client_caching(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let tracking = &mut session.tracking;
        if !tracking.is_on {
            return Err(Error::new(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
            ));
        }
        let is_yes = args[2].eq_ignore_ascii_case(b"yes");
        if !is_yes && !args[2].eq_ignore_ascii_case(b"no") {
            return Err(SYNTAX);
        }
        if is_yes && !tracking.is_opt_in {
            return Err(Error::new(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
        if !is_yes && !tracking.is_opt_out {
            return Err(Error::new(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
        tracking.caching = Some(is_yes);
        session.reply.ok();
        Ok(())
    }

    pub(super) fn client_trackinginfo(&mut self, session: &mut Session) {
        let (tracking, reply) = (&session.tracking, &mut session.reply);
        let mut flags = vec![if tracking.is_on { "on" } else { "off" }];
        let optional = [
            (tracking.is_broadcast, "bcast"),
            (tracking.is_opt_in, "optin"),
            (tracking.caching == Some(true), "caching-yes"),
            (tracking.is_opt_out, "optout"),
            (tracking.caching == Some(false), "caching-no"),
            (tracking.is_no_loop, "noloop"),
            (tracking.is_redirect_broken, "broken_redirect"),
        ];
        flags.extend(optional.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name));
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.bulk(flag.as_bytes());
        }
        reply.bulk(b"redirect");
        reply.integer(redirection(tracking));
        reply.bulk(b"prefixes");
        reply.array(tracking.prefixes.len());
        for prefix in &tracking.prefixes {
            reply.bulk(prefix);
        }
    }

    // --- Reading ------------------------------------------------------------------------------------

    /// Notes the keys of a reading command for a client that caches them.
    pub(super) fn remember_reads(&mut self, session: &Session, row: &Row, args: Args<'_>) {
        let tracking = &session.tracking;
        // What a script reads is remembered as it reads it, not what it was told it may.
        let is_read = row.command.has(flag::READONLY) && row.command.categories & spec::acl::SCRIPTING == 0;
        if !tracking.is_on || tracking.is_broadcast || !is_read {
            return;
        }
        let is_cached = match (tracking.is_opt_in, tracking.is_opt_out) {
            (true, _) => tracking.caching == Some(true),
            (_, true) => tracking.caching != Some(false),
            (false, false) => true,
        };
        if is_cached {
            for (index, _) in key_positions(row.command, args).unwrap_or_default() {
                self.tracking.remember(session.client, args[index]);
            }
        }
    }

    /// Gives up keys above `tracking-table-max-keys`: their readers are told as if somebody had changed them. `out` is the
    /// session that is out of its slot, if one is.
    pub(super) fn limit_tracking(&mut self, out: Option<&Session>) {
        while let Some(key) = self.tracking.victim(self.config.tracking_table_max_keys as usize) {
            self.invalidate_readers(out, None, &key);
        }
    }

    // --- Telling ------------------------------------------------------------------------------------

    /// Somebody caches keys.
    pub(super) fn is_tracking_used(&self) -> bool {
        !self.tracking.is_unused()
    }

    /// Tells of changed keys. `out` is the session that is out of its slot, `author` whose command changed them, if there is one.
    pub(super) fn invalidate(&mut self, out: Option<&Session>, author: Option<ClientId>, changed: &[DbKey]) {
        if self.tracking.is_unused() {
            return;
        }
        for DbKey { key, .. } in changed {
            self.tracking.note_broadcast(key, author);
            self.invalidate_readers(out, author, key);
        }
    }

    fn invalidate_readers(&mut self, out: Option<&Session>, author: Option<ClientId>, key: &[u8]) {
        let readers = self.tracking.take_readers(key);
        if readers.is_empty() {
            return;
        }
        let push = Arc::new(Push::Invalidate { keys: Some(vec![key.to_vec()]) });
        for client in readers {
            let reader = out.filter(|out| out.client == client).or_else(|| self.sessions.get(client));
            let Some(tracking) = reader.map(|reader| &reader.tracking) else { continue };
            let is_own = author == Some(client) && tracking.is_no_loop;
            // It may have switched to another mode since it read the key.
            if tracking.is_on && !tracking.is_broadcast && !is_own {
                self.outbox.push((client, push.clone()));
            }
        }
    }

    /// Tells that all keys are gone.
    pub(super) fn invalidate_all(&mut self) {
        let push = Arc::new(Push::Invalidate { keys: None });
        self.outbox.extend(self.tracking.clients().map(|client| (client, push.clone())));
        self.tracking.forget_keys();
    }

    /// Tells those who hear of all keys below a prefix, once for all changes of a turn.
    pub(super) fn broadcast_invalidations(&mut self) {
        for BroadcastDue { clients, keys } in self.tracking.take_broadcasts() {
            let all = keys.iter().map(|(key, _)| key.clone()).collect();
            let all = Arc::new(Push::Invalidate { keys: Some(all) });
            for client in clients {
                let is_no_loop = self.sessions.get(client).is_some_and(|session| session.tracking.is_no_loop);
                if !is_no_loop {
                    self.outbox.push((client, all.clone()));
                    continue;
                }
                let others = keys.iter().filter(|(_, author)| *author != Some(client));
                let others: Vec<Vec<u8>> = others.map(|(key, _)| key.clone()).collect();
                if !others.is_empty() {
                    self.outbox.push((client, Arc::new(Push::Invalidate { keys: Some(others) })));
                }
            }
        }
        self.deliver(None);
    }

    /// Tells a client, or the one it redirects to, of an invalidation.
    pub(super) fn tell_invalidation(
        &mut self,
        author: &mut Option<&mut Session>,
        client: ClientId,
        push: &Push,
    ) {
        let mut redirect = None;
        self.with_any(author, client, |node, session| {
            redirect = session.tracking.redirect;
            // RESP2 has no pushes: such a client needs another one that subscribed.
            if redirect.is_none() && session.reply.protocol() == Protocol::Resp3 {
                node.tell(session, push);
            }
        });
        let Some(Redirect { number, client: target }) = redirect else { return };
        let is_there = self.with_any(author, target, |node, session| {
            if session.reply.protocol() == Protocol::Resp3 || session.is_subscribed() {
                node.tell(session, push);
            }
        });
        if !is_there {
            self.with_any(author, client, |node, session| {
                session.tracking.is_redirect_broken = true;
                if session.reply.protocol() == Protocol::Resp3 {
                    node.tell(session, &Push::RedirectBroken { number });
                }
            });
        }
    }

    /// Works on a session wherever it is; `false` if there is none any more.
    fn with_any(
        &mut self,
        author: &mut Option<&mut Session>,
        client: ClientId,
        work: impl FnOnce(&mut Node, &mut Session),
    ) -> bool {
        match author {
            Some(author) if author.client == client => {
                work(self, author);
                true
            }
            _ => {
                let is_there = self.sessions.get(client).is_some();
                self.with_session(client, work);
                is_there
            }
        }
    }
}

/// The number CLIENT GETREDIR shows: -1 without tracking, 0 without redirection.
pub(super) fn redirection(tracking: &Tracking) -> i64 {
    if !tracking.is_on {
        return -1;
    }
    tracking.redirect.map_or(0, |redirect| redirect.number as i64)
}

/// Whether options fit each other, and what was asked for before.
fn check_compatible(present: &Tracking, wanted: &Tracking) -> CommandResult {
    if !wanted.is_broadcast && !wanted.prefixes.is_empty() {
        return Err(Error::new("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    if present.is_on && present.is_broadcast != wanted.is_broadcast {
        return Err(Error::new(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    if wanted.is_broadcast && (wanted.is_opt_in || wanted.is_opt_out) {
        return Err(Error::new("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if wanted.is_opt_in && wanted.is_opt_out {
        return Err(Error::new("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    if (wanted.is_opt_in && present.is_opt_out) || (wanted.is_opt_out && present.is_opt_in) {
        return Err(Error::new(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    check_prefixes(present, wanted)
}

/// Prefixes of one client must not overlap, lest it be told of a key twice.
fn check_prefixes(present: &Tracking, wanted: &Tracking) -> CommandResult {
    let overlaps = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    for (index, prefix) in wanted.prefixes.iter().enumerate() {
        let refuse = |what: &str, other: &[u8]| {
            Err(Error::text(format!(
                "ERR Prefix '{}' overlaps with {what} prefix '{}'. Prefixes for a single client must not overlap.",
                printable(prefix),
                printable(other)
            )))
        };
        if let Some(other) = present.prefixes.iter().find(|other| overlaps(other, prefix)) {
            return refuse("an existing", other);
        }
        if let Some(other) = wanted.prefixes[index + 1..].iter().find(|other| overlaps(other, prefix)) {
            return refuse("another provided", other);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::conversation::Conversation;

    #[test]
    fn an_eviction_is_told_before_the_reply_to_the_command_that_made_room() {
        let mut talk = Conversation::new("maxmemory-policy volatile-random");
        let reader = talk.connect_resp3();
        talk.says(reader, "client tracking on");
        talk.says(reader, "setex k 100 x");
        talk.says(reader, "get k");
        let limit = talk.node.used_memory() + 1000;
        talk.says(reader, &alloc::format!("config set maxmemory {limit}"));
        talk.says(reader, "setbit large 1600000 0");
        assert_eq!(talk.says(reader, "getbit large 0"), ">2 $10 invalidate *1 $1 k :0");
    }

    #[test]
    fn noloop_does_not_hide_that_a_key_is_given_up() {
        let mut talk = Conversation::new("");
        let reader = talk.connect_resp3();
        talk.says(reader, "client tracking on noloop");
        talk.says(reader, "mset k 1 j 2");
        talk.says(reader, "mget k j");
        let told = talk.says(reader, "config set tracking-table-max-keys 1");
        assert!(told.contains(">2 $10 invalidate *1"), "{told}");
    }

    #[test]
    fn a_change_is_told_once_to_each_reader() {
        let mut talk = Conversation::new("save \"\"");
        let (reader, writer) = (talk.connect_resp3(), talk.connect());
        talk.says(reader, "client tracking on");
        talk.says(reader, "mget k j");
        talk.says(writer, "mset k 1 other 1");
        assert_eq!(talk.hears(reader), ">2 $10 invalidate *1 $1 k");
        talk.says(writer, "set k 2");
        assert_eq!(talk.hears(reader), "");
        assert_eq!(talk.says(reader, "set j 3"), "+OK >2 $10 invalidate *1 $1 j");
        talk.says(writer, "flushdb");
        assert_eq!(talk.hears(reader), ">2 $10 invalidate _");
        assert_eq!(talk.says(reader, "flushall"), "+OK >2 $10 invalidate _");
    }

    #[test]
    fn inside_of_exec_all_is_told_at_its_end() {
        let mut talk = Conversation::new("");
        let client = talk.connect_resp3();
        talk.says(client, "client tracking on");
        for command in ["multi", "get k", "set k 2", "get k", "set k 3"] {
            talk.says(client, command);
        }
        let invalidation = ">2 $10 invalidate *1 $1 k";
        assert_eq!(
            talk.says(client, "exec"),
            alloc::format!("*4 _ +OK $1 2 +OK {invalidation} {invalidation}")
        );
    }

    #[test]
    fn expiry_is_a_change() {
        let mut talk = Conversation::new("");
        let (reader, writer) = (talk.connect_resp3(), talk.connect());
        talk.says(reader, "client tracking on");
        talk.says(writer, "set k v px 10");
        talk.says(reader, "get k");
        talk.wait_ms(500);
        assert_eq!(talk.hears(reader), ">2 $10 invalidate *1 $1 k");
    }

    #[test]
    fn opting_in_and_out() {
        let mut talk = Conversation::new("");
        let (reader, writer) = (talk.connect_resp3(), talk.connect());
        assert!(
            talk.says(reader, "client caching yes").starts_with("-ERR CLIENT CACHING can be called only")
        );
        talk.says(reader, "client tracking on optin");
        assert!(talk.says(reader, "client caching no").starts_with("-ERR CLIENT CACHING NO is only valid"));
        talk.says(reader, "get a");
        talk.says(reader, "client caching yes");
        talk.says(reader, "get b");
        talk.says(reader, "get c");
        talk.says(writer, "mset a 1 b 1 c 1");
        assert_eq!(talk.hears(reader), ">2 $10 invalidate *1 $1 b");
        talk.says(reader, "client tracking off");
        talk.says(reader, "client tracking on optout");
        talk.says(reader, "client caching no");
        for command in ["multi", "get a", "exec", "get b"] {
            talk.says(reader, command);
        }
        talk.says(writer, "mset a 1 b 1");
        assert_eq!(talk.hears(reader), ">2 $10 invalidate *1 $1 b");
    }

    #[test]
    fn prefixes_are_broadcast_at_the_end_of_the_turn() {
        let mut talk = Conversation::new("");
        let (reader, writer) = (talk.connect_resp3(), talk.connect());
        assert!(talk.says(reader, "client tracking on bcast prefix foo prefix foobar").starts_with(
            "-ERR Prefix 'foo' overlaps with another provided prefix 'foobar'. Prefixes for a single client"
        ));
        talk.says(reader, "client tracking on bcast prefix foo prefix bar noloop");
        assert!(talk.says(reader, "client tracking on bcast prefix fo").starts_with(
            "-ERR Prefix 'fo' overlaps with an existing prefix 'foo'. Prefixes for a single client"
        ));
        talk.says(writer, "mset foo2 b bar1 c foo1 e k 1");
        assert_eq!(talk.hears(reader), ">2 $10 invalidate *1 $4 bar1 >2 $10 invalidate *2 $4 foo1 $4 foo2");
        assert_eq!(talk.says(reader, "set foo1 x"), "+OK");
        assert_eq!(
            talk.says(reader, "client trackinginfo"),
            "%3 $5 flags ~3 $2 on $5 bcast $6 noloop $8 redirect :0 $8 prefixes *2 $3 bar $3 foo"
        );
        assert!(
            talk.says(reader, "client tracking on").starts_with("-ERR You can't switch BCAST mode on/off")
        );
    }

    #[test]
    fn another_connection_can_be_told_instead() {
        let mut talk = Conversation::new("save \"\"");
        let (reader, target, writer) = (talk.connect(), talk.connect(), talk.connect());
        assert_eq!(
            talk.says(reader, "client tracking on redirect 99"),
            "-ERR The client ID you want redirect to does not exist"
        );
        talk.says(target, "subscribe __redis__:invalidate");
        talk.says(reader, "client tracking on redirect 2");
        talk.says(reader, "get k");
        talk.says(writer, "set k v");
        assert_eq!(talk.hears(target), "*3 $7 message $20 __redis__:invalidate *1 $1 k");
        talk.says(writer, "flushall");
        assert_eq!(talk.hears(target), "*3 $7 message $20 __redis__:invalidate $-1");
        talk.says(reader, "hello 3");
        talk.says(reader, "get k");
        talk.disconnect(target);
        talk.says(writer, "set k v");
        assert_eq!(talk.hears(reader), ">2 $21 tracking-redir-broken :2");
        assert_eq!(
            talk.says(reader, "client trackinginfo"),
            "%3 $5 flags ~2 $2 on $15 broken_redirect $8 redirect :2 $8 prefixes *0"
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let mut talk = Conversation::new("tracking-table-max-keys 2");
        let client = talk.connect_resp3();
        talk.says(client, "client tracking on");
        assert_eq!(talk.says(client, "mget a b c"), "*3 _ _ _ >2 $10 invalidate *1 $1 a");
        assert_eq!(talk.node.tracking.key_count(), 2);
    }

    #[test]
    fn options_must_fit() {
        let mut talk = Conversation::new("");
        let client = talk.connect();
        talk.says(client, "client tracking on optin");
        for (options, error) in [
            ("foo", "-ERR syntax error"),
            ("on prefix", "-ERR syntax error"),
            ("on prefix a", "-ERR PREFIX option requires BCAST mode to be enabled"),
            ("on optin optout", "-ERR You can't specify both OPTIN mode and OPTOUT mode"),
            (
                "on optout",
                "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                 re-enabling it with a different mode.",
            ),
            ("on redirect 1 redirect 1", "-ERR A client can only redirect to a single other client"),
        ] {
            assert_eq!(talk.says(client, &alloc::format!("client tracking {options}")), error);
        }
        talk.says(client, "client tracking off");
        assert_eq!(talk.says(client, "client getredir"), ":-1");
        talk.says(client, "client tracking on redirect 1");
        assert_eq!(talk.says(client, "client getredir"), ":1");
        talk.says(client, "reset");
        assert!(talk.node.tracking.is_unused());
    }
}
