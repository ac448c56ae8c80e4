//! Licences, advisories and sources of the dependencies (`deny.toml`).
//!
//! Not part of `ci`, which must work with a plain toolchain and offline; the advisories need the network.

use anyhow::{Result, bail};

use crate::process::Cargo;

/// Passes `arguments` on to `cargo deny check`, such as `licenses` for one of its checks.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !Cargo::new("deny --version").works() {
        bail!("cargo-deny is not installed; `cargo install cargo-deny --locked` installs it");
    }
    Cargo::new("deny --all-features check").arguments(arguments).run()
}
