//! Real file systems on a disk that is watched: recorded, made to fail, and cut off at any instant.
//!
//! Exists for everything that a kill cannot show; `power/` and `errors.rs` stand on it.
//!
//! ```text
//! file system ⇄ loop device ⇄ FUSE file (`device.rs`) ⇒ writes and flushes ⇒ disks after a crash (`image.rs`)
//! ```
//!
//! Always true: needs root, `/dev/fuse`, a loop device and `mkfs`; [`missing`] says which of them is not there.
//!
//! Not here: servers and clients.

mod device;
mod holders;
mod image;
mod mount;

use super::Missing;
pub(super) use device::{Device, Faults, Recording};
pub use image::Honesty;
pub(super) use image::{CrashImages, Image, Keep, Request};
pub use mount::FileSystem;
pub(super) use mount::{Mount, enter_namespace};

/// Why this machine cannot have `file_system` on a watched disk, if it cannot.
pub fn missing(file_system: FileSystem) -> Option<Missing> {
    mount::missing().or_else(|| file_system.missing())
}
