//! A talk with another server: a request of many commands, and a line for each in reply.
//!
//! Exists for MIGRATE, on a thread of its own: it waits as long as the other server may take.
//!
//! Always true: it ends; each of connecting, sending and every reply has its own time.
//!
//! Not here: what is said and what the replies mean (`perdura-core`, `node/migrate.rs`).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use perdura_core::host::{Exchange, ExchangeStep};

/// Longest reply, bytes: more is no `+OK` and no error.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Bytes sent at once, so that time is looked at in between.
const PIECE_BYTES: usize = 64 * 1024;

/// Sends the request and reads the replies; those that came, and where it ended if some are missing.
pub fn exchange(order: &Exchange) -> (Vec<Vec<u8>>, Option<ExchangeStep>) {
    let timeout = Duration::from_millis(order.timeout_ms.max(1));
    let Ok(mut stream) = connect(&order.host, order.port, timeout) else {
        return (Vec::new(), Some(ExchangeStep::Connecting));
    };
    if send(&mut stream, &order.request, timeout).is_err() {
        return (Vec::new(), Some(ExchangeStep::Writing));
    }
    let mut replies = Vec::new();
    let mut received = Vec::new();
    while replies.len() < order.replies {
        match read_line(&mut stream, &mut received, timeout) {
            Ok(reply) => replies.push(reply),
            Err(_) => return (replies, Some(ExchangeStep::Reading)),
        }
    }
    (replies, None)
}

/// Connects to the first address of a name that answers.
fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn send(stream: &mut TcpStream, request: &[u8], timeout: Duration) -> io::Result<()> {
    // Each piece has the whole time, as each has in Redis: a large key may take long on a slow line.
    stream.set_write_timeout(Some(timeout))?;
    request.chunks(PIECE_BYTES).try_for_each(|piece| stream.write_all(piece))
}

/// The next line, without its end. `received` holds what came behind the last one.
fn read_line(stream: &mut TcpStream, received: &mut Vec<u8>, timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = received.drain(..=end).collect();
            line.truncate(line.trim_ascii_end().len());
            return Ok(line);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || received.len() > REPLY_BYTES_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&piece[..count]),
        }
    }
}
