//! The promise about `kill -9`, which takes a second process to check.
//!
//! The suite restarts the running test as a child process, which commits numbered batches and acknowledges each. It
//! kills the child at work, opens the store and checks it. It repeats this on one directory, so that a crash also hits
//! the leftovers of the previous one.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;

use super::bench::{Bench, Row, commit_as, finished, get, read_table, view};
use super::closing::skip;
use crate::conformance::filler;
use crate::store::{Durability, EventStore, Table, View, WriteBatch};

const PROMISE: &str = "a killed store opens again, with every acknowledged commit whole and no other half";

/// Environment variable that marks a child process and holds its directory.
const VARIABLE: &str = "AEVRION_CONFORMANCE_KILL";
const ACKNOWLEDGED: &str = "aevrion conformance: acknowledged ";

/// The number of acknowledgements before each kill: a few at first, while files are created and grow.
const ROUNDS: [usize; 6] = [1, 2, 10, 40, 1, 60];
/// A child that is not killed ends after this batch.
const LAST_BATCH: u64 = 100_000;
const ROWS: u64 = 6;

/// The directory, if this process is a child of the suite.
pub(super) fn told_to_be_killed() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

/// Commits batches, starting after the last child's. One in three is acknowledged as buffered only: it must not be lost
/// if the durable commit after it survives.
pub(super) async fn commit_until_killed(bench: &Bench<'_>, directory: PathBuf) {
    let store = bench.open(directory).await;
    let latest = latest(&*view(&*store).await).await;
    for number in latest + 1..=LAST_BATCH {
        if number % 3 == 0 {
            commit_as(&*store, numbered(number), Durability::Buffered).await;
        } else {
            commit_as(&*store, numbered(number), Durability::Immediate).await;
            println!("{ACKNOWLEDGED}{number}");
        }
    }
}

fn row_key(number: u64, row: u64) -> Bytes {
    // The rows of one batch are far apart.
    Bytes::from(format!("{row}/{number:08}"))
}

fn row_value(number: u64, row: u64) -> Bytes {
    let length = if number % 16 == 5 && row == 0 { 300_000 } else { 700 * row };
    filler(number * ROWS + row, usize::try_from(length).unwrap_or(0))
}

fn numbered(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for row in 0..ROWS {
        batch.put(Table::Events, row_key(number, row), row_value(number, row));
        batch.put(Table::ByKey, row_key(number, row), Bytes::new());
    }
    batch.put(Table::Nodes, number.to_be_bytes().to_vec(), "the only row");
    batch.remove(Table::Nodes, (number - 1).to_be_bytes().to_vec());
    batch.put(Table::Meta, "latest", number.to_be_bytes().to_vec());
    batch
}

async fn latest(view: &dyn View) -> u64 {
    let value = get(view, Table::Meta, b"latest").await.unwrap_or_default();
    value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(super) async fn kill_takes_nothing_acknowledged_and_leaves_nothing_half(
    bench: &Bench<'_>,
    test: Option<String>,
) {
    let directory = bench.new_directory();
    if skip(&*bench.fresh().await, PROMISE) {
        return;
    }
    let test = test.filter(|name| name != "main").unwrap_or_else(|| {
        panic!("the suite starts its own test again and finds it by the thread's name: call it in a #[tokio::test]")
    });
    for (round, lines) in ROUNDS.into_iter().enumerate() {
        let acknowledged = {
            let (test, directory) = (test.clone(), directory.clone());
            let work = tokio::task::spawn_blocking(move || kill_after(lines, &test, &directory));
            finished("a store acknowledges commits in reasonable time", work).await
        };
        let store = bench.open(directory.clone()).await;
        let view = view(&*store).await;
        let latest = latest(&*view).await;
        assert!(
            latest >= acknowledged,
            "{PROMISE}: batch {acknowledged} was acknowledged, the last one found is {latest} (kill {round})"
        );
        expect_batches(&*view, latest, round).await;
        drop(view);
        // The next child opens the store as left here: after a proper close in one round, without one in the next.
        if round % 2 == 0 {
            store.close().await.unwrap_or_else(|error| panic!("close must succeed: {error}"));
        }
    }
}

/// Expects exactly the rows of batches 1 to `latest`.
async fn expect_batches(view: &dyn View, latest: u64, round: usize) {
    let rows: Vec<Row> = (0..ROWS)
        .flat_map(|row| (1..=latest).map(move |number| (row_key(number, row), row_value(number, row))))
        .collect();
    let found = read_table(view, Table::Events).await;
    let difference =
        found.iter().zip(&rows).find(|(found, wanted)| found != wanted).map(|(found, _)| &found.0);
    assert!(
        found == rows,
        "{PROMISE}: {} rows of {} for {latest} batches, the first difference at {difference:?} (kill {round})",
        found.len(),
        rows.len()
    );
    let keys = read_table(view, Table::ByKey).await;
    assert!(
        keys.iter().map(|(key, _)| key).eq(rows.iter().map(|(key, _)| key)),
        "{PROMISE}: the tables differ in the batches that they hold (kill {round})"
    );
    let only = read_table(view, Table::Nodes).await;
    let wanted: Vec<Row> = vec![(latest.to_be_bytes().to_vec().into(), "the only row".into())];
    assert_eq!(only, wanted, "{PROMISE}: a removal belongs to its batch (kill {round})");
}

/// Kills the child on drop, for any reason.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // The child may have ended by itself, which the reader of its output notices.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a child until it has acknowledged `lines` commits, kills it, and returns the last acknowledged number.
fn kill_after(lines: usize, test: &str, directory: &Path) -> u64 {
    let program = env::current_exe().expect("the suite starts its own executable again");
    let child = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the suite starts its own executable again");
    let mut child = Killed(child);
    let output = child.0.stdout.take().expect("the child's output is piped");
    let mut output = BufReader::new(output).lines();
    let mut last = 0;
    for line in 0..lines {
        last = output.by_ref().map_while(Result::ok).find_map(|line| acknowledged_in(&line)).unwrap_or_else(
            || panic!("the child, running the test {test}, ended after {line} of {lines} acknowledgements"),
        );
    }
    drop(child);
    // Acknowledgements between the last line read and the kill count as well.
    output.map_while(Result::ok).filter_map(|line| acknowledged_in(&line)).last().unwrap_or(last)
}

fn acknowledged_in(line: &str) -> Option<u64> {
    // The test harness may have printed at the beginning of the line.
    line.split_once(ACKNOWLEDGED)?.1.parse().ok()
}
