//! CONFIG: reading and changing settings at run time, and putting changes into effect.

use super::Node;
use crate::{
    commands::{Args, CommandResult},
    config::{SetContext, SetError},
    error::Error,
    host::{Completion, Effects},
    session::Session,
};

impl Node {
    pub(super) fn config_get(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let mut pairs: alloc::vec::Vec<(alloc::string::String, alloc::string::String)> =
            alloc::vec::Vec::new();
        for pattern in &args[2..] {
            for pair in self.config.get(&pattern.to_ascii_lowercase()) {
                if !pairs.iter().any(|(name, _)| *name == pair.0) {
                    pairs.push(pair);
                }
            }
        }
        session.reply.map(pairs.len());
        for (name, value) in pairs {
            session.reply.bulk(name.as_bytes());
            session.reply.bulk(value.as_bytes());
        }
        Ok(())
    }

    pub(super) fn config_set(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        if args.len() < 4 || !args.len().is_multiple_of(2) {
            return Err(Error::new("ERR wrong number of arguments for 'config|set' command"));
        }
        let pairs: alloc::vec::Vec<(&[u8], &[u8])> =
            args[2..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let context = SetContext { is_local: session.peer.is_local, is_loading: self.loading.is_some() };
        let changed = self.config.set(&pairs, context).map_err(|error| match error {
            SetError::Refused(text) => Error::text(alloc::format!("ERR {text}")),
            SetError::Loading => Error::new("LOADING Redis is loading the dataset in memory"),
        })?;
        for change in &changed {
            if change.name == "requirepass" {
                self.acl.set_default_password(&self.config.requirepass);
            }
            if change.name == "appendonly" {
                self.switch_append_only(self.config.appendonly, effects);
            }
        }
        self.apply_settings();
        session.reply.ok();
        Ok(())
    }

    /// What the host says of a change of directory, listeners or file.
    pub(super) fn take_config_completion(&mut self, _completion: Completion, _effects: &mut Effects) {}
}
