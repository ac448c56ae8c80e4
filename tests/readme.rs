//! Promise: every command of the README works as it stands there, and prints what stands below it.
//!
//! The commands of all blocks marked `sh` are run in order in one directory that holds what a clone of the repository
//! holds, but those under `## Tests`, which run this test. A block marked `text output` is what the last command
//! before it prints.

mod support;

use std::process::Command;

use support::{Finished, repository};

#[derive(Debug, PartialEq)]
enum Block {
    Commands(Vec<String>),
    Output(String),
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    let mut heading = "";
    for line in readme.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language, Vec::new())),
            (Some((language, lines)), Some(_)) => {
                match *language {
                    "sh" if heading != "## Tests" => {
                        blocks.push(Block::Commands(lines.iter().map(ToString::to_string).collect()));
                    }
                    "text output" => blocks.push(Block::Output(lines.join("\n"))),
                    _ => {}
                }
                open = None;
            }
            (Some((_, lines)), None) => lines.push(line),
            (None, None) if line.starts_with('#') => heading = line,
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn every_command_works_and_prints_what_the_readme_says() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("the README");
    let home = tempfile::tempdir().expect("a place");
    let sample = home.path().join("aevrion-node/sample");
    std::fs::create_dir_all(&sample).expect("a directory");
    std::fs::copy(support::sample(), sample.join("flights-week.jsonl.gz")).expect("the sample");
    let (mut commands, mut outputs, mut printed) = (0, 0, String::new());
    for block in blocks(&readme) {
        match block {
            Block::Commands(lines) => {
                for line in lines {
                    // The binary is built already; building it again is not what is tested.
                    let line = line.replace("cargo run --release --", env!("CARGO_BIN_EXE_aevrion"));
                    assert!(!line.contains("cargo"), "the test does not know how to run: {line}");
                    let mut shell = Command::new("sh");
                    let settings = std::env::vars_os().map(|(name, _)| name);
                    for name in settings.filter(|name| name.to_string_lossy().starts_with("AEVRION_")) {
                        shell.env_remove(name);
                    }
                    let output = shell.args(["-euc", &line]).current_dir(home.path()).output();
                    let finished = Finished::from(output.expect("a shell")).ok();
                    printed = finished.stdout;
                    commands += 1;
                }
            }
            Block::Output(expected) => {
                assert_eq!(printed.trim_end(), expected.trim_end());
                outputs += 1;
            }
        }
    }
    assert!(commands >= 5 && outputs >= 3, "the README lost its commands: {commands}, {outputs}");
}
