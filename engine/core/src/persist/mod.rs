//! Persistence: the journal, the files, the snapshots, and the way back.
//!
//! Sees the store and the host's border; never a session or a command. What has to be executed is given to `node/`.

pub mod append_only;
pub mod archive;
pub mod backup;
pub mod batch;
pub mod journal;
pub mod log_reader;
pub mod manifest;
pub mod record;
pub mod recovery;
pub mod set_files;
pub mod snapshot;
pub mod space;

/// The directory that a name stands in.
fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => "",
    }
}
