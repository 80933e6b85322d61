//! The HyperLogLog: how many different elements were seen, within a percent, in at most 12 KiB. Kept in a string whose
//! bytes are Redis's own.
//!
//! ```text
//! ┌──────┬───┬─────────┬──────────────────┬─────────────────┐
//! │ HYLL │ E │ 0, 0, 0 │ cached count u64 │ registers …     │   E: 0 dense, 1 sparse; top bit of the count: stale
//! └──────┴───┴─────────┴──────────────────┴─────────────────┘
//! dense    16384 registers of 6 bits, lowest bits first
//! sparse   00llllll              l + 1 registers of 0
//!          01llllll llllllll     l + 1 registers of 0
//!          1vvvvvll              l + 1 registers of v + 1
//! ```
//!
//! An element's hash chooses a register (14 bits) and a rank: the place of the lowest bit that is set in the other 50,
//! counted from 1, or 51 if none is. A register keeps the highest rank it has seen.
//!
//! Always true: a register never decreases; sparse turns into dense, never back.
//!
//! Not here: keys, replies and events (`commands/hyperloglog.rs`).

use alloc::{format, string::String, vec, vec::Vec};

use crate::rng::Rng;

/// How many registers there are.
pub const REGISTER_COUNT: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 14;
/// Bits of the hash that make the rank.
const RANK_BITS: u32 = 64 - INDEX_BITS;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTER_COUNT * REGISTER_BITS / 8;
const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CACHE_AT: usize = 8;
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;
const HASH_SEED: u64 = 0xadc8_3b19;

/// The sparse encoding does not add up to the number of registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// How registers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// All of them.
    Dense,
    /// Runs of equal ones.
    Sparse,
}

/// One that has seen nothing.
pub fn new() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = 1;
    push_zeros(&mut bytes, REGISTER_COUNT);
    bytes
}

/// The encoding of a string that is a HyperLogLog by its header and size, else `None`.
pub fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING_AT] {
        0 => (bytes.len() == DENSE_BYTES).then_some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// The count, if no register has changed since it was computed.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    if bytes[STALE_AT] & STALE != 0 {
        return None;
    }
    let count = bytes[CACHE_AT..HEADER_BYTES].try_into().expect("the header has eight bytes for it");
    Some(u64::from_le_bytes(count))
}

/// Keeps the count until a register changes.
pub fn cache_count(bytes: &mut [u8], count: u64) {
    bytes[CACHE_AT..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Says that the cached count no longer holds.
pub fn forget_count(bytes: &mut [u8]) {
    bytes[STALE_AT] |= STALE;
}

/// Takes in elements; how many of them changed a register. The sparse encoding is left beyond `sparse_bytes_max`.
///
/// # Errors
/// `Corrupt`, and nothing is changed.
pub fn add(bytes: &mut Vec<u8>, elements: &[&[u8]], sparse_bytes_max: usize) -> Result<usize, Corrupt> {
    // One element finds damage before it changes anything. With more, the first could be in when the second finds it.
    if elements.len() > 1 && bytes[ENCODING_AT] == 1 {
        check_runs(bytes)?;
    }
    let mut changed = 0;
    for element in elements {
        changed += usize::from(raise(bytes, Sighting::of(element), sparse_bytes_max)?);
    }
    Ok(changed)
}

/// A register and the rank that was seen for it.
#[derive(Clone, Copy)]
struct Sighting {
    index: usize,
    rank: u8,
}

impl Sighting {
    fn of(element: &[u8]) -> Sighting {
        let hash = murmur64a(element, HASH_SEED);
        let index = hash as usize % REGISTER_COUNT;
        // The added bit ends the search when all others are 0.
        let rank = (hash >> INDEX_BITS | 1 << RANK_BITS).trailing_zeros() + 1;
        Sighting { index, rank: rank as u8 }
    }
}

/// Raises registers to at least these ranks (0 is nothing seen).
///
/// # Errors
/// `Corrupt`; registers before the damage may have been raised.
pub fn raise_all(bytes: &mut Vec<u8>, ranks: &[u8], sparse_bytes_max: usize) -> Result<(), Corrupt> {
    for (index, &rank) in ranks.iter().enumerate().filter(|&(_, &rank)| rank > 0) {
        raise(bytes, Sighting { index, rank }, sparse_bytes_max)?;
    }
    Ok(())
}

/// Raises one register; whether it was lower before.
fn raise(bytes: &mut Vec<u8>, seen: Sighting, sparse_bytes_max: usize) -> Result<bool, Corrupt> {
    if bytes[ENCODING_AT] == 1 {
        return raise_sparse(bytes, seen, sparse_bytes_max);
    }
    Ok(raise_dense(bytes, seen))
}

/// Writes the highest ranks of both into `ranks`.
///
/// # Errors
/// `Corrupt`; `ranks` is then of no use.
pub fn merge_into(ranks: &mut [u8], bytes: &[u8]) -> Result<(), Corrupt> {
    if bytes[ENCODING_AT] == 0 {
        for (index, rank) in ranks.iter_mut().enumerate() {
            *rank = (*rank).max(dense_register(bytes, index));
        }
        return Ok(());
    }
    check_runs(bytes)?;
    for run in runs(bytes) {
        let ranks = &mut ranks[run.first..run.first + run.len];
        ranks.iter_mut().for_each(|rank| *rank = (*rank).max(run.rank));
    }
    Ok(())
}

/// About how many different elements were taken in.
///
/// # Errors
/// `Corrupt`
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    let mut histogram = [0; 1 << REGISTER_BITS];
    if bytes[ENCODING_AT] == 0 {
        (0..REGISTER_COUNT).for_each(|index| histogram[usize::from(dense_register(bytes, index))] += 1);
    } else {
        check_runs(bytes)?;
        runs(bytes).for_each(|run| histogram[usize::from(run.rank)] += run.len as u32);
    }
    Ok(estimate(&histogram))
}

/// [`count`] for registers outside of a string.
pub fn count_ranks(ranks: &[u8]) -> u64 {
    let mut histogram = [0; 1 << REGISTER_BITS];
    ranks.iter().for_each(|&rank| histogram[usize::from(rank)] += 1);
    estimate(&histogram)
}

/// Leaves the sparse encoding; `false` if it was left already.
///
/// # Errors
/// `Corrupt`, and nothing is changed.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupt> {
    if bytes[ENCODING_AT] == 0 {
        return Ok(false);
    }
    check_runs(bytes)?;
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER_BYTES].copy_from_slice(&bytes[..HEADER_BYTES]);
    dense[ENCODING_AT] = 0;
    for run in runs(bytes).filter(|run| run.rank > 0) {
        (run.first..run.first + run.len).for_each(|index| set_dense_register(&mut dense, index, run.rank));
    }
    *bytes = dense;
    Ok(true)
}

/// The runs of a sparse one in words: `z:` and `Z:` zeros, `v:` rank, count.
pub fn describe_runs(bytes: &[u8]) -> String {
    let words: Vec<String> = runs(bytes)
        .map(|run| match (run.rank, run.bytes) {
            (0, 1) => format!("z:{}", run.len),
            (0, _) => format!("Z:{}", run.len),
            (rank, _) => format!("v:{rank},{}", run.len),
        })
        .collect();
    words.join(" ")
}

/// The ranks of all registers of a dense one.
pub fn dense_ranks(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    (0..REGISTER_COUNT).map(|index| dense_register(bytes, index))
}

// --- Dense --------------------------------------------------------------------------------------

/// Byte in which a register begins, and at which of its bits.
fn dense_place(index: usize) -> (usize, usize) {
    let bit = index * REGISTER_BITS;
    (HEADER_BYTES + bit / 8, bit % 8)
}

fn dense_register(bytes: &[u8], index: usize) -> u8 {
    let (at, shift) = dense_place(index);
    // The last register ends with the last byte.
    let pair = u16::from_le_bytes([bytes[at], bytes.get(at + 1).copied().unwrap_or(0)]);
    (pair >> shift) as u8 & REGISTER_MAX
}

fn set_dense_register(bytes: &mut [u8], index: usize, rank: u8) {
    let (at, shift) = dense_place(index);
    let (mask, value) = (u16::from(REGISTER_MAX) << shift, u16::from(rank) << shift);
    bytes[at] = bytes[at] & !mask as u8 | value as u8;
    if let Some(next) = bytes.get_mut(at + 1) {
        *next = *next & !(mask >> 8) as u8 | (value >> 8) as u8;
    }
}

fn raise_dense(bytes: &mut [u8], seen: Sighting) -> bool {
    let is_higher = seen.rank > dense_register(bytes, seen.index);
    if is_higher {
        set_dense_register(bytes, seen.index, seen.rank);
    }
    is_higher
}

// --- Sparse -------------------------------------------------------------------------------------

const LONG_ZEROS: u8 = 0x40;
const RANKED: u8 = 0x80;
const ZEROS_MAX: usize = 64;
const RANKED_LEN_MAX: usize = 4;
/// Highest rank of the sparse encoding.
const SPARSE_RANK_MAX: u8 = 32;
/// How many runs are looked at for neighbours to join after a change; Redis's own number, visible in the bytes.
const JOIN_STEPS: usize = 5;

/// Equal registers, as one or two bytes say it.
#[derive(Clone, Copy)]
struct Run {
    /// Where it begins in the string.
    at: usize,
    /// How many bytes say it.
    bytes: usize,
    /// Its first register.
    first: usize,
    /// How many registers.
    len: usize,
    /// Their rank.
    rank: u8,
}

/// The runs in order. Ends early where a run is cut.
fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let (mut at, mut first) = (HEADER_BYTES, 0);
    core::iter::from_fn(move || {
        let head = *bytes.get(at)?;
        let (size, len, rank) = match head & (RANKED | LONG_ZEROS) {
            0 => (1, usize::from(head) + 1, 0),
            LONG_ZEROS => {
                (2, usize::from(u16::from_be_bytes([head & !LONG_ZEROS, *bytes.get(at + 1)?])) + 1, 0)
            }
            _ => (1, usize::from(head & 3) + 1, (head >> 2 & 31) + 1),
        };
        let run = Run { at, bytes: size, first, len, rank };
        at += size;
        first += len;
        Some(run)
    })
}

/// Refuses runs that do not make up all registers, or are cut.
fn check_runs(bytes: &[u8]) -> Result<(), Corrupt> {
    let (mut end, mut register_count) = (HEADER_BYTES, 0);
    for run in runs(bytes) {
        end += run.bytes;
        register_count += run.len;
    }
    if end == bytes.len() && register_count == REGISTER_COUNT { Ok(()) } else { Err(Corrupt) }
}

fn push_zeros(out: &mut Vec<u8>, len: usize) {
    match len {
        0 => {}
        1..=ZEROS_MAX => out.push((len - 1) as u8),
        _ => out.extend_from_slice(&(u16::from(LONG_ZEROS) << 8 | (len - 1) as u16).to_be_bytes()),
    }
}

fn push_ranked(out: &mut Vec<u8>, rank: u8, len: usize) {
    if len > 0 {
        out.push(ranked(rank, len));
    }
}

fn ranked(rank: u8, len: usize) -> u8 {
    RANKED | (rank - 1) << 2 | (len - 1) as u8
}

fn raise_sparse(bytes: &mut Vec<u8>, seen: Sighting, sparse_bytes_max: usize) -> Result<bool, Corrupt> {
    if seen.rank > SPARSE_RANK_MAX {
        return raise_promoted(bytes, seen);
    }
    let mut before = None;
    let mut found = None;
    for run in runs(bytes) {
        if seen.index < run.first + run.len {
            found = Some(run);
            break;
        }
        before = Some(run);
    }
    let run = found.ok_or(Corrupt)?;
    if run.rank >= seen.rank {
        return Ok(false);
    }
    let pieces = cut(run, seen);
    let grown = bytes.len() + pieces.len() - run.bytes;
    if pieces.len() > run.bytes && grown > sparse_bytes_max {
        return raise_promoted(bytes, seen);
    }
    bytes.splice(run.at..run.at + run.bytes, pieces);
    join_neighbours(bytes, before.map_or(HEADER_BYTES, |run| run.at));
    forget_count(bytes);
    Ok(true)
}

/// The run with one register raised: what comes before it, the register, what comes after it.
fn cut(run: Run, seen: Sighting) -> Vec<u8> {
    let (len_before, len_after) = (seen.index - run.first, run.first + run.len - 1 - seen.index);
    let mut pieces = Vec::with_capacity(5);
    let push_rest = |pieces: &mut Vec<u8>, len| match run.rank {
        0 => push_zeros(pieces, len),
        rank => push_ranked(pieces, rank, len),
    };
    push_rest(&mut pieces, len_before);
    push_ranked(&mut pieces, seen.rank, 1);
    push_rest(&mut pieces, len_after);
    pieces
}

/// Joins runs of equal rank that lie side by side, near `at`.
fn join_neighbours(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_STEPS {
        let Some(&head) = bytes.get(at) else { return };
        if head & RANKED == 0 {
            at += if head & LONG_ZEROS == 0 { 1 } else { 2 };
            continue;
        }
        let joined_len = |next: u8| usize::from(head & 3) + usize::from(next & 3) + 2;
        match bytes.get(at + 1) {
            // Same kind and rank: all but the lowest two bits are equal.
            Some(&next) if head >> 2 == next >> 2 && joined_len(next) <= RANKED_LEN_MAX => {
                bytes[at + 1] = head & !3 | (joined_len(next) - 1) as u8;
                bytes.remove(at);
            }
            _ => at += 1,
        }
    }
}

/// Leaves the sparse encoding because it cannot say this.
fn raise_promoted(bytes: &mut Vec<u8>, seen: Sighting) -> Result<bool, Corrupt> {
    make_dense(bytes)?;
    let is_higher = raise_dense(bytes, seen);
    assert!(is_higher, "the sparse encoding was left for a rank that is higher");
    Ok(true)
}

// --- Estimating ---------------------------------------------------------------------------------

/// The count that these numbers of registers of each rank speak for.
///
/// Source: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6.
fn estimate(histogram: &[u32; 1 << REGISTER_BITS]) -> u64 {
    /// 1 / (2 ln 2)
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let register_count = REGISTER_COUNT as f64;
    let rank_max = RANK_BITS as usize;
    let mut sum =
        register_count * tau((register_count - f64::from(histogram[rank_max + 1])) / register_count);
    for rank in (1..=rank_max).rev() {
        sum = (sum + f64::from(histogram[rank])) * 0.5;
    }
    sum += register_count * sigma(f64::from(histogram[0]) / register_count);
    let count = ALPHA * register_count * register_count / sum;
    let whole = count as u64;
    whole + u64::from(count - whole as f64 >= 0.5)
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = square_root(x);
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// The root of a number between 0 and 1, by Newton's method from above.
fn square_root(x: f64) -> f64 {
    let mut root = 1.0;
    loop {
        let next = 0.5 * (root + x / root);
        if next >= root {
            return root;
        }
        root = next;
    }
}

/// MurmurHash64A: Austin Appleby's 64-bit hash for 64-bit machines, reading little endian.
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut mixed = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed = (mixed ^ mixed >> SHIFT).wrapping_mul(MULTIPLIER);
        hash = (hash ^ mixed).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}

// --- Self test ----------------------------------------------------------------------------------

/// Checks on this machine that registers keep what they are given, that both encodings agree, and that counts are
/// within six standard errors.
///
/// # Errors
/// What is wrong, in words.
pub fn self_test(rng: &mut Rng) -> Result<(), String> {
    test_registers(rng)?;
    test_counts(rng)
}

fn test_registers(rng: &mut Rng) -> Result<(), String> {
    /// Enough for each pair of neighbours to hold most pairs of values once.
    const ROUNDS: usize = 100;
    let mut dense = new();
    make_dense(&mut dense).map_err(|Corrupt| String::from("an empty one is corrupt"))?;
    for _ in 0..ROUNDS {
        let ranks: Vec<u8> = (0..REGISTER_COUNT).map(|_| rng.next_u64() as u8 & REGISTER_MAX).collect();
        for (index, &rank) in ranks.iter().enumerate() {
            set_dense_register(&mut dense, index, rank);
        }
        for (index, (&rank, found)) in ranks.iter().zip(dense_ranks(&dense)).enumerate() {
            if found != rank {
                return Err(format!("Register {index} should be {rank} but is {found}"));
            }
        }
    }
    Ok(())
}

fn test_counts(rng: &mut Rng) -> Result<(), String> {
    const ELEMENT_COUNT: u64 = 1_000_000;
    /// Larger ones are dense anyway.
    const BOTH_ENCODINGS_MAX: u64 = 10_000;
    /// 1.04 / sqrt(registers), the standard error.
    const ERROR: f64 = 1.04 / 128.0;
    let corrupt = |Corrupt| String::from("an object of ours is corrupt");
    let (mut sparse, mut dense, seed) = (new(), new(), rng.next_u64());
    make_dense(&mut dense).map_err(corrupt)?;
    let mut checkpoint = 1;
    for number in 1..=ELEMENT_COUNT {
        let element = (number ^ seed).to_le_bytes();
        add(&mut dense, &[&element], 0).map_err(corrupt)?;
        if number <= BOTH_ENCODINGS_MAX {
            add(&mut sparse, &[&element], usize::MAX).map_err(corrupt)?;
        }
        if number != checkpoint {
            continue;
        }
        checkpoint *= 10;
        let found = count(&dense).map_err(corrupt)?;
        if number <= BOTH_ENCODINGS_MAX && found != count(&sparse).map_err(corrupt)? {
            return Err(String::from("dense/sparse disagree"));
        }
        // One more than rounding gives: among ten elements two may share a register.
        let allowed = (ERROR * 6.0 * number as f64) as u64 + 1;
        if found.abs_diff(number) > allowed {
            return Err(format!("Too big error. card:{number} abserr:{}", found.abs_diff(number)));
        }
    }
    Ok(())
}
