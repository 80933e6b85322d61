//! Integers as text, in the one spelling that survives a round trip.
//!
//! The compact encodings store an element as an integer only if printing that integer gives back exactly the bytes
//! the client sent: `12` qualifies; `012`, `+12`, `-0` and ` 12` stay strings.
//!
//! Always true: `parse(format(n)) == Some(n)`, and whatever `parse` accepts, `format` prints unchanged.

/// Longest text of an `i64`: a sign and 19 digits.
pub const TEXT_BYTES_MAX: usize = 20;

/// The integer that `text` spells canonically, if it does.
pub fn parse(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if is_negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Prints `value` into `buffer` and gives back the part that was used.
pub fn format(value: i64, buffer: &mut [u8; TEXT_BYTES_MAX]) -> &[u8] {
    let mut magnitude = value.unsigned_abs();
    let mut start = TEXT_BYTES_MAX;
    loop {
        start -= 1;
        buffer[start] = b'0' + (magnitude % 10) as u8;
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    if value < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    &buffer[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_spelling_is_an_integer() {
        for text in
            ["", "-", "+1", "01", "-0", "00", " 1", "1 ", "1a", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        for (text, value) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse(text.as_bytes()), Some(value));
        }
    }

    proptest! {
        #[test]
        fn format_prints_what_the_standard_library_prints(value: i64) {
            let text = value.to_string();
            let mut buffer = [0; TEXT_BYTES_MAX];
            prop_assert_eq!(format(value, &mut buffer), text.as_bytes());
            prop_assert_eq!(parse(text.as_bytes()), Some(value));
        }

        #[test]
        fn parse_agrees_with_the_standard_library(
            is_negative: bool,
            digits in proptest::collection::vec(0..10u8, 0..22),
        ) {
            let digits: String = digits.into_iter().map(|digit| char::from(b'0' + digit)).collect();
            let text = alloc::format!("{}{digits}", if is_negative { "-" } else { "" });
            let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse(text.as_bytes()), expected);
        }
    }
}
