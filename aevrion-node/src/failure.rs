//! The failure of a verb: a code that scripts can rely on, and a sentence that names the remedy.

use std::fmt::Display;

use aevrion_core::identity::IdentityError;
use aevrion_core::store::StoreError;
use aevrion_core::{OpenError, ReadError, WatchError, WriteError};

/// The kind of a failure, by its exit code. The codes are fixed: scripts test for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    Error = 1,
    Usage = 2,
    NotFound = 3,
    ConditionNotMet = 4,
    NotAllowed = 5,
    Unreachable = 6,
    Integrity = 7,
    NotConverged = 8,
    Interrupted = 130,
    Terminated = 143,
}

/// The failure of a verb.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    pub(crate) fn error(message: impl Display) -> Self {
        Self { kind: FailureKind::Error, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self { kind: FailureKind::Usage, message: message.to_string() }
    }

    pub(crate) fn not_found(message: impl Display) -> Self {
        Self { kind: FailureKind::NotFound, message: message.to_string() }
    }

    pub(crate) fn unreachable(message: impl Display) -> Self {
        Self { kind: FailureKind::Unreachable, message: message.to_string() }
    }

    pub(crate) fn integrity(message: impl Display) -> Self {
        Self { kind: FailureKind::Integrity, message: message.to_string() }
    }

    pub(crate) fn not_allowed(message: impl Display) -> Self {
        Self { kind: FailureKind::NotAllowed, message: message.to_string() }
    }

    pub(crate) fn not_converged(message: impl Display) -> Self {
        Self { kind: FailureKind::NotConverged, message: message.to_string() }
    }

    pub(crate) fn interrupted() -> Self {
        Self { kind: FailureKind::Interrupted, message: "interrupted".into() }
    }

    pub(crate) fn terminated() -> Self {
        Self { kind: FailureKind::Terminated, message: "terminated".into() }
    }

    /// A failure that a node reported, with the code that the same failure has here.
    pub(crate) fn reported(kind: FailureKind, message: impl Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// The same failure, told with the work that it interrupted.
    pub(crate) fn during(self, what: impl Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The same failure, with a further sentence.
    pub(crate) fn and(self, more: impl Display) -> Self {
        Self { message: format!("{}\n{more}", self.message), ..self }
    }

    pub(crate) fn is(&self, kind: FailureKind) -> bool {
        self.kind == kind
    }

    pub(crate) fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The exit code as a number.
    pub(crate) fn code(&self) -> i32 {
        self.kind as i32
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(_) | ReadError::Store(StoreError::Corrupt(_)) => Self::integrity(error),
            error => Self::error(error),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Read(_) | WriteError::Store(StoreError::Corrupt(_)) => Self::integrity(error),
            WriteError::Clock(_) => Self::not_allowed(error),
            error => Self::error(error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Damaged(_) | OpenError::Store(StoreError::Corrupt(_)) => Self::integrity(error),
            OpenError::Read(error) => error.into(),
            OpenError::Write(error) => error.into(),
            OpenError::BadParameters(_) | OpenError::TreeTooFine(_) => Self::usage(error),
            error => Self::error(error),
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::error(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        ReadError::from(error).into()
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Read(error) => error.into(),
            error => Self::error(error),
        }
    }
}
