//! The metrics endpoint: live figures over HTTP, from threads of its own.
//!
//! The loop offers its [`Figures`] at the end of a turn; ten times a second they are copied to where the threads see them.
//! A request is answered from that copy, so no client of the endpoint ever waits for the engine, nor the engine for it.
//!
//! Always true: without `metrics-port` nothing of this exists; the loop never waits for the lock, it comes again.
//!
//! Not here: what the figures mean (`perdura_core::node::Figures`), HTTP (`http.rs`).

mod http;
mod page;
mod prometheus;

use std::{
    collections::VecDeque,
    net::{TcpListener, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use perdura_core::{config::Config, node::Figures, time::Now};

/// Time between two copies.
const INTERVAL_US: u64 = 100_000;
/// Time between two points of the plots.
const POINT_INTERVAL_MS: u64 = 1_000;
/// Points kept: five minutes.
const POINTS_MAX: usize = 300;
/// A loop that has not been heard of for so long hangs. A blocking SAVE of a large data set may take that long, too.
const STALLED: Duration = Duration::from_secs(30);

/// What the threads know.
struct Published {
    latest: Figures,
    /// When the loop was last heard of.
    heard_of: Instant,
    points: VecDeque<Point>,
}

/// A second of the past, for the plots.
#[derive(Clone, Copy, Default)]
struct Point {
    figures: Figures,
    /// Most that was exposed at any copy within it.
    exposed_bytes: u64,
    exposed_ms: u64,
}

impl Published {
    fn new() -> Published {
        Published { latest: Figures::default(), heard_of: Instant::now(), points: VecDeque::new() }
    }

    fn take_in(&mut self, figures: Figures) {
        self.heard_of = Instant::now();
        self.latest = figures;
        let is_same_second = self.points.back().is_some_and(|last| {
            figures.wall_ms / POINT_INTERVAL_MS == last.figures.wall_ms / POINT_INTERVAL_MS
        });
        if !is_same_second {
            if self.points.len() == POINTS_MAX {
                self.points.pop_front();
            }
            self.points.push_back(Point::default());
        }
        let point = self.points.back_mut().expect("just made");
        point.figures = figures;
        point.exposed_bytes = point.exposed_bytes.max(figures.exposure.power_loss_bytes);
        point.exposed_ms = point.exposed_ms.max(figures.exposure.power_loss_ms);
    }

    fn is_stalled(&self) -> bool {
        self.heard_of.elapsed() > STALLED
    }
}

/// The loop's end of it.
pub struct Publisher {
    published: Arc<Mutex<Published>>,
    due_us: u64,
}

impl Publisher {
    /// Opens the endpoint where the configuration wants one.
    ///
    /// # Errors
    /// A line for the log: an address that cannot be listened on.
    pub fn start(config: &Config) -> Result<Option<Publisher>, String> {
        if config.metrics_port == 0 {
            return Ok(None);
        }
        let listeners = listen(&config.metrics_bind, config.metrics_port)?;
        let published = Arc::new(Mutex::new(Published::new()));
        for listener in listeners {
            let published = Arc::clone(&published);
            thread::Builder::new()
                .name("perdura-metrics".into())
                .spawn(move || http::serve(&listener, &published))
                .map_err(|error| format!("Can't start the thread of the metrics endpoint: {error}"))?;
        }
        tracing::info!("Metrics: http://{}:{}/", config.metrics_bind.join(","), config.metrics_port);
        Ok(Some(Publisher { published, due_us: 0 }))
    }

    /// Takes the figures if it is time, and if nobody is reading the last ones just now.
    pub fn offer(&mut self, now: Now, figures: impl FnOnce() -> Figures) {
        if now.mono_us < self.due_us {
            return;
        }
        if let Ok(mut published) = self.published.try_lock() {
            published.take_in(figures());
            self.due_us = now.mono_us + INTERVAL_US;
        }
    }
}

/// Listens on every address; one that begins with `-` may be missing.
fn listen(bind: &[String], port: u16) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for entry in bind {
        let (name, is_optional) = match entry.strip_prefix('-') {
            Some(name) => (name, true),
            None => (entry.as_str(), false),
        };
        let name = match name {
            "*" => "0.0.0.0",
            "::*" => "::",
            _ => name,
        };
        let addresses: Vec<_> = (name, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        match TcpListener::bind(&addresses[..]) {
            Ok(listener) => listeners.push(listener),
            Err(_) if is_optional => {}
            Err(error) => return Err(format!("Failed listening on {entry}:{port} (metrics-port): {error}")),
        }
    }
    Ok(listeners)
}

/// The answer to one request: status, kind of content, content.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<String>) -> Answer {
        Answer { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Answers a path.
fn answer(path: &str, published: &Mutex<Published>) -> Answer {
    let published = published.lock().unwrap_or_else(PoisonError::into_inner);
    match path {
        "/" => Answer { status: "200 OK", content_type: "text/html; charset=utf-8", body: page::HTML.into() },
        "/figures.json" => {
            let (latest, points) = (published.latest, published.points.clone());
            drop(published); // The loop is not to find it taken while text is made.
            Answer {
                status: "200 OK",
                content_type: "application/json",
                body: page::figures(&latest, &points),
            }
        }
        "/metrics" => {
            let latest = published.latest;
            drop(published);
            let body = prometheus::text(&latest, &perdura_linux::facts());
            Answer { status: "200 OK", content_type: "text/plain; version=0.0.4; charset=utf-8", body }
        }
        "/healthz" if published.is_stalled() => {
            let seconds = published.heard_of.elapsed().as_secs();
            Answer::text("503 Service Unavailable", format!("no turn of the loop for {seconds} s\n"))
        }
        "/healthz" => Answer::text("200 OK", "ok\n"),
        "/readyz" => readiness(&published),
        _ => Answer::text("404 Not Found", "There are /, /metrics, /healthz and /readyz.\n"),
    }
}

fn readiness(published: &Published) -> Answer {
    if published.is_stalled() || published.latest.wall_ms == 0 {
        return Answer::text("503 Service Unavailable", "the loop does not turn\n");
    }
    match published.latest.loading {
        Some(progress) => {
            Answer::text("503 Service Unavailable", format!("loading {:.1}%\n", progress.percent()))
        }
        None => Answer::text("200 OK", "ok\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perdura_core::node::{Exposure, Progress};

    fn figures(wall_ms: u64, bytes: u64) -> Figures {
        let exposure = Exposure { power_loss_bytes: bytes, ..Exposure::default() };
        Figures { wall_ms, exposure, ..Figures::default() }
    }

    fn status(path: &str, published: &Mutex<Published>) -> &'static str {
        &answer(path, published).status[..3]
    }

    #[test]
    fn a_point_holds_the_most_that_was_exposed_in_its_second() {
        let mut published = Published::new();
        for (wall_ms, bytes) in [(5_000, 1), (5_100, 9), (5_900, 3), (6_000, 2)] {
            published.take_in(figures(wall_ms, bytes));
        }
        let bytes: Vec<u64> = published.points.iter().map(|point| point.exposed_bytes).collect();
        assert_eq!(bytes, [9, 2]);
    }

    #[test]
    fn five_minutes_are_kept() {
        let mut published = Published::new();
        for second in 1..=POINTS_MAX as u64 + 1 {
            published.take_in(figures(second * 1000, second));
        }
        assert_eq!(published.points.len(), POINTS_MAX);
        assert_eq!(published.points[0].exposed_bytes, 2);
    }

    #[test]
    fn ready_means_loaded_and_healthy_means_turning() {
        let published = Mutex::new(Published::new());
        assert_eq!((status("/healthz", &published), status("/readyz", &published)), ("200", "503"));
        let loading = Some(Progress { total: 4, done: 1, elapsed_us: 1 });
        published.lock().unwrap().take_in(Figures { loading, ..figures(1000, 0) });
        assert_eq!((status("/healthz", &published), status("/readyz", &published)), ("200", "503"));
        assert_eq!(answer("/readyz", &published).body, "loading 25.0%\n");
        published.lock().unwrap().take_in(figures(1100, 0));
        assert_eq!((status("/healthz", &published), status("/readyz", &published)), ("200", "200"));
        let long_ago = Instant::now().checked_sub(STALLED * 2).expect("the machine runs for longer");
        published.lock().unwrap().heard_of = long_ago;
        assert_eq!((status("/healthz", &published), status("/readyz", &published)), ("503", "503"));
        assert_eq!(status("/nowhere", &published), "404");
    }

    #[test]
    fn the_loop_passes_by_where_a_reader_holds_the_lock() {
        let published = Arc::new(Mutex::new(Published::new()));
        let mut publisher = Publisher { published: Arc::clone(&published), due_us: 0 };
        let now = |mono_us| Now { mono_us, wall_us: mono_us };
        let held = published.lock().unwrap();
        publisher.offer(now(1), || panic!("nobody can take them"));
        drop(held);
        publisher.offer(now(2), || figures(7, 0));
        publisher.offer(now(3), || panic!("too early"));
        assert_eq!(published.lock().unwrap().latest.wall_ms, 7);
    }
}
