//! The history of a git repository as events: the contents of a path from the author time of a commit on, or its
//! deletion. A merge counts as one change of the branch, so that the last events add up to the tree of the last commit.
//!
//! The git program reads the repository; its output is parsed as it arrives, and nothing of the repository is kept.

mod blobs;
mod child;
mod fields;
mod history;
mod repository;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aevrion_core::{Event, Parameters, Value, WriteError};

use super::reading::{ImportError, Records};
use crate::cleanup::Cleanup;
use crate::cli::{ImportArgs, TimeUnit};
use crate::failure::Failure;
use crate::human::counted;
use crate::progress;
use crate::record::{BadField, ReadEvent};
use crate::times::{ReadTime, TimeStyle};
use blobs::{AHEAD, Answer, Blobs};
use child::Git;
use fields::Fields;
use history::{Change, History, Kind};
use repository::{Repository, cannot_run};

/// Digits of a commit's hash shown to people.
const SHOWN_HASH: usize = 12;

/// The changes of a repository as events.
pub(super) struct GitChanges {
    repository: Repository,
    log: Git,
    history: History,
    fields: Fields,
    /// The source of contents, if the values need them.
    blobs: Option<Blobs>,
    times: TimeStyle,
    largest: u32,
    /// Changes read ahead. Their contents are already requested.
    ahead: VecDeque<Change>,
    /// The end of the history, or the error that ended it.
    through: Option<Result<(), String>>,
    ended: bool,
    place: String,
    /// Skipped changes of submodules.
    submodules: u64,
    /// Git's messages from successful runs.
    words: Vec<String>,
    commits: Arc<AtomicU64>,
}

impl GitChanges {
    pub(super) fn new(
        arguments: &ImportArgs,
        parameters: &Parameters,
        cleanup: &Cleanup,
    ) -> Result<Self, Failure> {
        if let Some(flag) = inapplicable(arguments) {
            return Err(Failure::usage(format!("{flag} does not apply to a git repository")));
        }
        let fields = Fields::new(&arguments.columns)?;
        let repository = Repository::open(&arguments.file, &arguments.paths)?;
        let start = |error: &_| cannot_run(error);
        let log = Git::start("git log", &mut repository.history(history::FORMAT), cleanup)
            .map_err(|error| start(&error))?;
        let commits = Arc::new(AtomicU64::new(0));
        let history = History::of(&log, Arc::clone(&commits)).map_err(|error| start(&error))?;
        let blobs = fields.need_content().then(|| Blobs::of(&repository, cleanup)).transpose();
        Ok(Self {
            blobs: blobs.map_err(|error| start(&error))?,
            repository,
            log,
            history,
            fields,
            times: TimeStyle::of_numbers(TimeUnit::S),
            largest: parameters.largest_data,
            ahead: VecDeque::new(),
            through: None,
            ended: false,
            place: "the history".to_owned(),
            submodules: 0,
            words: Vec::new(),
            commits,
        })
    }

    /// Commits read so far, shared with other threads.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.commits)
    }

    /// Commits of the history, if a progress bar is visible. With paths most are irrelevant, and counting the relevant
    /// ones takes as long as reading them.
    pub(super) fn length(&self, arguments: &ImportArgs) -> Option<u64> {
        (progress::is_seen() && arguments.paths.is_empty()).then(|| self.repository.commits()).flatten()
    }

    /// Reads ahead up to the limit.
    fn read_ahead(&mut self) {
        while self.through.is_none() && self.ahead.len() < AHEAD {
            match self.history.next() {
                Ok(Some(change)) => self.look_at(change),
                Ok(None) => self.through = Some(self.end()),
                Err(problem) => self.through = Some(Err(self.log.broken(&problem))),
            }
        }
    }

    fn look_at(&mut self, mut change: Change) {
        if self.fields.need_content() && change.after == Kind::Submodule {
            self.submodules += 1;
            // A submodule has no contents here: a file at its path is gone.
            change.after = Kind::Nothing;
        }
        if self.fields.need_content() && change.after == Kind::Nothing && change.before == Kind::Submodule {
            return;
        }
        if change.before == Kind::Nothing && change.after == Kind::Nothing {
            return;
        }
        if let Some(blobs) = self.blobs.as_mut().filter(|_| change.after == Kind::Blob)
            && let Err(problem) = blobs.ask(&change.hash)
        {
            self.through = Some(Err(problem));
            return;
        }
        self.ahead.push_back(change);
    }

    /// Checks that git has ended successfully.
    fn end(&mut self) -> Result<(), String> {
        self.words.extend(self.log.end()?);
        Ok(())
    }

    fn made(&mut self, change: &Change) -> Result<ReadEvent, ImportError> {
        // First of all: the answer must be read even if the change has another fault.
        let content = match &mut self.blobs {
            Some(blobs) if change.after == Kind::Blob => {
                Some(blobs.answer(self.largest.into()).map_err(ImportError::File)?)
            }
            _ => None,
        };
        let time = self.time(&change.commit.author_time);
        let time = time.map_err(|problem| ImportError::Record(BadField::new("time", problem)))?;
        let value = match content {
            _ if change.after == Kind::Nothing => Value::Deletion,
            Some(Answer::Missing) => return Err(bad_value(missing(change))),
            Some(Answer::TooLong(length)) => {
                let len = usize::try_from(length).unwrap_or(usize::MAX);
                return Err(bad_value(WriteError::ValueTooLong { len, most: self.largest }.to_string()));
            }
            Some(Answer::Content(content)) => Value::Data(self.fields.value(change, content).into()),
            None => Value::Data(self.fields.value(change, Vec::new()).into()),
        };
        let event = Event::new(self.fields.key(change).into(), value, time.at);
        let event = event.map_err(|error| bad_value(error.to_string()))?;
        Ok(ReadEvent { event, time })
    }

    fn time(&self, seconds: &str) -> Result<ReadTime, String> {
        if seconds.is_empty() {
            return Err("git can make no author time of what the commit says".to_owned());
        }
        // A number, but of a known unit.
        self.times.read_number(seconds).map(|read| ReadTime { number: false, ..read })
    }
}

impl Records for GitChanges {
    fn next(&mut self) -> Option<Result<ReadEvent, ImportError>> {
        if self.ended {
            return None;
        }
        self.read_ahead();
        let record = match self.ahead.pop_front() {
            Some(change) => {
                self.place = place(&change);
                self.made(&change)
            }
            None => {
                self.ended = true;
                let ended = self.through.take().unwrap_or(Ok(())).and_then(|()| match &mut self.blobs {
                    Some(blobs) => blobs.end(),
                    None => Ok(None),
                });
                match ended {
                    Ok(words) => {
                        self.words.extend(words);
                        return None;
                    }
                    Err(problem) => Err(ImportError::File(problem)),
                }
            }
        };
        self.ended |= matches!(record, Err(ImportError::File(_)));
        Some(record)
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn remarks(&self) -> Vec<String> {
        let submodules = (self.submodules > 0).then(|| {
            format!(
                "{} of submodules: passed over, for their content is in other repositories (--value '{{hash}}' keeps which \
                 commits they were)",
                counted(self.submodules, "change")
            )
        });
        let shallow = self.repository.is_shallow.then(|| {
            "the repository is shallow: its history begins in the middle, with files that were there before (git fetch \
             --unshallow brings the rest)"
                .to_owned()
        });
        let words = self.words.iter().map(|words| format!("git says: {words}"));
        submodules.into_iter().chain(shallow).chain(words).collect()
    }
}

/// The first given flag that does not apply to a repository.
fn inapplicable(arguments: &ImportArgs) -> Option<&'static str> {
    [
        (arguments.format.is_some(), "--format"),
        (arguments.encoding.is_some(), "--encoding"),
        (arguments.time_unit.is_some(), "--time-unit"),
    ]
    .into_iter()
    .find_map(|(given, flag)| given.then_some(flag))
    .or(arguments.times.given())
    .or(arguments.columns.given_but(&["--key", "--value"]))
}

fn bad_value(problem: String) -> ImportError {
    ImportError::Record(BadField::new("value", problem))
}

fn missing(change: &Change) -> String {
    format!("git does not have the blob {}: the repository is damaged, see git fsck", change.hash)
}

/// The place of a change, for people; a path that is not UTF-8 is escaped.
fn place(change: &Change) -> String {
    let hash = change.commit.hash.get(..SHOWN_HASH).unwrap_or(&change.commit.hash);
    match std::str::from_utf8(&change.path) {
        Ok(path) => format!("commit {hash}, `{}`", path.escape_debug()),
        Err(_) => format!("commit {hash}, `{}`", change.path.escape_ascii()),
    }
}
