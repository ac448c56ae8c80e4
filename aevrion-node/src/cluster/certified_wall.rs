//! The wall clock of a node with a certificate: a time before the issue of the certificate is wrong.

use aevrion_core::{SystemWall, Timestamp, WallClock};

/// The system's clock, with the time of the certificate as its lower bound.
#[derive(Debug)]
pub(crate) struct CertifiedWall {
    /// A little before the certificate was issued.
    pub(crate) certified_from: Timestamp,
}

impl WallClock for CertifiedWall {
    fn now(&self) -> Timestamp {
        SystemWall.now()
    }

    fn earliest(&self) -> Timestamp {
        SystemWall.earliest().max(self.certified_from)
    }
}
