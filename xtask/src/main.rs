//! The tasks of this repository, so that developers and CI run the same commands.
//!
//! This crate depends on no other crate of the workspace: it builds in seconds, and works while the others do not
//! compile.

mod bench;
mod ci;
mod deny;
mod features;
mod fix;
mod process;
mod sim;
mod surface;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;

/// A subcommand.
struct Task {
    name: &'static str,
    /// The line in the output of a bare `cargo xtask`.
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const TASKS: &[Task] = &[
    Task {
        name: "ci",
        help: "the gate: formatting, clippy, docs, features, tests, tidy; changes nothing",
        run: ci::run,
    },
    Task { name: "fix", help: "applies what clippy and rustfmt can mend by themselves", run: fix::run },
    Task {
        name: "tidy",
        help: "the house rules that no compiler knows: layers, doors, words; --write draws the layers",
        run: tidy::run,
    },
    Task {
        name: "surface",
        help: "lists the public items of the library crates: surface [--write]",
        run: surface::run,
    },
    Task {
        name: "features",
        help: "checks that each feature combination of aevrion-node builds",
        run: features::run,
    },
    Task { name: "bench", help: "runs a benchmark by name: bench NAME [ARGUMENTS]", run: bench::run },
    Task {
        name: "sim",
        help: "simulates networks in trouble: sim --seed N [--seeds M] [--nodes K --topology T] [--calm]",
        run: sim::run,
    },
    Task {
        name: "deny",
        help: "licences, advisories and sources of the dependencies, by cargo-deny",
        run: deny::run,
    },
];

/// Exit code of a usage error, as in the project's other command lines: a wrong call is not a failed task.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", list());
        return ExitCode::SUCCESS;
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprint!("There is no task `{name}`.\n\n{}", list());
        return ExitCode::from(USAGE);
    };
    match (task.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> String {
    let mut text = String::from("Usage: cargo xtask TASK\n\n");
    for task in TASKS {
        text.push_str(&format!("  {:<10} {}\n", task.name, task.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_one_line_of_its_own() {
        let text = list();
        for task in TASKS {
            assert_eq!(TASKS.iter().filter(|other| other.name == task.name).count(), 1, "{}", task.name);
            assert!(!task.help.contains('\n'));
            assert_eq!(text.lines().filter(|line| line.trim_start().starts_with(task.name)).count(), 1);
        }
    }
}
