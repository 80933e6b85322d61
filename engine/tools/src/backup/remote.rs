//! Backups in object stores, through the `object_store` crate: in this tool only, never in the server.
//!
//! Always true: the inventory goes up last, so what has one is complete; what comes down gets its name once it was
//! verified.
//!
//! Not here: which backups there should be, and for how long: that is the scheduler's and the bucket's business.

#[cfg(not(feature = "object-storage"))]
use std::{io, path::Path};

#[cfg(not(feature = "object-storage"))]
use crate::artefact::other;

/// Uploads a backup.
///
/// # Errors
/// This tool was built without object stores.
#[cfg(not(feature = "object-storage"))]
pub fn push(_dir: &Path, _url: &str) -> io::Result<()> {
    Err(other("this tool was built without the feature object-storage".into()))
}

/// Downloads a backup.
///
/// # Errors
/// This tool was built without object stores.
#[cfg(not(feature = "object-storage"))]
pub fn pull(_url: &str, _dir: &Path) -> io::Result<()> {
    Err(other("this tool was built without the feature object-storage".into()))
}

#[cfg(feature = "object-storage")]
pub use stores::{pull, push};

#[cfg(feature = "object-storage")]
mod stores {
    use std::{
        fs::{self, File},
        io::{self, Read, Write},
        path::Path,
    };

    use object_store::{
        Error, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, parse_url_opts, path::Path as Key,
    };
    use perdura_core::persist::backup::INVENTORY;
    use tokio::runtime::{Builder, Runtime};

    use super::super::verify::{self, Inventory};
    use crate::{artefact::other, progress::Progress};

    /// Bytes of one part of an upload or download.
    const PART_BYTES: usize = 8 << 20;
    /// Parts on their way at a time.
    const PARTS_MAX: usize = 4;

    /// Uploads a backup that was verified.
    ///
    /// # Errors
    /// The store's.
    pub fn push(dir: &Path, url: &str) -> io::Result<()> {
        let (store, prefix) = open(url)?;
        runtime()?.block_on(upload(dir, &*store, &prefix))
    }

    /// Downloads a backup and verifies it before it gets its name.
    ///
    /// # Errors
    /// The store's; what came is not what was backed up; the directory is there already.
    pub fn pull(url: &str, dir: &Path) -> io::Result<()> {
        let (store, prefix) = open(url)?;
        runtime()?.block_on(download(&*store, &prefix, dir))
    }

    fn open(url: &str) -> io::Result<(Box<dyn ObjectStore>, Key)> {
        let url = url::Url::parse(url).map_err(|error| other(format!("{url}: {error}")))?;
        let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        parse_url_opts(&url, settings).map_err(store_error)
    }

    fn runtime() -> io::Result<Runtime> {
        Builder::new_current_thread().enable_all().build()
    }

    fn store_error(error: Error) -> io::Error {
        other(error.to_string())
    }

    fn key(prefix: &Key, name: &str) -> Key {
        name.split('/').fold(prefix.clone(), |key, part| key.join(part))
    }

    async fn upload(dir: &Path, store: &dyn ObjectStore, prefix: &Key) -> io::Result<()> {
        let inventory = Inventory::read(dir)?;
        let mut progress = Progress::new("Uploading", inventory.files.iter().map(|file| file.len).sum());
        for file in &inventory.files {
            let upload = store.put_multipart(&key(prefix, &file.path)).await.map_err(store_error)?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            let mut source = File::open(dir.join(&file.path))?;
            let mut buffer = vec![0; PART_BYTES];
            loop {
                let count = source.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                upload.wait_for_capacity(PARTS_MAX).await.map_err(store_error)?;
                upload.write(&buffer[..count]);
                progress.add(count as u64);
            }
            upload.finish().await.map_err(store_error)?;
        }
        let inventory = PutPayload::from(fs::read(dir.join(INVENTORY))?);
        store.put(&key(prefix, INVENTORY), inventory).await.map_err(store_error)?;
        progress.finish();
        Ok(())
    }

    async fn download(store: &dyn ObjectStore, prefix: &Key, dir: &Path) -> io::Result<()> {
        if dir.exists() {
            return Err(other(format!("{}: it is there already", dir.display())));
        }
        let mut work = dir.as_os_str().to_owned();
        work.push(".incomplete");
        let work = Path::new(&work);
        match fs::remove_dir_all(work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(work)?,
        }
        // The inventory comes first, under a name that makes no backup, and gets its own last.
        let listed = work.join(format!("{INVENTORY}.temp"));
        fetch(store, &key(prefix, INVENTORY), &listed, &mut Progress::new("Downloading", 0)).await?;
        let mut progress = Progress::new("Downloading", 0);
        for line in fs::read_to_string(&listed)?.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split_once("  ").map(|(_, name)| name).filter(|name| !name.contains(".."));
            let name = name.ok_or_else(|| other(format!("{INVENTORY}: '{line}'")))?;
            let path = work.join(name.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap_or(work))?;
            fetch(store, &key(prefix, name), &path, &mut progress).await?;
        }
        progress.finish();
        fs::rename(&listed, work.join(INVENTORY))?;
        verify::verify(work)?;
        for entry in fs::read_dir(work)?.chain(fs::read_dir(work.join("."))?) {
            let path = entry?.path();
            if path.is_dir() {
                File::open(path)?.sync_all()?;
            }
        }
        File::open(work)?.sync_all()?;
        fs::rename(work, dir)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    async fn fetch(
        store: &dyn ObjectStore,
        key: &Key,
        path: &Path,
        progress: &mut Progress,
    ) -> io::Result<()> {
        let len = store.head(key).await.map_err(store_error)?.size;
        let mut file = File::create_new(path)?;
        let mut at = 0;
        while at < len {
            let to = len.min(at + PART_BYTES as u64);
            let bytes = store.get_range(key, at..to).await.map_err(store_error)?;
            file.write_all(&bytes)?;
            progress.add(to - at);
            at = to;
        }
        file.sync_all()
    }

    #[cfg(test)]
    mod tests {
        use object_store::memory::InMemory;
        use sha2::{Digest, Sha256};

        use super::*;

        /// A directory that goes away.
        struct Scratch(std::path::PathBuf);

        impl Drop for Scratch {
            fn drop(&mut self) {
                let _ = fs::remove_dir_all(&self.0);
            }
        }

        fn backup() -> Scratch {
            let name = format!("perdura-remote-{}-{:?}", std::process::id(), std::thread::current().id());
            let dir = std::env::temp_dir().join(name.replace(['(', ')'], ""));
            fs::create_dir_all(dir.join("made/appendonlydir")).unwrap();
            let log: &[u8] = b"*1\r\n$8\r\nFLUSHALL\r\n";
            let manifest: &[u8] = b"file a.1.incr.aof seq 1 type i\n";
            let mut inventory = String::from("# perdura backup\n");
            for (name, bytes) in [("appendonlydir/a.1.incr.aof", log), ("appendonlydir/a.manifest", manifest)]
            {
                fs::write(dir.join("made").join(name), bytes).unwrap();
                let sum = perdura_core::bytes::sha::hex(&Sha256::digest(bytes));
                inventory += &format!("{sum}  {name}\n");
            }
            fs::write(dir.join("made").join(INVENTORY), inventory).unwrap();
            Scratch(dir)
        }

        #[test]
        fn a_backup_goes_up_and_comes_down_the_same() {
            let scratch = backup();
            let (made, back) = (scratch.0.join("made"), scratch.0.join("back"));
            let (store, prefix) = (InMemory::new(), Key::from("some/where"));
            let runtime = runtime().unwrap();
            runtime.block_on(upload(&made, &store, &prefix)).unwrap();
            runtime.block_on(download(&store, &prefix, &back)).unwrap();
            for name in [INVENTORY, "appendonlydir/a.1.incr.aof", "appendonlydir/a.manifest"] {
                assert_eq!(fs::read(made.join(name)).unwrap(), fs::read(back.join(name)).unwrap(), "{name}");
            }
            assert!(runtime.block_on(download(&store, &prefix, &back)).is_err(), "it is there already");
        }

        #[test]
        fn what_was_changed_in_the_store_gets_no_name() {
            let scratch = backup();
            let (store, prefix) = (InMemory::new(), Key::from("p"));
            let runtime = runtime().unwrap();
            runtime.block_on(upload(&scratch.0.join("made"), &store, &prefix)).unwrap();
            let log = key(&prefix, "appendonlydir/a.1.incr.aof");
            runtime.block_on(store.put(&log, PutPayload::from_static(b"*1\r\n$4\r\nPING\r\n"))).unwrap();
            let back = scratch.0.join("back");
            assert!(runtime.block_on(download(&store, &prefix, &back)).is_err());
            assert!(!back.exists());
        }
    }
}
