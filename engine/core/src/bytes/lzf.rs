//! LZF: the compression of long strings in RDB files and DUMP payloads.
//!
//! ```text
//! 000lllll                     l + 1 literal bytes follow                        1 .. 32
//! lllddddd dddddddd            copy l + 2 bytes from d + 1 bytes back            l = 1 .. 6
//! 111ddddd llllllll dddddddd   copy l + 9 bytes from d + 1 bytes back            9 .. 264
//! ```
//!
//! Always true: `decompress(compress(x)) == x`; output never exceeds what the caller allowed.
//!
//! Not here: which strings are worth compressing (`rdb/`).

use alloc::{vec, vec::Vec};

const LITERALS_MAX: usize = 32;
const COPY_MIN: usize = 3;
const COPY_MAX: usize = 264;
const DISTANCE_MAX: usize = 8192;

/// The last bytes are always literals; stock encoders leave as many.
const TAIL_BYTES: usize = 2;

/// `input` compressed, or `None` if that would take more than `output_max` bytes.
pub fn compress(input: &[u8], output_max: usize) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(output_max.min(input.len()));
    let mut seen = Seen::for_input(input.len());
    let (mut at, mut literals_start) = (0, 0);
    while at + COPY_MIN <= input.len() {
        let Some((distance, len)) = seen.swap(input, at).and_then(|earlier| copy_at(input, earlier, at))
        else {
            at += 1;
            continue;
        };
        push_literals(&input[literals_start..at], &mut output);
        push_copy(distance, len, &mut output);
        if output.len() > output_max {
            return None;
        }
        // Of the bytes just copied only the last two are remembered: enough for runs, and cheap.
        for covered in at + len - TAIL_BYTES..at + len {
            seen.swap(input, covered);
        }
        at += len;
        literals_start = at;
    }
    push_literals(&input[literals_start..], &mut output);
    (output.len() <= output_max).then_some(output)
}

/// Where each group of three bytes was seen last; position 0 stands for never.
struct Seen {
    positions: Vec<u32>,
    shift: u32,
}

impl Seen {
    /// As large as the input deserves: clearing it must not cost more than compressing.
    fn for_input(len: usize) -> Seen {
        let bits = len.checked_ilog2().unwrap_or(0).clamp(6, 14) + 1;
        Seen { positions: vec![0; 1 << bits], shift: 32 - bits }
    }

    /// Remembers the three bytes at `at` and tells where something like them was before.
    fn swap(&mut self, input: &[u8], at: usize) -> Option<usize> {
        let [first, second, third] = *input.get(at..)?.first_chunk::<3>()?;
        let group = u32::from_le_bytes([first, second, third, 0]);
        // Fibonacci hashing: the golden ratio spreads neighbouring values over the table.
        let slot = (group.wrapping_mul(0x9e37_79b1) >> self.shift) as usize;
        let earlier = core::mem::replace(&mut self.positions[slot], u32::try_from(at).unwrap_or(0));
        (earlier != 0).then_some(earlier as usize)
    }
}

/// Distance and length of the longest copy that can begin at `at`, if it is worth one.
fn copy_at(input: &[u8], earlier: usize, at: usize) -> Option<(usize, usize)> {
    let distance = at - earlier;
    let len_max = (input.len() - at).saturating_sub(TAIL_BYTES).min(COPY_MAX);
    if distance > DISTANCE_MAX || len_max < COPY_MIN {
        return None;
    }
    let len =
        input[earlier..].iter().zip(&input[at..at + len_max]).take_while(|(old, new)| old == new).count();
    (len >= COPY_MIN).then_some((distance, len))
}

fn push_literals(literals: &[u8], output: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        output.push(run.len() as u8 - 1);
        output.extend_from_slice(run);
    }
}

fn push_copy(distance: usize, len: usize, output: &mut Vec<u8>) {
    let [high, low] = ((distance - 1) as u16).to_be_bytes();
    match len - 2 {
        short @ 1..7 => output.push((short as u8) << 5 | high),
        long => output.extend([7 << 5 | high, (long - 7) as u8]),
    }
    output.push(low);
}

/// The `output_len` bytes that `input` was compressed from, or `None` if it does not hold exactly as many.
///
/// Allocates nothing that `input` could not fill.
pub fn decompress(input: &[u8], output_len: usize) -> Option<Vec<u8>> {
    if output_len > input.len().saturating_mul(COPY_MAX) {
        return None;
    }
    let mut output = Vec::with_capacity(output_len);
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        rest = if usize::from(control) < LITERALS_MAX {
            let (literals, after) = after.split_at_checked(usize::from(control) + 1)?;
            output.extend_from_slice(literals);
            after
        } else {
            take_copy(control, after, &mut output)?
        };
        if output.len() > output_len {
            return None;
        }
    }
    (output.len() == output_len).then_some(output)
}

/// What follows the copy.
fn take_copy<'a>(control: u8, after: &'a [u8], output: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (len, after) = match (control >> 5, after) {
        (7, [more, after @ ..]) => (9 + usize::from(*more), after),
        (short, after) => (2 + usize::from(short), after),
    };
    let (&low, after) = after.split_first()?;
    let distance = usize::from(u16::from_be_bytes([control & 31, low])) + 1;
    let start = output.len().checked_sub(distance)?;
    // A copy may overlap what it writes: then its first bytes repeat.
    for from in start..start + len.min(distance) {
        output.push(output[from]);
    }
    for from in start + len.min(distance)..start + len {
        output.push(output[from]);
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_compresses_as_in_stock_files() {
        // From DUMP of 100 times `a`, Redis 7.0.15.
        let compressed = [0x01, 0x61, 0x61, 0xe0, 0x57, 0x00, 0x01, 0x61, 0x61];
        assert_eq!(compress(&[b'a'; 100], 96).as_deref(), Some(&compressed[..]));
        assert_eq!(decompress(&compressed, 100), Some(vec![b'a'; 100]));
    }

    #[test]
    fn output_beyond_the_limit_is_none() {
        assert_eq!(compress(&[b'a'; 100], 9).map(|output| output.len()), Some(9));
        assert_eq!(compress(&[b'a'; 100], 8), None);
        assert_eq!(compress(b"abc", 3), None);
        assert_eq!(compress(b"", 0), Some(vec![]));
    }

    #[test]
    fn copies_reach_exactly_as_far_as_the_format_allows() {
        let apart = |distance: usize| {
            let mut input = vec![b'-'];
            input.extend(b"needle");
            let filler = (0..).flat_map(|count: u32| count.wrapping_mul(0x9e37_79b1).to_be_bytes());
            input.extend(filler.take(distance - b"needle".len()));
            input.extend(b"needle__");
            input
        };
        for distance in [DISTANCE_MAX - 1, DISTANCE_MAX, DISTANCE_MAX + 1] {
            let input = apart(distance);
            let output = compress(&input, usize::MAX).unwrap();
            assert_eq!(decompress(&output, input.len()), Some(input));
        }
        let far = [0xe0 | 31, 0, 0xff];
        assert_eq!(decompress(&far, 9), None);
    }

    #[test]
    fn damaged_input_is_refused() {
        let table: &[(&[u8], usize)] = &[
            (b"\x01a", 2),          // literals cut off
            (b"\x00a\x20", 4),      // copy without distance
            (b"\x00a\xe0", 10),     // long copy without length
            (b"\x00a\xe0\x00", 10), // long copy without distance
            (b"\x00a\x20\x01", 4),  // copy from before the beginning
            (b"\x20\x00", 3),       // copy from nothing
            (b"\x01aa", 1),         // more than announced
            (b"\x01aa", 3),         // less than announced
            (b"\x00a\x20\x00", 3),  // copy beyond what is announced
            (b"", 1),
            (b"\x00a", usize::MAX),
        ];
        for (input, output_len) in table {
            assert_eq!(decompress(input, *output_len), None, "{input:x?}");
        }
    }

    proptest! {
        #[test]
        fn compressed_bytes_come_back(
            input in prop::collection::vec(prop::sample::select(&b"abc"[..]), 0..2000),
            noise: Vec<u8>,
        ) {
            for input in [&input, &noise, &[&noise[..], &input, &noise].concat()] {
                let output = compress(input, usize::MAX).unwrap();
                prop_assert_eq!(decompress(&output, input.len()), Some(input.clone()));
                prop_assert_eq!(compress(input, output.len()), Some(output));
            }
        }

        #[test]
        fn any_bytes_are_safe_to_decompress(input: Vec<u8>, output_len in 0..100_000usize) {
            if let Some(output) = decompress(&input, output_len) {
                prop_assert_eq!(output.len(), output_len);
            }
        }
    }
}
