//! HyperLogLogs as their registers, one byte each: what PFADD and PFMERGE do, however a server writes it down.
//!
//! Source: the description of the format at the head of Redis's hyperloglog.c; MurmurHash64A is public domain.

use super::execute::{Outcome, ok, yes_no};
use super::{Bytes, Keyspace};

const MAGIC: &[u8] = b"HYLL";
/// What ours begin with: they are not mistaken for a server's.
const PLAIN: &[u8] = b"registers:";
const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;
/// Magic, encoding, three unused bytes, cached count.
const HEADER_SIZE: usize = 16;
const REGISTER_BITS: usize = 6;

impl Keyspace {
    /// PFADD key element…, on registers as [`plain_registers`] gives them.
    pub(super) fn pfadd(&mut self, args: &[Bytes]) -> Outcome {
        let is_new = self.string_of(0, &args[0])?.is_none();
        let string = self.string_mut(0, &args[0])?;
        if is_new {
            *string = plain(&[0; REGISTERS]);
        }
        let mut has_grown = is_new;
        for element in &args[1..] {
            let (index, rank) = place(element);
            let register = &mut string[PLAIN.len() + index];
            has_grown |= rank > *register;
            *register = rank.max(*register);
        }
        yes_no(has_grown)
    }

    /// PFMERGE target source…
    pub(super) fn pfmerge(&mut self, args: &[Bytes]) -> Outcome {
        let mut merged = plain(&[0; REGISTERS]);
        for key in args {
            let registers = self.string_of(0, key)?.into_iter().flatten();
            merged.iter_mut().zip(registers).for_each(|(most, register)| *most = (*most).max(*register));
        }
        *self.string_mut(0, &args[0])? = merged;
        ok()
    }
}

fn plain(registers: &[u8]) -> Bytes {
    [PLAIN, registers].concat()
}

/// The registers of a HyperLogLog as a server keeps it; `None` if it is none.
pub fn plain_registers(bytes: &[u8]) -> Option<Bytes> {
    if !bytes.starts_with(MAGIC) || bytes.len() < HEADER_SIZE {
        return None;
    }
    let (header, body) = bytes.split_at(HEADER_SIZE);
    let registers = match header[MAGIC.len()] {
        0 => dense(body)?,
        1 => sparse(body)?,
        _ => return None,
    };
    Some(plain(&registers))
}

/// Six bits each, the lowest first.
fn dense(body: &[u8]) -> Option<Vec<u8>> {
    let bit = |at: usize| body.get(at / 8).map(|byte| byte >> (at % 8) & 1);
    let register = |index: usize| {
        (0..REGISTER_BITS).try_fold(0, |sum, place| Some(sum | bit(index * REGISTER_BITS + place)? << place))
    };
    (0..REGISTERS).map(register).collect()
}

/// ```text
/// 00nnnnnn           n + 1 registers of 0
/// 01nnnnnn nnnnnnnn  n + 1 registers of 0
/// 1vvvvvnn           n + 1 registers of v + 1
/// ```
fn sparse(body: &[u8]) -> Option<Vec<u8>> {
    let mut registers = Vec::with_capacity(REGISTERS);
    let mut body = body.iter();
    while let Some(first) = body.next() {
        let (value, count) = match first >> 6 {
            0 => (0, usize::from(first & 0x3f)),
            1 => (0, usize::from(first & 0x3f) << 8 | usize::from(*body.next()?)),
            _ => ((first >> 2 & 0x1f) + 1, usize::from(first & 3)),
        };
        registers.resize(registers.len() + count + 1, value);
    }
    (registers.len() == REGISTERS).then_some(registers)
}

/// The register of an element, and what it raises it to: the place of the first bit that is set.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash_64a(element, 0xadc8_3b19);
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (hash as usize % REGISTERS, rest.trailing_zeros() as u8 + 1)
}

fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let stir = |number: u64| (number ^ number >> 47).wrapping_mul(FACTOR);
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ stir(u64::from_le_bytes(*word).wrapping_mul(FACTOR))).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    let hash = stir(hash);
    hash ^ hash >> 47
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_registers_are_read() {
        let header = |encoding: u8| [MAGIC, &[encoding], &[0; 11]].concat();
        // 3 of nothing, 2 of 5, the rest of nothing.
        let rest = REGISTERS - 5 - 1;
        let sparse = [2, 0x80 | 4 << 2 | 1, 0x40 | (rest >> 8) as u8, rest as u8];
        let mut registers = vec![0; REGISTERS];
        registers[3..5].fill(5);
        assert_eq!(plain_registers(&[header(1), sparse.to_vec()].concat()), Some(plain(&registers)));
        let mut dense = vec![0; REGISTERS * REGISTER_BITS / 8];
        // Bits 18.. and 24..: in bytes 2 and 3.
        (dense[2], dense[3]) = (5 << 2, 5);
        assert_eq!(plain_registers(&[header(0), dense].concat()), Some(plain(&registers)));
        assert_eq!(plain_registers(b"HYLL"), None);
        assert_eq!(plain_registers(&[header(1), vec![2]].concat()), None);
        assert_eq!(plain_registers(b"a string"), None);
    }

    #[test]
    fn elements_raise_registers_once() {
        let mut keyspace = Keyspace::default();
        let words = |line: &str| line.split(' ').map(Bytes::from).collect::<Vec<_>>();
        let is =
            |answer: crate::model::Answer, number: i64| answer.allows(&crate::client::Reply::Integer(number));
        assert!(is(keyspace.apply(&words("PFADD h a b")), 1));
        assert!(is(keyspace.apply(&words("PFADD h a b")), 0));
        assert!(is(keyspace.apply(&words("PFADD other c")), 1));
        keyspace.apply(&words("PFMERGE h other"));
        assert!(is(keyspace.apply(&words("PFADD h c")), 0));
    }
}
