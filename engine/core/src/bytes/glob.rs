//! Patterns as in KEYS, SCAN MATCH and PSUBSCRIBE.
//!
//! ```text
//! *        any bytes, or none           [abc]  [a-z]   one of these
//! ?        any one byte                 [^abc]         one byte that is none of these
//! \x       x itself, whatever it is     [\]]           escapes work inside, too
//! ```
//!
//! Always true: work is at most pattern length times text length, so a pattern cannot be made to take exponential
//! time. (Redis gives up, and reports no match, beyond 1000 stars instead.)
//!
//! Oddities kept: an empty text matches the empty pattern only (KEYS and SCAN never ask about `*`); a class that is
//! not closed ends with the pattern; a byte escaped inside a class matches in its own case only; ranges may be given
//! backwards and compare bytes as signed.

/// Whether all of `text` matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, |byte| byte)
}

/// The same with ASCII letters matching in either case.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, |byte| byte.to_ascii_lowercase())
}

/// Runs along the text and, where that fails, lets the last star take one byte more.
///
/// Earlier stars need no second chance: whatever they could take, the last one can take, too.
fn search(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    let mut last_star: Option<(&[u8], &[u8])> = None;
    while let Some((&byte, text_after)) = text.split_first() {
        if pattern.first() == Some(&b'*') {
            pattern = skip_stars(pattern);
            if pattern.is_empty() {
                return true;
            }
            last_star = Some((pattern, text));
        } else if let Some(pattern_after) = match_one(pattern, byte, &fold) {
            (pattern, text) = (pattern_after, text_after);
        } else {
            let Some((pattern_start, text_start)) = last_star else { return false };
            (pattern, text) = (pattern_start, &text_start[1..]);
            last_star = Some((pattern, text));
        }
    }
    skip_stars(pattern).is_empty()
}

fn skip_stars(pattern: &[u8]) -> &[u8] {
    let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
    &pattern[stars..]
}

/// The rest of the pattern if its first element, no star, takes `byte`.
fn match_one(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<&[u8]> {
    let (is_match, after) = match pattern {
        [] => return None,
        [b'?', after @ ..] => (true, after),
        [b'[', b'^', class @ ..] => {
            let (is_in, after) = match_class(class, byte, fold);
            (!is_in, after)
        }
        [b'[', class @ ..] => match_class(class, byte, fold),
        [b'\\', literal, after @ ..] | [literal, after @ ..] => (fold(*literal) == fold(byte), after),
    };
    is_match.then_some(after)
}

/// Whether a class holds `byte`, and what follows the class.
fn match_class(mut class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (bool, &[u8]) {
    let mut is_in = false;
    loop {
        class = match class {
            [] => return (is_in, class),
            [b'\\', literal, after @ ..] => {
                is_in |= *literal == byte;
                after
            }
            [b']', after @ ..] => return (is_in, after),
            [one, b'-', other, after @ ..] => {
                let [one, other, byte] = [*one, *other, byte].map(|byte| byte as i8);
                let [low, high, byte] =
                    [one.min(other), one.max(other), byte].map(|byte| fold(byte as u8) as i8);
                is_in |= (low..=high).contains(&byte);
                after
            }
            [literal, after @ ..] => {
                is_in |= fold(*literal) == fold(byte);
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        let table: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("a", "", false),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a***", "a", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[\\-a]", "-", true),
            ("[abc", "b", true),
            ("[", "[", false),
            ("[^", "x", true),
            ("[]", "]", false),
            ("[a-]", "a", true),
            ("*a*b*c", "xaxbxbxc", true),
            ("*a*b*c", "xaxbxbxcx", false),
            ("*ab", "aab", true),
            ("?", "ab", false),
            ("A", "a", false),
        ];
        for &(pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn case_is_ignored_when_asked() {
        for (pattern, text) in [("HeLLo", "hEllO"), ("[A-C]x", "bX"), ("[ABC]", "b"), ("max*", "MAXMEMORY")] {
            assert!(matches_ignoring_case(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        assert!(!matches_ignoring_case(b"[\\A]", b"a"));
    }

    #[test]
    fn an_abusive_pattern_ends_soon() {
        let pattern = b"a*".repeat(5_000);
        let text = b"a".repeat(10_000);
        assert!(matches(&pattern, &text));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text));
    }

    /// The definition, without any thought to time.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            ([b'*', after @ ..], text) => (0..=text.len()).any(|taken| naive(after, &text[taken..])),
            (_, []) => false,
            ([b'?', after @ ..], [_, text @ ..]) => naive(after, text),
            ([literal, after @ ..], [byte, text @ ..]) => literal == byte && naive(after, text),
        }
    }

    proptest! {
        #[test]
        fn stars_are_what_their_definition_says(pattern in "[ab?*]{0,10}", text in "[ab]{1,12}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_pattern_is_safe(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
            // A literal copy of the text, escaped byte by byte, always matches it.
            let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(matches(&escaped, &text));
        }
    }
}
