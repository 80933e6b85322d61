//! One user: whether it may log in and how, and its selectors, any of which may allow a command.
//!
//! Always true: the first selector is the user's own; passwords are kept as SHA-256 in hexadecimal, never in clear.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    selector::{Denial, Fault, Reason, Selector},
    selector_words,
};
use crate::{
    bytes::sha,
    commands::table::{Row, Table},
};

/// Length of a password's hash in hexadecimal.
const HASH_LEN: usize = 64;

/// A user.
#[derive(Clone, PartialEq, Debug)]
pub struct User {
    is_on: bool,
    is_nopass: bool,
    skips_sanitizing: bool,
    passwords: Vec<String>,
    selectors: Vec<Selector>,
}

impl User {
    /// A user that may not log in and do nothing.
    pub fn new(table: &Table, has_channels: bool) -> User {
        User {
            is_on: false,
            is_nopass: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(table, has_channels)],
        }
    }

    /// A user that needs no password and may do everything.
    pub fn unrestricted(table: &Table) -> User {
        let mut user = User::new(table, true);
        for rule in [&b"on"[..], b"nopass", b"allkeys", b"allcommands"] {
            user.apply(rule, table, true).expect("rules that exist");
        }
        user
    }

    /// It may log in.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// It may log in, with any password or none.
    pub fn is_open(&self) -> bool {
        self.is_on && self.is_nopass
    }

    /// It logs in with any password.
    pub fn is_nopass(&self) -> bool {
        self.is_nopass
    }

    /// The password is one of its own, or any will do.
    ///
    /// Takes as long for a wrong password as for a right one, whatever they have in common.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let hash = hash_of(password);
        let is_known = self
            .passwords
            .iter()
            .fold(false, |known, own| known | is_equal_in_constant_time(own.as_bytes(), hash.as_bytes()));
        self.is_nopass || is_known
    }

    /// Hashes of its passwords.
    pub fn passwords(&self) -> &[String] {
        &self.passwords
    }

    /// Its own selector, then those added in parentheses.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Nothing is forbidden to it: no need to look at commands one by one.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }

    /// Flags as ACL GETUSER lists them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.is_nopass {
            flags.push("nopass");
        }
        flags.push(if self.skips_sanitizing { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }

    /// The rules that make this user out of a new one.
    pub fn describe(&self) -> String {
        let mut words: Vec<String> = self.flags().into_iter().map(String::from).collect();
        words.extend(self.passwords.iter().map(|hash| format!("#{hash}")));
        words.push(self.selectors[0].describe());
        words.extend(self.selectors[1..].iter().map(|selector| format!("({})", selector.describe())));
        words.join(" ")
    }

    /// Whether any selector allows a command with these arguments; if none, the reason that came nearest to it.
    ///
    /// # Errors
    /// What is denied.
    pub fn may_run(&self, row: &Row, args: &[&[u8]]) -> Result<(), Denial> {
        let mut nearest = Denial { reason: Reason::Command, index: 0 };
        for selector in &self.selectors {
            match selector.may_run(row, args) {
                Ok(()) => return Ok(()),
                Err(denial) => nearest = nearest.max(denial),
            }
        }
        Err(nearest)
    }

    /// Whether any selector allows a command, and the reading of every key with it.
    pub fn may_run_reading_all(&self, row: &Row, args: &[&[u8]]) -> bool {
        self.selectors.iter().any(|selector| selector.may_read_all() && selector.may_run(row, args).is_ok())
    }

    /// Whether any selector allows a channel, or a pattern by the letter.
    pub fn may_use_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.may_use_channel(name, is_pattern))
    }

    pub(super) fn set_only_password(&mut self, password: &str) {
        self.passwords.clear();
        self.is_nopass = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(hash_of(password.as_bytes()));
        }
    }

    /// Applies one rule of ACL SETUSER.
    ///
    /// # Errors
    /// Why it is no rule; the user may be changed in part.
    pub fn apply(&mut self, rule: &[u8], table: &Table, has_channels: bool) -> Result<(), Fault> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => return Ok(()),
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => {
                self.is_nopass = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.is_nopass = false;
                self.passwords.clear();
            }
            b"skip-sanitize-payload" => self.skips_sanitizing = true,
            b"sanitize-payload" => self.skips_sanitizing = false,
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = User::new(table, has_channels),
            _ => return self.apply_more(rule, table, has_channels),
        }
        Ok(())
    }

    fn apply_more(&mut self, rule: &[u8], table: &Table, has_channels: bool) -> Result<(), Fault> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash_of(password)),
            [b'#', hash @ ..] => self.add_password(checked_hash(hash)?),
            [b'<', password @ ..] => self.remove_password(&hash_of(password))?,
            [b'!', hash @ ..] => self.remove_password(&checked_hash(hash)?)?,
            [b'(', .., b')'] => {
                let mut selector = Selector::new(table, has_channels);
                for word in selector_words(rule).ok_or(Fault::Syntax)? {
                    selector.apply(&word, table)?;
                }
                self.selectors.push(selector);
            }
            _ => self.selectors[0].apply(rule, table)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: String) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.is_nopass = false;
    }

    fn remove_password(&mut self, hash: &str) -> Result<(), Fault> {
        let index = self.passwords.iter().position(|known| known == hash).ok_or(Fault::NoSuchPassword)?;
        self.passwords.remove(index);
        Ok(())
    }
}

fn hash_of(password: &[u8]) -> String {
    sha::hex(&sha::sha256(password))
}

fn checked_hash(hash: &[u8]) -> Result<String, Fault> {
    let is_hash = hash.len() == HASH_LEN && hash.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash {
        return Err(Fault::BadHash);
    }
    Ok(String::from_utf8_lossy(hash).into_owned())
}

/// Compares without telling by its duration where the difference is.
fn is_equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && difference == 0
}
