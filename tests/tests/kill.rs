//! Real processes, really killed: a short run of `perdura-harness crash kill` for each policy.

use perdura_harness::{
    crash::{
        Policy,
        kill::{self, Config},
    },
    process::{Launch, ServerCommand},
};

/// Rounds for each policy: each is a start, a load, a kill and a judgement, about a quarter of a second.
const ROUNDS: u64 = 4;

fn survives_kills(policy: Policy) {
    survives_kills_with(policy, &[]);
}

fn survives_kills_with(policy: Policy, settings: &[(&str, &str)]) {
    let command = ServerCommand::perdura().expect("perdura-server is built by cargo test --workspace");
    let launch =
        settings.iter().fold(Launch::new(command), |launch, (name, value)| launch.setting(name, value));
    let config = Config { rounds: ROUNDS, ..Config::new(launch, policy) };
    let report = kill::run(&config).expect("the harness itself works");
    let stories: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("round {}: {}", finding.round, finding.violation))
        .collect();
    assert!(stories.is_empty(), "{}:\n{}", policy.name(), stories.join("\n"));
}

#[test]
fn always_survives_kill_9() {
    survives_kills(Policy::Always);
}

#[test]
fn w04_everysec_survives_kill_9() {
    survives_kills(Policy::Everysec);
}

#[test]
fn fsync_no_survives_kill_9() {
    survives_kills(Policy::No);
}

#[test]
fn always_survives_kill_9_with_io_threads() {
    survives_kills_with(Policy::Always, &[("io-threads", "3")]);
}
