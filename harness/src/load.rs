//! One thread that keeps a server busy: many connections, closed or open loop.
//!
//! Exists because a benchmark's client must cost less than the server it measures: replies are counted, not
//! built, and requests are copies of a template.
//!
//! Always true: a latency starts when the request was due, not when it could at last be sent, so a server
//! that stalls cannot hide the requests it delayed; every reply is counted once, errors also on their own.
//!
//! Not here: which requests (`workload.rs`), what is compared with what (`bench.rs`).

use crate::client::Address;
use crate::histogram::Histogram;
use crate::os::{self, Epoll};
use crate::rng::Rng;
use crate::workload::Template;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A server that sends nothing for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_SIZE: usize = 64 * 1024;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends a batch of so many requests as soon as the last batch is answered.
    Closed(u64),
    /// So many requests per second, over all connections, answered or not.
    Open(f64),
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Limit<'a> {
    /// After this time; numbers in requests are random.
    Time(Duration),
    /// When somebody says so; numbers in requests are random.
    Until(&'a AtomicBool),
    /// After so many requests, all answered; numbers go in order.
    Count(u64),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// To whom.
    pub address: &'a Address,
    /// Connections.
    pub clients: usize,
    /// Sent in turn.
    pub templates: &'a [Template],
    /// How fast.
    pub pace: Pace,
    /// How long.
    pub limit: Limit<'a>,
    /// Decides the numbers in the requests.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Replies received, errors included.
    pub replies: u64,
    /// The first error reply, if there was one.
    pub first_error: Option<String>,
    /// From the first request to the last reply counted.
    pub elapsed: Duration,
    /// Nanoseconds from due to answered.
    pub latency: Histogram,
    /// CPU time this thread used.
    pub client_cpu: Duration,
}

impl Outcome {
    /// Replies per second.
    pub fn throughput(&self) -> f64 {
        self.replies as f64 / self.elapsed.as_secs_f64()
    }

    /// Share of the time this thread was running; near 1 the client may be the limit.
    pub fn client_busy(&self) -> f64 {
        self.client_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// Runs the load on the calling thread.
///
/// # Errors
/// Sockets, `InvalidData` for bytes that are not RESP2, `TimedOut` when the server is stuck.
pub fn run(load: &Load) -> io::Result<Outcome> {
    assert!(load.clients > 0 && !load.templates.is_empty(), "somebody must ask something");
    let mut epoll = Epoll::new(load.clients)?;
    let mut connections = Vec::with_capacity(load.clients);
    for token in 0..load.clients {
        let connection = Connection::open(load.address)?;
        epoll.add(connection.stream.as_raw_fd(), token)?;
        connections.push(connection);
    }
    let cpu_before = os::thread_cpu_time();
    let mut source = Source { load, rng: Rng::new(load.seed), made: 0 };
    let mut run = Run { start: Instant::now(), replies: 0, first_error: None, latency: Histogram::default() };
    let elapsed = match load.pace {
        Pace::Closed(pipeline) => run.closed(&mut epoll, &mut connections, &mut source, pipeline)?,
        Pace::Open(rate) => run.open(&mut epoll, &mut connections, &mut source, rate)?,
    };
    Ok(Outcome {
        replies: run.replies,
        first_error: run.first_error,
        elapsed,
        latency: run.latency,
        client_cpu: os::thread_cpu_time() - cpu_before,
    })
}

/// Makes one request after the other.
struct Source<'a> {
    load: &'a Load<'a>,
    rng: Rng,
    made: u64,
}

impl Source<'_> {
    /// Appends a request, unless the limit is reached.
    fn append(&mut self, output: &mut Vec<u8>) -> bool {
        let template = &self.load.templates[(self.made % self.load.templates.len() as u64) as usize];
        match self.load.limit {
            Limit::Time(_) | Limit::Until(_) => template.append_random(&mut self.rng, output),
            Limit::Count(count) if self.made == count => return false,
            Limit::Count(_) => template.append_in_order(self.made, output),
        }
        self.made += 1;
        true
    }
}

struct Run {
    start: Instant,
    replies: u64,
    first_error: Option<String>,
    latency: Histogram,
}

impl Run {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn closed(
        &mut self,
        epoll: &mut Epoll,
        connections: &mut [Connection],
        source: &mut Source,
        pipeline: u64,
    ) -> io::Result<Duration> {
        let mut running = 0;
        for (token, connection) in connections.iter_mut().enumerate() {
            running += usize::from(connection.send_batch(source, pipeline, self.now())?);
            connection.watch(epoll, token)?;
        }
        let mut ready = Vec::new();
        let mut last_heard = Instant::now();
        while running > 0 && !self.is_time_over(source) {
            epoll.wait(100, &mut ready)?;
            for event in &ready {
                let connection = &mut connections[event.token];
                if event.is_writable {
                    connection.flush()?;
                }
                if event.is_readable {
                    self.receive(connection)?;
                    last_heard = Instant::now();
                    let is_answered = connection.due.is_empty();
                    if is_answered && !connection.send_batch(source, pipeline, self.now())? {
                        running -= 1;
                    }
                }
                connection.watch(epoll, event.token)?;
            }
            check_patience(last_heard)?;
        }
        Ok(self.start.elapsed())
    }

    fn open(
        &mut self,
        epoll: &mut Epoll,
        connections: &mut [Connection],
        source: &mut Source,
        rate: f64,
    ) -> io::Result<Duration> {
        let interval_ns = 1e9 / rate;
        let mut ready = Vec::new();
        let mut last_heard = Instant::now();
        let mut is_sending = true;
        while is_sending || connections.iter().any(|connection| !connection.due.is_empty()) {
            is_sending = is_sending && !self.is_time_over(source);
            let now = self.now();
            while is_sending {
                let due = (source.made as f64 * interval_ns) as u64;
                if due > now {
                    break;
                }
                let token = (source.made % connections.len() as u64) as usize;
                let connection = &mut connections[token];
                is_sending = source.append(&mut connection.output);
                if is_sending {
                    connection.due.push_back(due);
                    connection.flush()?;
                    connection.watch(epoll, token)?;
                }
            }
            // No sleep: a timer is too coarse, and the client has a core of its own.
            epoll.wait(0, &mut ready)?;
            for event in &ready {
                let connection = &mut connections[event.token];
                connection.flush()?;
                if event.is_readable {
                    self.receive(connection)?;
                    last_heard = Instant::now();
                }
                connection.watch(epoll, event.token)?;
            }
            check_patience(last_heard)?;
        }
        Ok(self.start.elapsed())
    }

    fn is_time_over(&self, source: &Source) -> bool {
        match source.load.limit {
            Limit::Time(time) => self.start.elapsed() >= time,
            Limit::Until(is_over) => is_over.load(Ordering::Relaxed),
            Limit::Count(_) => false,
        }
    }

    /// Reads once and counts; what is left makes the socket ready again.
    fn receive(&mut self, connection: &mut Connection) -> io::Result<()> {
        let mut buffer = [0; READ_SIZE];
        let size = match connection.stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let completed = connection.counter.count(&buffer[..size])?;
        let now = self.now();
        for _ in 0..completed {
            let due = connection.due.pop_front().ok_or_else(|| malformed("a reply nobody asked for"))?;
            self.latency.record(now - due);
        }
        self.replies += completed;
        if self.first_error.is_none() {
            self.first_error = connection.counter.first_error.take();
        }
        Ok(())
    }
}

fn check_patience(last_heard: Instant) -> io::Result<()> {
    if last_heard.elapsed() < PATIENCE { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    /// Bytes at the start of `output` that are already with the kernel.
    written: usize,
    /// When each request not answered yet was due, in nanoseconds from the start.
    due: VecDeque<u64>,
    counter: ReplyCounter,
    watches_writing: bool,
}

impl Connection {
    fn open(address: &Address) -> io::Result<Connection> {
        let Address::Tcp(address) = address else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "load goes over TCP"));
        };
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            output: Vec::new(),
            written: 0,
            due: VecDeque::new(),
            counter: ReplyCounter::default(),
            watches_writing: false,
        })
    }

    /// Sends up to `count` requests; false when the source had none left.
    fn send_batch(&mut self, source: &mut Source, count: u64, now: u64) -> io::Result<bool> {
        for _ in 0..count {
            if source.append(&mut self.output) {
                self.due.push_back(now);
            }
        }
        self.flush()?;
        Ok(!self.due.is_empty())
    }

    /// Writes until everything is gone or the kernel takes no more.
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(size) => self.written += size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Asks to be told about room for writing exactly while something waits to be written.
    fn watch(&mut self, epoll: &Epoll, token: usize) -> io::Result<()> {
        let wants_writing = !self.output.is_empty();
        if wants_writing == self.watches_writing {
            return Ok(());
        }
        self.watches_writing = wants_writing;
        if wants_writing {
            epoll.watch_writing(self.stream.as_raw_fd(), token)
        } else {
            epoll.watch_reading_only(self.stream.as_raw_fd(), token)
        }
    }
}

/// Counts whole RESP2 replies in a stream of bytes, however it is cut.
#[derive(Debug, Default)]
struct ReplyCounter {
    /// Elements still missing from the current reply; arrays add theirs, however deep.
    missing: u64,
    /// Bytes of a bulk string, its end included, still to come.
    to_skip: usize,
    /// A first line whose end has not arrived.
    partial: Vec<u8>,
    first_error: Option<String>,
}

impl ReplyCounter {
    /// Takes in `bytes` and gives the number of replies they completed.
    fn count(&mut self, mut bytes: &[u8]) -> io::Result<u64> {
        let mut completed = 0;
        while !bytes.is_empty() {
            if self.to_skip > 0 {
                let size = self.to_skip.min(bytes.len());
                bytes = &bytes[size..];
                self.to_skip -= size;
                if self.to_skip > 0 {
                    break;
                }
                completed += self.end_element();
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.partial.extend_from_slice(bytes);
                break;
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            completed += if self.partial.is_empty() {
                self.take_line(line)?
            } else {
                self.partial.extend_from_slice(line);
                let line = std::mem::take(&mut self.partial);
                self.take_line(&line)?
            };
        }
        Ok(completed)
    }

    /// The first line of an element; gives 1 if it completes a reply.
    fn take_line(&mut self, line: &[u8]) -> io::Result<u64> {
        if self.missing == 0 {
            self.missing = 1;
        }
        match line[0] {
            b'+' | b':' => Ok(self.end_element()),
            b'-' => {
                let text = || String::from_utf8_lossy(&line[1..]).trim_end().to_string();
                self.first_error.get_or_insert_with(text);
                Ok(self.end_element())
            }
            b'$' => match parse_size(&line[1..])? {
                None => Ok(self.end_element()),
                Some(size) => {
                    self.to_skip = size as usize + 2;
                    Ok(0)
                }
            },
            b'*' => {
                self.missing += parse_size(&line[1..])?.unwrap_or(0);
                Ok(self.end_element())
            }
            _ => Err(malformed("not a RESP2 reply")),
        }
    }

    fn end_element(&mut self) -> u64 {
        self.missing -= 1;
        u64::from(self.missing == 0)
    }
}

/// The number before `\r\n`; `None` for -1.
fn parse_size(digits: &[u8]) -> io::Result<Option<u64>> {
    let digits = digits.strip_suffix(b"\r\n").ok_or_else(|| malformed("line without its end"))?;
    if digits == b"-1" {
        return Ok(None);
    }
    let add = |number: u64, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'));
    match digits.iter().try_fold(0, add) {
        Some(number) if (1..=10).contains(&digits.len()) => Ok(Some(number)),
        _ => Err(malformed("not a size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Launch, Server, ServerCommand};
    use crate::workload::Workload;

    const REPLIES: &str = "+OK\r\n:1\r\n$-1\r\n$0\r\n\r\n$3\r\n\r\n+\r\n*-1\r\n*0\r\n*2\r\n*2\r\n:1\r\n$1\r\na\r\n*0\r\n-ERR no\r\n";
    const REPLY_COUNT: u64 = 9;

    #[test]
    fn replies_are_counted_wherever_the_stream_is_cut() {
        let bytes = REPLIES.as_bytes();
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let mut counter = ReplyCounter::default();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let counted: u64 = parts.iter().map(|part| counter.count(part).unwrap()).sum();
                assert_eq!(counted, REPLY_COUNT, "cut at {first} and {second}");
                assert_eq!(counter.first_error.as_deref(), Some("ERR no"));
            }
        }
    }

    #[test]
    fn what_is_not_resp2_is_refused() {
        for wire in ["_\r\n", "$x\r\n", "$-2\r\n", "$\r\n", "*99999999999\r\n", "\n"] {
            assert!(ReplyCounter::default().count(wire.as_bytes()).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn a_closed_load_of_a_count_answers_exactly_so_many() {
        let Some(command) = ServerCommand::stock_redis() else { return };
        let server = Server::start(Launch::new(command)).unwrap();
        let workload = Workload::new("SET", 500, 32);
        let address = server.address();
        let load = |pace, limit| Load {
            address: &address,
            clients: 7,
            templates: &workload.templates,
            pace,
            limit,
            seed: 1,
        };
        let outcome = run(&load(Pace::Closed(16), Limit::Count(1001))).unwrap();
        assert_eq!((outcome.replies, outcome.first_error), (1001, None));
        assert_eq!(server.client().unwrap().say("DBSIZE").unwrap().as_integer(), Some(500));
        let paced = run(&load(Pace::Open(5000.0), Limit::Count(1000))).unwrap();
        assert_eq!((paced.replies, paced.latency.total()), (1000, 1000));
        assert!(paced.elapsed >= Duration::from_millis(199), "{:?}", paced.elapsed);
    }

    /// The server is frozen for 200 ms; the requests due meanwhile must be seen as late, all of them.
    #[test]
    fn a_stall_shows_in_the_latency_of_every_request_it_delayed() {
        use crate::os::{Signal, signal_process};
        let Some(command) = ServerCommand::stock_redis() else { return };
        let server = Server::start(Launch::new(command)).unwrap();
        let workload = Workload::new("SET", 500, 32);
        let (pid, address) = (server.pid(), server.address());
        let stall = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            signal_process(pid, Signal::Stop).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            signal_process(pid, Signal::Continue).unwrap();
        });
        let outcome = run(&Load {
            address: &address,
            clients: 2,
            templates: &workload.templates,
            pace: Pace::Open(1000.0),
            limit: Limit::Count(500),
            seed: 1,
        })
        .unwrap();
        stall.join().unwrap();
        // 200 of 500 requests fell into the stall; half of those waited at least 100 ms.
        let p85 = outcome.latency.quantile(0.85).unwrap();
        assert!(p85 > 50_000_000, "{p85}");
    }
}
