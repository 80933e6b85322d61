//! `maxmemory-clients`: who is cut off when all clients together take too much.
//!
//! Exists beside the limits of single clients because many that are each within theirs can still fill the machine.
//!
//! Always true: the largest go first, by size classes that double, and in one class whoever came first; nobody goes who said
//! CLIENT NO-EVICT, though what they take counts; once a command is through, memory is below the limit or nobody is left to go.
//!
//! Not here: what a client takes (`session.rs`), the limits of each (`cron.rs`).

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Node;
use crate::{
    config::MemoryOrPercent,
    host::{ClientId, Effects},
    session::Session,
};

/// Smallest limit there is: with less nobody could say so any more.
const LIMIT_BYTES_MIN: u64 = 128 << 10;

/// Clients below this are all of one class: which of them goes makes no difference.
const SMALLEST_CLASS_BYTES: usize = 32 << 10;

impl Node {
    /// Cuts clients off until all together are below `maxmemory-clients`. `out` is the session that is out of its slot, if one is.
    pub(super) fn evict_clients(&mut self, out: Option<&mut Session>, effects: &mut Effects) {
        let Some(limit) = self.client_memory_limit() else { return };
        let memory = match &out {
            Some(session) => self.sessions.memory_with(session),
            None => self.sessions.memory(),
        };
        if memory >= limit {
            self.evict_largest(limit, out, effects);
        }
    }

    /// Bytes that all clients may take, or `None` if there is no limit.
    fn client_memory_limit(&self) -> Option<usize> {
        let limit = match self.config.maxmemory_clients {
            MemoryOrPercent::Bytes(bytes) => bytes,
            MemoryOrPercent::Percent(percent) => {
                (u128::from(self.config.maxmemory) * u128::from(percent) / 100) as u64
            }
        };
        (limit > 0).then(|| limit.max(LIMIT_BYTES_MIN) as usize)
    }

    fn evict_largest(&mut self, limit: usize, mut out: Option<&mut Session>, effects: &mut Effects) {
        let (mut memory, candidates) = self.evictable(out.as_deref());
        for (client, bytes) in candidates {
            if memory < limit {
                break;
            }
            memory -= bytes;
            match &mut out {
                Some(session) if session.client == client => self.evict_client(session, effects),
                _ => self.with_session(client, |node, session| node.evict_client(session, effects)),
            }
        }
    }

    fn evict_client(&mut self, session: &mut Session, effects: &mut Effects) {
        self.counters.evicted_clients += 1;
        tracing::info!("Evicting client: {}", self.describe(session, 0));
        self.close_session(session, true, effects);
        // Its memory is free from here on, so that no key has to go for it too.
        session.discard();
    }

    /// What the clients take that are not on their way out, and which of them may go, in that order.
    fn evictable(&self, out: Option<&Session>) -> (usize, Vec<(ClientId, usize)>) {
        let staying = self.sessions.iter().chain(out).filter(|session| !session.is_closing);
        let mut memory = 0;
        let mut candidates = Vec::new();
        for session in staying {
            let bytes = session.memory();
            memory += bytes;
            if !session.no_evict {
                candidates.push((Reverse(size_class(bytes)), session.number, session.client, bytes));
            }
        }
        candidates.sort();
        (memory, candidates.into_iter().map(|(_, _, client, bytes)| (client, bytes)).collect())
    }
}

fn size_class(bytes: usize) -> u32 {
    bytes.max(SMALLEST_CLASS_BYTES).ilog2()
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use crate::{
        host::{ClientId, Engine},
        node::conversation::Conversation,
    };

    /// Starts a command of this size and leaves it unfinished.
    fn hold(server: &mut Conversation, client: ClientId, bytes: usize) {
        let request = format!("*2\r\n${bytes}\r\n{}", "v".repeat(bytes));
        server.node.receive(server.now, client, request.as_bytes(), &mut server.effects);
        server.turn();
    }

    /// Which of these clients are cut off.
    fn gone<const N: usize>(server: &Conversation, clients: [ClientId; N]) -> [bool; N] {
        clients.map(|client| server.is_closing(client))
    }

    fn evicted(server: &mut Conversation, client: ClientId) -> String {
        let stats = server.says(client, "INFO stats");
        stats.split(' ').find_map(|line| line.strip_prefix("evicted_clients:")).expect("a line").into()
    }

    #[test]
    fn what_an_evicted_client_took_is_free_at_once() {
        let mut server = Conversation::new("");
        let (control, reader, sender) = (server.connect(), server.connect(), server.connect());
        server.says(control, "SETRANGE k 3000000 x");
        server.sends(reader, "GET k");
        hold(&mut server, sender, 2 << 20);
        let before = server.node.used_memory();
        server.says(control, "CONFIG SET maxmemory-clients 1000000");
        assert_eq!(gone(&server, [reader, sender]), [true, true]);
        assert!(before - server.node.used_memory() > 5_000_000, "{before}");
        // The host had taken some of it before it heard of the end.
        server.node.sent(server.now, reader, 1000, &mut server.effects);
    }

    #[test]
    fn the_largest_go_first_and_only_as_many_as_needed() {
        let mut server = Conversation::new("");
        let control = server.connect();
        let clients = [server.connect(), server.connect(), server.connect(), server.connect()];
        for (client, kib) in clients.into_iter().zip([100, 500, 1100, 510]) {
            hold(&mut server, client, kib << 10);
        }
        server.says(control, "CONFIG SET maxmemory-clients 1500000");
        assert_eq!(gone(&server, clients), [false, false, true, false]);
        // Of one class, whoever came first.
        server.says(control, "CONFIG SET maxmemory-clients 1000000");
        assert_eq!(gone(&server, clients), [false, true, true, false]);
        assert_eq!(evicted(&mut server, control), "2");
        server.says(control, "CONFIG SET maxmemory-clients 0");
        let fresh = server.connect();
        hold(&mut server, fresh, 4 << 20);
        assert_eq!(gone(&server, [fresh]), [false]);
    }

    #[test]
    fn no_evict_keeps_a_client_and_counts_what_it_takes() {
        let mut server = Conversation::new("maxmemory-clients 1mb");
        let (control, kept, other) = (server.connect(), server.connect(), server.connect());
        server.says(control, "CLIENT NO-EVICT on");
        server.says(kept, "CLIENT NO-EVICT on");
        hold(&mut server, kept, 2 << 20);
        assert_eq!(gone(&server, [control, kept, other]), [false, false, true]);
    }

    #[test]
    fn a_share_follows_maxmemory_and_is_never_too_little_to_speak() {
        let mut server = Conversation::new("maxmemory-clients 10%");
        let (control, client) = (server.connect(), server.connect());
        server.says(control, "CLIENT NO-EVICT on");
        hold(&mut server, client, 3 << 20);
        assert_eq!(gone(&server, [client]), [false]);
        server.says(control, "CONFIG SET maxmemory 40mb");
        assert_eq!(gone(&server, [client]), [false]);
        server.says(control, "CONFIG SET maxmemory 20mb");
        assert_eq!(gone(&server, [client]), [true]);
        server.disconnect(client);
        server.says(control, "CONFIG SET maxmemory-clients 1");
        let small = server.connect();
        assert_eq!(server.says(small, "PING"), "+PONG");
    }

    #[test]
    fn a_command_too_large_for_all_is_not_run() {
        let mut server = Conversation::new("maxmemory-clients 1mb");
        let (control, client) = (server.connect(), server.connect());
        let (text, rest) = ("v".repeat(900 << 10), "v".repeat(200 << 10));
        let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{text}", 1100 << 10);
        server.node.receive(server.now, client, request.as_bytes(), &mut server.effects);
        let line = server.says(control, "CLIENT LIST");
        assert!(line.contains(" qbuf=921600 ") && line.contains(" argv-mem=30 "), "{line}");
        assert_eq!(gone(&server, [client]), [false]);
        server.node.receive(server.now, client, format!("{rest}\r\n").as_bytes(), &mut server.effects);
        assert_eq!(gone(&server, [client]), [true]);
        assert_eq!(server.says(control, "EXISTS k"), ":0");
    }

    #[test]
    fn a_large_argument_takes_no_more_than_its_length() {
        let mut server = Conversation::new("maxmemory-clients 1mb");
        let client = server.connect();
        let header = format!("*2\r\n${}\r\n", 900 << 10);
        server.node.receive(server.now, client, header.as_bytes(), &mut server.effects);
        for _ in 0..90 {
            server.node.receive(server.now, client, &[b'v'; 10 << 10], &mut server.effects);
        }
        assert_eq!(gone(&server, [client]), [false]);
    }

    #[test]
    fn what_is_owed_queued_and_named_counts() {
        let check = |once: &str, again: &[&str]| {
            let mut server = Conversation::new("maxmemory-clients 200kb");
            let (control, client) = (server.connect(), server.connect());
            server.says(control, "SETRANGE large 20000 x");
            server.sends(client, once);
            for round in 0..2000 {
                for line in again {
                    // Nothing is read.
                    server.sends(client, &line.replace('#', &format!("{round:09}")));
                }
                server.turn();
                if server.is_closing(client) {
                    assert_eq!(evicted(&mut server, control), "1", "{again:?}");
                    assert!(round > 5, "{again:?}");
                    return;
                }
            }
            panic!("still there: {again:?}");
        };
        check("PING", &["GET large"]);
        check("CLIENT REPLY off", &["WATCH a# b# c#"]);
        check("PING", &["PSUBSCRIBE a#", "SUBSCRIBE a# b# c#"]);
        check("PING", &["SSUBSCRIBE a# b# c#"]);
        check("MULTI", &["ECHO ###########################################"]);
        check("HELLO 3", &["CLIENT TRACKING on BCAST PREFIX a# PREFIX b# PREFIX c#"]);
    }
}
