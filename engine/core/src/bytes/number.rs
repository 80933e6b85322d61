//! Numbers as Redis reads and prints them.
//!
//! Exists because "is an integer" decides how a value is stored, logged and compared: text counts as an integer only
//! if printing that integer gives back the same text.
//!
//! Always true: `parse_i64(format_i64(n)) == n`, and `parse_f64(format_double(x)) == x` for every x but NaN.
//!
//! Not here: INCRBYFLOAT's arithmetic (`long_double.rs`).

use alloc::{format, vec::Vec};

use super::long_double;

/// Room for the digits of any 64-bit integer and its sign.
pub type DecimalBuffer = [u8; 20];

/// The integer that `text` is the canonical decimal of.
///
/// Refused: empty text, spaces, `+`, leading zeros, `-0`, anything outside of i64.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => {
            let magnitude = parse_u64(digits)?;
            if magnitude == 0 { None } else { 0i64.checked_sub_unsigned(magnitude) }
        }
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// The unsigned integer that `text` is the canonical decimal of.
///
/// Refused: empty text, spaces, signs, leading zeros, anything above `u64::MAX`.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [] | [b'0', _, ..] => return None,
        _ if text.len() > DecimalBuffer::default().len() => return None,
        _ => {}
    }
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// The decimal of `number`, written into the end of `buffer`.
pub fn format_i64(number: i64, buffer: &mut DecimalBuffer) -> &[u8] {
    let mut start = fill_digits(number.unsigned_abs(), buffer);
    if number < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    &buffer[start..]
}

/// The decimal of `number`, written into the end of `buffer`.
pub fn format_u64(number: u64, buffer: &mut DecimalBuffer) -> &[u8] {
    let start = fill_digits(number, buffer);
    &buffer[start..]
}

/// Where the digits begin.
pub(crate) fn fill_digits(mut number: u64, buffer: &mut [u8]) -> usize {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return start;
        }
    }
}

/// How many bytes `format_i64` gives.
pub fn decimal_len(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().map_or(1, |power| power as usize + 1);
    digits + usize::from(number < 0)
}

/// The double that the whole of `text` spells, infinities included.
///
/// Accepts what C's `strtod` does: `1.`, `.5`, `+1e3`, `0x1.8p1`, `inf`, `Infinity` …
/// Refused: empty text, spaces, anything after the number, NaN, and numbers that are too large for a double or so
/// small that nothing but zero is left.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let Some(value) = core::str::from_utf8(text).ok()?.parse::<f64>().ok() else {
        return parse_hexadecimal(text);
    };
    let is_spelled_out = text.iter().any(|byte| matches!(byte, b'i' | b'I'));
    let is_zero_spelled = || !mantissa(text).iter().any(|byte| matches!(byte, b'1'..=b'9'));
    if value.is_nan() || (value.is_infinite() && !is_spelled_out) || (value == 0.0 && !is_zero_spelled()) {
        return None;
    }
    Some(value)
}

/// The double that `[±]0x1.8p1` and the like spell.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let (sign, digits) = match text {
        [b'-', b'0', b'x' | b'X', digits @ ..] => (-1.0, digits),
        [b'+', b'0', b'x' | b'X', digits @ ..] | [b'0', b'x' | b'X', digits @ ..] => (1.0, digits),
        _ => return None,
    };
    let (mantissa, exponent) = long_double::parse_hexadecimal(digits)?;
    let value = scale_by_two(mantissa as f64, exponent);
    (value.is_finite() && (value != 0.0 || mantissa == 0)).then_some(sign * value)
}

/// `value` × 2^`exponent`.
fn scale_by_two(mut value: f64, exponent: i32) -> f64 {
    /// The largest step whose inverse is normal, too.
    const STEP: i32 = 1022;
    // More steps than these only repeat zero or infinity.
    let mut left = exponent.clamp(-4 * STEP, 4 * STEP);
    while left != 0 {
        let step = left.clamp(-STEP, STEP);
        value *= f64::from_bits(((1023 + step) as u64) << 52);
        left -= step;
    }
    value
}

fn mantissa(text: &[u8]) -> &[u8] {
    text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default()
}

/// A double as replies and sorted set scores print it.
///
/// The fewest digits that read back as the same double; plain where that is short, like `1e+20` where it is not.
/// Whole numbers up to 2^62 are always plain. Zero keeps its sign.
///
/// Source: Redis 7.2 prints this way; 7.0 printed 17 digits. Its algorithm, Grisu2, misses the shortest or nearest
/// digits for one double in 1500 (204 of 299,235 random ones); layout was the same in all of them.
pub fn format_double(value: f64) -> Vec<u8> {
    /// Redis prints a double as an integer up to half of the largest 64-bit integer.
    const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;

    if value.is_nan() {
        return b"nan".to_vec();
    }
    if value.is_infinite() {
        return if value > 0.0 { b"inf".to_vec() } else { b"-inf".to_vec() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { b"-0".to_vec() } else { b"0".to_vec() };
    }
    if value.abs() <= WHOLE_MAX && (value as i64) as f64 == value {
        return format_i64(value as i64, &mut DecimalBuffer::default()).to_vec();
    }
    let (digits, exponent) = shortest_digits(value);
    let mut text = Vec::with_capacity(24);
    if value < 0.0 {
        text.push(b'-');
    }
    lay_out(&digits, exponent, &mut text);
    text
}

/// The significant digits of `value` and the power of ten of the last one.
fn shortest_digits(value: f64) -> (Vec<u8>, i32) {
    let text = format!("{:e}", value.abs());
    let (digits, power) = text.split_once('e').expect("`{:e}` always prints an exponent");
    let digits: Vec<u8> = digits.bytes().filter(|&byte| byte != b'.').collect();
    let power: i32 = power.parse().expect("an exponent is an integer");
    let exponent = power - (digits.len() as i32 - 1);
    (digits, exponent)
}

/// Writes `digits` × 10^`exponent`.
///
/// ```text
/// exponent        first digit at        written
/// >= 0            10^(digits + 6) max   digits, zeros
/// < 0, > -7       anywhere              point among the digits, or zeros before them
/// < 0             10^-3 .. 10^3         the same
/// otherwise                             d.ddde+xx
/// ```
fn lay_out(digits: &[u8], exponent: i32, text: &mut Vec<u8>) {
    let count = digits.len() as i32;
    let power = exponent + count - 1;
    if exponent >= 0 && power.abs() < count + 7 {
        text.extend(digits);
        text.extend(core::iter::repeat_n(b'0', exponent as usize));
    } else if exponent < 0 && (exponent > -7 || power.abs() < 4) {
        let whole_count = count + exponent;
        if whole_count <= 0 {
            text.extend(b"0.");
            text.extend(core::iter::repeat_n(b'0', -whole_count as usize));
            text.extend(digits);
        } else {
            let (whole, fraction) = digits.split_at(whole_count as usize);
            text.extend(whole);
            text.push(b'.');
            text.extend(fraction);
        }
    } else {
        text.push(digits[0]);
        if count > 1 {
            text.push(b'.');
            text.extend(&digits[1..]);
        }
        text.extend(format!("e{power:+}").bytes());
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_decimals_are_integers() {
        let refused: &[&[u8]] = &[
            b"",
            b" 1",
            b"1 ",
            b"+1",
            b"01",
            b"-01",
            b"00",
            b"-0",
            b"-",
            b"--1",
            b"1.0",
            b"1e3",
            b"0x1",
            b"\xff",
            b"1\0",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"18446744073709551616",
            b"100000000000000000000000000",
        ];
        for text in refused {
            assert_eq!(parse_i64(text), None, "{}", String::from_utf8_lossy(text));
        }
        let accepted = [0, 1, -1, 9, 10, -10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1];
        for number in accepted {
            let text = format!("{number}");
            assert_eq!(parse_i64(text.as_bytes()), Some(number));
            assert_eq!(format_i64(number, &mut DecimalBuffer::default()), text.as_bytes());
            assert_eq!(decimal_len(number), text.len());
        }
    }

    #[test]
    fn unsigned_integers_end_at_u64_max() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(format_u64(u64::MAX, &mut DecimalBuffer::default()), b"18446744073709551615");
    }

    #[test]
    fn floats_are_whole_texts_within_range() {
        let refused: &[&[u8]] = &[
            b"",
            b" 1",
            b"1 ",
            b"1x",
            b"1e",
            b"e1",
            b".",
            b"-",
            b"nan",
            b"-nan",
            b"NaN",
            b"1e400",
            b"-1e400",
            b"1e-400",
            b"0x",
            b"0x1g",
            b"0x1p1024",
            b"0x1p-1100",
            b"1,5",
            b"1\0",
            b"infi",
            b"\xff",
        ];
        for text in refused {
            assert_eq!(parse_f64(text), None, "{}", String::from_utf8_lossy(text));
        }
        let accepted: &[(&[u8], f64)] = &[
            (b"1", 1.0),
            (b"+1", 1.0),
            (b"-1.5", -1.5),
            (b"1.", 1.0),
            (b".5", 0.5),
            (b"1e3", 1000.0),
            (b"1E+3", 1000.0),
            (b"inf", f64::INFINITY),
            (b"+inf", f64::INFINITY),
            (b"-inf", f64::NEG_INFINITY),
            (b"INF", f64::INFINITY),
            (b"Infinity", f64::INFINITY),
            (b"0e500", 0.0),
            (b"0.000", 0.0),
            (b"007", 7.0),
            (b"5e-324", 5e-324),
            (b"0x10", 16.0),
            (b"-0x1.8p1", -3.0),
            (b"0x.8p-1073", 5e-324),
            (b"0x0p99999", 0.0),
            (b"0x1p1023", 8.98846567431158e307),
        ];
        for &(text, value) in accepted {
            assert_eq!(parse_f64(text), Some(value), "{}", String::from_utf8_lossy(text));
        }
        assert!(parse_f64(b"-0").is_some_and(f64::is_sign_negative));
    }

    #[test]
    fn doubles_print_short() {
        let table: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (1.5, "1.5"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000"),
            (1e18, "1000000000000000000"),
            (1e19, "1e+19"),
            (1e20, "1e+20"),
            (-1e20, "-1e+20"),
            (1.5e300, "1.5e+300"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (1.234567, "1.234567"),
            (123456789.12345679, "1.2345678912345679e+8"),
            (1234.123456789, "1234.123456789"),
            (12345.123456789, "1.2345123456789e+4"),
            (123.123456789, "123.123456789"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9007199254740993.0, "9007199254740992"),
            (9223372036854775807.0, "9223372036854776000"),
            (12345678901234567890.0, "12345678901234567000"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for &(value, text) in table {
            assert_eq!(String::from_utf8(format_double(value)).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn integers_survive_printing(number: i64) {
            let mut buffer = DecimalBuffer::default();
            prop_assert_eq!(parse_i64(format_i64(number, &mut buffer)), Some(number));
            prop_assert_eq!(decimal_len(number), format!("{number}").len());
        }

        #[test]
        fn text_that_parses_is_the_text_that_prints(text in "[-+0-9 ]{0,21}") {
            if let Some(number) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(format!("{number}"), text);
            }
        }

        #[test]
        fn doubles_survive_printing(bits: u64) {
            let value = f64::from_bits(bits);
            if !value.is_nan() {
                prop_assert_eq!(parse_f64(&format_double(value)).map(f64::to_bits), Some(bits));
            }
        }
    }
}
