//! CLIENT and its subcommands.

use super::{Node, execute::Request};
use crate::{commands::table::Row, session::Session};

impl Node {
    /// Whether CLIENT PAUSE keeps this command from running now.
    pub(super) fn is_paused(&self, _row: &Row) -> bool {
        false
    }

    pub(super) fn block_until_unpaused(&mut self, session: &mut Session, request: &Request<'_>) {
        let _ = (session, request);
    }
}
