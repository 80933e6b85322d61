//! What the server says of itself: version, help, and at start what it promises and what to look after.
//!
//! Exists so that an operator reads in the log what a power loss would take, before it does.
//!
//! Not here: the layout of a line (`logging.rs`), `Ready to accept connections` (the engine, once it has loaded).

use perdura_core::config::{AppendFsync, Config, LagAction, REDIS_VERSION};

/// Version of Perdura itself.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How to call the server.
pub const HELP: &str = "\
Usage: perdura-server [config-file] [-] [--directive value ...]

  config-file          read the configuration from this file
  -                    then from the standard input
  --directive value    then from here; any directive of the configuration file

  -v, --version        say which version this is
  -h, --help           say this
  --default-config     print a configuration file with all defaults
  --check-system       say what about this machine deserves a warning

Examples:
  perdura-server
  perdura-server /etc/perdura.conf --appendonly yes --appendfsync always
  perdura-server --port 7777 --save 900 1 300 10
  echo 'maxmemory 1gb' | perdura-server -

All directives of redis.conf are accepted.
";

/// One line with the version, in the form that tools look for in redis-server's.
pub fn version() -> String {
    let bits = usize::BITS;
    format!(
        "Perdura server v={REDIS_VERSION} sha=00000000:0 malloc={} bits={bits} build={VERSION} perdura={VERSION}",
        allocator()
    )
}

/// The allocator as INFO names it.
pub fn allocator() -> String {
    let version = tikv_jemalloc_ctl::version::read().unwrap_or("unknown");
    format!("jemalloc-{}", version.split('-').next().unwrap_or(version))
}

/// The first line of the log. Tools look for the process id in it.
pub fn greeting(config: &Config, pid: u32) -> String {
    let source = match &config.config_file {
        Some(path) => format!("configuration {path}"),
        None => "no configuration file".into(),
    };
    format!("Perdura {VERSION} is starting, compatible with Redis {REDIS_VERSION}, {source}, PID: {pid}")
}

/// What persistence is on, and what a crash or a power loss may take under it.
pub fn promise(config: &Config) -> String {
    let points: Vec<String> =
        config.save.iter().map(|point| format!("{}/{}", point.seconds, point.changes)).collect();
    let snapshots = points.join(" ");
    match (config.appendonly, config.save.is_empty()) {
        (false, true) => "Persistence: none; everything is lost when the server stops.".into(),
        (false, false) => format!(
            "Persistence: RDB snapshots {snapshots}; a crash or a power loss may take everything since the last snapshot."
        ),
        (true, true) => format!("Persistence: AOF {}", loss(config)),
        (true, false) => format!("Persistence: RDB snapshots {snapshots} and AOF {}", loss(config)),
    }
}

fn loss(config: &Config) -> String {
    match config.appendfsync {
        AppendFsync::Always => {
            "with appendfsync always; a power loss takes nothing that was acknowledged.".into()
        }
        AppendFsync::Everysec => {
            let lag_ms = config.appendfsync_max_lag;
            let then = match config.appendfsync_lag_action {
                LagAction::Wait => "wait",
                LagAction::Refuse => "are refused",
            };
            format!(
                "with appendfsync everysec; a crash of the server takes nothing that was acknowledged, a power \
                 loss the last second and one sync; writes {then} while the disk is more than {lag_ms} ms behind."
            )
        }
        AppendFsync::No => {
            "with appendfsync no; a crash of the server takes nothing that was acknowledged, a \
                            power loss what the kernel has not written yet, often 30 seconds."
                .into()
        }
    }
}

/// Settings an operator may believe to do more than they do.
pub fn doubts(config: &Config) -> Vec<String> {
    let mut doubts: Vec<String> = config
        .without_effect()
        .map(|directive| format!("'{}' is accepted for compatibility but has no effect", directive.name))
        .collect();
    if config.appendonly && config.no_appendfsync_on_rewrite {
        doubts.push(
            "no-appendfsync-on-rewrite is yes: while a snapshot child writes nothing is synced, and a power loss \
             may take everything since the child began"
                .into(),
        );
    }
    if !config.save.is_empty() && !config.stop_writes_on_bgsave_error {
        doubts
            .push("stop-writes-on-bgsave-error is no: writes go on while no snapshot can be written".into());
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> Config {
        let mut config = Config::default();
        config.load(lines, &mut |_| Ok(vec![])).expect("valid");
        config
    }

    #[test]
    fn the_version_can_be_parsed_as_redis_servers() {
        let version = version();
        assert!(version.starts_with("Perdura server v=7.2.4 sha=00000000:0 malloc=jemalloc-5."), "{version}");
        assert!(version.contains(" bits=64 build="), "{version}");
    }

    #[test]
    fn the_greeting_holds_the_process_id() {
        assert!(greeting(&Config::default(), 17).ends_with(" PID: 17"));
        let config = Config { config_file: Some("/a b".into()), ..Config::default() };
        assert!(greeting(&config, 17).contains(" configuration /a b,"));
    }

    #[test]
    fn each_mode_says_what_may_be_lost() {
        for (lines, expected) in [
            ("save ''", &["none; everything is lost"][..]),
            ("", &["RDB snapshots 3600/1 300/100 60/10000; a crash", "since the last snapshot"]),
            ("save ''\nappendonly yes", &["AOF with appendfsync everysec", "wait while", "2000 ms"]),
            ("save ''\nappendonly yes\nappendfsync-lag-action refuse", &["are refused while"]),
            (
                "save ''\nappendonly yes\nappendfsync always",
                &["AOF with appendfsync always", "takes nothing"],
            ),
            ("save ''\nappendonly yes\nappendfsync no", &["AOF with appendfsync no", "30 seconds"]),
            ("appendonly yes", &["RDB snapshots 3600/1 300/100 60/10000 and AOF with"]),
        ] {
            let text = promise(&config(lines));
            assert!(expected.iter().all(|part| text.contains(part)), "{lines}: {text}");
        }
    }

    #[test]
    fn doubtful_settings_are_named() {
        assert_eq!(doubts(&Config::default()), Vec::<String>::new());
        let lines =
            "tls-ciphers x\nappendonly yes\nno-appendfsync-on-rewrite yes\nstop-writes-on-bgsave-error no";
        let doubts = doubts(&config(lines));
        assert_eq!(doubts.len(), 3);
        assert_eq!(doubts[0], "'tls-ciphers' is accepted for compatibility but has no effect");
    }
}
