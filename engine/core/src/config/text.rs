//! Words and wildcards: what the other files of this folder need to read and write text.

use alloc::{format, string::String, vec::Vec};

pub(super) mod glob {
    //! Names selected by a pattern of `*`, `?`, `[a-z]`, `[^a]` and `\`.

    /// Whether a name matches a pattern, upper and lower case being equal.
    pub fn matches_ignoring_case(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                (0..=name.len()).any(|skipped| matches_ignoring_case(rest, &name[skipped..]))
            }
            ([b'[', ..], [first, name @ ..]) => {
                let (matches, rest) = class(&pattern[1..], first.to_ascii_lowercase());
                matches && matches_ignoring_case(rest, name)
            }
            ([b'?', rest @ ..], [_, name @ ..]) => matches_ignoring_case(rest, name),
            ([b'\\', escaped, rest @ ..], [first, name @ ..]) => {
                escaped.eq_ignore_ascii_case(first) && matches_ignoring_case(rest, name)
            }
            ([literal, rest @ ..], [first, name @ ..]) => {
                literal.eq_ignore_ascii_case(first) && matches_ignoring_case(rest, name)
            }
            _ => false,
        }
    }

    fn class(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
        let (is_negated, mut rest) = match pattern {
            [b'^', rest @ ..] => (true, rest),
            _ => (false, pattern),
        };
        let mut is_in = false;
        loop {
            rest = match rest {
                [] => return (is_in != is_negated, rest),
                [b']', rest @ ..] => return (is_in != is_negated, rest),
                [low, b'-', high, rest @ ..] => {
                    is_in |= (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte);
                    rest
                }
                [one, rest @ ..] => {
                    is_in |= one.eq_ignore_ascii_case(&byte);
                    rest
                }
            };
        }
    }
}

pub(super) mod quote {
    //! Words in quotes.

    use super::*;

    /// A text in double quotes, with escapes for what is not printable.
    pub fn quoted(text: &[u8]) -> String {
        let mut quoted = String::from("\"");
        for &byte in text {
            match byte {
                b'"' | b'\\' => quoted.extend(['\\', byte as char]),
                b'\n' => quoted.push_str("\\n"),
                b'\r' => quoted.push_str("\\r"),
                b'\t' => quoted.push_str("\\t"),
                0x07 => quoted.push_str("\\a"),
                0x08 => quoted.push_str("\\b"),
                b' '..=b'~' => quoted.push(byte as char),
                _ => quoted.push_str(&format!("\\x{byte:02x}")),
            }
        }
        quoted.push('"');
        quoted
    }

    /// The words of a line, or `None` if a quote is not closed or closes in the middle of a word.
    pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut words = Vec::new();
        let mut rest = line.trim_ascii_start();
        while !rest.is_empty() {
            let (word, after) = word(rest)?;
            words.push(word);
            rest = after.trim_ascii_start();
        }
        Some(words)
    }

    fn word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
        let mut word = Vec::new();
        loop {
            rest = match rest {
                [] => return Some((word, rest)),
                [blank, ..] if blank.is_ascii_whitespace() => return Some((word, rest)),
                [b'"', rest @ ..] => return in_double_quotes(rest, word),
                [b'\'', rest @ ..] => return in_single_quotes(rest, word),
                [byte, rest @ ..] => {
                    word.push(*byte);
                    rest
                }
            };
        }
    }

    fn in_double_quotes(mut rest: &[u8], mut word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
        loop {
            let (byte, after) = match rest {
                [b'"', rest @ ..] => return closed(rest, word),
                [b'\\', b'x', high, low, rest @ ..]
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    let digits = [*high, *low];
                    let digits = core::str::from_utf8(&digits).ok()?;
                    (u8::from_str_radix(digits, 16).ok()?, rest)
                }
                [b'\\', escaped, rest @ ..] => (unescape(*escaped), rest),
                [byte, rest @ ..] => (*byte, rest),
                [] => return None,
            };
            word.push(byte);
            rest = after;
        }
    }

    fn unescape(byte: u8) -> u8 {
        match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'a' => 0x07,
            other => other,
        }
    }

    fn in_single_quotes(mut rest: &[u8], mut word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
        loop {
            let (byte, after) = match rest {
                [b'\'', rest @ ..] => return closed(rest, word),
                [b'\\', b'\'', rest @ ..] => (b'\'', rest),
                [byte, rest @ ..] => (*byte, rest),
                [] => return None,
            };
            word.push(byte);
            rest = after;
        }
    }

    fn closed(rest: &[u8], word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
        rest.first().is_none_or(u8::is_ascii_whitespace).then_some((word, rest))
    }
}
