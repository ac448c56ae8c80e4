//! Runs benchmarks of all crates by name.

use anyhow::{Result, bail};

use crate::process::Cargo;

struct Bench {
    /// Also of its target.
    name: &'static str,
    package: &'static str,
    /// Further arguments for cargo.
    flags: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench { name: "import", package: "aevrion-store-redb", flags: "" },
    Bench { name: "get", package: "aevrion-store-redb", flags: "" },
    Bench { name: "root", package: "aevrion-store-redb", flags: "" },
    Bench { name: "leaf", package: "aevrion-store-redb", flags: "" },
    Bench { name: "sketch", package: "aevrion-core", flags: "" },
    Bench { name: "neighbour", package: "aevrion-node", flags: " --features full" },
    // Its workspace has a dependency of its own, so its first run needs the registry of crates.
    Bench { name: "reconcile", package: "aevrion-peers", flags: " --manifest-path peers/Cargo.toml" },
];

/// Arguments after the name go to the benchmark itself.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    call(arguments)?.run()
}

fn call(arguments: &[String]) -> Result<Cargo> {
    let names = BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = arguments.split_first() else {
        bail!("which benchmark? There are: {names}");
    };
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        bail!("there is no benchmark `{name}`, but: {names}");
    };
    let Bench { name, package, flags } = bench;
    let line = format!("bench --package {package} --bench {name}{flags}");
    let call = Cargo::new(&line);
    Ok(if rest.is_empty() { call } else { call.arguments(&["--".to_owned()]).arguments(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[&str]) -> Result<String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Ok(call(&arguments)?.to_string())
    }

    #[test]
    fn a_name_becomes_a_package_and_a_target() {
        assert_eq!(shown(&["import"]).unwrap(), "cargo bench --package aevrion-store-redb --bench import");
    }

    #[test]
    fn a_workspace_of_its_own_is_named_by_its_manifest() {
        let line = "cargo bench --package aevrion-peers --bench reconcile --manifest-path peers/Cargo.toml";
        assert_eq!(shown(&["reconcile"]).unwrap(), line);
        assert!(crate::process::root().join("peers/Cargo.toml").is_file());
    }

    #[test]
    fn what_follows_the_name_is_passed_on() {
        let line = shown(&["get", "--events", "1000"]).unwrap();
        assert_eq!(line, "cargo bench --package aevrion-store-redb --bench get -- --events 1000");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = shown(&["gte"]).unwrap_err().to_string();
        assert!(error.contains("import, get"), "{error}");
    }
}
