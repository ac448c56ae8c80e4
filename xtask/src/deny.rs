//! Licences, advisories and sources of the dependencies (`deny.toml`).
//!
//! Not part of `ci`: a plain toolchain must be enough for that, and the advisories need the network.

use anyhow::{Result, bail};

use crate::process::Cargo;

/// `arguments` are those of `cargo deny check`, such as `licenses` for one of its checks.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !Cargo::new("deny --version").works() {
        bail!("cargo-deny is not installed; `cargo install cargo-deny --locked` installs it");
    }
    Cargo::new("deny --all-features check").arguments(arguments).run()
}
