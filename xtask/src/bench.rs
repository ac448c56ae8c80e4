//! Runs benchmarks of all crates by name.

use anyhow::{Result, bail};

use crate::process::Cargo;

struct Bench {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    /// Features that the benchmark needs.
    features: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench { name: "import", package: "aevrion-store-redb", target: "import", features: "" },
    Bench { name: "get", package: "aevrion-store-redb", target: "get", features: "" },
    Bench { name: "root", package: "aevrion-store-redb", target: "root", features: "" },
    Bench { name: "leaf", package: "aevrion-store-redb", target: "leaf", features: "" },
    Bench { name: "sketch", package: "aevrion-core", target: "sketch", features: "" },
    Bench { name: "neighbour", package: "aevrion-node", target: "neighbour", features: "full" },
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
    let mut line = format!("bench --package {} --bench {}", bench.package, bench.target);
    if !bench.features.is_empty() {
        line = format!("{line} --features {}", bench.features);
    }
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
