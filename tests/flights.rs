//! Promise: a year of real flights gives the root of an independent implementation, on every engine, in any order of
//! import, and after repeated imports.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::support::{ENGINES, WEEK_EVENTS, WEEK_KEYS, WEEK_ROOT, run_on, sample, shared, status};
use flate2::read::GzDecoder;

const YEAR_ROOT: &str = "5575fbf9af359edec263fe3b3a1a50fa1609806293e7346f1e1317c1972de69f";

/// A file of events, and the status of a store that holds them.
struct Flights {
    file: PathBuf,
    events: u64,
    keys: u64,
    root: &'static str,
}

impl Flights {
    /// The year if it stands beside the checkout, else the week in the repository.
    fn longest() -> Self {
        match shared("data/flights.jsonl.gz") {
            Some(file) => Self { file, events: 661_610, keys: 4_043, root: YEAR_ROOT },
            None => Self::week(),
        }
    }

    /// The input for an engine: only the week for sled, which is slow.
    fn for_engine(engine: &str) -> Self {
        if engine == "sled" { Self::week() } else { Self::longest() }
    }

    fn week() -> Self {
        Self { file: sample(), events: WEEK_EVENTS, keys: WEEK_KEYS, root: WEEK_ROOT }
    }

    fn lines(&self) -> Vec<String> {
        let reader = BufReader::new(GzDecoder::new(File::open(&self.file).expect("the flights are there")));
        reader.lines().collect::<Result<_, _>>().expect("lines")
    }

    #[track_caller]
    fn are_in(&self, data: &Path) {
        let status = status(data);
        assert_eq!(status["events"], self.events);
        assert_eq!(status["keys"], self.keys);
        assert_eq!(status["root"], self.root);
    }
}

fn import(data: &Path, engine: &str, file: &Path) {
    run_on(data, &["import", file.to_str().expect("a path"), "--store", engine]).ok();
}

fn write_lines<'l>(path: &Path, lines: impl Iterator<Item = &'l String>) {
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    for line in lines {
        writeln!(out, "{line}").expect("written");
    }
    out.flush().expect("written");
}

/// A deterministic shuffle: the test is about order, not about chance.
fn shuffle(lines: &mut [String]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..lines.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        lines.swap(last, usize::try_from(state % (last as u64 + 1)).expect("an index"));
    }
}

#[test]
fn in_order_and_then_again() {
    for engine in ENGINES {
        let flights = Flights::for_engine(engine);
        let home = tempfile::tempdir().expect("a place");
        let data = home.path().join("store");
        import(&data, engine, &flights.file);
        flights.are_in(&data);
        import(&data, engine, &flights.file);
        flights.are_in(&data);
        run_on(&data, &["verify"]).ok();
    }
}

#[test]
fn shuffled() {
    for engine in ENGINES {
        let flights = Flights::for_engine(engine);
        let mut lines = flights.lines();
        shuffle(&mut lines);
        let home = tempfile::tempdir().expect("a place");
        let (data, file) = (home.path().join("store"), home.path().join("shuffled.jsonl"));
        write_lines(&file, lines.iter());
        import(&data, engine, &file);
        flights.are_in(&data);
        run_on(&data, &["verify"]).ok();
    }
}

#[test]
fn in_two_halves_in_the_wrong_order() {
    for engine in ENGINES {
        let flights = Flights::week();
        let lines = flights.lines();
        let (first, second) = lines.split_at(lines.len() / 2);
        let home = tempfile::tempdir().expect("a place");
        let (data, file) = (home.path().join("store"), home.path().join("half.jsonl"));
        for half in [second, first] {
            write_lines(&file, half.iter());
            import(&data, engine, &file);
            // Hashing in between must leave no stale hash.
            status(&data);
        }
        flights.are_in(&data);
        run_on(&data, &["verify"]).ok();
    }
}

#[test]
fn rebuilt() {
    let flights = Flights::week();
    for engine in ENGINES {
        let home = tempfile::tempdir().expect("a place");
        let data = home.path().join("store");
        import(&data, engine, &flights.file);
        run_on(&data, &["rebuild"]).ok();
        flights.are_in(&data);
        run_on(&data, &["verify"]).ok();
    }
}
