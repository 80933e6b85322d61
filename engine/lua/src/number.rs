//! Numbers as C prints them with `%.<n>g`, which is how Lua 5.1 and the JSON library show them.

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
}
