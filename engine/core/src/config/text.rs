//! Wildcards: what CONFIG GET needs to select names.

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
