//! Plans that found bugs of ours when they were first run, with the story of each. Plans change with the generator, so a
//! seed here is a plan that is worth keeping, not proof by itself; the scenarios beside this file are.

use perdura_harness::sim::plan::{Plan, Scope};
use perdura_harness::sim::run::Options;
use perdura_harness::sim::sweep::run_caught;

use crate::scenario::holds;

const SEEDS: &[(u64, &str)] = &[
    (
        15,
        "a tail copied into a fresh file began without SELECT: keys moved to database 0 at the second start",
    ),
    (25, "a base asked for while AOF was off counted as the set's own once AOF was switched on"),
    (39, "a snapshot renamed and not yet durable was served after a kill, then lost with the power"),
    (70, "BGSAVE while SAVE was being put in place hit an assertion"),
    (77, "a base of commands left by a crashed first start was read as an RDB and refused"),
    (112, "appendonly no was answered before its mark was durable; WAITAOF vouched for what was not logged"),
    (453, "a crash while the first set was put in place looked like a lost manifest"),
    (648, "a torn batch header was taken for a comment, and the records after it for a stock server's"),
    (1034, "a snapshot older than the closed set won because its child finished later"),
    (1578, "after a failed sync under `no` WAITAOF vouched for records that were gone"),
    (1873, "what was answered under everysec was never synced after a switch to `no`"),
    (557, "a base and a snapshot of the same millisecond: the older one won"),
    (2394, "a repair under `no` named the fresh file while the old one was not durable"),
    (2485, "the length of a copied tail forgot its SELECT: the next repair cut the file too short"),
    (4873, "WAITAOF vouched at once for what was written while AOF was off"),
    (2873, "appendonly no released replies of `always` although the disk had failed"),
    (
        139,
        "an old log was upgraded, its first part torn at the front: nothing said that headers begin it, refused to start",
    ),
    (
        5140,
        "under `no` a sync failed at a rotation, the power went before the rewrite had ended: refused to start",
    ),
    (351, "behind the file of an older server the first batch lost its first sector: refused to start"),
    (131, "what a group's reader had got came back younger, the clock having gone back since"),
];

#[test]
fn plans_that_once_failed_hold() {
    holds(|| {
        for (seed, story) in SEEDS {
            let outcome = run_caught(&Plan::draw(*seed, Scope::default()), &Options::default());
            assert_eq!(outcome.violation, None, "seed {seed}: {story}");
        }
    });
}
