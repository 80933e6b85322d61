//! A snapshot file, as Redis 7.2 and 7.4 write it.
//!
//! Not here: encodings that only older servers wrote (ziplists, zipmaps), modules, functions' code.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{Bytes, DBS, Entry, Field, Group, Keyspace, Pending, Score, Stream, StreamId, Value};

type Outcome<T> = Result<T, String>;

/// Reads a whole file, its checksum included.
pub fn read(bytes: &[u8]) -> Outcome<Keyspace> {
    let mut reader = Reader { bytes, at: 0 };
    reader.file().map_err(|why| format!("RDB at {}: {why}", reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn file(&mut self) -> Outcome<Keyspace> {
        if self.take(5)? != b"REDIS" {
            return Err("it is none".into());
        }
        let version: u16 = String::from_utf8_lossy(self.take(4)?).parse().map_err(|_| "no version")?;
        if !(9..=12).contains(&version) {
            return Err(format!("version {version}"));
        }
        let mut keyspace = Keyspace::default();
        let (mut db, mut expires_at_ms) = (0, None);
        loop {
            match self.byte()? {
                255 => break,
                254 => db = self.len()?,
                253 => expires_at_ms = Some(u64::from(self.u32()?) * 1_000),
                252 => expires_at_ms = Some(self.u64()?),
                251 => drop((self.len()?, self.len()?)),
                250 => drop((self.string()?, self.string()?)),
                249 => drop(self.byte()?),
                248 => drop(self.len()?),
                245 => drop(self.string()?),
                kind => {
                    let key = self.string()?;
                    let value = self
                        .value(kind)
                        .map_err(|why| format!("{}: {why}", String::from_utf8_lossy(&key)))?;
                    if db >= DBS {
                        return Err(format!("database {db}"));
                    }
                    keyspace.insert(db, key, Entry { value, expires_at_ms: expires_at_ms.take() });
                }
            }
        }
        let sum = crc64(&self.bytes[..self.at]);
        let written = self.u64()?;
        match self.at == self.bytes.len() {
            _ if written != 0 && written != sum => {
                Err(format!("checksum {written:x}, its bytes have {sum:x}"))
            }
            false => Err("something follows its end".into()),
            true => Ok(keyspace),
        }
    }

    fn value(&mut self, kind: u8) -> Outcome<Value> {
        Ok(match kind {
            0 => Value::String(self.string()?),
            1 => Value::List(self.strings(1)?.into()),
            2 => Value::Set(self.strings(1)?.into_iter().collect()),
            4 => Value::Hash(fields(self.strings(2)?)?),
            5 => Value::Zset(self.zset()?),
            11 => Value::Set(intset(&self.string()?)?),
            16 => Value::Hash(fields(listpack(&self.string()?)?)?),
            17 => Value::Zset(scores(listpack(&self.string()?)?)?),
            18 => Value::List(self.quicklist()?),
            20 => Value::Set(listpack(&self.string()?)?.into_iter().collect()),
            15 | 19 | 21 => Value::Stream(self.stream(kind)?),
            24 => Value::Hash(self.hash_with_times()?),
            25 => {
                self.u64()?;
                let triples = listpack(&self.string()?)?;
                let field = |triple: &[Bytes]| match triple {
                    [name, value, at_ms] => {
                        let at_ms = number(at_ms)? as u64;
                        Ok((
                            name.clone(),
                            Field { value: value.clone(), expires_at_ms: (at_ms > 0).then_some(at_ms) },
                        ))
                    }
                    _ => Err("a field without its parts".to_string()),
                };
                Value::Hash(triples.chunks(3).map(field).collect::<Outcome<_>>()?)
            }
            other => return Err(format!("type {other}")),
        })
    }

    fn strings(&mut self, per_element: usize) -> Outcome<Vec<Bytes>> {
        let count = self.len()? * per_element;
        (0..count).map(|_| self.string()).collect()
    }

    fn zset(&mut self) -> Outcome<BTreeMap<Bytes, Score>> {
        let count = self.len()?;
        (0..count).map(|_| Ok((self.string()?, Score(f64::from_bits(self.u64()?))))).collect()
    }

    fn quicklist(&mut self) -> Outcome<VecDeque<Bytes>> {
        let mut items = VecDeque::new();
        for _ in 0..self.len()? {
            match self.len()? {
                1 => items.push_back(self.string()?),
                2 => items.extend(listpack(&self.string()?)?),
                other => return Err(format!("container {other}")),
            }
        }
        Ok(items)
    }

    /// Fields, each with its time counted from the earliest.
    fn hash_with_times(&mut self) -> Outcome<BTreeMap<Bytes, Field>> {
        let earliest_ms = self.u64()?;
        let count = self.len()?;
        let mut field = || {
            let after = self.len()? as u64;
            let expires_at_ms = (after > 0).then(|| earliest_ms + after - 1);
            let name = self.string()?;
            Ok((name, Field { value: self.string()?, expires_at_ms }))
        };
        (0..count).map(|_| field()).collect()
    }

    fn stream(&mut self, kind: u8) -> Outcome<Stream> {
        let mut stream = Stream::default();
        for _ in 0..self.len()? {
            let first = self.string()?;
            let first = id_of(&first)?;
            entries(first, listpack(&self.string()?)?, &mut stream.entries)?;
        }
        let count = self.len()?;
        if count != stream.entries.len() {
            return Err(format!("{} entries, {count} counted", stream.entries.len()));
        }
        stream.last_id = self.id()?;
        stream.added = count as u64;
        if kind >= 19 {
            let first = self.id()?;
            if first != stream.entries.keys().next().copied().unwrap_or_default() {
                return Err(format!("{first:?} is not its first entry"));
            }
            stream.deleted_id_max = self.id()?;
            stream.added = self.len()? as u64;
        }
        for _ in 0..self.len()? {
            let name = self.string()?;
            stream.groups.insert(name, self.group(kind)?);
        }
        Ok(stream)
    }

    fn group(&mut self, kind: u8) -> Outcome<Group> {
        let mut group = Group { last_id: self.id()?, ..Group::default() };
        if kind >= 19 {
            let reads = self.len()? as i64;
            group.entries_read = (reads >= 0).then_some(reads);
        }
        for _ in 0..self.len()? {
            let id = id_of(self.take(16)?)?;
            let (delivered_ms, count) = (self.u64()?, self.len()? as u64);
            group.pending.insert(id, Pending { consumer: Bytes::new(), delivered_ms, count });
        }
        let mut owned = 0;
        for _ in 0..self.len()? {
            let name = self.string()?;
            self.take(if kind >= 21 { 16 } else { 8 })?;
            for _ in 0..self.len()? {
                let id = id_of(self.take(16)?)?;
                let pending = group.pending.get_mut(&id).ok_or(format!("{id:?} is pending for nobody"))?;
                pending.consumer.clone_from(&name);
                owned += 1;
            }
            group.consumers.insert(name);
        }
        if owned == group.pending.len() {
            Ok(group)
        } else {
            Err("pending entries without a consumer".into())
        }
    }

    fn id(&mut self) -> Outcome<StreamId> {
        Ok((self.len()? as u64, self.len()? as u64))
    }

    // --- The smallest parts -------------------------------------------------------------------------------

    fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Outcome<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Outcome<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four were taken")))
    }

    fn u64(&mut self) -> Outcome<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight were taken")))
    }

    fn len(&mut self) -> Outcome<usize> {
        match self.len_or_encoding()? {
            Ok(len) => Ok(len),
            Err(encoding) => Err(format!("encoding {encoding} where a length belongs")),
        }
    }

    fn len_or_encoding(&mut self) -> Outcome<Result<usize, u8>> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Ok(usize::from(first)),
            1 => Ok(usize::from(first & 0x3f) << 8 | usize::from(self.byte()?)),
            3 => Err(first & 0x3f),
            _ => match first {
                0x80 => Ok(big_endian(self.take(4)?) as usize),
                0x81 => Ok(big_endian(self.take(8)?) as usize),
                _ => return Err(format!("length {first:#x}")),
            },
        })
    }

    fn string(&mut self) -> Outcome<Bytes> {
        let len = match self.len_or_encoding()? {
            Ok(len) => return self.take(len).map(<[u8]>::to_vec),
            Err(3) => self.len()?,
            Err(encoding @ 0..3) => {
                let bytes = self.take(1 << encoding)?;
                return Ok(little_endian(bytes).to_string().into_bytes());
            }
            Err(encoding) => return Err(format!("string encoding {encoding}")),
        };
        let plain_len = self.len()?;
        unpack(self.take(len)?, plain_len)
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A signed number of one to eight bytes.
fn little_endian(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len() as u32;
    let sum = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    (sum << unused) as i64 >> unused
}

fn id_of(bytes: &[u8]) -> Outcome<StreamId> {
    let (ms, number) =
        bytes.split_at_checked(8).filter(|(_, number)| number.len() == 8).ok_or("an id of other length")?;
    Ok((big_endian(ms), big_endian(number)))
}

fn number(text: &Bytes) -> Outcome<i64> {
    let text = String::from_utf8_lossy(text);
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn fields(strings: Vec<Bytes>) -> Outcome<BTreeMap<Bytes, Field>> {
    let field = |pair: &[Bytes]| match pair {
        [name, value] => Ok((name.clone(), Field { value: value.clone(), expires_at_ms: None })),
        _ => Err("a field without a value".to_string()),
    };
    strings.chunks(2).map(field).collect()
}

fn scores(strings: Vec<Bytes>) -> Outcome<BTreeMap<Bytes, Score>> {
    let member = |pair: &[Bytes]| match pair {
        [name, score] => {
            let score = String::from_utf8_lossy(score).parse().map_err(|_| "a score that is no number")?;
            Ok((name.clone(), Score(score)))
        }
        _ => Err("a member without a score".to_string()),
    };
    strings.chunks(2).map(member).collect()
}

fn intset(bytes: &[u8]) -> Outcome<BTreeSet<Bytes>> {
    let (head, numbers) = bytes.split_at_checked(8).ok_or("an intset without its head")?;
    let (width, count) = (little_endian(&head[..4]) as usize, little_endian(&head[4..]) as usize);
    if !matches!(width, 2 | 4 | 8) || numbers.len() != width * count {
        return Err(format!("an intset of {count} times {width} bytes"));
    }
    Ok(numbers.chunks(width).map(|number| little_endian(number).to_string().into_bytes()).collect())
}

/// Elements of a listpack, numbers as their digits.
fn listpack(bytes: &[u8]) -> Outcome<Vec<Bytes>> {
    let mut reader = Reader { bytes, at: 0 };
    let (len, count) = (reader.u32()? as usize, little_endian(reader.take(2)?) as u16);
    let mut elements = Vec::new();
    loop {
        let start = reader.at;
        let first = reader.byte()?;
        if first == 0xff {
            break;
        }
        elements.push(element(first, &mut reader)?);
        let len = reader.at - start;
        let back_bytes = (1..5).find(|bytes| len < 1 << (7 * bytes)).unwrap_or(5);
        let back = reader.take(back_bytes)?.iter().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        if back != len {
            return Err(format!("an element of {len} bytes says {back}"));
        }
    }
    let is_counted = count == u16::MAX || usize::from(count) == elements.len();
    if len == bytes.len() && reader.at == len && is_counted {
        Ok(elements)
    } else {
        Err("a listpack of another size".into())
    }
}

fn element(first: u8, reader: &mut Reader<'_>) -> Outcome<Bytes> {
    let text = |number: i64| number.to_string().into_bytes();
    let string = |len: usize, reader: &mut Reader<'_>| reader.take(len).map(<[u8]>::to_vec);
    match first {
        0..0x80 => Ok(text(i64::from(first))),
        0x80..0xc0 => string(usize::from(first & 0x3f), reader),
        0xc0..0xe0 => {
            let number = i64::from(first & 0x1f) << 8 | i64::from(reader.byte()?);
            Ok(text(if number >= 1 << 12 { number - (1 << 13) } else { number }))
        }
        0xe0..0xf0 => {
            let len = usize::from(first & 0x0f) << 8 | usize::from(reader.byte()?);
            string(len, reader)
        }
        0xf0 => {
            let len = reader.u32()? as usize;
            string(len, reader)
        }
        0xf1..0xf5 => Ok(text(little_endian(reader.take([2, 3, 4, 8][usize::from(first - 0xf1)])?))),
        _ => Err(format!("element {first:#x}")),
    }
}

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Entries of one node of a stream.
fn entries(first: StreamId, elements: Vec<Bytes>, all: &mut BTreeMap<StreamId, Vec<Bytes>>) -> Outcome<()> {
    let mut elements = elements.into_iter();
    let mut next = || elements.next().ok_or_else(|| "a node ends too early".to_string());
    let (count, deleted) = (number(&next()?)?, number(&next()?)?);
    let field_count = number(&next()?)?;
    let names = (0..field_count).map(|_| next()).collect::<Outcome<Vec<_>>>()?;
    if number(&next()?)? != 0 {
        return Err("a node without the end of its head".into());
    }
    for _ in 0..count + deleted {
        let (flags, ms, order) = (number(&next()?)?, number(&next()?)?, number(&next()?)?);
        let id = (first.0.wrapping_add(ms as u64), first.1.wrapping_add(order as u64));
        let mut pairs = Vec::new();
        if flags & SAME_FIELDS != 0 {
            for name in &names {
                pairs.extend([name.clone(), next()?]);
            }
        } else {
            for _ in 0..2 * number(&next()?)? {
                pairs.push(next()?);
            }
        }
        next()?;
        if flags & DELETED == 0 {
            all.insert(id, pairs);
        }
    }
    if elements.next().is_some() { Err("a node has more than its entries".into()) } else { Ok(()) }
}

/// LZF: runs of bytes as they are, and runs that were there before.
fn unpack(mut packed: &[u8], plain_len: usize) -> Outcome<Bytes> {
    const ENDS: &str = "a packed string ends too early";
    let mut plain = Vec::with_capacity(plain_len);
    let byte = |packed: &mut &[u8]| {
        let (first, rest) = packed.split_first().ok_or(ENDS)?;
        *packed = rest;
        Ok::<usize, String>(usize::from(*first))
    };
    while !packed.is_empty() {
        let control = byte(&mut packed)?;
        if control < 32 {
            let (run, rest) = packed.split_at_checked(control + 1).ok_or(ENDS)?;
            plain.extend_from_slice(run);
            packed = rest;
            continue;
        }
        let len = match control >> 5 {
            7 => 7 + byte(&mut packed)?,
            len => len,
        };
        let back = ((control & 0x1f) << 8) + byte(&mut packed)? + 1;
        let from = plain.len().checked_sub(back).ok_or("a packed string looks before its beginning")?;
        (from..from + len + 2).for_each(|at| plain.push(plain[at]));
    }
    if plain.len() == plain_len {
        Ok(plain)
    } else {
        Err(format!("{} bytes unpacked of {plain_len}", plain.len()))
    }
}

/// CRC-64 of Jones, bit by bit.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    bytes.iter().fold(0, |sum, byte| {
        let step = |sum: u64, _| if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
        (0..8).fold(sum ^ u64::from(*byte), step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_published_one() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn packed_strings_come_out_whole() {
        assert_eq!(unpack(&[0, b'a', 0xe0, 1, 0], 11), Ok(b"aaaaaaaaaaa".to_vec()));
        assert!(unpack(&[0, b'a', 0x20, 5], 4).is_err());
    }

    #[test]
    fn a_file_of_one_key_is_read_and_a_flipped_bit_is_not() {
        let mut file = b"REDIS0011\xfe\x00\x00\x01k\xc1\x39\x30\xff".to_vec();
        let sum = crc64(&file);
        file.extend(sum.to_le_bytes());
        assert_eq!(read(&file).unwrap().get(0, b"k").unwrap().value, Value::String(b"12345".to_vec()));
        for at in 0..file.len() - 8 {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert!(read(&flipped).is_err(), "byte {at}");
        }
    }
}
