//! Syncs the blob files of sled: sled puts every page over about 128 KiB into a separate file, and never syncs it.
//!
//! A file is written once, under the position of its page in sled's log, and removed once the page is superseded.
//! Commits make such files, and so do reads, because sled consolidates pages when it reads them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The coarsest modification time of a directory on a common file system.
const STAMP_GRAIN: Duration = Duration::from_secs(2);

/// The files in sled's directory of blobs that are known to be on disk.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    synced: BTreeSet<OsString>,
    /// The directory's modification time at the last listing, if any later change surely differs from it.
    unchanged_since: Option<SystemTime>,
}

impl Blobs {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, synced: BTreeSet::new(), unchanged_since: None }
    }

    /// Makes all earlier writes of sled durable. `flush` must write out sled's log.
    ///
    /// A file that exists before the log is flushed is complete afterwards. One that appears meanwhile may be
    /// incomplete, so it is synced in case the log refers to it already, and once more the next time.
    pub(crate) fn sync_around(&mut self, flush: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let before = self.list_if_changed()?;
        flush()?;
        let Some(after) = self.list_if_changed()? else { return Ok(()) };
        let new: Vec<&OsString> = after.names.difference(&self.synced).collect();
        for name in &new {
            let file = File::options().write(true).open(self.directory.join(name));
            match file.and_then(|file| file.sync_data()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        if !new.is_empty() && cfg!(unix) {
            File::open(&self.directory)?.sync_all()?;
        }
        let complete = before.map(|listing| listing.names).unwrap_or_default();
        let settled = after.names.is_subset(&complete);
        self.synced.retain(|name| after.names.contains(name));
        self.synced.extend(after.names.into_iter().filter(|name| complete.contains(name)));
        self.unchanged_since = after.settled_at.filter(|_| settled);
        Ok(())
    }

    /// The files in the directory; `None` if they are surely unchanged since all of them were synced.
    fn list_if_changed(&self) -> io::Result<Option<Listing>> {
        let changed = fs::metadata(&self.directory)?.modified()?;
        if self.unchanged_since == Some(changed) {
            return Ok(None);
        }
        let settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > STAMP_GRAIN);
        let names =
            fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        Ok(Some(Listing { names, settled_at: settled.then_some(changed) }))
    }
}

struct Listing {
    names: BTreeSet<OsString>,
    /// The directory's modification time, if it is old enough to differ from any later change.
    settled_at: Option<SystemTime>,
}
