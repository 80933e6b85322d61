//! The request parser: finds the next command in a connection's read buffer, without copying it.
//!
//! Exists per connection because a command may arrive in many reads: what was understood of it is kept, so a large
//! argument is looked at once, not once per read.
//!
//! Always true: a command is reported when its last byte is there and not before; its arguments lie within its bytes.
//!
//! ```text
//! *3 \r\n $3 \r\n SET \r\n $3 \r\n key \r\n $5 \r\n value \r\n       a command of three arguments
//! ^       ^       ^ span
//! count   length
//! ```
//!
//! Like Redis, takes any two bytes after an argument as its line end, and any byte after `\r` in a count as `\n`.
//!
//! Not here: replies (`reply.rs`), quoting rules of inline commands (`bytes/quote.rs`).

use alloc::{format, vec::Vec};
use core::{mem, ops::Range};

use crate::bytes::{number, quote};

/// Longest inline command or count line, bytes, line end not counted.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most arguments of a command.
const ARGUMENTS_MAX: i64 = i32::MAX as i64;

/// Most arguments of a command from a client that has yet to authenticate.
const ARGUMENTS_UNAUTHENTICATED_MAX: i64 = 10;

/// Longest argument from a client that has yet to authenticate, bytes.
const ARGUMENT_UNAUTHENTICATED_BYTES_MAX: i64 = 16 * 1024;

/// Where an argument lies in the input: offsets from the first byte of its command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

impl Span {
    /// The bytes it covers.
    ///
    /// # Panics
    /// If `input` is not what was parsed.
    pub fn of(self, input: &[u8]) -> &[u8] {
        &input[Range::from(self)]
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Range<usize> {
        span.start..span.end
    }
}

/// What a connection may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProtocolLimits {
    /// `proto-max-bulk-len`: longest argument, bytes.
    pub bulk_bytes_max: u64,
    /// Whether it has yet to authenticate, and so gets little room.
    pub is_auth_required: bool,
}

impl Default for ProtocolLimits {
    fn default() -> ProtocolLimits {
        ProtocolLimits { bulk_bytes_max: 512 * 1024 * 1024, is_auth_required: false }
    }
}

/// What the front of the input holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A command; its arguments, at least one, are in the spans.
    Command {
        /// Bytes it takes up.
        len: usize,
        /// Typed by hand rather than framed by a client library.
        is_inline: bool,
    },
    /// An inline command with quotes, its arguments resolved; the spans are empty.
    Inline {
        /// Bytes it takes up.
        len: usize,
        /// At least one.
        args: Vec<Vec<u8>>,
    },
    /// A blank line or an empty array: nothing to do and nothing to answer.
    Empty {
        /// Bytes it takes up.
        len: usize,
    },
    /// The beginning of something: ask again with the same bytes and more after them.
    Incomplete,
    /// No request of ours: answer with the text and hang up, for where the next one begins cannot be known.
    Error(ProtocolError),
}

/// Why bytes cannot be a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// 64 KiB and no end of line where one begins with neither `*` nor `$`.
    TooBigInline,
    /// A quote left open.
    UnbalancedQuotes,
    /// 64 KiB and no end of the line after `*`.
    TooBigCount,
    /// Not a number of arguments.
    InvalidCount,
    /// More arguments than a stranger may send.
    UnauthenticatedCount,
    /// 64 KiB and no end of the line where `$` should be.
    TooBigBulkLength,
    /// This byte where `$` should be.
    ExpectedBulk(u8),
    /// Not the length of an argument.
    InvalidBulkLength,
    /// A longer argument than a stranger may send.
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// The text of the error reply, code included.
    pub fn text(self) -> Vec<u8> {
        let reason = match self {
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::TooBigCount => "too big mbulk count string",
            ProtocolError::InvalidCount => "invalid multibulk length",
            ProtocolError::UnauthenticatedCount => "unauthenticated multibulk length",
            ProtocolError::TooBigBulkLength => "too big bulk count string",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::ExpectedBulk(byte) => {
                let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
                text.extend([byte, b'\'']);
                return text;
            }
        };
        format!("ERR Protocol error: {reason}").into_bytes()
    }
}

/// What one connection's unfinished command has told so far.
#[derive(Clone, Default, Debug)]
pub struct Parser {
    /// Everything before this offset is understood (or, in an inline command, known to hold no line end).
    at: usize,
    /// Arguments not yet found; 0 unless inside an array.
    missing: usize,
    /// Length of the argument that begins at `at`, once its header is read.
    bulk: Option<usize>,
    /// Arguments found.
    found: Vec<Span>,
}

impl Parser {
    /// Reads one command off the front of `input` and leaves its arguments in `spans`.
    ///
    /// `input` begins where the last command ended; after `Incomplete` it begins with the same bytes as before.
    pub fn parse(&mut self, input: &[u8], limits: &ProtocolLimits, spans: &mut Vec<Span>) -> Parsed {
        spans.clear();
        let outcome = match input.first() {
            None => return Parsed::Incomplete,
            Some(b'*') => self.parse_array(input, limits, spans),
            Some(_) => self.parse_inline(input, spans),
        };
        outcome.unwrap_or_else(Parsed::Error)
    }

    /// How long the input must be at least before parsing it again can succeed, or 0 if that is not known.
    pub fn bytes_wanted(&self) -> usize {
        self.bulk.map_or(0, |len| self.at.saturating_add(len).saturating_add(2))
    }

    /// Bytes of the unfinished command that need not be looked at again: its arguments so far, with their headers.
    pub fn bytes_understood(&self) -> usize {
        if self.missing > 0 { self.at } else { 0 }
    }

    fn parse_array(
        &mut self,
        input: &[u8],
        limits: &ProtocolLimits,
        spans: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        if self.missing > 0 {
            mem::swap(spans, &mut self.found);
        } else {
            let Some((count, next)) = read_count(input, limits)? else { return Ok(Parsed::Incomplete) };
            if count == 0 {
                return Ok(Parsed::Empty { len: next });
            }
            self.missing = count;
            self.at = next;
        }
        self.find_arguments(input, limits, spans)?;
        if self.missing > 0 {
            mem::swap(spans, &mut self.found);
            spans.clear();
            return Ok(Parsed::Incomplete);
        }
        Ok(Parsed::Command { len: mem::take(&mut self.at), is_inline: false })
    }

    /// Goes on as far as `input` allows.
    fn find_arguments(
        &mut self,
        input: &[u8],
        limits: &ProtocolLimits,
        spans: &mut Vec<Span>,
    ) -> Result<(), ProtocolError> {
        while self.missing > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    let Some((len, next)) = read_bulk_length(input, self.at, limits)? else { return Ok(()) };
                    self.at = next;
                    len
                }
            };
            if input.len() - self.at < len.saturating_add(2) {
                self.bulk = Some(len);
                return Ok(());
            }
            spans.push(Span { start: self.at, end: self.at + len });
            self.at += len + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(())
    }

    fn parse_inline(&mut self, input: &[u8], spans: &mut Vec<Span>) -> Result<Parsed, ProtocolError> {
        let window = &input[..input.len().min(LINE_BYTES_MAX + 1)];
        let unseen = &window[self.at..];
        let Some(offset) = unseen.iter().position(|&byte| byte == b'\n') else {
            if window.len() > LINE_BYTES_MAX {
                return Err(ProtocolError::TooBigInline);
            }
            self.at = window.len();
            return Ok(Parsed::Incomplete);
        };
        let end = mem::take(&mut self.at) + offset;
        let len = end + 1;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            let args = quote::split_args(line).ok_or(ProtocolError::UnbalancedQuotes)?;
            return Ok(Parsed::Inline { len, args });
        }
        find_words(line, spans);
        Ok(if spans.is_empty() { Parsed::Empty { len } } else { Parsed::Command { len, is_inline: true } })
    }
}

/// The words of a line without quotes.
fn find_words(line: &[u8], spans: &mut Vec<Span>) {
    let mut rest = quote::skip_blanks(line);
    while !rest.is_empty() {
        let start = line.len() - rest.len();
        let word_len = rest.iter().position(|&byte| quote::ends_word(byte)).unwrap_or(rest.len());
        spans.push(Span { start, end: start + word_len });
        rest = quote::skip_blanks(&rest[word_len..]);
    }
}

/// The number of arguments that `*` announces and where the first begins, or `None` if the line is not whole.
fn read_count(input: &[u8], limits: &ProtocolLimits) -> Result<Option<(usize, usize)>, ProtocolError> {
    let (count, next) = match read_header(input, 0) {
        Header::Number(count, next) => (count, next),
        Header::Short => return Ok(None),
        Header::Endless => return Err(ProtocolError::TooBigCount),
        Header::NoNumber => return Err(ProtocolError::InvalidCount),
    };
    if count > ARGUMENTS_MAX {
        return Err(ProtocolError::InvalidCount);
    }
    if limits.is_auth_required && count > ARGUMENTS_UNAUTHENTICATED_MAX {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    Ok(Some((count.max(0) as usize, next)))
}

/// The length that `$` announces and where the argument begins, or `None` if the line is not whole.
fn read_bulk_length(
    input: &[u8],
    at: usize,
    limits: &ProtocolLimits,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let header = read_header(input, at);
    match header {
        Header::Short => return Ok(None),
        Header::Endless => return Err(ProtocolError::TooBigBulkLength),
        Header::Number(..) | Header::NoNumber if input[at] != b'$' => {
            return Err(ProtocolError::ExpectedBulk(input[at]));
        }
        _ => {}
    }
    let Header::Number(len, next) = header else { return Err(ProtocolError::InvalidBulkLength) };
    if len < 0 || len as u64 > limits.bulk_bytes_max {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if limits.is_auth_required && len > ARGUMENT_UNAUTHENTICATED_BYTES_MAX {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(Some((len as usize, next)))
}

/// A line of one marker byte and a number.
enum Header {
    /// The number, and the offset of what follows the line.
    Number(i64, usize),
    /// The line goes on beyond the input.
    Short,
    /// The line goes on beyond what a line may have.
    Endless,
    /// The line is whole and holds something else.
    NoNumber,
}

/// Reads the line whose marker byte is at `at`.
#[inline]
fn read_header(input: &[u8], at: usize) -> Header {
    /// Most digits that the quick way takes; more are as good as never sent.
    const DIGITS_QUICK_MAX: usize = 9;

    let digits = input.get(at + 1..).unwrap_or_default();
    // Most numbers have one digit or two.
    match *digits {
        [ones @ b'0'..=b'9', b'\r', _, ..] => return Header::Number(i64::from(ones - b'0'), at + 4),
        [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _, ..] => {
            return Header::Number(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'), at + 5);
        }
        _ => {}
    }
    let mut value = 0i64;
    for (index, byte) in digits.iter().take(DIGITS_QUICK_MAX + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
            continue;
        }
        let is_canonical = index == 1 || (index > 1 && digits[0] != b'0');
        let is_whole = *byte == b'\r' && index + 1 < digits.len();
        if is_canonical && is_whole {
            return Header::Number(value, at + 1 + index + 2);
        }
        break;
    }
    read_header_slowly(input, at)
}

/// The same for every line: signs, errors, and lines that are not whole.
#[cold]
fn read_header_slowly(input: &[u8], at: usize) -> Header {
    let line = &input[at..];
    let window = &line[..line.len().min(LINE_BYTES_MAX + 1)];
    match window.iter().position(|&byte| byte == b'\r') {
        None if window.len() > LINE_BYTES_MAX => Header::Endless,
        None => Header::Short,
        Some(end) if end + 1 == line.len() => Header::Short,
        Some(end) => match line.get(1..end).and_then(number::parse_i64) {
            Some(value) => Header::Number(value, at + end + 2),
            None => Header::NoNumber,
        },
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::resp::encode_command;

    /// Everything a stream says when it arrives in these pieces; an error ends it.
    fn understand(pieces: &[&[u8]], limits: &ProtocolLimits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut parser, mut spans) = (Parser::default(), Vec::new());
        let (mut buffer, mut commands) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let (len, args) = match parser.parse(&buffer, limits, &mut spans) {
                    Parsed::Command { len, .. } => {
                        (len, spans.iter().map(|span| span.of(&buffer[..len]).to_vec()).collect())
                    }
                    Parsed::Inline { len, args } => (len, args),
                    Parsed::Empty { len } => (len, Vec::new()),
                    Parsed::Incomplete => break,
                    Parsed::Error(error) => return (commands, Some(error)),
                };
                buffer.drain(..len);
                if !args.is_empty() {
                    commands.push(args);
                }
            }
        }
        (commands, None)
    }

    #[track_caller]
    fn check(input: &[u8], commands: &[&[&[u8]]]) {
        let commands: Vec<Vec<Vec<u8>>> =
            commands.iter().map(|args| args.iter().map(|arg| arg.to_vec()).collect()).collect();
        assert_eq!(understand(&[input], &ProtocolLimits::default()), (commands, None));
    }

    #[track_caller]
    fn check_error(input: &[u8], limits: ProtocolLimits, text: &str) {
        let whole = understand(&[input], &limits).1;
        assert_eq!(whole.map(ProtocolError::text).map(String::from_utf8), Some(Ok(text.into())));
        let bytewise: Vec<&[u8]> = input.chunks(1 + input.len() / 100).collect();
        assert_eq!(understand(&bytewise, &limits).1, whole);
    }

    const STRANGER: ProtocolLimits =
        ProtocolLimits { bulk_bytes_max: 512 * 1024 * 1024, is_auth_required: true };
    const FRIEND: ProtocolLimits = ProtocolLimits { is_auth_required: false, ..STRANGER };

    #[test]
    fn commands_come_framed_or_typed() {
        check(b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]]);
        check(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", &[&[b"GET", b""], &[b"PING"]]);
        check(b"*2\r\n$4\r\nECHO\r\n$12\r\n*1\r\n$4\r\nPING\r\n", &[&[b"ECHO", b"*1\r\n$4\r\nPING"]]);
        check(b"PING\r\nset  a\tb \n", &[&[b"PING"], &[b"set", b"a", b"b"]]);
        check(b"set \"a\\x41b\\n\" 'it\\'s'\r\n", &[&[b"set", b"aAb\n", b"it's"]]);
    }

    #[test]
    fn nothing_asked_is_nothing_answered() {
        check(b"\r\n\n*0\r\n*-1\r\n*-10\r\n   \r\nPING\r\n", &[&[b"PING"]]);
    }

    #[test]
    fn line_ends_are_taken_on_trust() {
        check(b"*1\r?$4\r?PING??PING\n", &[&[b"PING"], &[b"PING"]]);
    }

    #[test]
    fn bad_input_has_redis_error_texts() {
        let endless = |start: &[u8], count| [start, &vec![b'1'; count]].concat();
        let table: &[(&[u8], ProtocolLimits, &str)] = &[
            (b"*\r\n", FRIEND, "invalid multibulk length"),
            (b"*x\r\n", FRIEND, "invalid multibulk length"),
            (b"*01\r\n", FRIEND, "invalid multibulk length"),
            (b"* 1\r\n", FRIEND, "invalid multibulk length"),
            (b"*2147483648\r\n", FRIEND, "invalid multibulk length"),
            (b"*20000000000000000000\r\n", FRIEND, "invalid multibulk length"),
            (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", FRIEND, "expected '$', got 'f'"),
            (b"*1\r\nfoo\r\n", FRIEND, "expected '$', got 'f'"),
            (b"*1\r\n:1\r\n", FRIEND, "expected '$', got ':'"),
            (b"*1\r\n$\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$-1\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$-10\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$03\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$blabla\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$2000000000\r\n", FRIEND, "invalid bulk length"),
            (b"*1\r\n$9223372036854775807\r\n", FRIEND, "invalid bulk length"),
            (b"*11\r\n", STRANGER, "unauthenticated multibulk length"),
            (b"*1\r\n$16385\r\n", STRANGER, "unauthenticated bulk length"),
            (b"set \"\"\"test\"\"\"\r\n", FRIEND, "unbalanced quotes in request"),
            (b"get 'a\r\n", FRIEND, "unbalanced quotes in request"),
            (&endless(b"", 65537), FRIEND, "too big inline request"),
            (&endless(b"*", 65536), FRIEND, "too big mbulk count string"),
            (&endless(b"*1\r\n$", 65536), FRIEND, "too big bulk count string"),
        ];
        for (input, limits, reason) in table {
            check_error(input, *limits, &format!("ERR Protocol error: {reason}"));
        }
    }

    #[test]
    fn limits_are_the_last_values_allowed() {
        let incomplete = |input: &[u8], limits| understand(&[input], &limits) == (Vec::new(), None);
        assert!(incomplete(b"*2147483647\r\n", FRIEND));
        assert!(incomplete(b"*10\r\n", STRANGER));
        assert!(incomplete(b"*1\r\n$536870912\r\n", FRIEND));
        assert!(incomplete(b"*1\r\n$16384\r\n", STRANGER));
        assert!(incomplete(&[b'x'; 65536], FRIEND));
        let longest = [&[b'x'; 65536][..], b"\n"].concat();
        assert_eq!(understand(&[&longest], &FRIEND).0, [[longest[..65536].to_vec()]]);
        let unlimited = ProtocolLimits { bulk_bytes_max: u64::MAX, is_auth_required: false };
        assert!(incomplete(b"*1\r\n$9223372036854775807\r\n", unlimited));
    }

    #[test]
    fn an_odd_byte_is_quoted_as_it_is() {
        assert_eq!(ProtocolError::ExpectedBulk(0xff).text(), b"ERR Protocol error: expected '$', got '\xff'");
    }

    #[test]
    fn a_large_argument_is_awaited_as_a_whole() {
        let (mut parser, mut spans) = (Parser::default(), Vec::new());
        assert_eq!(parser.bytes_understood(), 0);
        let input = b"*2\r\n$3\r\nGET\r\n$100\r\nabc";
        assert_eq!(parser.parse(input, &FRIEND, &mut spans), Parsed::Incomplete);
        assert_eq!(parser.bytes_understood(), input.len() - 3);
        assert_eq!(parser.bytes_wanted(), input.len() - 3 + 102);
        let whole = [&input[..], &[b'd'; 99]].concat();
        assert_eq!(
            parser.parse(&whole, &FRIEND, &mut spans),
            Parsed::Command { len: whole.len(), is_inline: false }
        );
        assert_eq!(spans.len(), 2);
        assert_eq!((parser.bytes_understood(), parser.bytes_wanted()), (0, 0));
    }

    fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)
    }

    fn cut(stream: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
        cuts.iter_mut().for_each(|cut| *cut %= stream.len() + 1);
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn commands_survive_any_cutting(
            commands in prop::collection::vec((command(), any::<bool>()), 1..8),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let mut stream = Vec::new();
            for (args, is_inline) in &commands {
                if *is_inline {
                    let words: Vec<_> = args.iter().map(|arg| quote::quoted(arg)).collect();
                    stream.extend([words.join(" ").as_bytes(), b"\r\n"].concat());
                } else {
                    encode_command(&args.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut stream);
                }
            }
            let expected: Vec<_> = commands.into_iter().map(|(args, _)| args).collect();
            prop_assert_eq!(understand(&cut(&stream, cuts), &FRIEND), (expected, None));
        }

        #[test]
        fn noise_means_the_same_however_it_is_cut(
            stream in "[*$0-9a\"' \r\n-]{0,60}",
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let stream = stream.as_bytes();
            prop_assert_eq!(understand(&cut(stream, cuts), &STRANGER), understand(&[stream], &STRANGER));
        }
    }
}
