//! What a reply tells of is on the platter at the very instant at which it leaves.
//!
//! A probe starts a server from what a loss of power would leave, which is dear, so only some replies get one. This check
//! reads no more than the headers at the end of what is durable, so every reply gets it.

use super::Violation;
use perdura_sim::SimDisk;

/// Checks that the log is durable up to this offset, where the engine put the state that was told of.
///
/// # Errors
/// It ends earlier.
pub fn check(disk: &SimDisk, state: usize, offset: u64) -> Result<(), Violation> {
    match durable_to(disk) {
        Some(durable) if durable < offset => Err(Violation::Early(format!(
            "state {state} ends at {offset} of the log, the platter has {durable}"
        ))),
        // A log without headers says nothing, and neither does one that a rewrite has just emptied.
        _ => Ok(()),
    }
}

/// Up to where the log's files are certain to survive; `None` if no header says.
fn durable_to(disk: &SimDisk) -> Option<u64> {
    let files = disk.files();
    let logs = files.keys().filter(|path| path.ends_with(".incr.aof") && !path.contains("cut-"));
    let certain = logs.filter_map(|path| Some(&disk.peek(path)?[..disk.durable_len(path)? as usize]));
    certain.filter_map(last_end).max()
}

/// Offset of the log after the last whole batch.
fn last_end(bytes: &[u8]) -> Option<u64> {
    let is_header = |at: &usize| bytes[*at..].starts_with(b"#C:") && (*at == 0 || bytes[*at - 1] == b'\n');
    (0..bytes.len()).rev().filter(is_header).find_map(|at| {
        let line_len = bytes[at..].windows(2).position(|pair| pair == b"\r\n")? + 2;
        let line = std::str::from_utf8(&bytes[at + 3..at + line_len]).ok()?;
        let mut numbers = line.split(':').map_while(|text| u64::from_str_radix(text, 16).ok());
        let (end, records_len) = (numbers.next()?, numbers.next()?);
        (at + line_len + records_len as usize <= bytes.len()).then_some(end)
    })
}

#[test]
fn a_batch_that_is_not_whole_does_not_count() {
    let log = b"#C:5:5:0:0a0b0c0d\r\nabcde#C:8:3:0:00000000\r\nabc\n#C:b:3:0:00000000\r\nabc";
    let second = log.iter().position(|byte| *byte == b'\n').unwrap();
    assert_eq!(last_end(&log[..second]), None);
    assert_eq!(last_end(&log[..log.len()]), Some(11));
    assert_eq!(last_end(&log[..log.len() - 1]), Some(5));
}
