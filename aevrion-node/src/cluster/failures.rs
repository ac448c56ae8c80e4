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
            AskError::Key(_) | AskError::Welcome(_) | AskError::ClusterKey(_) => FailureKind::Error,
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

#[cfg(test)]
mod tests {
    use aevrion_core::identity::join::{JoinError, JoinRefusal};
    use aevrion_core::transport::TransportError;

    use super::*;

    #[test]
    fn an_answer_that_may_be_lost_comes_with_advice_and_keeps_its_exit_code() {
        let bad_address = TransportError::BadAddress { address: "x".into(), what: "no port".into() };
        let refused = NotJoined::from(JoinError::Refused(JoinRefusal::UsedToken));
        let bad_address = NotJoined::from(JoinError::Transport(bad_address));
        let failed = NotJoined::from(JoinError::Protocol("short".into()));
        let failure = Failure::from(AskError::NotAdmitted(refused));
        assert_eq!(failure.kind(), FailureKind::NotAllowed);
        assert_eq!(failure.to_string(), JoinError::Refused(JoinRefusal::UsedToken).to_string());
        assert_eq!(Failure::from(AskError::NotAdmitted(bad_address)).kind(), FailureKind::Usage);
        let failure = Failure::from(AskError::PerhapsAdmitted(failed));
        assert_eq!(failure.kind(), FailureKind::Error);
        assert_eq!(
            failure.to_string(),
            "the node does not keep to the protocol: short\njoin again with the same --data and token: if this attempt \
             used it up, it still lets this directory in"
        );
    }

    #[test]
    fn only_the_authority_of_another_node_is_not_allowed() {
        assert_eq!(Failure::from(AuthorityError::OnAnotherNode).kind(), FailureKind::NotAllowed);
        let failure = Failure::from(AuthorityError::NoCluster);
        assert_eq!(
            (failure.kind(), failure.to_string()),
            (FailureKind::Error, super::super::NO_CLUSTER.to_owned())
        );
    }
}
