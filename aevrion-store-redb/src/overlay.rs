//! An overlay for a read-only file: the database's writes stay in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::backend::FileBackend;

/// The unit of the overlay in bytes: redb writes at least as much.
const PAGE: usize = 4_096;

/// The file below, and the overwritten pages.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: FileBackend,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    /// Total length in bytes.
    len: u64,
    /// The visible length of the file: the rest was cut off, perhaps only temporarily.
    file_len: u64,
    pages: HashMap<u64, Box<[u8; PAGE]>>,
}

impl Overlay {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = FileBackend(File::open(path)?);
        let len = file.len()?;
        Ok(Self { file, over: Mutex::new(Over { len, file_len: len, pages: HashMap::new() }) })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        // No state under this lock can be left half done.
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Over {
    /// Fills `out` from the file at `offset`, and with zeros behind its end.
    fn read_file(&self, file: &FileBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(self.file_len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (there, behind) = out.split_at_mut(there.min(out.len()));
        behind.fill(0);
        if there.is_empty() { Ok(()) } else { file.read(offset, there) }
    }

    /// The page of this number, for writing.
    fn page(&mut self, file: &FileBackend, number: u64) -> io::Result<&mut [u8; PAGE]> {
        let mut page = Box::new([0; PAGE]);
        if !self.pages.contains_key(&number) {
            self.read_file(file, number * PAGE as u64, &mut page[..])?;
        }
        Ok(match self.pages.entry(number) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(page),
        })
    }
}

/// The pages that hold `len` bytes at `offset`: for each its number, the offset in it, and the length.
fn pieces(mut offset: u64, mut len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let page = PAGE as u64;
        let within = usize::try_from(offset % page).unwrap_or(0);
        let piece = len.min(PAGE - within);
        let number = offset / page;
        offset += piece as u64;
        len -= piece;
        (piece > 0).then_some((number, within, piece))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if over.pages.is_empty() {
            return over.read_file(&self.file, offset, out);
        }
        let mut rest = out;
        for (number, within, piece) in pieces(offset, rest.len()) {
            let (here, behind) = rest.split_at_mut(piece);
            match over.pages.get(&number) {
                Some(page) => here.copy_from_slice(&page[within..within + piece]),
                None => over.read_file(&self.file, number * PAGE as u64 + within as u64, here)?,
            }
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over();
        over.len = len;
        over.file_len = over.file_len.min(len);
        over.pages.retain(|number, _| number * (PAGE as u64) < len);
        // Bytes behind the end within the last page are gone, too.
        let (last, within) = (len / PAGE as u64, usize::try_from(len % PAGE as u64).unwrap_or(0));
        if let Some(page) = over.pages.get_mut(&last) {
            page[within..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        over.len = over.len.max(offset + data.len() as u64);
        let mut rest = data;
        for (number, within, piece) in pieces(offset, data.len()) {
            let (here, behind) = rest.split_at(piece);
            over.page(&self.file, number)?[within..within + piece].copy_from_slice(here);
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An operation on a file.
    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
        Read(u64, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let at = || 0..20_000_u64;
        let step = prop_oneof![
            (at(), any::<u8>(), 1..9_000_usize).prop_map(|(at, byte, len)| Step::Write(at, vec![byte; len])),
            at().prop_map(Step::SetLen),
            (at(), 1..9_000_usize).prop_map(|(at, len)| Step::Read(at, len)),
        ];
        prop::collection::vec(step, 1..30)
    }

    proptest! {
        #[test]
        fn is_as_a_file_would_be_and_the_file_stays(below in 0..15_000_usize, steps in steps()) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let before: Vec<u8> = (0..below).map(|at| u8::try_from(at % 251).unwrap()).collect();
            std::fs::write(file.path(), &before).unwrap();
            let overlay = Overlay::open(file.path()).unwrap();
            let mut model = before.clone();
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        overlay.write(at, &data).unwrap();
                        let at = usize::try_from(at).unwrap();
                        model.resize(model.len().max(at + data.len()), 0);
                        model[at..at + data.len()].copy_from_slice(&data);
                    }
                    Step::SetLen(len) => {
                        overlay.set_len(len).unwrap();
                        model.resize(usize::try_from(len).unwrap(), 0);
                    }
                    Step::Read(at, len) => {
                        let mut found = vec![7; len];
                        let read = overlay.read(at, &mut found);
                        let at = usize::try_from(at).unwrap();
                        match model.get(at..at + len) {
                            Some(wanted) => prop_assert_eq!(found, wanted),
                            None => prop_assert!(read.is_err()),
                        }
                    }
                }
                prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
            }
            prop_assert_eq!(std::fs::read(file.path()).unwrap(), before);
        }
    }
}
