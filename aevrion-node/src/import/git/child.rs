//! The git programs of an import: none keeps running after its end, however it ends, and the messages of a failed one
//! are passed on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cleanup::{Cleanup, Registration, Undo};

/// The end of git's messages, in bytes that a person reads.
const ERRORS_READ: u64 = 2_000;

/// Time for a program with invalid output to exit and say why.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A running git program, killed on drop, and by the cleanup of its import.
pub(super) struct Git {
    child: Arc<Mutex<Child>>,
    what: &'static str,
    /// Its standard error: a file, because a pipe would have to be read in time.
    errors: File,
    /// Dropped after the program was killed.
    _registration: Registration,
}

impl Git {
    /// Starts a program, and names it for people.
    pub(super) fn start(what: &'static str, command: &mut Command, cleanup: &Cleanup) -> io::Result<Self> {
        let errors = tempfile::tempfile()?;
        command.stdout(Stdio::piped()).stderr(errors.try_clone()?);
        let (child, registration) = cleanup.make(|| {
            let child = Arc::new(Mutex::new(command.spawn()?));
            let shared = Arc::clone(&child);
            let undo: Undo = Box::new(move || end_unless_awaited(&shared));
            Ok::<_, io::Error>((child, undo))
        })?;
        Ok(Self { child, what, errors, _registration: registration })
    }

    /// Its standard output. It can be taken once.
    pub(super) fn output(&self) -> io::Result<ChildStdout> {
        let taken = lock(&self.child).stdout.take();
        taken.ok_or_else(|| io::Error::other("its output was taken before"))
    }

    /// Its standard input. It can be taken once.
    pub(super) fn input(&self) -> io::Result<ChildStdin> {
        let taken = lock(&self.child).stdin.take();
        taken.ok_or_else(|| io::Error::other("its input was taken before"))
    }

    /// Waits for its end, which must be a success; returns its messages all the same.
    pub(super) fn end(&mut self) -> Result<Option<String>, String> {
        let status = lock(&self.child).wait();
        let words = self.error_messages();
        match status {
            Ok(status) if status.success() => Ok((!words.is_empty()).then_some(words)),
            Ok(status) if words.is_empty() => Err(format!("{} has failed ({status})", self.what)),
            Ok(status) => Err(format!("{} has failed ({status}): {words}", self.what)),
            Err(error) => Err(format!("{} cannot be waited for: {error}", self.what)),
        }
    }

    /// Ends a program whose output is invalid or incomplete: returns the reason.
    pub(super) fn broken(&mut self, problem: &str) -> String {
        let what = self.what;
        // If it fails by itself, its own error is the reason.
        let ended = self.ends_by_itself();
        if !ended {
            // It may end in between.
            let _ = lock(&self.child).kill();
        }
        match self.end() {
            Err(why) if ended => why,
            _ => format!("{what} {problem}"),
        }
    }

    /// Whether it ends within a moment: its output may end a little before it exits.
    fn ends_by_itself(&self) -> bool {
        let begin = Instant::now();
        loop {
            if lock(&self.child).try_wait().ok().flatten().is_some() {
                return true;
            } else if begin.elapsed() > EXIT_TIMEOUT {
                return false;
            }
            thread::sleep(EXIT_TIMEOUT / 50);
        }
    }

    fn error_messages(&mut self) -> String {
        let mut said = Vec::new();
        let read = self.errors.metadata().and_then(|errors| {
            self.errors.seek(SeekFrom::Start(errors.len().saturating_sub(ERRORS_READ)))?;
            self.errors.by_ref().take(ERRORS_READ).read_to_end(&mut said)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&said).trim().to_owned(),
            Err(error) => format!("(what it said cannot be read: {error})"),
        }
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        end(&mut lock(&self.child));
    }
}

/// Kills a program. A thread that reads from it may be blocked, and must not be waited for.
fn end_unless_awaited(child: &Mutex<Child>) {
    match child.try_lock() {
        Ok(mut child) => end(&mut child),
        Err(TryLockError::Poisoned(child)) => end(&mut child.into_inner()),
        // A thread waits for it after the end of its output.
        Err(TryLockError::WouldBlock) => {}
    }
}

fn end(child: &mut Child) {
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
