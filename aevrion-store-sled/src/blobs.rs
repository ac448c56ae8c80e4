//! sled puts every page over about 128 KiB into a file of its own, and never syncs it. This makes up for that.
//!
//! A file is written once, under the position of its page in sled's log, and removed when the page was superseded.
//! Commits make them, and so do reads, since sled tidies up its pages when it meets them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The coarsest stamp that a common file system gives to a change of a directory.
const STAMP_GRAIN: Duration = Duration::from_secs(2);

/// Which files in sled's directory of blobs are known to be on the disk.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    synced: BTreeSet<OsString>,
    /// The directory's time of change when it was last listed, if any later change is sure to show in it.
    unchanged_since: Option<SystemTime>,
}

impl Blobs {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, synced: BTreeSet::new(), unchanged_since: None }
    }

    /// Makes everything durable that sled wrote before this was called. `flush` is to write out sled's log.
    ///
    /// A file that is there before the log is flushed is complete afterwards. One that appears meanwhile may be in the
    /// making, so it is synced in case the log refers to it already, and once more the next time.
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

    /// What is in the directory; `None` if that is surely what it was when all of it was synced.
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
    /// When the directory changed last, if that is long enough ago to tell it from any later change.
    settled_at: Option<SystemTime>,
}
