//! Reports about a node and about long work, as the JSON that scripts read: built on the node, sent unchanged, printed
//! by a verb.

mod neighbour;
mod status;
mod sync;
mod work;
mod write;

pub(crate) use neighbour::{CatchUpReport, NeighbourReport, RemovedNode};
pub(crate) use status::{ScrubPassReport, ScrubStatus, StatusReport};
pub(crate) use sync::{ForgetReport, SyncReport, WaitReport};
pub(crate) use work::{ImportReport, Line, ProgressReport, RebuildReport, VerifyReport};
pub(crate) use write::{Done, Placed};
