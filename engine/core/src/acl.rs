//! Access control: the users, and whether one of them may run a command on these keys and channels.
//!
//! Exists so that a right is decided in one place: `may_run` is asked before a command runs, when it is queued, when EXEC
//! runs it, and by ACL DRYRUN.
//!
//! Always true: there is a user `default`; a change of a user is made whole or not at all; `generation` grows with
//! every change of any user.
//!
//! Not here: the commands and what becomes of clients whose rights shrink (`node/acl.rs`).

mod log;
mod selector;
mod user;

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{bytes::quote, commands::table::Table};

pub use log::{Context, Log, LogEntry};
pub use selector::{Denial, Fault, Reason, Selector};
pub use user::User;

/// The user that clients are before they say otherwise.
pub const DEFAULT: &str = "default";

/// All users.
#[derive(Clone, Debug)]
pub struct Acl {
    users: BTreeMap<String, User>,
    generation: u64,
    /// Whether a new user may use all channels (`acl-pubsub-default`).
    pub channels_by_default: bool,
}

impl Acl {
    /// Only `default`, who may do everything without a password.
    pub fn new(table: &Table, channels_by_default: bool) -> Acl {
        let default = User::unrestricted(table);
        Acl { users: BTreeMap::from([(DEFAULT.into(), default)]), generation: 1, channels_by_default }
    }

    /// Changes whenever any user does: what was found out about rights before holds no more.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A user.
    pub fn get(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The user clients are before they say otherwise.
    pub fn default_user(&self) -> &User {
        &self.users[DEFAULT]
    }

    /// Whether a new client must say who it is.
    pub fn is_auth_required(&self) -> bool {
        !self.default_user().is_open()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// Each user's name and rules: what stands behind `user` in ACL LIST and in files.
    pub fn declarations(&self) -> impl Iterator<Item = String> {
        self.users.iter().map(|(name, user)| format!("{name} {}", user.describe()))
    }

    /// The text of a file that makes these users again.
    pub fn to_text(&self) -> String {
        self.declarations().map(|declaration| format!("user {declaration}\n")).collect()
    }

    /// Gives the default user this password only, or none if it is empty (`requirepass`).
    pub fn set_default_password(&mut self, password: &str) {
        self.generation += 1;
        let user = self.users.get_mut(DEFAULT).expect("it is never removed");
        user.set_only_password(password);
    }

    /// Creates or changes a user by the rules of ACL SETUSER, all or none.
    ///
    /// # Errors
    /// The reply, without its code.
    pub fn set_user(&mut self, name: &[u8], rules: &[&[u8]], table: &Table) -> Result<(), String> {
        let name = user_name(name).ok_or("Usernames can't contain spaces or null characters")?;
        let rules = merge_selectors(rules).map_err(|rule| {
            format!("Unmatched parenthesis in acl selector starting at '{}'.", String::from_utf8_lossy(rule))
        })?;
        let mut user =
            self.users.get(&name).cloned().unwrap_or_else(|| User::new(table, self.channels_by_default));
        for rule in &rules {
            user.apply(rule, table, self.channels_by_default).map_err(|fault| {
                format!("Error in ACL SETUSER modifier '{}': {}", String::from_utf8_lossy(rule), fault.text())
            })?;
        }
        self.users.insert(name, user);
        self.generation += 1;
        Ok(())
    }

    /// Removes a user; `false` if there is none.
    pub fn remove(&mut self, name: &str) -> bool {
        assert_ne!(name, DEFAULT, "it stays");
        self.generation += 1;
        self.users.remove(name).is_some()
    }

    /// Takes the users declared in the configuration: the words after `user` of each line.
    ///
    /// # Errors
    /// What to tell before the server ends.
    pub fn load_declared(&mut self, users: &[Vec<String>], table: &Table) -> Result<(), String> {
        let mut seen: Vec<&str> = Vec::new();
        for words in users {
            let Some((name, rules)) = words.split_first() else { continue };
            if seen.contains(&name.as_str()) {
                return Err(format!("Error in user declaration '{name}': {}", Fault::Duplicate.text()));
            }
            seen.push(name);
            let rules: Vec<&[u8]> = rules.iter().map(String::as_bytes).collect();
            let rules = merge_selectors(&rules).map_err(|rule| {
                format!("Unmatched parenthesis in selector definition '{}'", String::from_utf8_lossy(rule))
            })?;
            let user = self.declared(&rules, table).map_err(|(rule, fault)| {
                format!("Error in user declaration '{}': {}", String::from_utf8_lossy(rule), fault.text())
            })?;
            if !user.is_on() {
                tracing::info!(
                    "The user '{name}' is disabled (there is no 'on' modifier in the user description). Make sure this \
                     is not a configuration error."
                );
            }
            self.users.insert(name.clone(), user);
        }
        self.generation += 1;
        Ok(())
    }

    /// A user made by these rules alone; else the rule that is wrong.
    fn declared<'a>(&self, rules: &'a [Vec<u8>], table: &Table) -> Result<User, (&'a [u8], Fault)> {
        let mut user = User::new(table, self.channels_by_default);
        for rule in rules {
            user.apply(rule, table, self.channels_by_default).map_err(|fault| (rule.as_slice(), fault))?;
        }
        Ok(user)
    }

    /// Replaces all users by those of a file's text; nothing changes if any of its lines is wrong.
    ///
    /// # Errors
    /// All that is wrong, one sentence after the other.
    pub fn load_text(&mut self, path: &str, text: &str, table: &Table) -> Result<(), String> {
        let mut loaded = Acl::new(table, self.channels_by_default);
        let mut seen: Vec<String> = Vec::new();
        let mut errors = String::new();
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim_matches([' ', '\t', '\r', '\n']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = format!("{path}:{}", index + 1);
            match loaded.load_line(&at, line, &seen, table) {
                Ok(name) => seen.push(name),
                Err(error) => errors.push_str(&error),
            }
        }
        if !errors.is_empty() {
            errors.push_str(
                "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
            );
            return Err(errors);
        }
        loaded.generation = self.generation + 1;
        *self = loaded;
        Ok(())
    }

    fn load_line(&mut self, at: &str, line: &str, seen: &[String], table: &Table) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes).collect();
        let [b"user", name, rules @ ..] = words.as_slice() else {
            return Err(format!("{at} should start with user keyword followed by the username. "));
        };
        let shown = String::from_utf8_lossy(name).to_string();
        let name = user_name(name)
            .ok_or_else(|| format!("{at}: username '{shown}' contains invalid characters. "))?;
        if seen.contains(&name) {
            return Err(format!("WARNING: Duplicate user '{name}' found on line {at}. "));
        }
        let rules = merge_selectors(rules)
            .map_err(|_| format!("{at}: Unmatched parenthesis in selector definition."))?;
        let user = self.declared(&rules, table).map_err(|(_, fault)| format!("{at}: {}. ", fault.text()))?;
        self.users.insert(name.clone(), user);
        Ok(name)
    }
}

/// A name that stays one word in a file.
fn user_name(name: &[u8]) -> Option<String> {
    let name = core::str::from_utf8(name).ok()?;
    let is_one_word = !name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0 || byte == 0x0b);
    is_one_word.then(|| name.into())
}

/// Joins the words of selectors, `(+get` and `~k)`, into one rule each.
///
/// # Errors
/// The rule whose parenthesis stays open.
fn merge_selectors<'a>(rules: &[&'a [u8]]) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut merged = Vec::new();
    let mut open: Option<(&'a [u8], Vec<u8>)> = None;
    for &rule in rules {
        if let Some((_, selector)) = &mut open {
            selector.push(b' ');
            selector.extend_from_slice(rule);
            if rule.ends_with(b")") {
                merged.extend(open.take().map(|(_, selector)| selector));
            }
        } else if rule.starts_with(b"(") && !rule.ends_with(b")") {
            open = Some((rule, rule.to_vec()));
        } else {
            merged.push(rule.to_vec());
        }
    }
    match open {
        Some((first, _)) => Err(first),
        None => Ok(merged),
    }
}

/// The words inside of a selector's parentheses.
fn selector_words(rule: &[u8]) -> Option<Vec<Vec<u8>>> {
    quote::split_args(&rule[1..rule.len() - 1])
}

#[cfg(test)]
mod tests;
