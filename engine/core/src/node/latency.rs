//! LATENCY: spikes by event, and how the durations of each command are spread.
//!
//! A spike is an event that took `latency-monitor-threshold` milliseconds or more; each event keeps its latest 160, one
//! for each second. Durations of commands go into histograms whose buckets are a sixteenth of a power of two wide, so a
//! percentile is right within 6 %.
//!
//! Always true: nothing is decided by a duration; they are shown and nothing else.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    format,
    string::String,
    vec,
    vec::Vec,
};

use super::Node;
use crate::{
    commands::{Args, CommandResult, printable, spec::flag, table::Row},
    error::Error,
    host::FileId,
    session::Session,
};

/// Spikes remembered for each event.
const SPIKES_MAX: usize = 160;

#[derive(Clone, Copy, Debug)]
struct Spike {
    at_s: u64,
    ms: u64,
}

/// The latest spikes of one event.
#[derive(Clone, Debug, Default)]
struct History {
    /// Oldest first.
    spikes: VecDeque<Spike>,
    ms_max: u64,
}

/// Spikes of all events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spikes {
    by_event: BTreeMap<&'static str, History>,
}

impl Spikes {
    fn add(&mut self, event: &'static str, at_s: u64, ms: u64) {
        let history = self.by_event.entry(event).or_default();
        history.ms_max = history.ms_max.max(ms);
        match history.spikes.back_mut() {
            Some(last) if last.at_s == at_s => last.ms = last.ms.max(ms),
            _ => history.spikes.push_back(Spike { at_s, ms }),
        }
        if history.spikes.len() > SPIKES_MAX {
            history.spikes.pop_front();
        }
    }

    fn find(&self, event: &[u8]) -> Option<(&'static str, &History)> {
        self.by_event
            .iter()
            .find(|(name, _)| name.as_bytes() == event)
            .map(|(name, history)| (*name, history))
    }
}

/// Buckets in each power of two.
const BUCKETS_PER_POWER: u64 = 16;
/// Powers of two told apart: up to 2^40 ns, 18 minutes.
const POWERS: u64 = 37;

/// How often something took how long.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    fn new() -> Histogram {
        Histogram { counts: vec![0; (BUCKETS_PER_POWER * POWERS) as usize], total: 0 }
    }

    fn add(&mut self, ns: u64) {
        let last = self.counts.len() - 1;
        let count = &mut self.counts[bucket_of(ns).min(last)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// The duration, nanoseconds, that this share (0 to 100) of all stayed within.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        let wanted = (percent / 100.0 * self.total as f64 + 0.5) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted.max(1) {
                return bucket_end(bucket) - 1;
            }
        }
        0
    }

    /// For each power of two of microseconds, how many took no longer; from the first that has any to the one that has all.
    fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut limit_us = 1;
        loop {
            // A microsecond counts as 1024 ns here, so that limits fall between buckets.
            let fits = |&bucket: &usize| bucket_end(bucket) <= limit_us * 1024;
            let within: u64 =
                (0..self.counts.len()).take_while(fits).map(|bucket| u64::from(self.counts[bucket])).sum();
            if within > 0 {
                steps.push((limit_us, within));
            }
            if within == self.total || limit_us > 1 << POWERS {
                return steps;
            }
            limit_us *= 2;
        }
    }
}

/// The bucket of a duration: itself below 16, then its first five bits.
fn bucket_of(ns: u64) -> usize {
    if ns < BUCKETS_PER_POWER {
        return ns as usize;
    }
    let power = u64::from(ns.ilog2());
    let within = (ns >> (power - 4)) & (BUCKETS_PER_POWER - 1);
    ((power - 3) * BUCKETS_PER_POWER + within) as usize
}

/// The least duration above a bucket.
fn bucket_end(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    if next <= BUCKETS_PER_POWER {
        return next;
    }
    let power = next / BUCKETS_PER_POWER + 3;
    (1 << power) + ((next % BUCKETS_PER_POWER) << (power - 4))
}

/// Durations of all commands, by the number of their row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    by_row: BTreeMap<usize, Box<Histogram>>,
}

impl Latencies {
    /// Forgets all.
    pub(crate) fn reset(&mut self) {
        self.by_row.clear();
    }

    /// Commands that were run, by row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Histogram)> {
        self.by_row.iter().map(|(&id, histogram)| (id, &**histogram))
    }
}

impl Node {
    /// Takes note of how long a command took.
    pub(super) fn note_duration(&mut self, row: &Row, elapsed_ns: u64) {
        if self.config.latency_tracking {
            self.latencies.by_row.entry(row.id).or_insert_with(|| Box::new(Histogram::new())).add(elapsed_ns);
        }
        let event = if row.command.has(flag::FAST) { "fast-command" } else { "command" };
        self.note_latency(event, elapsed_ns / 1000);
    }

    /// Does something and takes note of how long it took.
    pub(super) fn timed<R>(&mut self, event: &'static str, work: impl FnOnce(&mut Node) -> R) -> R {
        let started = (self.seeds.stopwatch)();
        let result = work(self);
        let elapsed_ns = (self.seeds.stopwatch)().saturating_sub(started);
        self.note_latency(event, elapsed_ns / 1000);
        result
    }

    /// Takes note of how long something took that may keep clients waiting.
    pub(super) fn note_latency(&mut self, event: &'static str, elapsed_us: u64) {
        let threshold_ms = self.config.latency_monitor_threshold;
        let ms = elapsed_us / 1000;
        if threshold_ms > 0 && ms >= threshold_ms {
            self.spikes.add(event, self.now.wall_s(), ms);
        }
    }

    /// Takes note of how long the batch that has just been appended to this file took, under its own name and under what
    /// else the disk was asked for meanwhile.
    pub(super) fn note_append_latency(&mut self, file: FileId) {
        let Some(elapsed_us) = self.aof.journal.appending_us(self.now, file) else { return };
        let event = if self.aof.journal.is_syncing() {
            "aof-write-pending-fsync"
        } else if self.has_child() {
            "aof-write-active-child"
        } else {
            "aof-write-alone"
        };
        self.note_latency(event, elapsed_us);
        self.note_latency("aof-write", elapsed_us);
    }

    pub(super) fn latency_latest(&mut self, session: &mut Session) {
        let reply = &mut session.reply;
        reply.array(self.spikes.by_event.len());
        for (event, history) in &self.spikes.by_event {
            let last = history.spikes.back().expect("an event is there because of a spike");
            reply.array(4);
            reply.bulk(event.as_bytes());
            reply.integer(last.at_s as i64);
            reply.integer(last.ms as i64);
            reply.integer(history.ms_max as i64);
        }
    }

    pub(super) fn latency_history(&mut self, session: &mut Session, args: Args<'_>) {
        let history = self.spikes.find(args[2]).map(|(_, history)| history);
        let spikes = history.into_iter().flat_map(|history| &history.spikes);
        session.reply.array(history.map_or(0, |history| history.spikes.len()));
        for spike in spikes {
            session.reply.array(2);
            session.reply.integer(spike.at_s as i64);
            session.reply.integer(spike.ms as i64);
        }
    }

    pub(super) fn latency_reset(&mut self, session: &mut Session, args: Args<'_>) {
        let before = self.spikes.by_event.len();
        if args.len() == 2 {
            self.spikes.by_event.clear();
        } else {
            self.spikes.by_event.retain(|event, _| !args[2..].contains(&event.as_bytes()));
        }
        session.reply.integer((before - self.spikes.by_event.len()) as i64);
    }

    pub(super) fn latency_graph(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let Some((event, history)) = self.spikes.find(args[2]) else {
            return Err(Error::text(format!("ERR No samples available for event '{}'", printable(args[2]))));
        };
        let least = history.spikes.iter().map(|spike| spike.ms).min().unwrap_or(0);
        let mut text = format!(
            "{event} - high {} ms, low {least} ms (all time high {} ms)\n{}\n",
            history.spikes.iter().map(|spike| spike.ms).max().unwrap_or(0),
            history.ms_max,
            "-".repeat(80)
        );
        for spike in &history.spikes {
            // 60 columns for the longest.
            let width = (spike.ms * 60 / history.ms_max.max(1)) as usize;
            let age_s = self.now.wall_s().saturating_sub(spike.at_s);
            text += &format!("{:>6}s ago {:>7} ms {}\n", age_s, spike.ms, "#".repeat(width.max(1)));
        }
        session.reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    pub(super) fn latency_doctor(&mut self, session: &mut Session) {
        let text = self.latency_report();
        session.reply.verbatim(*b"txt", text.as_bytes());
    }

    fn latency_report(&self) -> String {
        if self.config.latency_monitor_threshold == 0 {
            return "Latency is not being watched. Turn it on with \"CONFIG SET latency-monitor-threshold <milliseconds>\".\n".into();
        }
        if self.spikes.by_event.is_empty() {
            return "No latency spikes have been seen. Nothing to advise.\n".into();
        }
        let mut text = String::from("Latency spikes, by event:\n\n");
        for (event, history) in &self.spikes.by_event {
            let count = history.spikes.len() as u64;
            let sum: u64 = history.spikes.iter().map(|spike| spike.ms).sum();
            text += &format!(
                "- {event}: {count} spikes, {} ms on average, {} ms at worst.",
                sum / count,
                history.ms_max
            );
            text += advice(event);
            text.push('\n');
        }
        text
    }

    pub(super) fn latency_histogram(&mut self, session: &mut Session, args: Args<'_>) {
        let chosen: Vec<usize> = if args.len() == 2 {
            self.latencies.by_row.keys().copied().collect()
        } else {
            args[2..].iter().flat_map(|name| self.rows_named(name)).collect()
        };
        let chosen: Vec<usize> =
            chosen.into_iter().filter(|id| self.latencies.by_row.contains_key(id)).collect();
        let reply = &mut session.reply;
        reply.map(chosen.len());
        for id in chosen {
            let histogram = &self.latencies.by_row[&id];
            let steps = histogram.cumulative();
            reply.bulk(self.table.rows()[id].full_name().as_bytes());
            reply.map(2);
            reply.bulk(b"calls");
            reply.integer(histogram.total as i64);
            reply.bulk(b"histogram_usec");
            reply.map(steps.len());
            for (limit_us, within) in steps {
                reply.integer(limit_us as i64);
                reply.integer(within as i64);
            }
        }
    }

    /// Rows a name stands for: its own, and for a container those of its subcommands.
    fn rows_named(&self, name: &[u8]) -> Vec<usize> {
        let Some(row) = self.table.find(name) else { return Vec::new() };
        (row.id..=row.id + row.command.subcommands.len()).collect()
    }
}

fn advice(event: &str) -> &'static str {
    match event {
        "command" => " Look at SLOWLOG for commands that work on many elements.",
        "fast-command" => {
            " These commands are fast by themselves: the machine may be short of processor time or memory."
        }
        "fork" => " Starting a snapshot is slow: much memory, or transparent huge pages.",
        "aof-write" | "aof-write-alone" => {
            " The disk takes writes slowly: it may be busy with others, or the page cache full of what is not written back."
        }
        "aof-write-pending-fsync" => {
            " Writes wait behind a sync of the same file. See the sync histogram of INFO persistence."
        }
        "aof-write-active-child" => " Writes wait while a child writes its own file to the same disk.",
        "eviction-cycle" | "eviction-del" => {
            " More is evicted at a time than should be: 'maxmemory' may be too small for this load."
        }
        "expire-cycle" => {
            " Many keys expire at the same moment: spread their times, or lower 'active-expire-effort'."
        }
        "aof-fsync-always" => " The disk syncs slowly; 'appendfsync everysec' waits for it less often.",
        _ => "",
    }
}

/// What LATENCY HELP says.
pub(super) const HELP: &[(&str, &str)] = &[
    ("DOCTOR", "What the spikes suggest, in words."),
    ("GRAPH <event>", "Spikes of an event as a drawing."),
    ("HISTOGRAM [<command> ...]", "How the durations of commands are spread, in microseconds."),
    ("HISTORY <event>", "Spikes of an event: time and milliseconds."),
    ("LATEST", "Of each event: its latest spike and its longest."),
    ("RESET [<event> ...]", "Forget the spikes of these events, or all."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TestServer;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for bucket in 0..400 {
            let end = bucket_end(bucket);
            assert_eq!(bucket_of(end - 1), bucket);
            assert_eq!(bucket_of(end), bucket + 1);
        }
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.add(us * 1000));
        for (percent, us) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = histogram.percentile(percent) as f64 / 1000.0;
            assert!((found / us - 1.0).abs() < 0.07, "{percent}: {found}");
        }
        assert_eq!(histogram.cumulative().last(), Some(&(1024, 1000)));
    }

    #[test]
    fn spikes_are_kept_by_event() {
        let mut server = TestServer::new("latency-monitor-threshold 10");
        server.check(&[("LATENCY LATEST", "[]"), ("LATENCY HISTORY fork", "[]")]);
        server.node.note_latency("fork", 9_999);
        server.node.note_latency("fork", 20_000);
        server.node.note_latency("fork", 15_000);
        server.advance_ms(1000);
        server.node.note_latency("fork", 12_000);
        server.check(&[
            ("LATENCY LATEST", "[[\"fork\", :1700000001, :12, :20]]"),
            ("LATENCY HISTORY fork", "[[:1700000000, :20], [:1700000001, :12]]"),
            ("LATENCY GRAPH none", "-ERR No samples available for event 'none'"),
            ("LATENCY RESET none", ":0"),
            ("LATENCY RESET", ":1"),
            ("LATENCY LATEST", "[]"),
        ]);
    }

    #[test]
    fn an_append_is_late_by_the_time_it_took() {
        let mut server =
            TestServer::new("latency-monitor-threshold 10\nappendonly yes\nappendfsync everysec");
        server.run_on_slow_disk("SET k v", 9);
        server.check(&[("LATENCY LATEST", "[]")]);
        server.run_on_slow_disk("SET k v", 30);
        server.check(&[
            ("LATENCY HISTORY aof-write", "[[:1700000000, :30]]"),
            ("LATENCY HISTORY aof-write-alone", "[[:1700000000, :30]]"),
            ("LATENCY HISTORY aof-write-pending-fsync", "[]"),
        ]);
        // The tail is synced; a second later the next sync comes with the write.
        server.advance_ms(2_000);
        server.advance_ms(2_000);
        server.run_on_slow_disk("SET k v", 40);
        server.check(&[
            ("LATENCY HISTORY aof-write", "[[:1700000000, :30], [:1700000004, :40]]"),
            ("LATENCY HISTORY aof-write-pending-fsync", "[[:1700000004, :40]]"),
        ]);
    }

    #[test]
    fn durations_are_spread_by_command() {
        let mut server = TestServer::new("");
        server.check(&[
            ("PING", "+PONG"),
            ("CONFIG GET hz", "[\"hz\", \"10\"]"),
            ("LATENCY HISTOGRAM ping get", "[\"ping\", [\"calls\", :1, \"histogram_usec\", [:1, :1]]]"),
            ("LATENCY HISTOGRAM config", "[\"config|get\", [\"calls\", :1, \"histogram_usec\", [:1, :1]]]"),
        ]);
    }
}
