//! Applies all automatic fixes.

use anyhow::Result;

use crate::process::{Cargo, no_arguments, require_component};

/// Clippy runs first: rustfmt then formats its fixes.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    require_component("clippy", "clippy")?;
    require_component("rustfmt", "fmt")?;
    Cargo::new("clippy --fix --allow-dirty --allow-staged --workspace --all-targets --all-features").run()?;
    Cargo::new("fmt --all").run()
}
