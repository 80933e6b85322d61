//! Backups in object stores, through the `object_store` crate: in this tool only, never in the server.
//!
//! Always true: the inventory goes up last, so what has one is complete; what comes down gets its name once it was
//! verified.
//!
//! Not here: which backups there should be, and for how long: that is the scheduler's and the bucket's business.

#[cfg(not(feature = "object-storage"))]
use std::{io, path::Path};

#[cfg(not(feature = "object-storage"))]
use super::verify::Inventory;
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

/// Reads a backup where it is.
///
/// # Errors
/// This tool was built without object stores.
#[cfg(not(feature = "object-storage"))]
pub fn verify(_url: &str) -> io::Result<Inventory> {
    Err(other("this tool was built without the feature object-storage".into()))
}

#[cfg(feature = "object-storage")]
pub use stores::{pull, push, verify};

#[cfg(feature = "object-storage")]
mod stores {
    use std::{
        collections::BTreeSet,
        fs::{self, File},
        io::{self, Read, Write},
        path::{Path, PathBuf},
    };

    use object_store::{
        Error, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, parse_url_opts, path::Path as Key,
    };
    use perdura_core::persist::backup::INVENTORY;
    use sha2::{Digest, Sha256};
    use tokio::runtime::{Builder, Runtime};

    use super::super::verify::{self, Inventory};
    use crate::{artefact::other, progress::Progress};

    /// Bytes of one part of an upload or download.
    const PART_BYTES: usize = 8 << 20;
    /// Parts on their way at a time.
    const PARTS_MAX: usize = 4;
    /// Largest inventory that is believed to be one: a thousand files and more.
    const INVENTORY_BYTES_MAX: u64 = 1 << 20;

    /// Uploads a backup that was verified.
    ///
    /// # Errors
    /// The store's.
    pub fn push(dir: &Path, url: &str) -> io::Result<()> {
        let place = Place::open(url)?;
        runtime()?.block_on(place.upload(dir))
    }

    /// Downloads a backup and verifies it before it gets its name.
    ///
    /// # Errors
    /// The store's; what came is not what was backed up; the directory is there already.
    pub fn pull(url: &str, dir: &Path) -> io::Result<()> {
        let place = Place::open(url)?;
        runtime()?.block_on(place.download(dir))
    }

    /// Reads every byte of a backup where it is, and keeps none.
    ///
    /// # Errors
    /// The store's; what is there is not what was backed up.
    pub fn verify(url: &str) -> io::Result<Inventory> {
        let place = Place::open(url)?;
        runtime()?.block_on(place.verify())
    }

    fn runtime() -> io::Result<Runtime> {
        Builder::new_current_thread().enable_all().build()
    }

    fn store_error(error: Error) -> io::Error {
        other(error.to_string())
    }

    /// Where a backup lies, or will.
    struct Place {
        store: Box<dyn ObjectStore>,
        prefix: Key,
    }

    impl Place {
        fn open(url: &str) -> io::Result<Place> {
            let url = url::Url::parse(url).map_err(|error| other(format!("{url}: {error}")))?;
            // Fails where there is one already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let settings = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
            let settings = settings.map(|(name, value)| (name.to_ascii_lowercase(), value));
            let (store, prefix) = parse_url_opts(&url, settings).map_err(store_error)?;
            Ok(Place { store, prefix })
        }

        fn key(&self, name: &str) -> Key {
            name.split('/').fold(self.prefix.clone(), |key, part| key.join(part))
        }

        async fn upload(&self, dir: &Path) -> io::Result<()> {
            let inventory = Inventory::read(dir)?;
            let mut progress = Progress::new("Uploading", inventory.bytes());
            for file in &inventory.files {
                self.send(File::open(dir.join(&file.path))?, &file.path, &mut progress).await?;
            }
            let listed = PutPayload::from(fs::read(dir.join(INVENTORY))?);
            self.store.put(&self.key(INVENTORY), listed).await.map_err(store_error)?;
            progress.finish();
            Ok(())
        }

        /// Sends a file, part by part. What a failure left of it in the store is taken back.
        async fn send(&self, mut source: File, name: &str, progress: &mut Progress) -> io::Result<()> {
            let upload = self.store.put_multipart(&self.key(name)).await.map_err(store_error)?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            let mut buffer = vec![0; PART_BYTES];
            loop {
                let room = upload.wait_for_capacity(PARTS_MAX).await.map_err(store_error);
                match room.and_then(|()| source.read(&mut buffer)) {
                    Ok(0) => break,
                    Ok(count) => {
                        upload.write(&buffer[..count]);
                        progress.add(count as u64);
                    }
                    Err(error) => {
                        // The first error is the one worth reporting.
                        let _ = upload.abort().await;
                        return Err(error);
                    }
                }
            }
            upload.finish().await.map_err(store_error)?;
            Ok(())
        }

        /// The inventory of what is here, as text and as it reads, with the length of each file.
        async fn inventory(&self) -> io::Result<(Vec<u8>, Inventory)> {
            let mut text = Vec::new();
            let len = match self.store.head(&self.key(INVENTORY)).await {
                Err(Error::NotFound { .. }) => {
                    return Err(other(format!("no complete backup ({INVENTORY} is missing)")));
                }
                head => head.map_err(store_error)?.size,
            };
            if len > INVENTORY_BYTES_MAX {
                return Err(other(format!("{INVENTORY} has {len} bytes: it is none")));
            }
            self.read(INVENTORY, len, |bytes| {
                text.extend_from_slice(bytes);
                Ok(())
            })
            .await?;
            let mut inventory = Inventory::parse(&String::from_utf8_lossy(&text))?;
            for file in &mut inventory.files {
                file.len = self.store.head(&self.key(&file.path)).await.map_err(store_error)?.size;
            }
            Ok((text, inventory))
        }

        /// Hands the bytes of an object to `take`, piece by piece.
        async fn read(
            &self,
            name: &str,
            len: u64,
            mut take: impl FnMut(&[u8]) -> io::Result<()>,
        ) -> io::Result<()> {
            let key = self.key(name);
            for at in (0..len).step_by(PART_BYTES) {
                let range = at..len.min(at + PART_BYTES as u64);
                take(&self.store.get_range(&key, range).await.map_err(store_error)?)?;
            }
            Ok(())
        }

        async fn verify(&self) -> io::Result<Inventory> {
            let (_, inventory) = self.inventory().await?;
            let mut progress = Progress::new("Verifying", inventory.bytes());
            for file in &inventory.files {
                let mut hasher = Sha256::new();
                self.read(&file.path, file.len, |bytes| {
                    hasher.update(bytes);
                    progress.add(bytes.len() as u64);
                    Ok(())
                })
                .await?;
                verify::compare(file, hasher)?;
            }
            progress.finish();
            Ok(inventory)
        }

        async fn download(&self, dir: &Path) -> io::Result<()> {
            if dir.exists() {
                return Err(other(format!("{}: it is there already", dir.display())));
            }
            let (text, inventory) = self.inventory().await?;
            let mut work = dir.as_os_str().to_owned();
            work.push(".incomplete");
            let work = Path::new(&work);
            match fs::remove_dir_all(work) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::create_dir(work)?,
            }
            let mut progress = Progress::new("Downloading", inventory.bytes());
            let mut dirs = BTreeSet::from([work.to_owned()]);
            for file in &inventory.files {
                let path = work.join(&file.path);
                dirs.extend(make_dirs(work, &path)?);
                self.fetch(&file.path, file.len, &path, &mut progress).await?;
            }
            progress.finish();
            let mut listed = File::create_new(work.join(INVENTORY))?;
            listed.write_all(&text)?;
            listed.sync_all()?;
            verify::verify(work)?;
            for made in dirs {
                File::open(made)?.sync_all()?;
            }
            fs::rename(work, dir)?;
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        }

        async fn fetch(&self, name: &str, len: u64, to: &Path, progress: &mut Progress) -> io::Result<()> {
            let mut file = File::create_new(to)?;
            self.read(name, len, |bytes| {
                file.write_all(bytes)?;
                progress.add(bytes.len() as u64);
                Ok(())
            })
            .await?;
            file.sync_all()
        }
    }

    /// Makes the directories that a file below `root` needs, and gives those between the two.
    fn make_dirs(root: &Path, file: &Path) -> io::Result<Vec<PathBuf>> {
        let between = file.ancestors().skip(1).take_while(|dir| *dir != root).map(Path::to_owned);
        fs::create_dir_all(file.parent().unwrap_or(root))?;
        Ok(between.collect())
    }

    #[cfg(test)]
    mod tests {
        use object_store::memory::InMemory;

        use super::*;

        /// A directory that goes away.
        struct Scratch(std::path::PathBuf);

        impl Drop for Scratch {
            fn drop(&mut self) {
                let _ = fs::remove_dir_all(&self.0);
            }
        }

        fn in_memory() -> Place {
            Place { store: Box::new(InMemory::new()), prefix: Key::from("some/where") }
        }

        const LOG: &str = "appendonlydir/a.1.incr.aof";
        const MANIFEST: &str = "appendonlydir/a.manifest";

        fn backup() -> Scratch {
            let name = format!("perdura-remote-{}-{:?}", std::process::id(), std::thread::current().id());
            let dir = std::env::temp_dir().join(name.replace(['(', ')'], ""));
            fs::create_dir_all(dir.join("made/appendonlydir")).unwrap();
            let log: &[u8] = b"*1\r\n$8\r\nFLUSHALL\r\n";
            let manifest: &[u8] = b"file a.1.incr.aof seq 1 type i\n";
            let mut inventory = String::from("# perdura backup\n");
            for (name, bytes) in [(LOG, log), (MANIFEST, manifest)] {
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
            let (place, runtime) = (in_memory(), runtime().unwrap());
            runtime.block_on(place.upload(&made)).unwrap();
            assert_eq!(runtime.block_on(place.verify()).unwrap().files.len(), 2);
            runtime.block_on(place.download(&back)).unwrap();
            for name in [INVENTORY, LOG, MANIFEST] {
                assert_eq!(fs::read(made.join(name)).unwrap(), fs::read(back.join(name)).unwrap(), "{name}");
            }
            assert!(runtime.block_on(place.download(&back)).is_err(), "it is there already");
        }

        #[test]
        fn what_was_changed_in_the_store_gets_no_name() {
            let scratch = backup();
            let (place, runtime) = (in_memory(), runtime().unwrap());
            runtime.block_on(place.upload(&scratch.0.join("made"))).unwrap();
            let changed = PutPayload::from_static(b"*1\r\n$4\r\nPING\r\n");
            runtime.block_on(place.store.put(&place.key(LOG), changed)).unwrap();
            let back = scratch.0.join("back");
            assert!(runtime.block_on(place.verify()).is_err());
            assert!(runtime.block_on(place.download(&back)).is_err());
            assert!(!back.exists());
        }

        #[test]
        fn an_upload_without_its_inventory_is_no_backup() {
            let scratch = backup();
            let (place, runtime) = (in_memory(), runtime().unwrap());
            runtime.block_on(place.upload(&scratch.0.join("made"))).unwrap();
            runtime.block_on(place.store.delete(&place.key(INVENTORY))).unwrap();
            let refusal = runtime.block_on(place.verify()).err().expect("refused").to_string();
            assert!(refusal.contains("no complete backup"), "{refusal}");
        }

        #[test]
        fn an_inventory_that_leads_elsewhere_is_refused() {
            let (place, runtime) = (in_memory(), runtime().unwrap());
            for name in ["../escaped", "/etc/escaped", "a//b"] {
                let text = format!("# perdura backup\n{}  {name}\n", "0".repeat(64));
                runtime.block_on(place.store.put(&place.key(INVENTORY), text.into())).unwrap();
                let refusal = runtime.block_on(place.verify()).err().expect("refused").to_string();
                assert!(refusal.contains("is no file of a backup"), "{name}: {refusal}");
            }
        }
    }
}
