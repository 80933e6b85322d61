//! Reading a backup again: its inventory, every byte of its files, and the data in them.
//!
//! Not here: the inventory's making (`perdura-core`: `persist/backup.rs`).

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
};

use perdura_core::persist::backup::{INCOMPLETE, INVENTORY};
use sha2::{Digest, Sha256};

use crate::{
    artefact::{Artefact, other},
    progress::Progress,
    walk::{self, End, Seen, Visitor},
};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// What a backup says it holds.
pub struct Inventory {
    /// Its first line: when, and up to where.
    pub title: String,
    /// Its files.
    pub files: Vec<Listed>,
}

/// A file of an inventory.
pub struct Listed {
    /// Below the backup's directory.
    pub path: String,
    /// SHA-256, hexadecimal.
    pub sum: String,
    /// Bytes it has.
    pub len: u64,
}

impl Inventory {
    /// Reads the inventory of a backup.
    ///
    /// # Errors
    /// There is none, so it is no backup; it is damaged, or a file that it names is missing.
    pub fn read(dir: &Path) -> io::Result<Inventory> {
        let text = match fs::read_to_string(dir.join(INVENTORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let hint = if dir.join(INCOMPLETE).exists() { ": it was interrupted, or runs" } else { "" };
                return Err(other(format!("no complete backup ({INVENTORY} is missing){hint}")));
            }
            result => result?,
        };
        let mut inventory = Inventory::parse(&text)?;
        for file in &mut inventory.files {
            let found = fs::metadata(dir.join(&file.path));
            file.len = found.map_err(|error| other(format!("{}: {error}", file.path)))?.len();
        }
        Ok(inventory)
    }

    /// Reads the text of one; how long the files are nobody has looked yet.
    ///
    /// # Errors
    /// It is none, or names a file that is not below the backup's directory.
    pub fn parse(text: &str) -> io::Result<Inventory> {
        let mut files = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sum, path) = line.split_once("  ").ok_or_else(|| other(format!("{INVENTORY}: '{line}'")))?;
            if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
                return Err(other(format!("{INVENTORY}: '{path}' is no file of a backup")));
            }
            files.push(Listed { path: path.into(), sum: sum.into(), len: 0 });
        }
        if files.is_empty() {
            return Err(other(format!("{INVENTORY} names no file")));
        }
        Ok(Inventory { title: text.lines().next().unwrap_or_default().into(), files })
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

/// Reads a backup in full.
///
/// # Errors
/// What is wrong with it.
pub fn verify(dir: &Path) -> io::Result<Inventory> {
    let inventory = Inventory::read(dir)?;
    let mut progress = Progress::new("Verifying", inventory.bytes());
    for file in &inventory.files {
        compare(file, sum_of(&dir.join(&file.path), &mut progress)?)?;
    }
    progress.finish();
    let mut artefact = Artefact::open(dir)?;
    match walk::walk(&mut artefact, "Decoding", &mut Nothing)? {
        End::Whole | End::Stopped => Ok(inventory),
        End::Bad { file, bad } => {
            Err(other(format!("{}: offset {}: {}", artefact.files[file].name, bad.found_at, bad.reason)))
        }
    }
}

/// Says whether what was read is what was backed up.
///
/// # Errors
/// It is not.
pub fn compare(file: &Listed, read: Sha256) -> io::Result<()> {
    if perdura_core::bytes::sha::hex(&read.finalize()) == file.sum {
        return Ok(());
    }
    Err(other(format!("{}: its bytes are not those that were backed up", file.path)))
}

fn sum_of(path: &Path, progress: &mut Progress) -> io::Result<Sha256> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher);
        }
        hasher.update(&buffer[..count]);
        progress.add(count as u64);
    }
}

/// Wants to know nothing but whether all of it can be read.
struct Nothing;

impl Visitor for Nothing {
    fn command(&mut self, _seen: &Seen<'_>) -> io::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}
