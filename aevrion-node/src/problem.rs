//! Refusals over HTTP: problem documents (RFC 9457) that name the fault and its remedy. The client turns each into the
//! same failure, with the same exit code, as a local one.

use aevrion_core::store::StoreError;
use aevrion_core::{Inserted, ReadError, WatchError, WriteError};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::requests::PageError;
use crate::wire::MalformedEscape;

/// The prefix of every `type`.
const NAMESPACE: &str = "urn:aevrion:problem:";

/// A problem document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    pub(crate) status: u16,
    /// The fault of this request, and its remedy.
    pub(crate) detail: String,
    /// Events stored before an import stopped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    new: Option<u64>,
    /// Events of such an import that were stored already.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    known: Option<u64>,
}

/// The kind of problem. The names are stable: clients test for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    NotStorable,
    ReservedKey,
    ForeignHost,
    ForeignOrigin,
    NoValue,
    NoRoute,
    LocalOnly,
    NotRemovable,
    NoCluster,
    WrongMethod,
    TooSlow,
    OtherNode,
    OtherHistory,
    Compacted,
    TooLarge,
    Damaged,
    Failed,
    ReadOnly,
    ClockWrong,
    Busy,
    Stopping,
}

impl Kind {
    /// Name, status and title.
    fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", 400, "The request cannot be understood"),
            Self::NotStorable => ("not-storable", 400, "This cannot be stored"),
            Self::ReservedKey => ("reserved-key", 403, "The key is one of the system's own"),
            Self::ForeignHost => ("foreign-host", 403, "The request is meant for another host"),
            Self::ForeignOrigin => ("foreign-origin", 403, "The request comes from another site"),
            Self::NoValue => ("no-value", 404, "The key has no value"),
            Self::NoRoute => ("no-route", 404, "There is nothing at this address"),
            Self::LocalOnly => ("local-only", 403, "This is only for who may write in the data directory"),
            Self::NotRemovable => ("not-removable", 403, "The node is not removed"),
            Self::NoCluster => ("no-cluster", 404, "The node is no part of a cluster"),
            Self::WrongMethod => ("wrong-method", 405, "This address does not take that method"),
            Self::TooSlow => ("too-slow", 408, "The body did not arrive in time"),
            Self::OtherNode => ("other-node", 409, "The cursor is of another node"),
            Self::OtherHistory => ("other-history", 410, "The cursor is of another history of this store"),
            Self::Compacted => ("compacted", 410, "What follows the cursor is no longer kept"),
            Self::TooLarge => ("too-large", 413, "This is larger than allowed"),
            Self::Damaged => ("damaged", 500, "The store is damaged"),
            Self::Failed => ("failed", 500, "The store failed"),
            Self::ReadOnly => ("read-only", 503, "No writes are taken at the moment"),
            Self::ClockWrong => ("clock-wrong", 503, "The clock of this node cannot be trusted with a write"),
            Self::Busy => ("busy", 503, "Too much is going on at the moment"),
            Self::Stopping => ("stopping", 503, "The node is stopping"),
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl std::fmt::Display) -> Self {
        let (name, status, title) = kind.facts();
        Self {
            kind: format!("{NAMESPACE}{name}"),
            title: title.to_owned(),
            status,
            detail: detail.to_string(),
            new: None,
            known: None,
        }
    }

    pub(crate) fn bad_request(detail: impl std::fmt::Display) -> Self {
        Self::new(Kind::BadRequest, detail)
    }

    /// The node is stopping.
    pub(crate) fn stopping() -> Self {
        Self::new(Kind::Stopping, "the node is stopping: ask another, or wait")
    }

    /// The same problem, of an import that stored these events first.
    pub(crate) fn after(self, inserted: Inserted) -> Self {
        Self { new: Some(inserted.new), known: Some(inserted.known), ..self }
    }

    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind.strip_prefix(NAMESPACE) == Some(kind.facts().0)
    }

    /// The kind of the same failure on a directory.
    fn failure_kind(&self) -> FailureKind {
        if self.is(Kind::NoValue) {
            FailureKind::NotFound
        } else if self.is(Kind::Damaged) {
            FailureKind::Integrity
        } else if [
            Kind::ForeignHost,
            Kind::ForeignOrigin,
            Kind::LocalOnly,
            Kind::NotRemovable,
            Kind::ClockWrong,
        ]
        .iter()
        .any(|kind| self.is(*kind))
            || self.status == 401
        {
            FailureKind::NotAllowed
        } else if self.status == 412 {
            FailureKind::ConditionNotMet
        } else {
            FailureKind::Error
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::reported(problem.failure_kind(), problem.detail)
    }
}

fn of_store(error: &StoreError) -> Kind {
    match error {
        StoreError::Corrupt(_) => Kind::Damaged,
        error if error.is_full() => Kind::ReadOnly,
        StoreError::Closed => Kind::Stopping,
        _ => Kind::Failed,
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Damaged(_) => Kind::Damaged,
            ReadError::Store(error) => of_store(error),
            ReadError::Closed => Kind::Stopping,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::EmptyKey | WriteError::KeyTooLong { .. } => Kind::NotStorable,
            WriteError::ReservedKey => Kind::ReservedKey,
            WriteError::ValueTooLong { .. }
            | WriteError::TooLong(_)
            | WriteError::BatchTooLarge { .. }
            | WriteError::BatchTooDense { .. } => Kind::TooLarge,
            WriteError::ReadOnly(_) => Kind::ReadOnly,
            WriteError::Clock(_) => Kind::ClockWrong,
            WriteError::BusyKey => Kind::Busy,
            WriteError::Store(error) => of_store(error),
            WriteError::Read(_) => Kind::Damaged,
            WriteError::Closed => Kind::Stopping,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<WatchError> for Problem {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Read(error) => error.into(),
            WatchError::Compacted { .. } => Self::new(Kind::Compacted, error),
            WatchError::OtherNode => Self::new(Kind::OtherNode, error),
            WatchError::OtherHistory => Self::new(Kind::OtherHistory, error),
            _ => Self::new(Kind::Failed, error),
        }
    }
}

impl From<MalformedEscape> for Problem {
    fn from(error: MalformedEscape) -> Self {
        Self::bad_request(error)
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Cursor(detail) => Self::bad_request(detail),
            PageError::Read(error) => error.into(),
        }
    }
}

impl From<PageError> for Failure {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Cursor(detail) => Self::error(detail),
            PageError::Read(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_same_code_here_and_there() {
        let errors = || {
            [
                ReadError::damaged(aevrion_core::store::Table::Events, &[], "spoilt"),
                ReadError::Store(StoreError::Corrupt("spoilt".into())),
                ReadError::Closed,
            ]
        };
        for (here, there) in errors().into_iter().zip(errors()) {
            let (here, there) = (Failure::from(here), Failure::from(Problem::from(there)));
            assert_eq!(here.code(), there.code(), "{here:?}");
        }
        let set_back = aevrion_core::ClockFault::SetBack { by: std::time::Duration::from_secs(90) };
        for error in [
            WriteError::EmptyKey,
            WriteError::ReservedKey,
            WriteError::Closed,
            WriteError::BusyKey,
            WriteError::Clock(set_back),
        ] {
            let there = Failure::from(Problem::from(error.clone()));
            assert_eq!(Failure::from(error).code(), there.code());
        }
    }

    #[test]
    fn kinds_travel() {
        let sent = serde_json::to_string(&Problem::new(Kind::NoValue, "`k` has no value")).unwrap();
        let read: Problem = serde_json::from_str(&sent).unwrap();
        assert!(read.is(Kind::NoValue) && !read.is(Kind::NoRoute) && read.status == 404, "{sent}");
    }
}
