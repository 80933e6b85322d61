//! When two replies count as equal.
//!
//! Always true: what is not compared exactly is named here with its reason.

use perdura_harness::client::Reply;

/// How the replies of a command are compared.
#[derive(Clone, Copy, PartialEq)]
pub enum Comparison {
    /// Element by element.
    Exact,
    /// As multisets: the order of hash tables depends on a random seed, and 7.2 keeps small sets in listpacks.
    Unordered,
    /// As multisets of pairs.
    UnorderedPairs,
    /// Numbers within ten seconds: the servers get the command one after the other, each by its own clock.
    Moments,
    /// Without the third item of each row, which is how long an entry has been pending.
    WithoutIdle,
    /// Without the number of consumers: 7.2 makes the consumer of XCLAIM and XAUTOCLAIM even if it gets nothing.
    WithoutConsumers,
    /// Whether both are a value, or both the same kind of error: what the value says differs by nature.
    Kind,
    /// Not at all: one turn of a scan in a transaction sees whatever buckets come first.
    Not,
}

impl Comparison {
    /// How the replies of this command are compared; `is_inside` of MULTI.
    pub fn of(words: &[String], is_inside: bool) -> Comparison {
        match words[0].as_str() {
            "SCAN" | "SSCAN" | "HSCAN" | "ZSCAN" if is_inside => Comparison::Not,
            "KEYS" | "SMEMBERS" | "SDIFF" | "SINTER" | "SUNION" | "HKEYS" | "HVALS" | "SPOP"
            | "SRANDMEMBER" | "SCAN" | "SSCAN" | "HSCAN" | "ZSCAN" => Comparison::Unordered,
            "HRANDFIELD" | "ZRANDMEMBER" if words.len() == 3 => Comparison::Unordered,
            "HGETALL" | "HRANDFIELD" | "ZRANDMEMBER" => Comparison::UnorderedPairs,
            "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" => Comparison::Moments,
            // A key whose time has come counts until it is removed, which may be any time.
            "DBSIZE" => Comparison::Kind,
            "XINFO" => Comparison::WithoutConsumers,
            "XPENDING" if words.len() > 3 => Comparison::WithoutIdle,
            _ => Comparison::Exact,
        }
    }

    /// Whether the replies are equal in the sense of this comparison.
    pub fn same(self, ours: &Reply, theirs: &Reply) -> bool {
        match (self, ours, theirs) {
            (Comparison::Not, ..) => true,
            (Comparison::Kind, ..) => kind(ours) == kind(theirs),
            (Comparison::Moments, Reply::Integer(ours), Reply::Integer(theirs)) => {
                ours == theirs || *ours > 0 && *theirs > 0 && ours.abs_diff(*theirs) <= 10_000
            }
            (Comparison::WithoutIdle, Reply::Array(ours), Reply::Array(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(theirs).all(|(o, t)| same(&no_idle(o), &no_idle(t)))
            }
            (Comparison::WithoutConsumers, ..) => same(&no_consumers(ours), &no_consumers(theirs)),
            (Comparison::Unordered, ..) => same(&sorted(ours, 1), &sorted(theirs, 1)),
            (Comparison::UnorderedPairs, ..) => same(&sorted(ours, 2), &sorted(theirs, 2)),
            _ => same(ours, theirs),
        }
    }
}

/// What a reply is, but for what it says.
fn kind(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => text.split(' ').next().unwrap_or_default().to_owned(),
        Reply::Simple(_) => "simple".into(),
        Reply::Integer(_) => "integer".into(),
        Reply::Bulk(_) | Reply::Verbatim(..) => "bulk".into(),
        Reply::Null => "null".into(),
        Reply::Array(_) | Reply::Map(_) | Reply::Set(_) | Reply::Push(_) => "aggregate".into(),
        other => format!("{other:?}"),
    }
}

fn no_idle(row: &Reply) -> Reply {
    match row {
        Reply::Array(items) if items.len() == 4 => {
            Reply::Array(vec![items[0].clone(), items[1].clone(), items[3].clone()])
        }
        _ => row.clone(),
    }
}

/// The rows of XINFO GROUPS, with no number of consumers.
fn no_consumers(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => {
            let mut items: Vec<Reply> = items.iter().map(no_consumers).collect();
            if let Some(at) = items.iter().position(|item| item.as_bytes() == Some(b"consumers")) {
                items[at + 1] = Reply::Null;
            }
            Reply::Array(items)
        }
        Reply::Map(pairs) => {
            let is_kept = |pair: &&(Reply, Reply)| pair.0.as_bytes() != Some(b"consumers");
            Reply::Map(pairs.iter().filter(is_kept).cloned().collect())
        }
        other => other.clone(),
    }
}

/// The elements in groups of `size`, in the order of their text.
fn sorted(reply: &Reply, size: usize) -> Reply {
    let Some(elements) = reply.clone().into_elements() else { return reply.clone() };
    // RESP3 sends pairs as arrays of their own.
    let size = if matches!(elements.first(), Some(Reply::Array(_))) { 1 } else { size };
    let mut groups: Vec<&[Reply]> = elements.chunks(size).collect();
    groups.sort_by_key(|group| format!("{group:?}"));
    Reply::Array(groups.concat())
}

/// How errors begin that 7.2 words differently.
const REWORDED: &[&str] = &["ERR Unbalanced "];

/// Equal, but for how a double is written: 7.2 writes the shortest digits that read back as the same number, and
/// sooner with an exponent; 7.0 writes seventeen.
fn same(ours: &Reply, theirs: &Reply) -> bool {
    let all = |ours: &[Reply], theirs: &[Reply]| {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
    };
    match (ours, theirs) {
        (Reply::Array(ours), Reply::Array(theirs)) | (Reply::Set(ours), Reply::Set(theirs)) => {
            all(ours, theirs)
        }
        (Reply::Map(ours), Reply::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(o, t)| same(&o.0, &t.0) && same(&o.1, &t.1))
        }
        (Reply::Bulk(ours), Reply::Bulk(theirs)) => ours == theirs || is_long_form(ours, theirs),
        (Reply::Error(ours), Reply::Error(theirs)) => {
            ours == theirs
                || REWORDED.iter().any(|start| ours.starts_with(start) && theirs.starts_with(start))
        }
        (Reply::Double(ours), Reply::Double(theirs)) => ours == theirs || ours.is_nan() && theirs.is_nan(),
        _ => ours == theirs,
    }
}

/// Whether `theirs` is the same double in seventeen digits.
fn is_long_form(ours: &[u8], theirs: &[u8]) -> bool {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    theirs.len() >= 17 && number(ours).is_some() && number(ours) == number(theirs)
}
