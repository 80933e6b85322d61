//! The 80-bit floating point of x86, in software, for INCRBYFLOAT and its kin.
//!
//! Exists because Redis adds in `long double` and prints 17 decimals: that is why 0.1 plus 0.2 gives 0.3 there, and
//! why 64-bit arithmetic would give other values, which the log would then keep.
//!
//! A number is mantissa × 2^exponent; the mantissa has 64 bits, the highest of them set.
//!
//! Always true: every result is the exact one rounded once, to nearest, ties to even, as the hardware does.
//!
//! Not here: doubles (`number.rs`).

use alloc::{format, vec, vec::Vec};
use core::iter;

/// Bits of a mantissa.
const MANTISSA_BITS: i32 = 64;

/// Exponent of the largest numbers.
const EXPONENT_MAX: i32 = 16383 - 63;

/// Exponent of the smallest numbers; below, bits are lost.
const EXPONENT_MIN: i32 = -16382 - 63;

/// Longest text that is read as a number, bytes.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Digits after the point when printed.
const DECIMALS: usize = 17;

/// An extended precision number, or an infinity; never NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongDouble {
    is_negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Magnitude {
    /// Zero is a mantissa of 0; all others have their highest bit set.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

const ZERO: Magnitude = Magnitude::Finite { mantissa: 0, exponent: 0 };

impl LongDouble {
    /// The number that the whole of `text` spells, in decimal, hexadecimal or as infinity.
    ///
    /// Refused: empty text, spaces, anything after the number, NaN, numbers too large, and numbers so small that
    /// nothing but zero is left.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble { is_negative, magnitude: Magnitude::Infinite });
        }
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => {
                let (mantissa, exponent) = parse_hexadecimal(digits)?;
                if mantissa == 0 { ZERO } else { in_range(round(mantissa, exponent))? }
            }
            digits => parse_decimal(digits)?,
        };
        Some(LongDouble { is_negative, magnitude })
    }

    /// The sum, or `None` if it is infinite or not a number.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else { return None };
        if a.0 == 0 || b.0 == 0 {
            return Some(if a.0 == 0 { other } else { self });
        }
        let ((large, large_negative), (small, small_negative)) = if (a.1, a.0) >= (b.1, b.0) {
            ((a, self.is_negative), (b, other.is_negative))
        } else {
            ((b, other.is_negative), (a, self.is_negative))
        };
        // 63 bits below the mantissas: more than rounding needs, and one above is left for a carry.
        let exponent = large.1 - 63;
        let large_bits = u128::from(large.0) << 63;
        let small_bits = shift_right_sticky(u128::from(small.0) << 63, large.1 - small.1);
        let sum =
            if large_negative == small_negative { large_bits + small_bits } else { large_bits - small_bits };
        if sum == 0 {
            return Some(LongDouble { is_negative: false, magnitude: ZERO });
        }
        let magnitude = round(sum, exponent);
        (magnitude != Magnitude::Infinite).then_some(LongDouble { is_negative: large_negative, magnitude })
    }

    /// As Redis prints it for people: no exponent, 17 decimals at most, none that are zero at the end, no `-0`.
    pub fn format(self) -> Vec<u8> {
        let Some((mantissa, exponent)) = self.parts() else {
            return if self.is_negative { b"-inf".to_vec() } else { b"inf".to_vec() };
        };
        let mut text = if exponent >= 0 {
            Natural::from(u128::from(mantissa)).shifted_left(exponent as u32).into_decimal()
        } else {
            print_fixed(mantissa, -exponent)
        };
        if self.is_negative && text != b"0" {
            text.insert(0, b'-');
        }
        text
    }

    /// Mantissa and exponent, or `None` if infinite.
    fn parts(self) -> Option<(u64, i32)> {
        match self.magnitude {
            Magnitude::Finite { mantissa, exponent } => Some((mantissa, exponent)),
            Magnitude::Infinite => None,
        }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> LongDouble {
        let magnitude = if value == 0 { ZERO } else { round(value.unsigned_abs().into(), 0) };
        LongDouble { is_negative: value < 0, magnitude }
    }
}

impl TryFrom<f64> for LongDouble {
    /// It was NaN.
    type Error = ();

    fn try_from(value: f64) -> Result<LongDouble, ()> {
        if value.is_nan() {
            return Err(());
        }
        let bits = value.to_bits();
        let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52) as i32 & 0x7ff);
        let magnitude = match biased {
            0x7ff => Magnitude::Infinite,
            0 if fraction == 0 => ZERO,
            0 => round(fraction.into(), -1074),
            _ => round((fraction | 1 << 52).into(), biased - 1075),
        };
        Ok(LongDouble { is_negative: value.is_sign_negative(), magnitude })
    }
}

/// Refuses what C calls a range error.
fn in_range(magnitude: Magnitude) -> Option<Magnitude> {
    (magnitude != Magnitude::Infinite && magnitude != ZERO).then_some(magnitude)
}

/// The nearest number to `bits` × 2^`exponent`, `bits` not 0.
///
/// If `bits` has more than 64 bits the lowest may stand for "this, or anything up to one more".
fn round(bits: u128, exponent: i32) -> Magnitude {
    let length = 128 - bits.leading_zeros() as i32;
    let dropped = (length - MANTISSA_BITS).max(EXPONENT_MIN - exponent);
    let (kept, exponent) = if dropped <= 0 {
        (bits, exponent)
    } else if dropped > 127 {
        return ZERO;
    } else {
        (shift_right_rounding(bits, dropped as u32), exponent + dropped)
    };
    if kept == 0 {
        return ZERO;
    }
    // Rounding up may have carried into a 65th bit, but then the bits below are zero.
    let shift = (128 - kept.leading_zeros() as i32) - MANTISSA_BITS;
    let mantissa = if shift >= 0 { (kept >> shift) as u64 } else { (kept as u64) << -shift };
    let exponent = exponent + shift;
    if exponent > EXPONENT_MAX { Magnitude::Infinite } else { Magnitude::Finite { mantissa, exponent } }
}

/// `bits` / 2^`count` to nearest, ties to even; `count` from 1 to 127.
fn shift_right_rounding(bits: u128, count: u32) -> u128 {
    let (quotient, rest, half) = (bits >> count, bits & ((1 << count) - 1), 1 << (count - 1));
    let goes_up = rest > half || (rest == half && quotient & 1 == 1);
    quotient + u128::from(goes_up)
}

/// `bits` / 2^`count`, with the lowest bit set if anything was lost.
fn shift_right_sticky(bits: u128, count: i32) -> u128 {
    if count > 127 {
        return 1;
    }
    let quotient = bits >> count;
    quotient | u128::from(quotient << count != bits)
}

/// `mantissa` / 2^`shift` with at most 17 decimals.
fn print_fixed(mantissa: u64, shift: i32) -> Vec<u8> {
    const SCALE: u128 = 10u128.pow(DECIMALS as u32);
    let scaled = u128::from(mantissa) * SCALE;
    let scaled = if shift > 127 { 0 } else { shift_right_rounding(scaled, shift as u32) };
    let digits = format!("{}.{:0width$}", scaled / SCALE, scaled % SCALE, width = DECIMALS);
    digits.trim_end_matches('0').trim_end_matches('.').as_bytes().to_vec()
}

/// The value of `digits[.digits][p±digits]` as mantissa × 2^exponent, the mantissa's lowest bit sticky.
///
/// A mantissa of 0 stands for zero.
pub(super) fn parse_hexadecimal(text: &[u8]) -> Option<(u128, i32)> {
    /// Hexadecimal digits that fit; more than twice as many as can matter.
    const DIGITS_MAX: u32 = 31;
    let (digits, power) = split_exponent(text, b'p')?;
    let (whole, fraction) = split_point(digits)?;
    let (mut mantissa, mut exponent) = (0u128, power);
    for (index, byte) in whole.iter().chain(fraction).enumerate() {
        let digit = (*byte as char).to_digit(16)?;
        let is_room = 128 - mantissa.leading_zeros() <= 4 * (DIGITS_MAX - 1);
        if is_room {
            mantissa = mantissa << 4 | u128::from(digit);
        } else {
            mantissa |= u128::from(digit != 0);
        }
        exponent += 4 * (i32::from(!is_room) - i32::from(index >= whole.len()));
    }
    Some((mantissa, exponent))
}

/// The value of `digits[.digits][e±digits]`.
fn parse_decimal(text: &[u8]) -> Option<Magnitude> {
    let (digits, power) = split_exponent(text, b'e')?;
    let (whole, fraction) = split_point(digits)?;
    let digits: Vec<u8> = whole.iter().chain(fraction).copied().collect();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let Some(zeros) = digits.iter().position(|&digit| digit != b'0') else { return Some(ZERO) };
    let power = power - fraction.len() as i32;
    // Beyond what the format can hold the size of the power must not become a size in memory.
    let power_first = power + (digits.len() - zeros) as i32 - 1;
    if !(-5000..=5000).contains(&power_first) {
        return None;
    }
    in_range(scale_by_ten(Natural::from_decimal(&digits[zeros..]), power))
}

/// The nearest number to `number` × 10^`power`.
fn scale_by_ten(mut number: Natural, power: i32) -> Magnitude {
    if power >= 0 {
        number.multiply_by_ten_to(power as u32);
        let (bits, exponent) = number.highest_bits();
        return round(bits, exponent);
    }
    // 10^n has at most 10n/3 + 1 bits: shifted by so many more, 100 bits are left for sure after dividing.
    let divisor_power = power.unsigned_abs();
    let shift = divisor_power * 10 / 3 + 101;
    number = number.shifted_left(shift);
    let is_exact = number.divide_by_ten_to(divisor_power);
    let (bits, exponent) = number.highest_bits();
    round(bits | u128::from(!is_exact), exponent - shift as i32)
}

/// What stands before the exponent, and the exponent, kept within ±100000.
fn split_exponent(text: &[u8], letter: u8) -> Option<(&[u8], i32)> {
    const POWER_MAX: i32 = 100_000;
    let Some(at) = text.iter().position(|byte| byte.to_ascii_lowercase() == letter) else {
        return Some((text, 0));
    };
    let (is_negative, digits) = match &text[at + 1..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power = digits.iter().fold(0, |power, digit| (power * 10 + i32::from(digit - b'0')).min(POWER_MAX));
    Some((&text[..at], if is_negative { -power } else { power }))
}

/// The digits before and after the point, at least one in all.
fn split_point(digits: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = digits.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = at.map_or((digits, &[][..]), |at| (&digits[..at], &digits[at + 1..]));
    (!whole.is_empty() || !fraction.is_empty()).then_some((whole, fraction))
}

/// A natural number of any size: limbs of 32 bits, lowest first, the highest not 0.
struct Natural {
    limbs: Vec<u32>,
}

/// The largest power of ten in a limb.
const TEN_TO_NINE: u32 = 1_000_000_000;

impl From<u128> for Natural {
    fn from(value: u128) -> Natural {
        let limbs = (0..4).map(|index| (value >> (32 * index)) as u32).collect();
        Natural { limbs }.trimmed()
    }
}

impl Natural {
    fn from_decimal(digits: &[u8]) -> Natural {
        let mut number = Natural { limbs: Vec::new() };
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
            number.multiply_and_add(10u32.pow(chunk.len() as u32), value);
        }
        number
    }

    fn trimmed(mut self) -> Natural {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }

    fn multiply_and_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
    }

    fn multiply_by_ten_to(&mut self, power: u32) {
        nines(power).for_each(|factor| self.multiply_and_add(factor, 0));
    }

    /// The remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.limbs.iter_mut().rev() {
            let dividend = rest << 32 | u64::from(*limb);
            *limb = (dividend / u64::from(divisor)) as u32;
            rest = dividend % u64::from(divisor);
        }
        if self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        rest as u32
    }

    /// Whether nothing remained.
    fn divide_by_ten_to(&mut self, power: u32) -> bool {
        let mut is_exact = true;
        for divisor in nines(power) {
            is_exact &= self.divide(divisor) == 0;
        }
        is_exact
    }

    fn shifted_left(self, count: u32) -> Natural {
        let mut limbs = vec![0; (count / 32) as usize];
        let mut carry = 0u64;
        for limb in self.limbs {
            let shifted = u64::from(limb) << (count % 32) | carry;
            limbs.push(shifted as u32);
            carry = shifted >> 32;
        }
        limbs.push(carry as u32);
        Natural { limbs }.trimmed()
    }

    /// The highest 97 to 128 bits, the lowest of them sticky, and the exponent that goes with them.
    fn highest_bits(&self) -> (u128, i32) {
        let below = self.limbs.len().saturating_sub(4);
        let (lost, kept) = self.limbs.split_at(below);
        let bits = kept.iter().rev().fold(0, |bits: u128, &limb| bits << 32 | u128::from(limb));
        let is_lossy = lost.iter().any(|&limb| limb != 0);
        (bits | u128::from(is_lossy), below as i32 * 32)
    }

    fn into_decimal(mut self) -> Vec<u8> {
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            chunks.push(self.divide(TEN_TO_NINE));
        }
        let mut text = format!("{}", chunks.pop().unwrap_or(0)).into_bytes();
        chunks.iter().rev().for_each(|chunk| text.extend(format!("{chunk:09}").bytes()));
        text
    }
}

/// Factors that fit into a limb and whose product is 10^`power`.
fn nines(power: u32) -> impl Iterator<Item = u32> {
    iter::repeat_n(TEN_TO_NINE, (power / 9) as usize).chain(iter::once(10u32.pow(power % 9)))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (LongDouble::parse(a.as_bytes())?, LongDouble::parse(b.as_bytes())?);
        Some(String::from_utf8(a.checked_add(b)?.format()).unwrap())
    }

    #[test]
    fn sums_are_those_of_redis() {
        // Every row was answered by INCRBYFLOAT of redis-server 7.0.15 on x86-64.
        let table = [
            ("0.1", "0.2", Some("0.3")),
            ("5.0e3", "1", Some("5001")),
            ("3.0e3", "200", Some("3200")),
            ("10.5", "0.1", Some("10.6")),
            ("0", "0.1", Some("0.1")),
            ("1", "-1", Some("0")),
            ("0", "-0", Some("0")),
            ("-0.0", "0", Some("0")),
            ("1.5", "-1.5", Some("0")),
            ("10.50", "0.1", Some("10.6")),
            ("5.0e3", "2.0e2", Some("5200")),
            ("17179869184", "1.5", Some("17179869185.5")),
            ("17179869184", "17179869184", Some("34359738368")),
            ("3", "1.1", Some("4.1")),
            ("1", "1.23", Some("2.23")),
            ("3.14", "-3.14", Some("0")),
            ("9223372036854775807", "1", Some("9223372036854775808")),
            ("18446744073709551615", "1", Some("18446744073709551616")),
            ("18446744073709551615", "2", Some("18446744073709551616")),
            ("1e20", "1", Some("100000000000000000000")),
            ("1e25", "1e-5", Some("10000000000000000000000000")),
            ("0x10", "1", Some("17")),
            ("0x1.8p1", "0x.1", Some("3.0625")),
            ("1e-17", "0", Some("0.00000000000000001")),
            ("1e-18", "0", Some("0")),
            ("5e-18", "0", Some("0")),
            ("4.9e-18", "0", Some("0")),
            ("-1e-18", "0", Some("0")),
            ("123456789.123456789", "0", Some("123456789.12345678899873747")),
            ("0.30000000000000000001", "0", Some("0.3")),
            ("1e17", "0.1", Some("100000000000000000.1015625")),
            ("1e16", "0.123456789", Some("10000000000000000.123046875")),
            ("inf", "1", None),
            ("nan", "1", None),
            ("1", " 1", None),
            ("1e-4940", "0", Some("0")),
            ("1e-4960", "0", None),
            (".5", "5.", Some("5.5")),
            ("+1", "1", Some("2")),
            ("-9007199254740993", "0.5", Some("-9007199254740992.5")),
            ("0.1", "-0.3", Some("-0.2")),
            ("1000000000000000000000", "-1e-3", Some("1000000000000000000000")),
        ];
        for (a, b, expected) in table {
            assert_eq!(sum(a, b).as_deref(), expected, "{a} + {b}");
        }
    }

    #[test]
    fn texts_that_are_no_number_are_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1x",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "nan",
            "-nan",
            "infin",
            "1e5000",
            "-1e5000",
            "1e4933",
            "1e-5000",
            "1e99999999999",
            "1e-99999999999",
            "0x1p16384",
            "0x1p-16447",
            "1..2",
            "1e1.5",
            "--1",
            "1\0",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(LongDouble::parse(&[b'1'; TEXT_BYTES_MAX + 1]), None);
    }

    #[test]
    fn the_range_ends_where_the_format_ends() {
        let is_number = |text: &str| LongDouble::parse(text.as_bytes()).is_some();
        assert!(is_number("1.18973149535723176502e4932"));
        assert!(!is_number("1.18973149535723176509e4932"));
        assert!(is_number("3.6451995318824746025e-4951"));
        assert!(!is_number("1e-4951"));
        assert!(is_number("0x1p-16445") && is_number("0x1p16383") && is_number("0e99999999"));
        let zeros = [&b"0."[..], &[b'0'; 4000], b"1e4000"].concat();
        assert_eq!(LongDouble::parse(&zeros), LongDouble::parse(b"0.1"));
    }

    #[test]
    fn infinity_is_read_but_is_no_sum() {
        for text in ["inf", "-inf", "+Infinity"] {
            let infinity = LongDouble::parse(text.as_bytes()).unwrap();
            assert_eq!(infinity.checked_add(LongDouble::from(1)), None);
            assert_eq!(LongDouble::from(1).checked_add(infinity), None);
        }
        assert_eq!(sum("1.18e4932", "1.18e4932"), None);
        assert_eq!(LongDouble::parse(b"-inf").unwrap().format(), b"-inf");
    }

    #[test]
    fn doubles_and_integers_are_taken_exactly() {
        let print = |value: f64| String::from_utf8(LongDouble::try_from(value).unwrap().format()).unwrap();
        assert_eq!(print(0.1), "0.10000000000000001");
        assert_eq!(print(-0.0), "0");
        assert_eq!(print(5e-324), "0");
        assert_eq!(print(13.361389338970184), "13.36138933897018433");
        assert_eq!(print(1e22), "10000000000000000000000");
        assert_eq!(LongDouble::try_from(f64::NAN), Err(()));
        assert_eq!(LongDouble::from(i64::MIN).format(), b"-9223372036854775808");
        assert_eq!(LongDouble::from(0).format(), b"0");
    }

    proptest! {
        #[test]
        fn integers_add_up(a: i64, b in any::<i64>().prop_map(|b| b / 2)) {
            let a = a / 2;
            let total = LongDouble::from(a).checked_add(LongDouble::from(b)).unwrap();
            prop_assert_eq!(total, LongDouble::from(a + b));
            let text = format!("{a}");
            prop_assert_eq!(LongDouble::parse(text.as_bytes()), Some(LongDouble::from(a)));
            prop_assert_eq!(LongDouble::from(a).format(), text.into_bytes());
        }

        #[test]
        fn all_spellings_of_a_double_are_one_number(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            // 767 digits spell any double exactly.
            let text = format!("{value:.766e}");
            prop_assert_eq!(LongDouble::parse(text.as_bytes()), LongDouble::try_from(value).ok());
        }

        #[test]
        fn any_text_is_safe(text in "[-+]?(0x)?[0-9a-f.]{0,40}([ep][-+]?[0-9]{0,7})?") {
            if let Some(number) = LongDouble::parse(text.as_bytes()) {
                prop_assert!(!number.format().is_empty());
            }
        }
    }
}
