//! What is right after a crash: how much of each client's work must be there, and what may.
//!
//! Exists so that a kill, a loss of power, an I/O error and a replayed trace are judged by the same words.
//!
//! Always true: a state is right only if it is the state after some number of each client's operations, no fewer
//! than were promised, no more than were sent, and with everything that any of them was known to rest on.
//!
//! Not here: how many were promised (`kill.rs`, `power/`); how a state is dated (`record.rs`).

use super::report::Violation;
use crate::client::{Address, Client};
use crate::model::Bytes;
use crate::operations::operations_shown;
use crate::process::{REQUEST_TIMEOUT, Server};
use crate::record::{Chronicle, Dating, Observed, Progress, Recorder};
use std::io;

/// How far one client was when the server died.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    /// The judge accepts no state older than this.
    pub(super) floor: u64,
    pub(super) acknowledged: u64,
    pub(super) sent: u64,
    /// Operations a reader has been shown, 0 where that binds to nothing.
    pub(super) shown: u64,
}

/// How many of a client's operations survived: operations that change nothing leave this open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Survived {
    pub(super) at_least: u64,
    pub(super) at_most: u64,
}

/// What survived, if that is enough.
pub(super) fn judge_client(client: u64, dating: Dating, reached: &Reached) -> Result<Survived, Violation> {
    let Some((at_least, at_most)) = dating.earliest.zip(dating.prefix) else {
        let keys = dating.differing.iter().take(5).map(|key| String::from_utf8_lossy(key));
        let differing = keys.collect::<Vec<_>>().join(" ");
        return Err(Violation::NotAPrefix { client, nearest: dating.nearest, differing });
    };
    if at_most < reached.floor {
        Err(Violation::Lost { client, acknowledged: reached.floor, recovered: at_most })
    } else if at_most < reached.shown {
        Err(Violation::ShownThenGone { client, shown: reached.shown, recovered: at_most })
    } else {
        Ok(Survived { at_least, at_most })
    }
}

/// Whether the clients' states belong together: what one client sent after another was answered cannot be there
/// without what was answered.
pub(super) fn check_cut(everybody: &[Progress], survived: &[Survived]) -> Option<Violation> {
    for (client, count) in survived.iter().map(|survived| survived.at_least).enumerate() {
        let Some(operation) = count.checked_sub(1) else { continue };
        let known = everybody[client].known_at(operation);
        for (other, (known, survived)) in known.into_iter().zip(survived).enumerate() {
            if known > survived.at_most {
                let (client, other) = (client as u64, other as u64);
                return Some(Violation::NoCut {
                    client,
                    operation,
                    other,
                    known,
                    recovered: survived.at_most,
                });
            }
        }
    }
    None
}

/// A client whose states can be dated.
pub(super) trait Dated {
    /// Who it is.
    fn recorder(&self) -> &Recorder;
    /// Which of its states this is.
    fn date(&self, observed: &Observed, sent: u64) -> Dating;
}

impl Dated for Recorder {
    fn recorder(&self) -> &Recorder {
        self
    }

    fn date(&self, observed: &Observed, sent: u64) -> Dating {
        Recorder::date(self, observed, sent)
    }
}

impl Dated for Chronicle {
    fn recorder(&self) -> &Recorder {
        Chronicle::recorder(self)
    }

    fn date(&self, observed: &Observed, sent: u64) -> Dating {
        Chronicle::date(self, observed, sent)
    }
}

/// What a server that runs holds of every client's work; what survived of each only if nothing is wrong.
///
/// `others` is the number of keys that no client owns.
pub(super) fn judge_all<D: Dated>(
    server: &Server,
    clients: &[D],
    reached: &[Reached],
    everybody: &[Progress],
    others: u64,
) -> io::Result<(Vec<Survived>, Vec<Violation>)> {
    let mut connection = server.client()?;
    let (mut survived, mut violations) = (Vec::new(), Vec::new());
    // Keys that go by themselves are counted until the server has removed them.
    let (mut lasting, mut fading) = (others, 0);
    for (client, reached) in clients.iter().zip(reached) {
        let observed = match Observed::read(&mut connection, &client.recorder().keys()) {
            Ok(observed) => observed,
            Err(error) => return Ok((Vec::new(), vec![Violation::Unreadable(error)])),
        };
        let fading_keys = client.recorder().fading_keys();
        lasting += observed.keys().filter(|key| !fading_keys.contains(*key)).count() as u64;
        fading += fading_keys.len() as u64;
        match judge_client(client.recorder().client(), client.date(&observed, reached.sent), reached) {
            Ok(one) => survived.push(one),
            Err(violation) => violations.push(violation),
        }
    }
    let found = connection.call(&["DBSIZE"])?.as_integer().unwrap_or(-1);
    if !(lasting as i64..=(lasting + fading) as i64).contains(&found) {
        violations.push(Violation::KeyCount { expected: lasting, found });
    }
    if violations.is_empty() {
        violations.extend(check_cut(everybody, &survived));
    }
    if !violations.is_empty() {
        survived.clear();
    }
    Ok((survived, violations))
}

/// Reads what the clients write until the connection ends, and notes what it was shown.
///
/// Some of these operations are not acknowledged yet, and must survive all the same where the policy says so:
/// nobody is shown a value that a crash can take back.
pub(super) fn read_until_ended(address: &Address, recorders: &[Recorder], everybody: &[Progress]) {
    let dated_keys: Vec<Vec<Bytes>> = recorders.iter().map(Recorder::dated_keys).collect();
    let read = || -> io::Result<()> {
        let mut client = Client::connect(address, REQUEST_TIMEOUT)?;
        loop {
            for (keys, progress) in dated_keys.iter().zip(everybody) {
                keys.iter().for_each(|key| client.queue(&[b"GET", key.as_slice()]));
                client.flush()?;
                for _ in keys {
                    progress.show(client.read()?.as_bytes().and_then(operations_shown).unwrap_or(0));
                }
            }
        }
    };
    // The only way out of the loop is the end of the connection.
    let _ = read();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::{Family, Plan};

    #[test]
    fn the_verdict_on_every_kind_of_state() {
        let plan = Plan { seed: 7, families: vec![Family::Counters], epoch_ms: 0 };
        let recorder = Recorder::new(plan, 0);
        let mut later = recorder.clone();
        later.rebase(10);
        let observed = Observed::between(0, 0, later.base());
        let judge = |floor, shown, sent| {
            let dating = recorder.date(&observed, sent);
            judge_client(0, dating, &Reached { floor, acknowledged: floor, sent, shown })
        };
        let ten = Some(Survived { at_least: 10, at_most: 10 });
        // floor  shown  sent   state after 10 is
        assert_eq!(judge(10, 10, 12).ok(), ten); // exactly what was promised
        assert_eq!(judge(8, 0, 12).ok(), ten); // more than promised: in flight
        assert!(matches!(judge(11, 0, 12), Err(Violation::Lost { acknowledged: 11, recovered: 10, .. })));
        assert!(matches!(judge(9, 11, 12), Err(Violation::ShownThenGone { shown: 11, recovered: 10, .. })));
        assert!(matches!(judge(9, 0, 9), Err(Violation::NotAPrefix { .. }))); // never sent
    }

    #[test]
    fn a_state_that_rests_on_what_is_gone_is_no_cut() {
        let everybody = [Progress::at(5), Progress::at(3)];
        everybody[1].resume(3);
        let exactly = |count| Survived { at_least: count, at_most: count };
        assert!(check_cut(&everybody, &[exactly(5), exactly(3)]).is_none());
        everybody[1].note_sending(3, 4, &everybody);
        assert!(check_cut(&everybody, &[exactly(4), exactly(3)]).is_none()); // what knew more is gone too
        assert!(check_cut(&everybody, &[exactly(5), exactly(4)]).is_none());
        let broken = check_cut(&everybody, &[exactly(4), exactly(4)]);
        assert!(matches!(broken, Some(Violation::NoCut { client: 1, operation: 3, other: 0, known: 5, .. })));
        let open = Survived { at_least: 3, at_most: 4 };
        assert!(check_cut(&everybody, &[exactly(4), open]).is_none());
    }
}
