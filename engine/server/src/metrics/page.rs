//! The page with live plots, and the figures it asks for once a second.
//!
//! Always true: the page needs nothing but this server; what it shows comes from `/figures.json`.

use std::collections::VecDeque;

use perdura_core::node::{Figures, Work};
use serde_json::{Value, json};

use super::Point;

/// The page itself.
pub(super) const HTML: &str = include_str!("page.html");

/// What the page shows, as JSON.
pub(super) fn figures(latest: &Figures, points: &VecDeque<Point>) -> String {
    let rows: Vec<Value> = points.iter().map(row).collect();
    let exposure = &latest.exposure;
    json!({
        "points": rows,
        "now": {
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": latest.uptime_s,
            "clients": latest.clients,
            "keys": latest.keys,
            "memory_max": latest.memory_max,
            "policy": exposure.policy,
            "exposed_bytes": exposure.power_loss_bytes,
            "exposed_commands": exposure.power_loss_commands,
            "exposed_ms": exposure.power_loss_ms,
            "takes_writes": latest.takes_writes,
            "loading": latest.loading.map(|progress| json!({
                "percent": progress.percent(), "eta_s": progress.eta_s(),
            })),
            "slowest_sync_us": latest.syncs.slowest_sync_us,
            "log_bytes": latest.log_bytes,
            "cow_bytes": latest.cow_bytes,
            "snapshots": work(&latest.snapshots),
            "rewrites": work(&latest.rewrites),
            "backups": work(&latest.backups),
        },
    })
    .to_string()
}

fn row(point: &Point) -> Value {
    let figures = &point.figures;
    let syncs = &figures.syncs;
    let running = |work: &Work| work.running.map(|progress| progress.percent());
    json!({
        "at_ms": figures.wall_ms,
        "commands": figures.commands,
        "memory": figures.memory,
        "exposed_bytes": point.exposed_bytes,
        "exposed_ms": point.exposed_ms,
        "syncs": syncs.syncs,
        "sync_total_us": syncs.sync_total_us,
        "snapshot": running(&figures.snapshots),
        "rewrite": running(&figures.rewrites),
        "backup": running(&figures.backups),
    })
}

fn work(work: &Work) -> Value {
    json!({
        "running": work.running.map(|progress| json!({ "percent": progress.percent(), "eta_s": progress.eta_s() })),
        "has_failed": work.has_failed,
        "count": work.count,
        "last_ms": work.last_ms,
        "last_good_s": work.last_good_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use perdura_core::node::Progress;

    #[test]
    fn the_page_asks_nobody_else() {
        for word in ["http://", "https://", "src=", "@import", "url("] {
            let strangers = HTML.matches(word).count()
                - HTML.matches("http://www.w3.org/2000/svg").count() * usize::from(word == "http://");
            assert_eq!(strangers, 0, "{word}");
        }
    }

    #[test]
    fn work_under_way_is_told_with_its_end() {
        let running = Some(Progress { total: 4, done: 1, elapsed_us: 2_000_000 });
        let latest = Figures { backups: Work { running, ..Work::default() }, ..Figures::default() };
        let points = VecDeque::from([Point { figures: latest, ..Point::default() }]);
        let value: Value = serde_json::from_str(&figures(&latest, &points)).expect("JSON");
        assert_eq!(value["now"]["backups"]["running"], json!({ "percent": 25.0, "eta_s": 6 }));
        assert_eq!(value["points"][0]["backup"], 25.0);
        assert_eq!(value["points"][0]["rewrite"], Value::Null);
    }
}
