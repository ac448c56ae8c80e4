//! The common feature combinations of the node: `--all-features` alone would hide that one of them is broken.

use anyhow::Result;

use crate::process::{Cargo, no_arguments};

/// Each store with each transport, all of either, and everything. `memory,quic` and similar ones are for experiments: a
/// cluster needs a directory for its keys.
const COMBINATIONS: &[&str] = &[
    "redb,quic",
    "redb,tcp",
    "sled,quic",
    "sled,tcp",
    "memory,quic",
    "memory,tcp",
    "redb,sled,quic,tcp",
    "full",
    // Without a transport a node is alone; without a store it is only a client.
    "redb",
    "sled",
    "memory",
    "quic",
    "",
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    for features in COMBINATIONS {
        println!("features {}", if features.is_empty() { "(none)" } else { features });
        let package = "clippy --package aevrion-node --no-default-features";
        Cargo::new(&format!("{package} --features={features} -- -D warnings")).run()?;
    }
    Ok(())
}
