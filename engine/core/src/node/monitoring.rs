//! SLOWLOG and LATENCY: what took long.

use super::Node;
use crate::{
    commands::{Args, table::Row},
    session::Session,
};

impl Node {
    pub(super) fn record_slow(
        &mut self,
        _session: &mut Session,
        _row: &Row,
        _args: Args<'_>,
        _elapsed_us: u64,
    ) {
    }

    pub(super) fn note_latency(&mut self, _event: &'static str, _elapsed_us: u64) {}
}
