//! A whole network in one thread: real replicas, real agents and real frames, under a clock, a disk and a network that
//! a seed controls.
//!
//! A simulation has four phases. The first has trouble of every kind, while clients write and read; its invariants are
//! checked all the time. Then everything heals, except the clocks, which stay wrong. Then all replicas must agree,
//! counted from the time when the clocks have reached the differences, within the time that [`Plan::agreement_within`]
//! computes. They must agree on exactly the written events, and few events may have reached a node that had them. At
//! last they must rest: agreeing neighbours send heartbeats and nothing else.
//!
//! Time is that of the runtime, which is paused and jumps from one timer to the next; every draw comes from the seed.
//! So a seed is a bug report: [`Violation`] prints the command that reproduces it.
//!
//! ```
//! use aevrion_core::simulation::{Plan, run};
//!
//! let report = run(&Plan::from_seed(1)).map_err(|violation| violation.to_string())?;
//! assert!(report.agreed_after <= report.agreement_within);
//! # Ok::<(), String>(())
//! ```

#![expect(clippy::disallowed_methods, reason = "its time is that of a paused runtime")]

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
mod spread;
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
pub use spread::Spread;
pub use topology::Topology;
pub use wire::Weather;
