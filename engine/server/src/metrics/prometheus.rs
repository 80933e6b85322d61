//! The figures in Prometheus's text format, version 0.0.4.
//!
//! Always true: every name ends with its unit, counters with `_total`; each has a line of help and one of type.

use std::fmt::Write;

use perdura_core::{
    node::{Figures, HostFacts, Work},
    persist::journal::SYNC_STEPS,
};

/// All of them.
pub(super) fn text(figures: &Figures, facts: &HostFacts) -> String {
    let mut page = Page(String::new());
    page.server(figures, facts);
    page.exposure(figures);
    page.syncs(figures);
    page.files(figures);
    page.work("snapshot", "RDB snapshots", &figures.snapshots);
    page.work("rewrite", "Rewrites of the append-only file", &figures.rewrites);
    page.work("backup", "Verified backups", &figures.backups);
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.0, "# HELP perdura_{name} {help}\n# TYPE perdura_{name} {kind}\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "perdura_{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "perdura_{name} {value}");
    }

    fn server(&mut self, figures: &Figures, facts: &HostFacts) {
        let whole = |number: u64| number as f64;
        self.head("info", "gauge", "Version of the server.");
        let _ = writeln!(self.0, "perdura_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        self.gauge("uptime_seconds", "Since the server started.", whole(figures.uptime_s));
        let is_loading = figures.loading.is_some();
        self.gauge("loading", "1 while the data set is being loaded.", f64::from(u8::from(is_loading)));
        let percent = figures.loading.map_or(100.0, |progress| progress.percent());
        self.gauge("loading_done_ratio", "Share of the data set that is loaded, 0 to 1.", percent / 100.0);
        self.gauge("connected_clients", "Connected clients.", whole(figures.clients));
        self.gauge("blocked_clients", "Clients in a blocking command.", whole(figures.clients_blocked));
        self.gauge("held_clients", "Clients whose replies wait for the disk.", whole(figures.clients_held));
        self.counter("connections_total", "Connections taken.", figures.connections);
        self.counter("connections_rejected_total", "Connections refused.", figures.connections_rejected);
        self.counter("commands_total", "Commands run.", figures.commands);
        self.counter("error_replies_total", "Error replies.", figures.error_replies);
        self.counter("input_bytes_total", "Bytes received.", figures.input_bytes);
        self.counter("output_bytes_total", "Bytes sent.", figures.output_bytes);
        self.gauge("keys", "Keys of all databases.", whole(figures.keys));
        self.counter("keys_expired_total", "Keys removed because their time had come.", figures.keys_expired);
        self.counter("keys_evicted_total", "Keys removed for want of memory.", figures.keys_evicted);
        self.counter("lookup_hits_total", "Lookups that found a key.", figures.hits);
        self.counter("lookup_misses_total", "Lookups that found none.", figures.misses);
        self.gauge("memory_bytes", "Memory of data, clients and log buffers.", whole(figures.memory));
        self.gauge("memory_peak_bytes", "Most of it so far.", whole(figures.memory_peak));
        self.gauge("memory_limit_bytes", "maxmemory, 0 for no limit.", whole(figures.memory_max));
        self.gauge("memory_resident_bytes", "Resident memory of the process.", whole(facts.rss));
        self.head("cpu_seconds_total", "counter", "Processor time of the process.");
        for (mode, us) in [("system", facts.cpu_us.0), ("user", facts.cpu_us.1)] {
            let _ = writeln!(self.0, "perdura_cpu_seconds_total{{mode=\"{mode}\"}} {}", us as f64 / 1e6);
        }
    }

    fn exposure(&mut self, figures: &Figures) {
        let exposure = &figures.exposure;
        self.head("log_policy", "gauge", "How the log is synced: the one that applies is 1.");
        for policy in ["none", "no", "everysec", "always"] {
            let applies = u8::from(policy == exposure.policy);
            let _ = writeln!(self.0, "perdura_log_policy{{policy=\"{policy}\"}} {applies}");
        }
        let bytes = exposure.power_loss_bytes as f64;
        self.gauge("power_loss_bytes", "Bytes of the log that a loss of power would take now.", bytes);
        let commands = exposure.power_loss_commands as f64;
        self.gauge("power_loss_commands", "Commands that a loss of power would take now.", commands);
        let seconds = exposure.power_loss_ms as f64 / 1000.0;
        self.gauge("power_loss_seconds", "Age of the oldest of them.", seconds);
        let bytes = exposure.kill_loss_bytes as f64;
        self.gauge(
            "kill_loss_bytes",
            "Bytes of the log, none answered, that a kill -9 would take now.",
            bytes,
        );
        let takes = f64::from(u8::from(figures.takes_writes));
        self.gauge("takes_writes", "0 while writes are refused.", takes);
        let is_broken = f64::from(u8::from(figures.is_log_broken));
        self.gauge("log_broken", "1 while the file of the log cannot be trusted.", is_broken);
    }

    fn syncs(&mut self, figures: &Figures) {
        let stats = &figures.syncs;
        self.head("sync_seconds", "histogram", "Duration of syncs of the log.");
        let mut within = 0;
        for (step, count) in stats.sync_counts[..SYNC_STEPS - 1].iter().enumerate() {
            within += count;
            let limit_s = (1u64 << step) as f64 / 1e6;
            let _ = writeln!(self.0, "perdura_sync_seconds_bucket{{le=\"{limit_s}\"}} {within}");
        }
        let _ = writeln!(self.0, "perdura_sync_seconds_bucket{{le=\"+Inf\"}} {}", stats.syncs);
        let _ = writeln!(self.0, "perdura_sync_seconds_sum {}", stats.sync_total_us as f64 / 1e6);
        let _ = writeln!(self.0, "perdura_sync_seconds_count {}", stats.syncs);
        let seconds = |us: u64| us as f64 / 1e6;
        self.gauge("sync_last_seconds", "Duration of the last sync.", seconds(stats.last_sync_us));
        self.gauge("sync_slowest_seconds", "Duration of the slowest sync.", seconds(stats.slowest_sync_us));
        self.counter("sync_failures_total", "Syncs and writes of the log that failed.", stats.failures);
        self.counter(
            "sync_lags_total",
            "Times that replies waited because the disk fell behind.",
            stats.lags,
        );
    }

    fn files(&mut self, figures: &Figures) {
        self.gauge("log_bytes", "Length of the append-only set.", figures.log_bytes as f64);
        self.gauge("log_base_bytes", "Length of its base.", figures.log_base_bytes as f64);
        if let Some(free) = figures.disk_free {
            self.gauge("disk_free_bytes", "Room on the disk.", free as f64);
        }
        self.gauge("copy_on_write_bytes", "Memory the running child has cost.", figures.cow_bytes as f64);
    }

    fn work(&mut self, name: &str, what: &str, work: &Work) {
        let is_running = f64::from(u8::from(work.running.is_some()));
        self.gauge(&format!("{name}_running"), &format!("{what}: 1 while one is made."), is_running);
        let share = work.running.map_or(0.0, |progress| progress.percent()) / 100.0;
        self.gauge(
            &format!("{name}_done_ratio"),
            &format!("{what}: share of it that is done, 0 to 1."),
            share,
        );
        self.counter(&format!("{name}s_total"), &format!("{what} begun."), work.count);
        let has_failed = f64::from(u8::from(work.has_failed));
        self.gauge(&format!("{name}_failed"), &format!("{what}: 1 if the last one failed."), has_failed);
        if let Some(ms) = work.last_ms {
            self.gauge(
                &format!("{name}_last_seconds"),
                &format!("{what}: how long it took."),
                ms as f64 / 1000.0,
            );
        }
        if let Some(at) = work.last_good_s {
            let help = format!("{what}: when the last good one was complete, since 1970.");
            self.gauge(&format!("{name}_last_good_timestamp_seconds"), &help, at as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_sample_has_help_and_type_and_no_name_comes_twice() {
        let work = Work { last_ms: Some(1500), last_good_s: Some(7), ..Work::default() };
        let figures = Figures { snapshots: work, ..Figures::default() };
        let text = text(&figures, &HostFacts::default());
        let mut known = BTreeSet::new();
        let mut name = "";
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                name = help.split(' ').next().expect("a name");
                assert!(known.insert(name), "{name} twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                assert!(kind.starts_with(&format!("{name} ")), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                assert!(sample.starts_with(name), "{line} under {name}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(text.contains("\nperdura_snapshot_last_seconds 1.5\n"), "{text}");
    }

    #[test]
    fn buckets_of_syncs_add_up() {
        let mut figures = Figures::default();
        figures.syncs.sync_counts[3] = 2;
        figures.syncs.sync_counts[SYNC_STEPS - 1] = 1;
        figures.syncs.syncs = 3;
        let text = text(&figures, &HostFacts::default());
        for line in
            ["bucket{le=\"0.000004\"} 0", "bucket{le=\"0.000008\"} 2", "bucket{le=\"+Inf\"} 3", "count 3"]
        {
            assert!(text.contains(&format!("\nperdura_sync_seconds_{line}\n")), "{line} in {text}");
        }
    }
}
