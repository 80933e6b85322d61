//! An append-only file of commands, as a stock server reads it.

use super::Loaded;
use crate::model::{Answer, Bytes, Choice};

/// Runs all commands of a file.
///
/// # Errors
/// What is wrong, and where.
pub fn run(bytes: &[u8], loaded: &mut Loaded) -> Result<(), String> {
    let mut rest = bytes;
    let mut db = 0;
    let mut queue: Option<Vec<Vec<Bytes>>> = None;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        if rest[0] == b'#' {
            line(&mut rest).map_err(|why| format!("at {at}: {why}"))?;
            continue;
        }
        let words = command(&mut rest).map_err(|why| format!("at {at}: {why}"))?;
        match (words[0].to_ascii_uppercase().as_slice(), &mut queue) {
            (b"MULTI", None) => queue = Some(Vec::new()),
            (b"EXEC", Some(_)) => {
                for words in queue.take().unwrap_or_default() {
                    run_one(&words, &mut db, loaded).map_err(|why| format!("at {at}: {why}"))?;
                }
            }
            (b"MULTI" | b"EXEC", _) => return Err(format!("at {at}: a transaction in the wrong place")),
            (_, Some(queue)) => queue.push(words),
            (_, None) => run_one(&words, &mut db, loaded).map_err(|why| format!("at {at}: {why}"))?,
        }
    }
    if queue.is_some() { Err("a transaction without its end".into()) } else { Ok(()) }
}

fn run_one(words: &[Bytes], db: &mut usize, loaded: &mut Loaded) -> Result<(), String> {
    let shown = || words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
    if words[0].eq_ignore_ascii_case(b"SELECT") {
        *db = number(&words[1])? as usize;
        return if *db < crate::model::DBS { Ok(()) } else { Err(shown()) };
    }
    let place = |key: &Bytes| (*db, key.clone());
    // No clock decides what a log means.
    match loaded.keyspace.execute(*db, words, 0) {
        Answer::Chosen(Choice::Registers(key)) => {
            loaded.unknown.insert(place(&key));
        }
        Answer::Chosen(Choice::GroupReads(..)) => {}
        answer @ (Answer::Error(_) | Answer::Wait | Answer::Chosen(_)) => {
            // Of a key that is not known nothing is known afterwards either.
            let is_unknown = words.iter().any(|word| loaded.unknown.contains(&place(word)));
            if !is_unknown {
                return Err(format!("{} answers {answer:?}", shown()));
            }
        }
        _ => {}
    }
    spread(words, *db, loaded);
    Ok(())
}

/// What is copied or renamed from an unknown key is unknown.
fn spread(words: &[Bytes], db: usize, loaded: &mut Loaded) {
    let named: Vec<_> = words[1..].iter().map(|word| (db, word.clone())).collect();
    match words[0].to_ascii_uppercase().as_slice() {
        b"SWAPDB" => {
            loaded.unknown =
                std::mem::take(&mut loaded.unknown).into_iter().map(|(db, key)| (1 - db, key)).collect();
        }
        b"MOVE" if loaded.unknown.contains(&named[0]) => {
            loaded.unknown.insert((1 - db, words[1].clone()));
        }
        b"RENAME" | b"RENAMENX" | b"COPY" | b"BITOP" | b"PFMERGE" | b"SORT"
            if named.iter().any(|place| loaded.unknown.contains(place)) =>
        {
            let both =
                named.iter().flat_map(|(_, key)| (0..crate::model::DBS).map(move |db| (db, key.clone())));
            loaded.unknown.extend(both);
        }
        _ => {}
    }
}

/// A command: an array of strings.
fn command(rest: &mut &[u8]) -> Result<Vec<Bytes>, String> {
    let count = after(b'*', line(rest)?)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let len = after(b'$', line(rest)?)? as usize;
        let (word, end) = rest.split_at_checked(len).ok_or("it ends in a word")?;
        *rest = end.strip_prefix(b"\r\n").ok_or("no end of a word")?;
        words.push(word.to_vec());
    }
    if words.is_empty() { Err("a command of no words".into()) } else { Ok(words) }
}

fn after(mark: u8, line: &[u8]) -> Result<u64, String> {
    match line.split_first() {
        Some((first, digits)) if *first == mark => number(digits),
        _ => Err(format!("no {:?} where one belongs", mark as char)),
    }
}

fn number(digits: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(digits);
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or("it ends in a line")?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    Ok(line)
}
