//! The promises of the core, one per file. They share one program, because linking a program for each file took longer
//! than the tests. `cargo test -p aevrion-core --all-features --test promises writing::` runs those of one file.

#![allow(clippy::unwrap_used, reason = "in a test an error is a failure")]
#![expect(clippy::disallowed_methods, reason = "a test measures")]

mod support;

mod agent;
mod answering;
mod answers;
mod budget;
mod clocks;
mod conflicts;
mod conformance;
mod conformance_catches;
mod conformance_catches_kill;
mod converging;
mod cost;
mod digests;
mod examples;
mod expiring;
mod failing;
mod fuzzing;
mod healing;
mod large_claims;
mod lineage;
mod links;
mod many_neighbours;
mod members;
mod mending;
mod messages;
mod misbehaving;
mod model;
mod pressure;
mod pulling;
mod removing;
mod replicating;
mod scrubbing;
mod simulation;
mod simulation_catches;
mod sketching;
mod slow_links;
mod spreading;
mod top_row;
mod transcripts;
mod transport_conformance;
mod transport_conformance_catches;
mod unreadable;
mod walks;
mod watching;
mod writing;
mod yielding;
