//! What the tools and the metrics endpoint cost: `perdura-harness tools`.
//!
//! Prints megabytes a second of a backup, a restore and a check of a log of `--megabytes`, and commands a second with
//! the endpoint off, on, and on while it is read ten times a second. Servers with and without the endpoint take turns, so
//! that what else the machine does meets both.
//!
//! Not here: comparison with other servers (`bench.rs`).

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::args::{Args, UsageError};
use crate::client::{Client, Reply};
use crate::process::{Launch, Server, ServerCommand};
use crate::table::median;

/// How it is called.
pub const USAGE: &str = "perdura-harness tools [--megabytes 512] [--seconds 2] [--rounds 5]";

/// Bytes of a value that fills the log.
const VALUE_BYTES: usize = 1000;
/// Commands in flight at once.
const PIPELINE: usize = 64;
/// Time between two reads of the endpoint: fifty times as often as a scraper.
const SCRAPE_PAUSE: Duration = Duration::from_millis(100);

/// Runs it and prints the figures.
///
/// # Errors
/// Bad arguments; a server or a tool that fails.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let megabytes: u64 = args.number("--megabytes", 512)?;
    let seconds: u64 = args.number("--seconds", 2)?;
    let rounds: usize = args.number("--rounds", 5)?;
    args.finish()?;
    let command = ServerCommand::perdura().ok_or_else(|| UsageError("perdura-server is not built".into()))?;
    let tool = Path::new(command.raw_command().get_program()).with_file_name("perdura");
    files(&command, &tool, megabytes)?;
    endpoint(&command, Duration::from_secs(seconds), rounds)?;
    Ok(ExitCode::SUCCESS)
}

fn start(command: &ServerCommand, settings: &[(&str, &str)]) -> io::Result<Server> {
    let launch = settings
        .iter()
        .fold(Launch::new(command.clone()), |launch, (name, value)| launch.setting(name, value));
    Server::start(launch).map_err(io::Error::other)
}

/// Backup, check and restore of one log.
fn files(command: &ServerCommand, tool: &Path, megabytes: u64) -> io::Result<()> {
    let settings = [("appendonly", "yes"), ("auto-aof-rewrite-percentage", "0"), ("save", "")];
    let server = start(command, &settings)?;
    let mut client = server.client()?;
    let value = "x".repeat(VALUE_BYTES);
    for from in (0..megabytes * 1000).step_by(PIPELINE) {
        let commands: Vec<Vec<String>> = (from..from + PIPELINE as u64)
            .map(|number| vec!["SET".into(), format!("key:{}", number % 100_000), value.clone()])
            .collect();
        client.pipeline(&commands)?;
    }
    let (took, _) = timed(|| client.say("BACKUP TO backup"))?;
    let backup = server.data_dir().join("backup");
    let bytes = size_of(&backup)?;
    report("backup (copied, synced, read twice)", bytes, took);
    let (took, _) = timed(|| run(tool, &["backup", "verify", name(&backup)]))?;
    report("backup verify", bytes, took);
    let manifest = backup.join("appendonlydir/appendonly.aof.manifest");
    let (took, _) = timed(|| run(tool, &["check-aof", name(&manifest)]))?;
    report("check-aof", bytes, took);
    let target = server.data_dir().join("restored");
    let (took, _) = timed(|| run(tool, &["restore", "--to", "end", name(&backup), name(&target)]))?;
    report("restore --to end", bytes, took);
    Ok(())
}

fn name(path: &Path) -> &str {
    path.to_str().expect("names of ours are text")
}

fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(Duration, T)> {
    let begun = Instant::now();
    let result = work()?;
    Ok((begun.elapsed(), result))
}

fn run(tool: &Path, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(tool).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn size_of(path: &Path) -> io::Result<u64> {
    let mut folders: Vec<PathBuf> = vec![path.into()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata()? {
                metadata if metadata.is_dir() => folders.push(entry.path()),
                metadata => bytes += metadata.len(),
            }
        }
    }
    Ok(bytes)
}

fn report(what: &str, bytes: u64, took: Duration) {
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{what:40} {megabytes:8.0} MB in {:7.2} s: {:8.0} MB/s",
        took.as_secs_f64(),
        megabytes / took.as_secs_f64()
    );
}

/// Commands a second without the endpoint, with it, and while it is read.
fn endpoint(command: &ServerCommand, length: Duration, rounds: usize) -> io::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let without = start(command, &[("save", "")])?;
    let with = start(command, &[("save", ""), ("metrics-port", &port.to_string())])?;
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        rates[0].push(rate(&without, length)?);
        rates[1].push(rate(&with, length)?);
        let is_over = AtomicBool::new(false);
        let read = thread::scope(|scope| {
            scope.spawn(|| scrape(port, &is_over));
            let read = rate(&with, length);
            is_over.store(true, Ordering::Relaxed);
            read
        });
        rates[2].push(read?);
    }
    let [off, on, read] = rates.map(|rates| median(&rates).unwrap_or(f64::NAN));
    println!("commands/s, endpoint off                 {off:10.0}");
    println!("commands/s, endpoint on                  {on:10.0}  ({:+.1} %)", 100.0 * (on / off - 1.0));
    println!("commands/s, read 10 times a second       {read:10.0}  ({:+.1} %)", 100.0 * (read / off - 1.0));
    Ok(())
}

fn rate(server: &Server, length: Duration) -> io::Result<f64> {
    let mut client: Client = server.client()?;
    let commands: Vec<Vec<String>> = (0..PIPELINE)
        .map(|number| vec!["SET".into(), format!("key:{number}"), "0123456789".into()])
        .collect();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < length {
        let replies = client.pipeline(&commands)?;
        if replies.iter().any(|reply| matches!(reply, Reply::Error(_))) {
            return Err(io::Error::other("the server answers with errors"));
        }
        count += replies.len();
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Reads `/metrics` until told to end. Errors show in the figures of nobody: they are only fewer reads.
fn scrape(port: u16, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut text = String::new();
            let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let _ = asked.and_then(|()| stream.read_to_string(&mut text));
        }
        thread::sleep(SCRAPE_PAUSE);
    }
}
