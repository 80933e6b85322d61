//! The command line, which is redis-server's: `[config-file] [-] [--directive value ...]`.
//!
//! Exists because options are configuration lines in another dress: `--port 7000` becomes `port "7000"`,
//! read after the file, so that both have one grammar and one kind of error.
//!
//! Always true: what comes after an option that has no value yet is its value, even if it begins with `--`;
//! only `--save`, whose value may be nothing at all, is different.
//!
//! Not here: reading any file (`settings.rs`).

use perdura_core::bytes::quote::quoted;

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Start the server.
    Serve(Invocation),
    /// Say which version this is.
    Version,
    /// Say how to call it.
    Help,
    /// Print a configuration file with all defaults.
    DefaultConfig,
    /// Say what about this machine deserves a warning.
    CheckSystem,
    /// It asks for something we do not have: say so, and fail.
    Refused(&'static str),
}

/// Where the configuration comes from, in the order in which it is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Invocation {
    /// The configuration file.
    pub config_file: Option<String>,
    /// Then the standard input.
    pub reads_stdin: bool,
    /// Then these lines.
    pub options: String,
}

/// Reads the arguments, without the name of the program.
pub fn parse(arguments: &[String]) -> Command {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["-v" | "--version", ..] => Command::Version,
        ["-h" | "--help", ..] => Command::Help,
        ["--default-config", ..] => Command::DefaultConfig,
        ["--check-system", ..] => Command::CheckSystem,
        ["--test-memory", ..] => Command::Refused(
            "perdura-server has no memory test: use memtest86+, or memtester for a running machine.",
        ),
        [file, options @ ..] if !file.starts_with('-') => {
            let file = Some((*file).to_owned());
            Command::Serve(Invocation { config_file: file, ..parse_options(options) })
        }
        options => Command::Serve(parse_options(options)),
    }
}

fn parse_options(arguments: &[&str]) -> Invocation {
    let mut lines = Lines::default();
    let mut reads_stdin = false;
    for (index, &argument) in arguments.iter().enumerate() {
        let is_at_an_end = index == 0 || index + 1 == arguments.len();
        match argument {
            "-" if is_at_an_end => reads_stdin = true,
            _ => match argument.strip_prefix("--").filter(|_| !lines.lacks_value) {
                Some(option) => lines.start(option, arguments.get(index + 1)),
                None => lines.add(argument),
            },
        }
    }
    Invocation { config_file: None, reads_stdin, options: lines.text }
}

#[derive(Default)]
struct Lines {
    text: String,
    /// The last option stands alone so far: whatever comes next is its value.
    lacks_value: bool,
}

impl Lines {
    /// Begins the line of an option. `next` is the argument after it.
    fn start(&mut self, option: &str, next: Option<&&str>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(option);
        self.text.push(' ');
        // `"--port 7000"` may be one argument.
        self.lacks_value = !option.trim().contains(char::is_whitespace);
        let is_last = next.is_none_or(|next| next.starts_with("--"));
        if is_last && option.eq_ignore_ascii_case("save") {
            // Scripts that build the command line from a list may have an empty one.
            self.text.push_str("\"\"");
            self.lacks_value = false;
        }
    }

    fn add(&mut self, value: &str) {
        self.text.push_str(&quoted(value.as_bytes()));
        self.text.push(' ');
        self.lacks_value = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Command {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        parse(&arguments)
    }

    fn check_options(arguments: &[&str], options: &str) {
        let Command::Serve(invocation) = parsed(arguments) else { panic!("{arguments:?}") };
        let lines: Vec<&str> = invocation.options.lines().map(str::trim).collect();
        assert_eq!(lines.join("\n"), options, "{arguments:?}");
    }

    #[test]
    fn questions_about_the_program_come_first() {
        assert_eq!(parsed(&["--version"]), Command::Version);
        assert_eq!(parsed(&["-v", "--port", "1"]), Command::Version);
        assert_eq!(parsed(&["--help"]), Command::Help);
        assert_eq!(parsed(&["-h"]), Command::Help);
        assert_eq!(parsed(&["--default-config"]), Command::DefaultConfig);
        assert_eq!(parsed(&["--check-system"]), Command::CheckSystem);
        assert!(matches!(parsed(&["--test-memory", "64"]), Command::Refused(_)));
        check_options(&["--port", "--version"], "port \"--version\"");
    }

    #[test]
    fn nothing_at_all_starts_with_the_defaults() {
        assert_eq!(parsed(&[]), Command::Serve(Invocation::default()));
    }

    #[test]
    fn the_first_argument_may_be_a_file() {
        let expected = Invocation {
            config_file: Some("a.conf".into()),
            reads_stdin: false,
            options: "port \"1\" \nhz \"5\" ".into(),
        };
        assert_eq!(parsed(&["a.conf", "--port", "1", "--hz", "5"]), Command::Serve(expected));
    }

    #[test]
    fn a_dash_at_either_end_is_the_standard_input() {
        for arguments in [&["-"][..], &["a.conf", "-"], &["-", "--port", "1"], &["--port", "1", "-"]] {
            let Command::Serve(invocation) = parsed(arguments) else { panic!("{arguments:?}") };
            assert!(invocation.reads_stdin, "{arguments:?}");
        }
        check_options(&["--requirepass", "-", "--port", "1"], "requirepass \"-\"\nport \"1\"");
    }

    #[test]
    fn options_become_lines() {
        check_options(&["--appendonly", "yes"], "appendonly \"yes\"");
        check_options(&["--save", "900", "1", "300", "10"], "save \"900\" \"1\" \"300\" \"10\"");
        check_options(&["--save 900 1", "--port 7000"], "save 900 1\nport 7000");
        check_options(&["--requirepass", "a \"b\""], "requirepass \"a \\\"b\\\"\"");
        check_options(&["--logfile", ""], "logfile \"\"");
        check_options(&["--port=1"], "port=1");
        check_options(&["-p", "1"], "\"-p\" \"1\"");
    }

    #[test]
    fn a_value_may_begin_with_dashes() {
        check_options(&["--port", "--bla", "--bla"], "port \"--bla\"\nbla");
        check_options(&["--requirepass", "--secret", "--port", "1"], "requirepass \"--secret\"\nport \"1\"");
    }

    #[test]
    fn save_may_have_no_value() {
        check_options(&["--save"], "save \"\"");
        check_options(&["--save", ""], "save \"\"");
        check_options(&["--SAVE", "--port", "1"], "SAVE \"\"\nport \"1\"");
    }
}
