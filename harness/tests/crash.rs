//! A short run of every part of `perdura-harness crash`: real processes, real file systems, real system calls.
//!
//! What could go wrong: that a part finds something, or that it finds nothing because it cannot. So each part that must
//! find something (a lying device, a policy weaker than the one judged by) is here as well.
//!
//! A machine that lacks something says `NOT RUN` on its standard error; with `PERDURA_MUST_RUN=1` that is a failure. Each
//! part is a process of its own: its mounts end with it.

use std::io::{self, Write};
use std::process::{Command, Output};

/// Runs one part, told to be quick.
fn crash(words: &str) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perdura-harness"));
    command.arg("crash").args(words.split_whitespace());
    if std::env::var("PERDURA_MUST_RUN").is_ok_and(|value| value == "1") {
        command.arg("--must-run");
    }
    let output = command.output().expect("the harness was built for this test");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

/// Past the test runner, which would keep it to itself.
fn tell_not_run(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("NOT RUN")).collect();
    for line in &lines {
        writeln!(io::stderr(), "{line}").expect("a standard error");
    }
    !lines.is_empty()
}

fn finds_nothing(words: &str) {
    let (output, text) = crash(words);
    tell_not_run(&text);
    assert!(output.status.success(), "{words}:\n{text}");
}

fn finds_something(words: &str, what: &str) {
    let (output, text) = crash(words);
    if tell_not_run(&text) && output.status.success() {
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{words}:\n{text}");
    assert!(text.contains(what), "{words}:\n{text}");
}

const QUICK: &str = "--points 5 --seconds 0.8";
/// Where something must be found: enough instants that some fall after the first answers.
const THOROUGH: &str = "--points 20 --seconds 0.8";

fn survives_power_loss(file_system: &str) {
    finds_nothing(&format!(
        "power --systems {file_system} --policies always --scenarios steady,rewrite,recovery {QUICK}"
    ));
    finds_nothing(&format!(
        "power --systems {file_system} --policies snapshots --scenarios restart,backup {QUICK}"
    ));
}

#[test]
fn power_loss_on_ext4() {
    survives_power_loss("ext4");
}

#[test]
fn power_loss_on_xfs() {
    survives_power_loss("xfs");
}

#[test]
fn power_loss_on_btrfs() {
    survives_power_loss("btrfs");
}

#[test]
fn a_device_that_lies_about_flushes_is_found_out() {
    let words =
        format!("power --systems ext4 --policies always --scenarios steady --lying-device {THOROUGH}");
    finds_something(&words, "lost");
}

#[test]
fn a_policy_weaker_than_the_one_judged_by_is_found_out() {
    let words = format!("power --systems ext4 --policies no --judge-as always --scenarios steady {THOROUGH}");
    finds_something(&words, "lost");
}

#[test]
fn a_server_that_writes_nothing_down_is_found_out_by_a_kill() {
    finds_something("kill --policies off --moments any --rounds 3", "lost");
}

#[test]
fn a_disk_that_fails_or_is_full_for_a_while() {
    finds_nothing("errors --systems ext4 --policies always --troubles one-flush,full --points 2");
}

#[test]
fn one_command_shows_a_part_for_both_servers() {
    let words = "all --parts kill --rounds 2";
    let (output, text) = crash(words);
    assert!(output.status.success(), "{words}:\n{text}");
    assert!(text.contains("In all: 6 rounds, 0 violations, 0 starts refused."), "{words}:\n{text}");
}

#[test]
fn system_calls_come_in_the_order_that_durability_demands() {
    finds_nothing("contract --pushes 60");
}

#[test]
fn replies_before_the_sync_are_found_out() {
    finds_something("contract --pushes 20 --run-with everysec", "before the sync");
}

#[test]
fn every_directory_that_a_loss_of_power_may_leave_is_recovered() {
    finds_nothing("enumerate --pushes 60 --states 40");
}
