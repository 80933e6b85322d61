//! The command line: `--name value`, `--flag`, nothing else.
//!
//! Exists because the subcommands need no more, and because an argument nobody took is a typing error
//! that must not pass silently.
//!
//! Always true: what a subcommand takes is removed; [`Args::finish`] refuses whatever is left.
//!
//! Not here: what the arguments mean (each subcommand).

use std::fmt;
use std::str::FromStr;

/// The words after the subcommand.
#[derive(Debug)]
pub struct Args {
    words: Vec<String>,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl Args {
    /// Those of a command line, without program and subcommand.
    pub fn new(words: impl IntoIterator<Item = String>) -> Args {
        Args { words: words.into_iter().collect() }
    }

    /// Takes the first word if it does not start with dashes: a subcommand's own subcommand.
    pub fn word(&mut self) -> Option<String> {
        let has_word = self.words.first().is_some_and(|word| !word.starts_with("--"));
        has_word.then(|| self.words.remove(0))
    }

    /// Takes `name` if it is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let place = self.words.iter().position(|word| word == name);
        place.map(|place| self.words.remove(place)).is_some()
    }

    /// Takes `name` and the word after it; of several, the first.
    ///
    /// # Errors
    /// When nothing follows.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, UsageError> {
        let Some(place) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        if place + 1 == self.words.len() {
            return Err(UsageError(format!("{name} needs a value")));
        }
        self.words.remove(place);
        Ok(Some(self.words.remove(place)))
    }

    /// Takes every `name` with the word after it.
    ///
    /// # Errors
    /// When nothing follows.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, UsageError> {
        let mut texts = Vec::new();
        while let Some(text) = self.text(name)? {
            texts.push(text);
        }
        Ok(texts)
    }

    /// Takes `name` and its number, or gives `default`.
    ///
    /// # Errors
    /// When what follows is no such number.
    pub fn number<N: FromStr>(&mut self, name: &str, default: N) -> Result<N, UsageError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.parse().map_err(|_| UsageError(format!("{name} {text}: not a number in range")))
    }

    /// Takes `name` and its comma-separated numbers, or gives `default`.
    ///
    /// # Errors
    /// When what follows are no such numbers.
    pub fn numbers<N: FromStr + Copy>(&mut self, name: &str, default: &[N]) -> Result<Vec<N>, UsageError> {
        let Some(text) = self.text(name)? else { return Ok(default.to_vec()) };
        let numbers: Result<Vec<N>, _> = text.split(',').map(str::parse).collect();
        numbers.map_err(|_| UsageError(format!("{name} {text}: not numbers in range")))
    }

    /// Takes `name` and its comma-separated choices, each by its name; `all` or absence gives all.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn choices<T: Copy>(
        &mut self,
        name: &str,
        all: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) -> Result<Vec<T>, UsageError> {
        let text = self.text(name)?.unwrap_or_else(|| "all".into());
        if text == "all" {
            return Ok(all.to_vec());
        }
        let find = |part: &str| all.iter().copied().find(|choice| name_of(*choice) == part);
        let known = || all.iter().map(|choice| name_of(*choice)).collect::<Vec<_>>().join(", ");
        let unknown = |part: &str| UsageError(format!("{name} {part}: not one of {}", known()));
        text.split(',').map(|part| find(part).ok_or_else(|| unknown(part))).collect()
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// When anything is left.
    pub fn finish(self) -> Result<(), UsageError> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(UsageError(format!("unknown argument: {word}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(String::from))
    }

    #[test]
    fn values_and_flags_are_taken_once() {
        let mut args = args("kill --rounds 3 --quick --server a --server b");
        assert_eq!(args.word().as_deref(), Some("kill"));
        assert_eq!(args.word(), None);
        assert!(args.flag("--quick"));
        assert!(!args.flag("--quick"));
        assert_eq!(args.number("--rounds", 1), Ok(3));
        assert_eq!(args.number("--rounds", 1), Ok(1));
        assert_eq!(args.numbers("--keys", &[1, 2]), Ok(vec![1, 2]));
        assert_eq!(args.texts("--server"), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(args("--x").text("--x"), Err(UsageError("--x needs a value".into())));
        assert!(args("--x y").number("--x", 1u32).is_err());
        assert!(args("--x").finish().is_err());
    }

    #[test]
    fn choices_are_found_by_name() {
        let choose =
            |line: &str| args(line).choices("--x", &[true, false], |yes| if yes { "a" } else { "b" });
        assert_eq!(choose("--x b,a"), Ok(vec![false, true]));
        assert_eq!(choose(""), Ok(vec![true, false]));
        assert_eq!(choose("--x c"), Err(UsageError("--x c: not one of a, b".into())));
    }
}
