//! Directories for tests of refusals: a store, files beside it, and checks of the outcome.

use std::fs;
use std::path::PathBuf;

use super::{Finished, run_on, status};

/// A valid line for an import.
pub(crate) const GOOD: &str = "{\"key\":\"k\",\"value\":\"v\",\"timestamp\":1700000000000}\n";

/// The place of one case: a directory for the store, and files beside it.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content).expect("the file is written");
        path.into_os_string().into_string().expect("the path is UTF-8")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        run_on(&self.data(), arguments)
    }

    /// Imports a file with this content, with further arguments.
    pub(crate) fn import(&self, content: impl AsRef<[u8]>, arguments: &[&str]) -> Finished {
        let file = self.file("input.jsonl", content);
        self.run(&[&["import", &file], arguments].concat())
    }

    /// Checks that exactly so many events are stored and that the store is sound.
    #[track_caller]
    pub(crate) fn holds(&self, events: u64) {
        if events == 0 && !self.data().exists() {
            // No store was created, so none holds events.
            return;
        }
        assert_eq!(status(&self.data())["events"], events);
        self.run(&["verify"]).ok();
    }
}
