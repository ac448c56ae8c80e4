//! A whole network in one thread: real replicas, real agents and real frames, under a clock, a disk and a network that
//! do what a seed says.
//!
//! A simulation has four phases. In the first there is trouble of every kind, while clients write and read; what must
//! hold all the time is checked all the time. Then everything heals, but for the clocks, which stay as wrong as they
//! are. Then all replicas must agree: when the clocks have come to what they differ in, within a time that
//! [`Plan::agreement_within`] computes. What they agree on must be exactly what was written,
//! and few events may have come to a node that had them. At last they must rest: who agrees sends heartbeats and nothing else.
//!
//! Time is that of the runtime, which is paused and jumps from one timer to the next; every draw comes from the seed.
//! So a seed is a bug report: [`Violation`] prints the line that shows it again.
//!
//! ```
//! use aevrion_core::simulation::{Plan, run};
//!
//! let report = run(&Plan::from_seed(1)).map_err(|violation| violation.to_string())?;
//! assert!(report.agreed_after <= report.agreement_within);
//! # Ok::<(), String>(())
//! ```

mod clocks;
mod disk;
mod endpoint;
mod judge;
mod ledger;
mod model;
mod network;
mod plan;
mod random;
mod redundancy;
mod report;
mod run;
mod topology;
mod traffic;
mod troubles;
mod wall;
mod wire;
mod workload;
mod world;

pub use plan::{Plan, Troubles};
pub use report::{Report, Violation};
pub use run::run;
pub use topology::Topology;
pub use wire::Weather;
