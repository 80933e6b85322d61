//! Timed work: expiry, eviction, save points, automatic rewrites, idle and overlong clients.
//!
//! Runs `hz` times a second at most; each piece is bounded, so that no turn takes long.

use alloc::vec::Vec;

use super::Node;
use crate::{
    config::MaxmemoryPolicy,
    host::{ClientId, Effects},
    persist::{
        append_only::State,
        snapshot::{Origin, SavePoint},
        space::Room,
    },
    session::{Session, Waiting},
    store::{Class, DbKey},
};

/// What the server takes without any data, bytes, roughly.
pub(super) const FIXED_BYTES: usize = 1 << 20;

/// Keys expired in one run of the cycle at effort 1: about a millisecond's work.
const EXPIRED_PER_CYCLE: usize = 4000;

impl Node {
    pub(super) fn run_cron(&mut self, effects: &mut Effects) {
        self.time_out_blocked(effects);
        if self.now.mono_us < self.cron_at_us || self.debug.pause_cron {
            return;
        }
        if let Some(signal) = self.debug.kept_signal.take() {
            self.take_signal(signal, effects);
        }
        self.cron_at_us = self.now.mono_us + 1_000_000 / u64::from(self.config.hz.max(1));
        if self.loading.is_some() {
            return;
        }
        self.timed("expire-cycle", Node::expire_cycle);
        self.check_save_points(effects);
        self.space.poll(self.now, effects);
        self.check_aof_growth();
        self.aof.trim_archive(self.now, &mut self.ids, effects);
        self.check_clients(effects);
        let counters = &self.counters;
        let (turns, busy_us) = (counters.turns, self.busy_us());
        let counts = [counters.commands, counters.input_bytes, counters.output_bytes, turns, busy_us];
        self.rates.sample(self.now.mono_us, counts);
        self.counters.peak_memory = self.counters.peak_memory.max(self.used_memory() as u64);
    }

    fn expire_cycle(&mut self) {
        if self.debug.no_active_expire || self.is_data_paused() {
            return;
        }
        let mut budget = EXPIRED_PER_CYCLE * self.config.active_expire_effort as usize;
        for db in 0..self.store.db_count() {
            while budget > 0 && self.store.expire_next(db) {
                budget -= 1;
            }
            while budget > 0 {
                let count = self.store.expire_next_fields(db, budget);
                budget -= count;
                if count == 0 {
                    break;
                }
            }
        }
        if budget == 0 {
            // More is due: go on at the next turn instead of the next tick.
            self.cron_at_us = self.now.mono_us + 1_000;
        }
        self.log_expired();
        self.settle_unowned_changes();
    }

    /// Changes that no client made still concern watchers, blocked clients and subscribers.
    pub(super) fn settle_unowned_changes(&mut self) {
        let changed = core::mem::take(&mut self.store.changed);
        for key in &changed {
            self.touch_watchers_of(key);
        }
        self.invalidate(None, None, &changed);
        self.note_ready_keys(changed);
        if !self.store.events.is_empty() {
            self.publish_events();
        }
        self.deliver(None);
    }

    fn check_save_points(&mut self, effects: &mut Effects) {
        if self.has_child()
            || self.aof.is_rewriting()
            || self.snapshots.is_in_foreground()
            || self.is_shutting_down()
        {
            return;
        }
        let points: Vec<SavePoint> = self
            .config
            .save
            .iter()
            .map(|point| SavePoint { seconds: point.seconds, changes: point.changes })
            .collect();
        if let Some(point) = self.snapshots.due(self.now, self.store.dirty, &points) {
            tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
            self.begin_snapshot(Origin::Background, effects);
        }
    }

    fn check_aof_growth(&mut self) {
        if self.has_child() || self.aof.is_rewriting() || self.aof.is_scheduled() {
            return;
        }
        let percentage = u64::from(self.config.auto_aof_rewrite_percentage);
        let (current, base) = self.aof.sizes();
        if self.aof.has_grown(percentage, self.config.auto_aof_rewrite_min_size) {
            let growth = (current as u128 * 100 / u128::from(base.max(1))).saturating_sub(100);
            tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
            self.aof.schedule_limited();
        } else if self.frees_space_by_rewriting() {
            tracing::info!("Starting automatic rewriting of AOF because the disk has little room left");
            self.aof.schedule_limited();
        }
    }

    /// Room is scarce, a rewrite would give some back, and what it writes before fits.
    fn frees_space_by_rewriting(&self) -> bool {
        /// Growth in percent, and length, from which a rewrite is worth its while.
        const GROWTH_MIN: u64 = 10;
        const LENGTH_MIN: u64 = 256 << 10;
        let logged = self.aof.journal.offset_buffered();
        let (current, _) = self.aof.sizes();
        let base_estimate = current.min(self.store.memory() as u64);
        self.space.room(logged) != Room::Enough
            && self.space.free(logged).is_some_and(|free| free > base_estimate)
            && self.aof.has_grown(GROWTH_MIN, LENGTH_MIN)
    }

    fn check_clients(&mut self, effects: &mut Effects) {
        let idle_us = u64::from(self.config.timeout) * 1_000_000;
        let now_us = self.now.mono_us;
        let mut leaving: Vec<(ClientId, bool)> = Vec::new();
        let limits = self.config.client_output_buffer_limit;
        for session in self.sessions.iter_mut() {
            let is_exempt = session.is_monitor || session.is_subscribed() || session.blocked.is_some();
            if idle_us > 0 && !is_exempt && now_us.saturating_sub(session.active_us) > idle_us {
                leaving.push((session.client, false));
                continue;
            }
            let limit = limits.of(session.is_subscribed());
            let pending = session.output_pending() as u64;
            let is_over_hard = limit.hard_bytes > 0 && pending > limit.hard_bytes;
            let is_over_soft = limit.soft_bytes > 0 && pending > limit.soft_bytes;
            session.soft_limit_us = if is_over_soft { session.soft_limit_us.or(Some(now_us)) } else { None };
            let soft_us = limit.soft_seconds * 1_000_000;
            if is_over_hard || session.soft_limit_us.is_some_and(|since| now_us - since >= soft_us) {
                leaving.push((session.client, true));
            }
        }
        for (client, is_overlong) in leaving {
            self.with_session(client, |node, session| {
                if is_overlong {
                    return node.close_overlong(session, effects);
                }
                tracing::debug!("Closing idle client {}", session.peer.address);
                node.close_session(session, true, effects);
            });
        }
    }

    /// Bytes that a session's output may still grow by before it is closed.
    pub(super) fn output_room(&self, session: &Session) -> usize {
        match self.config.client_output_buffer_limit.of(session.is_subscribed()).hard_bytes {
            0 => usize::MAX,
            hard_bytes => (hard_bytes as usize).saturating_sub(session.output_pending()),
        }
    }

    /// Whether a session is owed more than its class may be.
    pub(super) fn is_over_output_limit(&self, session: &Session) -> bool {
        let hard_bytes = self.config.client_output_buffer_limit.of(session.is_subscribed()).hard_bytes;
        hard_bytes > 0 && session.output_pending() as u64 > hard_bytes
    }

    /// Hangs up on a client that does not read what it asked for.
    pub(super) fn close_overlong(&mut self, session: &mut Session, effects: &mut Effects) {
        self.counters.output_limit_disconnections += 1;
        tracing::warn!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            session.peer.address
        );
        self.close_session(session, true, effects);
    }

    // --- Eviction -----------------------------------------------------------------------------------

    /// Bytes that count towards `maxmemory`: data and clients, not the log's buffers.
    pub(crate) fn used_memory(&self) -> usize {
        FIXED_BYTES + self.store.memory() + self.sessions.memory()
    }

    /// Removes keys until memory is below the limit, or so many that the rest must wait; `false` if nothing can be removed.
    pub(super) fn evict_to_limit(&mut self) -> bool {
        let is_below = !self.is_over_limit();
        is_below || self.timed("eviction-cycle", Node::evict)
    }

    fn is_over_limit(&self) -> bool {
        self.config.maxmemory > 0 && self.used_memory() > self.config.maxmemory as usize
    }

    fn evict(&mut self) -> bool {
        /// Half a millisecond's work. Each write command and each turn goes on.
        const EVICTED_MAX: usize = 500;
        self.is_evicting = false;
        for _ in 0..EVICTED_MAX {
            if !self.is_over_limit() {
                return true;
            }
            let Some(victim) = self.choose_victim() else { return false };
            self.timed("eviction-del", |node| {
                let db = node.store.db_mut(victim.db);
                db.remove(db.hash(&victim.key), &victim.key);
            });
            self.store.stats.evicted += 1;
            self.store.touch_in(victim.db, &victim.key, 1);
            self.store.notify_in(victim.db, Class::Evicted, "evicted", &victim.key);
            self.log_eviction(victim);
        }
        self.is_evicting = true;
        true
    }

    /// Has memory brought below its limit now, or once what runs as a unit is through.
    pub(super) fn evict_soon(&mut self) {
        if self.unit.is_some() {
            self.is_evicting = true;
        } else {
            self.evict_to_limit();
        }
    }

    /// Goes on where one command or turn had more to evict than it should.
    pub(super) fn go_on_evicting(&mut self) {
        if self.is_evicting && !self.is_data_paused() {
            self.evict_to_limit();
            self.settle_unowned_changes();
        }
    }

    /// The key that the policy gives up first, out of a sample.
    fn choose_victim(&mut self) -> Option<DbKey> {
        let policy = self.config.maxmemory_policy;
        if policy == MaxmemoryPolicy::Noeviction {
            return None;
        }
        let mut best: Option<(u64, DbKey)> = None;
        for db in 0..self.store.db_count() {
            if policy == MaxmemoryPolicy::VolatileTtl {
                // Keys are kept in the order of their expiry: no sample is needed.
                if let (Some(at), Some(key)) =
                    (self.store.db(db).next_expiry_ms(), self.store.db(db).next_expiring_key())
                {
                    offer(&mut best, u64::MAX - at, DbKey { db, key });
                }
                continue;
            }
            for _ in 0..self.config.maxmemory_samples {
                let random = self.store.rng.next_u64();
                let Some((score, key)) = self.sample_victim(db, random, policy) else { break };
                offer(&mut best, score, DbKey { db, key });
            }
        }
        best.map(|(_, key)| key)
    }

    /// A random key of a database with how much it is worth giving up: the larger the sooner.
    fn sample_victim(&self, db: usize, random: u64, policy: MaxmemoryPolicy) -> Option<(u64, Vec<u8>)> {
        let db = self.store.db(db);
        let entry =
            if policy.is_volatile() { db.sample_expiring(random)? } else { db.table().sample(random)? };
        let limits = &self.store.limits;
        let score = if policy.is_lru() {
            limits.idle_seconds(entry.meta(), self.store.now_ms)
        } else if policy.is_lfu() {
            u64::from(u8::MAX - limits.frequency(entry.meta(), self.store.now_ms))
        } else {
            random >> 32
        };
        Some((score, entry.key().to_vec()))
    }

    /// Lets those go on who waited for the end of CLIENT PAUSE or of a migration.
    pub(super) fn end_pause_if_due(&mut self, effects: &mut Effects) {
        if self.is_data_paused() || self.is_shutting_down() {
            return;
        }
        self.pause = None;
        for client in self.waiting.clients(super::blocking::WaitKind::Paused) {
            self.with_session(client, |node, session| {
                if let Some(blocked) = node.unblock(session)
                    && matches!(blocked.waiting, Waiting::Paused)
                {
                    node.run_kept_input(session, effects);
                }
            });
        }
    }

    pub(super) fn is_aof_on(&self) -> bool {
        self.aof.state() != State::Off
    }
}

fn offer(best: &mut Option<(u64, DbKey)>, score: u64, key: DbKey) {
    if best.as_ref().is_none_or(|(known, _)| score > *known) {
        *best = Some((score, key));
    }
}
