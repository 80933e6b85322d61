//! The program is called by the name of a tool, as a word or through a link.

use std::{os::unix::fs::symlink, process::Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_perdura");

fn code_and_text(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("output is UTF-8"))
}

#[test]
fn a_link_with_the_name_of_a_tool_is_that_tool() {
    let dir = std::env::temp_dir().join(format!("perdura-names-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    let missing = dir.join("missing.rdb");
    let as_word = code_and_text(Command::new(PROGRAM).arg("check-rdb").arg(&missing));
    assert_eq!(as_word.0, Some(1), "{}", as_word.1);
    for name in ["perdura-check-rdb", "redis-check-rdb"] {
        let link = dir.join(name);
        symlink(PROGRAM, &link).expect("the directory is new");
        assert_eq!(code_and_text(Command::new(&link).arg(&missing)), as_word, "{name}");
    }
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

#[test]
fn an_unknown_tool_is_refused() {
    let (code, text) = code_and_text(Command::new(PROGRAM).arg("no-such-tool"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no tool is called 'no-such-tool'"), "{text}");
}
