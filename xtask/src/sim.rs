//! Simulations of whole networks: `cargo xtask sim --seed N [--seeds M] [--nodes K --topology T] [--calm]
//! [--messages]`.
//!
//! The core's example that runs them is built for release and gets the arguments unchanged: the command line printed
//! with a violation can be pasted.

use anyhow::Result;

use crate::process::Cargo;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    call(arguments).run()
}

fn call(arguments: &[String]) -> Cargo {
    let call = Cargo::new("run --release --package aevrion-core --features testkit --example simulate");
    if arguments.is_empty() { call } else { call.arguments(&["--".to_owned()]).arguments(arguments) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_passed_on_as_they_are() {
        let arguments = ["--seed", "7", "--nodes", "1000"].map(str::to_owned);
        let line = call(&arguments).to_string();
        assert!(line.ends_with("--example simulate -- --seed 7 --nodes 1000"), "{line}");
        assert!(call(&[]).to_string().ends_with("--example simulate"));
    }
}
