//! The failure of a verb for each error of the cluster: the text stays, the kind decides the exit code.

use super::cluster_dir::{AuthorityError, NewNodeError};
use super::joining::{AskError, MisfitError, SettleError};
use super::member_store::{ForgetError, MemberStoreError};
use super::membership::MembershipError;
use super::transports::NotJoined;
use crate::failure::{Failure, FailureKind};

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::OnAnotherNode => Self::not_allowed(error),
            AuthorityError::Identity(_) | AuthorityError::NoCluster => Self::error(error),
        }
    }
}

impl From<NewNodeError> for Failure {
    fn from(error: NewNodeError) -> Self {
        Self::error(error)
    }
}

impl From<MemberStoreError> for Failure {
    fn from(error: MemberStoreError) -> Self {
        match error {
            MemberStoreError::Read(error) => error.into(),
            MemberStoreError::Write(error) => error.into(),
            MemberStoreError::Encode(error) => Self::error(error),
        }
    }
}

impl From<ForgetError> for Failure {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::Ambiguous { .. } => Self::usage(error),
            ForgetError::Store(error) => error.into(),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let kind = match &error {
            AskError::NotAdmitted(why) | AskError::PerhapsAdmitted(why) => kind(why),
            AskError::Key(_) | AskError::Welcome(_) => FailureKind::Error,
        };
        Self::reported(kind, error)
    }
}

fn kind(error: &NotJoined) -> FailureKind {
    match error {
        NotJoined::Refused(_) => FailureKind::NotAllowed,
        NotJoined::BadAddress(_) => FailureKind::Usage,
        NotJoined::Unreachable(_) => FailureKind::Unreachable,
        NotJoined::Failed(_) => FailureKind::Error,
        #[cfg(not(all(feature = "quic", feature = "tcp")))]
        NotJoined::NotBuiltIn(_) => FailureKind::Error,
    }
}

impl From<MisfitError> for Failure {
    fn from(error: MisfitError) -> Self {
        Self::usage(error)
    }
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Members(error) => error.into(),
            SettleError::Read(error) => error.into(),
            SettleError::Removal(_) | SettleError::Identity(_) => Self::error(error),
        }
    }
}

impl From<MembershipError> for Failure {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Members(error) => error.into(),
            MembershipError::Removals(error) => error.into(),
            MembershipError::Identity(_) | MembershipError::Listen(_) => Self::error(error),
        }
    }
}
