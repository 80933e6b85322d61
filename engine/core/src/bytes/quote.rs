//! Words and quotes: how a line of text becomes arguments, and how bytes are shown so that they read back.
//!
//! One grammar serves inline commands, redis.conf, the AOF manifest and MONITOR.
//!
//! Always true: `split_args(quoted(bytes)) == [bytes]` for any bytes.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

/// The words of a line, quotes and escapes resolved, or `None` if a quote is left open or runs into more text.
///
/// Inside `"…"`: `\n \r \t \b \a \xHH`, and a backslash before anything else gives that thing. Inside `'…'`: `\'` only.
/// Outside of quotes a backslash is itself.
pub fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
}

fn take_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [byte, after @ ..] if ends_word(*byte) => return Some((word, after)),
            [b'"', after @ ..] => {
                return closed(take_double_quoted(after, &mut word)?).map(|rest| (word, rest));
            }
            [b'\'', after @ ..] => {
                return closed(take_single_quoted(after, &mut word)?).map(|rest| (word, rest));
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// What follows the closing quote.
fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_value(*high) << 4 | hex_value(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(byte);
        rest = after;
    }
}

/// What follows the closing quote.
fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(byte);
        rest = after;
    }
}

/// A closing quote ends its word: a blank or nothing must follow.
fn closed(after: &[u8]) -> Option<&[u8]> {
    after.first().is_none_or(|&byte| is_blank(byte)).then_some(after)
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_value(digit: u8) -> u8 {
    (digit as char).to_digit(16).map_or(0, |value| value as u8)
}

/// The line from its first byte that is no blank.
pub(crate) fn skip_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_blank(byte)).unwrap_or(line.len());
    &line[start..]
}

/// A byte between words; includes vertical tab and form feed, which do not end a word.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A byte that ends an unquoted word.
pub(crate) fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// `bytes` in double quotes, all but printable ASCII escaped.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', byte as char]),
            b'\n' => text += "\\n",
            b'\r' => text += "\\r",
            b'\t' => text += "\\t",
            0x07 => text += "\\a",
            0x08 => text += "\\b",
            b' '..=b'~' => text.push(byte as char),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text.push('"');
    text
}

/// `text` itself if it reads back as one word as it stands, else in quotes.
pub fn quote_if_needed(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'\'');
    if !text.is_empty() && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(quoted(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, words: &[&[u8]]) {
        let split = split_args(line.as_bytes()).expect("balanced");
        assert_eq!(split, words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn words_are_split_at_blanks() {
        check("", &[]);
        check(" \t\r\n ", &[]);
        check("one", &[b"one"]);
        check("  set  key\tvalue \n", &[b"set", b"key", b"value"]);
        check("a\x0bb \x0b\x0cc", &[b"a\x0bb", b"c"]);
        check("back\\slash \\n", &[b"back\\slash", b"\\n"]);
    }

    #[test]
    fn quotes_hold_blanks_and_escapes() {
        check(r#""a\x41b\n""#, &[b"aAb\n"]);
        check(r#""\r\t\b\a\q\\\"" x"#, &[b"\r\t\x08\x07q\\\"", b"x"]);
        check(r#""\xZZ" "\x4""#, &[b"xZZ", b"x4"]);
        check(r"'it\'s' 'a\n'", &[b"it's", b"a\\n"]);
        check(r#""" ''"#, &[b"", b""]);
        check(r#"foo"bar""#, &[b"foobar"]);
    }

    #[test]
    fn a_quote_must_close_and_end_its_word() {
        for line in ["\"", "'", "\"a", "'a", r#""a"b"#, "'a'b", r#""a\"#, r#""a\""#, "it's"] {
            assert_eq!(split_args(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn quoting_shows_what_cannot_be_seen() {
        assert_eq!(quoted(b"a\"\\\n\r\t\x07\x08\x00\xff ~"), r#""a\"\\\n\r\t\a\b\x00\xff ~""#);
        assert_eq!(quote_if_needed("appendonly.aof.1.base.rdb"), "appendonly.aof.1.base.rdb");
        assert_eq!(quote_if_needed("my file"), "\"my file\"");
        assert_eq!(quote_if_needed(""), "\"\"");
    }

    proptest! {
        #[test]
        fn quoted_bytes_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(split_args(quoted(&bytes).as_bytes()), Some(vec![bytes]));
        }

        #[test]
        fn any_line_is_split_or_refused(line: Vec<u8>) {
            if let Some(words) = split_args(&line) {
                prop_assert!(words.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
