//! Asking a live server for a backup, and showing how far it is.
//!
//! Not here: the backup itself (`perdura-core`: `persist/backup.rs`).

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::mpsc,
    thread,
    time::Duration,
};

use perdura_core::resp::encode_command;

use super::ServerAddress;
use crate::{Out, Outcome, artefact::other, progress::Progress};

/// Pause between two looks at how far it is.
const POLL_PAUSE: Duration = Duration::from_millis(200);

/// Runs BACKUP TO and waits for its reply.
///
/// # Errors
/// The server cannot be reached, or says no.
pub fn back_up(server: &ServerAddress, dir: &str, out: Out<'_>) -> io::Result<Outcome> {
    let mut watcher = Connection::open(server)?;
    let mut worker = Connection::open(server)?;
    let (answers, answered) = mpsc::channel();
    let wanted = dir.to_owned();
    thread::spawn(move || answers.send(worker.call(&[b"BACKUP", b"TO", wanted.as_bytes()])));
    let mut progress: Option<Progress> = None;
    let answer = loop {
        match answered.recv_timeout(POLL_PAUSE) {
            Ok(answer) => break answer,
            Err(mpsc::RecvTimeoutError::Disconnected) => break Err(io::ErrorKind::ConnectionAborted.into()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let info = watcher.call(&[b"INFO", b"persistence"])?;
        if let (Some(done), Some(total)) =
            (field(&info, "backup_done_bytes"), field(&info, "backup_total_bytes"))
        {
            progress.get_or_insert_with(|| Progress::new("Backup", total)).at(done);
        }
    };
    if let Some(progress) = progress {
        progress.finish();
    }
    match answer {
        Ok(reply) if reply == "OK" => {
            let info = watcher.call(&[b"INFO", b"persistence"])?;
            let (bytes, ms) = (field(&info, "backup_last_bytes"), field(&info, "backup_last_duration_ms"));
            writeln!(
                out,
                "Backup in {dir}: complete, synced and verified by the server, {} bytes in {} ms",
                bytes.unwrap_or(0),
                ms.unwrap_or(0)
            )?;
            Ok(Outcome::Good)
        }
        Ok(reply) => Err(other(format!("the server answered '{reply}'"))),
        Err(error) => Err(error),
    }
}

fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection that sends a command and reads a reply that is one text.
struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    fn open(server: &ServerAddress) -> io::Result<Connection> {
        let stream: Box<dyn Stream> = match &server.socket {
            Some(path) => Box::new(UnixStream::connect(path)?),
            None => Box::new(TcpStream::connect((server.host.as_str(), server.port))?),
        };
        let mut connection = Connection { stream: BufReader::new(stream) };
        if let Ok(password) = std::env::var("REDISCLI_AUTH") {
            let user = server.user.as_deref().unwrap_or("default");
            connection.call(&[b"AUTH", user.as_bytes(), password.as_bytes()])?;
        }
        Ok(connection)
    }

    /// The text of the reply.
    ///
    /// # Errors
    /// The server's error, or the connection's.
    fn call(&mut self, args: &[&[u8]]) -> io::Result<String> {
        let mut request = Vec::new();
        encode_command(args, &mut request);
        self.stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            "-" => Err(other(rest.into())),
            "$" => {
                let len: usize = rest.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                let mut text = vec![0; len + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(len);
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => Ok(rest.into()),
        }
    }
}
