//! As much HTTP as the endpoint needs: one GET a connection, answered and closed.
//!
//! Always true: a stranger gets so many connections, bytes and seconds and no more; whatever it does, the rest of the
//! server does not notice.
//!
//! Not here: what is answered (`mod.rs`).

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Answer, Published};

/// Connections answered at once; one more is closed.
const CONNECTIONS_MAX: usize = 16;
/// Largest request, headers included.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Time a request may take to come in, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be taken: descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Counts a connection for as long as it lives.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(open: &Arc<AtomicUsize>) -> Option<Permit> {
        let permit = Permit(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < CONNECTIONS_MAX).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers whoever connects, for as long as the process lives.
pub(super) fn serve(listener: &TcpListener, published: &Arc<Mutex<Published>>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(PAUSE);
            continue;
        };
        let Some(permit) = Permit::take(&open) else { continue };
        let published = Arc::clone(published);
        let spawned = thread::Builder::new().name("perdura-metrics".into()).spawn(move || {
            let _permit = permit;
            // Who asks badly or goes away gets no answer; nobody else is concerned.
            let _ = converse(stream, &published);
        });
        if spawned.is_err() {
            thread::sleep(PAUSE);
        }
    }
}

fn converse(mut stream: TcpStream, published: &Mutex<Published>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = read_request(&mut stream)?;
    let answer = match path_of(&request) {
        Ok(path) => super::answer(path, published),
        Err(refusal) => refusal,
    };
    stream.write_all(&encode(&answer))
}

/// Everything up to the empty line that ends the headers.
fn read_request(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") && request.len() <= REQUEST_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    Ok(request)
}

/// The path that a GET asks for, without what follows a `?`.
fn path_of(request: &[u8]) -> Result<&str, Answer> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => {
            return Err(Answer::text("431 Request Header Fields Too Large", "too large\n"));
        }
        Err(error) => return Err(Answer::text("400 Bad Request", format!("{error}\n"))),
    }
    if parsed.method != Some("GET") {
        return Err(Answer::text("405 Method Not Allowed", "only GET\n"));
    }
    let path = parsed.path.unwrap_or_default();
    Ok(path.split('?').next().unwrap_or_default())
}

fn encode(answer: &Answer) -> Vec<u8> {
    let Answer { status, content_type, body } = answer;
    // The page runs its own script and style and talks to nobody but this server.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; frame-ancestors 'none'";
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Security-Policy: {policy}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> &'static str {
        path_of(request.as_bytes()).map_or_else(|answer| answer.status, |_| "200 OK")
    }

    #[test]
    fn a_get_names_its_path() {
        let request = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(path_of(request).unwrap_or("refused"), "/metrics");
    }

    #[test]
    fn anything_else_is_refused_in_http() {
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), "405 Method Not Allowed");
        assert_eq!(status("*1\r\n$4\r\nPING\r\n\r\n"), "400 Bad Request");
        assert_eq!(
            status(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1))),
            "400 Bad Request"
        );
        assert_eq!(status("GET / HTTP/1.1\r\nA: b"), "431 Request Header Fields Too Large");
    }

    #[test]
    fn only_so_many_are_answered_at_once() {
        let open = Arc::new(AtomicUsize::new(0));
        let mut permits: Vec<Permit> = (0..CONNECTIONS_MAX).filter_map(|_| Permit::take(&open)).collect();
        assert_eq!(permits.len(), CONNECTIONS_MAX);
        assert!(Permit::take(&open).is_none());
        permits.pop();
        assert!(Permit::take(&open).is_some());
    }
}
