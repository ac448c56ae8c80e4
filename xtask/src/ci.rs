//! The checks of CI: a change that passes them may land, and CI runs nothing else.
//!
//! The checks change no file of the repository, need only a plain Rust toolchain, and stop at the first failure: the
//! later steps take minutes and would fail for the same reason.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use crate::process::{Cargo, no_arguments, require_component};
use crate::{features, tidy};

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "formatting", run: formatting },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "features", run: || features::run(&[]) },
    Step { name: "tests", run: tests },
    Step { name: "tidy", run: || hint(tidy::run(&[]), "`cargo xtask tidy` shows it alone") },
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let begin = Instant::now();
    for (number, step) in STEPS.iter().enumerate() {
        println!("\n=== {} of {}: {}", number + 1, STEPS.len(), step.name);
        let step_begin = Instant::now();
        let outcome = (step.run)();
        let word = if outcome.is_ok() { "done" } else { "FAILED" };
        println!("=== {}: {word} after {:.1} s", step.name, step_begin.elapsed().as_secs_f64());
        outcome.with_context(|| format!("the step `{}` failed", step.name))?;
    }
    println!("\nAll {} steps passed in {:.1} s.", STEPS.len(), begin.elapsed().as_secs_f64());
    Ok(())
}

fn formatting() -> Result<()> {
    require_component("rustfmt", "fmt")?;
    hint(Cargo::new("fmt --all --check").run(), "`cargo xtask fix` formats everything")
}

fn clippy() -> Result<()> {
    require_component("clippy", "clippy")?;
    Cargo::new("clippy --workspace --all-targets --all-features -- -D warnings").run()
}

fn docs() -> Result<()> {
    Cargo::new("doc --workspace --no-deps --all-features").variable("RUSTDOCFLAGS", "-D warnings").run()
}

/// Tests wait for disks and timers half of the time: so more of them run in parallel than there are processors.
fn tests() -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    let threads = [String::from("--"), format!("--test-threads={threads}")];
    Cargo::new("test --workspace --all-features --release").arguments(&threads).run()
}

/// Adds the next step for the developer to an error.
fn hint(outcome: Result<()>, next: &str) -> Result<()> {
    outcome.map_err(|error| anyhow!("{error:#}\n{next}"))
}
