//! Numbers as C prints them with `%.<n>g` and reads them with `strtod`, which is how Lua 5.1 and the JSON library do.

/// A number with at most `precision` significant digits, trailing zeros left out, with an exponent where C writes one.
pub fn general(number: f64, precision: usize) -> Vec<u8> {
    if number.is_nan() {
        return if number.is_sign_negative() { b"-nan".to_vec() } else { b"nan".to_vec() };
    }
    if number.is_infinite() {
        return if number > 0.0 { b"inf".to_vec() } else { b"-inf".to_vec() };
    }
    let precision = precision.max(1);
    let scientific = format!("{:.*e}", precision - 1, number);
    let (digits, exponent) = scientific.split_once('e').expect("`e` was asked for");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    if exponent >= -4 && exponent < precision as i32 {
        let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
        return without_zeros(&format!("{number:.decimals$}")).into_bytes();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(digits), exponent.abs()).into_bytes()
}

fn without_zeros(digits: &str) -> String {
    if !digits.contains('.') {
        return digits.into();
    }
    digits.trim_end_matches('0').trim_end_matches('.').into()
}

/// The number at the beginning of a text, as C's `strtod` reads it, and its length; `None` if there is none.
pub fn scan(text: &[u8]) -> Option<(f64, usize)> {
    let start = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let sign = if text.first() == Some(&b'-') { -1.0 } else { 1.0 };
    let rest = &text[start..];
    let (value, len) = scan_unsigned(rest)?;
    Some((sign * value, start + len))
}

fn scan_unsigned(text: &[u8]) -> Option<(f64, usize)> {
    let begins_with =
        |word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
    if begins_with("infinity") {
        return Some((f64::INFINITY, 8));
    }
    if begins_with("inf") {
        return Some((f64::INFINITY, 3));
    }
    if begins_with("nan") {
        return Some((f64::NAN, 3));
    }
    if begins_with("0x")
        && let Some(found) = scan_hexadecimal(&text[2..])
    {
        return Some((found.0, found.1 + 2));
    }
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    if text.get(len) == Some(&b'.') {
        let decimals = digits(len + 1);
        if whole + decimals > 0 {
            len += 1 + decimals;
        }
    }
    if len == 0 {
        return None;
    }
    len += exponent_len(&text[len..], b'e');
    let value = core::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((value, len))
}

/// Length of an exponent, 0 if there is none.
fn exponent_len(text: &[u8], letter: u8) -> usize {
    if !text.first().is_some_and(|first| first.eq_ignore_ascii_case(&letter)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'-' | b'+')));
    let digits = text[1 + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 { 0 } else { 1 + sign + digits }
}

fn scan_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(f64::from);
    let (mut value, mut len, mut scale, mut count) = (0.0, 0, 1.0, 0);
    let mut is_fraction = false;
    while let Some(&byte) = text.get(len) {
        match digit(byte) {
            Some(number) => {
                value = value * 16.0 + number;
                count += 1;
                if is_fraction {
                    scale /= 16.0;
                }
            }
            None if byte == b'.' && !is_fraction => is_fraction = true,
            None => break,
        }
        len += 1;
    }
    if count == 0 {
        return None;
    }
    let exponent = exponent_len(&text[len..], b'p');
    if exponent > 0 {
        let power: i32 =
            core::str::from_utf8(&text[len + 1..len + exponent]).ok()?.parse().unwrap_or(i32::MAX);
        scale *= 2.0_f64.powi(power);
    }
    Some((value * scale, len + exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_c_prints_them() {
        let check = |number: f64, precision: usize, expected: &str| {
            assert_eq!(
                String::from_utf8(general(number, precision)).unwrap(),
                expected,
                "{number} {precision}"
            );
        };
        check(0.0, 14, "0");
        check(-0.0, 14, "-0");
        check(1.0, 14, "1");
        check(0.1, 14, "0.1");
        check(3.0e100, 14, "3e+100");
        check(1e14, 14, "1e+14");
        check(99_999_999_999_999.0, 14, "99999999999999");
        check(0.0001, 14, "0.0001");
        check(0.00001, 14, "1e-05");
        check(1.0 / 3.0, 14, "0.33333333333333");
        check(1.0 / 3.0, 3, "0.333");
        check(123_456.0, 3, "1.23e+05");
        check(2.0 / 3.0, 17, "0.66666666666666663");
        check(f64::INFINITY, 14, "inf");
        check(-1.5e-7, 14, "-1.5e-07");
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        let check = |text: &str, expected: Option<(f64, usize)>| {
            assert_eq!(scan(text.as_bytes()), expected, "{text}");
        };
        check("12", Some((12.0, 2)));
        check("-1.5e3,", Some((-1500.0, 6)));
        check("1.", Some((1.0, 2)));
        check("1e", Some((1.0, 1)));
        check("0x1F", Some((31.0, 4)));
        check("0x1.8p1", Some((3.0, 7)));
        check("0x", Some((0.0, 1)));
        check("-inf", Some((f64::NEG_INFINITY, 4)));
        check("+7", Some((7.0, 2)));
        for text in ["", "-", ".", "abc", "e5"] {
            check(text, None);
        }
        assert!(scan(b"NaN").is_some_and(|(value, len)| value.is_nan() && len == 3));
    }
}
