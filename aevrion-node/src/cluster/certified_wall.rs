//! The wall clock of a node that has a certificate: before that was issued it cannot be right.

use aevrion_core::{SystemWall, Timestamp, WallClock};

/// The system's clock, with what a certificate says of it.
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
