//! Calls of cargo, which can be run, and shown for a person to repeat.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A call of cargo in the root of the repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cargo {
    variables: Vec<(&'static str, &'static str)>,
    arguments: Vec<String>,
}

impl Cargo {
    /// `line` is split at blanks: no argument of ours contains one.
    pub(crate) fn new(line: &str) -> Self {
        Self { variables: Vec::new(), arguments: line.split_whitespace().map(str::to_owned).collect() }
    }

    pub(crate) fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    pub(crate) fn arguments(mut self, more: &[String]) -> Self {
        self.arguments.extend_from_slice(more);
        self
    }

    /// Runs the call on the caller's terminal. Any exit code but 0 is an error that shows the call.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.command().status().context("cargo cannot be started")?;
        if !status.success() {
            bail!("this failed ({status}), and shows it alone:\n    {self}");
        }
        Ok(())
    }

    /// Whether the call exits with code 0. Its output is discarded.
    pub(crate) fn works(&self) -> bool {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn command(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(&self.arguments).envs(self.variables.iter().copied()).current_dir(root());
        command
    }
}

impl fmt::Display for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}=\"{value}\" ")?;
        }
        write!(f, "cargo {}", self.arguments.join(" "))
    }
}

/// Requires the component `name` of the toolchain: it is installed if `cargo PROBE --version` works.
pub(crate) fn require_component(name: &str, probe: &str) -> Result<()> {
    if !Cargo::new(&format!("{probe} --version")).works() {
        bail!("this toolchain has no {name}; `rustup component add {name}` installs it");
    }
    Ok(())
}

/// Refuses arguments, for tasks that take none.
pub(crate) fn no_arguments(arguments: &[String]) -> Result<()> {
    if let Some(first) = arguments.first() {
        bail!("takes no arguments, and was given `{first}`");
    }
    Ok(())
}

/// The root of the repository. cargo gives this crate's directory at run time, so a moved checkout is found too.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(here);
    root.pop();
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_as_a_shell_would_take_it() {
        let call = Cargo::new("doc --no-deps").variable("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(call.to_string(), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn a_missing_component_is_named_with_its_remedy() {
        let error = require_component("nonesuch", "nonesuch-probe").unwrap_err().to_string();
        assert!(error.contains("rustup component add nonesuch"), "{error}");
    }
}
