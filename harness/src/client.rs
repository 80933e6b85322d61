//! A blocking client for RESP2 and RESP3, over TCP or a unix socket.
//!
//! Exists so that the judge depends on no client library and on nothing the engine contains: what it
//! reads from the wire is its own understanding of the protocol.
//!
//! Always true: replies are handed out in the order of the commands; out-of-band pushes are set aside and
//! never taken for a reply; after an I/O error the connection is not used again.
//!
//! Not here: load generation (`load.rs` counts replies without building them).

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Deepest nesting of aggregates accepted from a server.
const NESTING_MAX: usize = 32;
/// Largest bulk string accepted: the protocol's own limit.
const BULK_SIZE_MAX: u64 = 512 * 1024 * 1024;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(SocketAddr),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// `port` on the loopback interface.
    pub fn loopback(port: u16) -> Address {
        Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

/// One reply, RESP2 and RESP3 together.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`, without the dash; also RESP3's blob error.
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$3` and three bytes.
    Bulk(Vec<u8>),
    /// `_`, and RESP2's `$-1` and `*-1`.
    Null,
    /// `*n`
    Array(Vec<Reply>),
    /// `%n`, in the order sent.
    Map(Vec<(Reply, Reply)>),
    /// `~n`, in the order sent.
    Set(Vec<Reply>),
    /// `>n`
    Push(Vec<Reply>),
    /// `,1.5`
    Double(f64),
    /// `#t`
    Boolean(bool),
    /// `(123…`
    BigNumber(String),
    /// `=n`, the three-letter format and the text.
    Verbatim(String, Vec<u8>),
}

impl Reply {
    /// Whether this is exactly `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == "OK")
    }

    /// The bytes of a string of any kind, or `None` for everything else.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(text) => Some(text.as_bytes()),
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, or `None` if the reply is not an integer.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Reply::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, set or push; a map gives keys and values in turn, as RESP2 would.
    pub fn into_elements(self) -> Option<Vec<Reply>> {
        match self {
            Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) => Some(elements),
            Reply::Map(pairs) => Some(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
            _ => None,
        }
    }

    /// Reads exactly one reply.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not RESP; otherwise whatever `input` reports.
    pub fn read_from(input: &mut impl BufRead) -> io::Result<Reply> {
        read_nested(input, 0)
    }
}

fn read_nested(input: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > NESTING_MAX {
        return Err(malformed("nested too deeply"));
    }
    let line = read_line(input)?;
    let (kind, rest) = line.split_first().ok_or_else(|| malformed("empty line"))?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    match kind {
        b'+' => Ok(Reply::Simple(text())),
        b'-' => Ok(Reply::Error(text())),
        b':' => Ok(Reply::Integer(parse_number(rest)?)),
        b'_' => Ok(Reply::Null),
        b'(' => Ok(Reply::BigNumber(text())),
        b',' => text().parse().map(Reply::Double).map_err(|_| malformed("not a double")),
        b'#' => match rest {
            b"t" => Ok(Reply::Boolean(true)),
            b"f" => Ok(Reply::Boolean(false)),
            _ => Err(malformed("not a boolean")),
        },
        b'$' | b'!' | b'=' => read_blob(input, *kind, parse_number(rest)?),
        b'*' | b'~' | b'>' | b'%' | b'|' => read_aggregate(input, *kind, parse_number(rest)?, depth),
        _ => Err(malformed("unknown type byte")),
    }
}

fn read_blob(input: &mut impl BufRead, kind: u8, size: i64) -> io::Result<Reply> {
    if size == -1 {
        return Ok(Reply::Null);
    }
    let size = u64::try_from(size).map_err(|_| malformed("negative size"))?;
    if size > BULK_SIZE_MAX {
        return Err(malformed("bulk string too large"));
    }
    let mut bytes = Vec::new();
    input.take(size + 2).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !bytes.ends_with(b"\r\n") {
        return Err(malformed("bulk string without its end"));
    }
    bytes.truncate(bytes.len() - 2);
    match kind {
        b'$' => Ok(Reply::Bulk(bytes)),
        b'!' => Ok(Reply::Error(String::from_utf8_lossy(&bytes).into_owned())),
        _ if bytes.len() >= 4 && bytes[3] == b':' => {
            let text = bytes.split_off(4);
            Ok(Reply::Verbatim(String::from_utf8_lossy(&bytes[..3]).into_owned(), text))
        }
        _ => Err(malformed("verbatim string without a format")),
    }
}

fn read_aggregate(input: &mut impl BufRead, kind: u8, count: i64, depth: usize) -> io::Result<Reply> {
    if count == -1 {
        return Ok(Reply::Null);
    }
    let count = usize::try_from(count).map_err(|_| malformed("negative count"))?;
    match kind {
        b'%' => Ok(Reply::Map(read_pairs(input, count, depth)?)),
        b'|' => {
            // Attributes decorate the reply that follows; the judge has no use for them.
            read_pairs(input, count, depth)?;
            read_nested(input, depth + 1)
        }
        _ => {
            let elements =
                (0..count).map(|_| read_nested(input, depth + 1)).collect::<io::Result<Vec<Reply>>>()?;
            Ok(match kind {
                b'*' => Reply::Array(elements),
                b'~' => Reply::Set(elements),
                _ => Reply::Push(elements),
            })
        }
    }
}

fn read_pairs(input: &mut impl BufRead, count: usize, depth: usize) -> io::Result<Vec<(Reply, Reply)>> {
    (0..count).map(|_| Ok((read_nested(input, depth + 1)?, read_nested(input, depth + 1)?))).collect()
}

/// One line without its `\r\n`.
fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(malformed("line without a carriage return"));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn parse_number(digits: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("not a number"))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Appends one command, as an array of bulk strings, to `output`.
pub fn encode_command<A: AsRef<[u8]>>(arguments: &[A], output: &mut Vec<u8>) {
    assert!(!arguments.is_empty(), "a command has at least its name");
    output.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        let argument = argument.as_ref();
        output.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        output.extend_from_slice(argument);
        output.extend_from_slice(b"\r\n");
    }
}

/// One connection.
pub struct Client {
    input: BufReader<Stream>,
    output: Vec<u8>,
    /// Replies still owed to commands already queued.
    pending_count: usize,
    pushes: VecDeque<Reply>,
}

impl Client {
    /// Connects; `timeout` then bounds every later read and write as well.
    ///
    /// # Errors
    /// Whatever the socket reports.
    pub fn connect(address: &Address, timeout: Duration) -> io::Result<Client> {
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                if stream.local_addr()? == *address {
                    // Nobody listens, and the kernel gave us this very port: we would talk to ourselves.
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Stream::Unix(stream)
            }
        };
        Ok(Client {
            input: BufReader::with_capacity(64 * 1024, stream),
            output: Vec::new(),
            pending_count: 0,
            pushes: VecDeque::new(),
        })
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// I/O only; an error reply is a `Reply::Error`.
    ///
    /// # Panics
    /// If replies of queued commands have not been read yet.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        assert!(self.pending_count == 0, "read the replies of queued commands first");
        self.queue(arguments);
        self.flush()?;
        self.read()
    }

    /// Like [`Client::call`] with the words of `line`, split at spaces.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.call(&line.split_whitespace().collect::<Vec<&str>>())
    }

    /// Sends all `commands` at once and waits for all replies.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Reply>> {
        for command in commands {
            self.queue(command);
        }
        self.flush()?;
        commands.iter().map(|_| self.read()).collect()
    }

    /// Adds a command to the next [`Client::flush`].
    pub fn queue<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        encode_command(arguments, &mut self.output);
        self.pending_count += 1;
    }

    /// Sends what is queued, without waiting for replies.
    ///
    /// # Errors
    /// Whatever the socket reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.input.get_mut().write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Sends raw bytes, for tests of the protocol itself; replies are read with [`Client::read_unasked`].
    ///
    /// # Errors
    /// Whatever the socket reports.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.get_mut().write_all(bytes)
    }

    /// The reply of the oldest command not answered yet.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` after the timeout, `UnexpectedEof` when the server closed.
    pub fn read(&mut self) -> io::Result<Reply> {
        loop {
            match Reply::read_from(&mut self.input)? {
                push @ Reply::Push(_) => self.pushes.push_back(push),
                reply => {
                    self.pending_count = self.pending_count.saturating_sub(1);
                    return Ok(reply);
                }
            }
        }
    }

    /// Whatever the server sends next: a set-aside push first, then anything from the wire.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub fn read_unasked(&mut self) -> io::Result<Reply> {
        match self.pushes.pop_front() {
            Some(push) => Ok(push),
            None => Reply::read_from(&mut self.input),
        }
    }

    /// Whether bytes of a further reply have already arrived in the client's own buffer.
    pub fn has_buffered_input(&self) -> bool {
        !self.input.buffer().is_empty()
    }

    /// Ends the connection in both directions; later reads see its end.
    pub fn close(&mut self) {
        // An error means the server closed first, which is what was wanted.
        let _ = match self.input.get_ref() {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: &str, expected: Reply) {
        let mut input = wire.as_bytes();
        assert_eq!(Reply::read_from(&mut input).unwrap(), expected, "{wire:?}");
        assert!(input.is_empty(), "{wire:?} left {input:?}");
    }

    fn check_refused(wire: &str, kind: io::ErrorKind) {
        let error = Reply::read_from(&mut wire.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), kind, "{wire:?}");
    }

    #[test]
    fn resp2_replies_are_read() {
        check("+OK\r\n", Reply::Simple("OK".into()));
        check("-ERR no\r\n", Reply::Error("ERR no".into()));
        check(":-7\r\n", Reply::Integer(-7));
        check("$0\r\n\r\n", Reply::Bulk(vec![]));
        check("$4\r\na\r\nb\r\n", Reply::Bulk(b"a\r\nb".to_vec()));
        check("$-1\r\n", Reply::Null);
        check("*-1\r\n", Reply::Null);
        check("*0\r\n", Reply::Array(vec![]));
        check("*2\r\n:1\r\n*1\r\n+a\r\n", {
            Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![Reply::Simple("a".into())])])
        });
    }

    #[test]
    fn resp3_replies_are_read() {
        check("_\r\n", Reply::Null);
        check("#t\r\n", Reply::Boolean(true));
        check(",1.5\r\n", Reply::Double(1.5));
        check(",-inf\r\n", Reply::Double(f64::NEG_INFINITY));
        check("(123456789012345678901\r\n", Reply::BigNumber("123456789012345678901".into()));
        check("!5\r\nERR x\r\n", Reply::Error("ERR x".into()));
        check("=6\r\ntxt:hi\r\n", Reply::Verbatim("txt".into(), b"hi".to_vec()));
        check("%1\r\n+a\r\n:1\r\n", Reply::Map(vec![(Reply::Simple("a".into()), Reply::Integer(1))]));
        check("~1\r\n:1\r\n", Reply::Set(vec![Reply::Integer(1)]));
        check(">1\r\n:1\r\n", Reply::Push(vec![Reply::Integer(1)]));
        check("|1\r\n+ttl\r\n:9\r\n:1\r\n", Reply::Integer(1));
    }

    #[test]
    fn malformed_replies_are_refused() {
        for wire in ["\r\n", "?\r\n", ":x\r\n", "$-2\r\n", "$1\r\nabc", "+a\n", "#x\r\n", "=3\r\nabc\r\n"] {
            check_refused(wire, io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_reply_cut_short_is_an_unexpected_end() {
        for wire in ["", "+OK", "$5\r\nab", "*2\r\n:1\r\n"] {
            check_refused(wire, io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        check_refused(&format!("{}:1\r\n", "*1\r\n".repeat(NESTING_MAX + 1)), io::ErrorKind::InvalidData);
        let accepted = format!("{}:1\r\n", "*1\r\n".repeat(NESTING_MAX));
        assert!(Reply::read_from(&mut accepted.as_bytes()).is_ok());
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut output = Vec::new();
        encode_command(&["SET", "", "a b"], &mut output);
        assert_eq!(output, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\na b\r\n");
    }

    #[test]
    fn a_unix_socket_serves_like_tcp() {
        use crate::process::{Launch, Server, ServerCommand};
        let Some(command) = ServerCommand::stock_redis() else { return };
        let server = Server::start(Launch::new(command).setting("unixsocket", "socket")).unwrap();
        let address = Address::Unix(server.data_dir().join("socket"));
        let mut client = Client::connect(&address, Duration::from_secs(10)).unwrap();
        let replies = client.pipeline(&[vec!["INCR", "a"], vec!["INCR", "a"]]).unwrap();
        assert_eq!(replies, [Reply::Integer(1), Reply::Integer(2)]);
    }

    #[test]
    fn a_push_is_set_aside_and_never_taken_for_a_reply() {
        use crate::process::{Launch, Server, ServerCommand};
        let Some(command) = ServerCommand::stock_redis() else { return };
        let server = Server::start(Launch::new(command)).unwrap();
        let (mut tracking, mut writing) = (server.client().unwrap(), server.client().unwrap());
        assert!(matches!(tracking.say("HELLO 3").unwrap(), Reply::Map(_)));
        assert!(tracking.say("CLIENT TRACKING ON").unwrap().is_ok());
        assert_eq!(tracking.say("GET a").unwrap(), Reply::Null);
        assert!(writing.say("SET a 1").unwrap().is_ok());
        assert_eq!(tracking.say("GET a").unwrap(), Reply::Bulk(b"1".to_vec()));
        let key = Reply::Array(vec![Reply::Bulk(b"a".to_vec())]);
        let expected = Reply::Push(vec![Reply::Bulk(b"invalidate".to_vec()), key]);
        assert_eq!(tracking.read_unasked().unwrap(), expected);
    }

    #[test]
    fn a_silent_server_is_a_timeout() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(silent.local_addr().unwrap());
        let mut client = Client::connect(&address, Duration::from_millis(50)).unwrap();
        let kind = client.say("PING").unwrap_err().kind();
        assert!(matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{kind:?}");
    }
}
