//! MEMORY: where memory goes, computed from the data; what the allocator says, if the host asked it.

use alloc::{format, string::String};

use super::Node;
use crate::{
    commands::{Args, CommandResult, parse_int},
    error::{NOT_AN_INTEGER, SYNTAX},
    resp::Reply,
    session::Session,
    store::db::entry_memory,
};

/// What a key takes beside its name and value: slot and tag in the table, meta, length.
const KEY_OVERHEAD_BYTES: u64 = 15;
/// What an expiry takes: in the entry, and in the order of expiries.
const EXPIRY_OVERHEAD_BYTES: u64 = 32;

/// Memory by use, bytes.
pub(super) struct MemoryUse {
    pub total: u64,
    pub startup: u64,
    pub clients: u64,
    pub log_buffers: u64,
    pub overhead: u64,
    pub dataset: u64,
    pub keys: u64,
}

impl Node {
    /// Memory as the data themselves say; the allocator's own figures come from the host.
    pub(super) fn memory_use(&self) -> MemoryUse {
        let clients = self.sessions.memory();
        let journal = &self.aof.journal;
        let log_buffers = (journal.buffer_len() + journal.retained_len()) as u64;
        let expiring: usize =
            (0..self.store.db_count()).map(|index| self.store.db(index).expiring_len()).sum();
        let tables = self.store.len() as u64 * KEY_OVERHEAD_BYTES + expiring as u64 * EXPIRY_OVERHEAD_BYTES;
        let scripts = self.scripting.memory();
        let caches = scripts.eval + scripts.functions;
        let total = self.used_memory() as u64 + caches;
        let startup = super::cron::FIXED_BYTES as u64;
        let overhead = startup + clients as u64 + log_buffers + tables + caches;
        MemoryUse {
            total: total + log_buffers,
            startup,
            clients: clients as u64,
            log_buffers,
            overhead,
            dataset: (total + log_buffers).saturating_sub(overhead),
            keys: self.store.len() as u64,
        }
    }

    pub(super) fn memory_usage(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        match args[3..] {
            [] => {}
            [word, count] if word.eq_ignore_ascii_case(b"samples") => {
                // Memory is counted, not sampled; the number is only checked.
                if parse_int(count)? < 0 {
                    return Err(SYNTAX);
                }
            }
            [word] if word.eq_ignore_ascii_case(b"samples") => return Err(SYNTAX),
            [_, _] | [_] => return Err(SYNTAX),
            _ => return Err(NOT_AN_INTEGER),
        }
        match self.store.find_in(session.db, args[2]) {
            Some(entry) => session.reply.integer(entry_memory(entry) as i64),
            None => session.reply.null(),
        }
        Ok(())
    }

    pub(super) fn memory_stats(&mut self, session: &mut Session) {
        let used = self.memory_use();
        let facts = (self.hooks.facts)();
        let scripts = self.scripting.memory();
        let reply = &mut session.reply;
        let dbs: alloc::vec::Vec<usize> =
            (0..self.store.db_count()).filter(|&db| !self.store.db(db).is_empty()).collect();
        let counts = [
            ("peak.allocated", self.counters.peak_memory.max(used.total)),
            ("total.allocated", used.total),
            ("startup.allocated", used.startup),
            ("replication.backlog", 0),
            ("clients.slaves", 0),
            ("clients.normal", used.clients),
            ("cluster.links", 0),
            ("aof.buffer", used.log_buffers),
            ("lua.caches", scripts.eval),
            ("functions.caches", scripts.functions),
        ];
        reply.map(counts.len() + dbs.len() + 17);
        put_counts(reply, &counts);
        for db in dbs {
            let expiring = self.store.db(db).expiring_len();
            reply.bulk(format!("db.{db}").as_bytes());
            reply.map(2);
            let table = self.store.db(db).table().memory() as u64;
            put_counts(
                reply,
                &[("overhead.hashtable.main", table), ("overhead.hashtable.expires", expiring as u64 * 24)],
            );
        }
        let data = used.total.saturating_sub(used.startup);
        put_counts(
            reply,
            &[
                ("overhead.total", used.overhead),
                ("keys.count", used.keys),
                ("keys.bytes-per-key", data.checked_div(used.keys).unwrap_or(0)),
                ("dataset.bytes", used.dataset),
            ],
        );
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        put_ratio(reply, "dataset.percentage", 100.0 * ratio(used.dataset, data));
        put_ratio(
            reply,
            "peak.percentage",
            100.0 * ratio(used.total, self.counters.peak_memory.max(used.total)),
        );
        put_counts(
            reply,
            &[
                ("allocator.allocated", facts.allocated),
                ("allocator.active", facts.active),
                ("allocator.resident", facts.resident),
            ],
        );
        put_ratio(reply, "allocator-fragmentation.ratio", ratio(facts.active, facts.allocated));
        put_difference(reply, "allocator-fragmentation.bytes", facts.active, facts.allocated);
        put_ratio(reply, "allocator-rss.ratio", ratio(facts.resident, facts.active));
        put_difference(reply, "allocator-rss.bytes", facts.resident, facts.active);
        put_ratio(reply, "rss-overhead.ratio", ratio(facts.rss, facts.resident));
        put_difference(reply, "rss-overhead.bytes", facts.rss, facts.resident);
        put_ratio(reply, "fragmentation", ratio(facts.rss, used.total));
        put_difference(reply, "fragmentation.bytes", facts.rss, used.total);
    }

    pub(super) fn memory_doctor(&mut self, session: &mut Session) {
        let text = self.memory_report();
        session.reply.verbatim(*b"txt", text.as_bytes());
    }

    fn memory_report(&self) -> String {
        let used = self.memory_use();
        let facts = (self.hooks.facts)();
        // Below this everything is overhead and ratios mean nothing.
        const SMALL_BYTES: u64 = 5 << 20;
        if used.total < SMALL_BYTES {
            return "There is little data here, so there is nothing to advise on.\n".into();
        }
        let mut text = String::new();
        if self.counters.peak_memory as f64 / used.total as f64 > 1.5 {
            text += "- Peak: memory use was over 1.5 times what it is now; the process may keep what it took then. MEMORY PURGE gives it back.\n";
        }
        if facts.allocated > 0 && facts.active as f64 / facts.allocated as f64 > 1.1 {
            text += "- Fragmentation: more than a tenth of the allocator's pages is lost to gaps.\n";
        }
        if used.clients / (self.sessions.len() as u64).max(1) > 200 << 10 {
            text += "- Clients: they have over 200 kb of unread output each on average. Look at CLIENT LIST, field obl.\n";
        }
        if used.log_buffers > 64 << 20 {
            text += "- Log: over 64 mb wait for the disk. It is too slow for this load.\n";
        }
        if text.is_empty() { "Nothing stands out.\n".into() } else { text }
    }

    pub(super) fn memory_malloc_stats(&mut self, session: &mut Session) {
        let facts = (self.hooks.facts)();
        let text = format!(
            "___ {} ___\nAllocated: {}, active: {}, resident: {}, mapped by the process: {}\n",
            facts.allocator, facts.allocated, facts.active, facts.resident, facts.rss
        );
        session.reply.verbatim(*b"txt", text.as_bytes());
    }

    pub(super) fn memory_purge(&mut self, session: &mut Session) {
        (self.hooks.purge_memory)();
        session.reply.ok();
    }
}

fn put_counts(reply: &mut Reply, counts: &[(&str, u64)]) {
    for (name, count) in counts {
        reply.bulk(name.as_bytes());
        reply.integer(*count as i64);
    }
}

fn put_ratio(reply: &mut Reply, name: &str, ratio: f64) {
    reply.bulk(name.as_bytes());
    reply.double(ratio);
}

fn put_difference(reply: &mut Reply, name: &str, more: u64, less: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(more as i64 - less as i64);
}

/// What MEMORY HELP says.
pub(super) const HELP: &[(&str, &str)] = &[
    ("DOCTOR", "What the use of memory suggests, in words."),
    ("MALLOC-STATS", "What the allocator says of itself."),
    ("PURGE", "Ask the allocator to give memory back."),
    ("STATS", "Where memory goes."),
    ("USAGE <key> [SAMPLES <count>]", "Memory of a key with its value, bytes."),
];

#[cfg(test)]
mod tests {
    use crate::node::testing::TestServer;

    #[test]
    fn a_key_s_memory_is_counted() {
        let mut server = TestServer::new("");
        server.check(&[("MEMORY USAGE k", "nil"), ("SET k v", "+OK")]);
        let small: u64 = server.run("MEMORY USAGE k")[1..].parse().expect("a number");
        server.run(&alloc::format!("SET k {}", "x".repeat(1000)));
        let large: u64 = server.run("MEMORY USAGE k SAMPLES 5")[1..].parse().expect("a number");
        assert!(small < 100 && (1000..1400).contains(&large), "{small} {large}");
        server.check(&[
            ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
            ("MEMORY USAGE k SAMPLES", "-ERR syntax error"),
            ("MEMORY PURGE", "+OK"),
        ]);
    }

    #[test]
    fn a_string_that_setrange_makes_takes_no_more_than_it_needs() {
        let mut server = TestServer::new("");
        server.run("SETRANGE k 99999 x");
        let bytes: usize = server.run("MEMORY USAGE k")[1..].parse().expect("a number");
        assert!(bytes < 120_000, "{bytes}");
    }

    #[test]
    fn memory_stats_is_whole() {
        let mut server = TestServer::new("");
        server.run("SET k v");
        let stats = server.run("MEMORY STATS");
        assert!(stats.contains("\"keys.count\", :1,") && stats.contains("\"db.0\", ["), "{stats}");
    }
}
