//! Keys whatever their type: deleting, renaming, expiry, scanning, DUMP and RESTORE, SORT.
//!
//! Not here: databases as a whole (FLUSHALL, SWAPDB: `node/`), lookups (`store/mod.rs`).

use super::{
    Call, Command, CommandResult, KeySpec,
    spec::{acl, flag, key_flag},
};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command::run("del", -2, flag::WRITE, del)
    .keys(&[KeySpec::range(1, -1, 1, key_flag::RM | key_flag::DELETE)])
    .acl(acl::KEYSPACE)
    .doc(
        "generic",
        "1.0.0",
        "Deletes one or more keys.",
        "O(N) where N is the number of keys that will be removed.",
    )
    .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])];

fn del(call: &mut Call) -> CommandResult {
    let mut removed = 0;
    for &key in &call.args[1..] {
        if call.store.remove(key).is_some() {
            call.store.touch_removed(key);
            removed += 1;
        }
    }
    call.reply.integer(removed);
    Ok(())
}
