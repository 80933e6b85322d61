//! The settings: what an operator may say about the server, and what it is set to now.
//!
//! Exists so that a directive is described once. `config/table.rs` holds one row for each, and from that
//! row come the typed field the engine reads, CONFIG GET and SET, the configuration file, CONFIG REWRITE
//! and the generated documentation. Every directive of Redis 7.2 has a row, so that its files, tools and
//! test suites work unchanged; rows marked [`Flag::NoEffect`] are accepted and change nothing.
//!
//! Always true: each field holds a value its row allows; a CONFIG SET changes all it names or nothing;
//! what `get` prints for a directive, `set` accepts and prints back.
//!
//! Not here: acting upon a change (`node.rs`, from the returned [`Changed`]), reading files and the command
//! line (`engine/server`), checking that a renamed command or a user's rules exist (`commands/`).

mod file;
mod kind;
mod rewrite;
mod table;
mod types;

use alloc::{format, string::String, vec::Vec};

use crate::{
    bytes::glob,
    host::{ClientCertificates, OomAdjustment, Secret, TlsSettings},
};

pub use file::{IncludedFile, LoadError};
pub use kind::{Directive, Flag, Kind};
pub use rewrite::Extent;
pub use table::{Config, DIRECTIVES};
pub use types::*;

/// The release of Redis whose configuration, replies and files are followed.
pub const REDIS_VERSION: &str = "7.2.4";

/// A setting that CONFIG SET changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The directive's main name, even if it was set by its alias.
    pub name: &'static str,
    /// What CONFIG GET said before.
    pub old: String,
    /// What it says now.
    pub new: String,
}

/// What CONFIG SET must know of the moment and of who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetContext {
    /// The client came over the loopback interface or the unix socket.
    pub is_local: bool,
    /// The data set is being loaded.
    pub is_loading: bool,
}

/// Why CONFIG SET changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SetError {
    /// The error reply, without its `ERR ` prefix.
    Refused(String),
    /// One of the directives cannot change while loading: the reply is the usual `-LOADING`.
    Loading,
}

impl SetError {
    /// The reply for a value that is not allowed or could not be put into effect.
    pub fn failed(name: &str, reason: &str) -> SetError {
        SetError::Refused(format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    }
}

impl Config {
    /// The names and values a CONFIG GET pattern selects, in the order of the table.
    ///
    /// A pattern without wildcards selects one directive and gives its name back as it was spelled; only
    /// so are hidden directives shown. An alias counts as a name of its own.
    pub fn get(&self, pattern: &[u8]) -> Vec<(String, String)> {
        if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
            let Ok(name) = core::str::from_utf8(pattern) else { return Vec::new() };
            return find(name).map(|found| (name.into(), found.directive.print(self))).into_iter().collect();
        }
        DIRECTIVES
            .iter()
            .filter(|directive| !directive.is(Flag::Hidden))
            .flat_map(|directive| directive.listed_names().map(move |name| (name, directive)))
            .filter(|(name, _)| glob::matches_ignoring_case(pattern, name.as_bytes()))
            .map(|(name, directive)| (name.into(), directive.print(self)))
            .collect()
    }

    /// The value CONFIG GET shows for one directive, or `None` if there is no such directive.
    pub fn value_of(&self, name: &str) -> Option<String> {
        find(name).map(|found| found.directive.print(self))
    }

    /// Changes all the named settings, or none, and tells which ones now differ.
    ///
    /// # Errors
    /// The first thing found wrong, in the order unknown, immutable, protected, loading, duplicate for each name,
    /// then the values from left to right.
    pub fn set(&mut self, pairs: &[(&[u8], &[u8])], context: SetContext) -> Result<Vec<Changed>, SetError> {
        let plan = self.plan(pairs, context)?;
        let mut next = self.clone();
        for (found, value) in &plan {
            let value = core::str::from_utf8(value)
                .map_err(|_| SetError::failed(found.name, "argument must be valid UTF-8"))?;
            found
                .directive
                .parse(&mut next, &found.directive.split(value))
                .map_err(|reason| SetError::failed(found.name, &reason))?;
        }
        let changed = plan.iter().filter_map(|(found, _)| found.directive.change(self, &next)).collect();
        *self = next;
        Ok(changed)
    }

    /// Takes back changes that could not be put into effect, such as a port nobody may listen on.
    ///
    /// # Panics
    /// If `changed` did not come from this configuration: an old value must be a valid one.
    pub fn restore(&mut self, changed: &[Changed]) {
        for Changed { name, old, .. } in changed {
            let directive = find(name).expect("a changed directive exists").directive;
            directive.parse(self, &directive.split(old)).expect("an old value is valid");
        }
    }

    /// What the kernel is to be told of this process and its children, if anything.
    pub fn oom_adjustment(&self) -> Option<OomAdjustment> {
        let are_relative = match self.oom_score_adj {
            OomScoreAdj::No => return None,
            OomScoreAdj::Relative => true,
            OomScoreAdj::Absolute => false,
        };
        let values = self.oom_score_adj_values;
        let server = if self.replicaof.is_some() { values.replica } else { values.primary };
        Some(OomAdjustment { server, child: values.child, are_relative })
    }

    /// What connections of the TLS port are made with.
    pub fn tls_settings(&self) -> TlsSettings {
        TlsSettings {
            port: self.tls_port,
            cert_file: self.tls_cert_file.clone(),
            key_file: self.tls_key_file.clone(),
            key_password: Secret(self.tls_key_file_pass.clone()),
            ca_cert_file: self.tls_ca_cert_file.clone(),
            ca_cert_dir: self.tls_ca_cert_dir.clone(),
            client_certificates: match self.tls_auth_clients {
                TlsAuthClients::No => ClientCertificates::Ignored,
                TlsAuthClients::Optional => ClientCertificates::Optional,
                TlsAuthClients::Yes => ClientCertificates::Required,
            },
            protocols: self.tls_protocols.clone(),
        }
    }

    /// Directives that were given another value than their default although Perdura does not act on them.
    pub fn without_effect(&self) -> impl Iterator<Item = &'static Directive> {
        let default = Config::default();
        DIRECTIVES
            .iter()
            .filter(move |directive| directive.is(Flag::NoEffect) && !directive.is_equal(self, &default))
    }

    fn plan<'a>(
        &self,
        pairs: &[(&'a [u8], &'a [u8])],
        context: SetContext,
    ) -> Result<Vec<(Found, &'a [u8])>, SetError> {
        let mut plan: Vec<(Found, &[u8])> = Vec::new();
        for (name, value) in pairs {
            let name = String::from_utf8_lossy(name);
            let Some(found) = find(&name) else {
                let text = format!("Unknown option or number of arguments for CONFIG SET - '{name}'");
                return Err(SetError::Refused(text));
            };
            if found.directive.is(Flag::Immutable) {
                return Err(SetError::failed(&name, "can't set immutable config"));
            }
            let is_open = self.enable_protected_configs.allows(context.is_local);
            if found.directive.is(Flag::Protected) && !is_open {
                return Err(SetError::failed(&name, "can't set protected config"));
            }
            if found.directive.is(Flag::NotWhileLoading) && context.is_loading {
                return Err(SetError::Loading);
            }
            if plan.iter().any(|(earlier, _)| earlier.name == found.name) {
                return Err(SetError::failed(&name, "duplicate parameter"));
            }
            plan.push((found, value));
        }
        Ok(plan)
    }
}

/// A directive together with the one of its names it was asked for by.
#[derive(Clone, Copy)]
struct Found {
    directive: &'static Directive,
    name: &'static str,
}

fn find(name: &str) -> Option<Found> {
    DIRECTIVES.iter().find_map(|directive| {
        let name = directive.names().find(|own| own.eq_ignore_ascii_case(name))?;
        Some(Found { directive, name })
    })
}

#[cfg(test)]
mod tests;
