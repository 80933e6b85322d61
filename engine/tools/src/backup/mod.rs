//! `perdura-backup`: backups from outside.
//!
//! ```text
//!   perdura-backup to DIR [-h HOST] [-p PORT] [-s SOCKET] [--user NAME]   asks a live server for a backup, shows how far it is
//!   perdura-backup verify DIR | URL                                      reads one again, from the first byte to the last
//!   perdura-backup push DIR URL                                          verifies it and uploads it
//!   perdura-backup pull URL DIR                                          downloads it and verifies it
//! ```
//!
//! URL is `file:///…` or `s3://bucket/path`, of Amazon or whoever speaks its language; credentials, region and endpoint
//! come from the environment (`AWS_…`). The password of a server comes from `REDISCLI_AUTH`: a command line can be read by everybody.
//!
//! Always true: what is called a backup was read in full by this program or by the server; an upload or download that was
//! interrupted has no inventory, or another name.
//!
//! Not here: making the backup (`perdura-core`: `persist/backup.rs`).

mod live;
mod remote;
mod verify;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use crate::{Out, Outcome};
pub use verify::{Inventory, verify};

const USAGE: &str = "\
Usage: perdura-backup to DIR [-h HOST] [-p PORT] [-s SOCKET] [--user NAME]
       perdura-backup verify DIR | URL
       perdura-backup push DIR URL
       perdura-backup pull URL DIR

  to      DIR is the server's: below its data directory, unless enable-protected-configs allows more.
          A password is taken from the environment, REDISCLI_AUTH.
  URL     file:///directory or s3://bucket/path; from the environment come AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
          AWS_REGION and, for stores other than Amazon's, AWS_ENDPOINT_URL (with AWS_ALLOW_HTTP=true if it has no TLS)";

/// The tool.
///
/// # Errors
/// The server, a file or the store says no.
pub fn run(arguments: Vec<OsString>, out: Out<'_>) -> io::Result<Outcome> {
    let (words, server) = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(reason) => {
            eprintln!("perdura-backup: {reason}\n{USAGE}");
            return Ok(Outcome::Bad);
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["to", dir] => live::back_up(&server, dir, out),
        ["verify", url] if url.contains("://") => say(remote::verify(url), url, out),
        ["verify", dir] => say(verify(Path::new(dir)), dir, out),
        ["push", dir, url] => {
            verify(Path::new(dir))?;
            remote::push(Path::new(dir), url)?;
            writeln!(out, "{dir} is in {url}, complete")?;
            Ok(Outcome::Good)
        }
        ["pull", url, dir] => {
            remote::pull(url, Path::new(dir))?;
            say(verify(Path::new(dir)), dir, out)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(Outcome::Bad)
        }
    }
}

/// Where the server is.
struct ServerAddress {
    host: String,
    port: u16,
    socket: Option<PathBuf>,
    user: Option<String>,
}

fn parse(arguments: Vec<OsString>) -> Result<(Vec<String>, ServerAddress), String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut words = Vec::new();
    let mut server = ServerAddress { host: "127.0.0.1".into(), port: 6379, socket: None, user: None };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let value = |parser: &mut lexopt::Parser| parser.value().map_err(|error| error.to_string());
        match argument {
            Short('h') | Long("host") => server.host = value(&mut parser)?.to_string_lossy().into_owned(),
            Short('p') | Long("port") => {
                let text = value(&mut parser)?;
                let port = text.to_str().and_then(|text| text.parse().ok());
                server.port = port.ok_or_else(|| format!("'{}' is no port", text.display()))?;
            }
            Short('s') | Long("socket") => server.socket = Some(value(&mut parser)?.into()),
            Long("user") => server.user = Some(value(&mut parser)?.to_string_lossy().into_owned()),
            Value(word) => {
                words.push(word.into_string().map_err(|word| format!("{}: no UTF-8", word.display()))?)
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok((words, server))
}

fn say(verified: io::Result<Inventory>, dir: &str, out: Out<'_>) -> io::Result<Outcome> {
    match verified {
        Ok(inventory) => {
            let (files, bytes) = (inventory.files.len(), inventory.bytes());
            writeln!(out, "{dir} is complete and sound: {files} files, {bytes} bytes")?;
            writeln!(out, "{}", inventory.title.trim_start_matches("# "))?;
            Ok(Outcome::Good)
        }
        Err(error) => {
            writeln!(out, "{dir}: {error}")?;
            Ok(Outcome::Bad)
        }
    }
}
