//! The feature combinations of the node that people build: `--all-features` alone would hide that one of them is
//! broken.

use anyhow::Result;

use crate::process::{Cargo, no_arguments};

const COMBINATIONS: &[&str] = &["redb", "sled", "memory", "redb,sled", "full"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    for features in COMBINATIONS {
        println!("features {features}");
        Cargo::new(&format!("check --package aevrion-node --no-default-features --features {features}"))
            .run()?;
    }
    Ok(())
}
