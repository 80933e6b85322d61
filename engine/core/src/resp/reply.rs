//! The reply writer: one place that knows how each kind of answer looks in RESP2 and in RESP3.
//!
//! Always true: what is written is whole frames, provided that every announced aggregate gets as many items as announced.
//!
//! ```text
//!               RESP2                    RESP3
//! null          $-1                      _
//! null array    *-1                      _
//! map of n      *2n                      %n
//! set of n      *n                       ~n
//! push of n     *n                       >n
//! double        bulk                     ,1.5
//! boolean       :1 :0                    #t #f
//! big number    bulk                     (123
//! verbatim      bulk                     =len txt:…
//! attribute     (left out)               |n
//! ```
//!
//! Not here: when a reply may leave (`node`), which one a command gives (`commands`).

use alloc::vec::Vec;

use crate::bytes::{
    long_double::LongDouble,
    number::{self, DecimalBuffer},
};

/// The protocol version a connection has chosen with HELLO.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Protocol {
    /// Version 2, until the client asks for more.
    #[default]
    Resp2 = 2,
    /// Version 3.
    Resp3 = 3,
}

/// Bytes on their way to one client.
#[derive(Clone, Default, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    protocol: Protocol,
    /// Length beyond which nobody will see it; 0 is none.
    stop_at: usize,
}

/// An aggregate whose header is written once its items are counted.
#[derive(Debug)]
#[must_use = "without its header an aggregate is no frame"]
pub struct DeferredLen {
    at: usize,
}

impl Reply {
    /// An empty reply.
    pub fn new(protocol: Protocol) -> Reply {
        Reply { bytes: Vec::new(), protocol, stop_at: 0 }
    }

    /// Goes on after what `bytes` holds, in the room it has.
    pub fn onto(bytes: Vec<u8>, protocol: Protocol) -> Reply {
        Reply { bytes, protocol, stop_at: 0 }
    }

    /// The version it is written in.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes what follows in another version (HELLO's own reply is the first).
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// What is written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much is written so far, bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Beyond this length the client is hung up on, so that a command may as well stop in the middle.
    pub fn stop_at(&mut self, len: usize) {
        self.stop_at = len;
    }

    /// It is so long that its client will be hung up on: whoever writes without end stops.
    pub fn is_overlong(&self) -> bool {
        self.stop_at > 0 && self.bytes.len() > self.stop_at
    }

    /// Nothing is written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes back everything after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Hands over the bytes, leaving nothing.
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// `OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A short text; line ends in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; `text` begins with its code. Line ends in it become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// An error that quotes what a client sent; `text` begins with its code. Line ends in it become spaces.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.line(b'-', text);
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        push_header(&mut self.bytes, b':', value);
    }

    /// A string.
    pub fn bulk(&mut self, text: &[u8]) {
        push_bulk(&mut self.bytes, text);
    }

    /// An integer, spelled as a string.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(number::format_i64(value, &mut DecimalBuffer::default()));
    }

    /// No value.
    pub fn null(&mut self) {
        self.by_version(b"$-1\r\n", b"_\r\n");
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.by_version(b"*-1\r\n", b"_\r\n");
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) {
        if value {
            self.by_version(b":1\r\n", b"#t\r\n");
        } else {
            self.by_version(b":0\r\n", b"#f\r\n");
        }
    }

    /// A floating-point number.
    pub fn double(&mut self, value: f64) {
        self.double_text(&number::format_double(value));
    }

    /// A floating-point number that is already spelled.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => self.line(b',', text),
        }
    }

    /// A floating-point number as GEOPOS prints it: 17 decimals, no exponent.
    pub fn human_double(&mut self, value: f64) {
        let text = LongDouble::try_from(value).map_or(b"nan".to_vec(), LongDouble::format);
        self.double_text(&text);
    }

    /// An integer of any size, spelled in decimal.
    pub fn big_number(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b'(', text.as_bytes()),
        }
    }

    /// A text to be shown as it is; `format` says what it is (`txt`, `mkd`).
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                push_header(&mut self.bytes, b'=', text.len() as i64 + 4);
                for part in [&format, b":".as_slice(), text, b"\r\n"] {
                    self.bytes.extend_from_slice(part);
                }
            }
        }
    }

    /// `count` items follow.
    pub fn array(&mut self, count: usize) {
        self.aggregate(b'*', b'*', count);
    }

    /// `count` keys follow, each with its value.
    pub fn map(&mut self, count: usize) {
        let items = if self.protocol == Protocol::Resp2 { count * 2 } else { count };
        self.aggregate(b'*', b'%', items);
    }

    /// `count` different items follow, in no order.
    pub fn set(&mut self, count: usize) {
        self.aggregate(b'*', b'~', count);
    }

    /// `count` items follow that nobody asked for.
    pub fn push(&mut self, count: usize) {
        self.aggregate(b'*', b'>', count);
    }

    /// `count` keys with their values follow, telling of the reply after them; false if this client cannot be told.
    #[must_use = "the pairs must be left out if the header is"]
    pub fn attribute(&mut self, count: usize) -> bool {
        if self.protocol == Protocol::Resp3 {
            push_header(&mut self.bytes, b'|', count as i64);
        }
        self.protocol == Protocol::Resp3
    }

    /// Begins an aggregate before its items are counted.
    pub fn defer_len(&mut self) -> DeferredLen {
        DeferredLen { at: self.bytes.len() }
    }

    /// Ends an aggregate begun with `defer_len` as an array of `count` items.
    pub fn array_deferred(&mut self, begun: DeferredLen, count: usize) {
        self.insert_header(begun, |reply| reply.array(count));
    }

    /// Ends an aggregate begun with `defer_len` as a map of `count` keys.
    pub fn map_deferred(&mut self, begun: DeferredLen, count: usize) {
        self.insert_header(begun, |reply| reply.map(count));
    }

    /// Ends an aggregate begun with `defer_len` as a set of `count` items.
    pub fn set_deferred(&mut self, begun: DeferredLen, count: usize) {
        self.insert_header(begun, |reply| reply.set(count));
    }

    /// Frames that are already written, in this reply's version.
    pub fn raw(&mut self, frames: &[u8]) {
        self.bytes.extend_from_slice(frames);
    }

    /// Writes the header behind the items, then turns both round.
    fn insert_header(&mut self, begun: DeferredLen, write: impl FnOnce(&mut Reply)) {
        assert!(begun.at <= self.bytes.len());
        let items_end = self.bytes.len();
        write(self);
        let header_len = self.bytes.len() - items_end;
        self.bytes[begun.at..].rotate_right(header_len);
    }

    fn aggregate(&mut self, resp2: u8, resp3: u8, count: usize) {
        let letter = if self.protocol == Protocol::Resp2 { resp2 } else { resp3 };
        push_header(&mut self.bytes, letter, count as i64);
    }

    fn by_version(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.bytes.extend_from_slice(if self.protocol == Protocol::Resp2 { resp2 } else { resp3 });
    }

    fn line(&mut self, letter: u8, text: &[u8]) {
        self.bytes.push(letter);
        self.bytes.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// Appends a command as clients send it and AOF files hold it: an array of strings.
pub fn encode_command(args: &[&[u8]], out: &mut Vec<u8>) {
    push_header(out, b'*', args.len() as i64);
    for arg in args {
        push_bulk(out, arg);
    }
}

#[inline]
fn push_bulk(out: &mut Vec<u8>, text: &[u8]) {
    /// What stands around a text, at most.
    const FRAME_BYTES_MAX: usize = 1 + DECIMAL_BYTES + 2 * b"\r\n".len();
    out.reserve(text.len() + FRAME_BYTES_MAX);
    push_header(out, b'$', text.len() as i64);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Appends `<letter><value>\r\n`.
#[inline]
fn push_header(out: &mut Vec<u8>, letter: u8, value: i64) {
    // Most numbers have one digit or two.
    match value {
        0..10 => out.extend_from_slice(&[letter, b'0' + value as u8, b'\r', b'\n']),
        10..100 => {
            let (tens, ones) = (b'0' + (value / 10) as u8, b'0' + (value % 10) as u8);
            out.extend_from_slice(&[letter, tens, ones, b'\r', b'\n']);
        }
        _ => push_long_header(out, letter, value),
    }
}

/// The same for every number: built from its end, so that it is copied once.
fn push_long_header(out: &mut Vec<u8>, letter: u8, value: i64) {
    const LINE_END: &[u8; 2] = b"\r\n";
    let mut line = [0; 1 + DECIMAL_BYTES + LINE_END.len()];
    let digits_end = line.len() - LINE_END.len();
    line[digits_end..].copy_from_slice(LINE_END);
    let mut start = number::fill_digits(value.unsigned_abs(), &mut line[..digits_end]);
    if value < 0 {
        start -= 1;
        line[start] = b'-';
    }
    start -= 1;
    line[start] = letter;
    out.extend_from_slice(&line[start..]);
}

/// Room for any integer.
const DECIMAL_BYTES: usize = size_of::<DecimalBuffer>();

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[track_caller]
    fn check(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut reply = Reply::new(protocol);
            write(&mut reply);
            assert_eq!(String::from_utf8(reply.take()).unwrap(), expected, "{protocol:?}");
            assert!(reply.is_empty());
        }
    }

    #[test]
    fn every_kind_in_both_versions() {
        check(|reply| reply.ok(), "+OK\r\n", "+OK\r\n");
        check(|reply| reply.simple("PONG"), "+PONG\r\n", "+PONG\r\n");
        check(|reply| reply.error("ERR no"), "-ERR no\r\n", "-ERR no\r\n");
        check(|reply| reply.integer(0), ":0\r\n", ":0\r\n");
        check(|reply| reply.integer(-1), ":-1\r\n", ":-1\r\n");
        check(|reply| reply.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        check(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n");
        check(|reply| reply.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        check(|reply| reply.bulk_int(-42), "$3\r\n-42\r\n", "$3\r\n-42\r\n");
        check(|reply| reply.null(), "$-1\r\n", "_\r\n");
        check(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        check(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        check(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        check(|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        check(|reply| reply.human_double(13.5), "$4\r\n13.5\r\n", ",13.5\r\n");
        check(|reply| reply.big_number("123"), "$3\r\n123\r\n", "(123\r\n");
        check(|reply| reply.verbatim(*b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        check(|reply| reply.array(0), "*0\r\n", "*0\r\n");
        check(|reply| reply.map(3), "*6\r\n", "%3\r\n");
        check(|reply| reply.set(2), "*2\r\n", "~2\r\n");
        check(|reply| reply.push(2), "*2\r\n", ">2\r\n");
        check(|reply| assert_eq!(reply.attribute(1), reply.protocol() == Protocol::Resp3), "", "|1\r\n");
    }

    #[test]
    fn an_error_is_one_line() {
        check(|reply| reply.error_bytes(b"ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n");
        check(|reply| reply.simple("a\nb"), "+a b\r\n", "+a b\r\n");
    }

    #[test]
    fn deferred_lengths_come_before_their_items() {
        let nested = |reply: &mut Reply| {
            reply.ok();
            let outer = reply.defer_len();
            reply.bulk_int(1);
            let inner = reply.defer_len();
            reply.array_deferred(inner, 0);
            reply.map_deferred(outer, 1);
            reply.ok();
        };
        check(nested, "+OK\r\n*2\r\n$1\r\n1\r\n*0\r\n+OK\r\n", "+OK\r\n%1\r\n$1\r\n1\r\n*0\r\n+OK\r\n");
    }

    #[test]
    fn a_reply_can_be_taken_back() {
        let mut reply = Reply::onto(b"+OK\r\n".to_vec(), Protocol::Resp2);
        let before = reply.len();
        reply.array(5);
        reply.truncate(before);
        assert_eq!(reply.into_bytes(), b"+OK\r\n");
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = b"before".to_vec();
        encode_command(&[b"SET", b"k", b""], &mut out);
        assert_eq!(out, b"before*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }
}
