//! Parses the output of `git log` into the changes of the branch: the blob of a path from a commit on.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStdout;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::child::Git;

/// Output format of a commit. Git ends each of these fields with a zero byte, which no field contains.
pub(super) const FORMAT: &str = "commit %H%x00%at%x00%an <%ae>%x00%s";

/// Most bytes of a field: a subject has no limit.
const LONGEST: u64 = 1 << 20;

/// The mode of an absent path.
const NOTHING: &str = "000000";
/// The mode of a submodule.
const SUBMODULE: &str = "160000";

/// The commit of a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) hash: String,
    /// Seconds since 1970, as printed by git. Empty if git cannot parse the commit's time.
    pub(super) author_time: String,
    pub(super) author: Vec<u8>,
    pub(super) subject: Vec<u8>,
}

/// The change of one path in one commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) commit: Arc<Commit>,
    pub(super) path: Vec<u8>,
    pub(super) before: Kind,
    pub(super) after: Kind,
    /// As printed by git, such as 100644.
    pub(super) mode: String,
    pub(super) hash: String,
}

/// The kind of object at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nothing,
    /// A file or a symbolic link.
    Blob,
    /// A commit of another repository.
    Submodule,
}

/// The changes, oldest first.
pub(super) struct History<R = BufReader<ChildStdout>> {
    printed: R,
    commit: Arc<Commit>,
    /// Commits read so far.
    commits: Arc<AtomicU64>,
}

impl History {
    /// Starts git and reads its output.
    pub(super) fn of(git: &Git, commits: Arc<AtomicU64>) -> std::io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(64 << 10, git.output()?), commits))
    }
}

impl<R: BufRead> History<R> {
    fn new(printed: R, commits: Arc<AtomicU64>) -> Self {
        Self { printed, commit: Arc::default(), commits }
    }

    /// The next change. The error text continues after the program's name.
    pub(super) fn next(&mut self) -> Result<Option<Change>, String> {
        while let Some(field) = self.field()? {
            // Git puts a line end before the changes of a commit, and sometimes an empty field.
            let field = field.strip_prefix(b"\n").unwrap_or(&field);
            if field.is_empty() {
                continue;
            } else if let Some(change) = field.strip_prefix(b":") {
                return self.change(change).map(Some);
            }
            let hash = field.strip_prefix(b"commit ").ok_or_else(|| unexpected(field))?;
            self.begin_commit(hash)?;
        }
        Ok(None)
    }

    fn begin_commit(&mut self, hash: &[u8]) -> Result<(), String> {
        self.commit = Arc::new(Commit {
            hash: text(hash)?,
            author_time: text(&self.further_field()?)?,
            author: self.further_field()?,
            subject: self.further_field()?,
        });
        self.commits.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Parses `100644 100644 HASH HASH M`, and takes the path from the next field.
    fn change(&mut self, field: &[u8]) -> Result<Change, String> {
        let line = text(field)?;
        let [before, mode, _, hash, _] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(unexpected(field));
        };
        Ok(Change {
            commit: Arc::clone(&self.commit),
            path: self.further_field()?,
            before: Kind::of(before),
            after: Kind::of(mode),
            mode: mode.to_owned(),
            hash: hash.to_owned(),
        })
    }

    fn further_field(&mut self) -> Result<Vec<u8>, String> {
        self.field()?.ok_or_else(|| "was cut off in the middle of a commit".to_owned())
    }

    /// The next field, without the zero byte behind it.
    fn field(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut field = Vec::new();
        let read = self.printed.by_ref().take(LONGEST).read_until(0, &mut field);
        match read.map_err(|error| format!("cannot be read: {error}"))? {
            0 => Ok(None),
            _ if field.pop() == Some(0) => Ok(Some(field)),
            length if length as u64 == LONGEST => {
                Err(format!("printed a field of more than {LONGEST} bytes, in or after {}", self.commit.hash))
            }
            _ => Err("was cut off in the middle of a field".to_owned()),
        }
    }
}

impl Kind {
    fn of(mode: &str) -> Self {
        match mode {
            NOTHING => Self::Nothing,
            SUBMODULE => Self::Submodule,
            _ => Self::Blob,
        }
    }
}

fn text(field: &[u8]) -> Result<String, String> {
    String::from_utf8(field.to_vec()).map_err(|_| unexpected(field))
}

fn unexpected(field: &[u8]) -> String {
    let head = &field[..field.len().min(80)];
    format!("printed what is not known here: {}", head.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "89819226";
    const NONE: &str = "00000000";

    fn read(printed: &[u8]) -> (Vec<Change>, Option<String>, u64) {
        let commits = Arc::new(AtomicU64::new(0));
        let mut history = History::new(printed, Arc::clone(&commits));
        let mut changes = Vec::new();
        let error = loop {
            match history.next() {
                Ok(Some(change)) => changes.push(change),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        (changes, error, commits.load(Relaxed))
    }

    fn printed() -> Vec<u8> {
        let mut printed =
            format!("commit aa\x005\x00A <a@b>\x00one: :two\0\n:000000 100644 {NONE} {BLOB} A\0:a\0");
        printed.push_str(&format!(":000000 160000 {NONE} {BLOB} A\0commit b\0"));
        // A commit without changes, and git's empty field before the next one.
        printed.push_str("commit bb\x006\x00B <>\x00\0commit cc\0\0\0\0\0");
        let mut printed = printed.into_bytes();
        printed.extend(format!("\n:100644 000000 {BLOB} {NONE} D\0").into_bytes());
        printed.extend(b"\n\xFF\0");
        printed
    }

    #[test]
    fn fields_are_told_apart_whatever_is_in_them() {
        let (changes, error, commits) = read(&printed());
        assert_eq!((error, commits), (None, 3));
        let paths: Vec<_> = changes.iter().map(|change| &change.path[..]).collect();
        assert_eq!(paths, [&b":a"[..], b"commit b", b"\n\xFF"]);
        let kinds: Vec<_> = changes.iter().map(|change| (change.before, change.after)).collect();
        let nothing = Kind::Nothing;
        assert_eq!(kinds, [(nothing, Kind::Blob), (nothing, Kind::Submodule), (Kind::Blob, nothing)]);
        assert_eq!((&*changes[0].commit.subject, &*changes[0].mode), (&b"one: :two"[..], "100644"));
        assert_eq!((&*changes[2].commit.hash, &*changes[2].commit.author_time), ("cc", ""));
    }

    #[test]
    fn what_is_cut_is_an_error_but_between_commits() {
        let whole = printed();
        let ends: Vec<_> = (0..whole.len()).filter(|cut| read(&whole[..*cut]).1.is_none()).collect();
        // After a change, a commit, or the empty field: there git's exit status decides.
        assert!(ends.iter().all(|cut| *cut == 0 || whole[cut - 1] == 0), "{ends:?}");
        assert!(ends.len() <= 7, "{ends:?}");
        assert!(read(b"fatal: no\0").1.unwrap().contains("fatal"));
        assert!(read(&vec![b'x'; 2 << 20]).1.unwrap().contains("1048576"));
    }
}
