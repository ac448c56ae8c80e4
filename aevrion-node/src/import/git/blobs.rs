//! The contents of blobs, from one `git cat-file --batch`: requests run some blobs ahead, and one blob at a time is in
//! memory.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout};

use super::child::Git;
use super::repository::Repository;
use crate::cleanup::Cleanup;

/// Most requested and unread blobs. Their ids fit into the smallest pipe of any system, so that a request never waits
/// for a git that waits for its answers to be read.
pub(super) const AHEAD: usize = 32;

/// A running program that sends contents.
pub(super) struct Blobs {
    git: Git,
    /// Closed after the last request.
    asked: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The answer to the hash of a blob.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Content(Vec<u8>),
    /// The blob exceeds the limit, and was skipped.
    TooLong(u64),
    Missing,
}

impl Blobs {
    pub(super) fn of(repository: &Repository, cleanup: &Cleanup) -> io::Result<Self> {
        let git = Git::start("git cat-file", &mut repository.contents(), cleanup)?;
        let (asked, answers) = (git.input()?, git.output()?);
        Ok(Self { git, asked: Some(asked), answers: BufReader::with_capacity(64 << 10, answers) })
    }

    /// Requests a blob.
    pub(super) fn ask(&mut self, hash: &str) -> Result<(), String> {
        let line = format!("{hash}\n");
        let asked = self.asked.as_mut().map(|asked| asked.write_all(line.as_bytes()));
        match asked {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.git.broken(&format!("takes no question: {error}"))),
            None => Err("git cat-file was asked for more after the end".to_owned()),
        }
    }

    /// Reads the answer to the oldest unanswered request.
    pub(super) fn answer(&mut self, longest: u64) -> Result<Answer, String> {
        answer(&mut self.answers, longest).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.git.broken("has ended before its last answer"),
            _ => self.git.broken(&format!("cannot be read: {error}")),
        })
    }

    /// Ends the requests: returns the program's failure, or its messages.
    pub(super) fn end(&mut self) -> Result<Option<String>, String> {
        self.asked = None;
        match io::copy(&mut self.answers, &mut io::sink()) {
            Ok(0) => self.git.end(),
            _ => Err(self.git.broken("gives answers to no question")),
        }
    }
}

/// `HASH blob SIZE`, the content and a line end, or `HASH missing`.
fn answer(answers: &mut impl BufRead, longest: u64) -> io::Result<Answer> {
    let mut head = Vec::new();
    answers.by_ref().take(1_000).read_until(b'\n', &mut head)?;
    let head = head.strip_suffix(b"\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let words: Vec<_> = head.split(|byte| *byte == b' ').map(String::from_utf8_lossy).collect();
    let words: Vec<_> = words.iter().map(|word| &**word).collect();
    let (kind, length) = match words[..] {
        [_, "missing"] => return Ok(Answer::Missing),
        [_, kind, length] => (kind, length.parse::<u64>().ok()),
        _ => ("", None),
    };
    let (true, Some(length)) = (kind == "blob", length) else {
        return Err(io::Error::other(format!("it answers `{}`", head.escape_ascii())));
    };
    let answer = if length > longest {
        if io::copy(&mut answers.by_ref().take(length), &mut io::sink())? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Answer::TooLong(length)
    } else {
        let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        if (answers.by_ref().take(length).read_to_end(&mut content)? as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Answer::Content(content)
    };
    let mut end = [0];
    answers.read_exact(&mut end)?;
    if end == *b"\n" { Ok(answer) } else { Err(io::Error::other("a content has more bytes than was said")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_follow_each_other_whatever_they_hold() {
        let mut said = &b"a blob 4\n\n\0b \na missing\nb blob 0\n\nc blob 5\n12345\nd blob 3\n123\n"[..];
        let mut next = || answer(&mut said, 4);
        assert_eq!(next().unwrap(), Answer::Content(b"\n\0b ".to_vec()));
        assert_eq!(next().unwrap(), Answer::Missing);
        assert_eq!(next().unwrap(), Answer::Content(Vec::new()));
        assert_eq!(next().unwrap(), Answer::TooLong(5));
        assert_eq!(next().unwrap(), Answer::Content(b"123".to_vec()));
        assert_eq!(next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_cut_or_no_blob_is_an_error() {
        let whole = b"a blob 4\n1234\n";
        for cut in 0..whole.len() {
            assert!(
                answer(&mut &whole[..cut], 9).is_err() && answer(&mut &whole[..cut], 1).is_err(),
                "{cut}"
            );
        }
        for said in ["a tree 1\n1\n", "a blob 1\n12\n", "a blob x\n", "a ambiguous\n", "\n"] {
            assert!(answer(&mut said.as_bytes(), 9).is_err(), "{said}");
        }
    }
}
