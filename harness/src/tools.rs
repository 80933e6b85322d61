//! What the tools and the metrics endpoint cost: `perdura-harness tools`.
//!
//! Prints megabytes a second of a backup, a restore and a check of a log of `--megabytes`; and what the endpoint costs a
//! server under full load, open and scraped once a second, as ratios of runs that take turns: what else the machine does
//! meets all of them.
//!
//! Not here: comparison with other servers (`bench.rs`).

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::args::{Args, UsageError};
use crate::bench::stock::{self, Load, Run};
use crate::os;
use crate::process::{Launch, Server, ServerCommand};
use crate::table::median;

/// How it is called.
pub const USAGE: &str = "perdura-harness tools [--sections all|files,endpoint] [--megabytes 512] [--requests 1000000] [--rounds 5]";

/// Bytes of a value that fills the log.
const VALUE_BYTES: usize = 1000;
/// Commands in flight at once.
const PIPELINE: usize = 64;
/// Time between two reads of the endpoint: fifteen times as often as Prometheus by default.
const SCRAPE_PAUSE: Duration = Duration::from_secs(1);
/// Scrapes by which the cost of one is told.
const SCRAPES_TIMED: u32 = 300;
/// What can be measured.
const SECTIONS: [&str; 2] = ["files", "endpoint"];

/// Runs it and prints the figures.
///
/// # Errors
/// Bad arguments; a server or a tool that fails.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let megabytes: u64 = args.number("--megabytes", 512)?;
    let sections = args.choices("--sections", &SECTIONS, |section| section)?;
    let requests: u64 = args.number("--requests", 1_000_000)?;
    let rounds: usize = args.number("--rounds", 5)?;
    args.finish()?;
    let command = ServerCommand::perdura().ok_or_else(|| UsageError("perdura-server is not built".into()))?;
    let tool = Path::new(command.raw_command().get_program()).with_file_name("perdura");
    for section in sections {
        match section {
            "files" => files(&command, &tool, megabytes)?,
            _ => endpoint(&command, requests, rounds)?,
        }
    }
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

/// What the endpoint costs a server under full load by redis-benchmark, scraped once a second as Prometheus does.
///
/// In each round three servers take turns, each round beginning with another; a round's figures are compared with each
/// other only.
fn endpoint(command: &ServerCommand, requests: u64, rounds: usize) -> io::Result<()> {
    let mut servers = Vec::new();
    for has_endpoint in [false, true, true] {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let port = if has_endpoint { port } else { 0 };
        servers.push((start(command, &[("save", ""), ("metrics-port", &port.to_string())])?, port));
    }
    let mut ratios = [const { [const { Vec::new() }; 2] }; 2];
    let mut scrapes = 0;
    for round in 0..rounds {
        let mut runs = [const { None }; 3];
        for turn in 0..3 {
            let number = (round + turn) % 3;
            let (server, port) = &servers[number];
            runs[number] = Some(match number {
                2 => while_scraped(*port, &mut scrapes, || load(server, requests))?,
                _ => load(server, requests)?,
            });
        }
        let [Some(off), on, scraped] = runs else { unreachable!("each has had its turn") };
        println!(
            "round {round}: {:8.0} commands/s, {:5.0} ns of CPU each",
            off.throughput, off.cpu_per_request
        );
        for (ratios, run) in ratios.iter_mut().zip([on, scraped].into_iter().flatten()) {
            ratios[0].push(run.throughput / off.throughput);
            ratios[1].push(run.cpu_per_request / off.cpu_per_request);
        }
    }
    println!("against no endpoint, median of {rounds} rounds (lowest – highest); {scrapes} scrapes");
    for (what, [throughput, cpu]) in ["open, nobody asks", "scraped each second"].iter().zip(&ratios) {
        println!("{what:20} commands/s x {}, CPU per command x {}", spread(throughput), spread(cpu));
    }
    let (server, port) = &servers[2];
    let each = scrape_cost(server, *port)?;
    println!("one scrape costs {:.0} us of CPU, in a thread of its own", each.as_secs_f64() * 1e6);
    Ok(())
}

/// CPU time of one scrape, of many that nothing else goes on beside: exact even where the machine is not quiet.
fn scrape_cost(server: &Server, port: u16) -> io::Result<Duration> {
    let before = os::process_cpu_time(server.pid())?;
    for _ in 0..SCRAPES_TIMED {
        scrape(port)?;
    }
    Ok((os::process_cpu_time(server.pid())? - before) / SCRAPES_TIMED)
}

fn load(server: &Server, requests: u64) -> io::Result<Run> {
    let load = Load { command: "SET", requests, keys: 100_000, clients: 50, pipeline: 16, value_size: 16 };
    stock::run(server, &load)
}

fn spread(samples: &[f64]) -> String {
    let middle = median(samples).unwrap_or(f64::NAN);
    let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{middle:.3} ({lowest:.3} – {highest:.3})")
}

/// Does the work while `/metrics` of that port is read once a second, from the first moment on.
fn while_scraped<T>(port: u16, scrapes: &mut u64, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let scraper = scope.spawn(move || -> io::Result<u64> {
            let mut count = 0;
            loop {
                scrape(port)?;
                count += 1;
                if stopped.recv_timeout(SCRAPE_PAUSE) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return Ok(count);
                }
            }
        });
        let done = work();
        drop(stop);
        *scrapes += scraper.join().expect("it does not panic")?;
        done
    })
}

/// Reads `/metrics` once, and looks that it is that.
fn scrape(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let is_whole = text.contains("perdura_commands_total");
    is_whole.then_some(()).ok_or_else(|| io::Error::other(format!("/metrics gave {text}")))
}
