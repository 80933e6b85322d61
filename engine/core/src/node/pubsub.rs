//! Publish and subscribe, and keyspace events on top of it.

use super::Node;
use crate::{host::Effects, session::Session};

impl Node {
    /// A client leaves all channels and patterns.
    pub(super) fn forget_subscriptions(&mut self, session: &mut Session, _effects: &mut Effects) {
        session.channels.clear();
        session.patterns.clear();
        session.shard_channels.clear();
    }

    /// Publishes the events that the last command raised.
    pub(super) fn publish_events(&mut self, _author: Option<&mut Session>, _effects: &mut Effects) {
        self.store.events.clear();
    }
}
