//! The same commands to Perdura and to Debian's redis-server 7.0.15: every reply and all data must be equal.
//!
//! Exists because unit tests only know what their author thought of; Redis itself knows the rest.
//!
//! A script is drawn from the forms of commands (`forms.rs`) over few keys, so that types collide. A failing script
//! is shrunk by proptest. `PERDURA_DIFF_CASES` sets how many scripts are tried, `PROPTEST_RNG_SEED` draws others. What random scripts do not suit
//! stands in `fixed.rs`.
//!
//! Always true: what is not compared is named with its reason (`comparison.rs`); no command of the table is left out
//! (`every_command_is_exercised`).
//!
//! Not here: durability (`recovery.rs`, `kill.rs`), files (`interop.rs`).

mod comparison;
mod fixed;
mod forms;
mod pair;

use std::{cell::RefCell, collections::BTreeSet};

use comparison::Comparison;
use fixed::{DIALOGUES, ELSEWHERE, NEWER};
use forms::{FORMS, script, split};
use pair::Pair;
use perdura_harness::client::Reply;
use perdura_tests::{start_perdura, start_redis};
use proptest::test_runner::{Config, TestRunner};

/// Scripts of one run of the test: half a minute at most on two slow cores, measured.
const CASES_DEFAULT: u32 = 300;

/// Without persistence, so that only replies matter.
const SETTINGS: &[(&str, &str)] = &[("save", ""), ("appendonly", "no"), ("enable-debug-command", "local")];

#[test]
fn replies_and_data_are_those_of_redis() {
    let (ours, theirs) = (start_perdura(SETTINGS), start_redis(SETTINGS));
    let cases = std::env::var("PERDURA_DIFF_CASES").ok().and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(CASES_DEFAULT),
        max_shrink_iters: 2000,
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..Config::default()
    };
    let last = RefCell::new(String::new());
    let result = TestRunner::new(config).run(&script(), |(is_resp3, commands)| {
        let mut pair = Pair::connect(&ours, &theirs, is_resp3);
        let result = commands
            .iter()
            .try_for_each(|words| pair.compare(words).map(drop))
            .and_then(|()| pair.compare_data());
        if result.is_err() {
            let lines: Vec<String> = commands.iter().map(|words| format!("{words:?}")).collect();
            *last.borrow_mut() = format!("RESP{}:\n{}", if is_resp3 { 3 } else { 2 }, lines.join("\n"));
        }
        result
    });
    if let Err(error) = result {
        panic!("{error}\nlast failing script, {}", last.borrow());
    }
}

#[test]
fn dialogues_are_those_of_redis() {
    let (ours, theirs) = (start_perdura(SETTINGS), start_redis(SETTINGS));
    let mut differences = Vec::new();
    for (topic, lines) in DIALOGUES {
        let mut pair = Pair::connect(&ours, &theirs, false);
        for line in *lines {
            let compared = match line.strip_prefix("? ") {
                Some(line) => pair.compare_by(Comparison::Kind, &split(line)),
                None => pair.say(line),
            };
            if let Err(difference) = compared {
                differences.push(format!("{topic}: {difference}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_redis_7_0_does_not_know_answers_as_documented() {
    let ours = start_perdura(SETTINGS);
    let mut client = ours.client().expect("the server listens");
    for (line, expected) in NEWER {
        let reply = client.say(line).expect("a reply");
        assert_eq!(&shown(&reply), expected, "{line}");
    }
}

/// A reply on one line.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(number) => format!(":{number}"),
        Reply::Bulk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Reply::Null => "_".into(),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<String>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn every_command_is_exercised() {
    let ours = start_perdura(SETTINGS);
    let mut client = ours.client().expect("the server listens");
    let in_forms = FORMS.iter().flat_map(|(_, forms)| forms.iter().copied());
    let in_dialogues = DIALOGUES.iter().flat_map(|(_, lines)| lines.iter().copied());
    let in_newer = NEWER.iter().map(|(line, _)| *line);
    let mut exercised: BTreeSet<String> =
        in_forms.chain(in_dialogues).chain(in_newer).flat_map(names_in).collect();
    exercised.extend(ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()));
    let listed = client.say("COMMAND LIST").expect("a reply").into_elements().expect("an array");
    let missing: Vec<String> = listed
        .iter()
        .map(|name| String::from_utf8_lossy(name.as_bytes().unwrap_or_default()).into_owned())
        .filter(|name| !exercised.contains(name))
        .collect();
    assert!(listed.len() > 200, "COMMAND LIST knows the table");
    assert!(missing.is_empty(), "no form, dialogue or expectation runs {missing:?}");
}

/// The commands that a form or line runs: each alternative of its first word, and `first|second` for containers.
fn names_in(line: &'static str) -> Vec<String> {
    let line = line.strip_prefix("? ").unwrap_or(line).to_ascii_lowercase();
    let mut words = line.split(' ');
    let first = words.next().unwrap_or_default();
    let seconds: Vec<&str> = words.next().unwrap_or_default().split('|').collect();
    let firsts = first.split('|').map(str::to_owned);
    let pairs =
        first.split('|').flat_map(|first| seconds.iter().map(move |second| format!("{first}|{second}")));
    firsts.chain(pairs).collect()
}
